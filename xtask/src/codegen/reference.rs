//! The tables of `docs/configure.md`: the operator's options, and the annotations that users may set.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::{Arg, CommandFactory as _};
use dask_operator::args::Cli;

use super::Generated;
use crate::shell;

/// The page.
const PAGE: &str = "docs/configure.md";
/// Where the names of annotations are, each with its description before it.
const NAMES: &str = "operator/src/names.rs";
/// How the description of one begins that is the user's.
const OF_USERS: &str = "Annotation users may put on ";

/// The page with its tables.
pub(super) fn files() -> Result<Vec<Generated>> {
    let read = |path: &str| {
        fs::read_to_string(shell::root().join(path)).with_context(|| format!("cannot read {path}"))
    };
    let page = between(&read(PAGE)?, "options", &options()?)?;
    let page = between(&page, "annotations", &annotations(&read(NAMES)?)?)?;
    Ok(vec![Generated { path: PathBuf::from(PAGE), contents: page.into_bytes() }])
}

/// The page with this text between the marks of that name.
fn between(page: &str, name: &str, text: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- {name}: begin -->"), format!("<!-- {name}: end -->"));
    let missing = || format!("{PAGE} has no marks for its {name}");
    let (before, rest) = page.split_once(&begin).with_context(missing)?;
    let (_, after) = rest.split_once(&end).with_context(missing)?;
    Ok(format!("{before}{begin}\n\n{text}\n{end}{after}"))
}

/// What `dask-operator run` takes.
fn options() -> Result<String> {
    let program = Cli::command();
    let run = program.find_subcommand("run").context("there is no command `run`")?;
    let mut table = String::from("| option | environment | default | what it does |\n|---|---|---|---|\n");
    for argument in run.get_arguments().filter(|argument| !argument.is_hide_set()) {
        let _ = writeln!(table, "{}", row(argument)?);
    }
    Ok(table)
}

fn row(argument: &Arg) -> Result<String> {
    let long = argument.get_long().with_context(|| format!("{} has no long form", argument.get_id()))?;
    let short = argument.get_short().map(|short| format!(", `-{short}`")).unwrap_or_default();
    let code = |text: String| if text.is_empty() { text } else { format!("`{text}`") };
    let environment = argument.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let takes_value = argument.get_action().takes_values();
    let defaults = argument.get_default_values().iter().filter(|_| takes_value);
    let defaults: Vec<_> = defaults.map(|value| value.to_string_lossy()).collect();
    let help = argument.get_help().with_context(|| format!("--{long} is not described"))?;
    let help = help.to_string().replace('|', "\\|");
    Ok(format!("| `--{long}`{short} | {} | {} | {help} |", code(environment), code(defaults.join(","))))
}

/// The annotations of users, with what the source says of them.
fn annotations(source: &str) -> Result<String> {
    let mut table = String::from("| annotation | on | what it does |\n|---|---|---|\n");
    let mut description = String::new();
    let mut found = 0;
    for line in source.lines() {
        if let Some(text) = line.strip_prefix("///") {
            description.push_str(text);
            continue;
        }
        let said = std::mem::take(&mut description);
        let name = line.split('"').nth(1).filter(|_| line.starts_with("pub const"));
        if let (Some(said), Some(name)) = (said.trim().strip_prefix(OF_USERS), name) {
            let (on, what) = said.split_once(": ").with_context(|| format!("{name} is not described"))?;
            let _ = writeln!(table, "| `{name}` | {on} | {what} |");
            found += 1;
        }
    }
    ensure!(found > 0, "{NAMES} describes no annotation with {OF_USERS:?}");
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_of_users_are_listed_and_others_are_not() {
        let source = "/// Annotation users may put on a thing: one\n/// or two.\npub const A: &str = \"a/b\";\n\
                      /// Annotation of our own.\npub const B: &str = \"c/d\";\n";
        assert!(annotations(source).unwrap().ends_with("|---|---|---|\n| `a/b` | a thing | one or two. |\n"));
    }

    #[test]
    fn text_stands_between_its_marks() {
        let page = "a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n";
        assert_eq!(
            between(page, "x", "new\n").unwrap(),
            "a\n<!-- x: begin -->\n\nnew\n\n<!-- x: end -->\nb\n"
        );
    }
}
