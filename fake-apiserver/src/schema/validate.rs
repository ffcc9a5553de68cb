//! Validation of values: what OpenAPI says, as `k8s.io/kube-openapi/pkg/validation/validate` says it.
//!
//! On updates errors of unchanged values are dropped (ratcheting, `CRDValidationRatcheting`): a value is unchanged if
//! its old counterpart is equal, and counterparts are found through object fields and map list keys only.

use serde_json::{Map, Value};

use super::cause;
use super::format::Format;
use super::list_type;
use super::node::{Additional, Bound, Checks, ListType, NodeId, Types, View};
use super::path::Path;
use crate::status::Cause;

/// All OpenAPI causes of a value.
pub(super) fn validate(value: &Value, old: Option<&Value>, root: View<'_>) -> Vec<Cause> {
    let mut walk = Walk { causes: Vec::new(), matches: 0 };
    walk.node(value, old, root, &Path::Root);
    walk.causes
}

struct Walk {
    causes: Vec<Cause>,
    /// How many checks passed: it decides whose errors a failed `anyOf` or `oneOf` shows.
    matches: usize,
}

impl Walk {
    fn node(&mut self, value: &Value, old: Option<&Value>, schema: View<'_>, path: &Path<'_>) {
        let before = self.causes.len();
        self.types(value, schema, path);
        if !value.is_null() {
            if let Some(checks) = &schema.node.checks {
                self.combinations(value, old, schema, checks, path);
                self.scalar(value, checks, path);
            }
            match value {
                Value::Object(map) => self.object(map, old, schema, path),
                Value::Array(items) => self.array(items, old, schema, path),
                Value::Number(number) => self.range(number, schema, path),
                _ => {}
            }
        }
        if let Some(checks) = &schema.node.checks {
            self.enumeration(value, checks, path);
        }
        if self.causes.len() > before && old == Some(value) {
            self.causes.truncate(before);
        }
    }

    fn types(&mut self, value: &Value, schema: View<'_>, path: &Path<'_>) {
        let types = schema.node.types;
        let (kind, kind_format) = kind_of(value);
        let format = schema.node.checks.as_ref().and_then(|c| c.format.as_ref());
        let numeric = types.has(Types::NUMBER) || types.has(Types::INTEGER);
        let right = match value {
            Value::Null => types.is_any() || schema.node.nullable,
            Value::String(_) | Value::Array(_) if format.is_some() && !numeric => true,
            Value::Number(n) if n.is_f64() => {
                types.is_any()
                    || types.has(Types::NUMBER)
                    || types.has(Types::INTEGER) && n.as_f64().is_some_and(|f| f.fract() == 0.0)
            }
            Value::Number(_) => types.is_any() || types.has(Types::NUMBER) || types.has(Types::INTEGER),
            Value::Bool(_) => types.is_any() || types.has(Types::BOOLEAN),
            Value::String(_) => types.is_any() || types.has(Types::STRING),
            Value::Array(_) => types.is_any() || types.has(Types::ARRAY),
            Value::Object(_) => types.is_any() || types.has(Types::OBJECT),
        };
        if right {
            self.matches += 1;
            return;
        }
        let (wanted, got) = match (format, value) {
            (Some(format), Value::Number(_) | Value::Bool(_) | Value::Object(_)) => {
                (format.name().to_owned(), kind_format)
            }
            _ => (types.names(), kind),
        };
        let at = path.dotted();
        let detail = format!("{at} in body must be of type {wanted}: {}", cause::quote(got));
        self.causes.push(cause::type_invalid(at, got, &detail));
    }

    fn scalar(&mut self, value: &Value, checks: &Checks, path: &Path<'_>) {
        match value {
            Value::String(text) => self.string(text, checks, path),
            Value::Number(number) => self.number(number, checks, path),
            _ => {}
        }
    }

    /// Stops at the first error, as the real validator does.
    fn string(&mut self, text: &str, checks: &Checks, path: &Path<'_>) {
        let length = || text.chars().count() as u64;
        let value = || Value::from(text);
        if let Some(max) = checks.max_length.filter(|max| length() > *max) {
            self.causes.push(cause::too_long(path.dotted(), max));
        } else if let Some(min) = checks.min_length.filter(|min| length() < *min) {
            let detail = format!("should be at least {min} chars long");
            self.invalid(path, &value(), &detail);
        } else if let Some(pattern) = checks.pattern.as_ref().filter(|p| !p.matches(text)) {
            self.invalid(path, &value(), &format!("should match '{}'", pattern.text));
        } else {
            self.matches += 1;
        }
        if let Some(Format::Text(format, name)) = &checks.format
            && !format.accepts(text)
        {
            let at = path.dotted();
            let detail = format!("{at} in body must be of type {name}: {}", cause::quote(text));
            self.causes.push(cause::type_invalid(at, text, &detail));
        }
    }

