//! Leases, by `pkg/apis/coordination/validation`.

use serde_json::Value;

use super::rules::{Rows, Rule};

pub(super) const TABLE: Rows = &[
    ("spec.leaseDurationSeconds", Rule::AtLeast(1, "must be greater than 0")),
    ("spec.leaseTransitions", Rule::Natural),
];

/// Leases are not given by strategies, which is no default of Kubernetes (`CoordinatedLeaderElection`).
pub(super) fn drop_disabled(lease: &mut Value) {
    for field in ["strategy", "preferredHolder"] {
        super::set_or_remove(&mut lease["spec"], field, None);
    }
}
