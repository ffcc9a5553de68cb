//! Webhooks over the wire: what is sent, what is taken, and what is not.

use std::sync::Arc;
use std::time::Duration;

use dask_operator::plugin::config::{self, PluginConfig};
use dask_operator::plugin::contract::PROTOCOL;
use dask_operator::plugin::webhook::Webhook;
use dask_operator::plugin::{AskError, Change, How, View};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto::ring};
use wiremock::matchers::{body_partial_json, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

fn view() -> View {
    let view = json!({
        "protocol": PROTOCOL, "plugin": "p", "parent": {"metadata": {"name": "a"}}, "children": [], "observed": [], "related": [],
    });
    serde_json::from_value(view).expect("a view")
}

async fn asked(answer: ResponseTemplate) -> Result<Change, AskError> {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/sync"))
        .and(header("content-type", "application/json"))
        .and(body_partial_json(
            json!({"protocol": "v1", "plugin": "p", "parent": {"metadata": {"name": "a"}}}),
        ))
        .respond_with(answer)
        .mount(&server)
        .await;
    let webhook = Webhook::new(&format!("{}/sync", server.uri()), Duration::from_secs(20), None);
    webhook.expect("a good URL").ask(&view()).await
}

async fn check_refused(answer: ResponseTemplate, reason: &str, said: &str) {
    let error = asked(answer).await.expect_err("it cannot be used");
    assert!(error.reason == reason && error.to_string().contains(said), "{error:?}");
}

#[tokio::test]
async fn an_answer_is_a_change_and_nothing_else() {
    let good = json!({"edits": [{"op": "veto", "reason": "No", "message": "no"}]});
    assert_eq!(
        asked(ResponseTemplate::new(200).set_body_json(good)).await.expect("an answer").edits.len(),
        1
    );
    assert_eq!(asked(ResponseTemplate::new(200).set_body_json(json!({}))).await, Ok(Change::default()));
    // Go's nil slices.
    let nothing = json!({"edits": null, "conditions": null});
    assert_eq!(asked(ResponseTemplate::new(200).set_body_json(nothing)).await, Ok(Change::default()));
    let body = |body: Value| ResponseTemplate::new(200).set_body_json(body);
    check_refused(body(json!({"edit": []})), "Malformed", "unknown field `edit`").await;
    check_refused(body(json!({"edits": [{"op": "delete", "child": "service"}]})), "Malformed", "edits[0]")
        .await;
    check_refused(ResponseTemplate::new(200).set_body_string("<html>"), "Malformed", "it begins: <html>")
        .await;
    check_refused(ResponseTemplate::new(500).set_body_string("out of order"), "Failed", "500: out of order")
        .await;
    check_refused(ResponseTemplate::new(302), "Failed", "302").await;
    let large = ResponseTemplate::new(200).set_body_string(" ".repeat(600 << 10));
    check_refused(large, "Malformed", "more than 524288 bytes").await;
}

#[tokio::test]
async fn one_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let webhook = Webhook::new(&url, Duration::from_millis(200), None).expect("a good URL");
    assert_eq!(webhook.ask(&view()).await.expect_err("it is silent").reason, "TimedOut");
    drop(listener);
    assert_eq!(webhook.ask(&view()).await.expect_err("it is gone").reason, "Unreachable");
}

/// A server over TLS that asks its clients who they are, and answers one request with an empty change.
async fn serve(listener: TcpListener, acceptor: TlsAcceptor) {
    while let Ok((stream, _)) = listener.accept().await {
        let Ok(mut stream) = acceptor.accept(stream).await else { continue };
        let mut request = Vec::new();
        let mut buffer = [0; 4_096];
        while !request.ends_with(b"}") {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(count) => request.extend_from_slice(&buffer[..count]),
            }
        }
        let _ =
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}").await;
        let _ = stream.shutdown().await;
    }
}