    /// Numbers that do not fit the type's format: the one message of its own form.
    fn range(&mut self, number: &serde_json::Number, schema: View<'_>, path: &Path<'_>) {
        let types = schema.node.types;
        let format = schema.node.checks.as_ref().and_then(|checks| checks.format.as_ref());
        let Some(n) = number.as_f64() else { return };
        let fits = match format {
            Some(Format::Int32) => {
                n.fract() == 0.0 && (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&n)
            }
            Some(Format::Float) => n.abs() <= f64::from(f32::MAX),
            _ => types != Types::INTEGER || !number.is_f64() || n.fract() == 0.0,
        };
        if fits {
            return;
        }
        let format =
            format.map_or("(default format)".into(), |format| format!("with format {}", format.name()));
        let detail = format!("Checked value must be of type {} {format} in {}", types.names(), path.dotted());
        self.causes.push(cause::invalid("<nil>", &Value::from(""), &detail));
    }

    fn number(&mut self, number: &serde_json::Number, checks: &Checks, path: &Path<'_>) {
        let Some(n) = number.as_f64() else { return };
        let value = Value::Number(number.clone());
        let broken = self.causes.len();
        if let Some(factor) = checks.multiple_of
            && (n / factor).fract() != 0.0
        {
            self.invalid(path, &value, &format!("should be a multiple of {}", cause::go_float(factor)));
        }
        let beyond = |bound: Bound, over: f64| over > 0.0 || (bound.exclusive && over == 0.0);
        if let Some(min) = checks.minimum.filter(|min| beyond(*min, min.value - n)) {
            let than = if min.exclusive { "greater than" } else { "greater than or equal to" };
            self.invalid(path, &value, &format!("should be {than} {}", cause::go_float(min.value)));
        }
        if let Some(max) = checks.maximum.filter(|max| beyond(*max, n - max.value)) {
            let than = if max.exclusive { "less than" } else { "less than or equal to" };
            self.invalid(path, &value, &format!("should be {than} {}", cause::go_float(max.value)));
        }
        self.matches += usize::from(self.causes.len() == broken);
    }

