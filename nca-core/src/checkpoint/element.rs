//! The element types found in files, all converted to f32.

use std::io::{self, Read};

use half::{bf16, f16};

/// Type of the elements of a stored tensor, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    F16,
    Bf16,
    F32,
    F64,
    U8,
    I8,
    I16,
    I32,
    I64,
}

/// Why elements could not be read.
pub(super) enum ReadError {
    /// The file ended or could not be read.
    Io(io::Error),
    /// An integer that f32 cannot hold.
    Inexact(i64),
}

/// Bytes read at a time: large files pass through a buffer of this size.
const CHUNK: usize = 1 << 18;

impl Element {
    /// Bytes of one element.
    pub(super) fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::F16 | Self::Bf16 | Self::I16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }

    /// Reads `count` elements; the caller has checked that the file is long enough for them.
    ///
    /// Floating-point numbers are rounded to f32 (f32 itself keeps its bits, NaN included); integers
    /// must be exact in f32.
    pub(super) fn read(self, reader: &mut impl Read, count: usize) -> Result<Vec<f32>, ReadError> {
        let chunk = CHUNK / self.size();
        let mut values = Vec::new();
        values
            .try_reserve_exact(count)
            .map_err(|_| ReadError::Io(io::ErrorKind::OutOfMemory.into()))?;
        let mut bytes = vec![0; count.min(chunk) * self.size()];
        let mut left = count;
        while left > 0 {
            let now = left.min(chunk);
            let bytes = &mut bytes[..now * self.size()];
            reader.read_exact(bytes).map_err(ReadError::Io)?;
            self.decode(bytes, &mut values).map_err(ReadError::Inexact)?;
            left -= now;
        }
        Ok(values)
    }

    /// Appends the elements in `bytes`; an integer that f32 cannot hold is returned as the error.
    fn decode(self, bytes: &[u8], values: &mut Vec<f32>) -> Result<(), i64> {
        match self {
            Self::F16 => each(bytes, values, |b| Ok(f16::from_le_bytes(b).to_f32())),
            Self::Bf16 => each(bytes, values, |b| Ok(bf16::from_le_bytes(b).to_f32())),
            Self::F32 => each(bytes, values, |b| Ok(f32::from_le_bytes(b))),
            Self::F64 => each(bytes, values, |b| Ok(f64::from_le_bytes(b) as f32)),
            Self::U8 => each(bytes, values, |[b]| Ok(f32::from(b))),
            Self::I8 => each(bytes, values, |b| Ok(f32::from(i8::from_le_bytes(b)))),
            Self::I16 => each(bytes, values, |b| Ok(f32::from(i16::from_le_bytes(b)))),
            Self::I32 => each(bytes, values, |b| exact(i64::from(i32::from_le_bytes(b)))),
            Self::I64 => each(bytes, values, |b| exact(i64::from_le_bytes(b))),
        }
    }
}

/// Appends `convert` of each group of `N` bytes.
fn each<const N: usize>(
    bytes: &[u8],
    values: &mut Vec<f32>,
    convert: impl Fn([u8; N]) -> Result<f32, i64>,
) -> Result<(), i64> {
    let (elements, _) = bytes.as_chunks::<N>();
    for &element in elements {
        values.push(convert(element)?);
    }
    Ok(())
}

/// `value` as f32, if its distance from zero is within 2²⁴.
fn exact(value: i64) -> Result<f32, i64> {
    if value.unsigned_abs() <= 1 << f32::MANTISSA_DIGITS {
        Ok(value as f32)
    } else {
        Err(value)
    }
}
