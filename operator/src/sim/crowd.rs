//! A crowd of equal clusters before the engine alone, without an API server: for figures of thousands.
//!
//! One cluster is brought up in a [`Sim`]; what is there of it then is shown to an engine many times, under other names. What
//! the engine writes to resources of ours is kept and shown to it again, so that it comes to rest.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Sim, SimConfig, create, story};
use crate::engine::{Answer, Engine, Question, Source, Task, What, Work};
use crate::execute::Outcome;
use crate::names;
use crate::observe::{Key, Kind};
use crate::plan::{Step, Target};
use crate::plugin::{Change, Registry};
use crate::run;
use crate::scheduler::Snapshot;
use crate::settings::Settings;
use crate::store::Event;

/// The cluster that all are made after.
const MODEL: &str = "model";
/// How uids begin on the API server in memory.
const UID: &str = "00000000-0000-4000";

/// An engine and what it is shown.
pub struct Crowd {
    /// The operator.
    pub engine: Engine,
    /// Writes the engine asked for.
    pub writes: u64,
    /// When schedulers were asked.
    pub questions: Vec<Timestamp>,
    /// How often plugins outside were asked.
    pub asked: u64,
    now: Timestamp,
    wanted: u32,
    ours: BTreeMap<Key, Value>,
    version: u64,
}

impl Crowd {
    /// So many clusters of so many workers, all of them up; with autoscalers if asked for. Only then is kept what is written:
    /// otherwise all that costs memory here is the engine.
    ///
    /// # Panics
    /// If our own objects are refused or cannot be read.
    pub fn new(clusters: usize, workers: usize, autoscaled: bool) -> Self {
        Self::made(clusters, workers, autoscaled, autoscaled, &Registry::default())
    }

    /// The same for an operator with plugins, of which those outside want nothing; what is written is kept.
    ///
    /// # Panics
    /// If our own objects are refused or cannot be read.
    pub fn advised(clusters: usize, workers: usize, plugins: &Registry) -> Self {
        Self::made(clusters, workers, false, true, plugins)
    }

    fn made(clusters: usize, workers: usize, autoscaled: bool, keep: bool, plugins: &Registry) -> Self {
        let mut sim = Sim::new(SimConfig::default());
        let object = story::cluster(MODEL, 1);
        sim.user(&create(names::API_VERSION, "daskclusters", Some("default"), &object))
            .expect("a cluster is accepted");
        sim.advance(SignedDuration::from_secs(30));
        let sources = run::sources(&[], plugins);
        let mut crowd = Self {
            engine: Engine::new(Settings::default(), sources.clone(), 1).with(plugins.clone()),
            writes: 0,
            questions: Vec::new(),
            asked: 0,
            now: sim.now(),
            wanted: workers as u32,
            ours: BTreeMap::new(),
            version: 1_000_000,
        };
        for source in &sources {
            crowd.engine.observe(source, Event::Init, crowd.now);
            let models = models(&sim, &source.what, workers, autoscaled);
            for number in 0..clusters {
                for model in &models {
                    let text = model.replace(MODEL, &format!("c{number}"));
                    let text = text.replace(UID, &format!("{:08x}-0000-4000", number + 1));
                    let object: Value = serde_json::from_str(&text).expect("it was JSON before");
                    if let (What::Resource(kind), true) = (source.what.clone(), keep) {
                        let name = object["metadata"]["name"].as_str().unwrap_or_default();
                        crowd.ours.insert(Key::new(kind, "default", name), object.clone());
                    }
                    crowd.show(source, object, Event::InitApply);
                }
            }
            crowd.engine.observe(source, Event::InitDone, crowd.now);
        }
        crowd
    }

    /// Lets time pass; all that becomes due happens at its time. Schedulers wish for as many workers as there are.
    ///
    /// # Panics
    /// If what a plugin is shown cannot be written.
    pub fn advance(&mut self, by: SignedDuration) {
        let end = self.now + by;
        loop {
            match self.engine.next(self.now) {
                Some(Work::Execute(task)) => self.execute(&task),
                Some(Work::Poll(question)) => self.answer(&question),
                Some(Work::Ask(question)) => {
                    self.asked += 1;
                    // What is sent is written in any case.
                    let sent = serde_json::to_vec(&*question.view);
                    assert!(sent.is_ok(), "a view can be written");
                    self.engine.advised(&question, Ok(Change::default()), self.now);
                }
                // Nothing is left of plugins that are gone.
                Some(Work::Follow(_)) => {}
                None => match self.engine.wake_at().filter(|at| *at <= end) {
                    Some(at) => self.now = at.max(self.now + SignedDuration::from_millis(1)),
                    None => break,
                },
            }
        }
        self.now = end;
    }

