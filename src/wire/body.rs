//! The body of a message that people wrote.

use bytes::Bytes;
use prost::Message;

use super::{MAX_BODY, MAX_ENCLOSURES, MAX_TEXTS, WireError, proto};
use crate::name::{EntryId, Hash, Millis};

/// Whether an answer is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplyExpected {
    /// No answer is expected.
    #[default]
    No,
    /// An answer is welcome, if convenient.
    IfConvenient,
    /// An answer is asked for by this time.
    By(Millis),
}

/// A text in one language.
#[derive(Clone, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Text {
    /// BCP 47 tag; empty where the author did not say.
    pub language: String,
    /// One line.
    pub subject: String,
    /// The text.
    pub text: String,
}

/// An attached file as listed in the body.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Enclosure {
    /// The file's name as the author gave it; never used as a path.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the file.
    pub sha256: Hash,
}

/// The erasable part of a message that people wrote.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Body {
    /// The texts; the first is the one that was written.
    pub texts: Vec<Text>,
    /// A national marking, verbatim.
    pub marking: String,
    /// The author's own reference number.
    pub own_reference: String,
    /// Whether an answer is expected.
    pub reply_expected: ReplyExpected,
    /// The line that IMMEDIATE and FLASH need.
    pub justification: String,
    /// The attached files, in order.
    pub enclosures: Vec<Enclosure>,
    /// Structured data of a template.
    pub form: Bytes,
    /// SHA-256 of that template.
    pub form_template: Option<Hash>,
    /// A body that only the two States can read.
    pub opaque: Bytes,
    /// The message of the other desk from which this matter was raised.
    pub raised_from: Option<EntryId>,
}

impl Body {
    /// Writes the body.
    ///
    /// # Errors
    /// More than [`MAX_BODY`] bytes, [`MAX_TEXTS`] texts or [`MAX_ENCLOSURES`] enclosures.
    pub fn encode(&self) -> Result<Bytes, WireError> {
        self.check_counts(self.texts.len(), self.enclosures.len())?;
        let (reply_expected, reply_by_ms) = match self.reply_expected {
            ReplyExpected::No => (proto::ReplyExpected::Not, 0),
            ReplyExpected::IfConvenient => (proto::ReplyExpected::IfConvenient, 0),
            ReplyExpected::By(time) => (proto::ReplyExpected::By, time.0),
        };
        let message = proto::Body {
            texts: self
                .texts
                .iter()
                .map(|text| proto::Text {
                    language: text.language.clone(),
                    subject: text.subject.clone(),
                    text: text.text.clone(),
                })
                .collect(),
            marking: self.marking.clone(),
            own_reference: self.own_reference.clone(),
            reply_expected: reply_expected as i32,
            reply_by_ms,
            justification: self.justification.clone(),
            enclosures: self
                .enclosures
                .iter()
                .map(|file| proto::Enclosure {
                    name: file.name.clone(),
                    media_type: file.media_type.clone(),
                    size: file.size,
                    sha256: Bytes::copy_from_slice(&file.sha256.0),
                })
                .collect(),
            form: self.form.clone(),
            form_template: self.form_template.map(|hash| Bytes::copy_from_slice(&hash.0)).unwrap_or_default(),
            opaque: self.opaque.clone(),
            raised_from: self.raised_from.map(|id| Bytes::copy_from_slice(id.as_bytes())).unwrap_or_default(),
        };
        let bytes = message.encode_to_vec();
        if bytes.len() > MAX_BODY {
            return Err(WireError::TooLarge { what: "body", size: bytes.len(), limit: MAX_BODY });
        }
        Ok(bytes.into())
    }

