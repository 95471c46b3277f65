//! `verbale doctor`: goes through the layers on the way to a correspondent and names the first that stops messages.

use clap::Args;
use serde::Serialize;

use super::out::{Exit, Out, Page, own};
use super::ping::{self, DEFAULT_TIMEOUT, Watcher};
use super::place::{Names, Place, unexpected};
use super::{peer, safe};
use crate::api::{Failure, PeerView, PingView, Reply, Request};
use crate::name::NodeName;
use crate::settings::Span;

/// `verbale doctor`
#[derive(Debug, Args)]
#[command(after_help = "Example: verbale doctor XB\n\n\
Tests the way to a correspondent like `verbale ping`, and names the first layer that stops messages: address, UDP, QUIC, \
TLS, identity, clock, policy, version, exchange, disk; with why, and what to do. It ends when a message has its receipt \
or an attempt has failed: at once where the other side refuses, after 3 s where its machine says that nothing listens \
there, after 10 s where nothing comes back, after 30 s where a handshake begins and does not end; and never later than \
--timeout.\n\n\
Exit codes: 0 messages arrive; 1 they do not; 3 no daemon answers; 4 refused, for example an unknown peer; 5 this node's \
own trouble. --json: {peer, ping, layers: [{layer, state, meaning}]}; state is good, stops here, not reached or not \
tested.")]
pub struct Doctor {
    /// Towards whom
    pub peer: NodeName,
    /// The longest wait
    #[arg(long, default_value_t = Span(DEFAULT_TIMEOUT))]
    pub timeout: Span,
}

/// The layers between two desks, in the order in which they are passed.
const LAYERS: [(&str, &str); 10] = [
    ("address", "the peer's name or address is known and can be looked up"),
    ("UDP", "packets get there and back: something answers"),
    ("QUIC", "a connection comes about"),
    ("TLS", "both sides agree on keys"),
    ("identity", "both sides show the certificates that were accepted"),
    ("clock", "the clocks agree well enough"),
    ("policy", "both sides want to speak to each other"),
    ("version", "both sides speak a common version"),
    ("exchange", "both sides' copies of the logs fit together"),
    ("disk", "both sides can store what arrives"),
];

/// What is known of a layer.
#[derive(Clone, Debug, Serialize)]
struct Layer {
    layer: &'static str,
    /// `good`, `stops here`, `not reached`, `not tested`.
    state: &'static str,
    meaning: &'static str,
}

/// Runs `verbale doctor`.
///
/// # Errors
/// As the daemon says.
pub async fn run(place: &Place, out: &mut Out, command: &Doctor) -> Result<Exit, Failure> {
    let client = place.client().await?;
    let names = place.names();
    let peer = match client.call(&Request::PeerShow { peer: command.peer }).await? {
        Reply::Peers(views) => views.into_iter().next(),
        other => return Err(unexpected(&other)),
    };
    let mut watcher = Watcher::waiting(out, format!("Testing the way to {} …", command.peer));
    let pings = ping::rounds(&client, &[command.peer], 1, command.timeout.0, &mut watcher).await?;
    drop(watcher);
    let Some(ping) = pings.into_iter().next() else {
        return Err(Failure::new(own::NOT_SO, "pinging", "no ping came back", ""));
    };
    let layers = layers(&ping, peer.as_ref().is_none_or(|peer| peer.status == "active"));
    let view = serde_json::json!({ "peer": peer, "ping": ping, "layers": layers });
    out.show(&view, |page| render(page, &names, peer.as_ref(), &ping, &layers));
    Ok(if ping.delivered { Exit::Good } else { Exit::NotSo })
}

/// `tried`: the peer was dialled at all.
fn layers(ping: &PingView, tried: bool) -> Vec<Layer> {
    let stop = LAYERS.iter().position(|(layer, _)| layer.eq_ignore_ascii_case(&ping.stopped_at));
    let state = |at: usize| match stop {
        _ if ping.delivered => "good",
        Some(stop) if at == stop => "stops here",
        _ if !tried => "not tested",
        Some(stop) if at < stop => "good",
        _ => "not reached",
    };
    LAYERS.iter().enumerate().map(|(at, (layer, meaning))| Layer { layer, state: state(at), meaning }).collect()
}

fn render(page: &mut Page, names: &Names, peer: Option<&PeerView>, ping: &PingView, layers: &[Layer]) {
    page.strong(format!("The way to {}", names.full(ping.peer)));
    let rows: Vec<Vec<String>> = layers
        .iter()
        .map(|layer| vec![layer.state.to_owned(), layer.layer.to_owned(), layer.meaning.to_owned()])
        .collect();
    page.table(&["state", "layer", "what it means"], &rows);
    page.gap();
    if ping.delivered {
        page.line("Messages arrive: a test entry was signed, sent, stored there and receipted.");
    } else {
        page.line(format!("Messages do not arrive: {}.", safe::one_line(&ping.why)));
        page.line(format!("To do: {}.", safe::one_line(&ping.todo)));
    }
    if let Some(probe) = &ping.probe {
        page.line(format!(
            "There and back {}, clocks {:+} ms apart, versions {} to {}, days left on the certificates {} (its) and {} \
             (ours).",
            ping::milliseconds(probe.round_trip_us),
            probe.clock_offset_ms,
            probe.versions.0,
            probe.versions.1,
            probe.peer_certificate_days,
            probe.own_certificate_days
        ));
    }
    if let Some(view) = peer {
        page.gap();
        let waiting = view.queue.queued + view.queue.unreceipted;
        page.line(format!("Last heard: {}. Waiting: {waiting}.", peer::last_heard(view)));
    }
    page.line("Whether somebody reads at the other desk is not tested here: a communication check is.");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stopped(at: &str) -> PingView {
        PingView {
            peer: "XB".parse().unwrap(),
            probe: None,
            delivered: false,
            delivery_us: None,
            stopped_at: at.into(),
            why: String::new(),
            todo: String::new(),
        }
    }

    #[test]
    fn the_doctor_names_the_first_layer_that_stops_and_claims_nothing_beyond() {
        let states: Vec<_> = layers(&stopped("TLS"), true).iter().map(|layer| layer.state).collect();
        assert_eq!(states[..4], ["good", "good", "good", "stops here"]);
        assert!(states[4..].iter().all(|state| *state == "not reached"));
        let delivered = PingView { delivered: true, stopped_at: String::new(), ..stopped("") };
        assert!(layers(&delivered, true).iter().all(|layer| layer.state == "good"));
    }

    #[test]
    fn a_peer_that_was_not_dialled_has_no_good_layer() {
        let states: Vec<_> = layers(&stopped("policy"), false).iter().map(|layer| layer.state).collect();
        assert_eq!(states.iter().filter(|state| **state == "stops here").count(), 1);
        assert!(!states.contains(&"good"), "{states:?}");
    }

    #[test]
    fn every_layer_of_the_node_has_its_line() {
        for word in ["address", "UDP", "QUIC", "TLS", "identity", "clock", "policy", "version", "exchange", "disk"] {
            assert!(layers(&stopped(word), true).iter().any(|layer| layer.state == "stops here"), "{word}");
        }
    }
}
