//! Which registered Dask workers run in which worker of the group.

use std::collections::BTreeMap;

use super::worker::Worker;
use crate::scheduler::{self as dask, Snapshot};

/// What a scheduler said of its workers, by name and host.
#[derive(Debug)]
pub struct Roll<'a> {
    by_name: BTreeMap<&'a str, Vec<Registered<'a>>>,
    by_host: BTreeMap<&'a str, Vec<Registered<'a>>>,
    /// How many workers of the group have this address: with the host's network several share one.
    hosts: BTreeMap<&'a str, usize>,
}

/// The address and state of a registered worker.
pub(super) type Registered<'a> = (&'a str, &'a dask::Worker);

impl<'a> Roll<'a> {
    /// Reads an answer about these workers.
    pub fn new(snapshot: &'a Snapshot, workers: &'a [Worker]) -> Self {
        let mut roll = Self { by_name: BTreeMap::new(), by_host: BTreeMap::new(), hosts: BTreeMap::new() };
        for (address, worker) in &snapshot.workers {
            let registered = (address.as_str(), worker);
            roll.by_name.entry(&worker.name).or_default().push(registered);
            // With `--nworkers` a number follows.
            if let Some((name, number)) = worker.name.rsplit_once('-')
                && !number.is_empty()
                && number.bytes().all(|byte| byte.is_ascii_digit())
            {
                roll.by_name.entry(name).or_default().push(registered);
            }
            roll.by_host.entry(host(address)).or_default().push(registered);
        }
        for ip in workers.iter().flat_map(Worker::ips) {
            *roll.hosts.entry(ip).or_default() += 1;
        }
        roll
    }

    /// The Dask workers that run in a worker: found by its name, or else, if the user named them otherwise, by the address of
    /// its pod where no other worker of the group has it too.
    pub fn of(&self, worker: &Worker) -> Vec<Registered<'a>> {
        if let Some(named) = self.by_name.get(worker.name()) {
            return named.clone();
        }
        let own = worker.ips().filter(|ip| self.hosts.get(ip) == Some(&1));
        own.filter_map(|ip| self.by_host.get(ip)).flatten().copied().collect()
    }
}

/// Host part of a Dask address such as `tcp://10.0.0.1:40331` or `tls://[fd00::1]:40331`.
fn host(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let host = rest.rsplit_once(':').map_or(rest, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_read_without_scheme_port_and_brackets() {
        for address in ["tcp://10.0.0.1:40331", "tls://10.0.0.1:1", "10.0.0.1"] {
            assert_eq!(host(address), "10.0.0.1");
        }
        assert_eq!(host("tls://[fd00::1]:40331"), "fd00::1");
    }
}
