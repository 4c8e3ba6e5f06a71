//! Files that are never half written.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Writes `path` through a temporary file in the same directory, which is synchronised to disk and
/// then renamed: a reader sees the old file or the whole new one, whenever the process dies.
///
/// The directory must exist. A symbolic link stays one: the file that it leads to is replaced, or made. A file that is
/// replaced leaves its permissions to the new one, not its owner and group. What is no file, a pipe or a device, is written
/// to as it is, and keeps what it got of a failed attempt.
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
    let path = &end_of_links(path)?;
    let old = fs::metadata(path).ok();
    match &old {
        Some(old) if old.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        // Opened without making or emptying a file, should one have taken its place.
        Some(old) if !old.is_file() => return write_through(&OpenOptions::new().write(true).open(path)?, write),
        _ => {}
    }
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
        builder.permissions(Permissions::from_mode(0o666));
    }
    let temporary = builder.tempfile_in(directory)?;
    if let Some(old) = old {
        // Before there is anything to read. A file system without permissions has none to keep.
        let _ = temporary.as_file().set_permissions(plain(&old.permissions()));
    }
    write_through(temporary.as_file(), write)?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|failed| failed.error)?;
    // The rename itself reaches the disk with the directory. Not every file system can do this, and
    // a process that dies does not need it.
    #[cfg(unix)]
    let _ = File::open(directory).and_then(|directory| directory.sync_all());
    Ok(())
}

/// Where the symbolic links from `path` on lead, be something there or not.
fn end_of_links(path: &Path) -> io::Result<PathBuf> {
    /// As many as Linux follows.
    const MOST: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..MOST {
        if !fs::symlink_metadata(&path).is_ok_and(|entry| entry.is_symlink()) {
            return Ok(path);
        }
        let target = fs::read_link(&path)?;
        path = path.parent().unwrap_or(Path::new("")).join(target);
    }
    Err(io::Error::other(
        "a symbolic link that leads to itself, or through too many others",
    ))
}

/// Permissions to read, write and run: a file written anew runs in nobody else's name.
fn plain(permissions: &Permissions) -> Permissions {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        Permissions::from_mode(permissions.mode() & 0o777)
    }
    #[cfg(not(unix))]
    permissions.clone()
}

fn write_through(file: &File, write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(1 << 18, file);
    write(&mut writer)?;
    writer.flush()
}
