//! quinn's configuration: what is off, what is bounded, and what a poor link needs.

use std::sync::Arc;

use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, EndpointConfig, IdleTimeout, NoneTokenLog, NoneTokenStore, ServerConfig, TransportConfig,
    ValidationTokenConfig, VarInt,
};

use super::limits::{CRYPTO_BUFFER, INCOMING, INCOMING_BYTES, Limits, STREAM_WINDOW, STREAMS};

/// For the side that dials, which gives the signs of life: it may sit behind a router that forgets, and a second set of
/// them would double what an idle link costs. The other side asks only where they do not come.
pub(super) fn dialling(limits: &Limits) -> Arc<TransportConfig> {
    let mut config = shared(limits);
    config.keep_alive_interval(Some(limits.keep_alive));
    Arc::new(config)
}

/// What is the same for both directions of dialling.
fn shared(limits: &Limits) -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(STREAMS.into())
        .max_concurrent_uni_streams(0u32.into())
        .stream_receive_window(varint(STREAM_WINDOW))
        .receive_window(varint(limits.receive_window()))
        .send_window(limits.send_window())
        .datagram_receive_buffer_size(None)
        .crypto_buffer_size(CRYPTO_BUFFER)
        // An observer could read the round trip time from it.
        .allow_spin(false)
        .max_idle_timeout(IdleTimeout::try_from(limits.idle).ok());
    // quinn's 333 ms for the first round trip and its three lost probes stay: a link of 700 ms costs one repeated
    // handshake packet and no more.
    config
}

/// For dialling one node.
pub(super) fn client(
    tls: rustls::ClientConfig,
    transport: Arc<TransportConfig>,
) -> Result<ClientConfig, NoInitialCipherSuite> {
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(transport).token_store(Arc::new(NoneTokenStore));
    Ok(config)
}

/// For accepting.
pub(super) fn server(tls: rustls::ServerConfig, limits: &Limits) -> Result<ServerConfig, NoInitialCipherSuite> {
    let mut accepting = shared(limits);
    accepting.keep_alive_interval(Some(limits.keep_alive_accepted));
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    let mut tokens = ValidationTokenConfig::default();
    // A token that is valid later would let its holder pass without a retry.
    tokens.sent(0).log(Arc::new(NoneTokenLog));
    config
        .transport_config(Arc::new(accepting))
        .validation_token_config(tokens)
        .retry_token_lifetime(limits.handshake)
        .migration(false)
        .max_incoming(INCOMING)
        .incoming_buffer_size(INCOMING_BYTES.0)
        .incoming_buffer_size_total(INCOMING_BYTES.1);
    Ok(config)
}

/// For the socket itself.
pub(super) fn endpoint() -> EndpointConfig {
    EndpointConfig::default()
}

fn varint(value: u64) -> VarInt {
    VarInt::from_u64(value).unwrap_or(VarInt::MAX)
}
