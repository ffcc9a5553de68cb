//! Why `dask-operator local` ends otherwise than well, in words for the person who typed it.

use std::path::PathBuf;

use super::manifest::ManifestError;
use super::python::PythonError;
use crate::store::StoreError;

/// Each variant is one thing that person can act on.
#[derive(Debug, thiserror::Error)]
pub(super) enum LocalError {
    #[error(transparent)]
    Python(#[from] PythonError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: {message}", path.display())]
    Images { path: PathBuf, message: String },
    #[error("cannot listen on 127.0.0.1:{port}: choose another --port, or none for a free one")]
    Listen { port: u16, source: std::io::Error },
    #[error("cannot {what}")]
    Setup { what: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("{object} was refused")]
    Refused { object: String, source: Box<StoreError> },
    #[error("{job} ended as Failed: {reason}")]
    JobFailed { job: String, reason: String },
    #[error("after {seconds} s still waiting for {what}")]
    TimedOut { seconds: u64, what: String },
    #[error("{who} ended early")]
    Ended { who: &'static str },
    #[error("interrupted")]
    Interrupted,
}

impl LocalError {
    /// A call to the API server that failed.
    pub(super) fn refused(object: String) -> impl FnOnce(StoreError) -> Self {
        move |source| Self::Refused { object, source: Box::new(source) }
    }

    /// A step of the set-up that failed.
    pub(super) fn setup<E>(what: &'static str) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        move |source| Self::Setup { what, source: source.into() }
    }

    /// The message with all its causes.
    pub(super) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}
