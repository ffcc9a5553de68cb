//! What names, labels and annotations may look like, in the words of `k8s.io/apimachinery/pkg/util/validation`.

use serde_json::Value;

use crate::schema::cause;
use crate::status::Cause;

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const SEARCH: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

const WILDCARD: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const PERCENT: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
const PATH: &str = "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";

/// Faults of a DNS-1123 label, at most 63 characters.
pub fn dns_label(text: &str) -> Vec<String> {
    if text.contains('.') {
        return vec!["must not contain dots".into()];
    }
    faults(text, 63, LABEL, is_label)
}

/// Faults of a DNS-1035 label: a DNS label that begins with a letter.
pub fn dns_1035_label(text: &str) -> Vec<String> {
    faults(text, 63, LABEL_1035, |t| is_label(t) && t.starts_with(|c: char| c.is_ascii_lowercase()))
}

/// Faults of a DNS-1123 subdomain, at most 253 characters.
pub fn dns_subdomain(text: &str) -> Vec<String> {
    faults(text, 253, SUBDOMAIN, |t| t.split('.').all(is_label))
}

/// Faults of a domain in which names are searched: a subdomain whose labels may have underscores.
pub fn search_domain(text: &str) -> Vec<String> {
    let plain = |label: &str| is_label(&label.strip_prefix('_').unwrap_or(label).replace('_', "-"));
    faults(text, 253, SEARCH, |t| t.split('.').all(plain))
}

/// Faults of a name that is used as one segment of a path.
pub fn path_segment(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if text == "." || text == ".." {
        faults.push(format!("may not be '{text}'"));
    }
    for bad in ["/", "%"].into_iter().filter(|bad| text.contains(bad)) {
        faults.push(format!("may not contain '{bad}'"));
    }
    faults
}

/// Faults of a label key, annotation key or finalizer: an optional subdomain prefix and a name.
pub fn qualified_name(text: &str) -> Vec<String> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) if !name.contains('/') => (Some(prefix), name),
        Some(_) => {
            return vec![format!(
                "a valid label key must consist of alphanumeric characters, with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName'): {QUALIFIED}"
            )];
        }
        None => (None, text),
    };
    let mut found = Vec::new();
    match prefix {
        Some("") => found.push("prefix part must be non-empty".into()),
        Some(prefix) => found.extend(dns_subdomain(prefix).into_iter().map(|f| format!("prefix part {f}"))),
        None => {}
    }
    if name.is_empty() {
        found.push("name part must be non-empty".into());
    } else if name.len() > 63 {
        found.push("name part must be no more than 63 bytes".into());
    }
    if !is_word(name) {
        found.push(QUALIFIED.into());
    }
    found
}

/// Faults of a label value.
pub fn label_value(text: &str) -> Vec<String> {
    faults(text, 63, VALUE, |t| t.is_empty() || is_word(t))
}

/// Faults of a port name (IANA service name).
pub fn port_name(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if text.len() > 15 {
        found.push("must be no more than 15 characters".into());
    }
    if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') || text.is_empty() {
        found.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into());
    }
    if !text.bytes().any(|b| b.is_ascii_lowercase()) {
        found.push("must contain at least one letter (a-z)".into());
    }
    if text.contains("--") {
        found.push("must not contain consecutive hyphens".into());
    }
    if text.starts_with('-') || text.ends_with('-') {
        found.push("must not begin or end with a hyphen".into());
    }
    found
}

/// What is wrong with the number of a port.
pub fn port_number(field: &str, port: &Value) -> Option<Cause> {
    let number = port.as_i64().unwrap_or_default();
    let why = "must be between 1 and 65535, inclusive";
    (!(1..=65535).contains(&number)).then(|| cause::invalid(field, &Value::from(number), why))
}

/// Faults of a subdomain whose first label is a star.
pub fn wildcard_subdomain(text: &str) -> Vec<String> {
    faults(text, 253, WILDCARD, |t| t.strip_prefix("*.").is_some_and(|rest| rest.split('.').all(is_label)))
}

/// Faults of a share such as `50%`.
pub fn percent(text: &str) -> Vec<String> {
    let number = text.strip_suffix('%').unwrap_or_default();
    let valid = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    if valid { Vec::new() } else { vec![PERCENT.into()] }
}

/// What is wrong with the name of a host, which may end with a dot.
pub fn fully_qualified_domain(field: &str, text: &str) -> Option<Cause> {
    if text.is_empty() {
        return Some(cause::required(field, ""));
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let faults = dns_subdomain(name);
    if !faults.is_empty() {
        return Some(cause::invalid(field, &Value::from(name), &faults.join(",")));
    }
    if !name.contains('.') {
        let why = "should be a domain with at least two segments separated by dots";
        return Some(cause::invalid(field, &Value::from(name), why));
    }
    let long = name.split('.').find(|label| !dns_label(label).is_empty())?;
    Some(cause::invalid(field, &Value::from(long), &dns_label(long).join(",")))
}

/// What is wrong with a path that begins with a domain.
pub fn domain_prefixed_path(field: &str, text: &str) -> Vec<Cause> {
    if text.is_empty() {
        return vec![cause::required(field, "")];
    }
    let Some((host, path)) = text.split_once('/').filter(|(host, path)| !host.is_empty() && !path.is_empty())
    else {
        let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        return vec![cause::invalid(field, &Value::from(text), why)];
    };
    let mut found: Vec<Cause> =
        dns_subdomain(host).iter().map(|why| cause::invalid(field, &Value::from(host), why)).collect();
    if !path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&b)) {
        found.push(cause::invalid(field, &Value::from(path), PATH));
    }
    found
}

/// Faults of the name of an environment variable.
pub fn environment_name(text: &str) -> Vec<String> {
    if !text.is_empty() && text.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'=') {
        return Vec::new();
    }
    vec![
        "a valid environment variable name must consist only of printable ASCII characters other than '='"
            .into(),
    ]
}

fn faults(text: &str, bound: usize, words: &str, valid: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    if text.len() > bound {
        let unit = if words == VALUE { "bytes" } else { "characters" };
        found.push(format!("must be no more than {bound} {unit}"));
    }
    if !valid(text) {
        found.push(words.into());
    }
    found
}

fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|b| inner(*b))
        && bytes.last().is_some_and(|b| inner(*b))
        && bytes.iter().all(|b| inner(*b) || *b == b'-')
}

fn is_word(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_grammars() {
        assert!(dns_label("a-1").is_empty() && !dns_label("a.b").is_empty() && !dns_label("").is_empty());
        assert!(dns_subdomain("a.b-c.1").is_empty() && !dns_subdomain("a..b").is_empty());
        assert!(!dns_subdomain("Upper").is_empty() && !dns_label(&"a".repeat(64)).is_empty());
        assert!(dns_1035_label("a1").is_empty() && !dns_1035_label("1a").is_empty());
        assert!(qualified_name("example.com/Name_1").is_empty() && !qualified_name("a/b/c").is_empty());
        assert!(!qualified_name("/x").is_empty() && !qualified_name("-x").is_empty());
        assert!(
            label_value("").is_empty() && label_value("A.b_c").is_empty() && !label_value("a b").is_empty()
        );
        assert!(port_name("http-comm").is_empty() && !port_name("80").is_empty());
    }
}
