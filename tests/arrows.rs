//! The arrows of the house: which room may use which, and which rooms must not know the world outside.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each room with the rooms that it may use, in reading order.
const ARROWS: &[(&str, &[&str])] = &[
    ("name", &[]),
    ("wire", &["name"]),
    ("merkle", &["name"]),
    ("note", &["name", "merkle"]),
    ("exchange", &["name", "wire", "merkle", "note"]),
    ("journal", &["name"]),
    ("store", &["name", "wire", "merkle", "note", "exchange", "journal"]),
    ("identity", &["name", "wire", "note"]),
    ("settings", &["name", "exchange", "identity"]),
    ("net", &["name", "wire", "exchange", "identity"]),
    ("api", &["name", "wire"]),
    (
        "node",
        &[
            "name", "wire", "merkle", "note", "exchange", "journal", "store", "identity", "settings", "net", "api",
            "audit",
        ],
    ),
    ("audit", &["name", "wire", "merkle", "note", "exchange", "journal"]),
    (
        "cli",
        &[
            "name", "wire", "merkle", "note", "exchange", "journal", "store", "identity", "settings", "net", "api",
            "node", "audit",
        ],
    ),
];

/// Rooms without I/O, and what they must not name.
const PURE: &[&str] = &["name", "wire", "merkle", "note", "exchange"];
const OUTSIDE: &[&str] = &[
    "tokio",
    "quinn",
    "sled",
    "rustls",
    "std::fs",
    "std::net",
    "std::thread",
    "std::process",
    "std::env",
    "SystemTime",
    "Instant::now",
];

/// What only these rooms may name.
const ONLY: &[(&str, &[&str])] = &[
    ("sled", &["store"]),
    ("quinn", &["net"]),
    ("rcgen", &["identity"]),
    ("x509_parser", &["identity"]),
    ("axum", &["api"]),
    ("clap", &["cli"]),
    ("config", &["settings"]),
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The text without comments, and without what is in quotation marks.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    for line in text.lines() {
        let line = line.trim_start();
        let line = line.split("//").next().unwrap_or_default();
        for (at, part) in line.split('"').enumerate() {
            if at % 2 == 0 {
                code.push_str(part);
            }
        }
        code.push('\n');
    }
    code
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Whether a path like `std::fs` or a crate like `sled` is named, as a whole word in a path.
fn names(code: &str, path: &str) -> bool {
    code.match_indices(path).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = &code[at + path.len()..];
        let is_path = path.contains("::") || path.starts_with(char::is_uppercase) || after.starts_with("::");
        let inside = before.is_some_and(|c| is_word(c) || c == '.') || after.chars().next().is_some_and(is_word);
        let is_tail = before == Some(':') && !path.starts_with(char::is_uppercase);
        is_path && !inside && !is_tail
    })
}

/// The rooms that are named after `crate::`, in braces too.
fn rooms_used(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for (at, found) in code.match_indices("crate::") {
        let rest = &code[at + found.len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 1;
            let mut word = String::new();
            let mut at_start = true;
            for character in list.chars() {
                match character {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 1 => at_start = true,
                    c if depth == 1 && at_start && is_word(c) => word.push(c),
                    c if c.is_whitespace() && word.is_empty() => {}
                    _ if !word.is_empty() => {
                        rooms.insert(std::mem::take(&mut word));
                        at_start = false;
                    }
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
        } else {
            rooms.insert(rest.chars().take_while(|c| is_word(*c)).collect());
        }
    }
    rooms
}

/// The code of every room, file by file.
fn rooms() -> BTreeMap<String, Vec<(PathBuf, String)>> {
    let mut rooms: BTreeMap<String, Vec<(PathBuf, String)>> = BTreeMap::new();
    let mut files = Vec::new();
    files_below(&source(), &mut files);
    for file in files {
        let below = file.strip_prefix(source()).unwrap();
        let first = below.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
        let room = first.trim_end_matches(".rs").to_owned();
        if room != "lib" && room != "main" {
            let code = code_of(&fs::read_to_string(&file).unwrap());
            rooms.entry(room).or_default().push((file, code));
        }
    }
    rooms
}

#[test]
fn every_room_of_the_house_is_known_here() {
    let lib = fs::read_to_string(source().join("lib.rs")).unwrap();
    let declared: BTreeSet<&str> =
        lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let known: BTreeSet<&str> = ARROWS.iter().map(|(room, _)| *room).collect();
    let unknown: Vec<_> = declared.difference(&known).collect();
    assert!(unknown.is_empty(), "say in ARROWS what these rooms may use: {unknown:?}");
    assert!(rooms().keys().all(|room| declared.contains(room.as_str())), "a file in src belongs to no room");
}

#[test]
fn arrows_point_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let known: BTreeSet<&str> = allowed.keys().copied().collect();
    let mut wrong = Vec::new();
    for (room, files) in rooms() {
        let may = allowed[room.as_str()];
        for (file, code) in files {
            for used in rooms_used(&code) {
                if known.contains(used.as_str()) && used != room && !may.contains(&used.as_str()) {
                    wrong.push(format!("{}: {room} uses {used}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "wrong arrows:\n{}", wrong.join("\n"));
}

#[test]
fn no_two_rooms_use_each_other() {
    fn reaches<'a>(from: &'a str, to: &str, allowed: &BTreeMap<&'a str, &'a [&'a str]>) -> bool {
        allowed.get(from).is_some_and(|next| next.iter().any(|next| *next == to || reaches(next, to, allowed)))
    }
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    for room in allowed.keys() {
        assert!(!reaches(room, room, &allowed), "{room} is used by what it uses");
    }
}

#[test]
fn the_core_and_what_it_stands_on_know_no_world_outside() {
    let mut wrong = Vec::new();
    for (room, files) in rooms().into_iter().filter(|(room, _)| PURE.contains(&room.as_str())) {
        for (file, code) in files {
            let named = OUTSIDE.iter().filter(|outside| names(&code, outside));
            wrong.extend(named.map(|outside| format!("{}: {room} names {outside}", file.display())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_large_dependency_is_known_to_one_room() {
    let mut wrong = Vec::new();
    for (room, files) in rooms() {
        for (dependency, may) in ONLY {
            let named = files.iter().filter(|(_, code)| names(code, dependency) && !may.contains(&room.as_str()));
            wrong.extend(named.map(|(file, _)| format!("{}: {room} names {dependency}", file.display())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_arrows_finds_them_and_is_not_misled_by_words() {
    let code =
        code_of("use crate::{name::Hash, wire::{Leaf, Header}};\nfn f() { crate::note::sign() } // crate::net::x\n");
    let used = rooms_used(&code);
    let expected: BTreeSet<String> = ["name", "wire", "note"].map(str::to_owned).into();
    assert_eq!(used, expected);
    assert!(names(&code_of("use sled::Db;"), "sled"));
    assert!(names(&code_of("let now = std::time::SystemTime::now();"), "SystemTime"));
    assert!(!names(&code_of("crate::config::sled()"), "sled"));
    assert!(!names(&code_of("let sled = \"sled::Db\"; // sled::Db"), "sled"));
    assert!(!names(&code_of("wrestled::x()"), "sled"));
    assert!(names(&code_of("use std::fs;"), "std::fs"));
}
