//! Prometheus' text format: names, labels and meaning of all series.
//!
//! All names begin with `dask_operator_`; durations are histograms in seconds. Labels take values from closed sets, but for
//! `namespace`, which is one of those in which there is something of Dask.

use std::collections::BTreeMap;
use std::fmt::Error;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{Registry, Unit};

use super::Observed;
use super::census::Place;
use super::histogram::Histogram;
use super::tally::Ended;
use crate::health::Health;
use crate::observe::Kind;
use crate::store::Part;
use crate::store::call::Verb;
use crate::store::metering::{BOUNDS_MS, Figures, Series};

/// Type of what [`render`] makes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Code of a request that succeeded, beside the reasons of those that did not.
const OK: &str = "OK";

/// All series in the text format. What the engine would tell is left out where it was not asked or did not answer.
pub fn render(
    requests: &BTreeMap<Series, Figures>,
    observed: Option<Observed>,
    working: bool,
    health: &Health,
) -> String {
    let mut registry = Registry::with_prefix("dask_operator");
    let requests = requests.clone();
    registry.register_collector(Box::new(Page { requests, observed, working, health: health.clone() }));
    let mut text = String::new();
    // Writing into a String does not fail, and no collector here gives an error of its own.
    if let Err(error) = encode_registry(&mut text, &registry).and_then(|()| encode_eof(&mut text)) {
        tracing::error!(%error, "the metrics could not be written");
    }
    text
}

#[derive(Debug)]
struct Page {
    requests: BTreeMap<Series, Figures>,
    observed: Option<Observed>,
    working: bool,
    health: Health,
}

impl Collector for Page {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut page = Writer(encoder);
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        page.gauges("build_info", "Version of the operator; always 1", [(version, 1)])?;
        let turn = [([], self.health.last_sign().max(0) as u64)];
        let help = "When the operator's loop last gave a sign of life";
        page.gauges::<0>("last_turn_timestamp_seconds", help, turn)?;
        let working = [([], u64::from(self.working))];
        page.gauges::<0>("working", "Whether this process works, or stands by for another", working)?;
        let ready = [([], u64::from(self.health.is_ready()))];
        page.gauges::<0>("ready", "Whether all that is watched has been listed", ready)?;
        self.requests(&mut page)?;
        self.observed.as_ref().map_or(Ok(()), |observed| observed.encode(&mut page))
    }
}

impl Page {
    fn requests(&self, page: &mut Writer<'_>) -> Result<(), Error> {
        let mut counts = Vec::new();
        let mut durations: BTreeMap<&str, (f64, Vec<u64>)> = BTreeMap::new();
        for (series, figures) in &self.requests {
            let (verb, kind) = (series.verb.as_str(), series.kind.as_str());
            let subresource = if series.part == Part::Status { "status" } else { "" };
            let failed: u64 = figures.failures.values().sum();
            let well = [(OK, figures.calls - failed)].into_iter().filter(|(_, count)| *count > 0);
            for (code, count) in well.chain(figures.failures.iter().map(|(code, count)| (*code, *count))) {
                let labels = [("verb", verb), ("kind", kind), ("subresource", subresource), ("code", code)];
                counts.push((labels, count));
            }
            // A watch has no end.
            if series.verb == Verb::Watch {
                continue;
            }
            let (sum, classes) =
                durations.entry(verb).or_insert_with(|| (0.0, vec![0; figures.classes.len()]));
            *sum += figures.time.as_secs_f64();
            classes.iter_mut().zip(figures.classes).for_each(|(class, count)| *class += count);
        }
        let help = "Requests to the API server that ended: code is OK, or the reason that conditions give";
        page.counters("api_requests", help, counts)?;
        let bounds = || BOUNDS_MS.iter().map(|bound| *bound as f64 / 1_000.0).chain([f64::INFINITY]);
        let rows = durations
            .into_iter()
            .map(|(verb, (sum, classes))| ([("verb", verb)], sum, bounds().zip(classes).collect::<Vec<_>>()));
        page.histograms("api_request_duration", "Time to the end of a request to the API server", rows)
    }
}

