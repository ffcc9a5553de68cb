//! A CEL expression of admission: over objects of known kinds, and over values nothing is known of.

use kube_cel::cel::{Program, Value as Cel};
use serde_json::Value;

use super::cel_depth::Depth;
use super::{Schema, cel, cel_value};

/// A compiled expression.
#[derive(Debug)]
pub(crate) struct Expression {
    text: String,
    depth: Depth,
    program: Result<Program, String>,
}

/// What an expression is about: a name, and what it stands for.
pub(crate) type Variables = Vec<(&'static str, CelValue)>;

/// A value as expressions see it.
#[derive(Clone, Debug)]
pub(crate) struct CelValue(Cel);

impl CelValue {
    /// A value; under a schema, times and bytes have types of their own.
    pub(crate) fn new(value: &Value, schema: Option<&Schema>) -> Self {
        Self(cel_value::convert(value, schema.and_then(Schema::root)))
    }

    /// Values by name, as `variables` has them.
    pub(crate) fn map(members: impl IntoIterator<Item = (String, CelValue)>) -> Self {
        Self(cel_value::map(members.into_iter().map(|(name, value)| (name, value.0))))
    }

    /// The boolean it is.
    pub(crate) fn as_bool(&self) -> Option<bool> {
        match self.0 {
            Cel::Bool(on) => Some(on),
            _ => None,
        }
    }

    /// The text it is.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.0 {
            Cel::String(text) => Some(text),
            _ => None,
        }
    }
}

impl Expression {
    /// Compiles an expression; what does not compile fails whenever it is asked.
    pub(crate) fn compile(expression: &str) -> Self {
        // The lines of the expression are shown one blank further to the right in Go.
        let program = cel::compile(expression).map_err(|error| error.replace("\n|", "\n |"));
        Self { text: expression.to_owned(), depth: Depth::of(expression), program }
    }

    /// As it is written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Why it does not compile.
    pub(crate) fn fault(&self) -> Option<&str> {
        self.program.as_ref().err().map(String::as_str)
    }

    /// Whether it speaks of a member of `variables`.
    pub(crate) fn mentions(&self, variable: &str) -> bool {
        let name = format!("variables.{variable}");
        self.text.match_indices(&name).any(|(at, _)| {
            let next = self.text[at + name.len()..].chars().next();
            !next.is_some_and(|next| next.is_alphanumeric() || next == '_')
        })
    }

    /// What it is of these variables.
    ///
    /// # Errors
    /// Why it cannot be told.
    pub(crate) fn evaluate(&self, variables: &Variables) -> Result<CelValue, String> {
        let program = self.program.as_ref().map_err(Clone::clone)?;
        self.depth.run(|| {
            cel::with_functions(|functions| {
                let mut context = functions.new_inner_scope();
                for (name, value) in variables {
                    context.add_variable_from_value(*name, value.0.clone());
                }
                program.execute(&context).map(CelValue).map_err(|error| cel::in_go_words(&error))
            })
        })?
    }

    /// Whether it is true of these variables.
    ///
    /// # Errors
    /// Why it cannot be told.
    pub(crate) fn holds(&self, variables: &Variables) -> Result<bool, String> {
        self.evaluate(variables)?.as_bool().ok_or_else(|| "the result is no boolean".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bottomless_expressions_are_refused_and_deep_ones_do_not_exhaust_the_stack() {
        let sum = |terms: usize| vec!["1"; terms].join("+");
        let brackets = |depth: usize| "(".repeat(depth) + "1" + &")".repeat(depth);
        for refused in [
            sum(50_000),
            brackets(50_000),
            "!".repeat(50_000) + "true",
            "[".repeat(5_000),
            "a.".repeat(9_000) + "a",
        ] {
            let fault = Expression::compile(&refused).fault().map(str::to_owned);
            assert_eq!(fault.as_deref(), Some("expression recursion limit exceeded"));
        }
        let holds = |text: String| Expression::compile(&text).holds(&Vec::new());
        for fine in [
            sum(4_000) + " == 4000",
            brackets(90) + " == 1",
            "!".repeat(90) + "true",
            "[".repeat(90) + &"]".repeat(90) + " != []",
            vec!["true"; 1_000].join(" && ") + " || false",
            vec!["false"; 1_000].join(" || ") + " || true",
        ] {
            assert_eq!(holds(fine.clone()), Ok(true), "{fine:.40}");
        }
        assert!(holds("{}".to_owned() + &".a".repeat(4_000)).is_err());
    }

    #[test]
    fn labels_are_found_by_the_names_they_have() {
        let registry = crate::registry::Registry::built_in();
        let schema = registry.get("", "v1", "pods").and_then(|pods| pods.schema()).cloned();
        let pod = json!({"metadata": {"labels": {"example.com/a-b": "x"}}, "spec": {"x": 1}});
        let variables = vec![("object", CelValue::new(&pod, schema.as_deref()))];
        let holds = |text: &str| Expression::compile(text).holds(&variables);
        assert_eq!(holds("object.metadata.labels['example.com/a-b'] == 'x'"), Ok(true));
        assert_eq!(holds("object.metadata.labels.absent == 'x'"), Err("no such key: absent".to_owned()));
        assert!(Expression::compile("variables.ab + 1").mentions("ab"));
        assert!(!Expression::compile("variables.abc + 1").mentions("ab"));
    }
}
