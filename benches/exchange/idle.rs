//! A node with many peers that say nothing: what it costs to be there.

use std::time::Duration;

use verbale::api::{Reply, Request};
use verbale::name::{NodeName, State};

use crate::Failed;
use crate::child::{Order, Said};
use crate::meter::used;
use crate::pair::{Folder, Process, stage, until_up};
use crate::table::Table;

/// Peers where nothing else is said: about as many as there are States.
pub const PEERS: usize = 200;

/// For how long nothing happens.
const SILENCE: Duration = Duration::from_secs(60);

/// Measures and tells.
pub fn run(peers: usize) -> Result<(), Failed> {
    let (own, crowd) = (stage()?, stage()?);
    let mixed = "mix_exercise = true";
    let node = Folder::make(own.path(), "XA".parse()?, mixed)?;
    // There are not so many exercise codes: the others bear codes that belong to no State.
    let letters = || b'A'..=b'Z';
    let codes = letters().flat_map(|a| letters().map(move |b| String::from_utf8_lossy(&[a, b]).into_owned()));
    let names = codes.filter(|code| code != "XA" && is_nobody(code)).take(peers);
    let mut folders = Vec::new();
    for name in names {
        folders.push(Folder::make(crowd.path(), name.parse::<NodeName>()?, mixed)?);
    }
    if folders.len() < peers {
        return Err(format!("there are only {} codes", folders.len()).into());
    }
    let mut process = node.start()?;
    let alone = used(process.pid())?;
    for folder in &folders {
        let (Reply::Peers(_) | Reply::Done) = process.call(folder.acceptance())? else {
            return Err("a peer was not accepted".into());
        };
    }
    let mut others = Process::start(&["crowd", &crowd.path().to_string_lossy()])?;
    others.tell(&Order::Call(Box::new(node.acceptance())))?;
    match others.listen()? {
        Said::Counting => {}
        other => return Err(format!("the crowd says {other:?}").into()),
    }
    until_up(&mut process, peers)?;
    std::thread::sleep(Duration::from_secs(5));
    let before = used(process.pid())?;
    std::thread::sleep(SILENCE);
    let after = used(process.pid())?;
    let Reply::Status(status) = process.call(Request::Status)? else { return Err("no status".into()) };
    let up = status.peers.iter().filter(|peer| peer.connection == "up").count();
    others.end()?;
    process.end()?;
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
    let cpu = (after.cpu - before.cpu).as_secs_f64() / SILENCE.as_secs_f64() * 100.0;
    println!("\n### {peers} peers, {up} of them up, {} s of silence\n", SILENCE.as_secs());
    let mut table = Table::new(&["", "figure"]);
    table.row(["memory without a peer, MiB".to_owned(), mib(alone.resident)]);
    table.row(["memory with all of them up, MiB".to_owned(), mib(after.resident)]);
    table.row(["the most at any time, MiB".to_owned(), mib(after.peak)]);
    table.row(["CPU, per cent of a core".to_owned(), format!("{cpu:.2}")]);
    table.print();
    Ok(())
}

/// Whether a code is an exercise code or belongs to no State.
fn is_nobody(code: &str) -> bool {
    code.parse::<State>().is_ok_and(|state| state.is_exercise() || state.short_name() == code)
}
