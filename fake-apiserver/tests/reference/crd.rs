//! Schemas of CustomResourceDefinitions, and objects under one.

use fake_apiserver::schema::Schema;
use fake_apiserver::status::Cause;
use serde::Deserialize;
use serde_json::Value;

const PATH: &str = "spec.validation.openAPIV3Schema";

#[derive(Deserialize)]
struct Structural {
    name: String,
    schema: Value,
    causes: Vec<Cause>,
}

#[test]
fn schemas_are_refused_for_the_reasons_of_the_real_server() {
    let cases: Vec<Structural> = serde_json::from_str(include_str!("structural.json")).unwrap();
    let mut wrong = Vec::new();
    for case in cases {
        let mut causes = Schema::from_crd(&case.schema, PATH).err().unwrap_or_default();
        for cause in &mut causes {
            // The regular expression engine's own words.
            if let Some((said, _)) = cause.message.split_once("isn't: ") {
                cause.message = format!("{said}isn't: ");
            }
        }
        compare(&case.name, causes, case.causes, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[derive(Deserialize)]
struct Custom {
    schema: Value,
    cases: Vec<Write>,
}

#[derive(Deserialize)]
struct Write {
    name: String,
    old: Option<Value>,
    new: Value,
    warnings: Vec<String>,
    causes: Vec<Cause>,
    spec: Option<Value>,
}

#[test]
fn custom_resources_are_pruned_defaulted_and_validated_as_by_the_real_server() {
    let Custom { schema, cases } = serde_json::from_str(include_str!("custom.json")).unwrap();
    let schema = Schema::from_crd(&schema, PATH).unwrap();
    let mut wrong = Vec::new();
    for mut case in cases {
        let unknown = schema.prune(&mut case.new);
        if case.old.is_none() && unknown != case.warnings {
            wrong.push(format!(
                "{}: unknown fields\n  ours:   {unknown:?}\n  theirs: {:?}",
                case.name, case.warnings
            ));
        }
        schema.default(&mut case.new);
        let causes = schema.validate(&case.new, case.old.as_ref());
        compare(&case.name, causes, case.causes, &mut wrong);
        if let Some(spec) = case.spec
            && case.new["spec"] != spec
        {
            wrong.push(format!("{}: spec\n  ours:   {}\n  theirs: {spec}", case.name, case.new["spec"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn compare(name: &str, ours: Vec<Cause>, theirs: Vec<Cause>, wrong: &mut Vec<String>) {
    let lines = |mut causes: Vec<Cause>| {
        causes.sort_by(|a, b| (&a.field, &a.message).cmp(&(&b.field, &b.message)));
        causes
            .iter()
            .map(|c| format!("    {} {}: {}", c.reason, c.field, c.message))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let (ours, theirs) = (lines(ours), lines(theirs));
    if ours != theirs {
        wrong.push(format!("{name}:\n  ours:\n{ours}\n  theirs:\n{theirs}"));
    }
}
