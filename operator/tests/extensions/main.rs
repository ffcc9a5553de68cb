//! The shipped plugins that are data, on the API server in memory with the real definitions of the projects that they are for.
//!
//! `cargo xtask test extensions` fetches those and names the files in `DASK_OPERATOR_DEFINITIONS`, separated by semicolons; a case
//! whose kinds are not served without them is counted as ignored.

use std::path::Path;
use std::process::ExitCode;

use dask_operator::names;
use dask_operator::plugin::{Registry, config};
use dask_operator::sim::{Sim, SimConfig, create, delete, story};
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Value, json};

/// One shipped plugin, and what is to be there of it.
struct Case {
    /// File in `operator/examples/plugins`, without its extension.
    plugin: &'static str,
    /// The group of which definitions are needed; empty where the kinds are Kubernetes' own.
    needs: &'static str,
    /// Objects that are made for a cluster `simple`: `apiVersion`, plural, name, and a place in them with its value.
    made: &'static [(&'static str, &'static str, &'static str, &'static str, &'static str)],
}

const CASES: [Case; 8] = [
    Case {
        plugin: "istio",
        needs: "networking.istio.io",
        made: &[
            (
                "networking.istio.io/v1",
                "gateways",
                "simple-dashboard",
                "/spec/servers/0/hosts/0",
                "dask.example.org",
            ),
            (
                "networking.istio.io/v1",
                "virtualservices",
                "simple-dashboard",
                "/spec/http/0/route/0/destination/host",
                "simple-scheduler.default.svc.cluster.local",
            ),
        ],
    },
    Case {
        plugin: "certificate",
        needs: "cert-manager.io",
        made: &[("cert-manager.io/v1", "certificates", "simple-scheduler", "/spec/secretName", "simple-tls")],
    },
    Case {
        plugin: "httproute",
        needs: "gateway.networking.k8s.io",
        made: &[(
            "gateway.networking.k8s.io/v1",
            "httproutes",
            "simple-dashboard",
            "/spec/rules/0/backendRefs/0/name",
            "simple-scheduler",
        )],
    },
    Case {
        plugin: "ingress",
        needs: "",
        made: &[(
            "networking.k8s.io/v1",
            "ingresses",
            "simple-dashboard",
            "/spec/rules/0/host",
            "dask.example.org",
        )],
    },
    Case {
        plugin: "networkpolicy",
        needs: "",
        made: &[(
            "networking.k8s.io/v1",
            "networkpolicies",
            "simple-scheduler",
            "/spec/policyTypes/0",
            "Ingress",
        )],
    },
    Case {
        plugin: "poddisruptionbudget",
        needs: "",
        made: &[(
            "policy/v1",
            "poddisruptionbudgets",
            "simple-scheduler",
            "/spec/selector/matchLabels/dask.org~1cluster-name",
            "simple",
        )],
    },
    Case {
        plugin: "kueue",
        needs: "",
        made: &[
            (
                "apps/v1",
                "deployments",
                "simple-scheduler",
                "/spec/template/metadata/labels/kueue.x-k8s.io~1queue-name",
                "dask",
            ),
            ("v1", "pods", "simple-default-worker-", "/metadata/labels/kueue.x-k8s.io~1queue-name", "dask"),
        ],
    },
    Case {
        plugin: "volcano",
        needs: "",
        made: &[
            ("v1", "pods", "simple-default-worker-", "/spec/schedulerName", "volcano"),
            (
                "v1",
                "pods",
                "simple-default-worker-",
                "/metadata/annotations/scheduling.volcano.sh~1queue-name",
                "simple",
            ),
        ],
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let wanted =
        |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    if arguments.iter().any(|argument| argument == "--list") {
        for case in &CASES {
            println!("{}: test", case.plugin);
        }
        return ExitCode::SUCCESS;
    }
    let definitions = definitions();
    let (mut passed, mut ignored, mut failed) = (0, 0, Vec::new());
    for case in CASES.iter().filter(|case| wanted(case.plugin)) {
        let name = case.plugin;
        let served = |definition: &Value| definition["spec"]["group"] == case.needs;
        if !case.needs.is_empty() && !definitions.iter().any(served) {
            println!(
                "test {name} ... ignored, {} is not served: run `cargo xtask test extensions`",
                case.needs
            );
            ignored += 1;
        } else if std::panic::catch_unwind(|| play(case, &definitions)).is_ok() {
            println!("test {name} ... ok");
            passed += 1;
        } else {
            println!("test {name} ... FAILED");
            failed.push(name);
        }
    }
    for name in &failed {
        println!("    failed: {name}");
    }
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {passed} passed; {} failed; {ignored} ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
        failed.len()
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The definitions of the named files. Some are templates of charts: what is filled in there is not needed here.
fn definitions() -> Vec<Value> {
    let files = std::env::var("DASK_OPERATOR_DEFINITIONS").unwrap_or_default();
    let mut found = Vec::new();
    for file in files.split(';').filter(|file| !file.is_empty()) {
        let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
        for document in serde_yaml::Deserializer::from_str(&text) {
            let mut definition =
                Value::deserialize(document).unwrap_or_else(|error| panic!("{file}: {error}"));
            if definition["kind"] == "CustomResourceDefinition" {
                definition["metadata"] = json!({
                    "name": definition["metadata"]["name"],
                    // Groups of Kubernetes' own project ask for it.
                    "annotations": {"api-approved.kubernetes.io": definition["metadata"]["annotations"]["api-approved.kubernetes.io"].as_str().unwrap_or("unapproved, as fetched")},
                });
                found.push(definition);
            }
        }
    }
    found
}

fn play(case: &Case, definitions: &[Value]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/plugins/{}.yaml", case.plugin));
    let entries = config::load(&path).expect("a shipped configuration can be read").entries;
    let plugins = Registry::new(entries).expect("its plugins can live together");
    let mut sim = Sim::new(SimConfig { plugins, ..SimConfig::default() });
    let added = |definition: &&Value| {
        let (group, plural) = (&definition["spec"]["group"], &definition["spec"]["names"]["plural"]);
        *group == case.needs && case.made.iter().any(|made| *plural == made.1)
    };
    for definition in definitions.iter().filter(added) {
        sim.user(&create("apiextensions.k8s.io/v1", "customresourcedefinitions", None, definition))
            .expect("the definition is accepted");
    }
    sim.advance(SignedDuration::from_secs(5));
    let mut cluster = story::cluster("simple", 1);
    cluster["metadata"]["annotations"] =
        json!({"example.org/host": "dask.example.org", "operator.dask.org/tls-secret": "simple-tls"});
    sim.user(&create(names::API_VERSION, "daskclusters", Some("default"), &cluster)).expect("it is accepted");
    sim.advance(SignedDuration::from_secs(60));
    for (api_version, plural, name, place, value) in case.made {
        let objects = sim.list(api_version, plural);
        let named = |object: &&Value| {
            object["metadata"]["name"].as_str().is_some_and(|known| known.starts_with(name))
        };
        let Some(object) = objects.iter().find(named) else {
            panic!(
                "{plural} {name} is missing: {:#}",
                sim.list(names::API_VERSION, "daskclusters")[0]["status"]
            )
        };
        assert_eq!(object.pointer(place), Some(&json!(value)), "{object:#}");
    }
    sim.user(&delete(names::API_VERSION, "daskclusters", "default", "simple")).expect("it can be deleted");
    sim.advance(SignedDuration::from_secs(120));
    for (api_version, plural, name, ..) in case.made {
        let left = sim.list(api_version, plural);
        let left = left.iter().filter(|object| {
            object["metadata"]["name"].as_str().is_some_and(|known| known.starts_with(name))
        });
        assert_eq!(left.count(), 0, "{plural} {name} stays");
    }
}
