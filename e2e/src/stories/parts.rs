//! What several stories are made of.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use dask_operator::api::{DaskCluster, DaskJob, DaskWorkerGroup};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::program::Program;
use crate::stage::{Stage, phase};

/// Works on a cluster until it has seen given numbers of workers.
const WORK: &str = include_str!("work.py");

/// A shipped manifest under another name, with its Service's selector.
fn renamed(manifest: &str, name: &str, service: &str) -> Result<Value> {
    let mut object: Value = serde_yaml::from_str(manifest)?;
    object["metadata"]["name"] = json!(name);
    if let Some(selector) = object.pointer_mut(service) {
        selector["dask.org/cluster-name"] = json!(name);
    }
    Ok(object)
}

/// The shipped cluster.
pub(super) fn mk_cluster(name: &str) -> Result<Value> {
    renamed(include_str!("../../../operator/examples/cluster.yaml"), name, "/spec/scheduler/service/selector")
}

/// A cluster with so many workers of one thread each.
pub(super) fn mk_sized(name: &str, replicas: usize) -> Result<Value> {
    let mut cluster = mk_cluster(name)?;
    let worker = &mut cluster["spec"]["worker"];
    worker["replicas"] = json!(replicas);
    worker["spec"]["containers"][0]["args"] =
        json!(["dask", "worker", "--name", "$(DASK_WORKER_NAME)", "--nthreads", "1", "--no-dashboard"]);
    Ok(cluster)
}

/// The shipped job.
pub(super) fn mk_job(name: &str) -> Result<Value> {
    renamed(
        include_str!("../../../operator/examples/job.yaml"),
        name,
        "/spec/cluster/spec/scheduler/service/selector",
    )
}

/// Waits until the cluster says that it runs.
pub(super) async fn running(stage: &Stage, name: &str) -> Result<()> {
    let is_running = |all: &[DaskCluster]| {
        all.iter().any(|cluster| {
            let cluster = serde_json::to_value(cluster).unwrap_or_default();
            cluster["metadata"]["name"] == name && cluster["status"]["phase"] == "Running"
        })
    };
    stage.until::<DaskCluster>("the cluster to be Running", "", is_running).await?;
    Ok(())
}

/// The labels of a group's workers.
pub(super) fn worker_labels(group: &str) -> String {
    format!("dask.org/workergroup-name={group},dask.org/component=worker")
}

/// Waits until the group has so many workers and no more, and all of them run.
pub(super) async fn workers(stage: &Stage, group: &str, wanted: usize) -> Result<Vec<Pod>> {
    let as_wanted = |pods: &[Pod]| {
        let runs = |pod: &&Pod| pod.metadata.deletion_timestamp.is_none() && phase(pod) == "Running";
        pods.len() == wanted && pods.iter().filter(runs).count() == wanted
    };
    stage.until::<Pod>(&format!("{wanted} workers of {group}"), &worker_labels(group), as_wanted).await
}

/// Which pods these are, whatever their names.
pub(super) fn uids(pods: &[Pod]) -> BTreeSet<String> {
    pods.iter().filter_map(ResourceExt::uid).collect()
}

/// No container of these pods has ever restarted.
pub(super) fn ensure_never_restarted(pods: &[Pod]) -> Result<()> {
    for pod in pods {
        let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        for container in containers {
            ensure!(
                container.restart_count == 0,
                "{} of {} restarted {} times",
                container.name,
                pod.name_any(),
                container.restart_count
            );
        }
    }
    Ok(())
}

/// Gives the group another number of workers, as `kubectl scale` does.
pub(super) async fn scale(stage: &Stage, group: &str, replicas: usize) -> Result<()> {
    stage.patch::<DaskWorkerGroup>(group, &json!({"spec": {"worker": {"replicas": replicas}}})).await
}

/// Deletes the cluster and waits until nothing is left of it.
pub(super) async fn remove(stage: &Stage, name: &str) -> Result<()> {
    stage.api::<DaskCluster>().delete(name, &DeleteParams::background()).await?;
    stage.until_gone(name).await
}

/// Where a cluster's scheduler is found from inside Kubernetes.
pub(super) fn scheduler(stage: &Stage, cluster: &str) -> String {
    format!("tcp://{cluster}-scheduler.{}.svc.cluster.local:8786", stage.namespace)
}

/// Who holds the Lease of this name, once it is somebody else than `before`.
pub(super) async fn leader(stage: &Stage, name: &str, before: Option<&str>) -> Result<String> {
    let holder = |all: &[Lease]| {
        let lease = all.iter().find(|lease| lease.name_any() == name)?;
        lease.spec.as_ref()?.holder_identity.clone().filter(|holder| !holder.is_empty())
    };
    let is_new = |all: &[Lease]| holder(all).is_some_and(|holder| before != Some(holder.as_str()));
    let leases = stage.until::<Lease>("somebody to lead", "", is_new).await?;
    holder(&leases).context("nobody leads")
}

/// Starts work on a cluster. `seen`: numbers of workers that it waits for, one after the other; it says `saw N workers` each time,
/// and works on meanwhile, but not while it waits for one that is written with `idle-` before it. It fails unless every
/// result is right and no task was begun twice. `takes`: seconds for each of its rounds of 8 tasks on one worker.
pub(super) async fn work<'a>(
    stage: &'a Stage,
    cluster: &str,
    takes: f64,
    seen: &[&str],
) -> Result<Program<'a>> {
    let scheduler = scheduler(stage, cluster);
    let takes = takes.to_string();
    let mut arguments = vec![scheduler.as_str(), takes.as_str()];
    arguments.extend(seen);
    Program::start(stage, "work", WORK, &arguments).await
}

/// The job once it has ended, either way.
pub(super) async fn ended(stage: &Stage, name: &str) -> Result<Value> {
    let find = |all: &[DaskJob]| {
        let mut values = all.iter().map(|job| serde_json::to_value(job).unwrap_or_default());
        values.find(|job| job["metadata"]["name"] == name)
    };
    let is_over =
        |job: Value| job["status"]["jobStatus"] == "Successful" || job["status"]["jobStatus"] == "Failed";
    let jobs = stage.until::<DaskJob>("the job to end", "", |all| find(all).is_some_and(is_over)).await?;
    Ok(find(&jobs).unwrap_or_default())
}
