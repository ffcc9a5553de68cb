//! A server that asks for rights, the operator, and kopf with plugins: the last two as processes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use dask_operator::names;
use dask_operator::sim::{create, definitions, delete, patch};
use dask_operator::store::{Event, FakeStore, Scope, Store};
use fake_apiserver::face::kubeconfig::Kubeconfig;
use fake_apiserver::face::serve::serve;
use fake_apiserver::face::{Authentication, HttpService, Server};
use fake_apiserver::request::{Request, User};
use fake_apiserver::response::Reply;
use fake_apiserver::server::Config;
use futures::StreamExt;
use kube::core::{ApiResource, GroupVersionKind};
use serde::Deserialize as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// After so long a test has failed; what it waits for takes seconds.
const PATIENCE: Duration = Duration::from_mins(4);
const NAMESPACE: &str = "default";
/// What the chart makes of `kopfPlugins`, in a release for this namespace.
const RENDERED: &str = "../snapshots/chart/kopf-plugins.yaml";
/// The page whose files are the documented plugin.
const PAGE: &str = "../docs/extending-kopf.md";
/// Name of what the chart makes.
const NAME: &str = "dask-dask-kubernetes-operator-kopf-plugins";
const RBAC: &str = "rbac.authorization.k8s.io/v1";

/// A process that is killed when the test ends, however it ends.
struct Process {
    child: Child,
    log: PathBuf,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    fn start(command: &mut Command, log: PathBuf) -> Self {
        let file = File::create(&log).expect("the folder is writable");
        command.stdout(file.try_clone().expect("the log is a file")).stderr(file);
        Self { child: command.spawn().expect("the program can be started"), log }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("its log is there")
    }
}

/// Everything of one case.
pub(crate) struct World {
    folder: TempDir,
    runtime: Runtime,
    server: Server,
    python: PathBuf,
    /// What kopf is started with, by the chart.
    arguments: Vec<String>,
    kopf: Option<Process>,
    operator: Option<Process>,
}

impl World {
    pub(crate) fn new(python: &str) -> Self {
        let runtime = Runtime::new().expect("a runtime can be made");
        let server = Server::new(Config { rbac: true, ..Config::default() });
        for crd in dask_operator::api::crds() {
            let request = create(definitions::API_VERSION, definitions::PLURAL, None, &crd);
            server.request(&request).expect("our definitions are accepted");
        }
        let mut world = Self {
            folder: TempDir::new().expect("a temporary folder"),
            runtime,
            server,
            python: python.into(),
            arguments: Vec::new(),
            kopf: None,
            operator: None,
        };
        world.serve();
        world.install_chart();
        world
    }

    /// Two users, each with a kubeconfig: the operator, and the account of the plugins.
    fn serve(&self) {
        let listener =
            self.runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port of this machine is free");
        let address = listener.local_addr().expect("it is bound");
        let account = User {
            name: format!("system:serviceaccount:{NAMESPACE}:{NAME}"),
            groups: ["system:serviceaccounts", "system:authenticated"].map(str::to_owned).into(),
            ..User::default()
        };
        let users = [("operator", User::default()), ("kopf", account)];
        let mut authentication = Authentication::default();
        for (name, user) in users {
            authentication = authentication.token(format!("token-of-{name}"), user);
            let token = Some(format!("token-of-{name}"));
            Kubeconfig { token, ..Kubeconfig::plain(format!("http://{address}")) }
                .write(&self.path(&format!("{name}.kubeconfig")))
                .expect("it is writable");
        }
        let service = HttpService::new(self.server.clone(), Some(authentication));
        self.runtime.spawn(serve(listener, service, None, std::future::pending()));
        let timers = self.server.clone();
        self.runtime.spawn(async move { timers.run().await });
    }

