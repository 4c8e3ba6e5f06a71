//! `cargo xtask bench-peers`

mod agreement;
mod cases;
mod environment;
mod peer;
mod quiet;
mod table;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use benches::fma_peak;
use clap::{Args, ValueEnum as _};
use nca_core::Error;
use nca_core::backend::Device as _;
use nca_core::checkpoint::write_atomic;
use nca_core::cpu::{ConvAlgorithm, Cpu};
use nca_train::report::stats::median;
use serde_json::Value;

use crate::files::{check_extension, check_outputs};
use crate::output::{print_line, say};
use agreement::{Kinks, agree};
use cases::{Group, Ours, Work, cases};
use environment::{Environment, Wanted};
use peer::{Answer, Peer, Request, Results};
use quiet::{MOST_OTHERS, Snapshot};
use table::{AS_WRITTEN, Row, Theirs, Times};

/// Compare the CPU backend with PyTorch and JAX at the same work
///
/// Each has several formulations of each subject, and each formulation's results are compared with ours before it is
/// timed. All take turns; medians are compared. On Linux, a measurement during which other processes used more than a
/// fifth of a core is dropped and taken again. Prints a table in Markdown.
///
/// The peers live in a virtual environment of Python, made at the first run, which downloads PyTorch and JAX: some
/// gigabytes, unless pip's own settings (PIP_EXTRA_INDEX_URL) name an index that has PyTorch for CPUs alone.
#[derive(Args)]
pub(crate) struct BenchPeersArgs {
    /// Compare only cases whose names, as the table has them, contain one of these
    #[arg(value_name = "CASE")]
    cases: Vec<String>,
    /// What to compare, separated by commas, as step,vgg
    #[arg(long, value_enum, value_delimiter = ',', value_name = "GROUPS",
          default_values_t = [Group::Step, Group::Train, Group::Spynet, Group::Vgg])]
    groups: Vec<Group>,
    /// Threads of each program [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Measurements of each program [default: 5, or 1 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    repeats: Option<u16>,
    /// One small case a group, without the formulations that PyTorch compiles: to see that all runs
    #[arg(long)]
    quick: bool,
    /// Python that makes the environment [default: python3]
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// The environment; made if it is not there [default: target/peers]
    #[arg(long, value_name = "DIR")]
    environment: Option<PathBuf>,
    /// Version of PyTorch [default: that installed, or the latest]
    #[arg(long, value_name = "VERSION", value_parser = version)]
    torch: Option<String>,
    /// Version of JAX [default: that installed, or the latest]
    #[arg(long, value_name = "VERSION", value_parser = version)]
    jax: Option<String>,
    /// Also write the times of every formulation here, as CSV
    #[arg(long, value_name = "FILE.csv")]
    out: Option<PathBuf>,
}

/// Seconds that a measurement takes at least: the processors' times are counted in hundredths.
const MEASUREMENT: f64 = 0.4;
/// Seconds of the first look at a formulation.
const LOOK: f64 = 0.1;
/// A formulation that takes more than so many times as long as the best one is not measured further.
const HOPELESS: f64 = 1.5;
/// Attempts to each measurement that counts.
const ATTEMPTS: usize = 3;
/// The peers' programs.
const PEERS: [&str; 2] = ["torch", "jax"];
/// Formulations that PyTorch compiles have names that begin so.
const COMPILED: &str = "compiled";
/// The formulation that tells kinks from mistakes; never timed.
const EXACT: &str = "in f64";

/// A version as pip writes it, and nothing that pip would take for more.
fn version(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".+-".contains(c);
    if text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err(format!("found '{text}', expected a version as 2.9.0"))
    }
}

