//! The Dask operator for Kubernetes.
//!
//! | module | what it is |
//! |---|---|
//! | [`api`] | the four custom resources and their CRDs |
//! | [`store`] | the seam to Kubernetes: one trait, its implementations and decorators |

pub mod api;
pub mod store;
