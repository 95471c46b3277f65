//! The story that the demonstration tells, step by step, each step checked.

use std::path::{Path, PathBuf};

use super::Seen;
use super::letters::{ANSWER, FILES, INDICATORS, INDICATORS_NAME, Letter, NOTIFICATION, OTHERS, WHILE_DOWN};
use super::nodes::{DemoNode, free_ports, until};
use crate::api::{
    Acknowledge, EnclosureState, Failure, LogFilter, MessageRow, MessageState, MessageView, PeerAdd, Reply, Request,
    Send, SendTo, Sent, WaitFor,
};
use crate::cli::out::{Out, own};
use crate::cli::place::{fresh_id, unexpected};
use crate::cli::{safe, send, show};
use crate::name::{CaseId, EntryId, NodeName, Pap};
use crate::settings::ByteSize;
use crate::wire::ReplyExpected;

/// Files in one message here, and their sum: well within what nodes take by default.
const FILES_AT_ONCE: usize = 32;
const BYTES_AT_ONCE: u64 = 192 << 20;
/// Columns of the story.
const COLUMNS: usize = 100;

fn does_not_hold(doing: &str, why: impl Into<String>) -> Failure {
    Failure::new(own::NOT_SO, doing, why, "")
}

/// Tells the story; returns what was seen to be true.
pub(super) async fn tell(out: &mut Out, stage: &Path, files: &[PathBuf]) -> Result<Seen, Failure> {
    let mut story = Story::begin(out, stage).await?;
    story.introduce(out).await?;
    let first = story.incident(out, stage).await?;
    story.acknowledge(out, first).await?;
    story.answer(out, first).await?;
    story.others(out).await?;
    story.files(out, files).await?;
    story.outage(out).await?;
    story.compare_enclosures(out, stage).await?;
    story.verify(out).await?;
    story.end(out).await
}

/// A file as it was sent, to be compared where it arrives.
struct SentFile {
    receiver: usize,
    message: EntryId,
    ordinal: u32,
    original: PathBuf,
}

struct Story {
    nodes: Vec<DemoNode>,
    files: Vec<SentFile>,
    /// Author, message.
    sent: Vec<(usize, EntryId)>,
    seen: Seen,
    /// Steps told.
    steps: u32,
}

impl Story {
    async fn begin(out: &mut Out, stage: &Path) -> Result<Self, Failure> {
        out.tell("verbale lets States warn and ask each other about computer attacks, directly and provably.");
        out.tell("This is an exercise with three invented States on this machine. Nothing leaves it.");
        out.tell("");
        out.tell(
            "1. Each State sets up a node of its own: there is no central server, and nobody is above the others.",
        );
        let mut nodes = Vec::new();
        for (code, port) in ["XA", "XB", "XC"].iter().zip(free_ports(3)?) {
            let name: NodeName = code.parse().map_err(|error| does_not_hold("naming", format!("{error}")))?;
            let node = DemoNode::open(stage, name, port).await?;
            let folder = node.folder.display();
            out.tell(&format!(
                "   {name} ({}) listens on UDP port {port}; its folder is {folder}",
                name.state().short_name()
            ));
            nodes.push(node);
        }
        let seen = Seen { states: nodes.len(), ..Seen::default() };
        Ok(Self { nodes, files: Vec::new(), sent: Vec::new(), seen, steps: 1 })
    }

    fn step(&mut self, out: &mut Out, text: impl AsRef<str>) {
        self.steps += 1;
        out.tell("");
        for (at, line) in wrapped(text.as_ref()).iter().enumerate() {
            let before = if at == 0 { format!("{}. ", self.steps) } else { "   ".to_owned() };
            out.tell(&format!("{before}{line}"));
        }
    }

    fn at(&self, code: &str) -> Result<usize, Failure> {
        let found = self.nodes.iter().position(|node| node.name.state().code() == code);
        found.ok_or_else(|| does_not_hold("looking for a State", code))
    }

