//! `schemas/plugin-v1.json`: the contract between the operator and plugins, for whoever writes one in another language.

use std::path::PathBuf;

use anyhow::Result;
use dask_operator::plugin::contract::{PROTOCOL, schema};

use super::Generated;

pub(super) fn files() -> Result<Vec<Generated>> {
    let text = format!("{}\n", serde_json::to_string_pretty(&schema())?);
    let path = PathBuf::from(format!("schemas/plugin-{PROTOCOL}.json"));
    Ok(vec![Generated { path, contents: text.into_bytes() }])
}
