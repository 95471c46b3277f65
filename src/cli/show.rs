//! `verbale show` and `verbale enclosure save`: one message, as it can be read in every script.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::out::{Exit, Meter, Out, Page, own};
use super::place::{Names, Place, message};
use super::{safe, send, when};
use crate::api::{Client, EnclosureState, EnclosureView, Failure, Folder, MessageState, MessageView, Reference};
use crate::name::Kind;
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

/// Digits of an id that are shown where a whole one would be in the way; enough to name the message.
const SHORT_ID: usize = 12;

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
    if row.state == MessageState::Withdrawn {
        page.strong("WITHDRAWN by its author; it may have been read before.");
    }
    let inbox = row.folder == Folder::Inbox;
    let desk = |desk: Option<crate::name::Desk>| desk.map(|desk| format!(", {desk} desk")).unwrap_or_default();
    let (other, ours) = if inbox { (view.from_desk, view.to_desk) } else { (view.to_desk, view.from_desk) };
    let other = format!("{}{}", names.full(row.peer), desk(other));
    let ours = format!("this node{}", desk(ours));
    let (from, to) = if inbox { (other, ours) } else { (ours, other) };
    let label = match (view.pap, safe::one_line(&view.marking)) {
        (crate::name::Pap::None, marking) => format!("TLP:{} {marking}", row.tlp),
        (pap, marking) => format!("TLP:{} PAP:{pap} {marking}", row.tlp),
    };
    let answer = match view.reply_expected {
        ReplyExpected::No => String::new(),
        ReplyExpected::IfConvenient => "if convenient".to_owned(),
        ReplyExpected::By(time) => format!("by {}", when::utc_and_local(time)),
    };
    let mut fields = vec![("from", from), ("to", to), ("kind", safe::one_line(&row.kind))];
    fields.extend(times(view));
    let hidden = |id: Option<String>| id.unwrap_or_default();
    let place = view.index.map(|index| format!("entry {index} of {}", view.origin)).unwrap_or_default();
    fields.extend([
        ("precedence", row.precedence.to_string()),
        ("why urgent", safe::one_line(&view.justification)),
        ("label", label.trim_end().to_owned()),
        ("answer expected", answer),
        (if inbox { "its reference" } else { "our reference" }, safe::one_line(&view.own_reference)),
        ("case", hidden(row.case.map(|case| case.to_string()))),
        ("refers to", hidden(view.in_reply_to.map(|id| id.to_string()))),
        ("id", row.id.to_string()),
        ("place", place),
        ("note", if row.repeat { "received before under the same id".to_owned() } else { String::new() }),
    ]);
    page.fields(&fields);
    render_texts(page, view);
    render_enclosures(page, view);
    render_fate(page, view);
}

/// When it was queued, sent, received: each by the clock that is named.
fn times(view: &MessageView) -> Vec<(&'static str, String)> {
    let row = &view.row;
    let recorded = when::utc_and_local(row.recorded);
    let sent = row.sent.map(when::utc_and_local);
    match (row.folder, sent) {
        (Folder::Inbox, sent) => {
            let sent = sent.map(|sent| format!("{sent} by its clock")).unwrap_or_default();
            vec![("sent", sent), ("received", recorded)]
        }
        (Folder::Outbox, Some(sent)) => vec![("queued", recorded), ("sent", sent)],
        (Folder::Outbox, None) => {
            let waits = row.state == MessageState::Queued;
            let expires = view.expires.filter(|_| waits).map(when::utc_and_local);
            let expires = expires.map(|time| format!("unsent, if it is not in the log by {time}")).unwrap_or_default();
            vec![
                ("queued", recorded),
                ("sent", if waits { "not yet" } else { "never" }.to_owned()),
                ("expires", expires),
            ]
        }
    }
}

fn render_texts(page: &mut Page, view: &MessageView) {
    if !view.absent.is_empty() {
        page.gap();
        page.line(format!("The text is not here: {}", safe::one_line(&view.absent)));
    }
    for (at, text) in view.texts.iter().enumerate() {
        if text.text.is_empty() && at == 0 {
            continue;
        }
        page.gap();
        let language = safe::one_line(&text.language);
        page.line(if language.is_empty() { "Text:".to_owned() } else { format!("Text [{language}]:") });
        if at > 0 {
            page.line(safe::one_line(&text.subject));
        }
        for line in safe::quoted(&text.text, page.columns()) {
            page.raw(&line);
        }
    }
}

fn enclosure_state(file: &EnclosureView, folder: Folder) -> &'static str {
    match (file.state, folder) {
        (EnclosureState::Held, _) => "here",
        (EnclosureState::Coming, _) => "on its way",
        (EnclosureState::Missing, _) => "will not come",
        (EnclosureState::Lost, _) => "lost here",
    }
}

