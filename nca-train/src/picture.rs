//! Pictures and animations as files.

use std::io::{self, BufRead, Seek};
use std::path::Path;

use image::codecs::png::PngEncoder;
use image::metadata::Orientation;
use image::{
    DynamicImage, ExtendedColorType, ImageBuffer, ImageDecoder, ImageEncoder, ImageReader, ImageResult, Limits, Pixel,
    RgbImage,
};
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

/// Reads a picture of any format the `image` crate knows, upright, without its transparency.
pub fn read_picture(path: impl AsRef<Path>) -> Result<RgbImage> {
    let path = path.as_ref();
    let reader = ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .map_err(|e| Error::io(path, e))?;
    let picture = decode_upright(reader, Limits::default()).map_err(|e| Error::format(path, e, "a picture"))?;
    Ok(picture.into_rgb8())
}

/// Decodes a picture within `limits`, and turns it as its EXIF metadata say: cameras store what their sensor saw, however
/// they were held. Metadata that cannot be read turn nothing.
pub(crate) fn decode_upright<R: BufRead + Seek>(
    mut reader: ImageReader<R>,
    mut limits: Limits,
) -> ImageResult<DynamicImage> {
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder()?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    // As `ImageReader::decode` does, and `into_decoder` does not: the picture itself counts.
    limits.reserve(decoder.total_bytes())?;
    decoder.set_limits(limits)?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    Ok(picture)
}

/// Repeats every pixel `factor` times in both directions; `factor` 0 counts as 1.
#[must_use]
pub fn scale_up<P: Pixel>(picture: &ImageBuffer<P, Vec<P::Subpixel>>, factor: u32) -> ImageBuffer<P, Vec<P::Subpixel>> {
    let factor = factor.max(1);
    ImageBuffer::from_fn(picture.width() * factor, picture.height() * factor, |x, y| {
        *picture.get_pixel(x / factor, y / factor)
    })
}
