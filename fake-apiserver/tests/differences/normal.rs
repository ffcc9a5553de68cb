//! The form of an answer in which two servers can agree: what each chooses itself is named after its object.

use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::{Map, Value, json};

use crate::script::{Answer, Request};

/// What is remembered from answer to answer: the same uid keeps its name, the same version its number.
#[derive(Default)]
pub(crate) struct Normal {
    objects: Vec<Seen>,
    /// Names that a server made, and what stands for them.
    names: Vec<(String, String)>,
    /// What was chosen for this run, and what stands for it.
    chosen: Vec<(String, String)>,
}

/// An object that was seen.
struct Seen {
    uid: String,
    /// Its name; with a number if another object had it before.
    stands: String,
    /// Its versions so far.
    revisions: Vec<String>,
}

static UID: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").unwrap());

/// Patterns in texts, and what stands for them.
static TEXTS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
        (r"kube-api-access-[a-z0-9]{5}", "kube-api-access-MADE"),
        (r"10\.96\.\d+\.\d+", "SERVICE-ADDRESS"),
        (r"current: \d+", "current: REVISION"),
        (r":3\d{4}/(TCP|UDP|SCTP)", ":PORT/$1"),
        (r#"(resourceVersion(\\*"|): *\\*")\d+"#, "${1}REVISION"),
        (r"in record \(\d+\)", "in record (REVISION)"),
        // A difference of the internal Go types of two pods, which this server does not show.
        (r"(?s)(previously negative\))\n@@ .*", "$1"),
        (r"\b(Bad|made)-[bcdfghjklmnpqrstvwxz2456789]{5}\b", "${1}-MADE"),
    ]
    .map(|(pattern, stands)| (Regex::new(pattern).unwrap(), stands))
    .into()
});

static AGE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^(\d+[smhd])+$").unwrap());

/// The real server walks custom resources in no order, so their causes come in any; here they are sorted.
fn by_field(status: &mut Map<String, Value>) {
    let Some(details) = status.get_mut("details") else { return };
    let custom = details["group"].as_str().is_some_and(|group| group.contains("example."));
    let causes = details.get_mut("causes").and_then(Value::as_array_mut);
    let Some(causes) = causes.filter(|causes| causes.len() > 1) else { return };
    let text = |cause: &Value, field: &str| cause[field].as_str().unwrap_or_default().to_owned();
    // Nor does it take the managers of a conflict in any.
    let conflicts = causes.iter().all(|cause| cause["reason"] == "FieldManagerConflict");
    if !custom && !conflicts {
        return;
    }
    causes.sort_by_key(|cause| (text(cause, "field"), text(cause, "message")));
    let said: Vec<String> =
        causes.iter().map(|cause| format!("{}: {}", text(cause, "field"), text(cause, "message"))).collect();
    if let Some(Value::String(message)) = status.get_mut("message")
        && let Some((head, _)) = message.split_once(" is invalid: [")
    {
        *message = format!("{head} is invalid: [{}]", said.join(", "));
    }
}

/// Lists of faults that Go makes from maps have no order.
fn in_order(text: String) -> String {
    // Those of limit ranges, which speak of maxima and minima.
    let list = text.split_once(" is forbidden: [m");
    match list.and_then(|(head, list)| Some((head, list.strip_suffix(']')?))) {
        Some((head, list)) => {
            let mut faults: Vec<&str> = list.split(", m").collect();
            faults.sort_unstable();
            format!("{head} is forbidden: [m{}]", faults.join(", m"))
        }
        None => text,
    }
}

impl Normal {
    /// Another run chooses another text.
    pub(crate) fn know(&mut self, text: &str, stands: &str) {
        self.chosen.push((text.to_owned(), stands.to_owned()));
    }

    pub(crate) fn answer(&mut self, request: &Request, answer: &Answer) -> Answer {
        self.learn_names(&answer.body);
        let body = self.value(&answer.body);
        let headers = answer.headers.iter().map(|(name, value)| (name.clone(), self.text(value))).collect();
        let asked = answer.asked.iter().map(|review| self.review(review)).collect();
        Answer { line: request.title.clone(), code: answer.code, headers, body, asked }
    }

    /// The uid of a review is that of no object, and each has another.
    fn review(&mut self, review: &Value) -> Value {
        let mut review = review.clone();
        review["request"]["uid"] = json!("UID");
        self.value(&review)
    }

    /// A made name may stand in any text, so it is known before texts are looked at.
    fn learn_names(&mut self, value: &Value) {
        if let Some(prefix) = value["metadata"]["generateName"].as_str()
            && let Some(name) = value["metadata"]["name"].as_str()
            && name.starts_with(prefix)
            && !self.names.iter().any(|(known, _)| known == name)
        {
            let stands = format!("{prefix}MADE-{}", self.names.len());
            self.names.push((name.to_owned(), stands));
        }
        for item in value["items"].as_array().into_iter().flatten() {
            self.learn_names(item);
        }
    }

