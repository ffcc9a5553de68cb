//! How clients reach the state machine: in process, through a tower service, over HTTP(S).
//!
//! | file | what it is |
//! |---|---|
//! | [`Server`], `publish` | the handle: lock, clock, timers, watchers; where it is reached |
//! | `http`, `resource`, `watch`, `logs`, `documents` | requests by what they are for |
//! | `path`, `negotiate`, `decode`, `protobuf` | how a request is read |
//! | `render`, `yaml`, `table`, `body` | how an answer is written |
//! | `discovery`, `openapi` | what is served, for clients that ask |
//! | `node`, `simulated`, `stream` | what a pod's node answers: logs, exec, attach, port-forward, proxies |
//! | `node_api` | what a node answers a real API server: logs, exec, attach, port-forward |
//! | `webhook`, `webhook_trust` | calls of admission webhooks |
//! | `access`, `auth`, `subject`, `serve`, `tls`, `kubeconfig` | who asks, and the listener |

pub mod node;
#[cfg(feature = "http")]
pub mod node_api;
mod server;

mod access;
mod auth;
mod body;
mod decode;
mod discovery;
mod documents;
mod http;
#[cfg(feature = "http")]
pub mod kubeconfig;
mod logs;
mod negotiate;
mod openapi;
mod path;
mod protobuf;
mod publish;
mod render;
mod resource;
#[cfg(feature = "http")]
pub mod serve;
mod simulated;
#[cfg(feature = "http")]
mod stream;
#[cfg(feature = "http")]
mod subject;
mod table;
#[cfg(feature = "http")]
pub mod tls;
mod watch;
mod webhook;
#[cfg(feature = "http")]
mod webhook_trust;
mod yaml;

pub use auth::{Authentication, random_token_key};
pub use body::ResponseBody;
pub use http::{HttpService, MAX_BODY_BYTES};
pub use node::{
    Connection, Door, Duplex, LogOptions, LogStream, NodeProxy, PodContainer, PodIdentity, Session, Streams,
    TerminalSize,
};
pub use server::{Server, WatchStream};
