//! People at their desks: they send, cancel, repeat a command, press "retry", open messages, and look after files.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use verbale::exchange::{Answer, Command, Drop, Input, NewItem, Token, Wait};
use verbale::name::{Desk, EntryId, Hash, Kind, NodeName, Pap, Precedence, RefusalCode, Tlp};
use verbale::wire::{Body, Enclosure, Text};

use super::world::{Event, Verdict, World};

/// A command whose answer is awaited, or that may be repeated.
#[derive(Clone)]
pub struct Sent {
    pub who: usize,
    pub peer: NodeName,
    pub item: NewItem,
}

/// What people remember.
#[derive(Default)]
pub struct People {
    pub sent: Vec<Sent>,
    waiting: BTreeMap<Token, (usize, EntryId)>,
    pub answers: u64,
    pub denied: u64,
    /// When the world began to heal.
    pub healed: Option<u64>,
}

/// A message of that length, with files.
fn text(length: usize, files: u32) -> Bytes {
    let text = Text { language: "en".into(), subject: "exercise".into(), text: "x".repeat(length) };
    let file = |number: u32| Enclosure {
        name: format!("file {number}"),
        media_type: "text/plain".into(),
        size: 3,
        sha256: Hash::default(),
    };
    let body = Body { texts: vec![text], enclosures: (0..files).map(file).collect(), ..Body::default() };
    body.encode().expect("within limits")
}

impl World {
    /// One person does one thing, and the next one follows later.
    pub fn people_act(&mut self) -> Verdict {
        if !self.troubled {
            return Ok(());
        }
        if self.people.sent.len() as u64 >= self.plan.messages {
            return self.heal();
        }
        let pause = if self.rng.chance(400) { self.rng.between(1, 30) } else { self.rng.between(30, 3_000) };
        self.after(pause, Event::People);
        let desks: Vec<usize> = (0..self.instances.len()).filter(|who| self.instances[*who].core.is_some()).collect();
        let Some(who) = self.rng.pick(&desks).copied() else { return Ok(()) };
        match self.rng.below(20) {
            0 => self.cancel(who),
            1 => self.repeat(),
            2 => {
                let peer = *self.rng.pick(&self.names).expect("names");
                self.feed(who, vec![Input::Command(Command::Retry { peer }, None)])
            }
            3 => self.files(who),
            _ => self.write_message(who),
        }
    }

    fn write_message(&mut self, who: usize) -> Verdict {
        let me = self.instances[who].name;
        let peers: Vec<NodeName> = self.names.iter().filter(|name| **name != me).copied().collect();
        let peer = *self.rng.pick(&peers).expect("at least two nodes");
        // A burst now and then, so that one head covers several.
        let burst = if self.rng.chance(200) { self.rng.between(2, 6) } else { 1 };
        let mut inputs = Vec::new();
        for _ in 0..burst {
            let item = self.new_item(who);
            self.people.sent.push(Sent { who, peer, item: item.clone() });
            inputs.push(self.send_command(who, peer, item));
        }
        self.feed(who, inputs)
    }

    fn new_item(&mut self, who: usize) -> NewItem {
        let mut id = [0; 16];
        self.rng.fill(&mut id);
        let length = if self.rng.chance(50) { 5_000 } else { self.rng.below(400) as usize };
        let expires = self.plan.expiry && self.rng.chance(150);
        let expires = expires.then(|| self.now(who).after(Duration::from_millis(self.rng.between(1, 60_000))));
        let kind = if self.rng.chance(100) { Kind::Ping } else { Kind::Notification };
        let files = if kind == Kind::Notification && self.rng.chance(100) { self.rng.between(1, 3) as u32 } else { 0 };
        NewItem {
            id: EntryId(id),
            kind,
            case: None,
            in_reply_to: None,
            precedence: *self.rng.pick(Precedence::ALL).expect("four"),
            tlp: Tlp::Green,
            pap: Pap::None,
            exercise: true,
            from_desk: (!kind.is_machine()).then_some(Desk::Technical),
            to_desk: (!kind.is_machine()).then_some(Desk::Technical),
            expires,
            target: None,
            code: 0,
            body: text(length, files),
            enclosures: files,
        }
    }

    pub fn send_command(&mut self, who: usize, peer: NodeName, item: NewItem) -> Input {
        let token = Token(self.number());
        self.people.waiting.insert(token, (who, item.id));
        let wait = if self.rng.chance(300) { Wait::Receipt } else { Wait::Queued };
        Input::Command(Command::Send { peer, item: Box::new(item), officer: 2, wait }, Some(token))
    }

    fn cancel(&mut self, who: usize) -> Verdict {
        let mine: Vec<Sent> = self.people.sent.iter().filter(|sent| sent.who == who).rev().take(8).cloned().collect();
        let Some(sent) = self.rng.pick(&mine) else { return Ok(()) };
        let command = Command::Drop { peer: sent.peer, id: sent.item.id, why: Drop::Cancelled, officer: 2 };
        self.feed(who, vec![Input::Command(command, None)])
    }

    /// The answer to a command was lost: the same command once more, or another under its id.
    fn repeat(&mut self) -> Verdict {
        let Some(sent) = self.rng.pick(&self.people.sent).cloned() else { return Ok(()) };
        if self.instances[sent.who].core.is_none() {
            return Ok(());
        }
        let mut item = sent.item;
        if self.rng.chance(200) {
            item.body = text(item.body.len() + 1, item.enclosures);
        }
        let input = self.send_command(sent.who, sent.peer, item);
        self.feed(sent.who, vec![input])
    }

    /// Files that follow messages come, or never will.
    pub fn files(&mut self, who: usize) -> Verdict {
        let Some(core) = &self.instances[who].core else { return Ok(()) };
        let wanted: Vec<_> = core.fold().wanted().collect();
        let mut inputs = Vec::new();
        for (peer, entry, ordinal) in wanted {
            if self.rng.chance(800) {
                self.instances[who].env.next_slot += 1;
                let slot = self.instances[who].env.next_slot;
                inputs.push(Input::EnclosureHeld { peer, entry, ordinal, slot });
            } else if self.rng.chance(200) {
                inputs.push(Input::EnclosureEnded { peer, entry, ordinal, code: RefusalCode::FileGone });
            }
        }
        self.feed(who, inputs)
    }

    pub fn answered(&mut self, who: usize, token: Token, answer: Answer) -> Verdict {
        let Some((asked, id)) = self.people.waiting.remove(&token) else {
            return Err(format!("#{who} answers {token:?} twice, or unasked: {answer:?}"));
        };
        self.people.answers += 1;
        let about = match &answer {
            Answer::Queued { id } | Answer::Delivered { id, .. } | Answer::Ended { id, .. } => Some(*id),
            Answer::Done => None,
            Answer::Denied(_) => {
                self.people.denied += 1;
                None
            }
        };
        if asked != who || about.is_some_and(|about| about != id) {
            return Err(format!("#{who} answers {answer:?} to a command about {id} at #{asked}"));
        }
        Ok(())
    }
}
