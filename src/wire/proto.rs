//! Generated from `proto/verbale/v1`; nothing outside of this room sees it.
#![allow(missing_docs, clippy::all, dead_code, reason = "generated; formats that are kept when met have no reader yet")]

include!(concat!(env!("OUT_DIR"), "/verbale.v1.rs"));
