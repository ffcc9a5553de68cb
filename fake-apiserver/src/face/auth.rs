//! Who asks: bearer tokens and client certificates.

use std::collections::BTreeMap;

use crate::request::User;

/// The credentials a server accepts. Certificates have been verified by TLS before they are looked up here.
///
/// Tokens of service accounts (TokenRequest) are accepted besides. They only name their account, so that histories stay
/// reproducible: they keep clients apart, not attackers out.
#[derive(Clone, Debug, Default)]
pub struct Authentication {
    tokens: BTreeMap<String, User>,
    certificates: BTreeMap<Vec<u8>, User>,
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

    pub(super) fn by_certificate(&self, certificate: &[u8]) -> Option<User> {
        self.certificates.get(certificate).cloned()
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

impl User {
    /// A request without credentials.
    pub(super) fn anonymous() -> Self {
        Self {
            name: "system:anonymous".into(),
            groups: vec!["system:unauthenticated".into()],
            agent: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
