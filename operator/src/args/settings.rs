//! The options that hold for everything the operator makes, whichever command asks.

use clap::{Args, ValueEnum};
use jiff::SignedDuration;

use crate::settings::{Carrier, Settings};
use crate::store::served::Look;

/// Operator-wide settings.
#[derive(Args, Debug)]
pub struct SettingsArgs {
    /// What carries a worker.
    #[arg(long, value_enum, default_value = "pod", env = "DASK_OPERATOR_WORKER_CARRIER")]
    pub worker_carrier: CarrierArg,
    /// DNS domain of the Kubernetes cluster.
    #[arg(long, default_value = "cluster.local", env = "DASK_OPERATOR_CLUSTER_DOMAIN")]
    pub cluster_domain: String,
    /// Seconds a scale-down waits for a scheduler that cannot be asked, or for running tasks, before workers are deleted all the
    /// same.
    #[arg(long, value_name = "SECONDS", default_value = "1800", env = "DASK_OPERATOR_SCALE_DOWN_GRACE")]
    pub scale_down_grace: u32,
    /// Speak TLS to schedulers, with the Secret of this name (ca.crt, tls.crt, tls.key) in each cluster's namespace.
    #[arg(long, value_name = "SECRET", env = "DASK_OPERATOR_SCHEDULER_TLS_SECRET")]
    pub scheduler_tls_secret: Option<String>,
    /// Leave the label sidecar.istio.io/inject to the user.
    #[arg(long, env = "DASK_OPERATOR_NO_ISTIO_LABEL")]
    pub no_istio_label: bool,
    /// Workers of a group made in one round; 0 or nothing means all.
    #[arg(long, env = "DASK_KUBERNETES__CONTROLLER__WORKER_ALLOCATION__BATCH_SIZE", value_parser = number_or_none)]
    pub worker_batch_size: Option<f64>,
    /// Seconds between rounds.
    #[arg(long, env = "DASK_KUBERNETES__CONTROLLER__WORKER_ALLOCATION__DELAY", value_parser = number_or_none)]
    pub worker_batch_delay: Option<f64>,
    /// Post Kubernetes Events.
    #[arg(long, default_value = "true", env = "DASK_KUBERNETES__CONTROLLER__EVENTS__ENABLED", value_parser = boolean, action = clap::ArgAction::Set)]
    pub events: bool,
    /// Read and follow the CustomResourceDefinitions, which are of cluster scope, to learn which fields are stored; `false`: look
    /// only at which endpoints there are.
    #[arg(long, default_value = "true", env = "DASK_OPERATOR_READ_DEFINITIONS", value_parser = boolean, action = clap::ArgAction::Set)]
    pub read_definitions: bool,
}

/// `--worker-carrier`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum CarrierArg {
    /// A bare Pod for each worker.
    Pod,
    /// A Deployment of one replica for each worker, as the Python operator makes them.
    Deployment,
}

impl SettingsArgs {
    /// Operator-wide settings.
    pub fn settings(&self) -> Settings {
        Settings {
            carrier: match self.worker_carrier {
                CarrierArg::Pod => Carrier::Pod,
                CarrierArg::Deployment => Carrier::Deployment,
            },
            domain: self.cluster_domain.clone(),
            istio_label: !self.no_istio_label,
            batch_size: self.worker_batch_size.unwrap_or(0.0).max(0.0) as u32,
            batch_delay: SignedDuration::try_from_secs_f64(self.worker_batch_delay.unwrap_or(0.0).max(0.0))
                .unwrap_or(SignedDuration::ZERO),
            scale_down_grace: SignedDuration::from_secs(i64::from(self.scale_down_grace)),
            tls_secret: self.scheduler_tls_secret.clone(),
            events: self.events,
            look: if self.read_definitions { Look::Definitions } else { Look::Discovery },
            ..Settings::default()
        }
    }
}

/// A number; `null`, `None` and the empty string mean none, as in Dask's configuration.
fn number_or_none(text: &str) -> Result<f64, String> {
    match text.trim() {
        "" | "null" | "None" | "none" => Ok(0.0),
        number => number.parse().map_err(|_| format!("{text} is not a number")),
    }
}

/// A boolean as Dask's configuration writes it.
fn boolean(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" | "null" | "none" | "" => Ok(false),
        _ => Err(format!("{text} is neither true nor false")),
    }
}
