//! A static program, the same bytes wherever the same sources are built with the same tools.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::shell;

/// What is built.
pub(super) struct Recipe {
    /// The package, whose program has its name.
    pub(super) package: &'static str,
    /// What cargo is told of its features.
    pub(super) features: &'static [&'static str],
}

/// The operator: without the API server in memory, and with `dask-operator local` gone with it.
pub(super) const OPERATOR: Recipe =
    Recipe { package: "dask-operator", features: &["--no-default-features", "--features", "mimalloc"] };

/// The architectures that are shipped, as images name them.
pub(super) const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];

/// The built program.
pub(super) struct Program {
    /// Its name.
    pub(super) name: &'static str,
    /// Its content.
    pub(super) bytes: Vec<u8>,
    /// The architecture as images name it.
    pub(super) architecture: &'static str,
    /// The target as Rust names it.
    pub(super) target: &'static str,
}

/// The sources it is built from.
pub(super) struct Source {
    /// The commit.
    pub(super) revision: String,
    /// Seconds since 1970: when the sources were made, so that nothing depends on when they are built.
    pub(super) time: i64,
}

impl Source {
    /// From git; `SOURCE_DATE_EPOCH` goes before the time of the commit.
    pub(super) fn find() -> Result<Self> {
        let output =
            Command::new("git").args(["log", "-1", "--format=%H %ct"]).current_dir(shell::root()).output();
        let output = output.context("cannot ask git for the commit")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (revision, time) = text.trim().split_once(' ').context("git knows no commit here")?;
        let given = std::env::var("SOURCE_DATE_EPOCH").ok();
        let time =
            given.as_deref().unwrap_or(time).parse().context("SOURCE_DATE_EPOCH is no number of seconds")?;
        Ok(Self { revision: revision.to_owned(), time })
    }
}

impl Program {
    /// Builds it for this machine's architecture.
    pub(super) fn build(recipe: &Recipe) -> Result<Self> {
        let (architecture, target) = machine()?;
        let Recipe { package, features } = recipe;
        let mut build = shell::cargo(&["build", "--package", package, "--bin", package, "--locked"]);
        build.args(*features).args(["--profile", "dist", "--target", target]);
        build.env("CARGO_ENCODED_RUSTFLAGS", flags()?.join("\u{1f}")).env_remove("RUSTFLAGS");
        shell::run(&mut build)?;
        let path = shell::target().join(target).join("dist").join(package);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        ensure!(
            is_static(&bytes)?,
            "{} needs an interpreter: it would not start in an empty image",
            path.display()
        );
        Ok(Self { name: package, bytes, architecture, target })
    }

    /// What the operator is linked from, one package a line, as `cargo tree` writes it.
    pub(super) fn packages(&self) -> Result<String> {
        let mut tree =
            shell::cargo(&["tree", "--package", OPERATOR.package, "--locked", "--edges", "normal"]);
        tree.args(OPERATOR.features).args([
            "--target",
            self.target,
            "--prefix",
            "none",
            "--format",
            "{p}|{l}|{r}",
        ]);
        let output = tree.output().context("cannot start cargo tree")?;
        ensure!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).context("cargo tree does not write UTF-8")
    }
}

/// This machine's architecture as images name it, and its target as Rust names it.
pub(super) fn machine() -> Result<(&'static str, &'static str)> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Ok(("amd64", "x86_64-unknown-linux-gnu")),
        ("linux", "aarch64") => Ok(("arm64", "aarch64-unknown-linux-gnu")),
        (os, other) => bail!("the image is built on Linux, on x86_64 or aarch64; this is {os} on {other}"),
    }
}

/// glibc is linked in, its resolver too (which since 2.34 loads no library for files and DNS); and no path of this machine
/// gets into the program.
fn flags() -> Result<Vec<String>> {
    let home =
        std::env::var("CARGO_HOME").or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")));
    let home = home.context("neither CARGO_HOME nor HOME is set")?;
    Ok(vec![
        "-Ctarget-feature=+crt-static".into(),
        format!("--remap-path-prefix={}=/dask-operator", shell::root().display()),
        format!("--remap-path-prefix={home}=/cargo"),
    ])
}

/// Whether an ELF program has no `PT_INTERP` segment (System V ABI, chapter 5).
fn is_static(elf: &[u8]) -> Result<bool> {
    let number = |at: usize, size: usize| {
        let bytes = elf.get(at..at + size).context("the program is cut off")?;
        anyhow::Ok(bytes.iter().rev().fold(0_usize, |number, byte| (number << 8) | usize::from(*byte)))
    };
    ensure!(elf.starts_with(b"\x7fELF\x02\x01"), "the program is no ELF file of 64 bits");
    let (begin, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for header in 0..count {
        if number(begin + header * size, 4)? == 3 {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(kinds: &[u8]) -> Vec<u8> {
        let mut elf = vec![0; 64 + kinds.len() * 56];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = kinds.len() as u8;
        for (index, kind) in kinds.iter().enumerate() {
            elf[64 + index * 56] = *kind;
        }
        elf
    }

    #[test]
    fn a_program_with_an_interpreter_is_not_static() {
        assert!(is_static(&elf(&[6, 1, 2])).unwrap());
        assert!(!is_static(&elf(&[6, 3, 1])).unwrap());
        assert!(is_static(&elf(&[1])[..80]).is_ok_and(|is| is));
        assert!(is_static(b"#!/bin/sh").is_err());
    }
}
