//! Which objects of a resource a list or watch means.

use super::{FieldSelector, Key, LabelSelector, Stored};

/// Namespace, labels and fields of a list or watch.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// One namespace, or all. Empty for resources of cluster scope whose object name is known.
    pub namespace: Option<String>,
    /// One object name, when the field selector names it.
    pub name: Option<String>,
    /// Label requirements.
    pub labels: LabelSelector,
    /// Field requirements other than those already in `namespace` and `name`.
    pub fields: FieldSelector,
}

impl Selection {
    /// Whether the object is meant.
    pub fn matches(&self, object: &Stored) -> bool {
        self.holds(&object.key)
            && self.labels.matches(&object.meta.labels)
            && self.fields.matches(&object.key, &object.fields)
    }

    fn holds(&self, key: &Key) -> bool {
        self.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace)
            && self.name.as_ref().is_none_or(|name| *name == key.name)
    }
}
