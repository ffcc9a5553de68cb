//! Replays simulated histories: `cargo xtask sim --seed N`.

use std::process::ExitCode;

use clap::Parser;
use dask_operator::sim::{script, story};

/// Plays simulated histories and judges their ends.
#[derive(Debug, Parser)]
struct Args {
    /// Play this one history and print it.
    #[arg(long)]
    seed: Option<u64>,
    /// Without a seed: play this many histories.
    #[arg(long, default_value_t = 1_000)]
    count: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Run this scenario and print its transcript.
    #[arg(long, conflicts_with = "seed")]
    scenario: Option<std::path::PathBuf>,
    /// Events in each.
    #[arg(long, default_value_t = 120)]
    length: usize,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(path) = &args.scenario {
        return tell(path);
    }
    let seeds = args.seed.map_or(args.from..args.from + args.count, |seed| seed..seed + 1);
    let mut failed = 0;
    for seed in seeds.clone() {
        let story = story::play(seed, args.length);
        let mut wrong = story::judge(&story.sim);
        wrong.extend(story.unfinished);
        if args.seed.is_some() {
            for line in story.sim.history() {
                println!("{line}");
            }
            println!("seed {seed}: hash {:016x}", story.sim.hash());
        }
        for sentence in &wrong {
            println!("seed {seed}: {sentence}");
        }
        failed += u64::from(!wrong.is_empty());
        if args.seed.is_none() && (seed + 1) % 100 == 0 {
            println!("{} histories played, {failed} failed", seed + 1 - args.from);
        }
    }
    if failed > 0 {
        println!(
            "{failed} of {} histories failed; replay one with `cargo xtask sim --seed N`",
            seeds.count()
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn tell(path: &std::path::Path) -> ExitCode {
    let script = std::fs::read_to_string(path).map_err(|error| error.to_string());
    match script.and_then(|script| script::run(&script)) {
        Ok(transcript) => {
            println!("{transcript}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}
