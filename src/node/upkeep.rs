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

/// Folders whose files do not go away while the node runs, with how these end; the journal's reserve is there to be spent.
const LASTING: [(&str, &str); 5] =
    [("journal", ".seg"), ("slots", ".1"), ("slots", ".2"), ("keys", ".key"), ("keys", ".pem")];

/// The newest segments are longer than what they hold, and are cut when they are closed.
const OPEN_SEGMENTS: usize = 2;

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
        let mut found = self.found();
        if view.good {
            // It has read the whole journal, too.
            found.damages.clear();
        }
        found.verified = first.map(|first| (now, view.faults.len() as u64, first));
    }

    /// Files below `folder` that were there at an earlier look and are gone or shorter now.
    pub(super) fn gone(&self, folder: &Path) -> Vec<String> {
        let now = lasting(folder);
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

/// The files that last, with the bytes that they will not lose any more.
fn lasting(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let mut files = BTreeMap::new();
    for (place, ending) in LASTING {
        let listed = std::fs::read_dir(folder.join(place)).into_iter().flatten().flatten();
        let mut found: Vec<(PathBuf, u64)> = listed
            .filter(|entry| entry.file_name().to_string_lossy().ends_with(ending))
            .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?.len())))
            .collect();
        found.sort();
        let closed = match place {
            "journal" => found.len().saturating_sub(OPEN_SEGMENTS),
            "slots" => found.len(),
            // A renewed key may be shorter than the one before.
            _ => 0,
        };
        files.extend(
            found.into_iter().enumerate().map(|(at, (path, bytes))| (path, if at < closed { bytes } else { 0 })),
        );
    }
    files
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
    fn a_file_that_is_gone_or_cut_is_named_and_what_may_shrink_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, bytes: usize| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, vec![0; bytes]).unwrap();
        };
        let all =
            ["journal/1.seg", "journal/2.seg", "journal/3.seg", "journal/reserve", "slots/slots.1", "keys/tls.key"];
        all.iter().for_each(|path| write(path, 10));
        let upkeep = Upkeep::default();
        let gone = || upkeep.gone(folder.path());
        assert!(gone().is_empty());
        std::fs::remove_file(folder.path().join("journal/reserve")).unwrap();
        for path in ["journal/2.seg", "journal/3.seg", "keys/tls.key"] {
            write(path, 9);
        }
        assert!(gone().is_empty(), "spent, closed and renewed");
        write("journal/1.seg", 9);
        write("slots/slots.1", 9);
        std::fs::remove_file(folder.path().join("journal/3.seg")).unwrap();
        std::fs::remove_file(folder.path().join("keys/tls.key")).unwrap();
        assert_eq!(gone(), ["journal/1.seg", "journal/3.seg", "keys/tls.key", "slots/slots.1"]);
        all.iter().for_each(|path| write(path, 10));
        assert!(gone().is_empty(), "put back");
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