    /// Every State accepts every other, with the fingerprint as it would be read over the telephone.
    async fn introduce(&mut self, out: &mut Out) -> Result<(), Failure> {
        self.step(
            out,
            "The States introduce themselves to each other. A file is handed over; its fingerprint is read \
             aloud over another channel (here the demonstration reads it), so that nobody can slip in another file.",
        );
        for here in &self.nodes {
            for there in self.nodes.iter().filter(|there| there.name != here.name) {
                let (introduction, fingerprint) = there.introduction.clone();
                let add = PeerAdd {
                    introduction,
                    fingerprint,
                    read_by: format!("exercise control for {}", there.name),
                    channel: "demonstration on one machine".to_owned(),
                };
                here.call(&format!("{} accepts {}", here.name, there.name), Request::PeerAdd(add)).await?;
            }
        }
        let groups = self.nodes[0].introduction.1.clone();
        out.tell(&format!("   The fingerprint of {}: {groups}", self.nodes[0].name));
        for node in &self.nodes {
            let others = self.nodes.len() - 1;
            until(&format!("waiting until {} is connected", node.name), async || {
                let up = node.status_of_peers().await?.iter().filter(|peer| peer.connection == "up").count();
                Ok((up == others).then_some(()))
            })
            .await?;
        }
        out.tell("   All three are connected: encrypted, each side with its own State's certificate.");
        Ok(())
    }

    async fn incident(&mut self, out: &mut Out, stage: &Path) -> Result<EntryId, Failure> {
        self.step(out, "XA notifies XB of an incident, with a file enclosed.");
        let indicators = stage.join(INDICATORS_NAME);
        let written = std::fs::write(&indicators, INDICATORS);
        written.map_err(|error| does_not_hold("writing a file", format!("{}: {error}", indicators.display())))?;
        let draft = Draft { new_case: true, ..Draft::of(&NOTIFICATION) };
        let id = self.send(out, draft, std::slice::from_ref(&indicators)).await?;
        out.tell(
            "   A receipt is signed by the other State's machine: it has stored the message. Nobody need have read it.",
        );
        Ok(id)
    }

    async fn acknowledge(&mut self, out: &mut Out, message: EntryId) -> Result<(), Failure> {
        self.step(out, "The desk of XB opens the message. Reading sends nothing to XA.");
        let (xa, xb) = (self.at("XA")?, self.at("XB")?);
        let view = self.show(xb, message).await?;
        if view.texts.first().map(|text| text.text.as_str()) != Some(NOTIFICATION.text) {
            return Err(does_not_hold("comparing the text at XB", "it is not what XA wrote"));
        }
        for line in safe::body(NOTIFICATION.text).iter().flat_map(|paragraph| wrapped(paragraph)) {
            out.tell(&format!("   | {line}"));
        }
        say(
            out,
            "Now the duty officer of XB acknowledges it. Only a person may do that; this demonstration plays the officer, and \
             the journal of XB says so.",
        );
        let act = Acknowledge { message, id: fresh_id()?, on_terminal: false, demo: true };
        self.nodes[xb].call("acknowledging", Request::Acknowledge(act)).await?;
        until("waiting for the acknowledgement at XA", async || {
            Ok(self.show(xa, message).await?.acknowledged.map(|_| ()))
        })
        .await?;
        self.seen.acknowledgements += 1;
        say(out, &format!("XA has it. {}", show::NOT_AGREEMENT));
        Ok(())
    }

    async fn answer(&mut self, out: &mut Out, message: EntryId) -> Result<(), Failure> {
        self.step(out, "XB answers, in the same case. Receipt, acknowledgement and answer are three different things.");
        let (xa, xb) = (self.at("XA")?, self.at("XB")?);
        let case = self.show(xb, message).await?.row.case;
        let answer = self.send(out, Draft { case, in_reply_to: Some(message), ..Draft::of(&ANSWER) }, &[]).await?;
        until("waiting for the answer at XA", async || {
            Ok(self.show(xa, message).await?.references.iter().any(|one| one.id == answer).then_some(()))
        })
        .await
    }

