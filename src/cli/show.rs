//! `verbale show` and `verbale enclosure save`: one message, as it can be read in every script.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::out::{Exit, Meter, Out, Page, own};
use super::place::{Names, Place, message};
use super::{safe, send, when};
use crate::api::{Client, EnclosureState, EnclosureView, Failure, Folder, MessageState, MessageView};
use crate::settings::ByteSize;
use crate::wire::ReplyExpected;

/// Stands with every acknowledgement.
pub const NOT_AGREEMENT: &str =
    "An acknowledgement means that the desk has read the message; it does not mean agreement.";

/// The longest name of a saved file, in bytes; room for a number before it.
const MAX_SAVED_NAME: usize = 200;

/// `verbale show`
#[derive(Debug, Args)]
#[command(after_help = "Example: verbale show 3f2a91\n         verbale show 3f2a91 --save-enclosures ./received\n\n\
Reading sends nothing to the other State. That it was opened here stands in this node's own journal.")]
pub struct Show {
    /// The message: its id or its first digits
    pub message: String,
    /// Save the enclosures into this folder
    #[arg(long, value_name = "DIR")]
    pub save_enclosures: Option<PathBuf>,
}

/// `verbale enclosure …`
#[derive(Debug, Subcommand)]
pub enum Enclosure {
    /// Save the enclosures of a message
    #[command(after_help = "Example: verbale enclosure save 3f2a91 --into ./received\n\n\
Nothing is opened or run. Files get harmless names; none is overwritten. Each is checked against the hash in the message.")]
    Save {
        /// The message: its id or its first digits
        message: String,
        /// The folder
        #[arg(long, value_name = "DIR")]
        into: PathBuf,
    },
}

/// A file that was saved.
#[derive(Clone, Debug, Serialize)]
pub struct Saved {
    /// Its number in the message, from 0.
    pub ordinal: u32,
    /// Where it lies now.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
}

/// Runs `verbale show`.
///
/// # Errors
/// As the daemon says, or where a file cannot be saved.
pub async fn run(place: &Place, out: &mut Out, command: &Show) -> Result<Exit, Failure> {
    let client = place.client().await?;
    let names = place.names();
    let view = send::fetch(&client, message(&client, &command.message).await?).await?;
    let saved = match &command.save_enclosures {
        Some(folder) => save(&client, out, &view, folder).await?,
        None => Vec::new(),
    };
    let json = serde_json::json!({ "message": view, "saved": saved });
    out.show(&json, |page| {
        render(page, &names, &view);
        render_saved(page, &saved);
    });
    Ok(Exit::Good)
}

/// Runs `verbale enclosure`.
///
/// # Errors
/// As [`run`].
pub async fn enclosure(place: &Place, out: &mut Out, command: &Enclosure) -> Result<Exit, Failure> {
    let Enclosure::Save { message: id, into } = command;
    let client = place.client().await?;
    let view = send::fetch(&client, message(&client, id).await?).await?;
    let saved = save(&client, out, &view, into).await?;
    let all = saved.len() == view.enclosures.len();
    out.show(&saved, |page| {
        render_saved(page, &saved);
        if !all {
            page.line(format!("{} of {} enclosures are here.", saved.len(), view.enclosures.len()));
        }
    });
    Ok(if all { Exit::Good } else { Exit::NotSo })
}

/// How far a message has come, in words that never merge receipt, acknowledgement and answer.
pub fn state_words(state: MessageState) -> &'static str {
    match state {
        MessageState::Queued => "queued here",
        MessageState::Sent => "in the log, not yet receipted",
        MessageState::Delivered => "receipt: the other machine has stored it",
        MessageState::Held => "receipt: the other machine has stored it and all enclosures",
        MessageState::Acknowledged => "acknowledged: the desk has read it",
        MessageState::Answered => "answered",
        MessageState::Declined => "declined",
        MessageState::Refused => "stored there, but not accepted",
        MessageState::Expired => "expired unsent",
        MessageState::Cancelled => "cancelled unsent",
        MessageState::Withdrawn => "withdrawn; it may have been read",
        MessageState::Received => "received",
    }
}

