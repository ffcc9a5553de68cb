//! The scripts: requests as data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What stands for what in a script: `<ns>`, and what steps have saved.
pub(crate) type Known = BTreeMap<String, String>;

/// The requests of one topic.
pub(crate) struct Script {
    namespace: String,
    pub(crate) steps: Vec<Step>,
}

/// One request as it is written; `<name>` in any text stands for what is known by that name. `<hook>` is the URL of the
/// webhook, `<authority>` its `caBundle`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// Method and path with query.
    #[serde(rename = "do")]
    line: String,
    /// Content type, or a short name of [`CONTENT_TYPES`]; JSON if there is a body.
    #[serde(rename = "type")]
    content_type: Option<String>,
    /// `Accept`, or a short name of [`ACCEPTS`]; JSON if not given.
    accept: Option<String>,
    /// Who is impersonated; the administrator asks if nobody is named.
    #[serde(rename = "as")]
    user: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    body: Option<Value>,
    /// A body that is no JSON.
    text: Option<String>,
    /// Ask a real server again until it answers with this code: its controllers take their time.
    pub(crate) until: Option<u16>,
    /// Ask a real server only after a moment: its caches take their time.
    #[serde(default)]
    pub(crate) settle: bool,
    /// What the webhook answers, one reply a call: the `response` of a review, or `code` and `text`.
    #[serde(default)]
    pub(crate) replies: Vec<Value>,
    /// Parts of the answer to keep, by JSON pointer.
    #[serde(default)]
    pub(crate) save: BTreeMap<String, String>,
}

/// One request as it is sent.
pub(crate) struct Request {
    /// As it is written, for people.
    pub(crate) title: String,
    pub(crate) line: String,
    pub(crate) content_type: Option<String>,
    pub(crate) accept: String,
    pub(crate) user: Option<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) body: Vec<u8>,
}

/// One answer, as it came or in its normal form.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Answer {
    /// The request, for people.
    #[serde(rename = "do")]
    pub(crate) line: String,
    pub(crate) code: u16,
    pub(crate) headers: BTreeMap<String, String>,
    /// JSON, or a list of the lines of a watch, or text.
    pub(crate) body: Value,
    /// The reviews that the webhook was sent meanwhile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) asked: Vec<Value>,
}

const CONTENT_TYPES: [(&str, &str); 6] = [
    ("json", "application/json-patch+json"),
    ("merge", "application/merge-patch+json"),
    ("strategic", "application/strategic-merge-patch+json"),
    ("apply", "application/apply-patch+yaml"),
    ("yaml", "application/yaml"),
    ("text", "text/plain"),
];

const ACCEPTS: [(&str, &str); 4] = [
    ("table", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"),
    ("partial", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json"),
    ("partials", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"),
    ("yaml", "application/yaml"),
];

fn long(short: &str, table: &[(&str, &str)]) -> String {
    table.iter().find(|(name, _)| *name == short).map_or(short, |(_, long)| long).to_owned()
}

impl Script {
    pub(crate) fn read(topic: &str, text: &str) -> Self {
        Self { namespace: format!("diff-{topic}"), steps: serde_yaml::from_str(text).unwrap() }
    }

    /// In a namespace that nobody else has.
    pub(crate) fn of(namespace: String, steps: Vec<Step>) -> Self {
        Self { namespace, steps }
    }

    pub(crate) fn start(&self) -> Known {
        Known::from([("ns".to_owned(), self.namespace.clone())])
    }

    /// The namespace, with the account that a controller would make: none runs.
    pub(crate) fn set_up(&self) -> [Request; 2] {
        let namespace = &self.namespace;
        let post = |line: String, name: &str| Request {
            title: format!("POST {line}"),
            line: format!("POST {line}"),
            content_type: Some("application/json".into()),
            accept: "application/json".into(),
            user: None,
            groups: Vec::new(),
            body: json!({"metadata": {"name": name}}).to_string().into_bytes(),
        };
        let accounts = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        [post("/api/v1/namespaces".into(), namespace), post(accounts, "default")]
    }
}

impl Step {
    /// A request of the administrator.
    pub(crate) fn new(line: String, content_type: Option<&str>, body: Option<Value>) -> Self {
        Self { line, content_type: content_type.map(str::to_owned), body, ..Self::default() }
    }

    pub(crate) fn request(&self, known: &Known) -> Request {
        let mut step = serde_json::to_string(self).unwrap();
        for (name, value) in known {
            step = step.replace(&format!("<{name}>"), value);
        }
        let step: Self = serde_json::from_str(&step).unwrap();
        let body = match (&step.body, step.text) {
            (Some(body), _) => body.to_string().into_bytes(),
            (None, Some(text)) => text.into_bytes(),
            (None, None) => Vec::new(),
        };
        let content_type = match &step.content_type {
            Some(name) => Some(long(name, &CONTENT_TYPES)),
            None => (!body.is_empty()).then(|| "application/json".to_owned()),
        };
        let accept = long(step.accept.as_deref().unwrap_or("application/json"), &ACCEPTS);
        Request {
            title: self.line.clone(),
            line: step.line,
            content_type,
            accept,
            user: step.user,
            groups: step.groups,
            body,
        }
    }
}

impl Answer {
    /// One answer a line, so that a difference between two recordings can be read.
    pub(crate) fn write(answers: &[Self]) -> String {
        let lines: Vec<String> =
            answers.iter().map(|answer| serde_json::to_string(answer).unwrap()).collect();
        format!("[\n{}\n]\n", lines.join(",\n"))
    }

    pub(crate) fn read(text: &str) -> Vec<Self> {
        serde_json::from_str(text).unwrap()
    }
}
