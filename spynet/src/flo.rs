//! Middlebury `.flo` files (Baker et al., *A Database and Evaluation Methodology for Optical Flow*,
//! IJCV 2011).
//!
//! All little endian: the magic number 202021.25 as f32 (the bytes `PIEH`), width and height as
//! i32, then `u, v` of every pixel as f32, row by row.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use nca_core::checkpoint::write_atomic;
use nca_core::{Error, Result};

use crate::field::FlowField;

/// First four bytes: 202021.25 as f32.
const MAGIC: [u8; 4] = 202_021.25_f32.to_le_bytes();
/// Magic, width, height.
const HEADER_BYTES: usize = 12;
/// Largest width and height accepted; beyond it a header is taken for damaged.
const MAX_SIDE: i32 = 99_999;

/// Reads a flow field from a `.flo` file.
///
/// # Errors
/// Names the file and says what is wrong with it: unreadable, wrong magic number, impossible size,
/// fewer or more bytes than the size asks for (checked before memory is taken), NaN.
pub fn read_flo(path: impl AsRef<Path>) -> Result<FlowField> {
    let path = path.as_ref();
    let io = |e| Error::io(path, e);
    let mut file = File::open(path).map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    if !meta.is_file() {
        return Err(Error::format(path, "something that is no file", "a .flo file"));
    }
    let mut header = [0; HEADER_BYTES];
    match file.read_exact(&mut header) {
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => {
            return Err(Error::format(
                path,
                format!("{} bytes", meta.len()),
                format!("a .flo file, at least {HEADER_BYTES} bytes"),
            ));
        }
        other => other.map_err(io)?,
    }
    let (height, width) = parse_header(header, meta.len(), path)?;
    let mut body = vec![0; height * width * 8];
    file.read_exact(&mut body).map_err(io)?;
    parse_body(height, width, &body, path)
}

/// A flow field from the bytes of a `.flo` file; `path` is named in errors.
///
/// # Errors
/// As [`read_flo`].
pub fn parse_flo(bytes: &[u8], path: impl AsRef<Path>) -> Result<FlowField> {
    let path = path.as_ref();
    let Some((header, body)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(Error::format(
            path,
            format!("{} bytes", bytes.len()),
            format!("a .flo file, at least {HEADER_BYTES} bytes"),
        ));
    };
    let (height, width) = parse_header(*header, bytes.len() as u64, path)?;
    parse_body(height, width, body, path)
}

/// Height and width, after checking that the file has exactly the bytes they ask for.
fn parse_header(header: [u8; HEADER_BYTES], file_bytes: u64, path: &Path) -> Result<(usize, usize)> {
    let [m0, m1, m2, m3, w0, w1, w2, w3, h0, h1, h2, h3] = header;
    let magic = [m0, m1, m2, m3];
    if magic != MAGIC {
        return Err(Error::format(
            path,
            format!("first bytes {magic:02x?}"),
            format!("{MAGIC:02x?}, the magic number of a .flo file"),
        ));
    }
    let width = i32::from_le_bytes([w0, w1, w2, w3]);
    let height = i32::from_le_bytes([h0, h1, h2, h3]);
    for (side, value) in [("width", width), ("height", height)] {
        if !(1..=MAX_SIDE).contains(&value) {
            return Err(Error::format(
                path,
                format!("{side} {value}"),
                format!("a {side} from 1 to {MAX_SIDE}"),
            ));
        }
    }
    let (height, width) = (height as usize, width as usize);
    let expected = HEADER_BYTES as u64 + height as u64 * width as u64 * 8;
    if file_bytes != expected {
        return Err(Error::format(
            path,
            format!("{file_bytes} bytes"),
            format!("{expected} bytes for a flow of {width}×{height} pixels"),
        ));
    }
    Ok((height, width))
}

/// `body` holds `8·height·width` bytes.
fn parse_body(height: usize, width: usize, body: &[u8], path: &Path) -> Result<FlowField> {
    let plane = height * width;
    let mut data = vec![0.0; 2 * plane];
    let (us, vs) = data.split_at_mut(plane);
    let (pixels, _) = body.as_chunks::<8>();
    for ((u, v), &[a, b, c, d, e, f, g, h]) in us.iter_mut().zip(vs).zip(pixels) {
        *u = f32::from_le_bytes([a, b, c, d]);
        *v = f32::from_le_bytes([e, f, g, h]);
    }
    FlowField::new(height, width, data).map_err(|e| e.in_file(path, "a flow"))
}

/// The bytes of a `.flo` file.
///
/// # Errors
/// When a side exceeds 99 999, which no reader would accept.
pub fn encode_flo(field: &FlowField) -> Result<Vec<u8>> {
    let side = |what: &str, value: usize| {
        i32::try_from(value).ok().filter(|&v| v <= MAX_SIDE).ok_or_else(|| {
            Error::invalid(
                format!("{what} of the flow field"),
                value,
                format!("at most {MAX_SIDE}"),
            )
        })
    };
    let (width, height) = (side("width", field.width())?, side("height", field.height())?);
    let mut bytes = Vec::with_capacity(HEADER_BYTES + field.data().len() * 4);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&width.to_le_bytes());
    bytes.extend_from_slice(&height.to_le_bytes());
    for (u, v) in field.vectors() {
        bytes.extend_from_slice(&u.to_le_bytes());
        bytes.extend_from_slice(&v.to_le_bytes());
    }
    Ok(bytes)
}

/// Writes a flow field as a `.flo` file, through a temporary name so that no reader ever sees half
/// of it ([`write_atomic`]).
///
/// # Errors
/// Names the file when it cannot be written.
pub fn write_flo(path: impl AsRef<Path>, field: &FlowField) -> Result<()> {
    let bytes = encode_flo(field)?;
    write_atomic(path, |file| file.write_all(&bytes))
}
