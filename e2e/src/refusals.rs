//! Rights that an operator lacked, as its log and the API server tell.

use anyhow::{Context, Result, bail};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, LogParams, PostParams};

use crate::chart::OPERATOR_LABELS;
use crate::stage::Stage;

/// Who was refused what, as the API server says it to a client.
#[derive(Debug, PartialEq)]
struct Refusal {
    user: String,
    attributes: ResourceAttributes,
}

impl Stage {
    /// No operator here was refused anything for want of a right, as far as their logs tell.
    ///
    /// The API server is asked again about each refusal: one that has just started refuses everybody until it has read the
    /// roles.
    ///
    /// # Errors
    /// Quotes what is refused.
    pub async fn nothing_was_refused(&self) -> Result<()> {
        let pods = self.api::<Pod>();
        for pod in pods.list(&ListParams::default().labels(OPERATOR_LABELS)).await? {
            let name = pod.metadata.name.unwrap_or_default();
            let log = pods.logs(&name, &LogParams::default()).await?;
            for line in log.lines().filter(|line| line.contains("forbidden: User")) {
                let refusal =
                    Refusal::read(line).with_context(|| format!("a refusal of an unknown form: {line}"))?;
                if self.refuses(refusal).await? {
                    bail!("the operator lacks a right: {line}");
                }
            }
        }
        Ok(())
    }

    async fn refuses(&self, refusal: Refusal) -> Result<bool> {
        let spec = SubjectAccessReviewSpec {
            user: Some(refusal.user),
            resource_attributes: Some(refusal.attributes),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let reviews = Api::<SubjectAccessReview>::all(self.client.clone());
        let answer = reviews.create(&PostParams::default(), &review).await?;
        Ok(!answer.status.is_some_and(|status| status.allowed))
    }
}

impl Refusal {
    /// From `… User "U" cannot VERB resource "R" in API group "G" in the namespace "N"`, or `… at the cluster scope`.
    fn read(line: &str) -> Option<Self> {
        // A message within a message has its quotation marks escaped.
        let line = line.replace("\\\"", "\"");
        let (_, rest) = line.split_once("User \"")?;
        let (user, rest) = rest.split_once("\" cannot ")?;
        let (verb, rest) = rest.split_once(" resource \"")?;
        let (resource, rest) = rest.split_once("\" in API group \"")?;
        let (group, rest) = rest.split_once('"')?;
        let namespace = rest.strip_prefix(" in the namespace \"").and_then(|rest| rest.split_once('"'));
        let (resource, subresource) =
            resource.split_once('/').map_or((resource, None), |(resource, sub)| (resource, Some(sub)));
        Some(Self {
            user: user.to_owned(),
            attributes: ResourceAttributes {
                verb: Some(verb.to_owned()),
                group: Some(group.to_owned()),
                resource: Some(resource.to_owned()),
                subresource: subresource.map(str::to_owned),
                namespace: namespace.map(|(namespace, _)| namespace.to_owned()),
                ..ResourceAttributes::default()
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, [verb, group, resource, subresource, namespace]: [&str; 5]) {
        let refusal = Refusal::read(line).unwrap();
        assert_eq!(refusal.user, "system:serviceaccount:team:dask");
        let of = refusal.attributes;
        let read = [of.verb, of.group, of.resource, of.subresource, of.namespace];
        assert_eq!(read.map(Option::unwrap_or_default), [verb, group, resource, subresource, namespace]);
    }

    #[test]
    fn a_refusal_says_who_was_refused_what() {
        check(
            r#"deployments.apps is forbidden: User "system:serviceaccount:team:dask" cannot watch resource "deployments" in API group "apps" in the namespace "team"; grant the operator this right"#,
            ["watch", "apps", "deployments", "", "team"],
        );
        check(
            r#"Status { message: "pods \"a\" is forbidden: User \"system:serviceaccount:team:dask\" cannot get resource \"pods/log\" in API group \"\" at the cluster scope" }"#,
            ["get", "", "pods", "log", ""],
        );
        assert_eq!(Refusal::read("pods is forbidden: exceeded quota"), None);
    }
}