/// One message at length.
pub fn render(page: &mut Page, names: &Names, view: &MessageView) {
    let row = &view.row;
    if row.exercise {
        page.strong("EXERCISE EXERCISE EXERCISE");
    }
    let subject = safe::one_line(&row.subject);
    page.strong(if subject.is_empty() { "(no subject)".to_owned() } else { subject });
    let direction = if row.folder == Folder::Inbox { "from" } else { "to" };
    let desks = match (view.from_desk, view.to_desk) {
        (Some(from), Some(to)) => format!("{from} desk to {to} desk"),
        (Some(from), None) => format!("from the {from} desk"),
        (None, Some(to)) => format!("to the {to} desk"),
        (None, None) => String::new(),
    };
    let label = match (view.pap, safe::one_line(&view.marking)) {
        (crate::name::Pap::None, marking) => format!("TLP:{} {marking}", row.tlp),
        (pap, marking) => format!("TLP:{} PAP:{pap} {marking}", row.tlp),
    };
    let answer = match view.reply_expected {
        ReplyExpected::No => String::new(),
        ReplyExpected::IfConvenient => "if convenient".to_owned(),
        ReplyExpected::By(time) => format!("by {}", when::utc_and_local(time)),
    };
    let place = view.index.map(|index| format!("{} entry {index}", view.origin)).unwrap_or_default();
    let hidden = |id: Option<String>| id.unwrap_or_default();
    page.fields(&[
        (direction, names.full(row.peer)),
        ("desks", desks),
        ("kind", safe::one_line(&row.kind)),
        ("time", when::utc_and_local(row.time)),
        ("precedence", row.precedence.to_string()),
        ("why urgent", safe::one_line(&view.justification)),
        ("label", label.trim_end().to_owned()),
        ("answer expected", answer),
        ("its reference", safe::one_line(&view.own_reference)),
        ("case", hidden(row.case.map(|case| case.to_string()))),
        ("answers", hidden(view.in_reply_to.map(|id| id.to_string()))),
        ("id", row.id.to_string()),
        ("place", place),
        ("note", if row.repeat { "received before under the same id".to_owned() } else { String::new() }),
    ]);
    render_texts(page, view);
    render_enclosures(page, &view.enclosures);
    render_fate(page, view);
}

fn render_texts(page: &mut Page, view: &MessageView) {
    if !view.absent.is_empty() {
        page.gap();
        page.line(format!("The text is not here: {}", safe::one_line(&view.absent)));
    }
    for (at, text) in view.texts.iter().enumerate() {
        page.gap();
        if view.texts.len() > 1 || !text.language.is_empty() {
            page.line(format!("[{}]", safe::one_line(&text.language)));
        }
        if at > 0 {
            page.line(safe::one_line(&text.subject));
        }
        for line in safe::body(&text.text) {
            page.line(line);
        }
    }
}

fn render_enclosures(page: &mut Page, enclosures: &[EnclosureView]) {
    if enclosures.is_empty() {
        return;
    }
    page.gap();
    page.line(format!("Enclosures: {}", enclosures.len()));
    let rows: Vec<Vec<String>> = enclosures
        .iter()
        .map(|file| {
            let state = match file.state {
                EnclosureState::Held => "here",
                EnclosureState::Coming => "on its way",
                EnclosureState::Missing => "not accepted or gone",
            };
            let hash = file.sha256.get(..16).unwrap_or(&file.sha256);
            vec![
                file.ordinal.to_string(),
                safe::one_line(&file.name),
                ByteSize(file.size).to_string(),
                safe::one_line(&file.media_type),
                state.to_owned(),
                safe::one_line(hash),
            ]
        })
        .collect();
    page.table(&["no.", "name", "size", "type", "state", "SHA-256 begins"], &rows);
}

/// Receipt, acknowledgement, answer: three lines, never one.
fn render_fate(page: &mut Page, view: &MessageView) {
    page.gap();
    if !view.refused.is_empty() {
        page.line(format!("Not accepted: {}", safe::one_line(&view.refused)));
    }
    let inbox = view.row.folder == Folder::Inbox;
    let acknowledged = view.acknowledged.map(when::utc_and_local);
    let replies: Vec<String> = view.replies.iter().map(|id| id.to_string()[..12].to_owned()).collect();
    let none = |text: &str| text.to_owned();
    let receipt = match view.receipt_time {
        Some(time) if inbox => format!("{} by our clock", when::utc_and_local(time)),
        Some(time) => format!("{} by its clock", when::utc_and_local(time)),
        None => none("none yet"),
    };
    page.fields(&[
        ("state", state_words(view.row.state).to_owned()),
        ("receipt", receipt),
        ("acknowledgement", acknowledged.clone().unwrap_or_else(|| none("none"))),
        ("answers", if replies.is_empty() { none("none") } else { replies.join(", ") }),
    ]);
    if acknowledged.is_some() {
        page.line(NOT_AGREEMENT);
    } else if inbox {
        let id = &view.row.id.to_string()[..12];
        page.line(format!(
            "Reading it has sent nothing to the other State. To say that the desk has read it: verbale ack {id}"
        ));
    }
}

