//! Pictures of an automaton over time: PNG, GIF, animated PNG, MP4, WebM, or a folder of PNGs.

use std::cell::RefCell;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use image::{GrayImage, RgbImage};
use nca_core::checkpoint::write_atomic;
use nca_core::{Error, Result};

use crate::frames;
use crate::picture::{scale_up, write_png};
use crate::video::{Container, Video};

/// Size, scale and pace of an animation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnimationSettings {
    /// Rows of a frame, before scaling.
    pub height: usize,
    /// Columns of a frame, before scaling.
    pub width: usize,
    /// Pixels per cell, 1 to 64.
    pub scale: u32,
    /// Frames a second, 1 to 100, throughout; a GIF takes the nearest whole number of hundredths of a
    /// second.
    pub fps: u16,
    /// Frames that will be added; an animated PNG says so in its header.
    pub frames: u32,
}

/// How frames are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The last frame as a picture.
    Png,
    /// All frames, each in 256 colours.
    Gif,
    /// All frames.
    Apng,
    /// All frames as H.264; needs an `ffmpeg` on PATH.
    Mp4,
    /// All frames as VP9; needs an `ffmpeg` on PATH.
    Webm,
    /// All frames as numbered pictures.
    Folder,
}

impl Format {
    /// That of the extension of `path`: `.png`, `.gif`, `.apng`, `.mp4` or `.webm`; without one it is a
    /// folder. Any other is an error.
    pub fn of(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        match extension.as_deref() {
            Some("png") => Ok(Self::Png),
            Some("gif") => Ok(Self::Gif),
            Some("apng") => Ok(Self::Apng),
            Some("mp4") => Ok(Self::Mp4),
            Some("webm") => Ok(Self::Webm),
            None => Ok(Self::Folder),
            Some(other) => {
                let expected = ".png, .gif, .apng, .mp4, .webm, or a folder (a name without extension)";
                Err(Error::format(path, format!("extension .{other}"), expected))
            }
        }
    }

    /// Whether every frame is kept, rather than the last.
    #[must_use]
    pub fn is_animated(self) -> bool {
        self != Self::Png
    }

    /// Whether it plays by itself.
    #[must_use]
    pub fn has_frame_rate(self) -> bool {
        !matches!(self, Self::Png | Self::Folder)
    }
}

/// NeuQuant's sampling of a frame's pixels for its 256 colours: 1 looks at every one, 30 at few.
const GIF_SPEED: i32 = 4;
/// Largest side of a GIF or PNG frame, pixels.
const MAX_SIDE: usize = u16::MAX as usize;

/// Takes frames one by one; the file appears, whole, when [`Animation::finish`] is called. A folder
/// fills as it goes: the first frame takes the place of all frames of an earlier run, so that no frame there is of another
/// run than the last one's.
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
    Video(Box<Video>),
    /// How many frames of an earlier run it holds at first.
    Folder(u32),
}

impl fmt::Debug for Animation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Animation")
            .field("path", &self.path)
            .field("settings", &self.settings)
            .field("added", &self.added)
            .finish_non_exhaustive()
    }
}

