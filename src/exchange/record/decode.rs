//! Bytes to records. Total: what cannot be understood is [`Act::Unknown`].

use bytes::Bytes;
use prost::Message;

use super::proto::{self, record::Act as P};
use super::{Act, Change, Doubt, Drop, Place, Record, Stowed};
use crate::name::{BootNonce, EntryId, Hash, JournalId, Millis, Volume};
use crate::note::PublicKeys;
use crate::wire::{
    Absent, Contradiction, Header, Leaf, MAX_ENCLOSURES, MAX_LINES, MAX_PUSH_ENTRIES, Span, VolumeReason,
};

impl Record {
    /// Reads a record. One that cannot be understood is kept as [`Act::Unknown`].
    pub fn decode(bytes: &Bytes) -> Self {
        let Ok(message) = proto::Record::decode(bytes.clone()) else {
            return Self { time: Millis(0), act: Act::Unknown(bytes.clone()) };
        };
        let time = Millis(message.time_ms);
        let act = message.act.and_then(|act| node_act(act).unwrap_or_else(|act| log_act(*act)));
        Self { time, act: act.unwrap_or_else(|| Act::Unknown(bytes.clone())) }
    }
}

fn place(peer: &str, volume: &str, index: u64) -> Option<Place> {
    Some(Place { peer: peer.parse().ok()?, volume: volume.parse().ok()?, index })
}

fn lines(lines: Vec<String>) -> Option<Vec<String>> {
    (lines.len() <= MAX_LINES).then_some(lines)
}

fn stowed(payload: Option<proto::Stowed>) -> Option<Stowed> {
    let payload = payload?;
    if let Some(reason) = Absent::from_number(i32::try_from(payload.absent).ok()?) {
        return Some(Stowed::Absent(reason));
    }
    if payload.salt.is_empty() {
        return Some(Stowed::Sealed { slot: payload.slot, bytes: payload.sealed });
    }
    Some(Stowed::Clear { salt: payload.salt[..].try_into().ok()?, body: payload.body })
}

fn public_keys(keys: Vec<proto::PublicKeys>) -> Option<Vec<PublicKeys>> {
    let one = |keys: proto::PublicKeys| {
        Some(PublicKeys { ed25519: keys.ed25519[..].try_into().ok()?, ml_dsa_44: keys.ml_dsa_44.to_vec() })
    };
    keys.into_iter().map(one).collect()
}

/// An act of the node as a whole; an act of one log is handed back for [`log_act`].
fn node_act(act: P) -> Result<Option<Act>, Box<P>> {
    match act {
        P::Opened(m) => Ok(opened(&m)),
        P::Started(m) => Ok(started(m)),
        P::PeerAdded(m) => Ok(peer_added(m)),
        P::PeerChanged(m) => Ok(peer_changed(&m)),
        P::BodiesLost(m) => Ok(bodies_lost(&m)),
        P::Fenced(m) => Ok(fenced(&m)),
        P::Recovering(m) => Ok(Some(Act::Recovering { officer: m.officer })),
        P::Frozen(m) => Ok(frozen(m)),
        P::ReopenAgreed(m) => Ok(m.peer.parse().ok().map(|peer| Act::ReopenAgreed { peer, officer: m.officer })),
        P::Noted(m) => Ok(noted(m)),
        other => Err(Box::new(other)),
    }
}

fn opened(m: &proto::Opened) -> Option<Act> {
    Some(Act::Opened { journal: JournalId::from_slice(&m.journal)?, node: m.node.parse().ok()? })
}

fn started(m: proto::Started) -> Option<Act> {
    let doubt = match m.doubt {
        0 => None,
        1 => Some(Doubt::Sentinel),
        2 => Some(Doubt::Restored),
        4 => Some(Doubt::Behind),
        _ => Some(Doubt::Person),
    };
    Some(Act::Started { boot: BootNonce::from_slice(&m.boot)?, doubt, version: m.version })
}

fn peer_added(m: proto::PeerAdded) -> Option<Act> {
    Some(Act::PeerAdded {
        peer: m.peer.parse().ok()?,
        introduction: m.introduction,
        fingerprint: m.fingerprint,
        keys: public_keys(m.keys)?,
        ceremony: stowed(m.ceremony)?,
        officer: m.officer,
    })
}

fn peer_changed(m: &proto::PeerChanged) -> Option<Act> {
    let change = match m.change {
        1 => Change::Suspended,
        2 => Change::Resumed,
        3 => Change::Removed,
        _ => return None,
    };
    Some(Act::PeerChanged { peer: m.peer.parse().ok()?, change, officer: m.officer })
}

