//! The files of a node's identity: `keys/` and `introduction.txt` in its folder, read with suspicion.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use zeroize::Zeroizing;

use super::introduction::{Introduction, IntroductionError, MAX_INTRODUCTION_BYTES};
use super::key::{KeyError, PrivateKey, SigningKeys};
use super::profile::{CertificateError, Profiled, Role, check};
use super::{paper, path};
use crate::name::NodeName;

/// The folder of keys inside a node's folder.
pub(super) const KEYS: &str = "keys";
pub(super) const TLS_KEY: &str = "tls.key";
pub(super) const TLS_CHAIN: &str = "tls.pem";
pub(super) const ED25519_KEY: &str = "sign-ed25519.key";
pub(super) const ED25519_CERTIFICATE: &str = "sign-ed25519.pem";
pub(super) const ML_DSA_44_KEY: &str = "sign-mldsa44.key";
pub(super) const ML_DSA_44_CERTIFICATE: &str = "sign-mldsa44.pem";
pub(super) const ROOT: &str = "root.pem";
/// The signed introduction, kept because the root key is not at hand to sign it again.
pub(super) const INTRODUCTION: &str = "introduction.txt";

/// Largest key or certificate file, in bytes: a chain of the largest certificates in PEM.
const MAX_FILE_BYTES: usize = 256 * 1024;
/// How deep and how far the search for a root key goes: upper folders first, and no further than `status` has time for.
const SEARCH_DEPTH: usize = 3;
const SEARCH_FILES: usize = 1024;
const SEARCH_FILE_BYTES: u64 = 64 * 1024;

/// Why a file of the identity could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The operating system refused.
    #[error("{doing} {}: {error}", .path.display())]
    Io {
        /// What was being done: `reading`, `writing`, ….
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Others on this machine can read it.
    #[error(
        "{} can be read or changed by others on this machine (mode {mode:03o}), so it is not used; run: \
         chmod {wanted:03o} {}", .path.display(), .path.display()
    )]
    TooOpen {
        /// Which file or folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// What they must be at most.
        wanted: u32,
    },
    /// Larger than such a file can be.
    #[error("{} is larger than such a file can be", .0.display())]
    TooLarge(PathBuf),
    /// A key file holds no good key.
    #[error("{}: {error}", .path.display())]
    Key {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        error: KeyError,
    },
    /// A certificate file holds no certificate, or one that breaks the profile.
    #[error("{}: the {role} in it is not acceptable: {error}", .path.display())]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// What it should hold.
        role: Role,
        /// What is wrong with it.
        error: CertificateError,
    },
    /// No certificate in a certificate file.
    #[error("{} holds no certificate in PEM", .0.display())]
    NoCertificate(PathBuf),
    /// Key and certificate do not belong together.
    #[error("the key in {} is not the one in {}; restore both from one backup", .key.display(), .certificate.display())]
    KeyOfOtherCertificate {
        /// The file of the key.
        key: PathBuf,
        /// The file of the certificate.
        certificate: PathBuf,
    },
    /// The introduction cannot be read.
    #[error("{}: {error}", .path.display())]
    Introduction {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        error: Box<IntroductionError>,
    },
    /// The files are of different nodes or roots.
    #[error("{} does not fit with the other files of this folder: {why}; restore all from one backup", .path.display())]
    Mixed {
        /// Which file.
        path: PathBuf,
        /// In what it differs.
        why: &'static str,
    },
}

/// Why a chain and a key are no TLS identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsIdentityError {
    /// The chain is empty.
    #[error("there is no certificate")]
    NoCertificate,
    /// The leaf breaks the profile.
    #[error("the TLS certificate is not acceptable: {0}")]
    Profile(#[from] CertificateError),
    /// The key is not the leaf's.
    #[error("the key is not the one in the certificate")]
    OtherKey,
}

/// A TLS certificate chain with its key.
#[derive(Debug)]
pub struct TlsIdentity {
    leaf: Profiled,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKey,
}

