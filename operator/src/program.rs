//! The program `dask-operator`, as a library: a team's own operator is this one with its plugins.

use std::io::{ErrorKind, IsTerminal, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Parser;
use http::HeaderValue;
use http::header::USER_AGENT;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{AdoptArgs, Cli, Command, LogFormat, LookArgs, PluginCommand, RunArgs};
use crate::clock::Clock;
use crate::election;
use crate::health::{self, Health};
use crate::metrics::Metrics;
use crate::plugin::dial::Network;
use crate::plugin::{Plugin, Registry, Roster, check, contract, reload};
use crate::run::{Deps, run};
use crate::scheduler::dask::DaskScheduler;
use crate::store::{KubeStore, MeteringStore};
use crate::takeover::Survey;
use crate::traces::Traces;

/// How long the last spans may take to be sent.
const LAST_SPANS_MAX: Duration = Duration::from_secs(5);

/// The operator, with or without plugins of its own.
///
/// ```no_run
/// use dask_operator::plugin::{Change, Declaration, Plugin, View};
/// use dask_operator::program::Operator;
///
/// struct Mine;
///
/// impl Plugin for Mine {
///     fn declaration(&self) -> Declaration {
///         Declaration::new("mine")
///     }
///
///     fn sync(&self, _: &View) -> Change {
///         Change::default()
///     }
/// }
///
/// fn main() -> std::process::ExitCode {
///     Operator::builder().plugin(Mine).run()
/// }
/// ```
#[derive(Default)]
pub struct Operator {
    plugins: Vec<Arc<dyn Plugin>>,
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operator").field("plugins", &self.plugins.len()).finish()
    }
}

impl Operator {
    /// An operator without plugins.
    pub fn builder() -> Self {
        Self::default()
    }

    /// With this plugin too. Their edits are applied in the order in which they are given, and before those of `--plugins`.
    #[must_use]
    pub fn plugin(mut self, plugin: impl Plugin + 'static) -> Self {
        self.plugins.push(Arc::new(plugin));
        self
    }

    /// The plugins, if they can live together; for tests without a cluster.
    pub fn registry(&self) -> Result<Registry, crate::plugin::RegistryError> {
        Registry::native(self.plugins.clone())
    }

    /// Does what the command line says. To be called first in `main`, with one thread.
    pub fn run(self) -> ExitCode {
        // The containers' first process is this program too; it does not come back from there.
        #[cfg(feature = "local")]
        fake_apiserver::kubelet::maybe_run_helper();
        let result = match Cli::parse().command {
            Command::Run(args) => operate(&args, &self.plugins),
            Command::Adopt(args) => return told(adopt(&args, &self.plugins)),
            Command::Diff(args) => return told(diff(&args, &self.plugins)),
            Command::Crds(args) if args.apply => apply_crds(),
            Command::Crds(_) => print_crds(),
            Command::Plugin(args) => match args.command {
                PluginCommand::Check(args) => return told(check::main(&args)),
                PluginCommand::Schema => print_schemas(),
            },
            #[cfg(feature = "local")]
            Command::Local(args) => return crate::local::main(&args, &self.plugins),
        };
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("dask-operator: {error:#}");
                ExitCode::FAILURE
            }
        }
    }
}

/// Prints what was asked for. Whoever reads no further, as `head` does, has what they wanted.
pub(crate) fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// The exit code of commands that have one to tell.
fn told(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("dask-operator: {error:#}");
        ExitCode::from(2)
    })
}

