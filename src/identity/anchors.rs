//! Which root speaks for which node: the peers that this node's people have accepted, and nobody else.
//!
//! There is no pool of roots. A lookup by node name yields one introduction, and its root is the only one that counts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use webpki::CertRevocationList;

use super::introduction::{IntroducedNode, Introduction};
use super::path::parse_crl;
use crate::name::{NodeName, State};

/// What the operator has decided about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerStatus {
    /// Connections are wanted.
    Active,
    /// No connections until `peer resume`.
    Suspended,
    /// No connections; kept so that its keys stay known.
    Removed,
}

/// A node that was accepted as a correspondent, with the only root that speaks for it.
#[derive(Clone)]
pub struct Anchor {
    introduction: Arc<Introduction>,
    crls: Arc<Vec<CertRevocationList<'static>>>,
    /// What the operator has decided.
    pub status: PeerStatus,
}

impl fmt::Debug for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Anchor({}, {:?}, {} revocation lists)", self.introduction.state(), self.status, self.crls.len())
    }
}

impl Anchor {
    /// The introduction that was accepted.
    pub fn introduction(&self) -> &Arc<Introduction> {
        &self.introduction
    }

    /// The revocation lists of its State.
    pub fn crls(&self) -> &[CertRevocationList<'static>] {
        &self.crls
    }
}

/// Why an introduction does not fit with what is known already.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnchorConflict {
    /// It introduces this node to itself.
    #[error("{0} is this node's own name; a node cannot be its own peer")]
    Own(NodeName),
    /// The introduction does not hold this node.
    #[error("the introduction does not introduce {0}")]
    NotIntroduced(NodeName),
    /// Another root speaks for a node of the State that is a peer now.
    #[error(
        "another root is already known for {new_state}, as that of {known}. A new root is accepted only after every peer \
         of {new_state} was removed (`verbale peer remove {known}`), with the fingerprint of the new introduction read \
         over another channel"
    )]
    OtherRoot {
        /// The State of the new introduction.
        new_state: State,
        /// The node that is known under the other root.
        known: NodeName,
    },
    /// The root is known for another State.
    #[error("the root certificate of this introduction is already known as that of {0}")]
    RootOfOtherState(State),
    /// A signing key is known for another node.
    #[error("a signing key of {node} is already known as that of {other}; each node needs keys of its own")]
    KeyOfOtherNode {
        /// The node in the new introduction.
        node: NodeName,
        /// The node that is known with this key.
        other: NodeName,
    },
    /// An introduction that is not newer than the known one.
    #[error("the introduction of {node} (number {offered}) is not newer than the known one (number {known})")]
    NotNewer {
        /// Which node.
        node: NodeName,
        /// Number of the known introduction.
        known: u64,
        /// Number of the offered one.
        offered: u64,
    },
}

/// The accepted peers of one node. Cheap to clone; changed as a whole, see [`SharedAnchors`].
#[derive(Clone, Debug)]
pub struct Anchors {
    own: NodeName,
    own_introduction: Option<Arc<Introduction>>,
    peers: BTreeMap<NodeName, Anchor>,
    /// Introductions that newer ones replaced: they vouch for nobody, and their root and keys stay those of that node.
    former: Vec<(NodeName, Arc<Introduction>)>,
}

impl Anchors {
    /// Starts with no peers.
    pub fn new(own: NodeName) -> Self {
        Self { own, own_introduction: None, peers: BTreeMap::new(), former: Vec::new() }
    }

    /// Starts with no peers and knows the own introduction, so that a peer with the node's own keys is refused.
    pub fn with_own(own: NodeName, introduction: Arc<Introduction>) -> Self {
        Self { own_introduction: Some(introduction), ..Self::new(own) }
    }

    /// The name of the node whose peers these are.
    pub fn own(&self) -> NodeName {
        self.own
    }

    /// The one anchor for `node`; nobody else's root is ever looked at.
    pub fn get(&self, node: NodeName) -> Option<&Anchor> {
        self.peers.get(&node)
    }

    /// Every peer in the order of names, whatever its status.
    pub fn iter(&self) -> impl Iterator<Item = (NodeName, &Anchor)> {
        self.peers.iter().map(|(node, anchor)| (*node, anchor))
    }

    /// Accepts every node of an introduction, as `peer add` does after the fingerprint was compared.
    ///
    /// The very same introduction again is no error. Nothing changes where one node conflicts.
    ///
    /// # Errors
    /// See [`AnchorConflict`].
    pub fn add(&mut self, introduction: Arc<Introduction>, status: PeerStatus) -> Result<(), AnchorConflict> {
        let nodes: Vec<_> = introduction.nodes().iter().map(|node| node.name).collect();
        for node in &nodes {
            self.fits(*node, &introduction, status)?;
        }
        for node in nodes {
            self.put(node, introduction.clone(), status);
        }
        Ok(())
    }

