//! Execution: the only place that writes.

use std::collections::BTreeSet;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use kube::core::{ApiResource, DynamicObject};
use serde_json::{Value, json};

use crate::conditions;
use crate::engine::{Answer, Question, Task};
use crate::names;
use crate::observe::{ChildId, ChildKind, Key};
use crate::plan::{Announcement, Step, Target, Victim};
use crate::scheduler::{Retire, Scheduler, SchedulerAddress, SchedulerError};
use crate::store::{DeleteOptions, ObjectKey, Part, Patch, PatchOptions, Store, StoreError};

/// Field manager of all writes.
pub const MANAGER: &str = "dask-operator";
/// Writes of one plan that are under way at once.
const WRITES_AT_ONCE: usize = 16;

/// Reason of a write to an endpoint that is not served (any more).
const ENDPOINT_MISSING: &str = "EndpointMissing";

/// What became of a plan.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Resources of ours as the answers to writes showed them.
    pub written: Vec<DynamicObject>,
    /// Children whose deletion was accepted.
    pub deleted: Vec<(ChildId, String)>,
    /// What was expected and will not come.
    pub undone: Vec<Target>,
    /// Workers that were to be marked as being retired, and are not.
    pub unmarked: Vec<ChildId>,
    /// The status was written.
    pub status_written: bool,
    /// Workers that it would not retire at all.
    pub kept: Vec<Victim>,
    /// An endpoint is not served any more: the definitions have changed.
    pub endpoint_missing: bool,
    /// The first failure; later stages were not begun.
    pub failure: Option<Failure>,
}

/// A write that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// CamelCase, for a condition.
    pub reason: String,
    /// For people; names the object and what to do.
    pub message: String,
    /// It may pass by itself, or means only that the cache was behind.
    pub passing: bool,
    /// How long the server asks us to wait.
    pub retry_after: Option<SignedDuration>,
}

/// What execution needs of the outside.
#[derive(Clone, Copy)]
pub struct Hands<'a> {
    /// Kubernetes.
    pub store: &'a dyn Store,
    /// Dask.
    pub scheduler: &'a dyn Scheduler,
    /// Post Events.
    pub events: bool,
}

impl std::fmt::Debug for Hands<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hands").field("events", &self.events).finish_non_exhaustive()
    }
}

/// Carries out a plan; `part` is where the status of its kind is written.
///
/// Stages run one after the other, the steps of a stage side by side; the first stage that fails is the last.
pub async fn execute(hands: Hands<'_>, task: &Task, part: Part, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    let mut stages = task.plan.stages.iter();
    for stage in stages.by_ref() {
        // Boxed one by one: a closure that borrows the step in its future is not `Send` for every lifetime.
        let mut writes: Vec<BoxFuture<'_, (&Step, Result<Done, Failure>)>> = Vec::with_capacity(stage.len());
        for step in stage {
            writes.push(run(hands, step, part, now).map(move |result| (step, result)).boxed());
        }
        let mut results = stream::iter(writes).buffered(WRITES_AT_ONCE);
        while let Some((step, result)) = results.next().await {
            match result {
                Ok(done) => outcome.take(step, done),
                Err(failure) => outcome.fail(step, failure),
            }
        }
        if outcome.failure.is_some() {
            break;
        }
    }
    // What later stages would have done is not to be expected.
    for step in stages.flatten() {
        outcome.undone.extend(undone(step));
        outcome.unmarked.extend(step.marks().cloned());
    }
    outcome
}

/// Asks a scheduler.
pub async fn ask(scheduler: &dyn Scheduler, question: &Question) -> Answer {
    let Some(at) = &question.at else { return Answer::default() };
    let mut answer = Answer::default();
    if question.ask.workers {
        answer.workers = Some(scheduler.snapshot(at).await);
    }
    if question.ask.target {
        answer.target = Some(scheduler.desired_workers(at).await);
    }
    if question.ask.idle {
        answer.idle = Some(scheduler.idle_since(at).await);
    }
    answer.path = scheduler.path(at);
    answer
}

/// What one step gave.
#[derive(Debug, Default)]
struct Done {
    written: Option<DynamicObject>,
    deleted: Vec<(ChildId, String)>,
    kept: Vec<Victim>,
}

