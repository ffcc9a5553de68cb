//! From the loose DaskAutoscaler to one that can be acted on.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::wishes::WINDOW_MAX;
use crate::api::DaskAutoscalerSpec;
use crate::names;
use crate::observe::Resource;
use crate::settings::Pace;
use crate::spec::{self, Invalid};

/// A DaskAutoscaler that can be acted on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Valid {
    /// Never fewer workers than this, over all groups.
    pub minimum: i64,
    /// Never more workers than this. It wins where it is below the minimum, as in today's operator.
    pub maximum: i64,
    /// What is scaled, in the order in which it is filled.
    pub groups: Vec<Bounds>,
    /// Ready workers of the cluster's other groups count towards the scheduler's wish. Not where nothing was said of groups:
    /// today's operator leaves them out.
    pub shared: bool,
    /// Between two questions to the scheduler.
    pub interval: SignedDuration,
    /// Upwards.
    pub up: Window,
    /// Downwards.
    pub down: Window,
    /// At most this many percent of a group's ready workers go at once, and at least one.
    pub percent: i64,
}

/// A group that is scaled, and within what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Name of the DaskWorkerGroup.
    pub name: String,
    /// Fewest workers.
    pub minimum: i64,
    /// Most workers.
    pub maximum: i64,
}

/// When the numbers may move in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// For how long the wish must have lasted.
    pub stabilization: SignedDuration,
    /// For how long after a change they stay.
    pub cooldown: SignedDuration,
}

/// Checks the spec; what it does not say is said by `pace`.
pub fn validate(resource: &Resource, pace: &Pace) -> Result<Valid, Invalid> {
    let spec: DaskAutoscalerSpec = spec::read(resource)?;
    spec::natural("spec.minimum", spec.minimum)?;
    spec::natural("spec.maximum", spec.maximum)?;
    let behavior = spec.behavior.clone().unwrap_or_default();
    let (up, down) = (behavior.scale_up.unwrap_or_default(), behavior.scale_down.unwrap_or_default());
    let window = |name: &str, stabilization: Option<i64>, cooldown: Option<i64>| {
        let path = format!("spec.behavior.{name}");
        let stabilization = seconds(&format!("{path}.stabilizationWindowSeconds"), stabilization)?;
        if stabilization.is_some_and(|window| window > WINDOW_MAX) {
            let most = WINDOW_MAX.as_secs();
            return Err(Invalid::spec(format!("{path}.stabilizationWindowSeconds can be at most {most}")));
        }
        Ok(Window {
            stabilization: stabilization.unwrap_or_default(),
            cooldown: seconds(&format!("{path}.cooldownSeconds"), cooldown)?.unwrap_or(pace.cooldown),
        })
    };
    let percent = down.percent.unwrap_or(i64::from(pace.shrink_percent));
    if !(1..=100).contains(&percent) {
        return Err(Invalid::spec(format!(
            "spec.behavior.scaleDown.percent is {percent}; it must be between 1 and 100"
        )));
    }
    let interval = seconds("spec.pollingIntervalSeconds", spec.polling_interval_seconds)?;
    if interval == Some(SignedDuration::ZERO) {
        return Err(Invalid::spec("spec.pollingIntervalSeconds is 0; it must be at least 1"));
    }
    Ok(Valid {
        minimum: spec.minimum,
        maximum: spec.maximum,
        groups: groups(&spec)?,
        shared: spec.worker_group.is_some() || spec.groups.is_some(),
        interval: interval.unwrap_or(pace.poll),
        up: window("scaleUp", up.stabilization_window_seconds, up.cooldown_seconds)?,
        down: window("scaleDown", down.stabilization_window_seconds, down.cooldown_seconds)?,
        percent,
    })
}

fn groups(spec: &DaskAutoscalerSpec) -> Result<Vec<Bounds>, Invalid> {
    let whole = |name: &str| vec![Bounds { name: name.into(), minimum: 0, maximum: i64::MAX }];
    let given = match (&spec.worker_group, &spec.groups) {
        (Some(_), Some(_)) => {
            return Err(Invalid::spec(
                "spec.workerGroup and spec.groups exclude each other; give one of them",
            ));
        }
        (Some(name), None) => return Ok(whole(name)),
        (None, None) => return Ok(whole(&names::default_group(&spec.cluster))),
        (None, Some(given)) if given.is_empty() => {
            return Err(Invalid::spec("spec.groups is empty; leave it out to scale the default group"));
        }
        (None, Some(given)) => given,
    };
    let mut known = BTreeSet::new();
    let mut groups = Vec::new();
    for (index, group) in given.iter().enumerate() {
        let path = format!("spec.groups[{index}]");
        let minimum = group.minimum.unwrap_or(0);
        spec::natural(&format!("{path}.minimum"), minimum)?;
        if let Some(maximum) = group.maximum {
            spec::natural(&format!("{path}.maximum"), maximum)?;
        }
        let maximum = group.maximum.unwrap_or(i64::MAX);
        if minimum > maximum {
            return Err(Invalid::spec(format!("{path}.minimum is greater than its maximum")));
        }
        if !known.insert(&group.name) {
            return Err(Invalid::spec(format!("{path}.name: {} is there twice", group.name)));
        }
        groups.push(Bounds { name: group.name.clone(), minimum, maximum });
    }
    Ok(groups)
}

fn seconds(path: &str, given: Option<i64>) -> Result<Option<SignedDuration>, Invalid> {
    let Some(number) = given else { return Ok(None) };
    Ok(Some(SignedDuration::from_secs(i64::from(spec::natural(path, number)?))))
}
