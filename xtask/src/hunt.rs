//! `cargo xtask hunt`: what a real control plane answers otherwise than the server in memory, where no script has it yet.

use anyhow::{Result, bail};

use crate::{control_plane, shell};

/// Play random sequences of requests on a real Kubernetes and on the server in memory, and show the first difference.
#[derive(clap::Args)]
pub(crate) struct Hunt {
    /// So many sequences.
    #[arg(long, default_value_t = 500)]
    count: u32,
    /// What they are made from; another number gives others.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl Hunt {
    pub(crate) fn run(self) -> Result<()> {
        let (_real, mut hunt) = control_plane::asked_by("differences", false)?;
        hunt.args(["--", "--nocapture", "random_sequences_have_the_same_answers"]);
        hunt.env("FAKE_APISERVER_HUNT", self.count.to_string());
        hunt.env("FAKE_APISERVER_HUNT_SEED", self.seed.to_string());
        if !shell::watch(&mut hunt, |_| ())? {
            bail!(
                "a difference was found: add its script to a topic of tests/differences, record that, and mend the server"
            );
        }
        Ok(())
    }
}