impl Outcome {
    fn take(&mut self, step: &Step, done: Done) {
        self.status_written |= matches!(step, Step::Status { .. });
        self.written.extend(done.written);
        self.deleted.extend(done.deleted);
        self.kept.extend(done.kept);
    }

    fn fail(&mut self, step: &Step, failure: Failure) {
        self.endpoint_missing |= failure.reason == ENDPOINT_MISSING;
        tracing::debug!(step = step.summary(), message = failure.message, "a step failed");
        self.undone.extend(undone(step));
        self.unmarked.extend(step.marks().cloned());
        // A lasting reason says more than a passing one.
        let replace = self.failure.as_ref().is_none_or(|known| known.passing && !failure.passing);
        if replace {
            let message = match step.advised_by() {
                Some(plugin) => format!("plugin {plugin}: {}", failure.message),
                None => failure.message,
            };
            self.failure = Some(Failure { message, ..failure });
        }
    }
}

fn undone(step: &Step) -> Option<Target> {
    match step {
        Step::Create { target, .. }
        | Step::Delete { target, .. }
        | Step::Patch { target: target @ Target::Extra(_), .. } => Some(target.clone()),
        _ => None,
    }
}

async fn run(hands: Hands<'_>, step: &Step, part: Part, now: Timestamp) -> Result<Done, Failure> {
    tracing::debug!(step = step.summary(), "writing");
    match step {
        Step::Create { target, body, .. } => create(hands.store, target, body).await,
        Step::Patch { target, body } => patch(hands.store, target, body, Part::Object).await,
        Step::Status { key, body } => {
            patch(hands.store, &Target::Resource(key.clone()), &json!({"status": body}), part).await
        }
        Step::Delete { target, uid, resource_version, propagation, .. } => {
            let resource_version = resource_version.clone();
            let propagation = *propagation;
            let options = DeleteOptions { resource_version, propagation, ..DeleteOptions::of_uid(uid) };
            delete(hands.store, target, uid, &options).await
        }
        Step::Retire { at, victims } => retire(hands, at, victims).await,
        Step::Drain { at, victims, overdue } => drain(hands, at, victims, *overdue).await,
        Step::Announce(said) if hands.events => announce(hands.store, said, now).await,
        Step::Announce(_) => Ok(Done::default()),
    }
}

async fn create(store: &dyn Store, target: &Target, body: &Value) -> Result<Done, Failure> {
    let resource = resource_of(target);
    let object: DynamicObject = serde_json::from_value(body.clone()).map_err(|error| Failure {
        reason: "Malformed".into(),
        message: format!("{target} cannot be written as an object: {error}"),
        passing: false,
        retry_after: None,
    })?;
    match store.create(&resource, &object, MANAGER).await {
        Ok(object) => Ok(Done { written: ours(target, object), ..Done::default() }),
        Err(StoreError::AlreadyExists { .. }) => taken(store, target, &resource).await,
        Err(error) => Err(failure(&error)),
    }
}

/// The name is taken: by something a watch will show, or by something that is none of ours.
async fn taken(store: &dyn Store, target: &Target, resource: &ApiResource) -> Result<Done, Failure> {
    let found = store.get(resource, &key_of(target)).await.map_err(|error| failure(&error))?;
    let carries = |label: &str| {
        let labels = found.as_ref().and_then(|object| object.metadata.labels.as_ref());
        labels.is_some_and(|labels| labels.contains_key(label))
    };
    let labelled = found.is_none()
        || match target {
            Target::Resource(_) => true,
            Target::Child(_) => carries(names::COMPONENT),
            Target::Extra(_) => carries(names::PLUGIN),
        };
    if labelled {
        return Ok(Done::default());
    }
    Err(Failure {
        reason: "NameTaken".into(),
        message: format!("{target} exists already and is not the operator's; delete it or use another name"),
        passing: false,
        retry_after: None,
    })
}

