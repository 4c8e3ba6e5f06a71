//! A peer: a program that answers each line of JSON by one line (`benches/peers/README.md`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a peer says first.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Hello {
    /// Name of the library.
    pub(super) library: String,
    /// Its version.
    pub(super) version: String,
    /// Threads it computes on.
    pub(super) threads: usize,
    /// Formulations of each subject.
    pub(super) formulations: BTreeMap<String, Vec<String>>,
}

/// What a peer is asked to do.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Request<'a> {
    pub(super) subject: &'a str,
    pub(super) formulation: &'a str,
    /// File of the inputs.
    pub(super) inputs: &'a Path,
    pub(super) shape: &'a Value,
    /// 0: make it ready and show the results.
    pub(super) repeats: usize,
}

/// What is compared of a tensor.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Shown {
    /// Number of its elements.
    pub(super) length: usize,
    /// Root mean square.
    pub(super) rms: f64,
    /// Elements spread evenly over it.
    pub(super) samples: Vec<f64>,
}

/// What is compared of a computation: its tensors by name.
pub(super) type Results = BTreeMap<String, Shown>;

/// A peer's answer.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum Answer {
    /// To a request without repeats.
    Results { result: Results },
    /// To one with: seconds of each.
    Seconds { seconds: Vec<f64> },
    /// Why the formulation does not run.
    Unavailable { unavailable: String },
}

impl Shown {
    /// Elements shown of each tensor.
    const SAMPLES: usize = 1024;

    /// Of the elements of a tensor.
    pub(super) fn of(values: &[f32]) -> Self {
        let squares: f64 = values.iter().map(|&v| f64::from(v).powi(2)).sum();
        let last = values.len().saturating_sub(1);
        let samples = (0..Self::SAMPLES).filter_map(|i| values.get(i * last / (Self::SAMPLES - 1)));
        Self {
            length: values.len(),
            rms: (squares / values.len() as f64).sqrt(),
            samples: samples.copied().map(f64::from).collect(),
        }
    }

    /// The greatest difference to `other`, in units of the root mean square; infinite where they cannot be compared.
    pub(super) fn difference(&self, other: &Self) -> f64 {
        let pairs = self.samples.iter().zip(&other.samples).chain([(&self.rms, &other.rms)]);
        // NaN must not pass for agreement, as it would with f64::max.
        let greatest = pairs.map(|(a, b)| (a - b).abs()).max_by(f64::total_cmp);
        match greatest {
            Some(difference) if self.comparable(other) && !difference.is_nan() => {
                difference / self.rms.max(f64::MIN_POSITIVE)
            }
            _ => f64::INFINITY,
        }
    }

    /// The share of the elements that differ from those of `other` by more than `tolerance` root mean squares; all of
    /// them where they cannot be compared.
    pub(super) fn share_beyond(&self, tolerance: f64, other: &Self) -> f64 {
        if !self.comparable(other) {
            return 1.0;
        }
        let pairs = self.samples.iter().zip(&other.samples);
        let within = pairs.filter(|(a, b)| (*a - *b).abs() <= tolerance * self.rms).count();
        1.0 - within as f64 / self.samples.len() as f64
    }

    fn comparable(&self, other: &Self) -> bool {
        (self.length, self.samples.len()) == (other.length, other.samples.len()) && !self.samples.is_empty()
    }
}

/// Lines of JSON to and from a peer.
struct Channel<R, W> {
    from: R,
    to: W,
}

impl<R: BufRead, W: Write> Channel<R, W> {
    /// The next line.
    fn read<T: for<'de> Deserialize<'de>>(&mut self) -> anyhow::Result<T> {
        let mut line = String::new();
        let length = self.from.read_line(&mut line).context("reading an answer")?;
        ensure!(length > 0, "ended without an answer");
        serde_json::from_str(&line).with_context(|| format!("found '{}', expected an answer", line.trim_end()))
    }

    /// Asks, and waits for the answer.
    fn ask(&mut self, request: &Request<'_>) -> anyhow::Result<Answer> {
        let mut line = serde_json::to_string(request)?;
        line.push('\n');
        self.to
            .write_all(line.as_bytes())
            .and_then(|()| self.to.flush())
            .context("ended before a request")?;
        let answer = self.read()?;
        match &answer {
            Answer::Seconds { seconds } => {
                let sound = seconds.iter().all(|seconds| seconds.is_finite() && *seconds > 0.0);
                ensure!(
                    seconds.len() == request.repeats && sound,
                    "found {seconds:?}, expected {} times",
                    request.repeats
                );
            }
            Answer::Results { .. } => ensure!(request.repeats == 0, "found results, expected times"),
            Answer::Unavailable { .. } => {}
        }
        Ok(answer)
    }
}

