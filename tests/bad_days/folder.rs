//! Every file of a node's folder, damaged and removed: a verification is red and names it, says the same a second time,
//! and changes nothing; a start works and tells what it repaired, or is refused and changes nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tokio::io::AsyncReadExt;
use tokio::net::UnixDatagram;
use tokio::net::unix::pipe;
use verbale::api::{MessageState, Reply, Request, VerifyView, WaitFor};

use crate::in_good_order;
use crate::rig::{PATIENCE, Rig, message, pair, until, up};
use crate::world::{copy, queue, restore};

/// A folder's files, but for the lock files, which hold the number of whoever looked last.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
            found.insert(path, Vec::new());
        } else if path.is_file() && !is(&path, &["lock", "daemon.log"]) {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

fn is(path: &Path, names: &[&str]) -> bool {
    names.iter().any(|name| path.file_name().is_some_and(|file| file == *name))
}

fn flip(path: &Path, at: u64) {
    let (file, mut byte) = (File::options().read(true).write(true).open(path).unwrap(), [0]);
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

/// `log verify` without a daemon: what it finds, the same twice, with the folder as it was.
fn verify(folder: &Path) -> VerifyView {
    let once = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_verbale"));
        let output = command.args(["log", "verify", "--json", "--dir"]).arg(folder).output().unwrap();
        in_good_order(&String::from_utf8_lossy(&output.stderr));
        let view: VerifyView = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        assert_eq!(output.status.code(), Some(i32::from(!view.good)), "{view:?}");
        view
    };
    let before = contents(folder);
    let (first, second) = (once(), once());
    assert_eq!(first, second, "the second verification says something else");
    assert!(contents(folder) == before, "the verification changed the folder");
    first
}

/// How a start ended: refused (with what it said), or serving.
enum Started {
    Refused(String),
    Serves(Serving),
}

struct Serving {
    child: Child,
    log: PathBuf,
}

impl Serving {
    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn start(folder: &Path, arguments: &[&str]) -> Started {
    let log = folder.with_extension("stderr");
    let mut command = Command::new(env!("CARGO_BIN_EXE_verbale"));
    command.arg("run").args(arguments).arg("--dir").arg(folder).env(verbale::node::DEMO_VARIABLE, "1");
    // It says when it is ready, as to systemd; and its standard output ends when it does.
    let place = tempfile::tempdir().unwrap();
    let ready = UnixDatagram::bind(place.path().join("ready")).unwrap();
    command.env("NOTIFY_SOCKET", place.path().join("ready"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log).unwrap());
    let mut serving = Serving { child: command.spawn().unwrap(), log };
    let output = OwnedFd::from(serving.child.stdout.take().unwrap());
    let mut output = pipe::Receiver::from_owned_fd(output).unwrap();
    let (mut said, mut rest) = ([0; 256], Vec::new());
    let serves = tokio::time::timeout(PATIENCE, async {
        tokio::select! {
            told = ready.recv(&mut said) => Some(told.unwrap()),
            _ = output.read_to_end(&mut rest) => None,
        }
    });
    match serves.await {
        Ok(Some(length)) => {
            let told = String::from_utf8_lossy(&said[..length]);
            assert!(told.contains("READY=1"), "{told}");
            Started::Serves(serving)
        }
        Ok(None) => {
            serving.child.wait().unwrap();
            Started::Refused(serving.said())
        }
        Err(_) => panic!("neither serves nor ends: {}", serving.said()),
    }
}

/// A start is refused with these words; sled's own files may differ, because it writes when it is opened.
async fn refused(folder: &Path, arguments: &[&str], pieces: &[&str]) {
    let contents = |folder: &Path| {
        let mut contents = contents(folder);
        contents.retain(|path, _| !path.to_string_lossy().contains("/store/"));
        contents
    };
    let before = contents(folder);
    let Started::Refused(said) = start(folder, arguments).await else { panic!("it started") };
    in_good_order(&said);
    pieces.iter().for_each(|piece| assert!(said.contains(piece), "`{piece}` is missing in:\n{said}"));
    assert!(contents(folder) == before, "a start that was refused changed the folder:\n{said}");
}

/// XA's folder, stopped in order: several segments, messages and files in both directions, an officer, a snapshot.
async fn complete(stage: &Path) -> Rig {
    let (mut a, b) = pair(stage).await;
    let file = stage.join("list.csv");
    fs::write(&file, "address,port\n".repeat(9)).unwrap();
    for (from, to) in [(&a, &b), (&b, &a)] {
        let mut with_file = message(to, "with a file", WaitFor::Held);
        with_file.enclosures = vec![from.upload(&file).await];
        assert_eq!(from.send(with_file).await.state, MessageState::Held);
    }
    for number in 0..2 {
        a.stop();
        a.start().await;
        up(&a, &b).await;
        a.send(message(&b, &format!("after start {number}"), WaitFor::Receipt)).await;
    }
    a.all_holds().await;
    a.stop();
    let _ = fs::remove_file(a.folder.join("journal/reserve"));
    let end = groups(&a.folder).pop().unwrap();
    // The zeros behind the last group are given back, so that a copy of the folder is quick.
    let last = File::options().write(true).open(segment(&a.folder, end.0)).unwrap();
    last.set_len(end.1 + end.2).unwrap();
    assert!(fs::read_dir(a.folder.join("officers")).unwrap().count() > 0);
    assert!(fs::read_dir(a.folder.join("snapshots")).unwrap().count() > 0);
    a
}

/// Segment, offset and length of every durable group.
fn groups(folder: &Path) -> Vec<(u64, u64, u64)> {
    let scan = verbale::journal::scan(&folder.join("journal"), 0).unwrap();
    scan.map(|group| group.unwrap())
        .map(|group| (group.position.segment, group.position.offset, group.frame.len() as u64))
        .collect()
}

fn segment(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("journal/{number:020}.seg"))
}

/// What is no part of the record, or where a changed byte means nothing.
fn may_pass(path: &Path, removed: bool) -> bool {
    let text = path.to_string_lossy();
    let says_the_same = [".pem", "introduction.txt", "tls.key", "sign-ed25519.key", "sign-mldsa44.key"];
    is(path, &["verbale.toml"])
        || text.contains("/store/")
        || text.contains("/uploads/")
        || removed && (text.contains("/snapshots/") || text.contains("/officers/"))
        || !removed && says_the_same.iter().any(|ending| text.ends_with(ending))
}

#[tokio::test]
async fn every_file_of_a_folder_is_verified_and_never_silently_repaired() {
    let stage = tempfile::tempdir().unwrap();
    let a = complete(stage.path()).await;
    let whole = verify(&a.folder);
    assert!(whole.good && whole.rows.is_some() && whole.enclosures == 2, "{whole:#?}");
    let files: Vec<PathBuf> = contents(&a.folder).into_keys().filter(|path| path.is_file()).collect();
    assert!(files.len() > 20, "{files:?}");
    for path in &files {
        let length = fs::metadata(path).unwrap().len();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for at in [length / 3, length - 1] {
            flip(path, at);
            let view = verify(&a.folder);
            let told = view.faults.iter().chain(&view.remarks).any(|said| said.contains(&name));
            let silent = is(path, &["verbale.toml"]) || path.to_string_lossy().contains("/store/");
            assert!(told || silent, "byte {at} of {}: {view:#?}", path.display());
            assert!(!view.good || may_pass(path, false), "byte {at} of {}: {view:#?}", path.display());
            flip(path, at);
        }
        // The very file comes back, so that the sentinel knows itself.
        let away = stage.path().join("away");
        fs::rename(path, &away).unwrap();
        let view = verify(&a.folder);
        assert!(!view.good || may_pass(path, true), "{} was removed: {view:#?}", path.display());
        fs::rename(&away, path).unwrap();
    }
    assert_eq!(verify(&a.folder), whole);
}

#[tokio::test]
async fn a_flipped_byte_in_any_group_is_red_with_its_place_the_last_one_included() {
    let stage = tempfile::tempdir().unwrap();
    let a = complete(stage.path()).await;
    let groups = groups(&a.folder);
    for (number, (segment_number, offset, length)) in groups.iter().copied().enumerate() {
        let last = number + 1 == groups.len();
        let places = if last { vec![0, 9, 40, 100, length / 2, length - 1] } else { vec![number as u64 * 37 % length] };
        for place in places {
            let path = segment(&a.folder, segment_number);
            flip(&path, offset + place);
            let view = verify(&a.folder);
            let faults = view.faults.join("\n");
            let named = [path.file_name().unwrap().to_string_lossy().into_owned(), format!("byte {offset}")];
            assert!(!view.good && named.iter().all(|name| faults.contains(name)), "{number} {place}: {view:#?}");
            flip(&path, offset + place);
        }
    }
    assert!(verify(&a.folder).good);
}

/// What a start on a damaged file must say, where it may not be refused and not be silent.
fn says(path: &Path, removed: bool) -> Option<&'static str> {
    let text = path.to_string_lossy();
    match () {
        () if is(path, &["end"]) => Some("end mark"),
        () if is(path, &["slots.1", "slots.2"]) => Some("made whole from the other copy"),
        () if is(path, &["sentinel"]) => Some("asks its peers"),
        () if text.contains("/snapshots/") && !removed => Some("passed over"),
        () if text.contains("/keys/sign-") => Some("keys/sign-"),
        () => None,
    }
}

