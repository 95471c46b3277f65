//! Coded values: kinds of message, desks, speeds, handling labels, reasons for a refusal.

use std::fmt;
use std::str::FromStr;

use super::node::serde_as_text;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A word that is not in the list of a coded value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is not known here; one of: {known}")]
pub struct UnknownCode {
    /// What was read, at most 64 characters of it.
    pub word: String,
    /// The words that are understood.
    pub known: String,
}

macro_rules! coded {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $number:literal, $word:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant = $number,)* }

        impl $name {
            /// Every value, in the order of its numbers.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The number that stands for this value in signed bytes.
            pub fn number(self) -> u32 {
                self as u32
            }

            /// The value for a number from signed bytes; `None` for one that this version does not know.
            pub fn from_number(number: u32) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }

            /// The word of the command line and of JSON.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }

        impl FromStr for $name {
            type Err = UnknownCode;
            fn from_str(text: &str) -> Result<Self, UnknownCode> {
                $(if text.eq_ignore_ascii_case($word) { return Ok(Self::$variant); })*
                Err(UnknownCode { word: text.chars().take(64).collect(), known: [$($word),*].join(", ") })
            }
        }

        serde_as_text!($name);
    };
}

coded! {
    /// The desk of a State that writes or is written to.
    Desk {
        /// The national CERT.
        Technical = 1, "technical";
        /// The foreign ministry.
        Diplomatic = 2, "diplomatic";
    }
}

coded! {
    /// How fast to handle a message; it says nothing about how grave the matter is.
    Precedence {
        /// In the ordinary course.
        Routine = 0, "ROUTINE";
        /// Before routine traffic.
        Priority = 1, "PRIORITY";
        /// At once; needs a justification and a short body.
        Immediate = 2, "IMMEDIATE";
        /// Before everything; needs a justification and a short body.
        Flash = 3, "FLASH";
    }
}

coded! {
    /// The Traffic Light Protocol 2.0 label (FIRST). A message without a label is AMBER+STRICT.
    Tlp {
        /// For the recipient's AMBER+STRICT circle: the recipient's organisation only.
        AmberStrict = 0, "AMBER+STRICT";
        /// Nobody else: the named recipients' eyes only.
        Red = 1, "RED";
        /// The recipient's organisation and its clients, on a need-to-know basis.
        Amber = 2, "AMBER";
        /// The recipient's community.
        Green = 3, "GREEN";
        /// No limit on disclosure.
        Clear = 4, "CLEAR";
    }
}

coded! {
    /// The Permissible Actions Protocol label: what may be done with the information.
    Pap {
        /// No label.
        None = 0, "NONE";
        /// Detection that the other side cannot notice only.
        Red = 1, "RED";
        /// Passive cross-checks only.
        Amber = 2, "AMBER";
        /// Active actions allowed.
        Green = 3, "GREEN";
        /// No restriction.
        Clear = 4, "CLEAR";
    }
}

/// The first kind number that machines make; kinds from here on are never answered automatically.
pub const FIRST_MACHINE_KIND: u32 = 64;

