//! The decorators, over a store of one object that answers at once.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::{FutureExt, StreamExt, future, future::BoxFuture, stream};
use kube::core::{ApiResource, DynamicObject};
use serde_json::json;

use super::{
    ApplyOptions, DeleteOptions, Endpoints, Event, FaultStore, MeteringStore, ObjectKey, Part, Patch,
    PatchOptions, RecordingStore, Result, Scope, Store, WatchStream,
    call::Verb,
    ext,
    faults::{CrashPoint, Fault, Rule},
};

/// Counts the writes that take effect.
#[derive(Default)]
struct Counting {
    effects: AtomicU64,
}

impl Counting {
    fn effect(&self, object: DynamicObject) -> BoxFuture<'static, Result<DynamicObject>> {
        self.effects.fetch_add(1, Ordering::Relaxed);
        future::ready(Ok(object)).boxed()
    }
}

impl Store for Counting {
    fn get<'a>(
        &'a self,
        _: &'a ApiResource,
        _: &'a ObjectKey,
    ) -> BoxFuture<'a, Result<Option<DynamicObject>>> {
        future::ready(Ok(None)).boxed()
    }

    fn list<'a>(&'a self, _: &'a ApiResource, _: &'a Scope) -> BoxFuture<'a, Result<Vec<DynamicObject>>> {
        future::ready(Ok(Vec::new())).boxed()
    }

    fn watch(&self, _: &ApiResource, _: &Scope) -> WatchStream {
        stream::iter([Ok(Event::Init), Ok(Event::InitDone)]).boxed()
    }

    // Effects happen when the call is awaited, as on a wire.
    fn create<'a>(
        &'a self,
        _: &'a ApiResource,
        object: &'a DynamicObject,
        _: &'a str,
    ) -> BoxFuture<'a, Result<DynamicObject>> {
        async move { self.effect(object.clone()).await }.boxed()
    }

    fn apply<'a>(
        &'a self,
        _: &'a ApiResource,
        object: &'a DynamicObject,
        _: &'a ApplyOptions,
    ) -> BoxFuture<'a, Result<DynamicObject>> {
        async move { self.effect(object.clone()).await }.boxed()
    }

    fn patch<'a>(
        &'a self,
        _: &'a ApiResource,
        _: &'a ObjectKey,
        _: &'a Patch,
        _: &'a PatchOptions,
    ) -> BoxFuture<'a, Result<DynamicObject>> {
        async move { self.effect(pod("x")).await }.boxed()
    }

    fn delete<'a>(
        &'a self,
        _: &'a ApiResource,
        _: &'a ObjectKey,
        _: &'a DeleteOptions,
    ) -> BoxFuture<'a, Result<()>> {
        async move { self.effect(pod("x")).await.map(drop) }.boxed()
    }

    fn endpoints<'a>(&'a self, _: &'a ApiResource) -> BoxFuture<'a, Result<Option<Endpoints>>> {
        future::ready(Ok(None)).boxed()
    }
}

fn pods() -> ApiResource {
    ext::resource::<k8s_openapi::api::core::v1::Pod>()
}

fn pod(name: &str) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "ns", "resourceVersion": "7",
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "4711"}],
        },
    }))
    .expect("a pod")
}

fn now<T>(answer: BoxFuture<'_, T>) -> T {
    answer.now_or_never().expect("an answer at once")
}

fn create(store: &dyn Store, name: &str) -> &'static str {
    let answer = now(store.create(&pods(), &pod(name), "test"));
    answer.map_or_else(|error| error.reason(), |_| "ok")
}

fn effects(store: &FaultStore<Counting>) -> u64 {
    store.inner().effects.load(Ordering::Relaxed)
}

#[test]
fn a_rule_hits_the_nth_matching_call_and_no_other() {
    let store = FaultStore::new(Counting::default());
    store.add(Rule::nth(Verb::Create, "Pod", 2, Fault::Quota));
    now(store.delete(&pods(), &ObjectKey::namespaced("ns", "x"), &DeleteOptions::default()))
        .expect("deleted");
    let ends: Vec<_> = ["a", "b", "c"].iter().map(|name| create(&store, name)).collect();
    assert_eq!(ends, ["ok", "QuotaExceeded", "ok"]);
    assert_eq!((store.injected(), effects(&store)), (1, 3));
}

