//! A Kubernetes API server in memory.
//!
//! One synchronous state machine, [`ApiServer`]; everything else is a face of it.
//!
//! | module | what it is |
//! |---|---|
//! | [`request`], [`response`], [`status`] | the state machine's vocabulary |
//! | [`server`] | [`ApiServer`]: one file for each verb, and the rules of single kinds |
//! | [`storage`] | objects, indices, revision counter, bounded change log |
//! | [`registry`] | which resources are served: built-in tables and CustomResourceDefinitions |
//! | [`schema`] | structural schemas: pruning, defaulting, validation, CEL |
//! | [`patch`] | JSON, merge and strategic patches; server-side apply and field ownership |
//! | [`controllers`] | garbage collection, namespaces, Deployments, Services, simulated kubelet |
//! | [`face`] | in process handle, tower service, HTTP(S) server, discovery, OpenAPI, Table, protobuf |
//! | [`kubelet`] | pods as local processes (feature `processes`, Linux) |
//!
//! No async, no randomness and no wall clock below [`face`]: the same requests at the same times give the same bytes.
//!
//! # Not modelled
//!
//! - Authorization is RBAC or none ([`Config::rbac`]); there is no node authorizer and no webhook, and tokens are signed
//!   with Ed25519 where a real server uses RSA.
//! - Admission webhooks are asked about creates, updates and deletes of objects, but not about `pods/binding`, `pods/eviction`,
//!   `serviceaccounts/token` and streams, nor about what the server's own controllers write; they need a `caBundle`, and of a
//!   certificate that stands in it itself the time is not looked at.
//! - ValidatingAdmissionPolicies are evaluated, about the same requests and about what controllers write; their expressions
//!   have no `authorizer`, are not checked for types and have no cost limit, and audit annotations go nowhere.
//!   MutatingAdmissionPolicies are stored, never evaluated.
//! - Expressions nested deeper than 90 levels, or with more than 4,000 operators and fields in a row, are refused; a real
//!   server goes to 250 levels and counts costs.
//! - Admission plugins are those listed in [`server`]'s `admission`; where no controller makes service accounts, pods of a
//!   namespace without the account `default` are admitted without a token. Quotas have no scope `VolumeAttributesClass`.
//! - Conversion webhooks are asked once about what an object says, where a real server asks at each
//!   read and write that its caches do not answer; quotas, policies and selectors by field look at objects as they are stored, and
//!   admission webhooks for another version than the request's see them unconverted. Requests in process that nobody makes calls for
//!   ([`ApiServer::handle`]) are refused where they need a conversion.
//! - Definitions are accepted and established at once, where a real server needs some milliseconds.
//! - Bodies in YAML are read as YAML 1.2: a bare `y` is a text. Messages do not quote the internal Go types of objects: a
//!   refused change of a pod does not show the difference of the two.
//! - OpenAPI documents have no descriptions of built-in kinds: `kubectl explain` knows their fields and types alone.
//! - Behind `nodes/proxy` a kubelet answers for its health, pods and logs; metrics, statistics, configuration and commands
//!   are 501.
//! - Certificate signing requests are approved and denied, but nothing signs them; of what they hold only the PEM frame is looked at.
//! - ComponentStatuses are always healthy.
//! - A process kubelet that serves a real API server answers it for logs, exec, attach and port-forward (`face::node_api`);
//!   statistics and metrics are 501 there.
//! - Of persistent volumes only the sources `hostPath`, `local`, `nfs` and `csi` are looked into, of statuses only what
//!   clients other than a kind's own controllers write; values of flow control, dynamic resource allocation,
//!   MutatingAdmissionPolicies and APIServices are not checked beyond their types.
//! - CronJobs are stored and checked, but no controller makes jobs of them, none scales what autoscalers aim at, and none
//!   makes the service `kubernetes` anew when it is deleted.
//! - Services are IPv4; a headless service without a selector says both families, as a real server does.

pub mod controllers;
pub mod face;
pub mod patch;
mod quantity;
pub mod registry;
pub mod request;
pub mod response;
pub mod schema;
pub mod server;
pub mod status;
pub mod storage;

pub use face::{Server, WatchStream};
pub use server::{ApiServer, Clock, Config};
#[cfg(all(feature = "processes", target_os = "linux"))]
pub mod kubelet;
#[cfg(all(feature = "processes", not(target_os = "linux")))]
#[path = "kubelet/elsewhere.rs"]
pub mod kubelet;
