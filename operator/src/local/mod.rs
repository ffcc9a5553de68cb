//! `dask-operator local`: the operator, an API server and real Dask processes in one process, without Kubernetes.
//!
//! | module | what it is |
//! |---|---|
//! | [`python`] | the environment that stands for the Dask image |
//! | [`catalogue`] | which images pods may name, and what runs for each |
//! | `reach` | how the operator, which is in the node's network, connects to plugins |
//! | `session` | API server, node and operator, started and stopped together |
//! | `story` | what happens in front of the person: apply, show, wait, remove |
//! | `world`, `row`, `screen`, `logs` | what is there, and how it is shown |

pub mod catalogue;
pub mod python;

mod error;
mod logs;
mod manifest;
mod reach;
mod row;
mod screen;
mod session;
mod story;
mod world;

use std::fs::{self, File};
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fake_apiserver::kubelet::{Catalogue, enter_node_namespaces};

use self::error::LocalError;
use self::manifest::Entry;
use self::reach::Outside;
use self::screen::Screen;
use self::session::{Pods, Session};
use self::story::Story;
use crate::plugin::Plugin;
use crate::store::ObjectKey;

/// Options of `local`.
#[derive(Clone, Debug, clap::Args)]
pub struct LocalArgs {
    /// Manifest to apply, or `-`; may be repeated. Without any, a shipped DaskJob runs.
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Go on serving after the jobs have ended, and delete nothing, until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Apply nothing unless a manifest is named, and serve until Ctrl-C.
    #[arg(long)]
    serve: bool,
    /// Namespace of objects that name none.
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Port of the API server on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Where the kubeconfig, the logs and the pods' files go, and stay. Otherwise a temporary folder.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// More images, as a catalogue file: see `fake_apiserver::kubelet::Catalogue`.
    #[arg(long, value_name = "FILE")]
    images: Option<PathBuf>,
    /// Give up when the jobs have not ended after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Run no processes: pods only change their status.
    #[arg(long)]
    simulate: bool,
    /// Run no operator: to try another one, which may run in a pod. Nothing is applied.
    #[arg(long, requires = "serve", conflicts_with = "files")]
    no_operator: bool,
    /// Ask roles and bindings (RBAC) about requests of pods and of other users than the administrator.
    #[arg(long)]
    rbac: bool,
    /// Plugins that want something of the operator's children: a list in YAML, which is followed.
    #[arg(long, value_name = "FILE")]
    plugins: Option<PathBuf>,
    /// Only say whether pods can be processes on this machine.
    #[arg(long, exclusive = true)]
    check: bool,
    /// Be the process that connects to plugins, for one that asks at this socket.
    #[arg(long, exclusive = true, hide = true, value_name = "SOCKET")]
    outside: Option<PathBuf>,
}

/// How `--check` ends where pods cannot be processes.
const CANNOT: u8 = 3;

/// The whole command. To be called before any thread is started, since it may enter namespaces.
pub fn main(args: &LocalArgs, plugins: &[Arc<dyn Plugin>]) -> ExitCode {
    if args.check {
        return check();
    }
    if let Some(socket) = &args.outside {
        return reach::serve(socket);
    }
    let folder = args.dir.clone().unwrap_or_else(temporary);
    let ended = prepare(args, &folder).and_then(|ready| ready.run(args, &folder, plugins));
    if args.dir.is_none() && matches!(ended, Ok(()) | Err(LocalError::Interrupted)) {
        // What is left behind in a temporary folder does no harm.
        let _ = fs::remove_dir_all(&folder);
    }
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(LocalError::Interrupted) => ExitCode::from(130),
        Err(error) => {
            eprintln!("\ndask-operator: {}", error.chain());
            if folder.exists() {
                eprintln!("logs and all files of this run are in {}", folder.display());
            }
            ExitCode::FAILURE
        }
    }
}

fn check() -> ExitCode {
    match enter_node_namespaces() {
        Ok(_) => {
            println!("pods can be processes on this machine");
            ExitCode::SUCCESS
        }
        Err(refusal) => {
            println!("{refusal}");
            ExitCode::from(CANNOT)
        }
    }
}

/// Everything that has to be done while this process has one thread and its own network.
struct Ready {
    entries: Vec<Entry>,
    listener: TcpListener,
    pods: Pods,
}

