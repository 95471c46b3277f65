//! `verbale ping`: a test of the path and the service, the real way; and `verbale doctor`, which goes layer by layer.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::task::JoinSet;

use super::out::{Exit, Meter, Out, Page, own};
use super::place::{Names, Place, fresh_id, unexpected};
use super::{safe, when};
use crate::api::{Client, Failure, PeerView, PingView, Reply, Request};
use crate::name::NodeName;
use crate::settings::Span;

/// How long one ping may take: a satellite link and a handshake or two fit.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// Added to what the daemon is told, so that its own answer comes first.
const GRACE: Duration = Duration::from_secs(10);
/// Peers that are pinged at once.
const AT_ONCE: usize = 16;

/// `verbale ping`
#[derive(Debug, Args)]
#[command(after_help = "Example: verbale ping XB\n         verbale ping --all --json\n\n\
Two steps: a probe (round trip, clocks, versions, days left on the certificates), then an entry that travels the whole \
way of a message: appended, signed, pushed, stored, receipted. Only then messages arrive. Exit code 0 when every ping \
arrived, 1 when not.")]
pub struct Ping {
    /// Whom
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub peers: Vec<NodeName>,
    /// Every active correspondent
    #[arg(long)]
    pub all: bool,
    /// How often
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub count: u32,
    /// The longest wait for each, for example 30s
    #[arg(long, default_value_t = Span(DEFAULT_TIMEOUT))]
    pub timeout: Span,
}

/// `verbale doctor`
#[derive(Debug, Args)]
#[command(after_help = "Example: verbale doctor XB\n\nNames the first layer that stops messages, and what to do. \
Exit code 0 when messages arrive, 1 when not.")]
pub struct Doctor {
    /// Towards whom
    pub peer: NodeName,
    /// The longest wait
    #[arg(long, default_value_t = Span(DEFAULT_TIMEOUT))]
    pub timeout: Span,
}

/// The layers between two desks, in the order in which they are passed.
const LAYERS: [(&str, &str); 9] = [
    ("address", "the peer's name or address is known and can be looked up"),
    ("UDP", "packets get there and back"),
    ("QUIC", "a connection comes about"),
    ("TLS", "both sides agree on keys"),
    ("identity", "both sides show the certificates that were accepted"),
    ("clock", "the clocks agree well enough"),
    ("policy", "both sides want to speak to each other"),
    ("version", "both sides speak a common version"),
    ("disk", "both sides can store what arrives"),
];

/// What is known of a layer.
#[derive(Clone, Debug, Serialize)]
struct Layer {
    layer: &'static str,
    /// `good`, `stops here`, `not reached`.
    state: &'static str,
    meaning: &'static str,
}

/// Runs `verbale ping`.
///
/// # Errors
/// As the daemon says. A peer that is not reached is no error here, but exit code 1.
pub async fn run(place: &Place, out: &mut Out, command: &Ping) -> Result<Exit, Failure> {
    let client = place.client().await?;
    let names = place.names();
    let mut peers = command.peers.clone();
    if command.all {
        match client.call(&Request::PeerList).await? {
            Reply::Peers(views) => {
                peers = views.iter().filter(|view| view.status == "active").map(|v| v.peer).collect()
            }
            other => return Err(unexpected(&other)),
        }
    }
    if peers.is_empty() {
        return Err(Failure::new(
            own::NOT_SO,
            "pinging",
            "there is no active correspondent",
            "See `verbale peer list`.",
        ));
    }
    let pings = rounds(&client, out, &peers, command.count, command.timeout.0).await?;
    out.show(&pings, |page| render(page, &names, &pings));
    Ok(if pings.iter().all(|ping| ping.delivered) { Exit::Good } else { Exit::NotSo })
}

/// Runs `verbale doctor`.
///
/// # Errors
/// As the daemon says.
pub async fn doctor(place: &Place, out: &mut Out, command: &Doctor) -> Result<Exit, Failure> {
    let client = place.client().await?;
    let names = place.names();
    let peer = match client.call(&Request::PeerShow { peer: command.peer }).await? {
        Reply::Peers(views) => views.into_iter().next(),
        other => return Err(unexpected(&other)),
    };
    let pings = rounds(&client, out, &[command.peer], 1, command.timeout.0).await?;
    let Some(ping) = pings.into_iter().next() else {
        return Err(Failure::new(own::NOT_SO, "pinging", "no ping came back", ""));
    };
    let layers = layers(&ping);
    let view = serde_json::json!({ "peer": peer, "ping": ping, "layers": layers });
    out.show(&view, |page| render_doctor(page, &names, peer.as_ref(), &ping, &layers));
    Ok(if ping.delivered { Exit::Good } else { Exit::NotSo })
}

