//! Operator-wide settings, with the defaults of the wire contract.

use jiff::SignedDuration;

use crate::store::served::Look;

/// What a worker is carried by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Carrier {
    /// A bare Pod: one object for each worker, and a retired worker is not resurrected.
    #[default]
    Pod,
    /// A Deployment of one replica for each worker: the Python object model, and the way back to the Python operator.
    Deployment,
}

/// Settings that hold for all resources.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What workers are carried by.
    pub carrier: Carrier,
    /// DNS domain of the cluster.
    pub domain: String,
    /// Set `sidecar.istio.io/inject: "false"` on pods; off leaves that label to the user.
    pub istio_label: bool,
    /// At most this many workers of a group are made in one round; 0 means all.
    pub batch_size: u32,
    /// Time between rounds.
    pub batch_delay: SignedDuration,
    /// Post Kubernetes Events.
    pub events: bool,
    /// How it is found out what the installed definitions keep.
    pub look: Look,
    /// Pace of the autoscaler and of idle checks.
    pub pace: Pace,
}

/// Constants of the polling loops (compatibility contract §5.3, §5.4).
#[derive(Clone, Debug)]
pub struct Pace {
    /// Between two questions to a scheduler.
    pub poll: SignedDuration,
    /// After the autoscaler has changed a number.
    pub cooldown: SignedDuration,
    /// An autoscaler takes away at most this many percent at a time, and at least one worker.
    pub shrink_percent: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            poll: SignedDuration::from_secs(5),
            cooldown: SignedDuration::from_secs(15),
            shrink_percent: 25,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            carrier: Carrier::Pod,
            domain: "cluster.local".into(),
            istio_label: true,
            batch_size: 0,
            batch_delay: SignedDuration::ZERO,
            events: true,
            look: Look::Definitions,
            pace: Pace::default(),
        }
    }
}
