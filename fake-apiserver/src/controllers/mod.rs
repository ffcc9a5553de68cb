//! The built-in controllers: each a small file, driven by the server's step.
//!
//! One reader follows the change log for all of them and keeps what most of them ask for ([`observed::Observed`]);
//! each controller only marks work in its own queue when it sees a change, and does it when it is its turn.
//! All reads are of the newest state, so no controller has to remember what it has just written.

mod backends;
mod cluster_role;
mod control_loop;
mod daemon_set;
mod deployment;
mod disruption;
mod endpoint_slice;
mod endpoints;
mod events;
mod garbage_collector;
mod job;
mod kubelet;
mod load_balancer;
mod names;
mod namespace;
mod node;
mod node_taints;
mod object;
mod observed;
mod options;
mod pod;
mod queue;
mod replica_set;
mod revision;
mod scheduler;
mod service_account;
mod stateful_set;
mod template;
mod token;
mod volume_protection;

use jiff::Timestamp;

pub use kubelet::{ANNOTATION_PREFIX, Life, LogLine};
pub use options::{NodeOptions, Options, Rule};
pub use queue::Work;

use crate::server::{Api, ApiServer};
use control_loop::{Context, ControlLoop, Seen};
use events::Recorder;
use kubelet::Kubelet;
use names::Suffixes;
use observed::{Observed, Read};
use queue::Queue;

/// Whether the condition `Ready` of a pod is true.
pub(crate) fn is_ready(pod: &serde_json::Value) -> bool {
    object::is_true(pod, "Ready")
}

/// One thing that could be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Name of the controller.
    pub controller: &'static str,
    /// What it would look at.
    pub work: Work,
}

/// The built-in controllers with their queues.
pub struct Controllers {
    options: Options,
    observed: Observed,
    loops: Vec<(Box<dyn ControlLoop>, Queue)>,
    kubelet: (Kubelet, Queue),
    recorder: Recorder,
    suffixes: Suffixes,
    started: bool,
}

/// Index of the kubelet among the controllers: it comes first.
const KUBELET: usize = 0;
/// Bound of the units of one step, so that controllers that disagree cannot hang the server.
const MAX_UNITS: usize = 2_000_000;

impl Controllers {
    /// Controllers that have seen nothing yet.
    pub fn new(options: Options) -> Self {
        // Pods settle first, then what owns them, then what only reports: one write for many changes.
        let loops: Vec<Box<dyn ControlLoop>> = vec![
            Box::new(service_account::ServiceAccounts),
            Box::new(token::Tokens),
            Box::new(cluster_role::ClusterRoles),
            Box::new(node::Nodes),
            Box::new(scheduler::Scheduler::default()),
            Box::new(replica_set::ReplicaSets),
            Box::new(stateful_set::StatefulSets),
            Box::new(daemon_set::DaemonSets),
            Box::new(job::Jobs),
            Box::new(deployment::Deployments),
            Box::new(disruption::Disruptions),
            Box::new(garbage_collector::GarbageCollector),
            Box::new(namespace::Namespaces::default()),
            Box::new(endpoint_slice::EndpointSlices::default()),
            Box::new(endpoints::EndpointsLoop::default()),
            Box::new(load_balancer::LoadBalancers),
            Box::new(volume_protection::VolumeProtection::default()),
            Box::new(events::EventLoop::default()),
        ];
        let loops = loops.into_iter().filter(|l| !options.disabled.contains(l.name()));
        Self {
            observed: Observed::default(),
            loops: loops.map(|l| (l, Queue::default())).collect(),
            kubelet: (Kubelet::default(), Queue::default()),
            recorder: Recorder::default(),
            suffixes: Suffixes::default(),
            started: false,
            options,
        }
    }

