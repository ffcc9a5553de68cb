//! Random histories: users, nodes and the network do what a seed says, while the operator works.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::script::NAMESPACE;
use super::{Sim, SimConfig, create, dask, definitions, delete, patch};
use crate::engine;
use crate::names;
use crate::observe::Key;
use crate::plan::Step;
use crate::scheduler::WorkerStatus;
use crate::scheduler::model::Model;
use crate::scheduler::scripted::Fault as DaskFault;
use crate::seed::Seed;
use crate::store::call::Verb;
use crate::store::faults::{Fault, Rule};

/// How a history went.
pub struct Story {
    /// The world at its end.
    pub sim: Sim,
    /// How often each kind of event happened, for counters of what was reached.
    pub reached: std::collections::BTreeMap<&'static str, u32>,
    /// Tasks that had no result when they should, in words.
    pub unfinished: Vec<String>,
}

const CLUSTERS: [&str; 2] = ["alpha", "beta"];
const JOBS: [&str; 1] = ["sum"];

/// Plays a history of `length` events chosen by `seed`, then lets faults stop and everything come to rest.
pub fn play(seed: u64, length: usize) -> Story {
    let mut draw = Seed(seed);
    let mut sim = Sim::new(SimConfig { seed, ..SimConfig::default() });
    // Where the Python operator was before, its definitions are there still.
    if draw.below(4) == 0 {
        for request in definitions::todays() {
            let _ = sim.user(&request);
        }
    }
    let mut story = Story { sim, reached: std::collections::BTreeMap::new(), unfinished: Vec::new() };
    for _ in 0..length {
        let happened = story.happen(&mut draw);
        *story.reached.entry(happened).or_default() += 1;
    }
    story.sim.store.heal();
    story.sim.scheduler.heal();
    story.sim.advance(SignedDuration::from_mins(15));
    // Results that somebody wants keep the last workers of a group that is to have none.
    story.unfinished = story.unfinished();
    for host in story.sim.scheduler.hosts() {
        story.sim.scheduler.set(&host, Model::release);
    }
    story.sim.advance(SignedDuration::from_mins(5));
    story
}

