//! What a token says of its bearer.

use serde_json::{Value, json};

use crate::request::User;

/// Seconds clocks may differ by.
pub(super) const LEEWAY_SECONDS: i64 = 60;
/// Who issued the tokens of Secrets.
const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

/// An object by name and uid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) name: String,
    pub(super) uid: String,
}

impl Reference {
    fn read(value: &Value) -> Option<Self> {
        let name = value["name"].as_str()?;
        Some(Self { name: name.into(), uid: value["uid"].as_str().unwrap_or_default().into() })
    }

    fn to_value(&self) -> Value {
        let mut value = json!({"name": self.name});
        if !self.uid.is_empty() {
            value["uid"] = json!(self.uid);
        }
        value
    }
}

/// What a token dies with. A pod brings its node along, which is only told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) pod: Option<Reference>,
    pub(super) secret: Option<Reference>,
    pub(super) node: Option<Reference>,
}

/// The claims of a token from TokenRequest; times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) account: Reference,
    pub(super) namespace: String,
    pub(super) audiences: Vec<String>,
    pub(super) id: String,
    pub(super) issued: i64,
    pub(super) expires: i64,
    pub(super) warns_after: Option<i64>,
    pub(super) bound: Bound,
}

impl Claims {
    pub(super) fn to_value(&self) -> Value {
        let mut kubernetes = json!({"namespace": self.namespace, "serviceaccount": self.account.to_value()});
        let bound = [("pod", &self.bound.pod), ("secret", &self.bound.secret), ("node", &self.bound.node)];
        for (field, reference) in bound {
            if let Some(reference) = reference {
                kubernetes[field] = reference.to_value();
            }
        }
        if let Some(at) = self.warns_after {
            kubernetes["warnafter"] = json!(at);
        }
        json!({
            "aud": self.audiences, "exp": self.expires, "iat": self.issued, "nbf": self.issued, "jti": self.id,
            "iss": super::ISSUER, "sub": user_name(&self.namespace, &self.account.name),
            "kubernetes.io": kubernetes,
        })
    }

    pub(super) fn read(claims: &Value) -> Option<Self> {
        if claims["iss"] != super::ISSUER {
            return None;
        }
        let kubernetes = &claims["kubernetes.io"];
        Some(Self {
            account: Reference::read(&kubernetes["serviceaccount"])?,
            namespace: kubernetes["namespace"].as_str()?.to_owned(),
            audiences: super::texts(&claims["aud"]),
            id: claims["jti"].as_str().unwrap_or_default().to_owned(),
            issued: claims["iat"].as_i64()?,
            expires: claims["exp"].as_i64()?,
            warns_after: kubernetes["warnafter"].as_i64(),
            bound: Bound {
                pod: Reference::read(&kubernetes["pod"]),
                secret: Reference::read(&kubernetes["secret"]),
                node: Reference::read(&kubernetes["node"]),
            },
        })
    }

    pub(super) fn user(&self) -> User {
        let mut user = account_user(&self.namespace, &self.account);
        let mut tell = |key: &str, value: &str| {
            if !value.is_empty() {
                user.extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
            }
        };
        tell("credential-id", &format!("JTI={}", self.id));
        for (what, reference) in [("pod", &self.bound.pod), ("node", &self.bound.node)] {
            if let Some(reference) = reference {
                tell(&format!("{what}-name"), &reference.name);
                tell(&format!("{what}-uid"), &reference.uid);
            }
        }
        user
    }
}

/// The claims of a Secret's token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Legacy {
    pub(super) namespace: String,
    pub(super) account: Reference,
    pub(super) secret: String,
}

impl Legacy {
    pub(super) fn read(claims: &Value) -> Option<Self> {
        let text =
            |field: &str| Some(claims[format!("kubernetes.io/serviceaccount/{field}")].as_str()?.to_owned());
        if claims["iss"] != LEGACY_ISSUER {
            return None;
        }
        let account = Reference { name: text("service-account.name")?, uid: text("service-account.uid")? };
        Some(Self { namespace: text("namespace")?, account, secret: text("secret.name")? })
    }
}

pub(super) fn legacy(namespace: &str, account: &str, uid: &str, secret: &str) -> Value {
    json!({
        "iss": LEGACY_ISSUER,
        "kubernetes.io/serviceaccount/namespace": namespace,
        "kubernetes.io/serviceaccount/secret.name": secret,
        "kubernetes.io/serviceaccount/service-account.name": account,
        "kubernetes.io/serviceaccount/service-account.uid": uid,
        "sub": user_name(namespace, account),
    })
}

fn user_name(namespace: &str, account: &str) -> String {
    format!("system:serviceaccount:{namespace}:{account}")
}

/// The user a service account is.
pub(super) fn account_user(namespace: &str, account: &Reference) -> User {
    User {
        name: user_name(namespace, &account.name),
        uid: account.uid.clone(),
        groups: vec![
            "system:serviceaccounts".into(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".into(),
        ],
        ..User::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_read_as_they_were_written() {
        let reference = |name: &str| Reference { name: name.into(), uid: format!("{name}-uid") };
        let claims = Claims {
            account: reference("sa"),
            namespace: "ns".into(),
            audiences: vec![super::super::ISSUER.into()],
            id: "id".into(),
            issued: 10,
            expires: 20,
            warns_after: Some(15),
            bound: Bound { pod: Some(reference("p")), secret: None, node: Some(reference("n")) },
        };
        assert_eq!(Claims::read(&claims.to_value()), Some(claims.clone()));
        assert_eq!(claims.user().extra["authentication.kubernetes.io/pod-uid"], ["p-uid"]);
        let legacy = legacy("ns", "sa", "u", "s");
        assert_eq!(Claims::read(&legacy), None);
        assert_eq!(Legacy::read(&legacy).unwrap().secret, "s");
    }
}
