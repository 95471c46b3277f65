//! Bodies against their commitments, files against the lists in bodies, entries against their queued items.

use std::collections::HashMap;

use bytes::Bytes;

use crate::exchange::{Act, Record, Stowed};
use crate::name::{EntryId, Hash, Kind, NodeName};
use crate::wire::{Absent, Body, Enclosure, Header, KeyBody, Leaf, MAX_ENCLOSURES, SealBody, commitment};

use super::fault::{At, FaultKind};
use super::opener::{FileFound, FileName, Unsealed};
use super::verify::Auditor;
use super::volume::{ItemState, keys_of};

/// Files of messages that are still to come, with what the message lists of them.
pub(super) type Expected = HashMap<(NodeName, EntryId), Vec<Enclosure>>;

/// How many messages with files to come are remembered.
const MAX_EXPECTED: usize = 65_536;

impl Auditor<'_> {
    /// Checks a payload against the commitment. Gives the body where it was opened.
    pub(super) fn payload(
        &mut self,
        at: At,
        payload: &Stowed,
        hash: Hash,
        length: usize,
        whose: &str,
    ) -> Option<Bytes> {
        let opened = match payload {
            Stowed::Clear { salt, body } => (*salt, body.clone()),
            Stowed::Absent(Absent::Erased) => {
                self.report.bodies_erased += 1;
                return None;
            }
            Stowed::Absent(_) => {
                self.report.bodies_absent += 1;
                return None;
            }
            Stowed::Sealed { slot, bytes } => {
                let Some(opener) = self.opener else {
                    self.report.bodies_not_opened += 1;
                    return None;
                };
                match opener.open(*slot, bytes) {
                    Unsealed::Body { salt, body } => (salt, Bytes::from(body)),
                    Unsealed::Erased => {
                        self.report.bodies_erased += 1;
                        return None;
                    }
                    Unsealed::Damaged(why) => {
                        self.report.fault(FaultKind::Body, at, format!("the body cannot be opened: {why}"), whose);
                        return None;
                    }
                }
            }
        };
        let (salt, body) = opened;
        if body.len() != length || commitment(&salt, &body) != hash {
            self.report.fault(FaultKind::Commitment, at, "the body does not open its commitment", whose);
            return None;
        }
        self.report.bodies += 1;
        Some(body)
    }

    pub(super) fn queued(&mut self, at: At, act: &Act) {
        let Act::Queued { peer, header, commitment, body_len, payload, enclosures, .. } = act else { return };
        let whose = format!("message {} to {peer}", header.id);
        let body = self.payload(at, payload, *commitment, *body_len as usize, &whose);
        let keys = match (header.known_kind(), &body) {
            (Some(Kind::Key), Some(body)) => {
                KeyBody::decode(body.clone()).map(|body| keys_of(&body.keys)).unwrap_or_default()
            }
            (Some(Kind::Seal), Some(body)) => {
                self.seal(at, body, &whose);
                Vec::new()
            }
            _ => Vec::new(),
        };
        if let Some(body) = body.filter(|_| *enclosures > 0) {
            for (ordinal, file) in (0..).zip(listed(body)) {
                let name = FileName { peer: *peer, outgoing: true, entry: header.id, ordinal, slot: None };
                self.file(at, &name, &file, &whose);
            }
        }
        let pair = self.pairs.entry(*peer).or_default();
        let item = ItemState { header: header.clone(), commitment: *commitment, body_len: *body_len, keys };
        pair.by_id.insert(header.id, at.record);
        pair.items.insert(at.record, item);
    }

    /// A seal names the journal up to some size; where that is the present one, its root can be compared.
    fn seal(&mut self, at: At, body: &Bytes, whose: &str) {
        let Ok(seal) = SealBody::decode(body.clone()) else {
            self.report.fault(FaultKind::Seal, at, "the body of the seal cannot be read", whose);
            return;
        };
        let comparable = seal.size == self.journal.size() && !self.damaged && Some(seal.journal) == self.report.journal;
        if !comparable {
            self.report.remark(format!("record {}: a seal over {} records was not opened", at.record, seal.size));
        } else if seal.root == self.journal.root() {
            self.report.seals += 1;
        } else {
            self.report.fault(FaultKind::Seal, at, "the seal does not open to this journal", whose);
        }
    }

    pub(super) fn dropped(&mut self, peer: NodeName, id: &EntryId) {
        let pair = self.pairs.entry(peer).or_default();
        if let Some(record) = pair.by_id.remove(id) {
            pair.items.remove(&record);
        }
    }

    /// Holds an appended entry against its queued item. Gives the keys that a KEY item lists.
    pub(super) fn item(&mut self, at: At, peer: NodeName, leaf: &Leaf, header: Option<&Header>, queued: u64) {
        let pair = self.pairs.entry(peer).or_default();
        let Some(item) = pair.items.get(&queued) else {
            // An item that had its receipt and is appended again in a later volume is forgotten here by then.
            if queued >= at.record {
                let what = format!("the entry names record {queued} as its item, which comes later");
                self.report.fault(FaultKind::Item, at, what, format!("an entry to {peer}"));
            } else if !self.damaged {
                self.appended_again += 1;
            }
            return;
        };
        let Some(header) = header else {
            self.report.fault(FaultKind::Item, at, "the header of an own entry cannot be read", format!("to {peer}"));
            return;
        };
        let (time, seen_volume, seen) = (item.header.time, item.header.seen_volume, item.header.seen);
        let same = Header { time, seen_volume, seen, ..header.clone() } == item.header
            && leaf.commitment() == item.commitment
            && leaf.body_len() == item.body_len as usize;
        if !same {
            let what = format!("the entry differs from its item in record {queued}");
            self.report.fault(FaultKind::Item, at, what, format!("message {} to {peer}", item.header.id));
        }
    }

    /// Remembers the files that a received message lists.
    pub(super) fn expect_files(&mut self, peer: NodeName, id: EntryId, body: Bytes) {
        if self.expected.len() < MAX_EXPECTED {
            self.expected.insert((peer, id), listed(body));
        }
    }

    pub(super) fn enclosure_held(&mut self, at: At, peer: NodeName, entry: EntryId, ordinal: u32, slot: u64) {
        let files = self.expected.get(&(peer, entry));
        let Some(file) = files.and_then(|files| files.get(ordinal as usize)).cloned() else { return };
        let name = FileName { peer, outgoing: false, entry, ordinal, slot: Some(slot) };
        self.file(at, &name, &file, &format!("message {entry} from {peer}"));
    }

    fn file(&mut self, at: At, name: &FileName, listed: &Enclosure, whose: &str) {
        let Some(opener) = self.opener else { return };
        let whose = format!("file {} of {whose}", name.ordinal);
        match opener.file(name) {
            FileFound::Present { size, sha256 } if size == listed.size && sha256 == listed.sha256.0 => {
                self.report.enclosures += 1;
            }
            FileFound::Present { .. } => {
                let what = "the file is not the one that its message lists";
                self.report.fault(FaultKind::Enclosure, at, what, whose);
            }
            FileFound::Erased => self.report.bodies_erased += 1,
            FileFound::Missing(why) => {
                self.report.fault(FaultKind::Enclosure, at, format!("the file cannot be read: {why}"), whose);
            }
        }
    }
}

fn listed(body: Bytes) -> Vec<Enclosure> {
    let mut files = Body::decode(body).map(|body| body.enclosures).unwrap_or_default();
    files.truncate(MAX_ENCLOSURES);
    files
}

/// The keys that a KEY entry of a peer lists.
pub(super) fn listed_keys(body: &Bytes) -> Vec<crate::note::PublicKeys> {
    KeyBody::decode(body.clone()).map(|body| keys_of(&body.keys)).unwrap_or_default()
}

/// Whether an entry's body may be away without anybody's word for it.
pub(super) fn is_lawfully_absent(reason: Absent, kind: Option<Kind>) -> bool {
    reason == Absent::Erased || (reason == Absent::Sealed && kind == Some(Kind::Seal))
}

/// The record without its payload, for those who want to know what an act was about.
pub(super) fn is_opening(record: &Record) -> bool {
    matches!(record.act, Act::Opened { .. })
}
