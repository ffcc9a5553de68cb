//! One line about one object: what `kubectl get` would show of it, in four words.

use kube::core::DynamicObject;
use serde_json::Value;

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) kind: &'static str,
    pub(super) name: String,
    /// The word to look at: a phase, a reason, a count.
    pub(super) state: String,
    /// More, if there is more.
    pub(super) detail: String,
}

/// The line for an object; `None` for kinds that only carry others.
pub(super) fn row(object: &DynamicObject) -> Option<Row> {
    let name = object.metadata.name.clone().unwrap_or_default();
    let text = |path: &str| object.data.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |path: &str| object.data.pointer(path).map(Value::to_string).unwrap_or_default();
    let (kind, state, detail) = match object.types.as_ref()?.kind.as_str() {
        "DaskJob" => ("job", text("/status/jobStatus"), String::new()),
        "DaskCluster" => {
            ("cluster", text("/status/phase"), format!("{} workers wanted", number("/spec/worker/replicas")))
        }
        "DaskAutoscaler" => {
            ("autoscaler", format!("{}–{}", number("/spec/minimum"), number("/spec/maximum")), String::new())
        }
        "Pod" => ("pod", pod_state(&object.data), text("/status/podIP")),
        _ => return None,
    };
    let state = if object.metadata.deletion_timestamp.is_some() { "Terminating".to_owned() } else { state };
    let state = if state.is_empty() { "new".to_owned() } else { state };
    Some(Row { kind, name, state, detail })
}

/// The column STATUS of `kubectl get pods`, as printers.go computes it for containers of the ordinary kind.
fn pod_state(pod: &Value) -> String {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let statuses = |path: &str| pod.pointer(path).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut state =
        text(&pod["status"]["reason"]).or_else(|| text(&pod["status"]["phase"])).unwrap_or_default();
    for (index, container) in statuses("/status/initContainerStatuses").iter().enumerate() {
        let ended = &container["state"]["terminated"];
        if ended["exitCode"] == 0 {
            continue;
        }
        let reason = text(&container["state"]["waiting"]["reason"]).or_else(|| text(&ended["reason"]));
        return format!("Init:{}", reason.unwrap_or_else(|| index.to_string()));
    }
    for container in statuses("/status/containerStatuses").iter().rev() {
        let reason = text(&container["state"]["waiting"]["reason"]);
        if let Some(reason) = reason.or_else(|| text(&container["state"]["terminated"]["reason"])) {
            state = reason;
        } else if state == "Running" && container["ready"] == false {
            "Running, not ready".clone_into(&mut state);
        }
    }
    state
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// An object with these members shows this state and detail.
    fn check(object: Value, state: &str, detail: &str) {
        let row = row(&serde_json::from_value(object).unwrap()).unwrap();
        assert_eq!((row.state.as_str(), row.detail.as_str()), (state, detail));
    }

    fn mk_pod(status: &Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "status": status})
    }

    #[test]
    fn a_job_and_a_cluster_show_their_phases() {
        let job = json!({"apiVersion": "kubernetes.dask.org/v1", "kind": "DaskJob", "metadata": {"name": "j"},
            "status": {"jobStatus": "Running"}});
        check(job, "Running", "");
        let cluster = json!({"apiVersion": "kubernetes.dask.org/v1", "kind": "DaskCluster", "metadata": {"name": "c"},
            "spec": {"worker": {"replicas": 2}}});
        check(cluster, "new", "2 workers wanted");
    }

    #[test]
    fn a_pod_shows_why_it_waits() {
        let waiting = json!([{"ready": false, "state": {"waiting": {"reason": "ImagePullBackOff"}}}]);
        check(mk_pod(&json!({"phase": "Pending", "containerStatuses": waiting})), "ImagePullBackOff", "");
    }

    #[test]
    fn a_running_pod_shows_its_address_and_whether_it_is_ready() {
        let running = |ready: bool| json!([{"ready": ready, "state": {"running": {}}}]);
        let pod = |ready| {
            mk_pod(&json!({"phase": "Running", "podIP": "10.0.0.2", "containerStatuses": running(ready)}))
        };
        check(pod(true), "Running", "10.0.0.2");
        check(pod(false), "Running, not ready", "10.0.0.2");
    }

    #[test]
    fn a_pod_in_its_first_steps_shows_the_init_container() {
        let init = json!([{"state": {"terminated": {"exitCode": 0}}}, {"state": {"running": {}}}]);
        check(mk_pod(&json!({"phase": "Pending", "initContainerStatuses": init})), "Init:1", "");
    }

    #[test]
    fn a_deleted_object_is_terminating() {
        let mut pod = mk_pod(&json!({"phase": "Running"}));
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        check(pod, "Terminating", "");
    }
}
