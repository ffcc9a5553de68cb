//! What only the store in process can show: its watches without a runtime, and calls that are never awaited.

use fake_apiserver::Config;
use k8s_openapi::api::core::v1::ConfigMap;

use super::*;
use crate::store::ext;

fn config_map(name: &str) -> DynamicObject {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"},
    });
    serde_json::from_value(object).expect("an object")
}

fn create(store: &FakeStore, name: &str) {
    let resource = ext::resource::<ConfigMap>();
    let object = config_map(name);
    let created = store.create(&resource, &object, "test").now_or_never().expect("an answer at once");
    created.expect("created");
}

/// What can be read at once, as words.
fn told(events: &mut WatchStream) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(event) = events.next().now_or_never() {
        told.push(match event.expect("a watch never ends").expect("no error") {
            Event::Init => "init".into(),
            Event::InitApply(object) => {
                format!("init-apply {}", object.metadata.name.unwrap_or_default())
            }
            Event::InitDone => "init-done".into(),
            Event::Apply(object) => format!("apply {}", object.metadata.name.unwrap_or_default()),
            Event::Delete(object) => format!("delete {}", object.metadata.name.unwrap_or_default()),
        });
    }
    told
}

#[test]
fn a_watch_that_fell_out_of_history_starts_over() {
    let store = FakeStore::new(Server::new(Config { history: 4, ..Config::default() }));
    let scope = Scope::namespace("default").with_fields("metadata.name!=kube-root-ca.crt");
    let mut events = store.watch(&ext::resource::<ConfigMap>(), &scope);
    assert_eq!(told(&mut events), ["init", "init-done"]);
    create(&store, "a");
    assert_eq!(told(&mut events), ["apply a"]);
    let names = ["b", "c", "d", "e", "f", "g"];
    for name in names {
        create(&store, name);
    }
    let mut expected = vec!["init".to_owned(), "init-apply a".into()];
    expected.extend(names.iter().map(|name| format!("init-apply {name}")));
    expected.push("init-done".into());
    assert_eq!(told(&mut events), expected);
}

#[test]
fn a_call_that_is_dropped_was_never_sent() {
    let store = FakeStore::new(Server::new(Config::default()));
    let resource = ext::resource::<ConfigMap>();
    let object = config_map("x");
    drop(store.create(&resource, &object, "test"));
    let key = ObjectKey::of(&object);
    assert_eq!(store.get(&resource, &key).now_or_never(), Some(Ok(None)));
}
