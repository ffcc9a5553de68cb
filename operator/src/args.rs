//! Command line of `dask-operator`, including the options that charts and users pass to kopf today.

mod settings;

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::SignedDuration;

use crate::election::{Election, Timing};
use crate::settings::Settings;
use crate::store::ObjectKey;
use crate::traces::Endpoint;
pub use settings::{CarrierArg, SettingsArgs};

/// Dask on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "dask-operator", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator, in a cluster or with a kubeconfig.
    Run(Box<RunArgs>),
    /// Print the CustomResourceDefinitions as YAML, or bring the installed ones to this version.
    Crds(CrdsArgs),
    /// Take a cluster over from the Python operator: tell what changes on each object, and take away what that operator has left
    /// behind and its way back does not need. To be done after it has stopped; `run` does the rest.
    Adopt(Box<AdoptArgs>),
    /// Tell what would change on each object if the operator ran now; ends with 1 if something would.
    Diff(Box<LookArgs>),
    /// Try plugins, or print their contract.
    Plugin(PluginArgs),
    /// Run manifests without Kubernetes: the operator, an API server and Dask processes on this machine.
    #[cfg(feature = "local")]
    Local(Box<crate::local::LocalArgs>),
}

/// Options of `plugin`.
#[derive(Args, Debug)]
pub struct PluginArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: PluginCommand,
}

/// What to do with plugins.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Show plugins sample resources and print what they would change; ends with 1 if an answer cannot be used.
    Check(PluginCheckArgs),
    /// Print the JSON schema of what plugins are shown and what they answer, and of the configuration.
    Schema,
}

/// Options of `plugin check`.
#[derive(Args, Debug)]
pub struct PluginCheckArgs {
    /// A webhook's URL, or a configuration as `run --plugins` takes it.
    #[arg(value_name = "URL|FILE")]
    pub plugin: String,
    /// Resources to show instead of the shipped ones; may be repeated.
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub files: Vec<std::path::PathBuf>,
    /// Of a URL: certificates by which its server is known, in PEM.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<std::path::PathBuf>,
}

/// Options of `crds`.
#[derive(Args, Debug)]
pub struct CrdsArgs {
    /// Create the definitions or bring them to this version; objects that are stored stay as they are.
    #[arg(long)]
    pub apply: bool,
}

/// Options of `adopt`.
#[derive(Args, Debug)]
pub struct AdoptArgs {
    /// Change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Where to look.
    #[command(flatten)]
    pub look: LookArgs,
}

/// Where `adopt` and `diff` look, and for an operator with which settings.
#[derive(Args, Debug)]
pub struct LookArgs {
    /// Look only at this namespace; may be repeated, and may be a comma-separated list.
    #[arg(short, long, value_delimiter = ',', env = "KOPF_RUN_NAMESPACE")]
    pub namespace: Vec<String>,
    /// The plugins that the operator has: a list in YAML, as `run` takes it.
    #[arg(long, value_name = "FILE", env = "DASK_OPERATOR_PLUGINS")]
    pub plugins: Option<std::path::PathBuf>,
    #[command(flatten)]
    settings: SettingsArgs,
}

impl LookArgs {
    /// Operator-wide settings.
    pub fn settings(&self) -> Settings {
        self.settings.settings()
    }
}

