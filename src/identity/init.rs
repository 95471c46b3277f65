//! What `verbale init` does: a root (new or at hand), the keys of one node, their certificates and its introduction.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use zeroize::Zeroizing;

use super::address::Address;
use super::folder::{self, FolderError, first_certificate, private, read_private, sync_dir, write_new};
use super::introduction::{IntroducedKeys, IntroducedNode, Introduction, IntroductionDraft, IntroductionError};
use super::issue::{IssueError, TLS_VALIDITY, root_certificate, signing_certificate, tls_certificate};
use super::key::{KeyError, PrivateAlgorithm, PrivateKey, SigningKeys, pem_block};
use super::paper::{PaperError, paper_text};
use super::profile::{CertificateError, Role, check};
use super::sealed::{Passphrase, SealError, open, seal};
use crate::name::{Desk, Millis, NodeName, State};

const ROOT_NAME: &str = "verbale root ";
/// The folder of keys while it is being filled; renamed when it is whole.
const UNFINISHED: &str = "keys.new";

/// Where the root of the State comes from.
#[derive(Debug)]
pub enum RootChoice<'a> {
    /// Make a new root and write its key, encrypted, to this path outside of the node's folder.
    New {
        /// Where to; must not exist.
        path: &'a Path,
        /// What opens it from now on.
        passphrase: &'a Passphrase,
    },
    /// Use the root in this file: an encrypted key and its certificate, as `New` writes them.
    Existing {
        /// Where it lies.
        path: &'a Path,
        /// What opens it.
        passphrase: &'a Passphrase,
    },
}

/// What `init` needs to know.
#[derive(Debug)]
pub struct InitRequest<'a> {
    /// The node's folder: it exists and nobody else can enter it (0700).
    pub dir: &'a Path,
    /// The node.
    pub node: NodeName,
    /// Where peers can reach it.
    pub addresses: Vec<Address>,
    /// The root.
    pub root: RootChoice<'a>,
    /// Whether a paper copy of the root key is wanted.
    pub paper: bool,
    /// The time of day.
    pub now: Millis,
}

/// What `init` has made.
#[derive(Debug)]
pub struct Initialised {
    /// The node's introduction, which also lies in its folder.
    pub introduction: Introduction,
    /// The paper copy of the root key, if asked for. Print it; do not store it.
    pub paper: Option<Zeroizing<String>>,
}

