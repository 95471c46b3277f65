//! `verbale ping`: a test of the path and the service, the real way.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::task::JoinSet;

use super::out::{Exit, Live, Out, Page, own};
use super::place::{Names, Place, fresh_id, unexpected};
use super::safe;
use crate::api::{Client, Failure, PingView, Reply, Request, code};
use crate::name::NodeName;
use crate::settings::Span;

/// How long one ping may take: a satellite link and a handshake or two fit.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// Added to what the daemon is told, so that its own answer comes first.
const GRACE: Duration = Duration::from_secs(10);
/// Peers that are pinged at once.
const AT_ONCE: usize = 16;
/// Columns of a page that is not for a terminal, and of the narrowest terminal that a table is made for.
const COLUMNS: usize = 80;
/// A State's name is cut to fit, and not below this.
const SHORTEST_NAME: usize = 8;

/// `verbale ping`
#[derive(Debug, Args)]
#[command(after_help = "Example: verbale ping XB\n         verbale ping --all --count 3\n\n\
Two steps: a probe (round trip, clocks, versions, days left on the certificates), then an entry that travels the whole \
way of a message: appended, signed, pushed, stored, receipted. Only then messages arrive. What stopped a ping is named by \
its first layer.\n\n\
A ping ends when it has its receipt or an attempt has failed: at once where the other side refuses, after 3 s where its \
machine says that nothing listens there, after 10 s where nothing comes back, after 30 s where a handshake begins and \
does not end; and never later than --timeout. 16 peers are pinged at once.\n\n\
Exit codes: 0 every ping arrived; 1 at least one did not; 3 no daemon answers; 4 refused, for example an unknown peer; 5 \
this node's own trouble. --json: {all_arrived, pings: [{peer, probe, delivered, delivery_us, stopped_at, why, todo}], \
peers: [{peer, sent, arrived, min_us, median_us, max_us}]}; times in microseconds, from the append to the receipt.")]
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

/// What became of all pings of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Sum {
    peer: NodeName,
    sent: usize,
    arrived: usize,
    min_us: Option<u64>,
    median_us: Option<u64>,
    max_us: Option<u64>,
}

impl Sum {
    fn of(peer: NodeName, pings: &[PingView]) -> Self {
        let of_peer: Vec<&PingView> = pings.iter().filter(|ping| ping.peer == peer).collect();
        let mut times: Vec<u64> = of_peer.iter().filter_map(|ping| ping.delivery_us).collect();
        times.sort_unstable();
        // The upper of two in the middle: no time that was not measured.
        let median_us = times.get(times.len() / 2).copied();
        Self {
            peer,
            sent: of_peer.len(),
            arrived: of_peer.iter().filter(|ping| ping.delivered).count(),
            min_us: times.first().copied(),
            median_us,
            max_us: times.last().copied(),
        }
    }
}

/// Runs `verbale ping`.
///
/// # Errors
/// As the daemon says. A peer that is not reached is no error here, but exit code 1.
pub async fn run(place: &Place, out: &mut Out, command: &Ping) -> Result<Exit, Failure> {
    let client = place.client().await?;
    let names = place.names();
    let mut peers = wanted(&client, command).await?;
    names.sort(&mut peers, |peer| *peer);
    let mut watcher = Watcher::new(out, &names, &peers, command.count);
    let pings = rounds(&client, &peers, command.count, command.timeout.0, &mut watcher).await?;
    let told = watcher.told();
    drop(watcher);
    let sums: Vec<Sum> = peers.iter().map(|peer| Sum::of(*peer, &pings)).collect();
    let all_arrived = pings.iter().all(|ping| ping.delivered);
    let view = serde_json::json!({ "all_arrived": all_arrived, "pings": pings, "peers": sums });
    out.show(&view, |page| {
        if told {
            sums.iter().filter_map(|sum| last_stop(sum.peer, &pings)).for_each(|ping| stop(page, &names, ping));
        } else {
            render(page, &names, &pings);
        }
        if command.count > 1 {
            sums.iter().for_each(|sum| page.line(sum_line(sum)));
        }
        if peers.len() > 1 {
            let arrived = sums.iter().filter(|sum| sum.arrived == sum.sent).count();
            page.line(format!("Messages arrive at {arrived} of {} peers.", peers.len()));
        }
    });
    Ok(if all_arrived { Exit::Good } else { Exit::NotSo })
}

