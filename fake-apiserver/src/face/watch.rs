//! Watches over HTTP: one JSON document for each event, one line each.

use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::Server;
use super::body::ResponseBody;
use super::render::{self, Form};
use crate::status::Status;
use crate::storage::{Watch, WatchEvent};

/// Follows a collection until the client goes, the watch times out or falls out of history.
///
/// The stream goes on reading when the client does: a slow client costs no memory.
pub(super) fn answer(server: &Server, followed: Watch, form: Form) -> Response<ResponseBody> {
    let clock = server.clone();
    let frames = server.watch(followed).scan((form, true), move |(form, first), event| {
        form.now = clock.now();
        let frame = match event {
            Ok(event) => frame(&event, form, std::mem::take(first)),
            Err(status) => error(&status),
        };
        futures::future::ready(Some(Ok(frame)))
    });
    // Clients wait for the head of the answer before anything has happened.
    let body = ResponseBody::stream(stream::iter([Ok(Bytes::new())]).chain(frames).boxed());
    let mut response = render::bytes(StatusCode::OK, "application/json", Bytes::new());
    *response.body_mut() = body;
    response
}

fn frame(event: &WatchEvent, form: &Form, first: bool) -> Bytes {
    let kind = event.kind.as_str();
    if form.is_whole_json() {
        let mut line = Vec::with_capacity(event.object.bytes.len() + 32);
        line.extend_from_slice(format!("{{\"type\":\"{kind}\",\"object\":").as_bytes());
        line.extend_from_slice(&event.object.bytes);
        line.extend_from_slice(b"}\n");
        return line.into();
    }
    let object = event.object.value();
    let object = match form.table() {
        None => form.object(&object),
        Some((printer, version)) => {
            let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
            let objects = std::slice::from_ref(&object);
            if first {
                printer.table(version, &metadata, objects, form.include, form.now)
            } else {
                let mut rows = printer.rows(version, objects, form.include, form.now);
                rows["metadata"] = metadata;
                rows
            }
        }
    };
    line(kind, &object)
}

fn error(status: &Status) -> Bytes {
    line("ERROR", &status.to_value())
}

fn line(kind: &str, object: &Value) -> Bytes {
    format!("{}\n", json!({"type": kind, "object": object})).into()
}