async fn patch(store: &dyn Store, target: &Target, body: &Value, part: Part) -> Result<Done, Failure> {
    let options = PatchOptions { manager: MANAGER.into(), part };
    match store.patch(&resource_of(target), &key_of(target), &Patch::Merge(body.clone()), &options).await {
        // The definition has got a status endpoint since we looked: the main resource's dropped what was said.
        Ok(object) if part == Part::Object && !said(&body["status"], &object.data["status"]) => {
            Err(Failure {
                reason: ENDPOINT_MISSING.into(),
                message: format!("the status of {target} was not stored; looking for another endpoint"),
                passing: true,
                retry_after: None,
            })
        }
        Ok(object) => Ok(Done { written: ours(target, object), ..Done::default() }),
        // Either it went away in the meantime, and its watch event says the rest; or the definitions were changed under the
        // operator and another endpoint is the right one now. The answer is the same for both.
        Err(error @ StoreError::NotFound { .. }) => {
            match store.get(&resource_of(target), &key_of(target)).await.map_err(|error| failure(&error))? {
                None => Ok(Done::default()),
                Some(_) => Err(Failure { reason: ENDPOINT_MISSING.into(), ..failure(&error) }),
            }
        }
        Err(error) => Err(failure(&error)),
    }
}

/// Whether what was written is in the answer, as far as it is text: phases and states.
fn said(written: &Value, answer: &Value) -> bool {
    let written = written.as_object().into_iter().flatten();
    written.filter(|(_, value)| value.is_string()).all(|(field, value)| answer[field] == *value)
}

async fn delete(
    store: &dyn Store,
    target: &Target,
    uid: &str,
    options: &DeleteOptions,
) -> Result<Done, Failure> {
    store.delete(&resource_of(target), &key_of(target), options).await.map_err(|error| failure(&error))?;
    let deleted = match target {
        Target::Child(id) => vec![(id.clone(), uid.to_owned())],
        Target::Resource(_) | Target::Extra(_) => Vec::new(),
    };
    Ok(Done { deleted, ..Done::default() })
}

/// Begins the retirement of workers. Of a carrier with several Dask workers some may be kept; they are asked for again.
async fn retire(hands: Hands<'_>, at: &SchedulerAddress, victims: &[Victim]) -> Result<Done, Failure> {
    let confirmed =
        ask_to_retire(hands, at, victims, Retire::Begin).await.map_err(|error| not_retired(&error))?;
    let refused = |victim: &&Victim| !victim.addresses.iter().any(|address| confirmed.contains(address));
    Ok(Done { kept: victims.iter().filter(refused).cloned().collect(), ..Done::default() })
}

/// Lets workers go, then deletes exactly the carriers all of whose workers the scheduler has confirmed to be gone.
///
/// Those that are overdue go without its word too, but only if it does not answer: if it answers that it keeps one, that one
/// stays.
async fn drain(
    hands: Hands<'_>,
    at: &SchedulerAddress,
    victims: &[Victim],
    overdue: bool,
) -> Result<Done, Failure> {
    let confirmed = match ask_to_retire(hands, at, victims, Retire::Finish).await {
        Ok(confirmed) => Some(confirmed),
        Err(error) if overdue => {
            tracing::warn!(
                service = at.service,
                error = error.in_full(),
                "workers go without the scheduler's word"
            );
            None
        }
        Err(error) => return Err(not_retired(&error)),
    };
    let goes = |victim: &&Victim| {
        confirmed.as_ref().is_none_or(|gone| victim.addresses.iter().all(|address| gone.contains(address)))
    };
    // Boxed one by one, as in `execute`.
    let mut deletions: Vec<BoxFuture<'_, Result<Done, Failure>>> = Vec::with_capacity(victims.len());
    for victim in victims.iter().filter(goes) {
        let target = Target::Child(victim.carrier.clone());
        let options = DeleteOptions::of_uid(&victim.uid);
        deletions.push(async move { delete(hands.store, &target, &victim.uid, &options).await }.boxed());
    }
    let mut done = Done::default();
    let mut failed = None;
    let mut deletions = stream::iter(deletions).buffered(WRITES_AT_ONCE);
    // The scheduler has forgotten all of them: each is deleted, whatever becomes of another.
    while let Some(deleted) = deletions.next().await {
        match deleted {
            Ok(one) => done.deleted.extend(one.deleted),
            Err(failure) => failed = Some(failure),
        }
    }
    failed.map_or(Ok(done), Err)
}

