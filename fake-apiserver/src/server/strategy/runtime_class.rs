//! `RuntimeClasses`, by `pkg/apis/node/validation`.

use super::rules::{Rows, Rule};
use crate::server::names;

pub(super) const TABLE: Rows = &[("handler", Rule::Required("")), ("handler", Rule::Text(names::dns_label))];
