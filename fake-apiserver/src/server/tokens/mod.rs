//! Tokens of service accounts: issued by `serviceaccounts/token`, read again when somebody shows one.
//!
//! Claims and checks are those of `pkg/serviceaccount` (claims.go, legacy.go) and
//! `pkg/registry/core/serviceaccount/storage/token.go`.

mod claims;
mod key;

use jiff::SignedDuration;
use serde_json::{Value, json};

pub use key::TokenKey;

use claims::{Bound, Claims};

use super::call::Call;
use super::{ApiServer, NODES, PODS, SECRETS, SERVICE_ACCOUNTS, meta};
use crate::request::User;
use crate::response::{Reply, Response};
use crate::status::{Cause, Status};
use crate::storage::{GroupResource, Key, Stored};

/// Who issues tokens and, where nobody says otherwise, for whom they are meant.
pub const ISSUER: &str = "https://kubernetes.default.svc";

/// Seconds a token lives if nobody says.
const DEFAULT_SECONDS: i64 = 3600;
/// What pods' own volumes ask for. Such a token is good for a year, so that programs that never read it again go on
/// working (`--service-account-extend-token-expiration`).
const PROJECTED_SECONDS: i64 = 3607;
const EXTENDED_SECONDS: i64 = 365 * 24 * 3600;

/// Somebody who has shown a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenUser {
    /// Who it is.
    pub user: User,
    /// For whom the token was meant.
    pub audiences: Vec<String>,
}

impl ApiServer {
    /// `serviceaccounts/token`.
    pub(super) fn token(&mut self, call: &Call<'_>) -> Result<Response, Status> {
        let key = call.key()?;
        let mut request = call.body()?.clone();
        check_place(&request["metadata"], &key)?;
        let account = self.storage.get(&SERVICE_ACCOUNTS, &key).ok_or_else(|| call.not_found(&key.name))?;
        let asked = request["metadata"]["uid"].as_str().unwrap_or_default();
        if !asked.is_empty() && asked != account.meta.uid {
            let why = format!(
                "the UID in the token request ({asked}) does not match the UID of the service account ({})",
                account.meta.uid
            );
            return Err(Status::conflict("authentication.k8s.io", "TokenRequest", &key.name, &why));
        }
        let spec = &request["spec"];
        let seconds = spec["expirationSeconds"].as_i64().unwrap_or(DEFAULT_SECONDS);
        check_seconds(seconds)?;
        let mut audiences: Vec<String> = texts(&spec["audiences"]);
        if audiences.is_empty() {
            audiences.push(ISSUER.into());
        }
        let bound = self.bound_object(&key, &spec["boundObjectRef"])?;
        let own = audiences.iter().all(|audience| audience == ISSUER);
        let extended = own && seconds == PROJECTED_SECONDS && bound.pod.is_some();
        let now = call.now.as_second();
        let end = call.now.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(call.now);
        let claims = Claims {
            account: claims::Reference { name: key.name.clone(), uid: account.meta.uid.clone() },
            namespace: key.namespace.clone(),
            audiences: audiences.clone(),
            id: meta::uid(self.tokens + 1),
            issued: now,
            expires: now.saturating_add(if extended { EXTENDED_SECONDS } else { seconds }),
            warns_after: extended.then(|| now.saturating_add(seconds)),
            bound,
        };
        let uid = account.meta.uid.clone();
        let token = self.config.token_key.sign(&claims.to_value())?;
        self.tokens += 1;
        request["apiVersion"] = json!("authentication.k8s.io/v1");
        request["kind"] = json!("TokenRequest");
        let metadata = meta::of(&mut request)?;
        metadata.insert("name".into(), json!(key.name));
        metadata.insert("namespace".into(), json!(key.namespace));
        metadata.insert("uid".into(), json!(uid));
        metadata.insert("creationTimestamp".into(), json!(meta::time(call.now)));
        request["spec"]["audiences"] = json!(audiences);
        request["spec"]["expirationSeconds"] = json!(seconds);
        if request["spec"]["boundObjectRef"].is_null() {
            request["spec"]["boundObjectRef"] = Value::Null;
        }
        request["status"] = json!({"expirationTimestamp": meta::time(end), "token": token});
        Ok(Response { code: 201, reply: Reply::Value(request), warnings: Vec::new() })
    }

