//! What the shell lends to the core: randomness, the signing keys, the judge of signatures, and the vault that seals
//! bodies. Slots are made ahead of need on a thread of their own, so that sealing waits for no disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc::UnboundedSender;

use super::order::Order;
use crate::exchange::{Env, Sealed};
use crate::identity::SigningKeys;
use crate::journal::{BLOCK_SLOTS, Condition, SlotError, Vault};
use crate::note::{self, Crypto, Signer, Verifier};

/// Ready slots below which more are made: several of the largest groups, and a second at full speed.
const SPARE_SLOTS: u64 = 4 * BLOCK_SLOTS;

/// Random bytes that are drawn from the system at a time: ids, salts and nonces are small and many.
const RANDOM_POOL: usize = 4_096;

/// The real [`Env`].
pub(super) struct NodeEnv {
    keys: note::SigningKeys,
    vault: Arc<Vault>,
    orders: UnboundedSender<Order>,
    making: Arc<AtomicBool>,
    random: Vec<u8>,
}

impl NodeEnv {
    pub(super) fn new(keys: SigningKeys, vault: Arc<Vault>, orders: UnboundedSender<Order>) -> Self {
        let (ed25519, ml_dsa_44) = keys.into_pairs();
        let keys = note::SigningKeys::from_pairs(ed25519, ml_dsa_44);
        let keys = keys.expect("key pairs of these algorithms have public keys of these lengths");
        let env = Self { keys, vault, orders, making: Arc::default(), random: Vec::new() };
        env.make_slots();
        env
    }

    /// Has more slots made beside the loop, one maker at a time.
    fn make_slots(&self) {
        if self.vault.spare() >= SPARE_SLOTS || self.making.swap(true, Ordering::AcqRel) {
            return;
        }
        let (vault, making, orders) = (self.vault.clone(), self.making.clone(), self.orders.clone());
        let make = move || {
            if let Err(error) = vault.ensure_spare(2 * SPARE_SLOTS) {
                tell(&orders, &error);
            }
            making.store(false, Ordering::Release);
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(make)),
            Err(_) => make(),
        }
    }
}

impl Env for NodeEnv {
    fn random(&mut self, out: &mut [u8]) {
        if out.len() > RANDOM_POOL {
            return draw(out);
        }
        if self.random.len() < out.len() {
            self.random.resize(RANDOM_POOL, 0);
            draw(&mut self.random);
        }
        let rest = self.random.len() - out.len();
        out.copy_from_slice(&self.random[rest..]);
        // What was handed out is a salt or an id and is not kept here.
        self.random[rest..].fill(0);
        self.random.truncate(rest);
    }

    fn signer(&self) -> &dyn Signer {
        &self.keys
    }

    fn verifier(&self) -> &dyn Verifier {
        &Crypto
    }

    fn seal(&mut self, salt: &[u8; 32], body: &[u8]) -> Option<Sealed> {
        match self.vault.seal(salt, body) {
            Ok(sealed) => {
                // The counter is looked at once in a while: a block lasts for thousands of messages.
                if sealed.slot.is_multiple_of(256) {
                    self.make_slots();
                }
                Some(Sealed { slot: sealed.slot, bytes: sealed.bytes })
            }
            Err(error) => {
                tell(&self.orders, &error);
                None
            }
        }
    }
}

/// A full disk passes by; after a failed sync of the slot files nobody knows what they hold, and the process ends.
fn tell(orders: &UnboundedSender<Order>, error: &SlotError) {
    match error {
        SlotError::DiskFull => tracing::warn!("there is no room for new key slots"),
        SlotError::Io { .. } => {
            let _ = orders.send(Order::Journal(Condition::Failed(format!("the key slots: {error}"))));
        }
        _ => tracing::error!(%error, "a body cannot be sealed"),
    }
}

fn draw(out: &mut [u8]) {
    // Salts and ids without randomness would break what was promised to peers; there is no way on.
    aws_lc_rs::rand::fill(out).expect("the system gives random bytes, as it did when the keys were loaded");
}
