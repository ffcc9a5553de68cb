//! `cargo xtask campaign`: random histories on real Dask; nothing may be computed again because of a scale-down.

use ::e2e::campaign;
use ::e2e::{Options, provider::Provider};
use anyhow::{Result, bail};

use crate::shell;

/// Play random histories on real Dask, without Kubernetes, and check that no scale-down loses work.
///
/// About nine seconds a history on two cores.
#[derive(clap::Args)]
pub(crate) struct Campaign {
    /// The seed of the first history; the next one's is one more.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many histories.
    #[arg(long, default_value_t = 200)]
    histories: u64,
    /// Use the program as it was built last.
    #[arg(long)]
    no_build: bool,
}

impl Campaign {
    pub(crate) fn run(self) -> Result<()> {
        if !self.no_build {
            shell::build()?;
        }
        let options = Options {
            provider: Provider::Local,
            operator: shell::program("dask-operator"),
            cache: shell::target(),
            folder: shell::target().join("campaign").join(std::process::id().to_string()),
            only: Vec::new(),
        };
        let found = campaign::run(&options, self.seed..self.seed + self.histories)?;
        println!(
            "\n{} histories from seed {} in {:.0} s, {} of them with a killed worker\n\
             {} results computed, {} workers left\n\
             {} tasks begun again for a killed worker, {} because of a scale-down, {} wrong results",
            found.histories,
            self.seed,
            found.took.as_secs_f64(),
            found.killing,
            found.computed,
            found.removed,
            found.again - found.guilty.len() as u64,
            found.guilty.len(),
            found.wrong.len(),
        );
        if !found.guilty.is_empty() || !found.wrong.is_empty() {
            bail!(
                "work was lost (seed, task): begun again {:?}; wrong {:?}; the logs are in {}",
                found.guilty,
                found.wrong,
                options.folder.display()
            );
        }
        Ok(())
    }
}
