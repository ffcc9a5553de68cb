//! What the program is made of, as a CycloneDX 1.6 document.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::program::{Program, Source};
use super::sums::sha256;
use super::version;
use crate::shell;

/// The document: each crate that is linked in with its licence and the sum of its source, the standard library and glibc.
pub(super) fn of(program: &Program, source: &Source) -> Result<String> {
    let lock = fs::read_to_string(shell::root().join("Cargo.lock")).context("cannot read Cargo.lock")?;
    let mut components = crates(&program.packages()?, &sums(&lock));
    components.push(json!({"type": "library", "name": "rust", "version": answer("rustc", &["--version"])?}));
    components.push(
        json!({"type": "library", "name": "glibc", "version": answer("getconf", &["GNU_LIBC_VERSION"])?,
        "licenses": [{"expression": "LGPL-2.1-or-later"}]}),
    );
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": jiff::Timestamp::from_second(source.time)?.to_string(),
            "component": {
                "type": "application", "name": "dask-operator", "version": version(),
                "licenses": [{"expression": "Apache-2.0"}],
                "hashes": [{"alg": "SHA-256", "content": sha256(&program.bytes)}],
                "properties": [
                    {"name": "git:revision", "value": source.revision},
                    {"name": "rust:target", "value": program.target},
                ],
            },
        },
        "components": components,
    });
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

/// The packages of `cargo tree`, each once; macros that only run while building are not in the program.
fn crates(tree: &str, sums: &BTreeMap<(String, String), String>) -> Vec<Value> {
    let lines: BTreeSet<&str> = tree.lines().filter(|line| !line.trim().is_empty()).collect();
    let mut components = Vec::new();
    for line in lines {
        let mut fields = line.trim_end_matches(" (*)").split('|');
        let mut package = fields.next().unwrap_or_default().split(' ');
        let (Some(name), Some(version)) = (package.next(), package.next()) else { continue };
        let more: Vec<&str> = package.collect();
        if more.contains(&"(proc-macro)") || more.iter().any(|word| word.starts_with("(/")) {
            continue;
        }
        let version = version.trim_start_matches('v');
        let licence = fields.next().unwrap_or_default().trim_end_matches(" (*)").replace('/', " OR ");
        let mut component = json!({
            "type": "library", "name": name, "version": version,
            "purl": format!("pkg:cargo/{name}@{version}"), "licenses": [{"expression": licence}],
        });
        if let Some(sum) = sums.get(&(name.to_owned(), version.to_owned())) {
            component["hashes"] = json!([{"alg": "SHA-256", "content": sum}]);
        }
        if !components.contains(&component) {
            components.push(component);
        }
    }
    components
}

/// The sums in `Cargo.lock`, by name and version.
fn sums(lock: &str) -> BTreeMap<(String, String), String> {
    let mut sums = BTreeMap::new();
    for package in lock.split("[[package]]") {
        let field = |name: &str| {
            let line =
                package.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='));
            line.map(|value| value.trim().trim_matches('"').to_owned())
        };
        if let (Some(name), Some(version), Some(sum)) = (field("name"), field("version"), field("checksum")) {
            sums.insert((name, version), sum);
        }
    }
    sums
}

fn answer(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).current_dir(shell::root()).output();
    let output = output.with_context(|| format!("cannot start {program}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.split_whitespace().nth(1).unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_crate_that_is_linked_in_is_named_once() {
        let tree = "dask-operator v0.1.0 (/src/operator)|Apache-2.0|x\nserde v1.0.1|MIT OR Apache-2.0|y\n\
                    serde_derive v1.0.1 (proc-macro)|MIT|y\nserde v1.0.1|MIT OR Apache-2.0|y (*)\nold v0.1.2|MIT/Apache-2.0|\n";
        let lock = "[[package]]\nname = \"serde\"\nversion = \"1.0.1\"\nchecksum = \"abc\"\n";
        let found = crates(tree, &sums(lock));
        let told: Vec<_> =
            found.iter().map(|c| (c["purl"].as_str().unwrap(), &c["hashes"][0]["content"])).collect();
        assert_eq!(told, [("pkg:cargo/old@0.1.2", &Value::Null), ("pkg:cargo/serde@1.0.1", &json!("abc"))]);
        assert_eq!(found[0]["licenses"][0]["expression"], "MIT OR Apache-2.0");
    }
}