    /// The present time.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Somebody sets a label on every cluster.
    pub fn label(&mut self, value: &str) {
        let clusters = self.ours.keys().filter(|key| key.kind == Kind::Cluster).cloned();
        for key in clusters.collect::<Vec<_>>() {
            self.change(&key, &json!({"metadata": {"labels": {"example.org/label": value}}}));
        }
    }

    fn execute(&mut self, task: &Task) {
        let mut outcome = Outcome::default();
        for step in task.plan.steps() {
            self.writes += 1;
            match step {
                Step::Status { key, body } => {
                    outcome.status_written = true;
                    self.change(key, &json!({"status": body}));
                }
                Step::Patch { target: Target::Resource(key), body } => self.change(key, body),
                _ => {}
            }
        }
        self.engine.finished(task, outcome, self.now);
    }

    fn answer(&mut self, question: &Question) {
        self.questions.push(self.now);
        let ask = question.ask;
        let answer = Answer {
            workers: ask.workers.then(|| Ok(Snapshot::default())),
            target: ask.target.then_some(Ok(self.wanted)),
            idle: ask.idle.then_some(Ok(None)),
            path: None,
        };
        self.engine.answered(question, answer, self.now);
    }

    fn change(&mut self, key: &Key, patch: &Value) {
        let Some(object) = self.ours.get_mut(key) else { return };
        merge(object, patch);
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let object = object.clone();
        let source = Source { what: What::Resource(key.kind), namespace: None };
        self.show(&source, object, Event::Apply);
    }

    fn show(&mut self, source: &Source, object: Value, event: fn(kube::core::DynamicObject) -> Event) {
        let object = serde_json::from_value(object).expect("it is an object");
        self.engine.observe(source, event(object), self.now);
    }
}

/// What there is of the model, as text in which its name and the beginning of its uids can be replaced.
fn models(sim: &Sim, what: &What, workers: usize, autoscaled: bool) -> Vec<String> {
    let (api_version, plural) = match what {
        What::Resource(kind) => (names::API_VERSION, kind.plural()),
        What::Child(crate::observe::ChildKind::Deployment) => ("apps/v1", "deployments"),
        What::Child(crate::observe::ChildKind::Service) => ("v1", "services"),
        What::Child(crate::observe::ChildKind::Pod) => ("v1", "pods"),
        What::Added(_) | What::Related(_) => return Vec::new(),
    };
    let mut objects = sim.list(api_version, plural);
    objects.retain(|object| object["metadata"]["name"].as_str().is_some_and(|name| name.starts_with(MODEL)));
    if plural == "daskautoscalers" && autoscaled {
        let clusters = sim.list(names::API_VERSION, "daskclusters");
        let uid = clusters.first().map(|cluster| cluster["metadata"]["uid"].clone()).unwrap_or_default();
        let owner = json!({"apiVersion": names::API_VERSION, "kind": "DaskCluster", "name": MODEL, "uid": uid, "controller": true});
        objects.push(json!({
            "apiVersion": names::API_VERSION, "kind": "DaskAutoscaler",
            "metadata": {
                "name": MODEL, "namespace": "default", "uid": format!("{UID}-8000-00000000a000"), "resourceVersion": "1",
                "generation": 1, "ownerReferences": [owner],
            },
            "spec": {"cluster": MODEL, "minimum": 0, "maximum": 1_000},
        }));
    }
    if plural == "daskworkergroups" {
        for group in &mut objects {
            group["spec"]["worker"]["replicas"] = workers.into();
        }
    }
    let is_worker = |object: &Value| object["metadata"]["labels"][names::COMPONENT] == "worker";
    let (worker, mut objects): (Vec<Value>, Vec<Value>) = objects.into_iter().partition(is_worker);
    for number in 0..workers {
        for mut pod in worker.iter().cloned() {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            pod["metadata"]["name"] = format!("{}{number:06}", &name[..name.len() - 6]).into();
            pod["metadata"]["uid"] = format!("{UID}-8000-{number:012}").into();
            objects.push(pod);
        }
    }
    objects.iter().map(Value::to_string).collect()
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else { return patch.clone_into(target) };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().map(|map| map.remove(key));
        } else {
            merge(&mut target[key], value);
        }
    }
}
