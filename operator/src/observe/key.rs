//! Which of our resources.

use crate::names;

/// The four kinds, in the order in which they depend on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// DaskJob.
    Job,
    /// DaskCluster.
    Cluster,
    /// DaskWorkerGroup.
    WorkerGroup,
    /// DaskAutoscaler.
    Autoscaler,
}

impl Kind {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Job, Self::Cluster, Self::WorkerGroup, Self::Autoscaler];

    /// `DaskCluster` …
    pub fn name(self) -> &'static str {
        match self {
            Self::Job => "DaskJob",
            Self::Cluster => "DaskCluster",
            Self::WorkerGroup => "DaskWorkerGroup",
            Self::Autoscaler => "DaskAutoscaler",
        }
    }

    /// `daskclusters` …
    pub fn plural(self) -> &'static str {
        match self {
            Self::Job => "daskjobs",
            Self::Cluster => "daskclusters",
            Self::WorkerGroup => "daskworkergroups",
            Self::Autoscaler => "daskautoscalers",
        }
    }

    /// `apiVersion` of all four.
    pub fn api_version(self) -> &'static str {
        names::API_VERSION
    }
}

/// One of our resources.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Kind.
    pub kind: Kind,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// From its parts.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.kind.name(), self.namespace, self.name)
    }
}
