//! Pods as real processes, on a node that each test makes for itself.
//!
//! A node's namespaces can be entered only by a process with one thread, so this binary has its own `main`: it starts
//! itself once more for each test. As root every test runs twice, the second time as a user without privileges
//! (`setpriv`), in a user namespace. Where namespaces are refused, tests are skipped, with the reason and counted.

#[cfg(target_os = "linux")]
mod kubectl;
#[cfg(target_os = "linux")]
mod pods;
#[cfg(target_os = "linux")]
mod programs;
#[cfg(target_os = "linux")]
mod services;
#[cfg(target_os = "linux")]
mod streams;
#[cfg(target_os = "linux")]
mod suite;
#[cfg(target_os = "linux")]
mod world;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    fake_apiserver::kubelet::maybe_run_helper();
    programs::maybe_run();
    suite::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("0 tests: pods as local processes need Linux");
}
