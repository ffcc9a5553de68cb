//! Measures what plugins cost: `cargo xtask bench plugins`. A bench of its own, since it counts allocations.
//!
//! Figures are printed as Markdown; ratios are taken within one run, so that the machine drops out of them.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dask_operator::observe::{Kind, Resource};
use dask_operator::plugin::webhook::Webhook;
use dask_operator::plugin::{
    self, Change, Declaration, Edit, Entry, How, Plugin, Registry, Role, View, config,
};
use dask_operator::sim::crowd::Crowd;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::SignedDuration;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto::ring};

/// Clusters that are looked at.
const CLUSTERS: usize = 1_000;
/// Calls of one plugin about one cluster.
const CALLS: usize = 20_000;
/// Requests to a webhook, one after the other.
const REQUESTS: usize = 2_000;
/// How often each is measured where the best counts.
const TURNS: usize = 5;
/// Simulated seconds for which clusters rest.
const RESTING: i64 = 600;

fn main() {
    // `cargo test` runs benches with this argument to see that they build and start; measuring is for `cargo xtask bench`.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    println!("| plugins | figure |\n|---|---|");
    nothing();
    looks();
    calls();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(requests());
}

fn row(name: &str, figure: impl std::fmt::Display) {
    println!("| {name} | {figure} |");
}

/// The edit that each of the plugins makes: it leaves the Service as it is, so that nothing is written and only asking costs.
struct Code;

impl Plugin for Code {
    fn declaration(&self) -> Declaration {
        Declaration::new("code")
    }

    fn sync(&self, view: &View) -> Change {
        let patch = json!({"metadata": {"namespace": view.parent["metadata"]["namespace"]}});
        Change { edits: vec![Edit::Merge { child: Role::Service, patch }], ..Change::default() }
    }
}

fn data() -> Entry {
    let edit =
        json!({"op": "merge", "child": "service", "patch": {"metadata": {"namespace": "${namespace}"}}});
    let plugin = serde_json::from_value(json!({"name": "data", "edits": [edit]})).expect("a plugin");
    config::entry(plugin, None).expect("it can be")
}

fn native() -> Entry {
    Entry { declaration: Code.declaration(), how: How::Native(Arc::new(Code)) }
}

fn outside() -> Entry {
    let webhook = Webhook::new("http://plugin.example/", Duration::from_secs(1), None).expect("a good URL");
    Entry { declaration: Declaration::new("outside"), how: How::Webhook(Arc::new(webhook)) }
}

fn clusters(crowd: &Crowd) -> Vec<Arc<Resource>> {
    let all = crowd.engine.world.cache.resources().filter(|resource| resource.key.kind == Kind::Cluster);
    all.cloned().collect()
}

/// All that is done for plugins where there are none, counted.
fn nothing() {
    let mut crowd = Crowd::advised(CLUSTERS, 1, &Registry::default());
    crowd.advance(SignedDuration::from_secs(60));
    let (clusters, now) = (clusters(&crowd), crowd.now());
    let world = &mut crowd.engine.world;
    let mut views = 0;
    let cost = allocation_counter::measure(|| {
        for cluster in &clusters {
            assert!(plugin::consult(world, &cluster.key, now).is_empty());
            let built = || {
                views += 1;
                Vec::new()
            };
            let shape = plugin::shape(world, cluster, built, now);
            black_box(plugin::stages(world, cluster, &shape, &mut Vec::new()));
        }
    });
    let calls: u64 = crowd.engine.tally.advice.values().sum();
    row(
        &format!("without plugins, {CLUSTERS} clusters: views made, calls, allocations"),
        format!("{views}, {calls}, {}", cost.count_total),
    );
}

/// A look at every cluster after each has changed, with and without plugins.
fn looks() {
    let registry = |entry| Registry::new(vec![entry]).expect("one plugin");
    let registries = [Registry::default(), registry(native()), registry(data()), registry(outside())];
    let mut crowds = registries.map(|plugins| {
        let mut crowd = Crowd::advised(CLUSTERS, 1, &plugins);
        crowd.advance(SignedDuration::from_secs(60));
        crowd
    });
    let calls = |crowd: &Crowd| crowd.engine.tally.advice.values().sum::<u64>();
    let before = crowds.each_ref().map(calls);
    // In turns, and the best of each: what else the machine does meanwhile is nobody's cost.
    let mut took = [Duration::MAX; 4];
    for turn in 0..TURNS {
        for (crowd, best) in crowds.iter_mut().zip(&mut took) {
            crowd.label(&turn.to_string());
            let start = Instant::now();
            crowd.advance(SignedDuration::from_secs(60));
            *best = start.elapsed().min(*best);
        }
    }
    let none = took[0].as_secs_f64();
    row(
        &format!("{CLUSTERS} clusters looked at after a change, without plugins"),
        format!("{:.0} ms", none * 1e3),
    );
    let names = ["in the process", "as data", "outside, but for the way of its answer"];
    for (number, name) in (1..).zip(names) {
        let asked = (calls(&crowds[number]) - before[number]) as f64 / TURNS as f64;
        let with = took[number].as_secs_f64();
        let more = (with - none) / asked.max(1.0) * 1e6;
        row(
            &format!("the same with a plugin {name}: to without, calls, a call with all that belongs to it"),
            format!("{:.2}, {asked:.0}, {more:.0} µs", with / none),
        );
    }
    for crowd in &mut crowds[1..] {
        let asked = calls(crowd);
        crowd.advance(SignedDuration::from_secs(RESTING));
        assert_eq!(calls(crowd), asked, "clusters at rest are asked about");
    }
    row(&format!("calls of each in {RESTING} s in which nothing changes"), 0);
}

