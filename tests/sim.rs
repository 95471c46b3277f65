//! The seeded simulator: whole worlds of nodes, and the oracle that judges them. See `docs/ARCHITECTURE.md`.
//!
//! `VERBALE_SEED=1234 cargo test --test sim one_seed -- --nocapture` replays one world and tells what happened;
//! `VERBALE_SEEDS=100000 cargo test --test sim many_seeds` looks at more worlds than CI does.

#[path = "sim/audited.rs"]
mod audited;
#[path = "sim/bounds.rs"]
mod bounds;
#[path = "sim/disk.rs"]
mod disk;
#[path = "sim/keys.rs"]
mod keys;
#[path = "sim/ledger.rs"]
mod ledger;
#[path = "sim/liar.rs"]
mod liar;
#[cfg(feature = "mutants")]
#[path = "sim/mutants.rs"]
mod mutants;
#[path = "sim/oracle.rs"]
mod oracle;
#[path = "sim/people.rs"]
mod people;
#[path = "sim/rng.rs"]
mod rng;
#[path = "sim/settle.rs"]
mod settle;
#[path = "sim/shell.rs"]
mod shell;
#[path = "sim/signed.rs"]
mod signed;
#[path = "sim/trouble.rs"]
mod trouble;
#[path = "sim/wire.rs"]
mod wire;
#[path = "sim/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use world::{Plan, World};

/// Worlds that CI looks at, besides those of `seeds.txt`.
const SEEDS: u64 = 1_000;

/// Lines of the trace that are printed before a failure.
const TOLD: usize = 400;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs one world; a panic of the core is a failure like any other.
fn run(seed: u64, plan: Option<Plan>, traced: bool) -> (World, Result<(), String>) {
    let mut world = World::new(seed, plan, traced);
    let result = catch_unwind(AssertUnwindSafe(|| world.run()));
    let result = result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    });
    (world, result)
}

/// Runs seeds on two threads; gives the failures in the order of their seeds.
fn run_all(seeds: &[u64]) -> Vec<(u64, String)> {
    let next = AtomicU64::new(0);
    let work = || {
        let mut failures = Vec::new();
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
            let (world, result) = run(*seed, None, false);
            if number("VERBALE_SUMMARY").is_some() {
                println!("seed {seed}: {}", world.summary());
            }
            failures.extend(result.err().map(|what| (*seed, what)));
        }
        failures
    };
    let mut failures = std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let mut failures = work();
        failures.extend(other.join().expect("failures of worlds are caught"));
        failures
    });
    failures.sort();
    failures
}

fn tell(failures: &[(u64, String)], of: usize) {
    if failures.is_empty() {
        return;
    }
    for (seed, what) in failures.iter().take(20) {
        let what: String = what.chars().take(300).collect();
        println!("seed {seed}: {what}\n  VERBALE_SEED={seed} cargo test --test sim one_seed -- --nocapture");
    }
    panic!("{} of {of} worlds do not hold", failures.len());
}

#[test]
fn many_seeds_hold() {
    let first = number("VERBALE_FIRST").unwrap_or(0);
    let seeds: Vec<u64> = (first..first + number("VERBALE_SEEDS").unwrap_or(SEEDS)).collect();
    tell(&run_all(&seeds), seeds.len());
}

#[test]
fn seeds_that_once_broke_hold() {
    let lines = include_str!("sim/seeds.txt").lines().filter(|line| !line.starts_with('#'));
    let seeds: Vec<u64> = lines.filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect();
    tell(&run_all(&seeds), seeds.len());
}

#[test]
fn one_seed() {
    let Some(seed) = number("VERBALE_SEED") else { return };
    let (world, result) = run(seed, None, true);
    let trace = world.trace.as_deref().unwrap_or_default();
    let skipped = trace.len().saturating_sub(number("VERBALE_LINES").map_or(TOLD, |lines| lines as usize));
    println!("seed {seed}: {:?}\n({skipped} earlier lines left out; VERBALE_LINES sets how many are told)", world.plan);
    trace[skipped..].iter().for_each(|line| println!("{line}"));
    println!("{}", world.summary());
    result.unwrap_or_else(|what| panic!("seed {seed}: {what}"));
}

/// Bytes of memory that a message may leave behind: its id and where it stands, within the bound of remembered ids.
const ID_WEIGHT: usize = 64;

#[test]
fn of_ten_times_as_many_messages_only_their_ids_are_remembered() {
    let weigh = |messages: u64| {
        let (world, result) = run(7, Some(Plan { nodes: 2, messages, ..Plan::default() }), false);
        result.unwrap_or_else(|what| panic!("{messages} messages: {what}"));
        let folds = world.instances.iter().filter_map(|instance| instance.core.as_ref());
        folds.map(|core| shell::bytes_of(core.fold()).len()).max().expect("two nodes run")
    };
    let (few, many) = (weigh(200), weigh(2_000));
    assert!(many - few <= 1_800 * ID_WEIGHT, "I10: from {few} to {many} bytes");
}

#[test]
fn a_few_worlds_hold_with_real_signatures() {
    for seed in 0..3 {
        let mut plan = Plan::of(&mut rng::Rng::new(seed));
        plan.real_keys = true;
        plan.messages = plan.messages.min(15);
        let (_, result) = run(seed, Some(plan), false);
        result.unwrap_or_else(|what| panic!("real signatures, seed {seed}: {what}"));
    }
}

#[test]
fn the_audit_of_every_honest_disk_is_good() {
    let first = number("VERBALE_FIRST").unwrap_or(0);
    let mut failures = Vec::new();
    let seeds = first..first + number("VERBALE_SEEDS").unwrap_or(100);
    let of = seeds.clone().count();
    for seed in seeds {
        let (world, result) = run(seed, None, false);
        if result.is_err() {
            continue;
        }
        for (who, report) in world.audits() {
            if let Some(fault) = report.faults.first() {
                failures.push((seed, format!("{who}: {} faults; {}: {fault}", report.faults.len(), fault.kind.word())));
            }
        }
    }
    tell(&failures, of);
}
