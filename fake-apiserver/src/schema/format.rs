//! String and number formats.
//!
//! Which formats exist for custom resources: `k8s.io/apiextensions-apiserver/pkg/apiserver/validation/formats.go`;
//! what they accept: `k8s.io/kube-openapi/pkg/validation/strfmt`. Others are ignored, as there.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;

use super::node::Types;

/// A format that is checked, or that changes a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Of an integer.
    Int32,
    /// Of an integer.
    Int64,
    /// Of a number.
    Float,
    /// Of a number.
    Double,
    /// Of a string, by its name as written.
    Text(TextFormat, Box<str>),
}

/// Formats of strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextFormat {
    Byte,
    Cidr,
    Date,
    DateTime,
    Duration,
    Email,
    Hostname,
    Ipv4,
    Ipv6,
    LongName,
    Mac,
    ShortName,
    Uri,
    Uuid,
    /// Known by name, and not checked here.
    Unchecked,
}

impl Format {
    /// The format of a node of these types, if such nodes can have it.
    pub(crate) fn of(name: &str, types: Types) -> Option<Self> {
        match name {
            "int32" if types == Types::INTEGER => return Some(Self::Int32),
            "int64" if types == Types::INTEGER => return Some(Self::Int64),
            "float" if types == Types::NUMBER => return Some(Self::Float),
            "double" if types == Types::NUMBER => return Some(Self::Double),
            _ if types != Types::STRING && !types.is_any() => return None,
            _ => {}
        }
        let text = match name.replace('-', "").as_str() {
            "byte" => TextFormat::Byte,
            "cidr" => TextFormat::Cidr,
            "date" => TextFormat::Date,
            "datetime" => TextFormat::DateTime,
            "duration" => TextFormat::Duration,
            "email" => TextFormat::Email,
            "hostname" => TextFormat::Hostname,
            "ipv4" => TextFormat::Ipv4,
            "ipv6" => TextFormat::Ipv6,
            "k8slongname" => TextFormat::LongName,
            "k8sshortname" => TextFormat::ShortName,
            "mac" => TextFormat::Mac,
            "uri" => TextFormat::Uri,
            "uuid" | "uuid3" | "uuid4" | "uuid5" => TextFormat::Uuid,
            "bsonobjectid" | "isbn" | "isbn10" | "isbn13" | "creditcard" | "ssn" | "hexcolor"
            | "rgbcolor" | "password" => TextFormat::Unchecked,
            _ => return None,
        };
        Some(Self::Text(text, name.into()))
    }

    /// The name as the schema writes it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Float => "float",
            Self::Double => "double",
            Self::Text(_, name) => name,
        }
    }
}

static MAC: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new("^(?:[0-9a-fA-F]{2}([:-]))(?:[0-9a-fA-F]{2}[:-]){4}[0-9a-fA-F]{2}$").ok());
static UUID: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new("(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$").ok()
});
static LABEL: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$").ok());
static HOST: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^([a-zA-Z0-9\p{S}\p{L}]((-?[a-zA-Z0-9\p{S}\p{L}]{0,62})?)|([a-zA-Z0-9\p{S}\p{L}](([a-zA-Z0-9-\p{S}\p{L}]{0,61}[a-zA-Z0-9\p{S}\p{L}])?)(\.)){1,}([a-zA-Z\p{L}]){2,63})$").ok()
});
static DURATION: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"^[-+]?((\d+(\.\d*)?|\.\d+)\s*(ns|us|µs|ms|s|m|h|d|w|nanos?|micros?|millis?|(nano|micro|milli)?s(ec)?(onds?)?|min(ute)?s?|hours?|days?|weeks?)\s*)+$|^0$",
    )
    .ok()
});

fn matches(pattern: &LazyLock<Option<Regex>>, text: &str) -> bool {
    pattern.as_ref().is_some_and(|regex| regex.is_match(text))
}

impl TextFormat {
    /// Whether a string has this format.
    pub(crate) fn accepts(self, text: &str) -> bool {
        match self {
            // Go's decoder passes over line ends.
            Self::Byte => STANDARD.decode(text.replace(['\r', '\n'], "")).is_ok(),
            Self::Cidr => is_cidr(text),
            Self::Date => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
            Self::DateTime => is_date_time(text),
            Self::Duration => matches(&DURATION, text),
            Self::Email => is_email(text),
            Self::Hostname => text.len() <= 255 && matches(&HOST, text),
            Self::Ipv4 => text.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
            Self::LongName => text.len() <= 253 && text.split('.').all(|label| matches(&LABEL, label)),
            Self::Mac => matches(&MAC, text),
            Self::ShortName => text.len() <= 63 && matches(&LABEL, text),
            Self::Uri => text.starts_with('/') || text.split_once(':').is_some_and(|(s, _)| is_scheme(s)),
            Self::Uuid => matches(&UUID, text),
            Self::Unchecked => true,
        }
    }
}

fn is_date_time(text: &str) -> bool {
    // Leap seconds and missing offsets are not RFC 3339 in Go; jiff also takes forms that RFC 3339 has not.
    let bytes = text.as_bytes();
    bytes.len() >= 20
        && matches!(bytes[10], b'T' | b't' | b' ')
        && !text.contains('[')
        && text.parse::<jiff::Timestamp>().is_ok()
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let Ok(bits) = bits.parse::<u8>() else { return false };
    (address.parse::<Ipv4Addr>().is_ok() && bits <= 32)
        || (address.parse::<Ipv6Addr>().is_ok() && bits <= 128)
}

fn is_email(text: &str) -> bool {
    text.rsplit_once('@').is_some_and(|(user, host)| {
        !user.is_empty() && !host.is_empty() && !text.contains(char::is_whitespace)
    })
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}
