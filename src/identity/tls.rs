//! The same judgement as rustls wants it: verifiers and configurations for TLS 1.3, mutual, with one root per peer.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    version::TLS13,
};
use webpki::aws_lc_rs as algorithms;

use super::algorithm::PATH_ALGORITHMS;
use super::anchors::SharedAnchors;
use super::folder::TlsIdentity;
use super::judge::{Direction, IdentityRefusal, judge_peer};
use super::key::KeyError;
use super::profile::claimed_node;
use crate::name::{Millis, NodeName};

/// The protocol that both sides must name (RFC 7301).
pub const ALPN: &[u8] = b"verbale/1";

/// How strictly the key exchange must withstand a quantum computer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PostQuantum {
    /// X25519MLKEM768 or nothing.
    Require,
    /// X25519MLKEM768 first, X25519 and P-256 where the peer has no other.
    #[default]
    Prefer,
}

impl FromStr for PostQuantum {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "require" => Ok(Self::Require),
            "prefer" => Ok(Self::Prefer),
            other => Err(format!("`{}` is not known here; write require or prefer", other.escape_debug())),
        }
    }
}

/// Hears why a peer was refused. The peer itself never does; a stranger can call this at will, so limit the rate.
pub trait RefusalLog: Send + Sync {
    /// A certificate was refused; `claimed` is what it said, not what is known.
    fn refused(&self, direction: Direction, claimed: Option<NodeName>, reason: &IdentityRefusal);
}

/// Why no configuration could be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The own TLS key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// rustls refuses the own certificate or key.
    #[error("the TLS library does not accept this node's certificate and key: {0}")]
    Rustls(#[from] Error),
}

/// The own TLS certificate, shared by every configuration of a process and replaced without a restart.
#[derive(Clone)]
pub struct OwnTls(Arc<RwLock<Arc<CertifiedKey>>>);

impl fmt::Debug for OwnTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnTls")
    }
}

impl OwnTls {
    /// Takes certificate chain and key.
    ///
    /// # Errors
    /// [`TlsError`], where they do not belong together.
    pub fn new(identity: &TlsIdentity) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(RwLock::new(Arc::new(certified(identity)?)))))
    }

    /// Replaces them; handshakes from now on show the new certificate.
    ///
    /// # Errors
    /// [`TlsError`]; the old ones then stay.
    pub fn replace(&self, identity: &TlsIdentity) -> Result<(), TlsError> {
        let new = Arc::new(certified(identity)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    fn load(&self) -> Arc<CertifiedKey> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn certified(identity: &TlsIdentity) -> Result<CertifiedKey, TlsError> {
    let key = default_provider().key_provider.load_private_key(identity.key().to_rustls()?)?;
    let certified = CertifiedKey::new(identity.chain().to_vec(), key);
    certified.keys_match()?;
    Ok(certified)
}

impl ResolvesServerCert for OwnTls {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.load())
    }
}

impl ResolvesClientCert for OwnTls {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.load())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// What both kinds of configuration are made of.
#[derive(Clone)]
pub struct TlsSettings {
    /// The accepted peers.
    pub anchors: SharedAnchors,
    /// The own certificate.
    pub own: OwnTls,
    /// Hears of refusals.
    pub log: Arc<dyn RefusalLog>,
    /// Whether a key exchange without ML-KEM is allowed.
    pub post_quantum: PostQuantum,
    /// The clock by which certificates are judged.
    pub clock: Arc<dyn TimeProvider>,
}

/// Makes the configuration for accepting: any accepted peer, judged by the root of the State that it claims.
///
/// # Errors
/// [`TlsError::Rustls`].
pub fn server_config(settings: &TlsSettings) -> Result<ServerConfig, TlsError> {
    let provider = provider(settings.post_quantum);
    let mut config = ServerConfig::builder_with_details(provider, settings.clock.clone())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(PeerVerifier::new(settings, None)))
        .with_cert_resolver(Arc::new(settings.own.clone()));
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A resumed session would reuse the stored chain without judging it again.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(config)
}

/// Makes the configuration for dialling one node: judged by the root of that node's State.
///
/// # Errors
/// [`TlsError::Rustls`].
pub fn client_config(settings: &TlsSettings, dialled: NodeName) -> Result<ClientConfig, TlsError> {
    let provider = provider(settings.post_quantum);
    let mut config = ClientConfig::builder_with_details(provider, settings.clock.clone())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PeerVerifier::new(settings, Some(dialled))))
        .with_client_cert_resolver(Arc::new(settings.own.clone()));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = false;
    config.enable_early_data = false;
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The name that a client connection must be given and that is never sent: peers are known by their certificates.
pub fn server_name() -> ServerName<'static> {
    ServerName::try_from("verbale.invalid").expect("a constant that is a DNS name")
}

/// One explicit provider; what a process set as its default does not matter.
fn provider(post_quantum: PostQuantum) -> Arc<CryptoProvider> {
    let mut provider = default_provider();
    provider.kx_groups = match post_quantum {
        PostQuantum::Require => vec![kx_group::X25519MLKEM768],
        PostQuantum::Prefer => vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1],
    };
    provider.signature_verification_algorithms = HANDSHAKE_ALGORITHMS;
    Arc::new(provider)
}

/// Signatures of handshakes: those of the keys that TLS certificates may have.
static HANDSHAKE_ALGORITHMS: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: PATH_ALGORITHMS,
    mapping: &[
        (SignatureScheme::ECDSA_NISTP256_SHA256, &[algorithms::ECDSA_P256_SHA256]),
        (SignatureScheme::ECDSA_NISTP384_SHA384, &[algorithms::ECDSA_P384_SHA384]),
        (SignatureScheme::ED25519, &[algorithms::ED25519]),
        (SignatureScheme::ML_DSA_44, &[algorithms::ML_DSA_44]),
        (SignatureScheme::ML_DSA_65, &[algorithms::ML_DSA_65]),
    ],
};

struct PeerVerifier {
    anchors: SharedAnchors,
    log: Arc<dyn RefusalLog>,
    dialled: Option<NodeName>,
}

impl fmt::Debug for PeerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerVerifier({:?})", self.dialled)
    }
}

impl PeerVerifier {
    fn new(settings: &TlsSettings, dialled: Option<NodeName>) -> Self {
        Self { anchors: settings.anchors.clone(), log: settings.log.clone(), dialled }
    }

    /// An expired chain passes here; the session is restricted after the handshake, where `judge_peer` runs again.
    fn judge(&self, leaf: &CertificateDer<'_>, between: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Error> {
        let chain: Vec<CertificateDer<'_>> = std::iter::once(leaf).chain(between).cloned().collect();
        let now = Millis(now.as_secs().saturating_mul(1000));
        match judge_peer(&chain, &self.anchors.load(), now, self.dialled) {
            Ok(_) => Ok(()),
            Err(reason) => {
                let direction = if self.dialled.is_some() { Direction::Dial } else { Direction::Accept };
                self.log.refused(direction, claimed_node(leaf), &reason);
                // One answer for every reason: a stranger must not learn who is a peer of whom.
                Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
            }
        }
    }
}

fn no_tls12() -> Error {
    Error::General("TLS 1.2 is not spoken here".into())
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(end_entity, intermediates, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &HANDSHAKE_ALGORITHMS)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        HANDSHAKE_ALGORITHMS.supported_schemes()
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Hints would list this node's peers to every stranger.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(end_entity, intermediates, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &HANDSHAKE_ALGORITHMS)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        HANDSHAKE_ALGORITHMS.supported_schemes()
    }
}
