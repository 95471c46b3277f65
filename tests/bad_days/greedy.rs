//! An accepted peer that sends as fast as it can, reads nothing, and asks for everything, while the disk is slow: the
//! node's memory stays what it was, and its other peer is served.

use std::fs;
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use verbale::api::{MessageState, WaitFor};
use verbale::wire::Frame;

use crate::peers::Stage;
use crate::raw::{Raw, frame, hello, said};
use crate::rig::{Rig, message, soon, up};

/// Bytes by which the node may grow while a peer does its worst: its push window, the answers that wait, the queues of
/// two connections, and what an allocator keeps.
const GROWTH: u64 = 64 << 20;

/// Heads that are sent in one connection, unless it is closed before.
const HEADS: usize = 100_000;

/// The process id of a running daemon.
fn pid(rig: &Rig) -> u32 {
    fs::read_to_string(rig.folder.join("lock")).unwrap().trim().parse().unwrap()
}

/// Resident bytes of a process.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// Makes each sync of a process slow until it is dropped; `None` where the system lets nobody do that.
struct SlowDisk(Child);

impl SlowDisk {
    fn of(pid: u32) -> Option<Self> {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-e", "trace=fdatasync", "-e", "inject=fdatasync:delay_enter=400000"]);
        command.args(["-o", "/dev/null", "-p", &pid.to_string()]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        let mut disk = Self(child);
        // It ends at once where it may not attach.
        for _ in 0..100 {
            if disk.0.try_wait().ok()?.is_some() {
                return None;
            }
            let traced = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            if traced.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0")) {
                return Some(disk);
            }
            std::thread::yield_now();
        }
        Some(disk)
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// XA holds a log of XB; then XB's daemon stops, and the test plays it.
async fn held() -> Stage {
    let Stage { a, mut b, c, _folder } = Stage::new().await;
    b.start().await;
    b.add(&a).await.unwrap();
    up(&b, &a).await;
    let sent = b.send(message(&a, "in good order", WaitFor::Receipt)).await;
    assert_eq!(sent.state, MessageState::Delivered);
    b.stop();
    Stage { a, b, c, _folder }
}

/// Pushes the same bytes again and again until the connection ends or `times` is reached, and reads nothing.
async fn flood(stage: &Stage, boot: u8, bytes: &[u8], times: usize) -> u64 {
    let (raw, _send, mut recv) = Raw::saying(&stage.b, &stage.a, &said(hello(boot))).await;
    assert!(matches!(frame(&mut recv).await, Frame::Hello(_)));
    let (mut push, _back) = raw.stream(bytes).await;
    let (pid, mut most) = (pid(&stage.a), 0);
    for number in 0..times {
        let written = tokio::time::timeout(std::time::Duration::from_secs(5), push.write_all(bytes)).await;
        if !matches!(written, Ok(Ok(()))) {
            break;
        }
        if number % 1_000 == 0 {
            most = most.max(resident(pid));
        }
    }
    most.max(resident(pid))
}

#[tokio::test]
async fn heads_and_entries_without_end_on_a_slow_disk_cost_bounded_memory() {
    let stage = held().await;
    let pid = pid(&stage.a);
    stage.serves("before").await;
    let before = resident(pid);
    let slow = SlowDisk::of(pid);
    if slow.is_none() {
        println!("the disk cannot be made slow here; it is tried with the one that there is");
    }
    // An old volume under another name: answered with the newest head, and signed by nobody.
    let head = "verbale/XB/XA/1.0000000000000000\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n— x AAAAAAAA\n";
    let checkpoint = Frame::Checkpoint { note: Bytes::from_static(head.as_bytes()) }.encode();
    let mut most = 0;
    for round in 0..3 {
        most = most.max(flood(&stage, 20 + round, &checkpoint, HEADS).await);
    }
    let entry = crate::peers::entry(0, 40 << 10).encode();
    for round in 0..3 {
        most = most.max(flood(&stage, 30 + round, &entry, 1_000).await);
    }
    let (probe, not_now) = (Frame::Probe { nonce: 1 }.encode(), {
        let reason = verbale::wire::NotNowReason::Quota;
        Frame::NotNow { reason, retry_after_ms: 1 }.encode()
    });
    for (round, bytes) in [probe, not_now].into_iter().enumerate() {
        most = most.max(control_flood(&stage, 40 + round as u8, &bytes).await);
    }
    drop(slow);
    println!("resident: {} MiB before, {} MiB at the most", before >> 20, most >> 20);
    assert!(most < before + GROWTH, "from {} to {} MiB", before >> 20, most >> 20);
    stage.serves("after").await;
    stage.is_well().await;
    let lines = stage.a.log().lines().count();
    assert!(lines < 500, "a peer does not fill the log: {lines} lines");
}

/// The same on the control stream.
async fn control_flood(stage: &Stage, boot: u8, bytes: &[u8]) -> u64 {
    let (_raw, mut send, mut recv) = Raw::saying(&stage.b, &stage.a, &said(hello(boot))).await;
    assert!(matches!(frame(&mut recv).await, Frame::Hello(_)));
    let many = bytes.repeat(1_000);
    for _ in 0..100 {
        let written = tokio::time::timeout(std::time::Duration::from_secs(5), send.write_all(&many)).await;
        if !matches!(written, Ok(Ok(()))) {
            break;
        }
    }
    resident(pid(&stage.a))
}

#[tokio::test]
async fn a_peer_that_asks_for_its_whole_log_many_times_and_reads_nothing_costs_one_answer() {
    let Stage { a, mut b, c, _folder } = Stage::new().await;
    b.start().await;
    b.add(&a).await.unwrap();
    up(&b, &a).await;
    for number in 0..200 {
        let mut send = message(&a, &format!("{number}"), WaitFor::Queued);
        send.text = "x".repeat(40 << 10);
        b.send(send).await;
    }
    crate::rig::until("all has arrived", async || a.inbox().await.len() == 200).await;
    let origin = b.peer(&a).await.own_log.parse().unwrap();
    b.stop();
    let stage = Stage { a, b, c, _folder };
    let (pid, before) = (pid(&stage.a), resident(pid(&stage.a)));
    let (raw, _send, mut recv) = Raw::saying(&stage.b, &stage.a, &said(hello(50))).await;
    assert!(matches!(frame(&mut recv).await, Frame::Hello(_)));
    let ask = Frame::Fetch { origin, from: 0, to: u64::MAX }.encode();
    let mut streams = Vec::new();
    for _ in 0..12 {
        streams.push(raw.stream(&ask).await);
    }
    let first = soon("the first answer", frame(&mut streams[0].1)).await;
    assert!(matches!(first, Frame::Entry(entry) if entry.index == 0));
    for number in 0..5 {
        stage.serves(&format!("beside a peer that asks {number}")).await;
    }
    let after = resident(pid);
    println!("resident: {} MiB before, {} MiB after", before >> 20, after >> 20);
    assert!(after < before + (32 << 20), "from {} to {} MiB", before >> 20, after >> 20);
    // The next one is answered when the one before has gone.
    let (_, mut recv) = streams.remove(0);
    recv.stop(0u32.into()).unwrap();
    let next = soon("the next answer", frame(&mut streams[0].1)).await;
    assert!(matches!(next, Frame::Entry(entry) if entry.index == 0));
    drop(raw);
    stage.is_well().await;
}