fn render_saved(page: &mut Page, saved: &[Saved]) {
    for file in saved {
        page.line(format!("saved {} ({})", safe::one_line(&file.path.display().to_string()), ByteSize(file.size)));
    }
}

/// Saves every enclosure that is here, checked against its hash; nothing is overwritten.
///
/// # Errors
/// Where the folder or a file cannot be written, or a hash does not fit (the file is removed again).
pub async fn save(client: &Client, out: &Out, view: &MessageView, folder: &Path) -> Result<Vec<Saved>, Failure> {
    let doing = format!("saving enclosures into {}", folder.display());
    let failed = |error: std::io::Error| Failure::new(own::OWN, &doing, error.to_string(), "");
    tokio::fs::create_dir_all(folder).await.map_err(failed)?;
    let mut saved = Vec::new();
    for file in view.enclosures.iter().filter(|file| file.state == EnclosureState::Held) {
        let path = folder.join(saved_name(file));
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let open = options.open(&path).map_err(|error| {
            Failure::new(own::OWN, &doing, format!("{}: {error}", path.display()), "Choose an empty folder.")
        })?;
        let result = receive(client, out, view, file, open, &doing).await;
        if let Err(failure) = result {
            let _ = std::fs::remove_file(&path);
            return Err(failure);
        }
        saved.push(Saved { ordinal: file.ordinal, path, size: file.size });
    }
    Ok(saved)
}

async fn receive(
    client: &Client,
    out: &Out,
    view: &MessageView,
    file: &EnclosureView,
    open: std::fs::File,
    doing: &str,
) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(own::OWN, doing, error.to_string(), "");
    let mut target = tokio::fs::File::from_std(open);
    let meter = Meter::new(out);
    let progress = |done: u64| meter.show(&format!("{} of {}", ByteSize(done), ByteSize(file.size)));
    let size = client.download(view.row.id, file.ordinal, &mut target, &progress).await?;
    target.sync_all().await.map_err(failed)?;
    // What is judged is what lies on the disk now.
    target.rewind().await.map_err(failed)?;
    let hash = sha256(&mut target).await.map_err(failed)?;
    if size != file.size || hash != file.sha256 {
        let why = format!("{size} bytes came with SHA-256 {hash}; the message says {} and {}", file.size, file.sha256);
        return Err(Failure::new(own::OWN, doing, why, "Try again; if it stays so, run `verbale log verify`."));
    }
    Ok(())
}

async fn sha256(file: &mut tokio::fs::File) -> std::io::Result<String> {
    let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let mut part = vec![0; 256 << 10];
    loop {
        match file.read(&mut part).await? {
            0 => return Ok(data_encoding::HEXLOWER.encode(hash.finish().as_ref())),
            read => hash.update(&part[..read]),
        }
    }
}

/// A name that is nobody's trick: no folders, no leading dot, no control or hidden characters, with the number before it.
fn saved_name(file: &EnclosureView) -> String {
    let harmless = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ');
    let mut name: String = file.name.chars().map(|c| if harmless(c) { c } else { '_' }).collect();
    while name.len() > MAX_SAVED_NAME {
        // The beginning goes first: the ending tells what it is.
        let first = name.chars().next().map_or(1, char::len_utf8);
        name.drain(..first);
    }
    format!("{:02}-{}", file.ordinal, name.trim_start_matches(['.', ' ']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named(name: &str) -> EnclosureView {
        EnclosureView {
            ordinal: 3,
            name: name.into(),
            media_type: String::new(),
            size: 0,
            sha256: String::new(),
            state: EnclosureState::Held,
        }
    }

    #[test]
    fn a_name_from_afar_never_leaves_the_folder() {
        assert_eq!(saved_name(&named("../../etc/passwd")), "03-_.._etc_passwd");
        assert_eq!(saved_name(&named(".bashrc")), "03-bashrc");
        assert_eq!(saved_name(&named("تقرير 1.json")), "03-تقرير 1.json");
        assert_eq!(saved_name(&named("")), "03-");
    }

    proptest! {
        #[test]
        fn any_name_becomes_a_short_plain_one(name in "(?s).{0,300}") {
            let saved = saved_name(&named(&name));
            prop_assert!(saved.len() <= MAX_SAVED_NAME + 3 && !saved.contains(['/', '\0', '\n']));
        }
    }
}