    async fn others(&mut self, out: &mut Out) -> Result<(), Failure> {
        self.step(
            out,
            "The others write, too, each in its language. What two States say to each other, the third does not see.",
        );
        for letter in &OTHERS {
            let id = self.send(out, Draft::of(letter), &[]).await?;
            let there = self.at(letter.to)?;
            let view = self.show(there, id).await?;
            let same = view.texts.first().is_some_and(|t| t.text == letter.text && t.subject == letter.subject);
            if !same || !view.row.exercise {
                return Err(does_not_hold("comparing a text", format!("at {} it is not what was written", letter.to)));
            }
        }
        Ok(())
    }

    async fn files(&mut self, out: &mut Out, files: &[PathBuf]) -> Result<(), Failure> {
        if files.is_empty() {
            return Ok(());
        }
        let count = counted(files.len(), "file");
        self.step(out, format!("XA sends the {count} given: the text goes at once, the files follow."));
        for part in parts(files) {
            self.send(out, Draft::of(&FILES), part).await?;
        }
        Ok(())
    }

    async fn outage(&mut self, out: &mut Out) -> Result<(), Failure> {
        self.step(out, "The node of XC goes down. XA writes to it all the same.");
        let (xa, xc) = (self.at("XA")?, self.at("XC")?);
        self.nodes[xc].stop().await?;
        let draft = Draft { wait: WaitFor::Queued, ..Draft::of(&WHILE_DOWN) };
        let id = self.send(out, draft, &[]).await?;
        out.tell("   The message waits at XA, durably. The node of XC comes back.");
        self.nodes[xc].start().await?;
        self.delivered(xa, id).await?;
        let view = self.show(xc, id).await?;
        if view.texts.first().map(|text| text.text.as_str()) != Some(WHILE_DOWN.text) {
            return Err(does_not_hold("comparing the text at XC", "it is not what XA wrote"));
        }
        self.seen.receipts += 1;
        out.tell("   Delivered, without anybody's help: the receipt of XC is here.");
        Ok(())
    }

    async fn compare_enclosures(&mut self, out: &mut Out, stage: &Path) -> Result<(), Failure> {
        self.step(out, "The receivers save the enclosures; they are compared with the originals, byte by byte.");
        let mut saved_into: Vec<(EntryId, Vec<show::Saved>)> = Vec::new();
        let mut bytes = 0;
        for file in &self.files {
            let node = &self.nodes[file.receiver];
            if !saved_into.iter().any(|(message, _)| *message == file.message) {
                let view = until(&format!("waiting for the enclosures at {}", node.name), async || {
                    let view = self.show(file.receiver, file.message).await?;
                    let here = view.enclosures.iter().all(|enclosure| enclosure.state == EnclosureState::Held);
                    Ok(here.then_some(view))
                })
                .await?;
                let folder = stage.join(format!("saved-at-{}", node.name)).join(file.message.to_string());
                saved_into.push((file.message, show::save(&node.client, out, &view, &folder).await?));
            }
            let saved = saved_into.iter().find(|(message, _)| *message == file.message).map(|(_, saved)| saved);
            let saved = saved.and_then(|saved| saved.iter().find(|saved| saved.ordinal == file.ordinal));
            let saved = saved.ok_or_else(|| does_not_hold("comparing the enclosures", "one is missing"))?;
            if !same_bytes(&saved.path, &file.original)? {
                let why = format!("{} differs from {}", saved.path.display(), file.original.display());
                return Err(does_not_hold("comparing the enclosures", why));
            }
            bytes += saved.size;
            self.seen.enclosures += 1;
        }
        let count = counted(self.seen.enclosures, "file");
        out.tell(&format!("   {count}, {} in all: every byte is the same.", ByteSize(bytes)));
        Ok(())
    }

    async fn verify(&mut self, out: &mut Out) -> Result<(), Failure> {
        self.step(
            out,
            "Each State verifies its own record: every signature, every receipt, every text, every file. Nothing can \
             be changed afterwards without contradicting a signature that another State holds.",
        );
        for node in &self.nodes {
            let view = match node.call("verifying the logs", Request::LogVerify).await? {
                Reply::Verified(view) => view,
                other => return Err(unexpected(&other)),
            };
            if !view.good {
                let why = format!("{}: {}", node.name, view.faults.join("; "));
                return Err(does_not_hold("verifying the logs", why));
            }
            out.tell(&format!(
                "    {}: {} records, {} entries, {} signed heads, {} receipts: everything holds.",
                node.name, view.records, view.entries, view.heads, view.receipts
            ));
        }
        // Each of the n·(n-1) logs is held, and was verified, on both of its sides.
        self.seen.logs_verified = self.nodes.len() * (self.nodes.len() - 1);
        Ok(())
    }

