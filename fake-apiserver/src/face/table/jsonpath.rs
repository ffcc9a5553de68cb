//! The part of Kubernetes' JSONPath that printer columns use.
//!
//! Fields, quoted fields, escaped dots, indices (also negative), `*`, `..field` and filters with one comparison.
//! A path outside this grammar finds nothing.

use serde_json::Value;

/// A parsed path.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct JsonPath {
    /// `None` for a text outside the grammar.
    steps: Option<Vec<Step>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Descend(String),
    Index(i64),
    All,
    Filter(Filter),
}

#[derive(Clone, Debug, PartialEq)]
struct Filter {
    path: Vec<Step>,
    /// `None`: the field exists.
    compare: Option<(Operator, Value)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl JsonPath {
    pub(super) fn parse(text: &str) -> Self {
        let text = text.trim();
        let text = text.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')).unwrap_or(text);
        Self { steps: steps(text.strip_prefix('$').unwrap_or(text)) }
    }

    /// The first value the path finds.
    pub(super) fn first<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        find(object, self.steps.as_deref()?)
    }
}

fn find<'a>(value: &'a Value, steps: &[Step]) -> Option<&'a Value> {
    let Some((step, rest)) = steps.split_first() else { return Some(value) };
    match step {
        Step::Field(name) => find(value.get(name)?, rest),
        Step::Index(index) => {
            let items = value.as_array()?;
            let at = if *index < 0 { items.len() as i64 + index } else { *index };
            find(items.get(usize::try_from(at).ok()?)?, rest)
        }
        Step::All => children(value).find_map(|child| find(child, rest)),
        Step::Descend(name) => value
            .get(name)
            .and_then(|found| find(found, rest))
            .or_else(|| children(value).find_map(|child| find(child, steps))),
        Step::Filter(filter) => {
            children(value).filter(|child| filter.matches(child)).find_map(|child| find(child, rest))
        }
    }
}

fn children(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(map) => Box::new(map.values()),
        _ => Box::new(std::iter::empty()),
    }
}

impl Filter {
    fn matches(&self, value: &Value) -> bool {
        let Some(found) = find(value, &self.path) else { return false };
        let Some((operator, wanted)) = &self.compare else { return true };
        let order = match (found, wanted) {
            (Value::String(a), Value::String(b)) => a.partial_cmp(b),
            (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
            (Value::Bool(a), Value::Bool(b)) => a.partial_cmp(b),
            _ => None,
        };
        let Some(order) = order else { return false };
        match operator {
            Operator::Equal => order.is_eq(),
            Operator::NotEqual => order.is_ne(),
            Operator::Less => order.is_lt(),
            Operator::LessOrEqual => order.is_le(),
            Operator::Greater => order.is_gt(),
            Operator::GreaterOrEqual => order.is_ge(),
        }
    }
}

fn steps(text: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("..") {
            let (name, after) = field_name(after)?;
            steps.push(Step::Descend(name));
            rest = after;
        } else if let Some(after) = rest.strip_prefix(".*") {
            steps.push(Step::All);
            rest = after;
        } else if let Some(after) = rest.strip_prefix('.') {
            if after.starts_with('[') || after.is_empty() {
                rest = after;
                continue;
            }
            let (name, after) = field_name(after)?;
            steps.push(Step::Field(name));
            rest = after;
        } else if let Some(after) = rest.strip_prefix('[') {
            let end = closing_bracket(after)?;
            steps.push(bracket(&after[..end])?);
            rest = &after[end + 1..];
        } else {
            return None;
        }
    }
    Some(steps)
}

/// A field name up to the next `.` or `[`; a backslash takes the next character as it is.
fn field_name(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => name.push(characters.next()?.1),
            '.' | '[' => return (!name.is_empty()).then_some((name, &text[at..])),
            other => name.push(other),
        }
    }
    (!name.is_empty()).then_some((name, ""))
}

/// Where the bracket that has just been opened closes; quotes hide brackets.
fn closing_bracket(text: &str) -> Option<usize> {
    let (mut quote, mut depth) = (None, 0);
    for (at, character) in text.char_indices() {
        match (quote, character) {
            (Some(open), c) => quote = (c != open).then_some(open),
            (None, '\'' | '"') => quote = Some(character),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(at),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn bracket(text: &str) -> Option<Step> {
    let text = text.trim();
    if text == "*" {
        return Some(Step::All);
    }
    if let Some(name) = unquote(text) {
        return Some(Step::Field(name));
    }
    if let Some(filter) = text.strip_prefix("?(").and_then(|inner| inner.strip_suffix(')')) {
        return parse_filter(filter.trim()).map(Step::Filter);
    }
    text.parse().ok().map(Step::Index)
}

fn parse_filter(text: &str) -> Option<Filter> {
    const OPERATORS: [(&str, Operator); 6] = [
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("<", Operator::Less),
        (">", Operator::Greater),
    ];
    let text = text.strip_prefix('@')?;
    let found = OPERATORS
        .iter()
        .filter_map(|(sign, operator)| Some((text.find(sign)?, *sign, *operator)))
        .min_by_key(|(at, sign, _)| (*at, 2 - sign.len()));
    let Some((at, sign, operator)) = found else {
        return Some(Filter { path: steps(text.trim())?, compare: None });
    };
    let wanted = text[at + sign.len()..].trim();
    let wanted = unquote(wanted).map(Value::String).or_else(|| serde_json::from_str(wanted).ok())?;
    Some(Filter { path: steps(text[..at].trim())?, compare: Some((operator, wanted)) })
}

fn unquote(text: &str) -> Option<String> {
    let inner = ['\'', '"'].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote))?;
    Some(inner.replace("\\.", "."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(path: &str) -> Value {
        let object = json!({
            "metadata": {"labels": {"a.b/c": "label"}},
            "spec": {"replicas": 3, "list": [{"n": 1}, {"n": 2}]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]},
        });
        JsonPath::parse(path).first(&object).cloned().unwrap_or(Value::Null)
    }

    #[test]
    fn the_forms_printer_columns_use_are_found() {
        assert_eq!(found(".spec.replicas"), 3);
        assert_eq!(found("{.spec.replicas}"), 3);
        assert_eq!(found(r".metadata.labels.a\.b/c"), "label");
        assert_eq!(found(r".metadata.labels['a\.b/c']"), "label");
        assert_eq!(found(r#".status.conditions[?(@.type=="Other")].status"#), "False");
        assert_eq!(found(".status.conditions[?(@.type == 'Ready')].status"), "True");
        assert_eq!(found(".spec.list[?(@.n>=2)].n"), 2);
        assert_eq!(found(".spec.list[-1].n"), 2);
        assert_eq!(found(".spec.list[*].n"), 1);
        assert_eq!(found("..n"), 1);
    }

    #[test]
    fn what_is_absent_or_not_understood_finds_nothing() {
        for path in [
            ".spec.nothing",
            ".spec.list[9]",
            ".status.conditions[?(@.type==\"No\")].status",
            ".spec[",
            "spec",
            ".spec.list[(@.length-1)]",
        ] {
            assert_eq!(found(path), Value::Null, "{path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in r#"[.\[\]?()@='"a-cé*\\0-9<>-]{0,24}"#) {
            let _ = JsonPath::parse(&text).first(&json!({"a": [{"b": "c"}]}));
        }
    }
}
