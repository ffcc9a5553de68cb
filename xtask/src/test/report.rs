//! What the tiers found, as a table and as one line.

use std::fmt;
use std::time::Duration;

use anyhow::{Result, bail};

/// What one tier found.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) skipped: usize,
    /// Why it failed or was skipped.
    pub(super) note: Option<String>,
}

impl Outcome {
    /// A tier that is one check.
    pub(super) fn of(result: Result<()>) -> Self {
        match result {
            Ok(()) => Self { passed: 1, ..Self::default() },
            Err(error) => Self::failed(format!("{error:#}")),
        }
    }

    /// A tier of several checks: how many passed, and what is to be said of each that failed or was skipped.
    pub(super) fn counted(passed: usize, failed: &[String], skipped: &[String]) -> Self {
        let said = [failed, skipped].concat();
        Self {
            passed,
            failed: failed.len(),
            skipped: skipped.len(),
            note: (!said.is_empty()).then(|| said.join("\n")),
        }
    }

    pub(super) fn failed(note: String) -> Self {
        Self { failed: 1, note: Some(note), ..Self::default() }
    }

    /// A tier this machine cannot run.
    pub(super) fn skipped(reason: String) -> Self {
        Self { skipped: 1, note: Some(reason), ..Self::default() }
    }

    /// Says why it did not simply pass, where the reader is looking.
    pub(super) fn tell(&self) {
        if let Some(note) = &self.note {
            println!("{}: {note}", if self.failed > 0 { "failed" } else { "skipped" });
        }
    }
}

/// All tiers so far.
#[derive(Default)]
pub(super) struct Report {
    rows: Vec<(&'static str, Outcome, Duration)>,
}

impl Report {
    pub(super) fn add(&mut self, tier: &'static str, outcome: Outcome, took: Duration) {
        self.rows.push((tier, outcome, took));
    }

    /// An error naming the tiers that failed, and how to run one of them again.
    pub(super) fn verdict(&self) -> Result<()> {
        let failed: Vec<_> =
            self.rows.iter().filter(|(_, outcome, _)| outcome.failed > 0).map(|(tier, ..)| *tier).collect();
        if let Some(first) = failed.first() {
            bail!("failed: {}; run one alone with `cargo xtask test {first}`", failed.join(", "));
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{:<10}{:>8}{:>8}{:>9}{:>10}", "tier", "passed", "failed", "skipped", "seconds")?;
        let (mut passed, mut failed, mut skipped) = (0, 0, 0);
        for (tier, outcome, took) in &self.rows {
            writeln!(
                f,
                "{tier:<10}{:>8}{:>8}{:>9}{:>10.1}",
                outcome.passed,
                outcome.failed,
                outcome.skipped,
                took.as_secs_f64()
            )?;
            passed += outcome.passed;
            failed += outcome.failed;
            skipped += outcome.skipped;
        }
        write!(f, "\n{passed} passed, {failed} failed, {skipped} skipped")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcomes: Vec<Outcome>) -> Report {
        let mut report = Report::default();
        for outcome in outcomes {
            report.add("tier", outcome, Duration::ZERO);
        }
        report
    }

    #[test]
    fn the_last_line_sums_up_all_tiers() {
        let report = report(vec![
            Outcome::of(Ok(())),
            Outcome { passed: 7, ..Outcome::default() },
            Outcome::skipped("no".into()),
        ]);
        assert_eq!(report.to_string().lines().last(), Some("8 passed, 0 failed, 1 skipped"));
        assert!(report.verdict().is_ok());
    }

    #[test]
    fn one_failure_fails_the_run() {
        let report = report(vec![Outcome::of(Ok(())), Outcome::failed("broken".into())]);
        assert!(report.verdict().is_err());
    }
}
