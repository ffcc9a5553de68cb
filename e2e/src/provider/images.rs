//! What the images of our programs stand for where pods are processes.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::json;

use crate::Options;

/// The repository of both operators' images; the Python operator's have other tags.
const REPOSITORY: &str = "ghcr.io/dask/dask-kubernetes-operator";

/// Writes the catalogue; its path.
pub(super) fn write(options: &Options) -> Result<PathBuf> {
    let mut images = Vec::new();
    if let Some(python) = &options.tools.python_operator {
        images.push(json!({
            "image": format!("{REPOSITORY}:{}", python.version),
            // As in its image.
            "entrypoint": ["kopf", "run", "-m", "dask_kubernetes.operator.controller"],
            "pathPrepend": [std::path::absolute(&python.programs)?],
        }));
    }
    let program = std::path::absolute(&options.operator)?;
    images.push(json!({
        "image": format!("{REPOSITORY}:*"),
        // As in `Containerfile`.
        "entrypoint": ["/dask-operator", "run"],
        "programs": {"/dask-operator": program},
    }));
    if let Some(program) = &options.tools.own_kind {
        images.push(json!({
            "image": "registry.example.com/research-labs:*",
            "entrypoint": ["/research-labs"],
            "programs": {"/research-labs": std::path::absolute(program)?},
        }));
    }
    let path = options.folder.join("images.yaml");
    std::fs::write(&path, serde_yaml::to_string(&json!({"images": images}))?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