fn diff(args: &LookArgs, plugins: &[Arc<dyn Plugin>]) -> anyhow::Result<ExitCode> {
    let report = look(args, plugins, async |_, survey| Ok(survey.report(false)))?;
    say(&report.to_string())?;
    Ok(if report.changes() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn adopt(args: &AdoptArgs, plugins: &[Arc<dyn Plugin>]) -> anyhow::Result<ExitCode> {
    look(&args.look, plugins, async |store, survey| {
        say(&survey.report(true).to_string())?;
        if args.dry_run {
            return Ok(());
        }
        if let Some(rival) = survey.rivals().first() {
            bail!("nothing was changed: {rival}");
        }
        let changed = survey.clean(store).await?;
        say(&format!(
            "{changed} objects were cleaned of what kopf had left; `dask-operator run` does the rest\n"
        ))?;
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Looks at everything and does something with it.
fn look<T>(
    args: &LookArgs,
    plugins: &[Arc<dyn Plugin>],
    with: impl AsyncFnOnce(&KubeStore, &Survey) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    log_to_stderr(LogFormat::Full, "warn");
    let natives = reload::natives(plugins);
    let registry = match &args.plugins {
        None => Registry::new(natives)?,
        Some(path) => reload::begin(path, natives)?.1.current(),
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let store = KubeStore::new(client().await?);
        let survey =
            Survey::look(&store, args.settings(), &args.namespace, &registry, Clock::system().now()).await?;
        with(&store, &survey).await
    })
}

/// The plugins of this program and those of the file; that is followed as long as the runtime lives.
fn roster(args: &RunArgs, plugins: &[Arc<dyn Plugin>]) -> anyhow::Result<Roster> {
    let natives = reload::natives(plugins);
    let Some(path) = &args.plugins else { return Ok(Roster::fixed(Registry::new(natives)?)) };
    let (following, roster) = reload::begin(path, natives)?;
    tokio::spawn(following.run());
    Ok(roster)
}

fn print_schemas() -> anyhow::Result<()> {
    say(&format!("{}\n", serde_json::to_string_pretty(&contract::schema())?))
}

fn operate(args: &RunArgs, plugins: &[Arc<dyn Plugin>]) -> anyhow::Result<()> {
    let warnings = args.check().map_err(|message| anyhow!(message))?;
    log_to_stderr(args.log_format, args.log_filter());
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let liveness = args.liveness().map_err(|message| anyhow!(message))?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let client = client().await?;
        let namespace = client.default_namespace().to_owned();
        let store = Arc::new(MeteringStore::new(KubeStore::new(client)));
        let health = Health::default();
        let metrics = Metrics::new((**store).clone());
        if let Some(address) = liveness {
            let listener = tokio::net::TcpListener::bind(address)
                .await
                .with_context(|| format!("cannot listen on {address} for health questions"))?;
            tokio::spawn(health::serve(listener, health.clone(), metrics.clone()));
        }
        let clock = Clock::system();
        let seed = clock.now().as_nanosecond() as u64;
        let (traces, exporter) = match args.otlp_endpoint.clone() {
            Some(endpoint) => {
                let (traces, exporter) = Traces::to(endpoint, seed);
                (traces, Some(tokio::spawn(exporter.run())))
            }
            None => (Traces::default(), None),
        };
        let deps = Deps {
            scheduler: Arc::new(DaskScheduler::new(Some(store.clone()))),
            store,
            clock,
            settings: args.settings(),
            namespaces: args.namespace.clone(),
            seed,
            health,
            metrics,
            plugins: roster(args, plugins)?,
            dial: Arc::new(Network),
            traces,
        };
        let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "dask-operator".into());
        let identity = election::identity(&host, std::process::id(), clock.now());
        match args.election(&namespace, identity) {
            Some(election) => {
                election::lead(&election, &deps, stop_signal()?).await;
                drop(deps);
            }
            None => run(deps, stop_signal()?).await,
        }
        if let Some(exporter) = exporter {
            // What was reported last is sent; a collector that is away does not keep the process from ending.
            let _ = tokio::time::timeout(LAST_SPANS_MAX, exporter).await;
        }
        Ok(())
    })
}

fn print_crds() -> anyhow::Result<()> {
    for crd in crate::api::crds::crds() {
        say(&format!("---\n{}", serde_yaml::to_string(&crd)?))?;
    }
    Ok(())
}

fn apply_crds() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        let store = KubeStore::new(client().await?);
        anyhow::Ok(crate::definitions::upgrade(&store).await?)
    })?;
    for (name, change) in done {
        say(&format!("customresourcedefinition {name} {}\n", change.as_str()))?;
    }
    Ok(())
}

async fn client() -> anyhow::Result<kube::Client> {
    let config = kube::Config::infer()
        .await
        .context("no Kubernetes cluster is known; set KUBECONFIG, or run inside a cluster")?;
    kube::Client::try_from(named(config)).context("the cluster's configuration cannot be used")
}

/// Says in every request who sends it: audit logs and the API server's own metrics tell clients apart by this header.
fn named(mut config: kube::Config) -> kube::Config {
    let name = HeaderValue::from_static(concat!("dask-operator/", env!("CARGO_PKG_VERSION")));
    config.headers.push((USER_AGENT, name));
    config
}

/// Resolves on SIGTERM or SIGINT.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn log_to_stderr(format: LogFormat, filter: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(filter));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Plain => builder.without_time().with_level(false).with_target(false).init(),
        LogFormat::Full => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};

    use super::*;

    #[tokio::test]
    async fn every_request_says_who_sends_it() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heard = std::thread::spawn(move || {
            let lines = BufReader::new(listener.accept().unwrap().0).lines().map_while(Result::ok);
            lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>()
        });
        let client = kube::Client::try_from(named(kube::Config::new(url.parse().unwrap()))).unwrap();
        // Nobody answers.
        client.apiserver_version().await.unwrap_err();
        let wanted = concat!("user-agent: dask-operator/", env!("CARGO_PKG_VERSION"));
        let heard = heard.join().unwrap();
        assert!(heard.iter().any(|line| line.to_lowercase() == wanted), "{heard:?}");
    }
}
