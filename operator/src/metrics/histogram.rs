//! Durations in classes, as Prometheus' histograms have them.

use jiff::SignedDuration;

/// Upper bounds of the classes in milliseconds: from a plan that writes nothing to a load balancer that takes minutes.
pub const BOUNDS_MS: [i64; 13] =
    [1, 5, 25, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000];

/// How many durations fell into which class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// In each class of [`BOUNDS_MS`], and in one more for what took longer; not cumulative.
    classes: [u64; BOUNDS_MS.len() + 1],
    sum: SignedDuration,
}

impl Histogram {
    /// Counts a duration; one that is negative, because a clock was set back, counts as none.
    pub fn note(&mut self, took: SignedDuration) {
        let took = took.max(SignedDuration::ZERO);
        let class = BOUNDS_MS.iter().position(|bound| took <= SignedDuration::from_millis(*bound));
        self.classes[class.unwrap_or(BOUNDS_MS.len())] += 1;
        self.sum = self.sum.saturating_add(took);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.classes.iter().sum()
    }

    /// All of them together, in seconds.
    pub fn seconds(&self) -> f64 {
        self.sum.as_secs_f64()
    }

    /// Upper bound in seconds and number of each class.
    pub fn classes(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS_MS.iter().map(|bound| *bound as f64 / 1_000.0).chain([f64::INFINITY]);
        bounds.zip(self.classes).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_in_the_first_class_that_holds_it() {
        let mut histogram = Histogram::default();
        for millis in [-5, 1, 2, 300_000, 300_001] {
            histogram.note(SignedDuration::from_millis(millis));
        }
        let filled: Vec<_> = histogram.classes().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0.001, 2), (0.005, 1), (300.0, 1), (f64::INFINITY, 1)]);
        assert_eq!(histogram.count(), 5);
        assert!((histogram.seconds() - 600.004).abs() < 1e-9);
    }
}
