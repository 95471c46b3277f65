//! The commands as a conversation: what is typed, what is answered, and the exit code.

mod desk;
mod scripted;

use std::path::Path;
use std::process::Output;

use scripted::*;
use tempfile::TempDir;
use verbale::api::{Request, code};
use verbale::name::{Kind, Tlp};

#[test]
fn without_a_daemon_every_command_that_needs_one_says_how_to_start_it() {
    let folder = TempDir::new().expect("a folder");
    let dir = path(&folder);
    for command in [vec!["status"], vec!["inbox"], vec!["ping", "XB"], vec!["peer", "list"], vec!["log", "show"]] {
        let mut arguments = vec!["--dir", dir];
        arguments.extend(command);
        let (exit, out, err) = said(&run(&arguments));
        assert_eq!((exit, out.as_str()), (Some(3), ""), "{arguments:?}");
        assert!(err.contains(&format!("no daemon answers in {dir}")), "{err}");
        assert!(err.contains(&format!("Start it with `verbale run --dir {dir}`.")), "{err}");
    }
}

#[test]
fn a_folder_without_a_journal_has_nothing_to_verify() {
    let folder = TempDir::new().expect("a folder");
    for command in ["verify", "rebuild", "replay"] {
        let (exit, out, err) = said(&run(&["log", command, "--dir", path(&folder)]));
        assert_eq!((exit, out.as_str()), (Some(5), ""), "{command}");
        assert!(err.contains("holds no journal") && err.contains("--dir"), "{err}");
    }
}

#[test]
fn wrong_usage_is_told_with_exit_code_two() {
    for arguments in
        [&["send", "xb", "--kind", "warning"][..], &["ping"], &["peer", "show", "X"], &["recover"], &["dance"]]
    {
        let (exit, out, err) = said(&run(arguments));
        assert_eq!((exit, out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(err.starts_with("error: "), "{err}");
    }
    let (exit, _, err) = said(&run(&["introduction"]));
    assert_eq!(exit, Some(2));
    assert_eq!(
        err,
        "verbale: looking for the node: it was not said which node's folder is meant\n  Say --dir DIR, or set VERBALE_DIR.\n"
    );
}

#[test]
fn failures_are_one_json_object_on_standard_error_when_asked_for() {
    let folder = TempDir::new().expect("a folder");
    let (exit, out, err) = said(&run(&["status", "--json", "--dir", path(&folder)]));
    assert_eq!((exit, out.as_str()), (Some(3), ""));
    let error: serde_json::Value = serde_json::from_str(&err).expect("JSON");
    assert_eq!(error["error"]["code"], code::NO_DAEMON);
}

#[test]
fn a_wrong_configuration_keeps_the_daemon_from_starting_and_names_the_line() {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("verbale.toml"), "[node]\nstate = \"XA\"\n[limits]\nwindwo = 1\n")
        .expect("writes");
    let (exit, _, err) = said(&run(&["run", "--dir", path(&folder)]));
    assert_eq!(exit, Some(5));
    assert!(err.contains("verbale.toml, line 4: `limits.windwo`: there is no such key"), "{err}");
    assert!(err.contains("Did you mean `window`?"), "{err}");
}

fn init(folder: &Path, state: &str) -> Output {
    let passphrase = folder.join("passphrase");
    std::fs::write(&passphrase, "exercise only, not a secret\n").expect("writes");
    let dir = folder.join(state);
    let arguments = ["init", "--state", state, "--listen", "127.0.0.1:7411", "--passphrase-file"];
    verbale(&arguments).arg(passphrase).arg("--dir").arg(dir).output().expect("the program runs")
}

#[test]
fn a_node_is_set_up_once_and_introduces_itself() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().expect("a folder");
    let (exit, out, err) = said(&init(folder.path(), "XA"));
    assert_eq!((exit, err.as_str()), (Some(0), ""));
    assert!(out.contains("XA (Exercise State XA) is set up in"), "{out}");
    assert!(out.contains("imply no position on the legal status"), "{out}");
    let dir = folder.path().join("XA");
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(&dir), mode(&dir.join("verbale.toml"))), (0o700, 0o600));
    assert_eq!(mode(&folder.path().join("XA-root.key")), 0o600);

    let (exit, _, err) = said(&init(folder.path(), "XA"));
    assert_eq!(exit, Some(5));
    assert!(err.contains("a node was set up here before"), "{err}");

    let (exit, out, _) = said(&run(&["introduction", "--json", "--dir", dir.to_str().expect("UTF-8")]));
    assert_eq!(exit, Some(0));
    let view: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let groups = view["fingerprint"].as_str().expect("text").split(' ').count();
    assert_eq!(groups, 12);
    assert!(view["introduction"].as_str().expect("text").contains("127.0.0.1:7411"));
}

