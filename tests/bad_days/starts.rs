//! What keeps a node from starting: each time one clear error that names the place, and the folder is as it was.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use verbale::api::WaitFor;

use crate::in_good_order;
use crate::rig::{Rig, RootOf, message, pair, until};
use crate::world::{listens, set};

/// The user `nobody` of every system.
const NOBODY: u32 = 65_534;

fn run(folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_verbale")).args(["run", "--dir"]).arg(folder).output().unwrap()
}

/// The node does not start; what it says holds each of these pieces.
fn refused(folder: &Path, pieces: &[&str]) {
    judge(&run(folder), pieces);
}

fn judge(output: &Output, pieces: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "it started, or ended well:\n{said}");
    assert!(output.status.code().is_some(), "it ended by a signal: {:?}\n{said}", output.status);
    in_good_order(&said);
    for piece in pieces {
        assert!(said.contains(piece), "`{piece}` is missing in:\n{said}");
    }
}

fn folder(stage: &Path) -> Rig {
    Rig::new(stage, "XA", RootOf::TheState)
}

#[test]
fn garbage_in_the_configuration_is_named_with_its_place() {
    let stage = tempfile::tempdir().unwrap();
    let a = folder(stage.path());
    let path = a.folder.join("verbale.toml");
    let good = fs::read_to_string(&path).unwrap();
    let line = |text: &str| format!("line {}", text.lines().count());
    for (line, garbage, pieces) in [
        ("window =", "window = \"eight\"", vec!["window"]),
        ("window =", "window = [8]", vec!["window"]),
        ("listen =", "listen = [\"nowhere\"]", vec!["listen", "nowhere"]),
        ("state =", "state = \"Atlantis\"", vec!["state"]),
        ("state =", "", vec!["state"]),
        ("stall =", "stall = \"1ms\"", vec!["stall"]),
        ("pq =", "pq = \"perhaps\"", vec!["pq", "perhaps"]),
        ("pq =", "nonsense = 1", vec!["nonsense"]),
        ("pq =", "[[[", vec![]),
        ("pq =", "a key without a value", vec![]),
        ("#[peers.XB]", "[peers.Q]", vec!["Q"]),
        ("#[peers.XB]", "[peers.XB]\naddresses = [\"no port\"]", vec!["no port"]),
    ] {
        let replaced = good.lines().map(|old| if old.starts_with(line) { garbage } else { old });
        fs::write(&path, replaced.collect::<Vec<_>>().join("\n")).unwrap();
        let mut pieces = pieces;
        pieces.push("verbale.toml");
        refused(&a.folder, &pieces);
    }
    let text = format!("{good}\nstall_for_ever = 3");
    fs::write(&path, &text).unwrap();
    refused(&a.folder, &["verbale.toml", &line(&text), "stall_for_ever"]);
    for bytes in
        [vec![], vec![0; 10_000], vec![0xff; 100], b"\xef\xbb\xbf[node]\nstate = \"XA".to_vec(), vec![b'['; 3 << 20]]
    {
        fs::write(&path, bytes).unwrap();
        refused(&a.folder, &["verbale.toml"]);
    }
    fs::remove_file(&path).unwrap();
    refused(&a.folder, &["there is no configuration", "verbale init"]);
    assert!(!a.folder.join("journal").exists(), "nothing was begun");
    fs::write(&path, good).unwrap();
}

#[tokio::test]
async fn the_folder_of_another_state_is_not_started_under_this_name() {
    let stage = tempfile::tempdir().unwrap();
    let (mut a, _b) = pair(stage.path()).await;
    a.stop();
    set(&a, "state", "\"XC\"");
    refused(&a.folder, &["XC", "XA", "nothing was started"]);
    set(&a, "state", "\"XA\"");
    a.start().await;
}

#[test]
fn a_key_that_is_missing_open_to_others_or_garbage_is_named() {
    let stage = tempfile::tempdir().unwrap();
    let a = folder(stage.path());
    let keys: Vec<PathBuf> = fs::read_dir(a.folder.join("keys"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "key"))
        .collect();
    assert!(keys.len() >= 3, "{keys:?}");
    for key in keys {
        let (name, good) = (key.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&key).unwrap());
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        refused(&a.folder, &[&name, "chmod 600"]);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        for garbage in [&b""[..], b"no key at all\n", &[0xff; 5_000], &good[..good.len() / 2]] {
            fs::write(&key, garbage).unwrap();
            refused(&a.folder, &[&name]);
        }
        fs::remove_file(&key).unwrap();
        refused(&a.folder, &[&name]);
        fs::write(&key, good).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert!(!a.folder.join("journal").exists(), "nothing was begun");
}

#[tokio::test]
async fn a_missing_key_of_the_slots_is_named_and_no_new_one_is_made() {
    let stage = tempfile::tempdir().unwrap();
    let mut a = folder(stage.path());
    a.start().await;
    a.stop();
    let key = a.folder.join("keys/slots.key");
    let good = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    refused(&a.folder, &["slots.key"]);
    assert!(!key.exists(), "a new key would make every text unreadable for good");
    fs::write(&key, good).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    a.start().await;
}

#[test]
fn a_port_in_use_is_named_with_its_likely_cause() {
    let stage = tempfile::tempdir().unwrap();
    let a = folder(stage.path());
    let address = listens(&a);
    let _taken = UdpSocket::bind(address).unwrap();
    refused(&a.folder, &[&address.to_string(), "another program"]);
}

#[test]
fn a_folder_without_permission_is_named() {
    if rustix::process::geteuid().as_raw() != 0 {
        println!("skipped: only root can become another user");
        return;
    }
    let stage = tempfile::tempdir().unwrap();
    let a = folder(stage.path());
    fs::set_permissions(stage.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // The program is where nobody may not reach it otherwise.
    let program = stage.path().join("verbale");
    fs::copy(env!("CARGO_BIN_EXE_verbale"), &program).unwrap();
    let as_nobody = || {
        let mut command = Command::new(&program);
        command.uid(NOBODY).gid(NOBODY).current_dir("/").args(["run", "--dir"]).arg(&a.folder);
        command.output().unwrap()
    };
    let path = a.folder.display().to_string();
    judge(&as_nobody(), &[&path, "ermission denied"]);
    fs::set_permissions(&a.folder, fs::Permissions::from_mode(0o755)).unwrap();
    judge(&as_nobody(), &[&path]);
    fs::set_permissions(&a.folder, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(!a.folder.join("journal").exists(), "nothing was begun");
}

#[tokio::test]
async fn a_bad_configuration_at_a_reload_leaves_the_node_running_with_the_good_one() {
    let stage = tempfile::tempdir().unwrap();
    let (a, b) = pair(stage.path()).await;
    let path = a.folder.join("verbale.toml");
    let good = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{good}\nnonsense = 1\n")).unwrap();
    let failure = a.call(verbale::api::Request::Reload).await.unwrap_err();
    assert!(failure.why.contains("nonsense"), "{failure}");
    a.send(message(&b, "still here", WaitFor::Receipt)).await;
    fs::write(&path, good).unwrap();
    a.call(verbale::api::Request::Reload).await.unwrap();
    until("it has arrived", async || b.inbox().await.len() == 1).await;
    in_good_order(&a.log());
    a.all_holds().await;
}
