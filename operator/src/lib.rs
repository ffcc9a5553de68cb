//! The Dask operator for Kubernetes.
//!
//! | module | what it is |
//! |---|---|
//! | [`api`] | the four custom resources and their CRDs |
//! | [`local`] | `dask-operator local`: everything in one process, without Kubernetes |
//! | [`scheduler`] | the seam to Dask: one trait, its HTTP implementation and one for tests |
//! | [`store`] | the seam to Kubernetes: one trait, its implementations and decorators |

pub mod api;
#[cfg(feature = "local")]
pub mod local;
pub mod scheduler;
pub mod store;
