//! `cargo xtask hunt`: what a real control plane answers otherwise than the server in memory, where no script has it yet.

use anyhow::{Result, bail};

use crate::control_plane::ControlPlane;
use crate::shell;

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
        // Compiled first: a control plane should not wait for a compiler.
        let arguments = ["test", "--locked", "-p", "fake-apiserver", "--test", "differences"];
        shell::run(shell::cargo(&arguments).arg("--no-run"))?;
        let real = ControlPlane::start()?;
        real.stop_controllers()?;
        let mut hunt = shell::cargo(&arguments);
        hunt.args(["--", "--ignored", "--nocapture", "random_sequences_have_the_same_answers"]);
        hunt.env("FAKE_APISERVER_RECORD", &real.kubeconfig);
        hunt.env("FAKE_APISERVER_HUNT", self.count.to_string());
        hunt.env("FAKE_APISERVER_HUNT_SEED", self.seed.to_string());
        if !shell::watch(&mut hunt, |_| ())? {
            bail!("a difference was found: add its script to sequences.yaml, record it, and mend the server");
        }
        Ok(())
    }
}
