//! Pictures and animations as files.

use std::io;
use std::path::Path;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageBuffer, ImageEncoder, ImageReader, ImageResult, Pixel, RgbImage};
use nca_core::checkpoint::write_atomic;
use nca_core::{Error, Result};

/// Writes a picture as PNG, atomically.
pub fn write_png(path: impl AsRef<Path>, picture: &RgbImage) -> Result<()> {
    write_atomic(path, |file| encode_png(picture, file).map_err(io::Error::other))
}

/// A picture as PNG.
pub(crate) fn encode_png(picture: &RgbImage, to: impl io::Write) -> ImageResult<()> {
    let (width, height) = picture.dimensions();
    PngEncoder::new(to).write_image(picture.as_raw(), width, height, ExtendedColorType::Rgb8)
}

/// Reads a picture of any format the `image` crate knows, without its transparency.
pub fn read_picture(path: impl AsRef<Path>) -> Result<RgbImage> {
    let path = path.as_ref();
    let reader = ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .map_err(|e| Error::io(path, e))?;
    let picture = reader.decode().map_err(|e| Error::format(path, e, "a picture"))?;
    Ok(picture.into_rgb8())
}

/// Repeats every pixel `factor` times in both directions; `factor` 0 counts as 1.
#[must_use]
pub fn scale_up<P: Pixel>(picture: &ImageBuffer<P, Vec<P::Subpixel>>, factor: u32) -> ImageBuffer<P, Vec<P::Subpixel>> {
    let factor = factor.max(1);
    ImageBuffer::from_fn(picture.width() * factor, picture.height() * factor, |x, y| {
        *picture.get_pixel(x / factor, y / factor)
    })
}
