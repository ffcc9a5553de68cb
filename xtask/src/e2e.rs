//! `cargo xtask e2e`: the user stories on a cluster.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use ::e2e::provider::{self, Current, Images, Provider};
use ::e2e::{Options, Told, Tools};
use anyhow::{Result, bail};

use crate::dist::{self, check};
use crate::{demo, shell, suites, tools};

/// So many stories at once: each is a scheduler, up to four workers and a client, which mostly wait.
const AT_ONCE: usize = 4;

/// Tell the user stories on a cluster that is made for them.
#[derive(clap::Args)]
pub(crate) struct E2e {
    /// Where the cluster comes from; the best that this machine offers if not given. A cluster that was there before is never
    /// taken without being named.
    #[arg(long, value_enum)]
    provider: Option<ProviderArg>,
    /// For the provider `current`: the context of the kubeconfig that may be used.
    #[arg(long, required_if_eq("provider", "current"))]
    context: Option<String>,
    /// For the provider `current`: a command that loads an image archive into the cluster; gets the archive's path as its last
    /// argument, and is run for each of two: the operator's, as `cargo xtask dist image` makes it, and an example's.
    #[arg(long, value_name = "COMMAND", requires = "context")]
    load: Option<String>,
    /// For the provider `current`: a command that restarts the API server.
    #[arg(long, value_name = "COMMAND", requires = "context")]
    restart: Option<String>,
    /// So many stories at once.
    #[arg(long, default_value_t = AT_ONCE)]
    at_once: usize,
    /// Use the programs and the image as they were built last.
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
    /// A real API server and its controllers, with processes as pods: needs etcd, kube-apiserver, kube-controller-manager and
    /// kube-scheduler, in the folder KUBEBUILDER_ASSETS or on the path.
    ControlPlane,
    /// Kubernetes in containers: needs kind and docker.
    Kind,
    /// A context of the kubeconfig, if it is named.
    Current,
}

/// How the stories ended.
pub(crate) struct Summary {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    /// Each with its reason.
    pub(crate) skipped: Vec<String>,
}

impl Summary {
    /// What a reader of the numbers should know besides.
    pub(crate) fn note(&self) -> Option<String> {
        let logs = (self.failed > 0).then(|| format!("the logs are in {}", folder().display()));
        let said: Vec<String> = logs.into_iter().chain(self.skipped.iter().cloned()).collect();
        (!said.is_empty()).then(|| said.join("\n"))
    }
}

impl E2e {
    pub(crate) fn run(self) -> Result<()> {
        if !self.no_build {
            shell::build()?;
        }
        let chosen = self.provider.map_or_else(best, Ok)?;
        let provider = match chosen {
            ProviderArg::Local => Provider::Local,
            ProviderArg::ControlPlane => Provider::ControlPlane,
            ProviderArg::Kind => Provider::Kind(self.images()?),
            ProviderArg::Current => Provider::Current(Current {
                context: self.context.clone().unwrap_or_default(),
                load: self
                    .load
                    .clone()
                    .map(|load| Ok::<_, anyhow::Error>((self.images()?, load)))
                    .transpose()?,
                restart: self.restart.clone(),
            }),
        };
        let told = tell_at_once(provider, self.only, Some(tools::HELM.ready()?), self.at_once)?;
        println!("\n{} passed, {} failed, {} skipped", told.passed, told.failed, told.skipped.len());
        if told.failed > 0 {
            bail!("{} stories failed; the logs are in {}", told.failed, folder().display());
        }
        Ok(())
    }

    /// The operator's image and the example's, made anew unless they shall not.
    fn images(&self) -> Result<Images> {
        if !self.no_build {
            return Ok(Images { operator: dist::image()?, own_kind: Some(dist::own_kind()?) });
        }
        let own_kind = Some(dist::own_kind_archive()).filter(|archive| archive.is_file());
        Ok(Images { operator: check::archive()?, own_kind })
    }
}

/// The provider that comes nearest to what users have.
fn best() -> Result<ProviderArg> {
    let answers = |program: &str, word: &str| {
        let mut command = Command::new(program);
        command.arg(word).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let (chosen, why) = if answers("kind", "version") && answers("docker", "info") {
        (ProviderArg::Kind, "kind: it is on the path, and docker answers".to_owned())
    } else if let Some(obstacle) = demo::obstacle()? {
        bail!("no cluster can be made here: there is no kind with a docker that answers, and {obstacle}")
    } else if let Ok(programs) = provider::control_plane_programs() {
        let why = format!(
            "control-plane: its programs are in {}; there is no kind with a docker",
            programs.display()
        );
        (ProviderArg::ControlPlane, why)
    } else {
        (
            ProviderArg::Local,
            "local: neither kind with docker nor a control plane's programs are here".to_owned(),
        )
    };
    println!("provider {why}");
    Ok(chosen)
}

/// Where a run of this process leaves its logs.
pub(crate) fn folder() -> PathBuf {
    shell::target().join("e2e").join(std::process::id().to_string())
}

/// Tells the stories with the programs as they are built, and says how each ended.
pub(crate) fn tell(provider: Provider, only: Vec<String>, helm: Option<PathBuf>) -> Result<Summary> {
    tell_at_once(provider, only, helm, AT_ONCE)
}

fn tell_at_once(
    provider: Provider,
    only: Vec<String>,
    helm: Option<PathBuf>,
    at_once: usize,
) -> Result<Summary> {
    let python_operator =
        suites::python_operator().inspect_err(|error| println!("no Python operator: {error:#}")).ok();
    let own_kind = shell::program("own-kind");
    let endings = ::e2e::run(&Options {
        provider,
        operator: shell::program("dask-operator"),
        cache: shell::target(),
        folder: std::path::absolute(folder())?,
        only,
        at_once,
        tools: Tools { helm, python_operator, own_kind: Some(own_kind).filter(|program| program.is_file()) },
    })?;
    let mut summary = Summary { passed: 0, failed: 0, skipped: Vec::new() };
    println!();
    for ending in &endings {
        let word = match &ending.result {
            Ok(Told::Whole) => {
                summary.passed += 1;
                "passed".to_owned()
            }
            Ok(Told::Skipped(reason)) => {
                summary.skipped.push(format!("{} skipped: {reason}", ending.story));
                format!("skipped: {reason}")
            }
            Err(error) => {
                summary.failed += 1;
                format!("FAILED: {error:#}")
            }
        };
        println!("{:<14}{:>6.1} s  {word}", ending.story, ending.took.as_secs_f64());
    }
    Ok(summary)
}
