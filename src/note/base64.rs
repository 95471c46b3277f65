//! Standard base64 (RFC 4648 §4) with exactly one text for each value.

use data_encoding::BASE64;

/// Reads padded base64 without spare bits and with padding at the end only.
///
/// The decoder beneath also takes padded texts that were joined (`QQ==QQ==`), which would give a value several texts
/// and let a stranger alter the bytes of a signed note without spoiling it.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    if text.trim_end_matches('=').contains('=') {
        return None;
    }
    BASE64.decode(text.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_second_text_for_a_value_is_refused() {
        assert_eq!(decode("QQ=="), Some(vec![b'A']));
        for text in ["QQ", "QQ=", "QR==", "QQ==QQ==", "QUI=QUJD", "QQ===", "====", "=", " QQ==", "QQ==\n", "Q_-="] {
            assert_eq!(decode(text), None, "{text:?}");
        }
        assert_eq!(decode(""), Some(Vec::new()));
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_would_be_written(text in "[AQUJabz019+/=]{0,24}") {
            if let Some(bytes) = decode(&text) {
                prop_assert_eq!(BASE64.encode(&bytes), text);
            }
        }
    }
}
