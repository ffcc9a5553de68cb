//! Field numbers and types of the protobuf messages behind the served kinds, from the Go modules of Kubernetes.
//!
//! `generated.proto` gives numbers and types. `types.go` gives what it leaves out: the JSON name, whether the
//! struct is embedded, and whether a zero is told apart from nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// One field: number, JSON name, type, flags (`r` repeated, `m` map, `k` zero is kept, `i` embedded).
type Field = (u32, String, String, String);

/// What a Go struct tag adds to a field: JSON name, embedded, zero kept.
struct Tag {
    name: String,
    inline: bool,
    keep: bool,
}

/// The table as text: `kinds` names the message of each group/version/kind, `messages` lists the fields of each message.
pub(super) fn collect(schemas: &BTreeMap<String, Value>) -> Result<String> {
    let mut messages = BTreeMap::new();
    for module in modules()? {
        read_module(&module, &mut messages)?;
    }
    let mut kinds = BTreeMap::new();
    for ((group, version, kind), schema) in super::schemas::by_kind(schemas) {
        let message = schema.replacen("io.k8s.", "k8s.io.", 1);
        if messages.contains_key(&message) {
            kinds.insert(format!("{group}/{version}/{kind}"), message);
        }
    }
    let reached = reachable(kinds.values().cloned(), &messages);
    messages.retain(|name, _| reached.contains(name));
    let messages = messages.into_iter().map(|(name, fields)| (name, json!(fields))).collect();
    let kinds = kinds.into_iter().map(|(kind, message)| (kind, json!(message))).collect();
    Ok(format!(
        "{{\"kinds\":{},\"messages\":{}}}\n",
        super::members(&kinds)?.trim(),
        super::members(&messages)?.trim()
    ))
}

/// The newest `k8s.io/api` and `k8s.io/apimachinery` in the Go module cache.
fn modules() -> Result<Vec<PathBuf>> {
    let output = Command::new("go").args(["env", "GOMODCACHE"]).output();
    let output = output.context("cannot run go; the protobuf table is made from Go modules")?;
    let cache = PathBuf::from(String::from_utf8(output.stdout)?.trim()).join("k8s.io");
    let mut found = Vec::new();
    for module in ["api@", "apimachinery@"] {
        let entries =
            std::fs::read_dir(&cache).with_context(|| format!("cannot read {}", cache.display()))?;
        let mut versions: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(module)))
            .collect();
        versions.sort();
        let Some(newest) = versions.pop() else {
            bail!(
                "{} has no k8s.io/{module}*; run `go mod download` in a module that needs it",
                cache.display()
            );
        };
        found.push(newest);
    }
    Ok(found)
}

fn read_module(folder: &Path, messages: &mut BTreeMap<String, Vec<Field>>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            read_module(&path, messages)?;
        } else if path.file_name().is_some_and(|name| name == "generated.proto") {
            let types = std::fs::read_to_string(folder.join("types.go")).unwrap_or_default();
            read_proto(&std::fs::read_to_string(&path)?, &read_tags(&types), messages);
        }
    }
    Ok(())
}

fn read_proto(text: &str, tags: &BTreeMap<(String, u32), Tag>, messages: &mut BTreeMap<String, Vec<Field>>) {
    let mut package = "";
    let mut message: Option<(String, Vec<Field>)> = None;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("package ") {
            package = name.trim_end_matches(';');
        } else if let Some(name) = line.strip_prefix("message ") {
            message = Some((name.trim_end_matches('{').trim().to_owned(), Vec::new()));
        } else if line == "}" {
            if let Some((name, fields)) = message.take() {
                messages.insert(format!("{package}.{name}"), fields);
            }
        } else if let Some((name, fields)) = &mut message
            && let Some(field) = read_field(line, package, name, tags)
        {
            fields.push(field);
        }
    }
}

fn read_field(
    line: &str,
    package: &str,
    message: &str,
    tags: &BTreeMap<(String, u32), Tag>,
) -> Option<Field> {
    let (left, number) = line.strip_suffix(';')?.rsplit_once(" = ")?;
    let number: u32 = number.parse().ok()?;
    let (declared, name) = left.rsplit_once(' ')?;
    let (declared, mut flags) = if let Some(map) = declared.strip_prefix("map<") {
        (map.trim_end_matches('>').split_once(", ")?.1, "m".to_owned())
    } else if let Some(repeated) = declared.strip_prefix("repeated ") {
        (repeated, "r".to_owned())
    } else {
        (declared.strip_prefix("optional ").or_else(|| declared.strip_prefix("required "))?, String::new())
    };
    let mut name = name.to_owned();
    if let Some(tag) = tags.get(&(message.to_owned(), number)) {
        if tag.inline {
            flags.push('i');
        } else if tag.keep {
            flags.push('k');
        }
        if !tag.name.is_empty() {
            name.clone_from(&tag.name);
        }
    }
    Some((number, name, qualified(declared, package), flags))
}

/// Message types by their full name; scalars as they are.
fn qualified(declared: &str, package: &str) -> String {
    if let Some(full) = declared.strip_prefix('.') {
        full.to_owned()
    } else if declared.starts_with(char::is_uppercase) {
        format!("{package}.{declared}")
    } else {
        declared.to_owned()
    }
}

/// Struct tags by (struct, field number).
fn read_tags(types: &str) -> BTreeMap<(String, u32), Tag> {
    let mut tags = BTreeMap::new();
    let mut current = String::new();
    for line in types.lines() {
        if let Some(name) = line.strip_prefix("type ").and_then(|rest| rest.strip_suffix(" struct {")) {
            name.clone_into(&mut current);
        }
        if let Some((number, tag)) = read_tag(line.trim()) {
            tags.insert((current.clone(), number), tag);
        }
    }
    tags
}

fn read_tag(line: &str) -> Option<(u32, Tag)> {
    let (declaration, tag) = line.split_once('`')?;
    let quoted =
        |key: &str| tag.split_once(&format!("{key}:\"")).and_then(|(_, rest)| Some(rest.split_once('"')?.0));
    let number = quoted("protobuf")?.split(',').nth(1)?.parse().ok()?;
    let mut parts = quoted("json")?.split(',');
    let name = parts.next().unwrap_or_default().to_owned();
    let options: BTreeSet<&str> = parts.collect();
    let pointer = declaration.split_whitespace().last()?.starts_with('*');
    Some((
        number,
        Tag { inline: options.contains("inline"), keep: pointer || !options.contains("omitempty"), name },
    ))
}

fn reachable(
    roots: impl Iterator<Item = String>,
    messages: &BTreeMap<String, Vec<Field>>,
) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut pending: Vec<String> = roots.collect();
    while let Some(name) = pending.pop() {
        let Some(fields) = messages.get(&name) else { continue };
        if seen.insert(name) {
            pending.extend(fields.iter().map(|field| field.2.clone()));
        }
    }
    seen
}
