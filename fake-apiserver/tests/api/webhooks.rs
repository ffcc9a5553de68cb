//! Admission webhooks as data: in which order they are asked, and which answers count. What they are asked, and what
//! becomes of their answers, is compared with a real server in tests/differences.

use fake_apiserver::request::Request;
use fake_apiserver::response::{Reply, Response};
use fake_apiserver::server::{Conversation, Destination, Progress, WebhookCall};
use fake_apiserver::status::Status;
use serde_json::{Value, json};

use crate::Cluster;

/// The body a webhook sends for what it wants to say.
fn body(uid: &Value, reply: &Value) -> Value {
    let mut response = reply.clone();
    response["uid"] = uid.clone();
    if response["patch"].is_array() {
        let patch = response["patch"].to_string();
        response["patch"] = json!(base64::Engine::encode(&base64::engine::general_purpose::STANDARD, patch));
        if response["patchType"].is_null() {
            response["patchType"] = json!("JSONPatch");
        }
    }
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
}

/// Asks, and lets `answer` play the webhooks; returns what they were asked.
fn converse(
    cluster: &mut Cluster,
    request: &Request,
    mut answer: impl FnMut(&WebhookCall) -> Result<Value, String>,
) -> (Result<Response, Status>, Vec<Value>) {
    let mut conversation = Conversation::default();
    let mut asked = Vec::new();
    loop {
        match cluster.api.converse(cluster.now, request, &mut conversation) {
            Err(status) => return (Err(status), asked),
            Ok(Progress::Done(response)) => return (Ok(*response), asked),
            Ok(Progress::Call(call)) => {
                asked.push(call.review.clone());
                let answer = answer(&call);
                conversation.answer(&call, answer);
            }
        }
    }
}

fn cluster() -> Cluster {
    let mut cluster = Cluster::new();
    let namespace = json!({"metadata": {"name": "hook", "labels": {"hook": "yes"}}});
    cluster.ok(&Request::create("v1", "namespaces", namespace));
    cluster
}

fn webhook(name: &str, more: Value) -> Value {
    let mut webhook = json!({"name": name, "clientConfig": {"url": format!("https://{name}/")},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["*"]}],
        "sideEffects": "None", "admissionReviewVersions": ["v1"]});
    for (field, value) in more.as_object().into_iter().flatten() {
        webhook[field] = value.clone();
    }
    webhook
}

fn configure(cluster: &mut Cluster, kind: &str, webhooks: Value) {
    let configuration = json!({"metadata": {"name": "c"}, "webhooks": webhooks});
    let resource = format!("{kind}webhookconfigurations");
    cluster.ok(&Request::create("admissionregistration.k8s.io/v1", &resource, configuration));
}

fn create(name: &str) -> Request {
    Request::create(
        "v1",
        "configmaps",
        json!({"metadata": {"name": name, "namespace": "hook"}, "data": {"a": "1"}}),
    )
}

#[allow(clippy::unnecessary_wraps)] // as every answer is
fn yes(call: &WebhookCall) -> Result<Value, String> {
    Ok(body(&call.review["request"]["uid"], &json!({"allowed": true})))
}

#[test]
fn a_failure_counts_or_does_not_as_the_policy_says() {
    for (policy, code) in [("Fail", 500), ("Ignore", 201)] {
        let mut cluster = cluster();
        configure(
            &mut cluster,
            "validating",
            json!([webhook("w.example.com", json!({"failurePolicy": policy}))]),
        );
        let (answer, asked) = converse(&mut cluster, &create("x"), |_| Err("it is away".into()));
        assert_eq!(asked.len(), 1);
        assert_eq!(answer.map_or_else(|status| status.code, |response| response.code), code);
        let alone = cluster.ask(&create("y"));
        assert_eq!(
            alone.map_or_else(|status| status.code, |response| response.code),
            code,
            "nobody can call"
        );
    }
}

#[test]
fn who_wants_to_look_again_is_asked_again_after_a_change() {
    let mut cluster = cluster();
    let hooks = json!([
        webhook("a.example.com", json!({"reinvocationPolicy": "IfNeeded"})),
        webhook("b.example.com", json!({}))
    ]);
    configure(&mut cluster, "mutating", hooks);
    let mut order = Vec::new();
    let (answer, _) = converse(&mut cluster, &create("x"), |call| {
        order.push(call.webhook.clone());
        let patch = json!([{"op": "add", "path": "/data/b", "value": "2"}]);
        let reply = if call.webhook.starts_with('b') {
            json!({"allowed": true, "patch": patch})
        } else {
            json!({"allowed": true})
        };
        Ok(body(&call.review["request"]["uid"], &reply))
    });
    assert_eq!(order, ["a.example.com", "b.example.com", "a.example.com"]);
    let Reply::Object(object) = answer.unwrap().reply else { panic!("no object") };
    assert_eq!(object.value()["data"], json!({"a": "1", "b": "2"}));
}

