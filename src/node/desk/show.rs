//! Lists of messages and one message in full. Subjects lie in sealed bodies; the few that were opened last are kept.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use super::Inner;
use crate::api::{
    Caller, EnclosureState, EnclosureView, Failure, Folder, LogFilter, MessageRow, MessageState, MessageView,
    Reference, Reply, TextView, code,
};
use crate::exchange::{Command, Place};
use crate::name::{EntryId, Kind, Millis, RefusalCode};
use crate::store::{Message, Stage};
use crate::wire::{Absent, Body, Payload};

use super::super::history;
use super::super::order::Node;

/// Subjects that are kept: a few screens of each reader. They are a line each.
pub const MAX_SUBJECTS: usize = 4_096;

/// Rows of a list where the command does not say.
pub(in crate::node) const DEFAULT_ROWS: u32 = 1_000;

/// Rows of a list at most: what a reader of JSON can be asked to hold.
pub(super) const MAX_ROWS: u32 = 100_000;

/// Subjects by the record that holds the body.
#[derive(Default)]
pub(super) struct Subjects(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    by_record: HashMap<u64, String>,
    order: VecDeque<u64>,
}

impl Subjects {
    fn get(&self, record: u64) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).by_record.get(&record).cloned()
    }

    fn put(&self, record: u64, subject: &str) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.by_record.insert(record, subject.to_owned()).is_none() {
            kept.order.push_back(record);
        }
        if kept.order.len() > MAX_SUBJECTS
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.by_record.remove(&oldest);
        }
    }

    /// The subject of a message; empty where it cannot be opened.
    fn of(&self, node: &Node, message: &Message) -> String {
        if let Some(known) = self.get(message.record) {
            return known;
        }
        let subject = match body(node, message) {
            Ok(Ok(body)) => body.texts.into_iter().next().map(|text| text.subject).unwrap_or_default(),
            Ok(Err(_)) | Err(_) => return String::new(),
        };
        self.put(message.record, &subject);
        subject
    }
}

/// The body of a message, or in words why there is none.
pub(super) fn body(node: &Node, message: &Message) -> Result<Result<Body, String>, history::HistoryError> {
    let stowed = if message.outgoing {
        history::queued_payload(node, message.record)?
    } else {
        history::entry_of(node, message.record)?.1
    };
    Ok(match history::open(&node.vault, &stowed)? {
        Payload::Present { body, .. } => Body::decode(body).map_err(|error| format!("not understood: {error}")),
        Payload::Absent(reason) => Err(words(reason).to_owned()),
    })
}

fn words(reason: Absent) -> &'static str {
    match reason {
        Absent::Sealed => "never sent",
        Absent::Voided => "withdrawn",
        Absent::Erased => "erased",
        Absent::Unavailable => "no longer available",
    }
}

/// How far a message has come, in the interface's word.
pub(super) fn state(message: &Message) -> MessageState {
    match message.stage() {
        Stage::Queued => MessageState::Queued,
        Stage::Sent => MessageState::Sent,
        Stage::Delivered => MessageState::Delivered,
        Stage::Held => MessageState::Held,
        Stage::Acknowledged => MessageState::Acknowledged,
        Stage::Answered => MessageState::Answered,
        Stage::Declined => MessageState::Declined,
        Stage::Refused => MessageState::Refused,
        Stage::Expired => MessageState::Expired,
        Stage::Cancelled => MessageState::Cancelled,
        Stage::Withdrawn => MessageState::Withdrawn,
        Stage::Received => MessageState::Received,
    }
}

/// The word of a kind, known or not.
pub(in crate::node) fn kind_word(number: u32) -> String {
    Kind::from_number(number).map_or_else(|| format!("kind {number}"), |kind| kind.to_string())
}

