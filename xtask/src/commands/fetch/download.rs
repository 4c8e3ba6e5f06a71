//! Downloads that survive a broken connection and a killed process.
//!
//! Bytes go to `FILE.part`; beside it `FILE.part.json` says what they are part of. A later attempt asks
//! for the rest (RFC 9110, section 14: range requests) and tells the server, by the validator it
//! gave the first time, to start over if its file has changed since.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{anyhow, bail};
use indicatif::ProgressBar;
use nca_core::Error;
use nca_core::checkpoint::write_atomic;
use serde::{Deserialize, Serialize};
use ureq::http::{HeaderMap, Response, StatusCode, header};
use ureq::{Agent, Body};

use crate::progress::bar_style;

/// Limit for reaching the server, and for its answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest silence within a transfer; the transfer itself may take any time.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Broken connections in a row, without a new byte, before giving up.
const ATTEMPTS: u32 = 3;
/// Wait before a second attempt, doubled for the next.
const PAUSE: Duration = Duration::from_millis(500);

/// A file in transfer.
pub(super) struct Partial {
    path: PathBuf,
    origin: PathBuf,
}

impl Partial {
    /// The transfer of `file` into `directory`.
    pub(super) fn new(directory: &Path, file: &str) -> Self {
        Self {
            path: directory.join(format!("{file}.part")),
            origin: directory.join(format!("{file}.part.json")),
        }
    }

    /// Where the bytes are; complete after [`download`].
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes all traces.
    pub(super) fn remove(&self) -> nca_core::Result<()> {
        for path in [&self.path, &self.origin] {
            match fs::remove_file(path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io(path, e)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Opens it, for this process alone.
    fn open(&self) -> nca_core::Result<File> {
        let io = |e| Error::io(&self.path, e);
        // Not for appending: Windows does not let a file be emptied that is open for nothing else.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.path)
            .map_err(io)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(Error::format(
                &self.path,
                "another download in progress",
                "one at a time",
            )),
            // Not every file system has locks.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
        }
    }
}

/// What a partial file is part of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Origin {
    url: String,
    /// Strong `ETag`, else `Last-Modified`: equal as long as the server's file is.
    validator: Option<String>,
    /// Length of the whole, bytes.
    total: Option<u64>,
}

impl Origin {
    fn new(url: &str, headers: &HeaderMap, total: Option<u64>) -> Self {
        let text = |name| headers.get(name)?.to_str().ok().map(str::to_owned);
        // A weak tag (W/…) may stay the same while bytes change.
        let tag = text(header::ETAG).filter(|tag| tag.starts_with('"'));
        Self {
            url: url.to_owned(),
            validator: tag.or_else(|| text(header::LAST_MODIFIED)),
            total,
        }
    }

    /// The record left by an earlier attempt at the same address; a damaged one counts as none.
    fn read(path: &Path, url: &str) -> Option<Self> {
        let origin: Self = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        (origin.url == url).then_some(origin)
    }

    /// Whether `next`, the whole that a server now sends a part of, can be the same file.
    fn agrees(&self, next: &Self) -> bool {
        let other_file = matches!((&self.validator, &next.validator), (Some(a), Some(b)) if a != b);
        let other_length = matches!((self.total, next.total), (Some(a), Some(b)) if a != b);
        !other_file && !other_length
    }

    /// What both know; answers to range requests often tell less.
    fn with(self, next: Self) -> Self {
        Self {
            url: self.url,
            validator: self.validator.or(next.validator),
            total: self.total.or(next.total),
        }
    }
}

/// Where a transfer stands.
struct Transfer<'a> {
    url: &'a str,
    partial: &'a Partial,
    agent: Agent,
    file: File,
    /// Bytes in `file` that count. Those of another download stay there until the server has answered.
    length: u64,
    origin: Option<Origin>,
    bar: ProgressBar,
}

/// How an attempt ended.
enum Attempt {
    /// All bytes are there.
    Complete,
    /// What is there cannot be continued; it has been discarded.
    Restart,
    /// The connection broke.
    Broken(anyhow::Error),
}

