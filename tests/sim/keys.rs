//! What a core borrows in a simulation: seeded randomness, keys without mathematics, a seal that the oracle can open.

use std::cell::Cell;
use std::rc::Rc;

use aws_lc_rs::digest;
use bytes::Bytes;
use verbale::exchange::{Env, Sealed, Stowed};
use verbale::name::NodeName;
use verbale::note::{Crypto, KeyAlgorithm, PublicKeys, Seeds, Signer, SigningKeys, Verifier};

use super::rng::Rng;

/// A key pair whose signature is a hash under its public key: anybody could forge it, but nobody here does. As with the
/// real library, ML-DSA gives another signature each time.
struct FakeKeys(PublicKeys, Cell<u64>);

fn fake_signature(algorithm: KeyAlgorithm, public_key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&public_key[..32]);
    context.update(&[algorithm as u8]);
    context.update(message);
    let mut signature = context.finish().as_ref().to_vec();
    signature.resize(algorithm.signature_bytes(), 0);
    signature
}

impl Signer for FakeKeys {
    fn public_key(&self, algorithm: KeyAlgorithm) -> &[u8] {
        self.0.get(algorithm)
    }

    fn sign(&self, algorithm: KeyAlgorithm, message: &[u8]) -> Vec<u8> {
        let mut signature = fake_signature(algorithm, self.0.get(algorithm), message);
        if algorithm == KeyAlgorithm::MlDsa44 {
            self.1.set(self.1.get() + 1);
            signature[CHANCE].copy_from_slice(&self.1.get().to_be_bytes());
        }
        signature
    }
}

/// Where the chance of a signature lies.
const CHANCE: std::ops::Range<usize> = 32..40;

/// The judge of fake signatures.
struct FakeJudge;

impl Verifier for FakeJudge {
    fn verify(&self, algorithm: KeyAlgorithm, public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        let mut signature = signature.to_vec();
        if algorithm == KeyAlgorithm::MlDsa44 && signature.len() >= CHANCE.end {
            signature[CHANCE].fill(0);
        }
        public_key.len() == algorithm.public_key_bytes() && signature == fake_signature(algorithm, public_key, message)
    }
}

/// The keys of one node, shared by all of its instances.
#[derive(Clone)]
pub struct Keys {
    signer: Rc<dyn Signer>,
    judge: Rc<dyn Verifier>,
    pub public: PublicKeys,
}

impl Keys {
    /// Keys that follow from the node's name.
    pub fn of(name: NodeName, real: bool) -> Self {
        let hash = digest::digest(&digest::SHA256, name.to_string().as_bytes());
        let seed: [u8; 32] = hash.as_ref().try_into().unwrap();
        if real {
            let seeds = Seeds::from_bytes(&[seed, seed].concat().try_into().unwrap());
            let keys = SigningKeys::from_seeds(&seeds).unwrap();
            let public = keys.public_keys().clone();
            return Self { signer: Rc::new(keys), judge: Rc::new(Crypto), public };
        }
        let public = PublicKeys { ed25519: seed, ml_dsa_44: seed.repeat(41) };
        Self { signer: Rc::new(FakeKeys(public.clone(), Cell::new(0))), judge: Rc::new(FakeJudge), public }
    }

    pub fn signer(&self) -> &dyn Signer {
        &*self.signer
    }

    pub fn judge(&self) -> &dyn Verifier {
        &*self.judge
    }
}

/// The capabilities lent to one instance of a node.
pub struct SimEnv {
    pub rng: Rng,
    pub keys: Keys,
    pub next_slot: u64,
    /// No slot can be made: the disk is full.
    pub full: bool,
}

const VEIL: u8 = 0x5a;

impl Env for SimEnv {
    fn random(&mut self, out: &mut [u8]) {
        self.rng.fill(out);
    }

    fn signer(&self) -> &dyn Signer {
        self.keys.signer()
    }

    fn verifier(&self) -> &dyn Verifier {
        self.keys.judge()
    }

    fn seal(&mut self, salt: &[u8; 32], body: &[u8]) -> Option<Sealed> {
        if self.full {
            return None;
        }
        self.next_slot += 1;
        let bytes: Vec<u8> = salt.iter().chain(body).map(|byte| byte ^ VEIL).collect();
        Some(Sealed { slot: self.next_slot, bytes: bytes.into() })
    }
}

/// Salt and body of a stowed payload, where it is there.
pub fn open(stowed: &Stowed) -> Option<([u8; 32], Bytes)> {
    match stowed {
        Stowed::Clear { salt, body } => Some((*salt, body.clone())),
        Stowed::Sealed { bytes, .. } => {
            let plain: Vec<u8> = bytes.iter().map(|byte| byte ^ VEIL).collect();
            let (salt, body) = plain.split_first_chunk::<32>()?;
            Some((*salt, Bytes::copy_from_slice(body)))
        }
        Stowed::Absent(_) => None,
    }
}
