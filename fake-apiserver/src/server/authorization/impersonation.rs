//! Being somebody else (`Impersonate-*` headers).
//!
//! Follows `k8s.io/apiserver/pkg/endpoints/filters/impersonation`: since 1.36 the constrained modes (KEP-5284) are tried
//! first, each with its own verbs, then the verb `impersonate` alone; the refusal is the first one's.

use std::collections::BTreeMap;

use super::attributes::{Attributes, Target};
use super::{MASTERS, service_account};
use crate::request::User;
use crate::server::ApiServer;
use crate::status::Status;

/// Groups of nodes and of the two halves of all users.
const NODES: &str = "system:nodes";
const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";
/// So many groups or extra values are first asked for all at once.
const MANY: usize = 4;

/// Who a request wants to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Impersonation {
    /// `Impersonate-User`.
    pub user: String,
    /// `Impersonate-Uid`.
    pub uid: String,
    /// `Impersonate-Group`, each.
    pub groups: Vec<String>,
    /// `Impersonate-Extra-<key>`, each.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Impersonation {
    fn only_user(&self) -> bool {
        self.uid.is_empty() && self.groups.is_empty() && self.extra.is_empty()
    }

    fn node(&self) -> Option<&str> {
        self.user.strip_prefix("system:node:").filter(|node| !node.is_empty())
    }
}

/// A way of being somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// A pod's account that is the pod's node.
    AssociatedNode,
    ArbitraryNode,
    ServiceAccount,
    UserInfo,
    /// The verb `impersonate`, whatever is done.
    Legacy,
}

impl Mode {
    const ALL: [Self; 5] =
        [Self::AssociatedNode, Self::ArbitraryNode, Self::ServiceAccount, Self::UserInfo, Self::Legacy];

    fn name(self) -> &'static str {
        match self {
            Self::AssociatedNode => "associated-node",
            Self::ArbitraryNode => "arbitrary-node",
            Self::ServiceAccount => "serviceaccount",
            Self::UserInfo => "user-info",
            Self::Legacy => "",
        }
    }

    /// Whether this mode is for such a wish.
    fn is_for(self, who: &User, wanted: &Impersonation) -> bool {
        let account = service_account(&wanted.user).is_some();
        match self {
            Self::AssociatedNode => {
                let own = who.extra.get("authentication.kubernetes.io/node-name").and_then(|own| own.first());
                let is_account = service_account(&who.name).is_some();
                wanted.only_user() && is_account && own.is_some() && own.map(String::as_str) == wanted.node()
            }
            Self::ArbitraryNode => wanted.only_user() && wanted.node().is_some(),
            Self::ServiceAccount => wanted.only_user() && account,
            Self::UserInfo => wanted.node().is_none() && !account,
            Self::Legacy => true,
        }
    }
}

impl ApiServer {
    /// The identity a request takes on with `Impersonate-*` headers; `asked` is the request as its own user makes it.
    ///
    /// # Errors
    /// 403 when the user may not be somebody else, in the words of the real server.
    pub fn impersonate(&self, asked: &Attributes<'_>, wanted: &Impersonation) -> Result<User, Status> {
        let mut first = None;
        for mode in Mode::ALL.into_iter().filter(|mode| mode.is_for(asked.user, wanted)) {
            match self.impersonate_by(mode, asked, wanted) {
                Ok(user) => return Ok(user),
                Err(status) => drop(first.get_or_insert(status)),
            }
        }
        Err(first.unwrap_or_else(|| Status::internal("all impersonation modes failed")))
    }

    fn impersonate_by(
        &self,
        mode: Mode,
        asked: &Attributes<'_>,
        wanted: &Impersonation,
    ) -> Result<User, Status> {
        let constrained = mode != Mode::Legacy;
        if constrained {
            let verb = format!("impersonate-on:{}:{}", mode.name(), asked.verb);
            self.permit(&Attributes { verb, ..asked.clone() })?;
        }
        let verb =
            if constrained { format!("impersonate:{}", mode.name()) } else { "impersonate".to_owned() };
        let own_group = if constrained { "authentication.k8s.io" } else { "" };
        let question =
            |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| Attributes {
                user: asked.user,
                verb: verb.clone(),
                target: Target::Resource {
                    group: group.into(),
                    resource: resource.into(),
                    subresource: subresource.into(),
                    namespace: namespace.into(),
                    name: name.into(),
                },
            };
        let mut groups = wanted.groups.clone();
        match (service_account(&wanted.user), wanted.node().filter(|_| constrained)) {
            (Some((namespace, name)), _) => {
                if groups.is_empty() {
                    groups =
                        vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")];
                }
                self.permit(&question(own_group, "serviceaccounts", "", namespace, name))?;
            }
            (None, Some(node)) => {
                groups = vec![NODES.into()];
                let name = if mode == Mode::AssociatedNode { "*" } else { node };
                self.permit(&question(own_group, "nodes", "", "", name))?;
            }
            (None, None) => self.permit(&question(own_group, "users", "", "", &wanted.user))?,
        }
        if !wanted.uid.is_empty() {
            self.permit(&question("authentication.k8s.io", "uids", "", "", &wanted.uid))?;
        }
        if constrained {
            if wanted.groups.iter().any(String::is_empty) {
                let why = "impersonating the empty string group is not allowed";
                return Err(question(own_group, "groups", "", "", "").forbidden(why));
            }
            if wanted.groups.iter().any(|group| group == MASTERS) {
                let why = "impersonating the system:masters group is not allowed";
                return Err(question(own_group, "groups", "", "", MASTERS).forbidden(why));
            }
        }
        let all = |group: &str, resource: &str, subresource: &str| {
            self.decide(&question(group, resource, subresource, "", "*")).allowed
        };
        if !(constrained && wanted.groups.len() >= MANY && all(own_group, "groups", "")) {
            for group in &wanted.groups {
                self.permit(&question(own_group, "groups", "", "", group))?;
            }
        }
        let values =
            wanted.extra.iter().flat_map(|(key, values)| values.iter().map(move |value| (key, value)));
        let many = wanted.extra.len() >= MANY || values.clone().count() >= MANY;
        if !(constrained && many && all("authentication.k8s.io", "userextras", "*")) {
            for (key, value) in values {
                self.permit(&question("authentication.k8s.io", "userextras", key, "", value))?;
            }
        }
        let mut ensure = |group: &str| {
            if !groups.iter().any(|known| known == group) {
                groups.push(group.into());
            }
        };
        if wanted.user == User::ANONYMOUS {
            ensure(UNAUTHENTICATED);
        } else if !wanted.groups.iter().any(|group| group == UNAUTHENTICATED) {
            ensure(AUTHENTICATED);
        }
        Ok(User {
            name: wanted.user.clone(),
            uid: wanted.uid.clone(),
            groups,
            extra: wanted.extra.clone(),
            agent: asked.user.agent.clone(),
        })
    }
}
