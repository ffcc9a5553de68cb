//! How workers made from an earlier template are replaced: who may go and how many may be made now.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::build::Desired;
use super::worker::Worker;
use crate::api::{UpdateStrategy, UpdateType};
use crate::conditions::Condition;
use crate::spec::Invalid;

/// What a `RollingUpdate` allows that does not say it, as with Kubernetes' Deployment.
const SHARE: Amount = Amount::Percent(25);

/// A checked update strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// Whoever wants a new worker deletes the old one.
    OnDelete,
    /// A few at a time.
    Rolling {
        /// Workers that may be missing.
        unavailable: Amount,
        /// Workers that may be too many.
        surge: Amount,
    },
    /// All at once.
    Recreate,
}

/// A number of workers, or a share of those that are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So many.
    Number(usize),
    /// So many of a hundred.
    Percent(usize),
}

/// What is to be done now.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    /// How many workers there may be at most.
    pub most: usize,
    /// How many are to be made.
    pub make: usize,
    /// How many of `candidates` are to be retired.
    pub retire: usize,
    /// Who may be retired.
    pub candidates: Vec<&'a Worker>,
    /// These are to be deleted at once, whatever they hold.
    pub at_once: Vec<&'a Worker>,
    /// Nothing is made before those have gone.
    pub clearing: bool,
    /// How many workers of an earlier template are left.
    outdated: usize,
    update: Update,
}

impl Update {
    /// Checks a strategy.
    pub(crate) fn read(given: Option<&UpdateStrategy>, path: &str) -> Result<Self, Invalid> {
        let Some(given) = given else { return Ok(Self::OnDelete) };
        match given.type_ {
            UpdateType::OnDelete => return Ok(Self::OnDelete),
            UpdateType::Recreate => return Ok(Self::Recreate),
            UpdateType::RollingUpdate => {}
        }
        let bounds = given.rolling_update.clone().unwrap_or_default();
        let path = format!("{path}.rollingUpdate");
        let amount = |name: &str, given: Option<&IntOrString>| {
            given.map_or(Ok(SHARE), |given| Amount::read(given, &format!("{path}.{name}")))
        };
        let unavailable = amount("maxUnavailable", bounds.max_unavailable.as_ref())?;
        let surge = amount("maxSurge", bounds.max_surge.as_ref())?;
        if unavailable.is_zero() && surge.is_zero() {
            return Err(Invalid::spec(format!(
                "{path}: maxUnavailable and maxSurge are both 0, so that nothing could ever be replaced"
            )));
        }
        Ok(Self::Rolling { unavailable, surge })
    }

    /// What is to be done now with the workers that count: those `staying`. `all` are those that are going or have ended besides.
    pub(super) fn turn<'a>(
        self,
        staying: &[&'a Worker],
        all: &'a [Worker],
        desired: &Desired,
        replicas: usize,
    ) -> Turn<'a> {
        let (outdated, updated): (Vec<&Worker>, Vec<&Worker>) =
            staying.iter().copied().partition(|worker| desired.is_outdated(worker));
        let mut turn = Turn {
            most: replicas,
            make: replicas.saturating_sub(staying.len()),
            retire: 0,
            candidates: Vec::new(),
            at_once: Vec::new(),
            clearing: false,
            outdated: all.iter().filter(|worker| worker.alive() && desired.is_outdated(worker)).count(),
            update: self,
        };
        match self {
            // Those that are going still have their places: no two templates side by side.
            Self::Recreate => {
                turn.clearing = all.iter().any(|worker| !worker.ended() && desired.is_outdated(worker));
                if turn.clearing {
                    turn.make = 0;
                }
                turn.at_once =
                    all.iter().filter(|worker| worker.alive() && desired.is_outdated(worker)).collect();
            }
            Self::Rolling { unavailable, surge } if turn.outdated > 0 => {
                // Those that are being retired still have their places: the surge bounds all that run.
                let running = all.iter().filter(|worker| worker.alive()).count();
                let bounds = (unavailable.of(replicas, false), surge.of(replicas, true));
                turn.roll(&outdated, &updated, running, replicas, bounds);
            }
            Self::OnDelete | Self::Rolling { .. } => {}
        }
        let counted = if turn.at_once.is_empty() { staying.len() } else { updated.len() };
        let excess = counted.saturating_sub(turn.most);
        if excess > 0 {
            // Fewer are wanted: those that would have to go anyway go first.
            turn.retire = excess;
            let prefer = self != Self::OnDelete && outdated.len() >= excess;
            turn.candidates = if prefer { outdated } else { staying.to_vec() };
        }
        turn
    }
}

