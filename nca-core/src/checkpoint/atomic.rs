//! Files that are never half written.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::error::{Error, Result};

/// Writes `path` through a temporary file in the same directory, which is synchronised to disk and
/// then renamed: a reader sees the old file or the whole new one, whenever the process dies.
///
/// The directory must exist. A symbolic link stays one: the file it leads to is replaced. A file that is replaced leaves
/// its permissions to the new one. What is no file, a pipe or a device, is written to as it is.
///
/// # Errors
/// [`Error::Io`], and what `write` returns as such; the old file is then as it was.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("note.txt");
/// use std::io::Write;
/// nca_core::checkpoint::write_atomic(&path, |file| writeln!(file, "complete"))?;
/// # assert_eq!(std::fs::read_to_string(&path).unwrap(), "complete\n");
/// # Ok::<(), nca_core::Error>(())
/// ```
pub fn write_atomic(path: impl AsRef<Path>, write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>) -> Result<()> {
    let path = path.as_ref();
    write_and_rename(path, write).map_err(|source| Error::io(path, source))
}

fn write_and_rename(path: &Path, write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>) -> io::Result<()> {
    let old = fs::metadata(path).ok();
    if old.as_ref().is_some_and(|old| !old.is_file() && !old.is_dir()) {
        return write_through(&File::create(path)?, write);
    }
    let path = if fs::symlink_metadata(path).is_ok_and(|entry| entry.is_symlink()) && old.is_some() {
        Cow::Owned(fs::canonicalize(path)?)
    } else {
        Cow::Borrowed(path)
    };
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".tmp");
    #[cfg(unix)]
    {
        // As any new file, up to the umask; the default would hide results from the user's group.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let temporary = builder.tempfile_in(directory)?;
    write_through(temporary.as_file(), write)?;
    temporary.as_file().sync_all()?;
    if let Some(old) = old {
        // A file system without permissions has nothing to keep.
        let _ = temporary.as_file().set_permissions(old.permissions());
    }
    temporary.persist(&path).map_err(|failed| failed.error)?;
    // The rename itself reaches the disk with the directory. Not every file system can do this, and
    // a process that dies does not need it.
    #[cfg(unix)]
    let _ = File::open(directory).and_then(|directory| directory.sync_all());
    Ok(())
}

fn write_through(file: &File, write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(1 << 18, file);
    write(&mut writer)?;
    writer.flush()
}
