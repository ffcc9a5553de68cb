//! Content negotiation: which form of an answer a client accepts.

use crate::status::Status;

/// The form of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Shape {
    /// The object itself.
    #[default]
    Whole,
    /// `as=Table`, of meta.k8s.io version v1 or v1beta1.
    Table(TableVersion),
    /// `as=PartialObjectMetadata`: of one object, and of each in a watch.
    Metadata,
    /// `as=PartialObjectMetadataList`: of a list.
    MetadataList,
}

/// Version of a Table answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum TableVersion {
    #[default]
    V1,
    V1beta1,
}

/// The encoding of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Encoding {
    #[default]
    Json,
    Yaml,
}

/// What the client accepts, resolved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Accept {
    pub(super) shape: Shape,
    pub(super) encoding: Encoding,
}

/// Version of aggregated discovery a client accepts first, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Discovery {
    Legacy,
    V2,
    V2beta1,
}

/// One entry of an `Accept` header.
struct Clause<'a> {
    media_type: &'a str,
    params: Vec<(&'a str, &'a str)>,
}

impl Clause<'_> {
    fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
    }

    fn encoding(&self) -> Option<Encoding> {
        match self.media_type {
            "*/*" | "application/*" | "application/json" => Some(Encoding::Json),
            "application/yaml" => Some(Encoding::Yaml),
            _ => None,
        }
    }
}

/// Entries in the client's order of preference: by `q`, then as written.
fn clauses(header: &str) -> Vec<Clause<'_>> {
    let mut clauses: Vec<(u32, Clause<'_>)> = header
        .split(',')
        .filter_map(|entry| {
            let mut parts = entry.split(';').map(str::trim);
            let media_type = parts.next().filter(|name| !name.is_empty())?;
            let params: Vec<_> = parts.filter_map(|param| param.split_once('=')).collect();
            let weight = params
                .iter()
                .find(|(key, _)| *key == "q")
                .and_then(|(_, q)| q.parse::<f64>().ok())
                .unwrap_or(1.0);
            Some(((weight * 1000.0) as u32, Clause { media_type, params }))
        })
        .collect();
    clauses.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    clauses.into_iter().map(|(_, clause)| clause).collect()
}

/// Resolves an `Accept` header; none or an empty one means JSON.
///
/// # Errors
/// 406 where nothing on offer is accepted.
pub(super) fn accept(header: &str) -> Result<Accept, Status> {
    if header.trim().is_empty() {
        return Ok(Accept::default());
    }
    let clauses = clauses(header);
    // The router in front of the API knows whole media types and the one pattern for all.
    let offered = |name: &str| name == "*/*" || OFFERED.split(", ").any(|offered| offered == name);
    if !clauses.iter().any(|clause| offered(clause.media_type)) {
        return Err(Status::generic(
            406,
            "NotAcceptable",
            format!("406: Not Acceptable\n\nAvailable representations: {OFFERED}"),
        ));
    }
    for clause in clauses {
        let Some(encoding) = clause.encoding() else { continue };
        let shape = match (clause.param("as"), clause.param("g"), clause.param("v")) {
            ("", _, _) => Shape::Whole,
            ("Table", "meta.k8s.io", "v1") => Shape::Table(TableVersion::V1),
            ("Table", "meta.k8s.io", "v1beta1") => Shape::Table(TableVersion::V1beta1),
            ("PartialObjectMetadata", "meta.k8s.io", "v1" | "v1beta1") => Shape::Metadata,
            ("PartialObjectMetadataList", "meta.k8s.io", "v1" | "v1beta1") => Shape::MetadataList,
            _ => continue,
        };
        return Ok(Accept { shape, encoding });
    }
    Err(not_acceptable())
}

fn not_acceptable() -> Status {
    Status::new(406, "NotAcceptable", format!("only the following media types are accepted: {OFFERED}"))
}

/// The encoding for a Status, which is sent even where nothing acceptable is on offer.
pub(super) fn encoding(header: &str) -> Encoding {
    accept(header).map(|accept| accept.encoding).unwrap_or_default()
}

const OFFERED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// Which discovery document a client wants from `/api` and `/apis`.
///
/// # Errors
/// 406 where nothing on offer is accepted; `v2beta1` is on offer only if `beta`.
pub(super) fn discovery(header: &str, beta: bool) -> Result<Discovery, Status> {
    for clause in clauses(header) {
        let aggregated =
            clause.param("g") == "apidiscovery.k8s.io" && clause.param("as") == "APIGroupDiscoveryList";
        match (clause.encoding(), aggregated, clause.param("v")) {
            (Some(_), true, "v2") => return Ok(Discovery::V2),
            (Some(_), true, "v2beta1") if beta => return Ok(Discovery::V2beta1),
            (Some(_), false, _) => return Ok(Discovery::Legacy),
            _ => {}
        }
    }
    if header.trim().is_empty() { Ok(Discovery::Legacy) } else { Err(not_acceptable()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubectl_gets_tables_and_falls_back_to_json() {
        let header = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(accept(header).unwrap().shape, Shape::Table(TableVersion::V1));
        assert_eq!(
            accept("application/json;as=Other;g=x;v=v1, application/json").unwrap(),
            Accept::default()
        );
        assert_eq!(accept("").unwrap(), Accept::default());
        assert_eq!(accept("*/*").unwrap(), Accept::default());
    }

    #[test]
    fn protobuf_clients_get_json_if_they_accept_it() {
        assert_eq!(
            accept("application/vnd.kubernetes.protobuf,application/json").unwrap(),
            Accept::default()
        );
        assert_eq!(accept("application/vnd.kubernetes.protobuf").unwrap_err().code, 406);
        assert_eq!(accept("application/yaml").unwrap().encoding, Encoding::Yaml);
    }

    #[test]
    fn discovery_is_answered_in_the_first_version_the_client_names() {
        let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let v2beta1 = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
        assert_eq!(discovery(&format!("{v2},{v2beta1},application/json"), true).unwrap(), Discovery::V2);
        assert_eq!(discovery(&format!("{v2beta1},application/json"), true).unwrap(), Discovery::V2beta1);
        assert_eq!(discovery(&format!("{v2beta1},application/json"), false).unwrap(), Discovery::Legacy);
        assert_eq!(discovery(v2beta1, false).unwrap_err().code, 406);
        assert_eq!(discovery("", false).unwrap(), Discovery::Legacy);
    }
}