impl Animation {
    /// In the [`Format`] of the path's extension; a folder is made if it is not there. One with pictures that bear the names
    /// of frames, but are not those of a run, is an error.
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
                format!("sides from 1 to {MAX_SIDE}: a smaller --size or --scale"),
            ));
        }
        if settings.fps == 0 || settings.fps > 100 {
            return Err(Error::invalid("frames a second", settings.fps, "1 to 100"));
        }
        // Better refused now than after the last frame.
        if let Some(folder) = path
            .parent()
            .filter(|folder| *folder != Path::new("") && !folder.is_dir())
        {
            return Err(Error::format(folder, "no folder", "one to write the picture in"));
        }
        let video = |container| {
            let size = (width as u32, height as u32);
            let video = Video::create(path, container, size, settings.fps)?;
            Ok(Sink::Video(Box::new(video)))
        };
        let sink = match Format::of(path)? {
            Format::Png => Sink::Still(None),
            Format::Gif => {
                let encoder = gif_encoder(width as u16, height as u16);
                Sink::Gif(encoder.map_err(|e| Error::format(path, e, "an animated GIF"))?)
            }
            Format::Apng => {
                let bytes = Shared::default();
                let writer = apng_writer(bytes.clone(), width as u32, height as u32, settings);
                Sink::Apng(
                    Box::new(writer.map_err(|e| Error::format(path, e, "an animated PNG"))?),
                    bytes,
                )
            }
            Format::Mp4 => video(Container::Mp4)?,
            Format::Webm => video(Container::Webm)?,
            Format::Folder => {
                fs::create_dir_all(path).map_err(|e| Error::io(path, e))?;
                Sink::Folder(frames::earlier(path)?)
            }
        };
        Ok(Self {
            path: path.to_owned(),
            settings: *settings,
            added: 0,
            sink,
        })
    }

    /// How many frames of an earlier run the first frame takes the place of.
    #[must_use]
    pub fn replaced(&self) -> u32 {
        match self.sink {
            Sink::Folder(earlier) => earlier,
            _ => 0,
        }
    }

    /// A folder beside the file that is there until the animation is finished or dropped, if it needs one: a process that
    /// ends otherwise leaves it behind.
    #[must_use]
    pub fn temporary(&self) -> Option<&Path> {
        match &self.sink {
            Sink::Video(video) => Some(video.temporary()),
            _ => None,
        }
    }

    /// Adds a frame of the announced size.
    pub fn add(&mut self, frame: &RgbImage) -> Result<()> {
        let AnimationSettings {
            height,
            width,
            scale,
            fps,
            ..
        } = self.settings;
        if frame.dimensions() != (width as u32, height as u32) {
            let found = format!("{}x{} pixels", frame.width(), frame.height());
            return Err(Error::invalid("frame", found, format!("{width}x{height}")));
        }
        let bad = |e: &dyn fmt::Display| Error::format(&self.path, e, "a frame that can be encoded");
        match &mut self.sink {
            Sink::Still(last) => *last = Some(scale_up(frame, scale)),
            Sink::Gif(encoder) => encoder
                .write_frame(&gif_frame(frame, scale, fps))
                .map_err(|e| bad(&e))?,
            Sink::Apng(writer, _) => {
                let picture = scale_up(frame, scale);
                writer.write_image_data(picture.as_raw()).map_err(|e| bad(&e))?;
            }
            Sink::Video(video) => video.add(&scale_up(frame, scale))?,
            Sink::Folder(earlier) => {
                if self.added == 0 {
                    frames::remove(&self.path, *earlier)?;
                    frames::mark(&self.path, self.settings.frames.max(1))?;
                } else if self.added >= self.settings.frames {
                    frames::mark(&self.path, self.added + 1)?;
                }
                write_png(self.path.join(frames::name(self.added)), &scale_up(frame, scale))?;
            }
        }
        self.added += 1;
        Ok(())
    }

    /// Writes the file.
    pub fn finish(self) -> Result<()> {
        let path = &self.path;
        let nothing = || Error::format(path, "no frame", "at least one");
        let bytes = match self.sink {
            Sink::Folder(_) => return Ok(()),
            Sink::Still(last) => return write_png(path, &last.ok_or_else(nothing)?),
            _ if self.added == 0 => return Err(nothing()),
            Sink::Video(video) => return video.finish(),
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

/// A frame of a GIF. Its 256 colours are chosen among those of the small picture, and so no slower or
/// otherwise at any scale.
fn gif_frame(small: &RgbImage, scale: u32, fps: u16) -> gif::Frame<'static> {
    let (width, height) = small.dimensions();
    let mut frame = gif::Frame::from_rgb_speed(width as u16, height as u16, small.as_raw(), GIF_SPEED);
    if let Some(indices) = GrayImage::from_raw(width, height, frame.buffer.to_vec()) {
        let large = scale_up(&indices, scale);
        (frame.width, frame.height) = (large.width() as u16, large.height() as u16);
        frame.buffer = large.into_raw().into();
    }
    frame.delay = (100 + fps / 2) / fps;
    frame
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
    fn frame(level: u8) -> RgbImage {
        RgbImage::from_pixel(3, 2, image::Rgb([level, 255 - level, 40]))
    }

    fn write(path: &Path, frames: &[u8]) -> Result<()> {
        let mut animation = Animation::create(path, &SETTINGS)?;
        for &level in frames {
            animation.add(&frame(level))?;
        }
        animation.finish()
    }

    #[test]
    fn a_format_follows_from_the_extension() {
        for (name, format, animated, rated) in [
            ("a.png", Format::Png, false, false),
            ("a.GIF", Format::Gif, true, true),
            ("a.apng", Format::Apng, true, true),
            ("a.mp4", Format::Mp4, true, true),
            ("a.webm", Format::Webm, true, true),
            ("frames", Format::Folder, true, false),
        ] {
            let found = Format::of(name).unwrap();
            assert_eq!(found, format, "{name}");
            assert_eq!(
                (found.is_animated(), found.has_frame_rate()),
                (animated, rated),
                "{name}"
            );
        }
        assert!(Format::of("a.avi").is_err());
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
        // And what says whose they are.
        assert_eq!(fs::read_dir(path("frames")).unwrap().count(), 4);
    }

    #[test]
    fn a_folder_holds_one_run() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("frames");
        let names = || {
            let entries = fs::read_dir(&folder).unwrap();
            let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            names.retain(|name| !name.starts_with('.'));
            names.sort();
            names
        };
        write(&folder, &[1, 2, 3, 4]).unwrap();
        fs::write(folder.join("notes.txt"), "mine").unwrap();
        let mut animation = Animation::create(&folder, &SETTINGS).unwrap();
        // Until there is a frame, nothing is lost.
        assert_eq!((animation.replaced(), names().len()), (4, 5));
        animation.add(&frame(5)).unwrap();
        assert_eq!(names(), ["000000.png", "notes.txt"]);
        animation.add(&frame(6)).unwrap();
        animation.finish().unwrap();
        assert_eq!(names(), ["000000.png", "000001.png", "notes.txt"]);
        let first = image::open(folder.join("000000.png")).unwrap().into_rgb8();
        assert_eq!(first.get_pixel(0, 0).0[0], 5);

        // Numbered from 1, these are not ours.
        fs::remove_file(folder.join("000000.png")).unwrap();
        let message = write(&folder, &[7]).unwrap_err().to_string();
        assert!(message.contains("000001.png without 000000.png"), "{message}");
        assert_eq!(names(), ["000001.png", "notes.txt"]);
    }

    #[test]
    fn the_colours_of_a_gif_do_not_depend_on_its_scale() {
        // More than 256 colours.
        let small = RgbImage::from_fn(40, 30, |x, y| image::Rgb([(6 * x) as u8, (8 * y) as u8, (x * y) as u8]));
        let (one, four) = (gif_frame(&small, 1, 25), gif_frame(&small, 4, 25));
        assert_eq!(one.palette, four.palette);
        assert_eq!((four.width, four.height, four.delay), (160, 120, 4));
        for (x, y) in [(0, 0), (39, 29), (17, 5)] {
            assert_eq!(one.buffer[40 * y + x], four.buffer[160 * (4 * y + 3) + 4 * x + 2]);
        }
    }

    /// Whether there is an ffmpeg; says so if not.
    fn ffmpeg() -> bool {
        let there = std::process::Command::new("ffmpeg").arg("-version").output().is_ok();
        if !there {
            eprintln!("skipped: no ffmpeg on PATH");
        }
        there
    }

    /// Size, rate and number of frames of a video, as ffprobe has them.
    fn probe(path: &Path) -> String {
        let output = std::process::Command::new("ffprobe")
            .args([
                "-v",
                "error",
                "-count_frames",
                "-select_streams",
                "v:0",
                "-of",
                "csv=p=0",
            ])
            .args(["-show_entries", "stream=width,height,r_frame_rate,nb_read_frames"])
            .arg(path)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[test]
    fn a_video_holds_its_frames_at_a_constant_rate() {
        if !ffmpeg() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        // Odd sides are padded to even ones.
        let settings = AnimationSettings {
            height: 21,
            width: 33,
            scale: 1,
            fps: 25,
            frames: 7,
        };
        for name in ["a.mp4", "a.webm"] {
            let path = folder.path().join(name);
            let mut animation = Animation::create(&path, &settings).unwrap();
            for level in 0..7 {
                let color = image::Rgb([30 * level, 255 - 30 * level, 40]);
                animation.add(&RgbImage::from_pixel(33, 21, color)).unwrap();
            }
            assert!(!path.exists(), "half a video");
            animation.finish().unwrap();
            assert_eq!(probe(&path), "34,22,25/1,7", "{name}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn an_abandoned_video_leaves_nothing_behind() {
        if !ffmpeg() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut animation = Animation::create(folder.path().join("a.mp4"), &SETTINGS).unwrap();
        animation.add(&frame(3)).unwrap();
        drop(animation);
        assert!(write(&folder.path().join("b.webm"), &[]).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
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
        let mut animation = Animation::create(path("a.gif"), &SETTINGS).unwrap();
        assert!(animation.add(&RgbImage::new(2, 3)).is_err());
        let settings = AnimationSettings { fps: 0, ..SETTINGS };
        assert!(Animation::create(path("a.gif"), &settings).is_err());
    }
}
