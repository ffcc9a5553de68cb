//! The `dask-operator` program.
fn main() {}
