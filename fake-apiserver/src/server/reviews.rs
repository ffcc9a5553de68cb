//! Questions about identity and permission. Permission is not modelled: everything is allowed, and said to be.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::call::Call;
use super::{ApiServer, meta};
use crate::request::User;
use crate::response::{Reply, Response};
use crate::status::Status;
use crate::storage::Key;

/// What tokens of service accounts begin with; the rest is namespace and name.
const TOKEN_PREFIX: &str = "serviceaccount:";

impl ApiServer {
    pub(super) fn review(&mut self, call: &Call<'_>) -> Result<Response, Status> {
        let mut review = call.body()?.clone();
        review["apiVersion"] = json!(call.resource.api_version());
        review["kind"] = json!(call.resource.kind);
        if !review["metadata"].is_object() {
            review["metadata"] = json!({"creationTimestamp": null});
        }
        review["status"] = match call.resource.kind.as_str() {
            "SelfSubjectRulesReview" => json!({
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                "incomplete": false,
            }),
            "SelfSubjectReview" => json!({"userInfo": user_info(&call.request.user)}),
            "TokenReview" => match self.token_user(review["spec"]["token"].as_str().unwrap_or_default()) {
                Some(user) => json!({"authenticated": true, "user": user_info(&user),
                    "audiences": ["https://kubernetes.default.svc.cluster.local"]}),
                None => json!({"user": {}, "error": "[invalid bearer token, unknown]"}),
            },
            _ => json!({"allowed": true, "reason": "authorization is not modelled: everything is allowed"}),
        };
        Ok(Response { code: 201, reply: Reply::Value(review), warnings: Vec::new() })
    }

    /// `serviceaccounts/token`: a token that names its account.
    pub(super) fn token(&mut self, call: &Call<'_>) -> Result<Response, Status> {
        let key = call.key()?;
        if self.storage.get(&call.resource.storage, &key).is_none() {
            return Err(call.not_found(&key.name));
        }
        let mut answer = call.body()?.clone();
        let seconds = answer["spec"]["expirationSeconds"].as_i64().unwrap_or(3600);
        let end = call.now.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(call.now);
        answer["apiVersion"] = json!("authentication.k8s.io/v1");
        answer["kind"] = json!("TokenRequest");
        answer["spec"]["expirationSeconds"] = json!(seconds);
        answer["metadata"] = json!({"name": key.name, "namespace": key.namespace,
            "creationTimestamp": meta::time(call.now)});
        answer["status"] = json!({"token": format!("{TOKEN_PREFIX}{}:{}", key.namespace, key.name),
            "expirationTimestamp": meta::time(end)});
        Ok(Response { code: 201, reply: Reply::Value(answer), warnings: Vec::new() })
    }

    /// The user behind a token of a service account that exists.
    pub fn token_user(&self, token: &str) -> Option<User> {
        let (namespace, name) = token.strip_prefix(TOKEN_PREFIX)?.split_once(':')?;
        self.storage.get(&super::SERVICE_ACCOUNTS, &Key::new(namespace, name))?;
        Some(User {
            name: format!("system:serviceaccount:{namespace}:{name}"),
            groups: vec![
                "system:serviceaccounts".into(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".into(),
            ],
            agent: User::default().agent,
        })
    }
}

fn user_info(user: &User) -> Value {
    json!({"username": user.name, "groups": user.groups})
}