/// Downloads `url` into `partial`, going on where an earlier attempt stopped. `started` is called once,
/// when the server has agreed to send the file.
///
/// # Errors
/// What the network or the server had against it; then `partial` stays for a later attempt.
pub(super) fn download(
    url: &str,
    partial: &Partial,
    started: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let io = |e| Error::io(&partial.path, e);
    let mut file = partial.open()?;
    let origin = Origin::read(&partial.origin, url);
    let length = match origin {
        Some(_) => file.seek(SeekFrom::End(0)).map_err(io)?,
        None => 0,
    };
    let mut transfer = Transfer {
        url,
        partial,
        agent: agent(),
        file,
        length,
        origin,
        bar: bar(),
    };
    let result = transfer.run(started);
    transfer.bar.finish_and_clear();
    let left = transfer.file.metadata().map_err(io)?.len();
    // Windows keeps an open file's name.
    drop(transfer);
    if left == 0 {
        // Nothing that a later attempt could use.
        partial.remove()?;
    }
    result
}

fn agent() -> Agent {
    Agent::config_builder()
        .user_agent(concat!("nca-xtask/", env!("CARGO_PKG_VERSION")))
        .http_status_as_error(false)
        .timeout_resolve(Some(CONNECT_TIMEOUT))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(CONNECT_TIMEOUT))
        .timeout_per_read(Some(STALL_TIMEOUT))
        .build()
        .into()
}

fn bar() -> ProgressBar {
    ProgressBar::new(0)
        .with_style(bar_style(
            "{msg:11} {bar:30.cyan} {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left",
        ))
        .with_message("downloading")
}

impl Transfer<'_> {
    /// Attempts until all is there, or until [`ATTEMPTS`] in a row brought nothing new.
    fn run(&mut self, started: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        let mut started = Some(started);
        let (mut most, mut failures) = (self.length, 0);
        loop {
            if self.length > 0 && self.origin.as_ref().and_then(|o| o.total) == Some(self.length) {
                // Nothing missing: an earlier process ended between the last byte and its use.
                return started.map_or(Ok(()), |started| started());
            }
            // An unreachable server is reported at once.
            let response = match self.request() {
                Ok(response) => response,
                Err(error) if started.is_some() => return Err(error),
                Err(error) => {
                    self.pause(&mut failures, error)?;
                    continue;
                }
            };
            let attempt = match self.accept(&response)? {
                None => Attempt::Restart,
                Some(()) => {
                    if let Some(started) = started.take() {
                        started()?;
                    }
                    self.receive(response)?
                }
            };
            if self.length > most {
                (most, failures) = (self.length, 0);
            }
            match attempt {
                Attempt::Complete => return Ok(()),
                Attempt::Restart => {}
                Attempt::Broken(error) => self.pause(&mut failures, error)?,
            }
        }
    }

    /// Counts a failure and waits, or gives up with `error`.
    fn pause(&self, failures: &mut u32, error: anyhow::Error) -> anyhow::Result<()> {
        *failures += 1;
        if *failures == ATTEMPTS {
            return Err(error.context("the connection broke repeatedly; the same command goes on from there"));
        }
        sleep(PAUSE * 2_u32.pow(*failures - 1));
        Ok(())
    }

    /// Asks for what is missing.
    fn request(&self) -> anyhow::Result<Response<Body>> {
        let mut request = self.agent.get(self.url);
        if self.length > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", self.length));
            if let Some(validator) = self.origin.as_ref().and_then(|o| o.validator.as_ref()) {
                request = request.header(header::IF_RANGE, validator);
            }
        }
        Ok(request.call()?)
    }

    /// Prepares the file for the bytes of `response`; `None` if they cannot be used, and the whole must
    /// be asked for.
    fn accept(&mut self, response: &Response<Body>) -> anyhow::Result<Option<()>> {
        let status = response.status();
        let next = match status {
            StatusCode::OK => {
                self.discard()?;
                Origin::new(self.url, response.headers(), response.body().content_length())
            }
            StatusCode::PARTIAL_CONTENT if self.length > 0 => {
                let range = content_range(response.headers());
                let next = Origin::new(self.url, response.headers(), range.and_then(|(_, total)| total));
                let starts_here = range.is_some_and(|(start, _)| start == self.length);
                match self.origin.take().filter(|origin| starts_here && origin.agrees(&next)) {
                    Some(origin) => origin.with(next),
                    None => {
                        self.discard()?;
                        return Ok(None);
                    }
                }
            }
            StatusCode::RANGE_NOT_SATISFIABLE if self.length > 0 => {
                self.discard()?;
                return Ok(None);
            }
            _ => bail!("the server answered {status}"),
        };
        let json = serde_json::to_vec(&next)?;
        write_atomic(&self.partial.origin, |file| file.write_all(&json))?;
        self.bar.set_length(next.total.unwrap_or(0));
        self.bar.set_position(self.length);
        self.origin = Some(next);
        Ok(Some(()))
    }

    /// Adds the body of `response` to what is there.
    fn receive(&mut self, response: Response<Body>) -> anyhow::Result<Attempt> {
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let n = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) => return Ok(Attempt::Broken(error.into())),
            };
            self.file
                .write_all(&buffer[..n])
                .map_err(|e| Error::io(&self.partial.path, e))?;
            self.length += n as u64;
            self.bar.set_position(self.length);
        }
        Ok(match self.origin.as_ref().and_then(|o| o.total) {
            Some(total) if self.length < total => {
                Attempt::Broken(anyhow!("the connection ended after {} of {total} bytes", self.length))
            }
            Some(total) if self.length > total => {
                let length = self.length;
                self.discard()?;
                bail!("the server sent {length} bytes of a file of {total}");
            }
            _ => Attempt::Complete,
        })
    }

    /// Forgets the bytes that are there.
    fn discard(&mut self) -> nca_core::Result<()> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(|e| Error::io(&self.partial.path, e))?;
        self.length = 0;
        self.origin = None;
        Ok(())
    }
}