    /// What the chart makes for the plugins, and kopf's file and arguments from it.
    fn install_chart(&mut self) {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(RENDERED));
        let text = text.expect("the chart was rendered with plugins");
        for document in serde_yaml::Deserializer::from_str(&text) {
            let object = Value::deserialize(document).expect("what is rendered is YAML");
            if object["metadata"]["name"] != NAME {
                continue;
            }
            if let Some(file) = object["data"]["kopf_plugins.py"].as_str() {
                fs::write(self.path("kopf_plugins.py"), file).expect("the folder is writable");
            }
            if let Some(arguments) = object.pointer("/spec/template/spec/containers/0/args") {
                let arguments: Vec<String> = serde_json::from_value(arguments.clone()).expect("texts");
                let folder = self.folder.path().to_string_lossy().into_owned();
                // A port of a pod is not one of this machine.
                let kept = arguments.into_iter().filter(|argument| !argument.starts_with("--liveness"));
                self.arguments = kept.map(|argument| argument.replace("/kopf-plugins", &folder)).collect();
            }
            self.make(&object);
        }
        assert!(!self.arguments.is_empty(), "{RENDERED} has no Deployment {NAME}");
    }

    fn make(&self, object: &Value) {
        let text = |name: &str| object[name].as_str().expect("a text");
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = self.server.with(|api| api.registry().by_kind(group, version, kind).cloned());
        let plural = resource.expect("the kind is served").plural.clone();
        let request = Request::create(api_version, &plural, object.clone()).namespace(NAMESPACE);
        self.server.request(&request).unwrap_or_else(|status| panic!("{kind}: {}", status.to_value()));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder of the package that the page describes.
    pub(crate) fn documented(&self) -> PathBuf {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
        let text = fs::read_to_string(page).expect("the page is there");
        let mut files = 0;
        for block in text.split("\n```").skip(1).step_by(2) {
            let (first, body) = block.split_once('\n').expect("a block has a first line");
            let Some((_, name)) = first.split_once(" file=my_controller_plugin/") else { continue };
            self.write(&format!("my_controller_plugin/{name}"), body);
            files += 1;
        }
        assert_eq!(files, 2, "the page has the files of a package");
        self.path("my_controller_plugin")
    }

    /// The folder of a package with one plugin.
    pub(crate) fn package(&self, name: &str, plugin: &str) -> PathBuf {
        let project = format!(
            "[build-system]\nrequires = [\"setuptools\"]\nbuild-backend = \"setuptools.build_meta\"\n\
             [project]\nname = \"{name}\"\nversion = \"1.0\"\n\
             [project.entry-points.dask_operator_plugin]\n{name} = \"{name}.plugin\"\n"
        );
        self.write(&format!("{name}/pyproject.toml"), &project);
        self.write(&format!("{name}/{name}/plugin.py"), plugin);
        self.path(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it is below the folder")).expect("it is writable");
        fs::write(path, text).expect("it is writable");
    }

    /// Installs a package where kopf looks for it.
    pub(crate) fn install(&self, package: &Path) {
        let done = Command::new(&self.python)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
                "--no-index",
            ])
            .args(["--no-build-isolation", "--target"])
            .arg(self.path("packages"))
            .arg(package)
            .status()
            .expect("Python starts");
        assert!(done.success(), "{} cannot be installed", package.display());
    }

    /// What `kopfPlugins.rules` would add.
    pub(crate) fn grant(&self, rule: &Value) {
        let metadata = json!({"name": "more", "namespace": NAMESPACE});
        self.make(&json!({"apiVersion": RBAC, "kind": "Role", "metadata": metadata, "rules": [rule]}));
        self.make(&json!({
            "apiVersion": RBAC, "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "more"},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}],
        }));
    }

    pub(crate) fn start_kopf(&mut self) {
        let mut command = Command::new(&self.python);
        command
            .args(["-m", "kopf", "run"])
            .args(&self.arguments)
            .env("PYTHONPATH", self.path("packages"))
            .env("KUBECONFIG", self.path("kopf.kubeconfig"));
        self.kopf = Some(Process::start(&mut command, self.path("kopf.log")));
    }

    pub(crate) fn log_of_kopf(&self) -> String {
        self.kopf.as_ref().expect("it was started").log()
    }

    /// Waits until it has ended by itself and failed.
    pub(crate) fn end_of_kopf(&mut self) -> String {
        let process = self.kopf.as_mut().expect("it was started");
        assert!(!process.child.wait().expect("it is a child").success());
        process.log()
    }

    /// What the plugins' account was not allowed.
    pub(crate) fn refusals(&self) -> String {
        let log = self.log_of_kopf();
        let refused: Vec<&str> = log.lines().filter(|line| line.contains("orbidden")).collect();
        refused.join("\n")
    }

    fn operator(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dask-operator"));
        command.args(arguments).args(["--namespace", NAMESPACE]);
        command.env("KUBECONFIG", self.path("operator.kubeconfig"));
        command
    }

    pub(crate) fn start_operator(&mut self) {
        let process = Process::start(&mut self.operator(&["run"]), self.path("operator.log"));
        self.operator = Some(process);
    }

    /// Another process takes over, and has had a look around: it works.
    pub(crate) fn restart_operator(&mut self) {
        self.operator = None;
        self.start_operator();
        self.scale("ex", 2);
        self.until("daskworkergroups", "ex-default", |group| group["spec"]["worker"]["replicas"] == 2);
    }

    /// What the operator says about others that do its work.
    pub(crate) fn warnings_of_the_operator(&self) -> String {
        let log = self.operator.as_ref().expect("it was started").log();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("Python operator")).collect();
        lines.join("\n")
    }

    /// What `adopt --dry-run` says.
    pub(crate) fn adopt(&self) -> String {
        let output = self.operator(&["adopt", "--dry-run"]).output().expect("it was built for this test");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    pub(crate) fn create_cluster(&self, name: &str) {
        let cluster = dask_operator::sim::story::cluster(name, 1);
        self.ask(&create(names::API_VERSION, "daskclusters", Some(NAMESPACE), &cluster));
    }

    pub(crate) fn scale(&self, cluster: &str, replicas: u32) {
        let body = json!({"spec": {"worker": {"replicas": replicas}}});
        self.ask(&patch(names::API_VERSION, "daskclusters", NAMESPACE, cluster, body));
    }

    pub(crate) fn delete_cluster(&self, name: &str) {
        self.ask(&delete(names::API_VERSION, "daskclusters", NAMESPACE, name));
    }

    fn ask(&self, request: &Request) {
        self.server.request(request).expect("an administrator may");
    }

    pub(crate) fn list(&self, plural: &str) -> Vec<Value> {
        let store = FakeStore::new(self.server.clone());
        let listed = self.runtime.block_on(store.list(&resource(plural), &Scope::namespace(NAMESPACE)));
        let objects = listed.expect("the fake answers").into_iter();
        let ours = objects.filter(|object| object.metadata.name.as_deref() != Some(NAME));
        ours.map(|object| serde_json::to_value(object).expect("JSON")).collect()
    }

    pub(crate) fn read(&self, plural: &str, name: &str) -> Option<Value> {
        let request = Request::get(&resource(plural).api_version, plural).namespace(NAMESPACE).name(name);
        match self.server.request(&request).ok()?.reply {
            Reply::Object(stored) => Some(stored.value()),
            _ => None,
        }
    }

    /// The first state of an object that is as wished.
    pub(crate) fn until(&self, plural: &str, name: &str, wish: impl Fn(&Value) -> bool) -> Value {
        let seen = self.follow(plural, name, |object| object.is_some_and(&wish));
        seen.unwrap_or_default()
    }

    pub(crate) fn until_gone(&self, plural: &str, name: &str) {
        self.follow(plural, name, |object| object.is_none());
    }

    /// Waits until the object, or that there is none, is as wished.
    fn follow(&self, plural: &str, name: &str, wish: impl Fn(Option<&Value>) -> bool) -> Option<Value> {
        let store = FakeStore::new(self.server.clone());
        let mut last = None;
        let waiting = async {
            let mut watch = store.watch(&resource(plural), &Scope::namespace(NAMESPACE));
            let (mut listed, mut found) = (false, None);
            while let Some(event) = watch.next().await {
                match event.expect("the fake's watch does not fail") {
                    Event::Init => (listed, found) = (false, None),
                    Event::InitDone => listed = true,
                    Event::InitApply(object) | Event::Apply(object) => {
                        if object.metadata.name.as_deref() == Some(name) {
                            found = Some(serde_json::to_value(object).expect("JSON"));
                        }
                    }
                    Event::Delete(object) => {
                        found = found.filter(|_| object.metadata.name.as_deref() != Some(name));
                    }
                }
                last.clone_from(&found);
                if listed && wish(found.as_ref()) {
                    return found;
                }
            }
            panic!("a watch never ends");
        };
        let ended = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, waiting).await });
        let logs = || {
            let processes = [&self.kopf, &self.operator].into_iter().flatten();
            processes.map(Process::log).collect::<Vec<_>>().join("\n")
        };
        ended.unwrap_or_else(|_| panic!("{plural} {name}: last seen {last:?}\n{}", logs()))
    }
}

fn resource(plural: &str) -> ApiResource {
    let (group, version, kind) = match plural {
        "services" => ("", "v1", "Service"),
        "configmaps" => ("", "v1", "ConfigMap"),
        "deployments" => ("apps", "v1", "Deployment"),
        "daskclusters" => (names::GROUP, "v1", "DaskCluster"),
        "daskworkergroups" => (names::GROUP, "v1", "DaskWorkerGroup"),
        other => panic!("{other} are not asked for here"),
    };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}