    async fn end(mut self, out: &mut Out) -> Result<Seen, Failure> {
        for (author, id) in self.sent.clone() {
            self.delivered(author, id).await?;
        }
        if self.seen.receipts != self.seen.messages {
            let why = format!("{} messages, but {} receipts", self.seen.messages, self.seen.receipts);
            return Err(does_not_hold("counting", why));
        }
        for node in &mut self.nodes {
            node.stop().await?;
        }
        out.tell("");
        out.tell("The three daemons were stopped.");
        Ok(self.seen)
    }

    async fn show(&self, node: usize, message: EntryId) -> Result<MessageView, Failure> {
        match self.nodes[node].call("opening a message", Request::Show { message }).await? {
            Reply::Message(view) => Ok(*view),
            other => Err(unexpected(&other)),
        }
    }

    /// Waits until the author holds the receipt.
    async fn delivered(&self, author: usize, id: EntryId) -> Result<(), Failure> {
        let node = &self.nodes[author];
        until(&format!("waiting for a receipt at {}", node.name), async || {
            let rows = match node.call("listing", Request::Outbox(LogFilter::default())).await? {
                Reply::Messages(rows) => rows,
                other => return Err(unexpected(&other)),
            };
            Ok(rows.iter().find(|row| row.id == id).filter(|row| is_delivered(row)).map(|_| ()))
        })
        .await
    }

    /// Sends a letter, with files, and checks what became of it.
    async fn send(&mut self, out: &mut Out, draft: Draft<'_>, files: &[PathBuf]) -> Result<EntryId, Failure> {
        let letter = draft.letter;
        let (author, receiver) = (self.at(letter.from)?, self.at(letter.to)?);
        let (id, peer) = (fresh_id()?, self.nodes[receiver].name);
        let node = &self.nodes[author];
        let enclosures = send::upload(&node.client, out, files).await?;
        let message = draft.message(SendTo { peer, id, fresh: true }, enclosures);
        message.check()?;
        let wait = message.wait;
        let sent = match node.call(&format!("sending from {}", node.name), Request::Send(Box::new(message))).await? {
            Reply::Sent(sent) => sent,
            other => return Err(unexpected(&other)),
        };
        self.judge(&sent, id, wait)?;
        for (ordinal, original) in (0..).zip(files) {
            self.files.push(SentFile { receiver, message: id, ordinal, original: original.clone() });
        }
        self.sent.push((author, id));
        self.seen.messages += 1;
        let with =
            if files.is_empty() { String::new() } else { format!(", with {}", counted(files.len(), "enclosure")) };
        out.tell(&format!(
            "   {} -> {}  {} {} TLP:{}{with}: {}",
            letter.from,
            letter.to,
            letter.precedence,
            letter.kind,
            letter.tlp,
            safe::one_line(letter.subject)
        ));
        Ok(id)
    }

    fn judge(&mut self, sent: &[Sent], id: EntryId, wait: WaitFor) -> Result<(), Failure> {
        let doing = "sending";
        let one = sent.iter().find(|sent| sent.id == id).ok_or_else(|| does_not_hold(doing, "no state came back"))?;
        match wait {
            WaitFor::Queued if one.state == MessageState::Queued => Ok(()),
            WaitFor::Receipt if one.receipt_time.is_some() => {
                self.seen.receipts += 1;
                Ok(())
            }
            _ => Err(does_not_hold(doing, format!("it is {}", show::state_words(one.state)))),
        }
    }
}

/// A letter and what varies with the story.
struct Draft<'a> {
    letter: &'a Letter,
    case: Option<CaseId>,
    new_case: bool,
    in_reply_to: Option<EntryId>,
    wait: WaitFor,
}