/// Whom to ping: each once, and nobody who is not known.
async fn wanted(client: &Client, command: &Ping) -> Result<Vec<NodeName>, Failure> {
    let views = match client.call(&Request::PeerList).await? {
        Reply::Peers(views) => views,
        other => return Err(unexpected(&other)),
    };
    if command.all {
        let active: Vec<NodeName> = views.iter().filter(|view| view.status == "active").map(|view| view.peer).collect();
        if active.is_empty() {
            let todo = "See `verbale peer list`.";
            return Err(Failure::new(own::NOT_SO, "pinging", "there is no active correspondent", todo));
        }
        return Ok(active);
    }
    let mut peers = Vec::new();
    for peer in &command.peers {
        if !views.iter().any(|view| view.peer == *peer) {
            let (why, todo) = (format!("{peer} is not a correspondent"), "See `verbale peer list`.");
            return Err(Failure::new(code::UNKNOWN_PEER, "pinging", why, todo));
        }
        if !peers.contains(peer) {
            peers.push(*peer);
        }
    }
    Ok(peers)
}

/// Pings every peer `count` times, several peers at once; in the order of `peers`.
///
/// # Errors
/// Where the daemon cannot be asked. What a ping itself met stands in its view.
pub async fn rounds(
    client: &Client,
    peers: &[NodeName],
    count: u32,
    timeout: Duration,
    watcher: &mut Watcher<'_>,
) -> Result<Vec<PingView>, Failure> {
    let mut waiting = (0..count).flat_map(|_| peers.iter().copied().enumerate());
    let (mut running, mut pings) = (JoinSet::new(), Vec::new());
    watcher.draw();
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
        match running.join_next().await {
            None => break,
            Some(Ok((at, reply))) => match reply? {
                Reply::Ping(ping) => {
                    watcher.came(&ping);
                    pings.push((at, *ping));
                }
                other => return Err(unexpected(&other)),
            },
            Some(Err(error)) => return Err(Failure::new(own::OWN, "pinging", error.to_string(), "")),
        }
    }
    pings.sort_by_key(|(at, _)| *at);
    Ok(pings.into_iter().map(|(_, ping)| ping).collect())
}

/// Shows how pings fare while they are under way: on a terminal a table in place (or a line, where it would not fit);
/// elsewhere a line for each ping of several as it comes; nothing where machines read.
pub struct Watcher<'a> {
    live: Option<Live>,
    /// Several pings, for people, and no terminal: lines.
    lines: Option<&'a mut Out>,
    names: Option<&'a Names>,
    peers: Vec<NodeName>,
    pings: Vec<PingView>,
    all: usize,
    waiting: String,
}

