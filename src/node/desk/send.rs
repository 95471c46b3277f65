//! Sending: one bilateral entry per recipient, none of which names another.

use std::collections::BTreeSet;

use super::Inner;
use crate::api::{Caller, Failure, MessageState, Reply, Send, SendTo, Sent, WaitFor, code};
use crate::exchange::{Answer, Command, Drop, NewItem, Wait};
use crate::name::{CaseId, Desk, EntryId, Millis};
use crate::store::Message;
use crate::wire::{Body, Enclosure, Text};

const DOING: &str = "sending a message";

/// What is the same for every recipient.
struct Shared {
    body: Body,
    exercise: bool,
    from_desk: Desk,
    to_desk: Desk,
    officer: u32,
}

impl Inner {
    pub(super) async fn send(&self, caller: Caller, send: Send) -> Result<Reply, Failure> {
        let tokens = send.enclosures.clone();
        let sent = self.send_all(caller, send).await;
        // Queued or refused: nobody comes back for the uploaded files.
        if !tokens.is_empty() {
            let (node, uploads) = (self.node.clone(), self.uploads.clone());
            super::blocking(DOING, move || uploads.forget(&node, &tokens)).await?;
        }
        sent
    }

    async fn send_all(&self, caller: Caller, send: Send) -> Result<Reply, Failure> {
        check(&send)?;
        let from_desk = send.from_desk.or(self.node.me.desk()).unwrap_or(Desk::Technical);
        let to_desk = send.to_desk.unwrap_or(from_desk);
        self.check_desks(&send, from_desk, to_desk)?;
        self.check_sizes(&send)?;
        let officer = self.officer(caller).await?;
        if send.confirmed_by_flag {
            let text =
                format!("{} sent at {}, {} without typing the code again", first(&send), send.precedence, send.tlp);
            let (subject, peer) = ("confirmed-by-flag".to_owned(), None);
            self.node.command_and_go_on(Command::Note { subject, peer, text, officer });
        }
        let exercise = send.exercise || self.node.me.state().is_exercise();
        let shared = Shared { body: body_of(&send), exercise, from_desk, to_desk, officer };
        let answered = match send.in_reply_to {
            Some(id) => Some(self.message(DOING, id).await?),
            None => None,
        };
        if let Some(answered) = answered.as_ref().filter(|answered| send.to.iter().any(|to| to.peer == answered.peer)) {
            check_case(&send, answered)?;
        }
        let mut answers = Vec::with_capacity(send.to.len());
        for to in &send.to {
            let case = case_of(&send, *to, answered.as_ref());
            let command = self.command_for(&send, &shared, *to, case, answered.as_ref()).await?;
            answers.push((*to, case, self.node.order(command).map_err(super::stopping)?));
        }
        let mut sent = Vec::with_capacity(answers.len());
        for (to, case, answer) in answers {
            let answer = answer.await.map_err(|_| super::stopping(super::Stopped))?;
            let far = self.outcome(to, answer, send.wait).await?;
            let Far { state, receipt_time, files_refused } = far;
            sent.push(Sent { peer: to.peer, id: to.id, state, receipt_time, case, files_refused });
        }
        Ok(Reply::Sent(sent))
    }

    fn check_desks(&self, send: &Send, from_desk: Desk, to_desk: Desk) -> Result<(), Failure> {
        let bad = |why| Failure::new(code::BAD_REQUEST, DOING, why, "");
        // All or none: whoever sends again after an error must not send twice to the first of several.
        let anchors = self.node.anchors.load();
        if let Some(to) = send.to.iter().find(|to| anchors.get(to.peer).is_none()) {
            return Err(super::unknown_peer(DOING, to.peer));
        }
        if !self.node.me.serves(from_desk) {
            return Err(bad(format!("{} does not serve the {from_desk} desk", self.node.me)));
        }
        match send.to.iter().find(|to| !to.peer.serves(to_desk)) {
            Some(to) => Err(bad(format!("{} does not serve the {to_desk} desk", to.peer))),
            None => Ok(()),
        }
    }

    fn check_sizes(&self, send: &Send) -> Result<(), Failure> {
        let settings = self.node.settings();
        let limits = &settings.exchange;
        let total = send.enclosures.iter().fold(0u64, |sum, file| sum.saturating_add(file.size));
        let largest = send.enclosures.iter().map(|file| file.size).max().unwrap_or(0);
        if largest > limits.enclosure_max || total > limits.enclosures_total_max {
            let why = format!(
                "a file may have {} bytes and all of one message together {}",
                limits.enclosure_max, limits.enclosures_total_max
            );
            let todo = "send fewer or smaller files, or raise [limits] in verbale.toml on both sides";
            return Err(Failure::new(code::TOO_LARGE, DOING, why, todo));
        }
        Ok(())
    }

