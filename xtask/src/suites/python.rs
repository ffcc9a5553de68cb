//! A virtual environment for tests in Python, with what a file of requirements pins.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

/// Where to look, best first.
const NAMES: [&str; 5] = ["python3", "python3.14", "python3.13", "python3.12", "python3.11"];
/// The pinned requirements need this one: minor version of Python 3.
const OLDEST: u32 = 11;

/// The interpreter of an environment below `cache` that has exactly these requirements; made if it is not there.
pub(crate) fn environment(cache: &Path, requirements: &Path) -> Result<PathBuf> {
    let wanted = std::fs::read_to_string(requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let folder = cache.join("python");
    // Written last, so that a half-made environment is made again.
    let marker = folder.join("complete");
    let python = folder.join("bin/python");
    if std::fs::read_to_string(&marker).is_ok_and(|there| there == wanted) && python.exists() {
        return Ok(python);
    }
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    shell::run(Command::new(interpreter()?).args(["-m", "venv"]).arg(&folder))?;
    shell::run(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
            .arg(requirements),
    )?;
    std::fs::write(&marker, wanted).with_context(|| format!("cannot write {}", marker.display()))?;
    Ok(python)
}

/// The source distribution of a package, unpacked below `cache`; its folder.
pub(super) fn source(cache: &Path, python: &Path, package: &str, version: &str) -> Result<PathBuf> {
    let folder = cache.join(format!("{package}-{version}"));
    if folder.exists() {
        return Ok(folder);
    }
    let download = cache.join("download");
    shell::run(
        Command::new(python)
            .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"])
            .args(["--no-binary", package, "--dest"])
            .arg(&download)
            .arg(format!("{package}=={version}")),
    )?;
    // Unpacked beside and moved, so that a half-unpacked one is never used.
    let unpacked = cache.join("unpacked");
    shell::run(
        Command::new(python)
            .args(["-m", "tarfile", "--extract"])
            .arg(download.join(format!("{package}-{version}.tar.gz")))
            .arg(&unpacked),
    )?;
    let inner = unpacked.join(format!("{package}-{version}"));
    std::fs::rename(&inner, &folder).with_context(|| format!("{} is not there", inner.display()))?;
    Ok(folder)
}

fn interpreter() -> Result<&'static str> {
    let probe = format!("import sys; sys.exit(sys.version_info < (3, {OLDEST}))");
    let works =
        |name: &&str| Command::new(name).args(["-c", &probe]).output().is_ok_and(|out| out.status.success());
    match NAMES.into_iter().find(works) {
        Some(name) => Ok(name),
        None => bail!("no Python 3.{OLDEST} or newer was found: install one"),
    }
}
