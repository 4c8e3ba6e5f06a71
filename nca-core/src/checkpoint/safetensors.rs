//! The safetensors format: eight bytes of header length, a JSON header, raw little-endian elements.
//!
//! The header is parsed and checked by the `safetensors` crate (offsets without gaps, sizes that
//! match the shapes). Elements stream between file and tensors, so that a file of 2 GB does not
//! need 4 GB of memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use half::f16;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};

use super::element::{Element, ReadError};
use super::tensors::{Tensor, TensorView, Tensors};
use super::write_atomic;
use crate::error::{Error, Result};

/// Longest header accepted, in bytes: a hundred thousand tensors.
const MAX_HEADER: u64 = 16 << 20;
/// Key of the strings beside the tensors.
const METADATA: &str = "__metadata__";

/// Reads all tensors and strings of a safetensors file.
///
/// f32 elements keep their bits. f16, bf16 and f64 are converted, as are integers that f32 holds
/// exactly.
///
/// # Errors
/// [`Error::Io`], or [`Error::Format`] that says what is wrong with the file.
pub fn read_tensors(path: impl AsRef<Path>) -> Result<Tensors> {
    let path = path.as_ref();
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let length = file.metadata().map_err(|e| Error::io(path, e))?.len();
    read_from(path, &mut BufReader::new(file), length)
}

/// As [`read_tensors`] from the bytes of a file; `path` is what messages call it.
///
/// # Errors
/// [`Error::Format`] that says what is wrong with the bytes.
pub fn parse_tensors(path: impl AsRef<Path>, mut bytes: &[u8]) -> Result<Tensors> {
    let length = bytes.len() as u64;
    read_from(path.as_ref(), &mut bytes, length)
}

/// As [`read_tensors`] from any source of `length` bytes; `path` is for messages.
pub(super) fn read_from(path: &Path, reader: &mut impl Read, length: u64) -> Result<Tensors> {
    let header = read_header(path, reader, length)?;
    let mut tensors = BTreeMap::new();
    for name in header.offset_keys() {
        let Some(info) = header.info(&name) else { continue };
        let element = element_of(info.dtype).ok_or_else(|| {
            Error::format(
                path,
                format!("tensor {name} of type {}", info.dtype),
                "F32, F16, BF16, F64 or an integer type",
            )
        })?;
        // The header has been checked: the product of the shape fits the file.
        let count = info.shape.iter().product();
        let values = element.read(reader, count).map_err(|error| match error {
            ReadError::Io(error) => Error::io(path, error),
            ReadError::Inexact(value) => Error::format(
                path,
                format!("{value} in tensor {name}"),
                "integers of at most 2^24, which f32 holds exactly",
            ),
        })?;
        let shape = info.shape.clone();
        tensors.insert(name, Tensor { shape, values });
    }
    let metadata = header.metadata().iter().flatten();
    let metadata = metadata.map(|(key, value)| (key.clone(), value.clone())).collect();
    Ok(Tensors::new(path, tensors, metadata))
}

/// Reads the header, and checks it against the length of the file.
fn read_header(path: &Path, reader: &mut impl Read, length: u64) -> Result<Metadata> {
    let wrong = |found: String, expected: &str| Error::format(path, found, expected);
    if length < 8 {
        return Err(wrong(format!("{length} bytes"), "a safetensors file"));
    }
    let mut size = [0; 8];
    reader.read_exact(&mut size).map_err(|e| Error::io(path, e))?;
    let size = u64::from_le_bytes(size);
    let most = MAX_HEADER.min(length - 8);
    if size > most {
        return Err(wrong(
            format!("a safetensors header of {size} bytes in a file of {length}"),
            &format!("a header of at most {most} bytes (is this a safetensors file, and is it complete?)"),
        ));
    }
    let mut header = vec![0; size as usize];
    reader.read_exact(&mut header).map_err(|e| Error::io(path, e))?;
    let header: Metadata = serde_json::from_slice(&header)
        .map_err(|e| wrong(format!("a broken header ({e})"), "a valid safetensors header"))?;
    // In numbers that no header can overflow.
    let expected = 8 + u128::from(size) + header.data_len() as u128;
    if u128::from(length) != expected {
        return Err(wrong(
            format!("{length} bytes"),
            &format!("{expected} bytes by its header (truncated or overlong file?)"),
        ));
    }
    Ok(header)
}

