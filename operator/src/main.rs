//! The `dask-operator` program, without plugins of its own.

use std::process::ExitCode;

use dask_operator::program::Operator;

/// As the shipped image has it, in every build of the program, so that what is tried is what is shipped.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Operator::builder().run()
}
