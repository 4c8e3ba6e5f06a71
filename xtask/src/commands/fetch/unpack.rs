//! The pictures of the Describable Textures Dataset, out of its archive.
//!
//! The archive is taken as hostile: an entry that leads out of it, or that is neither file nor folder,
//! condemns the whole, and nothing appears at the target until everything has been read and its
//! checksum found right.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::path::{Component, Path, PathBuf};

use flate2::read::GzDecoder;
use indicatif::ProgressBar;
use nca_core::{Error, Result};
use tar::{Archive, Entry, EntryType};

use crate::progress::bar_style;

/// Folder of the pictures, at the top of the archive or one below.
const IMAGES: &str = "images";
/// Most bytes that the archive may unfold to; the data set's 5640 pictures take about 0.6 GB.
const MAX_BYTES: u64 = 4 << 30;

/// Unpacks the files below `images/` of a `.tar.gz` to `target`, a path below `into` that is
/// replaced as a whole.
///
/// # Errors
/// [`Error::Format`] if something is wrong with the archive, [`Error::Io`] if the file system
/// refuses.
pub(super) fn unpack_images(archive: &Path, into: &Path, target: &Path) -> Result<()> {
    // Removed with all its contents at the end, whatever the end is.
    let work = tempfile::Builder::new()
        .prefix(".dtd-")
        .suffix(".tmp")
        .tempdir_in(into)
        .map_err(|e| Error::io(into, e))?;
    let unpacked = work.path().join("new");
    let files = unpack(archive, &unpacked)?;
    if files == 0 {
        return Err(Error::format(archive, "no pictures", format!("files below {IMAGES}/")));
    }
    replace(&unpacked, target, &work.path().join("old"))
}

/// Moves `new` to `target`, and what is there to `old`.
fn replace(new: &Path, target: &Path, old: &Path) -> Result<()> {
    let io = |e| Error::io(target, e);
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(|e| Error::io(parent, e))?;
    }
    let replaced = target.exists();
    if replaced {
        fs::rename(target, old).map_err(io)?;
    }
    fs::rename(new, target).map_err(|e| {
        if replaced {
            // Best effort: the first error is the one to report.
            let _ = fs::rename(old, target);
        }
        io(e)
    })
}

/// Unpacks the files below `images/` into the new folder `to`, and returns how many there are.
fn unpack(path: &Path, to: &Path) -> Result<usize> {
    let broken = |e: io::Error| Error::format(path, format!("a broken archive ({e})"), "a .tar.gz archive");
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let length = file.metadata().map_err(|e| Error::io(path, e))?.len();
    let bar = bar(length);
    let decoder = GzDecoder::new(bar.wrap_read(BufReader::new(file)));
    let mut archive = Archive::new(decoder.take(MAX_BYTES));
    let mut files = 0;
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let Some(name) = picture(path, &entry)? else { continue };
        write_entry(path, &mut entry, &to.join(name))?;
        files += 1;
    }
    // To the end, where the checksum is.
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(broken)?;
    if rest.limit() == 0 {
        return Err(Error::format(
            path,
            format!("more than {MAX_BYTES} bytes unpacked"),
            "a smaller archive",
        ));
    }
    bar.finish_and_clear();
    Ok(files)
}

fn bar(length: u64) -> ProgressBar {
    ProgressBar::new(length)
        .with_style(bar_style("{msg:11} {bar:30.cyan} {bytes} of {total_bytes}  {eta} left"))
        .with_message("unpacking")
}

/// Path of an entry below `images/`; `None` if it is a folder or something else that is not needed.
fn picture(archive: &Path, entry: &Entry<'_, impl Read>) -> Result<Option<PathBuf>> {
    let path = entry
        .path()
        .map_err(|e| Error::format(archive, format!("an entry with a broken name ({e})"), "a path"))?;
    let refuse = |what: &str| {
        let found = format!("entry {} that {what}", path.display());
        Err(Error::format(
            archive,
            found,
            "only files and folders inside the archive",
        ))
    };
    match entry.header().entry_type() {
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse | EntryType::Directory => {}
        // Comments, as `git archive` writes them.
        EntryType::XGlobalHeader => return Ok(None),
        EntryType::Symlink | EntryType::Link => return refuse("is a link"),
        _ => return refuse("is a device or something else"),
    }
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part),
            Component::CurDir => {}
            _ => return refuse("leads out of it"),
        }
    }
    let Some(at) = parts.iter().take(2).position(|&part| part == IMAGES) else {
        return Ok(None);
    };
    let inside = &parts[at + 1..];
    // Hidden files are left-overs of file managers.
    let hidden = inside
        .last()
        .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    if hidden || entry.header().entry_type() == EntryType::Directory {
        return Ok(None);
    }
    Ok(Some(inside.iter().collect()))
}

