//! URLs of the Kubernetes API: where a request goes, and its query parameters.
//!
//! The shapes are those of `k8s.io/apiserver/pkg/endpoints/request` (RequestInfo).

use http::Method;

use super::LogOptions;
use crate::request::{FieldValidation, Params};
use crate::status::{Cause, Status};

/// A resource URL in its parts; `/api/v1/namespaces/ns/pods/x/log` for instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ResourcePath {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) namespace: Option<String>,
    pub(super) resource: String,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
    /// What follows the subresource, for instance of a proxy.
    pub(super) rest: Option<String>,
    /// `/api/v1/watch/…`: the form of a watch before there was a parameter for it.
    pub(super) watch: bool,
}

/// Where a URL leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Version,
    /// `/healthz`, `/livez`, `/readyz`, or one of their checks.
    Health(String),
    Metrics,
    /// `/api`.
    CoreVersions,
    /// `/apis`.
    Groups,
    /// `/apis/{group}`.
    Group(String),
    /// `/api/v1`, `/apis/{group}/{version}`.
    Resources(String, String),
    OpenApiV2,
    OpenApiIndex,
    /// `/openapi/v3/{api/v1}`.
    OpenApi(String),
    /// `/.well-known/openid-configuration`.
    OpenIdConfiguration,
    /// `/openid/v1/jwks`.
    OpenIdKeys,
    /// `/`: the list of paths.
    Root,
    Resource(ResourcePath),
    Unknown,
}

/// Routes a path; empty segments (double or trailing slashes) do not count.
pub(super) fn route(path: &str) -> Route {
    let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(percent_decode).collect();
    let words: Vec<&str> = parts.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => Route::Root,
        ["version"] => Route::Version,
        ["metrics"] => Route::Metrics,
        [check @ ("healthz" | "livez" | "readyz")]
        | [check @ ("healthz" | "livez" | "readyz"), "ping" | "etcd"] => Route::Health((*check).to_owned()),
        [".well-known", "openid-configuration"] => Route::OpenIdConfiguration,
        ["openid", "v1", "jwks"] => Route::OpenIdKeys,
        ["openapi", "v2"] => Route::OpenApiV2,
        ["openapi", "v3"] => Route::OpenApiIndex,
        ["openapi", "v3", document @ ..] => Route::OpenApi(document.join("/")),
        ["api"] => Route::CoreVersions,
        ["api", version] => Route::Resources(String::new(), (*version).to_owned()),
        ["api", version, "watch", rest @ ..] if !rest.is_empty() => watch(resource("", version, rest)),
        ["api", version, rest @ ..] => resource("", version, rest),
        ["apis"] => Route::Groups,
        ["apis", group] => Route::Group((*group).to_owned()),
        ["apis", group, version] => Route::Resources((*group).to_owned(), (*version).to_owned()),
        ["apis", group, version, "watch", rest @ ..] if !rest.is_empty() => {
            watch(resource(group, version, rest))
        }
        ["apis", group, version, rest @ ..] => resource(group, version, rest),
        _ => Route::Unknown,
    }
}

fn watch(route: Route) -> Route {
    match route {
        Route::Resource(path) => Route::Resource(ResourcePath { watch: true, ..path }),
        other => other,
    }
}

fn resource(group: &str, version: &str, rest: &[&str]) -> Route {
    let mut path =
        ResourcePath { group: group.to_owned(), version: version.to_owned(), ..ResourcePath::default() };
    let rest = match rest {
        // Namespaces' own subresources; every other third segment is a resource within the namespace.
        ["namespaces"] | ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => rest,
        ["namespaces", namespace, rest @ ..] => {
            path.namespace = Some((*namespace).to_owned());
            rest
        }
        _ => rest,
    };
    let mut segments = rest.iter().map(|segment| (*segment).to_owned());
    path.resource = segments.next().unwrap_or_default();
    path.name = segments.next();
    path.subresource = segments.next();
    let rest: Vec<String> = segments.collect();
    path.rest = (!rest.is_empty()).then(|| rest.join("/"));
    Route::Resource(path)
}

/// What follows the subresource in the path of an object, as it was sent: empty, or from a slash on.
#[cfg(feature = "http")]
pub(super) fn after_subresource(path: &str) -> &str {
    // /api/v1/namespaces/{namespace}/{resource}/{name}/{subresource}, or /api/v1/nodes/{name}/{subresource}
    let namespaced = path.split('/').filter(|step| !step.is_empty()).nth(2) == Some("namespaces");
    let mut left = if namespaced { 7 } else { 5 };
    let mut begins = path.char_indices().peekable();
    while let Some((at, character)) = begins.next() {
        let next = begins.peek().map(|(_, next)| *next);
        if character == '/' && left == 0 {
            return &path[at..];
        }
        if character == '/' && next.is_some_and(|next| next != '/') {
            left -= 1;
        }
    }
    ""
}

