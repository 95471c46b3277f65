//! Records to bytes.

use bytes::Bytes;
use prost::Message;

use super::proto::{self, record::Act as P};
use super::{Act, Place, Record, Stowed};
use crate::note::PublicKeys;

impl Record {
    /// Writes the record.
    pub fn encode(&self) -> Bytes {
        if let Act::Unknown(bytes) = &self.act {
            return bytes.clone();
        }
        let message = proto::Record { time_ms: self.time.0, act: act(&self.act) };
        message.encode_to_vec().into()
    }
}

fn copy(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn stowed(payload: &Stowed) -> Option<proto::Stowed> {
    Some(match payload {
        Stowed::Clear { salt, body } => proto::Stowed { salt: copy(salt), body: body.clone(), ..Default::default() },
        Stowed::Sealed { slot, bytes } => proto::Stowed { slot: *slot, sealed: bytes.clone(), ..Default::default() },
        Stowed::Absent(reason) => proto::Stowed { absent: reason.number().unsigned_abs(), ..Default::default() },
    })
}

fn keys(keys: &[PublicKeys]) -> Vec<proto::PublicKeys> {
    keys.iter()
        .map(|keys| proto::PublicKeys { ed25519: copy(&keys.ed25519), ml_dsa_44: copy(&keys.ml_dsa_44) })
        .collect()
}

fn place(place: &Place) -> (String, String, u64) {
    (place.peer.to_string(), place.volume.to_string(), place.index)
}

fn act(act: &Act) -> Option<P> {
    Some(match act {
        Act::Opened { .. }
        | Act::Started { .. }
        | Act::PeerAdded { .. }
        | Act::PeerChanged { .. }
        | Act::BodiesLost { .. }
        | Act::Fenced { .. }
        | Act::Recovering { .. }
        | Act::Frozen { .. }
        | Act::ReopenAgreed { .. }
        | Act::Noted { .. } => node_act(act)?,
        Act::Unknown(_) => return None,
        _ => log_act(act)?,
    })
}

fn node_act(act: &Act) -> Option<P> {
    Some(match act {
        Act::Opened { journal, node } => {
            P::Opened(proto::Opened { journal: copy(journal.as_bytes()), node: node.to_string() })
        }
        Act::Started { boot, doubt, version } => P::Started(proto::Started {
            boot: copy(boot.as_bytes()),
            doubt: doubt.map_or(0, |doubt| doubt as u32),
            version: version.clone(),
        }),
        Act::PeerAdded { peer, introduction, fingerprint, keys: peer_keys, ceremony, officer } => {
            P::PeerAdded(proto::PeerAdded {
                peer: peer.to_string(),
                introduction: introduction.clone(),
                fingerprint: fingerprint.clone(),
                keys: keys(peer_keys),
                ceremony: stowed(ceremony),
                officer: *officer,
            })
        }
        Act::PeerChanged { peer, change, officer } => {
            P::PeerChanged(proto::PeerChanged { peer: peer.to_string(), change: *change as u32, officer: *officer })
        }
        Act::BodiesLost { peer, volume, spans } => P::BodiesLost(proto::BodiesLost {
            peer: peer.to_string(),
            volume: volume.to_string(),
            from: spans.iter().map(|span| span.from).collect(),
            to: spans.iter().map(|span| span.to).collect(),
        }),
        Act::Fenced { peer, origin } => P::Fenced(proto::Fenced {
            peer: peer.to_string(),
            origin: origin.map(|origin| origin.to_string()).unwrap_or_default(),
        }),
        Act::Recovering { officer } => P::Recovering(proto::Recovering { officer: *officer }),
        Act::Frozen { peer, own_log, proof, reason } => P::Frozen(proto::Frozen {
            peer: peer.to_string(),
            own_log: *own_log,
            ours: proof.ours.clone(),
            theirs: proof.theirs.clone(),
            reason: *reason as u32,
            hashes: proof.hash_bytes(),
        }),
        Act::ReopenAgreed { peer, officer } => {
            P::ReopenAgreed(proto::ReopenAgreed { peer: peer.to_string(), officer: *officer })
        }
        Act::Noted { subject, peer, text, officer } => P::Noted(proto::Noted {
            subject: subject.clone(),
            peer: peer.map(|peer| peer.to_string()).unwrap_or_default(),
            text: text.clone(),
            officer: *officer,
        }),
        _ => return None,
    })
}

fn log_act(act: &Act) -> Option<P> {
    Some(match act {
        Act::Queued { peer, header, commitment, body_len, payload, enclosures, officer } => P::Queued(proto::Queued {
            peer: peer.to_string(),
            header: header.encode(),
            commitment: copy(&commitment.0),
            body_len: *body_len,
            payload: stowed(payload),
            enclosures: *enclosures,
            officer: *officer,
        }),
        Act::Dropped { peer, id, why, officer } => P::Dropped(proto::Dropped {
            peer: peer.to_string(),
            id: copy(id.as_bytes()),
            why: *why as u32,
            officer: *officer,
        }),
        Act::VolumeOpened { place: at, leaf, salt, body } => {
            let (peer, volume, _) = place(at);
            let (leaf, salt, body) = (leaf.bytes().clone(), copy(salt), body.clone());
            P::VolumeOpened(proto::VolumeOpened { peer, volume, leaf, salt, body })
        }
        Act::Appended { place: at, leaf, queued } => {
            let (peer, volume, index) = place(at);
            P::Appended(proto::Appended { peer, volume, index, leaf: leaf.bytes().clone(), queued: *queued })
        }
        Act::Signed { place: at, root, lines } => {
            let (peer, volume, size) = place(at);
            P::Signed(proto::Signed { peer, volume, size, root: copy(&root.0), lines: lines.clone() })
        }
        Act::Receipt { place: at, lines } => {
            let (peer, volume, size) = place(at);
            P::Receipt(proto::Receipt { peer, volume, size, lines: lines.clone() })
        }
        Act::Stored { place: at, leaf, payload, enclosures, file_bytes, repeat } => {
            let (peer, volume, index) = place(at);
            let (leaf, payload) = (leaf.bytes().clone(), stowed(payload));
            let (enclosures, file_bytes, repeat) = (*enclosures, *file_bytes, *repeat);
            P::Stored(proto::Stored { peer, volume, index, leaf, payload, enclosures, repeat, file_bytes })
        }
        Act::Cosigned { place: at, root, author_lines, lines } => {
            let (peer, volume, size) = place(at);
            let (author_lines, lines) = (author_lines.clone(), lines.clone());
            P::Cosigned(proto::Cosigned { peer, volume, size, root: copy(&root.0), author_lines, lines })
        }
        Act::Fetched { place: at, leaf, payload } => {
            let (peer, volume, index) = place(at);
            let (leaf, payload) = (leaf.bytes().clone(), stowed(payload));
            P::Fetched(proto::Fetched { peer, volume, index, leaf, payload })
        }
        Act::FetchedHead { place: at, root, lines } => {
            let (peer, volume, size) = place(at);
            P::FetchedHead(proto::FetchedHead { peer, volume, size, root: copy(&root.0), lines: lines.clone() })
        }
        Act::EnclosureHeld { peer, entry, ordinal, slot } => P::EnclosureHeld(proto::EnclosureHeld {
            peer: peer.to_string(),
            entry: copy(entry.as_bytes()),
            ordinal: *ordinal,
            slot: *slot,
        }),
        Act::EnclosureEnded { peer, entry, ordinal, code } => P::EnclosureEnded(proto::EnclosureEnded {
            peer: peer.to_string(),
            entry: copy(entry.as_bytes()),
            ordinal: *ordinal,
            code: *code,
        }),
        Act::Read { place: at, officer } => {
            let (peer, volume, index) = place(at);
            P::Read(proto::Read { peer, volume, index, officer: *officer })
        }
        _ => return None,
    })
}
