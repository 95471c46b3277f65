//! Performs what the core has decided, one action at a time, in its order.

use std::sync::Arc;

use super::on_message::Metadata;
use super::order::Node;
use super::run::RunError;
use super::standstill::Cause;
use super::turn::Turn;
use super::{heads, history, standing};
use crate::exchange::{Action, Effect, Input, Notice, Shown};
use crate::journal::Condition;
use crate::name::{Millis, NodeName};
use crate::wire::{Frame, NotNowReason};

/// What NOT_NOW restricted says: when a person may have renewed something. The session itself stays as it is.
const RESTRICTED_RETRY_MS: u64 = 300_000;

impl Turn {
    pub(super) fn perform(&mut self, now: Millis, action: Action) -> Result<(), RunError> {
        match action {
            Action::Write(group) => return self.write(group),
            Action::Release(stored) => self.release(stored.into_inner()),
            Action::Dial { peer } => self.links.dial(peer, &self.node),
            Action::Close { conn, code } => self.links.close(conn, code),
            Action::Probe { conn } => self.links.probe_older(conn, &self.node),
            Action::NotNow { conn, reason, retry_after } => {
                if let Some(peer) = self.links.peer_of(conn) {
                    self.stands_still(now, peer, Cause::Said(reason));
                }
                let retry_after_ms = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
                self.links.control(conn, &Frame::NotNow { reason, retry_after_ms });
            }
            Action::Fetch { conn, origin, from, to } => self.links.fetch(conn, origin, from, to, &self.node),
            Action::RangeAt { origin, size } => self.ranges.read(origin, size, &self.node),
            Action::PrefixOf { origin, size, upto } => self.read(move |node| {
                let growth = history::growth_of(node, origin, size, upto);
                Input::Prefix { origin, size, upto, growth }
            }),
            Action::Load { origin, from, to, bytes_max } => self.read(move |node| {
                let entries = history::load(node, origin, from, to, bytes_max);
                let heads = heads::recorded(node, origin, from, from + entries.len() as u64);
                Input::Loaded { origin, from, entries, heads }
            }),
            Action::CheckBody { origin, index } => self.read(move |node| history::check(node, origin, index)),
            Action::Reread { records } => self.reread(records),
            Action::Notice(notice) => self.notice(now, &notice),
        }
        Ok(())
    }

    /// Lets a thread read the disk and feeds what it finds.
    fn read(&self, find: impl FnOnce(&Node) -> Input + Send + 'static) {
        let node = self.node.clone();
        tokio::task::spawn_blocking(move || {
            let input = find(&node);
            node.feed(input);
        });
    }

    fn reread(&self, records: Vec<u64>) {
        let node: Arc<Node> = self.node.clone();
        tokio::task::spawn_blocking(move || {
            for number in records {
                match history::record(&node, number) {
                    Ok(record) => node.feed(Input::Reread { record: Box::new(record) }),
                    Err(error) => tracing::error!(record = number, %error, "an item cannot be read again"),
                }
            }
        });
    }

    fn release(&mut self, effect: Effect) {
        match effect {
            Effect::Hello { conn, hello } => self.links.control(conn, &Frame::Hello(hello)),
            Effect::Restricted { conn } => {
                let (reason, retry_after_ms) = (NotNowReason::Restricted, RESTRICTED_RETRY_MS);
                self.links.control(conn, &Frame::NotNow { reason, retry_after_ms });
            }
            Effect::Push { conn, origin, entries, note } => self.links.push(conn, origin, entries, note, &self.node),
            Effect::Cosigned { conn, origin, size, lines, window } => {
                self.links.back(conn, &Frame::Cosigned { origin, size, lines, window });
            }
            Effect::Shows { conn, state } => self.links.back(conn, &Frame::Shows(state)),
            Effect::Fault { conn, code, origin, index, proof } => {
                self.links.back(conn, &Frame::Fault { code, origin, index, proof });
            }
            Effect::Show(shown) => {
                let files = shown.iter().any(|one| one.enclosures > 0 && one.refused.is_none());
                shown.into_iter().for_each(|one| self.show(one));
                if files {
                    self.enclosures.look(&self.core, &self.links, &self.node);
                }
            }
            Effect::Delivered { .. } => {}
            Effect::Answer { token, answer } => self.answer(token, answer),
        }
    }

    fn show(&mut self, shown: Shown) {
        let peer = shown.place.peer;
        let Some(header) = shown.header.filter(|header| !header.is_machine()) else { return };
        if !shown.repeat && shown.refused.is_none() {
            self.node.pager.shown(Metadata::of(peer, &header, shown.enclosures));
        }
    }

    /// Has the journal tell why a log stands still, where that is news.
    fn stands_still(&mut self, now: Millis, peer: NodeName, cause: Cause) {
        let writable = self.node.standing().disk.as_ref().map(|(_, disk)| disk) != Some(&Condition::DiskFull);
        let note = self.standstill.note(now, peer, cause, self.core.report(peer).as_ref(), writable);
        // Not at once: the core is being drained.
        note.into_iter().for_each(|note| self.node.command_and_go_on(note));
    }

    fn notice(&mut self, now: Millis, notice: &Notice) {
        if self.node.standing().is_news(now, notice) {
            standing::log(notice);
        } else {
            tracing::debug!(?notice, "the same again");
        }
        self.node.standing().note(now, notice);
        if let Some((peer, cause)) = Cause::of(notice) {
            self.stands_still(now, peer, cause);
        }
        if let Notice::Up { peer, .. } = notice {
            if let Some(conn) = self.core.report(*peer).and_then(|report| report.conn) {
                self.links.open(conn);
            }
            self.enclosures.look(&self.core, &self.links, &self.node);
        }
    }
}
