//! The logs: rows, verification, and the rebuild of the index.

use super::super::verify;
use super::Inner;
use super::show::{DEFAULT_ROWS, MAX_ROWS};
use crate::api::{Failure, LogFilter, Reply};

impl Inner {
    pub(super) async fn log_show(&self, mut filter: LogFilter) -> Result<Reply, Failure> {
        const LISTING: &str = "listing the logs";
        filter.limit = if filter.limit == 0 { DEFAULT_ROWS } else { filter.limit.min(MAX_ROWS) };
        self.node.index.caught_up(self.node.journal_end()).await;
        let node = self.node.clone();
        let rows = super::blocking(LISTING, move || node.index.log_rows(node.me, &filter)).await?;
        rows.map(Reply::Log).map_err(|error| super::damaged(LISTING, &error))
    }

    /// Everything: what `verbale log verify` checks without the daemon, and the index beside it.
    pub(super) async fn log_verify(&self) -> Result<Reply, Failure> {
        const VERIFYING: &str = "verifying the logs";
        self.node.index.caught_up(self.node.journal_end()).await;
        let node = self.node.clone();
        let view = super::blocking(VERIFYING, move || verify::verify(&node)).await?;
        view.map(|view| Reply::Verified(Box::new(view))).map_err(|error| super::damaged(VERIFYING, &error))
    }

    pub(super) async fn log_rebuild(&self) -> Result<Reply, Failure> {
        const REBUILDING: &str = "rebuilding the index";
        let node = self.node.clone();
        super::blocking(REBUILDING, move || {
            node.index.rebuild("a person asked for it");
            node.index.caught_up_blocking(node.journal_end());
        })
        .await?;
        self.log_verify().await
    }
}
