//! The zip format of PyTorch 1.6 and later: `NAME/data.pkl` and one stored file `NAME/data/KEY` for each
//! storage.

use std::io::{Read, Seek};

use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use super::Pieces;
use super::fault::{Fault, Result};
use super::pickle;
use super::value::Heap;
use crate::checkpoint::element::Element;

const PICKLE: &str = "/data.pkl";

/// Reads an archive of `length` bytes.
pub(super) fn read(reader: impl Read + Seek, length: u64) -> Result<Pieces> {
    let mut archive = ZipArchive::new(reader).map_err(damaged)?;
    let mut names = archive.file_names().flatten();
    let folder = names.find_map(|name| name.strip_suffix(PICKLE).map(str::to_owned));
    drop(names);
    let Some(folder) = folder else {
        return Err(Fault::new("a zip archive without data.pkl", "an archive of torch.save"));
    };
    check_byte_order(&mut archive, &folder)?;
    let mut heap = Heap::default();
    let mut entry = open(&mut archive, &format!("{folder}{PICKLE}"))?;
    let root = pickle::load(&mut entry, &mut heap)?;
    finish(entry)?;
    let mut pieces = Pieces::new(&heap, root, length)?;
    for (key, (element, count)) in heap.storages()? {
        if pieces.wants(key) {
            let mut entry = open(&mut archive, &format!("{folder}/data/{key}"))?;
            check_size(key, entry.size(), element, count, length)?;
            pieces.read(key, element, count, &mut entry)?;
            finish(entry)?;
        }
    }
    Ok(pieces)
}

/// Archives of before 2023 do not say; they are little-endian in practice.
fn check_byte_order(archive: &mut ZipArchive<impl Read + Seek>, folder: &str) -> Result<()> {
    let name = format!("{folder}/byteorder");
    if archive.index_for_name(&name).is_none() {
        return Ok(());
    }
    let mut order = String::new();
    open(archive, &name)?.take(16).read_to_string(&mut order)?;
    if order != "little" {
        return Err(Fault::new(format!("{order}-endian data"), "little-endian data"));
    }
    Ok(())
}

/// The file `name`, which must be stored as it is: torch.save compresses nothing, and so nothing here
/// can unfold into more than the archive's own length.
fn open<'a, R: Read + Seek>(archive: &'a mut ZipArchive<R>, name: &str) -> Result<zip::read::ZipFile<'a, R>> {
    let entry = archive.by_name(name).map_err(damaged)?;
    match entry.compression() {
        CompressionMethod::Stored => Ok(entry),
        other => Err(Fault::new(
            format!("{name} compressed by {other}"),
            "uncompressed files in the archive",
        )),
    }
}

/// Reads up to the end, where the checksum is compared.
fn finish(mut entry: impl Read) -> Result<()> {
    std::io::copy(&mut entry, &mut std::io::sink())?;
    Ok(())
}

fn check_size(key: &str, found: u64, element: Element, count: usize, length: u64) -> Result<()> {
    let expected = count.checked_mul(element.size());
    if expected == usize::try_from(found).ok() && found <= length {
        return Ok(());
    }
    Err(Fault::new(
        format!("{found} bytes in data/{key}"),
        format!("{count} elements of {} bytes", element.size()),
    ))
}

fn damaged(error: ZipError) -> Fault {
    match error {
        ZipError::Io(error) => Fault::Io(error),
        other => Fault::new(format!("a damaged zip archive ({other})"), "an archive of torch.save"),
    }
}
