//! Plugins in the operator's own process: a pure function in Rust.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::contract::{Change, Declaration, View};

/// A plugin that is linked into the operator.
///
/// ```
/// use dask_operator::plugin::{Change, Declaration, Edit, Plugin, Role, View};
/// use serde_json::json;
///
/// /// Notes on each scheduler's Service who pays for the cluster.
/// struct Payer;
///
/// impl Plugin for Payer {
///     fn declaration(&self) -> Declaration {
///         Declaration::new("payer")
///     }
///
///     fn sync(&self, view: &View) -> Change {
///         let payer = &view.parent["metadata"]["labels"]["payer"];
///         let patch = json!({"metadata": {"annotations": {"example.org/payer": payer}}});
///         Change { edits: vec![Edit::Merge { child: Role::Service, patch }], ..Change::default() }
///     }
/// }
/// ```
pub trait Plugin: Send + Sync {
    /// What it is called, whose children it is about, and what it adds. Asked once, at the start.
    fn declaration(&self) -> Declaration;

    /// What it wants. A function of the view alone: no clock, no I/O. It is called in the operator's loop, so it is quick.
    fn sync(&self, view: &View) -> Change;
}

/// What a plugin wants, or what it said when it panicked: the operator goes on for everybody else.
pub(super) fn call(plugin: &dyn Plugin, view: &View) -> Result<Change, String> {
    catch_unwind(AssertUnwindSafe(|| plugin.sync(view))).map_err(|panic| {
        let text = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned());
        format!("it panicked: {}", text.unwrap_or_else(|| "it does not say why".into()))
    })
}
