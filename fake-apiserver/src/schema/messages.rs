//! The fields of the Go types behind built-in kinds: what protobuf calls them, and whether a zero is told apart from nothing.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

/// `data/protobuf.json`.
#[derive(Deserialize, Default)]
pub(crate) struct Messages {
    /// Message name by `group/version/kind`.
    pub(crate) kinds: BTreeMap<String, String>,
    /// Fields by message name.
    #[serde(rename = "messages")]
    pub(crate) fields: BTreeMap<String, Vec<Field>>,
    /// By definition of the OpenAPI documents: the fields that are not written when they hold a zero.
    #[serde(skip)]
    omitted: BTreeMap<String, Vec<String>>,
}

/// Number, JSON name, type, flags (`r` repeated, `m` map, `k` zero is kept, `i` embedded).
#[derive(Deserialize)]
pub(crate) struct Field(pub(crate) u32, pub(crate) String, pub(crate) String, pub(crate) String);

impl Field {
    pub(crate) fn is(&self, flag: char) -> bool {
        self.3.contains(flag)
    }
}

/// All of them.
pub(crate) static MESSAGES: LazyLock<Messages> = LazyLock::new(|| {
    let mut all: Messages =
        serde_json::from_str(include_str!("../../data/protobuf.json")).unwrap_or_default();
    let omitted = |name: &String| (name.replacen("k8s.io.", "io.k8s.", 1), all.omitted_of(name));
    all.omitted = all.fields.keys().map(omitted).filter(|(_, fields)| !fields.is_empty()).collect();
    all
});

impl Messages {
    /// The texts, numbers and booleans of a definition that Go leaves out where they are empty, zero or false (`omitempty`).
    pub(super) fn omitted(&self, definition: &str) -> &[String] {
        self.omitted.get(definition).map_or(&[], Vec::as_slice)
    }

    fn omitted_of(&self, message: &str) -> Vec<String> {
        let mut names = Vec::new();
        for field in self.fields.get(message).into_iter().flatten() {
            let Field(_, name, declared, _) = field;
            if field.is('i') {
                names.extend(self.omitted_of(declared));
            } else if !declared.contains('.') && !['r', 'm', 'k'].iter().any(|flag| field.is(*flag)) {
                names.push(name.clone());
            }
        }
        names
    }
}
