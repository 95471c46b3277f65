//! What the exchange costs: two nodes as separate processes, durable and signed on both sides, beside what the network
//! and the disk give in the same minutes. `docs/PERFORMANCE.md` says how to read the tables.
//!
//! ```text
//! cargo bench --bench exchange                     the closed loop, the local socket, a large file: about five minutes
//! cargo bench --bench exchange -- --quick          the same in one short round, for CI
//! cargo bench --bench exchange -- points 256       only the closed loop, only with 256 senders
//! cargo bench --bench exchange -- idle             200 peers that say nothing
//! cargo bench --bench exchange -- many 1000000     memory while a million messages pass
//! ```
//!
//! The program starts itself again for every node and every end of a bare connection (`child`), and measures them from
//! outside. Figures of one run are comparable with each other and with nothing else.

mod ceiling;
mod child;
mod crowd;
mod enclosure;
mod idle;
mod journal;
mod load;
mod many;
mod meter;
mod pair;
mod points;
mod table;

use std::process::ExitCode;
use std::time::Duration;

/// Why a measurement ended without a figure.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;

/// How long, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Rounds; the median of them is told.
    pub rounds: usize,
    /// Before anything is counted.
    pub warm: Duration,
    /// Counted.
    pub run: Duration,
}

const FULL: Plan = Plan { rounds: 3, warm: Duration::from_millis(700), run: Duration::from_secs(3) };
const QUICK: Plan = Plan { rounds: 1, warm: Duration::from_millis(200), run: Duration::from_millis(500) };

fn main() -> ExitCode {
    // Cargo itself adds `--bench`.
    let mut words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let quick = words.iter().any(|word| word == "--quick");
    words.retain(|word| word != "--quick");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let plan = if quick { QUICK } else { FULL };
    let done = match words.as_slice() {
        ["child", rest @ ..] => child::run(rest),
        [] => everything(plan, quick),
        ["points", depths @ ..] => numbers(depths).and_then(|depths| points::run(plan, &depths)),
        ["socket"] => points::socket(plan),
        ["enclosure"] => enclosure::run(plan.rounds, enclosure::BYTES),
        ["idle"] => idle::run(idle::PEERS),
        ["idle", peers] => number(peers).and_then(idle::run),
        ["many"] => many::run(many::MESSAGES),
        ["many", messages] => number(messages).and_then(many::run),
        other => Err(format!("{other:?} is none of: points, socket, enclosure, idle, many").into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn everything(plan: Plan, quick: bool) -> Result<(), Failed> {
    if quick {
        points::run(plan, &[1, 64])?;
        points::socket(plan)?;
        return enclosure::run(1, enclosure::BYTES / 16);
    }
    points::run(plan, &[])?;
    points::socket(plan)?;
    enclosure::run(plan.rounds, enclosure::BYTES)
}

fn number(word: &str) -> Result<usize, Failed> {
    word.parse().map_err(|error| format!("{word}: {error}").into())
}

fn numbers(words: &[&str]) -> Result<Vec<usize>, Failed> {
    words.iter().map(|word| number(word)).collect()
}
