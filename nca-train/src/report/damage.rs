//! Files that cannot be read: a report is made of the others, and says which it lacks.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use nca_core::{Error, Result};

/// A file of a sweep that is there but cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// What was found in it and what was expected, in words.
    pub reason: String,
}

impl Damage {
    /// File and reason in a line, the file by its path below the sweep directory `dir`: reports move, and are shown to
    /// others.
    #[must_use]
    pub fn below(&self, dir: &Path) -> String {
        let path = self.path.strip_prefix(dir).unwrap_or(&self.path);
        format!("{}: {}", path.display(), self.reason)
    }
}

/// What could not be read so far, each file once.
#[derive(Debug, Default)]
pub(super) struct Damages(Vec<Damage>);

impl Damages {
    /// Those found before.
    pub(super) fn new(known: Vec<Damage>) -> Self {
        Self(known)
    }

    /// What `read` makes of the file at `path`; `None` where it is not there, or cannot be read, which is noted.
    pub(super) fn read<'p, T>(&mut self, path: &'p Path, read: impl FnOnce(&'p Path) -> Result<T>) -> Option<T> {
        if self.reason(path).is_some() {
            return None;
        }
        match read(path) {
            Ok(content) => Some(content),
            // Perhaps removed a moment ago, by the sweep that is running.
            Err(Error::Io { cause, .. }) if cause.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                let message = error.to_string();
                let name = format!("{}: ", path.display());
                self.note(path, message.strip_prefix(&name).unwrap_or(&message).to_owned());
                None
            }
        }
    }

    /// Notes that the file at `path` is not there, or not of use, for a `reason` in words.
    pub(super) fn note(&mut self, path: &Path, reason: String) {
        self.0.push(Damage {
            path: path.to_owned(),
            reason,
        });
    }

    /// What is wrong with the file at `path`, if that is known.
    pub(super) fn reason(&self, path: &Path) -> Option<&str> {
        let damage = self.0.iter().find(|damage| damage.path == path)?;
        Some(&damage.reason)
    }

    /// All of it, in the order of the paths.
    pub(super) fn into_list(mut self) -> Vec<Damage> {
        self.0.sort_by(|a, b| a.path.cmp(&b.path));
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_damaged_file_is_read_and_noted_once() {
        let mut damages = Damages::default();
        let (whole, broken, absent) = (Path::new("d/a"), Path::new("d/b"), Path::new("d/c"));
        assert_eq!(damages.read(whole, |_| Ok(7)), Some(7));
        let reads = Cell::new(0);
        for _ in 0..2 {
            let found = damages.read(broken, |path| {
                reads.set(reads.get() + 1);
                Err::<(), _>(Error::format(path, "a hole", "bread"))
            });
            assert_eq!(found, None);
        }
        assert_eq!(reads.get(), 1);
        let gone = || std::io::Error::from(ErrorKind::NotFound);
        assert_eq!(damages.read(absent, |path| Err::<(), _>(Error::io(path, gone()))), None);
        assert_eq!(damages.reason(broken), Some("found a hole, expected bread"));
        let list = damages.into_list();
        assert_eq!(list.len(), 1);
        assert_eq!(list[0].below(Path::new("d")), "b: found a hole, expected bread");
    }
}
