//! One system call fails at a time, as `strace` makes it: each write, sync, rename and open that the daemon makes when it
//! starts and while it runs. The process ends or says so, the next start heals it, nothing that was acknowledged is
//! lost, nothing comes twice, and `log verify` is green.
//!
//! A count is per thread, so one line of the table meets the journal's writer, the index, the key slots and whoever
//! stores a file, each in turn.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use verbale::api::{MessageState, Request, WaitFor};
use verbale::name::EntryId;

use crate::in_good_order;
use crate::rig::{Rig, message, pair, until, up};

/// Calls that fail while the daemon runs: which, how, and at which of each thread's calls.
const RUNNING: [(&str, &str, u32); 10] = [
    ("openat", "EMFILE", 1),
    ("rename", "EIO", 1),
    ("pwrite64", "EIO", 1),
    ("pwrite64", "EIO", 3),
    ("pwrite64", "ENOSPC", 1),
    ("pwrite64", "ENOSPC", 2),
    ("fdatasync", "EIO", 1),
    ("fdatasync", "EIO", 3),
    ("fsync", "EIO", 1),
    ("fsync", "EIO", 2),
];

/// Calls that fail while the daemon starts. `write` serves sockets and events too, so it fails for one file only: the
/// sentinel, which is written where it is missing.
const STARTING: [(&str, &str, u32); 8] = [
    ("write", "EIO", 1),
    ("write", "ENOSPC", 1),
    ("pwrite64", "EIO", 1),
    ("pwrite64", "ENOSPC", 2),
    ("fdatasync", "EIO", 1),
    ("fsync", "EIO", 1),
    ("rename", "EIO", 1),
    ("rename", "ENOSPC", 1),
];

/// How often the same is tried again where `strace` did not get hold of the thread.
const ESCAPES: usize = 5;

/// Whether this machine lets a process be traced.
pub fn strace_works() -> bool {
    let tried = Command::new("strace").args(["-qq", "-o", "/dev/null", "-e", "trace=none", "true"]).output();
    tried.is_ok_and(|output| output.status.success())
}

fn options(call: &str, error: &str, when: u32, trace: &Path) -> Vec<String> {
    let inject = format!("inject={call}:error={error}:when={when}");
    let options = ["-f", "-e", &format!("trace={call}"), "-e", "signal=none", "-e", &inject, "-o"];
    options.into_iter().map(str::to_owned).chain([trace.display().to_string()]).collect()
}

/// `strace` on a running daemon; it ends with this value.
struct Tracer(Child);

