//! The closed loop at several depths, each beside its ceilings in the same round.

use crate::child::{Order, Said};
use crate::enclosure::bare;
use crate::load::{Load, Loaded};
use crate::meter::{Used, median, on_disk, used};
use crate::pair::{Folder, Pair, Process, stage};
use crate::table::Table;
use crate::{Failed, Plan, ceiling, journal};

/// How many senders wait at once where nothing else is said.
const DEPTHS: [usize; 5] = [1, 16, 64, 256, 1024];
/// Connections to the local socket at once.
const SOCKET_DEPTHS: [usize; 3] = [1, 16, 64];

/// One round at one depth.
#[derive(Clone, Copy, Debug, Default)]
struct Point {
    rate: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Microseconds of CPU per message: author, holder.
    cpu: (f64, f64),
    /// MiB at the most: author, holder.
    peak: (f64, f64),
    entries_per_head: f64,
    /// Groups of both journals per 1,000 messages: author, holder.
    syncs: (f64, f64),
    /// Bytes of the journal per message: author, holder.
    journal: (f64, f64),
    /// Bytes of the index per message: author, holder.
    index: (f64, f64),
    quinn: f64,
    quinn_p50_ms: f64,
    append: f64,
}

/// Measures and tells.
pub fn run(plan: Plan, depths: &[usize]) -> Result<(), Failed> {
    let depths = if depths.is_empty() { &DEPTHS[..] } else { depths };
    let mut points = vec![Vec::new(); depths.len()];
    for round in 0..plan.rounds {
        for (depth, points) in depths.iter().zip(&mut points) {
            let point = point(plan, *depth)?;
            eprintln!("round {}, {depth} senders: {:.0}/s", round + 1, point.rate);
            points.push(point);
        }
    }
    println!("\n### Messages of 1 KiB until their receipt, median of {}\n", plan.rounds);
    let mut table =
        Table::new(&std::iter::once("").chain(names(depths).iter().map(String::as_str)).collect::<Vec<_>>());
    let mut row = |name: &str, show: &dyn Fn(&[Point]) -> String| {
        table.row(std::iter::once(name.to_owned()).chain(points.iter().map(|points| show(points))));
    };
    let of = |points: &[Point], figure: fn(&Point) -> f64| median(points.iter().map(figure).collect());
    row("acknowledged messages/s", &|p| format!("{:.0}", of(p, |p| p.rate)));
    row("p50 / p99 ms", &|p| format!("{:.1} / {:.1}", of(p, |p| p.p50_ms), of(p, |p| p.p99_ms)));
    row("entries under a head", &|p| format!("{:.1}", of(p, |p| p.entries_per_head)));
    row("syncs per 1,000, A / B", &|p| format!("{:.0} / {:.0}", of(p, |p| p.syncs.0), of(p, |p| p.syncs.1)));
    row("CPU µs a message, A / B", &|p| format!("{:.0} / {:.0}", of(p, |p| p.cpu.0), of(p, |p| p.cpu.1)));
    row("peak memory MiB, A / B", &|p| format!("{:.0} / {:.0}", of(p, |p| p.peak.0), of(p, |p| p.peak.1)));
    row("journal bytes a message, A / B", &|p| {
        format!("{:.0} / {:.0}", of(p, |p| p.journal.0), of(p, |p| p.journal.1))
    });
    row("index bytes a message, A / B", &|p| format!("{:.0} / {:.0}", of(p, |p| p.index.0), of(p, |p| p.index.1)));
    row("raw quinn frames/s", &|p| format!("{:.0}", of(p, |p| p.quinn)));
    row("raw quinn p50 ms", &|p| format!("{:.2}", of(p, |p| p.quinn_p50_ms)));
    row("append + fdatasync, messages/s", &|p| format!("{:.0}", of(p, |p| p.append)));
    row("of raw quinn", &|p| format!("{:.2}", of(p, |p| p.rate / p.quinn)));
    row("of append + fdatasync", &|p| format!("{:.2}", of(p, |p| p.rate / p.append)));
    table.print();
    Ok(())
}

fn names(depths: &[usize]) -> Vec<String> {
    depths.iter().map(|depth| if *depth == 1 { "1 sender".to_owned() } else { depth.to_string() }).collect()
}

fn load(pair: &Pair, plan: Plan, senders: usize) -> Load {
    let milliseconds = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (warm_ms, run_ms) = (milliseconds(plan.warm), milliseconds(plan.run));
    Load { to: pair.holder.0.node, senders, warm_ms, run_ms, at_most: usize::MAX }
}

