//! Keys, certificates, introductions, and which root speaks for which State; knows no tokio, no socket and no sled.
//!
//! One rule stands over this room: **a State's root vouches for that State only**. [`judge_peer`] picks the root by the
//! node that was dialled or, on accepting, by the node that the presented certificate claims; there is no pool of roots
//! anywhere. Time is an argument; files are touched in `folder`, `init` and nowhere else.
//!
//! In reading order: `key` and `sealed` (private keys, the root's under a passphrase) and `paper` (its copy on paper);
//! `issue` (certificates that `verbale init` makes); `profile`, `algorithm` and `path` (which certificates are good);
//! `introduction` and `fingerprint` (how a State presents itself); `anchors` and `judge` (who is at the other end);
//! `tls` (the same as rustls wants it); `folder` and `init` (the files of a node).

mod address;
mod algorithm;
mod anchors;
mod fingerprint;
mod folder;
mod init;
mod introduction;
mod issue;
mod judge;
mod key;
mod look;
mod paper;
mod path;
mod profile;
mod sealed;
mod tls;

/// Generated from `proto/verbale/v1/introduction.proto`; never leaves this room.
mod proto {
    #![allow(missing_docs)]
    include!(concat!(env!("OUT_DIR"), "/verbale.introduction.v1.rs"));
}

pub use address::{Address, AddressError, MAX_HOST_BYTES};
pub use algorithm::{KeyAlgorithm, MIN_RSA_BITS};
pub use anchors::{Anchor, AnchorConflict, Anchors, PeerStatus, SharedAnchors};
pub use fingerprint::{Fingerprint, FingerprintError, FingerprintMismatch, GROUP_DIGITS, GROUPS};
pub use folder::{FolderError, NodeKeys, TlsIdentity, TlsIdentityError, root_key_in_folder};
pub use init::{InitError, InitRequest, Initialised, RootChoice, init};
pub use introduction::{
    Expiry, IntroducedKeys, IntroducedNode, Introduction, IntroductionDraft, IntroductionError, MAX_ADDRESSES,
    MAX_CRLS, MAX_IN_FORCE, MAX_INTRODUCTION_BYTES, MAX_NODES,
};
pub use issue::{
    CLOCK_ALLOWANCE, IssueError, ROOT_VALIDITY, SIGNING_VALIDITY, TLS_VALIDITY, root_certificate, signing_certificate,
    tls_certificate,
};
pub use judge::{Direction, IdentityRefusal, PeerIdentity, certificate_digest, judge_peer};
pub use key::{
    ED25519_PUBLIC_LEN, KeyError, ML_DSA_44_PUBLIC_LEN, PrivateAlgorithm, PrivateKey, SigningKeys, SigningPublic,
};
pub use look::{IdentityLook, look_at_identity};
pub use paper::{PaperError, paper_text, parse_paper};
pub use path::{MAX_CRL_BYTES, MAX_INTERMEDIATES, PathError, Restriction, Usage, parse_crl, verify as verify_path};
pub use profile::{
    CertificateError, MAX_CA_DAYS, MAX_CERTIFICATE_BYTES, MAX_SERIAL_OCTETS, MAX_SIGNING_DAYS, MAX_TLS_DAYS, Profiled,
    Role, check as check_profile, claimed_node,
};
pub use sealed::{MAX_PASSPHRASE_BYTES, MIN_PASSPHRASE_CHARS, Passphrase, SealError, open as open_sealed, seal};
pub use tls::{
    ALPN, OwnTls, PostQuantum, RefusalLog, TlsError, TlsSettings, client_config, server_config, server_name,
};
