//! How a server is set up.

use jiff::Timestamp;

/// Where the time comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// The machine's clock; timers run by themselves while `Server::run` runs.
    #[default]
    System,
    /// Starts at this time and stands still until `Server::advance`.
    Manual(Timestamp),
}

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the time comes from.
    pub clock: Clock,
    /// Run the controllers after every request until nothing is due; without it only `ApiServer::step` runs them.
    pub auto_step: bool,
    /// Run the built-in controllers (garbage collection, Deployments, …) at all.
    pub controllers: bool,
    /// Settings of the built-in controllers and of the simulated nodes.
    pub options: crate::controllers::Options,
    /// Changes kept for each resource; older resource versions answer 410.
    pub history: usize,
    /// Watches served at the same time; more answer 429.
    pub max_watches: usize,
    /// Requests need roles that allow them (RBAC); without it everybody may do everything.
    pub rbac: bool,
    /// What tokens of service accounts are signed with.
    pub token_key: super::TokenKey,
    /// Minor version of Kubernetes that is claimed: 1.`minor`.
    pub minor: u16,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            clock: Clock::System,
            auto_step: true,
            controllers: true,
            options: crate::controllers::Options::default(),
            history: 16_384,
            max_watches: 10_000,
            rbac: false,
            token_key: super::TokenKey::default(),
            minor: 36,
        }
    }
}
