//! Generated from `proto/verbale/v1`; nothing outside of this room sees it.
#![allow(missing_docs, clippy::all)]

include!(concat!(env!("OUT_DIR"), "/verbale.v1.rs"));
