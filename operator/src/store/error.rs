//! Why a call failed, by what the caller can do about it.

use std::{fmt, time::Duration};

use kube::core::{ApiResource, DynamicObject};

use super::ObjectKey;

/// A failed call. Each message says which object it is about and what the next step is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Somebody else changed the object, owns the field, or the precondition does not hold.
    #[error("{object} was not written because it has changed: {message}; look again and decide anew")]
    Conflict {
        /// What was written.
        object: ObjectName,
        /// The server's reason.
        message: String,
    },
    /// The name is taken.
    #[error("{object} exists already; look whose it is")]
    AlreadyExists {
        /// What was created.
        object: ObjectName,
    },
    /// The content is refused, and will be until it is changed.
    #[error("{object} is refused as invalid: {}; correct the named fields", said(causes))]
    Invalid {
        /// What was written.
        object: ObjectName,
        /// What is wrong, field by field; never empty.
        causes: Vec<Cause>,
    },
    /// We may not. With `quota` the request itself is fine and may succeed later.
    #[error("{object} is forbidden: {message}; {}", if *quota { "free or raise the quota" } else { "grant the operator this right" })]
    Forbidden {
        /// What was asked for.
        object: ObjectName,
        /// The server's reason.
        message: String,
        /// A ResourceQuota is exhausted.
        quota: bool,
    },
    /// The namespace is being deleted; nothing can be created in it any more.
    #[error("{object} cannot be created because its namespace is being deleted; wait for the end")]
    Terminating {
        /// What was created.
        object: ObjectName,
    },
    /// The object, its namespace, its kind or its endpoint is not there.
    #[error("{object} cannot be reached: {message}; create or install what is missing")]
    NotFound {
        /// What was asked for.
        object: ObjectName,
        /// What exactly is not there.
        missing: Missing,
        /// The server's reason.
        message: String,
    },
    /// The server's history no longer reaches back as far as was asked.
    #[error("{object} cannot be followed from where it was left: {message}; list again")]
    Gone {
        /// What was asked for.
        object: ObjectName,
        /// The server's reason.
        message: String,
    },
    /// The server or the way to it has a problem; the call may or may not have taken effect.
    #[error("{object} could not be processed for now: {message}; try again{}", after(*retry_after))]
    Transient {
        /// What was asked for.
        object: ObjectName,
        /// What is known.
        message: String,
        /// How long the server asks us to wait.
        retry_after: Option<Duration>,
    },
    /// The object is there and cannot be read.
    #[error("{object} cannot be read: {message}; correct it or delete it")]
    Malformed {
        /// What was read.
        object: ObjectName,
        /// What is wrong with it.
        message: String,
    },
    /// The server does not accept such a request at all; trying again does not help.
    #[error(
        "{object}: the request is refused with {code}: {message}; this is a mistake of the operator or an unsupported server"
    )]
    Unsupported {
        /// What was asked for.
        object: ObjectName,
        /// HTTP status code; 0 if there was no answer.
        code: u16,
        /// The server's reason.
        message: String,
    },
}

impl StoreError {
    /// What the call was about.
    pub fn object(&self) -> &ObjectName {
        match self {
            Self::Conflict { object, .. }
            | Self::AlreadyExists { object }
            | Self::Invalid { object, .. }
            | Self::Forbidden { object, .. }
            | Self::Terminating { object }
            | Self::NotFound { object, .. }
            | Self::Gone { object, .. }
            | Self::Transient { object, .. }
            | Self::Malformed { object, .. }
            | Self::Unsupported { object, .. } => object,
        }
    }

    /// One word for metrics, events and condition reasons.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "Conflict",
            Self::AlreadyExists { .. } => "AlreadyExists",
            Self::Invalid { .. } => "Invalid",
            Self::Forbidden { quota: true, .. } => "QuotaExceeded",
            Self::Forbidden { .. } => "Forbidden",
            Self::Terminating { .. } => "NamespaceTerminating",
            Self::NotFound { .. } => "NotFound",
            Self::Gone { .. } => "Gone",
            Self::Transient { .. } => "Transient",
            Self::Malformed { .. } => "Malformed",
            Self::Unsupported { .. } => "Unsupported",
        }
    }
}

/// What is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Missing {
    /// The object itself.
    Object,
    /// The namespace it would live in.
    Namespace,
    /// The kind or the subresource is not served.
    Endpoint,
}

/// What a call was about, for people: `Pod ns/name`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// Kind.
    pub kind: String,
    /// Namespace; empty for cluster scope and for all namespaces.
    pub namespace: String,
    /// Name; empty for a collection.
    pub name: String,
}

impl ObjectName {
    /// One object.
    pub fn one(resource: &ApiResource, key: &ObjectKey) -> Self {
        Self {
            kind: resource.kind.clone(),
            namespace: key.namespace.clone().unwrap_or_default(),
            name: key.name.clone(),
        }
    }

    /// A collection, in one namespace or in all.
    pub fn all(resource: &ApiResource, namespace: Option<&str>) -> Self {
        Self {
            kind: resource.kind.clone(),
            namespace: namespace.unwrap_or_default().into(),
            name: String::new(),
        }
    }

    /// An object in hand; `generateName` stands for a name that does not exist yet.
    pub fn of(resource: &ApiResource, object: &DynamicObject) -> Self {
        let metadata = &object.metadata;
        Self {
            kind: resource.kind.clone(),
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().or_else(|| metadata.generate_name.clone()).unwrap_or_default(),
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name } = self;
        match (namespace.is_empty(), name.is_empty()) {
            (false, false) => write!(f, "{kind} {namespace}/{name}"),
            (true, false) => write!(f, "{kind} {name}"),
            (false, true) => write!(f, "{kind} objects in {namespace}"),
            (true, true) => write!(f, "{kind} objects"),
        }
    }
}

/// One refused field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// Path of the field; empty if the server named none.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

fn said(causes: &[Cause]) -> String {
    let one = |cause: &Cause| match cause.field.as_str() {
        "" => cause.message.clone(),
        field => format!("{field}: {}", cause.message),
    };
    causes.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn after(wait: Option<Duration>) -> String {
    wait.map(|wait| format!(" in {} s", wait.as_secs())).unwrap_or_default()
}