impl Observed {
    fn encode(&self, page: &mut Writer<'_>) -> Result<(), Error> {
        let tally = &self.tally;
        let queue = [([("state", "due")], self.due as u64), ([("state", "later")], self.later as u64)];
        page.gauges(
            "queue_depth",
            "Resources to be looked at: now, or later even if nothing happens",
            queue,
        )?;
        let kinds = Kind::ALL.into_iter().flat_map(|kind| Ended::ALL.map(|ended| (kind, ended)));
        let none = Histogram::default();
        let reconciles = kinds.map(|(kind, ended)| {
            let labels = [("kind", kind.name()), ("outcome", ended.as_str())];
            row(labels, tally.reconciles.get(&(kind, ended)).unwrap_or(&none))
        });
        let help = "From when a resource was due to be looked at to the end of all writes";
        page.histograms("reconcile_duration", help, reconciles)?;
        let failures = tally
            .failures
            .iter()
            .map(|((kind, reason), count)| ([("kind", kind.name()), ("reason", reason.as_str())], *count));
        page.counters(
            "reconcile_failures",
            "Plans that were not carried out to their end, by reason",
            failures,
        )?;
        let polls = tally.polls.iter().map(|(outcome, took)| row([("outcome", *outcome)], took));
        let help = "Questions to schedulers: outcome is Answered, or the reason that conditions give";
        page.histograms("scheduler_poll_duration", help, polls)?;
        let advice = tally.advice.iter();
        let advice =
            advice.map(|((plugin, how), count)| ([("plugin", plugin.as_str()), ("outcome", *how)], *count));
        let help = "Questions to plugins: outcome is Answered, or the reason that conditions give";
        page.counters("plugin_calls", help, advice)?;
        let calls = tally.advised.iter().chain(&self.called);
        let calls = calls.map(|(plugin, took)| row([("plugin", plugin.as_str())], took));
        page.histograms("plugin_call_duration", "Time to the answer of a plugin", calls)?;
        let drained = [([("result", "let_go")], tally.drained), ([("result", "kept")], tally.kept)];
        let help = "Workers that schedulers were asked to let go; those that were kept are asked for again";
        page.counters("workers_drained", help, drained)?;
        let started = tally.started.iter().map(|(kind, took)| row([("kind", kind.name())], took));
        let help = "From the creation of a cluster or job to its phase or state Running";
        page.histograms("creation_to_running_duration", help, started)?;
        let census = &self.census;
        page.gauges("clusters", "DaskClusters by phase", places("phase", &census.clusters))?;
        page.gauges("jobs", "DaskJobs by state", places("state", &census.jobs))?;
        let help = "Pods of workers by phase; Ready are the running ones that are ready";
        page.gauges("workers", help, places("phase", &census.workers))?;
        let missing = census.fields_missing.iter().map(|(kind, count)| ([("kind", *kind)], *count));
        let help = "Fields that this version knows and the installed definition does not keep";
        page.gauges("definition_fields_missing", help, missing)
    }
}

/// Labels of a series.
type Labels<'a, const N: usize> = [(&'a str, &'a str); N];

/// A histogram as it is written: labels, sum in seconds, classes.
type Row<'a, const N: usize> = (Labels<'a, N>, f64, Vec<(f64, u64)>);

fn row<'a, const N: usize>(labels: Labels<'a, N>, histogram: &Histogram) -> Row<'a, N> {
    (labels, histogram.seconds(), histogram.classes())
}

fn places<'a>(
    label: &'a str,
    counts: &'a BTreeMap<Place, u64>,
) -> impl Iterator<Item = (Labels<'a, 2>, u64)> {
    counts.iter().map(move |((namespace, phase), count)| {
        ([("namespace", namespace.as_str()), (label, *phase)], *count)
    })
}

/// Writes families of series; a family without series has its description.
struct Writer<'e>(DescriptorEncoder<'e>);

impl Writer<'_> {
    fn counters<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels<'a, N>, u64)>,
    ) -> Result<(), Error> {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, count) in rows {
            let none: Option<&Exemplar<NoLabelSet, u64>> = None;
            family.encode_family(&labels)?.encode_counter(&count, none)?;
        }
        Ok(())
    }

    fn gauges<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels<'a, N>, u64)>,
    ) -> Result<(), Error> {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, count) in rows {
            if N == 0 {
                family.encode_gauge(&count)?;
            } else {
                family.encode_family(&labels)?.encode_gauge(&count)?;
            }
        }
        Ok(())
    }

    fn histograms<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = Row<'a, N>>,
    ) -> Result<(), Error> {
        let seconds = Some(&Unit::Seconds);
        let mut family = self.0.encode_descriptor(name, help, seconds, MetricType::Histogram)?;
        for (labels, sum, classes) in rows {
            let count = classes.iter().map(|(_, count)| count).sum();
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &classes, None)?;
        }
        Ok(())
    }
}
