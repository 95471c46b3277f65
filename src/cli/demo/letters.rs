//! The messages of the demonstration: what desks write to each other in an exercise, in the six languages of the UN.

use crate::name::{Kind, Precedence, Tlp};

/// A message of the demonstration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Letter {
    /// Who writes.
    pub from: &'static str,
    /// To whom.
    pub to: &'static str,
    /// What it is.
    pub kind: Kind,
    /// BCP 47 tag.
    pub language: &'static str,
    /// How fast.
    pub precedence: Precedence,
    /// Why so fast.
    pub justification: &'static str,
    /// The label.
    pub tlp: Tlp,
    /// One line.
    pub subject: &'static str,
    /// The text.
    pub text: &'static str,
}

/// The notification with which the story begins.
pub(super) const NOTIFICATION: Letter = Letter {
    from: "XA",
    to: "XB",
    kind: Kind::Notification,
    language: "en",
    precedence: Precedence::Priority,
    justification: "",
    tlp: Tlp::Amber,
    subject: "EXERCISE: water utility, control network reached from outside",
    text: "Since 04:10 UTC a water utility in our territory sees logins to its control network from addresses of a hosting \
company in yours. Technical origin only: we draw no conclusion about who is behind it, and none about your State.\n\n\
Measures taken: remote access is closed. Supply is not affected. Severity: low, outlook: stable.\n\n\
We ask whether the machines can be looked at, and by whom we could be called back. Addresses and times are enclosed.",
};

/// The answer to it, after the desk has read it.
pub(super) const ANSWER: Letter = Letter {
    from: "XB",
    to: "XA",
    kind: Kind::Answer,
    language: "fr",
    precedence: Precedence::Routine,
    justification: "",
    tlp: Tlp::Amber,
    subject: "EXERCICE : réponse, machines chez un hébergeur",
    text: "L'hébergeur a été joint. Les deux machines, louées par un tiers, ont été isolées à 06:30 UTC ; leurs journaux sont \
conservés. Nous proposons un appel à 08:00 UTC entre nos équipes techniques.",
};

/// What else is written while all three are up, so that every State has written to every other.
pub(super) const OTHERS: [Letter; 4] = [
    Letter {
        from: "XA",
        to: "XC",
        kind: Kind::Warning,
        language: "zh",
        precedence: Precedence::Routine,
        justification: "",
        tlp: Tlp::Green,
        subject: "演习：供水控制系统登录尝试的预警",
        text: "我方发现针对供水控制系统的登录尝试，来源为多个托管地址。请核查贵方同类系统的远程访问设置。目前未造成影响。\
本通知仅说明技术来源，不作任何归因。",
    },
    Letter {
        from: "XC",
        to: "XA",
        kind: Kind::RequestInformation,
        language: "es",
        precedence: Precedence::Routine,
        justification: "",
        tlp: Tlp::Green,
        subject: "EJERCICIO: solicitud de indicadores",
        text: "Agradecemos la advertencia. ¿Podrían compartir los nombres de usuario probados y la hora del primer intento? Los \
compararemos con los registros de nuestros operadores.",
    },
    Letter {
        from: "XB",
        to: "XC",
        kind: Kind::RequestAssistance,
        language: "ar",
        precedence: Precedence::Immediate,
        justification: "EXERCISE: the tool may still be spreading",
        tlp: Tlp::Amber,
        subject: "تمرين: طلب مساعدة في تحليل أداة",
        text: "عثرنا على أداة غير معروفة في جهازين معزولين. نطلب المساعدة في تحليلها خلال 24 ساعة إن أمكن.\n\
النطاق: تحليل ثابت فقط، دون أي اتصال بعناوين خارجية. لا يعني هذا الطلب أي استنتاج بشأن المسؤولية.",
    },
    Letter {
        from: "XC",
        to: "XB",
        kind: Kind::InterimAnswer,
        language: "ru",
        precedence: Precedence::Priority,
        justification: "",
        tlp: Tlp::Amber,
        subject: "УЧЕНИЕ: запрос принят к рассмотрению",
        text: "Запрос получен и рассматривается. Анализ начнётся сегодня; предварительный результат ожидается в течение 12 часов. \
Просим передать образец отдельным вложением.",
    },
];

/// What is written while XC is down.
pub(super) const WHILE_DOWN: Letter = Letter {
    from: "XA",
    to: "XC",
    kind: Kind::Update,
    language: "en",
    precedence: Precedence::Immediate,
    justification: "EXERCISE: a second utility is reached in the same way",
    tlp: Tlp::Amber,
    subject: "EXERCISE: a second utility sees the same logins",
    text: "A second utility sees the same logins since 07:20 UTC. We ask for the times at which yours saw them, if it did.",
};

/// With the files that were given on the command line.
pub(super) const FILES: Letter = Letter {
    from: "XA",
    to: "XB",
    kind: Kind::Information,
    language: "en",
    precedence: Precedence::Routine,
    justification: "",
    tlp: Tlp::Green,
    subject: "EXERCISE: files for your information",
    text: "The enclosed files are sent for your information.",
};

/// The file that goes with the notification.
pub(super) const INDICATORS_NAME: &str = "exercise-indicators.csv";
/// Its content: addresses of documentation ranges (RFC 5737, RFC 3849).
pub(super) const INDICATORS: &str = "time,address,port,note\n\
2026-03-01T04:10:07Z,192.0.2.17,502,exercise\n\
2026-03-01T04:12:44Z,198.51.100.80,502,exercise\n\
2026-03-01T04:13:02Z,2001:db8::17,102,exercise\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{MAX_SUBJECT_CHARS, MAX_URGENT_WORDS, words};
    use crate::name::State;

    #[test]
    fn every_letter_keeps_the_rules_and_every_pair_has_one_each_way() {
        let mut pairs = Vec::new();
        for letter in [NOTIFICATION, ANSWER, WHILE_DOWN, FILES].iter().chain(&OTHERS) {
            assert!(letter.subject.chars().count() <= MAX_SUBJECT_CHARS);
            if letter.precedence >= Precedence::Immediate {
                assert!(!letter.justification.is_empty() && words(letter.text) <= MAX_URGENT_WORDS);
            }
            assert!([letter.from, letter.to].iter().all(|code| code.parse::<State>().unwrap().is_exercise()));
            pairs.push((letter.from, letter.to));
        }
        pairs.sort_unstable();
        pairs.dedup();
        assert_eq!(pairs.len(), 6);
    }
}
