//! Pictures of an automaton over time: PNG, GIF, animated PNG, or a folder of PNGs.

use std::cell::RefCell;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use image::RgbImage;
use nca_core::checkpoint::write_atomic;
use nca_core::{Error, Result, check_len};

use crate::picture::write_png;

/// Size, scale and pace of an animation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnimationSettings {
    /// Rows of a frame, before scaling.
    pub height: usize,
    /// Columns of a frame, before scaling.
    pub width: usize,
    /// Pixels per cell, 1 to 64.
    pub scale: u32,
    /// Frames a second, 1 to 100; a GIF counts in hundredths of a second.
    pub fps: u16,
    /// Frames that will be added; an animated PNG says so in its header.
    pub frames: u32,
}

/// NeuQuant's sampling of a frame's pixels for its 256 colours: 1 looks at every one, 30 at few.
const GIF_SPEED: i32 = 4;
/// Largest side of a GIF or PNG frame, pixels.
const MAX_SIDE: usize = u16::MAX as usize;

/// Takes frames one by one; the file appears, whole, when [`Animation::finish`] is called. A folder
/// fills as it goes.
pub struct Animation {
    path: PathBuf,
    settings: AnimationSettings,
    added: u32,
    sink: Sink,
}

enum Sink {
    /// The last frame only.
    Still(Option<RgbImage>),
    Gif(gif::Encoder<Vec<u8>>),
    Apng(Box<png::Writer<Shared>>, Shared),
    Folder,
}

impl Animation {
    /// The format is that of the extension: `.png` (the last frame), `.gif`, `.apng`; a path without
    /// one is a folder, which is made if it is not there.
    pub fn create(path: impl AsRef<Path>, settings: &AnimationSettings) -> Result<Self> {
        let path = path.as_ref();
        let (width, height) = (
            settings.width * settings.scale as usize,
            settings.height * settings.scale as usize,
        );
        if width == 0 || height == 0 || width > MAX_SIDE || height > MAX_SIDE {
            let found = format!("{width}x{height} pixels");
            return Err(Error::invalid(
                "size of the picture",
                found,
                format!("sides from 1 to {MAX_SIDE}"),
            ));
        }
        if settings.fps == 0 || settings.fps > 100 {
            return Err(Error::invalid("frames a second", settings.fps, "1 to 100"));
        }
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        let sink = match extension.as_deref() {
            Some("png") => Sink::Still(None),
            Some("gif") => {
                let encoder = gif_encoder(width as u16, height as u16);
                Sink::Gif(encoder.map_err(|e| Error::format(path, e, "an animated GIF"))?)
            }
            Some("apng") => {
                let bytes = Shared::default();
                let writer = apng_writer(bytes.clone(), width as u32, height as u32, settings);
                Sink::Apng(
                    Box::new(writer.map_err(|e| Error::format(path, e, "an animated PNG"))?),
                    bytes,
                )
            }
            None => {
                fs::create_dir_all(path).map_err(|e| Error::io(path, e))?;
                Sink::Folder
            }
            Some(other) => {
                let expected = ".png, .gif, .apng, or a folder (a name without extension)";
                return Err(Error::format(path, format!("extension .{other}"), expected));
            }
        };
        // Better refused now than after the last frame.
        if let Some(folder) = path
            .parent()
            .filter(|folder| *folder != Path::new("") && !folder.is_dir())
        {
            return Err(Error::format(folder, "no folder", "one to write the picture in"));
        }
        Ok(Self {
            path: path.to_owned(),
            settings: *settings,
            added: 0,
            sink,
        })
    }

    /// Whether every frame is kept, rather than the last.
    #[must_use]
    pub fn is_animated(&self) -> bool {
        !matches!(self.sink, Sink::Still(_))
    }

    /// Whether the format plays by itself.
    #[must_use]
    pub fn has_frame_rate(&self) -> bool {
        matches!(self.sink, Sink::Gif(_) | Sink::Apng(..))
    }

    /// Adds a frame, interleaved RGB `[H,W,3]`.
    pub fn add(&mut self, rgb: &[u8]) -> Result<()> {
        let AnimationSettings {
            height,
            width,
            scale,
            fps,
            ..
        } = self.settings;
        check_len("animation", "frame", rgb.len(), 3 * height * width)?;
        let picture = enlarge(rgb, width, height, scale);
        let bad = |e: &dyn std::fmt::Display| Error::format(&self.path, e, "a frame that can be encoded");
        match &mut self.sink {
            Sink::Still(last) => *last = Some(picture),
            Sink::Gif(encoder) => {
                let (width, height) = (picture.width() as u16, picture.height() as u16);
                let mut frame = gif::Frame::from_rgb_speed(width, height, picture.as_raw(), GIF_SPEED);
                frame.delay = (100 + fps / 2) / fps;
                encoder.write_frame(&frame).map_err(|e| bad(&e))?;
            }
            Sink::Apng(writer, _) => writer.write_image_data(picture.as_raw()).map_err(|e| bad(&e))?,
            Sink::Folder => write_png(self.path.join(format!("{:06}.png", self.added)), &picture)?,
        }
        self.added += 1;
        Ok(())
    }