#[test]
fn a_node_that_nobody_could_reach_is_not_set_up() {
    let folder = TempDir::new().expect("a folder");
    let dir = folder.path().join("XA");
    let output = verbale(&["init", "--state", "XA", "--dir"]).arg(&dir).output().expect("the program runs");
    let (exit, _, err) = said(&output);
    assert_eq!(exit, Some(2));
    assert!(err.contains("by which address") && err.contains("--announce node.example:7411"), "{err}");
    assert!(!dir.exists());
}

#[test]
fn a_passphrase_that_is_too_short_leaves_nothing_behind() {
    let folder = TempDir::new().expect("a folder");
    let (passphrase, dir) = (folder.path().join("passphrase"), folder.path().join("XA"));
    std::fs::write(&passphrase, "short").expect("writes");
    let arguments = ["init", "--state", "XA", "--listen", "127.0.0.1:7411", "--passphrase-file"];
    let output = verbale(&arguments).arg(passphrase).arg("--dir").arg(&dir).output().expect("the program runs");
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(!dir.exists() && !folder.path().join("XA-root.key").exists());
}

#[test]
fn a_message_is_shown_without_its_authors_tricks_and_reading_sends_nothing() {
    let daemon = Daemon::start();
    let (exit, out, err) = daemon.ask(&["show", "3f3f"]);
    assert_eq!((exit, err.as_str()), (Some(0), ""));
    assert!(out.starts_with("EXERCISE EXERCISE EXERCISE\n\u{2068}انقطاع \\u{202e}\\u{1b}[2J\u{2069}\n"), "{out:?}");
    assert!(out.contains("  from             XB (Exercise State XB), technical desk\n"), "{out}");
    assert!(out.contains("  sent             2026-03-01 12:00:00 UTC by its clock\n"), "{out}");
    assert!(out.contains("OFFICIAL\\nforged: line"), "{out}");
    assert!(out.contains("\n  | \u{2067}سطر أول\u{2069}\n  | line \\u{1b}two\n"), "{out:?}");
    let fate = "  acknowledgement  none yet\n  answer           none yet\n  withdrawn by     withdrawal d1d1d1d1d1d1, ";
    assert!(out.contains(fate), "{out}");
    assert!(out.contains("Reading it has sent nothing to the other State."), "{out}");
    assert!(!out.contains('\u{1b}'));
    let (_, json, _) = daemon.ask(&["show", "3f3f", "--json"]);
    assert!(json.contains("\\u202e") && !json.contains('\u{202e}'));
    let back: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(back["message"]["row"]["subject"], "انقطاع \u{202e}\u{1b}[2J");
    assert!(daemon.requests().iter().all(|request| !matches!(request, Request::Acknowledge(_))));
}

#[test]
fn enclosures_are_saved_under_harmless_names_and_never_over_a_file() {
    let daemon = Daemon::start();
    let into = daemon.folder.path().join("received");
    let into = into.to_str().expect("UTF-8");
    let (exit, out, _) = daemon.ask(&["enclosure", "save", "3f3f", "--into", into]);
    assert_eq!(exit, Some(0), "{out}");
    let saved = Path::new(into).join("00-_.._up.txt");
    assert_eq!(std::fs::read(&saved).expect("saved"), FILE);
    let (exit, _, err) = daemon.ask(&["enclosure", "save", "3f3f", "--into", into]);
    assert_eq!(exit, Some(5));
    assert!(err.contains("Choose an empty folder."), "{err}");
    assert_eq!(std::fs::read(&saved).expect("still there"), FILE);
}

