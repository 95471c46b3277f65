//! A person acknowledges a message. It does not mean agreement, and no machine may do it.

use super::super::history;
use super::Inner;
use crate::api::{Acknowledge, Caller, Failure, MessageState, Reply, Sent, code};
use crate::exchange::{Answer, Command, NewItem, Wait};
use crate::name::{Kind, Pap, Precedence, Tlp};
use crate::wire::Body;

const DOING: &str = "acknowledging a message";

/// How it is known that a person acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ground {
    /// Installed: a user of the group, on a terminal. `seen`: the daemon has looked, and it has one.
    Terminal { seen: bool },
    /// The daemon's own user on a terminal, without a group: whoever that is, it is one and the same.
    SingleUser { seen: bool },
    /// `verbale demo` plays the officer and says so.
    Demo,
}

impl Ground {
    fn word(self) -> &'static str {
        match self {
            Self::Terminal { seen: true } => "on a terminal",
            Self::Terminal { seen: false } => "on a terminal, as the command says",
            Self::SingleUser { seen: true } => "on a terminal, single-user",
            Self::SingleUser { seen: false } => "on a terminal, as the command says, single-user",
            Self::Demo => "demo plays the officer",
        }
    }
}

/// Set by the demonstration for the daemons that it starts: there, and only there, the demonstration plays the officer.
pub const DEMO_VARIABLE: &str = "VERBALE_PLAYS_THE_OFFICER";

/// Whether this may be taken for a person's act. `installed`: people reach the socket through a group of their own.
///
/// `may_demo`: the daemon was started by the demonstration, and its State is an exercise State.
pub(super) fn judge(
    installed: bool,
    may_demo: bool,
    caller: Caller,
    acknowledge: &Acknowledge,
) -> Result<Ground, Failure> {
    if installed && caller.is_daemon_user {
        let why = "the daemon's own user cannot acknowledge: that would be the machine, not a person";
        return Err(Failure::new(code::FORBIDDEN, DOING, why, "acknowledge as a user of the socket's group"));
    }
    // The command's word counts only where the kernel does not say otherwise.
    let on_terminal = acknowledge.on_terminal && caller.terminal != Some(false);
    let seen = caller.terminal == Some(true);
    match (on_terminal, acknowledge.demo, installed) {
        (_, true, false) if may_demo => Ok(Ground::Demo),
        (true, false, true) => Ok(Ground::Terminal { seen }),
        (true, false, false) => Ok(Ground::SingleUser { seen }),
        (_, true, _) | (false, false, _) => {
            let why = "an acknowledgement is a person's act and must be confirmed on a terminal";
            Err(Failure::new(code::NOT_A_TERMINAL, DOING, why, "run `verbale ack` on a terminal"))
        }
    }
}

impl Inner {
    pub(super) async fn acknowledge(&self, caller: Caller, acknowledge: Acknowledge) -> Result<Reply, Failure> {
        let installed = self.node.settings().socket.group.is_some();
        let may_demo = self.node.me.state().is_exercise() && std::env::var_os(DEMO_VARIABLE).is_some();
        let ground = judge(installed, may_demo, caller, &acknowledge)?;
        // Nothing is acknowledged twice: the index must know of the first.
        self.node.index.caught_up(self.node.journal_end()).await;
        let message = self.message(DOING, acknowledge.message).await?;
        let kind = Kind::from_number(message.kind);
        if message.outgoing || kind.is_some_and(Kind::is_machine) {
            let why = format!("{} is not a message that people of another State wrote", acknowledge.message);
            return Err(Failure::new(code::UNKNOWN_MESSAGE, DOING, why, "`verbale inbox` lists those that came"));
        }
        if let Some(before) = message.acknowledged {
            let earlier = history_id(self, before.record);
            if earlier != Some(acknowledge.id) {
                let why = format!("it was acknowledged already, at {}", before.time);
                return Err(Failure::new("already-acknowledged", DOING, why, ""));
            }
        }
        let officer = self.officer(caller).await?;
        let text = format!("{} acknowledged {}", acknowledge.message, ground.word());
        self.node.command_and_go_on(Command::Note {
            subject: "acknowledgement".into(),
            peer: Some(message.peer),
            text,
            officer,
        });
        let body = Body::default().encode().map_err(|error| super::damaged(DOING, &error))?;
        let item = NewItem {
            id: acknowledge.id,
            kind: Kind::Acknowledgement,
            case: message.case,
            in_reply_to: Some(acknowledge.message),
            precedence: Precedence::Routine,
            tlp: Tlp::AmberStrict,
            pap: Pap::None,
            exercise: message.exercise,
            from_desk: message.to_desk,
            to_desk: message.from_desk,
            expires: None,
            target: None,
            code: 0,
            body,
            enclosures: 0,
        };
        let command = Command::Send { peer: message.peer, item: Box::new(item), officer, wait: Wait::Queued };
        let answer = self.node.command(command).await.map_err(super::stopping)?;
        self.node.pager.acknowledged(acknowledge.message);
        let state = match answer {
            Answer::Denied(denied) => return Err(super::refused(DOING, &denied)),
            Answer::Delivered { .. } => MessageState::Delivered,
            Answer::Done | Answer::Queued { .. } | Answer::Ended { .. } => MessageState::Queued,
        };
        let (peer, case) = (message.peer, message.case);
        Ok(Reply::Sent(vec![Sent {
            peer,
            id: acknowledge.id,
            state,
            receipt_time: None,
            case,
            files_refused: String::new(),
        }]))
    }
}

/// The id of the item that a record queued.
fn history_id(inner: &Inner, record: u64) -> Option<crate::name::EntryId> {
    match history::record(&inner.node, record).ok()?.act {
        crate::exchange::Act::Queued { header, .. } => Some(header.id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::EntryId;

    #[test]
    fn only_a_person_acknowledges() {
        let word_seen = |terminal, may_demo, installed, is_daemon_user, on_terminal, demo| {
            let caller = Caller { uid: 1, is_daemon_user, terminal };
            let (message, id) = (EntryId([1; 16]), EntryId([2; 16]));
            let asked = Acknowledge { message, id, on_terminal, demo };
            judge(installed, may_demo, caller, &asked).map(Ground::word).map_err(|failure| failure.code)
        };
        let word_in = |may_demo, installed, user, on, demo| word_seen(Some(true), may_demo, installed, user, on, demo);
        let word = |installed, user, terminal, demo| word_in(true, installed, user, terminal, demo);
        let unseen = "on a terminal, as the command says";
        assert_eq!(word_seen(None, true, true, false, true, false), Ok(unseen));
        assert_eq!(word_seen(Some(false), true, true, false, true, false), Err("not-a-terminal".into()));
        assert_eq!(word_seen(Some(false), true, false, true, true, false), Err("not-a-terminal".into()));
        assert_eq!(word_in(false, false, true, false, true), Err("not-a-terminal".into()), "only in the demonstration");
        assert_eq!(word(false, true, true, false), Ok("on a terminal, single-user"));
        assert_eq!(word(false, true, false, true), Ok("demo plays the officer"));
        assert_eq!(word(true, false, true, false), Ok("on a terminal"));
        assert_eq!(word(false, true, false, false), Err("not-a-terminal".into()));
        assert_eq!(word(true, false, false, false), Err("not-a-terminal".into()));
        assert_eq!(word(true, false, true, true), Err("not-a-terminal".into()));
        assert_eq!(word(true, true, true, false), Err("forbidden".into()));
        assert_eq!(word(true, true, false, true), Err("forbidden".into()));
    }
}
