//! What a process has used, as the kernel says, and what lies in a folder.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use crate::Failed;

/// Ticks of `/proc/PID/stat` in a second (`USER_HZ`, 100 on every Linux that this builds for).
const TICKS: u64 = 100;

/// What a process has used up to now.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    /// User and system time of all its threads.
    pub cpu: Duration,
    /// Memory that is resident now, in bytes.
    pub resident: u64,
    /// The most that ever was.
    pub peak: u64,
}

/// Reads what a process has used.
pub fn used(pid: u32) -> Result<Used, Failed> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the program's name in brackets and may hold anything.
    let after = stat.rsplit_once(')').ok_or("no program name in /proc/PID/stat")?.1;
    let field = |index: usize| after.split_whitespace().nth(index).and_then(|word| word.parse::<u64>().ok());
    let ticks = field(11).zip(field(12)).map(|(user, system)| user + system).ok_or("no times in /proc/PID/stat")?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let resident = kib("VmRSS").ok_or("no VmRSS in /proc/PID/status")? * 1024;
    let peak = kib("VmHWM").ok_or("no VmHWM in /proc/PID/status")? * 1024;
    Ok(Used { cpu: Duration::from_millis(ticks * 1000 / TICKS), resident, peak })
}

/// Bytes that a file or folder takes on the disk.
pub fn on_disk(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    if !metadata.is_dir() {
        return metadata.blocks() * 512;
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| on_disk(&entry.path())).sum()
}

/// The value below which the share `share` of all lies; the list is sorted by this.
pub fn quantile(values: &mut [u32], share: f64) -> u32 {
    values.sort_unstable();
    let at = (values.len() as f64 * share) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(0)
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