#[tokio::test]
async fn a_start_on_a_damaged_folder_tells_what_it_repaired_or_leaves_it_as_it_was() {
    let stage = tempfile::tempdir().unwrap();
    let a = complete(stage.path()).await;
    let files: Vec<PathBuf> = contents(&a.folder).into_keys().filter(|path| path.is_file()).collect();
    let newest = files.iter().rfind(|path| path.to_string_lossy().ends_with(".snap")).unwrap().clone();
    let last = segment(&a.folder, groups(&a.folder).pop().unwrap().0);
    let (mut served, mut turned_away) = (0, 0);
    for path in files.iter().filter(|path| !path.to_string_lossy().contains("/store/")) {
        for removed in [false, true] {
            let folder = stage.path().join("tried");
            copy(&a.folder, &folder);
            let damaged = folder.join(path.strip_prefix(&a.folder).unwrap());
            if removed {
                fs::remove_file(&damaged).unwrap();
            } else {
                // In a segment: within its last group.
                let length = fs::metadata(&damaged).unwrap().len();
                let is_segment = damaged.extension().is_some_and(|ending| ending == "seg");
                flip(&damaged, if is_segment { length - 20 } else { length / 2 });
            }
            let before = contents(&folder);
            match start(&folder, &[]).await {
                Started::Refused(said) => {
                    in_good_order(&said);
                    assert!(contents(&folder) == before, "{} ({removed}): {said}", path.display());
                    turned_away += 1;
                }
                Started::Serves(serving) => {
                    let said = serving.said();
                    in_good_order(&said);
                    assert!(*path != last && !is(path, &["slots.key"]), "{} ({removed}): {said}", path.display());
                    // Of the snapshots only the newest is read.
                    let unread = path.to_string_lossy().contains("/snapshots/") && *path != newest;
                    let due = says(path, removed).filter(|_| !unread);
                    assert!(due.is_none_or(|due| said.contains(due)), "{} ({removed}): {said}", path.display());
                    served += 1;
                }
            }
            fs::remove_dir_all(&folder).unwrap();
        }
    }
    assert!(served > 10 && turned_away > 10, "{served} {turned_away}");
}