impl<'a> Draft<'a> {
    fn of(letter: &'a Letter) -> Self {
        Self { letter, case: None, new_case: false, in_reply_to: None, wait: WaitFor::Receipt }
    }

    fn message(&self, to: SendTo, enclosures: Vec<crate::api::EnclosureToken>) -> Send {
        let letter = self.letter;
        Send {
            to: vec![to],
            kind: letter.kind,
            language: letter.language.to_owned(),
            subject: letter.subject.to_owned(),
            text: letter.text.to_owned(),
            precedence: letter.precedence,
            justification: letter.justification.to_owned(),
            tlp: letter.tlp,
            pap: Pap::None,
            marking: String::new(),
            exercise: true,
            from_desk: None,
            to_desk: None,
            expires: None,
            case: self.case,
            new_case: self.new_case,
            in_reply_to: self.in_reply_to,
            reply_expected: ReplyExpected::IfConvenient,
            own_reference: String::new(),
            enclosures,
            wait: self.wait,
            // Nobody types codes in a demonstration; the journal says that nobody did.
            confirmed_by_flag: true,
        }
    }
}

fn is_delivered(row: &MessageRow) -> bool {
    use MessageState::*;
    matches!(row.state, Delivered | Held | Acknowledged | Answered | Declined)
}

/// Tells something within a step.
fn say(out: &mut Out, text: &str) {
    for line in wrapped(text) {
        out.tell(&format!("   {line}"));
    }
}

/// Lines for a terminal of ordinary width; words are parted by spaces.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("starts with one line and only grows");
        if !line.is_empty() && safe::width(line) + 1 + safe::width(word) > COLUMNS {
            lines.push(word.to_owned());
        } else {
            *line += if line.is_empty() { "" } else { " " };
            *line += word;
        }
    }
    lines
}

pub(super) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Parts of a list of files that fit one message each.
fn parts(files: &[PathBuf]) -> Vec<&[PathBuf]> {
    let (mut parts, mut from, mut bytes) = (Vec::new(), 0, 0);
    for (at, file) in files.iter().enumerate() {
        let size = std::fs::metadata(file).map(|found| found.len()).unwrap_or(0);
        if at > from && (at - from == FILES_AT_ONCE || bytes + size > BYTES_AT_ONCE) {
            parts.push(&files[from..at]);
            (from, bytes) = (at, 0);
        }
        bytes += size;
    }
    parts.push(&files[from..]);
    parts
}

fn same_bytes(one: &Path, other: &Path) -> Result<bool, Failure> {
    use std::io::{BufRead, BufReader};
    let doing = "comparing the enclosures";
    let open = |path: &Path| {
        let opened = std::fs::File::open(path).map(|file| BufReader::with_capacity(256 << 10, file));
        opened.map_err(|error| does_not_hold(doing, format!("{}: {error}", path.display())))
    };
    let failed = |error: std::io::Error| does_not_hold(doing, error.to_string());
    let (mut one, mut other) = (open(one)?, open(other)?);
    loop {
        let (a, b) = (one.fill_buf().map_err(failed)?, other.fill_buf().map_err(failed)?);
        let common = a.len().min(b.len());
        if common == 0 {
            return Ok(a.is_empty() && b.is_empty());
        }
        if a[..common] != b[..common] {
            return Ok(false);
        }
        one.consume(common);
        other.consume(common);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_parted_so_that_each_message_can_take_its_part() {
        let files = vec![PathBuf::from("/nonexistent"); FILES_AT_ONCE + 1];
        let lengths: Vec<usize> = parts(&files).iter().map(|part| part.len()).collect();
        assert_eq!(lengths, [FILES_AT_ONCE, 1]);
        assert_eq!(parts(&files[..FILES_AT_ONCE]).len(), 1);
    }

    #[test]
    fn files_are_equal_only_when_every_byte_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let (a, b, c, d) =
            (file("a", &[7; 300_000]), file("b", &[7; 300_000]), file("c", &[7; 299_999]), file("d", b""));
        assert!(same_bytes(&a, &b).unwrap());
        assert!(!same_bytes(&a, &c).unwrap() && !same_bytes(&c, &a).unwrap() && !same_bytes(&d, &a).unwrap());
    }
}
