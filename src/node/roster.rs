//! The peers as the journal tells of them: who was accepted with which introduction, and what was decided since. From it
//! the anchors and the addresses are made. It is a fold like the core's and travels in the same snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::exchange::{Act, Change, KEYS_SUBJECT, Record};
use crate::identity::{Anchors, Introduction, PeerStatus};
use crate::name::NodeName;
use crate::settings::Settings;

/// The subject of the records that give an officer a number; see [`officer_note`].
pub const OFFICER_SUBJECT: &str = "officer";

/// A peer that people here have accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The introduction as it was handed over.
    pub introduction: Bytes,
    /// The fingerprint that was read over another channel.
    pub fingerprint: String,
    /// What was decided since.
    pub status: PeerStatus,
    /// Earlier introductions with other keys or another root, oldest first: they vouch for nobody, and their keys stay
    /// known as this node's. There are as many as people have accepted.
    pub former: Vec<Bytes>,
}

impl Accepted {
    /// What stays known of this peer when another introduction takes the place of this one.
    fn replaced_by(mut self, fingerprint: &str) -> Vec<Bytes> {
        if self.fingerprint != fingerprint {
            self.former.push(self.introduction);
        }
        self.former
    }
}

/// Peers, officers and the own keys, folded from the journal. Grows with their number, not with the traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roster {
    peers: BTreeMap<NodeName, Accepted>,
    officers: BTreeMap<u32, u32>,
    /// The newest note of the keys that this node signs with; empty: none yet.
    keys: String,
}

/// The text of the record that gives `uid` the number `officer`. No name of a person stands in the journal.
pub fn officer_note(officer: u32, uid: u32) -> String {
    format!("{officer} {uid}")
}

fn read_officer_note(text: &str) -> Option<(u32, u32)> {
    let (officer, uid) = text.split_once(' ')?;
    Some((officer.parse().ok()?, uid.parse().ok()?))
}

impl Roster {
    /// Takes in one record; true where the peers changed.
    pub fn apply(&mut self, record: &Record) -> bool {
        match &record.act {
            Act::PeerAdded { peer, introduction, fingerprint, .. } => {
                let former = self.peers.remove(peer).map(|known| known.replaced_by(fingerprint)).unwrap_or_default();
                let accepted = Accepted {
                    introduction: introduction.clone(),
                    fingerprint: fingerprint.clone(),
                    status: PeerStatus::Active,
                    former,
                };
                self.peers.insert(*peer, accepted);
                true
            }
            Act::PeerChanged { peer, change, .. } => {
                let Some(accepted) = self.peers.get_mut(peer) else { return false };
                accepted.status = match change {
                    Change::Suspended => PeerStatus::Suspended,
                    Change::Resumed => PeerStatus::Active,
                    Change::Removed => PeerStatus::Removed,
                };
                true
            }
            Act::Noted { subject, text, .. } if subject == OFFICER_SUBJECT => {
                if let Some((officer, uid)) = read_officer_note(text) {
                    self.officers.insert(uid, officer);
                }
                false
            }
            Act::Noted { subject, text, .. } if subject == KEYS_SUBJECT => {
                self.keys.clone_from(text);
                false
            }
            _ => false,
        }
    }

    /// Whether this is the newest note of the keys that this node signs with.
    pub fn has_noted_keys(&self, text: &str) -> bool {
        self.keys == text
    }

    /// Every peer by name, whatever its status.
    pub fn peers(&self) -> impl Iterator<Item = (NodeName, &Accepted)> {
        self.peers.iter().map(|(peer, accepted)| (*peer, accepted))
    }

    /// One peer.
    pub fn peer(&self, peer: NodeName) -> Option<&Accepted> {
        self.peers.get(&peer)
    }

    /// The number of the officer who works as this user of the machine, if it has one.
    pub fn officer(&self, uid: u32) -> Option<u32> {
        self.officers.get(&uid).copied()
    }

    /// A number that no officer has yet; 0 is the node itself.
    pub fn free_officer(&self) -> u32 {
        self.officers.values().max().copied().unwrap_or(0).saturating_add(1)
    }

