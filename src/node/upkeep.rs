//! Looks after the journal beside the exchange: reads all of it once after the start and once a day, and sees whether
//! its files are still there. What it finds goes to `status`; it repairs and decides nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::order::Node;
use crate::api::VerifyView;
use crate::name::Millis;

/// How often the whole journal is read.
const EVERY: Duration = Duration::from_secs(86_400);

/// After the start the exchange has the disk for itself for a moment.
const FIRST: Duration = Duration::from_secs(20);

/// Groups that are read in one go; then this thread rests as long as it has worked.
const GROUPS: usize = 256;

/// Damages that are named; a broken disk has thousands.
const MAX_DAMAGES: usize = 8;

/// Folders whose files do not go away and do not shrink while the node runs.
const LASTING: [&str; 3] = ["journal", "slots", "keys"];

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    found: Mutex<Found>,
    stopping: AtomicBool,
}

#[derive(Debug, Default)]
struct Found {
    damages: Vec<(Millis, String)>,
    /// When, how many, and the first.
    verified: Option<(Millis, u64, String)>,
    /// Bytes of each file that was there at some time.
    files: BTreeMap<PathBuf, u64>,
}

impl Upkeep {
    fn found(&self) -> std::sync::MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a reading that is under way end soon.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Damages in the journal, each with when it was found.
    pub(super) fn damages(&self) -> Vec<(Millis, String)> {
        self.found().damages.clone()
    }

    /// When the last verification was red, with how many faults, and the first of them.
    pub(super) fn verified(&self) -> Option<(Millis, u64, String)> {
        self.found().verified.clone()
    }

    /// Takes in what a verification found; a green one ends what an earlier one said.
    pub(super) fn was_verified(&self, now: Millis, view: &VerifyView) {
        let first = view.faults.first().cloned();
        self.found().verified = first.map(|first| (now, view.faults.len() as u64, first));
    }

    /// Files below `folder` that were there at an earlier look and are gone or shorter now.
    pub(super) fn gone(&self, folder: &Path) -> Vec<String> {
        let mut now = BTreeMap::new();
        for place in LASTING.iter().map(|name| folder.join(name)) {
            for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
                if let Some(data) = entry.metadata().ok().filter(std::fs::Metadata::is_file) {
                    now.insert(entry.path(), data.len());
                }
            }
        }
        let mut found = self.found();
        let gone = found.files.iter().filter(|(path, bytes)| now.get(*path).is_none_or(|now| now < *bytes));
        let gone = gone.map(|(path, _)| path.strip_prefix(folder).unwrap_or(path).display().to_string()).collect();
        for (path, bytes) in now {
            let known = found.files.entry(path).or_default();
            *known = bytes.max(*known);
        }
        gone
    }
}

/// Runs until the daemon ends.
pub(super) async fn run(node: Arc<Node>) {
    // What is there at the start is what must be there later.
    let _ = node.upkeep.gone(&node.folder);
    tokio::time::sleep(FIRST).await;
    loop {
        let looked = node.clone();
        let _ = tokio::task::spawn_blocking(move || read_all(&looked)).await;
        tokio::time::sleep(EVERY).await;
    }
}

fn read_all(node: &Node) {
    let Ok(groups) = node.journal.scan(0) else {
        node.upkeep.found().damages = vec![(node.clock.now(), "its folder cannot be listed".to_owned())];
        return;
    };
    let (mut damages, mut begun) = (Vec::new(), Instant::now());
    for (at, group) in groups.enumerate() {
        if let Err(damage) = group {
            tracing::error!(%damage, "the journal is damaged");
            damages.push((node.clock.now(), damage.to_string()));
        }
        if damages.len() == MAX_DAMAGES || node.upkeep.stopping.load(Ordering::Relaxed) {
            break;
        }
        if at % GROUPS == GROUPS - 1 {
            std::thread::sleep(begun.elapsed());
            begun = Instant::now();
        }
    }
    let mut found = node.upkeep.found();
    // What was known keeps the time at which it was found.
    let known = std::mem::take(&mut found.damages);
    let first_seen = |text: &str| known.iter().find(|(_, known)| known == text).map(|(at, _)| *at);
    found.damages = damages.into_iter().map(|(at, text)| (first_seen(&text).unwrap_or(at), text)).collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_gone_or_cut_is_named_and_one_that_grows_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal");
        std::fs::create_dir(&journal).unwrap();
        for (name, bytes) in [("a", 10), ("b", 10), ("c", 10)] {
            std::fs::write(journal.join(name), vec![0; bytes]).unwrap();
        }
        let upkeep = Upkeep::default();
        assert!(upkeep.gone(folder.path()).is_empty());
        std::fs::remove_file(journal.join("a")).unwrap();
        std::fs::write(journal.join("b"), [0; 9]).unwrap();
        std::fs::write(journal.join("c"), [0; 11]).unwrap();
        assert_eq!(upkeep.gone(folder.path()), ["journal/a", "journal/b"]);
        std::fs::write(journal.join("a"), [0; 10]).unwrap();
        std::fs::write(journal.join("b"), [0; 10]).unwrap();
        assert!(upkeep.gone(folder.path()).is_empty(), "put back");
    }

    #[test]
    fn a_green_verification_ends_what_a_red_one_said() {
        let upkeep = Upkeep::default();
        let red = VerifyView { faults: vec!["one".into(), "two".into()], ..VerifyView::default() };
        upkeep.was_verified(Millis(5), &red);
        assert_eq!(upkeep.verified(), Some((Millis(5), 2, "one".to_owned())));
        upkeep.was_verified(Millis(6), &VerifyView::default());
        assert_eq!(upkeep.verified(), None);
    }
}
