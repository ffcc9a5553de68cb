//! Who a client certificate is for: its subject, as the authenticator `x509` of kube-apiserver reads it.
//!
//! TLS has verified the certificate; what is read here is no more than the way to the subject (RFC 5280, 4.1).

use crate::request::User;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
/// The version, which certificates of the first version lack.
const VERSION: u8 = 0xA0;
/// 2.5.4.3
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];
/// 2.5.4.10
const ORGANIZATION: [u8; 3] = [0x55, 0x04, 0x0A];

/// The user a certificate (DER) names: its common name is the name, its organizations are the groups.
/// `None` without a common name, and for what is no certificate.
pub(super) fn user(certificate: &[u8]) -> Option<User> {
    let (mut names, mut groups) = (Vec::new(), Vec::new());
    let mut subject = Values(subject(certificate)?);
    while let Some(set) = subject.next_of(SET) {
        let mut attributes = Values(set);
        while let Some(attribute) = attributes.next_of(SEQUENCE) {
            let mut parts = Values(attribute);
            let kind = parts.next_of(OBJECT_IDENTIFIER)?;
            let text = String::from_utf8_lossy(parts.next()?.1).into_owned();
            if kind == COMMON_NAME {
                names.push(text);
            } else if kind == ORGANIZATION {
                groups.push(text);
            }
        }
    }
    let name = names.pop().filter(|name| !name.is_empty())?;
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    Some(User::new(&name, &groups))
}

/// The content of the field `subject`.
fn subject(certificate: &[u8]) -> Option<&[u8]> {
    let mut signed = Values(Values(certificate).next_of(SEQUENCE)?);
    let mut fields = Values(signed.next_of(SEQUENCE)?);
    let mut before = fields.clone();
    if before.next()?.0 == VERSION {
        fields = before;
    }
    // Serial number, algorithm, issuer, validity.
    for _ in 0..4 {
        fields.next()?;
    }
    fields.next_of(SEQUENCE)
}

/// Values in DER, one after another.
#[derive(Clone)]
struct Values<'a>(&'a [u8]);

impl<'a> Values<'a> {
    /// The content of the next value, if it is of this kind.
    fn next_of(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first & 0x7F);
        if first & 0x80 != 0 {
            let (bytes, after) = rest.split_at_checked(length)?;
            // Certificates come in TLS messages of 16 MiB at most.
            length = bytes
                .iter()
                .try_fold(0_usize, |sum, byte| (sum < 1 << 24).then_some(sum << 8 | usize::from(*byte)))?;
            rest = after;
        }
        let (content, after) = rest.split_at_checked(length)?;
        self.0 = after;
        Some((tag, content))
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn certificate(names: &[(DnType, &str)]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, text) in names {
            params.distinguished_name.push(kind.clone(), *text);
        }
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn the_common_name_is_the_user_and_the_organization_a_group() {
        let certificate = certificate(&[
            (DnType::CountryName, "DE"),
            (DnType::OrganizationName, "system:masters"),
            (DnType::CommonName, "jane"),
        ]);
        assert_eq!(user(&certificate), Some(User::new("jane", &["system:masters"])));
    }

    #[test]
    fn what_names_nobody_is_nobody() {
        assert_eq!(user(&certificate(&[(DnType::OrganizationName, "a")])), None);
        assert_eq!(user(b""), None);
        let whole = certificate(&[(DnType::CommonName, "jane")]);
        for length in 0..whole.len() {
            assert_eq!(user(&whole[..length]), None, "of {length} bytes");
        }
        assert_eq!(user(&[SEQUENCE, 0x89, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]), None);
    }
}
