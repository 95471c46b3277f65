//! `verbale send` and `verbale reply`: from words on a command line to messages in the queue.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::out::{Exit, Meter, Out, Page, own};
use super::place::{Names, Place, fresh_id, message, unexpected};
use super::{ask, safe, show, when, words};
use crate::api::{
    Client, EnclosureToken, Failure, MessageState, MessageView, Reply, Request, Send, SendTo, Sent, WaitFor, code,
};
use crate::name::{CaseId, Desk, EntryId, Kind, Millis, NodeName, Pap, Precedence, Tlp};
use crate::settings::{ByteSize, Span};
use crate::wire::{MAX_BODY, ReplyExpected};

/// The longest wait where the command does not say: a person at the other desk may be asleep.
const DEFAULT_WAIT: Duration = Duration::from_secs(24 * 3600);

/// `verbale send`
#[derive(Debug, Args)]
#[command(
    after_help = "Example: verbale send XB --kind warning --subject \"Scanning of port 502\" --text-file note.txt \
--lang en --tlp AMBER --enclose report.json --wait receipt\n\n\
Several recipients (XB,XC) get a message each; the messages do not name each other.\n\
IMMEDIATE, FLASH and TLP RED are confirmed by typing the recipient's code again, or with --yes.\n\
A receipt says that the other machine has stored it. An acknowledgement says that a person at the desk has read it; it \
does not mean agreement. An answer is a message of its own.\n\
--wait waits for 24 h unless --wait-at-most says otherwise; when the time is over, or with Ctrl-C, what is queued stays \
queued, and the exit code is 1. While the peer is down it waits with it; `verbale doctor XB` says why."
)]
pub struct SendCommand {
    /// To whom: XB, or XB,XC
    #[arg(required = true, value_delimiter = ',')]
    pub to: Vec<NodeName>,
    /// What it is: notification, warning, request-assistance, information, …
    #[arg(long, value_parser = words::kinds_to_send())]
    pub kind: Kind,
    /// In one line, what it is about
    #[arg(long)]
    pub subject: String,
    /// The case it belongs to: its whole id, as `show` and `send --new-case` tell it
    #[arg(long, value_name = "ID", conflicts_with = "new_case")]
    pub case: Option<CaseId>,
    /// Start a new case (one with each recipient) and tell its id
    #[arg(long)]
    pub new_case: bool,
    /// The message that this one answers
    #[arg(long, value_name = "ID")]
    pub in_reply_to: Option<String>,
    /// The rest of the message
    #[command(flatten)]
    pub letter: Letter,
}

/// `verbale reply`
#[derive(Debug, Args)]
#[command(
    after_help = "Example: verbale reply 3f2a91 --text \"We have taken the host off the network.\" --lang en\n\n\
The answer goes to the node that wrote the message, in its case."
)]
pub struct ReplyCommand {
    /// The message answered: its id or its first digits
    pub message: String,
    /// What it is: answer, interim-answer, decline, …
    #[arg(long, default_value = "answer", value_parser = words::kinds_to_send(), hide_possible_values = true)]
    pub kind: Kind,
    /// In one line, what it is about; default: the subject answered
    #[arg(long)]
    pub subject: Option<String>,
    /// The rest of the message
    #[command(flatten)]
    pub letter: Letter,
}

