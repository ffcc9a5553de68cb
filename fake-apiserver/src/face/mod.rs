//! How clients reach the state machine: in process, through a tower service, over HTTP(S).

pub mod node;
mod server;

mod negotiate;
mod path;
mod protobuf;
mod table;

pub use node::{LogOptions, LogStream, NodeProxy, PodContainer};
pub use server::{Server, WatchStream};
