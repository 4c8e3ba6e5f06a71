//! Who works on a directory: locks that the system releases when a process ends, however it ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use nca_core::{Error, Result};

use super::settings::Shard;

/// Every run of a sweep holds it: a whole one alone, shards together.
const SWEEP: &str = ".sweep.lock";
/// Held for a moment, by who reads the settings and writes them where there are none.
const SETTINGS: &str = ".settings.lock";
/// How often a lock is tried before it counts as another run's, and the time between: who asks whether anybody is at work
/// ([`at_work`]) holds it for a moment.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// The right to make the models of a sweep, or of a shard of it, held while this value lives.
///
/// No two runs make the same models: a whole sweep runs alone, shards run beside shards of the same number of parts.
#[derive(Debug)]
pub(super) struct Claim {
    settings: (PathBuf, File),
    _locks: Vec<File>,
}

impl Claim {
    /// Of the sweep in `directory`, which must exist.
    pub(super) fn new(directory: &Path, shard: Option<Shard>) -> Result<Self> {
        let taken = || {
            Error::format(
                directory,
                "a sweep that another process is running",
                "one nobody is working on",
            )
        };
        let mut locks = Vec::new();
        let path = directory.join(SWEEP);
        let sweep = open(&path)?;
        let Some(shard) = shard else {
            take(&sweep, &path)?.ok_or_else(taken)?;
            locks.push(sweep);
            return Self::with(directory, locks);
        };
        held(sweep.try_lock_shared(), &path)?.ok_or_else(taken)?;
        locks.push(sweep);
        let path = directory.join(name(shard));
        let own = open(&path)?;
        take(&own, &path)?.ok_or_else(taken)?;
        locks.push(own);
        // After its own, so that of two that begin at once at least one sees the other.
        for entry in fs::read_dir(directory).map_err(|e| Error::io(directory, e))? {
            let path = entry.map_err(|e| Error::io(directory, e))?.path();
            let Some(other) = path.file_name().and_then(|name| shard_of(name.to_str()?)) else {
                continue;
            };
            if other.count == shard.count {
                continue;
            }
            if held(open(&path)?.try_lock_shared(), &path)?.is_none() {
                let found = format!("shard {}/{} at work", other.index, other.count);
                let expected = format!("shards of {} parts, as {}/{}", shard.count, shard.index, shard.count);
                return Err(Error::format(directory, found, expected));
            }
        }
        Self::with(directory, locks)
    }

    fn with(directory: &Path, locks: Vec<File>) -> Result<Self> {
        let path = directory.join(SETTINGS);
        Ok(Self {
            settings: (path.clone(), open(&path)?),
            _locks: locks,
        })
    }

    /// Does `work` while no other run of the sweep does such.
    pub(super) fn alone<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let (path, file) = &self.settings;
        file.lock().map_err(|e| Error::io(path, e))?;
        let done = work();
        file.unlock().map_err(|e| Error::io(path, e))?;
        done
    }
}

/// Whether any run holds the right to make models of the sweep in `directory`, as far as its locks tell; `None` where no run
/// has left a lock.
///
/// Makes no file, and keeps no run from its right: each lock is held for a moment, together with others who ask, and a run
/// that begins tries again.
pub(super) fn at_work(directory: &Path) -> Option<bool> {
    let mut known = None;
    for entry in fs::read_dir(directory).ok()?.flatten() {
        let name = entry.file_name();
        if name != SWEEP && name.to_str().and_then(shard_of).is_none() {
            continue;
        }
        // Of a lock that cannot be asked nothing is known.
        match File::open(entry.path()).map(|lock| lock.try_lock_shared()) {
            Ok(Ok(())) => known = Some(false),
            Ok(Err(TryLockError::WouldBlock)) => return Some(true),
            Ok(Err(TryLockError::Error(_))) | Err(_) => return None,
        }
    }
    known
}

/// Locks a file for this run alone: `None` if another has it.
fn take(file: &File, path: &Path) -> Result<Option<()>> {
    for _ in 1..TRIES {
        if held(file.try_lock(), path)?.is_some() {
            return Ok(Some(()));
        }
        sleep(PAUSE);
    }
    held(file.try_lock(), path)
}

/// For reading, too: without it some file systems of networks have no shared locks.
fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path).map_err(|e| Error::io(path, e))
}

/// Whether a lock has been taken: `None` if another process has it.
fn held(lock: std::result::Result<(), TryLockError>, path: &Path) -> Result<Option<()>> {
    match lock {
        Ok(()) => Ok(Some(())),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) => Err(Error::io(path, e)),
    }
}

/// Of the lock of a shard.
fn name(Shard { index, count }: Shard) -> String {
    format!(".shard-{index}-of-{count}.lock")
}

/// The shard whose lock has this name.
fn shard_of(name: &str) -> Option<Shard> {
    let (index, count) = name
        .strip_prefix(".shard-")?
        .strip_suffix(".lock")?
        .split_once("-of-")?;
    Some(Shard {
        index: index.parse().ok()?,
        count: count.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_model_is_made_by_two() {
        let place = tempfile::tempdir().unwrap();
        let claim = |shard: Option<(usize, usize)>| {
            Claim::new(place.path(), shard.map(|(index, count)| Shard { index, count }))
        };
        let refused = |shard| claim(shard).unwrap_err().to_string();
        let (first, second) = (claim(Some((1, 2))).unwrap(), claim(Some((2, 2))).unwrap());
        assert!(refused(Some((1, 2))).contains("another process"));
        assert!(refused(None).contains("another process"));
        let other = refused(Some((3, 4)));
        assert!(
            other.contains("shard 1/2 at work") || other.contains("shard 2/2 at work"),
            "{other}"
        );
        assert!(other.contains("shards of 4 parts, as 3/4"), "{other}");
        drop(first);
        assert!(refused(None).contains("another process"));
        drop(second);
        let whole = claim(None).unwrap();
        assert!(refused(None).contains("another process"));
        assert!(refused(Some((1, 2))).contains("another process"));
        drop(whole);
        // What was refused has left nothing locked.
        drop(claim(Some((3, 4))).unwrap());
        drop(claim(None).unwrap());
    }

    #[test]
    fn who_asks_disturbs_nobody() {
        let place = tempfile::tempdir().unwrap();
        let asked = || at_work(place.path());
        assert_eq!(asked(), None);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        let claim = |shard| Claim::new(place.path(), shard);
        let whole = claim(None).unwrap();
        assert_eq!((asked(), asked()), (Some(true), Some(true)));
        drop(whole);
        assert_eq!(asked(), Some(false));
        // The sweep's own lock is shared by shards.
        let shard = Shard { index: 2, count: 3 };
        let part = claim(Some(shard)).unwrap();
        assert_eq!(asked(), Some(true));
        drop(part);
        assert_eq!(asked(), Some(false));
        // A run that begins in the very moment waits for it to pass.
        for (name, shard) in [(SWEEP.to_owned(), None), (name(shard), Some(shard))] {
            let asking = File::open(place.path().join(name)).unwrap();
            asking.try_lock_shared().unwrap();
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    sleep(3 * PAUSE);
                    drop(asking);
                });
                drop(claim(shard).unwrap());
            });
        }
    }

    #[test]
    fn names_tell_the_shard() {
        let shard = Shard { index: 3, count: 12 };
        assert_eq!(shard_of(&name(shard)), Some(shard));
        for other in [SWEEP, SETTINGS, ".shard-3.lock", "shard-1-of-2"] {
            assert_eq!(shard_of(other), None, "{other}");
        }
    }
}
