//! A kind of one's own above the operator's: `operator/examples/own-kind`, as its manifest runs it.

use anyhow::{Context, Result, ensure};
use dask_operator::api::DaskCluster;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, LogParams, Patch, PatchParams,
    PostParams,
};
use kube::runtime::wait::await_condition;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::parts::{leader, running, workers};
use crate::stage::{Stage, WAIT_MAX};

const DEFINITION: &str = include_str!("../../../operator/examples/own-kind/definition.yaml");
const DEPLOYMENT: &str = include_str!("../../../operator/examples/own-kind/deployment.yaml");
const LAB: &str = include_str!("../../../operator/examples/own-kind/lab.yaml");
/// Where the manifest puts the program.
const NAMESPACE: &str = "dask-labs";
/// Name of everything in it.
const NAME: &str = "research-labs";
const PODS: &str = "app=research-labs";

pub(super) async fn is_served_by_two_of_which_one_works(stage: &Stage) -> Result<()> {
    let objects = install(stage).await?;
    let told = tell(stage).await;
    for (api, object) in objects.iter().rev() {
        // In a namespace of the story it goes with that.
        if object.metadata.namespace.is_none() {
            api.delete(&object.name_any(), &DeleteParams::background()).await?;
        }
    }
    told
}

async fn tell(stage: &Stage) -> Result<()> {
    let ready = |all: &[Deployment]| {
        let status = |it: &Deployment| it.status.as_ref().and_then(|status| status.available_replicas);
        all.iter().any(|it| it.name_any() == NAME && status(it) == Some(2))
    };
    stage.until::<Deployment>("both programs to be ready", "", ready).await?;
    let first = leader(stage, NAME, None).await?;
    let labs = labs(stage);
    let mut lab: Value = serde_yaml::from_str(LAB)?;
    lab["spec"]["members"] = json!(1);
    labs.create(&PostParams::default(), &serde_json::from_value(lab)?).await?;
    running(stage, "physics").await?;
    workers(stage, "physics-default", 2).await?;
    says(stage, "physics", |status| {
        status["phase"] == "Running" && status["readyWorkers"] == 2 && status["address"].is_string()
    })
    .await?;

    // The one that works is lost, as with its node.
    let pods = stage.until::<Pod>("the programs", PODS, |pods| pods.len() == 2).await?;
    let leads = |pod: &&Pod| first.contains(&pod.name_any());
    let lost = pods.iter().find(leads).context("no pod is the leader")?.name_any();
    stage.api::<Pod>().delete(&lost, &DeleteParams::default().grace_period(0)).await?;
    let second = leader(stage, NAME, Some(&first)).await?;
    ensure!(!second.contains(&lost), "the lost one leads");
    let more = Patch::Merge(json!({"spec": {"members": 2}}));
    labs.patch("physics", &PatchParams::default(), &more).await?;
    workers(stage, "physics-default", 4).await?;
    says(stage, "physics", |status| status["readyWorkers"] == 4).await?;

    labs.delete("physics", &DeleteParams::background()).await?;
    stage.until_gone("physics").await?;
    stage.until::<DaskCluster>("no cluster to be left", "", <[_]>::is_empty).await?;
    for pod in stage.until::<Pod>("the programs", PODS, |pods| !pods.is_empty()).await? {
        let log = stage.api::<Pod>().logs(&pod.name_any(), &LogParams::default()).await?;
        ensure!(!log.contains("forbidden"), "the program lacks a right: {log}");
        let leads = second.contains(&pod.name_any());
        ensure!(log.contains("leading") == leads, "{} {leads}: {log}", pod.name_any());
    }
    Ok(())
}

/// Applies the manifests, with everything that has a namespace in the story's.
async fn install(stage: &Stage) -> Result<Vec<(Api<DynamicObject>, DynamicObject)>> {
    let text = format!("{DEFINITION}---\n{}", DEPLOYMENT.replace(NAMESPACE, &stage.namespace));
    let documents: Result<Vec<Value>, _> =
        serde_yaml::Deserializer::from_str(&text).map(Value::deserialize).collect();
    let mut made = Vec::new();
    for document in documents? {
        let object: DynamicObject = serde_json::from_value(document)?;
        let types = object.types.clone().context("an object without a kind")?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types)?);
        let api = match &object.metadata.namespace {
            Some(namespace) => Api::namespaced_with(stage.client.clone(), namespace, &resource),
            None => Api::all_with(stage.client.clone(), &resource),
        };
        api.create(&PostParams::default(), &object)
            .await
            .with_context(|| format!("{} was refused", types.kind))?;
        made.push((api, object));
    }
    Ok(made)
}

fn labs(stage: &Stage) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("example.org", "v1", "ResearchLab"));
    Api::namespaced_with(stage.client.clone(), &stage.namespace, &resource)
}

/// Waits until the lab's status is as wanted.
async fn says(stage: &Stage, lab: &str, wanted: impl Fn(&Value) -> bool) -> Result<()> {
    let as_wanted =
        |object: Option<&DynamicObject>| object.is_some_and(|object| wanted(&object.data["status"]));
    let waiting = await_condition(labs(stage), lab, as_wanted);
    let seen = tokio::time::timeout(WAIT_MAX, waiting).await;
    seen.context("the lab's status does not become what it should be")??;
    Ok(())
}
