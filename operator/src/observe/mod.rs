//! Observation: what the operator knows of the world, and nothing else it could ask for.

mod cache;
mod child;
mod key;
mod pod;
mod resource;

pub use cache::Cache;
pub use child::{Child, ChildId, ChildKind, Component, DeploymentFacts, Facts, Owner, ServiceFacts};
pub use key::{Key, Kind};
pub use pod::{Blocked, Phase, PodFacts};
pub use resource::Resource;
