//! Flow as a 16-bit PNG, as the KITTI benchmark keeps it (Menze & Geiger, *Object Scene Flow for
//! Autonomous Vehicles*, CVPR 2015).
//!
//! Red is `64·u + 2¹⁵`, green `64·v + 2¹⁵`, blue 1 where the flow is known and 0 where not: steps of
//! 1/64 px from -512 px to almost 512 px.

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::Path;

use nca_core::checkpoint::write_atomic;
use nca_core::{Error, Result};
use png::{BitDepth, ColorType, Decoder, Encoder};

use crate::field::{FlowField, is_known};

/// Steps a pixel.
const SCALE: f64 = 64.0;
/// What stands for 0.
const ZERO: f64 = 32_768.0;
/// Largest width and height accepted, as for `.flo` files.
const MAX_SIDE: u32 = 99_999;
/// Bytes that a byte of DEFLATE can stand for at most: 258 for every two bits.
const MOST_INFLATED: u64 = 1032;
/// Marks an unknown pixel in a [`FlowField`], as Middlebury does.
const UNKNOWN: f32 = 1.666e9;

/// Reads a flow field from a KITTI PNG; pixels marked as invalid are unknown ([`is_known`]).
///
/// # Errors
/// Names the file and says what is wrong with it: unreadable, damaged, no RGB of 16 bits a channel, a
/// size that the file is too short for (checked before memory is taken).
pub fn read_kitti(path: impl AsRef<Path>) -> Result<FlowField> {
    let path = path.as_ref();
    let broken = |e: png::DecodingError| Error::format(path, e, "a 16-bit RGB PNG");
    let io = |e| Error::io(path, e);
    let file = File::open(path).map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    if !meta.is_file() {
        return Err(Error::format(path, "something that is no file", "a 16-bit RGB PNG"));
    }
    let mut reader = Decoder::new(BufReader::new(file)).read_info().map_err(broken)?;
    let info = reader.info();
    let (width, height) = (info.width, info.height);
    if (info.color_type, info.bit_depth) != (ColorType::Rgb, BitDepth::Sixteen) {
        let found = format!("a PNG of {:?} with {:?} bits", info.color_type, info.bit_depth);
        return Err(Error::format(path, found, "RGB with 16 bits a channel"));
    }
    if width > MAX_SIDE || height > MAX_SIDE {
        let expected = format!("sides of at most {MAX_SIDE}");
        return Err(Error::format(path, format!("{width}×{height} pixels"), expected));
    }
    let bytes = reader.output_buffer_size().ok_or_else(|| {
        Error::format(
            path,
            format!("{width}×{height} pixels"),
            "a picture that fits into memory",
        )
    })?;
    if bytes as u64 / MOST_INFLATED > meta.len() {
        let found = format!("{} bytes for {width}×{height} pixels", meta.len());
        let expected = format!("at least {}", bytes as u64 / MOST_INFLATED);
        return Err(Error::format(path, found, expected));
    }
    let mut pixels = vec![0; bytes];
    reader.next_frame(&mut pixels).map_err(broken)?;

    let (width, height) = (width as usize, height as usize);
    let plane = width * height;
    let mut data = vec![0.0; 2 * plane];
    let (us, vs) = data.split_at_mut(plane);
    let (pixels, _) = pixels.as_chunks::<6>();
    for ((u, v), &[r1, r0, g1, g0, b1, b0]) in us.iter_mut().zip(vs).zip(pixels) {
        let value = |high, low| ((f64::from(u16::from_be_bytes([high, low])) - ZERO) / SCALE) as f32;
        (*u, *v) = if u16::from_be_bytes([b1, b0]) == 0 {
            (UNKNOWN, UNKNOWN)
        } else {
            (value(r1, r0), value(g1, g0))
        };
    }
    FlowField::new(height, width, data)
}

/// Writes a flow field as a KITTI PNG, rounded to 1/64 px, through a temporary name.
///
/// # Errors
/// When a known component is not within -512 px to 512 px - 1/64 px, or the file cannot be written.
pub fn write_kitti(path: impl AsRef<Path>, field: &FlowField) -> Result<()> {
    let path = path.as_ref();
    let mut pixels = Vec::with_capacity(field.data().len() * 3);
    for (u, v) in field.vectors() {
        let known = is_known(u, v);
        let mut words = [0; 3];
        if known {
            for (word, value) in words.iter_mut().zip([u, v]) {
                let step = (f64::from(value) * SCALE + ZERO).round();
                if !(0.0..=f64::from(u16::MAX)).contains(&step) {
                    let expected = "-512 to 511.98 px, all that a KITTI PNG can hold";
                    return Err(Error::invalid(format!("flow for {}", path.display()), value, expected));
                }
                *word = step as u16;
            }
            words[2] = 1;
        }
        pixels.extend(words.into_iter().flat_map(u16::to_be_bytes));
    }
    let side = |value: usize| u32::try_from(value).ok().filter(|v| *v <= MAX_SIDE);
    let (Some(width), Some(height)) = (side(field.width()), side(field.height())) else {
        let found = format!("{}×{}", field.width(), field.height());
        return Err(Error::invalid(
            "size of the flow field",
            found,
            format!("sides of at most {MAX_SIDE}"),
        ));
    };
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, width, height);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Sixteen);
    encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(&pixels))
        .map_err(|e| Error::format(path, e, "a picture that can be encoded"))?;
    write_atomic(path, |file| file.write_all(&bytes))
}
