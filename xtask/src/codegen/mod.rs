//! `cargo xtask codegen`: files that are made from the sources and committed, one generator each.

pub(crate) mod chart;
mod crds;
mod plugin;
mod reference;
mod tables;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell;

/// Write the generated files, or check that they are what would be written.
#[derive(clap::Args)]
pub(crate) struct Codegen {
    /// Change nothing; fail if a file differs from what would be written.
    #[arg(long)]
    check: bool,
    /// Only these generators; all of them if none is named, but for those that need a running Kubernetes (tables).
    #[arg(value_name = "GENERATOR")]
    only: Vec<String>,
}

/// A file as a generator wants it.
pub(crate) struct Generated {
    /// Below the top of the repository.
    pub(crate) path: PathBuf,
    pub(crate) contents: Vec<u8>,
}

/// Something that makes files. `folder` is where it may leave nothing else with the extension of its files.
struct Generator {
    name: &'static str,
    files: fn() -> Result<Vec<Generated>>,
    /// Its source is a running Kubernetes, which not every machine has: it runs only when named.
    asks_kubernetes: bool,
}

/// In the order they run.
const GENERATORS: &[Generator] = &[
    Generator { name: "crds", files: crds::files, asks_kubernetes: false },
    Generator { name: "chart", files: chart::files, asks_kubernetes: false },
    Generator { name: "plugin", files: plugin::files, asks_kubernetes: false },
    Generator { name: "reference", files: reference::files, asks_kubernetes: false },
    Generator { name: "tables", files: tables::files, asks_kubernetes: true },
];

impl Codegen {
    pub(crate) fn run(self) -> Result<()> {
        if let Some(unknown) = self.only.iter().find(|name| !GENERATORS.iter().any(|g| g.name == **name)) {
            let names: Vec<_> = GENERATORS.iter().map(|generator| generator.name).collect();
            bail!("no generator is called {unknown:?}: there are {}", names.join(", "));
        }
        for generator in GENERATORS {
            let named = self.only.iter().any(|name| name == generator.name);
            if !named && (generator.asks_kubernetes || !self.only.is_empty()) {
                continue;
            }
            for file in (generator.files)().with_context(|| format!("generating {}", generator.name))? {
                if self.check {
                    compare(generator.name, &file)?;
                } else {
                    write(&file)?;
                }
            }
        }
        Ok(())
    }
}

/// Every generated file is what would be generated now.
pub(crate) fn check() -> Result<()> {
    Codegen { check: true, only: Vec::new() }.run()
}

fn compare(generator: &str, file: &Generated) -> Result<()> {
    let there = fs::read(shell::root().join(&file.path)).unwrap_or_default();
    if there != file.contents {
        bail!(
            "{} is not what the sources say{}: run `cargo xtask codegen {generator}` and commit the result",
            file.path.display(),
            first_difference(&there, &file.contents)
        );
    }
    Ok(())
}

fn write(file: &Generated) -> Result<()> {
    let path = shell::root().join(&file.path);
    if fs::read(&path).is_ok_and(|there| there == file.contents) {
        return Ok(());
    }
    if let Some(folder) = path.parent().filter(|folder| *folder != Path::new("")) {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(&path, &file.contents).with_context(|| format!("cannot write {}", path.display()))?;
    println!("wrote {}", file.path.display());
    Ok(())
}

/// Where two texts part, for the message: a missing file, or the first line that differs.
fn first_difference(there: &[u8], wanted: &[u8]) -> String {
    if there.is_empty() {
        return " (it is missing or empty)".into();
    }
    let line = there.split(|b| *b == b'\n').zip(wanted.split(|b| *b == b'\n')).position(|(a, b)| a != b);
    line.map_or_else(|| " (its length differs)".into(), |line| format!(" (line {})", line + 1))
}
