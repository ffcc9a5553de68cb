//! What field selectors are compared with.

use std::sync::Arc;

use serde_json::Value;

/// A field of a kind that selectors may name, besides `metadata.name` and `metadata.namespace`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectableField {
    /// As selectors call it.
    name: String,
    /// Where its value is, without the leading dot.
    path: String,
    /// What an object that does not have it is compared with: the zero value of its type in Go.
    absent: &'static str,
}

impl SelectableField {
    /// A text, called by its path.
    pub fn text(path: &str) -> Self {
        Self::new(path, path, "")
    }

    /// A field whose name or type is another.
    pub fn new(name: &str, path: &str, absent: &'static str) -> Self {
        Self { name: name.into(), path: path.into(), absent }
    }

    /// As selectors call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn read(&self, value: &Value) -> Box<str> {
        match self.path.split('.').try_fold(value, |at, part| at.get(part)) {
            Some(Value::String(text)) => text.as_str().into(),
            Some(Value::Bool(flag)) => flag.to_string().into(),
            Some(Value::Number(number)) => number.to_string().into(),
            _ => self.absent.into(),
        }
    }
}

/// The values of an object's selectable fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    of: Arc<[SelectableField]>,
    values: Box<[Box<str>]>,
}

impl Fields {
    /// Those of an object.
    pub fn read(value: &Value, of: &Arc<[SelectableField]>) -> Self {
        Self { of: Arc::clone(of), values: of.iter().map(|field| field.read(value)).collect() }
    }

    /// The value of a field; empty if the kind has no such field.
    pub fn get(&self, name: &str) -> &str {
        let at = self.of.iter().position(|field| field.name == name);
        at.and_then(|at| self.values.get(at)).map(|value| &**value).unwrap_or_default()
    }
}
