//! `verbale log`: the record itself: rows, verification, rebuilding of what is looked up.

use clap::{Args, Subcommand};

use super::folder::Offline;
use super::inbox::{Narrow, left_out};
use super::out::{Exit, Meter, Out, Page, own};
use super::place::{Place, unexpected};
use super::{safe, when, words};
use crate::api::{Client, Failure, LogFilter, LogRow, Reply, Request, VerifyView, code};
use crate::audit::replay;
use crate::name::{Kind, Origin};

/// `verbale log …`
#[derive(Debug, Subcommand)]
pub enum Log {
    /// Show entries of the logs, newest first
    #[command(
        after_help = "Example: verbale log show --peer XB --machine\n         verbale log show --kind PING --from 2d"
    )]
    Show(ShowLog),
    /// Verify everything: groups, trees, signatures, receipts, texts, files, and what is looked up
    #[command(after_help = "Example: verbale log verify\n\nWithout a daemon it reads the folder itself and \
changes nothing in it; the index is looked at in a copy (in TMPDIR). Exit code 0 when everything holds, 1 when something does not: then each fault is named with its place.")]
    Verify,
    /// Tell every act of this node in order, one JSON object a line
    #[command(
        after_help = "Example: verbale log replay --from 1200\n         verbale log replay --texts > acts.jsonl\n\n\
It reads the journal's files; the daemon may run. With --texts the texts are opened, too: then it must not. Exit code 1 \
when a stretch cannot be read; that stretch is a line of its own."
    )]
    Replay(ReplayLog),
    /// Build what is looked up anew from the journal
    #[command(after_help = "Example: verbale log rebuild\n\nNothing is lost by it: the journal is the truth.")]
    Rebuild,
}

/// `verbale log show`
#[derive(Debug, Args)]
pub struct ShowLog {
    /// Also the entries that machines make
    #[arg(long)]
    pub machine: bool,
    /// Only of this kind: also VOLUME, HELD, PING and the others that machines make
    #[arg(long, value_parser = words::all_kinds(), hide_possible_values = true)]
    pub kind: Option<Kind>,
    /// What narrows the list
    #[command(flatten)]
    pub narrow: Narrow,
}

/// `verbale log replay`
#[derive(Debug, Args)]
pub struct ReplayLog {
    /// From this record on
    #[arg(long, default_value_t = 0, value_name = "RECORD")]
    pub from: u64,
    /// Also open the texts
    #[arg(long)]
    pub texts: bool,
}

/// Runs `verbale log`.
///
/// # Errors
/// As the daemon says, or where the folder cannot be read.
pub async fn run(place: &Place, out: &mut Out, command: &Log) -> Result<Exit, Failure> {
    let request = match command {
        Log::Show(show) => return self::show(place, out, show).await,
        Log::Verify => Request::LogVerify,
        Log::Rebuild => Request::LogRebuild,
        Log::Replay(command) => return tell_acts(place, out, command),
    };
    match place.client().await {
        Ok(client) => ask(&client, out, &request).await,
        // Who has only the files verifies them all the same.
        Err(failure) if failure.code == code::NO_DAEMON => {
            let Ok(folder) = place.folder() else { return Err(failure) };
            if matches!(command, Log::Rebuild) {
                Offline::rebuild(folder)?;
            }
            let folder = Offline::open(folder, true)?;
            let meter = Meter::new(out);
            let view = folder.verify(&mut |records| meter.show(&format!("{records} records")))?;
            drop(meter);
            out.show(&view, |page| render(page, &view));
            Ok(if view.good { Exit::Good } else { Exit::NotSo })
        }
        Err(failure) => Err(failure),
    }
}

/// Entries as JSON has them.
#[derive(serde::Serialize)]
struct Listed<'a> {
    entries: &'a [LogRow],
    /// For `--before`, where there are more.
    before: Option<u64>,
}