#[test]
fn answers_to_an_object_that_has_changed_meanwhile_do_not_count() {
    let mut cluster = cluster();
    cluster.ok(&create("x"));
    configure(&mut cluster, "validating", json!([webhook("w.example.com", json!({}))]));
    let change = Request::patch(
        fake_apiserver::request::PatchType::Merge,
        "v1",
        "configmaps",
        json!({"data": {"mine": "1"}}),
    );
    let change = change.namespace("hook").name("x");
    let other = json!({"metadata": {"labels": {"other": "write"}}});
    let mut conversation = Conversation::default();
    let mut asked = 0;
    loop {
        match cluster.api.converse(cluster.now, &change, &mut conversation).unwrap() {
            Progress::Done(_) => break,
            Progress::Call(call) => {
                asked += 1;
                if asked == 1 {
                    let write = Request::patch(
                        fake_apiserver::request::PatchType::Merge,
                        "v1",
                        "configmaps",
                        other.clone(),
                    );
                    let write = write.namespace("hook").name("x");
                    converse(&mut cluster, &write, yes).0.unwrap();
                }
                conversation.answer(&call, yes(&call));
            }
        }
    }
    assert_eq!(asked, 2, "the first answer was about another object");
    let now = cluster.ok(&Request::get("v1", "configmaps").namespace("hook").name("x"));
    assert_eq!((&now["data"]["mine"], &now["metadata"]["labels"]["other"]), (&json!("1"), &json!("write")));
}

#[test]
fn a_webhook_is_asked_once_however_long_it_takes() {
    let mut cluster = cluster();
    configure(&mut cluster, "mutating", json!([webhook("a.example.com", json!({}))]));
    let (mut conversation, begun) = (Conversation::default(), cluster.now);
    let request = create("x");
    let Progress::Call(call) = cluster.api.converse(begun, &request, &mut conversation).unwrap() else {
        panic!("the webhook is not asked");
    };
    conversation.answer(&call, yes(&call));
    let later = begun + jiff::SignedDuration::from_secs(9);
    let Progress::Done(response) = cluster.api.converse(later, &request, &mut conversation).unwrap() else {
        panic!("the webhook is asked again");
    };
    // The object has its time from before the webhook was asked, as it was shown.
    let Reply::Object(made) = response.reply else { panic!("no object") };
    let shown = &call.review["request"]["object"]["metadata"]["managedFields"];
    assert_eq!(made.value()["metadata"]["managedFields"], *shown);
    assert!(shown.is_array(), "{}", call.review);
}

#[test]
fn a_made_up_name_is_the_same_until_the_end() {
    let mut cluster = cluster();
    configure(
        &mut cluster,
        "validating",
        json!([webhook("v.example.com", json!({})), webhook("w.example.com", json!({}))]),
    );
    let generated = json!({"metadata": {"generateName": "g-", "namespace": "hook"}});
    let (answer, asked) = converse(&mut cluster, &Request::create("v1", "configmaps", generated), yes);
    assert_eq!(asked.len(), 2);
    let Reply::Object(object) = answer.unwrap().reply else { panic!("no object") };
    assert_eq!(asked[0]["request"]["object"]["metadata"]["name"], object.value()["metadata"]["name"]);
}

#[test]
fn all_deletions_of_a_collection_are_asked_about_before_the_first() {
    let mut cluster = cluster();
    for name in ["x", "y"] {
        cluster.ok(&create(name));
    }
    configure(&mut cluster, "validating", json!([webhook("w.example.com", json!({}))]));
    let all = Request::delete_collection("v1", "configmaps").namespace("hook");
    let (answer, asked) = converse(&mut cluster, &all, |call| {
        let allowed = call.review["request"]["oldObject"]["metadata"]["name"] != "y";
        Ok(body(&call.review["request"]["uid"], &json!({"allowed": allowed})))
    });
    assert_eq!((answer.unwrap_err().code, asked.len()), (400, 2));
    assert_eq!(cluster.names(&Request::list("v1", "configmaps").namespace("hook")), ["x", "y"]);
}

#[test]
fn another_version_of_the_same_resource_is_shown_in_the_version_of_the_rule() {
    let mut cluster = cluster();
    let rules = json!([{"apiGroups": ["autoscaling"], "apiVersions": ["v2"], "resources": ["*"], "operations": ["*"]}]);
    let service = json!({"service": {"namespace": "hook", "name": "svc", "path": "/check"}});
    let hook = webhook("w.example.com", json!({"rules": rules, "clientConfig": service}));
    configure(&mut cluster, "validating", json!([hook]));
    let scaler = json!({"metadata": {"name": "h", "namespace": "hook"}, "spec": {"maxReplicas": 3,
        "targetCPUUtilizationPercentage": 50, "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}}});
    let request = Request::create("autoscaling/v1", "horizontalpodautoscalers", scaler);
    let mut destination = None;
    let (answer, asked) = converse(&mut cluster, &request, |call| {
        destination = Some(call.destination.clone());
        yes(call)
    });
    assert_eq!(answer.unwrap().code, 201);
    let question = &asked[0]["request"];
    assert_eq!(
        (&question["kind"]["version"], &question["requestKind"]["version"]),
        (&json!("v2"), &json!("v1"))
    );
    assert_eq!(question["object"]["spec"]["metrics"][0]["resource"]["name"], "cpu");
    let path = "/check".to_owned();
    let (namespace, name) = ("hook".to_owned(), "svc".to_owned());
    assert_eq!(destination, Some(Destination::Service { namespace, name, port: 443, path }));
}
