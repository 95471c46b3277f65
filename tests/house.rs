//! Rules of this house that no other tool holds: sizes of files, words that have no place, rooms that stay pure.

use std::path::{Path, PathBuf};

/// A file with more lines than this is a missing noun.
const MAX_LINES: usize = 600;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below a folder, but for what builds and runs leave behind.
fn files(folder: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let left_behind = ["target", "corpus", "artifacts"].iter().any(|name| path.ends_with(name));
            match path.is_dir() {
                true if !left_behind => folders.push(path),
                true => {}
                false => found.push(path),
            }
        }
    }
    found.sort();
    found
}

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let rust = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    files(folder).into_iter().filter(rust).map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

fn short(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

#[test]
fn no_source_file_is_longer_than_a_reader_can_hold() {
    let all: Vec<_> = ["src", "fuzz", "benches"].into_iter().flat_map(sources).collect();
    assert!(all.len() > 20, "{}", all.len());
    let long: Vec<_> = all
        .iter()
        .map(|(path, text)| (short(path), text.lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .collect();
    assert!(long.is_empty(), "over {MAX_LINES} lines: {long:?}");
}

#[test]
fn nothing_is_left_for_later_in_the_sources() {
    // Put together here, so that this file does not find itself.
    let words = [["to", "do!("], ["TO", "DO"], ["FIX", "ME"], ["unimple", "mented!("], ["XX", "X:"], ["dbg", "!("]];
    let words = words.map(|parts| parts.concat());
    for (path, text) in ["src", "tests", "fuzz", "benches"].into_iter().flat_map(sources) {
        for word in &words {
            let line = text.lines().position(|line| line.contains(word.as_str()));
            assert!(line.is_none(), "{}:{}: {word}", short(&path), line.unwrap_or(0) + 1);
        }
    }
}

/// Where people have their files, and the first folder of the place where this was built, unless it is one that every
/// machine has.
fn folders_of_one_machine() -> Vec<String> {
    let own = root().iter().nth(1).map(|name| format!("/{}", name.display()));
    let common = ["/tmp", "/usr", "/var", "/etc", "/opt", "/run", "/srv", "/mnt", "/media"];
    let own = own.filter(|own| !common.contains(&own.as_str()));
    ["/root", "/Users"].map(str::to_owned).into_iter().chain(own).map(|folder| folder + "/").collect()
}

#[test]
fn no_file_names_a_folder_of_one_machine() {
    let folders = ["src", "tests", "fuzz", "benches", "docs", "deploy", "config", "certs-example", "proto", ".ci"];
    let mut seen = 0;
    for path in folders.into_iter().flat_map(files).filter(|path| !path.ends_with("tests/house.rs")) {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        seen += 1;
        for prefix in folders_of_one_machine() {
            let line = text.lines().position(|line| line.contains(&prefix));
            assert!(line.is_none(), "{}:{}: {prefix}", short(&path), line.unwrap_or(0) + 1);
        }
    }
    assert!(seen > 50, "{seen}");
}

#[test]
fn the_pure_rooms_know_no_clock_no_file_no_socket_and_no_unordered_map() {
    let foreign = [
        "std::fs",
        "std::net",
        "std::env",
        "std::thread",
        "std::os",
        "SystemTime",
        "Instant",
        "HashMap",
        "HashSet",
        "tokio",
        "quinn",
        "sled",
        "rustix",
        "tracing",
    ];
    let rooms = ["src/name", "src/wire", "src/merkle", "src/note", "src/exchange"];
    for (path, text) in rooms.into_iter().flat_map(sources) {
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        for (number, line) in (1..).zip(code.lines()).filter(|(_, line)| !line.trim_start().starts_with("//")) {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            for word in foreign {
                let found = line.match_indices(word).any(|(at, _)| {
                    let (before, after) = (&line[..at], &line[at + word.len()..]);
                    !before.ends_with(is_word) && !after.starts_with(is_word)
                });
                assert!(!found, "{}:{number}: {word}", short(&path));
            }
        }
    }
}

#[test]
fn every_script_says_what_it_is_for_and_stops_at_the_first_failure() {
    let mut seen = 0;
    for path in ["deploy", "fuzz", "certs-example", ".ci"].into_iter().flat_map(files) {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        if !text.starts_with("#!") {
            continue;
        }
        seen += 1;
        assert!(text.contains("set -e"), "{} goes on after a failure", short(&path));
        assert!(text.lines().nth(1).is_some_and(|line| line.starts_with("# ") || line == "set -e"), "{}", short(&path));
    }
    assert!(seen >= 4, "{seen}");
}