    async fn command_for(
        &self,
        send: &Send,
        shared: &Shared,
        to: SendTo,
        case: Option<CaseId>,
        answered: Option<&Message>,
    ) -> Result<Command, Failure> {
        let answered = answered.filter(|message| message.peer == to.peer);
        let enclosures = self.give(to.id, send).await?;
        let count = u32::try_from(enclosures.len()).expect("at most 64 were checked");
        let body = Body { enclosures, ..shared.body.clone() };
        if !to.fresh {
            self.same_text(to.id, &body).await?;
        }
        let body = body.encode().map_err(|error| {
            Failure::new(code::TOO_LARGE, DOING, error.to_string(), "put the detail into an enclosure")
        })?;
        let item = NewItem {
            id: to.id,
            kind: send.kind,
            case,
            // Another State must not learn of a message that it has no part in.
            in_reply_to: answered.and(send.in_reply_to),
            precedence: send.precedence,
            tlp: send.tlp,
            pap: send.pap,
            exercise: shared.exercise,
            from_desk: Some(shared.from_desk),
            to_desk: Some(shared.to_desk),
            expires: send.expires,
            target: None,
            code: 0,
            body,
            enclosures: count,
        };
        let wait = if send.wait == WaitFor::Queued { Wait::Queued } else { Wait::Receipt };
        Ok(Command::Send { peer: to.peer, item: Box::new(item), officer: shared.officer, wait })
    }

    /// A repeated command gets the same answer; the same id with another text is no repetition, and whoever sent it must
    /// not be told that it was delivered.
    async fn same_text(&self, id: EntryId, body: &Body) -> Result<(), Failure> {
        let Some(known) = self.find(DOING, id).await? else { return Ok(()) };
        let (node, outgoing) = (self.node.clone(), known.outgoing);
        let opened = super::blocking(DOING, move || super::show::body(&node, &known)).await?;
        match opened {
            // A text that is erased or cannot be opened says nothing; then the id decides, as in the log.
            Ok(Ok(stored)) if !outgoing || stored != *body => {
                let why = format!("a message with the id {id} is here already, and it says something else");
                Err(Failure::new("other-bytes", DOING, why, "give the message an id of its own"))
            }
            _ => Ok(()),
        }
    }

    async fn give(&self, message: EntryId, send: &Send) -> Result<Vec<Enclosure>, Failure> {
        if send.enclosures.is_empty() {
            return Ok(Vec::new());
        }
        let (node, uploads, tokens) = (self.node.clone(), self.uploads.clone(), send.enclosures.clone());
        super::blocking(DOING, move || uploads.give(&node, message, &tokens)).await?
    }

    async fn outcome(&self, to: SendTo, answer: Answer, wait: WaitFor) -> Result<Far, Failure> {
        Ok(match answer {
            Answer::Denied(denied) => return Err(super::refused(DOING, &denied)),
            Answer::Ended { why: Drop::Cancelled, .. } => Far::at(MessageState::Cancelled, None),
            Answer::Ended { why: Drop::Expired, .. } => Far::at(MessageState::Expired, None),
            Answer::Delivered { receipt_time, .. } if wait == WaitFor::Receipt => {
                Far::at(MessageState::Delivered, Some(Millis(receipt_time.saturating_mul(1000))))
            }
            // A repeated command may find its message further than it asks.
            Answer::Done | Answer::Queued { .. } if wait == WaitFor::Queued => match self.find(DOING, to.id).await? {
                Some(message) => Far::of(&message, super::show::state(&message)),
                None => Far::at(MessageState::Queued, None),
            },
            Answer::Done | Answer::Queued { .. } | Answer::Delivered { .. } => self.wait_for(to.id, wait).await?,
        })
    }

    /// Waits until the index tells that the message has come as far as is wanted.
    async fn wait_for(&self, id: EntryId, wait: WaitFor) -> Result<Far, Failure> {
        let mut news = self.node.journal_news();
        loop {
            let durable = *news.borrow_and_update();
            self.node.index.caught_up(durable).await;
            let message = self.find(DOING, id).await?;
            if let Some(message) = message
                && let Some(state) = reached(&message, wait)
            {
                return Ok(Far::of(&message, state));
            }
            news.changed().await.map_err(|_| super::stopping(super::Stopped))?;
        }
    }

