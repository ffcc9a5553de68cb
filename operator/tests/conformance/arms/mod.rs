//! The implementations under test.

pub(crate) mod control_plane;
mod memory;

use dask_operator::store::{Store, error::StoreError};
use futures::future::BoxFuture;

/// An implementation, not started yet.
pub(crate) struct Arm {
    pub(crate) name: &'static str,
    /// Starts it, with the four CRDs installed; an error is the reason why it cannot run here.
    pub(crate) start: fn() -> Starting,
}

/// An implementation being started.
pub(crate) type Starting = BoxFuture<'static, Result<Box<dyn Started>, String>>;

/// A running implementation.
pub(crate) trait Started: Send {
    /// The store for the next body.
    fn store(&mut self) -> BoxFuture<'_, Box<dyn Store>>;
}

/// Fastest first.
pub(crate) fn all() -> Vec<Arm> {
    vec![
        Arm { name: "fake", start: memory::in_process },
        Arm { name: "tower", start: memory::through_tower },
        #[cfg(feature = "local")]
        Arm { name: "http", start: memory::over_http },
        Arm { name: "control-plane", start: control_plane::start },
    ]
}

/// Installs the four CRDs, or says why not.
async fn with_definitions<S: Store + 'static>(store: S) -> Result<S, String> {
    let said = |error: StoreError| error.to_string();
    crate::bodies::support::install_definitions(&store).await.map_err(said)?;
    Ok(store)
}
