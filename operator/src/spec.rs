//! Reading the spec of a resource: a wrong field is named with its path.

use serde::de::DeserializeOwned;

use crate::observe::Resource;

/// The typed spec, or what is wrong with it.
pub fn read<T: DeserializeOwned>(resource: &Resource) -> Result<T, String> {
    serde_path_to_error::deserialize(&*resource.spec).map_err(|error| {
        let path = error.path().to_string();
        let place = if path == "." { "spec".to_owned() } else { format!("spec.{path}") };
        format!("{place}: {}", error.inner())
    })
}
