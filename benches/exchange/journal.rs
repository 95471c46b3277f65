//! What a node has written, read back from its journal after it has ended.

use std::path::Path;

use verbale::audit::{VerifyOptions, verify};
use verbale::exchange::{Act, Record};

use crate::Failed;

/// The contents of a journal, counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    /// Groups: each is one write and one `fdatasync`.
    pub groups: u64,
    /// Bytes of their frames.
    pub bytes: u64,
    /// Entries of own logs.
    pub appended: u64,
    /// Heads of own logs.
    pub signed: u64,
    /// Entries of peers' logs.
    pub stored: u64,
}

/// Counts, and checks everything as `verbale log verify` does: a fast node that writes something else is of no use.
pub fn read(folder: &Path) -> Result<Written, Failed> {
    let journal = folder.join("journal");
    let mut written = Written::default();
    for group in verbale::journal::scan(&journal, 0)? {
        let group = group.map_err(|damage| format!("{damage:?}"))?;
        written.groups += 1;
        written.bytes += group.frame.len() as u64;
        for record in &group.records {
            match Record::decode(&record.bytes).act {
                Act::Appended { .. } => written.appended += 1,
                Act::Signed { .. } => written.signed += 1,
                Act::Stored { .. } => written.stored += 1,
                _ => {}
            }
        }
    }
    let report = verify(&journal, VerifyOptions::default())?;
    if !report.is_good() {
        let first = report.faults.first();
        return Err(format!("the log of {} does not verify: {first:?}", folder.display()).into());
    }
    Ok(written)
}
