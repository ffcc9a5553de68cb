//! `cargo xtask docs`: every command of the documentation is run, in the order in which a reader would.
//!
//! | module | what it is |
//! |---|---|
//! | [`page`] | what a page says to do |
//! | [`place`] | where it is done: a cluster of its own, without Kubernetes |

mod page;
mod place;

use std::fs;
use std::path::{Path, PathBuf};

use ::e2e::PythonOperator;
use anyhow::{Context, Result, bail};

use self::page::{Block, What, blocks};
use self::place::Place;
use crate::{demo, shell, suites, tools};

/// Run the commands of the documentation's pages, each page on a cluster of its own.
#[derive(clap::Args)]
pub(crate) struct Docs {
    /// Only these pages, such as `install`; all of them if none is named.
    #[arg(value_name = "PAGE")]
    only: Vec<String>,
    /// Use the programs as they were built last.
    #[arg(long)]
    no_build: bool,
}

/// What became of the pages.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Pages whose commands all did what they should.
    pub(crate) passed: usize,
    /// What went wrong on the others.
    pub(crate) failed: Vec<String>,
    /// What was not run, with the reason.
    pub(crate) skipped: Vec<String>,
}

impl Docs {
    pub(crate) fn run(self) -> Result<()> {
        if !self.no_build {
            shell::build()?;
        }
        let verdict = check(&self.only)?;
        for said in &verdict.skipped {
            println!("not run: {said}");
        }
        if !verdict.failed.is_empty() {
            bail!("{}", verdict.failed.join("\n"));
        }
        println!("{} pages were followed", verdict.passed);
        Ok(())
    }
}

/// Follows the pages with the programs as they are built.
pub(crate) fn check(only: &[String]) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    // Or why no page can be followed here.
    let python = match obstacle()? {
        None => Ok(suites::python_operator()?),
        Some(reason) => Err(reason),
    };
    for path in pages()? {
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !only.is_empty() && !only.contains(&name) {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        let blocks = blocks(&text).with_context(|| path.display().to_string())?;
        for block in &blocks {
            if let What::Skip(reason) = &block.what {
                verdict.skipped.push(format!("docs/{name}.md, line {}: {reason}", block.line));
            }
        }
        if !blocks.iter().any(|block| matches!(block.what, What::Run(_))) {
            continue;
        }
        let python = match &python {
            Ok(python) => python,
            Err(reason) => {
                verdict.skipped.push(format!("docs/{name}.md: {reason}"));
                continue;
            }
        };
        println!("following docs/{name}.md");
        match follow(&name, &blocks, python) {
            Ok(()) => verdict.passed += 1,
            Err(error) => verdict.failed.push(format!("docs/{name}.md, {error:#}")),
        }
    }
    Ok(verdict)
}

fn follow(name: &str, blocks: &[Block], python: &PythonOperator) -> Result<()> {
    let helm = tools::HELM.found().context("helm has gone")?;
    let helm = helm.parent().filter(|folder| folder.is_absolute()).map(Path::to_owned);
    let mut place = Place::new(name, python, &helm.into_iter().collect::<Vec<_>>())?;
    for block in blocks {
        let done = match &block.what {
            What::Run(script) => place.run(script),
            What::File(file, text) => place.write(file, text),
            What::Skip(_) => Ok(()),
        };
        done.with_context(|| format!("line {}", block.line))?;
    }
    Ok(())
}

/// Why this machine cannot follow pages, if it cannot.
fn obstacle() -> Result<Option<String>> {
    if let Err(reason) = tools::HELM.or_reason() {
        return Ok(Some(reason));
    }
    if let Err(error) = crate::suites::cluster::kubectl() {
        return Ok(Some(format!("{error:#}")));
    }
    demo::obstacle()
}

/// The pages in the order of their names.
fn pages() -> Result<Vec<PathBuf>> {
    let folder = shell::root().join("docs");
    let mut paths = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_can_be_read() {
        for path in pages().unwrap() {
            blocks(&fs::read_to_string(&path).unwrap()).with_context(|| path.display().to_string()).unwrap();
        }
    }
}
