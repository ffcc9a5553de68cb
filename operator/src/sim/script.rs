//! The language of `snapshots/*.scenario`: one verb a line, YAML indented below `apply`.
//!
//! ```text
//! # comment, kept in the transcript
//! setting carrier deployment          before anything else
//! plugins                             likewise: what `--plugins` takes, indented; later on, the list changes to this
//! apply                               create, or change what exists; documents follow, indented
//!   apiVersion: …
//! patch DaskCluster simple {"spec": …}
//! scale DaskWorkerGroup simple-default 5
//! delete Pod simple-default-worker-*#1     the first of the names that match
//! dask simple wanted 7                the scheduler wants seven workers; also: idle, busy, stubborn NAME, submit TASKS TIME
//! dask simple fails refused 4         the next four calls to the scheduler are refused; other faults: `Fault`
//! fault create Pod 2 conflict         the second create of a Pod fails
//! definitions todays                  the Python operator's definitions replace ours; `definitions ours`: the reverse;
//!                                     `definitions older`: ours without some fields
//! restart                             the operator dies and another one starts; `restart carrier deployment`: so set
//! wait 10s                            time passes
//! show                                all objects in short; `show KIND NAME`: one whole, as far as we wrote it
//! ```

use jiff::SignedDuration;
use serde_json::Value;

use super::rights::Rights;
use super::transcript::Transcript;
use super::{Sim, SimConfig, create, dask, definitions, delete, patch, request};
use crate::names;
use crate::plugin::{Registry, config};
use crate::scheduler::scripted::Fault as DaskFault;
use crate::settings::{Carrier, Settings};
use crate::store::call::{Call, Verb};
use crate::store::faults::{Fault, Rule};
use fake_apiserver::request::{Request, Verb as ApiVerb};
use fake_apiserver::response::Reply;

/// The namespace scenarios play in.
pub const NAMESPACE: &str = "default";

/// Runs a script and gives its transcript; a line that cannot be understood is an error that names it.
pub fn run(script: &str) -> Result<String, String> {
    Ok(play(script, Rights::Unasked)?.0)
}

/// Runs a script and gives its transcript and the operator's calls, from the first one at the start.
pub fn play(script: &str, rights: Rights) -> Result<(String, Vec<Call>), String> {
    let lines = split(script);
    let mut settings = Settings { look: rights.look(), ..Settings::default() };
    let mut plugins = Registry::default();
    let mut wrong = None;
    let preamble = |line: &&Line| match plugins_of(line) {
        Some(Ok(registry)) => {
            plugins = registry;
            true
        }
        Some(Err(why)) => {
            wrong = Some(why);
            true
        }
        None => set(&mut settings, line),
    };
    let rest = lines.iter().skip_while(preamble).cloned().collect::<Vec<_>>();
    wrong.map_or(Ok(()), Err)?;
    let mut sim = Sim::new(SimConfig { settings, seed: 1, rights, plugins });
    sim.settle();
    let mut transcript = Transcript::new();
    let mut calls: Vec<Call> = sim.store.inner().take().into_iter().map(|entry| entry.call).collect();
    for line in &rest {
        transcript.command(line);
        step(&mut sim, line, &mut transcript).map_err(|why| format!("{}: {why}", line.text))?;
        sim.settle();
        let entries = sim.store.inner().take();
        calls.extend(entries.iter().map(|entry| entry.call.clone()));
        transcript.writes(entries, sim.elapsed());
    }
    Ok((transcript.finish(), calls))
}

/// A line with what is indented below it.
#[derive(Clone, Debug)]
pub struct Line {
    /// The line.
    pub text: String,
    /// The indented block.
    pub block: String,
}

fn split(script: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for text in script.lines() {
        match lines.last_mut() {
            Some(line) if text.starts_with(' ') || (text.is_empty() && !line.block.is_empty()) => {
                line.block.push_str(text.strip_prefix("  ").unwrap_or(text));
                line.block.push('\n');
            }
            _ if text.trim().is_empty() => {}
            _ => lines.push(Line { text: text.trim_end().to_owned(), block: String::new() }),
        }
    }
    lines
}