/// Query parameters in order, decoded.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (percent_decode(&name.replace('+', " ")), percent_decode(&value.replace('+', " ")))
                })
                .collect(),
        )
    }

    /// The first value of a parameter; an empty value counts as absent, as it does for the real server.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.clone())
    }

    /// All values of a parameter, in order.
    #[cfg(feature = "http")]
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
    }

    /// Whether the parameter occurs at all, with or without a value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// Go's query decoding: anything but `false` and `0` is true.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .is_some_and(|(_, value)| !matches!(value.to_lowercase().as_str(), "false" | "0"))
    }

    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Status> {
        match self.text(name) {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| {
                Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
            }),
        }
    }

    /// The parameters of an API request.
    ///
    /// # Errors
    /// 400 for values that do not parse, 422 for unknown directives of a write by this method.
    pub(super) fn params(&self, method: &Method) -> Result<Params, Status> {
        self.check(method)?;
        let send_initial_events = self.has("sendInitialEvents").then(|| self.flag("sendInitialEvents"));
        Ok(Params {
            label_selector: self.text("labelSelector"),
            field_selector: self.text("fieldSelector"),
            resource_version: self.text("resourceVersion"),
            resource_version_match: self.text("resourceVersionMatch"),
            // A negative limit is none.
            limit: usize::try_from(self.number::<i64>("limit")?.unwrap_or(0)).unwrap_or(0),
            continue_token: self.text("continue"),
            allow_watch_bookmarks: self.flag("allowWatchBookmarks"),
            send_initial_events,
            timeout_seconds: self.number("timeoutSeconds")?,
            field_manager: self.text("fieldManager"),
            force: self.flag("force"),
            dry_run: self.text("dryRun").is_some(),
            field_validation: match self.text("fieldValidation").as_deref() {
                Some("Strict") => FieldValidation::Strict,
                Some("Ignore") => FieldValidation::Ignore,
                _ => FieldValidation::Warn,
            },
            grace_period_seconds: self.number("gracePeriodSeconds")?,
            propagation_policy: self.text("propagationPolicy"),
            container: self.text("container"),
            log: self.log_options()?,
        })
    }

    /// What is asked for of a log.
    ///
    /// # Errors
    /// 400 for values that do not parse.
    pub(super) fn log_options(&self) -> Result<LogOptions, Status> {
        Ok(LogOptions {
            follow: self.flag("follow"),
            previous: self.flag("previous"),
            since_seconds: self.number("sinceSeconds")?,
            since_time: self.text("sinceTime"),
            tail_lines: self.number::<i64>("tailLines")?.and_then(|lines| usize::try_from(lines).ok()),
            limit_bytes: self.number::<i64>("limitBytes")?.and_then(|bytes| usize::try_from(bytes).ok()),
            timestamps: self.flag("timestamps"),
        })
    }

    /// What is wrong with what is asked for of the log of a pod (`ValidatePodLogOptions`).
    ///
    /// # Errors
    /// 400 for values that do not parse, 422 for those that are refused.
    pub(super) fn check_log_options(&self, pod: &str) -> Result<(), Status> {
        let mut causes = Vec::new();
        let mut at_least = |field: &str, least: i64, why: &str| {
            let value = self.number::<i64>(field)?;
            if let Some(value) = value.filter(|value| *value < least) {
                let fault = format!("Invalid value: {value}: {why}");
                causes.push(Cause::new("FieldValueInvalid", field, fault));
            }
            Ok::<_, Status>(())
        };
        at_least("tailLines", 0, "must be greater than or equal to 0")?;
        at_least("limitBytes", 1, "must be greater than 0")?;
        at_least("sinceSeconds", 1, "must be greater than 0")?;
        if self.text("sinceSeconds").is_some() && self.text("sinceTime").is_some() {
            let fault = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified";
            causes.push(Cause::new("FieldValueForbidden", "[]", fault));
        }
        // The feature of separate streams is not on.
        if self.text("stream").is_some() {
            causes.push(Cause::new("FieldValueForbidden", "stream", "Forbidden: may not be specified"));
        }
        if causes.is_empty() { Ok(()) } else { Err(Status::invalid("", "PodLogOptions", pod, causes)) }
    }

    /// The parameters that only writes have, as `k8s.io/apimachinery/pkg/apis/meta/v1/validation` checks them.
    fn check(&self, method: &Method) -> Result<(), Status> {
        let options = match *method {
            Method::POST => "CreateOptions",
            Method::PUT => "UpdateOptions",
            Method::PATCH => "PatchOptions",
            Method::DELETE => "DeleteOptions",
            _ => return Ok(()),
        };
        let mut causes = Vec::new();
        let values: Vec<&str> = self.0.iter().filter(|(key, _)| key == "dryRun").map(|(_, v)| &**v).collect();
        if values.iter().any(|value| *value != "All") {
            let said = serde_json::json!(values);
            let fault = format!("Unsupported value: {said}: supported values: \"All\"");
            causes.push(Cause::new("FieldValueNotSupported", "dryRun", fault));
        }
        if options != "DeleteOptions" {
            let manager = self.text("fieldManager").unwrap_or_default();
            causes.extend(field_manager_fault(&manager));
            let validation = self.text("fieldValidation").unwrap_or_default();
            if !matches!(validation.as_str(), "" | "Ignore" | "Strict" | "Warn") {
                let known = "\"\", \"Ignore\", \"Strict\", \"Warn\"";
                let fault = format!("Unsupported value: {validation:?}: supported values: {known}");
                causes.push(Cause::new("FieldValueNotSupported", "fieldValidation", fault));
            }
        }
        if causes.is_empty() {
            return Ok(());
        }
        Err(Status::invalid("meta.k8s.io", options, "", causes))
    }
}

