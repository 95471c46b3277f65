//! `verbale log`: the record itself: rows, verification, rebuilding of what is looked up.

use clap::{Args, Subcommand};

use super::inbox::Narrow;
use super::out::{Exit, Meter, Out, Page};
use super::place::{Place, unexpected};
use super::{safe, when};
use crate::api::{Failure, LogFilter, LogRow, Reply, Request, VerifyView};

/// `verbale log …`
#[derive(Debug, Subcommand)]
pub enum Log {
    /// Show entries of the logs, newest first
    #[command(after_help = "Example: verbale log show --peer XB --machine")]
    Show(ShowLog),
    /// Verify everything: groups, trees, signatures, receipts, texts, files, and what is looked up
    #[command(after_help = "Example: verbale log verify\n\nExit code 0 when everything holds, 1 when something does \
not: then each fault is named with its place.")]
    Verify,
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
    /// What narrows the list
    #[command(flatten)]
    pub narrow: Narrow,
}

/// Runs `verbale log`.
///
/// # Errors
/// As the daemon says.
pub async fn run(place: &Place, out: &mut Out, command: &Log) -> Result<Exit, Failure> {
    let client = place.client().await?;
    let request = match command {
        Log::Show(show) => Request::LogShow(LogFilter { machine: show.machine, ..show.narrow.filter() }),
        Log::Verify => Request::LogVerify,
        Log::Rebuild => Request::LogRebuild,
    };
    let meter = Meter::new(out);
    meter.show("reading …");
    let reply = client.call(&request).await?;
    drop(meter);
    match reply {
        Reply::Log(rows) => {
            out.show(&rows, |page| table(page, &rows));
            Ok(Exit::Good)
        }
        Reply::Verified(view) => {
            out.show(&*view, |page| render(page, &view));
            Ok(if view.good { Exit::Good } else { Exit::NotSo })
        }
        other => Err(unexpected(&other)),
    }
}

fn table(page: &mut Page, rows: &[LogRow]) {
    if rows.is_empty() {
        page.line("The logs hold no such entry.");
        return;
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                safe::one_line(&row.origin),
                row.index.to_string(),
                when::utc_and_local(row.time),
                safe::one_line(&row.kind),
                row.id.map(|id| id.to_string()[..8].to_owned()).unwrap_or_default(),
                row.body_len.to_string(),
                if row.receipted { "yes" } else { "not yet" }.to_owned(),
                row.record.to_string(),
            ]
        })
        .collect();
    page.table(&["log", "entry", "time", "kind", "id", "bytes", "receipt", "record"], &cells);
}

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
    for fault in &view.faults {
        page.strong(format!("FAULT: {}", safe::one_line(fault)));
    }
    page.strong(if view.good { "Everything holds." } else { "Not everything holds; see above." });
}
