//! The configuration: what is shipped is valid, and what is wrong is named with its place and its cure.

use std::fs;
use std::path::Path;

use verbale::identity::{Address, PostQuantum};
use verbale::name::NodeName;
use verbale::settings::{ANNOTATED, MIN_BYTES_PER_DAY, OnMessage, Settings, SettingsError, annotated, parse};

fn read(text: &str) -> Result<Settings, SettingsError> {
    parse(text, "verbale.toml", [])
}

fn with(text: &str, variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    parse(text, "verbale.toml", variables)
}

fn error(text: &str) -> String {
    read(text).expect_err("this text is wrong").to_string()
}

fn address(text: &str) -> Address {
    text.parse().expect("an address")
}

fn xa() -> NodeName {
    "XA".parse().expect("a node's name")
}

#[test]
fn every_shipped_configuration_is_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut files = 0;
    for entry in fs::read_dir(folder).expect("the folder config/ is part of the project") {
        let path = entry.expect("readable").path();
        assert_eq!(path.extension().and_then(|extension| extension.to_str()), Some("toml"), "{}", path.display());
        let text = fs::read_to_string(&path).expect("readable");
        parse(&text, &path.display().to_string(), []).unwrap_or_else(|error| panic!("{error}"));
        files += 1;
    }
    assert!(files >= 2);
}

#[test]
fn the_annotated_file_says_the_defaults_and_names_every_key() {
    assert_eq!(read(ANNOTATED).expect("valid"), Settings::of(xa()));
    let repeat = "[on_message]\ncommand = \"/bin/true\"\n[node]\nstate = \"XA\"\n";
    let alert = read(repeat).expect("valid").on_message.expect("set");
    assert!(ANNOTATED.contains("repeat = \"5m\""));
    assert_eq!(alert.repeat.as_secs(), 300);
    let uncommented = ANNOTATED
        .replace("#desk", "desk")
        .replace("#[peers.XB]", "[peers.XB]")
        .replace("#addresses", "addresses")
        .replace("#display_name", "display_name")
        .replace("#bytes_per_day", "bytes_per_day");
    let all = read(&uncommented).expect("what is commented out is valid too");
    assert_eq!(all.node.to_string(), "XA.technical");
    let xb = "XB".parse().expect("a name");
    assert_eq!(all.peers[&xb].addresses, ["192.0.2.7:7411"]);
    assert_eq!((all.exchange.quota_of(xb), all.exchange.quota_of(xa())), (16 << 30, 4 << 30));
}

#[test]
fn what_init_writes_reads_back() {
    let listen = ["127.0.0.1:7500".parse().expect("an address")];
    let desk = Some(verbale::name::Desk::Diplomatic);
    let text = annotated("XB".parse().expect("a State"), desk, &listen, &[address("node.example:7500")]);
    let settings = read(&text).expect("valid");
    assert_eq!(settings.node.to_string(), "XB.diplomatic");
    assert_eq!(settings.listen, listen);
    assert_eq!(settings.announce, [address("node.example:7500")]);
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
    let text = "[node]\nstate = \"XA\"\n\n[network]\nlistn = [\"[::]:7411\"]\n";
    assert_eq!(
        error(text),
        "verbale.toml, line 5: `network.listn`: there is no such key\n  \
         Did you mean `listen`? The keys of this table: listen, announce, pq, mix_exercise."
    );
    let table = error("[node]\nstate = \"XA\"\n[netwrok]\n");
    assert!(
        table.starts_with("verbale.toml, line 3: `netwrok`: there is no such key\n  Did you mean `network`?"),
        "{table}"
    );
    let peer = error("[node]\nstate = \"XA\"\n[peers.XB]\naddress = [\"a:1\"]\n");
    assert!(peer.starts_with("verbale.toml, line 4: `peers.XB.address`: there is no such key"), "{peer}");
}

#[test]
fn wrong_values_are_named_each_with_its_line() {
    let text = "[node]\nstate = \"xa\"\n[limits]\nwindow = \"8 MB\"\nstall = true\n";
    let found = error(text);
    assert!(found.contains("line 2: `node.state`: `xa` is not a State code"), "{found}");
    assert!(found.contains("line 4: `limits.window`: `8 MB` is not a size"), "{found}");
    assert!(found.contains("line 5: `limits.stall`"), "{found}");
    for word in ["\"yes\"", "\"on\"", "1"] {
        let found = error(&format!("[node]\nstate = \"XA\"\n[network]\nmix_exercise = {word}\n"));
        assert!(found.contains("line 4: `network.mix_exercise`") && found.contains("Write"), "{found}");
    }
    let listen = error("[node]\nstate = \"XA\"\n[network]\nlisten = [\"0.0.0.0\"]\n");
    assert!(listen.contains("line 4: `network.listen`") && listen.contains("with a port"), "{listen}");
}

