//! ValidatingAdmissionPolicy: rules in CEL about what is written, set in force by bindings.
//!
//! | file | what it is |
//! |---|---|
//! | [`definition`] | the policies and bindings that are set up |
//! | [`params`] | the objects a binding gives its policy to compare with |
//!
//! Follows `k8s.io/apiserver/pkg/admission/plugin/policy/validating`.

mod definition;
mod params;

use std::sync::Arc;

use serde_json::Value;

pub(in crate::server) use definition::Policies;

use super::Operation;
use super::webhook::Question;
use crate::registry::Resource;
use crate::request::Verb;
use crate::schema::{CelValue, Variables};
use crate::server::call::Call;
use crate::server::{ApiServer, NAMESPACES, convert};
use crate::status::{Cause, Status};
use crate::storage::Key;
use definition::{Action, Binding, Policy, Validation};

/// A rule that does not hold, or that could not be evaluated.
struct Broken {
    message: String,
    /// Of the refusal; empty for the usual one.
    reason: String,
}

impl ApiServer {
    /// Whether any policy is in force.
    pub(in crate::server) fn has_policies(&self) -> bool {
        !self.policies.0.is_empty()
    }

    /// What the policies have against a write; the texts are warnings.
    ///
    /// # Errors
    /// The first refusal.
    pub(in crate::server) fn validate_by_policies(
        &self,
        call: &Call<'_>,
        operation: Operation,
        value: Option<&Value>,
        old: Option<&Value>,
    ) -> Result<Vec<String>, Status> {
        let mut warnings = Vec::new();
        if self.policies.0.is_empty() {
            return Ok(warnings);
        }
        let policies = Arc::clone(&self.policies);
        let name = name_of(call, value.or(old));
        for policy in &policies.0 {
            let Some(resource) = policy.matching.resource(&self.registry, call, operation, &name) else {
                continue;
            };
            if !policy.matching.selects(&self.storage, call, value, old) {
                continue;
            }
            for binding in &policy.bindings {
                let bound = !binding.matching.has_rules()
                    || binding.matching.resource(&self.registry, call, operation, &name).is_some();
                if !bound || !binding.matching.selects(&self.storage, call, value, old) {
                    continue;
                }
                let variables = self.policy_variables(call, &resource, operation, value, old);
                for broken in self.broken_rules(call, policy, binding, &variables) {
                    act(call, &name, (policy, binding), &broken, &mut warnings)?;
                }
            }
        }
        Ok(warnings)
    }

    /// The rules that do not hold, for any of the binding's parameters.
    fn broken_rules(
        &self,
        call: &Call<'_>,
        policy: &Policy,
        binding: &Binding,
        variables: &Variables,
    ) -> Vec<Broken> {
        let failure = |message: String| {
            if policy.ignores_failures { Vec::new() } else { vec![Broken { message, reason: String::new() }] }
        };
        let found = match self.params_of(call, policy, binding) {
            Ok(found) => found,
            Err(why) => return failure(why),
        };
        let mut broken = Vec::new();
        for params in found {
            let mut variables = variables.clone();
            variables.push(("params", params));
            match policy.applies(&variables) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(why) => {
                    broken.extend(failure(why));
                    continue;
                }
            }
            let faulty = policy.add_variables(&mut variables);
            for validation in &policy.validations {
                match validation.broken(&variables, &faulty) {
                    Ok(None) => {}
                    Ok(Some(rule)) => broken.push(rule),
                    Err(why) => broken.extend(failure(why)),
                }
            }
        }
        broken
    }

    fn policy_variables(
        &self,
        call: &Call<'_>,
        resource: &Arc<Resource>,
        operation: Operation,
        value: Option<&Value>,
        old: Option<&Value>,
    ) -> Variables {
        let shown = |value: &Value| {
            let mut shown = value.clone();
            convert::from_storage(resource, &mut shown);
            shown
        };
        let (object, old) = (value.map(shown).unwrap_or_default(), old.map(shown).unwrap_or_default());
        let schema = resource.schema().map(AsRef::as_ref);
        let (object_value, old_value) = (CelValue::new(&object, schema), CelValue::new(&old, schema));
        let question =
            Question { call, resource, operation, object: Value::Null, old: Value::Null, mutates: false };
        let namespaces = self.registry.get("", "v1", "namespaces");
        let namespace = call
            .resource
            .namespaced
            .then(|| self.storage.get(&NAMESPACES, &Key::new("", call.namespace())))
            .flatten()
            .map_or(Value::Null, |namespace| namespace.value());
        let of_namespaces = namespaces.and_then(|resource| resource.schema()).map(AsRef::as_ref);
        vec![
            ("object", object_value),
            ("oldObject", old_value),
            ("request", CelValue::new(&question.request(), None)),
            ("namespaceObject", CelValue::new(&namespace, of_namespaces)),
        ]
    }
}

/// Refuses, or warns.
fn act(
    call: &Call<'_>,
    name: &str,
    (policy, binding): (&Policy, &Binding),
    broken: &Broken,
    warnings: &mut Vec<String>,
) -> Result<(), Status> {
    for action in &binding.actions {
        match action {
            Action::Deny => {
                let message = format!(
                    "ValidatingAdmissionPolicy '{}' with binding '{}' denied request: {}",
                    policy.name, binding.name, broken.message
                );
                return Err(refusal(call, name, &message, &broken.reason));
            }
            Action::Warn => warnings.push(format!(
                "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {}",
                policy.name, binding.name, broken.message
            )),
        }
    }
    Ok(())
}

impl Validation {
    /// What is said if the rule does not hold.
    ///
    /// # Errors
    /// Why that cannot be told.
    fn broken(&self, variables: &Variables, faulty: &[(String, String)]) -> Result<Option<Broken>, String> {
        let text = self.expression.text();
        let error = |why: &str| format!("expression '{text}' resulted in error: {why}");
        if let Some((name, why)) = faulty.iter().find(|(name, _)| self.expression.mentions(name)) {
            return Err(error(&format!("composited variable {name:?} fails to evaluate: {why}")));
        }
        if self.expression.holds(variables).map_err(|why| error(&why))? {
            return Ok(None);
        }
        let said = self.message_expression.as_ref().and_then(|expression| {
            let said = expression.evaluate(variables).ok()?.as_text()?.trim().to_owned();
            (!said.is_empty() && !said.contains('\n')).then_some(said)
        });
        let said = said.or_else(|| (!self.message.is_empty()).then(|| self.message.clone()));
        let message = said.unwrap_or_else(|| format!("failed expression: {text}"));
        Ok(Some(Broken { message, reason: self.reason.clone() }))
    }
}

/// The name of what is written, as the request has it.
fn name_of(call: &Call<'_>, value: Option<&Value>) -> String {
    let asked = call.request.name.clone().filter(|name| !name.is_empty());
    // The deletion of a collection names nobody.
    let made = value.filter(|_| call.request.verb != Verb::DeleteCollection);
    let made = || Some(made?["metadata"]["name"].as_str()?.to_owned());
    asked.or_else(made).unwrap_or_else(|| "Unknown".to_owned())
}

fn refusal(call: &Call<'_>, name: &str, message: &str, reason: &str) -> Status {
    let mut status = call.forbidden(name, message);
    (status.reason, status.code) = match reason {
        "Forbidden" => ("Forbidden", 403),
        "Unauthorized" => ("Unauthorized", 401),
        "RequestEntityTooLarge" => ("RequestEntityTooLarge", 413),
        _ => ("Invalid", 422),
    };
    status.details.causes.push(Cause::new("", "", message));
    status
}