    pub(super) async fn cancel(&self, caller: Caller, id: EntryId) -> Result<Reply, Failure> {
        const CANCELLING: &str = "cancelling a message";
        let waiting = self.node.ask(move |core| {
            let peers = &core.fold().peers;
            peers.iter().find(|(_, peer)| peer.own.waiting.contains_key(&id)).map(|(name, _)| *name)
        });
        let peer = match waiting.await.map_err(super::stopping)? {
            Some(peer) => peer,
            None => self.message(CANCELLING, id).await?.peer,
        };
        let officer = self.officer(caller).await?;
        self.order(CANCELLING, Command::Drop { peer, id, why: Drop::Cancelled, officer }).await
    }
}

/// Whether a message has come as far as is waited for, or has ended otherwise.
fn reached(message: &Message, wait: WaitFor) -> Option<MessageState> {
    let state = super::show::state(message);
    let left = message.expired || message.cancelled;
    let ended = left || message.refused.is_some() || message.withdrawn || message.declined || message.answered;
    let acknowledged = message.acknowledged.is_some();
    match wait {
        WaitFor::Ack => (acknowledged || ended).then_some(state),
        WaitFor::Held => {
            // Without files the receipt is all that there is to hold.
            let nothing = message.enclosures == 0 && message.receipt.is_some();
            let state = if nothing && state == MessageState::Delivered { MessageState::Held } else { state };
            // Files that are not taken will not be held, however long one waits.
            let settled = message.held || message.files_refused.is_some();
            (settled || nothing || acknowledged || ended).then_some(state)
        }
        WaitFor::Receipt => (message.receipt.is_some() || acknowledged || ended).then_some(state),
        WaitFor::Queued => Some(state),
    }
}

/// How far a message has come.
struct Far {
    state: MessageState,
    receipt_time: Option<Millis>,
    files_refused: String,
}

impl Far {
    fn at(state: MessageState, receipt_time: Option<Millis>) -> Self {
        Self { state, receipt_time, files_refused: String::new() }
    }

    fn of(message: &Message, state: MessageState) -> Self {
        let receipt = message.receipt.and_then(|receipt| receipt.time_seconds);
        let files_refused = message.files_refused.map(super::show::refusal_word).unwrap_or_default();
        Self { files_refused, ..Self::at(state, receipt.map(|seconds| Millis(seconds.saturating_mul(1000)))) }
    }
}

fn first(send: &Send) -> String {
    send.to.first().map(|to| to.id.to_string()).unwrap_or_default()
}

fn case_of(send: &Send, to: SendTo, answered: Option<&Message>) -> Option<CaseId> {
    match (send.case, send.new_case) {
        (Some(case), _) => Some(case),
        (None, true) => Some(case_begun_by(to.id)),
        (None, false) => answered.filter(|message| message.peer == to.peer)?.case,
    }
}

/// The case that a message begins. It follows from the message's random id, so that a repeated command begins the same
/// one, and tells no more than that.
fn case_begun_by(id: EntryId) -> CaseId {
    let mut bytes = b"verbale case v1\0".to_vec();
    bytes.extend_from_slice(&id.0);
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
    CaseId(*hash.as_ref().first_chunk().expect("SHA-256 gives 32 bytes"))
}

/// What the command must keep to, as the commands check it too before they upload; and no id twice.
fn check(send: &Send) -> Result<(), Failure> {
    send.check()?;
    let ids: BTreeSet<_> = send.to.iter().map(|to| to.id).collect();
    if ids.len() != send.to.len() {
        return Err(Failure::new(code::BAD_REQUEST, DOING, "an id stands twice in the command", ""));
    }
    Ok(())
}

/// What answers a message belongs to its case; the other State would refuse it otherwise.
fn check_case(send: &Send, answered: &Message) -> Result<(), Failure> {
    let Some(case) = answered.case else { return Ok(()) };
    if !send.new_case && send.case.is_none_or(|given| given == case) {
        return Ok(());
    }
    let why = format!("the message that it answers belongs to the case {case}, and so does every answer to it");
    let todo = "leave the case out; or leave --in-reply-to out, and name the other message in the text";
    Err(Failure::new(code::BAD_REQUEST, DOING, why, todo))
}

fn body_of(send: &Send) -> Body {
    Body {
        texts: vec![Text { language: send.language.clone(), subject: send.subject.clone(), text: send.text.clone() }],
        marking: send.marking.clone(),
        own_reference: send.own_reference.clone(),
        reply_expected: send.reply_expected,
        justification: send.justification.clone(),
        ..Body::default()
    }
}