pub(crate) fn run(args: &BenchPeersArgs) -> anyhow::Result<()> {
    check_outputs(&[("--out", args.out.as_deref())], &[], None)?;
    check_extension("--out", args.out.as_deref(), "CSV", &["csv"])?;
    let chosen = chosen(args)?;
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers");
    let directory = args.environment.as_ref().unwrap_or(&default);
    let wanted = Wanted {
        torch: args.torch.clone(),
        jax: args.jax.clone(),
    };
    let environment = Environment::open(directory, args.python.as_deref(), &wanted)?;
    let cpu = match args.threads {
        Some(threads) => Cpu::with_threads(usize::from(threads))?,
        None => Cpu::new()?,
    };
    let threads = cpu.threads();
    let mut peers = Vec::new();
    for name in PEERS {
        let peer = Peer::start(environment.command(name, threads), environment.log(name))?;
        if peer.hello().threads != threads {
            let found = peer.hello().threads;
            bail!("{name} computes on {found} threads, expected {threads}: set --threads to what the machine has");
        }
        peers.push(peer);
    }
    let peak = fma_peak(threads);
    let scratch = tempfile::tempdir().context("a directory for inputs")?;
    let mut bench = Bench {
        cpu: &cpu,
        peers,
        scratch: scratch.path(),
        quick: args.quick,
        repeats: args.repeats.map_or(if args.quick { 1 } else { 5 }, usize::from),
    };
    let mut rows = Vec::new();
    let measured = bench.measure_all(&chosen, args.out.as_deref(), &mut rows);
    // What there is: that a later case fails, or a disk is full, must not cost the earlier ones.
    if !rows.is_empty() {
        let mut text = head(&cpu, peak, &bench, &environment.preload_note);
        text += &table::markdown(&rows, peak);
        print_line(text.trim_end())?;
    }
    measured.with_context(|| format!("measured {} of {} cases", rows.len(), chosen.len()))
}

/// The cases asked for, in the order of their groups.
fn chosen(args: &BenchPeersArgs) -> nca_core::Result<Vec<(Group, Work)>> {
    // None twice, however often it is named.
    let groups = Group::value_variants()
        .iter()
        .filter(|group| args.groups.contains(group));
    let all = groups.flat_map(|&group| cases(group, args.quick).into_iter().map(move |work| (group, work)));
    let (chosen, rest): (Vec<_>, Vec<_>) =
        all.partition(|(_, work)| args.cases.is_empty() || args.cases.iter().any(|part| work.name().contains(part)));
    if chosen.is_empty() {
        let names: Vec<String> = rest.iter().map(|(_, work)| work.name()).collect();
        return Err(Error::invalid(
            "CASE",
            args.cases.join(" "),
            format!("part of one of: {}", names.join("; ")),
        ));
    }
    Ok(chosen)
}

/// What the figures are of.
fn head(cpu: &Cpu, peak: f64, bench: &Bench<'_>, preload: &str) -> String {
    let mut text = format!("{}, {:.0} GFLOP/s peak", cpu.describe(), peak / 1e9);
    for peer in &bench.peers {
        let _ = write!(text, "; {} {}", peer.hello().library, peer.hello().version);
    }
    let _ = write!(
        text,
        ". Preload for MKL on AMD: {preload}. Medians of {} measurements of {MEASUREMENT} s or one unit.",
        bench.repeats
    );
    text += match Snapshot::take() {
        Some(_) => "\n\n",
        None => " Other processes' times are not known on this system: nothing is dropped.\n\n",
    };
    text
}

/// Ours and theirs, and how to measure them.
struct Bench<'a> {
    cpu: &'a Cpu,
    peers: Vec<Peer>,
    scratch: &'a Path,
    quick: bool,
    repeats: usize,
}

/// One of the programs that take turns: ours, or a formulation of a peer.
struct Turn {
    /// Index in the row's list; `None` for ours.
    theirs: Option<usize>,
    /// Units of a measurement.
    units: usize,
}

