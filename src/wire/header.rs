//! The header inside a leaf.

use bytes::Bytes;
use prost::Message;

use super::{MAX_HEADER, WireError, proto};
use crate::name::{CaseId, Desk, EntryId, Kind, Millis, Pap, Precedence, Tlp};

/// An entry, by its place in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Target {
    /// The volume's number.
    pub volume: u32,
    /// The index in that volume.
    pub index: u64,
}

/// What stays in the log for ever about an entry.
///
/// Numbers that this version does not know are read as their most careful value (an unknown handling label as RED);
/// the bytes themselves are kept verbatim in the leaf.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Header {
    /// Fresh per recipient; a retry keeps it.
    pub id: EntryId,
    /// The number of the kind; [`Header::known_kind`] reads it.
    pub kind: u32,
    /// When the author appended it, by the author's clock.
    pub time: Millis,
    /// The common name of the case.
    pub case: Option<CaseId>,
    /// The entry that this one answers or acknowledges.
    pub in_reply_to: Option<EntryId>,
    /// How fast to handle it.
    pub precedence: Precedence,
    /// The handling label.
    pub tlp: Tlp,
    /// The permissible actions.
    pub pap: Pap,
    /// Drill traffic.
    pub exercise: bool,
    /// The desk that writes; `None` for machines.
    pub from_desk: Option<Desk>,
    /// The desk written to; `None` for machines.
    pub to_desk: Option<Desk>,
    /// When the item would have left the queue.
    pub expires: Option<Millis>,
    /// The newest volume of the other direction that the author had stored; 0 for none.
    pub seen_volume: u32,
    /// The size of that volume that the author had stored.
    pub seen: u64,
    /// VOID, ERASED, HELD, REFUSED: the entry that is meant.
    pub target: Option<Target>,
    /// REFUSED: the reason's number.
    pub code: u32,
}

impl Header {
    /// The kind, where this version knows it.
    pub fn known_kind(&self) -> Option<Kind> {
        Kind::from_number(self.kind)
    }

    /// Whether a machine made the entry, known or not.
    pub fn is_machine(&self) -> bool {
        self.kind >= crate::name::FIRST_MACHINE_KIND
    }

    /// Writes the header.
    pub fn encode(&self) -> Bytes {
        let message = proto::Header {
            id: Bytes::copy_from_slice(self.id.as_bytes()),
            kind: self.kind,
            time_ms: self.time.0,
            case_id: self.case.map(|case| Bytes::copy_from_slice(case.as_bytes())).unwrap_or_default(),
            in_reply_to: self.in_reply_to.map(|id| Bytes::copy_from_slice(id.as_bytes())).unwrap_or_default(),
            precedence: self.precedence.number(),
            tlp: self.tlp.number(),
            pap: self.pap.number(),
            exercise: self.exercise,
            from_desk: self.from_desk.map_or(0, Desk::number),
            to_desk: self.to_desk.map_or(0, Desk::number),
            expires_ms: self.expires.map_or(0, |time| time.0),
            seen_volume: self.seen_volume,
            seen: self.seen,
            target: self.target.map(|target| proto::Target { volume: target.volume, index: target.index }),
            code: self.code,
        };
        message.encode_to_vec().into()
    }

    /// Reads a header.
    ///
    /// # Errors
    /// More than [`MAX_HEADER`] bytes, not a protobuf message, an id, case or reply of another length than 16.
    pub fn decode(bytes: Bytes) -> Result<Self, WireError> {
        if bytes.len() > MAX_HEADER {
            return Err(WireError::TooLarge { what: "header", size: bytes.len(), limit: MAX_HEADER });
        }
        let message: proto::Header = super::decode("header", bytes)?;
        let field = |field| WireError::Field { what: "header", field };
        let id = EntryId::from_slice(&message.id).ok_or_else(|| field("id"))?;
        let case = match &message.case_id[..] {
            [] => None,
            bytes => Some(CaseId::from_slice(bytes).ok_or_else(|| field("case_id"))?),
        };
        let in_reply_to = match &message.in_reply_to[..] {
            [] => None,
            bytes => Some(EntryId::from_slice(bytes).ok_or_else(|| field("in_reply_to"))?),
        };
        Ok(Self {
            id,
            kind: message.kind,
            time: Millis(message.time_ms),
            case,
            in_reply_to,
            precedence: Precedence::from_number(message.precedence).unwrap_or(Precedence::Routine),
            tlp: Tlp::from_number(message.tlp).unwrap_or(Tlp::Red),
            pap: Pap::from_number(message.pap).unwrap_or(Pap::Red),
            exercise: message.exercise,
            from_desk: Desk::from_number(message.from_desk),
            to_desk: Desk::from_number(message.to_desk),
            expires: (message.expires_ms != 0).then_some(Millis(message.expires_ms)),
            seen_volume: message.seen_volume,
            seen: message.seen,
            target: message.target.map(|target| Target { volume: target.volume, index: target.index }),
            code: message.code,
        })
    }
}

