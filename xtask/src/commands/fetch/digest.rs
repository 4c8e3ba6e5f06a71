//! SHA-256 of files.

use std::path::Path;
use std::str::FromStr;

use nca_core::{Error, Result};
use nca_train::digest::sha256;

/// Hexadecimal digits of a SHA-256.
const DIGITS: usize = 64;

/// A SHA-256, or its first digits: lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Digest(String);

impl Digest {
    /// The first digits of one.
    pub(super) fn prefix(digits: &str) -> Self {
        Self(digits.to_owned())
    }

    /// Refuses `file` if its SHA-256 does not begin like this.
    pub(super) fn check(&self, file: &Path) -> Result<()> {
        let found = sha256(file)?;
        if found.starts_with(&self.0) {
            return Ok(());
        }
        Err(Error::format(file, format!("SHA-256 {found}"), &self.0))
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        if s.len() == DIGITS && s.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(s.to_ascii_lowercase()))
        } else {
            Err(format!("expected {DIGITS} hexadecimal digits"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2, appendix B.1: the digest of "abc".
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn checks_whole_digests_and_first_digits() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("abc");
        std::fs::write(&path, "abc").expect("a file");
        ABC.to_uppercase()
            .parse::<Digest>()
            .expect("a digest")
            .check(&path)
            .expect("equal");
        Digest::prefix(&ABC[..8]).check(&path).expect("equal");
        let wrong = Digest::prefix("397923af")
            .check(&path)
            .expect_err("another file")
            .to_string();
        assert!(wrong.contains(ABC) && wrong.contains("397923af"), "{wrong}");
    }

    #[test]
    fn parses_only_whole_digests() {
        for bad in ["", "397923af", &ABC[1..], &ABC.replace('b', "g"), &format!("{ABC}0")] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}
