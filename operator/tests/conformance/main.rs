//! One set of bodies, every implementation of `Store`: if all pass, the fake is a predictor of the real thing.
//!
//! | arm | runs |
//! |---|---|
//! | `fake` | always: the server in memory, in process |
//! | `tower` | always: an unmodified `kube::Client` on the server in memory, without a socket |
//! | `http` | always: an unmodified `kube::Client` over HTTPS, from a kubeconfig |
//! | `control-plane` | where there is one: see [`arms::control_plane`] |
//!
//! `cargo test -p dask-operator --test conformance -- [FILTER…]` runs the cases whose `arm::body` contains a filter.

mod arms;
mod bodies;
mod harness;

fn main() -> std::process::ExitCode {
    harness::main()
}