impl Bench<'_> {
    /// Measures one case after the other into `rows`, and writes what there is of them to `out`.
    fn measure_all(&mut self, cases: &[(Group, Work)], out: Option<&Path>, rows: &mut Vec<Row>) -> anyhow::Result<()> {
        for (number, (group, work)) in cases.iter().enumerate() {
            rows.push(self.measure(*group, work, number)?);
            if let Some(out) = out {
                // Each time, so that a run that is stopped was not in vain.
                let csv = table::csv(rows)?;
                write_atomic(out, |file| file.write_all(&csv))?;
            }
        }
        Ok(())
    }

    /// Measures one case.
    fn measure(&mut self, group: Group, work: &Work, number: usize) -> anyhow::Result<Row> {
        let inputs = self.scratch.join(format!("{number}.safetensors"));
        let plain = if work.kinked().is_empty() {
            None
        } else {
            let cpu = Cpu::builder()
                .threads(self.cpu.threads())
                .conv(ConvAlgorithm::Direct)
                .build()?;
            let mut plain = work.open(&cpu, &inputs)?;
            Some(plain.check()?)
        };
        let mut ours = work.open(self.cpu, &inputs)?;
        let (shape, subject) = (work.shape(), work.subject());
        let mut row = Row {
            group,
            case: work.name(),
            updates: work.updates(),
            flop: work.flop(),
            ours: Times::default(),
            theirs: self.ready(subject, &inputs, &shape, work.kinked(), plain.as_ref(), &mut *ours)?,
        };
        say!("{}: {} formulations", row.case, row.theirs.len());

        // The first run, for warming up and compiling, does not count; the second tells who stays.
        let warm = median_of(&time_ours(&mut *ours, 1)?);
        let seconds = median_of(&time_ours(&mut *ours, look(warm))?);
        let mut turns = vec![Turn {
            theirs: None,
            units: units(seconds),
        }];
        let mut first = Vec::new();
        for theirs in std::mem::take(&mut row.theirs) {
            let Some(warm) = self.time_theirs(&theirs, subject, &inputs, &shape, 1)? else {
                continue;
            };
            if let Some(seconds) = self.time_theirs(&theirs, subject, &inputs, &shape, look(median_of(&warm)))? {
                first.push(median_of(&seconds));
                row.theirs.push(theirs);
            }
        }
        let best = first.iter().copied().fold(f64::INFINITY, f64::min);
        for (i, (theirs, mut seconds)) in row.theirs.iter_mut().zip(first).enumerate() {
            if seconds > HOPELESS * best {
                // Another process may have had the core, and must not decide who is left out: a second look, later.
                let again = self.time_theirs(theirs, subject, &inputs, &shape, look(seconds))?;
                seconds = again.map_or(seconds, |again| seconds.min(median_of(&again)));
            }
            theirs.set_aside = seconds > HOPELESS * best && theirs.formulation != AS_WRITTEN;
            if theirs.set_aside {
                theirs.times.add(&[seconds], false);
            } else {
                turns.push(Turn {
                    theirs: Some(i),
                    units: units(seconds),
                });
            }
        }
        for _ in 0..ATTEMPTS * self.repeats {
            for turn in &turns {
                let times = match turn.theirs {
                    None => &row.ours,
                    Some(i) => &row.theirs[i].times,
                };
                if times.kept() >= self.repeats {
                    continue;
                }
                let before = Snapshot::take();
                let seconds = match turn.theirs {
                    None => time_ours(&mut *ours, turn.units)?,
                    Some(i) => self
                        .time_theirs(&row.theirs[i], subject, &inputs, &shape, turn.units)?
                        .unwrap_or_default(),
                };
                let others = before
                    .zip(Snapshot::take())
                    .map(|(before, after)| before.others(&after));
                let disturbed = others.is_some_and(|others| others > MOST_OTHERS);
                match turn.theirs {
                    None => row.ours.add(&seconds, disturbed),
                    Some(i) => row.theirs[i].times.add(&seconds, disturbed),
                }
            }
        }
        // Weights and states of all cases together are large.
        std::fs::remove_file(&inputs).with_context(|| inputs.display().to_string())?;
        Ok(row)
    }

    /// Makes every formulation ready that there is for this shape, and compares its results with ours; where there are
    /// `kinked` ones, those of our plain algorithms too, which are `plain`.
    fn ready(
        &mut self,
        subject: &str,
        inputs: &Path,
        shape: &Value,
        kinked: &[&str],
        plain: Option<&Results>,
        ours: &mut dyn Ours,
    ) -> anyhow::Result<Vec<Theirs>> {
        let expected = ours.check()?;
        let shown = Request {
            subject,
            formulation: AS_WRITTEN,
            inputs,
            shape,
            repeats: 0,
        };
        let (kinks, fast) = if kinked.is_empty() {
            (None, None)
        } else {
            let [exact, single] =
                [EXACT, AS_WRITTEN].map(|formulation| self.results(&Request { formulation, ..shown }));
            let kinks = Kinks::new(kinked, exact?, &single?).with_context(|| subject.to_owned())?;
            if let Some(plain) = plain {
                agree(&expected, plain, Some(&kinks)).with_context(|| format!("our {subject} by direct sums"))?;
            }
            let fast = kinks.of_fast_algorithms();
            agree(&expected, &expected, Some(&fast)).with_context(|| format!("our {subject}"))?;
            (Some(kinks), Some(fast))
        };
        let mut ready = Vec::new();
        for peer in &mut self.peers {
            let library = peer.hello().library.clone();
            let formulations = peer.hello().formulations.get(subject).cloned().unwrap_or_default();
            for formulation in formulations {
                let skipped = self.quick && library == PEERS[0] && formulation.starts_with(COMPILED);
                if skipped || formulation == EXACT {
                    continue;
                }
                let request = Request {
                    formulation: &formulation,
                    ..shown
                };
                match peer.ask(&request)? {
                    Answer::Results { result } => {
                        let mut agreed = agree(&expected, &result, kinks.as_ref());
                        // What a library does otherwise than as written may take fast algorithms, as ours does.
                        if let (Err(error), Some(fast), true) = (&agreed, &fast, formulation != AS_WRITTEN) {
                            say!("{library} {subject} '{formulation}' rounds like a fast algorithm: {error}");
                            agreed = agree(&expected, &result, Some(fast));
                        }
                        agreed.with_context(|| {
                            format!("{library}'s {subject} '{formulation}' computes something else than ours")
                        })?;
                    }
                    Answer::Unavailable { unavailable } => {
                        tracing::info!("{library} {subject} '{formulation}': {unavailable}");
                        continue;
                    }
                    Answer::Seconds { .. } => bail!("{library}: found times, expected results"),
                }
                ready.push(Theirs {
                    library: library.clone(),
                    formulation,
                    times: Times::default(),
                    set_aside: false,
                });
            }
        }
        Ok(ready)
    }

    /// What PyTorch answers.
    fn results(&mut self, request: &Request<'_>) -> anyhow::Result<Results> {
        let peer = self.peers.iter_mut().find(|peer| peer.hello().library == PEERS[0]);
        match peer.context("PyTorch has gone")?.ask(request)? {
            Answer::Results { result } => Ok(result),
            Answer::Unavailable { unavailable } => {
                bail!("{} '{}' fails: {unavailable}", request.subject, request.formulation)
            }
            Answer::Seconds { .. } => bail!("found times, expected results"),
        }
    }

    /// Seconds of each of `units` units of a formulation; `None`, and said why, if it fails, as for lack of
    /// memory.
    fn time_theirs(
        &mut self,
        theirs: &Theirs,
        subject: &str,
        inputs: &Path,
        shape: &Value,
        units: usize,
    ) -> anyhow::Result<Option<Vec<f64>>> {
        let Theirs {
            library, formulation, ..
        } = theirs;
        let request = Request {
            subject,
            formulation,
            inputs,
            shape,
            repeats: units,
        };
        let peer = self.peers.iter_mut().find(|peer| peer.hello().library == *library);
        match peer.context("a peer that has gone")?.ask(&request)? {
            Answer::Seconds { seconds } => Ok(Some(seconds)),
            Answer::Unavailable { unavailable } => {
                say!("{library} {subject} '{formulation}' fails: {unavailable}");
                Ok(None)
            }
            Answer::Results { .. } => bail!("{library} '{formulation}': found results, expected times"),
        }
    }
}