    /// Reads a body.
    ///
    /// # Errors
    /// More bytes, texts or enclosures than allowed, not a protobuf message (invalid UTF-8 included), a hash or an id
    /// of a wrong length.
    pub fn decode(bytes: Bytes) -> Result<Self, WireError> {
        if bytes.len() > MAX_BODY {
            return Err(WireError::TooLarge { what: "body", size: bytes.len(), limit: MAX_BODY });
        }
        let message: proto::Body = super::decode("body", bytes)?;
        let field = |field| WireError::Field { what: "body", field };
        let mut body = Self {
            marking: message.marking,
            own_reference: message.own_reference,
            justification: message.justification,
            form: message.form,
            opaque: message.opaque,
            ..Self::default()
        };
        body.check_counts(message.texts.len(), message.enclosures.len())?;
        body.reply_expected = match proto::ReplyExpected::try_from(message.reply_expected) {
            Ok(proto::ReplyExpected::Not) => ReplyExpected::No,
            Ok(proto::ReplyExpected::By) => ReplyExpected::By(Millis(message.reply_by_ms)),
            Ok(proto::ReplyExpected::IfConvenient) | Err(_) => ReplyExpected::IfConvenient,
        };
        body.texts = message
            .texts
            .into_iter()
            .map(|text| Text { language: text.language, subject: text.subject, text: text.text })
            .collect();
        for file in message.enclosures {
            let sha256 = Hash::from_slice(&file.sha256).ok_or_else(|| field("enclosures.sha256"))?;
            body.enclosures.push(Enclosure { name: file.name, media_type: file.media_type, size: file.size, sha256 });
        }
        body.form_template = match &message.form_template[..] {
            [] => None,
            bytes => Some(Hash::from_slice(bytes).ok_or_else(|| field("form_template"))?),
        };
        body.raised_from = match &message.raised_from[..] {
            [] => None,
            bytes => Some(EntryId::from_slice(bytes).ok_or_else(|| field("raised_from"))?),
        };
        Ok(body)
    }

    fn check_counts(&self, texts: usize, enclosures: usize) -> Result<(), WireError> {
        if texts > MAX_TEXTS {
            return Err(WireError::TooLarge { what: "list of texts", size: texts, limit: MAX_TEXTS });
        }
        if enclosures > MAX_ENCLOSURES {
            return Err(WireError::TooLarge { what: "list of enclosures", size: enclosures, limit: MAX_ENCLOSURES });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Body {
        Body {
            texts: vec![Text { language: "ar".into(), subject: "\u{202e}س".into(), text: "نص".into() }],
            marking: "OFFICIAL".into(),
            own_reference: "XA-2026-17".into(),
            reply_expected: ReplyExpected::By(Millis(5)),
            justification: "service down".into(),
            enclosures: vec![Enclosure {
                name: "a.json".into(),
                media_type: "application/json".into(),
                size: 3,
                sha256: Hash([9; 32]),
            }],
            form: Bytes::from_static(b"form"),
            form_template: Some(Hash([8; 32])),
            opaque: Bytes::new(),
            raised_from: Some(EntryId([1; 16])),
        }
    }

    #[test]
    fn a_body_reads_back_with_its_bidirectional_controls_kept() {
        let body = full();
        assert_eq!(Body::decode(body.encode().unwrap()), Ok(body));
    }

    #[test]
    fn a_body_at_the_limit_passes_and_one_byte_over_does_not() {
        let mut body = Body { texts: vec![Text { text: "x".repeat(MAX_BODY), ..Text::default() }], ..Body::default() };
        let over = match body.encode() {
            Err(WireError::TooLarge { size, .. }) => size - MAX_BODY,
            other => panic!("{other:?}"),
        };
        body.texts[0].text.truncate(MAX_BODY - over);
        assert_eq!(body.encode().unwrap().len(), MAX_BODY);
        body.texts[0].text.push('x');
        assert!(body.encode().is_err());
    }

    #[test]
    fn counts_at_the_limit_pass_and_one_over_does_not() {
        let mut body = full();
        body.enclosures = vec![body.enclosures[0].clone(); MAX_ENCLOSURES];
        body.texts = vec![Text::default(); MAX_TEXTS];
        assert!(body.encode().is_ok_and(|bytes| Body::decode(bytes).is_ok()));
        body.texts.push(Text::default());
        assert!(body.encode().is_err());
        body.texts.pop();
        body.enclosures.push(body.enclosures[0].clone());
        assert!(body.encode().is_err());
    }

    #[test]
    fn invalid_utf8_is_an_error_not_a_panic() {
        assert!(Body::decode(Bytes::from_static(&[0x12, 0x02, 0xff, 0xfe])).is_err());
    }
}
