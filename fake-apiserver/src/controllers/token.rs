//! Secrets of type `kubernetes.io/service-account-token`: they hold a token of their account as long as it exists.
//!
//! Follows `pkg/controller/serviceaccount/tokens_controller.go`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::control_loop::{Context, ControlLoop, Seen};
use super::queue::{Queue, Work};
use crate::status::Status;
use crate::storage::{GroupResource, Key};

const SERVICE_ACCOUNTS: GroupResource = GroupResource::new("", "serviceaccounts");
const SECRETS: GroupResource = GroupResource::new("", "secrets");
const TYPE: &str = "kubernetes.io/service-account-token";
const NAME: &str = "kubernetes.io/service-account.name";
const UID: &str = "kubernetes.io/service-account.uid";

/// Fills token Secrets, and removes those whose account is gone.
#[derive(Default)]
pub(crate) struct Tokens;

impl ControlLoop for Tokens {
    fn name(&self) -> &'static str {
        "tokens-controller"
    }

    fn observe(&mut self, seen: &Seen<'_>, queue: &mut Queue) {
        match seen.resource() {
            ("", "secrets") if seen.change.after.is_some() && is_token(&seen.object().bytes) => {
                seen.mark(queue, "secrets");
            }
            ("", "serviceaccounts") if seen.change.after.is_none() => {
                queue.add(Work::new("serviceaccounts", &seen.object().key), seen.now);
            }
            _ => {}
        }
    }

    fn sync(&mut self, work: &Work, context: &mut Context<'_, '_>) -> Result<Option<Timestamp>, Status> {
        if work.about == "serviceaccounts" {
            return remove_of(context, &work.key).map(|()| None);
        }
        let Some(secret) = context.api.get(&SECRETS, &work.key.namespace, &work.key.name) else {
            return Ok(None);
        };
        let mut value = secret.value();
        if value["type"] != TYPE || secret.meta.deleting {
            return Ok(None);
        }
        let account = value["metadata"]["annotations"][NAME].as_str().unwrap_or_default();
        let account = context.api.get(&SERVICE_ACCOUNTS, &work.key.namespace, account);
        let said = value["metadata"]["annotations"][UID].as_str().unwrap_or_default();
        let Some(account) = account.filter(|account| said.is_empty() || said == account.meta.uid) else {
            let options = json!({"preconditions": {"uid": secret.meta.uid}});
            context.api.delete(&SECRETS, &work.key, options)?;
            return Ok(None);
        };
        let data = [
            ("ca.crt", context.options.root_ca.clone()),
            ("namespace", work.key.namespace.clone()),
            ("token", context.api.server().secret_token(&account, &secret)?),
        ];
        let before = value.clone();
        for (key, text) in data {
            if value["data"].get(key).is_none() {
                value["data"][key] = json!(BASE64.encode(text));
            }
        }
        value["metadata"]["annotations"][UID] = json!(account.meta.uid);
        if value != before {
            context.api.update(&SECRETS, value)?;
        }
        Ok(None)
    }
}

/// Looks for the type in the stored bytes: most secrets are none of this controller's.
fn is_token(bytes: &[u8]) -> bool {
    bytes.windows(TYPE.len()).any(|window| window == TYPE.as_bytes())
}

/// An account has gone: so do its tokens.
fn remove_of(context: &mut Context<'_, '_>, account: &Key) -> Result<(), Status> {
    let Some(secrets) = context.api.collection(&SECRETS) else { return Ok(()) };
    let of_account = |value: &Value| {
        value["type"] == TYPE && value["metadata"]["annotations"][NAME].as_str() == Some(&account.name)
    };
    let theirs: Vec<_> = secrets
        .in_namespace(&account.namespace)
        .filter(|secret| is_token(&secret.bytes) && of_account(&secret.value()))
        .cloned()
        .collect();
    let account_again = context.api.get(&SERVICE_ACCOUNTS, &account.namespace, &account.name);
    for secret in theirs {
        let value = secret.value();
        let said = value["metadata"]["annotations"][UID].as_str();
        if account_again.as_ref().is_some_and(|account| said.is_none_or(|uid| uid == account.meta.uid)) {
            continue;
        }
        let options = json!({"preconditions": {"uid": secret.meta.uid}});
        context.api.delete(&SECRETS, &secret.key, options)?;
    }
    Ok(())
}
