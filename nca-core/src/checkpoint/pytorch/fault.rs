//! What is wrong with a file, before the file has a name.

use std::fmt::Display;
use std::io;
use std::path::Path;

use crate::error::Error;

/// Why a file was refused.
#[derive(Debug)]
pub(super) enum Fault {
    /// It could not be read.
    Io(io::Error),
    /// It is not what it should be.
    Format {
        /// What the file holds.
        found: String,
        /// What it should hold.
        expected: String,
    },
}

pub(super) type Result<T, E = Fault> = std::result::Result<T, E>;

impl Fault {
    pub(super) fn new(found: impl Display, expected: impl Into<String>) -> Self {
        Self::Format {
            found: found.to_string(),
            expected: expected.into(),
        }
    }

    /// The error of the file `path`.
    pub(super) fn at(self, path: &Path) -> Error {
        match self {
            Self::Io(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
                Error::format(path, "the end of the file in the middle of its data", "a complete file")
            }
            Self::Io(source) => Error::io(path, source),
            Self::Format { found, expected } => Error::format(path, found, expected),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
