//! What this State accepts: judged per entry, after it is part of the log.

use super::Core;
use super::room::JudgedFiles;
use crate::exchange::fold::{DAY_MS, case_tag, tag};
use crate::exchange::mutant::{self, Mutant};
use crate::name::{Kind, Millis, NodeName, RefusalCode};
use crate::wire::{Body, EntryFrame, Header, Payload, Understood};

/// The verdict on one entry.
pub(super) struct Judged {
    pub header: Option<Header>,
    pub enclosures: u32,
    pub files: JudgedFiles,
    pub repeat: bool,
    pub refused: Option<RefusalCode>,
}

impl Judged {
    fn without_files(header: Option<Header>, repeat: bool, refused: Option<RefusalCode>) -> Self {
        Self { header, enclosures: 0, files: JudgedFiles::default(), repeat, refused }
    }
}

impl Core {
    /// Judges an entry that is about to be stored. `ending`: files of the same push that are not taken.
    pub(super) fn judge_entry(&mut self, now: Millis, name: NodeName, entry: &EntryFrame, ending: usize) -> Judged {
        let Ok(header) = entry.leaf.header() else {
            return Judged::without_files(None, false, Some(RefusalCode::Malformed));
        };
        let known = self.peer(name).and_then(|peer| peer.theirs.recent.get(&header.id));
        let known = known.filter(|_| !mutant::active(Mutant::SkipDuplicateCheck));
        let repeat = known.is_some();
        if known.is_some_and(|known| known != tag(&entry.leaf.commitment())) && !header.is_machine() {
            return Judged::without_files(Some(header), repeat, Some(RefusalCode::DuplicateId));
        }
        if header.is_machine() {
            // Machine kinds, known or not, are never answered automatically, a PING beyond its bound excepted.
            let refused = self.ping_bound(now, name, &header);
            return Judged::without_files(Some(header), repeat, refused);
        }
        let Payload::Present { body, .. } = &entry.payload else {
            return Judged::without_files(Some(header), repeat, None);
        };
        let body = match Body::decode(body.clone()) {
            Err(_) => Err(RefusalCode::Malformed),
            Ok(body) => self.judge_message(name, &header, entry).map(|()| body),
        };
        match body {
            Err(code) => Judged::without_files(Some(header), repeat, Some(code).filter(|_| !repeat)),
            Ok(body) => {
                let enclosures = u32::try_from(body.enclosures.len()).unwrap_or(u32::MAX);
                // The files of a repeat were judged when it came first.
                let files = if repeat { None } else { Some(self.judge_files(now, name, &header, &body, ending)) };
                Judged { header: Some(header), enclosures, files: files.unwrap_or_default(), repeat, refused: None }
            }
        }
    }

    /// Whether this State's node takes a message with this header, files aside.
    fn judge_message(&self, name: NodeName, header: &Header, entry: &EntryFrame) -> Result<(), RefusalCode> {
        let understood = Understood::of(&entry.leaf.header_bytes());
        if header.known_kind().is_none() {
            return Err(RefusalCode::Kind);
        }
        if self.me.state().is_exercise() && !header.exercise && !self.settings.mix_exercise {
            return Err(RefusalCode::Exercise);
        }
        if !understood.desks || header.to_desk.is_some_and(|desk| !self.me.serves(desk)) {
            return Err(RefusalCode::Desk);
        }
        // It is handled as RED all the same; but whoever set it must know that it is not understood.
        if !understood.labels && !mutant::active(Mutant::TakeAnyLabel) {
            return Err(RefusalCode::Label);
        }
        if self.is_of_another_case(name, header) {
            return Err(RefusalCode::Case);
        }
        Ok(())
    }

    /// Whether a message says that it belongs to another case than the entry that it answers.
    fn is_of_another_case(&self, name: NodeName, header: &Header) -> bool {
        let (Some(answered), Some(case)) = (header.in_reply_to, header.case) else { return false };
        let known = self.peer(name).and_then(|peer| peer.cases.get(&answered));
        known.is_some_and(|known| known != case_tag(&case))
    }

    fn ping_bound(&mut self, now: Millis, name: NodeName, header: &Header) -> Option<RefusalCode> {
        if header.known_kind() != Some(Kind::Ping) {
            return None;
        }
        let (today, bound) = (now.0 / DAY_MS, self.settings.pings_per_day);
        let session = self.session(name);
        if session.pings.0 != today {
            session.pings = (today, 0);
        }
        session.pings.1 = session.pings.1.saturating_add(1);
        (session.pings.1 > bound).then_some(RefusalCode::Policy)
    }
}
