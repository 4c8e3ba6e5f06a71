//! Target images: from files, from a DTD folder by name, or built in.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageFormat, ImageReader, Limits, RgbImage};
use nca_core::{Error, Result, check_len};

use crate::exemplar::Exemplar;
use crate::picture::decode_upright;
use crate::read::read_at_most;

/// An RGB image to be learned, `[3,H,W]`, values in `[0, 1]`.
///
/// ```
/// use nca_train::Texture;
/// let texture = Texture::resolve("bubbly", None, 48)?;
/// assert_eq!(texture.rgb.len(), 3 * 48 * 48);
/// # Ok::<(), nca_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Texture {
    /// Name for tables and directories: the built-in's, or the file's stem.
    pub name: String,
    /// Rows, H.
    pub height: usize,
    /// Columns, W.
    pub width: usize,
    /// Red, green and blue plane, row-major.
    pub rgb: Vec<f32>,
}

impl Texture {
    /// Smallest side a texture may be asked for.
    pub const MIN_SIZE: usize = 8;
    /// Largest side a texture may be asked for.
    pub const MAX_SIZE: usize = 4096;

    /// A texture from planes `[3,H,W]` in `[0, 1]`.
    pub fn new(name: impl Into<String>, height: usize, width: usize, rgb: Vec<f32>) -> Result<Self> {
        check_len("texture", "rgb", rgb.len(), 3 * height * width)?;
        if let Some(v) = rgb.iter().find(|v| !(0.0..=1.0).contains(*v)) {
            return Err(Error::invalid("a value of a texture", v, "a number from 0 to 1"));
        }
        Ok(Self {
            name: name.into(),
            height,
            width,
            rgb,
        })
    }

    /// The centre square of an image file (PNG, JPEG, GIF, BMP, WebP or PPM), resized to `size` × `size`
    /// with a Lanczos filter (a = 3). A photograph stands upright, as its EXIF metadata say.
    ///
    /// Refuses files that are damaged or truncated, and pictures that would take more than
    /// 128 MiB decoded.
    pub fn load(path: impl AsRef<Path>, size: usize) -> Result<Self> {
        check_size(size)?;
        let path = path.as_ref();
        let picture = decode(path)?;
        let side = picture.width().min(picture.height());
        let (x, y) = ((picture.width() - side) / 2, (picture.height() - side) / 2);
        // In floats, so that the resize rounds to no 8-bit level.
        let square = picture.crop_imm(x, y, side, side).into_rgb32f();
        let resized = if side as usize == size {
            square
        } else {
            imageops::resize(&square, size as u32, size as u32, FilterType::Lanczos3)
        };
        let mut rgb = vec![0.0; 3 * size * size];
        for (cell, pixel) in resized.pixels().enumerate() {
            for (channel, &value) in pixel.0.iter().enumerate() {
                // Lanczos overshoots at edges.
                rgb[channel * size * size + cell] = value.clamp(0.0, 1.0);
            }
        }
        Self::new(name_of(path), size, size, rgb)
    }

    /// A whole image file as it is, of any size, with the limits of [`Texture::load`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let picture = decode(path)?.into_rgb32f();
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let mut rgb = vec![0.0; 3 * width * height];
        for (cell, pixel) in picture.pixels().enumerate() {
            for (channel, &value) in pixel.0.iter().enumerate() {
                rgb[channel * width * height + cell] = value;
            }
        }
        Self::new(name_of(path), height, width, rgb)
    }

    /// An image of the Describable Textures Dataset by name: `bubbly_0101` is
    /// `images/bubbly/bubbly_0101.jpg` below `dir`. `dir` may also be that `images` folder, or hold
    /// the files themselves.
    pub fn from_dtd(dir: impl AsRef<Path>, name: &str, size: usize) -> Result<Self> {
        let dir = dir.as_ref();
        match find_dtd(dir, name) {
            Ok(path) => Self::load(path, size),
            Err(tried) => Err(Error::invalid(
                "--texture",
                format!("\"{name}\""),
                format!("the name of a texture of {}{}", dir.display(), list_tried(&tried)),
            )),
        }
    }

    /// The texture that `spec` names: a built-in exemplar ([`Exemplar::ALL`]), else an image file,
    /// else a DTD texture below `dtd`. A file that bears the name of a built-in is reached as
    /// `./NAME`.
    pub fn resolve(spec: &str, dtd: Option<&Path>, size: usize) -> Result<Self> {
        if let Some(exemplar) = Exemplar::by_name(spec) {
            return exemplar.render(size, Exemplar::SEED);
        }
        let path = PathBuf::from(spec);
        if path.is_file() {
            return Self::load(path, size);
        }
        let mut tried = vec![path];
        if let Some(dtd) = dtd {
            match find_dtd(dtd, spec) {
                Ok(path) => return Self::load(path, size),
                Err(paths) => tried.extend(paths),
            }
        }
        let built_ins: Vec<_> = Exemplar::ALL.iter().map(|e| e.name()).collect();
        Err(Error::invalid(
            "--texture",
            format!("\"{spec}\""),
            format!(
                "a built-in ({}), an image file{}{}",
                built_ins.join(", "),
                if dtd.is_some() {
                    " or a DTD name"
                } else {
                    ", or a DTD name with --dtd"
                },
                list_tried(&tried)
            ),
        ))
    }

    /// The texture as an 8-bit picture.
    pub fn to_image(&self) -> Result<RgbImage> {
        rgb_image(&self.rgb, self.height, self.width)
    }
}

