//! The demonstration, whole: real daemons, and afterwards the folders without them, as an auditor has them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;
use verbale::journal::FolderLock;

fn verbale(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_verbale"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)))
}

fn shown(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Flips a bit in the middle of the first durable part of a journal.
fn damage(folder: &Path) -> PathBuf {
    let mut segments: Vec<PathBuf> = fs::read_dir(folder.join("journal"))
        .expect("a journal")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    segments.sort();
    let first = segments.remove(0);
    let mut bytes = fs::read(&first).expect("readable");
    bytes[20_000] ^= 1;
    fs::write(&first, bytes).expect("writable");
    first
}

#[test]
fn three_states_tell_the_story_and_their_folders_can_be_audited_without_a_daemon() {
    let place = TempDir::new().expect("a folder");
    let (keep, file) = (place.path().join("play"), place.path().join("تقرير.json"));
    fs::write(&file, vec![b'x'; 300_000]).expect("writes");
    let output = verbale(&["demo", "--json", "--keep", shown(&keep), shown(&file)]).output().expect("runs");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let seen = json(&output);
    for (key, value) in [
        ("states", 3),
        ("messages", 8),
        ("receipts", 8),
        ("acknowledgements", 1),
        ("enclosures", 2),
        ("logs_verified", 6),
    ] {
        assert_eq!(seen[key], value, "{key} in {seen}");
    }
    assert!(seen["elapsed_ms"].as_u64().is_some_and(|ms| ms > 0));

    for node in ["XA", "XB", "XC"] {
        let dir = keep.join(node);
        let verified = verbale(&["log", "verify", "--json", "--dir", shown(&dir)]).output().expect("runs");
        let view = json(&verified);
        assert_eq!((verified.status.code(), &view["good"]), (Some(0), &true.into()), "{node}: {view}");
        assert!(view["bodies"].as_u64() > Some(0) && view["rows"].as_u64() > Some(0), "{node}: {view}");
    }
    the_journal_tells_its_acts(&keep.join("XB"));
    what_is_looked_up_can_be_built_anew(&keep.join("XA"));

    let damaged = damage(&keep.join("XC"));
    let verified = verbale(&["log", "verify", "--dir", shown(&keep.join("XC"))]).output().expect("runs");
    assert_eq!(verified.status.code(), Some(1));
    let name = damaged.file_name().expect("a file").to_string_lossy().into_owned();
    assert!(text(&verified.stdout).contains(&name), "{}", text(&verified.stdout));
}

fn the_journal_tells_its_acts(dir: &Path) {
    let acts = |arguments: &[&str]| {
        let output = verbale(arguments).arg("--dir").arg(dir).output().expect("runs");
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout)
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect::<Vec<serde_json::Value>>()
    };
    let sealed = acts(&["log", "replay"]);
    let numbers: Vec<u64> = sealed.iter().map(|act| act["record"].as_u64().expect("a number")).collect();
    assert_eq!(numbers, (0..sealed.len() as u64).collect::<Vec<_>>());
    let water = |acts: &[serde_json::Value]| acts.iter().any(|act| act.to_string().contains("water utility"));
    assert!(!water(&sealed), "a text is opened only when asked for");
    assert!(water(&acts(&["log", "replay", "--texts"])));
    assert!(sealed.iter().any(|act| act.to_string().contains("demo plays the officer")));
}

fn what_is_looked_up_can_be_built_anew(dir: &Path) {
    fs::remove_dir_all(dir.join("store")).expect("there");
    let rebuilt = verbale(&["log", "rebuild", "--json", "--dir", shown(dir)]).output().expect("runs");
    let view = json(&rebuilt);
    assert_eq!(rebuilt.status.code(), Some(0), "{view}");
    assert!(view["rows"].as_u64() > Some(0), "{view}");
}

#[test]
fn an_interrupted_demonstration_leaves_no_daemon_behind() {
    use rustix::process::{Pid, Signal, kill_process};
    use std::time::{Duration, Instant};

    let place = TempDir::new().expect("a folder");
    let keep = place.path().join("play");
    let mut demo =
        verbale(&["demo", "--keep", shown(&keep)]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    let until = |what: &str, so: &mut dyn FnMut() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(120);
        while !so() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::yield_now();
        }
    };
    let socket = keep.join("XB").join("verbale.sock");
    until("the daemon of XB runs", &mut || socket.exists());
    let pid = Pid::from_raw(i32::try_from(demo.id()).expect("a process id")).expect("not zero");
    kill_process(pid, Signal::TERM).expect("signals");
    assert_eq!(demo.wait().expect("ends").code(), Some(1));
    for node in ["XA", "XB"] {
        until("the folder is free", &mut || FolderLock::acquire(&keep.join(node)).is_ok());
    }
}
