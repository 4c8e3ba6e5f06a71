//! Tensor files of whatever format.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Seek};
use std::path::Path;

use super::pytorch::{self, Container};
use super::safetensors;
use super::tensors::Tensors;
use crate::error::{Error, Result};

/// Reads all tensors of a file, which is told by its first bytes: safetensors, or PyTorch's own format
/// (a zip archive, or the stream of versions before 1.6).
///
/// Nothing in a PyTorch file is run. Tensors in nested dictionaries and lists are named by the keys
/// and positions on the way, joined with dots; what is no tensor is left out. Elements become f32 as
/// in [`read_tensors`](super::read_tensors).
///
/// # Errors
/// [`Error::Io`], or [`Error::Format`] that says what is wrong with the file.
pub fn read_tensors_any(path: impl AsRef<Path>) -> Result<Tensors> {
    let path = path.as_ref();
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let length = file.metadata().map_err(|e| Error::io(path, e))?.len();
    read_from(path, BufReader::new(file), length)
}

/// As [`read_tensors_any`] from the bytes of a file; `path` is what messages call it.
///
/// # Errors
/// [`Error::Format`] that says what is wrong with the bytes.
pub fn parse_tensors_any(path: impl AsRef<Path>, bytes: &[u8]) -> Result<Tensors> {
    read_from(path.as_ref(), Cursor::new(bytes), bytes.len() as u64)
}

fn read_from(path: &Path, mut reader: impl BufRead + Seek, length: u64) -> Result<Tensors> {
    let io = |error| Error::io(path, error);
    let mut head = Vec::new();
    (&mut reader).take(Container::HEAD).read_to_end(&mut head).map_err(io)?;
    reader.rewind().map_err(io)?;
    match Container::of(&head) {
        Some(container) => pytorch::read(path, container, reader, length),
        None => safetensors::read_from(path, &mut reader, length),
    }
}