impl TlsIdentity {
    /// Takes a chain, leaf first, and the key of the leaf.
    ///
    /// # Errors
    /// See [`TlsIdentityError`].
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKey) -> Result<Self, TlsIdentityError> {
        let leaf = check(chain.first().ok_or(TlsIdentityError::NoCertificate)?, Role::Tls)?;
        if leaf.public_key != key.public() { Err(TlsIdentityError::OtherKey) } else { Ok(Self { leaf, chain, key }) }
    }

    /// The node that the certificate names.
    pub fn node(&self) -> NodeName {
        self.leaf.node.expect("the profile gives every TLS certificate a node")
    }

    /// The leaf.
    pub fn leaf(&self) -> &Profiled {
        &self.leaf
    }

    /// The chain, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    pub(super) fn key(&self) -> &PrivateKey {
        &self.key
    }
}

/// Everything secret that a node works with, and what it says of itself.
#[derive(Debug)]
pub struct NodeKeys {
    /// TLS certificate and key.
    pub tls: TlsIdentity,
    /// The keys that sign tree heads.
    pub signing: SigningKeys,
    /// The introduction.
    pub introduction: Introduction,
}

impl NodeKeys {
    /// Reads a node's identity and checks that all of it is of one node.
    ///
    /// # Errors
    /// See [`FolderError`]; each names the file and says what to do.
    pub fn load(dir: &Path) -> Result<Self, FolderError> {
        let keys = dir.join(KEYS);
        private(dir, 0o700)?;
        private(&keys, 0o700)?;
        let introduction = read_introduction(dir)?;
        let tls = load_tls(&keys)?;
        let (ed25519, ml_dsa_44) = (load_key(&keys.join(ED25519_KEY))?, load_key(&keys.join(ML_DSA_44_KEY))?);
        let signing = SigningKeys::new(ed25519, ml_dsa_44)
            .map_err(|error| FolderError::Key { path: keys.join(ED25519_KEY), error })?;
        let mixed = |path: PathBuf, why| FolderError::Mixed { path, why };
        let root = first_certificate(&keys.join(ROOT))?;
        if root != introduction.root().der {
            return Err(mixed(keys.join(ROOT), "the introduction holds another root certificate"));
        }
        let node = introduction
            .node(tls.node())
            .ok_or_else(|| mixed(keys.join(TLS_CHAIN), "the introduction does not introduce the node that it names"))?;
        if !node.signing.iter().any(|known| known.public == signing.public()) {
            return Err(mixed(keys.join(ED25519_KEY), "the introduction holds other signing keys"));
        }
        Ok(Self { tls, signing, introduction })
    }

    /// The name of the node.
    pub fn node(&self) -> NodeName {
        self.tls.node()
    }
}

fn load_tls(keys: &Path) -> Result<TlsIdentity, FolderError> {
    let (chain_path, key_path) = (keys.join(TLS_CHAIN), keys.join(TLS_KEY));
    let chain = certificates(&chain_path)?;
    TlsIdentity::new(chain, load_key(&key_path)?).map_err(|error| match error {
        TlsIdentityError::NoCertificate => FolderError::NoCertificate(chain_path.clone()),
        TlsIdentityError::Profile(error) => {
            FolderError::Certificate { path: chain_path.clone(), role: Role::Tls, error }
        }
        TlsIdentityError::OtherKey => {
            FolderError::KeyOfOtherCertificate { key: key_path.clone(), certificate: chain_path.clone() }
        }
    })
}

fn load_key(path: &Path) -> Result<PrivateKey, FolderError> {
    let text = read_private(path)?;
    PrivateKey::from_pem(&text).map_err(|error| FolderError::Key { path: path.to_owned(), error })
}

