//! The Dask operator for Kubernetes.
//!
//! | module | what it is |
//! |---|---|
//! | [`api`], [`definitions`] | the four custom resources and their CRDs; bringing installed ones to this version |
//! | [`cluster`], [`worker_group`], [`job`], [`autoscaler`] | one kind each: observe, validate, build, plan |
//! | [`observe`], [`world`] | what is known: the cache, schedulers' answers, settings |
//! | [`plugin`] | what others want of the children: the contract, and plugins in this process, outside, and as data |
//! | [`plan`], [`check`] | what is to be written, as data, and an independent judge of it |
//! | [`engine`], [`queue`], [`polls`], [`seed`] | events in, work out; synchronous and replayable |
//! | [`execute`] | the only place that writes |
//! | [`election`] | which of several operators works |
//! | [`local`] | `dask-operator local`: everything in one process, without Kubernetes |
//! | [`program`], [`run`], [`args`], [`health`], [`clock`] | the shell: what a program does, watches, timers, command line, signs of life |
//! | [`metrics`] | what Prometheus is told |
//! | [`rbac`] | the rights it needs, and why |
//! | [`takeover`] | what would change, before it does: `dask-operator adopt` and `diff` |
//! | [`scheduler`] | the seam to Dask: one trait, its implementations over the comm protocol and HTTP, and one for tests |
//! | [`sim`] | the simulation: scenarios, seeded histories |
//! | [`store`] | the seam to Kubernetes: one trait, its implementations and decorators |
//! | [`names`], [`metadata`], [`podspec`], [`ownership`], [`hash`], [`merge`] | the rules of the wire contract |
//! | [`conditions`], [`status`] | what resources say of themselves, and how often |

pub mod api;
pub mod args;
pub mod autoscaler;
pub mod check;
pub mod clock;
pub mod cluster;
pub mod conditions;
pub mod definitions;
pub mod election;
pub mod engine;
pub mod execute;
pub mod hash;
pub mod health;
pub mod job;
#[cfg(feature = "local")]
pub mod local;
pub mod merge;
pub mod metadata;
pub mod metrics;
pub mod names;
pub mod observe;
pub mod ownership;
pub mod plan;
pub mod plugin;
pub mod podspec;
pub mod polls;
pub mod program;
pub mod queue;
pub mod rbac;
pub mod run;
pub mod scheduler;
pub mod seed;
pub mod settings;
#[cfg(feature = "fake")]
pub mod sim;
pub mod spec;
pub mod status;
pub mod store;
pub mod takeover;
pub mod traces;
pub mod worker_group;
pub mod world;
