//! What a DaskWorkerGroup says of itself.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::View;
use super::drain::Obstacle;
use super::update::Turn;
use crate::conditions::{self, Condition};
use crate::names;
use crate::world::Trouble;

/// What the plan found.
pub(super) struct Said<'a> {
    /// Why the last plan could not be carried out.
    pub trouble: Option<&'a Trouble>,
    /// What is waited for.
    pub waiting: &'a [String],
    /// What keeps the group from getting smaller.
    pub obstacle: Option<&'a Obstacle>,
}

/// The whole status.
pub(super) fn status(
    view: &View,
    replicas: usize,
    turn: &Turn<'_>,
    said: &Said<'_>,
    now: Timestamp,
) -> Map<String, Value> {
    let Said { trouble, waiting, obstacle } = said;
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
    let mut status = conditions_of(view, &[state, turn.condition(alive.len())], now);
    status.insert("replicas".into(), json!(alive.len()));
    status.insert("readyReplicas".into(), json!(ready));
    status.insert("updatedReplicas".into(), json!(turn.updated(alive.len())));
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