/// Why a node was not set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There are keys in the folder.
    #[error("{} holds the keys of a node already; nothing was changed", .0.display())]
    AlreadyInitialised(PathBuf),
    /// The root key would lie in the node's folder.
    #[error(
        "the root key must not lie in the node's folder ({}): whoever takes the machine would hold the State's root; \
         choose a path outside, best on a medium that is locked away", .0.display()
    )]
    RootInFolder(PathBuf),
    /// The file of the root is there.
    #[error("{} exists; a root key is never overwritten. To use the root in it: --root-from", .0.display())]
    RootExists(PathBuf),
    /// The root's file cannot be opened with this passphrase, or holds no sealed key.
    #[error("{}: {error}", .path.display())]
    Root {
        /// The file of the root.
        path: PathBuf,
        /// What is wrong.
        error: SealError,
    },
    /// Key and certificate in the root's file do not belong together.
    #[error("the key and the certificate in {} do not belong together", .0.display())]
    RootPair(PathBuf),
    /// The root is that of another State.
    #[error("the root in {} is that of {other}, not of {wanted}", .path.display())]
    RootOfOtherState {
        /// The file of the root.
        path: PathBuf,
        /// The State that its name says.
        other: String,
        /// The State of the node.
        wanted: State,
    },
    /// The certificate in the root's file breaks the profile.
    #[error("the root certificate in {} is not acceptable: {error}", .path.display())]
    RootCertificate {
        /// The file of the root.
        path: PathBuf,
        /// Which rule it breaks.
        error: CertificateError,
    },
    /// The root's certificate is not valid now.
    #[error("the root certificate is valid from {from} to {until}, but the clock says {now}; check the clock first")]
    RootAge {
        /// Its first moment.
        from: Millis,
        /// Its last moment.
        until: Millis,
        /// This machine's clock.
        now: Millis,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A key could not be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A certificate could not be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The introduction would not be accepted by a peer.
    #[error("the introduction cannot be made: {0}")]
    Introduction(#[from] IntroductionError),
    /// The paper copy could not be made.
    #[error(transparent)]
    Paper(#[from] PaperError),
}

/// Sets up a node: root, keys, certificates, introduction. Either all of it is there afterwards or the node is not set up.
///
/// A new root is written first: should the rest fail, run it again with that root as [`RootChoice::Existing`].
///
/// # Errors
/// See [`InitError`].
pub fn init(request: &InitRequest<'_>) -> Result<Initialised, InitError> {
    private(request.dir, 0o700)?;
    let keys = request.dir.join(folder::KEYS);
    if fs::symlink_metadata(&keys).is_ok() {
        return Err(InitError::AlreadyInitialised(request.dir.to_owned()));
    }
    let (root_key, root) = obtain_root(request)?;
    let made = Made::new(request, &root_key, &root)?;
    let paper = request.paper.then(|| paper_text(request.node.state(), &root_key)).transpose()?;
    made.write(request.dir, &root)?;
    Ok(Initialised { introduction: made.introduction, paper })
}

fn obtain_root(request: &InitRequest<'_>) -> Result<(PrivateKey, CertificateDer<'static>), InitError> {
    match request.root {
        RootChoice::New { path, passphrase } => {
            outside(path, request.dir)?;
            new_root(request.node.state(), path, passphrase, request.now)
        }
        RootChoice::Existing { path, passphrase } => {
            outside(path, request.dir)?;
            existing_root(request.node.state(), path, passphrase, request.now)
        }
    }
}

/// Refuses a path whose folder is the node's or lies below it, links resolved.
fn outside(path: &Path, dir: &Path) -> Result<(), InitError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let resolve = |path: &Path| fs::canonicalize(path).map_err(|error| folder::io_error("looking at", path, error));
    if resolve(parent)?.starts_with(resolve(dir)?) {
        return Err(InitError::RootInFolder(path.to_owned()));
    }
    Ok(())
}

fn new_root(
    state: State,
    path: &Path,
    passphrase: &Passphrase,
    now: Millis,
) -> Result<(PrivateKey, CertificateDer<'static>), InitError> {
    if fs::symlink_metadata(path).is_ok() {
        return Err(InitError::RootExists(path.to_owned()));
    }
    let key = PrivateKey::generate(PrivateAlgorithm::P384)?;
    let certificate = root_certificate(state, &key, now)?;
    let sealed = seal(&key, passphrase).map_err(|error| InitError::Root { path: path.to_owned(), error })?;
    let text = format!(
        "Root of State {state} for verbale: its private key, encrypted, and its certificate.\n\
         Keep it off the node, and keep a second copy. It is needed to renew certificates and to add a node.\n{}{}",
        sealed,
        pem_block("CERTIFICATE", &certificate)
    );
    write_new(path, text.as_bytes(), 0o600)?;
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        sync_dir(parent)?;
    }
    Ok((key, certificate))
}

fn existing_root(
    state: State,
    path: &Path,
    passphrase: &Passphrase,
    now: Millis,
) -> Result<(PrivateKey, CertificateDer<'static>), InitError> {
    let bytes = read_private(path)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| InitError::Root { path: path.to_owned(), error: SealError::NotSealed })?;
    let certificate = first_certificate(path)?;
    let root =
        check(&certificate, Role::Root).map_err(|error| InitError::RootCertificate { path: path.to_owned(), error })?;
    if let Some(other) = state_in_name(&certificate).filter(|other| other != state.code()) {
        return Err(InitError::RootOfOtherState { path: path.to_owned(), other, wanted: state });
    }
    if now < root.not_before || now > root.not_after {
        return Err(InitError::RootAge { from: root.not_before, until: root.not_after, now });
    }
    let key = open(text, passphrase).map_err(|error| InitError::Root { path: path.to_owned(), error })?;
    if key.public() != root.public_key {
        return Err(InitError::RootPair(path.to_owned()));
    }
    Ok((key, certificate))
}

