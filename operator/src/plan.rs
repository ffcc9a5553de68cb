//! A plan: what is to be written, as data.
//!
//! No step's input is another step's answer; what must be learnt is learnt by the next observation.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::names;
use crate::observe::{Child, ChildId, Key, Resource};
use crate::plugin::ExtraId;
use crate::scheduler::SchedulerAddress;
use crate::store::Propagation;

/// What to do about one resource, and when to look again.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Stages run in order and stop at the first failed one; the steps within a stage are independent of each other.
    pub stages: Vec<Vec<Step>>,
    /// When to look again even if nothing happens.
    pub again: Option<Timestamp>,
    /// Ask the scheduler of this cluster.
    pub poll: Option<Poll>,
    /// What the resource waits for, in the words of its conditions.
    pub waiting: Vec<String>,
}

/// A question to a Dask scheduler, asked at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Its workers, with what they hold and run.
    pub workers: bool,
    /// How many workers it wants.
    pub target: bool,
    /// Since when it has been idle.
    pub idle: bool,
    /// For how long its wishes for workers are to be remembered.
    pub window: SignedDuration,
}

impl Ask {
    /// What two ask for together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            workers: self.workers || other.workers,
            target: self.target || other.target,
            idle: self.idle || other.idle,
            window: self.window.max(other.window),
        }
    }
}

/// A wish to have the scheduler asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    /// Namespace of the cluster.
    pub namespace: String,
    /// The cluster.
    pub cluster: String,
    /// What is asked.
    pub ask: Ask,
    /// When.
    pub at: Timestamp,
}

/// One write.
#[derive(Clone, Debug)]
pub enum Step {
    /// POST. An object of that name that already exists is not an error: the next observation will show whose it is.
    Create {
        /// What is made.
        target: Target,
        /// The whole object.
        body: Value,
        /// For children: how they count until a watch shows them.
        expect: Option<Box<Child>>,
    },
    /// Merge patch of the object (not its status).
    Patch {
        /// What is changed.
        target: Target,
        /// The patch. With `metadata.resourceVersion` it applies only to that version.
        body: Value,
    },
    /// DELETE with the uid as precondition.
    Delete {
        /// What is deleted.
        target: Target,
        /// Only the object with this uid.
        uid: String,
        /// Only in this version: where the reason for deleting is the state it was seen in.
        resource_version: Option<String>,
        /// Whether what it owns goes after it or before it.
        propagation: Propagation,
        /// Why, for the log.
        why: &'static str,
    },
    /// Ask the scheduler to give workers no more tasks and to move what they hold. They stay.
    Retire {
        /// The scheduler that is asked.
        at: SchedulerAddress,
        /// Workers whose retirement begins.
        victims: Vec<Victim>,
    },
    /// Ask the scheduler to let workers go, then delete exactly the carriers for which it confirmed that.
    Drain {
        /// The scheduler that is asked.
        at: SchedulerAddress,
        /// Workers that go.
        victims: Vec<Victim>,
        /// They have been waited for long enough: if the scheduler does not answer, they are deleted without its word.
        overdue: bool,
    },
    /// Merge patch of the status, through whichever endpoint the installed CRD serves.
    Status {
        /// Whose.
        key: Key,
        /// The fields that change.
        body: Value,
    },
    /// A Kubernetes Event. Named after its content, so that saying it twice is one event.
    Announce(Announcement),
}

/// A worker to be retired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Victim {
    /// Its carrier: a Pod or Deployment.
    pub carrier: ChildId,
    /// The carrier's uid.
    pub uid: String,
    /// Addresses of the Dask workers it runs (several with `--nworkers`).
    pub addresses: Vec<String>,
}

/// What a write is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A child.
    Child(ChildId),
    /// A resource of ours.
    Resource(Key),
    /// A child that a plugin adds.
    Extra(ExtraId),
}

impl Target {
    /// `apiVersion`, `kind`, namespace and name.
    pub fn parts(&self) -> (&str, &str, &str, &str) {
        match self {
            Self::Child(id) => {
                let (api_version, kind) = id.kind.gvk();
                (api_version, kind, &id.namespace, &id.name)
            }
            Self::Resource(key) => (key.kind.api_version(), key.kind.name(), &key.namespace, &key.name),
            Self::Extra(id) => (&id.type_.api_version, &id.type_.kind, &id.namespace, &id.name),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Child(id) => id.fmt(f),
            Self::Resource(key) => key.fmt(f),
            Self::Extra(id) => id.fmt(f),
        }
    }
}