/// What `send` and `reply` have in common.
#[derive(Debug, Args)]
pub struct Letter {
    /// The text; - reads it from standard input
    #[arg(long, conflicts_with = "text_file", allow_hyphen_values = true)]
    pub text: Option<String>,
    /// A file with the text
    #[arg(long, value_name = "FILE")]
    pub text_file: Option<PathBuf>,
    /// The language of the text (BCP 47: en, fr, ar, zh-Hans, …)
    #[arg(long, value_name = "TAG")]
    pub lang: Option<String>,
    /// How fast to handle it: ROUTINE, PRIORITY, IMMEDIATE, FLASH
    #[arg(long, default_value = "ROUTINE")]
    pub precedence: Precedence,
    /// Why it cannot wait; needed at IMMEDIATE and FLASH
    #[arg(long, default_value = "", hide_default_value = true)]
    pub justification: String,
    /// The handling label: CLEAR, GREEN, AMBER, AMBER+STRICT, RED
    #[arg(long, default_value = "AMBER+STRICT")]
    pub tlp: Tlp,
    /// The permissible actions: NONE, CLEAR, GREEN, AMBER, RED
    #[arg(long, default_value = "NONE")]
    pub pap: Pap,
    /// A national marking, verbatim
    #[arg(long, default_value = "", hide_default_value = true)]
    pub marking: String,
    /// The own reference number
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NUMBER")]
    pub own_reference: String,
    /// A file to enclose; may be repeated
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub enclose: Vec<PathBuf>,
    /// When it leaves the queue unsent, if it is not in the log by then: 2h, or a time. What is in the log stays there
    #[arg(long, value_name = "TIME", value_parser = when::moment)]
    pub expires: Option<Millis>,
    /// Mark it as exercise (nodes with an exercise code always do)
    #[arg(long)]
    pub exercise: bool,
    /// The desk that writes
    #[arg(long)]
    pub from_desk: Option<Desk>,
    /// The desk written to
    #[arg(long)]
    pub to_desk: Option<Desk>,
    /// Whether an answer is expected: no, convenient, or by a time
    #[arg(long, default_value = "no", value_name = "no|convenient|TIME", value_parser = reply_expected)]
    pub reply_expected: ReplyExpected,
    /// How far to wait, for at most --wait-at-most
    #[arg(long, default_value = "queued")]
    pub wait: Until,
    /// The longest wait, one day if not said; then exit code 1, and what is queued stays queued
    #[arg(long, default_value_t = Span(DEFAULT_WAIT), value_name = "TIME")]
    pub wait_at_most: Span,
    /// Confirm IMMEDIATE, FLASH and TLP RED without typing the code again; this is journalled
    #[arg(long)]
    pub yes: bool,
}

/// How far `send` waits.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Until {
    /// Until it is durably queued here
    Queued,
    /// Until the other machine has signed its receipt
    Receipt,
    /// Until the other machine also holds every enclosure
    Held,
    /// Until a person at the other desk has acknowledged it
    Ack,
}

impl From<Until> for WaitFor {
    fn from(until: Until) -> Self {
        match until {
            Until::Queued => Self::Queued,
            Until::Receipt => Self::Receipt,
            Until::Held => Self::Held,
            Until::Ack => Self::Ack,
        }
    }
}

fn reply_expected(text: &str) -> Result<ReplyExpected, String> {
    match text {
        "no" => Ok(ReplyExpected::No),
        "convenient" => Ok(ReplyExpected::IfConvenient),
        time => when::moment(time).map(ReplyExpected::By),
    }
}

/// Runs `verbale send`.
///
/// # Errors
/// What is wrong with the message, or what the daemon says.
pub async fn send(place: &Place, out: &mut Out, command: &SendCommand) -> Result<Exit, Failure> {
    let client = place.client().await?;
    let in_reply_to = match &command.in_reply_to {
        Some(text) => Some(message(&client, text).await?),
        None => None,
    };
    let mut draft = draft(&command.letter, &command.to, command.kind, command.subject.clone(), &place.names())?;
    draft.case = command.case;
    draft.new_case = command.new_case;
    draft.in_reply_to = in_reply_to;
    deliver(place, &client, out, &command.letter, draft).await
}

/// Runs `verbale reply`.
///
/// # Errors
/// As [`send`].
pub async fn reply(place: &Place, out: &mut Out, command: &ReplyCommand) -> Result<Exit, Failure> {
    let client = place.client().await?;
    let answered = fetch(&client, message(&client, &command.message).await?).await?;
    let subject = command.subject.clone().unwrap_or_else(|| {
        // The other side's subject goes into our message as it would be shown, not with its tricks.
        let shown: String = safe::one_line(&answered.row.subject).replace(['\u{2068}', '\u{2069}'], "");
        shown.chars().take(crate::api::MAX_SUBJECT_CHARS).collect()
    });
    let mut draft = draft(&command.letter, &[answered.row.peer], command.kind, subject, &place.names())?;
    draft.case = answered.row.case;
    draft.in_reply_to = Some(answered.row.id);
    draft.from_desk = draft.from_desk.or(answered.to_desk);
    draft.to_desk = draft.to_desk.or(answered.from_desk);
    deliver(place, &client, out, &command.letter, draft).await
}

