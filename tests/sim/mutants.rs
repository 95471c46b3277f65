//! The simulator's own test: it must notice every planted bug.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use verbale::exchange::{Mutant, activate};

use super::{number, run};

/// Worlds within which every planted bug must show: the thousand that are always run. The rarest needs 637 of them (naming
/// more of the volume before than the holder has mostly heals by a refill), the next one 443.
const SEEDS: u64 = 1_000;

/// The first world in which a planted bug shows, and what the oracle says; worlds that do not hold without it do not
/// count.
fn first_catch(mutant: Mutant) -> Option<(u64, String)> {
    for seed in 0..number("VERBALE_SEEDS").unwrap_or(SEEDS) {
        activate(Some(mutant));
        let (_, result) = run(seed, None, false);
        activate(None);
        if let Err(what) = result
            && run(seed, None, false).1.is_ok()
        {
            return Some((seed, what));
        }
    }
    None
}

/// `VERBALE_MUTANT=TakeGaps` looks for one bug only.
fn wanted(mutant: Mutant) -> bool {
    std::env::var("VERBALE_MUTANT").map_or(true, |words| words.split(',').any(|word| word == format!("{mutant:?}")))
}

#[test]
fn every_mutant_is_caught() {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut caught = BTreeMap::new();
        while let Some(mutant) = Mutant::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
            if !wanted(*mutant) {
                continue;
            }
            let catch = first_catch(*mutant);
            match &catch {
                Some((seed, what)) => {
                    let what: String = what.chars().take(150).collect();
                    println!("{mutant:?}: caught by seed {seed}: {what}");
                }
                None => println!("{mutant:?}: NOT CAUGHT"),
            }
            caught.insert(format!("{mutant:?}"), catch.is_some());
        }
        caught
    };
    let caught = std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let mut caught = work();
        caught.extend(other.join().expect("failures of worlds are caught"));
        caught
    });
    let missed: Vec<&String> = caught.iter().filter(|(_, caught)| !**caught).map(|(mutant, _)| mutant).collect();
    assert!(missed.is_empty(), "the simulator does not notice {missed:?}");
}
