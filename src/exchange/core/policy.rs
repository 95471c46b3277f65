//! What this State accepts: judged per entry, after it is part of the log.

use super::Core;
use crate::exchange::fold::tag;
use crate::exchange::mutant::{self, Mutant};
use crate::name::{Kind, Millis, NodeName, RefusalCode};
use crate::wire::{Body, EntryFrame, Header, Payload};

/// The verdict on one entry.
pub(super) struct Judged {
    pub header: Option<Header>,
    pub enclosures: u32,
    pub repeat: bool,
    pub refused: Option<RefusalCode>,
}

/// Milliseconds of a UTC day.
const DAY_MS: u64 = 86_400_000;

impl Core {
    pub(super) fn judge_entry(&mut self, now: Millis, name: NodeName, entry: &EntryFrame) -> Judged {
        let Ok(header) = entry.leaf.header() else {
            let refused = Some(RefusalCode::Malformed);
            return Judged { header: None, enclosures: 0, repeat: false, refused };
        };
        let known = self.peer(name).and_then(|peer| peer.theirs.recent.get(&header.id));
        let known = known.filter(|_| !mutant::active(Mutant::SkipDuplicateCheck));
        let repeat = known.is_some();
        if known.is_some_and(|known| known != tag(&entry.leaf.commitment())) {
            let refused = Some(RefusalCode::DuplicateId);
            return Judged { header: Some(header), enclosures: 0, repeat, refused };
        }
        if header.is_machine() {
            // Machine kinds, known or not, are never answered automatically, a PING beyond its bound excepted.
            let refused = self.ping_bound(now, name, &header);
            return Judged { header: Some(header), enclosures: 0, repeat, refused };
        }
        let (enclosures, refused) = match &entry.payload {
            Payload::Absent(_) => (0, None),
            Payload::Present { body, .. } => match Body::decode(body.clone()) {
                Err(_) => (0, Some(RefusalCode::Malformed)),
                Ok(body) => self.judge_message(&header, &body),
            },
        };
        Judged { header: Some(header), enclosures, repeat, refused: if repeat { None } else { refused } }
    }

    fn judge_message(&self, header: &Header, body: &Body) -> (u32, Option<RefusalCode>) {
        let enclosures = u32::try_from(body.enclosures.len()).unwrap_or(u32::MAX);
        let total: u64 = body.enclosures.iter().fold(0, |sum, file| sum.saturating_add(file.size));
        if header.known_kind().is_none() {
            return (0, Some(RefusalCode::Kind));
        }
        if self.me.state().is_exercise() && !header.exercise && !self.settings.mix_exercise {
            return (0, Some(RefusalCode::Exercise));
        }
        if header.to_desk.is_some_and(|desk| !self.me.serves(desk)) {
            return (0, Some(RefusalCode::Desk));
        }
        // A code about files does not touch the text: the shell answers for files that are too large.
        let _ = total;
        (enclosures, None)
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
