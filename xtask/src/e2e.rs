//! `cargo xtask e2e`: the user stories on a cluster.

use std::path::PathBuf;

use ::e2e::provider::Provider;
use ::e2e::{Options, Told};
use anyhow::{Result, bail};

use crate::shell;

/// Tell the user stories on a cluster that is made for them.
#[derive(clap::Args)]
pub(crate) struct E2e {
    /// Where the cluster comes from.
    #[arg(long, value_enum, default_value = "local")]
    provider: ProviderArg,
    /// For the provider `current`: the context of the kubeconfig that may be used.
    #[arg(long, required_if_eq("provider", "current"))]
    context: Option<String>,
    /// Use the program as it was built last.
    #[arg(long)]
    no_build: bool,
    /// Only these stories; all of them if none is named.
    #[arg(value_name = "STORY")]
    only: Vec<String>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum ProviderArg {
    /// The API server in memory with processes as pods: needs nothing.
    Local,
    /// A real API server without nodes: needs DASK_OPERATOR_CONTROL_PLANE.
    ControlPlane,
    /// Kubernetes in containers: needs kind and docker.
    Kind,
    /// The kubeconfig's current context, if it is named.
    Current,
}

impl E2e {
    pub(crate) fn run(self) -> Result<()> {
        if !self.no_build {
            shell::build()?;
        }
        let provider = match self.provider {
            ProviderArg::Local => Provider::Local,
            ProviderArg::ControlPlane => Provider::ControlPlane,
            ProviderArg::Kind => Provider::Kind,
            ProviderArg::Current => Provider::Current(self.context.unwrap_or_default()),
        };
        let (passed, failed, skipped) = tell(provider, self.only)?;
        println!("\n{passed} passed, {failed} failed, {skipped} skipped");
        if failed > 0 {
            bail!("{failed} stories failed; the logs are in {}", folder().display());
        }
        Ok(())
    }
}

/// Where a run of this process leaves its logs.
pub(crate) fn folder() -> PathBuf {
    shell::target().join("e2e").join(std::process::id().to_string())
}

/// Tells the stories with the program as it is built, and says how each ended: how many passed, failed, were skipped.
pub(crate) fn tell(provider: Provider, only: Vec<String>) -> Result<(usize, usize, usize)> {
    let operator = shell::program("dask-operator");
    let endings =
        ::e2e::run(&Options { provider, operator, cache: shell::target(), folder: folder(), only })?;
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    println!();
    for ending in &endings {
        let word = match &ending.result {
            Ok(Told::Whole) => {
                passed += 1;
                "passed".to_owned()
            }
            Ok(Told::NeedsPods) => {
                skipped += 1;
                "skipped: no pods run here".to_owned()
            }
            Err(error) => {
                failed += 1;
                format!("FAILED: {error:#}")
            }
        };
        println!("{:<14}{:>6.1} s  {word}", ending.story, ending.took.as_secs_f64());
    }
    Ok((passed, failed, skipped))
}