/// The State in the name of a root that `init` made; roots of a State's own PKI have other names.
fn state_in_name(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?.to_owned();
    name.strip_prefix(ROOT_NAME).map(str::to_owned)
}

/// Everything of a new node, in memory, before the first byte is written.
struct Made {
    tls_key: PrivateKey,
    tls: CertificateDer<'static>,
    signing: SigningKeys,
    keys: IntroducedKeys,
    introduction: Introduction,
}

impl Made {
    fn new(
        request: &InitRequest<'_>,
        root_key: &PrivateKey,
        root: &CertificateDer<'static>,
    ) -> Result<Self, InitError> {
        let (node, now) = (request.node, request.now);
        let tls_key = PrivateKey::generate(PrivateAlgorithm::P256)?;
        let tls = tls_certificate(node, &tls_key, root, root_key, now)?;
        let signing = SigningKeys::generate()?;
        let keys = IntroducedKeys {
            public: signing.public(),
            ed25519_certificate: signing_certificate(node, signing.ed25519(), root, root_key, now)?,
            ml_dsa_44_certificate: signing_certificate(node, signing.ml_dsa_44(), root, root_key, now)?,
        };
        let introduction = IntroductionDraft {
            state: node.state(),
            root: root.clone(),
            chain: Vec::new(),
            serial: IntroductionDraft::next_serial(now, None),
            issued: now,
            valid_until: now.after(TLS_VALIDITY),
            nodes: vec![IntroducedNode {
                name: node,
                desks: Desk::ALL.iter().copied().filter(|desk| node.serves(*desk)).collect(),
                addresses: request.addresses.clone(),
                tls: vec![vec![tls.clone()]],
                signing: vec![keys.clone()],
            }],
            crls: Vec::new(),
        }
        .sign(root_key)?;
        Ok(Self { tls_key, tls, signing, keys, introduction })
    }

    fn write(&self, dir: &Path, root: &CertificateDer<'static>) -> Result<(), InitError> {
        let unfinished = dir.join(UNFINISHED);
        let failed = |doing, path: &Path, error| InitError::Folder(folder::io_error(doing, path, error));
        if fs::symlink_metadata(&unfinished).is_ok() {
            fs::remove_dir_all(&unfinished).map_err(|error| failed("removing", &unfinished, error))?;
        }
        fs::DirBuilder::new().mode(0o700).create(&unfinished).map_err(|error| failed("making", &unfinished, error))?;
        for (name, key) in [
            (folder::TLS_KEY, &self.tls_key),
            (folder::ED25519_KEY, self.signing.ed25519()),
            (folder::ML_DSA_44_KEY, self.signing.ml_dsa_44()),
        ] {
            write_new(&unfinished.join(name), key.to_pem()?.as_bytes(), 0o600)?;
        }
        for (name, certificate) in [
            (folder::TLS_CHAIN, &self.tls),
            (folder::ED25519_CERTIFICATE, &self.keys.ed25519_certificate),
            (folder::ML_DSA_44_CERTIFICATE, &self.keys.ml_dsa_44_certificate),
            (folder::ROOT, root),
        ] {
            write_new(&unfinished.join(name), pem_block("CERTIFICATE", certificate).as_bytes(), 0o644)?;
        }
        sync_dir(&unfinished)?;
        // The introduction before the keys: a folder with keys is a whole one.
        let introduction = dir.join(folder::INTRODUCTION);
        if fs::symlink_metadata(&introduction).is_ok() {
            fs::remove_file(&introduction).map_err(|error| failed("removing", &introduction, error))?;
        }
        write_new(&introduction, self.introduction.to_text().as_bytes(), 0o644)?;
        let keys = dir.join(folder::KEYS);
        fs::rename(&unfinished, &keys).map_err(|error| failed("naming", &keys, error))?;
        sync_dir(dir)?;
        Ok(())
    }
}
