//! A context of the user's own kubeconfig. Only one that was named is touched, and there only a namespace of our own.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use kube::config::Kubeconfig;

use super::Cluster;

pub(super) fn up(context: &str) -> Result<Cluster> {
    let config = Kubeconfig::read().context("there is no kubeconfig to take a context from")?;
    let known: Vec<_> = config.contexts.iter().map(|context| context.name.as_str()).collect();
    if !known.contains(&context) {
        bail!("the kubeconfig has no context {context:?}; it has {}", known.join(", "));
    }
    if config.current_context.as_deref() != Some(context) {
        bail!(
            "{context:?} is not the current context: switch to it with `kubectl config use-context {context}`"
        );
    }
    // The operator that is started for the stories reads the same file.
    let file = std::env::var_os("KUBECONFIG").map(PathBuf::from);
    let file = file.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".kube/config")));
    let kubeconfig = file.context("neither KUBECONFIG nor HOME is set")?;
    Ok(Cluster { context: Some(context.to_owned()), ..Cluster::keeps(kubeconfig) })
}
