//! A team's own operator: this one with a plugin of the team's. It takes the same arguments, and the same chart runs it.

mod plugin;

use std::process::ExitCode;

use dask_operator::program::Operator;

fn main() -> ExitCode {
    Operator::builder().plugin(plugin::Payer).run()
}

#[cfg(test)]
mod tests {
    use dask_operator::names::API_VERSION;
    use dask_operator::program::Operator;
    use dask_operator::sim::{Sim, SimConfig, create, patch, story};
    use jiff::SignedDuration;
    use serde_json::{Value, json};

    use super::plugin::Payer;

    fn named(sim: &Sim, plural: &str, name: &str) -> Option<Value> {
        sim.list("v1", plural).into_iter().find(|object| object["metadata"]["name"] == name)
    }

    #[test]
    fn whoever_pays_gets_a_cluster_and_its_address() {
        let plugins = Operator::builder().plugin(Payer).registry().expect("one plugin");
        let mut sim = Sim::new(SimConfig { plugins, ..SimConfig::default() });
        let cluster = story::cluster("simple", 1);
        sim.user(&create(API_VERSION, "daskclusters", Some("default"), &cluster)).expect("it is accepted");
        sim.advance(SignedDuration::from_secs(20));
        assert!(named(&sim, "services", "simple-scheduler").is_none(), "nobody pays");

        let body = json!({"metadata": {"labels": {"payer": "physics"}}});
        sim.user(&patch(API_VERSION, "daskclusters", "default", "simple", body)).expect("it is accepted");
        sim.advance(SignedDuration::from_secs(20));
        let service = named(&sim, "services", "simple-scheduler").expect("it is made");
        assert_eq!(service["metadata"]["annotations"]["example.org/payer"], "physics");
        let address = named(&sim, "configmaps", "simple-address").expect("it is made");
        assert_eq!(address["data"]["DASK_SCHEDULER_ADDRESS"], "tcp://simple-scheduler:8786");
    }
}
