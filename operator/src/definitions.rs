//! `dask-operator crds --apply`: brings the installed CustomResourceDefinitions to this version.
//!
//! Helm installs definitions once and never changes them. All versions of ours and upstream's have one stored version, `v1`,
//! so that stored objects need no conversion: a definition is exchanged as a whole, and the objects stay as they are.

use kube::core::DynamicObject;
use serde_json::{Value, json};
use thiserror::Error;

use crate::api::crds::crds;
use crate::execute::MANAGER;
use crate::store::served::definitions;
use crate::store::{ObjectKey, Part, Patch, PatchOptions, Store, StoreError};

/// What became of a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was missing.
    Created,
    /// It was another version.
    Changed,
    /// It was this version already.
    Unchanged,
}

impl Change {
    /// One lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
        }
    }
}

/// Why a definition could not be brought to this version. Those before it were.
#[derive(Debug, Error)]
pub enum DefinitionError {
    /// The API server did not do it.
    #[error("the definition {name} cannot be brought to this version")]
    Refused {
        /// Name of the definition.
        name: String,
        /// Why not.
        #[source]
        source: StoreError,
    },
    /// A definition of ours is no object: a mistake of this build.
    #[error("the definition {name} of this build is malformed")]
    Malformed {
        /// Name of the definition.
        name: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// Brings all definitions to this version, one after the other; names them with what became of each.
///
/// The whole `spec` is exchanged, so that nothing of another version is left; labels and annotations stay, since others put
/// them there.
pub async fn upgrade(store: &dyn Store) -> Result<Vec<(String, Change)>, DefinitionError> {
    let mut done = Vec::new();
    for ours in crds() {
        let name = ours["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let change = one(store, &name, ours).await?;
        done.push((name, change));
    }
    Ok(done)
}

async fn one(store: &dyn Store, name: &str, ours: Value) -> Result<Change, DefinitionError> {
    let refused = |source| DefinitionError::Refused { name: name.to_owned(), source };
    let resource = definitions();
    let key = ObjectKey::cluster(name);
    let Some(before) = store.get(&resource, &key).await.map_err(refused)? else {
        let object: DynamicObject = serde_json::from_value(ours)
            .map_err(|source| DefinitionError::Malformed { name: name.to_owned(), source })?;
        store.create(&resource, &object, MANAGER).await.map_err(refused)?;
        return Ok(Change::Created);
    };
    let exchange = Patch::Json(json!([{"op": "replace", "path": "/spec", "value": ours["spec"]}]));
    let options = PatchOptions { manager: MANAGER.into(), part: Part::Object };
    let after = store.patch(&resource, &key, &exchange, &options).await.map_err(refused)?;
    // The generation moves with the spec; the resource version would with the condition that follows, too.
    let changed = before.metadata.generation != after.metadata.generation;
    Ok(if changed { Change::Changed } else { Change::Unchanged })
}
