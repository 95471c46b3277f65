//! The root key under a passphrase: PKCS#8 `ENCRYPTED PRIVATE KEY` (PBES2: scrypt and AES-256-CBC), as openssl reads it.

use pkcs8::pkcs5::pbes2;
use pkcs8::pkcs5::scrypt::Params;
use pkcs8::{EncryptedPrivateKeyInfo, SecretDocument};
use zeroize::Zeroizing;

use super::key::{KeyError, PrivateKey, pem_block};

/// Shortest passphrase for a root key, in characters: below this scrypt does not help either.
pub const MIN_PASSPHRASE_CHARS: usize = 8;
/// Longest passphrase, in bytes: enough for a page of words, little enough for a line of a file.
pub const MAX_PASSPHRASE_BYTES: usize = 1024;

// N = 2^14, r = 8, p = 5: the strongest setting in the OWASP table whose 16 MiB stay within the 32 MiB to which
// openssl limits scrypt when it reads a key.
const SCRYPT_LOG_N: u8 = 14;
const SCRYPT_R: u32 = 8;
const SCRYPT_P: u32 = 5;
const LABEL: &str = "ENCRYPTED PRIVATE KEY";

/// A passphrase of acceptable length; wiped when dropped, never shown.
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Takes the words as typed, without the newline at their end.
    ///
    /// # Errors
    /// [`SealError::PassphraseLength`].
    pub fn new(words: String) -> Result<Self, SealError> {
        let words = Zeroizing::new(words);
        let trimmed = words.trim_end_matches(['\r', '\n']);
        if trimmed.chars().count() < MIN_PASSPHRASE_CHARS || trimmed.len() > MAX_PASSPHRASE_BYTES {
            return Err(SealError::PassphraseLength);
        }
        Ok(Self(Zeroizing::new(trimmed.to_owned())))
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// Why a key could not be put under a passphrase or taken out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Too short or too long.
    #[error("the passphrase needs at least {MIN_PASSPHRASE_CHARS} characters and at most {MAX_PASSPHRASE_BYTES} bytes")]
    PassphraseLength,
    /// The passphrase does not open this key.
    #[error("the passphrase does not open this root key; check the file, the keyboard layout and capital letters")]
    WrongPassphrase,
    /// No encrypted key in this text.
    #[error("there is no ENCRYPTED PRIVATE KEY block in PEM here")]
    NotSealed,
    /// The key lies there without a passphrase.
    #[error(
        "this private key is not encrypted; put it under a passphrase first: \
         openssl pkcs8 -topk8 -scrypt -in KEY -out NEWKEY"
    )]
    InTheClear,
    /// What was opened is no key of ours.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Writes a key as encrypted PKCS#8 PEM with fresh salt.
///
/// # Errors
/// [`SealError::Key`] where the system has no randomness.
pub fn seal(key: &PrivateKey, passphrase: &Passphrase) -> Result<String, SealError> {
    let failed = || SealError::Key(KeyError::Library("encrypting the root key"));
    let (mut salt, mut iv) = ([0; 16], [0; 16]);
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| failed())?;
    aws_lc_rs::rand::fill(&mut iv).map_err(|_| failed())?;
    let cost = Params::new(SCRYPT_LOG_N, SCRYPT_R, SCRYPT_P, Params::RECOMMENDED_LEN).map_err(|_| failed())?;
    let parameters = pbes2::Parameters::scrypt_aes256cbc(cost, &salt, &iv).map_err(|_| failed())?;
    let encrypted_data = parameters.encrypt(passphrase.0.as_bytes(), &key.to_pkcs8()?).map_err(|_| failed())?;
    let info = EncryptedPrivateKeyInfo { encryption_algorithm: parameters.into(), encrypted_data: &encrypted_data };
    let document = SecretDocument::try_from(info).map_err(|_| failed())?;
    Ok(pem_block(LABEL, document.as_bytes()))
}

/// Opens the first encrypted key in PEM text.
///
/// # Errors
/// [`SealError::NotSealed`] or [`SealError::InTheClear`] by what is there, [`SealError::WrongPassphrase`].
pub fn open(pem: &str, passphrase: &Passphrase) -> Result<PrivateKey, SealError> {
    let Some(block) = first_block(pem, LABEL) else {
        let in_the_clear = pem.contains("PRIVATE KEY-----");
        return Err(if in_the_clear { SealError::InTheClear } else { SealError::NotSealed });
    };
    let (_, document) = SecretDocument::from_pem(block).map_err(|_| SealError::NotSealed)?;
    let info = EncryptedPrivateKeyInfo::try_from(document.as_bytes()).map_err(|_| SealError::NotSealed)?;
    let opened = info.decrypt(passphrase.0.as_bytes()).map_err(|_| SealError::WrongPassphrase)?;
    // CBC has no authentication: one wrong passphrase in 256 yields padding that looks right, and then no key.
    PrivateKey::from_pkcs8(opened.as_bytes()).map_err(|_| SealError::WrongPassphrase)
}

fn first_block<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    let start = text.find(&format!("-----BEGIN {label}-----"))?;
    let end_line = format!("-----END {label}-----");
    let end = start + text[start..].find(&end_line)? + end_line.len();
    Some(&text[start..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::key::PrivateAlgorithm;

    fn words(text: &str) -> Passphrase {
        Passphrase::new(text.into()).unwrap()
    }

    #[test]
    fn a_sealed_key_opens_with_its_passphrase_only() {
        let key = PrivateKey::generate(PrivateAlgorithm::P384).unwrap();
        let pem = seal(&key, &words("eight words or so")).unwrap();
        assert!(!pem.contains("BEGIN PRIVATE KEY"));
        assert_eq!(open(&pem, &words("eight words or so\n")).unwrap().public(), key.public());
        assert_eq!(open(&pem, &words("another passphrase")).unwrap_err(), SealError::WrongPassphrase);
    }

    #[test]
    fn a_key_in_the_clear_and_no_key_are_told_apart() {
        let key = PrivateKey::generate(PrivateAlgorithm::P384).unwrap();
        let clear = key.to_pem().unwrap();
        assert_eq!(open(&clear, &words("passphrase")).unwrap_err(), SealError::InTheClear);
        assert_eq!(open("nothing", &words("passphrase")).unwrap_err(), SealError::NotSealed);
    }

    #[test]
    fn passphrases_have_a_least_and_a_greatest_length() {
        assert!(Passphrase::new("1234567".into()).is_err());
        assert!(Passphrase::new("12345678".into()).is_ok());
        assert!(Passphrase::new("x".repeat(MAX_PASSPHRASE_BYTES)).is_ok());
        assert!(Passphrase::new("x".repeat(MAX_PASSPHRASE_BYTES + 1)).is_err());
        assert!(!format!("{:?}", words("secret words")).contains("secret"));
    }
}
