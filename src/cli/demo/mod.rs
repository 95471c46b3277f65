//! `verbale demo`: three exercise States as real daemons on this machine, real messages, and the proof that all arrived.

mod letters;
mod nodes;
mod story;

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::out::{Exit, Out, own};
use crate::api::Failure;

/// `verbale demo`
#[derive(Debug, Args)]
#[command(after_help = "Example: verbale demo\n         verbale demo report.pdf indicators.json --keep ./play\n\n\
Starts three exercise States (XA, XB, XC), each a daemon of its own with its own folder, keys and UDP port on the \
loopback interface. Nothing leaves this machine. Exit code 0 only when everything that was checked holds.")]
pub struct Demo {
    /// Files to enclose in the messages
    pub files: Vec<PathBuf>,
    /// Leave the nodes' folders behind in this folder
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

/// What was seen to be true.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Seen {
    /// Exercise States that took part.
    states: usize,
    /// Messages that people wrote, acknowledgements not counted.
    messages: usize,
    /// Messages for which the author holds the receipt of the other State's machine.
    receipts: usize,
    /// Acknowledgements that arrived.
    acknowledgements: usize,
    /// Files that came out byte-equal at the receiver.
    enclosures: usize,
    /// Logs between two States that were verified on both sides.
    logs_verified: usize,
    /// From the first step to the last, milliseconds.
    elapsed_ms: u64,
}

/// Where the nodes' folders lie; a temporary place goes with this value.
struct Stage {
    folder: PathBuf,
    temporary: bool,
}

impl Stage {
    fn set(keep: Option<&Path>) -> Result<Self, Failure> {
        let doing = "making a place for the nodes";
        let failed = |path: &Path, error: std::io::Error| {
            Failure::new(own::OWN, doing, format!("{}: {error}", path.display()), "Choose another folder with --keep.")
        };
        let (folder, temporary) = match keep {
            Some(folder) => (std::path::absolute(folder).map_err(|error| failed(folder, error))?, false),
            None => {
                let unique = super::place::fresh_id()?.to_string();
                (std::env::temp_dir().join(format!("verbale-demo-{unique}")), true)
            }
        };
        if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
            let why = format!("{} is not empty", folder.display());
            return Err(Failure::new(own::USAGE, doing, why, "Choose a folder that is empty or does not exist."));
        }
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(|error| failed(&folder, error))?;
        Ok(Self { folder, temporary })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.temporary {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// Runs `verbale demo`.
///
/// # Errors
/// The first thing that did not hold, with the end of the daemons' log lines.
pub async fn run(out: &mut Out, command: &Demo) -> Result<Exit, Failure> {
    let begun = Instant::now();
    for file in &command.files {
        if !file.is_file() {
            let why = format!("{} is not a file", file.display());
            return Err(Failure::new(own::USAGE, "looking at the files", why, "Name files, not folders."));
        }
    }
    let stage = Stage::set(command.keep.as_deref())?;
    // The stage outlives the nodes: their processes end before their folders go.
    let told = tokio::select! {
        told = story::tell(out, &stage.folder, &command.files) => told,
        failure = interrupted() => Err(failure),
    };
    let mut seen = told?;
    seen.elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let kept = (!stage.temporary).then_some(stage.folder.as_path());
    out.show(&seen, |page| {
        page.gap();
        page.strong(format!(
            "All of it holds: {}, {}, {}, {}, {} byte-equal, {} verified on both sides, in {}.{} s.",
            story::counted(seen.states, "State"),
            story::counted(seen.messages, "message"),
            story::counted(seen.receipts, "receipt"),
            story::counted(seen.acknowledgements, "acknowledgement"),
            story::counted(seen.enclosures, "enclosure"),
            story::counted(seen.logs_verified, "log"),
            seen.elapsed_ms / 1000,
            seen.elapsed_ms % 1000 / 100
        ));
        page.gap();
        page.line("To try next:");
        next(kept).iter().for_each(|line| page.line(format!("  {line}")));
    });
    Ok(Exit::Good)
}

/// Ends when somebody wants the demonstration to end; dropping the story then ends its daemons.
async fn interrupted() -> Failure {
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Failure::new(own::NOT_SO, "telling the story", "it was interrupted; the daemons were ended", "")
}

fn next(kept: Option<&Path>) -> Vec<String> {
    let program = std::env::args().next().unwrap_or_else(|| "verbale".to_owned());
    match kept {
        Some(folder) => {
            let folder = folder.display();
            vec![
                format!("{program} run --dir {folder}/XA      (in a terminal of its own; XB and XC likewise)"),
                format!("{program} inbox --dir {folder}/XB"),
                format!("{program} ping --all --dir {folder}/XA"),
                format!(
                    "{program} send XB --dir {folder}/XA --kind information --subject \"Hello\" --text \"Good morning.\""
                ),
                format!("{program} log verify --dir {folder}/XC"),
                format!("rm -r {folder}      (when you have seen enough)"),
            ]
        }
        None => vec![
            format!("{program} demo --keep ./play      (the same, and the three nodes stay there to be used)"),
            format!("{program} demo FILE…              (with files of yours as enclosures)"),
            format!("{program} init --help             (a node of your own)"),
        ],
    }
}
