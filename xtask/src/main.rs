//! The project's verbs: `cargo xtask <verb>`, one file each. `.ci/run` and the CI workflow call nothing else.

mod bench;
mod campaign;
mod chart;
mod codegen;
mod control_plane;
mod demo;
mod deny;
mod dist;
mod docs;
mod e2e;
mod hunt;
mod lint;
mod record;
mod shell;
mod sim;
mod suites;
mod test;
mod tidy;
mod tools;
mod workflows;

use clap::Parser;

/// What this project can do for you.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
enum Verb {
    Demo(demo::Demo),
    Test(test::Test),
    Lint(lint::Lint),
    Codegen(codegen::Codegen),
    E2e(e2e::E2e),
    Chart(chart::Chart),
    Workflows(workflows::Workflows),
    Deny(deny::Deny),
    Dist(dist::Dist),
    Docs(docs::Docs),
    Sim(sim::Sim),
    Bench(bench::Bench),
    Suites(suites::Suites),
    Record(record::Record),
    Hunt(hunt::Hunt),
    Campaign(campaign::Campaign),
}

fn main() -> std::process::ExitCode {
    let done = match Verb::parse() {
        Verb::Demo(verb) => verb.run(),
        Verb::Test(verb) => verb.run(),
        Verb::Lint(verb) => verb.run(),
        Verb::Codegen(verb) => verb.run(),
        Verb::E2e(verb) => verb.run(),
        Verb::Chart(verb) => verb.run(),
        Verb::Workflows(verb) => verb.run(),
        Verb::Deny(verb) => verb.run(),
        Verb::Dist(verb) => verb.run(),
        Verb::Docs(verb) => verb.run(),
        Verb::Sim(verb) => verb.run(),
        Verb::Bench(verb) => verb.run(),
        Verb::Suites(verb) => verb.run(),
        Verb::Record(verb) => verb.run(),
        Verb::Hunt(verb) => verb.run(),
        Verb::Campaign(verb) => verb.run(),
    };
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
