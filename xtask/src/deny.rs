//! `cargo xtask deny`: what comes in from outside is what `deny.toml` allows.

use std::process::Command;

use anyhow::{Context, Result};

use crate::{shell, tools};

/// Check licences, sources and advisories of the dependencies.
#[derive(clap::Args)]
pub(crate) struct Deny {
    /// Only these: `advisories` (fetches the list of them), `bans`, `licenses`, `sources`.
    #[arg(value_name = "CHECK")]
    only: Vec<String>,
}

impl Deny {
    pub(crate) fn run(self) -> Result<()> {
        let program = tools::CARGO_DENY.ready()?;
        let mut check = Command::new(program);
        check.arg("check").args(&self.only).current_dir(shell::root());
        shell::run(&mut check).context("a dependency is not what deny.toml allows")
    }
}