fn row(message: &Message, subject: String) -> MessageRow {
    MessageRow {
        id: message.id.unwrap_or_default(),
        folder: if message.outgoing { Folder::Outbox } else { Folder::Inbox },
        peer: message.peer,
        kind: kind_word(message.kind),
        time: message.time,
        recorded: message.recorded,
        sent: (!message.outgoing || message.place.is_some()).then_some(message.time),
        record: message.record,
        precedence: message.precedence,
        tlp: message.tlp,
        exercise: message.exercise,
        state: state(message),
        subject,
        enclosures: message.enclosures,
        case: message.case,
        repeat: message.repeat,
        read: message.read,
        files_refused: message.files_refused.map(refusal_word).unwrap_or_default(),
    }
}

impl Inner {
    /// A message by its id, where there is one.
    pub(super) async fn find(&self, doing: &'static str, id: EntryId) -> Result<Option<Message>, Failure> {
        let node = self.node.clone();
        let found = super::blocking(doing, move || node.index.message(id)).await?;
        found.map_err(|error| super::damaged(doing, &error))
    }

    /// A message by its id. The index is given the time to reach what was durable when the command came.
    pub(super) async fn message(&self, doing: &'static str, id: EntryId) -> Result<Message, Failure> {
        if let Some(message) = self.find(doing, id).await? {
            return Ok(message);
        }
        self.node.index.caught_up(self.node.journal_end()).await;
        self.find(doing, id).await?.ok_or_else(|| {
            let todo = "`verbale inbox` and `verbale outbox` list what is here";
            Failure::new(code::UNKNOWN_MESSAGE, doing, format!("there is no message {id} here"), todo)
        })
    }

    pub(super) async fn list(&self, folder: Folder, mut filter: LogFilter) -> Result<Reply, Failure> {
        const LISTING: &str = "listing messages";
        filter.limit = if filter.limit == 0 { DEFAULT_ROWS } else { filter.limit.min(MAX_ROWS) };
        self.node.index.caught_up(self.node.journal_end()).await;
        let inner = self.clone_parts();
        let rows = super::blocking(LISTING, move || {
            let messages = inner.0.index.messages(folder, &filter)?;
            let of = |message: &Message| row(message, inner.1.of(&inner.0, message));
            Ok::<_, crate::store::StoreError>(messages.iter().map(of).collect())
        });
        rows.await?.map(Reply::Messages).map_err(|error| super::damaged(LISTING, &error))
    }

    fn clone_parts(&self) -> (std::sync::Arc<Node>, std::sync::Arc<Subjects>) {
        (self.node.clone(), self.subjects.clone())
    }

    /// One message; that it was read is journalled, and nothing goes to the peer.
    pub(super) async fn show(&self, caller: Caller, id: EntryId) -> Result<Reply, Failure> {
        const SHOWING: &str = "showing a message";
        let message = self.message(SHOWING, id).await?;
        let (node, asked) = (self.node.clone(), message.clone());
        let view = super::blocking(SHOWING, move || view(&node, &asked)).await?;
        if let (false, Some(place)) = (message.outgoing, message.place) {
            let officer = self.officer(caller).await?;
            let place = Place { peer: message.peer, volume: place.log.volume, index: place.index };
            self.node.command_and_go_on(Command::MarkRead { place, officer });
        }
        Ok(Reply::Message(Box::new(view)))
    }
}

