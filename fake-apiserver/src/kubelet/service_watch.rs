//! Keeping the table of services, and the node's own hosts file, up to date.

use std::path::Path;
use std::sync::Arc;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::services::ServiceTable;
use super::{KubeletConfig, hosts, mounts};

/// How long to wait for the first lists; afterwards pods start without.
const FIRST_LIST: std::time::Duration = std::time::Duration::from_secs(10);

type Table = watch::Sender<Arc<ServiceTable>>;

/// Follows services and endpoint slices; returns when both have been listed once.
pub(super) async fn start(client: &Client, tasks: &mut JoinSet<()>) -> watch::Receiver<Arc<ServiceTable>> {
    let (table, receiver) = watch::channel(Arc::new(ServiceTable::default()));
    let (listed, mut first) = tokio::sync::mpsc::channel::<()>(2);
    let table = Arc::new(table);
    tasks.spawn(follow::<Service>(
        client.clone(),
        table.clone(),
        listed.clone(),
        Changes {
            apply: ServiceTable::apply_service,
            delete: ServiceTable::delete_service,
            replace: |table, all| table.set_services(all.iter()),
        },
    ));
    tasks.spawn(follow::<EndpointSlice>(
        client.clone(),
        table,
        listed,
        Changes {
            apply: ServiceTable::apply_slice,
            delete: ServiceTable::delete_slice,
            replace: |table, all| table.set_slices(all.iter()),
        },
    ));
    let both = async { (first.recv().await, first.recv().await) };
    if tokio::time::timeout(FIRST_LIST, both).await.is_err() {
        tracing::warn!("services could not be listed yet: pods may start without their names");
    }
    receiver
}

struct Changes<K> {
    apply: fn(&mut ServiceTable, &K),
    delete: fn(&mut ServiceTable, &K),
    replace: fn(&mut ServiceTable, &[K]),
}

async fn follow<K>(
    client: Client,
    table: Arc<Table>,
    listed: tokio::sync::mpsc::Sender<()>,
    changes: Changes<K>,
) where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + Send
        + serde::de::DeserializeOwned
        + 'static,
{
    let mut events = watcher(Api::<K>::all(client), watcher::Config::default()).default_backoff().boxed();
    let mut list = Vec::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => list.clear(),
            Ok(Event::InitApply(object)) => list.push(object),
            Ok(Event::InitDone) => {
                change(&table, |table| (changes.replace)(table, &list));
                list.clear();
                // Only the first list is waited for.
                let _ = listed.try_send(());
            }
            Ok(Event::Apply(object)) => change(&table, |table| (changes.apply)(table, &object)),
            Ok(Event::Delete(object)) => change(&table, |table| (changes.delete)(table, &object)),
            Err(error) => tracing::warn!(%error, "services cannot be watched"),
        }
    }
}

/// Followers hear only of real changes.
fn change(table: &Table, edit: impl FnOnce(&mut ServiceTable)) {
    table.send_if_modified(|current| {
        let mut changed = (**current).clone();
        edit(&mut changed);
        let differs = changed != **current;
        if differs {
            *current = Arc::new(changed);
        }
        differs
    });
}

/// Lets this process itself find services by their full names.
pub(super) async fn keep_node_hosts(config: KubeletConfig, mut services: watch::Receiver<Arc<ServiceTable>>) {
    let own = Path::new("/etc/hosts");
    let original = std::fs::read_to_string(own).unwrap_or_default();
    let path = config.state_dir.join("node-hosts");
    let mut bound = false;
    loop {
        let table = services.borrow_and_update().clone();
        let lines = table.hosts(None, &config.cluster_domain);
        let lines = lines.iter().map(|(address, names)| format!("{address}\t{}\n", names.join(" ")));
        let text = format!("{}\n{}", original.trim_end(), lines.collect::<String>());
        let written = hosts::rewrite(&path, &text).map_err(|error| error.to_string());
        let written = written.and_then(|()| {
            if !bound {
                mounts::bind_file(&path, own).map_err(|error| error.to_string())?;
                bound = true;
            }
            Ok(())
        });
        if let Err(error) = written {
            tracing::warn!(error, "service names cannot be resolved by the node itself");
        }
        if services.changed().await.is_err() {
            return;
        }
    }
}