/// How to read a safetensors element type.
fn element_of(dtype: Dtype) -> Option<Element> {
    Some(match dtype {
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::Bf16,
        Dtype::F32 => Element::F32,
        Dtype::F64 => Element::F64,
        Dtype::BOOL | Dtype::U8 => Element::U8,
        Dtype::I8 => Element::I8,
        Dtype::I16 => Element::I16,
        Dtype::I32 => Element::I32,
        Dtype::I64 => Element::I64,
        _ => return None,
    })
}

/// Writes tensors and strings as a safetensors file, atomically.
///
/// The bytes are a pure function of the arguments: equal contents, equal files. Tensors are stored
/// in the order given.
///
/// # Errors
/// [`Error::Io`]; [`Error::Invalid`] if two tensors share a name, or if a shape does not match its
/// number of elements.
pub fn write_tensors(
    path: impl AsRef<Path>,
    tensors: &[TensorView<'_>],
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    write_as(path.as_ref(), Stored::F32, tensors, metadata)
}

/// As [`write_tensors`] in half the size: elements are rounded to f16, to the nearest.
///
/// # Errors
/// As [`write_tensors`]; [`Error::Invalid`] too if a finite element is beyond ±65504, which f16 does
/// not reach.
pub fn write_tensors_f16(
    path: impl AsRef<Path>,
    tensors: &[TensorView<'_>],
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    for tensor in tensors {
        let beyond = |v: &&f32| v.is_finite() && f16::from_f32(**v).is_infinite();
        if let Some(value) = tensor.values.iter().find(beyond) {
            let what = format!("an element of tensor {}", tensor.name);
            return Err(Error::invalid(what, value, "a number that f16 can hold"));
        }
    }
    write_as(path.as_ref(), Stored::F16, tensors, metadata)
}

/// The element types written.
#[derive(Clone, Copy)]
enum Stored {
    F32,
    F16,
}

impl Stored {
    fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
        }
    }

    /// Bytes of one element.
    fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }

    /// Little-endian elements.
    fn encode(self, values: &[f32], bytes: &mut Vec<u8>) {
        match self {
            Self::F32 => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Self::F16 => bytes.extend(values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes())),
        }
    }
}

fn write_as(
    path: &Path,
    stored: Stored,
    tensors: &[TensorView<'_>],
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    let header = header_of(stored, tensors, metadata)?;
    write_atomic(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        tensors
            .iter()
            .try_for_each(|tensor| write_values(file, stored, tensor.values))
    })
}

/// The JSON header, padded with spaces to a multiple of eight bytes.
fn header_of(stored: Stored, tensors: &[TensorView<'_>], metadata: &BTreeMap<String, String>) -> Result<Vec<u8>> {
    let mut header = serde_json::Map::new();
    if !metadata.is_empty() {
        header.insert(METADATA.to_owned(), json(metadata)?);
    }
    let mut offset = 0;
    for tensor in tensors {
        let name = &tensor.name;
        let count = tensor
            .shape
            .iter()
            .try_fold(1_usize, |n, &extent| n.checked_mul(extent));
        if count != Some(tensor.values.len()) {
            return Err(Error::invalid(
                format!("shape of tensor {name}"),
                format!("{:?}", tensor.shape),
                format!("a shape of {} elements", tensor.values.len()),
            ));
        }
        let end = offset + stored.size() * tensor.values.len();
        let info = TensorInfo {
            dtype: stored.dtype(),
            shape: tensor.shape.clone(),
            data_offsets: (offset, end),
        };
        if name == METADATA || header.insert(name.clone(), json(&info)?).is_some() {
            return Err(Error::invalid("name of a tensor", name, "a unique name"));
        }
        offset = end;
    }
    let mut header = serde_json::Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    if header.len() as u64 > MAX_HEADER {
        return Err(Error::invalid(
            "size of names and metadata",
            format!("{} bytes", header.len()),
            format!("at most {MAX_HEADER} bytes"),
        ));
    }
    Ok(header)
}

fn json(value: impl serde::Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(value).map_err(|e| Error::invalid("header of a tensor file", e, "JSON"))
}

/// Little-endian elements, a chunk at a time.
fn write_values(file: &mut impl Write, stored: Stored, values: &[f32]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(size_of_val(values).min(1 << 16));
    for chunk in values.chunks(1 << 14) {
        bytes.clear();
        stored.encode(chunk, &mut bytes);
        file.write_all(&bytes)?;
    }
    Ok(())
}