#[test]
fn limits_are_taken_at_their_ends_and_refused_one_beyond() {
    let text = |window: u64| format!("[node]\nstate = \"XA\"\n[limits]\nwindow = {window}\n");
    for (bytes, taken) in
        [(64 << 10, true), ((64 << 10) - 1, false), ((64 << 10) + 1, true), (256 << 20, true), ((256 << 20) + 1, false)]
    {
        assert_eq!(read(&text(bytes)).is_ok(), taken, "{bytes}");
    }
    for (least, good) in [(MIN_BYTES_PER_DAY - 1, false), (MIN_BYTES_PER_DAY, true), (MIN_BYTES_PER_DAY + 1, true)] {
        let all = format!("[node]\nstate = \"XA\"\n[limits]\npeer_bytes_per_day = {least}\n");
        assert_eq!(read(&all).is_ok(), good, "{least}");
        let one = format!("[node]\nstate = \"XA\"\n[peers.XB]\nbytes_per_day = {least}\n");
        assert_eq!(read(&one).is_ok(), good, "{least}");
    }
    let one = error("[node]\nstate = \"XA\"\n[peers.XB]\nbytes_per_day = \"1 MiB\"\n");
    assert!(one.contains("line 4") && one.contains("bytes_per_day") && one.contains("64 MiB"), "{one}");
    let sum = error("[node]\nstate = \"XA\"\n[limits]\nenclosures_total_max = \"1 MiB\"\n");
    assert!(sum.contains("line 4: `limits.enclosures_total_max`: 1 MiB is not between 64 MiB"), "{sum}");
}

#[test]
fn a_missing_state_and_text_that_is_no_toml_are_told() {
    let missing = error("[network]\npq = \"require\"\n");
    assert!(missing.contains("`node.state`: it is missing") && missing.contains("state = \"XA\""), "{missing}");
    let toml = error("[node\nstate = \"XA\"\n");
    assert!(toml.contains("this is not TOML") && toml.contains("line 1"), "{toml}");
}

#[test]
fn variables_go_before_the_file_and_their_errors_name_the_variable() {
    let text = "[node]\nstate = \"XA\"\n[peers.XB]\naddresses = [\"a.example:1\"]\ndisplay_name = \"Bee\"\n";
    let settings = with(
        text,
        &[
            ("VERBALE__NETWORK__LISTEN", "127.0.0.1:1, [::1]:2"),
            ("VERBALE__NETWORK__PQ", "require"),
            ("VERBALE__NETWORK__MIX_EXERCISE", "true"),
            ("VERBALE__LIMITS__PINGS_PER_DAY", "4"),
            ("VERBALE__ON_MESSAGE__COMMAND", "/usr/bin/alert"),
            ("VERBALE__PEERS__XB__ADDRESSES", "192.0.2.1:7411"),
        ],
    )
    .expect("valid");
    assert_eq!(settings.listen.len(), 2);
    assert_eq!(settings.pq, PostQuantum::Require);
    assert!(settings.exchange.mix_exercise);
    assert_eq!(settings.exchange.pings_per_day, 4);
    assert_eq!(settings.on_message.map(|OnMessage { command, .. }| command), Some("/usr/bin/alert".into()));
    let xb = &settings.peers[&"XB".parse().expect("a name")];
    assert_eq!((xb.addresses.len(), xb.display_name.as_deref()), (1, Some("Bee")));
    assert_eq!(xb.addresses, ["192.0.2.1:7411"]);

    let wrong = with(text, &[("VERBALE__LIMITS__WINDW", "1")]).expect_err("unknown").to_string();
    assert!(
        wrong.starts_with("the environment, VERBALE__LIMITS__WINDW: `limits.windw`: there is no such key"),
        "{wrong}"
    );
    let value = with(text, &[("VERBALE__LIMITS__WINDOW", "much")]).expect_err("no size").to_string();
    assert!(value.starts_with("the environment, VERBALE__LIMITS__WINDOW"), "{value}");
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused_without_panic(text in "(?s)[\\[\\]a-z.=\"\\n 0-9]{0,200}") {
        let _ = read(&text);
    }
}
