//! Claims grow only where they are bound and their class lets them.
//!
//! Follows `plugin/pkg/admission/storage/persistentvolume/resize`.

use serde_json::Value;

use crate::quantity;
use crate::server::ApiServer;
use crate::server::call::Call;
use crate::status::Status;
use crate::storage::{GroupResource, Key};

const CLAIMS: GroupResource = GroupResource::new("", "persistentvolumeclaims");
const CLASSES: GroupResource = GroupResource::new("storage.k8s.io", "storageclasses");
/// Where the class of a claim was named before there was a field for it.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

impl ApiServer {
    pub(super) fn check_claim_size(&self, call: &Call<'_>, claim: &Value, old: &Value) -> Result<(), Status> {
        let size = |claim: &Value| {
            let amount = claim["spec"]["resources"]["requests"]["storage"].as_str();
            amount.and_then(quantity::milli).unwrap_or_default()
        };
        if call.resource.storage != CLAIMS || size(claim) <= size(old) {
            return Ok(());
        }
        let name = claim["metadata"]["name"].as_str().unwrap_or_default();
        if old["status"]["phase"] != "Bound" {
            return Err(call.forbidden(name, "Only bound persistent volume claims can be expanded"));
        }
        if self.may_grow(claim, old) {
            return Ok(());
        }
        let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must \
                   support resize";
        Err(call.forbidden(name, why))
    }

    fn may_grow(&self, claim: &Value, old: &Value) -> bool {
        let class = class_of(claim);
        if class.is_empty() || class != class_of(old) {
            return false;
        }
        let class = self.storage.get(&CLASSES, &Key::new("", class));
        class.is_some_and(|class| class.value()["allowVolumeExpansion"] == true)
    }
}

fn class_of(claim: &Value) -> &str {
    let annotation = claim["metadata"]["annotations"][CLASS_ANNOTATION].as_str();
    annotation.or_else(|| claim["spec"]["storageClassName"].as_str()).unwrap_or_default()
}
