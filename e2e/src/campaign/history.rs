//! Random histories: a pure function of a seed.

use dask_operator::seed::Seed;
use serde_json::{Value, json};

/// Most workers the group is given.
pub const WORKERS_MAX: usize = 4;
/// Acts of one history.
const ACTS: usize = 8;

/// Something that happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// The client hands tasks in.
    Submit(Vec<Value>),
    /// The client wants these results no more.
    Release(Vec<String>),
    /// The group is to have so many workers.
    Scale(usize),
    /// An autoscaler decides for so many milliseconds, up to so many workers.
    Adapt {
        /// Its maximum.
        maximum: usize,
        /// How long it is there.
        millis: u64,
    },
    /// So many workers are there, so that those which go next have something to lose.
    Join(usize),
    /// So many milliseconds pass.
    Pass(u64),
    /// A worker's pod is gone without notice: the n-th of those that run.
    Kill(usize),
}

/// The history of a seed.
///
/// Tasks take up to a second and a half, and their results are kept until the end or released; some need others' results.
/// A third of the histories kills a worker, a quarter has an autoscaler for a while. Each makes the group smaller at least once while tasks run.
pub fn history(seed: u64) -> Vec<Act> {
    let mut draw = Seed(seed);
    let mut keys: Vec<String> = Vec::new();
    let first = 2 + draw.below(WORKERS_MAX - 1);
    let mut acts = vec![Act::Scale(first), submit(&mut draw, seed, &mut keys), Act::Join(first)];
    let kills = draw.below(3) == 0;
    let kill_at = draw.below(ACTS);
    let adapts = draw.below(4) == 0;
    let adapt_at = draw.below(ACTS);
    for number in 0..ACTS {
        match draw.below(8) {
            0..=2 => acts.push(submit(&mut draw, seed, &mut keys)),
            3 | 4 => {
                let wanted = 1 + draw.below(WORKERS_MAX);
                acts.push(Act::Scale(wanted));
                // Sometimes the next number comes while workers are still starting.
                if draw.below(4) > 0 {
                    acts.push(Act::Join(wanted));
                }
            }
            5 | 6 => acts.push(Act::Pass(50 + draw.below(1_200) as u64)),
            _ => acts.push(Act::Release(keys.iter().filter(|_| draw.below(3) == 0).cloned().collect())),
        }
        if kills && number == kill_at {
            acts.push(Act::Kill(draw.below(WORKERS_MAX)));
        }
        if adapts && number == adapt_at {
            acts.push(Act::Adapt { maximum: WORKERS_MAX, millis: 6_000 + draw.below(6_000) as u64 });
        }
    }
    acts.push(submit(&mut draw, seed, &mut keys));
    let last = 2 + draw.below(WORKERS_MAX - 1);
    acts.extend([Act::Scale(last), Act::Join(last), Act::Pass(draw.below(600) as u64), Act::Scale(1)]);
    acts
}

fn submit(draw: &mut Seed, seed: u64, keys: &mut Vec<String>) -> Act {
    let tasks = (0..=draw.below(5)).map(|_| {
        let after: Vec<&String> =
            keys.iter().rev().take(4).filter(|_| draw.below(3) == 0).collect::<Vec<_>>();
        let key = format!("s{seed}-{}", keys.len());
        let task = json!({
            "key": key,
            "number": draw.below(1_000),
            "takes": draw.below(1_500) as f64 / 1_000.0,
            "size": draw.below(100_000),
            "after": after,
        });
        keys.push(key);
        task
    });
    Act::Submit(tasks.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_history_and_another_seed_another() {
        assert_eq!(history(7), history(7));
        assert_ne!(history(7), history(8));
    }

    #[test]
    fn every_history_ends_smaller_than_it_was_and_some_kill() {
        let all: Vec<_> = (0..200).map(history).collect();
        for acts in &all {
            let most =
                acts.iter().filter_map(|act| if let Act::Scale(n) = act { Some(*n) } else { None }).max();
            assert!(most > Some(1) && acts.last() == Some(&Act::Scale(1)));
        }
        let killing = all.iter().filter(|acts| acts.iter().any(|act| matches!(act, Act::Kill(_)))).count();
        assert!((40..100).contains(&killing), "{killing} of 200");
        let adapting =
            all.iter().filter(|acts| acts.iter().any(|act| matches!(act, Act::Adapt { .. }))).count();
        assert!((25..80).contains(&adapting), "{adapting} of 200");
    }
}
