//! Every limit of this room beside its reason.

use std::time::Duration;

use crate::wire::{FRAME_HEAD, MAX_FRAME, MAX_NOTE};

const MIB: u64 = 1 << 20;

/// Streams that a peer may have open at once: control, push, and a handful of requests. quinn allocates ahead for them.
pub const STREAMS: u32 = 16;

/// Bytes in flight on one stream. At 700 ms this still carries 5 MB/s.
pub const STREAM_WINDOW: u64 = 4 * MIB;

/// Bytes of a batch beyond the announced window: VOLUME and VOID entries do not count against it, and what does weighs
/// less there than as a frame (salt, lengths, and headers of up to 1 KiB in each of at most 1,024 entries).
pub const PUSH_EXEMPT: u64 = MIB;

/// Bytes of the longest frame with its head.
pub const FRAME_BYTES: u64 = (MAX_FRAME + FRAME_HEAD - 1) as u64;

/// Enclosures that are fetched from one peer at once. Each may fill a stream window; the receive window has room for
/// all.
pub const ENCLOSURES_AT_ONCE: usize = 2;

/// Bytes of a file that one answer carries; the asker asks again from where it ended. QUIC tells only of a whole stream
/// when it has arrived, so an answer is the piece in which unacknowledged bytes are counted.
pub const ENCLOSURE_ANSWER: u64 = 2 * MIB;

/// Unacknowledged bytes of files on the way to one peer: less than half of what [`Limits::send_window`] and a
/// conforming peer's receive window hold, so that a push always finds credit.
pub const ENCLOSURE_BUDGET: u64 = 2 * ENCLOSURE_ANSWER;

/// Bytes of a file written at a time, so that a pause takes effect and pushes come between.
pub const ENCLOSURE_PIECE: usize = 64 << 10;

/// Bytes of entries in the answer to one FETCH. The asker asks again for what is missing.
pub const FETCH_ANSWER: u64 = 4 * MIB;

/// FETCHes of one peer that are answered at once. An asker asks for one piece after another; each answer lies in memory
/// until the asker has read it.
pub const FETCHES_AT_ONCE: usize = 1;

/// Bytes of the push window that a head takes until it is answered, whatever its length: the answer may be a note of that
/// size. Heads without entries would cost nothing otherwise, and a slow disk lets their answers wait.
pub const HEAD_ROOM: u64 = MAX_NOTE as u64;

/// Bytes handed to QUIC in one write of a batch.
pub const WRITE_PIECE: usize = 256 << 10;

/// Bytes of pushes that wait for one peer before the connection counts as stalled. The core keeps unreceipted bytes
/// within the peer's window; a refill may run ahead of it.
pub const PUSH_QUEUE_BYTES: u64 = 64 * MIB;

/// Frames that wait on a control stream: it carries a few a minute, and at most 22 parts of TRUST at once.
pub const CONTROL_QUEUE: usize = 256;

/// Receipts that wait on the back of a push stream. A peer that pushes and does not read its receipts is closed.
pub const BACK_QUEUE: usize = 1_024;

/// Events that wait for the shell before reading stops.
pub const EVENT_QUEUE: usize = 1_024;

/// Bytes asked of the kernel for each UDP buffer: the default loses packets under load even on loopback.
pub const UDP_BUFFER: usize = 4 << 20;

/// Certificate chains with post-quantum signatures are longer than quinn's 16 KiB for handshake bytes out of order.
pub const CRYPTO_BUFFER: usize = 64 << 10;

/// Connection attempts between their first packet and the decision of this room.
pub const INCOMING: usize = 128;

/// Bytes kept for one such attempt, and for all of them.
pub const INCOMING_BYTES: (u64, u64) = (16 << 10, 1 << 20);

/// Addresses tried for one dial: twice what an introduction may hold for a node, for those that an operator adds.
pub const DIAL_ADDRESSES: usize = 16;