coded! {
    /// What an entry is. Numbers below 64 are made by people at a desk, from 64 on by machines.
    Kind {
        /// A notification of an incident.
        Notification = 1, "notification";
        /// A warning before an incident: a threat, a vulnerability.
        Warning = 2, "warning";
        /// Advance notice of an exercise, maintenance, an expected disturbance.
        AdvanceNotice = 3, "advance-notice";
        /// A request for information.
        RequestInformation = 4, "request-information";
        /// A request for assistance.
        RequestAssistance = 5, "request-assistance";
        /// A request to mitigate activity from the recipient's territory.
        RequestMitigation = 6, "request-mitigation";
        /// A consultation about an activity that causes concern.
        Consultation = 7, "consultation";
        /// Information shared voluntarily.
        Information = 8, "information";
        /// An offer of capacity-building.
        CapacityOffer = 9, "capacity-offer";
        /// A request for capacity-building.
        CapacityRequest = 10, "capacity-request";
        /// A formal note of the diplomatic desk.
        Note = 11, "note";
        /// An answer in substance.
        Answer = 12, "answer";
        /// An interim answer: under consideration.
        InterimAnswer = 13, "interim-answer";
        /// A decline, with or without a reason.
        Decline = 14, "decline";
        /// An update of an earlier message.
        Update = 15, "update";
        /// A correction of an earlier message.
        Correction = 16, "correction";
        /// A withdrawal of an earlier message.
        Withdrawal = 17, "withdrawal";
        /// A request for consent to onward sharing.
        ConsentRequest = 18, "consent-request";
        /// Consent to onward sharing.
        Consent = 19, "consent";
        /// A person at the desk has read it; it does not mean agreement.
        Acknowledgement = 20, "acknowledgement";
        /// The case is closed on this side.
        Closing = 21, "closing";
        /// A change of the State's directory entry.
        DirectoryChange = 22, "directory-change";
        /// A communication check that a person at the desk answers.
        CommunicationCheck = 23, "communication-check";
        /// A proposal for consensus.
        Proposal = 24, "proposal";
        /// Assent to a proposal.
        Assent = 25, "assent";
        /// An objection to a proposal.
        Objection = 26, "objection";
        /// A position on a proposal.
        Position = 27, "position";
        /// Entry 0 of a volume.
        Volume = 64, "VOLUME";
        /// New certificates of signing keys.
        Key = 65, "KEY";
        /// Trust material that was applied.
        Trust = 66, "TRUST";
        /// A commitment to the head of the journal.
        Seal = 67, "SEAL";
        /// The author withdraws an entry whose body is lost.
        Void = 68, "VOID";
        /// All enclosures of an entry are durably here.
        Held = 69, "HELD";
        /// Stored, but not accepted.
        Refused = 70, "REFUSED";
        /// A body was erased with authority.
        Erased = 71, "ERASED";
        /// A test of the whole path.
        Ping = 72, "PING";
    }
}

impl Kind {
    /// Whether machines make this kind (number 64 and above).
    pub fn is_machine(self) -> bool {
        self.number() >= FIRST_MACHINE_KIND
    }
}

coded! {
    /// Why an entry that was stored is not accepted.
    RefusalCode {
        /// The header or the body could not be understood.
        Malformed = 1, "malformed";
        /// The kind is not handled here.
        Kind = 2, "kind";
        /// The handling label cannot be honoured here.
        Label = 3, "label";
        /// The desk is not served by this node.
        Desk = 4, "desk";
        /// Exercise and real traffic do not mix here.
        Exercise = 5, "exercise";
        /// The case is not known or belongs to somebody else.
        Case = 6, "case";
        /// The id was used before for other bytes.
        DuplicateId = 7, "duplicate-id";
        /// An enclosure is larger than announced limits allow.
        FileTooLarge = 8, "file-too-large";
        /// No room is set aside for this enclosure.
        FileQuota = 9, "file-quota";
        /// An enclosure does not match its listed size or hash.
        FileMismatch = 10, "file-mismatch";
        /// An enclosure is no longer held by its author.
        FileGone = 11, "file-gone";
        /// This State's own rule.
        Policy = 12, "policy";
        /// The matter belongs to another channel (law enforcement, service of process).
        OtherChannel = 13, "other-channel";
    }
}

impl RefusalCode {
    /// Whether the refusal is about enclosures and does not touch the text.
    pub fn is_about_files(self) -> bool {
        matches!(self, Self::FileTooLarge | Self::FileQuota | Self::FileMismatch | Self::FileGone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_words_read_back() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_number(kind.number()), Some(*kind));
            assert_eq!(kind.word().parse::<Kind>().as_ref(), Ok(kind));
        }
        assert_eq!(Kind::from_number(63), None);
        assert_eq!("amber+strict".parse(), Ok(Tlp::AmberStrict));
        assert!("URGENT".parse::<Precedence>().is_err());
    }

    #[test]
    fn machine_kinds_begin_at_sixty_four() {
        assert!(!Kind::Position.is_machine());
        assert!(Kind::Volume.is_machine());
    }

    #[test]
    fn speeds_are_ordered() {
        assert!(Precedence::Flash > Precedence::Immediate && Precedence::Priority > Precedence::Routine);
    }
}
