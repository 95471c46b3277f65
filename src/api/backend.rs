//! What the daemon must offer.

use std::future::Future;

use bytes::Bytes;

use super::{EnclosureToken, Failure, Reply, Request};

/// Who speaks through the socket, as the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// User id of the process at the other end.
    pub uid: u32,
    /// Whether that user is the daemon's own.
    pub is_daemon_user: bool,
    /// Whether that process has a controlling terminal; `None` where the daemon may not look.
    pub terminal: Option<bool>,
}

/// A file on its way into the node, encrypted from its first byte.
pub trait Upload: Send {
    /// Takes the next bytes.
    fn write(&mut self, bytes: Bytes) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Makes the file durable.
    fn finish(self) -> impl Future<Output = Result<EnclosureToken, Failure>> + Send;
}

/// The daemon as the local interface sees it.
pub trait Backend: Clone + Send + Sync + 'static {
    /// See [`Upload`].
    type Upload: Upload;

    /// Carries out a command.
    fn call(&self, caller: Caller, request: Request) -> impl Future<Output = Result<Reply, Failure>> + Send;

    /// Takes in a file to be enclosed later.
    fn upload(
        &self,
        caller: Caller,
        name: String,
        media_type: String,
    ) -> impl Future<Output = Result<Self::Upload, Failure>> + Send;

    /// Reads the next part of an enclosure from `offset` on, at most 1 MiB; empty at its end.
    fn enclosure(
        &self,
        caller: Caller,
        message: crate::name::EntryId,
        ordinal: u32,
        offset: u64,
    ) -> impl Future<Output = Result<Bytes, Failure>> + Send;
}