/// `ValidateFieldManager`: at most 128 bytes, all of them printable.
fn field_manager_fault(manager: &str) -> Option<Cause> {
    if manager.len() > 128 {
        let fault = "Too long: may not be more than 128 bytes";
        return Some(Cause::new("FieldValueTooLong", "fieldManager", fault));
    }
    let (at, character) = manager.char_indices().find(|(_, character)| character.is_control())?;
    let quoted = format!("{manager:?}").replace("\\u{7}", "\\a");
    let fault = format!(
        "Invalid value: {quoted}: invalid character U+{:04X} (at position {at})",
        u32::from(character)
    );
    Some(Cause::new("FieldValueInvalid", "fieldManager", fault))
}

/// Decodes `%41`; anything that is not two hex digits stays as it is.
pub(super) fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        if let Some(byte) = escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            out.push(byte);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(path: &str) -> (String, Option<String>, String, Option<String>, Option<String>) {
        match route(path) {
            Route::Resource(p) => (p.group, p.namespace, p.resource, p.name, p.subresource),
            other => panic!("{path} is {other:?}"),
        }
    }

    #[test]
    fn resource_urls_fall_into_their_parts() {
        assert_eq!(parts("/api/v1/pods"), (String::new(), None, "pods".into(), None, None));
        assert_eq!(
            parts("/api/v1/namespaces/ns/pods/x/log"),
            (String::new(), Some("ns".into()), "pods".into(), Some("x".into()), Some("log".into()))
        );
        assert_eq!(
            parts("/apis/apps/v1/namespaces/ns/deployments"),
            ("apps".into(), Some("ns".into()), "deployments".into(), None, None)
        );
    }

    #[test]
    fn namespaces_have_subresources_of_their_own() {
        assert_eq!(
            parts("/api/v1/namespaces/ns"),
            (String::new(), None, "namespaces".into(), Some("ns".into()), None)
        );
        assert_eq!(
            parts("/api/v1/namespaces/ns/finalize"),
            (String::new(), None, "namespaces".into(), Some("ns".into()), Some("finalize".into()))
        );
    }

    #[cfg(feature = "http")]
    #[test]
    fn what_a_proxy_passes_on_stays_as_it_was_sent() {
        let rest = |tail: &str| {
            after_subresource(&format!("/api/v1/namespaces/ns/services/x:80/proxy{tail}")).to_owned()
        };
        for tail in ["", "/", "/a/b", "/a//b%20c/", "//a"] {
            assert_eq!(rest(tail), tail);
            assert_eq!(after_subresource(&format!("/api/v1/nodes/n/proxy{tail}")), tail);
        }
        assert_eq!(after_subresource("/api/v1/pods"), "");
    }

    #[test]
    fn trailing_slashes_do_not_matter() {
        assert_eq!(route("/version/"), Route::Version);
        assert_eq!(route("/readyz/ping"), Route::Health("readyz".into()));
        assert_eq!(route("/openapi/v3/apis/apps/v1"), Route::OpenApi("apis/apps/v1".into()));
    }

    #[test]
    fn query_values_are_decoded_and_checked() {
        let query =
            Query::parse(Some("labelSelector=a%3Db%2Cc+in+%28d%29&limit=500&watch=1&fieldValidation=Strict"));
        let params = query.params(&Method::POST).unwrap();
        assert_eq!(params.label_selector.as_deref(), Some("a=b,c in (d)"));
        assert_eq!(params.limit, 500);
        assert!(query.flag("watch"));
        assert_eq!(params.field_validation, FieldValidation::Strict);
        assert_eq!(Query::parse(Some("limit=x")).params(&Method::POST).unwrap_err().code, 400);
        assert_eq!(Query::parse(Some("dryRun=Some")).params(&Method::POST).unwrap_err().code, 422);
    }
}