    /// Who may be spoken to and by which root. A peer that does not fit beside the others is left out and named.
    pub fn anchors(&self, own: NodeName, introduction: Arc<Introduction>) -> (Anchors, Vec<String>) {
        let mut anchors = Anchors::with_own(own, introduction);
        let mut left_out = Vec::new();
        for (peer, accepted) in &self.peers {
            // They were good when they were accepted; one that this version cannot read any more names no key.
            for former in accepted.former.iter().filter_map(|text| read_introduction(text).ok()) {
                anchors.remember(*peer, Arc::new(former));
            }
        }
        for (peer, accepted) in &self.peers {
            let added = read_introduction(&accepted.introduction)
                .and_then(|read| anchors.add_node(*peer, Arc::new(read), accepted.status).map_err(|e| e.to_string()));
            if let Err(why) = added {
                left_out.push(format!("{peer}: {why}"));
            }
        }
        (anchors, left_out)
    }
}

/// Reads an introduction as it was handed over.
///
/// # Errors
/// Why it is none, in words.
pub fn read_introduction(bytes: &[u8]) -> Result<Introduction, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "the introduction is not text".to_owned())?;
    Introduction::parse(text).map_err(|error| error.to_string())
}

/// Where a peer is dialled, in the order of trying: as configured here, else as introduced.
pub fn addresses(peer: NodeName, settings: &Settings, anchors: &Anchors) -> Vec<String> {
    match settings.peers.get(&peer) {
        Some(configured) if !configured.addresses.is_empty() => configured.addresses.clone(),
        _ => anchors
            .get(peer)
            .and_then(|anchor| anchor.introduction().node(peer))
            .map(|node| node.addresses.iter().map(ToString::to_string).collect())
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Stowed;
    use crate::name::Millis;

    fn record(act: Act) -> Record {
        Record { time: Millis(1), act }
    }

    fn added(peer: &str) -> Record {
        record(Act::PeerAdded {
            peer: peer.parse().unwrap(),
            introduction: Bytes::from_static(b"text"),
            fingerprint: "12345".into(),
            keys: Vec::new(),
            ceremony: Stowed::Absent(crate::wire::Absent::Unavailable),
            officer: 1,
        })
    }

    #[test]
    fn a_peer_is_what_was_last_decided_about_it_and_comes_back_when_added_again() {
        let peer = "XB".parse().unwrap();
        let changed = |change| record(Act::PeerChanged { peer, change, officer: 1 });
        let mut roster = Roster::default();
        assert!(!roster.apply(&changed(Change::Suspended)), "a stranger cannot be suspended");
        assert!(roster.apply(&added("XB")));
        assert!(roster.apply(&changed(Change::Removed)));
        assert_eq!(roster.peer(peer).unwrap().status, PeerStatus::Removed);
        assert!(roster.apply(&added("XB")));
        assert_eq!(roster.peer(peer).unwrap().status, PeerStatus::Active);
    }

    #[test]
    fn an_introduction_with_other_keys_leaves_the_former_one_known_and_the_same_one_again_does_not() {
        let peer = "XB".parse().unwrap();
        let with = |text: &'static [u8], print: &str| match added("XB").act {
            Act::PeerAdded { peer, keys, ceremony, officer, .. } => {
                let introduction = Bytes::from_static(text);
                record(Act::PeerAdded { peer, introduction, fingerprint: print.into(), keys, ceremony, officer })
            }
            _ => unreachable!("it is what `added` makes"),
        };
        let mut roster = Roster::default();
        for (text, print) in [(&b"one"[..], "1"), (b"one, moved", "1"), (b"two", "2"), (b"three", "3")] {
            roster.apply(&with(text, print));
        }
        assert_eq!(roster.peer(peer).unwrap().introduction, "three");
        assert_eq!(roster.peer(peer).unwrap().former, ["one, moved", "two"]);
    }

    #[test]
    fn officers_have_numbers_that_are_never_given_twice() {
        let mut roster = Roster::default();
        assert_eq!((roster.officer(1000), roster.free_officer()), (None, 1));
        for (officer, uid) in [(1, 1000), (2, 1001)] {
            let (subject, text) = (OFFICER_SUBJECT.to_owned(), officer_note(officer, uid));
            roster.apply(&record(Act::Noted { subject, peer: None, text, officer: 0 }));
        }
        let nonsense = Act::Noted { subject: OFFICER_SUBJECT.into(), peer: None, text: "x y".into(), officer: 0 };
        roster.apply(&record(nonsense));
        assert_eq!((roster.officer(1001), roster.free_officer()), (Some(2), 3));
    }

    #[test]
    fn a_peer_whose_introduction_cannot_be_read_is_left_out_and_named() {
        assert!(read_introduction(b"no introduction").is_err());
        assert!(read_introduction(&[0xff]).is_err());
    }
}
