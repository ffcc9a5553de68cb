//! The program: from its start to the first answer over TLS.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// From the start of the program to the first answer to a request over TLS; the best of some.
pub(crate) fn ready() -> Duration {
    (0..5).map(|_| once()).min().unwrap_or_default()
}

fn once() -> Duration {
    let folder = tempfile::tempdir().expect("a folder");
    let kubeconfig = folder.path().join("kubeconfig");
    let start = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_fake-apiserver"))
        .arg("serve")
        .arg("--kubeconfig")
        .arg(&kubeconfig)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // It says where it listens once it does.
    let mut line = String::new();
    // Kept open: it has more to say.
    let mut output = BufReader::new(child.stdout.take().expect("its output"));
    output.read_line(&mut line).expect("it says something");
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(async {
        let client = super::client(&kubeconfig).await;
        client.apiserver_version().await.expect("it answers");
    });
    let took = start.elapsed();
    let _ = child.kill();
    let _ = child.wait();
    took
}