impl Story {
    fn happen(&mut self, draw: &mut Seed) -> &'static str {
        let number = draw.below(1_000_000);
        match draw.below(23) {
            0..=9 => {
                self.sim.step_by(number);
                "step"
            }
            10 | 11 => {
                let seconds = 1 + draw.below(20) as i64;
                self.pass(SignedDuration::from_secs(seconds), draw);
                "time"
            }
            12 => self.cluster(draw),
            13 | 14 => self.scale(draw),
            15 => self.job(draw),
            16 => self.kill_pod(draw),
            17 => self.remove(draw),
            18 => self.fault(draw),
            19 | 20 => self.submit(draw),
            21 => self.scheduler_fault(draw),
            _ => {
                self.sim.restart();
                "restart"
            }
        }
    }

    /// Time passes while events still happen in an order of the seed's choosing.
    fn pass(&mut self, by: SignedDuration, draw: &mut Seed) {
        let end = self.sim.now() + by;
        while self.sim.now() < end {
            for _ in 0..draw.below(8) {
                if !self.sim.step_by(draw.below(1_000_000)) {
                    break;
                }
            }
            self.sim.server.advance(SignedDuration::from_millis(500));
        }
    }

    fn cluster(&mut self, draw: &mut Seed) -> &'static str {
        let name = CLUSTERS[draw.below(CLUSTERS.len())];
        let object = cluster(name, draw.below(4));
        let _ = self.sim.user(&create(names::API_VERSION, "daskclusters", Some(NAMESPACE), &object));
        "cluster"
    }

    fn scale(&mut self, draw: &mut Seed) -> &'static str {
        let name = CLUSTERS[draw.below(CLUSTERS.len())];
        let body = json!({"spec": {"worker": {"replicas": draw.below(6)}}});
        let (plural, name) = match draw.below(2) {
            0 => ("daskworkergroups", names::default_group(name)),
            _ => ("daskclusters", name.to_owned()),
        };
        let _ = self.sim.user(&patch(names::API_VERSION, plural, NAMESPACE, &name, body));
        "scale"
    }

    fn job(&mut self, draw: &mut Seed) -> &'static str {
        let name = JOBS[draw.below(JOBS.len())];
        let object = job(name, draw.below(2));
        let _ = self.sim.user(&create(names::API_VERSION, "daskjobs", Some(NAMESPACE), &object));
        "job"
    }

    fn kill_pod(&mut self, draw: &mut Seed) -> &'static str {
        let pods = self.sim.list("v1", "pods");
        if let Some(pod) = (!pods.is_empty()).then(|| &pods[draw.below(pods.len())]) {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            self.excuse(|other| other["metadata"]["name"] == name);
            let _ = self.sim.user(&delete("v1", "pods", NAMESPACE, &name));
        }
        "pod killed"
    }

    fn remove(&mut self, draw: &mut Seed) -> &'static str {
        let (plural, name) = match draw.below(3) {
            0 => ("daskjobs", JOBS[0]),
            _ => ("daskclusters", CLUSTERS[draw.below(CLUSTERS.len())]),
        };
        self.excuse(|pod| pod["metadata"]["labels"][names::CLUSTER_NAME] == name);
        let _ = self.sim.user(&delete(names::API_VERSION, plural, NAMESPACE, name));
        "removed"
    }

    /// Clients hand in tasks.
    fn submit(&mut self, draw: &mut Seed) -> &'static str {
        let hosts = self.sim.scheduler.hosts();
        if let Some(host) = (!hosts.is_empty()).then(|| &hosts[draw.below(hosts.len())]) {
            for _ in 0..=draw.below(6) {
                let takes = SignedDuration::from_secs(1 + draw.below(40) as i64);
                self.sim.scheduler.set(host, |model| model.submit(takes, draw.below(1_000) as u64));
            }
            self.sim.scheduler.work(self.sim.now());
        }
        "tasks"
    }

    /// What becomes of these pods' workers is not the operator's doing.
    fn excuse(&mut self, which: impl Fn(&Value) -> bool) {
        let ips: Vec<String> =
            self.sim.list("v1", "pods").iter().filter(|pod| which(pod)).map(dask::ip).collect();
        for host in self.sim.scheduler.hosts() {
            self.sim
                .scheduler
                .set(&host, |model| ips.iter().for_each(|ip| model.excuse(&format!("//{ip}:"))));
        }
    }

    /// The next calls to a scheduler fail.
    fn scheduler_fault(&mut self, draw: &mut Seed) -> &'static str {
        let hosts = self.sim.scheduler.hosts();
        if let Some(host) = (!hosts.is_empty()).then(|| &hosts[draw.below(hosts.len())]) {
            let number = 1 + draw.below(3);
            let faults: Vec<DaskFault> =
                (0..number).map(|_| DaskFault::ALL[draw.below(DaskFault::ALL.len())]).collect();
            self.sim.scheduler.fail(host, faults);
        }
        "scheduler fault"
    }

    /// Tasks without a result though there are workers and nothing fails any more.
    fn unfinished(&self) -> Vec<String> {
        let unfinished = |host: &String| {
            let (held, all, idle) = self.sim.scheduler.set(host, |model| {
                let (held, all) = model.results();
                (held, all, model.workers.values().all(|worker| worker.status != WorkerStatus::Running))
            });
            (held < all && !idle).then(|| format!("{host}: {held} of {all} tasks have their result"))
        };
        self.sim.scheduler.hosts().iter().filter_map(unfinished).collect()
    }

    fn fault(&mut self, draw: &mut Seed) -> &'static str {
        let kinds = ["Pod", "Deployment", "Service", "DaskCluster", "DaskWorkerGroup", "DaskJob"];
        let verbs = [Verb::Create, Verb::Patch, Verb::Delete];
        let faults = [
            Fault::Conflict,
            Fault::Busy { seconds: 1 },
            Fault::BeforeSend,
            Fault::ResponseLost,
            Fault::Quota,
        ];
        let rule = Rule::nth(
            verbs[draw.below(verbs.len())],
            kinds[draw.below(kinds.len())],
            1 + draw.below(3) as u64,
            faults[draw.below(faults.len())],
        );
        self.sim.store.add(rule);
        "fault"
    }
}

