//! Propagation of labels and annotations from a resource to its children (compatibility contract §3).
//!
//! Later layers win: the parent's own, then `spec.*.metadata`, then the fixed labels.

use std::collections::BTreeMap;

use crate::names;

/// Labels or annotations.
pub type Map = BTreeMap<String, String>;

/// Annotations that belong to a tool and to one object: copied to a child they would mislead the tool.
///
/// The first two are today's operator's own filter; the rest keep Argo CD from pruning children and Helm from claiming them.
const TOOL_ANNOTATIONS: [&str; 6] = [
    "kopf.zalando.org",
    "kubectl.kubernetes.io",
    "argocd.argoproj.io/",
    "meta.helm.sh/",
    "helm.sh/",
    names::OWN_PREFIX,
];

/// Labels that belong to a tool and to one object.
const TOOL_LABELS: [&str; 3] = ["argocd.argoproj.io/", "helm.sh/", names::OWN_PREFIX];

/// Label of Argo CD and Helm that marks an object as a member of a release.
const RELEASE_LABELS: [&str; 2] = ["app.kubernetes.io/instance", "app.kubernetes.io/managed-by"];

/// The labels of a parent that may be copied to its children.
pub fn inherited_labels(parent: &Map) -> Map {
    parent
        .iter()
        .filter(|(key, _)| {
            !TOOL_LABELS.iter().any(|tool| key.starts_with(tool)) && !RELEASE_LABELS.contains(&key.as_str())
        })
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// The annotations of a parent that may be copied to its children.
pub fn inherited_annotations(parent: &Map) -> Map {
    parent
        .iter()
        .filter(|(key, _)| !TOOL_ANNOTATIONS.iter().any(|tool| key.starts_with(tool)))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Merges layers; later ones win.
pub fn layers<'a>(layers: impl IntoIterator<Item = &'a Map>) -> Map {
    let mut merged = Map::new();
    for layer in layers {
        merged.extend(layer.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    merged
}

/// A map from pairs.
pub fn map<const N: usize>(pairs: [(&str, &str); N]) -> Map {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pain_25_keys_of_tools_stay_on_the_parent() {
        let annotations = map([
            ("hello", "world"),
            ("kopf.zalando.org/x", "1"),
            ("kubectl.kubernetes.io", "bare"),
            ("kubectl.kubernetes.io/last-applied-configuration", "{}"),
            ("argocd.argoproj.io/tracking-id", "app"),
            ("meta.helm.sh/release-name", "r"),
            ("operator.dask.org/cluster-replicas", "2"),
        ]);
        assert_eq!(inherited_annotations(&annotations), map([("hello", "world")]));
        let labels = map([("team", "a"), ("app.kubernetes.io/instance", "app"), ("helm.sh/chart", "c")]);
        assert_eq!(inherited_labels(&labels), map([("team", "a")]));
    }

    #[test]
    fn later_layers_win() {
        let merged = layers([&map([("a", "1"), ("b", "1")]), &map([("b", "2")])]);
        assert_eq!(merged, map([("a", "1"), ("b", "2")]));
    }
}
