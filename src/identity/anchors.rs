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
    /// Another root is known for the State.
    #[error(
        "another root is already known for {0}; a new root is accepted only by removing the peer and adding it again \
         with the fingerprint read over another channel"
    )]
    OtherRoot(State),
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
}

impl Anchors {
    /// Starts with no peers.
    pub fn new(own: NodeName) -> Self {
        Self { own, own_introduction: None, peers: BTreeMap::new() }
    }

    /// Starts with no peers and knows the own introduction, so that a peer with the node's own keys is refused.
    pub fn with_own(own: NodeName, introduction: Arc<Introduction>) -> Self {
        Self { own, own_introduction: Some(introduction), peers: BTreeMap::new() }
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
            self.fits(*node, &introduction)?;
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
        self.fits(node, &introduction)?;
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

    /// Forgets a peer altogether, as before a new root is accepted for its State; `false` where it is not known.
    pub fn forget(&mut self, node: NodeName) -> bool {
        self.peers.remove(&node).is_some()
    }

    fn put(&mut self, node: NodeName, introduction: Arc<Introduction>, status: PeerStatus) {
        let crls = introduction.crls().iter().map(|der| parse_crl(der)).collect::<Result<_, _>>();
        let crls = Arc::new(crls.expect("an introduction that exists holds readable revocation lists"));
        self.peers.insert(node, Anchor { introduction, crls, status });
    }

    fn fits(&self, node: NodeName, new: &Introduction) -> Result<(), AnchorConflict> {
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
        let peers = self.peers.iter().map(|(name, anchor)| (*name, &anchor.introduction));
        for (other, known) in own.chain(peers) {
            let (same_state, same_root) = (known.state() == new.state(), known.root().der == new.root().der);
            // One key under two certificates is one root.
            let same_key = known.root().public_key == new.root().public_key;
            if same_state && !same_root {
                return Err(AnchorConflict::OtherRoot(new.state()));
            }
            if !same_state && (same_root || same_key) {
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
