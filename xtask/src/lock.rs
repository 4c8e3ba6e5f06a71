//! One process at a time in a directory.

use std::fs::{File, TryLockError};
use std::path::Path;

use nca_core::{Error, Result};

/// The right to write into `directory`, which must exist: the lock on its file `lock`, which the system releases when the
/// value goes or the process ends. An error while another process has it; where the file system has no locks, a warning.
pub(crate) fn claim(directory: &Path, lock: &str) -> Result<File> {
    let path = directory.join(lock);
    // For reading, too: file systems of networks may want it.
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    let file = options.open(&path).map_err(|e| Error::io(&path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::format(
            directory,
            "a directory that another process is working on",
            "one nobody is working on",
        )),
        Err(TryLockError::Error(error)) => {
            tracing::warn!(
                "{}: nothing keeps another process from working there, too: {error}",
                path.display()
            );
            Ok(file)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let claim = || claim(directory.path(), ".test.lock");
        let first = claim().unwrap();
        assert!(claim().unwrap_err().to_string().contains("another process"));
        drop(first);
        claim().unwrap();
        assert!(super::claim(&directory.path().join("none"), ".test.lock").is_err());
    }
}