fn prepare(args: &LocalArgs, folder: &Path) -> Result<Ready, LocalError> {
    let entries = read_manifests(args)?;
    fs::create_dir_all(folder.join("logs")).map_err(LocalError::setup("make a folder for this run"))?;
    log_to(&folder.join("logs/operator.log"))?;
    if args.simulate || !cfg!(target_os = "linux") {
        if !args.simulate {
            println!("pods cannot be processes on this system, they are only simulated");
        }
        return Ok(Ready { entries, listener: session::listen(args.port)?, pods: Pods::Simulated });
    }
    let python = python::prepare(&python::cache_folder(), &mut |line| println!("{line}"))?;
    let mut catalogue = args.images.as_deref().map(read_images).transpose()?.unwrap_or_default();
    catalogue.images.extend(catalogue::dask(&python).images);
    // What is to be reached from outside is bound before the network becomes the node's.
    let listener = session::listen(args.port)?;
    let outside = args.plugins.as_ref().map(|_| Outside::start(folder)).transpose();
    let outside = outside.map_err(LocalError::setup("start the process that connects to plugins"))?;
    match enter_node_namespaces() {
        Ok(network) => {
            Ok(Ready { entries, listener, pods: Pods::Processes { network, catalogue, python, outside } })
        }
        Err(refusal) => {
            println!("{refusal}; pods are only simulated");
            Ok(Ready { entries, listener, pods: Pods::Simulated })
        }
    }
}

impl Ready {
    fn run(self, args: &LocalArgs, folder: &Path, plugins: &[Arc<dyn Plugin>]) -> Result<(), LocalError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        runtime.map_err(LocalError::setup("start"))?.block_on(async {
            let mut session = Session::start(self.listener, folder, self.pods, args, plugins).await?;
            println!("export KUBECONFIG={}", session.kubeconfig.display());
            let limit = args.timeout.map(Duration::from_secs);
            let mut story = Story::begin(&mut session, Screen::stdout(), limit);
            let told = tell(&mut story, &self.entries, args).await;
            story.end();
            session.stop().await;
            told
        })
    }
}

/// The course of events, as the options want it.
async fn tell(story: &mut Story<'_>, entries: &[Entry], args: &LocalArgs) -> Result<(), LocalError> {
    story.apply(entries).await?;
    let jobs: Vec<ObjectKey> = entries.iter().filter(|entry| entry.is("DaskJob")).map(Entry::key).collect();
    let finished = if jobs.is_empty() || args.serve { Ok(()) } else { story.finish_jobs(&jobs).await };
    if jobs.is_empty() || args.keep || args.serve {
        return story.serve().await.and(finished);
    }
    finished?;
    story.remove(entries).await
}

fn read_manifests(args: &LocalArgs) -> Result<Vec<Entry>, LocalError> {
    if args.files.is_empty() {
        let shipped = manifest::parse("the shipped job", manifest::EXAMPLE, &args.namespace)?;
        return Ok(if args.serve { Vec::new() } else { shipped });
    }
    let mut entries = Vec::new();
    for path in &args.files {
        let mut text = String::new();
        let read = if path == Path::new("-") {
            std::io::stdin().read_to_string(&mut text)
        } else {
            File::open(path).and_then(|mut file| file.read_to_string(&mut text))
        };
        read.map_err(|source| LocalError::Read { path: path.clone(), source })?;
        entries.extend(manifest::parse(&path.to_string_lossy(), &text, &args.namespace)?);
    }
    Ok(entries)
}

fn read_images(path: &Path) -> Result<Catalogue, LocalError> {
    let text =
        fs::read_to_string(path).map_err(|source| LocalError::Read { path: path.to_owned(), source })?;
    Catalogue::from_yaml(&text)
        .map_err(|error| LocalError::Images { path: path.to_owned(), message: error.to_string() })
}

fn temporary() -> PathBuf {
    std::env::temp_dir().join(format!("dask-operator-local-{}", std::process::id()))
}

/// The operator's own words go to a file: the terminal belongs to the table.
fn log_to(path: &Path) -> Result<(), LocalError> {
    let file = File::create(path).map_err(LocalError::setup("write the operator's log"))?;
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    // A second call in one process keeps the first log.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(Mutex::new(file))
        .try_init();
    Ok(())
}
