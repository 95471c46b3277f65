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

/// What follows from the judge's word for a connection that is restricted, or not, so far.
pub(super) fn verdict(judged: Result<PeerIdentity, IdentityRefusal>, restricted: bool) -> Verdict {
    match judged {
        Ok(peer) if peer.restricted.is_some() == restricted => Verdict::Stays,
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
        assert_eq!(verdict(good(false), false), Verdict::Stays);
        assert_eq!(verdict(good(true), true), Verdict::Stays);
        assert_eq!(verdict(good(true), false), Verdict::ComesBack);
        assert_eq!(verdict(good(false), true), Verdict::ComesBack);
    }

    #[test]
    fn the_revoked_and_the_removed_hear_different_codes() {
        let node = "XB".parse().unwrap();
        let code = |reason: IdentityRefusal| match verdict(Err(reason), false) {
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
