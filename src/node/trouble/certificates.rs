//! Certificates and introductions that near their end, this State's own and its peers'.

use super::super::clock::days_left;
use super::super::order::Node;
use super::{Level, Saying, trouble};
use crate::api::Trouble;
use crate::identity::PeerStatus;
use crate::name::{Millis, NodeName};

/// Days before the end of a certificate at which an operator is told: `status` warns from the first on, and loudly from
/// the third on.
pub const CERTIFICATE_DAYS: [i64; 4] = [60, 30, 7, 1];

/// The warning for a certificate that ends in so many days; `None` where there is time.
fn level(days: i64) -> Option<Level> {
    let [first, _, loud, _] = CERTIFICATE_DAYS;
    match days {
        _ if days <= loud => Some(Level::Error),
        _ if days <= first => Some(Level::Warning),
        _ => None,
    }
}

fn certificate(whose: &str, what: &str, now: Millis, until: Millis) -> Option<Trouble> {
    let days = days_left(now, until);
    let level = level(days)?;
    let ended = days < 0;
    let when = match days {
        ..0 => "has expired".to_owned(),
        0 => "ends today".to_owned(),
        1 => "ends in 1 day".to_owned(),
        days => format!("ends in {days} days"),
    };
    let it = trouble(level, "certificate", format!("{whose}: the {what} {when}"));
    Some(match ended {
        true => it.since(until).affects("sessions are restricted: messages wait until it is renewed"),
        false => it.affects("nothing yet; after its end sessions are restricted and messages wait"),
    })
}

pub(in crate::node) fn look(node: &Node, now: Millis, troubles: &mut Vec<Trouble>) {
    let own = "renew it with the State's root and hand the new introduction to every peer";
    for expiry in node.introduction.expiries() {
        let whose = expiry.node.map_or_else(|| "this State".to_owned(), |name| format!("{name} (this State)"));
        troubles.extend(certificate(&whose, expiry.what, now, expiry.at).map(|it| it.todo(own)));
    }
    let anchors = node.anchors.load();
    for (peer, anchor) in anchors.iter().filter(|(_, anchor)| anchor.status == PeerStatus::Active) {
        for expiry in anchor.introduction().expiries() {
            if expiry.node.is_none_or(|node| node == peer) {
                troubles.extend(certificate(&peer.to_string(), expiry.what, now, expiry.at).map(|it| theirs(it, peer)));
            }
        }
    }
}

fn theirs(it: Trouble, peer: NodeName) -> Trouble {
    it.peer(peer).todo(format!("ask {peer} for its new introduction in good time, and run `verbale peer add` with it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_named_from_sixty_days_on_and_loudly_from_seven() {
        assert_eq!(level(CERTIFICATE_DAYS[0] + 1), None);
        assert_eq!(level(CERTIFICATE_DAYS[0]), Some(Level::Warning));
        assert_eq!(level(CERTIFICATE_DAYS[2] + 1), Some(Level::Warning));
        assert_eq!(level(CERTIFICATE_DAYS[2]), Some(Level::Error));
        assert_eq!(level(-1), Some(Level::Error));
        let day = 86_400_000;
        let expired = certificate("XB", "TLS certificate", Millis(10 * day), Millis(8 * day)).unwrap();
        assert!(expired.what.contains("has expired") && expired.since == Some(Millis(8 * day)), "{expired:?}");
    }
}