/// Options of `run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Watch all namespaces (the default where no namespace is named).
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,
    /// Watch only this namespace; may be repeated, and may be a comma-separated list.
    #[arg(short, long, value_delimiter = ',', env = "KOPF_RUN_NAMESPACE")]
    pub namespace: Vec<String>,
    /// Where to answer health questions, for instance http://0.0.0.0:8080/healthz; the last one counts.
    #[arg(short = 'L', long, value_name = "URL")]
    pub liveness: Vec<String>,
    #[command(flatten)]
    settings: SettingsArgs,
    /// Of several operators only one works: the one that holds a Lease (coordination.k8s.io).
    #[arg(long)]
    pub leader_elect: bool,
    /// Name of the Lease; the operators that share it are replicas of each other.
    #[arg(long, value_name = "NAME", default_value = "dask-operator")]
    pub leader_elect_resource_name: String,
    /// Namespace of the Lease; without it, the operator's own, or the kubeconfig's.
    #[arg(long, value_name = "NAMESPACE")]
    pub leader_elect_resource_namespace: Option<String>,
    /// A Lease that was not renewed for so long may be taken.
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = duration)]
    pub leader_elect_lease_duration: SignedDuration,
    /// So long after its last renewal the holder stops working.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub leader_elect_renew_deadline: SignedDuration,
    /// Time between two looks at the Lease.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub leader_elect_retry_period: SignedDuration,
    /// Plugins that want something of the operator's children: a list in YAML, which is followed.
    #[arg(long, value_name = "FILE", env = "DASK_OPERATOR_PLUGINS")]
    pub plugins: Option<std::path::PathBuf>,
    /// Send traces to an OpenTelemetry collector, one span for each time that a resource is looked at: the base of its URL for OTLP
    /// over HTTP, for instance http://collector.observability:4318.
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<Endpoint>,
    /// Log more.
    #[arg(short, long)]
    pub verbose: bool,
    /// Log everything, libraries too.
    #[arg(short, long)]
    pub debug: bool,
    /// Log warnings only.
    #[arg(short, long)]
    pub quiet: bool,
    /// Shape of the log.
    #[arg(long, value_enum, default_value = "full")]
    pub log_format: LogFormat,
    #[command(flatten)]
    kopf: KopfArgs,
}

/// Options of kopf that mean nothing here; accepted so that a chart's values go on working.
#[derive(Args, Debug)]
struct KopfArgs {
    #[arg(long, hide = true)]
    standalone: bool,
    #[arg(long, hide = true)]
    dev: bool,
    #[arg(short = 'P', long, hide = true)]
    peering: Option<String>,
    #[arg(short, long, hide = true)]
    priority: Option<i64>,
    #[arg(long, hide = true)]
    log_prefix: bool,
    #[arg(long, hide = true)]
    no_log_prefix: bool,
    #[arg(long, hide = true)]
    log_refkey: Option<String>,
    #[arg(short, long, hide = true)]
    module: Vec<String>,
}

/// `--log-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Message only.
    Plain,
    /// With time and level.
    Full,
    /// One JSON object a line.
    Json,
}

impl RunArgs {
    /// Operator-wide settings.
    pub fn settings(&self) -> Settings {
        self.settings.settings()
    }

    /// How the leader is elected, if it is; `namespace` is the operator's own, and `identity` names this process.
    pub fn election(&self, namespace: &str, identity: String) -> Option<Election> {
        let namespace = self.leader_elect_resource_namespace.as_deref().unwrap_or(namespace);
        let lease = ObjectKey::namespaced(namespace, &self.leader_elect_resource_name);
        self.leader_elect.then(|| Election { lease, identity, timing: self.timing() })
    }

    fn timing(&self) -> Timing {
        Timing {
            lease: self.leader_elect_lease_duration,
            renew: self.leader_elect_renew_deadline,
            retry: self.leader_elect_retry_period,
        }
    }

    /// What is wrong with the combination of options; what is merely ignored comes back as warnings.
    pub fn check(&self) -> Result<Vec<String>, String> {
        if let Some(module) = self.kopf.module.first() {
            return Err(format!(
                "--module={module} loads Python handlers, which this operator cannot run in its process; remove it"
            ));
        }
        if let Some(glob) = self.namespace.iter().find(|name| name.contains(['*', '!', '?'])) {
            return Err(format!(
                "--namespace={glob} is a pattern; name the namespaces, or use --all-namespaces"
            ));
        }
        if self.leader_elect {
            self.timing().check()?;
        }
        let kopf = &self.kopf;
        let ignored = [
            (kopf.standalone, "--standalone"),
            (kopf.dev, "--dev"),
            (kopf.peering.is_some(), "--peering"),
            (kopf.priority.is_some(), "--priority"),
            (kopf.log_prefix, "--log-prefix"),
            (kopf.no_log_prefix, "--no-log-prefix"),
            (kopf.log_refkey.is_some(), "--log-refkey"),
        ];
        let mut warnings: Vec<String> = ignored
            .iter()
            .filter(|(given, _)| *given)
            .map(|(_, option)| format!("{option} is an option of kopf and means nothing here; it is ignored"))
            .collect();
        if !self.all_namespaces && self.namespace.is_empty() {
            warnings
                .push("neither --all-namespaces nor --namespace is given: watching all namespaces".into());
        }
        Ok(warnings)
    }

