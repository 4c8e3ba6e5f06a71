//! The one error type of the numeric layers: every message names what was wrong, what was found
//! and what was expected.

use std::path::{Path, PathBuf};

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong below the command line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation was given a buffer of the wrong length.
    #[error("{op}: {what} has {found} elements, expected {expected}")]
    Length {
        /// Operation.
        op: &'static str,
        /// Argument of the operation.
        what: &'static str,
        /// Elements found.
        found: usize,
        /// Elements expected.
        expected: usize,
    },
    /// A setting is out of its range.
    #[error("{what} is {found}, expected {expected}")]
    Invalid {
        /// Setting, flag or argument.
        what: String,
        /// Value found, as text.
        found: String,
        /// The range or form that would have been accepted.
        expected: String,
    },
    /// The operating system refused a file operation.
    #[error("{}: {cause}", path.display())]
    Io {
        /// File or directory.
        path: PathBuf,
        /// Cause. It is part of the message, so that a chain of causes does not say it twice.
        cause: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: found {found}, expected {expected}", path.display())]
    Format {
        /// File.
        path: PathBuf,
        /// What the file holds.
        found: String,
        /// What it should hold.
        expected: String,
    },
    /// A computation left the finite numbers.
    #[error("{what} is not finite at {unit} {at}")]
    NonFinite {
        /// Quantity.
        what: &'static str,
        /// What [`at`](Self::NonFinite::at) counts: steps of an automaton, frame pairs of a measurement, iterations of a training.
        unit: &'static str,
        /// Where it was seen.
        at: u64,
    },
    /// A device is missing or full.
    #[error("{backend} backend: {message}")]
    Device {
        /// Backend name.
        backend: &'static str,
        /// Reason, in words a user can act on.
        message: String,
    },
    /// A device that was used is lost to this process, with all that was on it.
    #[error("{backend} backend: {message}; the device is lost to this process: start again, finished work is on disk")]
    Lost {
        /// Backend name.
        backend: &'static str,
        /// What it could not do, and what it said.
        message: String,
    },
}

impl Error {
    /// [`Error::Invalid`] from anything printable.
    #[expect(clippy::needless_pass_by_value, reason = "callers pass temporaries")]
    pub fn invalid(what: impl Into<String>, found: impl ToString, expected: impl Into<String>) -> Self {
        Self::Invalid {
            what: what.into(),
            found: found.to_string(),
            expected: expected.into(),
        }
    }

    /// [`Error::Io`] for `path`.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io {
            path: path.as_ref().to_owned(),
            cause: source,
        }
    }

    /// [`Error::Format`] for `path`.
    #[expect(clippy::needless_pass_by_value, reason = "callers pass temporaries")]
    pub fn format(path: impl AsRef<Path>, found: impl ToString, expected: impl Into<String>) -> Self {
        Self::Format {
            path: path.as_ref().to_owned(),
            found: found.to_string(),
            expected: expected.into(),
        }
    }

    /// This error about something inside the file `path`: an [`Error::Invalid`] keeps what was expected, with any other
    /// it is `whole`, what the file as a whole should be.
    #[must_use]
    pub fn in_file(self, path: impl AsRef<Path>, whole: &str) -> Self {
        match self {
            Self::Invalid { what, found, expected } => Self::format(path, format!("{what} {found}"), expected),
            other => Self::format(path, other, whole),
        }
    }
}

/// `Ok` if `found == expected`, else [`Error::Length`].
pub fn check_len(op: &'static str, what: &'static str, found: usize, expected: usize) -> Result<()> {
    if found == expected {
        Ok(())
    } else {
        Err(Error::Length {
            op,
            what,
            found,
            expected,
        })
    }
}