/// One message in full.
///
/// # Errors
/// As the daemon says.
pub async fn fetch(client: &Client, id: EntryId) -> Result<MessageView, Failure> {
    match client.call(&Request::Show { message: id }).await? {
        Reply::Message(view) => Ok(*view),
        other => Err(unexpected(&other)),
    }
}

fn draft(letter: &Letter, to: &[NodeName], kind: Kind, subject: String, names: &Names) -> Result<Send, Failure> {
    let to = to
        .iter()
        .map(|peer| Ok(SendTo { peer: *peer, id: fresh_id()?, fresh: true }))
        .collect::<Result<_, Failure>>()?;
    Ok(Send {
        to,
        kind,
        language: letter.lang.clone().unwrap_or_else(|| names.language()),
        subject,
        text: text(letter)?,
        precedence: letter.precedence,
        justification: letter.justification.clone(),
        tlp: letter.tlp,
        pap: letter.pap,
        marking: letter.marking.clone(),
        exercise: letter.exercise,
        from_desk: letter.from_desk,
        to_desk: letter.to_desk,
        expires: letter.expires,
        case: None,
        new_case: false,
        in_reply_to: None,
        reply_expected: letter.reply_expected,
        own_reference: letter.own_reference.clone(),
        enclosures: Vec::new(),
        wait: letter.wait.into(),
        confirmed_by_flag: false,
    })
}

fn text(letter: &Letter) -> Result<String, Failure> {
    let wrong = |doing: String, why: String, todo: &str| Failure::new(own::USAGE, doing, why, todo);
    let (mut source, doing): (Box<dyn Read>, String) = match (&letter.text, &letter.text_file) {
        (Some(text), _) if text == "-" => (Box::new(std::io::stdin()), "reading the text from standard input".into()),
        (Some(text), _) => return Ok(text.clone()),
        (None, Some(path)) => {
            let doing = format!("reading the text from {}", path.display());
            let file = std::fs::File::open(path).map_err(|error| {
                wrong(doing.clone(), error.to_string(), "Is the name right, and may this user read it?")
            })?;
            (Box::new(file), doing)
        }
        (None, None) => {
            let todo = "Say --text TEXT, --text - or --text-file FILE.";
            return Err(wrong("reading the text".into(), "there is none".into(), todo));
        }
    };
    let mut bytes = Vec::new();
    let read = source.by_ref().take(MAX_BODY as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| wrong(doing.clone(), error.to_string(), ""))?;
    if bytes.len() > MAX_BODY {
        let why = format!("it is larger than the {} of a message", ByteSize(MAX_BODY as u64));
        return Err(wrong(doing, why, "Enclose it as a file (--enclose FILE) and say in the text what it is."));
    }
    String::from_utf8(bytes).map_err(|_| wrong(doing, "it is not UTF-8".into(), "Convert it, or enclose it as a file."))
}

async fn deliver(
    place: &Place,
    client: &Client,
    out: &mut Out,
    letter: &Letter,
    mut draft: Send,
) -> Result<Exit, Failure> {
    let names = place.names();
    draft.check()?;
    if let Some(past) = draft.expires.filter(|at| *at <= when::now()) {
        let why = format!("--expires {} has passed already", when::utc_and_local(past));
        return Err(Failure::new(own::USAGE, "sending", why, "Give a time that is still to come, or leave it out."));
    }
    confirm(out, &names, letter, &mut draft)?;
    draft.enclosures = upload(client, out, &letter.enclose).await?;
    let recipients: Vec<String> = draft.to.iter().map(|to| names.full(to.peer)).collect();
    let files = match draft.enclosures.len() {
        0 => String::new(),
        1 => ", 1 file".to_owned(),
        some => format!(", {some} files"),
    };
    let (subject, speed) = (safe::one_line(&draft.subject), draft.precedence);
    out.tell(&format!("To {}: {subject} ({speed}, TLP:{}{files})", recipients.join(", "), draft.tlp));
    let sent = queue_and_wait(client, out, draft, letter.wait_at_most.0).await?;
    out.show(&sent, |page| render(page, letter, &sent));
    Ok(if sent.iter().all(|sent| reached(sent.state, letter.wait)) { Exit::Good } else { Exit::NotSo })
}

