//! The `dask-operator` program, without plugins of its own.

use std::process::ExitCode;

use dask_operator::program::Operator;

fn main() -> ExitCode {
    Operator::builder().run()
}
