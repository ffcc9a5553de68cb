//! Properties of a thousand autoscaled clusters.

use std::collections::BTreeMap;

use dask_operator::sim::crowd::Crowd;
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
