//! What a DaskWorkerGroup says of itself.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::View;
use super::drain::Obstacle;
use super::update::Turn;
use crate::conditions::{self, Condition};
use crate::names;
use crate::plugin::Shape;
use crate::world::Trouble;

/// What the plan found.
pub(super) struct Said<'a> {
    /// Why the last plan could not be carried out.
    pub trouble: Option<&'a Trouble>,
    /// What is waited for.
    pub waiting: &'a [String],
    /// What keeps the group from getting smaller.
    pub obstacle: Option<&'a Obstacle>,
    /// What became of the workers by plugins.
    pub shape: &'a Shape,
}

/// The whole status.
pub(super) fn status(
    view: &View,
    replicas: usize,
    turn: &Turn<'_>,
    said: &Said<'_>,
    now: Timestamp,
) -> Map<String, Value> {
    let Said { trouble, waiting, obstacle, shape } = said;
    let alive: Vec<_> = view.workers.iter().filter(|worker| worker.alive()).collect();
    let ready = alive.iter().filter(|worker| worker.ready()).count();
    let counts = format!("{ready} of {replicas} workers are ready");
    let state = if let Some(trouble) = trouble {
        Condition::no("Ready", &trouble.reason, format!("{counts}; {}", trouble.message))
    } else if alive.len() > turn.most {
        let why = waiting.first().cloned().unwrap_or_default();
        Condition::no(
            "Ready",
            obstacle.map_or("ScalingDown", |obstacle| obstacle.reason),
            format!("{} workers exist, {replicas} are wanted; {why}", alive.len()),
        )
    } else if ready >= replicas {
        Condition::yes("Ready", "Ready", counts)
    } else if let Some(blocked) = alive.iter().find_map(|worker| worker.blocked()) {
        Condition::no("Ready", "Blocked", format!("{counts}; {blocked}"))
    } else {
        let why = waiting.first().map(|why| format!("; {why}")).unwrap_or_default();
        Condition::no("Ready", "Starting", format!("{counts}{why}"))
    };
    let selector = format!("{}=worker,{}={}", names::COMPONENT, names::GROUP_NAME, view.resource.name());
    // While plugins leave open which workers are outdated, what was said of that holds.
    let stored = &view.resource.status;
    let known = conditions::known(&stored["conditions"], "UpToDate").filter(|_| shape.unsure);
    let updated = stored["updatedReplicas"].as_u64().filter(|_| shape.unsure);
    let mut conditions = vec![state, known.unwrap_or_else(|| turn.condition(alive.len()))];
    conditions.extend(shape.conditions.iter().cloned());
    let mut status = conditions_of(view, &conditions, now);
    status.insert("replicas".into(), json!(alive.len()));
    status.insert("readyReplicas".into(), json!(ready));
    status.insert(
        "updatedReplicas".into(),
        json!(updated.map_or_else(|| turn.updated(alive.len()), |known| known as usize)),
    );
    status.insert("selector".into(), json!(selector));
    status
}

/// The status of a group that cannot be worked on.
pub(super) fn blocked(view: &View, reason: &str, message: &str, now: Timestamp) -> Map<String, Value> {
    conditions_of(view, &[Condition::no("Ready", reason, message)], now)
}

fn conditions_of(view: &View, said: &[Condition], now: Timestamp) -> Map<String, Value> {
    let resource = &view.resource;
    let mut status = Map::new();
    status.insert("observedGeneration".into(), json!(resource.generation));
    status.insert(
        "conditions".into(),
        conditions::list(&resource.status["conditions"], said, resource.generation, now),
    );
    status
}
