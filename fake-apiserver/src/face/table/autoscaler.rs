//! What an autoscaler aims at.

use serde_json::Value;

use super::fields::{array, text};
use crate::server::autoscaler_versions;

/// The most metrics that are shown.
const MOST: usize = 2;

/// Current and wanted values of the metrics of an autoscaler in its newest version.
pub(super) fn targets(autoscaler: &Value) -> String {
    let statuses = array(autoscaler, "/status/currentMetrics");
    let metrics = array(autoscaler, "/spec/metrics");
    if metrics.is_empty() {
        return "<none>".to_owned();
    }
    let all: Vec<String> =
        metrics.iter().enumerate().map(|(index, metric)| target(metric, statuses.get(index))).collect();
    match all.len().checked_sub(MOST).filter(|more| *more > 0) {
        Some(more) => format!("{} + {more} more...", all[..MOST].join(", ")),
        None => all.join(", "),
    }
}

fn target(metric: &Value, status: Option<&Value>) -> String {
    let kind = text(metric, "/type");
    let Some(source) = autoscaler_versions::source_field(kind) else { return "<unknown type>".to_owned() };
    let (wanted, is) = (&metric[source]["target"], status.map(|status| &status[source]["current"]));
    let amount = |field: &str| text(wanted, &format!("/{field}")).to_owned();
    let current = |field: &str| {
        let value = is.map(|current| &current[field]).filter(|value| !value.is_null());
        value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    let unknown = || "<unknown>".to_owned();
    let averaged = !wanted["averageValue"].is_null();
    let average = || current("averageValue").unwrap_or_else(unknown);
    match kind {
        "Resource" | "ContainerResource" => {
            let name = text(&metric[source], "/name");
            if averaged {
                return format!("{name}: {}/{}", average(), amount("averageValue"));
            }
            let percent = |value: String| format!("{value}%");
            let is = current("averageUtilization").map_or_else(unknown, percent);
            let wanted = wanted["averageUtilization"].as_i64().map(|share| share.to_string());
            format!("{name}: {is}/{}", wanted.map_or_else(|| "<auto>".to_owned(), percent))
        }
        "Pods" => format!("{}/{}", average(), amount("averageValue")),
        _ if averaged => format!("{}/{} (avg)", average(), amount("averageValue")),
        _ => format!("{}/{}", current("value").unwrap_or_else(unknown), amount("value")),
    }
}