    /// The token of a Secret of type `kubernetes.io/service-account-token`: it never expires.
    ///
    /// # Errors
    /// 500 when the key cannot sign.
    pub fn secret_token(&self, account: &Stored, secret: &Stored) -> Result<String, Status> {
        let (namespace, name) = (&account.key.namespace, &account.key.name);
        self.config.token_key.sign(&claims::legacy(namespace, name, &account.meta.uid, &secret.key.name))
    }

    /// Who shows this token; `None` when it is no token of this server.
    ///
    /// # Errors
    /// Why a token of this server is not valid (any more).
    pub fn authenticate(
        &self,
        now: jiff::Timestamp,
        token: &str,
        audiences: &[String],
    ) -> Result<Option<TokenUser>, String> {
        let Some(claims) = self.config.token_key.verify(token) else { return Ok(None) };
        if let Some(legacy) = claims::Legacy::read(&claims) {
            return self.legacy_user(&legacy).map(Some);
        }
        let Some(claims) = Claims::read(&claims) else { return Ok(None) };
        if now.as_second() > claims.expires.saturating_add(claims::LEEWAY_SECONDS) {
            return Err("service account token has expired".into());
        }
        if now.as_second() < claims.issued.saturating_sub(claims::LEEWAY_SECONDS) {
            return Err("service account token is not valid yet".into());
        }
        let own = [ISSUER.to_owned()];
        let wanted = if audiences.is_empty() { &own[..] } else { audiences };
        let common: Vec<String> =
            wanted.iter().filter(|audience| claims.audiences.contains(*audience)).cloned().collect();
        if common.is_empty() {
            let list = |all: &[String]| {
                format!("[{}]", all.iter().map(|a| format!("{a:?}")).collect::<Vec<_>>().join(" "))
            };
            return Err(format!(
                "token audiences {} is invalid for the target audiences {}",
                list(&claims.audiences),
                list(wanted)
            ));
        }
        self.check_claims(now, &claims)?;
        Ok(Some(TokenUser { user: claims.user(), audiences: common }))
    }

    /// The account, and what the token is bound to, must be those of the token.
    fn check_claims(&self, now: jiff::Timestamp, claims: &Claims) -> Result<(), String> {
        let find = |resource: &GroupResource, name: &str| {
            self.storage.get(resource, &Key::new(&claims.namespace, name))
        };
        let account = &claims.account;
        let found = find(&SERVICE_ACCOUNTS, &account.name)
            .ok_or_else(|| format!("serviceaccounts {:?} not found", account.name))?;
        if found.meta.uid != account.uid {
            let real = &found.meta.uid;
            return Err(format!("service account UID ({real}) does not match claim ({})", account.uid));
        }
        let gone = || "service account token has been invalidated".to_owned();
        let node = claims.bound.node.as_ref().filter(|_| claims.bound.pod.is_none());
        let bound = [
            (
                claims.bound.pod.as_ref(),
                "pod",
                find_bound(self, &PODS, &claims.namespace, claims.bound.pod.as_ref()),
            ),
            (
                claims.bound.secret.as_ref(),
                "secret",
                find_bound(self, &SECRETS, &claims.namespace, claims.bound.secret.as_ref()),
            ),
            (node, "node", find_bound(self, &NODES, "", node)),
        ];
        for (reference, what, found) in bound {
            let Some(reference) = reference else { continue };
            let found = found.ok_or_else(gone)?;
            if found.meta.uid != reference.uid {
                let (kind, real) = (title(what), &found.meta.uid);
                return Err(format!(
                    "{kind} UID ({real}) does not match service account {what} ref claim ({})",
                    reference.uid
                ));
            }
            if found.meta.deleting {
                let at =
                    found.value()["metadata"]["deletionTimestamp"].as_str().and_then(|at| at.parse().ok());
                let over = |at: jiff::Timestamp| at.as_second() < now.as_second() - claims::LEEWAY_SECONDS;
                if at.is_some_and(over) {
                    return Err(gone());
                }
            }
        }
        Ok(())
    }

