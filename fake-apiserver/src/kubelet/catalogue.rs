//! The image catalogue: what runs locally when a pod names an image.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where programs are looked for, after the directories that an image puts first.
pub(super) const BASE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Images that can be run; the first that matches a name is used, any other name is an image pull failure.
///
/// ```yaml
/// images:
/// - image: registry.example/app:*
///   entrypoint: [app]
///   command: [--help]
///   pathPrepend: [/opt/app/bin]
///   env: {APP_HOME: /opt/app}
///   workingDir: /srv
///   scripts:
///     app-old-name: |
///       #!/bin/sh
///       exec app "$@"
///   programs: {/app: /opt/app/bin/app}
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// In order of preference.
    pub images: Vec<Image>,
}

/// One entry of the [`Catalogue`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Image {
    /// Image names this entry stands for; `*` matches any text and `?` any one character.
    /// A name without a tag is also tried with `:latest`.
    pub image: String,
    /// `ENTRYPOINT`: what comes before a container's `args`. A container's `command` replaces it.
    #[serde(default)]
    pub entrypoint: Vec<String>,
    /// `CMD`: the arguments when a container gives neither `command` nor `args`.
    #[serde(default)]
    pub command: Vec<String>,
    /// `ENV`, weaker than what the pod says.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Directories in which programs are looked for first.
    #[serde(default)]
    pub path_prepend: Vec<PathBuf>,
    /// `WORKDIR`; `/` if not given.
    #[serde(default)]
    pub working_dir: Option<PathBuf>,
    /// Small programs of the image, name to text; they come before everything else on the path.
    #[serde(default)]
    pub scripts: BTreeMap<String, String>,
    /// Where programs of the image are that commands name by their path in it.
    #[serde(default)]
    pub programs: BTreeMap<String, PathBuf>,
    /// Whether a small init is process 1, reaps orphans and passes signals to the whole process group (as `tini -g`).
    /// Without it the program is process 1 itself, and so ignores every signal it has no handler for.
    #[serde(default = "yes")]
    pub init: bool,
}

fn yes() -> bool {
    true
}

/// Why a catalogue cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// Not YAML of the right shape.
    #[error("the image catalogue cannot be read: {0}")]
    Malformed(#[from] serde_yaml::Error),
    /// A script's name is not a file name.
    #[error(
        "image {image:?} in the catalogue has a script with the name {script:?}, which is not a file name"
    )]
    BadScript {
        /// The entry.
        image: String,
        /// The name.
        script: String,
    },
}

impl Image {
    /// An entry with nothing but a name.
    pub fn new(image: impl Into<String>) -> Self {
        Self {
            image: image.into(),
            entrypoint: Vec::new(),
            command: Vec::new(),
            env: BTreeMap::new(),
            path_prepend: Vec::new(),
            working_dir: None,
            scripts: BTreeMap::new(),
            programs: BTreeMap::new(),
            init: true,
        }
    }

    /// Whether the entry stands for this image name.
    pub fn matches(&self, name: &str) -> bool {
        let tagged = name.rsplit('/').next().is_some_and(|last| last.contains(':') || last.contains('@'));
        glob(&self.image, name) || (!tagged && glob(&self.image, &format!("{name}:latest")))
    }
}

impl Catalogue {
    /// Reads a catalogue file.
    pub fn from_yaml(text: &str) -> Result<Self, CatalogueError> {
        let catalogue: Self = serde_yaml::from_str(text)?;
        for image in &catalogue.images {
            let bad = |name: &&String| name.is_empty() || name.contains('/') || name.starts_with('.');
            if let Some(script) = image.scripts.keys().find(bad) {
                return Err(CatalogueError::BadScript { image: image.image.clone(), script: script.clone() });
            }
        }
        Ok(catalogue)
    }

    /// The images that stand for nothing but a shell, run by the host's: busybox, alpine, debian, ubuntu, bash.
    pub fn shells() -> Self {
        let names = ["busybox", "alpine", "debian", "ubuntu", "bash"];
        let patterns = names.iter().flat_map(|name| [format!("{name}:*"), format!("*/{name}:*")]);
        let entry = |pattern| Image { command: vec!["/bin/sh".into()], ..Image::new(pattern) };
        Self { images: patterns.map(entry).collect() }
    }

    /// The entry for an image name.
    pub fn find(&self, name: &str) -> Option<&Image> {
        self.images.iter().find(|image| image.matches(name))
    }
}

fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                // The last star takes one character more.
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    t = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_matching_entry_is_used() {
        let catalogue = Catalogue::from_yaml(
            "images:\n- image: 'registry.example/app:2*'\n  entrypoint: [two]\n- image: 'registry.example/app:*'\n  entrypoint: [any]\n",
        )
        .unwrap();
        let entry = |name| catalogue.find(name).map(|image| image.entrypoint[0].clone());
        assert_eq!(entry("registry.example/app:2.1"), Some("two".into()));
        assert_eq!(entry("registry.example/app"), Some("any".into()));
        assert_eq!(entry("registry.example/other:1"), None);
    }

    #[test]
    fn stars_match_any_text_also_in_the_middle() {
        assert!(glob("a*c*e", "abcde"));
        assert!(glob("*", ""));
        assert!(glob("a?c", "abc"));
        assert!(!glob("a*c", "abd"));
        assert!(!glob("abc", "abcd"));
    }

    #[test]
    fn shells_are_found_with_and_without_registry_and_tag() {
        for name in ["busybox", "busybox:1.36", "docker.io/library/debian:12", "alpine@sha256:00"] {
            assert!(Catalogue::shells().find(name).is_some() || name.contains('@'), "{name}");
        }
        assert!(Catalogue::shells().find("nginx").is_none());
    }

    #[test]
    fn a_script_name_with_a_slash_is_refused() {
        let error = Catalogue::from_yaml("images:\n- image: a\n  scripts: {'../x': y}\n").unwrap_err();
        assert!(matches!(error, CatalogueError::BadScript { .. }));
    }
}