    /// Writes the file.
    pub fn finish(self) -> Result<()> {
        let path = &self.path;
        let nothing = || Error::format(path, "no frame", "at least one");
        let bytes = match self.sink {
            Sink::Folder => return Ok(()),
            Sink::Still(last) => return write_png(path, &last.ok_or_else(nothing)?),
            _ if self.added == 0 => return Err(nothing()),
            Sink::Gif(encoder) => encoder
                .into_inner()
                .map_err(|e| Error::format(path, e, "a whole animation"))?,
            Sink::Apng(writer, bytes) => {
                let expected = format!("{} frames, as announced", self.settings.frames);
                writer.finish().map_err(|e| Error::format(path, e, expected))?;
                bytes.0.take()
            }
        };
        write_atomic(path, |file| file.write_all(&bytes))
    }
}

/// An encoder that loops forever.
fn gif_encoder(width: u16, height: u16) -> Result<gif::Encoder<Vec<u8>>, gif::EncodingError> {
    let mut encoder = gif::Encoder::new(Vec::new(), width, height, &[])?;
    encoder.set_repeat(gif::Repeat::Infinite)?;
    Ok(encoder)
}

/// An encoder that loops forever.
fn apng_writer(
    bytes: Shared,
    width: u32,
    height: u32,
    settings: &AnimationSettings,
) -> Result<png::Writer<Shared>, png::EncodingError> {
    let mut encoder = png::Encoder::new(bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_animated(settings.frames, 0)?;
    encoder.set_frame_delay(1, settings.fps)?;
    encoder.validate_sequence(true);
    encoder.write_header()
}

/// Bytes that can be read once the encoder is done: it does not give them back itself.
#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The picture with each pixel a square of `scale` × `scale`.
fn enlarge(rgb: &[u8], width: usize, height: usize, scale: u32) -> RgbImage {
    let side = scale as usize;
    RgbImage::from_fn((width * side) as u32, (height * side) as u32, |x, y| {
        let at = 3 * ((y / scale) as usize * width + (x / scale) as usize);
        image::Rgb([rgb[at], rgb[at + 1], rgb[at + 2]])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::AnimationDecoder;
    use std::fs::File;
    use std::io::BufReader;

    const SETTINGS: AnimationSettings = AnimationSettings {
        height: 2,
        width: 3,
        scale: 4,
        fps: 20,
        frames: 3,
    };

    /// A frame of one colour.
    fn frame(level: u8) -> Vec<u8> {
        [level, 255 - level, 40].repeat(6)
    }

    fn write(path: &Path, frames: &[u8]) -> Result<()> {
        let mut animation = Animation::create(path, &SETTINGS)?;
        for &level in frames {
            animation.add(&frame(level))?;
        }
        animation.finish()
    }

    #[test]
    fn every_format_holds_its_frames() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["a.png", "a.gif", "a.apng", "frames"] {
            write(&path(name), &[0, 100, 200]).unwrap();
        }
        let still = image::open(path("a.png")).unwrap().into_rgb8();
        assert_eq!((still.dimensions(), still.get_pixel(11, 7).0), ((12, 8), [200, 55, 40]));
        let read = |name: &str| BufReader::new(File::open(path(name)).unwrap());
        let gif = image::codecs::gif::GifDecoder::new(read("a.gif"))
            .unwrap()
            .into_frames()
            .collect_frames();
        let apng = image::codecs::png::PngDecoder::new(read("a.apng"))
            .unwrap()
            .apng()
            .unwrap();
        let apng = apng.into_frames().collect_frames();
        for frames in [gif.unwrap(), apng.unwrap()] {
            assert_eq!(frames.len(), 3);
            assert_eq!(frames[1].delay().numer_denom_ms(), (50, 1));
            let levels: Vec<u8> = frames.iter().map(|f| f.buffer().get_pixel(5, 5).0[0]).collect();
            assert_eq!(levels, [0, 100, 200]);
        }
        assert_eq!(fs::read_dir(path("frames")).unwrap().count(), 3);
    }

    #[test]
    fn refusals_leave_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        assert!(write(&path("a.bmp"), &[0]).unwrap_err().to_string().contains(".bmp"));
        assert!(write(&path("none/a.gif"), &[0]).is_err());
        // Announced three frames.
        assert!(write(&path("a.apng"), &[0]).is_err());
        assert!(write(&path("b.gif"), &[]).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let settings = AnimationSettings { fps: 0, ..SETTINGS };
        assert!(Animation::create(path("a.gif"), &settings).is_err());
    }
}