/// The code is typed again where a slip would be grave.
fn confirm(out: &mut Out, names: &Names, letter: &Letter, draft: &mut Send) -> Result<(), Failure> {
    if !draft.needs_confirmation() {
        return Ok(());
    }
    if letter.yes {
        draft.confirmed_by_flag = true;
        return Ok(());
    }
    let doing = format!("sending at {}, TLP {}", draft.precedence, draft.tlp);
    for to in &draft.to {
        out.tell(&format!("{} TLP:{} to {}", draft.precedence, draft.tlp, names.full(to.peer)));
        let typed = ask::line(&doing, &format!("Type {} again to send:", to.peer)).map_err(|failure| Failure {
            todo: "Run it on a terminal, or confirm with --yes, which is journalled.".to_owned(),
            ..failure
        })?;
        if typed != to.peer.to_string() {
            return Err(ask::not_confirmed(&doing));
        }
    }
    Ok(())
}

/// Brings files into the node, each with its name and a media type by its ending.
///
/// # Errors
/// Where a file cannot be read or is too large for the node.
pub async fn upload(client: &Client, out: &Out, files: &[PathBuf]) -> Result<Vec<EnclosureToken>, Failure> {
    let mut tokens = Vec::with_capacity(files.len());
    for file in files {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let size = std::fs::metadata(file).map(|found| found.len()).unwrap_or(0);
        let meter = Meter::new(out);
        let progress = |done: u64| {
            let percent = done.saturating_mul(100).checked_div(size).unwrap_or(100);
            meter.show(&format!("enclosing {}: {percent} %", safe::one_line(&name)));
        };
        tokens.push(client.upload(file, &name, media_type(file), &progress).await?);
    }
    Ok(tokens)
}

/// The media type that a file's ending says; what is unknown is bytes. The receiver never runs what it says.
pub fn media_type(file: &Path) -> &'static str {
    let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    match ending.as_str() {
        "json" => "application/json",
        "txt" | "md" | "log" => "text/plain",
        "csv" => "text/csv",
        "xml" => "application/xml",
        "pdf" => "application/pdf",
        "html" | "htm" => "text/html",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "zip" => "application/zip",
        "gz" | "tgz" => "application/gzip",
        "pcap" => "application/vnd.tcpdump.pcap",
        "eml" => "message/rfc822",
        _ => "application/octet-stream",
    }
}

/// Queues, waits, and when the wait is over says how far it has come: the same ids make it the same command.
async fn queue_and_wait(client: &Client, out: &Out, draft: Send, at_most: Duration) -> Result<Vec<Sent>, Failure> {
    let wait = draft.wait;
    let queued = Request::Send(Box::new(Send { wait: WaitFor::Queued, ..draft.clone() }));
    let mut sent = sent(client.call(&queued).await?)?;
    if wait == WaitFor::Queued {
        return Ok(sent);
    }
    let meter = Meter::new(out);
    let most = when::roughly(at_most);
    meter.show(&format!("queued; waiting for at most {most} (Ctrl-C leaves it in the queue) …"));
    match client.call_within(at_most, "waiting", &Request::Send(Box::new(draft))).await {
        Ok(reply) => sent = self::sent(reply)?,
        Err(failure) if failure.code == code::TIMEOUT => sent = self::sent(client.call(&queued).await?)?,
        Err(failure) => return Err(failure),
    }
    Ok(sent)
}

fn sent(reply: Reply) -> Result<Vec<Sent>, Failure> {
    match reply {
        Reply::Sent(sent) => Ok(sent),
        other => Err(unexpected(&other)),
    }
}