#[test]
fn drill_traffic_is_listed_apart() {
    let daemon = Daemon::start();
    let (exit, out, _) = daemon.ask(&["inbox"]);
    assert_eq!(exit, Some(0));
    assert!(out.starts_with("EXERCISE messages\nid        received          from"), "{out}");
}

#[test]
fn a_message_to_several_is_one_message_each_and_its_state_is_told_in_words() {
    let daemon = Daemon::start();
    let arguments =
        ["send", "XB,XC", "--kind", "warning", "--subject", "S", "--text", "T", "--lang", "en", "--wait", "receipt"];
    let (exit, out, err) = daemon.ask(&arguments);
    assert_eq!((exit, err.as_str()), (Some(0), ""), "{out}");
    assert!(
        out.starts_with("To XB (Exercise State XB), XC (Exercise State XC): S (ROUTINE, TLP:AMBER+STRICT)\n"),
        "{out}"
    );
    assert!(out.contains("receipt: the other machine has stored it"), "{out}");
    assert!(out.contains("2026-03-01 12:00:02 UTC by its clock"), "{out}");
    let requests = daemon.requests();
    let Some(Request::Send(send)) = requests.first() else { panic!("{requests:?}") };
    assert_eq!((send.to.len(), send.kind, send.tlp), (2, Kind::Warning, Tlp::AmberStrict));
    assert_ne!(send.to[0].id, send.to[1].id);
    let Some(Request::Send(again)) = requests.last() else { panic!("{requests:?}") };
    assert_eq!(again.to, send.to, "waiting repeats the same ids");
}

#[test]
fn urgent_messages_are_confirmed_by_a_person_or_by_a_flag_that_is_journalled() {
    let daemon = Daemon::start();
    let base = ["send", "XB", "--kind", "warning", "--subject", "S", "--text", "T", "--precedence", "FLASH"];
    let with = |more: &[&'static str]| [&base[..], more].concat();
    let (exit, _, err) = daemon.ask(&with(&[]));
    assert_eq!(exit, Some(2));
    assert!(err.contains("FLASH needs a justification"), "{err}");
    let (exit, _, err) = daemon.ask(&with(&["--justification", "it spreads"]));
    assert_eq!(exit, Some(4));
    assert!(err.contains("a person must confirm this, and there is no terminal"), "{err}");
    assert!(err.contains("--yes, which is journalled"), "{err}");
    assert!(daemon.requests().is_empty());
    let (exit, _, _) = daemon.ask(&with(&["--justification", "it spreads", "--yes"]));
    assert_eq!(exit, Some(0));
    let requests = daemon.requests();
    assert!(matches!(requests.first(), Some(Request::Send(send)) if send.confirmed_by_flag), "{requests:?}");
    let red = ["send", "XB", "--kind", "warning", "--subject", "S", "--text", "T", "--tlp", "RED"];
    assert_eq!(daemon.ask(&red).0, Some(4));
}

#[test]
fn an_acknowledgement_needs_a_person_at_a_terminal() {
    let daemon = Daemon::start();
    let (exit, _, err) = daemon.ask(&["ack", "3f3f"]);
    assert_eq!(exit, Some(4));
    assert!(err.contains("an acknowledgement is a person's"), "{err}");
    assert!(daemon.requests().is_empty());

    let Some((exit, screen)) = daemon.ask_on_a_terminal("ack 3f3f", "XC") else { return };
    assert_eq!(exit, Some(4), "{screen}");
    assert!(screen.contains("it was not confirmed; nothing was done"), "{screen}");
    let acknowledged = |requests: &[Request]| {
        requests.iter().any(|request| matches!(request, Request::Acknowledge(ack) if ack.on_terminal && !ack.demo))
    };
    assert!(!acknowledged(&daemon.requests()));
    let (exit, screen) = daemon.ask_on_a_terminal("ack 3f3f", "XB").expect("it was there before");
    assert_eq!(exit, Some(0), "{screen}");
    let sentence = "An acknowledgement means that the desk has read the message; it does not mean agreement.";
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(&screen).contains(sentence), "{screen}");
    assert!(acknowledged(&daemon.requests()));
}

