//! A context of the user's own kubeconfig. Only one that was named is touched, and there only namespaces of our own, besides
//! definitions that were missing.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use kube::config::Kubeconfig;

use super::{Cluster, Guard, Images, obstacle_without};
use crate::{Options, process};

/// How a cluster that is there already is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    /// The context's name.
    pub context: String,
    /// Our images, and the command that loads one, which gets its archive's path as the last argument; for clusters that cannot
    /// pull them.
    pub load: Option<(Images, String)>,
    /// The command that restarts the API server.
    pub restart: Option<String>,
}

impl Current {
    pub(super) fn up(&self, options: &Options) -> Result<Cluster> {
        let kubeconfig = options.folder.join("kubeconfig");
        only(&self.context, &kubeconfig)?;
        let mut obstacle_to_own_kind =
            Some("no command that loads an image into this cluster was named (--load)");
        if let Some((images, load)) = &self.load {
            for archive in images.archives() {
                let archive = std::path::absolute(archive)?;
                process::run(Command::new("sh").args(["-c", &format!("{load} \"$0\"")]).arg(&archive))
                    .with_context(|| format!("{} cannot be loaded", archive.display()))?;
            }
            obstacle_to_own_kind = obstacle_without(images.own_kind.as_ref());
        }
        let shell = |command: &String| ["sh", "-c", command].map(str::to_owned).to_vec();
        Ok(Cluster {
            kubeconfig,
            tools: options.tools.clone(),
            restart: self
                .restart
                .as_ref()
                .map(shell)
                .ok_or("no command that restarts the API server of this cluster was named (--restart)"),
            obstacle_to_own_kind,
            guard: Guard::Nothing,
        })
    }
}

/// Writes a kubeconfig with this context alone: nothing that is done later can reach another cluster.
fn only(context: &str, path: &Path) -> Result<()> {
    let mut config = Kubeconfig::read().context("there is no kubeconfig to take a context from")?;
    let Some(found) = config.contexts.iter().find(|known| known.name == context).cloned() else {
        let known: Vec<_> = config.contexts.iter().map(|known| known.name.as_str()).collect();
        bail!("the kubeconfig has no context {context:?}; it has {}", known.join(", "));
    };
    let inner = found.context.clone().context("the context is empty")?;
    config.contexts = vec![found];
    config.clusters.retain(|cluster| cluster.name == inner.cluster);
    config.auth_infos.retain(|user| Some(&user.name) == inner.user.as_ref());
    config.current_context = Some(context.to_owned());
    super::write_secret(path, &serde_yaml::to_string(&config)?)
}
