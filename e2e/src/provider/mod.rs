//! Where a cluster comes from.

mod control_plane;
mod current;
mod kind;
mod local;

use std::path::PathBuf;

use anyhow::Result;

use crate::Options;
use crate::process::Running;

/// A way to get a cluster. All but `Current` make one of their own and take it away again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// `dask-operator local`: API server in memory, pods as processes of this machine.
    Local,
    /// A real API server without nodes, by the scripts `up` and `down` in a folder.
    ControlPlane,
    /// A cluster in containers, by kind.
    Kind,
    /// A context of the user's own kubeconfig, by its name.
    Current(String),
}

/// A cluster that is up.
pub struct Cluster {
    /// The file by which clients reach it.
    pub kubeconfig: PathBuf,
    /// The context in that file, if not its current one.
    pub context: Option<String>,
    /// Whether pods run, or only exist.
    pub runs_pods: bool,
    /// Whether the operator runs already.
    pub has_operator: bool,
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
    Command(std::process::Command),
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
            Self::ControlPlane => control_plane::up(&options.folder),
            Self::Kind => kind::up(&options.folder),
            Self::Current(context) => current::up(context),
        }
    }
}

/// The local cluster without the operator, whose place others take: pods with images of this catalogue.
///
/// # Errors
/// When it does not start.
pub fn local_without_operator(options: &Options, images: &std::path::Path) -> Result<Cluster> {
    local::without_operator(options, images)
}

impl Cluster {
    /// Nothing of it is taken down at the end.
    fn keeps(kubeconfig: PathBuf) -> Self {
        Self { kubeconfig, context: None, runs_pods: true, has_operator: false, guard: Guard::Nothing }
    }

    /// Whether it goes at the end.
    pub fn is_ours(&self) -> bool {
        !matches!(self.guard, Guard::Nothing)
    }
}
