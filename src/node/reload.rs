//! Reads the configuration again while the node runs: peers, limits, the alert, the log level, and the TLS certificate. What needs a restart is
//! named and left as it is.

use std::sync::{Arc, PoisonError};

use super::logging;
use super::order::{Node, Order};
use crate::identity::NodeKeys;
use crate::settings::{Settings, SettingsError};

/// Reads the configuration of a folder and has the loop put it in force.
///
/// # Errors
/// See [`SettingsError`]; the node goes on with the one it has.
pub(super) fn reload(node: &Node) -> Result<(), SettingsError> {
    let new = Settings::load(&node.folder)?;
    for key in needs_restart(&node.settings(), &new) {
        tracing::warn!(key, "this setting has changed and counts from the next start on");
    }
    renew_certificate(node);
    logging::set_level(new.log.level);
    let _ = node.orders.send(Order::Reload(Arc::new(keep_fixed(&node.settings(), new))));
    Ok(())
}

/// Takes a renewed TLS certificate into use; handshakes from now on show it. One that cannot be used changes nothing.
fn renew_certificate(node: &Node) {
    let renewed = NodeKeys::load(&node.folder).map_err(|error| error.to_string()).and_then(|keys| {
        if keys.node() != node.me {
            return Err(format!("the keys in the folder are those of {}", keys.node()));
        }
        node.own_tls.replace(&keys.tls).map_err(|error| error.to_string())?;
        Ok(keys.tls.leaf().not_after)
    });
    match renewed {
        Ok(until) => *node.certificate_until.lock().unwrap_or_else(PoisonError::into_inner) = until,
        Err(why) => {
            tracing::error!(why, "the TLS certificate was not read again; the node goes on with the one it has")
        }
    }
}

/// The keys that differ and that a running node cannot change.
fn needs_restart(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let differs = [
        (old.node != new.node, "node"),
        (old.listen != new.listen, "network.listen"),
        (old.pq != new.pq, "network.pq"),
        (old.journal != new.journal, "journal"),
        (old.socket != new.socket, "socket"),
        (old.log.format != new.log.format, "log.format"),
    ];
    differs.into_iter().filter_map(|(differs, key)| differs.then_some(key)).collect()
}

/// The new configuration with what cannot change taken from the old one: what is shown is what is in force.
fn keep_fixed(old: &Settings, new: Settings) -> Settings {
    Settings {
        node: old.node,
        listen: old.listen.clone(),
        pq: old.pq,
        journal: old.journal,
        socket: old.socket.clone(),
        ..new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_restart_is_named_and_stays_as_it_was() {
        let old = Settings::of("XA".parse().unwrap());
        let mut new = old.clone();
        new.exchange.pings_per_day = 7;
        assert!(needs_restart(&old, &new).is_empty());
        new.listen.clear();
        assert_eq!(needs_restart(&old, &new), ["network.listen"]);
        let kept = keep_fixed(&old, new);
        assert_eq!((kept.listen, kept.exchange.pings_per_day), (old.listen, 7));
    }
}
