//! Planted bugs, by which the simulator is itself tested: with the feature `mutants` a test can switch on one at a time,
//! without it every check below is `false` at compile time.

use super::io::Effect;

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each name says what the bug does")]
pub enum Mutant {
    CosignBeforeDurable,
    PushBeforeDurable,
    ShowBeforeCosigned,
    DeliveredBeforeReceipt,
    AnswerBeforeQueued,
    HelloBeforeDurable,
    SignBeforeHello,
    SkipDuplicateCheck,
    SignWhileBehind,
    IgnoreDoubt,
    ForgetResend,
    WrongOrder,
    AcceptShorterTree,
    AcceptWrongRoot,
    SkipCommitmentCheck,
    AcceptBadSignature,
    AcceptBadReceipt,
    IgnoreWindow,
    NeverFence,
    CosignWhileFenced,
    CosignOlderVolume,
    ForgetRequeue,
    DropFreeze,
    ExpireAfterAppend,
    AppendTwiceAfterCrash,
    ForgetRetry,
    TakeGaps,
    JudgeOneSizeOnly,
    ForgetLines,
    SignWhenTold,
    RequeueTwice,
    NameMoreThanHeld,
    IgnoreQuota,
    TakeEveryFile,
    RecordKnownHeads,
    WithdrawReceipted,
    TakeAnyLabel,
}

impl Mutant {
    /// Every planted bug.
    #[cfg(feature = "mutants")]
    pub const ALL: &'static [Self] = &[
        Self::CosignBeforeDurable,
        Self::PushBeforeDurable,
        Self::ShowBeforeCosigned,
        Self::DeliveredBeforeReceipt,
        Self::AnswerBeforeQueued,
        Self::HelloBeforeDurable,
        Self::SignBeforeHello,
        Self::SkipDuplicateCheck,
        Self::SignWhileBehind,
        Self::IgnoreDoubt,
        Self::ForgetResend,
        Self::WrongOrder,
        Self::AcceptShorterTree,
        Self::AcceptWrongRoot,
        Self::SkipCommitmentCheck,
        Self::AcceptBadSignature,
        Self::AcceptBadReceipt,
        Self::IgnoreWindow,
        Self::NeverFence,
        Self::CosignWhileFenced,
        Self::CosignOlderVolume,
        Self::ForgetRequeue,
        Self::DropFreeze,
        Self::ExpireAfterAppend,
        Self::AppendTwiceAfterCrash,
        Self::ForgetRetry,
        Self::TakeGaps,
        Self::JudgeOneSizeOnly,
        Self::ForgetLines,
        Self::SignWhenTold,
        Self::RequeueTwice,
        Self::NameMoreThanHeld,
        Self::IgnoreQuota,
        Self::TakeEveryFile,
        Self::RecordKnownHeads,
        Self::WithdrawReceipted,
        Self::TakeAnyLabel,
    ];
}

#[cfg(feature = "mutants")]
thread_local! {
    static ACTIVE: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Switches on one planted bug, or none, for all cores on this thread.
#[cfg(feature = "mutants")]
pub fn activate(mutant: Option<Mutant>) {
    ACTIVE.set(mutant);
}

/// Whether that bug is switched on.
#[cfg(feature = "mutants")]
pub(super) fn active(mutant: Mutant) -> bool {
    ACTIVE.get() == Some(mutant)
}

/// Whether that bug is switched on: never, in this build.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub(super) const fn active(_: Mutant) -> bool {
    false
}

/// Whether an effect passes the gate before its records are durable.
pub(super) fn is_let_through(effect: &Effect) -> bool {
    match effect {
        Effect::Hello { .. } => active(Mutant::HelloBeforeDurable),
        Effect::Push { .. } => active(Mutant::PushBeforeDurable),
        Effect::Cosigned { .. } => active(Mutant::CosignBeforeDurable),
        Effect::Show(_) => active(Mutant::ShowBeforeCosigned),
        Effect::Delivered { .. } => active(Mutant::DeliveredBeforeReceipt),
        Effect::Answer { .. } => active(Mutant::AnswerBeforeQueued),
        Effect::Shows { .. } | Effect::Fault { .. } | Effect::Restricted { .. } => false,
    }
}
