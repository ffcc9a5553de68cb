//! House rules that a machine can judge cheaply. Each rule is a function from one file to what is wrong with it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::shell;

/// Lines a source file may have before it surely holds more than one idea. The habit is 400; see STYLE.md.
const LINES_MAX: usize = 600;

/// A rule looks at one file's path (below the top) and text, and says what is wrong, each with its line number.
type Rule = fn(&str, &str) -> Vec<(usize, String)>;

const RULES: &[Rule] =
    &[length, store_alone_speaks_kubernetes, server_knows_no_dask, nothing_unfinished, links, cures];

/// No file breaks a house rule.
pub(crate) fn check() -> Result<()> {
    let mut found = Vec::new();
    for path in shell::files()? {
        let Ok(text) = fs::read_to_string(shell::root().join(&path)) else { continue };
        let name = path.to_str().context("a file's name is not UTF-8")?.to_owned();
        for rule in RULES {
            found.extend(rule(&name, &text).into_iter().map(|(line, what)| format!("{name}:{line}: {what}")));
        }
    }
    if !found.is_empty() {
        bail!("{} places break a house rule (STYLE.md says why):\n  {}", found.len(), found.join("\n  "));
    }
    Ok(())
}

fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "rs")
}

/// Lines with their number, that match.
fn lines<'a>(text: &'a str, matches: impl Fn(&str) -> bool + 'a) -> impl Iterator<Item = usize> + 'a {
    text.lines().enumerate().filter(move |(_, line)| matches(line)).map(|(index, _)| index + 1)
}

/// A Rust file holds one idea.
fn length(path: &str, text: &str) -> Vec<(usize, String)> {
    let count = text.lines().count();
    if is_rust(path) && count > LINES_MAX {
        return vec![(count, format!("{count} lines, more than {LINES_MAX}: split it by concept"))];
    }
    Vec::new()
}

/// Only the Kubernetes implementation of the operator's `Store` may name `kube::Api`.
fn store_alone_speaks_kubernetes(path: &str, text: &str) -> Vec<(usize, String)> {
    if !is_rust(path) || !path.starts_with("operator/src/") || path.starts_with("operator/src/store/kube") {
        return Vec::new();
    }
    let names_api =
        |line: &str| !is_comment(line) && (line.contains("kube::Api") || line.contains("kube::api::Api<"));
    lines(text, names_api).map(|line| (line, "names kube::Api: go through the Store".to_owned())).collect()
}

/// The server could be published without anybody guessing what it was made for.
fn server_knows_no_dask(path: &str, text: &str) -> Vec<(usize, String)> {
    if !path.starts_with("fake-apiserver/src/") {
        return Vec::new();
    }
    let names_dask = |line: &str| line.to_ascii_lowercase().contains("dask");
    lines(text, names_dask).map(|line| (line, "the server knows nothing of Dask".to_owned())).collect()
}

/// What is merged is finished.
fn nothing_unfinished(path: &str, text: &str) -> Vec<(usize, String)> {
    if !is_rust(path) {
        return Vec::new();
    }
    // Written in halves, so that this file passes its own rule.
    let marks = [
        concat!("tod", "o!("),
        concat!("unimplemente", "d!("),
        concat!("FIX", "ME"),
        concat!("#[igno", "re"),
    ];
    let unfinished = |line: &str| marks.iter().any(|mark| line.contains(mark));
    lines(text, unfinished).map(|line| (line, "unfinished, or a test that does not run".to_owned())).collect()
}

/// Relative links of the documents lead somewhere.
fn links(path: &str, text: &str) -> Vec<(usize, String)> {
    if Path::new(path).extension().is_none_or(|extension| extension != "md") {
        return Vec::new();
    }
    let folder = shell::root().join(path).parent().map(Path::to_owned).unwrap_or_default();
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty()
                && !file.contains("://")
                && !file.starts_with("mailto:")
                && !folder.join(file).exists()
            {
                found.push((index + 1, format!("links to {file}, which does not exist")));
            }
        }
    }
    found
}

/// Each row of the page of cures names a scenario or a test that exists.
fn cures(path: &str, text: &str) -> Vec<(usize, String)> {
    if path != "docs/cured.md" {
        return Vec::new();
    }
    let sources: Vec<String> = shell::files()
        .into_iter()
        .flatten()
        .filter(|file| file.to_str().is_some_and(is_rust))
        .filter_map(|file| fs::read_to_string(shell::root().join(file)).ok())
        .collect();
    let exists = |name: &str| {
        shell::root().join(format!("snapshots/{name}.scenario")).exists()
            || sources.iter().any(|source| source.contains(&format!("fn {name}(")))
    };
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        // Rows begin with their number.
        let [_, number, .., shown_by, _] = cells.as_slice() else { continue };
        if number.parse::<u32>().is_err() {
            continue;
        }
        let names: Vec<&str> = shown_by.split('`').skip(1).step_by(2).collect();
        if names.is_empty() {
            found.push((index + 1, "no test shows it".to_owned()));
        }
        let missing = names.into_iter().filter(|name| !exists(name));
        found.extend(missing.map(|name| (index + 1, format!("there is no scenario or test {name}"))));
    }
    found
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: Rule, path: &str, text: &str, expected: &[usize]) {
        let found: Vec<usize> = rule(path, text).into_iter().map(|(line, _)| line).collect();
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn a_long_rust_file_is_found_and_a_long_table_is_not() {
        let long = "x\n".repeat(LINES_MAX + 1);
        check(length, "operator/src/a.rs", &long, &[LINES_MAX + 1]);
        check(length, "fake-apiserver/data/a.json", &long, &[]);
    }

    #[test]
    fn only_the_kubernetes_store_names_the_api() {
        let text = "// kube::Api is not for us\nlet pods: kube::Api<Pod>;\n";
        check(store_alone_speaks_kubernetes, "operator/src/cluster/plan.rs", text, &[2]);
        check(store_alone_speaks_kubernetes, "operator/src/store/kube.rs", text, &[]);
    }

    #[test]
    fn the_server_does_not_name_dask() {
        check(server_knows_no_dask, "fake-apiserver/src/lib.rs", "fine\nDask\n", &[2]);
    }

    #[test]
    fn unfinished_work_is_found() {
        check(nothing_unfinished, "e2e/src/lib.rs", &["fn a() { tod", "o!() }"].concat(), &[1]);
    }

    #[test]
    fn a_cure_names_a_test_that_exists() {
        let rows = [
            "| 1 | lost work | | it is kept | `scale_down_busy` |",
            "| 2 | x | | y | `nothing_like_it` |",
            "| 3 | x | | y | |",
        ];
        check(cures, "docs/cured.md", &rows.join("\n"), &[2, 3]);
    }

    #[test]
    fn a_link_must_lead_somewhere() {
        check(links, "README.md", "[a](Cargo.toml) [b](https://dask.org)\n[c](nowhere.md#x)\n", &[2]);
    }
}
