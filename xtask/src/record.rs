//! `cargo xtask record`: what a real control plane answers, written down for the tests that compare with it.

use anyhow::{Result, bail};

use crate::{control_plane, shell};

/// Record what a real Kubernetes answers to the scripts of the tests that compare with it.
#[derive(clap::Args)]
pub(crate) struct Record {
    /// Only these recordings; all of them if none is named.
    #[arg(value_name = "RECORDING", value_parser = RECORDINGS.map(|recording| recording.name))]
    only: Vec<String>,
}

/// A test program that records when `FAKE_APISERVER_RECORD` names a kubeconfig.
#[derive(Clone, Copy)]
struct Recording {
    name: &'static str,
    /// The test program, of `fake-apiserver`.
    test: &'static str,
    /// Whether the answers are about what controllers do.
    controllers: bool,
}

const RECORDINGS: [Recording; 2] = [
    Recording { name: "requests", test: "differences", controllers: false },
    Recording { name: "kubectl", test: "kubectl", controllers: true },
];

impl Record {
    pub(crate) fn run(self) -> Result<()> {
        for recording in RECORDINGS {
            if self.only.is_empty() || self.only.iter().any(|name| name == recording.name) {
                recording.make()?;
            }
        }
        println!("recorded; `git diff` shows what has changed");
        Ok(())
    }
}

impl Recording {
    fn make(self) -> Result<()> {
        let (_real, mut record) = control_plane::asked_by(self.test, self.controllers)?;
        // One topic after the other: what one makes for the whole cluster another could see.
        record.env("RUST_TEST_THREADS", "1");
        if !shell::watch(&mut record, |_| ())? {
            bail!("the recording of {} failed; what it says is above", self.name);
        }
        Ok(())
    }
}
