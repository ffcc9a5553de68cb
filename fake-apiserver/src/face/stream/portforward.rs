//! `pods/portforward`: TCP connections to a pod's ports, within one connection to the client.
//!
//! | client | carrier | a connection is |
//! |---|---|---|
//! | kubectl up to 1.30 | SPDY | two streams, `data` and `error`, with the same `requestid` |
//! | kubectl from 1.31 | SPDY within WebSocket | the same |
//! | kube-rs, kr8s, Python | WebSocket channels | the channels 2i and 2i+1 of port i; each begins with the port's number |

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use http::request::Parts;
use http::{Response, StatusCode};
use tokio::task::JoinSet;

use super::super::body::ResponseBody;
use super::super::node::{Connection, Door, NodeProxy, PodIdentity};
use super::pipe::{Inlet, Outlet};
use super::spdy::{self, Incoming};
use super::upgrade::{Changeable, Connections, Wish, plain, spdy_headers, spdy_protocol, websocket_headers};
use super::websocket::{self, Channels, Framing, Tunnel};
use crate::status::Status;

const SPDY: &str = "portforward.k8s.io";
const TUNNELLED: &str = "SPDY/3.1+portforward.k8s.io";
const CHANNELS: &[(&str, Framing)] =
    &[("v4.channel.k8s.io", Framing::Binary), ("v4.base64.channel.k8s.io", Framing::Base64)];
/// How long one stream of a pair waits for the other (`streamCreationTimeout` of kubelets).
const PAIRING: Duration = Duration::from_secs(30);
/// Ports that one request over channels may name: two channels each, numbered in one byte.
const PORTS_MAX: usize = 64;

/// Connects to ports of one pod.
#[derive(Clone)]
pub(super) struct Ports {
    pub(super) node: Arc<dyn NodeProxy>,
    pub(super) pod: PodIdentity,
}

impl Ports {
    fn dial(&self, port: u16) -> BoxFuture<'static, Result<Connection, String>> {
        self.node.dial(self.pod.clone(), Door::Loopback, port)
    }

    fn failed(&self, port: u16, why: &str) -> String {
        let PodIdentity { namespace, name, uid } = &self.pod;
        format!("error forwarding port {port} to pod {name}_{namespace}, uid {uid}: {why}")
    }
}

/// `named`: the ports that a request over channels is about; the others say it with each stream.
pub(super) fn answer(
    ports: Ports,
    named: &[String],
    mut parts: Parts,
    connections: &Connections,
) -> Result<Response<ResponseBody>, Status> {
    let wish = Wish::of(&parts.headers).ok_or_else(|| Status::bad_request("Upgrade request required"))?;
    let change = Changeable::take(&mut parts, connections)?;
    let key = match wish {
        Wish::Spdy => {
            return Ok(match spdy_protocol(&parts.headers, &[SPDY]) {
                Ok(protocol) => change
                    .change(spdy_headers(protocol), |io| spdy::serve(io, |streams| pairs(streams, ports))),
                Err(refusal) => *refusal,
            });
        }
        Wish::WebSocket(key) => key,
    };
    let offered = websocket::offered(&parts.headers);
    if offered.iter().any(|offer| offer == TUNNELLED) {
        return Ok(change.change(websocket_headers(key, Some(TUNNELLED)), |io| async move {
            spdy::serve(Tunnel::new(io).await, |streams| pairs(streams, ports)).await;
        }));
    }
    let known = offered.iter().find_map(|offer| CHANNELS.iter().find(|(known, _)| known == offer));
    let (protocol, framing) = match known {
        Some((protocol, framing)) => (Some(*protocol), *framing),
        None if offered.is_empty() => (None, Framing::Binary),
        None => return Ok(plain(StatusCode::FORBIDDEN, "")),
    };
    let numbers = numbers(named).map_err(Status::bad_request)?;
    let channels = Channels { framing, count: numbers.len() as u8 * 2, closable: false };
    Ok(change.change(websocket_headers(key, protocol), move |io| {
        websocket::serve(io, channels, move |ends| over_channels(ends, numbers, ports))
    }))
}

/// The ports of a request over channels.
fn numbers(texts: &[String]) -> Result<Vec<u16>, String> {
    if texts.is_empty() {
        return Err("query parameter \"ports\" is required".into());
    }
    let numbers: Result<Vec<u16>, String> =
        texts.iter().flat_map(|text| text.split(',')).map(number).collect();
    let numbers = numbers?;
    if numbers.len() > PORTS_MAX {
        return Err(format!("at most {PORTS_MAX} ports can be forwarded over one connection"));
    }
    Ok(numbers)
}

fn number(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(0) => Err(format!("port {text:?} must be > 0")),
        Ok(port) => Ok(port),
        Err(error) => Err(format!("unable to parse {text:?} as a port: {error}")),
    }
}

