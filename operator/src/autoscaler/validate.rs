//! From the loose DaskAutoscaler to one that can be acted on.

use crate::api::DaskAutoscalerSpec;
use crate::observe::Resource;
use crate::spec;

/// A DaskAutoscaler that can be acted on.
#[derive(Clone, Debug)]
pub struct Valid {
    /// Never fewer workers than this.
    pub minimum: i64,
    /// Never more workers than this. It wins where it is below the minimum, as in today's operator.
    pub maximum: i64,
}

/// Why a DaskAutoscaler cannot be acted on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// CamelCase.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// Checks the spec.
pub fn validate(resource: &Resource) -> Result<Valid, Invalid> {
    let spec: DaskAutoscalerSpec =
        spec::read(resource).map_err(|message| Invalid { reason: "InvalidSpec", message })?;
    if spec.minimum < 0 || spec.maximum < 0 {
        let message = format!(
            "spec.minimum is {} and spec.maximum {}; neither may be negative",
            spec.minimum, spec.maximum
        );
        return Err(Invalid { reason: "InvalidSpec", message });
    }
    Ok(Valid { minimum: spec.minimum, maximum: spec.maximum })
}
