//! What befalls a node's folder: two daemons, a restored backup, a copy, open keys.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use verbale::api::WaitFor;

use crate::rig::{Rig, RootOf, message, pair, until, up};

fn run(folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_verbale")).args(["run", "--dir"]).arg(folder).output().unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (kind, to) = (entry.file_type().unwrap(), to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &to);
        } else if kind.is_file() {
            fs::copy(entry.path(), &to).unwrap();
        }
    }
}

#[tokio::test]
async fn a_folder_has_one_daemon() {
    let stage = tempfile::tempdir().unwrap();
    let mut a = Rig::new(stage.path(), "XA", RootOf::TheState);
    a.start().await;
    let second = run(&a.folder);
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("in use by process"), "{said}");
    assert!(a.status().await.troubles.is_empty(), "the first one goes on");
}

#[tokio::test]
async fn keys_that_others_can_read_are_not_used() {
    let stage = tempfile::tempdir().unwrap();
    let a = Rig::new(stage.path(), "XA", RootOf::TheState);
    fs::set_permissions(a.folder.join("keys/tls.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let refused = run(&a.folder);
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("chmod 600") && said.contains("tls.key"), "{said}");
    assert!(!a.folder.join("journal").exists());
}

#[tokio::test]
async fn a_folder_whose_journal_is_gone_does_not_start_empty() {
    let stage = tempfile::tempdir().unwrap();
    let mut a = Rig::new(stage.path(), "XA", RootOf::TheState);
    a.start().await;
    a.stop();
    fs::remove_dir_all(a.folder.join("journal")).unwrap();
    let refused = run(&a.folder);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("does not start empty"), "{said}");
}

#[tokio::test]
async fn a_restored_backup_opens_a_new_volume_and_goes_on_with_everything_that_was_said() {
    let stage = tempfile::tempdir().unwrap();
    let (mut a, b) = pair(stage.path()).await;
    a.send(message(&b, "before the backup", WaitFor::Receipt)).await;
    a.stop();
    let backup = stage.path().join("backup");
    copy(&a.folder, &backup);
    a.start().await;
    up(&a, &b).await;
    for number in 0..3 {
        a.send(message(&b, &format!("after the backup {number}"), WaitFor::Receipt)).await;
    }
    let volume = a.peer(&b).await.own_log;
    a.stop();
    fs::remove_dir_all(&a.folder).unwrap();
    copy(&backup, &a.folder);
    a.start().await;
    up(&a, &b).await;
    a.send(message(&b, "after the restore", WaitFor::Receipt)).await;
    assert_ne!(a.peer(&b).await.own_log, volume);
    let subjects: Vec<String> = b.inbox().await.into_iter().rev().map(|row| row.subject).collect();
    let expected = ["before the backup", "after the backup 0", "after the backup 1", "after the backup 2"];
    assert_eq!(subjects[..4], expected);
    assert_eq!(subjects[4..], ["after the restore"]);
    b.send(message(&a, "and back", WaitFor::Receipt)).await;
    until("the answer is there", async || a.inbox().await.iter().any(|row| row.subject == "and back")).await;
    a.all_holds().await;
    b.all_holds().await;
}

#[tokio::test]
async fn the_older_of_two_copies_of_a_node_fences_itself() {
    let stage = tempfile::tempdir().unwrap();
    let (mut a, b) = pair(stage.path()).await;
    a.send(message(&b, "before the copy", WaitFor::Receipt)).await;
    a.stop();
    let mut copied = Rig::new(stage.path(), "XA", RootOf::SomebodyElse);
    fs::remove_dir_all(&copied.folder).unwrap();
    copy(&a.folder, &copied.folder);
    // The copy notices that it is one, asks the peer, and opens the next volume.
    copied.start().await;
    up(&copied, &b).await;
    copied.send(message(&b, "from the copy", WaitFor::Receipt)).await;
    copied.stop();
    // The original knows nothing of that volume, which bears its own signature.
    a.start().await;
    until("the original is fenced", async || {
        a.status().await.troubles.iter().any(|trouble| trouble.code == "fenced" && trouble.level == "error")
    })
    .await;
    a.all_holds().await;
    b.all_holds().await;
}