/// A plugin's own function, without what the operator does around it.
fn calls() {
    let view = sample();
    row("what a plugin is shown of a cluster", format!("{} bytes", json!(view).to_string().len()));
    for (name, entry) in [("in the process", native()), ("as data", data())] {
        let How::Native(plugin) = entry.how else { continue };
        let cost = allocation_counter::measure(|| {
            black_box(plugin.sync(&view));
        });
        let start = Instant::now();
        for _ in 0..CALLS {
            black_box(plugin.sync(black_box(&view)));
        }
        let each = start.elapsed().as_secs_f64() / CALLS as f64 * 1e6;
        row(
            &format!("the function of one {name} alone: time, allocations"),
            format!("{each:.1} µs, {}", cost.count_total),
        );
    }
}

/// What a plugin is shown of a cluster.
fn sample() -> View {
    let crowd = Crowd::advised(1, 1, &Registry::default());
    let parent = clusters(&crowd).into_iter().next().expect("a cluster");
    let world = &crowd.engine.world;
    let built = plugin::built(world, &parent).expect("it can be built");
    plugin::view::view(world, &parent, &built, &Declaration::new("sample"))
}

/// Whole questions to a webhook on this machine: connection, view, answer.
async fn requests() {
    let view = sample();
    let plain = listen(None).await;
    let webhook =
        Webhook::new(&format!("http://{plain}/"), Duration::from_secs(5), None).expect("a good URL");
    row("a question to a webhook on this machine, over HTTP", asked(&webhook, &view).await);

    let ours = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).expect("a certificate");
    let secure = listen(Some(acceptor(&ours))).await;
    let bundle = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, ours.cert.pem());
    let plugin = json!({"name": "p", "url": format!("https://{secure}/"), "caBundle": bundle});
    let plugin = serde_json::from_value(plugin).expect("a plugin");
    let identity = (ours.cert.pem().into_bytes(), ours.signing_key.serialize_pem().into_bytes());
    let entry = config::entry(plugin, Some(&identity)).expect("it can be");
    let How::Webhook(webhook) = entry.how else { return };
    row("the same over TLS, both sides with a certificate", asked(&webhook, &view).await);
}

async fn asked(webhook: &Webhook, view: &View) -> String {
    let start = Instant::now();
    for _ in 0..REQUESTS {
        webhook.ask(view).await.expect("an answer");
    }
    format!("{:.0} µs", start.elapsed().as_secs_f64() / REQUESTS as f64 * 1e6)
}

fn acceptor(ours: &rcgen::CertifiedKey<rcgen::KeyPair>) -> TlsAcceptor {
    let certificate = CertificateDer::from(ours.cert.der().to_vec());
    let key = PrivateKeyDer::try_from(ours.signing_key.serialize_der()).expect("a key");
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("a root");
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(vec![certificate], key)
        .expect("a configuration");
    TlsAcceptor::from(Arc::new(config))
}

/// A webhook that wants nothing; where it listens.
async fn listen(tls: Option<TlsAcceptor>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            match &tls {
                None => {
                    tokio::spawn(serve(stream));
                }
                Some(tls) => {
                    let accepting = tls.accept(stream);
                    tokio::spawn(async move {
                        if let Ok(stream) = accepting.await {
                            serve(stream).await;
                        }
                    });
                }
            }
        }
    });
    address
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let answer = service_fn(|request: hyper::Request<Incoming>| async move {
        let body = request.into_body().collect().await?.to_bytes();
        let view: Result<View, _> = serde_json::from_slice(&body);
        assert!(view.is_ok(), "the view can be read");
        Ok::<_, hyper::Error>(hyper::Response::new(Full::new(Bytes::from_static(b"{}"))))
    });
    // A connection that breaks off shows as a question without an answer.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}