    /// Address of the health endpoint.
    pub fn liveness(&self) -> Result<Option<SocketAddr>, String> {
        let Some(url) = self.liveness.last() else { return Ok(None) };
        let uri: http::Uri =
            url.parse().map_err(|error| format!("--liveness={url} is not a URL: {error}"))?;
        let host = uri.host().filter(|host| *host != "localhost").unwrap_or("127.0.0.1");
        let address = format!("{host}:{}", uri.port_u16().unwrap_or(80));
        address
            .parse()
            .map(Some)
            .map_err(|error| format!("--liveness={url} names no address to listen on: {error}"))
    }

    /// The filter for logs.
    pub fn log_filter(&self) -> &'static str {
        if self.debug {
            "debug"
        } else if self.verbose {
            "info,dask_operator=debug"
        } else if self.quiet {
            "warn"
        } else {
            "info"
        }
    }
}

/// A time as Kubernetes' options have it: `15s`, `1m30s`, `500ms`.
fn duration(text: &str) -> Result<SignedDuration, String> {
    text.parse().map_err(|_| format!("{text} is not a time such as 15s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str]) -> Result<RunArgs, String> {
        let all = ["dask-operator", "run"].iter().chain(args);
        match Cli::try_parse_from(all).map_err(|error| error.to_string())?.command {
            Command::Run(args) => Ok(*args),
            _ => Err("another command".into()),
        }
    }

    #[test]
    fn the_arguments_of_todays_chart_are_accepted() {
        let args = run(&["--liveness=http://0.0.0.0:8080/healthz", "--all-namespaces", "--verbose"]).unwrap();
        assert_eq!(args.liveness().unwrap().unwrap().to_string(), "0.0.0.0:8080");
        assert!(args.check().unwrap().is_empty());
        let args = run(&["--namespace=a", "-n", "b,c", "--standalone", "--peering=x"]).unwrap();
        assert_eq!(args.namespace, ["a", "b", "c"]);
        assert_eq!(args.check().unwrap().len(), 2);
    }

    #[test]
    fn a_leader_is_elected_where_that_is_asked_for() {
        let election = |args: &[&str]| run(args).unwrap().election("team", "me".into());
        assert!(election(&["-A"]).is_none());
        let told = election(&["-A", "--leader-elect", "--leader-elect-renew-deadline=5s"]).unwrap();
        assert_eq!(told.lease.to_string(), "team/dask-operator");
        assert_eq!(told.timing.renew, SignedDuration::from_secs(5));
        let other =
            ["-A", "--leader-elect", "--leader-elect-resource-namespace=x", "--leader-elect-resource-name=y"];
        assert_eq!(election(&other).unwrap().lease.to_string(), "x/y");
    }

    #[test]
    fn timings_by_which_two_could_work_at_once_are_refused() {
        let refused = |args: &[&str]| run(args).unwrap().check().unwrap_err();
        let late = refused(&["-A", "--leader-elect", "--leader-elect-renew-deadline=15s"]);
        assert!(late.contains("beside the next one"), "{late}");
        let once = refused(&["-A", "--leader-elect", "--leader-elect-retry-period=6s"]);
        assert!(once.contains("no second try"), "{once}");
        assert!(refused(&["-A", "--leader-elect", "--leader-elect-lease-duration=0s"]).contains("too short"));
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_with_a_reason() {
        assert!(run(&["-A", "-n", "x"]).is_err());
        assert!(run(&["-m", "my.handlers", "-A"]).unwrap().check().unwrap_err().contains("my.handlers"));
        assert!(run(&["-n", "team-*"]).unwrap().check().unwrap_err().contains("pattern"));
        assert!(run(&["-A", "--liveness=nonsense url"]).unwrap().liveness().is_err());
    }
}