/// Pings every peer `count` times, several peers at once; in the order of `peers`.
///
/// # Errors
/// Where the daemon cannot be asked. What a ping itself met stands in its view.
pub async fn rounds(
    client: &Client,
    out: &Out,
    peers: &[NodeName],
    count: u32,
    timeout: Duration,
) -> Result<Vec<PingView>, Failure> {
    let meter = Meter::new(out);
    let mut waiting = (0..count).flat_map(|_| peers.iter().copied().enumerate());
    let (mut running, mut pings) = (JoinSet::new(), Vec::new());
    let all = peers.len() * count as usize;
    loop {
        while running.len() < AT_ONCE.min(peers.len()) {
            let Some((at, peer)) = waiting.next() else { break };
            let client = client.clone();
            let id = fresh_id()?;
            running.spawn(async move {
                let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
                let request = Request::Ping { peer, id, timeout_ms };
                let doing = format!("pinging {peer}");
                (at, client.call_within(timeout.saturating_add(GRACE), &doing, &request).await)
            });
        }
        meter.show(&format!("{} of {all} pings", pings.len()));
        match running.join_next().await {
            None => break,
            Some(Ok((at, reply))) => match reply? {
                Reply::Ping(ping) => pings.push((at, *ping)),
                other => return Err(unexpected(&other)),
            },
            Some(Err(error)) => return Err(Failure::new(own::OWN, "pinging", error.to_string(), "")),
        }
    }
    drop(meter);
    pings.sort_by_key(|(at, _)| *at);
    Ok(pings.into_iter().map(|(_, ping)| ping).collect())
}

/// A table of pings, and below it what stopped those that did not arrive.
pub fn render(page: &mut Page, names: &Names, pings: &[PingView]) {
    let mut pings: Vec<&PingView> = pings.iter().collect();
    names.sort(&mut pings, |ping| ping.peer);
    let rows: Vec<Vec<String>> = pings.iter().map(|ping| row(names, ping)).collect();
    page.table(
        &["State", "node", "messages", "there and back", "with receipt", "clock", "certificates: its, ours"],
        &rows,
    );
    for ping in pings.iter().filter(|ping| !ping.delivered) {
        page.gap();
        page.line(format!("{}: stopped at {}", names.full(ping.peer), safe::one_line(&ping.stopped_at)));
        page.line(format!("  {}", safe::one_line(&ping.why)));
        if !ping.todo.is_empty() {
            page.line(format!("  {}", safe::one_line(&ping.todo)));
        }
    }
}

fn row(names: &Names, ping: &PingView) -> Vec<String> {
    let milliseconds = |us: u64| format!("{}.{} ms", us / 1000, us % 1000 / 100);
    let probe = ping.probe.as_ref();
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    vec![
        names.of(ping.peer),
        ping.peer.to_string(),
        if ping.delivered { "arrive" } else { "do not arrive" }.to_owned(),
        or_none(probe.map(|probe| milliseconds(probe.round_trip_us))),
        or_none(ping.delivery_us.map(milliseconds)),
        or_none(probe.map(|probe| format!("{:+} ms", probe.clock_offset_ms))),
        or_none(probe.map(|p| format!("{} d, {} d", p.peer_certificate_days, p.own_certificate_days))),
    ]
}

fn layers(ping: &PingView) -> Vec<Layer> {
    let stop = LAYERS.iter().position(|(layer, _)| layer.eq_ignore_ascii_case(&ping.stopped_at));
    let state = |at: usize| match stop {
        _ if ping.delivered => "good",
        Some(stop) if at < stop => "good",
        Some(stop) if at == stop => "stops here",
        _ => "not reached",
    };
    LAYERS.iter().enumerate().map(|(at, (layer, meaning))| Layer { layer, state: state(at), meaning }).collect()
}

fn render_doctor(page: &mut Page, names: &Names, peer: Option<&PeerView>, ping: &PingView, layers: &[Layer]) {
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
        page.line(format!("Messages do not arrive. {}", safe::one_line(&ping.why)));
        page.line(safe::one_line(&ping.todo));
    }
    if let Some(peer) = peer {
        page.gap();
        let heard = peer.last_heard.map(when::utc_and_local).unwrap_or_else(|| "never".to_owned());
        page.line(format!("Last heard: {heard}. Waiting: {}.", peer.queue.queued + peer.queue.unreceipted));
    }
    page.line("Whether somebody reads at the other desk is not tested here: a communication check is.");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_doctor_names_the_first_layer_that_stops_and_claims_nothing_beyond() {
        let ping = PingView {
            peer: "XB".parse().unwrap(),
            probe: None,
            delivered: false,
            delivery_us: None,
            stopped_at: "TLS".into(),
            why: String::new(),
            todo: String::new(),
        };
        let states: Vec<_> = layers(&ping).iter().map(|layer| layer.state).collect();
        assert_eq!(states[..5], ["good", "good", "good", "stops here", "not reached"]);
        let unknown = PingView { stopped_at: "weather".into(), ..ping };
        assert!(layers(&unknown).iter().all(|layer| layer.state == "not reached"));
    }
}