/// Seconds of each of `units` units of ours.
fn time_ours(ours: &mut dyn Ours, units: usize) -> anyhow::Result<Vec<f64>> {
    let mut seconds = Vec::new();
    for _ in 0..units {
        ours.prepare()?;
        let start = Instant::now();
        ours.run()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    Ok(seconds)
}

/// Units that fill a measurement, if one takes so long.
fn units(seconds: f64) -> usize {
    (MEASUREMENT / seconds).ceil().clamp(1.0, 1e5) as usize
}

/// Units of the first look at a formulation, of which one took `seconds` or less.
fn look(seconds: f64) -> usize {
    (LOOK / seconds).ceil().clamp(1.0, 9.0) as usize
}

/// The median of a measurement; infinite if there is none.
fn median_of(seconds: &[f64]) -> f64 {
    median(seconds).unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measurements_are_long_enough() {
        assert_eq!(units(0.1), 4);
        assert_eq!(units(0.15), 3);
        assert_eq!(units(7.0), 1);
        assert_eq!(units(0.0), 100_000);
    }

    #[test]
    fn only_versions_are_versions() {
        for good in ["2.9.0", "0.8", "2.10.0rc1", "2.9.0+cpu"] {
            assert_eq!(version(good).as_deref(), Ok(good));
        }
        for bad in ["", "latest", "2.9.0 --index-url x", "2;x", "-r"] {
            assert!(version(bad).is_err(), "{bad}");
        }
    }
}
