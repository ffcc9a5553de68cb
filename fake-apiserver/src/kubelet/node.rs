//! The Node object and its lease.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Node, NodeAddress, NodeCondition, NodeStatus, NodeSystemInfo};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

/// `nodeLeaseDurationSeconds` of the kubelet; the lease is renewed every quarter of it.
const LEASE_SECONDS: i32 = 40;
const LEASE_PERIOD: Duration = Duration::from_secs(10);
/// Pods a node takes, the kubelet's `maxPods` raised: processes are cheaper than containers.
const PODS_MAX: u32 = 500;
const LEASE_NAMESPACE: &str = "kube-node-lease";

/// What the machine has, as quantities.
pub(super) fn capacity() -> BTreeMap<String, String> {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let memory = memory.and_then(|rest| rest.split_whitespace().next()).unwrap_or("0");
    BTreeMap::from([
        ("cpu".to_owned(), cpus.to_string()),
        ("memory".to_owned(), format!("{memory}Ki")),
        ("ephemeral-storage".to_owned(), "100Gi".to_owned()),
        ("pods".to_owned(), PODS_MAX.to_string()),
    ])
}

fn labels(name: &str) -> BTreeMap<String, String> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let pairs = [
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", architecture),
        ("kubernetes.io/hostname", name),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn status(name: &str, address: Ipv4Addr, now: Timestamp) -> NodeStatus {
    let quantities: BTreeMap<String, Quantity> =
        capacity().into_iter().map(|(name, value)| (name, Quantity(value))).collect();
    let condition = |kind: &str, status: &str, reason: &str, message: &str| NodeCondition {
        type_: kind.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_heartbeat_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    };
    let address_of = |kind: &str, address: String| NodeAddress { type_: kind.into(), address };
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    NodeStatus {
        capacity: Some(quantities.clone()),
        allocatable: Some(quantities),
        addresses: Some(vec![
            address_of("InternalIP", address.to_string()),
            address_of("Hostname", name.into()),
        ]),
        conditions: Some(vec![
            condition(
                "MemoryPressure",
                "False",
                "KubeletHasSufficientMemory",
                "kubelet has sufficient memory available",
            ),
            condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            condition(
                "PIDPressure",
                "False",
                "KubeletHasSufficientPID",
                "kubelet has sufficient PID available",
            ),
            condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        ]),
        node_info: Some(NodeSystemInfo {
            operating_system: "linux".into(),
            architecture: labels(name).remove("kubernetes.io/arch").unwrap_or_default(),
            kernel_version: read("/proc/sys/kernel/osrelease"),
            kubelet_version: "v1.33.0-processes".into(),
            container_runtime_version: concat!("processes://", env!("CARGO_PKG_VERSION")).into(),
            os_image: "Linux processes".into(),
            machine_id: read("/etc/machine-id"),
            boot_id: read("/proc/sys/kernel/random/boot_id"),
            ..NodeSystemInfo::default()
        }),
        ..NodeStatus::default()
    }
}

/// Makes or updates the Node object.
pub(super) async fn register(client: &Client, name: &str, address: Ipv4Addr) -> Result<(), kube::Error> {
    let api: Api<Node> = Api::all(client.clone());
    let metadata =
        ObjectMeta { name: Some(name.into()), labels: Some(labels(name)), ..ObjectMeta::default() };
    let node = Node { metadata, ..Node::default() };
    if let Err(error) = api.create(&PostParams::default(), &node).await {
        if !has_code(&error, 409) {
            return Err(error);
        }
        let patch = json!({"metadata": {"labels": labels(name)}});
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    }
    let patch = json!({"status": status(name, address, Timestamp::now())});
    api.patch_status(name, &PatchParams::default(), &Patch::Strategic(patch)).await.map(drop)
}

/// Renews the node's lease, for ever.
pub(super) async fn keep_lease(client: Client, name: String) {
    let api: Api<Lease> = Api::namespaced(client.clone(), LEASE_NAMESPACE);
    let mut tick = tokio::time::interval(LEASE_PERIOD);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let now = MicroTime(Timestamp::now());
        let renewed = json!({"spec": {"renewTime": now.clone()}});
        let renewed = api.patch(&name, &PatchParams::default(), &Patch::Merge(renewed)).await;
        let written = match renewed {
            Err(error) if has_code(&error, 404) => create_lease(&client, &api, &name, now).await,
            other => other.map(drop),
        };
        if let Err(error) = written {
            tracing::warn!(node = name, %error, "the node's lease could not be renewed");
        }
    }
}

async fn create_lease(
    client: &Client,
    api: &Api<Lease>,
    name: &str,
    now: MicroTime,
) -> Result<(), kube::Error> {
    let node = Api::<Node>::all(client.clone()).get_opt(name).await?;
    let owner = node.and_then(|node| node.metadata.uid).map(|uid| OwnerReference {
        api_version: "v1".into(),
        kind: "Node".into(),
        name: name.into(),
        uid,
        ..OwnerReference::default()
    });
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(name.into()),
            owner_references: owner.map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(name.into()),
            lease_duration_seconds: Some(LEASE_SECONDS),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }),
    };
    api.create(&PostParams::default(), &lease).await.map(drop)
}

/// Whether the API refused with this HTTP status.
pub(super) fn has_code(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_says_what_the_machine_has_and_that_it_is_ready() {
        let status = status("n", Ipv4Addr::new(10, 244, 0, 1), Timestamp::UNIX_EPOCH);
        let capacity = status.capacity.unwrap();
        assert!(crate::quantity::milli(&capacity["memory"].0).unwrap() > 0);
        let ready =
            status.conditions.unwrap().into_iter().find(|condition| condition.type_ == "Ready").unwrap();
        assert_eq!(ready.status, "True");
    }
}
