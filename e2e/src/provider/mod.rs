//! Where a cluster comes from.

mod control_plane;
mod current;
mod images;
mod kind;
mod local;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::process::Running;
use crate::{Options, Tools};

pub use control_plane::programs as control_plane_programs;
pub use current::Current;

/// A way to get a cluster. All but `Current` make one of their own and take it away again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// `dask-operator local`: API server in memory, pods as processes of this machine.
    Local,
    /// A real API server with its controllers, and pods as processes of this machine.
    ControlPlane,
    /// A cluster in containers, by kind, with these images.
    Kind(Images),
    /// A context of the user's own kubeconfig.
    Current(Current),
}

/// Our images, as archives that are loaded into a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// The operator's, as `cargo xtask dist image` writes it.
    pub operator: PathBuf,
    /// That of `operator/examples/own-kind`, if it was made.
    pub own_kind: Option<PathBuf>,
}

impl Images {
    /// All that there are.
    fn archives(&self) -> impl Iterator<Item = &Path> {
        [Some(&self.operator), self.own_kind.as_ref()].into_iter().flatten().map(PathBuf::as_path)
    }
}

/// Why the example's story is not told without its program or image.
fn obstacle_without(own_kind: Option<&PathBuf>) -> Option<&'static str> {
    own_kind.is_none().then_some("operator/examples/own-kind was not built")
}

/// A cluster that is up, without an operator.
pub struct Cluster {
    /// The file by which clients reach it; its current context is the cluster's.
    pub kubeconfig: PathBuf,
    /// Programs of others that can be used on it.
    pub tools: Tools,
    /// How its API server is restarted, or why it cannot be.
    restart: Result<Vec<String>, &'static str>,
    /// Why the program of `operator/examples/own-kind` cannot run on it, if it cannot.
    obstacle_to_own_kind: Option<&'static str>,
    /// What is taken down at the end.
    guard: Guard,
}

/// What keeps a cluster up; dropping it takes the cluster down.
enum Guard {
    /// Nothing of ours.
    Nothing,
    /// A program that is the cluster.
    Program { _running: Running },
    /// A command that takes it down.
    Command(Command),
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Self::Command(command) = self
            && let Err(error) = crate::process::run(command)
        {
            eprintln!("the cluster could not be taken down: {error:#}");
        }
    }
}

impl Provider {
    /// Brings a cluster up.
    ///
    /// # Errors
    /// When it cannot be had on this machine; says what is missing.
    pub fn up(&self, options: &Options) -> Result<Cluster> {
        match self {
            Self::Local => local::up(options),
            Self::ControlPlane => control_plane::up(options),
            Self::Kind(images) => kind::up(options, images),
            Self::Current(current) => current.up(options),
        }
    }
}

/// The local cluster with pods of these images, where everybody may do everything.
///
/// # Errors
/// When it does not start.
pub fn local_with(options: &Options, images: &Path) -> Result<Cluster> {
    local::serve(options, images, &[])
}

/// The local cluster with the operators' images, where everybody may do everything.
///
/// # Errors
/// When it does not start.
pub fn local_without_roles(options: &Options) -> Result<Cluster> {
    local_with(options, &images::write(options)?)
}

impl Cluster {
    /// A client of its administrator.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub async fn client(&self) -> Result<Client> {
        let file = Kubeconfig::read_from(&self.kubeconfig)?;
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
        Client::try_from(config).context("the kubeconfig cannot be used")
    }

    /// Whether it goes at the end.
    pub fn is_ours(&self) -> bool {
        !matches!(self.guard, Guard::Nothing)
    }

    /// Why its API server cannot be restarted, if it cannot.
    pub fn obstacle_to_restart(&self) -> Option<&'static str> {
        self.restart.as_ref().err().copied()
    }

    /// Why the program of `operator/examples/own-kind` cannot run on it, if it cannot.
    pub fn obstacle_to_own_kind(&self) -> Option<&'static str> {
        self.obstacle_to_own_kind
    }

    /// Restarts its API server; it may be away for some time after this.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn restart(&self) -> Result<()> {
        let words = self.restart.as_ref().map_err(|reason| anyhow::anyhow!(*reason))?;
        let (program, arguments) = words.split_first().context("the command that restarts is empty")?;
        crate::process::run(Command::new(program).args(arguments))
    }
}

/// Writes a file that its owner alone may read.
fn write_secret(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}