    fn legacy_user(&self, claims: &claims::Legacy) -> Result<TokenUser, String> {
        let gone = || "Token has been invalidated".to_owned();
        let secret =
            self.storage.get(&SECRETS, &Key::new(&claims.namespace, &claims.secret)).ok_or_else(gone)?;
        if secret.meta.deleting {
            return Err(gone());
        }
        let place = Key::new(&claims.namespace, &claims.account.name);
        let account = self.storage.get(&SERVICE_ACCOUNTS, &place);
        let account =
            account.ok_or_else(|| format!("serviceaccounts {:?} not found", claims.account.name))?;
        if account.meta.uid != claims.account.uid {
            return Err(format!(
                "ServiceAccount UID ({}) does not match claim ({})",
                account.meta.uid, claims.account.uid
            ));
        }
        let user = claims::account_user(&claims.namespace, &claims.account);
        Ok(TokenUser { user, audiences: vec![ISSUER.into()] })
    }

    /// What a token is to be bound to.
    fn bound_object(&self, account: &Key, reference: &Value) -> Result<Bound, Status> {
        let mut bound = Bound::default();
        if !reference.is_object() {
            return Ok(bound);
        }
        let text = |field: &str| reference[field].as_str().unwrap_or_default();
        let name = text("name");
        let find = |resource: &GroupResource, namespace: &str| -> Result<&std::sync::Arc<Stored>, Status> {
            let found = self.storage.get(resource, &Key::new(namespace, name));
            found.ok_or_else(|| Status::not_found("", &resource.resource, name))
        };
        let reference_to = |object: &Stored| claims::Reference {
            name: object.key.name.clone(),
            uid: object.meta.uid.clone(),
        };
        let found = match (text("apiVersion"), text("kind")) {
            ("v1", "Pod") => {
                let pod = find(&PODS, &account.namespace)?;
                let spec = &pod.value()["spec"];
                if spec["serviceAccountName"].as_str() != Some(&account.name) {
                    return Err(Status::bad_request(format!(
                        "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                        account.name
                    )));
                }
                bound.pod = Some(reference_to(pod));
                bound.node = spec["nodeName"].as_str().filter(|node| !node.is_empty()).map(|node| {
                    let found = self.storage.get(&NODES, &Key::new("", node));
                    let uid = found.map(|node| node.meta.uid.clone()).unwrap_or_default();
                    claims::Reference { name: node.into(), uid }
                });
                pod
            }
            ("v1", "Secret") => {
                let secret = find(&SECRETS, &account.namespace)?;
                bound.secret = Some(reference_to(secret));
                secret
            }
            ("v1", "Node") => {
                let node = find(&NODES, "")?;
                bound.node = Some(reference_to(node));
                node
            }
            (version, kind) => {
                let (group, version) = version.split_once('/').unwrap_or(("", version));
                return Err(Status::bad_request(format!(
                    "cannot bind token to object of type {group}/{version}, Kind={kind}"
                )));
            }
        };
        let uid = text("uid");
        if !uid.is_empty() && uid != found.meta.uid {
            let why = format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might \
                 have been deleted and then recreated"
            );
            return Err(Status::conflict("", text("kind"), name, &why));
        }
        Ok(bound)
    }
}

fn find_bound<'a>(
    api: &'a ApiServer,
    resource: &GroupResource,
    namespace: &str,
    reference: Option<&claims::Reference>,
) -> Option<&'a std::sync::Arc<Stored>> {
    api.storage.get(resource, &Key::new(namespace, &reference?.name))
}

fn title(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

/// A body may say again what the URL says.
fn check_place(metadata: &Value, key: &Key) -> Result<(), Status> {
    for (field, wanted) in [("name", &key.name), ("namespace", &key.namespace)] {
        let said = metadata[field].as_str().unwrap_or_default();
        if !said.is_empty() && said != wanted {
            let fault = format!("must match the service account {field} if specified");
            let cause = meta::invalid(&format!("metadata.{field}"), said, &fault);
            return Err(Status::invalid("authentication.k8s.io", "TokenRequest", &key.name, vec![cause]));
        }
    }
    Ok(())
}

fn check_seconds(seconds: i64) -> Result<(), Status> {
    let fault = match seconds {
        ..600 => "may not specify a duration less than 10 minutes",
        4_294_967_297.. => "may not specify a duration larger than 2^32 seconds",
        _ => return Ok(()),
    };
    let fault = format!("Invalid value: {seconds}: {fault}");
    let cause = Cause::new("FieldValueInvalid", "spec.expirationSeconds", fault);
    Err(Status::invalid("authentication.k8s.io", "TokenRequest", "", vec![cause]))
}

/// The texts of a list.
pub(super) fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
