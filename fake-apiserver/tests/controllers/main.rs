//! What the built-in controllers make of objects, as a client sees it. The clock is the tests' own.

mod cluster;
mod daemon_sets;
mod deployments;
mod disruptions;
mod events;
mod garbage_collection;
mod jobs;
mod namespaces;
mod nodes;
mod pods;
mod scheduling;
mod services;
mod stateful_sets;
mod stepping;
mod volumes;