fn view(node: &Node, message: &Message) -> MessageView {
    let (body, absent) = match body(node, message) {
        Ok(Ok(body)) => (body, String::new()),
        Ok(Err(why)) => (Body::default(), why),
        Err(error) => (Body::default(), format!("damaged: {error}")),
    };
    let subject = body.texts.first().map(|text| text.subject.clone()).unwrap_or_default();
    let origin = message.place.map(|place| super::super::index::origin(node.me, &place.log).to_string());
    let receipt_time = message.receipt.and_then(|receipt| receipt.time_seconds);
    MessageView {
        row: row(message, subject),
        origin: origin.unwrap_or_default(),
        index: message.place.map(|place| place.index),
        from_desk: message.from_desk,
        to_desk: message.to_desk,
        pap: message.pap,
        marking: body.marking,
        own_reference: body.own_reference,
        justification: body.justification,
        reply_expected: body.reply_expected,
        in_reply_to: message.in_reply_to,
        texts: body
            .texts
            .into_iter()
            .map(|text| TextView { language: text.language, subject: text.subject, text: text.text })
            .collect(),
        absent,
        enclosures: enclosures(node, message, &body.enclosures),
        receipt_time: receipt_time.map(|seconds| Millis(seconds.saturating_mul(1000))),
        acknowledged: message.acknowledged.map(|acknowledged| acknowledged.time),
        references: references(node, message),
        refused: message.refused.map(refusal_word).unwrap_or_default(),
        expires: message.expires,
    }
}

/// What refers to a message. What the other side wrote about a message of its own is no answer of this side, so who wrote
/// it is told with it.
fn references(node: &Node, message: &Message) -> Vec<Reference> {
    let Some(id) = message.id else { return Vec::new() };
    let found = node.index.replies(id).unwrap_or_default();
    let between = found.into_iter().filter(|other| other.peer == message.peer && !other.expired && !other.cancelled);
    between
        .filter_map(|other| {
            Some(Reference {
                id: other.id?,
                folder: if other.outgoing { Folder::Outbox } else { Folder::Inbox },
                kind: kind_word(other.kind),
                time: other.time,
            })
        })
        .collect()
}

/// How far a file has come: `here` in the folder, `held` as the journal says, `ended` without it.
fn enclosure_state(message: &Message, here: bool, held: bool, ended: bool) -> EnclosureState {
    match (message.outgoing || held, here) {
        (true, true) => EnclosureState::Held,
        (true, false) => EnclosureState::Lost,
        // A message that was withdrawn before its files were asked for, or that is not accepted, brings none.
        (false, _) if ended || message.refused.is_some() => EnclosureState::Missing,
        (false, _) => EnclosureState::Coming,
    }
}

pub(super) fn refusal_word(number: u32) -> String {
    RefusalCode::from_number(number).map_or_else(|| format!("code {number}"), |code| code.to_string())
}

fn enclosures(node: &Node, message: &Message, files: &[crate::wire::Enclosure]) -> Vec<EnclosureView> {
    let view = |(ordinal, file): (u32, &crate::wire::Enclosure)| {
        let bit = 1u64.checked_shl(ordinal).unwrap_or(0);
        let here = message.id.is_some_and(|id| node.enclosures.has(&id, ordinal));
        let is = |bits: u64| bits & bit != 0;
        let state = enclosure_state(message, here, is(message.enclosures_held), is(message.enclosures_ended));
        if let (EnclosureState::Lost, Some(id)) = (state, message.id) {
            super::super::enclosures::lost(node, id, ordinal);
        }
        EnclosureView {
            ordinal,
            name: file.name.clone(),
            media_type: file.media_type.clone(),
            size: file.size,
            sha256: data_encoding::HEXLOWER.encode(&file.sha256.0),
            state,
        }
    };
    (0..).zip(files).map(view).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_subject_is_forgotten_beyond_the_bound() {
        let subjects = Subjects::default();
        for record in 0..=MAX_SUBJECTS as u64 {
            subjects.put(record, "subject");
            subjects.put(record, "subject");
        }
        assert_eq!(subjects.get(0), None);
        assert_eq!(subjects.get(1).as_deref(), Some("subject"));
        assert_eq!(subjects.0.lock().unwrap().order.len(), MAX_SUBJECTS);
    }

    #[test]
    fn unknown_kinds_and_codes_have_a_word() {
        assert_eq!(kind_word(1), "notification");
        assert_eq!(kind_word(4711), "kind 4711");
        assert_eq!(refusal_word(4711), "code 4711");
    }
}
