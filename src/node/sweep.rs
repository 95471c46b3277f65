//! Live connections are judged again: what was good at the handshake may have been revoked, removed or outdated since, by
//! a new introduction, by a person, or by time alone. The judge is the one of the handshake; here stands what follows
//! from its word.

use std::time::Duration;

use crate::exchange::CloseCode;
use crate::identity::{IdentityRefusal, PathError, PeerIdentity};

/// How often each connection is judged again for the time alone: nothing that ends by itself ends to the second.
pub(super) const SWEEP: Duration = Duration::from_secs(60);

/// Connections that are judged for the time alone in one turn of the loop: each takes a fraction of a millisecond.
pub(super) const AT_ONCE: usize = 16;

/// What becomes of a connection that was judged again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is as it was.
    Stays,
    /// It closes as replaced, and the next one is restricted, or is not any more.
    ComesBack,
    /// It closes at once.
    Ends(CloseCode, String),
}

/// How it stands with this node's own certificate, by its own clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnCertificate {
    /// The one that the connection came about under has expired.
    pub shown_is_over: bool,
    /// The one that the next connection would show has expired.
    pub next_is_over: bool,
}

/// What follows from the judge's word for a connection that is restricted, or not, so far.
pub(super) fn verdict(judged: Result<PeerIdentity, IdentityRefusal>, own: OwnCertificate, restricted: bool) -> Verdict {
    match judged {
        Ok(_) if own.shown_is_over && !own.next_is_over => Verdict::ComesBack,
        Ok(peer) if (peer.restricted.is_some() || own.next_is_over) == restricted => Verdict::Stays,
        Ok(_) => Verdict::ComesBack,
        Err(reason) => {
            let code = match &reason {
                IdentityRefusal::Path(PathError::Revoked) => CloseCode::Revoked,
                IdentityRefusal::WrongNode { .. } => CloseCode::WrongState,
                _ => CloseCode::SuspendedOrUnknown,
            };
            Verdict::Ends(code, reason.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Restriction;
    use crate::name::{Hash, Millis};

    fn good(restricted: bool) -> Result<PeerIdentity, IdentityRefusal> {
        let restricted = restricted.then_some(Restriction::CrlExpired);
        let node = "XB".parse().unwrap();
        Ok(PeerIdentity { node, restricted, leaf_fingerprint: Hash([0; 32]), not_after: Millis(1) })
    }

    #[test]
    fn expiry_restricts_its_end_lifts_the_restriction_and_neither_is_a_dead_end() {
        let own = OwnCertificate::default();
        assert_eq!(verdict(good(false), own, false), Verdict::Stays);
        assert_eq!(verdict(good(true), own, true), Verdict::Stays);
        assert_eq!(verdict(good(true), own, false), Verdict::ComesBack);
        assert_eq!(verdict(good(false), own, true), Verdict::ComesBack);
    }

    #[test]
    fn the_own_expiry_restricts_too_and_a_renewed_certificate_is_shown_at_once() {
        let expired = OwnCertificate { shown_is_over: true, next_is_over: true };
        assert_eq!(verdict(good(false), expired, false), Verdict::ComesBack);
        assert_eq!(verdict(good(false), expired, true), Verdict::Stays);
        let renewed = OwnCertificate { shown_is_over: true, next_is_over: false };
        assert_eq!(verdict(good(false), renewed, true), Verdict::ComesBack);
        assert_eq!(verdict(good(true), renewed, true), Verdict::ComesBack);
    }

    #[test]
    fn the_revoked_and_the_removed_hear_different_codes() {
        let node = "XB".parse().unwrap();
        let code = |reason: IdentityRefusal| match verdict(Err(reason), OwnCertificate::default(), false) {
            Verdict::Ends(code, _) => code,
            other => panic!("{other:?}"),
        };
        assert_eq!(code(PathError::Revoked.into()), CloseCode::Revoked);
        for reason in [
            IdentityRefusal::Removed(node),
            IdentityRefusal::Suspended(node),
            IdentityRefusal::UnknownNode(node),
            PathError::OtherRoot.into(),
        ] {
            assert_eq!(code(reason), CloseCode::SuspendedOrUnknown);
        }
    }
}
