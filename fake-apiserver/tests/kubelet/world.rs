//! An API server and a kubelet in this process, and waiting for what they do.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fake_apiserver::Server;
use fake_apiserver::face::serve::serve;
use fake_apiserver::kubelet::{Catalogue, Image, Kubelet, KubeletConfig, NodeNetwork};
use fake_apiserver::server::Config;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, ContainerStatus, Event, Pod};
use kube::api::{DeleteParams, ListParams, LogParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

pub(crate) const NODE: &str = "processes-1";
/// The simulated node of a new server; no pod of these tests may get there.
const SIMULATED: &str = "node-1";
pub(crate) const NAMESPACE: &str = "default";
/// A test that waits longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(90);

/// One node with its API server.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) client: Client,
    pub(crate) state: Arc<tempfile::TempDir>,
    end: Arc<std::sync::Mutex<Option<oneshot::Sender<()>>>>,
    ended: Arc<tokio::sync::Mutex<Option<tokio::task::JoinHandle<()>>>>,
}

/// This binary, which pods run too.
pub(crate) fn program() -> String {
    std::env::current_exe().expect("this program has a path").to_string_lossy().into_owned()
}

/// Images whose files are below this directory.
fn catalogue(directory: &Path) -> Catalogue {
    let mut tools = Image::new("tools:*");
    tools.entrypoint = vec!["entry".into()];
    tools.scripts.insert("entry".into(), "#!/bin/sh\nexec \"$@\"\n".into());
    tools.scripts.insert("answer".into(), format!("#!/bin/sh\nexec {} answer \"$@\"\n", program()));
    tools.scripts.insert("fetch".into(), format!("#!/bin/sh\nexec {} fetch \"$@\"\n", program()));
    tools.env.insert("FROM_IMAGE".into(), "yes".into());
    let app = directory.join("app");
    std::fs::write(&app, "#!/bin/sh\necho app of the image\n").expect("a program");
    std::fs::set_permissions(&app, std::fs::Permissions::from_mode(0o755)).expect("it can be run");
    tools.programs.insert("/app".into(), app);
    let mut bare = Image::new("bare:*");
    bare.init = false;
    let mut catalogue = Catalogue::shells();
    catalogue.images.extend([tools, bare]);
    catalogue
}

impl World {
    pub(crate) async fn start(network: NodeNetwork) -> Self {
        let server = Server::new(Config::default());
        let client = Client::new(server.service(), NAMESPACE);
        let timers = server.clone();
        tokio::spawn(async move { timers.run().await });
        let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(client.clone());
        let _ = nodes.delete(SIMULATED, &DeleteParams::default()).await;
        let state = tempfile::tempdir().expect("a state directory");
        let mut config = KubeletConfig::new(NODE, state.path(), catalogue(state.path()), network);
        // Every test waits for its pods to be gone.
        config.removal = Duration::ZERO;
        config.visible = PathBuf::from(program()).parent().map(PathBuf::from).into_iter().collect();
        let kubelet = Kubelet::new(client.clone(), config);
        server.set_node(NODE, kubelet.node_proxy());
        let (end, shutdown) = oneshot::channel::<()>();
        let running = tokio::spawn(async move {
            let shutdown = async {
                let _ = shutdown.await;
            };
            kubelet.run(shutdown).await.expect("the kubelet runs");
        });
        let world = Self {
            server,
            client,
            state: Arc::new(state),
            end: Arc::new(std::sync::Mutex::new(Some(end))),
            ended: Arc::new(tokio::sync::Mutex::new(Some(running))),
        };
        world.node_is_ready().await;
        world
    }

