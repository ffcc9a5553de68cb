//! Who asks: bearer tokens and client certificates.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderValue};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::path::percent_decode;
use crate::request::User;
use crate::server::{Impersonation, TokenKey};
use crate::status::Status;

/// The credentials a server accepts. Certificates have been verified by TLS before they are looked up here.
///
/// Tokens of service accounts (TokenRequest) are accepted besides, as far as the server's [`TokenKey`] has signed them.
#[derive(Clone, Debug, Default)]
pub struct Authentication {
    tokens: BTreeMap<String, User>,
    certificates: BTreeMap<Vec<u8>, User>,
    subjects: bool,
}

impl Authentication {
    /// Accepts a bearer token.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>, user: User) -> Self {
        self.tokens.insert(token.into(), user);
        self
    }

    /// Accepts a client certificate (DER).
    #[must_use]
    pub fn certificate(mut self, certificate: impl Into<Vec<u8>>, user: User) -> Self {
        self.certificates.insert(certificate.into(), user);
        self
    }

    /// Takes every other client certificate that TLS has verified for that of the user in its subject.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn subjects(mut self) -> Self {
        self.subjects = true;
        self
    }

    pub(super) fn by_certificate(&self, certificate: &[u8]) -> Option<User> {
        let known = self.certificates.get(certificate).cloned();
        #[cfg(feature = "http")]
        let known = known.or_else(|| super::subject::user(certificate).filter(|_| self.subjects));
        known
    }

    pub(super) fn by_header(&self, authorization: &str) -> Option<User> {
        self.tokens.get(bearer(authorization)?).cloned()
    }
}

/// The token of an `Authorization` header.
pub(super) fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// What the `Impersonate-*` headers ask for; `None` without them.
///
/// # Errors
/// 400 when they name no user.
pub(super) fn impersonation(headers: &HeaderMap) -> Result<Option<Impersonation>, Status> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let one = |name: &str| headers.get(name).map(text).unwrap_or_default();
    let mut wanted = Impersonation {
        user: one("impersonate-user"),
        uid: one("impersonate-uid"),
        groups: headers.get_all("impersonate-group").iter().map(text).collect(),
        extra: BTreeMap::new(),
    };
    for (name, value) in headers {
        if let Some(key) = name.as_str().strip_prefix("impersonate-extra-") {
            wanted.extra.entry(percent_decode(key)).or_default().push(text(value));
        }
    }
    if !wanted.user.is_empty() {
        return Ok(Some(wanted));
    }
    if wanted == Impersonation::default() {
        return Ok(None);
    }
    Err(Status::bad_request(format!("requested {} without impersonating a user name", shown(&wanted))))
}

/// The wish as Go prints it.
fn shown(wanted: &Impersonation) -> String {
    let list = |texts: &[String]| {
        let texts: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
        format!("[]string{{{}}}", texts.join(", "))
    };
    let groups = if wanted.groups.is_empty() { "[]string(nil)".to_owned() } else { list(&wanted.groups) };
    let extra: Vec<String> =
        wanted.extra.iter().map(|(key, values)| format!("{key:?}:{}", list(values))).collect();
    let extra = if extra.is_empty() { "(nil)".to_owned() } else { format!("{{{}}}", extra.join(", ")) };
    format!(
        "&user.DefaultInfo{{Name:\"\", UID:{:?}, Groups:{groups}, Extra:map[string][]string{extra}}}",
        wanted.uid
    )
}

/// A key for service account tokens that nobody can guess.
///
/// # Errors
/// When the machine has no random numbers to give.
pub fn random_token_key() -> std::io::Result<TokenKey> {
    let mut seed = [0; 32];
    SystemRandom::new()
        .fill(&mut seed)
        .map_err(|_| std::io::Error::other("the system gives no random numbers for the key of tokens"))?;
    Ok(TokenKey::from_seed(seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_to_be_somebody_else_needs_a_name() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs
                .iter()
                .map(|(k, v)| (k.parse().unwrap(), HeaderValue::from_static(v)))
                .collect::<HeaderMap>()
        };
        assert_eq!(impersonation(&headers(&[("accept", "*/*")])), Ok(None));
        let wanted = impersonation(&headers(&[
            ("impersonate-user", "jane"),
            ("impersonate-group", "a"),
            ("impersonate-group", "b"),
            ("impersonate-extra-example.com%2fscope", "x"),
        ]));
        let wanted = wanted.unwrap().unwrap();
        assert_eq!((wanted.user.as_str(), wanted.groups.len()), ("jane", 2));
        assert_eq!(wanted.extra["example.com/scope"], ["x"]);
        let refused = impersonation(&headers(&[("impersonate-group", "a")])).unwrap_err();
        assert_eq!(refused.code, 400);
        assert_eq!(
            refused.message,
            "requested &user.DefaultInfo{Name:\"\", UID:\"\", Groups:[]string{\"a\"}, \
             Extra:map[string][]string(nil)} without impersonating a user name"
        );
    }

    #[test]
    fn only_known_tokens_and_certificates_are_users() {
        let known = Authentication::default()
            .token("secret", User::default())
            .certificate(vec![1, 2], User::default());
        assert_eq!(known.by_header("Bearer secret"), Some(User::default()));
        assert_eq!(known.by_header("Bearer other"), None);
        assert_eq!(known.by_header("Basic secret"), None);
        assert_eq!(known.by_certificate(&[1, 2]), Some(User::default()));
        assert_eq!(known.by_certificate(&[1]), None);
    }
}
