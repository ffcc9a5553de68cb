//! A container's environment, command line and references to the pod's own fields. Pure.
//!
//! Imitates `makeEnvironmentVariables` of the kubelet: service variables first, then `envFrom`, then `env` in order;
//! `$(NAME)` sees what was set before it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVarSource, Pod, ResourceFieldSelector, Secret};

use super::catalogue::{BASE_PATH, Image};
use crate::quantity;

/// ConfigMaps and Secrets of the pod's namespace that were found.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    pub(super) config_maps: BTreeMap<String, ConfigMap>,
    pub(super) secrets: BTreeMap<String, Secret>,
}

/// What is known of the pod beside its object.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// The pod's address.
    pub(super) pod_ip: String,
    /// The node's address.
    pub(super) host_ip: String,
    /// The node's CPUs and memory, for containers without a limit.
    pub(super) allocatable: BTreeMap<String, String>,
}

/// Why an environment cannot be made; the message of `CreateContainerConfigError`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConfigError {
    /// The ConfigMap or Secret does not exist.
    #[error("{kind} {name:?} not found")]
    Missing {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// It has no such key.
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    NoKey {
        /// The key.
        key: String,
        /// `ConfigMap` or `Secret`.
        kind: &'static str,
        /// The pod's namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A reference that the API does not know.
    #[error("unsupported field reference {0:?}")]
    BadField(String),
}

/// ConfigMaps and Secrets that a container's environment names.
pub(super) fn needed(container: &Container) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut maps, mut secrets) = (BTreeSet::new(), BTreeSet::new());
    for from in container.env_from.iter().flatten() {
        maps.extend(from.config_map_ref.iter().map(|reference| reference.name.clone()));
        secrets.extend(from.secret_ref.iter().map(|reference| reference.name.clone()));
    }
    for source in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
        maps.extend(source.config_map_key_ref.iter().map(|reference| reference.name.clone()));
        secrets.extend(source.secret_key_ref.iter().map(|reference| reference.name.clone()));
    }
    (maps, secrets)
}

/// The variables that the pod asks for, before the image's own are added.
pub(super) fn variables(
    container: &Container,
    pod: &Pod,
    services: &BTreeMap<String, String>,
    sources: &Sources,
    facts: &Facts,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut result = BTreeMap::new();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &from.config_map_ref {
            match sources.config_maps.get(&reference.name) {
                Some(map) => {
                    result.extend(text_entries(map).map(|(key, value)| (format!("{prefix}{key}"), value)));
                }
                None if reference.optional == Some(true) => {}
                None => return Err(missing("configmap", &reference.name)),
            }
        }
        if let Some(reference) = &from.secret_ref {
            match sources.secrets.get(&reference.name) {
                Some(secret) => {
                    result
                        .extend(secret_entries(secret).map(|(key, value)| (format!("{prefix}{key}"), value)));
                }
                None if reference.optional == Some(true) => {}
                None => return Err(missing("secret", &reference.name)),
            }
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value_from, &variable.value) {
            (Some(source), _) => referenced(source, container, pod, sources, facts)?,
            (None, Some(value)) => {
                Some(expand(value, |name| result.get(name).or_else(|| services.get(name))))
            }
            (None, None) => Some(String::new()),
        };
        if let Some(value) = value {
            result.insert(variable.name.clone(), value);
        }
    }
    for (name, value) in services {
        result.entry(name.clone()).or_insert_with(|| value.clone());
    }
    Ok(result)
}

/// The whole environment: the image's variables beneath the pod's. `scripts` is the directory of the image's scripts.
pub(super) fn with_image(
    variables: BTreeMap<String, String>,
    image: &Image,
    scripts: Option<&str>,
    hostname: &str,
) -> BTreeMap<String, String> {
    let first = scripts.map(str::to_owned).into_iter();
    let prepended = image.path_prepend.iter().map(|path| path.to_string_lossy().into_owned());
    let base = image.env.get("PATH").map_or(BASE_PATH, String::as_str);
    let path: Vec<String> = first.chain(prepended).chain([base.to_owned()]).collect();
    let mut all = BTreeMap::from([
        ("HOME".to_owned(), "/tmp".to_owned()),
        ("HOSTNAME".to_owned(), hostname.to_owned()),
    ]);
    all.extend(image.env.clone());
    all.insert("PATH".into(), path.join(":"));
    all.extend(variables);
    all
}

/// Program and arguments: a container's `command` replaces entry point and default arguments, its `args` the latter.
pub(super) fn command_line(
    container: &Container,
    image: &Image,
    variables: &BTreeMap<String, String>,
) -> Vec<String> {
    let expanded = |words: &[String]| -> Vec<String> {
        words.iter().map(|word| expand(word, |name| variables.get(name))).collect()
    };
    let command = container.command.as_deref().unwrap_or_default();
    let args = container.args.as_deref().unwrap_or_default();
    let mut line = match (command.is_empty(), args.is_empty()) {
        (false, _) => [expanded(command), expanded(args)].concat(),
        (true, false) => [image.entrypoint.clone(), expanded(args)].concat(),
        (true, true) => [image.entrypoint.clone(), image.command.clone()].concat(),
    };
    if let Some(program) = line.first_mut()
        && let Some(here) = image.programs.get(program)
    {
        *program = here.to_string_lossy().into_owned();
    }
    line
}