#[test]
fn damage_found_by_a_verification_is_exit_code_one_with_its_place() {
    let daemon = Daemon::start();
    let (exit, out, _) = daemon.ask(&["log", "verify"]);
    assert_eq!(exit, Some(1));
    assert!(out.contains("FAULT: journal/000001: group at 4096 is damaged"), "{out}");
    assert!(out.ends_with("Not everything holds; see above.\n"), "{out}");
}

#[test]
fn what_the_daemon_refuses_is_exit_code_four_with_its_words() {
    let daemon = Daemon::start();
    let (exit, _, err) = daemon.ask(&["outbox", "retry", "XD"]);
    assert_eq!(exit, Some(4));
    assert_eq!(err, "verbale: asking: there is none\n  Look elsewhere.\n");
    let (exit, _, err) = daemon.ask(&["show", "beef"]);
    assert_eq!(exit, Some(4));
    assert!(err.contains("none of the newest 10000 messages received or sent begins so"), "{err}");
}

#[test]
fn an_introduction_whose_fingerprint_differs_is_refused_and_the_groups_are_named() {
    let daemon = Daemon::start();
    assert_eq!(init(daemon.folder.path(), "XB").status.code(), Some(0));
    let dir = daemon.folder.path().join("XB");
    let (_, json, _) = said(&run(&["introduction", "--json", "--dir", dir.to_str().expect("UTF-8")]));
    let view: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let file = daemon.folder.path().join("xb.introduction");
    std::fs::write(&file, view["introduction"].as_str().expect("text")).expect("writes");
    let right = view["fingerprint"].as_str().expect("text");
    let last = if right.ends_with('0') { "1" } else { "0" };
    let wrong = format!("{}{last}", &right[..right.len() - 1]);
    let file = file.to_str().expect("UTF-8");
    let add = |fingerprint: &str| {
        let ceremony = ["--read-by", "desk XB to desk XA", "--channel", "telephone"];
        daemon.ask(&[&["peer", "add", file, "--fingerprint", fingerprint], &ceremony[..]].concat())
    };
    let (exit, _, err) = add(&wrong);
    assert_eq!(exit, Some(4));
    assert!(err.contains("1 of 12 groups differ (group 12)") && err.contains("Nothing was accepted."), "{err}");
    assert!(!err.contains(right) && !err.contains(&right[right.len() - 5..]), "the right groups are not shown: {err}");
    let (_, _, err) = add(&"1".repeat(60));
    assert!(err.contains("another one altogether"), "{err}");
    assert!(daemon.requests().is_empty());
    let (_, _, err) = add("12 34");
    assert!(err.contains("--fingerprint"), "{err}");
    add(right);
    let requests = daemon.requests();
    assert!(matches!(requests.first(), Some(Request::PeerAdd(add)) if add.channel == "telephone"), "{requests:?}");
}

#[test]
fn the_demonstration_refuses_what_it_could_not_finish() {
    let folder = TempDir::new().expect("a folder");
    let (exit, _, err) = said(&run(&["demo", "--json", folder.path().join("nothing").to_str().expect("UTF-8")]));
    assert_eq!(exit, Some(2));
    assert!(err.contains("is not a file"), "{err}");
    std::fs::write(folder.path().join("mine"), "x").expect("writes");
    let (exit, _, err) = said(&run(&["demo", "--keep", path(&folder)]));
    assert_eq!(exit, Some(2));
    assert!(err.contains("is not empty"), "{err}");
}
