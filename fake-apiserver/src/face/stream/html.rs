//! Links in pages that come through a proxy: absolute paths are made to lead through the proxy too.

use http::{HeaderMap, header};

/// A larger page is refused.
pub(super) const PAGE_MAX: usize = 16 << 20;

/// Attributes that hold a URL, and the elements on which they do (HTML 4, appendix of attributes, and HTML 5).
const LINKS: &[(&str, &[&str])] = &[
    ("href", &["a", "area", "base", "link"]),
    ("src", &["audio", "embed", "frame", "iframe", "img", "input", "script", "source", "video"]),
    ("action", &["form"]),
    ("formaction", &["button", "input"]),
    ("codebase", &["applet", "object"]),
    ("cite", &["blockquote", "del", "ins", "q"]),
    ("background", &["body"]),
    ("longdesc", &["frame", "iframe", "img"]),
    ("usemap", &["img", "input", "object"]),
    ("profile", &["head"]),
    ("manifest", &["html"]),
    ("classid", &["object"]),
    ("data", &["object"]),
    ("poster", &["video"]),
    ("icon", &["command"]),
];
/// Elements whose content is no markup.
const RAW: &[&str] = &["script", "style", "textarea", "title"];

/// Whether an answer is a page whose links can be read.
pub(super) fn is_page(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/html"))
        && !headers.contains_key(header::CONTENT_ENCODING)
}

/// A URL as the client has to ask for it. Relative ones and those of other hosts are right as they are.
pub(super) fn rewrite(url: &str, prefix: &str, host: &str) -> String {
    let path = match url.split_once("://") {
        Some(("http" | "https", rest)) => {
            let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
            if authority != host {
                return url.to_owned();
            }
            path
        }
        _ => url,
    };
    // Two slashes begin the name of another host.
    if !path.starts_with('/') || path.starts_with("//") || path.starts_with(prefix) {
        return url.to_owned();
    }
    format!("{prefix}{path}")
}

/// The page with its links rewritten; everything else stays as it is, byte for byte.
pub(super) fn rewrite_page(page: &[u8], prefix: &str, host: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(page.len() + 1024);
    let mut rest = page;
    while let Some(at) = rest.iter().position(|&byte| byte == b'<') {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix(b"<!--") {
            let end = find(after, b"-->").map_or(rest.len(), |end| end + 7);
            out.extend_from_slice(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        let name = name_at(&rest[1..]).to_ascii_lowercase();
        if name.is_empty() {
            out.push(b'<');
            rest = &rest[1..];
            continue;
        }
        let end = tag(rest, &name, prefix, host, &mut out);
        rest = &rest[end..];
        if RAW.contains(&name.as_str()) {
            let content = close_of(rest, &name);
            out.extend_from_slice(&rest[..content]);
            rest = &rest[content..];
        }
    }
    out.extend_from_slice(rest);
    out
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn close_of(bytes: &[u8], name: &str) -> usize {
    let close = format!("</{name}");
    let found = bytes.windows(close.len()).position(|window| window.eq_ignore_ascii_case(close.as_bytes()));
    found.unwrap_or(bytes.len())
}

fn name_at(bytes: &[u8]) -> String {
    let length = bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

/// Copies one tag, with its links rewritten; answers its length.
fn tag(bytes: &[u8], name: &str, prefix: &str, host: &str, out: &mut Vec<u8>) -> usize {
    let mut at = 1 + name.len();
    out.extend_from_slice(&bytes[..at]);
    while at < bytes.len() && bytes[at] != b'>' {
        let begin = at;
        let key_ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'=' | b'>' | b'/');
        let key = bytes[at..].iter().take_while(|byte| !key_ends(byte)).count();
        if key == 0 {
            out.push(bytes[at]);
            at += 1;
            continue;
        }
        let key_text = String::from_utf8_lossy(&bytes[at..at + key]).to_ascii_lowercase();
        at += key + blanks(&bytes[at + key..]);
        if bytes.get(at) != Some(&b'=') {
            out.extend_from_slice(&bytes[begin..at]);
            continue;
        }
        at += 1;
        at += blanks(&bytes[at..]);
        let quote = bytes.get(at).copied().filter(|byte| matches!(byte, b'"' | b'\''));
        at += usize::from(quote.is_some());
        out.extend_from_slice(&bytes[begin..at]);
        let value_ends = |byte: &u8| match quote {
            Some(quote) => *byte == quote,
            None => byte.is_ascii_whitespace() || *byte == b'>',
        };
        let value = bytes[at..].iter().take_while(|byte| !value_ends(byte)).count();
        let value = &bytes[at..at + value];
        let is_link = LINKS.iter().any(|(link, elements)| *link == key_text && elements.contains(&name));
        match std::str::from_utf8(value) {
            Ok(url) if is_link => out.extend_from_slice(rewrite(url, prefix, host).as_bytes()),
            _ => out.extend_from_slice(value),
        }
        at += value.len();
    }
    at
}

fn blanks(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = "/api/v1/namespaces/ns/services/web:80/proxy";

    fn check(page: &str, expected: &str) {
        let expected = expected.replace("PREFIX", PREFIX);
        let rewritten = rewrite_page(page.as_bytes(), PREFIX, "127.0.0.1:8001");
        assert_eq!(String::from_utf8(rewritten).unwrap(), expected);
    }

    #[test]
    fn absolute_links_lead_through_the_proxy() {
        check(r#"<a href="/status">x</a>"#, r#"<a href="PREFIX/status">x</a>"#);
        check("<IMG alt=a SRC = '/x.png'/>", "<IMG alt=a SRC = 'PREFIX/x.png'/>");
        check("<script src=/a.js></script>", "<script src=PREFIX/a.js></script>");
        check(r#"<a href="http://127.0.0.1:8001/status">"#, r#"<a href="PREFIX/status">"#);
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        for page in [
            r#"<a href="status">"#,
            r#"<a href="//other/x">"#,
            r#"<a href="https://example.com/x">"#,
            r#"<a title="/x" data-href='/y'>"#,
            r#"<script>if (a < b) { x = '<a href="/x">' }</script>"#,
            r#"<!-- <a href="/x"> -->"#,
            "1 < 2 and <a href=",
            "<",
            "<!doctype html><a",
        ] {
            check(page, page);
        }
    }
}
