//! Objects, their indices, the revision counter and the bounded change log.

mod object;
mod watch;

pub use object::{Key, Meta, OwnerRef, Stored};
pub use watch::{Watch, WatchEvent, WatchEventType};