impl Tracer {
    fn attach(node: &mut Rig, options: &[String]) -> Self {
        let pid = node.daemon().pid().as_raw_nonzero().to_string();
        let mut command = Command::new("strace");
        command.args(options).args(["-p", &pid]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Its first line says that it has all threads.
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("attached"), "{line}");
        Self(child)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What was promised while a call failed.
#[derive(Default)]
struct Promised {
    queued: BTreeSet<EntryId>,
    failures: Vec<String>,
}

/// Messages both ways and a file, while something fails.
async fn work(a: &Rig, b: &Rig, file: &Path, promised: &mut Promised) {
    for number in 0..4 {
        let send = message(b, &format!("there {number}"), WaitFor::Queued);
        let id = send.to[0].id;
        match a.call(Request::Send(Box::new(send))).await {
            Ok(_) => _ = promised.queued.insert(id),
            Err(failure) => promised.failures.push(failure.to_string()),
        }
    }
    let mut back = message(a, "back, with a file", WaitFor::Queued);
    back.enclosures = vec![b.upload(file).await];
    let back = b.send(back).await.id;
    until("the work is done, or the daemon has ended, or has told of trouble", async || {
        a.has_ended()
            || tells(&a.log())
            || !promised.failures.is_empty() && a.call(Request::Status).await.is_err()
            || b.outbox().await.iter().any(|row| row.id == back && row.state == MessageState::Held)
    })
    .await;
}

/// Whether a log has a line that would wake somebody up.
fn tells(log: &str) -> bool {
    [" ERROR ", " WARN ", "a file waits", "a file will not come"].iter().any(|word| log.contains(word))
}

/// After the next start everything is as if nothing had been.
async fn healed(a: &mut Rig, b: &mut Rig, promised: &Promised, what: &str) {
    a.kill();
    // A peer that is up would first ask the connection that has died for a sign of life.
    b.kill();
    b.start().await;
    a.start().await;
    up(a, b).await;
    until("what was promised is delivered", async || {
        a.outbox().await.iter().all(|row| row.state == MessageState::Delivered)
            && b.outbox().await.iter().all(|row| row.state == MessageState::Held)
    })
    .await;
    let received: Vec<EntryId> = b.inbox().await.iter().map(|row| row.id).collect();
    let once: BTreeSet<EntryId> = received.iter().copied().collect();
    assert_eq!(once.len(), received.len(), "{what}: something came twice");
    assert!(promised.queued.is_subset(&once), "{what}: something that was acknowledged is lost");
    assert_eq!(a.inbox().await.len(), b.outbox().await.len(), "{what}");
    let view = a.verify().await;
    assert!(view.good, "{what}: {view:#?}\n{}", a.log());
}

/// Whether `strace` has made a call fail.
fn injected(trace: &Path) -> bool {
    fs::read_to_string(trace).is_ok_and(|trace| trace.contains("(INJECTED)"))
}

#[tokio::test]
async fn each_failing_call_of_a_running_daemon_is_told_and_healed_by_the_next_start() {
    if !strace_works() {
        println!("skipped: strace is not installed, or may not trace");
        return;
    }
    let stage = tempfile::tempdir().unwrap();
    let (mut a, mut b) = pair(stage.path()).await;
    let file = stage.path().join("a file");
    fs::write(&file, vec![5; 300 << 10]).unwrap();
    for (number, (call, error, when)) in RUNNING.into_iter().enumerate() {
        let what = format!("{call} {error} at the call {when} of a thread");
        let trace = stage.path().join(format!("running-{number}"));
        a.forget_log();
        let mut promised = Promised::default();
        let mut tracer = Tracer::attach(&mut a, &options(call, error, when, &trace));
        work(&a, &b, &file, &mut promised).await;
        // A thread that is born while `strace` attaches can escape it.
        for _ in 0..ESCAPES {
            if injected(&trace) {
                break;
            }
            drop(tracer);
            tracer = Tracer::attach(&mut a, &options(call, error, when, &trace));
            work(&a, &b, &file, &mut promised).await;
        }
        assert!(injected(&trace), "{what}: no such call was made");
        in_good_order(&a.log());
        healed(&mut a, &mut b, &promised, &what).await;
    }
    b.all_holds().await;
}

#[tokio::test]
async fn each_failing_call_of_a_start_is_told_and_the_next_start_is_a_good_one() {
    if !strace_works() {
        println!("skipped: strace is not installed, or may not trace");
        return;
    }
    let stage = tempfile::tempdir().unwrap();
    let (mut a, mut b) = pair(stage.path()).await;
    let send = message(&b, "before", WaitFor::Receipt);
    let promised = Promised { queued: BTreeSet::from([send.to[0].id]), failures: Vec::new() };
    a.send(send).await;
    for (number, (call, error, when)) in STARTING.into_iter().enumerate() {
        let what = format!("{call} {error} at the call {when} of a starting thread");
        let trace = stage.path().join(format!("starting-{number}"));
        a.kill();
        a.forget_log();
        let mut wrapper = ["strace", "-D", "-qq"].map(str::to_owned).to_vec();
        if call == "write" {
            let sentinel = a.folder.join("sentinel");
            wrapper.extend(["-P".to_owned(), sentinel.with_extension("tmp").display().to_string()]);
            fs::remove_file(sentinel).unwrap();
        }
        wrapper.extend(options(call, error, when, &trace));
        let serves = a.start_under(&wrapper).await;
        until("the call has failed", async || a.has_ended() || injected(&trace)).await;
        assert!(injected(&trace), "{what}: no such call was made");
        let log = a.log();
        assert!(serves || log.lines().count() > 0, "{what}: it ended without a word");
        in_good_order(&log);
        healed(&mut a, &mut b, &promised, &what).await;
    }
    b.all_holds().await;
}