    fn enumeration(&mut self, value: &Value, checks: &Checks, path: &Path<'_>) {
        let same = |allowed: &Value| match (allowed, value) {
            (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
            (a, b) => a == b && !a.is_null(),
        };
        if !checks.enumeration.is_empty() && !checks.enumeration.iter().any(same) {
            self.causes.push(cause::not_supported(path.dotted(), value, &checks.enumeration));
        }
    }

    fn object(&mut self, map: &Map<String, Value>, old: Option<&Value>, schema: View<'_>, path: &Path<'_>) {
        let old = old.and_then(Value::as_object);
        if let Some(checks) = &schema.node.checks {
            if let Some(min) = checks.min_properties.filter(|min| (map.len() as u64) < *min) {
                self.invalid(path, &map.len().into(), &format!("should have at least {min} properties"));
            }
            if let Some(max) = checks.max_properties.filter(|max| map.len() as u64 > *max) {
                self.causes.push(cause::too_many(path.dotted(), map.len(), max));
            }
        }
        for (key, value) in map {
            if let Some(property) = schema.property(key) {
                self.node(value, old.and_then(|o| o.get(key)), property, &Path::Field(path, key));
                continue;
            }
            match schema.node.additional {
                Additional::Schema(id) => {
                    let schema = schema.graph.view(id);
                    self.node(value, old.and_then(|o| o.get(key)), schema, &Path::Key(path, key));
                }
                Additional::Forbidden => {
                    let detail = format!("{}.{key} in body is a forbidden property", path.dotted());
                    self.causes.push(cause::invalid(path.dotted(), &Value::from(key.as_str()), &detail));
                }
                _ => {}
            }
        }
        for name in schema.node.checks.iter().flat_map(|checks| &checks.required) {
            if !map.contains_key(&**name) {
                self.causes.push(cause::required(Path::Field(path, name).dotted(), ""));
            }
        }
        if schema.node.resource && !schema.graph.built_in && !matches!(path, Path::Root) {
            self.embedded(map, path);
        }
        self.matches += 1;
    }

    /// An embedded resource says what it is (`schema/objectmeta/validation.go`).
    fn embedded(&mut self, map: &Map<String, Value>, path: &Path<'_>) {
        for name in ["apiVersion", "kind"] {
            if map.get(name).and_then(Value::as_str).is_none_or(str::is_empty) {
                self.causes.push(cause::required(Path::Field(path, name).dotted(), ""));
            }
        }
    }

    fn array(&mut self, items: &[Value], old: Option<&Value>, schema: View<'_>, path: &Path<'_>) {
        if let Some(item_schema) = schema.items() {
            let old = match &schema.node.list {
                ListType::Map(_) => old.and_then(Value::as_array),
                _ => None,
            };
            for (index, item) in items.iter().enumerate() {
                let old = old.and_then(|old| list_type::counterpart(&schema.node.list, old, item));
                self.node(item, old, item_schema, &Path::Index(path, index));
            }
        }
        if let Some(checks) = &schema.node.checks {
            if let Some(min) = checks.min_items.filter(|min| (items.len() as u64) < *min) {
                self.invalid(path, &items.len().into(), &format!("should have at least {min} items"));
            }
            if let Some(max) = checks.max_items.filter(|max| items.len() as u64 > *max) {
                self.causes.push(cause::too_many(path.dotted(), items.len(), max));
            }
        }
        self.matches += 1;
    }

    fn combinations(
        &mut self,
        value: &Value,
        old: Option<&Value>,
        schema: View<'_>,
        checks: &Checks,
        path: &Path<'_>,
    ) {
        let try_one = |id: &NodeId| {
            let mut walk = Walk { causes: Vec::new(), matches: 0 };
            walk.node(value, old, schema.graph.view(*id), path);
            walk
        };
        if !checks.any_of.is_empty() {
            let mut tried = checks.any_of.iter().map(try_one);
            if let Some(best) = best_failure(&mut tried) {
                self.combined(path, "must validate at least one schema (anyOf)");
                self.causes.extend(best.causes);
            }
        }
        if !checks.one_of.is_empty() {
            let tried: Vec<Walk> = checks.one_of.iter().map(try_one).collect();
            let valid = tried.iter().filter(|walk| walk.causes.is_empty()).count();
            let found = if valid == 0 {
                "Found none valid".into()
            } else {
                format!("Found {valid} valid alternatives")
            };
            if valid != 1 {
                self.combined(path, &format!("must validate one and only one schema (oneOf). {found}"));
                self.causes
                    .extend(best_failure(&mut tried.into_iter()).map(|w| w.causes).unwrap_or_default());
            }
        }
        if !checks.all_of.is_empty() {
            let tried: Vec<Walk> = checks.all_of.iter().map(try_one).collect();
            let valid = tried.iter().filter(|walk| walk.causes.is_empty()).count();
            let all = tried.len();
            self.causes.extend(tried.into_iter().flat_map(|walk| walk.causes));
            if valid != all {
                let none = if valid == 0 { ". None validated" } else { "" };
                self.combined(path, &format!("must validate all the schemas (allOf){none}"));
            }
        }
        if checks.not.is_some_and(|id| try_one(&id).causes.is_empty()) {
            self.combined(path, "must not validate the schema (not)");
        }
    }

    /// Errors of combinations have no field of their own in the real server.
    fn combined(&mut self, path: &Path<'_>, said: &str) {
        let detail = format!("{} {said}", cause::quote(&path.dotted()));
        self.causes.push(cause::invalid("<nil>", &Value::from(""), &detail));
    }

    fn invalid(&mut self, path: &Path<'_>, value: &Value, said: &str) {
        let at = path.dotted();
        let detail = format!("{at} in body {said}");
        self.causes.push(cause::invalid(at, value, &detail));
    }
}

/// The failed alternative that passed most checks; `None` as soon as one alternative is valid.
fn best_failure(tried: &mut dyn Iterator<Item = Walk>) -> Option<Walk> {
    let mut best: Option<Walk> = None;
    for walk in tried {
        if walk.causes.is_empty() {
            return None;
        }
        if best.as_ref().is_none_or(|b| walk.matches > b.matches) {
            best = Some(walk);
        }
    }
    best
}

/// Type and format of a value as Go's decoder has them.
fn kind_of(value: &Value) -> (&'static str, &'static str) {
    match value {
        Value::Null => ("null", ""),
        Value::Bool(_) => ("boolean", ""),
        Value::Number(n) if n.is_f64() => ("number", "float64"),
        Value::Number(_) => ("integer", "int64"),
        Value::String(_) => ("string", ""),
        Value::Array(_) => ("array", ""),
        Value::Object(_) => ("object", ""),
    }
}
