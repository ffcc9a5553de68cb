//! What a DaskAutoscaler says of itself.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::View;
use crate::conditions::{self, Condition};

/// The status: whether it can act, and the number it wants.
pub(super) fn status(
    view: &View,
    said: Condition,
    desired: Option<i64>,
    now: Timestamp,
) -> Map<String, Value> {
    let resource = &view.resource;
    let mut status = Map::new();
    status.insert("observedGeneration".into(), json!(resource.generation));
    if let Some(desired) = desired {
        status.insert("desired".into(), json!(desired));
    }
    status.insert(
        "conditions".into(),
        conditions::list(&resource.status["conditions"], &[said], resource.generation, now),
    );
    status
}