    /// The names of the controllers, in the order in which they are served.
    pub fn names(&self) -> Vec<&'static str> {
        std::iter::once(self.kubelet.0.name()).chain(self.loops.iter().map(|(l, _)| l.name())).collect()
    }

    /// How the controllers were set up.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Runs until nothing is due at `now`; returns when something will be.
    pub fn step(&mut self, server: &mut ApiServer, now: Timestamp) -> Option<Timestamp> {
        for _ in 0..MAX_UNITS {
            self.observe(server, now);
            let Some(index) = (0..=self.loops.len()).find(|index| self.queue(*index).has_ready(now)) else {
                return self.due();
            };
            if let Some(work) = self.queue_mut(index).pop(now) {
                self.run(server, index, &work, now);
            }
        }
        tracing::warn!("controllers wrote without end; their work goes on in a second");
        now.checked_add(jiff::SignedDuration::from_secs(1)).ok()
    }

    /// Everything that could be done at `now`, in the order in which [`Controllers::step`] would serve it.
    pub fn pending_work(&mut self, server: &mut ApiServer, now: Timestamp) -> Vec<Unit> {
        self.observe(server, now);
        let mut units = Vec::new();
        for index in 0..=self.loops.len() {
            let controller = self.name(index);
            units.extend(self.queue(index).ready(now).map(|work| Unit { controller, work: work.clone() }));
        }
        units
    }

    /// Does one thing of [`Controllers::pending_work`]; nothing when there is no such index.
    pub fn step_one(&mut self, server: &mut ApiServer, index: usize, now: Timestamp) {
        self.observe(server, now);
        let mut left = index;
        for controller in 0..=self.loops.len() {
            let ready = self.queue(controller).ready(now).count();
            if left < ready {
                let Some(work) = self.queue(controller).ready(now).nth(left).cloned() else { return };
                self.queue_mut(controller).remove(&work);
                self.run(server, controller, &work, now);
                return;
            }
            left -= ready;
        }
    }

    /// When the first work is due.
    pub fn due(&self) -> Option<Timestamp> {
        (0..=self.loops.len()).filter_map(|index| self.queue(index).next()).min()
    }

    /// The log of a container of a simulated pod, oldest line first; `None` when the simulated kubelet has none.
    pub fn log(&self, pod_uid: &str, container: &str, previous: bool) -> Option<Vec<LogLine>> {
        self.kubelet.0.log(pod_uid, container, previous)
    }

    /// Feeds what has happened since the last time to every controller.
    fn observe(&mut self, server: &mut ApiServer, now: Timestamp) {
        if !self.started {
            self.started = true;
            node::register(server, &self.options, now);
        }
        loop {
            match self.observed.read(server.storage()) {
                Read::UpToDate => return,
                Read::LostHistory => {
                    self.kubelet.0.reset();
                    for (control_loop, queue) in &mut self.loops {
                        control_loop.reset();
                        queue.clear();
                    }
                }
                Read::Changes(changes) => {
                    for change in &changes {
                        let pods = self.observed.apply(change);
                        let seen = Seen {
                            now,
                            change,
                            pods: &pods,
                            observed: &self.observed,
                            server,
                            options: &self.options,
                        };
                        self.kubelet.0.observe(&seen, &mut self.kubelet.1);
                        for (control_loop, queue) in &mut self.loops {
                            control_loop.observe(&seen, queue);
                        }
                    }
                }
            }
        }
    }

    fn run(&mut self, server: &mut ApiServer, index: usize, work: &Work, now: Timestamp) {
        let (control_loop, queue): (&mut dyn ControlLoop, &mut Queue) = if index == KUBELET {
            (&mut self.kubelet.0, &mut self.kubelet.1)
        } else {
            let (control_loop, queue) = &mut self.loops[index - 1];
            (control_loop.as_mut(), queue)
        };
        let mut context = Context {
            api: &mut Api::new(server, now, control_loop.manager()),
            now,
            observed: &self.observed,
            options: &self.options,
            recorder: &mut self.recorder,
            suffixes: &mut self.suffixes,
            source: control_loop.name(),
        };
        match control_loop.sync(work, &mut context) {
            Ok(again) => {
                queue.succeeded(work);
                if let Some(at) = again {
                    queue.add(work.clone(), at.max(now));
                }
            }
            Err(status) => {
                tracing::debug!(controller = control_loop.name(), ?work, %status, "will be tried again");
                queue.failed(work.clone(), now);
            }
        }
    }

    fn name(&self, index: usize) -> &'static str {
        if index == KUBELET { self.kubelet.0.name() } else { self.loops[index - 1].0.name() }
    }

    fn queue(&self, index: usize) -> &Queue {
        if index == KUBELET { &self.kubelet.1 } else { &self.loops[index - 1].1 }
    }

    fn queue_mut(&mut self, index: usize) -> &mut Queue {
        if index == KUBELET { &mut self.kubelet.1 } else { &mut self.loops[index - 1].1 }
    }
}
