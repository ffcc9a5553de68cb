//! Notes on each scheduler's Service who pays, and gives the team of the cluster a ConfigMap with its address.

use dask_operator::plugin::{Change, Declaration, Edit, Plugin, Role, View};
use serde_json::json;

/// The plugin. It has no state: what it wants is a function of what it is shown.
pub(crate) struct Payer;

impl Plugin for Payer {
    fn declaration(&self) -> Declaration {
        Declaration::new("payer").adds("v1", "ConfigMap", "configmaps")
    }

    fn sync(&self, view: &View) -> Change {
        let metadata = &view.parent["metadata"];
        let Some(payer) = metadata["labels"]["payer"].as_str() else {
            let message = "set the label payer, so that somebody pays for the cluster".into();
            let veto = Edit::Veto { reason: "PayerMissing".into(), message };
            return Change { edits: vec![veto], ..Change::default() };
        };
        let name = metadata["name"].as_str().unwrap_or_default();
        let note = json!({"metadata": {"annotations": {"example.org/payer": payer}}});
        let address = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": format!("{name}-address")},
            "data": {"DASK_SCHEDULER_ADDRESS": format!("tcp://{name}-scheduler:8786"), "PAYER": payer},
        });
        let edits = vec![Edit::Merge { child: Role::Service, patch: note }, Edit::Add { object: address }];
        Change { edits, ..Change::default() }
    }
}
