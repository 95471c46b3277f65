//! What the core needs from outside besides time: randomness, own keys, checking of signatures, sealing of bodies.

use bytes::Bytes;

use crate::note::{Signer, Verifier};

/// A body as it lies on the disk: `salt ‖ body` encrypted under a slot of the key file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The slot's number.
    pub slot: u64,
    /// Nonce, ciphertext and tag.
    pub bytes: Bytes,
}

/// The capabilities that the shell lends to the core. The simulator has its own.
pub trait Env {
    /// Fills `out` with random bytes.
    fn random(&mut self, out: &mut [u8]);

    /// This node's signing keys. They sign tree heads and nothing else.
    fn signer(&self) -> &dyn Signer;

    /// The judge of signatures.
    fn verifier(&self) -> &dyn Verifier;

    /// Encrypts `salt ‖ body` under a fresh slot; `None` where no slot is ready (the disk is full).
    fn seal(&mut self, salt: &[u8; 32], body: &[u8]) -> Option<Sealed>;
}