/// What is wrong with a world that has come to rest: every sentence names an object.
pub fn judge(sim: &Sim) -> Vec<String> {
    let mut wrong = sim.scheduler.lost();
    wrong.extend(overlooked(sim));
    let groups = sim.list(names::API_VERSION, "daskworkergroups");
    let pods = sim.list("v1", "pods");
    for cluster in sim.list(names::API_VERSION, "daskclusters") {
        let name = cluster["metadata"]["name"].as_str().unwrap_or_default();
        if !cluster["metadata"]["deletionTimestamp"].is_null() {
            wrong.push(format!("cluster {name} never goes"));
            continue;
        }
        if cluster["status"]["phase"] != "Running" {
            wrong.push(format!("cluster {name} is {}", cluster["status"]["phase"]));
        }
        if !groups.iter().any(|group| group["metadata"]["name"] == names::default_group(name)) {
            wrong.push(format!("cluster {name} has no default group"));
        }
    }
    for group in &groups {
        let name = group["metadata"]["name"].as_str().unwrap_or_default();
        let wanted = group["spec"]["worker"]["replicas"].as_u64().unwrap_or(1) as usize;
        let there = pods.iter().filter(|pod| pod["metadata"]["labels"][names::GROUP_NAME] == name).count();
        if there != wanted {
            wrong.push(format!("group {name} has {there} workers and should have {wanted}"));
        }
    }
    for job in sim.list(names::API_VERSION, "daskjobs") {
        let name = job["metadata"]["name"].as_str().unwrap_or_default();
        let state = job["status"]["jobStatus"].as_str().unwrap_or("nothing");
        if !matches!(state, "Successful" | "Failed") {
            wrong.push(format!("job {name} is {state} though its runner ends within seconds"));
        }
        let cluster = sim.list(names::API_VERSION, "daskclusters");
        if cluster.iter().any(|cluster| cluster["metadata"]["name"] == name) {
            wrong.push(format!("the cluster of the ended job {name} is still there"));
        }
    }
    wrong
}

/// Plans that nobody has asked for: whatever they depend on has changed without the resource being looked at.
fn overlooked(sim: &Sim) -> Vec<String> {
    let (world, now) = (&sim.engine.world, sim.now());
    let wants = |key: &Key| engine::plan(world, key, now).steps().map(Step::summary).next();
    let keys = world.cache.resources().map(|resource| resource.key.clone());
    keys.filter_map(|key| Some(format!("{key} was not looked at: {}", wants(&key)?))).collect()
}

/// Everything that carries one of our labels: nothing of it may be left once our resources are gone.
pub fn labelled(sim: &Sim) -> Vec<String> {
    let kinds = [
        ("v1", "pods"),
        ("v1", "services"),
        ("apps/v1", "deployments"),
        ("apps/v1", "replicasets"),
        (names::API_VERSION, "daskclusters"),
        (names::API_VERSION, "daskworkergroups"),
        (names::API_VERSION, "daskjobs"),
    ];
    let name = |object: &Value| format!("{} {}", object["kind"], object["metadata"]["name"]);
    kinds
        .iter()
        .flat_map(|(api_version, plural)| sim.list(api_version, plural))
        .filter(|object| !object["metadata"]["labels"][names::CLUSTER_NAME].is_null())
        .map(|object| name(&object))
        .collect()
}

/// A cluster for histories.
pub fn cluster(name: &str, replicas: usize) -> Value {
    json!({
        "apiVersion": names::API_VERSION, "kind": "DaskCluster",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": cluster_spec(replicas),
    })
}

/// A job for histories; its runner ends after some seconds with the given code.
pub fn job(name: &str, exit_code: usize) -> Value {
    json!({
        "apiVersion": names::API_VERSION, "kind": "DaskJob",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "job": {
                "metadata": {"annotations": {
                    "fake-apiserver.dev/exit-after": "5",
                    "fake-apiserver.dev/exit-code": exit_code.to_string(),
                }},
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "job", "image": "ghcr.io/dask/dask"}],
                },
            },
            "cluster": {"spec": cluster_spec(2)},
        },
    })
}

fn cluster_spec(replicas: usize) -> Value {
    json!({
        "worker": {
            "replicas": replicas,
            "spec": {"containers": [{"name": "worker", "image": "ghcr.io/dask/dask"}]},
        },
        "scheduler": {
            "spec": {"containers": [{"name": "scheduler", "image": "ghcr.io/dask/dask"}]},
            "service": {"ports": [{"name": "tcp-comm", "port": 8786}, {"name": "http-dashboard", "port": 8787}]},
        },
    })
}
