//! One call to a store as a value: what the decorators match, write down and count.

use std::fmt;

use kube::core::{ApiResource, DynamicObject};

use super::{ObjectKey, Part, Scope};

/// The verbs of [`super::Store`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// `get`.
    Get,
    /// `list`.
    List,
    /// `watch`.
    Watch,
    /// `create`.
    Create,
    /// `apply`.
    Apply,
    /// `patch`.
    Patch,
    /// `delete`.
    Delete,
    /// `endpoints`.
    Discover,
}

impl Verb {
    /// Whether the verb changes something.
    pub fn writes(self) -> bool {
        matches!(self, Self::Create | Self::Apply | Self::Patch | Self::Delete)
    }

    /// One lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Apply => "apply",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::Discover => "discover",
        }
    }
}

/// Verb and target of a call. Displayed as `apply Pod/status ns/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// What is done.
    pub verb: Verb,
    /// Kind of the objects.
    pub kind: String,
    /// Endpoint of the write.
    pub part: Part,
    /// Namespace; empty for cluster scope and for all namespaces.
    pub namespace: String,
    /// Name; empty for a collection.
    pub name: String,
}

impl Call {
    /// A call about one object.
    pub fn one(verb: Verb, resource: &ApiResource, key: &ObjectKey, part: Part) -> Self {
        let namespace = key.namespace.clone().unwrap_or_default();
        Self { verb, kind: resource.kind.clone(), part, namespace, name: key.name.clone() }
    }

    /// A call that brings the object along.
    pub fn with(verb: Verb, resource: &ApiResource, object: &DynamicObject, part: Part) -> Self {
        Self::one(verb, resource, &ObjectKey::of(object), part)
    }

    /// A call about a collection.
    pub fn scope(verb: Verb, resource: &ApiResource, scope: &Scope) -> Self {
        let namespace = scope.namespace.clone().unwrap_or_default();
        Self { verb, kind: resource.kind.clone(), part: Part::Object, namespace, name: String::new() }
    }

    /// A call about a kind.
    pub fn kind(verb: Verb, resource: &ApiResource) -> Self {
        Self::scope(verb, resource, &Scope::everywhere())
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb.as_str(), self.kind)?;
        if self.part == Part::Status {
            f.write_str("/status")?;
        }
        match (self.namespace.as_str(), self.name.as_str()) {
            ("", "") => Ok(()),
            ("", name) => write!(f, " {name}"),
            (namespace, "") => write!(f, " {namespace}/*"),
            (namespace, name) => write!(f, " {namespace}/{name}"),
        }
    }
}