/// Planes `[3,H,W]` as interleaved 8-bit RGB: clipped to `[0, 1]`, rounded to the nearest level;
/// NaN becomes black.
#[must_use]
pub fn rgb8(rgb: &[f32]) -> Vec<u8> {
    let plane = rgb.len() / 3;
    (0..plane)
        .flat_map(|cell| [0, 1, 2].map(|channel| (rgb[channel * plane + cell] * 255.0).round() as u8))
        .collect()
}

/// Planes `[3,H,W]` as a picture; see [`rgb8`].
pub fn rgb_image(rgb: &[f32], height: usize, width: usize) -> Result<RgbImage> {
    check_len("picture", "rgb", rgb.len(), 3 * height * width)?;
    RgbImage::from_raw(width as u32, height as u32, rgb8(rgb))
        .ok_or_else(|| Error::invalid("size of a picture", format!("{height}x{width}"), "sides below 2^32"))
}

/// The file's stem.
pub(crate) fn name_of(path: &Path) -> String {
    path.file_stem()
        .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}

/// Refuses sizes no texture is made in.
pub(crate) fn check_size(size: usize) -> Result<()> {
    if (Texture::MIN_SIZE..=Texture::MAX_SIZE).contains(&size) {
        Ok(())
    } else {
        Err(Error::invalid(
            "texture size",
            size,
            format!("{} to {}", Texture::MIN_SIZE, Texture::MAX_SIZE),
        ))
    }
}

/// Where the dataset (or a folder of its files) has `name`, else every path that was tried.
fn find_dtd(dir: &Path, name: &str) -> Result<PathBuf, Vec<PathBuf>> {
    // A name, not a path: nothing outside `dir` is to be reached through it.
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    if !is_name {
        return Err(Vec::new());
    }
    let category = name.rsplit_once('_').map_or(name, |(category, _)| category);
    let file = format!("{name}.jpg");
    let candidates = vec![
        dir.join("images").join(category).join(&file),
        dir.join(category).join(&file),
        dir.join(&file),
    ];
    match candidates.iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.clone()),
        None => Err(candidates),
    }
}

/// What was tried, to end an error message with.
fn list_tried(paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return String::new();
    }
    let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    format!("; tried {}", paths.join(", "))
}

/// Largest file read.
const MAX_FILE_MIB: u64 = 64;
/// Largest side of a picture in a file.
const MAX_SIDE: u32 = 1 << 15;
/// Most memory a decoder may take: a few kilobytes of PNG can claim to be gigabytes.
const MAX_DECODED_BYTES: u64 = 128 << 20;

/// The picture in a file, of whatever format its first bytes say.
fn decode(path: &Path) -> Result<DynamicImage> {
    let bytes = read_at_most(path, MAX_FILE_MIB, "an image file")?;
    let garbage = |found: String| Error::format(path, found, "a PNG, JPEG, GIF, BMP, WebP or PPM image");
    let reader = ImageReader::new(Cursor::new(&bytes))
        .with_guessed_format()
        .map_err(|e| Error::io(path, e))?;
    if reader.format().is_none() {
        return Err(garbage("no picture of a known format".to_owned()));
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    // The decoder fills what is missing of a JPEG with grey.
    if reader.format() == Some(ImageFormat::Jpeg) && !jpeg_is_complete(&bytes) {
        return Err(garbage("a truncated JPEG image".to_owned()));
    }
    let picture = decode_upright(reader, limits).map_err(|e| garbage(one_line(&e.to_string())))?;
    if picture.width() == 0 || picture.height() == 0 {
        return Err(garbage("an image without pixels".to_owned()));
    }
    Ok(picture)
}

/// Whether a JPEG stream reaches its end-of-image marker, by walking its segments (ITU T.81,
/// annex B). Searching for the marker alone would find that of an embedded thumbnail.
fn jpeg_is_complete(bytes: &[u8]) -> bool {
    const END_OF_IMAGE: u8 = 0xD9;
    let mut at = 0;
    while at + 1 < bytes.len() {
        let (byte, marker) = (bytes[at], bytes[at + 1]);
        match (byte, marker) {
            (0xFF, END_OF_IMAGE) => return true,
            // Fill byte.
            (0xFF, 0xFF) => at += 1,
            // Stuffed zero, restart markers, start of image and TEM stand alone.
            (0xFF, 0x00 | 0x01 | 0xD0..=0xD8) => at += 2,
            // Any other marker starts a segment that says how long it is.
            (0xFF, _) => match bytes.get(at + 2..at + 4) {
                Some(length) => at += 2 + usize::from(u16::from_be_bytes([length[0], length[1]])),
                None => return false,
            },
            // Entropy-coded data.
            _ => at += 1,
        }
    }
    false
}

/// Decoders' messages may span lines; ours do not.
fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