/// One connection for each port; all begin at once, and the end of all is the end.
async fn over_channels(ends: Vec<(Inlet, Outlet)>, numbers: Vec<u16>, ports: Ports) {
    let mut ends = ends.into_iter();
    let mut forwards = Vec::new();
    for port in numbers {
        let (Some((inlet, data)), Some((_, error))) = (ends.next(), ends.next()) else { return };
        let ports = ports.clone();
        forwards.push(async move {
            let name = port.to_le_bytes().to_vec();
            if data.send(name.clone()).await.is_ok() && error.send(name).await.is_ok() {
                forward(&ports, port, inlet, data, error).await;
            }
        });
    }
    join_all(forwards).await;
}

/// Streams of one connection that wait for each other.
struct Pair {
    port: u16,
    data: Option<(Inlet, Outlet)>,
    error: Option<Outlet>,
    old: bool,
}

/// Serves streams as they come, in pairs.
async fn pairs(mut streams: Incoming, ports: Ports) {
    let mut waiting: BTreeMap<String, Pair> = BTreeMap::new();
    let mut forwards = JoinSet::new();
    let mut sweep = tokio::time::interval(PAIRING);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            Some(_) = forwards.join_next() => {}
            stream = streams.recv() => match stream {
                None => return,
                Some(stream) => {
                    let refused = join_pair(stream, &mut waiting);
                    if let Err((outlet, why)) = refused {
                        tracing::debug!(why, "a stream of a port-forward was refused");
                        outlet.reset().await;
                    }
                }
            },
            _ = sweep.tick() => {
                for (request, pair) in waiting.extract_if(.., |_, pair| std::mem::replace(&mut pair.old, true)) {
                    if let Some(error) = pair.error {
                        forwards.spawn(async move {
                            let text = format!("(request={request}) timed out waiting for streams");
                            let _ = error.send(text).await;
                            error.finish().await;
                        });
                    }
                }
            }
        }
        for (_, pair) in waiting.extract_if(.., |_, pair| pair.data.is_some() && pair.error.is_some()) {
            if let (Some((inlet, data)), Some(error)) = (pair.data, pair.error) {
                let ports = ports.clone();
                forwards.spawn(async move { forward(&ports, pair.port, inlet, data, error).await });
            }
        }
    }
}

/// Puts a stream to its other half; a stream that does not say what it is comes back.
fn join_pair(stream: spdy::Stream, waiting: &mut BTreeMap<String, Pair>) -> Result<(), (Outlet, String)> {
    let spdy::Stream { number: id, headers, inlet, outlet } = stream;
    let header = |name: &str| headers.get(name).map(String::as_str).unwrap_or_default();
    let port = match number(header("port")) {
        Ok(port) => port,
        Err(why) => return Err((outlet, why)),
    };
    let kind = header("streamtype");
    // Clients that send no request id open the error stream first and the data stream next.
    let request = match (header("requestid"), kind) {
        ("", "data") => id.saturating_sub(2).to_string(),
        ("", _) => id.to_string(),
        (request, _) => request.to_owned(),
    };
    let fresh = || Pair { port, data: None, error: None, old: false };
    match kind {
        "error" => {
            let pair = waiting.entry(request).or_insert_with(fresh);
            if pair.error.is_some() {
                return Err((outlet, "error stream already assigned".into()));
            }
            pair.error = Some(outlet);
        }
        "data" => {
            let pair = waiting.entry(request).or_insert_with(fresh);
            if pair.data.is_some() {
                return Err((outlet, "data stream already assigned".into()));
            }
            pair.port = port;
            pair.data = Some((inlet, outlet));
        }
        other => return Err((outlet, format!("invalid stream type {other:?}"))),
    }
    Ok(())
}

/// One TCP connection, until the pod closes it or the client gives it up.
async fn forward(ports: &Ports, port: u16, inlet: Inlet, data: Outlet, error: Outlet) {
    let given_up = inlet.given_up();
    let work = async {
        match ports.dial(port).await {
            Ok(connection) => exchange(connection, inlet, &data).await,
            Err(why) => {
                // The client may have gone.
                let _ = error.send(ports.failed(port, &why)).await;
            }
        }
    };
    tokio::select! {
        biased;
        () = work => {}
        () = given_up => {}
    }
    data.finish().await;
    error.finish().await;
}

async fn exchange(connection: Connection, inlet: Inlet, data: &Outlet) {
    let (mut from_pod, to_pod) = tokio::io::split(connection);
    let sending = async {
        // The pod may read no more and still have something to say.
        let _ = inlet.copy_to(to_pod).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        _ = data.copy_from(&mut from_pod) => {}
        () = sending => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::path::Query;
    use super::*;

    #[test]
    fn ports_are_repeated_or_listed() {
        let read = |query| numbers(&Query::parse(Some(query)).all("ports"));
        assert_eq!(read("ports=80&ports=81"), Ok(vec![80, 81]));
        assert_eq!(read("ports=80,81"), Ok(vec![80, 81]));
        for wrong in ["", "ports=", "ports=0", "ports=x", "ports=65536"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(read(&format!("ports=1{}", ",1".repeat(PORTS_MAX))).is_err());
    }
}
