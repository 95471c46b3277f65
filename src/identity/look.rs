//! Looks at every file of a node's identity, also those that the daemon does not need to start; changes nothing.

use std::fs;
use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;

use super::folder::{
    ED25519_CERTIFICATE, ED25519_KEY, INTRODUCTION, KEYS, ML_DSA_44_CERTIFICATE, ML_DSA_44_KEY, NodeKeys, ROOT,
    TLS_CHAIN, TLS_KEY, certificates, first_certificate, read_private,
};
use super::key::{PrivateKey, pem_block};
use super::path;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityLook {
    /// What cannot be used or does not fit, each with its file.
    pub faults: Vec<String>,
    /// Files that say the same as before in other characters.
    pub remarks: Vec<String>,
}

/// Reads keys, certificates and introduction of a node's folder and holds them against each other.
pub fn look_at_identity(dir: &Path) -> IdentityLook {
    let mut look = IdentityLook::default();
    let loaded = match NodeKeys::load(dir) {
        Ok(loaded) => loaded,
        Err(error) => {
            look.faults.push(error.to_string());
            return look;
        }
    };
    let keys = dir.join(KEYS);
    look.form(dir.join(INTRODUCTION), Some(loaded.introduction.to_text().into_bytes()));
    let own = loaded.introduction.node(loaded.node());
    if !own.is_some_and(|own| own.tls.iter().any(|chain| chain.as_slice() == loaded.tls.chain())) {
        let path = keys.join(TLS_CHAIN);
        if is_renewed(&loaded) {
            look.remarks.push(format!(
                "{} holds a renewed certificate of this State's root; the introduction that peers hold names the one before",
                path.display()
            ));
        } else {
            look.other(&path);
        }
    }
    for (name, is_first) in [(ED25519_CERTIFICATE, true), (ML_DSA_44_CERTIFICATE, false)] {
        let path = keys.join(name);
        match first_certificate(&path) {
            Ok(found) => {
                let listed = own.into_iter().flat_map(|own| &own.signing);
                let mut certificates =
                    listed.map(|keys| if is_first { &keys.ed25519_certificate } else { &keys.ml_dsa_44_certificate });
                if !certificates.any(|certificate| *certificate == found) {
                    look.other(&path);
                }
            }
            Err(error) => look.faults.push(error.to_string()),
        }
    }
    for name in [TLS_CHAIN, ED25519_CERTIFICATE, ML_DSA_44_CERTIFICATE, ROOT] {
        let path = keys.join(name);
        let written = certificates(&path).ok();
        let written = written.map(|all| all.iter().map(|der| pem_block("CERTIFICATE", der)).collect::<String>());
        look.form(path, written.map(String::into_bytes));
    }
    for name in [TLS_KEY, ED25519_KEY, ML_DSA_44_KEY] {
        let path = keys.join(name);
        let same = read_private(&path).ok().is_some_and(|text| {
            let again = PrivateKey::from_pem(&text).and_then(|key| key.to_pem());
            again.is_ok_and(|again| again.as_bytes() == text.as_slice())
        });
        if !same {
            look.remark(&path);
        }
    }
    look
}

/// Whether the TLS certificate is one that this State's root has made for this node: peers judge by the root, not by the
/// certificate that the introduction names. Whether it is still valid is said elsewhere.
fn is_renewed(loaded: &NodeKeys) -> bool {
    let (leaf, root) = (loaded.tls.leaf(), loaded.introduction.root());
    let mut between: Vec<CertificateDer<'_>> = loaded.tls.chain().iter().skip(1).cloned().collect();
    between.extend(loaded.introduction.chain().iter().cloned());
    leaf.node == Some(loaded.node())
        && path::verify(leaf, &between, root, &[], leaf.not_before, path::Usage::Client).is_ok()
}

impl IdentityLook {
    fn other(&mut self, path: &Path) {
        let path = path.display();
        self.faults
            .push(format!("{path} holds another certificate than the introduction, and peers will not accept it"));
    }

    /// Whether a file is written as this program writes it.
    fn form(&mut self, path: PathBuf, written: Option<Vec<u8>>) {
        if written.is_some_and(|written| fs::read(&path).is_ok_and(|found| found != written)) {
            self.remark(&path);
        }
    }

    fn remark(&mut self, path: &Path) {
        self.remarks
            .push(format!("{}: some characters differ from what verbale writes; it says the same", path.display()));
    }
}
