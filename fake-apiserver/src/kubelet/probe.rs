//! When a probe's results change what is known of a container. Pure; the asking is done by `prober`.

use std::time::Duration;

use k8s_openapi::api::core::v1::Probe;

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ProbeKind {
    /// Holds the others back until it succeeds; failure kills the container.
    Startup,
    /// Decides whether the container takes part in services.
    Readiness,
    /// Failure kills the container.
    Liveness,
}

impl ProbeKind {
    /// As events name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }
}

/// Times and thresholds of a probe, with the API's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rhythm {
    /// From the start of the container to the first try.
    pub(super) initial_delay: Duration,
    /// From try to try.
    pub(super) period: Duration,
    /// How long one try may take.
    pub(super) timeout: Duration,
    success_threshold: u32,
    failure_threshold: u32,
}

impl From<&Probe> for Rhythm {
    fn from(probe: &Probe) -> Self {
        let number = |value: Option<i32>, default: u32| {
            value.and_then(|value| u32::try_from(value).ok()).filter(|&value| value > 0).unwrap_or(default)
        };
        let seconds = |value: Option<i32>, default: u32| Duration::from_secs(number(value, default).into());
        Self {
            initial_delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            success_threshold: number(probe.success_threshold, 1),
            failure_threshold: number(probe.failure_threshold, 3),
        }
    }
}

/// Counts results in a row.
#[derive(Clone, Debug)]
pub(super) struct Tracker {
    rhythm: Rhythm,
    last: Option<bool>,
    run: u32,
}

impl Tracker {
    /// Nothing known yet.
    pub(super) fn new(rhythm: Rhythm) -> Self {
        Self { rhythm, last: None, run: 0 }
    }

    /// Takes one result; returns it when it has come often enough in a row to count.
    pub(super) fn observe(&mut self, ok: bool) -> Option<bool> {
        self.run = if self.last == Some(ok) { self.run.saturating_add(1) } else { 1 };
        self.last = Some(ok);
        let threshold = if ok { self.rhythm.success_threshold } else { self.rhythm.failure_threshold };
        (self.run >= threshold).then_some(ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracker(success: i32, failure: i32) -> Tracker {
        let probe =
            Probe { success_threshold: Some(success), failure_threshold: Some(failure), ..Probe::default() };
        Tracker::new(Rhythm::from(&probe))
    }

    fn results(tracker: &mut Tracker, tries: &str) -> String {
        let said = |ok| match tracker.observe(ok) {
            None => '.',
            Some(true) => 'Y',
            Some(false) => 'N',
        };
        tries.chars().map(|c| c == 'y').map(said).collect()
    }

    #[test]
    fn failures_count_only_after_so_many_in_a_row() {
        assert_eq!(results(&mut tracker(1, 3), "ynnynnnn"), "Y..Y..NN");
    }

    #[test]
    fn successes_count_only_after_so_many_in_a_row() {
        assert_eq!(results(&mut tracker(2, 1), "ynyyn"), ".N.YN");
    }

    #[test]
    fn missing_numbers_have_the_defaults_of_the_api() {
        let rhythm = Rhythm::from(&Probe::default());
        assert_eq!(rhythm.period.as_secs(), 10);
        assert_eq!(rhythm.timeout.as_secs(), 1);
        assert_eq!((rhythm.success_threshold, rhythm.failure_threshold), (1, 3));
    }
}