/// The plugins that a script begins with, as a configuration says them.
fn plugins_of(line: &Line) -> Option<Result<Registry, String>> {
    (line.text == "plugins").then(|| {
        let config = config::parse(line.block.as_bytes(), "the script".as_ref());
        let plugins = config.map_err(|error| error.to_string())?.plugins;
        let entries: Result<Vec<_>, String> =
            plugins.into_iter().map(|plugin| config::entry(plugin, None)).collect();
        Registry::new(entries?).map_err(|error| error.to_string())
    })
}

fn set(settings: &mut Settings, line: &Line) -> bool {
    match line.text.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["setting", "carrier", "deployment"] => settings.carrier = Carrier::Deployment,
        ["setting", "batch", size, delay] => {
            settings.batch_size = size.parse().unwrap_or(0);
            settings.batch_delay = delay.parse().unwrap_or_default();
        }
        ["setting", "grace", seconds] => {
            settings.scale_down_grace = SignedDuration::from_secs(seconds.parse().unwrap_or(0));
        }
        ["setting", "istio-label", "off"] => settings.istio_label = false,
        ["setting", "domain", domain] => (*domain).clone_into(&mut settings.domain),
        _ => return line.text.starts_with('#'),
    }
    true
}

fn step(sim: &mut Sim, line: &Line, transcript: &mut Transcript) -> Result<(), String> {
    let mut words = line.text.splitn(4, ' ');
    let verb = words.next().unwrap_or_default();
    let words: Vec<&str> = words.collect();
    match (verb, words.as_slice()) {
        (comment, _) if comment.starts_with('#') => Ok(()),
        ("apply", []) => apply(sim, &line.block, transcript),
        ("patch", [kind, name, body]) => {
            let body = serde_json::from_str(body).map_err(|error| error.to_string())?;
            let (api_version, plural) = resource(kind)?;
            let name = resolve(sim, kind, name)?;
            answer(sim, &patch(api_version, plural, NAMESPACE, &name, body), transcript);
            Ok(())
        }
        ("status", [kind, name, body]) => {
            let body = serde_json::from_str(body).map_err(|error| error.to_string())?;
            let (api_version, plural) = resource(kind)?;
            let name = resolve(sim, kind, name)?;
            let request = patch(api_version, plural, NAMESPACE, &name, body);
            answer(sim, &Request { subresource: Some("status".into()), ..request }, transcript);
            Ok(())
        }
        ("scale", [kind, name, number]) => {
            let number: u32 = number.parse().map_err(|_| "scale wants a number")?;
            let (api_version, plural) = resource(kind)?;
            let body = serde_json::json!({"spec": {"replicas": number}});
            let request = patch(api_version, plural, NAMESPACE, name, body);
            answer(sim, &Request { subresource: Some("scale".into()), ..request }, transcript);
            Ok(())
        }
        ("delete", [kind, name]) => {
            let (api_version, plural) = resource(kind)?;
            let name = resolve(sim, kind, name)?;
            answer(sim, &delete(api_version, plural, NAMESPACE, &name), transcript);
            Ok(())
        }
        ("dask", [cluster, what @ ..]) => tell_dask(sim, cluster, what),
        ("fault", [verb, kind, rest]) => fault(sim, verb, kind, rest),
        ("definitions", [whose]) => {
            let requests = match *whose {
                "ours" => definitions::ours(),
                "todays" => definitions::todays(),
                "older" => definitions::older(),
                _ => return Err("definitions are ours, todays or older".into()),
            };
            for request in requests {
                answer(sim, &request, transcript);
            }
            Ok(())
        }
        ("restart", []) => {
            sim.restart();
            Ok(())
        }
        ("restart", ["carrier", "deployment"]) => {
            sim.restart_with(|settings| settings.carrier = Carrier::Deployment);
            Ok(())
        }
        ("plugins", []) => {
            sim.restart_with_plugins(plugins_of(line).unwrap_or_else(|| Ok(Registry::default()))?);
            Ok(())
        }
        ("wait", [time]) => {
            let time: SignedDuration = time.parse().map_err(|error| format!("{error}"))?;
            sim.advance(time);
            Ok(())
        }
        ("show", []) => {
            transcript.world(sim);
            Ok(())
        }
        ("show", [kind, name]) => {
            let (api_version, plural) = resource(kind)?;
            let name = resolve(sim, kind, name)?;
            let found = sim.list(api_version, plural).into_iter().find(|o| o["metadata"]["name"] == name);
            transcript.object(&found.ok_or("there is no such object")?);
            Ok(())
        }
        _ => Err("this is no line of the language; see operator/src/sim/script.rs".into()),
    }
}