async fn show(place: &Place, out: &mut Out, command: &ShowLog) -> Result<Exit, Failure> {
    let filter = LogFilter { machine: command.machine, ..command.narrow.filter(command.kind) };
    let mut rows = match place.client().await?.call(&Request::LogShow(filter)).await? {
        Reply::Log(rows) => rows,
        other => return Err(unexpected(&other)),
    };
    let before = command.narrow.page(&mut rows, |row| row.record);
    out.show(&Listed { entries: &rows, before }, |page| {
        table(page, &rows);
        left_out(page, rows.len(), before);
    });
    Ok(Exit::Good)
}

/// The journal's acts in order.
fn tell_acts(place: &Place, out: &mut Out, command: &ReplayLog) -> Result<Exit, Failure> {
    let folder = place.folder()?;
    let doing = "replaying the journal";
    let failed = |error: std::io::Error| Failure::new(own::OWN, doing, error.to_string(), "");
    let offline = if command.texts { Some(Offline::open_texts(folder)?) } else { None };
    let journal = match &offline {
        Some(offline) => offline.journal(),
        None => Offline::journal_in(folder)?,
    };
    let mut exit = Exit::Good;
    for act in replay(&journal, command.from, offline.as_ref().and_then(Offline::opener)).map_err(failed)? {
        let more = match act {
            Ok(line) => out.json_line(&line),
            Err(damage) => {
                exit = Exit::NotSo;
                out.json_line(&serde_json::json!({ "damage": damage.to_string() }))
            }
        };
        if !more {
            break;
        }
    }
    Ok(exit)
}

async fn ask(client: &Client, out: &mut Out, request: &Request) -> Result<Exit, Failure> {
    let meter = Meter::new(out);
    meter.show("reading …");
    let reply = client.call(request).await?;
    drop(meter);
    match reply {
        Reply::Verified(view) => {
            out.show(&*view, |page| render(page, &view));
            Ok(if view.good { Exit::Good } else { Exit::NotSo })
        }
        other => Err(unexpected(&other)),
    }
}

fn table(page: &mut Page, rows: &[LogRow]) {
    if rows.is_empty() {
        return page.line("The logs hold no such entry.");
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                log_name(&row.origin),
                row.index.to_string(),
                when::minute(row.time),
                safe::one_line(&row.kind),
                row.id.map(|id| id.to_string()[..8].to_owned()).unwrap_or_default(),
                if row.receipted { "yes" } else { "not yet" }.to_owned(),
                row.record.to_string(),
            ]
        })
        .collect();
    page.table(&["log", "entry", "sent", "kind", "id", "receipt", "record"], &cells);
    page.gap();
    page.line(format!("XA>XB/2 is volume 2 of all that XA said to XB. {}", when::zone_note()));
}

/// `XA>XB/2` for a whole origin.
fn log_name(origin: &str) -> String {
    match origin.parse::<Origin>() {
        Ok(Origin { from, to, volume }) => format!("{from}>{to}/{}", volume.number),
        Err(_) => safe::one_line(origin),
    }
}

/// What the remark means to somebody who is no cryptographer.
const CLASSICAL_ONLY: &str = "Classical only: both sides have signed these entries with Ed25519. The second signature, \
ML-DSA-44, which is to hold against quantum computers too, is made over them within ten minutes of traffic and before \
every export. Nothing is wrong.";

/// What a verification found.
pub fn render(page: &mut Page, view: &VerifyView) {
    let rows = view.rows.map_or_else(|| "not looked at".to_owned(), |rows| rows.to_string());
    page.fields(&[
        ("groups", view.groups.to_string()),
        ("records", view.records.to_string()),
        ("entries", view.entries.to_string()),
        ("signed heads", view.heads.to_string()),
        ("receipts", view.receipts.to_string()),
        ("texts opened", view.bodies.to_string()),
        ("enclosures", view.enclosures.to_string()),
        ("looked-up rows", rows),
    ]);
    for remark in &view.remarks {
        page.line(format!("note: {}", safe::one_line(remark)));
    }
    if view.remarks.iter().any(|remark| remark.contains("classical only")) {
        page.line(CLASSICAL_ONLY);
    }
    for fault in &view.faults {
        page.strong(format!("FAULT: {}", safe::one_line(fault)));
    }
    page.strong(if view.good { "Everything holds." } else { "Not everything holds; see above." });
}
