//! The closed loop: each sender waits for the receipt of its message before it sends the next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use verbale::api::{EnclosureToken, Failure, Reply, Request, Send, SendTo, WaitFor, code};
use verbale::name::{EntryId, Kind, NodeName, Pap, Precedence, Tlp};
use verbale::wire::ReplyExpected;

use crate::child::Through;
use crate::meter::quantile;

/// Bytes of the text of a message.
pub const TEXT_BYTES: usize = 1_024;

/// What to do.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Load {
    /// To whom.
    pub to: NodeName,
    /// How many wait at once.
    pub senders: usize,
    /// Milliseconds before anything counts.
    pub warm_ms: u64,
    /// Milliseconds that count.
    pub run_ms: u64,
    /// The loop ends also after this many messages.
    pub at_most: usize,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Loaded {
    /// Messages whose receipt came while it counted.
    pub receipts: usize,
    /// For how long it counted.
    pub seconds: f64,
    /// Half had their receipt within this many microseconds.
    pub p50_us: u32,
    /// All but one in a hundred.
    pub p99_us: u32,
}

/// Runs the loop; `counting` is called when the warm-up is over.
pub async fn run(through: &Arc<Through>, load: Load, counting: impl FnOnce()) -> Result<Loaded, Failure> {
    let text = Arc::new("verbale ".repeat(TEXT_BYTES / 8));
    let from = Instant::now() + Duration::from_millis(load.warm_ms);
    let until = from + Duration::from_millis(load.run_ms);
    let share = load.at_most.div_ceil(load.senders);
    let mut senders = JoinSet::new();
    for _ in 0..load.senders {
        senders.spawn(sender(through.clone(), load.to, text.clone(), from, until, share));
    }
    tokio::time::sleep_until(from.into()).await;
    let begun = Instant::now();
    counting();
    let (mut times, mut last) = (Vec::new(), begun);
    while let Some(ended) = senders.join_next().await {
        let (own, end) = ended.map_err(|error| broken(&error.to_string()))??;
        times.extend(own);
        last = last.max(end);
    }
    let seconds = last.min(until).duration_since(begun).as_secs_f64();
    let (p50_us, p99_us) = (quantile(&mut times, 0.5), quantile(&mut times, 0.99));
    Ok(Loaded { receipts: times.len(), seconds, p50_us, p99_us })
}

/// One sender: the times of those that count, and when it ended.
async fn sender(
    through: Arc<Through>,
    to: NodeName,
    text: Arc<String>,
    from: Instant,
    until: Instant,
    share: usize,
) -> Result<(Vec<u32>, Instant), Failure> {
    let mut times = Vec::new();
    let mut sent = 0;
    loop {
        let begun = Instant::now();
        if begun >= until || sent == share {
            return Ok((times, begun));
        }
        deliver(&through, message(to, Precedence::Routine, &text, Vec::new(), WaitFor::Receipt)?).await?;
        sent += 1;
        let ended = Instant::now();
        if ended >= from && ended < until {
            times.push(u32::try_from(ended.duration_since(begun).as_micros()).unwrap_or(u32::MAX));
        }
    }
}

/// A message as the command would send it.
pub fn message(
    peer: NodeName,
    precedence: Precedence,
    text: &str,
    enclosures: Vec<EnclosureToken>,
    wait: WaitFor,
) -> Result<Send, Failure> {
    let mut id = [0; 16];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| broken("no random bytes"))?;
    let justification = if precedence >= Precedence::Immediate { "exercise" } else { "" };
    Ok(Send {
        to: vec![SendTo { peer, id: EntryId(id), fresh: true }],
        kind: Kind::Information,
        language: "en".to_owned(),
        subject: "A measurement".to_owned(),
        text: text.to_owned(),
        precedence,
        justification: justification.to_owned(),
        tlp: Tlp::Clear,
        pap: Pap::None,
        marking: String::new(),
        exercise: true,
        from_desk: None,
        to_desk: None,
        expires: None,
        case: None,
        new_case: false,
        in_reply_to: None,
        reply_expected: ReplyExpected::default(),
        own_reference: String::new(),
        enclosures,
        wait,
        confirmed_by_flag: false,
    })
}

/// Sends, and makes sure that it has come as far as was waited for.
pub async fn deliver(through: &Through, send: Send) -> Result<(), Failure> {
    let wait = send.wait;
    match through.call(Request::Send(Box::new(send))).await? {
        Reply::Sent(sent) if wait == WaitFor::Queued || sent.iter().all(|sent| sent.receipt_time.is_some()) => Ok(()),
        other => Err(broken(&format!("{other:?}"))),
    }
}

/// A failure of the measurement itself.
pub fn broken(why: &str) -> Failure {
    Failure::new(code::INTERNAL, "measuring", why, "")
}