#[tokio::test]
async fn a_journal_that_is_gone_stays_red() {
    let stage = tempfile::tempdir().unwrap();
    let a = complete(stage.path()).await;
    let gone = |what: &str| {
        let view = verify(&a.folder);
        assert!(view.faults.iter().any(|fault| fault.contains("the journal is gone")), "{what}: {view:#?}");
    };
    for entry in fs::read_dir(a.folder.join("journal")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "seg") {
            fs::remove_file(path).unwrap();
        }
    }
    gone("the segments");
    refused(&a.folder, &[], &["does not start empty"]).await;
    fs::remove_dir_all(a.folder.join("journal")).unwrap();
    gone("the folder");
    for (number, left) in ["store", "snapshots", "enclosures", "uploads", "officers", "sentinel"].iter().enumerate() {
        let path = a.folder.join(left);
        let _ = fs::rename(&path, stage.path().join(format!("gone-{number}")));
        gone(left);
    }
}

#[tokio::test]
async fn the_end_of_a_journal_is_never_dropped_silently_and_a_person_can_go_on_without_it() {
    let stage = tempfile::tempdir().unwrap();
    let (mut a, mut b) = pair(stage.path()).await;
    a.send(message(&b, "before", WaitFor::Receipt)).await;
    b.stop();
    queue(&a, &b, 0..1).await;
    // kill -9: no snapshot knows of the message.
    a.kill();
    let whole = stage.path().join("whole");
    copy(&a.folder, &whole);
    let (number, offset, length) = groups(&a.folder).pop().unwrap();
    let path = segment(&a.folder, number);
    flip(&path, offset + length / 2);
    let place = [path.file_name().unwrap().to_string_lossy().into_owned(), format!("byte {offset}")];
    let pieces: Vec<&str> =
        place.iter().map(String::as_str).chain(["--accept-loss", "backup", "Nothing was"]).collect();
    refused(&a.folder, &[], &pieces).await;
    let view = verify(&a.folder);
    assert!(view.faults.iter().any(|fault| place.iter().all(|piece| fault.contains(piece))), "{view:#?}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_verbale"));
    let replay = command.args(["log", "replay", "--dir"]).arg(&a.folder).output().unwrap();
    let told = String::from_utf8(replay.stdout).unwrap();
    assert!(replay.status.code() == Some(1) && told.lines().last().unwrap().contains("a durable group"), "{told}");
    // The right byte is all it takes.
    flip(&path, offset + length / 2);
    a.start().await;
    assert_eq!(a.outbox().await.len(), 2);
    a.stop();
    refused(&a.folder, &["--accept-loss"], &["nothing is lost"]).await;

    restore(&a, &whole);
    flip(&path, offset + length / 2);
    let Started::Serves(serving) = start(&a.folder, &["--accept-loss"]).await else { panic!("{}", a.log()) };
    b.start().await;
    up(&a, &b).await;
    let sent = a.send(message(&b, "after", WaitFor::Receipt)).await;
    assert_eq!(sent.state, MessageState::Delivered);
    assert!(serving.said().contains("the end of the journal is lost"), "{}", serving.said());
    drop(serving);
    let replay = Command::new(env!("CARGO_BIN_EXE_verbale")).args(["log", "replay", "--dir"]).arg(&a.folder).output();
    let told = String::from_utf8(replay.unwrap().stdout).unwrap();
    assert!(told.contains("journal-loss") && told.contains("accepted by the user"), "{told}");
    assert!(told.contains("\"restored\""), "the start was in doubt: {told}");
    a.start().await;
    a.all_holds().await;
    b.all_holds().await;
}

