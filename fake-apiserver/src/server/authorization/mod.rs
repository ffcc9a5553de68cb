//! Who may do what: role-based access control, as `plugin/pkg/auth/authorizer/rbac` of Kubernetes decides it.
//!
//! | file | what it is |
//! |---|---|
//! | [`attributes`] | what is asked: user, verb, and a resource or a path |
//! | [`rule`] | one rule of a role: what it allows, what it covers |
//! | [`policy`] | roles and bindings, kept as they are written; the decision |
//! | [`escalation`] | nobody grants what they do not have |
//! | [`impersonation`] | being somebody else |
//! | [`defaults`] | the roles and bindings every cluster begins with |
//!
//! Without [`Config::rbac`](super::Config::rbac) everything is allowed, as with `--authorization-mode=AlwaysAllow`.

mod attributes;
mod defaults;
mod escalation;
mod impersonation;
mod policy;
mod rule;

use serde_json::Value;

pub use attributes::{Attributes, Target};
pub(super) use defaults::objects as default_objects;
pub use impersonation::Impersonation;
pub(super) use policy::Policy;
pub(super) use rule::Rule;

use super::ApiServer;
use crate::request::{Request, User};
use crate::status::Status;
use crate::storage::Stored;

/// API group of roles and bindings.
const GROUP: &str = "rbac.authorization.k8s.io";
/// Members of this group may do everything, whatever roles say.
const MASTERS: &str = "system:masters";

/// What was decided, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may be done.
    pub allowed: bool,
    /// Which binding allows it; or what went wrong while looking.
    pub reason: String,
}

impl ApiServer {
    /// Whether a request may be made.
    ///
    /// # Errors
    /// 403 in the words of the real server.
    pub fn authorize(&self, request: &Request) -> Result<(), Status> {
        if !self.config.rbac || is_master(&request.user) {
            return Ok(());
        }
        self.permit(&Attributes::of(request))
    }

    /// Whether a path that is no resource may be read; `method` is the HTTP method.
    ///
    /// # Errors
    /// 403 in the words of the real server.
    pub fn authorize_path(&self, user: &User, method: &str, path: &str) -> Result<(), Status> {
        self.permit(&Attributes::path(user, &method.to_ascii_lowercase(), path))
    }

    /// What is decided about any question.
    pub fn decide(&self, attributes: &Attributes<'_>) -> Decision {
        if !self.config.rbac || is_master(attributes.user) {
            return Decision { allowed: true, reason: String::new() };
        }
        self.policy.decide(attributes)
    }

    /// Keeps the policy up to date with what is stored.
    pub(super) fn role_written(&mut self, object: &Stored, value: &Value, kind: &str) {
        if self.config.rbac {
            self.policy.put(kind, &object.key, value);
        }
    }

    /// A role or binding is gone.
    pub(super) fn role_removed(&mut self, object: &Stored, kind: &str) {
        self.policy.remove(kind, &object.key);
    }

    /// What a user may do in a namespace, and whether all of it could be found out.
    pub(super) fn rules_of(&self, user: &User, namespace: &str) -> (Vec<Rule>, Vec<String>) {
        if self.config.rbac {
            self.policy.rules_of(user, namespace)
        } else {
            (Rule::everything(), Vec::new())
        }
    }

    fn permit(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        let decision = self.decide(attributes);
        if decision.allowed { Ok(()) } else { Err(attributes.forbidden(&decision.reason)) }
    }
}

fn is_master(user: &User) -> bool {
    user.groups.iter().any(|group| group == MASTERS)
}

/// Namespace and name of the account a user name means.
pub(super) fn service_account(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix("system:serviceaccount:")?.split_once(':').filter(|(_, name)| !name.contains(':'))
}
