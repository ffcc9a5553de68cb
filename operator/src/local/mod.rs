//! `dask-operator local`: the operator, an API server and real Dask processes in one process, without Kubernetes.

pub mod python;
