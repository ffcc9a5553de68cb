//! `cargo xtask test`: every tier this machine can run, with the set-up it needs.

mod contract;
mod count;
mod extensions;
mod kopf;
mod report;

use std::time::Instant;

use ::e2e::provider::Provider;
use anyhow::Result;

use self::report::{Outcome, Report};
use crate::dist::check::Runnable;
use crate::{chart, codegen, demo, docs, e2e, lint, shell, tidy, tools, workflows};

/// Run every tier this machine can run, and say what each found.
#[derive(clap::Args)]
pub(crate) struct Test {
    /// Only these tiers; all of them if none is named.
    #[arg(value_name = "TIER", value_parser = TIERS.map(|tier| tier.name))]
    only: Vec<String>,
}

/// One kind of evidence.
struct Tier {
    name: &'static str,
    what: &'static str,
    run: fn() -> Outcome,
}

/// Cheapest first, so that the first failure comes early; a failing tier does not stop the next.
const TIERS: [Tier; 14] = [
    Tier { name: "format", what: "the sources are formatted", run: || Outcome::of(lint::format()) },
    Tier { name: "tidy", what: "the house rules hold", run: || Outcome::of(tidy::check()) },
    Tier { name: "clippy", what: "clippy finds nothing", run: || Outcome::of(lint::clippy()) },
    Tier { name: "codegen", what: "generated files are up to date", run: || Outcome::of(codegen::check()) },
    Tier { name: "workflows", what: "the workflows have no mistake", run: workflows_tier },
    Tier {
        name: "chart",
        what: "the chart renders as reviewed, and an API server accepts it",
        run: chart_tier,
    },
    Tier { name: "cargo", what: "unit, integration, scenario and property tests", run: cargo_tier },
    Tier {
        name: "contract",
        what: "the scheduler client against each supported version of Dask",
        run: contract::contract,
    },
    Tier { name: "kopf", what: "plugins written for the Python operator, beside ours", run: kopf::kopf },
    Tier {
        name: "extensions",
        what: "the shipped plugins with the definitions of the projects they are for",
        run: extensions::extensions,
    },
    Tier { name: "image", what: "the image runs as the chart runs it", run: image_tier },
    Tier { name: "demo", what: "a DaskJob on real Dask, without Kubernetes", run: demo_tier },
    Tier { name: "docs", what: "the documentation's commands do what it says", run: docs_tier },
    Tier { name: "e2e", what: "the user stories, without Kubernetes", run: stories },
];

impl Test {
    pub(crate) fn run(self) -> Result<()> {
        let mut report = Report::default();
        for tier in TIERS {
            if !self.only.is_empty() && !self.only.iter().any(|name| name == tier.name) {
                continue;
            }
            println!("\n━━ {}: {}", tier.name, tier.what);
            let begun = Instant::now();
            let outcome = (tier.run)();
            outcome.tell();
            report.add(tier.name, outcome, begun.elapsed());
        }
        println!("{report}");
        report.verdict()
    }
}

/// The tests of all crates, counted from what the test programs print.
fn cargo_tier() -> Outcome {
    count::cargo_test(&["--no-fail-fast"], None)
}

/// The workflows, where there is an actionlint or Go to build it with.
fn workflows_tier() -> Outcome {
    match tools::ACTIONLINT.or_reason() {
        Ok(actionlint) => Outcome::of(workflows::check(&actionlint)),
        Err(reason) => Outcome::skipped(reason),
    }
}

/// The chart, where there is Helm or Go to build it with; what judges health in Lua alike.
fn chart_tier() -> Outcome {
    let helm = match tools::HELM.or_reason() {
        Ok(helm) => helm,
        Err(reason) => return Outcome::skipped(reason),
    };
    let (glua, kubeconform) = (tools::GLUA.or_reason().ok(), tools::KUBECONFORM.or_reason().ok());
    match chart::check(&helm, glua.as_deref(), kubeconform.as_deref(), false) {
        Ok(checked) => Outcome::counted(checked.passed, &checked.problems, &checked.skipped),
        Err(error) => Outcome::failed(format!("{error:#}")),
    }
}

/// The image, where it was made and a container engine answers.
fn image_tier() -> Outcome {
    match Runnable::find() {
        Ok(image) => Outcome::of(image.check()),
        Err(reason) => Outcome::skipped(reason),
    }
}

/// The demo, where the machine can run it.
fn demo_tier() -> Outcome {
    match shell::build().and_then(|()| demo::obstacle()) {
        Ok(None) => Outcome::of(demo::demo()),
        Ok(Some(reason)) => Outcome::skipped(reason),
        Err(error) => Outcome::failed(format!("{error:#}")),
    }
}

/// The pages, where the machine can follow them.
fn docs_tier() -> Outcome {
    match shell::build().and_then(|()| docs::check(&[])) {
        Ok(verdict) => Outcome::counted(verdict.passed, &verdict.failed, &verdict.skipped),
        Err(error) => Outcome::failed(format!("{error:#}")),
    }
}

/// The user stories on pods that are processes, where the machine can run them.
fn stories() -> Outcome {
    let told = shell::build().and_then(|()| match demo::obstacle()? {
        None => e2e::tell(Provider::Local, Vec::new(), tools::HELM.or_reason().ok()).map(Ok),
        Some(reason) => Ok(Err(reason)),
    });
    match told {
        Ok(Ok(told)) => Outcome {
            passed: told.passed,
            failed: told.failed,
            skipped: told.skipped.len(),
            note: told.note(),
        },
        Ok(Err(reason)) => Outcome::skipped(reason),
        Err(error) => Outcome::failed(format!("{error:#}")),
    }
}