fn render_enclosures(page: &mut Page, view: &MessageView) {
    let files = &view.enclosures;
    if files.is_empty() {
        return;
    }
    page.gap();
    page.line(format!("Enclosures: {}", files.len()));
    let rows: Vec<Vec<String>> = files
        .iter()
        .map(|file| {
            vec![
                file.ordinal.to_string(),
                safe::file_name(&file.name),
                ByteSize(file.size).to_string(),
                enclosure_state(file, view.row.folder).to_owned(),
                safe::one_line(&file.media_type),
                safe::one_line(file.sha256.get(..16).unwrap_or(&file.sha256)),
            ]
        })
        .collect();
    page.table(&["no.", "name", "size", "state", "type", "SHA-256 begins"], &rows);
    let any = |state| files.iter().any(|file| file.state == state);
    let (peer, id) = (view.row.peer, short(view.row.id));
    let advice = [
        (EnclosureState::Coming, format!("On its way: it comes by itself; `verbale outbox retry {peer}` tries now.")),
        (
            EnclosureState::Missing,
            "Will not come: not accepted here (size, room, or not as listed), or its author no longer has it. Ask for it \
             in an answer."
                .to_owned(),
        ),
        (
            EnclosureState::Lost,
            match view.row.folder {
                Folder::Inbox => {
                    "Lost here: it was whole once, and is not in this node's folder any more. Its author's node is asked \
                     for it again; `verbale log verify` names what else is missing."
                }
                Folder::Outbox => {
                    "Lost here: it was whole once, and is not in this node's folder any more. Bring it back from a copy \
                     of the folder; `verbale log verify` names what else is missing."
                }
            }
            .to_owned(),
        ),
    ];
    for (_, words) in advice.iter().filter(|(state, _)| any(*state)) {
        page.line(words);
    }
    if view.row.folder == Folder::Inbox && any(EnclosureState::Held) {
        page.line(format!("To save them: verbale enclosure save {id} --into DIR"));
    }
}

fn short(id: crate::name::EntryId) -> String {
    id.to_string()[..SHORT_ID].to_owned()
}

/// Receipt, acknowledgement, answer, withdrawal: each a line of its own, never one.
fn render_fate(page: &mut Page, view: &MessageView) {
    page.gap();
    if !view.refused.is_empty() {
        page.strong(format!("Not accepted: {}", safe::one_line(&view.refused)));
    }
    if !view.row.files_refused.is_empty() {
        page.strong(format!(
            "Files not taken: {}. The text is not touched by it.",
            safe::one_line(&view.row.files_refused)
        ));
    }
    let row = &view.row;
    let inbox = row.folder == Folder::Inbox;
    let by = if inbox { "this machine has stored it" } else { "its machine has stored it" };
    let clock = if inbox { "by our clock" } else { "by its clock" };
    let receipt = view.receipt_time.map(|time| format!("{} {clock}: {by}", when::utc_and_local(time)));
    let sorted = Sorted::of(view);
    let mut fields = Vec::new();
    if !inbox {
        fields.push(("state", state_words(row.state).to_owned()));
    }
    fields.push(("receipt", receipt.unwrap_or_else(|| "none yet".to_owned())));
    let is_acknowledgement = row.kind == Kind::Acknowledgement.word();
    if !is_acknowledgement {
        let whose = if inbox { "given by this desk" } else { "given by the other desk" };
        let entry =
            |reference: &&Reference| reference.kind == Kind::Acknowledgement.word() && reference.folder != row.folder;
        let id = view.references.iter().find(entry).map(|reference| format!(" ({})", short(reference.id)));
        let id = id.unwrap_or_default();
        let given = view.acknowledged.map(|time| format!("{whose}, {}{id}", when::utc_and_local(time)));
        fields.push(("acknowledgement", given.unwrap_or_else(|| "none yet".to_owned())));
    }
    page.fields(&fields);
    if view.acknowledged.is_some() || is_acknowledgement {
        page.line(format!("  {NOT_AGREEMENT}"));
    }
    if !is_acknowledgement {
        sorted.render(page);
    }
    if inbox && view.acknowledged.is_none() && !is_acknowledgement && row.state != MessageState::Refused {
        page.gap();
        let id = short(row.id);
        page.line(format!(
            "Reading it has sent nothing to the other State. To say that the desk has read it: verbale ack {id}"
        ));
    }
}

/// What refers to a message, by what it means for it.
#[derive(Default)]
struct Sorted<'a> {
    answers: Vec<&'a Reference>,
    changes: Vec<&'a Reference>,
    withdrawals: Vec<&'a Reference>,
    others: Vec<&'a Reference>,
}

impl<'a> Sorted<'a> {
    fn of(view: &'a MessageView) -> Self {
        use Kind::{Acknowledgement, Answer, Correction, Decline, InterimAnswer, Update, Withdrawal};
        let mut sorted = Self::default();
        for reference in &view.references {
            let same_author = reference.folder == view.row.folder;
            match (reference.kind.parse::<Kind>().ok(), same_author) {
                (Some(Acknowledgement), _) => {}
                (Some(Answer | InterimAnswer | Decline), false) => sorted.answers.push(reference),
                (Some(Correction | Update), true) => sorted.changes.push(reference),
                (Some(Withdrawal), true) => sorted.withdrawals.push(reference),
                _ => sorted.others.push(reference),
            }
        }
        sorted
    }

    fn render(&self, page: &mut Page) {
        let line = |reference: &&Reference| {
            let Reference { id, kind, time, .. } = reference;
            format!("{} {}, {}", safe::one_line(kind), short(*id), when::utc_and_local(*time))
        };
        let mut fields: Vec<(&str, String)> = Vec::new();
        if self.answers.is_empty() {
            fields.push(("answer", "none yet".to_owned()));
        }
        for (name, list) in [
            ("answer", &self.answers),
            ("changed by", &self.changes),
            ("withdrawn by", &self.withdrawals),
            ("referred to by", &self.others),
        ] {
            fields.extend(list.iter().map(|reference| (name, line(reference))));
        }
        // As wide as the lines above them.
        let fields: Vec<(String, String)> =
            fields.into_iter().map(|(name, value)| (format!("{name:15}"), value)).collect();
        let fields: Vec<(&str, String)> = fields.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        page.fields(&fields);
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