fn apply(sim: &mut Sim, block: &str, transcript: &mut Transcript) -> Result<(), String> {
    use serde::Deserialize;
    for document in serde_yaml::Deserializer::from_str(block) {
        let object = Value::deserialize(document).map_err(|error| error.to_string())?;
        let kind = object["kind"].as_str().unwrap_or_default();
        let (api_version, plural) = resource(kind)?;
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let exists = sim
            .list(api_version, plural)
            .iter()
            .any(|found| found["metadata"]["name"] == name && found["metadata"]["namespace"] == NAMESPACE);
        let request = if exists {
            patch(api_version, plural, NAMESPACE, &name, object)
        } else {
            create(api_version, plural, Some(NAMESPACE), &object)
        };
        answer(sim, &request, transcript);
        sim.settle();
    }
    Ok(())
}

/// Sends a user's request; a refusal is part of the transcript, not a failure of the script.
fn answer(sim: &mut Sim, request: &Request, transcript: &mut Transcript) {
    if let Err(status) = sim.user(request) {
        transcript.refusal(&status);
    }
}

fn tell_dask(sim: &mut Sim, cluster: &str, what: &[&str]) -> Result<(), String> {
    let host = dask::host(sim, NAMESPACE, cluster).ok_or("the cluster has no scheduler Service")?;
    let now = sim.now();
    let address_of = |sim: &Sim, name: &str| -> Result<String, String> {
        let name = resolve(sim, "Pod", name)?;
        let pod = sim.list("v1", "pods").into_iter().find(|pod| pod["metadata"]["name"] == name);
        Ok(dask::address(&pod.ok_or("there is no such pod")?))
    };
    match what {
        ["wanted", number] => {
            let number = number.parse().map_err(|_| "wanted what number?")?;
            sim.scheduler.set(&host, |model| model.desired_workers = number);
        }
        ["idle"] => sim.scheduler.set(&host, |model| model.idle_since = Some(now)),
        ["busy"] => sim.scheduler.set(&host, |model| model.idle_since = None),
        ["fails", text] => {
            let (fault, times) = text.rsplit_once(' ').ok_or("fails HOW TIMES")?;
            let times: usize = times.parse().map_err(|_| "for how many calls?")?;
            let named =
                |known: &&DaskFault| format!("{known:?}").eq_ignore_ascii_case(&fault.replace('-', ""));
            let fault = *DaskFault::ALL.iter().find(named).ok_or("there is no such fault of a scheduler")?;
            sim.scheduler.fail(&host, std::iter::repeat_n(fault, times));
        }
        ["answers"] => sim.scheduler.heal(),
        ["deaf"] => sim.scheduler.set(&host, |model| model.deaf = true),
        ["http-only"] => sim.scheduler.behave(&host, |behaviour| behaviour.http_only = true),
        ["submit", text] => {
            let (tasks, takes) = text.split_once(' ').ok_or("submit TASKS TIME")?;
            let tasks: usize = tasks.parse().map_err(|_| "how many tasks?")?;
            let takes: SignedDuration = takes.parse().map_err(|error| format!("{error}"))?;
            sim.scheduler.set(&host, |model| (0..tasks).for_each(|_| model.submit(takes, 100)));
            sim.scheduler.work(now);
        }
        ["stubborn", name] => {
            let address = address_of(sim, name)?;
            sim.scheduler.set(&host, |model| model.stubborn.insert(address));
        }
        ["willing", name] => {
            let address = address_of(sim, name)?;
            sim.scheduler.set(&host, |model| model.stubborn.remove(&address));
        }
        ["holds", text] => {
            let (name, bytes) = text.rsplit_once(' ').ok_or("holds NAME BYTES")?;
            let address = address_of(sim, name)?;
            let bytes = bytes.parse().map_err(|_| "how many bytes?")?;
            sim.scheduler.set(&host, |model| {
                if let Some(worker) = model.workers.get_mut(&address) {
                    worker.bytes = bytes;
                }
            });
        }
        ["runs", text] => {
            let (name, tasks) = text.rsplit_once(' ').ok_or("runs NAME TASKS")?;
            let address = address_of(sim, name)?;
            let tasks = tasks.parse().map_err(|_| "how many tasks?")?;
            sim.scheduler.set(&host, |model| {
                if let Some(worker) = model.workers.get_mut(&address) {
                    worker.busy = tasks;
                }
            });
        }
        _ => {
            return Err(
                "dask knows wanted, idle, busy, fails, answers, deaf, http-only, submit, stubborn, willing, holds, runs".into()
            );
        }
    }
    Ok(())
}