fn bodies_lost(m: &proto::BodiesLost) -> Option<Act> {
    let volume: Volume = m.volume.parse().ok()?;
    let spans = m.from.iter().zip(&m.to).map(|(from, to)| Span { volume: volume.number, from: *from, to: *to });
    let spans: Vec<Span> = spans.take(MAX_PUSH_ENTRIES).collect();
    Some(Act::BodiesLost { peer: m.peer.parse().ok()?, volume, spans })
}

fn fenced(m: &proto::Fenced) -> Option<Act> {
    let origin = if m.origin.is_empty() { None } else { Some(m.origin.parse().ok()?) };
    Some(Act::Fenced { peer: m.peer.parse().ok()?, origin })
}

fn frozen(m: proto::Frozen) -> Option<Act> {
    Some(Act::Frozen {
        peer: m.peer.parse().ok()?,
        own_log: m.own_log,
        // A record from before two sizes could be proved has no hashes.
        proof: Contradiction { ours: m.ours, theirs: m.theirs, hashes: Contradiction::hashes_from(&m.hashes)? },
        reason: VolumeReason::from_number(i32::try_from(m.reason).ok()?),
    })
}

fn noted(m: proto::Noted) -> Option<Act> {
    let peer = if m.peer.is_empty() { None } else { Some(m.peer.parse().ok()?) };
    Some(Act::Noted { subject: m.subject, peer, text: m.text, officer: m.officer })
}

fn log_act(act: P) -> Option<Act> {
    Some(match act {
        P::Queued(m) => queued(m)?,
        P::Dropped(m) => dropped(&m)?,
        P::VolumeOpened(m) => Act::VolumeOpened {
            place: place(&m.peer, &m.volume, 0)?,
            leaf: Leaf::parse(m.leaf).ok()?,
            salt: m.salt[..].try_into().ok()?,
            body: m.body,
        },
        P::Appended(m) => Act::Appended {
            place: place(&m.peer, &m.volume, m.index)?,
            leaf: Leaf::parse(m.leaf).ok()?,
            queued: m.queued,
        },
        P::Signed(m) => Act::Signed {
            place: place(&m.peer, &m.volume, m.size)?,
            root: Hash::from_slice(&m.root)?,
            lines: lines(m.lines)?,
        },
        P::Receipt(m) => Act::Receipt { place: place(&m.peer, &m.volume, m.size)?, lines: lines(m.lines)? },
        P::Stored(m) => Act::Stored {
            place: place(&m.peer, &m.volume, m.index)?,
            leaf: Leaf::parse(m.leaf).ok()?,
            payload: stowed(m.payload)?,
            enclosures: m.enclosures.min(MAX_ENCLOSURES as u32),
            file_bytes: m.file_bytes,
            repeat: m.repeat,
        },
        P::Cosigned(m) => Act::Cosigned {
            place: place(&m.peer, &m.volume, m.size)?,
            root: Hash::from_slice(&m.root)?,
            author_lines: lines(m.author_lines)?,
            lines: lines(m.lines)?,
        },
        P::Fetched(m) => Act::Fetched {
            place: place(&m.peer, &m.volume, m.index)?,
            leaf: Leaf::parse(m.leaf).ok()?,
            payload: stowed(m.payload)?,
        },
        P::FetchedHead(m) => Act::FetchedHead {
            place: place(&m.peer, &m.volume, m.size)?,
            root: Hash::from_slice(&m.root)?,
            lines: lines(m.lines)?,
        },
        P::EnclosureHeld(m) => Act::EnclosureHeld {
            peer: m.peer.parse().ok()?,
            entry: EntryId::from_slice(&m.entry)?,
            ordinal: m.ordinal,
            slot: m.slot,
        },
        P::EnclosureEnded(m) => Act::EnclosureEnded {
            peer: m.peer.parse().ok()?,
            entry: EntryId::from_slice(&m.entry)?,
            ordinal: m.ordinal,
            code: m.code,
        },
        P::Read(m) => Act::Read { place: place(&m.peer, &m.volume, m.index)?, officer: m.officer },
        _ => return None,
    })
}

fn queued(m: proto::Queued) -> Option<Act> {
    Some(Act::Queued {
        peer: m.peer.parse().ok()?,
        header: Header::decode(m.header).ok()?,
        commitment: Hash::from_slice(&m.commitment)?,
        body_len: m.body_len,
        payload: stowed(m.payload)?,
        enclosures: m.enclosures,
        officer: m.officer,
    })
}

fn dropped(m: &proto::Dropped) -> Option<Act> {
    let why = match m.why {
        1 => Drop::Cancelled,
        2 => Drop::Expired,
        _ => return None,
    };
    Some(Act::Dropped { peer: m.peer.parse().ok()?, id: EntryId::from_slice(&m.id)?, why, officer: m.officer })
}