#[tokio::test]
async fn without_the_keys_to_the_texts_nothing_is_green() {
    let stage = tempfile::tempdir().unwrap();
    let a = complete(stage.path()).await;
    let key = a.folder.join("keys/slots.key");
    let (whole, length) = (fs::read(&key).unwrap(), fs::metadata(&key).unwrap().len());
    for at in (0..length).step_by(5).chain([length - 1]) {
        flip(&key, at);
        let view = verify_once(&a.folder);
        assert!(view.faults.iter().any(|fault| fault.contains("no sealed text")), "byte {at}: {view:#?}");
        flip(&key, at);
    }
    assert_eq!(fs::read(&key).unwrap(), whole);
    for name in ["slots/slots.1", "slots/slots.2"] {
        fs::remove_file(a.folder.join(name)).unwrap();
    }
    let view = verify(&a.folder);
    assert!(view.faults.iter().any(|fault| fault.contains("no sealed text")), "{view:#?}");
    refused(&a.folder, &[], &["slots"]).await;
    // An export of the record has no place for keys: what it holds is verified, and it is said what was not opened.
    let export = stage.path().join("export");
    fs::create_dir(&export).unwrap();
    fs::set_permissions(&export, fs::Permissions::from_mode(0o700)).unwrap();
    copy(&a.folder.join("journal"), &export.join("journal"));
    fs::copy(a.folder.join("introduction.txt"), export.join("introduction.txt")).unwrap();
    let view = verify(&export);
    assert!(view.good && view.remarks.iter().any(|remark| remark.contains("were not opened")), "{view:#?}");
}

fn verify_once(folder: &Path) -> VerifyView {
    let mut command = Command::new(env!("CARGO_BIN_EXE_verbale"));
    let output = command.args(["log", "verify", "--json", "--dir"]).arg(folder).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn status_keeps_saying_what_was_found_until_a_verification_finds_nothing() {
    let stage = tempfile::tempdir().unwrap();
    let mut a = complete(stage.path()).await;
    let (number, offset, length) = groups(&a.folder)[1];
    let path = segment(&a.folder, number);
    flip(&path, offset + length / 2);
    // The snapshot covers it: the node starts, and looks back by itself.
    a.start().await;
    let told = async |a: &Rig| {
        let status = a.status().await;
        status.troubles.iter().any(|trouble| trouble.code == "damage" && trouble.what.contains(".seg"))
    };
    until("status tells of the damage", async || told(&a).await).await;
    let Ok(Reply::Verified(view)) = a.call(Request::LogRebuild).await else { panic!("{}", a.log()) };
    assert!(!view.good && told(&a).await);
    flip(&path, offset + length / 2);
    a.call(Request::LogRebuild).await.unwrap();
    assert!(a.verify().await.good && !told(&a).await);
}
