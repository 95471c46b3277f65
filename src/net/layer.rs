//! Names the layer at which a dial or a connection failed, in words for an operator.

use std::fmt;

use quinn::{ConnectionError, TransportErrorCode, VarInt};

use crate::exchange::CloseCode;
use crate::identity::{IdentityRefusal, PathError};

/// The first layer that stopped a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// The name cannot be looked up, or this node has no socket that reaches the address.
    Address,
    /// Nothing came back at all.
    Udp,
    /// Packets pass, but no connection came about or it broke.
    Quic,
    /// The two sides found no common TLS parameters.
    Tls,
    /// One side does not accept the other's certificate.
    Identity,
    /// A certificate that is not valid yet: one of the two clocks cannot be right.
    Clock,
    /// An operator's decision: suspended or not known.
    Policy,
    /// The other side does not speak this protocol or none of its versions.
    Version,
    /// The exchange itself: a frame, a limit, a replaced connection, a stop in order.
    Exchange,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "address",
            Self::Udp => "UDP",
            Self::Quic => "QUIC",
            Self::Tls => "TLS",
            Self::Identity => "identity",
            Self::Clock => "clock",
            Self::Policy => "policy",
            Self::Version => "version",
            Self::Exchange => "exchange",
        })
    }
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// This node.
    Us,
    /// The peer.
    Peer,
    /// Neither: the path, or a restart without a word.
    Path,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// By whom.
    pub by: EndedBy,
    /// The code of the protocol, where one was given.
    pub code: Option<CloseCode>,
    /// The layer concerned.
    pub layer: Layer,
    /// In words.
    pub why: String,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.layer, self.why)
    }
}

impl Ended {
    /// An end that this node decides.
    pub(super) fn ours(code: CloseCode, why: impl Into<String>) -> Self {
        Self { by: EndedBy::Us, code: Some(code), layer: layer_of_code(code), why: why.into() }
    }

    /// What quinn reports; `refusal` is what the own judge said during the handshake.
    pub(super) fn from_quic(error: &ConnectionError, refusal: Option<(Layer, String)>) -> Self {
        let (by, code, layer, why) = match error {
            ConnectionError::VersionMismatch => (
                EndedBy::Peer,
                None,
                Layer::Quic,
                "the other side speaks no version of QUIC that this node speaks".into(),
            ),
            ConnectionError::TransportError(error) => match (alert(error.code), refusal) {
                (Some(_), Some((layer, refusal))) => (EndedBy::Us, None, layer, refusal),
                (Some(alert), None) => (EndedBy::Us, None, layer_of_alert(alert), error.reason.clone()),
                (None, _) => (EndedBy::Us, None, Layer::Quic, error.to_string()),
            },
            ConnectionError::ConnectionClosed(close) => {
                let (layer, why) = closed_by_transport(close.error_code);
                (EndedBy::Peer, None, layer, why)
            }
            ConnectionError::ApplicationClosed(close) => match close_code(close.error_code.into_inner()) {
                Some(code) => (EndedBy::Peer, Some(code), layer_of_code(code), said_by_peer(code).into()),
                None => {
                    let why = format!("the other side closed with the unknown code {}", close.error_code);
                    (EndedBy::Peer, None, Layer::Exchange, why)
                }
            },
            ConnectionError::Reset => (
                EndedBy::Path,
                None,
                Layer::Quic,
                "the other side no longer knows this connection; it was restarted".into(),
            ),
            ConnectionError::TimedOut => {
                (EndedBy::Path, None, Layer::Udp, "nothing was heard from the other side any more".into())
            }
            ConnectionError::LocallyClosed => (EndedBy::Us, None, Layer::Exchange, "closed by this node".into()),
            ConnectionError::CidsExhausted => {
                (EndedBy::Us, None, Layer::Quic, "this node has no connection numbers left".into())
            }
        };
        Self { by, code, layer, why }
    }
}

/// The close code for a number from the wire.
pub fn close_code(number: u64) -> Option<CloseCode> {
    use CloseCode::*;
    [NoHello, Version, WrongState, SuspendedOrUnknown, Revoked, Flood, Frame, Replaced, GoingDown]
        .into_iter()
        .find(|code| *code as u64 == number)
}

pub(super) fn varint(code: CloseCode) -> VarInt {
    VarInt::from_u32(code as u32)
}