impl<'a> Watcher<'a> {
    /// For several pings.
    fn new(out: &'a mut Out, names: &'a Names, peers: &[NodeName], count: u32) -> Self {
        let all = peers.len() * count as usize;
        let live = out.live();
        let lines = (live.is_none() && !out.is_json() && all > 1).then_some(out);
        let waiting = format!("Pinging {} …", peers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
        Self { live, lines, names: Some(names), peers: peers.to_vec(), pings: Vec::new(), all, waiting }
    }

    /// For a wait of which nothing is told but that it goes on.
    pub fn waiting(out: &'a Out, text: String) -> Self {
        let live = out.live();
        Self { live, lines: None, names: None, peers: Vec::new(), pings: Vec::new(), all: 1, waiting: text }
    }

    /// Whether every ping has had its line already.
    fn told(&self) -> bool {
        self.lines.is_some()
    }

    fn came(&mut self, ping: &PingView) {
        self.pings.push(ping.clone());
        if let Some(out) = &mut self.lines {
            out.tell(&line(ping));
        }
        self.draw();
    }

    fn draw(&mut self) {
        let rows: Vec<Vec<String>> = self.peers.iter().map(|peer| self.live_row(*peer)).collect();
        let Some(live) = &mut self.live else { return };
        let done = format!("{} of {} pings", self.pings.len(), self.all);
        let Some(names) = self.names.filter(|_| self.all > 1) else { return live.draw(&self.waiting) };
        let (columns, height) = live.size();
        if self.peers.len() + 3 > height {
            return live.draw(&done);
        }
        let mut page = Page::plain();
        table(&mut page, names, &self.peers, rows, columns);
        page.line(done);
        live.draw(page.text());
    }

    fn live_row(&self, peer: NodeName) -> Vec<String> {
        match self.pings.iter().rev().find(|ping| ping.peer == peer) {
            Some(ping) => cells(ping),
            None => vec!["waiting …".to_owned()],
        }
    }
}

/// A table of pings, and below it what stopped those that did not arrive.
pub fn render(page: &mut Page, names: &Names, pings: &[PingView]) {
    let mut sorted: Vec<&PingView> = pings.iter().collect();
    names.sort(&mut sorted, |ping| ping.peer);
    let mut peers: Vec<NodeName> = sorted.iter().map(|ping| ping.peer).collect();
    table(page, names, &peers, sorted.iter().map(|ping| cells(ping)).collect(), COLUMNS);
    peers.dedup();
    peers.iter().filter_map(|peer| last_stop(*peer, pings)).for_each(|ping| stop(page, names, ping));
}

/// What stopped a ping, and what to do.
fn stop(page: &mut Page, names: &Names, ping: &PingView) {
    page.gap();
    page.line(format!("{}: stopped at {}", names.full(ping.peer), safe::one_line(&ping.stopped_at)));
    page.line(format!("  {}", safe::one_line(&ping.why)));
    if !ping.todo.is_empty() {
        page.line(format!("  To do: {}", safe::one_line(&ping.todo)));
    }
}

/// The last ping of a peer that did not arrive.
fn last_stop(peer: NodeName, pings: &[PingView]) -> Option<&PingView> {
    pings.iter().rfind(|ping| ping.peer == peer && !ping.delivered)
}

/// Rows beside the names of their peers; the States' names are cut so that a line fits.
fn table(page: &mut Page, names: &Names, peers: &[NodeName], rows: Vec<Vec<String>>, columns: usize) {
    let heading = ["node", "State", "messages", "probe", "receipt", "clock", "days left"];
    let widest = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| safe::width(cell));
        cells.max().unwrap_or(0).max(heading[at + 2].len())
    };
    let nodes = peers.iter().map(|peer| peer.to_string().len()).max().unwrap_or(0).max(heading[0].len());
    let others = nodes + (0..5).map(widest).sum::<usize>() + 2 * (heading.len() - 1);
    let room = columns.saturating_sub(others).max(SHORTEST_NAME);
    let rows = rows.into_iter().zip(peers).map(|(row, peer)| {
        let mut cells = vec![peer.to_string(), fitted(&names.of(*peer), room)];
        cells.extend(row);
        cells
    });
    page.table(&heading, &rows.collect::<Vec<_>>());
}

/// A text in so many columns; what does not fit is left out, visibly.
fn fitted(text: &str, columns: usize) -> String {
    if safe::width(text) <= columns {
        return text.to_owned();
    }
    let mut cut = String::new();
    for c in text.chars() {
        if safe::width(&cut) + safe::width(c.encode_utf8(&mut [0; 4])) + 1 > columns {
            break;
        }
        cut.push(c);
    }
    cut.push('…');
    cut
}