/// A peer at work; ended when dropped.
pub(super) struct Peer {
    child: Child,
    channel: Channel<BufReader<ChildStdout>, ChildStdin>,
    hello: Hello,
    /// What it writes to standard error.
    log: PathBuf,
}

impl Peer {
    /// Runs `command` with its standard error in `log`, and waits for what it says of itself.
    pub(super) fn start(mut command: Command, log: PathBuf) -> anyhow::Result<Self> {
        let errors = File::create(&log).with_context(|| log.display().to_string())?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .with_context(|| command.get_program().display().to_string())?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("a peer without standard input and output");
        };
        let mut channel = Channel {
            from: BufReader::new(from),
            to,
        };
        match channel.read() {
            Ok(hello) => Ok(Self {
                child,
                channel,
                hello,
                log,
            }),
            Err(error) => {
                end(&mut child);
                Err(error.context(last_words(&log)))
            }
        }
    }

    /// What it said of itself.
    pub(super) fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Asks, and waits for the answer.
    pub(super) fn ask(&mut self, request: &Request<'_>) -> anyhow::Result<Answer> {
        self.channel.ask(request).with_context(|| {
            format!(
                "{} on {} '{}': {}",
                self.hello.library,
                request.subject,
                request.formulation,
                last_words(&self.log)
            )
        })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Ends a program that may be in the middle of something long; it is no error if it has ended already.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Where a peer's messages are, and the last of them.
fn last_words(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    match text.lines().rfind(|line| !line.trim().is_empty()) {
        Some(line) => format!("{}: {}", log.display(), line.trim()),
        None => log.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(shape: &Value, repeats: usize) -> Request<'_> {
        Request {
            subject: "step",
            formulation: "planes",
            inputs: Path::new("x.safetensors"),
            shape,
            repeats,
        }
    }

    /// What a peer that says `line` is understood to say, and what it was told.
    fn exchange(line: &str, repeats: usize) -> (anyhow::Result<Answer>, String) {
        let mut channel = Channel {
            from: line.as_bytes(),
            to: Vec::new(),
        };
        let answer = channel.ask(&request(&serde_json::json!({"batch": 1}), repeats));
        (answer, String::from_utf8_lossy(&channel.to).into_owned())
    }

    #[test]
    fn a_request_is_one_line() {
        let (_, line) = exchange("", 3);
        assert!(line.ends_with('\n') && line.matches('\n').count() == 1, "{line}");
        let value: Value = serde_json::from_str(&line).expect("JSON");
        let expected = serde_json::json!({
            "subject": "step", "formulation": "planes", "inputs": "x.safetensors", "shape": {"batch": 1}, "repeats": 3,
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn answers_are_told_apart() {
        let (answer, _) = exchange("{\"seconds\": [0.5, 0.25]}\n", 2);
        let expected = Answer::Seconds {
            seconds: vec![0.5, 0.25],
        };
        assert_eq!(answer.expect("an answer"), expected);
        let (answer, _) = exchange("{\"unavailable\": \"no compiler\"}\n", 2);
        let expected = Answer::Unavailable {
            unavailable: "no compiler".into(),
        };
        assert_eq!(answer.expect("an answer"), expected);
        let (answer, _) = exchange(
            "{\"result\": {\"x\": {\"length\": 2, \"rms\": 1.5, \"samples\": [1, 2]}}}\n",
            0,
        );
        let Ok(Answer::Results { result }) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(result["x"].samples, [1.0, 2.0]);
    }

    #[test]
    fn answers_that_do_not_fit_are_refused() {
        for (line, repeats, words) in [
            ("", 1, "without an answer"),
            ("Segmentation fault\n", 1, "'Segmentation fault'"),
            ("{\"seconds\": [0.5]}\n", 2, "expected 2 times"),
            ("{\"seconds\": [0.5, -1]}\n", 2, "expected 2 times"),
            ("{\"seconds\": [null]}\n", 1, "expected an answer"),
            ("{\"result\": {}}\n", 1, "expected times"),
            ("{\"seconds\": []}\n{\"seconds\"", 1, "expected 1 times"),
        ] {
            let error = exchange(line, repeats).0.expect_err(line);
            assert!(format!("{error:#}").contains(words), "{line}: {error:#}");
        }
    }

    #[test]
    fn as_many_elements_are_shown_of_small_tensors() {
        let shown = Shown::of(&[3.0, 4.0]);
        assert_eq!(shown.samples.len(), Shown::SAMPLES);
        assert_eq!((shown.samples[0], shown.samples[Shown::SAMPLES - 1]), (3.0, 4.0));
        assert!((shown.rms - 12.5f64.sqrt()).abs() < 1e-12);
    }
}
