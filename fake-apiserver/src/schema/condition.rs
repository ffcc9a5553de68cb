//! A CEL expression over values without a schema: conditions of webhooks.

use kube_cel::cel::{Program, Value as Cel};
use serde_json::Value;

use super::{cel, cel_value};

/// A compiled condition.
#[derive(Debug)]
pub struct Condition(Result<Program, String>);

impl Condition {
    /// Compiles an expression; what does not compile fails whenever it is asked.
    pub fn compile(expression: &str) -> Self {
        Self(Program::compile(expression).map_err(|error| error.to_string()))
    }

    /// Whether it is true of these variables.
    ///
    /// # Errors
    /// Why it cannot be told.
    pub fn holds(&self, variables: &[(&str, &Value)]) -> Result<bool, String> {
        let program = self.0.as_ref().map_err(Clone::clone)?;
        cel::with_functions(|functions| {
            let mut context = functions.new_inner_scope();
            for (name, value) in variables {
                context.add_variable_from_value(*name, cel_value::convert(value, None));
            }
            match program.execute(&context) {
                Ok(Cel::Bool(holds)) => Ok(holds),
                Ok(_) => Err("the result is no boolean".into()),
                Err(error) => Err(cel::in_go_words(&error)),
            }
        })
    }
}
