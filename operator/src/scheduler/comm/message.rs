//! Frame 0: MessagePack maps, read into exactly what is asked for and nothing else.
//!
//! Dask packs with UTF-8 strings and the binary type (`distributed/protocol/core.py`). An object that is not plain data stands
//! as `{"__Serialized__": k}` or `{"__Pickled__": k}`, its frames from number k on; such an object is opaque here: its frames
//! are never looked at, and a pickle is never loaded. Unknown keys are skipped without being kept, so that a reply costs
//! memory in proportion to what is wanted of it.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Values inside values. Dask's own replies have five levels.
const DEPTH_MAX: usize = 32;
/// Entries of a map by worker.
const WORKERS_MAX: usize = 100_000;
/// How much of an error text is kept.
const TEXT_BYTES_MAX: usize = 400;
/// What a handler that failed answers with (`distributed.core.error_message`).
const FAILED: &str = "uncaught-error";

/// An operation of the scheduler (`Scheduler.handlers` in `distributed/scheduler.py`) with its arguments.
///
/// None of them takes or gives anything but plain data.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Operation<'a> {
    /// The scheduler's id and its workers.
    Identity {},
    /// The keys of the tasks that were given to workers and have not ended.
    Processing {
        /// By address. One that is not registered makes the whole call fail.
        workers: &'a [&'a str],
    },
    /// Moves what only these workers hold to others.
    RetireWorkers {
        /// By address. One that is not registered is left out of the reply.
        workers: &'a [String],
        /// Send the workers a message to close. Without it they notice that they were removed, and close.
        close_workers: bool,
        /// Forget the workers afterwards. Without it they stay registered, as `closing_gracefully`, and get no more tasks.
        remove: bool,
    },
    /// How many workers are wanted.
    AdaptiveTarget {},
    /// Since when there has been nothing to do.
    CheckIdle {},
    /// Versions of Python and of packages.
    Versions {},
}

impl Operation<'_> {
    /// Its name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Identity {} => "identity",
            Self::Processing { .. } => "processing",
            Self::RetireWorkers { .. } => "retire_workers",
            Self::AdaptiveTarget {} => "adaptive_target",
            Self::CheckIdle {} => "check_idle",
            Self::Versions {} => "versions",
        }
    }
}

/// What both sides say of themselves first (`Comm.handshake_info` in `distributed/comm/core.py`).
///
/// Each takes the smaller pickle protocol, and compresses only if both named the same algorithm: naming none keeps all
/// frames plain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Handshake {
    /// Algorithm for large frames.
    pub compression: Option<String>,
    /// Version of Python.
    pub python: (u32, u32, u32),
    /// Highest version of the pickle protocol. Nothing is pickled here; the key must be there.
    pub pickle_protocol: u32,
}

impl Handshake {
    /// What is said of this side.
    pub fn ours() -> Self {
        Self { compression: None, python: (3, 10, 0), pickle_protocol: 5 }
    }
}

/// Why a reply is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// The handler failed.
    #[error("{0}")]
    Failed(String),
    /// It has another form, or is no MessagePack.
    #[error("{0}")]
    Form(String),
}

/// Packs a value; structs become maps.
pub fn pack<T: Serialize>(value: &T) -> Result<Vec<u8>, ReplyError> {
    rmp_serde::to_vec_named(value).map_err(|error| ReplyError::Form(error.to_string()))
}

/// Reads a reply, which may be the error of a handler.
pub fn reply<T: DeserializeOwned>(head: &[u8]) -> Result<T, ReplyError> {
    if let Ok(failure) = unpack::<Failure>(head)
        && failure.status == FAILED
    {
        return Err(ReplyError::Failed(beginning(
            failure.exception_text.as_deref().unwrap_or("no reason given"),
        )));
    }
    unpack(head)
}

/// Reads a message.
pub fn unpack<T: DeserializeOwned>(head: &[u8]) -> Result<T, ReplyError> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(head);
    reader.set_max_depth(DEPTH_MAX);
    T::deserialize(&mut reader).map_err(|error| ReplyError::Form(beginning(&error.to_string())))
}

#[derive(Deserialize)]
struct Failure {
    status: String,
    exception_text: Option<String>,
}

fn beginning(text: &str) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// The reply to `identity` (`Scheduler.identity`), as far as it is of use.
#[derive(Debug, Deserialize)]
pub struct Identity {
    /// `Scheduler-` and a random number that is drawn at each start.
    pub id: String,
    /// Its workers by address.
    pub workers: ByWorker<WorkerIdentity>,
}

/// A worker in `identity` (`WorkerState.identity`).
#[derive(Debug, Deserialize)]
pub struct WorkerIdentity {
    /// Text as a rule; any value is allowed, and a number is common.
    #[serde(default)]
    pub name: Name,
    /// A name of `distributed.core.Status`.
    #[serde(default)]
    pub status: String,
    /// When its last heartbeat came, in seconds of the scheduler's clock.
    pub last_seen: Option<f64>,
    /// What it said of itself in that heartbeat.
    #[serde(default)]
    pub metrics: Metrics,
}

/// The part of a worker's metrics that is of use (`Worker.get_metrics`).
#[derive(Debug, Default, Deserialize)]
pub struct Metrics {
    /// How many tasks are in which state.
    pub task_counts: Option<ByWorker<Count>>,
    /// Size of all results it keeps, in memory and spilled.
    pub managed_bytes: Option<Count>,
}

