//! The policies that are in force, and their bindings.

use serde_json::Value;

use super::super::matching::{GROUP, Matching};
use crate::schema::{CelValue, Expression, Variables};
use crate::storage::{Collection, GroupResource, LabelSelector, Storage};

const POLICIES: GroupResource = GroupResource::new(GROUP, "validatingadmissionpolicies");
const BINDINGS: GroupResource = GroupResource::new(GROUP, "validatingadmissionpolicybindings");

/// All policies that have a binding, by name.
#[derive(Debug, Default)]
pub(in crate::server) struct Policies(pub(super) Vec<Policy>);

/// One policy.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) name: String,
    pub(super) ignores_failures: bool,
    /// `apiVersion` and `kind` of its parameters.
    pub(super) param_kind: Option<(String, String)>,
    pub(super) matching: Matching,
    pub(super) bindings: Vec<Binding>,
    pub(super) validations: Vec<Validation>,
    conditions: Vec<Expression>,
    variables: Vec<(String, Expression)>,
}

/// One rule.
#[derive(Debug)]
pub(super) struct Validation {
    pub(super) expression: Expression,
    pub(super) message: String,
    pub(super) message_expression: Option<Expression>,
    pub(super) reason: String,
}

/// One binding.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) name: String,
    pub(super) matching: Matching,
    pub(super) actions: Vec<Action>,
    pub(super) params: Option<ParamRef>,
}

/// What a broken rule leads to. Audit annotations have no log to go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Deny,
    Warn,
}

/// Which objects a binding gives its policy.
#[derive(Debug)]
pub(super) struct ParamRef {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) selector: Option<LabelSelector>,
    /// Without any the request is refused; otherwise the policy has nothing to say.
    pub(super) must_exist: bool,
}

impl Policies {
    /// What is set up now.
    pub(in crate::server) fn read(storage: &Storage) -> Self {
        let all = |resource: &GroupResource| -> Vec<Value> {
            let objects = storage.collection(resource).into_iter().flat_map(Collection::iter);
            objects.map(|object| object.value()).collect()
        };
        let bindings = all(&BINDINGS);
        let bound = all(&POLICIES).into_iter().filter_map(|policy| {
            let mine = bindings.iter().filter(|b| b["spec"]["policyName"] == policy["metadata"]["name"]);
            let bindings: Vec<Binding> = mine.map(Binding::read).collect();
            (!bindings.is_empty()).then(|| Policy::read(&policy, bindings))
        });
        Self(bound.collect())
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

impl Policy {
    fn read(policy: &Value, bindings: Vec<Binding>) -> Self {
        let spec = &policy["spec"];
        let constraints = &spec["matchConstraints"];
        let compiled = |value: &Value| Expression::compile(value["expression"].as_str().unwrap_or_default());
        let validation = |rule: &Value| Validation {
            expression: compiled(rule),
            message: text(&rule["message"]).trim().to_owned(),
            message_expression: rule["messageExpression"].as_str().map(Expression::compile),
            reason: text(&rule["reason"]),
        };
        let kind = &spec["paramKind"];
        Self {
            name: text(&policy["metadata"]["name"]),
            ignores_failures: spec["failurePolicy"] == "Ignore",
            param_kind: kind.is_object().then(|| (text(&kind["apiVersion"]), text(&kind["kind"]))),
            matching: Matching::read(
                &constraints["resourceRules"],
                &constraints["excludeResourceRules"],
                constraints,
            ),
            bindings,
            validations: items(&spec["validations"]).map(validation).collect(),
            conditions: items(&spec["matchConditions"]).map(compiled).collect(),
            variables: items(&spec["variables"]).map(|v| (text(&v["name"]), compiled(v))).collect(),
        }
    }

    /// Whether the match conditions hold.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub(super) fn applies(&self, variables: &Variables) -> Result<bool, String> {
        let mut errors = Vec::new();
        for condition in &self.conditions {
            match condition.holds(variables) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(why) => {
                    errors.push(format!("expression '{}' resulted in error: {why}", condition.text()));
                }
            }
        }
        if errors.is_empty() { Ok(true) } else { Err(crate::server::admission::aggregate(&errors)) }
    }

    /// Adds `variables`; those that cannot be evaluated fail the rules that speak of them: their names, and why.
    pub(super) fn add_variables(&self, variables: &mut Variables) -> Vec<(String, String)> {
        let mut known: Vec<(String, CelValue)> = Vec::new();
        let mut faulty = Vec::new();
        for (name, expression) in &self.variables {
            let mut here = variables.clone();
            here.push(("variables", CelValue::map(known.clone())));
            match expression.evaluate(&here) {
                Ok(value) => known.push((name.clone(), value)),
                Err(why) => faulty.push((name.clone(), why)),
            }
        }
        variables.push(("variables", CelValue::map(known)));
        faulty
    }
}

impl Binding {
    fn read(binding: &Value) -> Self {
        let spec = &binding["spec"];
        let resources = &spec["matchResources"];
        let reference = &spec["paramRef"];
        let action = |name: &Value| match name.as_str() {
            Some("Deny") => Some(Action::Deny),
            Some("Warn") => Some(Action::Warn),
            _ => None,
        };
        Self {
            name: text(&binding["metadata"]["name"]),
            matching: Matching::read(
                &resources["resourceRules"],
                &resources["excludeResourceRules"],
                resources,
            ),
            actions: items(&spec["validationActions"]).filter_map(action).collect(),
            params: reference.is_object().then(|| ParamRef {
                name: text(&reference["name"]),
                namespace: text(&reference["namespace"]),
                selector: LabelSelector::from_object(&reference["selector"]),
                must_exist: reference["parameterNotFoundAction"] != "Allow",
            }),
        }
    }
}
