//! MP4 and WebM, encoded by an `ffmpeg` on PATH that is fed raw frames.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use image::RgbImage;
use nca_core::{Error, Result};
use tempfile::TempDir;

/// The kinds of video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    /// H.264 in MP4: plays everywhere.
    Mp4,
    /// VP9 in WebM: free of patents.
    Webm,
}

impl Container {
    fn extension(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Webm => "webm",
        }
    }

    /// How it is encoded: of a quality at which grain of single pixels survives.
    fn encoder(self) -> &'static [&'static str] {
        match self {
            Self::Mp4 => &["-c:v", "libx264", "-crf", "16", "-movflags", "+faststart"],
            Self::Webm => &["-c:v", "libvpx-vp9", "-crf", "20", "-b:v", "0", "-row-mt", "1"],
        }
    }
}

/// A video in the making: ffmpeg writes into a temporary folder beside its place, from which
/// [`Video::finish`] moves it. Dropped before, it leaves nothing behind.
pub(crate) struct Video {
    path: PathBuf,
    size: (u32, u32),
    child: Child,
    /// `None` once everything has been said.
    frames: Option<ChildStdin>,
    messages: File,
    /// Removed with what is in it.
    temporary: TempDir,
    unfinished: PathBuf,
}

impl Video {
    /// Starts ffmpeg for frames of `size` (width, height), shown at a constant rate.
    pub(crate) fn create(path: &Path, container: Container, size: (u32, u32), fps: u16) -> Result<Self> {
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let temporary = tempfile::Builder::new()
            .prefix(".video")
            .tempdir_in(folder)
            .map_err(|e| Error::io(path, e))?;
        let unfinished = temporary.path().join("video").with_extension(container.extension());
        // A file, not a pipe: nobody need read it while frames are written.
        let messages = tempfile::tempfile().map_err(|e| Error::io(path, e))?;
        let for_child = messages.try_clone().map_err(|e| Error::io(path, e))?;
        let rate = fps.to_string();
        let mut command = Command::new("ffmpeg");
        // Ctrl-C is this process's to answer: an encoder that ends before would look like an error of its.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let spawned = command
            // Without the last of them a disk that is full is no error to it.
            .args(["-y", "-nostdin", "-hide_banner", "-loglevel", "error", "-xerror"])
            .args(["-f", "rawvideo", "-pixel_format", "rgb24", "-framerate", &rate])
            .args(["-video_size", &format!("{}x{}", size.0, size.1), "-i", "pipe:0"])
            // Colours at half the resolution, as players expect, need even sides.
            .args([
                "-vf",
                "pad=ceil(iw/2)*2:ceil(ih/2)*2",
                "-pix_fmt",
                "yuv420p",
                "-r",
                &rate,
            ])
            .args(container.encoder())
            .arg(&unfinished)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(for_child)
            .spawn();
        let mut child = spawned.map_err(|e| match e.kind() {
            ErrorKind::NotFound => Error::format(
                path,
                "no program 'ffmpeg' on PATH",
                "one to encode the video (or --out as .gif, .apng or a folder, which need none)",
            ),
            _ => Error::io("ffmpeg", e),
        })?;
        Ok(Self {
            path: path.to_owned(),
            size,
            frames: child.stdin.take(),
            child,
            messages,
            temporary,
            unfinished,
        })
    }

    /// The folder in which ffmpeg writes.
    pub(crate) fn temporary(&self) -> &Path {
        self.temporary.path()
    }

    /// Adds a frame of the announced size.
    pub(crate) fn add(&mut self, frame: &RgbImage) -> Result<()> {
        if frame.dimensions() != self.size {
            let found = format!("a frame of {}x{}", frame.width(), frame.height());
            let expected = format!("{}x{}", self.size.0, self.size.1);
            return Err(Error::format(&self.path, found, expected));
        }
        let written = self.frames.as_mut().map(|pipe| pipe.write_all(frame.as_raw()));
        match written {
            Some(Ok(())) => Ok(()),
            // It has died: what it said tells more than the broken pipe.
            _ => Err(self.failure()),
        }
    }

    /// Waits for ffmpeg and puts the video in its place.
    pub(crate) fn finish(mut self) -> Result<()> {
        drop(self.frames.take());
        let status = self.child.wait().map_err(|e| Error::io("ffmpeg", e))?;
        if !status.success() {
            return Err(self.failure());
        }
        // It could go on in spite of it.
        if let Some(complaint) = self.complaint() {
            tracing::warn!("{}: ffmpeg says: {complaint}", self.path.display());
        }
        // A disk may say no more than now that it has no room for what it took.
        File::options()
            .write(true)
            .open(&self.unfinished)
            .and_then(|video| video.sync_all())
            .and_then(|()| fs::rename(&self.unfinished, &self.path))
            .map_err(|e| Error::io(&self.path, e))
    }

    /// The error of an ffmpeg that has failed.
    fn failure(&mut self) -> Error {
        drop(self.frames.take());
        // Its exit is awaited, not judged: that it failed is known.
        let _ = self.child.wait();
        let found = match self.complaint() {
            Some(complaint) => format!("an error of ffmpeg: {complaint}"),
            None => "an error of ffmpeg, of which it says nothing".to_owned(),
        };
        Error::format(&self.path, found, "a video that it encodes and writes")
    }

    /// The first line of what ffmpeg, which must have ended, complained of.
    fn complaint(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        self.messages.rewind().ok()?;
        self.messages.read_to_end(&mut bytes).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let first = text.lines().map(str::trim).find(|line| !line.is_empty());
        first.map(str::to_owned)
    }
}

impl Drop for Video {
    /// An unfinished ffmpeg would wait for frames forever.
    fn drop(&mut self) {
        drop(self.frames.take());
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