/// Writes one entry to the new file `to`.
fn write_entry(archive: &Path, entry: &mut impl Read, to: &Path) -> Result<()> {
    let io = |e: io::Error| match e.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => Error::format(
            archive,
            format!("two entries in one place ({})", to.display()),
            "every file once",
        ),
        _ => Error::io(to, e),
    };
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(io)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(to).map_err(io)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = entry
            .read(&mut buffer)
            .map_err(|e| Error::format(archive, format!("a broken archive ({e})"), "a .tar.gz archive"))?;
        if n == 0 {
            return Ok(());
        }
        file.write_all(&buffer[..n]).map_err(io)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tar::{Builder, Header};

    /// A folder with an archive of the given entries: type, name, contents or link target.
    fn archive(entries: &[(EntryType, &str, &str)]) -> (tempfile::TempDir, PathBuf) {
        let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for &(kind, name, contents) in entries {
            let link = kind.is_symlink() || kind.is_hard_link();
            let contents = if link { "" } else { contents };
            let mut header = Header::new_ustar();
            // Around the checks of `Header::set_path`, which would not write what is tested here.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(kind);
            header.set_size(contents.len() as u64);
            header.set_mode(0o644);
            if link {
                header.set_link_name("target").expect("a short name");
            }
            header.set_cksum();
            builder.append(&header, contents.as_bytes()).expect("an entry");
        }
        let bytes = builder.into_inner().and_then(GzEncoder::finish).expect("an archive");
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("archive.tar.gz");
        fs::write(&path, bytes).expect("a file");
        (folder, path)
    }

    /// What is below `folder` besides the archive.
    fn found(folder: &Path) -> Vec<String> {
        let mut names = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(next).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with("archive.tar.gz") {
                    let name = path.strip_prefix(folder).expect("below it");
                    names.push(name.to_str().expect("UTF-8").to_owned());
                }
            }
        }
        names.sort();
        names
    }

    fn unpack_here(folder: &Path, path: &Path) -> Result<()> {
        unpack_images(path, folder, &folder.join("dtd").join("images"))
    }

    #[test]
    fn takes_the_pictures_alone() {
        let (folder, path) = archive(&[
            (EntryType::XGlobalHeader, "pax_global_header", ""),
            (EntryType::Directory, "dtd/", ""),
            (EntryType::Directory, "dtd/images/bubbly/", ""),
            (EntryType::Regular, "dtd/images/bubbly/bubbly_0101.jpg", "bubbles"),
            (EntryType::Regular, "./dtd/images/cracked/cracked_0085.jpg", "cracks"),
            (EntryType::Regular, "dtd/images/cracked/.directory", "litter"),
            (EntryType::Regular, "dtd/labels/images/list.txt", "labels"),
        ]);
        unpack_here(folder.path(), &path).expect("a good archive");
        let expected = [
            "dtd/images/bubbly/bubbly_0101.jpg",
            "dtd/images/cracked/cracked_0085.jpg",
        ];
        assert_eq!(found(folder.path()), expected);
        let bubbles = fs::read_to_string(folder.path().join(expected[0])).expect("the picture");
        assert_eq!(bubbles, "bubbles");
    }

    #[test]
    fn replaces_what_is_there() {
        let (folder, path) = archive(&[(EntryType::Regular, "dtd/images/new.jpg", "new")]);
        let images = folder.path().join("dtd/images");
        fs::create_dir_all(&images).expect("a folder");
        fs::write(images.join("old.jpg"), "old").expect("a file");
        fs::write(folder.path().join("dtd/kept.txt"), "kept").expect("a file");
        unpack_here(folder.path(), &path).expect("a good archive");
        assert_eq!(found(folder.path()), ["dtd/images/new.jpg", "dtd/kept.txt"]);
    }

    #[test]
    fn refuses_hostile_entries_and_leaves_nothing() {
        let good = (EntryType::Regular, "dtd/images/good.jpg", "good");
        for (bad, word) in [
            ((EntryType::Regular, "dtd/images/../../../evil", "evil"), "leads out"),
            ((EntryType::Regular, "../evil", "evil"), "leads out"),
            ((EntryType::Regular, "/images/evil.jpg", "evil"), "leads out"),
            ((EntryType::Directory, "dtd/images/../../..", ""), "leads out"),
            ((EntryType::Symlink, "dtd/images/link", ""), "link"),
            ((EntryType::Link, "dtd/images/link", ""), "link"),
            ((EntryType::Symlink, "elsewhere", ""), "link"),
            ((EntryType::Fifo, "dtd/images/pipe", ""), "device"),
            ((EntryType::Char, "dtd/images/tty", ""), "device"),
            (good, "two entries"),
            (
                (EntryType::Regular, "dtd/images/good.jpg/nested", "nested"),
                "two entries",
            ),
        ] {
            let (folder, path) = archive(&[good, bad]);
            let error = unpack_here(folder.path(), &path).expect_err(bad.1);
            assert!(matches!(error, Error::Format { .. }), "{}: {error}", bad.1);
            let message = error.to_string();
            assert!(
                message.contains(word) && message.contains("archive.tar.gz"),
                "{message}"
            );
            assert!(found(folder.path()).is_empty(), "{}", bad.1);
            assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "{}", bad.1);
        }
    }

    #[test]
    fn refuses_damaged_and_empty_archives() {
        let (folder, path) = archive(&[(EntryType::Regular, "dtd/images/a.jpg", &"texture ".repeat(500))]);
        let whole = fs::read(&path).expect("the archive");
        let mut checksum = whole.clone();
        let at = whole.len() - 8;
        checksum[at] ^= 1;
        for bytes in [
            &whole[..0],
            &whole[..5],
            &whole[..whole.len() / 2],
            &whole[..whole.len() - 4],
            &checksum,
            b"<html>",
        ] {
            fs::write(&path, bytes).expect("a file");
            let error = unpack_here(folder.path(), &path).expect_err("damaged");
            assert!(matches!(error, Error::Format { .. }), "{error}");
            assert!(found(folder.path()).is_empty());
        }
        let (folder, path) = archive(&[(EntryType::Regular, "dtd/labels/a.txt", "a")]);
        let error = unpack_here(folder.path(), &path).expect_err("no pictures").to_string();
        assert!(error.contains("no pictures"), "{error}");
    }
}