/// Reads the introduction of a node's folder.
pub(super) fn read_introduction(dir: &Path) -> Result<Introduction, FolderError> {
    let path = dir.join(INTRODUCTION);
    let bytes = read_limited(open(&path)?, &path, MAX_INTRODUCTION_BYTES)?;
    let text = String::from_utf8_lossy(&bytes);
    Introduction::parse(&text).map_err(|error| FolderError::Introduction { path, error: Box::new(error) })
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FolderError> {
    let bytes = read_limited(open(path)?, path, MAX_FILE_BYTES)?;
    let none = || FolderError::NoCertificate(path.to_owned());
    let all: Vec<_> = CertificateDer::pem_slice_iter(&bytes).collect::<Result<_, _>>().map_err(|_| none())?;
    if all.is_empty() || all.len() > path::MAX_INTERMEDIATES + 1 { Err(none()) } else { Ok(all) }
}

pub(super) fn first_certificate(path: &Path) -> Result<CertificateDer<'static>, FolderError> {
    Ok(certificates(path)?.swap_remove(0))
}

/// Reads a file that nobody else may read; judged on the open file, so that it cannot be swapped in between.
pub(super) fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, FolderError> {
    let file = open(path)?;
    let mode = file.metadata().map_err(|error| io_error("reading", path, error))?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(FolderError::TooOpen { path: path.to_owned(), mode, wanted: 0o600 });
    }
    read_limited(file, path, MAX_FILE_BYTES)
}

/// Refuses a folder that others can enter.
pub(super) fn private(path: &Path, wanted: u32) -> Result<(), FolderError> {
    let mode = fs::metadata(path).map_err(|error| io_error("looking at", path, error))?.mode() & 0o777;
    if mode & !wanted != 0 { Err(FolderError::TooOpen { path: path.to_owned(), mode, wanted }) } else { Ok(()) }
}

fn open(path: &Path) -> Result<File, FolderError> {
    File::open(path).map_err(|error| io_error("reading", path, error))
}

fn read_limited(file: File, path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, FolderError> {
    // The whole limit at once: a buffer that grows would leave copies of keys behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 1));
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(|error| io_error("reading", path, error))?;
    if bytes.len() > limit { Err(FolderError::TooLarge(path.to_owned())) } else { Ok(bytes) }
}

pub(super) fn io_error(doing: &'static str, path: &Path, error: io::Error) -> FolderError {
    FolderError::Io { doing, path: path.to_owned(), error }
}

/// Writes a new file with these permissions and makes it durable; never overwrites, never follows a link.
pub(super) fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<(), FolderError> {
    let failed = |error| io_error("writing", path, error);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(failed)
}

/// Makes the entries of a folder durable.
pub(super) fn sync_dir(path: &Path) -> Result<(), FolderError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|error| io_error("syncing", path, error))
}

/// Looks for a private root key in a node's folder, where it must never lie: encrypted, in the clear, or as paper text.
///
/// What cannot be read is passed over: `status` asks this, and a warning must not become an outage.
pub fn root_key_in_folder(dir: &Path) -> Option<PathBuf> {
    let root = first_certificate(&dir.join(KEYS).join(ROOT)).ok().and_then(|der| check(&der, Role::Root).ok());
    let mut folders = VecDeque::from([(dir.to_owned(), 1)]);
    let mut seen = 0;
    while let Some((folder, depth)) = folders.pop_front() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            seen += 1;
            if seen > SEARCH_FILES {
                return None;
            }
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() && depth < SEARCH_DEPTH {
                folders.push_back((entry.path(), depth + 1));
            } else if metadata.is_file()
                && metadata.len() <= SEARCH_FILE_BYTES
                && holds_root_key(&entry.path(), root.as_ref())
            {
                return Some(entry.path());
            }
        }
    }
    None
}

fn holds_root_key(path: &Path, root: Option<&Profiled>) -> bool {
    let Ok(bytes) = fs::read(path).map(Zeroizing::new) else { return false };
    let has = |words: &str| bytes.windows(words.len()).any(|window| window == words.as_bytes());
    if has("-----BEGIN ENCRYPTED PRIVATE KEY-----") || has(paper::TITLE) {
        return true;
    }
    let is_root = |key: PrivateKey| root.is_some_and(|root| root.public_key == key.public());
    has("-----BEGIN PRIVATE KEY-----") && PrivateKey::from_pem(&bytes).is_ok_and(is_root)
}