fn reached(state: MessageState, wait: Until) -> bool {
    use MessageState::*;
    let ended_well = matches!(state, Acknowledged | Answered | Declined);
    match (state, wait) {
        (Refused | Expired | Cancelled | Withdrawn, _) => false,
        (_, Until::Queued) => true,
        (Delivered | Held, Until::Receipt) | (Held, Until::Held) => true,
        _ => ended_well,
    }
}

fn render(page: &mut Page, letter: &Letter, sent: &[Sent]) {
    for sent in sent {
        page.line(format!("{}: {}", sent.peer, show::state_words(sent.state)));
        let receipt = match sent.receipt_time {
            Some(time) => format!("{} by its clock", when::utc_and_local(time)),
            None => "none yet".to_owned(),
        };
        // An answer may come with or without an acknowledgement; which of them came stands in `verbale show`.
        let (acknowledgement, answer) = match sent.state {
            MessageState::Acknowledged => ("given", "none yet"),
            MessageState::Answered => ("see `verbale show`", "came"),
            MessageState::Declined => ("see `verbale show`", "declined"),
            _ => ("none yet", "none yet"),
        };
        page.fields(&[
            ("id", sent.id.to_string()),
            ("case", sent.case.map(|case| case.to_string()).unwrap_or_default()),
            ("receipt", receipt),
            ("acknowledgement", acknowledgement.to_owned()),
            ("answer", answer.to_owned()),
        ]);
        if sent.state == MessageState::Acknowledged {
            page.line(format!("  {}", show::NOT_AGREEMENT));
        }
        if let Some(line) = what_is_open(sent, letter.wait, letter.wait_at_most) {
            page.strong(format!("  {line}"));
        }
    }
}

/// What a wait that did not reach its aim leaves open, in one line.
fn what_is_open(sent: &Sent, wait: Until, at_most: Span) -> Option<String> {
    if !sent.files_refused.is_empty() {
        return Some(format!(
            "{} does not take the files: {}. The text is not touched by it. Agree on a smaller file or another way.",
            sent.peer,
            safe::one_line(&sent.files_refused)
        ));
    }
    let ended = matches!(sent.state, MessageState::Refused | MessageState::Expired | MessageState::Cancelled);
    (!reached(sent.state, wait) && !ended).then(|| {
        let short = &sent.id.to_string()[..12];
        format!(
            "The wait of {at_most} is over. Nothing is lost: it goes on by itself, and `verbale show {short}` tells how far."
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_over_only_when_what_was_waited_for_has_come() {
        use MessageState::*;
        assert!(reached(Queued, Until::Queued) && !reached(Queued, Until::Receipt));
        assert!(reached(Delivered, Until::Receipt) && !reached(Delivered, Until::Held));
        assert!(reached(Held, Until::Held) && !reached(Held, Until::Ack));
        assert!(reached(Acknowledged, Until::Ack) && reached(Answered, Until::Receipt));
        assert!(!reached(Refused, Until::Queued) && !reached(Expired, Until::Ack));
    }

    #[test]
    fn files_that_are_refused_are_not_waited_for_in_words() {
        let sent = Sent {
            peer: "XB".parse().expect("a name"),
            id: EntryId([1; 16]),
            state: MessageState::Delivered,
            receipt_time: None,
            case: None,
            files_refused: "file-too-large".to_owned(),
        };
        let at_most = "6s".parse().expect("a span");
        let line = what_is_open(&sent, Until::Held, at_most).expect("the files do not come");
        assert!(line.contains("does not take the files: file-too-large") && !line.contains("goes on"), "{line}");
        let waiting = Sent { files_refused: String::new(), ..sent };
        assert!(what_is_open(&waiting, Until::Held, at_most).is_some_and(|line| line.contains("goes on by itself")));
        assert_eq!(what_is_open(&waiting, Until::Receipt, at_most), None);
    }

    #[test]
    fn an_answer_is_expected_in_three_ways() {
        assert_eq!(reply_expected("no"), Ok(ReplyExpected::No));
        assert_eq!(reply_expected("convenient"), Ok(ReplyExpected::IfConvenient));
        assert_eq!(reply_expected("2026-03-01T12:00:00Z"), Ok(ReplyExpected::By(Millis(1_772_366_400_000))));
        assert!(reply_expected("soon").is_err());
    }
}
