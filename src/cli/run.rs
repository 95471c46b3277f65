//! `verbale run`: the daemon in the foreground.

use clap::Args;

use super::out::{Exit, Out, own};
use super::place::Place;
use crate::api::Failure;
use crate::node::RunError;
use crate::settings::Settings;

/// `verbale run`
#[derive(Debug, Args)]
#[command(
    after_help = "Example: verbale run --dir ./XA\n\nSIGTERM and Ctrl-C stop it gracefully; SIGHUP reads peers, \
limits and the log level again. Its log lines go to standard error.\n\nWhere records at the end of the journal \
were durable and are gone, it does not start: put the file back from a backup. With --accept-loss a person decides that there \
is no copy. What is left of these records is set aside, the decision is recorded, the node asks its peers for what it said to \
them and opens new volumes of its logs."
)]
pub struct Run {
    /// Go on although the end of the journal is lost and no copy of it exists; refused where nothing is lost
    #[arg(long)]
    pub accept_loss: bool,
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// Configuration, keys, disk, a port in use: what keeps it from running, and what to do.
pub async fn run(place: &Place, _: &mut Out, command: &Run) -> Result<Exit, Failure> {
    let doing = "running the node";
    // The command for new messages, and whoever reads the log lines, may stand in another folder.
    let folder = std::path::absolute(place.folder()?)
        .map_err(|error| Failure::new(own::OWN, doing, format!("this folder is gone: {error}"), ""))?;
    let settings = Settings::load(&folder)
        .map_err(|error| Failure::new(own::OWN, "reading the configuration", error.to_string(), ""))?;
    let ended = if command.accept_loss {
        crate::node::run_accepting_loss(folder, settings).await
    } else {
        crate::node::run(folder, settings).await
    };
    match ended {
        Ok(()) => Ok(Exit::Good),
        Err(error) => {
            let todo = advice(&error);
            Err(Failure::new(own::OWN, doing, error.to_string(), todo))
        }
    }
}

/// What to do, where the reason does not say so itself.
fn advice(error: &RunError) -> &'static str {
    match error {
        RunError::Locked(_) => {
            "It may run already: `verbale status` asks it. Two nodes on one machine have a folder each."
        }
        RunError::Identity(_) => {
            "Bring the keys back from a copy of the folder. Where there is none, a person sets up a new node with the \
             State's root (`verbale init --root-from`), and the other States accept it in a new ceremony."
        }
        _ => "",
    }
}