    async fn node_is_ready(&self) {
        let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(self.client.clone());
        let config = kube::runtime::watcher::Config::default();
        let mut events = kube::runtime::watcher(nodes, config).boxed();
        let ready = async {
            use kube::runtime::watcher::Event::{Apply, InitApply};
            while let Some(event) = events.next().await {
                if let Ok(Apply(node) | InitApply(node)) = event
                    && node.status.is_some_and(|status| status.conditions.is_some())
                {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.expect("the node becomes ready");
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// The URL of the same server over HTTP, whose connections can become streams.
    pub(crate) async fn serve(&self) -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a listener");
        let address = listener.local_addr().expect("an address");
        let service = self.server.service();
        tokio::spawn(serve(listener, service, None, std::future::pending()));
        format!("http://{address}")
    }

    /// The pods over HTTP.
    pub(crate) async fn served_pods(&self) -> Api<Pod> {
        let config = kube::Config::new(self.serve().await.parse().expect("a URL"));
        Api::namespaced(Client::try_from(config).expect("a client"), NAMESPACE)
    }

    /// Waits for a line in a running container's log.
    pub(crate) async fn until_log(&self, name: &str, line: &str) {
        let params = LogParams { follow: true, ..LogParams::default() };
        let log = self.pods().log_stream(name, &params).await.expect("the log can be read");
        let mut lines = futures::AsyncBufReadExt::lines(log);
        let found = async {
            while let Some(found) = lines.try_next().await.expect("the log can be read") {
                if found == line {
                    return;
                }
            }
            panic!("the log of {name} ends without {line:?}");
        };
        tokio::time::timeout(PATIENCE, found).await.expect("the line is written");
    }

    /// Creates a pod on the node. `spec` may leave out what has only one sensible value.
    pub(crate) async fn pod(&self, name: &str, mut spec: Value) -> Pod {
        spec["nodeName"] = json!(NODE);
        for container in spec["containers"].as_array_mut().into_iter().flatten() {
            if container["name"].is_null() {
                container["name"] = json!("main");
            }
            if container["image"].is_null() {
                container["image"] = json!("busybox:1");
            }
        }
        let object = json!({"metadata": {"name": name, "labels": {"app": name}}, "spec": spec});
        let pod: Pod = serde_json::from_value(object).expect("a pod");
        self.pods().create(&PostParams::default(), &pod).await.expect("the pod is created")
    }

    /// Creates a pod of one shell command.
    pub(crate) async fn shell(&self, name: &str, policy: &str, script: &str) -> Pod {
        let container = json!({"command": ["/bin/sh", "-c", script]});
        self.pod(
            name,
            json!({"restartPolicy": policy, "terminationGracePeriodSeconds": 5, "containers": [container]}),
        )
        .await
    }

    pub(crate) async fn config_map(&self, name: &str, data: Value) {
        let map = json!({"metadata": {"name": name}, "data": data});
        let map: ConfigMap = serde_json::from_value(map).expect("a config map");
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), NAMESPACE);
        api.create(&PostParams::default(), &map).await.expect("the config map is created");
    }

    /// Waits until a pod is as wanted; `None` stands for a pod that is gone.
    pub(crate) async fn until(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(Option<&Pod>) -> bool,
    ) -> Option<Pod> {
        let last = std::sync::Mutex::new(None);
        let wait = async {
            loop {
                let params = ListParams::default().fields(&format!("metadata.name={name}"));
                let list = self.pods().list(&params).await.expect("pods can be listed");
                let version = list.metadata.resource_version.clone().unwrap_or_default();
                let found = list.items.into_iter().next();
                last.lock().unwrap().clone_from(&found);
                if wanted(found.as_ref()) {
                    return found;
                }
                let params = WatchParams::default().fields(&format!("metadata.name={name}"));
                let mut events =
                    self.pods().watch(&params, &version).await.expect("pods can be watched").boxed();
                while let Ok(Some(event)) = events.try_next().await {
                    let now = match event {
                        WatchEvent::Added(pod) | WatchEvent::Modified(pod) => Some(pod),
                        WatchEvent::Deleted(_) => None,
                        _ => continue,
                    };
                    last.lock().unwrap().clone_from(&now);
                    if wanted(now.as_ref()) {
                        return now;
                    }
                }
            }
        };
        if let Ok(found) = tokio::time::timeout(PATIENCE, wait).await {
            return found;
        }
        let last = last.lock().unwrap().take();
        let status = last.map(|pod| serde_json::to_string_pretty(&pod.status).unwrap_or_default());
        let events = self.events(name).await;
        panic!("{name} is not {what}; its status: {status:?}\nits events: {events:#?}");
    }

    pub(crate) async fn until_phase(&self, name: &str, phase: &str) -> Pod {
        let wanted = |pod: Option<&Pod>| {
            pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref()).is_some_and(|found| found == phase)
        };
        self.until(name, phase, wanted).await.expect("a pod")
    }

