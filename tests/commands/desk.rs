//! What a duty officer meets: long lists, narrow terminals, confirmations, and what cannot be taken back.

use tempfile::TempDir;
use verbale::api::{LogRow, MessageState, PeerAction, Request, Sent, VerifyView};
use verbale::name::Millis;

use super::scripted::*;

#[test]
fn rows_that_were_left_out_are_told_with_the_way_to_them() {
    let daemon = Daemon::start();
    let (exit, out, _) = daemon.ask(&["inbox", "--peer", "XC", "--limit", "2"]);
    assert_eq!(exit, Some(0));
    assert_eq!(out.matches("3f3f3f3f").count(), 2, "{out}");
    assert!(
        out.contains("These are the newest 2; there are older ones. The next page: the same with --before 39"),
        "{out}"
    );
    let (_, json, _) = daemon.ask(&["inbox", "--peer", "XC", "--limit", "2", "--before", "50", "--json"]);
    let page: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((page["messages"].as_array().map(Vec::len), &page["before"]), (Some(2), &serde_json::json!(39)));
    let (_, out, _) = daemon.ask(&["inbox", "--peer", "XC", "--limit", "3"]);
    assert!(!out.contains("--before"), "{out}");
    let asked = |limit| daemon.ask(&["inbox", "--limit", limit]).0;
    assert_eq!((asked("0"), asked("1"), asked("10000"), asked("10001")), (Some(2), Some(0), Some(0), Some(2)));
}

#[test]
fn on_a_terminal_no_line_is_wider_than_it() {
    let daemon = Daemon::start();
    // `script` gives a terminal that does not say its width: 80 columns.
    let Some((exit, screen)) = daemon.ask_on_a_terminal("inbox", "") else { return };
    assert_eq!(exit, Some(0), "{screen}");
    let longest = screen.lines().map(|line| line.trim_end().chars().count()).max();
    assert!(longest <= Some(80), "{screen}");
    assert!(screen.contains("warning (1 file): "), "{screen}");
}

#[test]
fn the_outbox_says_which_files_were_refused_and_which_were_not() {
    let daemon = Daemon::start();
    let refused = |text: &str| text.lines().filter(|line| line.contains(", refused")).count();
    let (exit, out, err) = daemon.ask(&["outbox"]);
    assert_eq!((exit, out.contains("1, refused"), refused(&out)), (Some(0), true, 1), "{out}{err}");
    let Some((_, screen)) = daemon.ask_on_a_terminal("outbox", "") else { return };
    assert!(screen.contains("warning (1 file, refused)") && refused(&screen) == 1, "{screen}");
}

#[test]
fn removing_a_peer_says_what_waits_and_is_confirmed() {
    let daemon = Daemon::start();
    let acted = || {
        let requests = daemon.requests();
        requests.into_iter().find_map(|request| match request {
            Request::PeerAct { action, confirmed_by_flag, .. } => Some((action, confirmed_by_flag)),
            _ => None,
        })
    };
    let (exit, out, err) = daemon.ask(&["peer", "remove", "XB"]);
    assert_eq!((exit, acted()), (Some(4), None), "{err}");
    assert!(out.contains("3 messages wait for it.") && err.contains("--yes, which is journalled"), "{out}{err}");
    if let Some((exit, screen)) = daemon.ask_on_a_terminal("peer remove XB", "XA") {
        assert_eq!((exit, acted()), (Some(4), None), "{screen}");
    }
    let (exit, _, _) = daemon.ask(&["peer", "remove", "XB", "--yes"]);
    assert_eq!((exit, acted()), (Some(0), Some((PeerAction::Remove, true))));
    let (_, out, _) = daemon.ask(&["peer", "suspend", "XB"]);
    assert!(out.contains("3 messages wait here until then"), "{out}");
}

#[test]
fn what_is_in_the_log_cannot_be_cancelled_and_it_is_said_what_can_be_done() {
    let daemon = Daemon::start();
    let (exit, _, err) = daemon.ask(&["outbox", "cancel", &OWN.to_string()]);
    assert_eq!(exit, Some(4));
    assert!(err.contains("it is too late: the other machine has stored it"), "{err}");
    assert!(err.contains("--kind correction --in-reply-to 4e4e4e4e4e4e"), "{err}");
}

#[test]
fn kinds_that_machines_make_are_neither_offered_nor_taken() {
    let (_, help, _) = said(&run(&["send", "--help"]));
    assert!(help.contains("request-mitigation") && !help.contains("PING"), "{help}");
    for kind in ["PING", "acknowledgement"] {
        let (exit, _, err) = said(&run(&["send", "XB", "--kind", kind, "--subject", "S", "--text", "T"]));
        assert_eq!(exit, Some(2));
        assert!(err.contains("invalid value") && !err.contains("VOLUME"), "{err}");
    }
}

#[test]
fn a_code_that_is_no_states_is_refused_with_the_one_that_is_meant_and_nothing_is_left_behind() {
    let folder = TempDir::new().expect("a folder");
    let passphrase = folder.path().join("passphrase");
    std::fs::write(&passphrase, "four words and more").expect("writes");
    let dir = folder.path().join("deep/UK");
    let init = |more: &[&str]| {
        let base = ["init", "--dir", dir.to_str().expect("UTF-8"), "--listen", "127.0.0.1:7411"];
        let passphrase = ["--passphrase-file", passphrase.to_str().expect("UTF-8")];
        said(&run(&[&base[..], &passphrase, more].concat()))
    };
    let (exit, _, err) = init(&["--state", "UK"]);
    assert_eq!(exit, Some(2));
    assert!(err.contains("say --state GB."), "{err}");
    let (exit, _, err) = init(&["--state", "XQ"]);
    assert!(exit == Some(2) && err.contains("--unlisted-state"), "{err}");
    let (exit, _, err) = init(&["--state", "XA", "--root-from", "/nowhere/root.key"]);
    assert_eq!(exit, Some(5));
    assert!(err.contains("No such file or directory\n") && !err.contains("os error"), "{err}");
    assert!(!folder.path().join("deep").exists());
    assert_eq!(init(&["--state", "XQ", "--unlisted-state"]).0, Some(0));
}

#[test]
fn every_field_of_the_json_is_on_the_page_of_commands() {
    fn names(value: &serde_json::Value, found: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(fields) => fields.iter().for_each(|(name, value)| {
                found.push(name.clone());
                names(value, found);
            }),
            serde_json::Value::Array(values) => values.iter().for_each(|value| names(value, found)),
            _ => {}
        }
    }
    let page = include_str!("../../docs/COMMANDS.md");
    let sent = Sent {
        peer: peer().peer,
        id: OWN,
        state: MessageState::Sent,
        receipt_time: None,
        case: None,
        files_refused: String::new(),
    };
    let row = LogRow {
        origin: String::new(),
        index: 0,
        id: None,
        kind: String::new(),
        time: Millis(0),
        case: None,
        body_len: 0,
        receipted: false,
        record: 0,
    };
    let json = serde_json::json!([view(), peer(), sent, row, VerifyView::default()]);
    let mut found = Vec::new();
    names(&json, &mut found);
    for name in found {
        assert!(page.contains(&format!("`{name}`")), "docs/COMMANDS.md does not name `{name}`");
    }
}
