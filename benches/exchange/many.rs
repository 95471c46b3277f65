//! Memory while many messages pass: it must not grow with history.

use std::time::{Duration, Instant};

use crate::child::{Order, Said};
use crate::load::Load;
use crate::meter::used;
use crate::pair::Pair;
use crate::table::Table;
use crate::{Failed, journal};

/// Messages where nothing else is said.
pub const MESSAGES: usize = 1_000_000;

const SENDERS: usize = 256;
/// Looks at the memory.
const LOOKS: u32 = 10;
/// The loop ends by the number of messages; this ends it where it stands still.
const AT_MOST: Duration = Duration::from_secs(3600);

/// Measures and tells.
pub fn run(messages: usize) -> Result<(), Failed> {
    let mut pair = Pair::start()?;
    let (author, holder) = (pair.author.1.pid(), pair.holder.1.pid());
    let run_ms = u64::try_from(AT_MOST.as_millis())?;
    // The loop keeps four bytes per message in the author's process to tell the times; they are counted below.
    let load = Load { to: pair.holder.0.node, senders: SENDERS, warm_ms: 0, run_ms, at_most: messages };
    pair.author.1.tell(&Order::Load(load))?;
    let Said::Counting = pair.author.1.listen()? else { return Err("it does not count".into()) };
    let begun = Instant::now();
    // How fast it goes is known only while it goes: looks become rarer, so that about as many remain.
    let (sender, done) = std::sync::mpsc::channel();
    let watch = std::thread::spawn(move || {
        let (mut looks, mut step) = (Vec::new(), Duration::from_secs(1));
        while done.recv_timeout(step).is_err() {
            let (Ok(a), Ok(b)) = (used(author), used(holder)) else { break };
            looks.push((begun.elapsed(), a.resident, b.resident));
            if looks.len() > 2 * LOOKS as usize {
                let mut number = 0;
                looks.retain(|_| {
                    number += 1;
                    number % 2 == 0
                });
                step *= 2;
            }
        }
        looks
    });
    let said = pair.author.1.listen()?;
    let Said::Loaded(loaded) = said else { return Err(format!("instead of figures: {said:?}").into()) };
    sender.send(())?;
    let looks = watch.join().map_err(|_| "the watch panicked")?;
    let (a, b) = (used(author)?, used(holder)?);
    let written = pair.end(|author, _| journal::read(&author.path))?;
    println!(
        "\n### {} messages with {SENDERS} senders, {:.0}/s\n",
        written.appended,
        loaded.receipts as f64 / loaded.seconds
    );
    let mib = |bytes: u64| format!("{:.0}", bytes as f64 / f64::from(1 << 20));
    let mut table = Table::new(&["after", "A MiB", "B MiB"]);
    for (at, a, b) in looks {
        table.row([format!("{:.0} s", at.as_secs_f64()), mib(a), mib(b)]);
    }
    table.row(["the end".to_owned(), mib(a.resident), mib(b.resident)]);
    table.row(["the most".to_owned(), mib(a.peak), mib(b.peak)]);
    table.print();
    println!("\nA holds {} MiB of this for the times that are measured.", mib(4 * loaded.receipts as u64));
    Ok(())
}