async fn ask_to_retire(
    hands: Hands<'_>,
    at: &SchedulerAddress,
    victims: &[Victim],
    how: Retire,
) -> Result<BTreeSet<String>, SchedulerError> {
    let addresses: Vec<String> = victims.iter().flat_map(|victim| victim.addresses.iter().cloned()).collect();
    hands.scheduler.retire(at, &addresses, how).await
}

fn not_retired(error: &SchedulerError) -> Failure {
    Failure {
        reason: "NotRetired".into(),
        message: format!("the scheduler was asked to retire workers: {}", error.in_full()),
        passing: true,
        retry_after: None,
    }
}

/// Events are named after their content, so that a repeated one collides with itself. Failing to post one fails nothing.
async fn announce(store: &dyn Store, said: &Announcement, now: Timestamp) -> Result<Done, Failure> {
    let about = &said.about;
    let hash = names::hex(&[&said.uid, said.reason, &said.message], 16);
    let time = conditions::seconds(now);
    let event = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": format!("{}.{hash}", about.name), "namespace": about.namespace},
        "involvedObject": {
            "apiVersion": about.kind.api_version(), "kind": about.kind.name(),
            "namespace": about.namespace, "name": about.name, "uid": said.uid,
        },
        "type": if said.warning { "Warning" } else { "Normal" },
        "reason": said.reason,
        "message": said.message,
        "source": {"component": MANAGER},
        "reportingComponent": MANAGER,
        "reportingInstance": MANAGER,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    });
    if let Ok(object) = serde_json::from_value(event) {
        let resource = api_resource("", "v1", "Event", "events");
        if let Err(error) = store.create(&resource, &object, MANAGER).await
            && !matches!(error, StoreError::AlreadyExists { .. })
        {
            tracing::warn!(%error, "an event could not be posted");
        }
    }
    Ok(Done::default())
}

fn ours(target: &Target, mut object: DynamicObject) -> Option<DynamicObject> {
    let Target::Resource(key) = target else { return None };
    object.types.get_or_insert_with(|| kube::core::TypeMeta {
        api_version: key.kind.api_version().into(),
        kind: key.kind.name().into(),
    });
    Some(object)
}

fn failure(error: &StoreError) -> Failure {
    let passing = matches!(
        error,
        StoreError::Conflict { .. }
            | StoreError::Transient { .. }
            | StoreError::Gone { .. }
            | StoreError::Terminating { .. }
    );
    let retry_after = match error {
        StoreError::Transient { retry_after: Some(wait), .. } => SignedDuration::try_from(*wait).ok(),
        _ => None,
    };
    Failure { reason: error.reason().into(), message: error.to_string(), passing, retry_after }
}

fn key_of(target: &Target) -> ObjectKey {
    let (_, _, namespace, name) = target.parts();
    ObjectKey::namespaced(namespace, name)
}

/// The API resource of a target.
pub fn resource_of(target: &Target) -> ApiResource {
    match target {
        Target::Child(id) => child_resource(id.kind),
        Target::Resource(key) => our_resource(key),
        Target::Extra(id) => id.type_.resource(),
    }
}

/// The API resource of a kind of child.
pub fn child_resource(kind: ChildKind) -> ApiResource {
    match kind {
        ChildKind::Deployment => api_resource("apps", "v1", "Deployment", "deployments"),
        ChildKind::Pod => api_resource("", "v1", "Pod", "pods"),
        ChildKind::Service => api_resource("", "v1", "Service", "services"),
    }
}

fn our_resource(key: &Key) -> ApiResource {
    kind_resource(key.kind)
}

/// The API resource of a kind of ours.
pub fn kind_resource(kind: crate::observe::Kind) -> ApiResource {
    api_resource(names::GROUP, "v1", kind.name(), kind.plural())
}

fn api_resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    ApiResource {
        group: group.into(),
        version: version.into(),
        api_version,
        kind: kind.into(),
        plural: plural.into(),
    }
}