/// Messages, probe, receipt, clock, days left.
fn cells(ping: &PingView) -> Vec<String> {
    let probe = ping.probe.as_ref();
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    vec![
        if ping.delivered { "arrive".to_owned() } else { format!("no: {}", safe::one_line(&ping.stopped_at)) },
        or_none(probe.map(|probe| milliseconds(probe.round_trip_us))),
        or_none(ping.delivery_us.map(milliseconds)),
        or_none(probe.map(|probe| format!("{:+} ms", probe.clock_offset_ms))),
        or_none(probe.map(|probe| format!("{}, {}", probe.peer_certificate_days, probe.own_certificate_days))),
    ]
}

/// One ping in one line.
fn line(ping: &PingView) -> String {
    let name = ping.peer;
    match (ping.delivered, ping.delivery_us, &ping.probe) {
        (true, Some(took), Some(probe)) => {
            let (probe, took) = (milliseconds(probe.round_trip_us), milliseconds(took));
            format!("{name}: arrived; probe {probe}, receipt after {took}")
        }
        (true, _, _) => format!("{name}: arrived"),
        _ => {
            let (at, why) = (safe::one_line(&ping.stopped_at), safe::one_line(&ping.why));
            format!("{name}: did not arrive, stopped at {at}: {why}")
        }
    }
}

fn sum_line(sum: &Sum) -> String {
    let (name, arrived, sent) = (sum.peer, sum.arrived, sum.sent);
    match (sum.min_us, sum.median_us, sum.max_us) {
        (Some(min), Some(median), Some(max)) => {
            let [min, median, max] = [min, median, max].map(milliseconds);
            format!("{name}: {arrived} of {sent} arrived; receipt after {min} at least, {median} median, {max} at most")
        }
        _ => format!("{name}: {arrived} of {sent} arrived"),
    }
}

/// Microseconds for people.
pub fn milliseconds(us: u64) -> String {
    match us {
        10_000_000.. => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
        _ => format!("{}.{} ms", us / 1000, us % 1000 / 100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ProbeView;

    fn ping(peer: &str, took: Option<u64>) -> PingView {
        let probe = ProbeView {
            round_trip_us: 1_234_567,
            clock_offset_ms: -86_400_000,
            versions: (1, 1),
            peer_certificate_days: 396,
            own_certificate_days: 1_127,
        };
        PingView {
            peer: peer.parse().unwrap(),
            probe: took.map(|_| probe),
            delivered: took.is_some(),
            delivery_us: took,
            stopped_at: if took.is_some() { String::new() } else { "identity".into() },
            why: "because".into(),
            todo: String::new(),
        }
    }

    #[test]
    fn the_sum_has_the_least_the_middle_and_the_most_of_what_arrived() {
        let pings =
            [ping("XB", Some(9)), ping("XB", None), ping("XC", Some(1)), ping("XB", Some(3)), ping("XB", Some(5))];
        let sum = Sum::of("XB".parse().unwrap(), &pings);
        assert_eq!((sum.sent, sum.arrived), (4, 3));
        assert_eq!((sum.min_us, sum.median_us, sum.max_us), (Some(3), Some(5), Some(9)));
        let none = Sum::of("XD".parse().unwrap(), &pings);
        assert_eq!((none.sent, none.median_us), (0, None));
    }

    #[test]
    fn a_table_of_pings_fits_eighty_columns_with_the_longest_names_and_times() {
        let peers: Vec<NodeName> = vec!["XB".parse().unwrap(), "XC".parse().unwrap()];
        let rows = vec![cells(&ping("XB", Some(123_456_789))), cells(&ping("XC", None))];
        let mut page = Page::plain();
        table(&mut page, &Names::none(), &peers, rows, COLUMNS);
        let lines: Vec<&str> = page.text().lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| safe::width(line) <= COLUMNS), "{}", page.text());
        assert!(lines[2].contains("no: identity"), "{}", page.text());
    }

    #[test]
    fn a_name_at_the_width_stays_and_one_over_is_cut_by_columns() {
        assert_eq!(fitted("abcd", 4), "abcd");
        assert_eq!(fitted("abcde", 4), "abc…");
        assert_eq!(fitted("服务服务", 5), "服务…");
    }
}