/// The reply to `versions`, as far as it is of use.
#[derive(Debug, Deserialize)]
pub struct Versions {
    /// By package; `None` for those that are not installed.
    pub packages: BTreeMap<String, Option<String>>,
}

/// A map with a bounded number of entries.
#[derive(Debug)]
pub struct ByWorker<T>(pub BTreeMap<String, T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ByWorker<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = BTreeMap<String, T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a map of at most {WORKERS_MAX} entries")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some((key, value)) = map.next_entry()? {
                    entries.insert(key, value);
                    if entries.len() > WORKERS_MAX {
                        return Err(serde::de::Error::invalid_length(entries.len(), &self));
                    }
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_map(Entries(std::marker::PhantomData)).map(Self)
    }
}

/// Whatever it is; only that it was there counts.
#[derive(Debug)]
pub struct Anything;

impl<'de> Deserialize<'de> for Anything {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// The number of elements of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length(pub u64);

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = u64;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<u64, A::Error> {
                let mut length = 0;
                while list.next_element::<IgnoredAny>()?.is_some() {
                    length += 1;
                }
                Ok(length)
            }
        }
        deserializer.deserialize_seq(Elements).map(Self)
    }
}

/// A number that is not negative; Python writes some counters as floats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count(pub u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(|number| Self(number.max(0.0) as u64))
    }
}

/// A worker's name as text.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Name(pub Option<String>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            Whole(i64),
            Other(Anything),
        }
        Ok(Self(match Form::deserialize(deserializer)? {
            Form::Text(text) => Some(text),
            Form::Whole(number) => Some(number.to_string()),
            Form::Other(Anything) => None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn check_packed(operation: &Operation<'_>, expected: &Value) {
        let read: Value = rmp_serde::from_slice(&pack(operation).unwrap()).unwrap();
        assert_eq!(read, *expected);
        assert_eq!(read["op"], operation.name());
    }

    #[test]
    fn operations_are_maps_with_their_name() {
        check_packed(&Operation::Identity {}, &json!({"op": "identity"}));
        check_packed(&Operation::CheckIdle {}, &json!({"op": "check_idle"}));
        check_packed(&Operation::AdaptiveTarget {}, &json!({"op": "adaptive_target"}));
        check_packed(&Operation::Versions {}, &json!({"op": "versions"}));
        check_packed(
            &Operation::Processing { workers: &["a"] },
            &json!({"op": "processing", "workers": ["a"]}),
        );
        let workers = ["a".to_owned()];
        check_packed(
            &Operation::RetireWorkers { workers: &workers, close_workers: false, remove: true },
            &json!({"op": "retire_workers", "workers": ["a"], "close_workers": false, "remove": true}),
        );
    }

    #[test]
    fn the_handshake_has_the_keys_that_dask_looks_for() {
        let read: Value = rmp_serde::from_slice(&pack(&Handshake::ours()).unwrap()).unwrap();
        assert_eq!(read, json!({"compression": null, "python": [3, 10, 0], "pickle-protocol": 5}));
    }

    #[test]
    fn an_error_of_a_handler_is_told_and_its_pickles_are_left_alone() {
        let error = json!({
            "status": "uncaught-error", "exception_text": "KeyError('x')",
            "exception": {"__Serialized__": 1}, "traceback": {"__Pickled__": 3},
        });
        let packed = pack(&error).unwrap();
        let expected = ReplyError::Failed("KeyError('x')".into());
        assert_eq!(reply::<Option<f64>>(&packed).unwrap_err(), expected);
        assert_eq!(reply::<ByWorker<Anything>>(&packed).unwrap_err(), expected);
    }

    #[test]
    fn a_name_may_be_any_value() {
        let read = |value: Value| unpack::<Name>(&pack(&value).unwrap()).unwrap().0;
        assert_eq!(read(json!("a")).as_deref(), Some("a"));
        assert_eq!(read(json!(7)).as_deref(), Some("7"));
        assert_eq!(read(json!([1, 2])), None);
        assert_eq!(read(Value::Null), None);
    }

    #[test]
    fn a_value_nested_too_deep_is_refused() {
        let mut packed = vec![0x91; 10_000];
        packed.push(0xc0);
        assert!(matches!(reply::<Identity>(&packed), Err(ReplyError::Form(_))));
        assert!(matches!(unpack::<Anything>(&packed), Err(ReplyError::Form(_))));
    }

    #[test]
    fn a_length_that_is_only_announced_costs_nothing() {
        // A map of four thousand million entries, of which none follows.
        assert!(matches!(
            unpack::<ByWorker<Count>>(&[0xdf, 0xff, 0xff, 0xff, 0xff]),
            Err(ReplyError::Form(_))
        ));
        assert!(matches!(unpack::<Length>(&[0xdd, 0xff, 0xff, 0xff, 0xff]), Err(ReplyError::Form(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = reply::<Identity>(&bytes);
            let _ = reply::<ByWorker<Length>>(&bytes);
            let _ = reply::<Option<f64>>(&bytes);
            let _ = unpack::<Handshake>(&bytes);
        }
    }
}
