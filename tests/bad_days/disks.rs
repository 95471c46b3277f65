//! Damage on the disk, and a disk that is full.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use verbale::api::{MessageState, Request, WaitFor};

use crate::in_good_order;
use crate::relay::lane::mix;
use crate::rig::{Rig, RootOf, message, pair, until, up};
use crate::world::{arrived_in_order, copy, queue, restore, subjects};

/// Every file under a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

fn open(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

fn flip(path: &Path, at: u64) {
    let (file, mut byte) = (open(path), [0]);
    file.read_exact_at(&mut byte, at).unwrap();
    byte[0] ^= 0x10;
    file.write_all_at(&byte, at).unwrap();
}

/// What can happen to a file behind the program's back.
fn damage(kind: &str, path: &Path) {
    let length = fs::metadata(path).unwrap().len();
    match kind {
        "cut by 4 KiB" => open(path).set_len(length.saturating_sub(4_096)).unwrap(),
        "cut in half" => open(path).set_len(length / 2).unwrap(),
        "emptied" => open(path).set_len(0).unwrap(),
        "its end zeroed" => {
            let from = length.saturating_sub(4_096);
            open(path).write_all_at(&vec![0; usize::try_from(length - from).unwrap()], from).unwrap();
        }
        "a byte flipped near its start" => flip(path, 200.min(length - 1)),
        "a byte flipped in its middle" => flip(path, length / 2),
        "garbage" => fs::write(path, (0..length).map(|at| mix(at).to_le_bytes()[0]).collect::<Vec<_>>()).unwrap(),
        "removed" => fs::remove_file(path).unwrap(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn damage_to_what_is_looked_up_is_noticed_and_mended_from_the_journal() {
    let stage = tempfile::tempdir().unwrap();
    let (mut a, b) = pair(stage.path()).await;
    queue(&b, &a, 0..50).await;
    arrived_in_order(&a, 50).await;
    a.stop();
    let copied = stage.path().join("copied");
    copy(&a.folder, &copied);
    for kind in [
        "cut by 4 KiB",
        "cut in half",
        "emptied",
        "its end zeroed",
        "a byte flipped near its start",
        "a byte flipped in its middle",
        "garbage",
        "removed",
    ] {
        let store = a.folder.join("store");
        let largest = files(&store).into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
        damage(kind, &largest);
        a.start().await;
        let view = a.verify().await;
        if !view.good {
            a.call(Request::LogRebuild).await.unwrap();
        }
        arrived_in_order(&a, 50).await;
        a.all_holds().await;
        in_good_order(&a.log());
        a.stop();
        restore(&a, &copied);
    }
    a.start().await;
    up(&a, &b).await;
    a.send(message(&b, "all is well", WaitFor::Receipt)).await;
    a.all_holds().await;
    b.all_holds().await;
}

#[tokio::test]
async fn a_flipped_byte_in_any_durable_group_turns_verification_red_with_its_place() {
    let stage = tempfile::tempdir().unwrap();
    let (mut a, b) = pair(stage.path()).await;
    queue(&a, &b, 0..10).await;
    until("all is delivered", async || a.outbox().await.iter().all(|row| row.state == MessageState::Delivered)).await;
    a.all_holds().await;
    let journal = a.folder.join("journal");
    let groups: Vec<_> = verbale::journal::scan(&journal, 0).unwrap().map(Result::unwrap).collect();
    assert!(groups.len() > 10);
    for (number, group) in groups.iter().enumerate().step_by(groups.len() / 8 + 1) {
        let name = format!("{:020}.seg", group.position.segment);
        let (path, drawn) = (journal.join(&name), mix(number as u64) % group.frame.len() as u64);
        flip(&path, group.position.offset + drawn);
        let view = a.verify().await;
        assert!(!view.good, "byte {drawn} of group {number} was flipped");
        let places = view.faults.join("\n");
        assert!(places.contains(&name), "the file is named: {places}");
        assert!(places.contains(&group.position.offset.to_string()), "the place is named: {places}");
        flip(&path, group.position.offset + drawn);
    }
    a.all_holds().await;
    // A node that is started on it says so, and starts on nothing that it cannot believe.
    a.kill();
    let group = &groups[groups.len() / 2];
    let path = journal.join(format!("{:020}.seg", group.position.segment));
    flip(&path, group.position.offset + 20);
    let output = Command::new(env!("CARGO_BIN_EXE_verbale")).args(["run", "--dir"]).arg(&a.folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    in_good_order(&said);
    assert!(!output.status.success() && said.contains("damaged") && said.contains(".seg"), "{said}");
    flip(&path, group.position.offset + 20);
    a.start().await;
    up(&a, &b).await;
    a.send(message(&b, "all is well", WaitFor::Receipt)).await;
    a.all_holds().await;
    b.all_holds().await;
}

/// A small file system in memory, unmounted on every way out.
struct Small(PathBuf);

impl Small {
    /// `None` where this user may not mount.
    fn mount(at: &Path, mebibytes: u64) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let options = format!("size={mebibytes}m,mode=700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "verbale-test"]).arg(at).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned()))
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let file = File::create(self.0.join("ballast")).unwrap();
        let (piece, mut at) = (vec![7; 64 << 10], 0);
        while let Ok(written) = file.write_at(&piece, at) {
            at += written as u64;
        }
    }

    fn clear(&self) {
        fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// What a node has received from one peer, oldest first.
async fn from(node: &Rig, peer: &Rig) -> Vec<String> {
    node.inbox().await.into_iter().rev().filter(|row| row.peer == peer.name).map(|row| row.subject).collect()
}

#[tokio::test]
async fn a_full_disk_refuses_new_messages_in_plain_words_and_loses_nothing() {
    let stage = tempfile::tempdir().unwrap();
    // Twice the reserve of 64 MiB, a segment of 16 MiB and the rest of a folder must be free for a node to go on.
    let Some(small) = Small::mount(&stage.path().join("small"), 320) else {
        println!("skipped: this user may not mount a small file system");
        return;
    };
    let mut a = Rig::new(&small.0, "XA", RootOf::TheState);
    let [mut b, mut c] = ["XB", "XC"].map(|name| Rig::new(stage.path(), name, RootOf::TheState));
    for node in [&mut a, &mut b, &mut c] {
        node.start().await;
    }
    for (node, peer) in [(&a, &b), (&b, &a), (&a, &c), (&c, &a), (&b, &c), (&c, &b)] {
        node.add(peer).await.unwrap();
    }
    up(&a, &b).await;
    up(&a, &c).await;
    queue(&a, &b, 0..5).await;
    small.fill();
    let mut sent = 5;
    let refused = loop {
        let mut send = message(&b, &format!("{sent:04}"), WaitFor::Queued);
        send.text = "x".repeat(40 << 10);
        match a.call(Request::Send(Box::new(send))).await {
            Ok(_) => sent += 1,
            Err(failure) => break failure,
        }
        assert!(sent < 20_000, "the disk never was full");
    };
    assert_eq!(refused.code, "disk-full", "{refused}");
    until("status says so", async || a.status().await.troubles.iter().any(|trouble| trouble.code == "disk")).await;
    // Each peer is told "not now" with the reason and keeps what it has to say.
    for peer in [&b, &c] {
        peer.send(message(&a, "waits", WaitFor::Queued)).await;
        let told = async || peer.peer(&a).await.why.contains("not now; its disk is full");
        until("the peer knows why it waits", told).await;
        let waits = peer.peer(&a).await;
        assert!(waits.queue.queued + waits.queue.unreceipted > 0 && waits.own_receipted == 0, "{waits:?}");
    }
    // They go on with each other, and what the full node had taken reaches its peer: it costs the reserve little.
    up(&b, &c).await;
    assert_eq!(b.send(message(&c, "beside it", WaitFor::Receipt)).await.state, MessageState::Delivered);
    until("what was taken has arrived", async || from(&b, &a).await.len() == sent).await;
    // Where there is no room the index may be behind; the journal holds all the same.
    let full = a.verify().await;
    assert!(full.faults.iter().all(|fault| fault.starts_with("index")), "{full:#?}");
    small.clear();
    until("the node goes on by itself", async || {
        a.status().await.troubles.iter().all(|trouble| trouble.level != "error")
    })
    .await;
    until("what waited arrives", async || a.inbox().await.len() == 2).await;
    assert_eq!(subjects(&a).await, ["waits", "waits"]);
    assert_eq!(from(&b, &a).await, (0..sent).map(|number| format!("{number:04}")).collect::<Vec<_>>());
    in_good_order(&a.log());
    for node in [&a, &b, &c] {
        node.all_holds().await;
    }
    // It also starts on a full disk, and says what is wrong.
    a.stop();
    small.fill();
    a.start().await;
    a.stop();
    small.clear();
    a.start().await;
    up(&a, &b).await;
    a.send(message(&b, "all is well", WaitFor::Receipt)).await;
    a.all_holds().await;
    for node in [&mut a, &mut b, &mut c] {
        node.stop();
    }
}
