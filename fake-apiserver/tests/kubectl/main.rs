//! What people type: every kubectl found on this machine against the server over TLS.
//!
//! A version that is not installed is skipped, and the skip is printed.

mod kubectl;
mod story;

use kubectl::Kubectl;

macro_rules! versions {
    ($($name:ident: $minor:literal),+ $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            match Kubectl::find($minor) {
                Some(program) => story::run(&Kubectl::start(program, $minor).await).await,
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