/// A Kubernetes Event to be posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The resource it is about.
    pub about: Key,
    /// That resource's uid.
    pub uid: String,
    /// `Warning` instead of `Normal`.
    pub warning: bool,
    /// CamelCase, for machines.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

impl Plan {
    /// A plan that does nothing.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Appends a stage; empty ones are left out.
    pub fn stage(&mut self, steps: Vec<Step>) {
        if !steps.is_empty() {
            self.stages.push(steps);
        }
    }

    /// Appends a stage of one step.
    pub fn then(&mut self, step: Step) {
        self.stages.push(vec![step]);
    }

    /// Asks to look again at `at`, or earlier if that was asked before.
    pub fn look_again(&mut self, at: Timestamp) {
        self.again = Some(self.again.map_or(at, |known| known.min(at)));
    }

    /// All steps in order.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.stages.iter().flatten()
    }

    /// Whether nothing would be written.
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }
}

impl Step {
    /// A DELETE of a child.
    pub fn delete(child: &Child, why: &'static str) -> Self {
        Self::Delete {
            target: Target::Child(child.id.clone()),
            uid: child.uid.to_string(),
            resource_version: None,
            propagation: Propagation::Background,
            why,
        }
    }

    /// A DELETE of a child that holds only while the child is as it was seen.
    pub fn delete_as_seen(child: &Child, why: &'static str) -> Self {
        Self::Delete {
            target: Target::Child(child.id.clone()),
            uid: child.uid.to_string(),
            resource_version: Some(child.resource_version.to_string()),
            propagation: Propagation::Background,
            why,
        }
    }

    /// A Kubernetes Event about a resource.
    pub fn announce(about: &Resource, warning: bool, reason: &'static str, message: String) -> Self {
        Self::Announce(Announcement {
            about: about.key.clone(),
            uid: about.uid.clone(),
            warning,
            reason,
            message,
        })
    }

    /// The child this step makes, if it makes one.
    pub fn creates(&self) -> Option<&ChildId> {
        match self {
            Self::Create { target: Target::Child(id), .. } => Some(id),
            _ => None,
        }
    }

    /// Whether the scheduler is asked for something.
    pub fn asks_scheduler(&self) -> bool {
        matches!(self, Self::Retire { .. } | Self::Drain { .. })
    }

    /// The worker that this step marks as being retired, if it does.
    pub fn marks(&self) -> Option<&ChildId> {
        match self {
            Self::Patch { target: Target::Child(id), body }
                if body["metadata"]["annotations"][names::RETIRING_SINCE].is_string() =>
            {
                Some(id)
            }
            _ => None,
        }
    }

    /// The plugins that wanted what it writes, or wanted it otherwise than the operator would.
    pub fn advised_by(&self) -> Option<&str> {
        let (Self::Create { body, .. } | Self::Patch { body, .. }) = self else { return None };
        let metadata = &body["metadata"];
        metadata["labels"][names::PLUGIN]
            .as_str()
            .or_else(|| metadata["annotations"][names::EDITED_BY].as_str())
    }

    /// One line for logs and transcripts, without the body.
    pub fn summary(&self) -> String {
        match self {
            Self::Create { target, .. } => format!("create {target}"),
            // Whatever a plugin adds may be secret.
            Self::Patch { target: target @ Target::Extra(_), .. } => format!("patch {target}"),
            Self::Patch { target, body } => format!("patch {target} {body}"),
            Self::Delete { target, why, .. } => format!("delete {target} ({why})"),
            Self::Retire { at, victims } => format!("retire {} [{}]", at.service, carriers(victims)),
            Self::Drain { at, victims, overdue } => {
                let how = if *overdue { " overdue" } else { "" };
                format!("drain {} [{}]{how}", at.service, carriers(victims))
            }
            Self::Status { key, body } => format!("status {key} {body}"),
            Self::Announce(said) => {
                let kind = if said.warning { "Warning" } else { "Normal" };
                format!("announce {kind} {} on {}: {}", said.reason, said.about, said.message)
            }
        }
    }
}

fn carriers(victims: &[Victim]) -> String {
    victims.iter().map(|victim| &*victim.carrier.name).collect::<Vec<_>>().join(", ")
}
