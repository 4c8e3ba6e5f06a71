//! Tensor files of whatever format.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
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
    let io = |error| Error::io(path, error);
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    let length = file.get_ref().metadata().map_err(io)?.len();
    let mut head = Vec::new();
    (&mut file).take(Container::HEAD).read_to_end(&mut head).map_err(io)?;
    file.rewind().map_err(io)?;
    match Container::of(&head) {
        Some(container) => pytorch::read(path, container, file, length),
        None => safetensors::read_from(path, &mut file, length),
    }
}