#[test]
fn a_rule_by_name_hits_these_names_until_it_is_healed() {
    let store = FaultStore::new(Counting::default());
    store.add(Rule {
        name: Some("bad".into()),
        ..Rule::always(Verb::Create, "Pod", Fault::Busy { seconds: 3 })
    });
    assert_eq!(
        [create(&store, "bad-1"), create(&store, "good"), create(&store, "bad-2")],
        ["Transient", "ok", "Transient"]
    );
    store.heal();
    assert_eq!(create(&store, "bad-1"), "ok");
}

#[test]
fn a_lost_response_takes_effect_and_a_request_not_sent_does_not() {
    for (fault, expected) in [(Fault::ResponseLost, 1), (Fault::BeforeSend, 0), (Fault::Conflict, 0)] {
        let store = FaultStore::new(Counting::default());
        store.add(Rule::nth(Verb::Create, "Pod", 1, fault));
        assert_ne!(create(&store, "a"), "ok");
        assert_eq!(effects(&store), expected, "{fault:?}");
    }
}

#[test]
fn a_crash_hits_one_write_and_ends_everything_until_the_next_operator() {
    for (point, end, expected) in [
        (CrashPoint::BeforeSend, "Transient", 1),
        (CrashPoint::ResponseLost, "Transient", 2),
        (CrashPoint::AfterResponse, "ok", 2),
    ] {
        let store = FaultStore::new(Counting::default());
        store.crash_at_write(2, point);
        assert_eq!(create(&store, "a"), "ok");
        assert_eq!(create(&store, "b"), end, "{point:?}");
        assert!(store.crashed());
        assert_eq!(create(&store, "c"), "Transient");
        assert!(now(store.get(&pods(), &ObjectKey::namespaced("ns", "a"))).is_err());
        assert_eq!(effects(&store), expected, "{point:?}");
        store.revive();
        assert_eq!(create(&store, "c"), "ok");
    }
}

#[test]
fn a_fault_of_a_watch_is_an_item_after_which_it_goes_on() {
    let store = FaultStore::new(Counting::default());
    store.add(Rule::nth(Verb::Watch, "Pod", 1, Fault::Forbidden));
    let told: Vec<_> = store.watch(&pods(), &Scope::everywhere()).collect().now_or_never().expect("at once");
    assert!(told[0].is_err());
    assert_eq!(told[1..], [Ok(Event::Init), Ok(Event::InitDone)]);
}

#[test]
fn a_transcript_is_the_same_for_every_run_of_the_same_history() {
    let faulty = FaultStore::new(Counting::default());
    faulty.add(Rule::nth(Verb::Create, "Pod", 1, Fault::Conflict));
    let store = RecordingStore::new(faulty);
    create(&store, "a");
    assert_eq!(now(store.get(&pods(), &ObjectKey::namespaced("ns", "a"))), Ok(None));
    let options = ApplyOptions::forced("test", Part::Status);
    now(store.apply(&pods(), &pod("a"), &options)).expect("applied");
    let delete = DeleteOptions { grace_seconds: Some(0), ..DeleteOptions::of_uid("4711") };
    now(store.delete(&pods(), &ObjectKey::namespaced("ns", "a"), &delete)).expect("deleted");

    let lines: Vec<_> = store.entries().iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        ["create Pod ns/a: Conflict", "get Pod ns/a: ok", "apply Pod/status ns/a: ok", "delete Pod ns/a: ok"]
    );
    let bodies = store.take();
    assert_eq!(bodies[0].body["metadata"]["ownerReferences"][0]["uid"], "uid-1");
    assert!(bodies[0].body["metadata"]["resourceVersion"].is_null());
    assert_eq!(
        bodies[3].body,
        json!({"propagationPolicy": "Background", "uid": "uid-1", "gracePeriodSeconds": 0})
    );
    assert!(store.entries().is_empty());
}

#[test]
fn figures_are_kept_for_each_verb_and_kind() {
    let faulty = FaultStore::new(Counting::default());
    faulty.add(Rule::nth(Verb::Create, "Pod", 2, Fault::Conflict));
    let store = MeteringStore::new(faulty);
    create(&store, "a");
    create(&store, "b");
    now(store.list(&pods(), &Scope::everywhere())).expect("a list");
    let figures = store.figures();
    let created = figures.iter().find(|(series, _)| series.verb == Verb::Create).expect("creates").1;
    assert_eq!((created.calls, created.failures.get("Conflict")), (2, Some(&1)));
    assert_eq!(created.classes.iter().sum::<u64>(), 2);
    assert_eq!((store.calls(), store.writes()), (3, 2));
}