    /// Accepts one node of an introduction.
    ///
    /// # Errors
    /// See [`AnchorConflict`].
    pub fn add_node(
        &mut self,
        node: NodeName,
        introduction: Arc<Introduction>,
        status: PeerStatus,
    ) -> Result<(), AnchorConflict> {
        self.fits(node, &introduction, status)?;
        self.put(node, introduction, status);
        Ok(())
    }

    /// Changes what is decided about a peer; `false` where it is not known.
    pub fn set_status(&mut self, node: NodeName, status: PeerStatus) -> bool {
        match self.peers.get_mut(&node) {
            Some(anchor) => {
                anchor.status = status;
                true
            }
            None => false,
        }
    }

    /// Remembers an introduction of `node` that a newer one replaced: nobody is judged by it, and no other node and no
    /// other State may come with its keys or its root.
    pub fn remember(&mut self, node: NodeName, introduction: Arc<Introduction>) {
        self.former.push((node, introduction));
    }

    fn put(&mut self, node: NodeName, introduction: Arc<Introduction>, status: PeerStatus) {
        let crls = introduction.crls().iter().map(|der| parse_crl(der)).collect::<Result<_, _>>();
        let crls = Arc::new(crls.expect("an introduction that exists holds readable revocation lists"));
        let known = self.peers.insert(node, Anchor { introduction: introduction.clone(), crls, status });
        if let Some(known) = known.filter(|known| known.introduction.fingerprint() != introduction.fingerprint()) {
            self.remember(node, known.introduction);
        }
    }

    fn fits(&self, node: NodeName, new: &Introduction, status: PeerStatus) -> Result<(), AnchorConflict> {
        let entry = new.node(node).ok_or(AnchorConflict::NotIntroduced(node))?;
        if node == self.own {
            return Err(AnchorConflict::Own(node));
        }
        if let Some(known) = self.peers.get(&node).map(|anchor| &anchor.introduction) {
            let same = known.payload() == new.payload();
            if !same && known.root().der == new.root().der && new.serial() <= known.serial() {
                return Err(AnchorConflict::NotNewer { node, known: known.serial(), offered: new.serial() });
            }
        }
        let own = self.own_introduction.iter().map(|introduction| (self.own, introduction));
        let peers = self.peers.iter().filter(|(_, anchor)| anchor.status != PeerStatus::Removed);
        let in_force = own.clone().chain(peers.map(|(name, anchor)| (*name, &anchor.introduction)));
        for (other, known) in in_force.filter(|_| status != PeerStatus::Removed) {
            if known.state() == new.state() && known.root().der != new.root().der {
                return Err(AnchorConflict::OtherRoot { new_state: new.state(), known: other });
            }
        }
        let peers = self.peers.iter().map(|(name, anchor)| (*name, &anchor.introduction));
        let former = self.former.iter().map(|(name, introduction)| (*name, introduction));
        for (other, known) in own.chain(peers).chain(former) {
            // One key under two certificates is one root.
            let same_root = known.root().public_key == new.root().public_key;
            if known.state() != new.state() && same_root {
                return Err(AnchorConflict::RootOfOtherState(known.state()));
            }
            let known_entry = known.node(other).filter(|_| other != node);
            if known_entry.is_some_and(|known_entry| shares_key(known_entry, entry)) {
                return Err(AnchorConflict::KeyOfOtherNode { node, other });
            }
        }
        Ok(())
    }
}

fn shares_key(a: &IntroducedNode, b: &IntroducedNode) -> bool {
    a.signing.iter().any(|one| {
        b.signing
            .iter()
            .any(|two| one.public.ed25519 == two.public.ed25519 || one.public.ml_dsa_44 == two.public.ml_dsa_44)
    })
}

/// The anchors as every verifier of a process shares them: replaced as a whole, without a restart.
#[derive(Clone, Debug)]
pub struct SharedAnchors(Arc<RwLock<Arc<Anchors>>>);

impl SharedAnchors {
    /// Shares `anchors`.
    pub fn new(anchors: Anchors) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(anchors))))
    }

    /// The anchors of this moment.
    pub fn load(&self) -> Arc<Anchors> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces them; handshakes from now on are judged by the new ones.
    pub fn replace(&self, anchors: Anchors) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(anchors);
    }
}
