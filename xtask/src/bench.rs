//! `cargo xtask bench`: measurements, written to `benches/RESULTS.md` with what they were measured on.

use std::fmt::Write as _;

use anyhow::{Result, bail};

use crate::shell;

/// Measure the server in memory and the operator on it; writes benches/RESULTS.md.
#[derive(clap::Args)]
pub(crate) struct Bench {
    /// Only print; leave the file as it is.
    #[arg(long)]
    print: bool,
}

impl Bench {
    pub(crate) fn run(self) -> Result<()> {
        let mut table = String::new();
        let mut command = shell::cargo(&["bench", "--locked", "-p", "dask-operator", "--bench", "scale"]);
        let success = shell::watch(&mut command, |line| {
            if line.starts_with('|') {
                table.push_str(line);
                table.push('\n');
            }
        })?;
        if !success || table.is_empty() {
            bail!("the bench did not end; what it says is above");
        }
        if self.print {
            return Ok(());
        }
        let mut text =
            String::from("# Results\n\nMade by `cargo xtask bench`. Ratios are taken within one run.\n\n");
        let _ = writeln!(text, "Machine: {}\n", machine());
        text.push_str(&table);
        let path = shell::root().join("benches/RESULTS.md");
        std::fs::write(&path, text)?;
        println!("written to benches/RESULTS.md");
        Ok(())
    }
}

/// Cores, processor and memory: what figures depend on.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let first = |path: &str, key: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
        line.split_once(':').map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let kib: u64 = first("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0);
    format!("{cores} cores ({}), {} GiB", first("/proc/cpuinfo", "model name"), kib / 1024 / 1024)
}