impl<'a> Turn<'a> {
    /// Whether the workers are those of the present template; with counts.
    pub(super) fn condition(&self, alive: usize) -> Condition {
        const KIND: &str = "UpToDate";
        if self.outdated == 0 {
            return Condition::yes(KIND, "UpToDate", "all workers were made from the present template");
        }
        let counts = format!("{} of {alive} workers were made from another template", self.outdated);
        match self.update {
            Update::OnDelete => {
                Condition::no(KIND, "Outdated", format!("{counts}; delete them to renew them"))
            }
            Update::Rolling { .. } | Update::Recreate => {
                Condition::no(KIND, "Updating", format!("{counts} and are being replaced"))
            }
        }
    }

    /// Workers of the present template, of so many that are alive.
    pub(super) fn updated(&self, alive: usize) -> usize {
        alive.saturating_sub(self.outdated)
    }

    /// As Kubernetes' Deployment does it: new ones within the surge; old ones that are not ready first, then as many ready ones
    /// as are not needed.
    fn roll(
        &mut self,
        outdated: &[&'a Worker],
        updated: &[&'a Worker],
        running: usize,
        replicas: usize,
        (unavailable, surge): (usize, usize),
    ) {
        // Rounding may have left nothing to move with.
        let unavailable = if unavailable + surge == 0 { 1 } else { unavailable };
        self.most = replicas + surge;
        self.make = self.most.saturating_sub(running).min(replicas.saturating_sub(updated.len()));
        let least = replicas.saturating_sub(unavailable);
        let (serving, idle): (Vec<&Worker>, Vec<&Worker>) =
            outdated.iter().copied().partition(|worker| worker.ready());
        let updated_ready = updated.iter().filter(|worker| worker.ready()).count();
        if idle.is_empty() {
            self.retire = serving.len().min((serving.len() + updated_ready).saturating_sub(least));
            self.candidates = serving;
        } else {
            self.retire = idle.len();
            self.candidates = idle;
        }
    }
}

impl Amount {
    fn read(given: &IntOrString, path: &str) -> Result<Self, Invalid> {
        let wrong = |text: &str| {
            Invalid::spec(format!("{path}: {text} is neither a number of workers nor percent such as 25%"))
        };
        match given {
            IntOrString::Int(number) => {
                usize::try_from(*number).map(Self::Number).map_err(|_| wrong(&number.to_string()))
            }
            IntOrString::String(text) => text
                .strip_suffix('%')
                .and_then(|number| number.parse().ok())
                .map(Self::Percent)
                .ok_or_else(|| wrong(text)),
        }
    }

    fn is_zero(self) -> bool {
        matches!(self, Self::Number(0) | Self::Percent(0))
    }

    fn of(self, replicas: usize, up: bool) -> usize {
        match self {
            Self::Number(number) => number,
            Self::Percent(percent) if up => (replicas * percent).div_ceil(100),
            Self::Percent(percent) => replicas * percent / 100,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(given: &serde_json::Value, expected: Result<Update, &str>) {
        let strategy: UpdateStrategy = serde_json::from_value(given.clone()).expect("it can be read");
        let read = Update::read(Some(&strategy), "spec.x");
        assert_eq!(read.map_err(|invalid| invalid.message), expected.map_err(str::to_owned), "{given}");
    }

    fn rolling(unavailable: Amount, surge: Amount) -> Update {
        Update::Rolling { unavailable, surge }
    }

    #[test]
    fn bounds_are_numbers_or_percent_and_not_both_nothing() {
        let with = |bounds: serde_json::Value| json!({"type": "RollingUpdate", "rollingUpdate": bounds});
        check(&json!({}), Ok(Update::OnDelete));
        check(&json!({"type": "Recreate"}), Ok(Update::Recreate));
        check(&json!({"type": "RollingUpdate"}), Ok(rolling(SHARE, SHARE)));
        check(
            &with(json!({"maxUnavailable": 0, "maxSurge": "100%"})),
            Ok(rolling(Amount::Number(0), Amount::Percent(100))),
        );
        check(
            &with(json!({"maxUnavailable": "half"})),
            Err(
                "spec.x.rollingUpdate.maxUnavailable: half is neither a number of workers nor percent such as 25%",
            ),
        );
        check(
            &with(json!({"maxUnavailable": 0, "maxSurge": "0%"})),
            Err(
                "spec.x.rollingUpdate: maxUnavailable and maxSurge are both 0, so that nothing could ever be replaced",
            ),
        );
    }

    #[test]
    fn percent_are_rounded_so_that_less_is_missing_and_more_too_many() {
        assert_eq!((SHARE.of(10, false), SHARE.of(10, true)), (2, 3));
        assert_eq!((SHARE.of(0, false), SHARE.of(0, true)), (0, 0));
        assert_eq!(Amount::Number(3).of(1, true), 3);
    }
}
