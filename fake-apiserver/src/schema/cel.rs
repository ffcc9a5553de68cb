//! `x-kubernetes-validations`: CEL rules.
//!
//! Expressions, and Kubernetes' functions in them, are those of the `kube-cel` crate. What follows
//! `k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel` here: how values look to a rule, which rules run
//! (transition rules need an old value, `optionalOldSelf` binds an optional), where old items are found (map lists),
//! what a failure says, and that failures of unchanged values are dropped.
//! Type checking of rules and cost limits are not modelled.

use std::borrow::Cow;

use serde_json::Value;

use kube_cel::KubeCelExt;
use kube_cel::cel::objects::OptionalValue;
use kube_cel::cel::{Context, Program, Value as Cel};

use super::cause;
use super::cel_depth::Depth;
use super::cel_value;
use super::list_type;
use super::node::{Types, View};
use super::path::Path;
use crate::status::Cause;

/// The compiled rules of one node.
#[derive(Debug)]
pub(crate) struct Rules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    text: String,
    message: String,
    message_expression: Option<Program>,
    reason: String,
    field_path: String,
    optional_old_self: bool,
    program: Result<Program, String>,
    /// The deepest of the rule and the expression of its message.
    depth: Depth,
    uses_old_self: bool,
}

impl Rules {
    /// The rules of a schema node, if it has any.
    pub(super) fn compile(schema: &Value) -> Option<Self> {
        let rules = schema.get("x-kubernetes-validations")?.as_array()?;
        let rules: Vec<Rule> = rules.iter().map(Rule::compile).filter(|rule| !rule.text.is_empty()).collect();
        (!rules.is_empty()).then_some(Self(rules))
    }
}

impl Rule {
    fn compile(rule: &Value) -> Self {
        let text = |key: &str| rule[key].as_str().unwrap_or_default().trim().to_owned();
        let program = compile(&text("rule"));
        let uses_old_self = program.as_ref().is_ok_and(|p| p.references().has_variable("oldSelf"));
        Self {
            text: text("rule"),
            message: text("message"),
            message_expression: compile(&text("messageExpression")).ok(),
            depth: Depth::of(&text("rule")).max(Depth::of(&text("messageExpression"))),
            reason: text("reason"),
            field_path: text("fieldPath"),
            optional_old_self: rule["optionalOldSelf"] == Value::Bool(true),
            program,
            uses_old_self,
        }
    }

    /// The rule in messages about itself.
    fn shown(&self) -> &str {
        if self.message.is_empty() { &self.text } else { &self.message }
    }
}

/// Compiles an expression.
///
/// # Errors
/// What is wrong with it, in the parser's words; one that is too deep is not given to the parser.
pub(super) fn compile(expression: &str) -> Result<Program, String> {
    let depth = Depth::of(expression);
    if depth == Depth::Bottomless {
        return Err("expression recursion limit exceeded".to_owned());
    }
    let expression = without_double_negations(expression);
    depth.run(|| Program::compile(&expression).map_err(|error| error.to_string()))?
}

/// The parser takes an even number of `!` for one; blanks in their place keep the columns of what it says.
fn without_double_negations(expression: &str) -> Cow<'_, str> {
    if !expression.contains("!!") {
        return Cow::Borrowed(expression);
    }
    let (mut plain, mut quote, mut escaped) = (String::with_capacity(expression.len()), None, false);
    for character in expression.chars() {
        match quote {
            None if character == '!' && plain.ends_with('!') => {
                plain.pop();
                plain.push_str("  ");
                continue;
            }
            None if matches!(character, '"' | '\'') => quote = Some(character),
            Some(open) if character == open && !escaped => quote = None,
            _ => {}
        }
        escaped = character == '\\' && !escaped;
        plain.push(character);
    }
    Cow::Owned(plain)
}

/// Why an expression does not compile, in the parser's words.
pub(super) fn syntax_error(expression: &str) -> Option<String> {
    compile(expression).err()
}

/// Whether an expression refers to `oldSelf`.
pub(super) fn uses_old_self(expression: &str) -> bool {
    compile(expression).is_ok_and(|program| program.references().has_variable("oldSelf"))
}

thread_local! {
    // Registering some hundred functions is far dearer than evaluating a rule.
    static FUNCTIONS: Context<'static> = Context::default().with_all();
}

/// Gives an expression the functions it may use.
pub(super) fn with_functions<T>(use_them: impl FnOnce(&Context<'static>) -> T) -> T {
    FUNCTIONS.with(use_them)
}

/// Runs all rules that apply.
pub(super) fn validate(value: &Value, old: Option<&Value>, root: View<'_>) -> Vec<Cause> {
    FUNCTIONS.with(|functions| {
        let mut walk = Walk { functions, causes: Vec::new() };
        walk.node(value, old, root, &Path::Root, old == Some(value));
        walk.causes
    })
}

struct Walk<'c> {
    functions: &'c Context<'static>,
    causes: Vec<Cause>,
}

