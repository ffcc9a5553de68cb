//! What the operator follows.

use std::sync::Arc;

use crate::observe::{ChildKind, Kind};
use crate::plugin::{ChildType, Related};

/// One followed collection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// What is followed.
    pub what: What,
    /// The namespace, or all.
    pub namespace: Option<String>,
}

/// What a collection holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// Resources of ours.
    Resource(Kind),
    /// Children.
    Child(ChildKind),
    /// Children of a kind that plugins add.
    Added(Arc<ChildType>),
    /// Objects that plugins are shown.
    Related(Arc<Related>),
}

impl What {
    /// Everything the operator follows for itself, parents before children.
    pub const ALL: [Self; 7] = [
        Self::Resource(Kind::Job),
        Self::Resource(Kind::Cluster),
        Self::Resource(Kind::WorkerGroup),
        Self::Resource(Kind::Autoscaler),
        Self::Child(ChildKind::Deployment),
        Self::Child(ChildKind::Service),
        Self::Child(ChildKind::Pod),
    ];

    /// `Pod`, `DaskCluster` …
    pub fn kind_name(&self) -> &str {
        match self {
            Self::Resource(kind) => kind.name(),
            Self::Child(kind) => kind.gvk().1,
            Self::Added(added) => &added.kind,
            Self::Related(related) => &related.kind,
        }
    }

    /// Whether it is followed for plugins alone: nothing of the operator's own waits for it.
    pub fn is_for_plugins(&self) -> bool {
        matches!(self, Self::Added(_) | Self::Related(_))
    }

    /// The kind in words.
    pub fn describe(&self) -> String {
        let kind = self.kind_name();
        match self {
            Self::Resource(_) | Self::Child(_) => kind.into(),
            Self::Added(type_) => format!("{kind} ({})", type_.api_version),
            Self::Related(related) => format!("{kind} ({})", related.api_version),
        }
    }
}
