//! Every pod has a service account, and the account's token where it does not decline it.
//!
//! Follows `plugin/pkg/admission/serviceaccount`.

use serde_json::{Value, json};

use crate::server::call::Call;
use crate::server::{ApiServer, SERVICE_ACCOUNTS, meta};
use crate::status::Status;
use crate::storage::Key;

/// Where programs look for their token.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";
/// What the volume's token is asked for: an hour and some seconds, by which the server knows such tokens.
const TOKEN_SECONDS: u32 = 3607;

impl ApiServer {
    pub(super) fn admit_account(&self, call: &Call<'_>, pod: &mut Value) -> Result<(), Status> {
        let pod_name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let name = account_name(&mut pod["spec"]);
        let namespace = call.namespace();
        let found = self.storage.get(&SERVICE_ACCOUNTS, &Key::new(namespace, &name));
        let account = match found {
            Some(found) => found.value(),
            // The default account is on its way, and the real server waits for it; without the controllers that make
            // it there are no accounts, as on a server with this plugin disabled.
            None if name == "default" && self.makes_accounts() => json!({}),
            None if name == "default" => return Ok(()),
            None => {
                let why = format!(
                    "error looking up service account {namespace}/{name}: serviceaccount {name:?} not found"
                );
                return Err(call.forbidden(&pod_name, &why));
            }
        };
        let spec = &mut pod["spec"];
        let mounts = spec["automountServiceAccountToken"]
            .as_bool()
            .or_else(|| account["automountServiceAccountToken"].as_bool())
            .unwrap_or(true);
        if mounts {
            mount_token(spec, &meta::suffix(self.uids + 1));
        }
        let none = |value: &Value| value.as_array().is_none_or(Vec::is_empty);
        if none(&spec["imagePullSecrets"]) && !none(&account["imagePullSecrets"]) {
            spec["imagePullSecrets"] = account["imagePullSecrets"].clone();
        }
        if account["metadata"]["annotations"][ENFORCE] == "true"
            && let Some(why) = unmountable(spec, &account, &name)
        {
            return Err(call.forbidden(&pod_name, &why));
        }
        Ok(())
    }

    /// Whether a controller gives every namespace its default account.
    fn makes_accounts(&self) -> bool {
        let disabled = &self.config.options.disabled;
        self.config.controllers && !disabled.contains("serviceaccount-controller")
    }
}

/// The account of a pod, said in both fields that name it.
fn account_name(spec: &mut Value) -> String {
    let said = ["serviceAccountName", "serviceAccount"]
        .into_iter()
        .find_map(|field| spec[field].as_str().filter(|name| !name.is_empty()).map(str::to_owned));
    let name = said.unwrap_or_else(|| "default".into());
    spec["serviceAccountName"] = json!(name);
    spec["serviceAccount"] = json!(name);
    name
}

/// Mounts a token where nothing is mounted in its place; the volume only comes where it is used.
fn mount_token(spec: &mut Value, suffix: &str) {
    let name = format!("kube-api-access-{suffix}");
    let mut used = false;
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(container) = container.as_object_mut() else { continue };
            let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
            let Some(mounts) = mounts.as_array_mut() else { continue };
            if mounts.iter().any(|mount| mount["mountPath"] == MOUNT_PATH) {
                continue;
            }
            mounts.push(json!({"mountPath": MOUNT_PATH, "name": name, "readOnly": true}));
            used = true;
        }
    }
    if !used {
        return;
    }
    let volume = json!({"name": name, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [
            {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}, "path": "namespace"}]}},
    ]}});
    match spec["volumes"].as_array_mut() {
        Some(volumes) => volumes.push(volume),
        None => spec["volumes"] = json!([volume]),
    }
}

/// The first secret a pod uses that its account does not list.
fn unmountable(spec: &Value, account: &Value, name: &str) -> Option<String> {
    let lists = |field: &str, wanted: &str| {
        account[field].as_array().into_iter().flatten().any(|reference| reference["name"] == wanted)
    };
    let not = "is not allowed because service account";
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        let Some(secret) = volume["secret"]["secretName"].as_str() else { continue };
        if !lists("secrets", secret) {
            return Some(format!(
                "volume with secret.secretName={secret:?} {not} {name} does not reference that secret"
            ));
        }
    }
    for (list, what) in [("initContainers", "init container"), ("containers", "container")] {
        for container in spec[list].as_array().into_iter().flatten() {
            for variable in container["env"].as_array().into_iter().flatten() {
                let Some(secret) = variable["valueFrom"]["secretKeyRef"]["name"].as_str() else { continue };
                if !lists("secrets", secret) {
                    let text = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
                    return Some(format!(
                        "{what} {} with envVar {} referencing secret.secretName={secret:?} {not} {name} does not \
                         reference that secret",
                        text(container),
                        text(variable)
                    ));
                }
            }
        }
    }
    let pulls = spec["imagePullSecrets"].as_array().into_iter().flatten();
    for (index, reference) in pulls.enumerate() {
        let secret = reference["name"].as_str().unwrap_or_default();
        if !lists("imagePullSecrets", secret) {
            return Some(format!(
                "imagePullSecrets[{index}].name={secret:?} {not} {name} does not reference that imagePullSecret"
            ));
        }
    }
    None
}