fn point(plan: Plan, senders: usize) -> Result<Point, Failed> {
    let mut pair = Pair::start()?;
    let load = load(&pair, plan, senders);
    pair.author.1.tell(&Order::Load(load))?;
    let (loaded, before, after) = counted(&mut pair.author.1, pair.holder.1.pid(), None)?;
    let mut point = figures(&loaded, before, after);
    pair.end(|author, holder| disk(&mut point, author, holder))?;
    let (far, mut near, _certificate) = bare()?;
    near.tell(&Order::Load(load))?;
    let Said::Loaded(quinn) = near.listen()? else { return Err("the bare connection told no figures".into()) };
    near.end()?;
    far.end()?;
    point.quinn = quinn.receipts as f64 / quinn.seconds;
    point.quinn_p50_ms = f64::from(quinn.p50_us) / 1000.0;
    let stage = stage()?;
    let group = point.journal.0 * point.entries_per_head;
    point.append = ceiling::append(stage.path(), group as usize, plan.run / 2)? * point.entries_per_head;
    Ok(point)
}

type Both = (Used, Used);

/// Waits for a loop's end, with what author and holder had used before and after.
fn counted(author: &mut Process, holder: u32, node: Option<u32>) -> Result<(Loaded, Both, Both), Failed> {
    let node = node.unwrap_or(author.pid());
    let both = || Ok::<_, Failed>((used(node)?, used(holder)?));
    match author.listen()? {
        Said::Counting => {}
        other => return Err(format!("instead of counting: {other:?}").into()),
    }
    let before = both()?;
    let Said::Loaded(loaded) = author.listen()? else { return Err("the loop told no figures".into()) };
    Ok((loaded, before, both()?))
}

fn figures(loaded: &Loaded, before: Both, after: Both) -> Point {
    let messages = loaded.receipts.max(1) as f64;
    let cpu = |before: Used, after: Used| (after.cpu - before.cpu).as_secs_f64() * 1e6 / messages;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Point {
        rate: loaded.receipts as f64 / loaded.seconds,
        p50_ms: f64::from(loaded.p50_us) / 1000.0,
        p99_ms: f64::from(loaded.p99_us) / 1000.0,
        cpu: (cpu(before.0, after.0), cpu(before.1, after.1)),
        peak: (mib(after.0.peak), mib(after.1.peak)),
        ..Point::default()
    }
}

fn disk(point: &mut Point, author: &Folder, holder: &Folder) -> Result<(), Failed> {
    let (a, b) = (journal::read(&author.path)?, journal::read(&holder.path)?);
    if a.appended == 0 || a.appended > b.stored {
        return Err(format!("{} entries were appended and {} stored", a.appended, b.stored).into());
    }
    let messages = a.appended as f64;
    let index = |folder: &Folder| on_disk(&folder.path.join("store")) as f64 / messages;
    point.entries_per_head = messages / a.signed.max(1) as f64;
    point.syncs = (a.groups as f64 * 1000.0 / messages, b.groups as f64 * 1000.0 / messages);
    point.journal = (a.bytes as f64 / messages, b.bytes as f64 / messages);
    point.index = (index(author), index(holder));
    Ok(())
}

/// The same through the local socket, where each message is a connection, a request and an answer in JSON.
pub fn socket(plan: Plan) -> Result<(), Failed> {
    println!("\n### The same through the local socket, one run\n");
    let head = ["connections at once", "messages/s", "p50 / p99 ms", "CPU µs a message, A / B"];
    let mut table = Table::new(&head);
    let pair = Pair::start()?;
    let (author, holder) = (pair.author.1.pid(), pair.holder.1.pid());
    for depth in SOCKET_DEPTHS {
        let mut caller = Process::start(&["caller", &pair.author.0.path.to_string_lossy()])?;
        caller.tell(&Order::Load(load(&pair, plan, depth)))?;
        let (loaded, both_before, both_after) = counted(&mut caller, holder, Some(author))?;
        caller.end()?;
        let point = figures(&loaded, both_before, both_after);
        table.row([
            depth.to_string(),
            format!("{:.0}", point.rate),
            format!("{:.1} / {:.1}", point.p50_ms, point.p99_ms),
            format!("{:.0} / {:.0}", point.cpu.0, point.cpu.1),
        ]);
    }
    pair.end(|_, _| Ok(()))?;
    table.print();
    Ok(())
}
