//! The definitions that built-in kinds refer to.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::value::RawValue;

/// The `components.schemas` of an OpenAPI v3 document: definitions by name, each parsed only when a kind needs it.
#[derive(Debug)]
pub struct Components {
    text: &'static str,
    definitions: OnceLock<BTreeMap<&'static str, &'static RawValue>>,
}

impl Components {
    /// Definitions from the text of a JSON object; it is read at the first look-up.
    pub const fn from_static(text: &'static str) -> Self {
        Self { text, definitions: OnceLock::new() }
    }

    /// The text of one definition.
    pub fn get(&self, name: &str) -> Option<&'static str> {
        let definitions =
            self.definitions.get_or_init(|| serde_json::from_str(self.text).unwrap_or_default());
        definitions.get(name).map(|raw| raw.get())
    }
}
