//! First differences: requests that were sent to a real kube-apiserver, sent to this server, and the answers compared.
//!
//! A topic is `script/TOPIC.yaml`, a list of requests in a namespace of their own, and `recorded/TOPIC.json`, what the real
//! server answered. `cargo xtask record requests` sends the scripts to a real server and writes the recordings.

mod compare;
mod hook;
mod hunt;
mod normal;
mod script;
mod target;

use std::path::Path;

use serde_json::Value;

use crate::hook::Hook;
use crate::normal::Normal;
use crate::script::{Answer, Script};
use crate::target::Target;

/// One test for each topic, and one that no topic is forgotten.
macro_rules! topics {
    ($($name:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                topic(stringify!($name)).await;
            }
        )+

        #[test]
        fn every_script_is_a_topic() {
            let known = [$(concat!(stringify!($name), ".yaml")),+];
            for entry in std::fs::read_dir(folder().join("script")).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!(known.contains(&name.as_str()), "{name} is in no test");
            }
        }
    };
}

topics! {
    autoscalers,
    certificates,
    configuration,
    custom,
    endpoints,
    kinds,
    lists,
    networks,
    others,
    pods,
    schedules,
    services,
    statuses,
    volumes,
    workloads,
    access,
    admission,
    apply,
    definitions,
    deletes,
    documents,
    options,
    patches,
    policies,
    reads,
    roles,
    watches,
    webhooks,
    podspecs,
    resize,
    proxies,
    updates,
    networking,
    classes,
    writes,
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/differences"))
}

async fn topic(name: &str) {
    let text = std::fs::read_to_string(folder().join(format!("script/{name}.yaml"))).unwrap();
    let script = Script::read(name, &text);
    let recording = folder().join(format!("recorded/{name}.json"));
    if let Some(real) = Target::recorded().await {
        let answers = play(&script, &real).await;
        std::fs::create_dir_all(recording.parent().unwrap()).unwrap();
        std::fs::write(recording, Answer::write(&answers)).unwrap();
        return;
    }
    let recorded = Answer::read(&std::fs::read_to_string(recording).unwrap());
    let answers = play(&script, &Target::fake()).await;
    let found = compare::differences(&recorded, &answers);
    compare::hold(&folder().join(format!("known/{name}.txt")), &found);
}

/// All answers, in the form in which two servers can agree.
async fn play(script: &Script, target: &Target) -> Vec<Answer> {
    let mut normal = Normal::default();
    let mut known = script.start();
    let hook = Hook::start().await;
    for (name, text, stands) in [("hook", &hook.url, "HOOK"), ("authority", &hook.authority, "AUTHORITY")] {
        known.insert(name.to_owned(), text.clone());
        normal.know(text, stands);
    }
    for request in script.set_up() {
        let answer = target.ask(&request).await;
        assert!(answer.code < 300, "{}: {}", request.line, answer.body);
        normal.answer(&request, &answer);
    }
    let mut answers = Vec::new();
    for step in &script.steps {
        let request = step.request(&known);
        hook.expect(&step.replies);
        let mut answer = target.ask_in_time(&request, step.until, step.settle).await;
        answer.asked = hook.asked();
        for (name, pointer) in &step.save {
            let value = answer.body.pointer(pointer).unwrap_or(&Value::Null);
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            known.insert(name.clone(), text);
        }
        answers.push(normal.answer(&request, &answer));
    }
    answers
}
