//! Plugins written for the Python operator, run by kopf beside this one as the chart runs them.
//!
//! `cargo xtask test kopf` prepares a Python with kopf and the Python operator, and names it in `DASK_OPERATOR_KOPF`; without it every
//! case is counted as ignored.

mod world;

use std::process::ExitCode;
use std::time::Instant;

use serde_json::{Value, json};

use world::World;

/// The finalizer that plugins' deletions are waited for by.
const FINALIZER: &str = "kopf-plugins.dask.org/finalizer";

/// A plugin as the Python operator's users have them: a helper of that operator, and a handler that must see deletions.
const PARTING: &str = r#"
import kopf
from dask_kubernetes.operator.controller import build_scheduler_service_spec
from kr8s.asyncio.objects import ConfigMap


@kopf.on.delete("daskcluster")
async def part(name, namespace, **_):
    service = build_scheduler_service_spec(name, {}, {}, {})
    body = {"metadata": {"name": f"{name}-gone", "namespace": namespace}, "data": {"scheduler": service["metadata"]["name"]}}
    await (await ConfigMap(body)).create()
"#;

/// What cannot be imported, whose reason is told.
const BROKEN: &str = "import no_such_package\n";

/// What is shown, with the Python that has kopf.
type Case = fn(&str);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let cases: [(&str, Case); 3] = [
        ("the_documented_plugin_makes_its_service", the_documented_plugin_makes_its_service),
        ("a_plugin_that_must_see_deletions_is_waited_for", a_plugin_that_must_see_deletions_is_waited_for),
        (
            "without_plugins_it_ends_and_says_what_to_install",
            without_plugins_it_ends_and_says_what_to_install,
        ),
    ];
    let cases = cases.into_iter().filter(|(name, _)| filter.is_none_or(|part| name.contains(part.as_str())));
    if arguments.iter().any(|argument| argument == "--list") {
        cases.for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let begun = Instant::now();
    let python = std::env::var("DASK_OPERATOR_KOPF").ok();
    let (mut passed, mut failed, mut ignored) = (0, 0, 0);
    for (name, case) in cases {
        let Some(python) = &python else {
            ignored += 1;
            continue;
        };
        let passes = std::panic::catch_unwind(|| case(python)).is_ok();
        println!("test {name} ... {}", if passes { "ok" } else { "FAILED" });
        *(if passes { &mut passed } else { &mut failed }) += 1;
    }
    if ignored > 0 {
        println!("DASK_OPERATOR_KOPF names no Python with kopf: run `cargo xtask test kopf`");
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; 0 filtered out; finished in {:.2}s\n",
        begun.elapsed().as_secs_f64()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Under the rights that the chart gives, and with the files of the page that describes it.
fn the_documented_plugin_makes_its_service(python: &str) {
    let mut world = World::new(python);
    world.install(&world.documented());
    world.start_operator();
    world.start_kopf();
    world.create_cluster("ex");
    let service =
        world.until("services", "ex-dashboard", |service| service["spec"]["ports"][0]["port"] == 80);
    assert_eq!(service["metadata"]["ownerReferences"][0]["name"], "ex-scheduler");

    let remembered = "kopf.zalando.org/last-handled-configuration";
    let scheduler = world.until("services", "ex-scheduler", |service| {
        service["metadata"]["annotations"].get(remembered).is_some()
    });
    assert_eq!(managers_of_kopf(&scheduler), ["dask-kopf-plugins"]);
    assert_eq!(scheduler["metadata"]["finalizers"], Value::Null);

    let cluster = world.until("daskclusters", "ex", |cluster| cluster["status"]["phase"] == "Running");
    assert_eq!(managers_of_kopf(&cluster), [""; 0], "no handler was for it");
    assert_eq!(cluster["metadata"]["finalizers"], Value::Null);
    assert!(world.read("deployments", "ex-scheduler").is_some());
    assert_eq!(world.list("deployments").len(), 1, "the Python operator would have made one for each worker");

    // Neither an operator that starts now nor a takeover sees another operator at work.
    world.restart_operator();
    assert_eq!(world.warnings_of_the_operator(), "");
    let said = world.adopt();
    assert!(!said.contains("kopf has written") && !said.contains("Python operator runs"), "{said}");

    world.delete_cluster("ex");
    world.until_gone("services", "ex-dashboard");
    assert_eq!(world.refusals(), "");
}

/// Its finalizer is not taken off as the Python operator's is, and goes when its handler has done its work.
fn a_plugin_that_must_see_deletions_is_waited_for(python: &str) {
    let mut world = World::new(python);
    world.install(&world.package("parting", PARTING));
    world.install(&world.package("broken", BROKEN));
    world.grant(&json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}));
    world.start_operator();
    world.start_kopf();
    world.create_cluster("ex");
    world.until("daskclusters", "ex", |cluster| cluster["metadata"]["finalizers"] == json!([FINALIZER]));
    // With the number of workers the operator writes once more; what it does not know stays.
    world.scale("ex", 2);
    world.until("daskworkergroups", "ex-default", |group| group["spec"]["worker"]["replicas"] == 2);
    let cluster = world.read("daskclusters", "ex").expect("it is there");
    assert_eq!(cluster["metadata"]["finalizers"], json!([FINALIZER]));
    assert_eq!(world.list("deployments").len(), 1, "the helper's module brought its handlers along");

    world.delete_cluster("ex");
    let gone = world.until("configmaps", "ex-gone", |_| true);
    assert_eq!(gone["data"]["scheduler"], "ex-scheduler");
    world.until_gone("daskclusters", "ex");
    let log = world.log_of_kopf();
    assert!(log.contains("plugin broken = broken.plugin cannot be loaded"), "{log}");
    assert!(log.contains("No module named 'no_such_package'"), "{log}");
    assert_eq!(world.refusals(), "");
}

/// The Python operator's own plugin is installed and does not count.
fn without_plugins_it_ends_and_says_what_to_install(python: &str) {
    let mut world = World::new(python);
    world.start_kopf();
    let log = world.end_of_kopf();
    assert!(log.contains("no plugin was loaded: install packages with entry points"), "{log}");
}

/// Whose writes are those of kopf or of what runs it, in `managedFields`.
fn managers_of_kopf(object: &Value) -> Vec<&str> {
    let entries = object["metadata"]["managedFields"].as_array();
    let mut managers: Vec<&str> = entries
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["manager"].as_str())
        .filter(|manager| manager.contains("kopf"))
        .collect();
    managers.dedup();
    managers
}