/// What differs between machines, and what tests shorten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Unreceipted bytes that this node announces; must not be less than what the core announces.
    pub push_window: u64,
    /// Handshakes under way whose certificate is not yet judged, in all. One costs about 1 ms of CPU.
    pub handshakes: usize,
    /// The same from one IPv4 /24 or IPv6 /48. An address costs a stranger little, a prefix more.
    pub handshakes_per_prefix: usize,
    /// Live connections of one peer: both sides dial, and a newer one replaces an older one.
    pub connections_per_peer: usize,
    /// From the first packet of a dial to the first answer: three round trips of 1.4 s, with loss. Nobody waits longer
    /// to learn that nothing listens there.
    pub answer: Duration,
    /// From the first packet to the judged certificate: three round trips of 1.4 s and 4 KB at 8 KB/s; with every lost
    /// packet QUIC waits another three round trips, and at 5 % loss two are lost in one of four attempts.
    pub handshake: Duration,
    /// Until a peer's HELLO begins: it follows the handshake at once, but may be lost a few times.
    pub hello: Duration,
    /// From a frame's first byte to its last: 64 KiB take 8 s at 64 kbit/s, several times that with loss and other
    /// traffic.
    pub frame: Duration,
    /// Until QUIC takes at least one more byte of what is to be written.
    pub write: Duration,
    /// Until the next bytes of a file come. Files pause while something urgent is unreceipted.
    pub enclosure: Duration,
    /// For the look-up of a host name.
    pub lookup: Duration,
    /// For the last control frames before a close in order: two round trips of 700 ms.
    pub linger: Duration,
    /// The side that dialled gives a sign of life after this silence: with the four seconds that an answer may take, a
    /// peer that is gone is known to be so within a quarter of a minute. Mappings for UDP in routers live 30 s or more.
    pub keep_alive: Duration,
    /// The side that was dialled asks by itself after this silence: the other's sign of life and a second are overdue.
    pub keep_alive_accepted: Duration,
    /// After this silence QUIC gives the connection up by itself: the belt beside `alive`, which is quicker.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            push_window: 8 * MIB,
            handshakes: 512,
            handshakes_per_prefix: 64,
            connections_per_peer: 4,
            answer: Duration::from_secs(10),
            handshake: Duration::from_secs(30),
            hello: Duration::from_secs(20),
            frame: Duration::from_secs(60),
            write: Duration::from_secs(120),
            enclosure: Duration::from_secs(600),
            lookup: Duration::from_secs(5),
            linger: Duration::from_secs(2),
            keep_alive: Duration::from_secs(9),
            keep_alive_accepted: Duration::from_secs(11),
            idle: Duration::from_secs(32),
        }
    }
}

impl Limits {
    /// Bytes of entries in one batch, and of all batches of a push stream that the shell has not yet done with.
    pub fn batch_bytes(&self) -> u64 {
        self.push_window.saturating_add(PUSH_EXEMPT + FRAME_BYTES)
    }

    /// Bytes of pushes that lie in memory until they are dealt with: the largest batch and its head.
    pub fn push_room(&self) -> u64 {
        self.batch_bytes().saturating_add(HEAD_ROOM)
    }

    /// Credit that a connection grants: a full push, every enclosure stream, and a stream window for all others.
    pub fn receive_window(&self) -> u64 {
        self.batch_bytes().saturating_add((ENCLOSURES_AT_ONCE as u64 + 1) * STREAM_WINDOW)
    }

    /// Unacknowledged bytes of all streams towards one peer.
    pub fn send_window(&self) -> u64 {
        self.batch_bytes().max(8 * MIB).saturating_add(ENCLOSURE_BUDGET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enclosures_get_at_most_half_of_either_sides_credit() {
        for push_window in [64 << 10, 8 << 20, 64 << 20] {
            let limits = Limits { push_window, ..Limits::default() };
            assert!(ENCLOSURE_BUDGET * 2 <= limits.send_window(), "{push_window}");
            assert!(ENCLOSURE_BUDGET * 2 <= limits.receive_window(), "{push_window}");
            let others = limits.receive_window() - ENCLOSURES_AT_ONCE as u64 * STREAM_WINDOW;
            assert!(others >= push_window, "a full push fits beside full enclosure streams");
        }
    }

    #[test]
    fn an_answer_fits_the_window_of_its_stream() {
        const { assert!(ENCLOSURE_ANSWER < STREAM_WINDOW) };
        const { assert!(ENCLOSURE_PIECE < ENCLOSURE_ANSWER as usize) };
    }
}
