//! The endpoints of the service `default/kubernetes`: where the server itself is reached from within the cluster.

use std::net::SocketAddrV4;

use serde_json::{Value, json};

use super::Server;
use crate::request::{Request, User};
use crate::status::Status;

impl Server {
    /// Says in the Endpoints and the EndpointSlice `default/kubernetes` that this server is reached at an address, as every
    /// API server does (`pkg/controlplane/reconcilers` of Kubernetes). It stands behind the service's cluster IP.
    pub fn publish(&self, address: SocketAddrV4) -> Result<(), Status> {
        let (ip, port) = (address.ip().to_string(), address.port());
        let ports = json!([{"name": "https", "port": port, "protocol": "TCP"}]);
        let endpoints = json!({
            "metadata": {"name": "kubernetes", "namespace": "default",
                "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
            "subsets": [{"addresses": [{"ip": ip}], "ports": ports}],
        });
        let slice = json!({
            "metadata": {"name": "kubernetes", "namespace": "default",
                "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "addressType": "IPv4", "ports": ports,
            "endpoints": [{"addresses": [ip], "conditions": {"ready": true}}],
        });
        self.put("v1", "endpoints", endpoints)?;
        self.put("discovery.k8s.io/v1", "endpointslices", slice)
    }

    fn put(&self, api_version: &str, resource: &str, body: Value) -> Result<(), Status> {
        let own = |mut request: Request| {
            request.user = User { agent: "kube-apiserver".into(), ..User::default() };
            request
        };
        match self.request(&own(Request::create(api_version, resource, body.clone()))) {
            Err(status) if status.reason == "AlreadyExists" => {
                self.request(&own(Request::update(api_version, resource, body))).map(drop)
            }
            other => other.map(drop),
        }
    }
}
