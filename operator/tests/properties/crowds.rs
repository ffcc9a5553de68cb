//! Properties of many clusters at once.

use std::collections::BTreeMap;

use dask_operator::names;
use dask_operator::seed::Seed;
use dask_operator::sim::crowd::Crowd;
use dask_operator::sim::{Sim, SimConfig, create, story};
use jiff::SignedDuration;

const CLUSTERS: usize = 1_000;

#[test]
fn pain_19_a_thousand_autoscaled_clusters_cost_no_request_and_their_schedulers_have_turns() {
    let mut crowd = Crowd::new(CLUSTERS, 2, true);
    crowd.advance(SignedDuration::from_secs(15));
    let writes = crowd.writes;
    crowd.questions.clear();
    crowd.advance(SignedDuration::from_secs(20));
    assert_eq!(crowd.writes, writes, "nothing changes, and yet something is written");
    assert_eq!(crowd.questions.len(), CLUSTERS * 20 / 5);
    let mut in_each_tenth: BTreeMap<i64, usize> = BTreeMap::new();
    for asked in &crowd.questions {
        *in_each_tenth.entry(asked.as_millisecond() / 100).or_default() += 1;
    }
    // Twenty on average.
    let most = in_each_tenth.values().max().copied().unwrap_or(0);
    assert!(most <= 60, "{most} schedulers are asked within a tenth of a second");
}

/// Whatever order their parts come in: with the Python operator most stay `Pending`, since two handlers write the phase.
#[test]
fn pain_11_fifty_clusters_made_together_are_all_running() {
    for seed in 0..2 {
        let mut sim = Sim::new(SimConfig::default());
        for number in 0..50 {
            let object = story::cluster(&format!("c{number}"), 1);
            sim.user(&create(names::API_VERSION, "daskclusters", Some("default"), &object))
                .expect("a cluster is accepted");
        }
        let mut draw = Seed(seed);
        for _ in 0..2_000 {
            sim.step_by(draw.below(1_000_000));
        }
        sim.advance(SignedDuration::from_mins(1));
        let clusters = sim.list(names::API_VERSION, "daskclusters");
        let others: Vec<_> =
            clusters.iter().filter(|cluster| cluster["status"]["phase"] != "Running").collect();
        assert!(clusters.len() == 50 && others.is_empty(), "seed {seed}: {others:#?}");
    }
}
