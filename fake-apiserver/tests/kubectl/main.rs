//! What people type: every kubectl found on this machine against the server over TLS.
//!
//! A version that is not installed is skipped, and the skip is printed. While `FAKE_APISERVER_RECORD` names the kubeconfig
//! of a real control plane, what its answers make kubectl print is recorded instead.

mod golden;
mod kubectl;
mod normal;
mod story;

use std::path::{Path, PathBuf};

use fake_apiserver::server::Config;
use kubectl::Kubectl;
use tokio::sync::Mutex;

/// One real cluster is asked by one kubectl at a time.
static RECORDING: Mutex<()> = Mutex::const_new(());

async fn live(program: PathBuf, minor: u16) {
    if let Some(real) = std::env::var_os("FAKE_APISERVER_RECORD") {
        let _alone = RECORDING.lock().await;
        let kubectl = Kubectl::at(program, minor, Path::new(&real));
        kubectl.enter(golden::NAMESPACE).await;
        golden::record(&kubectl).await;
        return;
    }
    story::run(&Kubectl::start(program.clone(), minor, Config::default()).await).await;
    let mut without_nodes = Config::default();
    without_nodes.options.nodes.clear();
    let kubectl = Kubectl::start(program, minor, without_nodes).await;
    kubectl.enter(golden::NAMESPACE).await;
    golden::compare(&kubectl).await;
}

macro_rules! versions {
    ($($name:ident: $minor:literal),+ $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            match Kubectl::find($minor) {
                Some(program) => live(program, $minor).await,
                None => println!("skipped: no kubectl.1.{} on PATH or beside kubectl", $minor),
            }
        }
    )+};
}

versions! {
    kubectl_1_27: 27,
    kubectl_1_28: 28,
    kubectl_1_29: 29,
    kubectl_1_30: 30,
    kubectl_1_31: 31,
    kubectl_1_32: 32,
    kubectl_1_33: 33,
    kubectl_1_34: 34,
    kubectl_1_35: 35,
    kubectl_1_36: 36,
}