fn fault(sim: &Sim, verb: &str, kind: &str, rest: &str) -> Result<(), String> {
    let (nth, fault) = rest.split_once(' ').ok_or("fault VERB KIND NTH WHAT")?;
    let verb = match verb {
        "create" => Verb::Create,
        "patch" => Verb::Patch,
        "delete" => Verb::Delete,
        _ => return Err("faults are injected into create, patch and delete".into()),
    };
    let fault = match fault {
        "conflict" => Fault::Conflict,
        "quota" => Fault::Quota,
        "busy" => Fault::Busy { seconds: 1 },
        "before-send" => Fault::BeforeSend,
        "response-lost" => Fault::ResponseLost,
        _ => return Err("faults are conflict, quota, busy, before-send, response-lost".into()),
    };
    let nth = nth.parse().map_err(|_| "the how manieth call?")?;
    sim.store.add(Rule::nth(verb, kind, nth, fault));
    Ok(())
}

/// A name as given, or the n-th of those that match a prefix: `simple-default-worker-*#2`.
fn resolve(sim: &Sim, kind: &str, name: &str) -> Result<String, String> {
    let Some((prefix, nth)) = name.split_once("*#") else { return Ok(name.into()) };
    let nth: usize = nth.parse().map_err(|_| "a number follows #")?;
    let (api_version, plural) = resource(kind)?;
    let objects = sim.list(api_version, plural);
    let mut names =
        objects.iter().filter_map(|o| o["metadata"]["name"].as_str()).filter(|n| n.starts_with(prefix));
    names
        .nth(nth.saturating_sub(1))
        .map(str::to_owned)
        .ok_or(format!("fewer than {nth} names begin with {prefix}"))
}

fn resource(kind: &str) -> Result<(&'static str, &'static str), String> {
    Ok(match kind {
        "DaskCluster" => (names::API_VERSION, "daskclusters"),
        "DaskWorkerGroup" => (names::API_VERSION, "daskworkergroups"),
        "DaskJob" => (names::API_VERSION, "daskjobs"),
        "DaskAutoscaler" => (names::API_VERSION, "daskautoscalers"),
        "Pod" => ("v1", "pods"),
        "Service" => ("v1", "services"),
        "Event" => ("v1", "events"),
        "ResourceQuota" => ("v1", "resourcequotas"),
        "Deployment" => ("apps/v1", "deployments"),
        "ConfigMap" => ("v1", "configmaps"),
        "NetworkPolicy" => ("networking.k8s.io/v1", "networkpolicies"),
        "PodDisruptionBudget" => ("policy/v1", "poddisruptionbudgets"),
        other => return Err(format!("the kind {other} is not known to scenarios")),
    })
}

/// Whether an object exists; for tests that look at a world after a script.
pub fn exists(sim: &Sim, api_version: &str, plural: &str, name: &str) -> bool {
    let request = Request {
        verb: ApiVerb::Get,
        name: Some(name.into()),
        ..request(api_version, plural, Some(NAMESPACE))
    };
    matches!(sim.server.request(&request).map(|response| response.reply), Ok(Reply::Object(_)))
}
