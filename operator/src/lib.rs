//! The Dask operator for Kubernetes.
