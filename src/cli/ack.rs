//! `verbale ack`: a person at the desk says that the message was read. Machines never do.

use clap::Args;

use super::out::{Exit, Out};
use super::place::{Place, fresh_id, message, unexpected};
use super::show::NOT_AGREEMENT;
use super::{ask, safe, send, show, when};
use crate::api::{Acknowledge, Failure, Folder, Reply, Request, code};

/// `verbale ack`
#[derive(Debug, Args)]
#[command(after_help = "Example: verbale ack 3f2a91\n\n\
An acknowledgement means that the desk has read the message; it does not mean agreement. It names the desk, never the \
officer. It must be confirmed on a terminal; there is no option that takes the person's place.")]
pub struct Ack {
    /// The message: its id or its first digits
    pub message: String,
}

/// Runs `verbale ack`.
///
/// # Errors
/// Not on a terminal, not confirmed, or as the daemon says.
pub async fn run(place: &Place, out: &mut Out, command: &Ack) -> Result<Exit, Failure> {
    let doing = "acknowledging";
    if !ask::is_possible() {
        let why = "an acknowledgement is a person's, and there is no terminal at which one could confirm it";
        return Err(Failure::new(code::NOT_A_TERMINAL, doing, why, "Run `verbale ack` on a terminal."));
    }
    let client = place.client().await?;
    let names = place.names();
    let view = send::fetch(&client, message(&client, &command.message).await?).await?;
    let row = &view.row;
    if row.folder != Folder::Inbox {
        return Err(Failure::new(
            "own-message",
            doing,
            "this message was written here; the other desk acknowledges it",
            "",
        ));
    }
    let peer = names.full(row.peer);
    out.tell(&format!("From {peer}, {}: {}", when::utc_and_local(row.time), safe::one_line(&row.subject)));
    out.tell(NOT_AGREEMENT);
    let typed = ask::line(doing, &format!("Has the desk read it? Type {} (or y) to say so to {peer}:", row.peer))?;
    if typed != row.peer.to_string() && !typed.eq_ignore_ascii_case("y") {
        return Err(ask::not_confirmed(doing));
    }
    let request = Acknowledge { message: row.id, id: fresh_id()?, on_terminal: true, demo: false };
    let sent = match client.call(&Request::Acknowledge(request)).await? {
        Reply::Sent(sent) => sent,
        other => return Err(unexpected(&other)),
    };
    out.show(&sent, |page| {
        for sent in &sent {
            page.line(format!("Acknowledged to {}: {}.", names.full(sent.peer), show::state_words(sent.state)));
        }
        page.line(NOT_AGREEMENT);
    });
    Ok(Exit::Good)
}
