//! `cargo xtask sim`: simulated histories, replayed bit for bit from a seed.

use anyhow::{Context, Result};

use crate::shell;

/// Play simulated histories: one by its seed, or many.
#[derive(clap::Args)]
pub(crate) struct Sim {
    /// Play this one history and print everything that happens in it.
    #[arg(long)]
    seed: Option<u64>,
    /// Without a seed: how many histories.
    #[arg(long, default_value_t = 1_000)]
    count: u64,
    /// Run a scenario of `snapshots/` and print its transcript.
    #[arg(long, conflicts_with = "seed")]
    scenario: Option<std::path::PathBuf>,
}

impl Sim {
    pub(crate) fn run(self) -> Result<()> {
        shell::build()?;
        let mut command = std::process::Command::new(shell::program("dask-operator-sim"));
        if let Some(seed) = self.seed {
            command.arg("--seed").arg(seed.to_string());
        } else if let Some(path) = &self.scenario {
            command.arg("--scenario").arg(path);
        } else {
            command.arg("--count").arg(self.count.to_string());
        }
        shell::run(&mut command).context("a history did not end as it should")
    }
}
