//! `cargo xtask lint`: what a reviewer should never have to say.

use anyhow::{Context, Result};

use crate::{codegen, shell, tidy};

/// Check formatting, clippy, generated files and the house rules; `--fix` formats first.
#[derive(clap::Args)]
pub(crate) struct Lint {
    /// Format the sources instead of only checking them.
    #[arg(long)]
    fix: bool,
}

impl Lint {
    pub(crate) fn run(self) -> Result<()> {
        if self.fix {
            shell::run(&mut shell::cargo(&["fmt", "--all"]))?;
        }
        format()?;
        clippy()?;
        codegen::check()?;
        tidy::check()
    }
}

/// The sources are formatted.
pub(crate) fn format() -> Result<()> {
    shell::run(&mut shell::cargo(&["fmt", "--all", "--check"])).context("format with `cargo fmt --all`")
}

/// Clippy finds nothing in any target of any crate.
pub(crate) fn clippy() -> Result<()> {
    shell::run(&mut shell::cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))
    .context("see what clippy says above; the exceptions we agreed on are in Cargo.toml")
}