    fn value(&mut self, value: &Value) -> Value {
        match value {
            Value::Object(map) => self.object(map),
            Value::Array(items) => Value::Array(items.iter().map(|item| self.value(item)).collect()),
            Value::String(text) => Value::String(self.text(text)),
            other => other.clone(),
        }
    }

    fn object(&mut self, map: &Map<String, Value>) -> Value {
        let text = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or_default();
        let seen = match (text("uid"), text("name")) {
            ("" | "UID", _) | (_, "") => None,
            (uid, name) => Some(self.see(uid, name)),
        };
        let mut normal = Map::new();
        for (key, value) in map {
            let value = match (key.as_str(), value) {
                ("resourceVersion", Value::String(text)) if !text.is_empty() => match seen {
                    Some(at) => json!(self.revision(at, text)),
                    // A list's version is the store's, which other writers change too.
                    None => json!("REVISION"),
                },
                ("continue", Value::String(text)) if !text.is_empty() => json!("CONTINUE"),
                ("nodePort" | "healthCheckNodePort", Value::Number(_)) => json!("PORT"),
                ("causes", Value::Array(causes)) => self.causes(causes),
                ("nonResourceRules", Value::Array(rules)) => {
                    let mut rules: Vec<Value> = rules.iter().map(|rule| self.value(rule)).collect();
                    rules.sort_by_key(Value::to_string);
                    Value::Array(rules)
                }
                // Prose, which the tables leave out.
                ("columnDefinitions", Value::Array(columns)) => self.columns(columns),
                ("managedFields", Value::Array(entries)) => self.managed_fields(entries),
                ("cells", Value::Array(cells)) => self.cells(cells),
                (_, value) => self.value(value),
            };
            normal.insert(key.clone(), value);
        }
        by_field(&mut normal);
        Value::Object(normal)
    }

    /// Some real validations run twice; their causes are listed twice.
    fn causes(&mut self, causes: &[Value]) -> Value {
        let mut causes: Vec<Value> = causes.iter().map(|cause| self.value(cause)).collect();
        let all = std::mem::take(&mut causes);
        for cause in all {
            if !causes.contains(&cause) {
                causes.push(cause);
            }
        }
        Value::Array(causes)
    }

    fn columns(&mut self, columns: &[Value]) -> Value {
        let mut columns: Vec<Value> = columns.iter().map(|column| self.value(column)).collect();
        columns
            .iter_mut()
            .filter_map(Value::as_object_mut)
            .for_each(|column| drop(column.remove("description")));
        Value::Array(columns)
    }

    /// They are kept in the order of their times, which are whole seconds.
    fn managed_fields(&mut self, entries: &[Value]) -> Value {
        let mut entries: Vec<Value> = entries.iter().map(|entry| self.value(entry)).collect();
        let key = |entry: &Value| {
            ["manager", "operation", "subresource", "apiVersion"].map(|name| entry[name].to_string())
        };
        entries.sort_by_key(key);
        Value::Array(entries)
    }

    /// A row of a Table: how old something is depends on when one asks.
    fn cells(&mut self, cells: &[Value]) -> Value {
        let mut cell = |cell: &Value| match cell {
            Value::String(text) if AGE.is_match(text) => json!("AGE"),
            other => self.value(other),
        };
        Value::Array(cells.iter().map(&mut cell).collect())
    }

    fn text(&mut self, text: &str) -> String {
        let mut text = UID
            .replace_all(text, |found: &Captures<'_>| {
                let known = self.objects.iter().find(|known| known.uid == found[0]);
                known.map_or_else(|| "UID".to_owned(), |known| format!("UID of {}", known.stands))
            })
            .into_owned();
        for (name, stands) in self.names.iter().chain(&self.chosen) {
            text = text.replace(name.as_str(), stands);
        }
        for (pattern, stands) in TEXTS.iter() {
            text = pattern.replace_all(&text, *stands).into_owned();
        }
        in_order(text)
    }

    /// The place of an object among those seen.
    fn see(&mut self, uid: &str, name: &str) -> usize {
        if let Some(at) = self.objects.iter().position(|known| known.uid == uid) {
            return at;
        }
        let name = self.text(name);
        let same = self.objects.iter().filter(|known| known.stands.split('~').next() == Some(&name)).count();
        let stands = if same == 0 { name } else { format!("{name}~{same}") };
        self.objects.push(Seen { uid: uid.to_owned(), stands, revisions: Vec::new() });
        self.objects.len() - 1
    }

    /// Which version of the object this is, counted as they are seen.
    fn revision(&mut self, at: usize, text: &str) -> String {
        let known = &mut self.objects[at];
        let number = known.revisions.iter().position(|seen| seen == text).unwrap_or_else(|| {
            known.revisions.push(text.to_owned());
            known.revisions.len() - 1
        });
        format!("REVISION {number} of {}", known.stands)
    }
}
