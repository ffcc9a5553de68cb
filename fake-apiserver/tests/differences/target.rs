//! Who is asked: this server, or a real one.

use std::collections::BTreeMap;
use std::time::Duration;

use fake_apiserver::Server;
use fake_apiserver::face::{Authentication, HttpService};
use fake_apiserver::request::User;
use fake_apiserver::server::Config;
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;

use crate::script::{Answer, Request};

/// Names the kubeconfig of the real server while recordings are made.
const RECORD: &str = "FAKE_APISERVER_RECORD";
/// How often and how far apart a real server is asked for what its controllers bring about.
const TRIES: usize = 100;
const PAUSE: Duration = Duration::from_millis(100);
/// How long its caches may take.
const MOMENT: Duration = Duration::from_millis(500);
/// The headers that clients read.
const HEADERS: [&str; 6] = ["content-type", "warning", "retry-after", "cache-control", "allow", "location"];

pub(crate) struct Target {
    client: Client,
    is_real: bool,
}

impl Target {
    /// A server without controllers, so that the answers depend on the requests alone, and with roles as the real one.
    pub(crate) fn fake() -> Self {
        let server = Server::new(Config { controllers: false, rbac: true, ..Config::default() });
        // As in the list of tokens of the recorded server.
        let admin = User { uid: "admin".into(), ..User::default() };
        let known = Authentication::default().token("admin", admin);
        let client = Client::new(HttpService::new(server, Some(known)), "default");
        Self { client, is_real: false }
    }

    /// The real server to record from, if that is what this run is for. It must run no controllers either.
    pub(crate) async fn recorded() -> Option<Self> {
        let path = std::env::var_os(RECORD)?;
        let kubeconfig = Kubeconfig::read_from(path).unwrap();
        let options = KubeConfigOptions::default();
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
        // Every answer counts, also one that says to try again.
        config.default_retry = false;
        Some(Self { client: Client::try_from(config).unwrap(), is_real: true })
    }

    /// The answer with the code that is waited for, or after a moment, if this is a real server, which may take a while.
    pub(crate) async fn ask_in_time(&self, request: &Request, code: Option<u16>, settle: bool) -> Answer {
        if self.is_real && settle {
            tokio::time::sleep(MOMENT).await;
        }
        let mut answer = self.ask(request).await;
        if let Some(code) = code.filter(|_| self.is_real) {
            for _ in 0..TRIES {
                if answer.code == code {
                    break;
                }
                tokio::time::sleep(PAUSE).await;
                answer = self.ask(request).await;
            }
        }
        answer
    }

    pub(crate) async fn ask(&self, request: &Request) -> Answer {
        let (method, path) = request.line.split_once(' ').unwrap();
        let mut builder = http::Request::builder()
            .method(method)
            .uri(path)
            .header("accept", &request.accept)
            .header("user-agent", "recorder");
        if !self.is_real {
            builder = builder.header("authorization", "Bearer admin");
        }
        if let Some(content_type) = &request.content_type {
            builder = builder.header("content-type", content_type);
        }
        if let Some(user) = &request.user {
            builder = builder.header("impersonate-user", user);
        }
        for group in &request.groups {
            builder = builder.header("impersonate-group", group);
        }
        let sent = builder.body(Body::from(request.body.clone())).unwrap();
        let (head, body) = self.client.send(sent).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let mut headers = BTreeMap::new();
        for name in HEADERS {
            let values: Vec<&str> = head.headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect();
            if !values.is_empty() {
                headers.insert(name.to_owned(), values.join(", "));
            }
        }
        Answer {
            line: request.title.clone(),
            code: head.status.as_u16(),
            headers,
            body: value(&String::from_utf8_lossy(&body), path.contains("watch=")),
            asked: Vec::new(),
        }
    }
}

/// JSON as such, the events of a watch as a list, anything else as text.
fn value(text: &str, watch: bool) -> Value {
    let lines = || text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>();
    let parsed = if watch { lines().map(Value::Array) } else { serde_json::from_str(text) };
    parsed.unwrap_or_else(|_| Value::String(text.to_owned()))
}