/// Replaces `$(NAME)`; `$$` stands for `$`, and what is not known stays as it is (third_party/forked/golang/expansion).
pub(super) fn expand<'a>(text: &str, known: impl Fn(&str) -> Option<&'a String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match known(name) {
                Some(value) => out.push_str(value),
                None => out.extend(["$(", name, ")"]),
            }
            rest = tail;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

fn referenced(
    source: &EnvVarSource,
    container: &Container,
    pod: &Pod,
    sources: &Sources,
    facts: &Facts,
) -> Result<Option<String>, ConfigError> {
    let namespace = || pod.metadata.namespace.clone().unwrap_or_default();
    if let Some(reference) = &source.field_ref {
        return field(pod, facts, &reference.field_path).map(Some);
    }
    if let Some(reference) = &source.resource_field_ref {
        return resource(container, facts, reference).map(Some);
    }
    if let Some(reference) = &source.config_map_key_ref {
        let optional = reference.optional == Some(true);
        let (key, name) = (reference.key.clone(), reference.name.clone());
        let Some(map) = sources.config_maps.get(&name) else {
            return if optional { Ok(None) } else { Err(missing("configmap", &name)) };
        };
        return match text_entries(map).find(|(found, _)| *found == key) {
            Some((_, value)) => Ok(Some(value)),
            None if optional => Ok(None),
            None => Err(ConfigError::NoKey { key, kind: "ConfigMap", namespace: namespace(), name }),
        };
    }
    if let Some(reference) = &source.secret_key_ref {
        let optional = reference.optional == Some(true);
        let (key, name) = (reference.key.clone(), reference.name.clone());
        let Some(secret) = sources.secrets.get(&name) else {
            return if optional { Ok(None) } else { Err(missing("secret", &name)) };
        };
        return match secret_entries(secret).find(|(found, _)| *found == key) {
            Some((_, value)) => Ok(Some(value)),
            None if optional => Ok(None),
            None => Err(ConfigError::NoKey { key, kind: "Secret", namespace: namespace(), name }),
        };
    }
    Ok(Some(String::new()))
}

/// The value of a `fieldRef`; also used by downward API volumes.
pub(super) fn field(pod: &Pod, facts: &Facts, path: &str) -> Result<String, ConfigError> {
    let metadata = &pod.metadata;
    let spec = pod.spec.as_ref();
    let entry = |map: &Option<BTreeMap<String, String>>, key: &str| {
        map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default()
    };
    if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        return match map {
            "metadata.labels" => Ok(entry(&metadata.labels, key)),
            "metadata.annotations" => Ok(entry(&metadata.annotations, key)),
            _ => Err(ConfigError::BadField(path.to_owned())),
        };
    }
    let lines = |map: &Option<BTreeMap<String, String>>| -> String {
        let lines = map.iter().flatten().map(|(key, value)| format!("{key}={value:?}"));
        lines.collect::<Vec<_>>().join("\n")
    };
    Ok(match path {
        "metadata.name" => metadata.name.clone().unwrap_or_default(),
        "metadata.namespace" => metadata.namespace.clone().unwrap_or_default(),
        "metadata.uid" => metadata.uid.clone().unwrap_or_default(),
        "metadata.labels" => lines(&metadata.labels),
        "metadata.annotations" => lines(&metadata.annotations),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        "spec.serviceAccountName" => {
            spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_default()
        }
        "status.podIP" | "status.podIPs" => facts.pod_ip.clone(),
        "status.hostIP" | "status.hostIPs" => facts.host_ip.clone(),
        _ => return Err(ConfigError::BadField(path.to_owned())),
    })
}

/// The value of a `resourceFieldRef`; also used by downward API volumes.
pub(super) fn resource(
    container: &Container,
    facts: &Facts,
    selector: &ResourceFieldSelector,
) -> Result<String, ConfigError> {
    let bad = || ConfigError::BadField(selector.resource.clone());
    let resources = container.resources.as_ref();
    let (kind, name) = selector.resource.split_once('.').ok_or_else(bad)?;
    let map = match kind {
        "limits" => resources.and_then(|resources| resources.limits.as_ref()),
        "requests" => resources.and_then(|resources| resources.requests.as_ref()),
        _ => return Err(bad()),
    };
    let stated = map.and_then(|map| map.get(name)).map(|quantity| quantity.0.clone());
    let value = match (stated, kind) {
        (Some(value), _) => value,
        (None, "limits") => facts.allocatable.get(name).cloned().unwrap_or_else(|| "0".into()),
        (None, _) => "0".into(),
    };
    let divisor = selector.divisor.as_ref().map_or("1", |divisor| divisor.0.as_str());
    let divisor = if quantity::milli(divisor) == Some(0) { "1" } else { divisor };
    quantity::divided(&value, divisor).ok_or_else(bad)
}

fn missing(kind: &'static str, name: &str) -> ConfigError {
    ConfigError::Missing { kind, name: name.to_owned() }
}

fn text_entries(map: &ConfigMap) -> impl Iterator<Item = (String, String)> + '_ {
    map.data.iter().flatten().map(|(key, value)| (key.clone(), value.clone()))
}

fn secret_entries(secret: &Secret) -> impl Iterator<Item = (String, String)> + '_ {
    let entries = secret.data.iter().flatten();
    entries.map(|(key, value)| (key.clone(), String::from_utf8_lossy(&value.0).into_owned()))
}

#[cfg(test)]
#[path = "environment_tests.rs"]
mod tests;