    pub(crate) async fn until_ready(&self, name: &str, ready: bool) -> Pod {
        let wanted = |pod: Option<&Pod>| container(pod).is_some_and(|status| status.ready == ready);
        self.until(name, if ready { "ready" } else { "unready" }, wanted).await.expect("a pod")
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.pods().delete(name, &DeleteParams::default()).await.expect("the pod is deleted");
        self.until(name, "gone", |pod| pod.is_none()).await;
    }

    pub(crate) async fn log(&self, name: &str, params: LogParams) -> String {
        self.pods().logs(name, &params).await.expect("the log can be read")
    }

    /// Reasons of the events about a pod.
    pub(crate) async fn events(&self, name: &str) -> BTreeSet<String> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), NAMESPACE);
        let list = api.list(&ListParams::default()).await.expect("events can be listed");
        let own = list.items.into_iter().filter(|event| event.involved_object.name.as_deref() == Some(name));
        own.map(|event| {
            format!("{}: {}", event.reason.unwrap_or_default(), event.message.unwrap_or_default())
        })
        .collect()
    }

    /// Waits for an event about a pod whose `reason: message` has this text.
    pub(crate) async fn until_event(&self, name: &str, text: &str) {
        let api: Api<Event> = Api::namespaced(self.client.clone(), NAMESPACE);
        let wait = async {
            let mut events = kube::runtime::watcher(api, kube::runtime::watcher::Config::default()).boxed();
            while events.next().await.is_some() {
                if self.events(name).await.iter().any(|event| event.contains(text)) {
                    return;
                }
            }
        };
        let came = tokio::time::timeout(PATIENCE, wait).await.is_ok();
        assert!(came, "no event of {name} has {text:?}: {:#?}", self.events(name).await);
    }

    /// Ends the kubelet and all pods; then no process, link or file of them may be there.
    pub(crate) async fn nothing_is_left(&self) {
        let list = self.pods().list(&ListParams::default()).await.expect("pods can be listed");
        for pod in list.items {
            let name = pod.metadata.name.unwrap_or_default();
            let _ = self.pods().delete(&name, &DeleteParams::default().grace_period(1)).await;
            self.until(&name, "gone", |pod| pod.is_none()).await;
        }
        let links = std::fs::read_to_string("/proc/self/net/dev").expect("links can be listed");
        assert!(!links.contains("veth"), "links are left: {links}");
        let pods = std::fs::read_dir(self.state.path().join("pods")).map_or(0, Iterator::count);
        assert_eq!(pods, 0, "directories of pods are left");
        assert_eq!(children(), Vec::<String>::new(), "processes are left");
        if let Some(end) = self.end.lock().unwrap().take() {
            let _ = end.send(());
        }
        if let Some(running) = self.ended.lock().await.take() {
            running.await.expect("the kubelet ends");
        }
    }
}

/// The status of a pod's first container.
pub(crate) fn container(pod: Option<&Pod>) -> Option<&ContainerStatus> {
    pod?.status.as_ref()?.container_statuses.as_ref()?.first()
}

/// Numbers of the processes whose command line has this word.
pub(crate) fn processes(word: &str) -> Vec<i32> {
    let all = std::fs::read_dir("/proc").expect("processes can be listed").filter_map(Result::ok);
    let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let has = |number: &i32| {
        let line = std::fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        line.split(|&byte| byte == 0).any(|part| part == word.as_bytes())
    };
    numbers.filter(has).collect()
}

/// Waits until so many processes have this word as an argument: a container has started before its shell starts what it was told.
pub(crate) async fn until_processes(word: &str, count: usize) -> Vec<i32> {
    let found = async {
        loop {
            let found = processes(word);
            if found.len() == count {
                break found;
            }
            tokio::task::yield_now().await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, found).await;
    found.unwrap_or_else(|_| panic!("{count} processes {word}; there are {:?}", processes(word)))
}

/// Command lines of the living children of this process.
fn children() -> Vec<String> {
    let own = std::process::id().to_string();
    let all = std::fs::read_dir("/proc").expect("processes can be listed").filter_map(Result::ok);
    let stats = all.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    stats
        .filter(|stat| stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)) == Some(&own))
        .collect()
}