/// First byte and length of the whole (where stated) of a `Content-Range: bytes 5-9/10`.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let value = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((start.parse().ok()?, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        let parse = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_RANGE, value.parse().expect("a header"));
            content_range(&headers)
        };
        assert_eq!(parse("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(parse("bytes 5-9/*"), Some((5, None)));
        for bad in [
            "bytes */10",
            "bytes 5-9",
            "5-9/10",
            "bytes -5-9/10",
            "bytes 5-9/ten",
            "",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(content_range(&HeaderMap::new()), None);
    }

    /// What is open for appending alone cannot be emptied on Windows, and writes at its end wherever it was told to go.
    #[test]
    fn a_part_is_emptied_and_written_from_its_start() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let partial = Partial::new(directory.path(), "file");
        fs::write(partial.path(), "what there was").expect("a file");
        let mut file = partial.open().expect("the file");
        file.write_all(b"WHAT").expect("a write");
        assert_eq!(fs::read(partial.path()).expect("the file"), b"WHAT there was");
        file.set_len(0).expect("an empty file");
    }

    #[test]
    fn a_changed_file_is_not_continued() {
        let origin = |validator: Option<&str>, total| Origin {
            url: "http://host/file".to_owned(),
            validator: validator.map(str::to_owned),
            total,
        };
        let first = origin(Some("\"a\""), Some(10));
        assert!(first.agrees(&first));
        assert!(first.agrees(&origin(None, None)));
        assert!(!first.agrees(&origin(Some("\"b\""), Some(10))));
        assert!(!first.agrees(&origin(Some("\"a\""), Some(11))));
    }

    #[test]
    fn weak_tags_do_not_count() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ETAG, "W/\"a\"".parse().expect("a header"));
        assert_eq!(Origin::new("u", &headers, None).validator, None);
        headers.insert(
            header::LAST_MODIFIED,
            "Thu, 01 Jan 2015 00:00:00 GMT".parse().expect("a header"),
        );
        assert!(
            Origin::new("u", &headers, None)
                .validator
                .is_some_and(|v| v.starts_with("Thu"))
        );
        headers.insert(header::ETAG, "\"a\"".parse().expect("a header"));
        assert_eq!(Origin::new("u", &headers, None).validator.as_deref(), Some("\"a\""));
    }
}
