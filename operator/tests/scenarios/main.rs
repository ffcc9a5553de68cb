//! Every `snapshots/*.scenario` runs, and its transcript is compared with the reviewed one beside it.

use std::path::Path;

#[test]
fn every_scenario_tells_what_was_reviewed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshots");
    let mut scripts: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder snapshots exists")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "scenario"))
        .collect();
    scripts.sort();
    assert!(scripts.len() >= 15, "only {} scenarios were found", scripts.len());
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(&folder);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let failed: Vec<String> = scripts
        .iter()
        .filter_map(|path| {
            let name = path.file_stem()?.to_string_lossy().into_owned();
            let script = std::fs::read_to_string(path).expect("a scenario is readable");
            let transcript = dask_operator::sim::script::run(&script)
                .unwrap_or_else(|error| panic!("{name}.scenario: {error}"));
            let compared = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                settings.bind(|| insta::assert_snapshot!(name.clone(), transcript));
            }));
            compared.is_err().then_some(name)
        })
        .collect();
    assert!(
        failed.is_empty(),
        "changed: {}; review with `cargo insta review` or INSTA_UPDATE=always",
        failed.join(", ")
    );
}

#[test]
fn a_scenario_gives_the_same_transcript_twice() {
    let script = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshots/cluster_happy_path.scenario"),
    )
    .expect("the scenario exists");
    let run = || dask_operator::sim::script::run(&script).expect("the scenario runs");
    assert_eq!(run(), run());
}
