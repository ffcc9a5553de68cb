//! Which plugins there are at this moment. They may change under a running operator, which then begins anew as a new process does.

use tokio::sync::watch;

use super::registry::Registry;

/// The plugins, now and from now on. Clones are the same.
#[derive(Clone, Debug)]
pub struct Roster(watch::Receiver<Registry>);

impl Default for Roster {
    fn default() -> Self {
        Self::fixed(Registry::default())
    }
}

impl Roster {
    /// Plugins that stay.
    pub fn fixed(registry: Registry) -> Self {
        Self(watch::channel(registry).1)
    }

    /// Plugins that are exchanged by the sender.
    pub fn new(registry: Registry) -> (watch::Sender<Registry>, Self) {
        let (sender, receiver) = watch::channel(registry);
        (sender, Self(receiver))
    }

    /// Those there are now; [`Self::changed`] is about what comes after.
    pub fn current(&mut self) -> Registry {
        self.0.borrow_and_update().clone()
    }

    /// Resolves when there are others. Never, where they stay.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