/// The layer at which the own judge stops a peer.
pub(super) fn layer_of_refusal(refusal: &IdentityRefusal) -> Layer {
    match refusal {
        IdentityRefusal::Path(PathError::NotYetValid { .. }) => Layer::Clock,
        IdentityRefusal::UnknownNode(_) | IdentityRefusal::Suspended(_) | IdentityRefusal::Removed(_) => Layer::Policy,
        IdentityRefusal::NoCertificate
        | IdentityRefusal::WrongNode { .. }
        | IdentityRefusal::Path(_)
        | IdentityRefusal::SharedKey => Layer::Identity,
    }
}

fn layer_of_code(code: CloseCode) -> Layer {
    match code {
        CloseCode::Version => Layer::Version,
        CloseCode::WrongState | CloseCode::Revoked => Layer::Identity,
        CloseCode::SuspendedOrUnknown => Layer::Policy,
        CloseCode::NoHello | CloseCode::Flood | CloseCode::Frame | CloseCode::Replaced | CloseCode::GoingDown => {
            Layer::Exchange
        }
    }
}

fn said_by_peer(code: CloseCode) -> &'static str {
    match code {
        CloseCode::NoHello => "the other side received no usable HELLO from this node in time",
        CloseCode::Version => "the other side speaks no version of the protocol that this node speaks",
        CloseCode::WrongState => "the other side wanted another State's node",
        CloseCode::SuspendedOrUnknown => "the other side has suspended this node or does not know it",
        CloseCode::Revoked => "the other side holds this node's certificate for revoked",
        CloseCode::Flood => "the other side received more than it had announced to take",
        CloseCode::Frame => "the other side received a frame that it could not read",
        CloseCode::Replaced => "the other side uses another connection instead",
        CloseCode::GoingDown => "the other side stopped in order",
    }
}

/// The TLS alert (RFC 8446 §6) inside a QUIC code (RFC 9001 §4.8).
fn alert(code: TransportErrorCode) -> Option<u8> {
    match u64::from(code) {
        code @ 0x100..0x200 => u8::try_from(code - 0x100).ok(),
        _ => None,
    }
}

fn layer_of_alert(alert: u8) -> Layer {
    match alert {
        // bad_certificate to access_denied without illegal_parameter; decrypt_error; certificate_required
        42..=46 | 48 | 49 | 51 | 116 => Layer::Identity,
        // no_application_protocol
        120 => Layer::Version,
        _ => Layer::Tls,
    }
}

fn closed_by_transport(code: TransportErrorCode) -> (Layer, String) {
    let Some(alert) = alert(code) else {
        let why = match code {
            TransportErrorCode::CONNECTION_REFUSED => "the other side takes no new connections now".into(),
            TransportErrorCode::APPLICATION_ERROR => "the other side gave up during the handshake".into(),
            code => format!("the other side ended the connection: {code}"),
        };
        return (Layer::Quic, why);
    };
    let layer = layer_of_alert(alert);
    let why = match layer {
        Layer::Identity => {
            "the other side refuses this node's certificate; to everybody whom it does not accept it says \
                            no more: it has not added this node, has suspended it, or knows other certificates"
                .into()
        }
        Layer::Version => "what answers at that address does not speak verbale/1".into(),
        _ if alert == 40 => "the two sides have no TLS parameters in common; compare the setting `pq`".into(),
        _ => format!("the other side ended the TLS handshake with alert {alert}"),
    };
    (layer, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_close_code_reads_back_from_its_number_and_no_other_number_does() {
        let known: Vec<u64> = (0..300).filter_map(|n| close_code(n).map(|code| code as u64)).collect();
        assert_eq!(known, (1..=9).collect::<Vec<u64>>());
    }

    #[test]
    fn alerts_about_certificates_are_a_matter_of_identity() {
        for (number, layer) in [
            (42, Layer::Identity),
            (47, Layer::Tls),
            (48, Layer::Identity),
            (49, Layer::Identity),
            (50, Layer::Tls),
            (116, Layer::Identity),
            (40, Layer::Tls),
            (120, Layer::Version),
        ] {
            assert_eq!(layer_of_alert(number), layer, "{number}");
        }
    }

    #[test]
    fn silence_is_udp_and_an_unknown_code_is_named() {
        assert_eq!(Ended::from_quic(&ConnectionError::TimedOut, None).layer, Layer::Udp);
        let close = quinn::ApplicationClose { error_code: VarInt::from_u32(77), reason: bytes::Bytes::new() };
        let ended = Ended::from_quic(&ConnectionError::ApplicationClosed(close), None);
        assert!(ended.why.contains("77") && ended.by == EndedBy::Peer, "{ended}");
    }
}