/// Whether this version knows the numbers in a header that [`Header`] reads as their most careful value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Understood {
    /// TLP and PAP.
    pub labels: bool,
    /// Both desks.
    pub desks: bool,
}

impl Understood {
    /// Looks at a header's bytes; nothing is understood of what is no header.
    pub fn of(header: &Bytes) -> Self {
        let Ok(message) = super::decode::<proto::Header>("header", header.clone()) else {
            return Self { labels: false, desks: false };
        };
        let desk = |number| number == 0 || Desk::from_number(number).is_some();
        Self {
            labels: Tlp::from_number(message.tlp).is_some() && Pap::from_number(message.pap).is_some(),
            desks: desk(message.from_desk) && desk(message.to_desk),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Header {
        Header {
            id: EntryId([1; 16]),
            kind: Kind::Notification.number(),
            time: Millis(1_772_366_400_123),
            case: Some(CaseId([2; 16])),
            in_reply_to: Some(EntryId([3; 16])),
            precedence: Precedence::Flash,
            tlp: Tlp::Clear,
            pap: Pap::Amber,
            exercise: true,
            from_desk: Some(Desk::Technical),
            to_desk: Some(Desk::Diplomatic),
            expires: Some(Millis(u64::MAX)),
            seen_volume: u32::MAX,
            seen: u64::MAX,
            target: Some(Target { volume: u32::MAX, index: u64::MAX }),
            code: u32::MAX,
        }
    }

    #[test]
    fn a_header_reads_back_and_the_fullest_one_fits_twice() {
        let header = full();
        let bytes = header.encode();
        assert!(bytes.len() * 2 <= MAX_HEADER, "{}", bytes.len());
        assert_eq!(Header::decode(bytes), Ok(header));
    }

    #[test]
    fn unknown_labels_are_read_as_red_and_unknown_kinds_are_kept() {
        let message = proto::Header {
            id: Bytes::from_static(&[1; 16]),
            kind: 4711,
            tlp: 99,
            pap: 99,
            precedence: 99,
            ..Default::default()
        };
        let header = Header::decode(message.encode_to_vec().into()).unwrap();
        assert_eq!((header.tlp, header.pap, header.precedence), (Tlp::Red, Pap::Red, Precedence::Routine));
        assert_eq!((header.kind, header.known_kind()), (4711, None));
    }

    #[test]
    fn numbers_that_this_version_does_not_know_are_noticed() {
        let of = |message: proto::Header| Understood::of(&message.encode_to_vec().into());
        let known = proto::Header { tlp: 4, pap: 4, from_desk: 1, to_desk: 2, ..Default::default() };
        assert_eq!(of(known.clone()), Understood { labels: true, desks: true });
        for message in [proto::Header { tlp: 5, ..known.clone() }, proto::Header { pap: 5, ..known.clone() }] {
            assert_eq!(of(message), Understood { labels: false, desks: true });
        }
        for message in [proto::Header { from_desk: 3, ..known.clone() }, proto::Header { to_desk: 3, ..known }] {
            assert_eq!(of(message), Understood { labels: true, desks: false });
        }
        assert_eq!(Understood::of(&Bytes::from_static(&[0xff])), Understood { labels: false, desks: false });
    }

    #[test]
    fn a_header_without_a_proper_id_is_not_understood() {
        for id in [0, 15, 17] {
            let message = proto::Header { id: vec![0; id].into(), ..Default::default() };
            assert!(Header::decode(message.encode_to_vec().into()).is_err());
        }
    }
}
