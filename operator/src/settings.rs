//! Operator-wide settings, with the defaults of the wire contract.

use jiff::SignedDuration;

use crate::metadata::Map;
use crate::names;
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
    /// How long a scale-down waits for a scheduler that cannot be asked, and for tasks that go on running on a worker that is to
    /// go. After that it goes on, and says so aloud: what those workers hold or run may be computed again.
    pub scale_down_grace: SignedDuration,
    /// The Secret, in each cluster's namespace, with which schedulers are spoken to over TLS. An annotation of a cluster goes
    /// before it; an empty one means none.
    pub tls_secret: Option<String>,
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

impl Settings {
    /// The Secret with which the scheduler of a cluster with these annotations is spoken to over TLS.
    pub fn tls_secret<'a>(&'a self, annotations: &'a Map) -> Option<&'a str> {
        let name = annotations.get(names::TLS_SECRET).or(self.tls_secret.as_ref())?;
        (!name.is_empty()).then_some(name)
    }

    /// [`Self::scale_down_grace`], unless one of the annotations, the first first, says otherwise.
    pub fn grace<'a>(&self, annotations: impl IntoIterator<Item = &'a Map>) -> SignedDuration {
        let own =
            annotations.into_iter().find_map(|map| map.get(names::SCALE_DOWN_GRACE)?.parse::<u32>().ok());
        own.map_or(self.scale_down_grace, |seconds| SignedDuration::from_secs(i64::from(seconds)))
    }
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
            // Longer than a node takes to be replaced or a certificate to be renewed, shorter than a night.
            scale_down_grace: SignedDuration::from_mins(30),
            tls_secret: None,
            events: true,
            look: Look::Definitions,
            pace: Pace::default(),
        }
    }
}