#[tokio::test]
async fn over_tls_both_sides_must_be_known() {
    let ours = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).expect("a certificate");
    let stranger = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).expect("a certificate");
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
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config))));

    let ask = async |bundle: String, identity: Option<(Vec<u8>, Vec<u8>)>| {
        let plugin =
            json!({"name": "p", "url": format!("https://{address}/"), "timeout": "20s", "caBundle": bundle});
        let plugin: PluginConfig = serde_json::from_value(plugin).expect("a plugin");
        let entry = config::entry(plugin, identity.as_ref()).expect("it can be");
        let How::Webhook(webhook) = entry.how else { panic!("it is a webhook") };
        webhook.ask(&view()).await
    };
    let base64 = |text: String| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
    let me = || (ours.cert.pem().into_bytes(), ours.signing_key.serialize_pem().into_bytes());
    assert_eq!(ask(base64(ours.cert.pem()), Some(me())).await, Ok(Change::default()));
    assert_eq!(ask(ours.cert.pem(), Some(me())).await, Ok(Change::default()), "PEM as it is");
    let unknown = ask(base64(stranger.cert.pem()), Some(me())).await.expect_err("another server");
    assert_eq!(unknown.reason, "Unreachable");
    assert!(unknown.message.contains("look whether caBundle holds the authority"), "{}", unknown.message);
    let nobody = ask(base64(ours.cert.pem()), None).await.expect_err("no client certificate");
    assert_eq!(nobody.reason, "Unreachable");
    assert!(nobody.message.contains("whether it asks for a clientCertificate"), "{}", nobody.message);
    // The other end speaks no TLS.
    let plain = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = plain.local_addr().expect("an address");
    tokio::spawn(async move { while plain.accept().await.is_ok() {} });
    let plugin = json!({"name": "p", "url": format!("https://{address}/"), "timeout": "20s", "caBundle": ours.cert.pem()});
    let plugin: PluginConfig = serde_json::from_value(plugin).expect("a plugin");
    let How::Webhook(webhook) = config::entry(plugin, None).expect("it can be").how else {
        panic!("it is a webhook")
    };
    let said = webhook.ask(&view()).await.expect_err("no TLS").message;
    assert!(
        said.contains("cannot be spoken to over TLS") && said.contains("look whether it speaks TLS there"),
        "{said}"
    );
}

/// A server that answers each connection with these pieces, one after the other, with a pause between them.
async fn dripping(pieces: Vec<Vec<u8>>, pause: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            for piece in &pieces {
                if stream.write_all(piece).await.is_err() {
                    break;
                }
                tokio::time::sleep(pause).await;
            }
        }
    });
    url
}

#[tokio::test]
async fn an_answer_that_comes_in_drops_is_given_up_at_the_same_time_as_none() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n".to_vec();
    let drops = |first: Vec<u8>, drop: &[u8]| {
        [first].into_iter().chain(std::iter::repeat_n(drop.to_vec(), 100_000)).collect()
    };
    let body = dripping(drops(head, b" "), Duration::from_millis(5)).await;
    let headers =
        dripping(drops(b"HTTP/1.1 200 OK\r\n".to_vec(), b"x-a: b\r\n"), Duration::from_millis(5)).await;
    let informed =
        dripping(drops(Vec::new(), b"HTTP/1.1 102 Processing\r\n\r\n"), Duration::from_millis(5)).await;
    for url in [body, headers, informed] {
        let webhook = Webhook::new(&url, Duration::from_millis(300), None).expect("a good URL");
        let reason = webhook.ask(&view()).await.expect_err("it never ends").reason;
        assert!(["TimedOut", "Unreachable"].contains(&reason), "{url}: {reason}");
    }
}

#[tokio::test]
async fn what_is_no_json_or_says_a_thing_twice_is_told() {
    let text = |text: &str| ResponseTemplate::new(200).set_body_string(text);
    check_refused(text(r#"{"edits": [], "edits": []}"#), "Malformed", "duplicate field `edits`").await;
    let twice = r#"{"edits": [{"op": "veto", "reason": "A", "reason": "B", "message": ""}]}"#;
    check_refused(text(twice), "Malformed", "duplicate field `reason`").await;
    let number = |number: &str| {
        format!(r#"{{"edits": [{{"op": "merge", "child": "service", "patch": {{"a": {number}}}}}]}}"#)
    };
    check_refused(text(&number("NaN")), "Malformed", "expected value").await;
    check_refused(text(&number("1e999")), "Malformed", "number out of range").await;
    let deep = number(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)));
    check_refused(text(&deep), "Malformed", "recursion limit exceeded").await;
    check_refused(text("{}{}"), "Malformed", "trailing characters").await;
    check_refused(text(""), "Malformed", "the answer is empty").await;
    check_refused(text("null"), "Malformed", "it is no object").await;
    check_refused(text("[[], []]"), "Malformed", "it is no object").await;
    let moved = ResponseTemplate::new(307).insert_header("location", "https://elsewhere.example/");
    check_refused(moved, "Failed", "give the url that it leads to: none is followed").await;
}
