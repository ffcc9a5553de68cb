//! The key tokens are signed with: Ed25519, whose signatures are a function of key and text.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde_json::{Value, json};

use crate::status::Status;

/// The key of a server's service account tokens.
///
/// The default key is in this source: with it the same history gives the same tokens, and everybody can make them.
/// Servers that others can reach take [`crate::face::random_token_key`].
#[derive(Clone)]
pub struct TokenKey {
    seed: [u8; 32],
}

impl TokenKey {
    /// The key that belongs to a seed.
    pub const fn from_seed(seed: [u8; 32]) -> Self {
        Self { seed }
    }

    /// A JSON Web Token with these claims.
    pub(super) fn sign(&self, claims: &Value) -> Result<String, Status> {
        let pair = self.pair()?;
        let header = json!({"alg": "EdDSA", "kid": key_id(&pair), "typ": "JWT"});
        let text = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
        let signature = BASE64.encode(pair.sign(text.as_bytes()));
        Ok(format!("{text}.{signature}"))
    }

    /// The claims of a token that was signed with this key.
    pub(super) fn verify(&self, token: &str) -> Option<Value> {
        let (text, signature) = token.rsplit_once('.')?;
        let (_, claims) = text.split_once('.')?;
        let pair = self.pair().ok()?;
        let key = UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref());
        key.verify(text.as_bytes(), &BASE64.decode(signature).ok()?).ok()?;
        serde_json::from_slice(&BASE64.decode(claims).ok()?).ok()
    }

    /// The public half as a JSON Web Key Set (`/openid/v1/jwks`).
    ///
    /// # Errors
    /// 500 when the key is none.
    pub fn public_keys(&self) -> Result<Value, Status> {
        let pair = self.pair()?;
        Ok(
            json!({"keys": [{"use": "sig", "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": key_id(&pair),
            "x": BASE64.encode(pair.public_key().as_ref())}]}),
        )
    }

    fn pair(&self) -> Result<Ed25519KeyPair, Status> {
        Ed25519KeyPair::from_seed_unchecked(&self.seed)
            .map_err(|error| Status::internal(format!("failed to generate token: {error}")))
    }
}

impl Default for TokenKey {
    fn default() -> Self {
        Self::from_seed(*b"the well-known key of every test")
    }
}

/// Keys are never shown.
impl fmt::Debug for TokenKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TokenKey(..)")
    }
}

fn key_id(pair: &Ed25519KeyPair) -> String {
    BASE64.encode(ring::digest::digest(&ring::digest::SHA256, pair.public_key().as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_tokens_of_the_same_key_are_read() {
        let (ours, other) = (TokenKey::default(), TokenKey::from_seed([7; 32]));
        let token = ours.sign(&json!({"sub": "x"})).unwrap();
        assert_eq!(ours.verify(&token), Some(json!({"sub": "x"})));
        assert_eq!(ours.sign(&json!({"sub": "x"})).unwrap(), token, "signing is deterministic");
        assert_eq!(other.verify(&token), None);
        assert_eq!(ours.verify(&token[..token.len() - 2]), None);
        let mut parts: Vec<&str> = token.split('.').collect();
        let claims = BASE64.encode(json!({"sub": "y"}).to_string());
        parts[1] = &claims;
        assert_eq!(ours.verify(&parts.join(".")), None);
        assert_eq!(ours.verify("serviceaccount:default:default"), None);
        assert_eq!(format!("{ours:?}"), "TokenKey(..)");
    }
}
