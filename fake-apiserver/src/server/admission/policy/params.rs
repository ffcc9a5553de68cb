//! The objects that a binding gives its policy to compare with.

use serde_json::Value;

use super::definition::{Binding, Policy};
use crate::schema::CelValue;
use crate::server::call::Call;
use crate::server::{ApiServer, convert};
use crate::storage::{Key, LabelSelector};

impl ApiServer {
    /// What `params` is, each time the policy is evaluated: once without any where the policy takes none.
    ///
    /// # Errors
    /// Why the policy cannot be evaluated.
    pub(super) fn params_of(
        &self,
        call: &Call<'_>,
        policy: &Policy,
        binding: &Binding,
    ) -> Result<Vec<CelValue>, String> {
        let nothing = || Ok(vec![CelValue::new(&Value::Null, None)]);
        let Some((api_version, kind)) = &policy.param_kind else { return nothing() };
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let Some(resource) = self.registry.by_kind(group, version, kind) else {
            return Err(format!(
                "failed to configure policy: failed to find resource referenced by paramKind: '{group}/{version}, \
                 Kind={kind}'"
            ));
        };
        let Some(reference) = &binding.params else { return nothing() };
        let namespace = match (resource.namespaced, reference.namespace.as_str()) {
            (false, _) => "",
            (true, "") if call.resource.namespaced => call.namespace(),
            (true, "") => {
                return Err(
                    "failed to configure binding: cannot use namespaced paramRef in policy binding that matches \
                     cluster-scoped resources"
                        .into(),
                );
            }
            (true, named) => named,
        };
        let selector = reference.selector.clone().unwrap_or_else(LabelSelector::default);
        let collection = self.storage.collection(&resource.storage);
        let found = collection.into_iter().flat_map(|all| all.in_namespace(namespace)).filter(|object| {
            if reference.name.is_empty() {
                selector.matches(&object.meta.labels)
            } else {
                object.key == Key::new(namespace, &reference.name)
            }
        });
        let schema = resource.schema().map(AsRef::as_ref);
        let shown: Vec<CelValue> =
            found.map(|object| CelValue::new(&convert::present(resource, object).value(), schema)).collect();
        if shown.is_empty() && reference.must_exist {
            return Err("failed to configure binding: no params found for policy binding with `Deny` \
                        parameterNotFoundAction"
                .into());
        }
        Ok(shown)
    }
}
