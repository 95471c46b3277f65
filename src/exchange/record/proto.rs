//! Generated from `proto/verbale/journal/v1`; nothing outside of `record` sees it.
#![allow(missing_docs, clippy::all)]

include!(concat!(env!("OUT_DIR"), "/verbale.journal.v1.rs"));