impl Walk<'_> {
    /// `settled`: the value, or the nearest ancestor that has a counterpart, is unchanged.
    fn node(&mut self, value: &Value, old: Option<&Value>, schema: View<'_>, path: &Path<'_>, settled: bool) {
        if value.is_null() {
            return;
        }
        if let Some(rules) = &schema.node.rules {
            self.rules(&rules.0, value, old, schema, path, settled);
        }
        match value {
            Value::Object(map) => {
                for (key, child) in map {
                    let (property, path) = match schema.property(key) {
                        Some(property) => (property, Path::Field(path, key)),
                        None => match schema.additional() {
                            Some(additional) => (additional, Path::Key(path, key)),
                            None => continue,
                        },
                    };
                    let old = old.and_then(|o| o.get(key));
                    let settled = old.map_or(settled, |old| settled || old == child);
                    self.node(child, old, property, &path, settled);
                }
            }
            Value::Array(items) => {
                let Some(item_schema) = schema.items() else { return };
                let old = old.and_then(Value::as_array);
                for (index, item) in items.iter().enumerate() {
                    let old = old.and_then(|old| list_type::counterpart(&schema.node.list, old, item));
                    let settled = old.map_or(settled, |old| settled || old == item);
                    self.node(item, old, item_schema, &Path::Index(path, index), settled);
                }
            }
            _ => {}
        }
    }

    fn rules(
        &mut self,
        rules: &[Rule],
        value: &Value,
        old: Option<&Value>,
        schema: View<'_>,
        path: &Path<'_>,
        settled: bool,
    ) {
        let old = old.filter(|old| !old.is_null());
        let selves = Selves::of(value, old, schema);
        for rule in rules {
            if rule.uses_old_self && old.is_none() && !rule.optional_old_self {
                continue;
            }
            let cause = if rule.depth == Depth::Shallow {
                rule.judge(self.functions, &selves, value, schema, path)
            } else {
                // Functions and values of its own: they cannot go from one thread to another.
                let judge = || {
                    let selves = Selves::of(value, old, schema);
                    FUNCTIONS.with(|functions| rule.judge(functions, &selves, value, schema, path))
                };
                rule.depth.run(judge).unwrap_or_else(|why| {
                    Some(cause::invalid(path.bracketed(), &Value::from(schema.node.types.names()), &why))
                })
            };
            if let Some(cause) = cause
                && (rule.uses_old_self || !settled)
            {
                self.causes.push(cause);
            }
        }
    }
}

/// What `self` and `oldSelf` stand for.
struct Selves {
    this: Cel,
    old: Option<Cel>,
}

impl Selves {
    fn of(value: &Value, old: Option<&Value>, schema: View<'_>) -> Self {
        let convert = |value| cel_value::convert(value, Some(schema));
        Self { this: convert(value), old: old.map(convert) }
    }
}

impl Rule {
    /// What the rule has against a value.
    fn judge(
        &self,
        functions: &Context<'static>,
        selves: &Selves,
        value: &Value,
        schema: View<'_>,
        path: &Path<'_>,
    ) -> Option<Cause> {
        let mut context = functions.new_inner_scope();
        context.add_variable_from_value("self", selves.this.clone());
        if self.optional_old_self {
            let optional = selves.old.clone().map_or_else(OptionalValue::none, OptionalValue::of);
            context.add_variable_from_value("oldSelf", Cel::Opaque(std::sync::Arc::new(optional)));
        } else if let Some(old) = &selves.old {
            context.add_variable_from_value("oldSelf", old.clone());
        }
        self.failure(&context, value, schema, path)
    }

    fn failure(
        &self,
        context: &Context<'_>,
        value: &Value,
        schema: View<'_>,
        path: &Path<'_>,
    ) -> Option<Cause> {
        let type_name = Value::from(schema.node.types.names());
        let program = match &self.program {
            Ok(program) => program,
            Err(error) => {
                return Some(cause::invalid(
                    path.bracketed(),
                    &type_name,
                    &format!("rule compile error: {error}"),
                ));
            }
        };
        match program.execute(context) {
            Ok(Cel::Bool(true)) => None,
            Ok(_) => Some(self.refusal(context, value, schema, path)),
            Err(error) => {
                let detail = format!("{} evaluating rule: {}", in_go_words(&error), self.shown());
                Some(cause::invalid(path.bracketed(), &type_name, &detail))
            }
        }
    }

    fn refusal(&self, context: &Context<'_>, value: &Value, schema: View<'_>, path: &Path<'_>) -> Cause {
        let said = self.message_expression.as_ref().and_then(|program| match program.execute(context) {
            Ok(Cel::String(text)) => Some(text.trim().to_owned()),
            _ => None,
        });
        let said = said.filter(|text| !text.is_empty() && !text.contains('\n')).unwrap_or_else(|| {
            if self.message.is_empty() { format!("failed rule: {}", self.text) } else { self.message.clone() }
        });
        let at = match (self.field_path.trim_start_matches('.'), path) {
            ("", _) => path.bracketed(),
            (field, Path::Root) => field.to_owned(),
            (field, _) => format!("{}.{field}", path.bracketed()),
        };
        let compound = schema.node.types == Types::OBJECT || schema.node.types == Types::ARRAY;
        match self.reason.as_str() {
            "FieldValueForbidden" => cause::forbidden(at, &said),
            "FieldValueRequired" => cause::required(at, &said),
            "FieldValueDuplicate" if compound => {
                Cause::new("FieldValueDuplicate", at, format!("Duplicate value: {said}"))
            }
            "FieldValueDuplicate" => {
                let mut duplicate = cause::duplicate(at, value);
                duplicate.message = format!("{}: {said}", duplicate.message);
                duplicate
            }
            _ if compound => cause::invalid_omitted(at, &said),
            _ => cause::invalid(at, value, &said),
        }
    }
}

/// The commonest runtime errors, as cel-go words them.
pub(super) fn in_go_words(error: &kube_cel::cel::ExecutionError) -> String {
    match error {
        kube_cel::cel::ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        kube_cel::cel::ExecutionError::NoSuchOverload => "no such overload".into(),
        kube_cel::cel::ExecutionError::DivisionByZero(_) => "division by zero".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_negations_are_none() {
        for (expression, plain) in [
            ("!!a && !b", "  a && !b"),
            ("!!!a", "  !a"),
            ("a == '!!' || !!b", "a == '!!' ||   b"),
            (r"a == '\'!!' || !!b", r"a == '\'!!' ||   b"),
        ] {
            assert_eq!(without_double_negations(expression), plain);
        }
    }
}
