//! Clients that are slow, gone, or out for harm.

use std::net::Ipv4Addr;

use bytes::Bytes;
use fake_apiserver::Server;
use fake_apiserver::face::serve::serve;
use fake_apiserver::face::tls::Identity;
use fake_apiserver::face::{HttpService, ResponseBody};
use fake_apiserver::server::Config;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn ask(
    service: &HttpService,
    method: &str,
    path: &str,
    body: impl Into<Bytes>,
) -> Response<ResponseBody> {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    service.clone().oneshot(request.body(Full::new(body.into())).unwrap()).await.unwrap()
}

/// A listener for connections, with or without TLS.
async fn listening(tls: bool) -> TcpStream {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = tls.then(|| Identity::new(&[address.ip()]).unwrap().acceptor().unwrap());
    tokio::spawn(serve(listener, Server::new(Config::default()).service(), acceptor, std::future::pending()));
    TcpStream::connect(address).await.unwrap()
}

// The clock of these tests stands still, and jumps to the next timer whenever nobody has anything to do.

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_given_up() {
    let service = Server::new(Config::default()).service();
    let first = futures::stream::iter([Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::from("{")))]);
    let body = StreamBody::new(futures::StreamExt::chain(first, futures::stream::pending()));
    let request = Request::builder().method("POST").uri(MAPS).body(body).unwrap();
    assert_eq!(service.oneshot(request).await.unwrap().status(), 504);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_never_asks_is_closed() {
    for (tls, begin) in [(false, "GET /version HT"), (false, ""), (true, ""), (true, "nonsense")] {
        let mut client = listening(tls).await;
        client.write_all(begin.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // It ends, be it with a refusal, with an alert, or with a reset.
        let _ = client.read_to_end(&mut answer).await;
        assert!(!String::from_utf8_lossy(&answer).contains("200 OK"), "{begin}");
    }
}

#[tokio::test]
async fn a_watcher_that_is_gone_makes_room_for_another() {
    let service = Server::new(Config { max_watches: 1, ..Config::default() }).service();
    let watch = format!("{MAPS}?watch=true");
    let first = ask(&service, "GET", &watch, "").await;
    assert_eq!(first.status(), 200);
    let refused = ask(&service, "GET", &watch, "").await;
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].as_bytes()), (429, &b"1"[..]));
    drop(first);
    assert_eq!(ask(&service, "GET", &watch, "").await.status(), 200);
}

#[tokio::test]
async fn a_watcher_that_does_not_read_costs_no_more_than_the_history() {
    let service = Server::new(Config { history: 10, ..Config::default() }).service();
    let slow = ask(&service, "GET", &format!("{MAPS}?watch=true&resourceVersion=1"), "").await;
    for number in 0..100 {
        let made =
            ask(&service, "POST", MAPS, format!("{{\"metadata\": {{\"name\": \"m-{number}\"}}}}")).await;
        assert_eq!(made.status(), 201);
    }
    // It is told that it has missed something, and that is the end.
    let all = slow.into_body().collect().await.unwrap().to_bytes();
    let last = String::from_utf8_lossy(&all).lines().last().unwrap_or_default().to_owned();
    assert!(last.contains("\"code\":410"), "{last}");
}

#[tokio::test]
async fn bodies_that_are_out_for_harm_are_refused() {
    let service = Server::new(Config::default()).service();
    let deep = "{\"a\":".repeat(50_000) + "1" + &"}".repeat(50_000);
    let lists = "[".repeat(200_000);
    let long = format!("{{\"metadata\": {{\"name\": \"{}\"}}}}", "x".repeat(2_000_000));
    for (body, code) in [(deep, 400), (lists, 400), (long, 422)] {
        let shown: String = body.chars().take(30).collect();
        assert_eq!(ask(&service, "POST", MAPS, body).await.status(), code, "{shown}");
    }
    let laughs = (0..40).fold("a0: &a0 [x, x, x]\n".to_owned(), |text, at| {
        let last = format!("*a{at}, ").repeat(9);
        format!("{text}a{}: &a{} [{last}]\n", at + 1, at + 1)
    });
    let request = Request::builder().method("POST").uri(MAPS).header("content-type", "application/yaml");
    let answer =
        service.clone().oneshot(request.body(Full::new(Bytes::from(laughs))).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 400);
    // The server goes on.
    assert_eq!(ask(&service, "POST", MAPS, "{\"metadata\": {\"name\": \"m\"}}").await.status(), 201);
}
