//! Real Dask clusters in a Python process that is told what to do.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use dask_operator::scheduler::{SchedulerAddress, TlsSecret};
use serde_json::{Value, json};

/// The program of the Python process.
const PROGRAM: &str = include_str!("cluster.py");

/// A Python process with one cluster at a time.
pub(crate) struct Cluster {
    /// The version of `distributed` it was prepared with.
    pub(crate) version: String,
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    facts: Value,
}

impl Cluster {
    pub(crate) fn new(version: &str, python: &str) -> Self {
        let mut process = Command::new(python)
            .args(["-c", PROGRAM])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Python starts");
        let input = process.stdin.take().expect("its input is a pipe");
        let output = BufReader::new(process.stdout.take().expect("its output is a pipe"));
        Self { version: version.to_owned(), process, input, output, facts: Value::Null }
    }

    /// Starts a cluster with workers of these names.
    pub(crate) fn start(&mut self, workers: &[Value], options: &Value) -> SchedulerAddress {
        let mut request = json!({"workers": workers});
        for (key, value) in options.as_object().into_iter().flatten() {
            request[key] = value.clone();
        }
        self.facts = self.tell("start", request);
        let port = |facts: &Value, key: &str| facts[key].as_u64().expect("a port") as u16;
        SchedulerAddress {
            host: "127.0.0.1".into(),
            comm_port: port(&self.facts, "comm"),
            http_port: Some(port(&self.facts, "http")),
            service: "ns/ex-scheduler".into(),
            tls: (!options["tls"].is_null())
                .then(|| TlsSecret { namespace: "default".into(), name: "certificates".into() }),
        }
    }

    /// The address of a worker.
    pub(crate) fn address(&self, worker: &str) -> String {
        self.facts["workers"][worker].as_str().expect("there is such a worker").to_owned()
    }

    /// Sends the process a signal by its name: `STOP` and `CONT` suspend the scheduler and let it go on.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.process.id().to_string()]).status();
        assert!(sent.expect("kill can be started").success());
    }

    /// Has something done and waits for it.
    pub(crate) fn tell(&mut self, what: &str, mut request: Value) -> Value {
        request["do"] = what.into();
        writeln!(self.input, "{request}").expect("Python listens");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("Python answers");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("{what} failed in Python: {line:?}"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
