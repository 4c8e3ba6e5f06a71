//! The findings in a page of text.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::bootstrap::{FEWEST_ARCHITECTURES, Interval};
use super::collect::{Collection, ModelResult};
use super::damage::Damage;
use super::findings::{self, ArchitectureCorrelation, Moving, Quantity, Remark};
use super::record::{ModelRecord, Status};
use super::stats;

/// How many of the strongest movers are listed.
const MOVERS: usize = 10;
/// How many lost models, and how many warnings, are listed in text.
const LISTED: usize = 10;
/// Up to this texture distance a model counts as having learned its texture.
const LEARNED: f64 = 3.0;

/// What a report found and wrote.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReportSummary {
    /// Models trained and measured.
    pub ok: usize,
    /// Models that left the finite numbers.
    pub diverged: usize,
    /// Models that could not be run to their end.
    pub failed: usize,
    /// Models of which it cannot be read how they ended.
    pub unreadable: usize,
    /// What a reader should know of the whole, each in a sentence: files that could not be read, by their paths below the
    /// sweep directory; Ψ that do not compare.
    pub warnings: Vec<String>,
    /// Models that diverged or failed, and why.
    pub lost: Vec<Lost>,
    /// Model directories without a result yet.
    pub unfinished: Vec<PathBuf>,
    /// The strongest movers, strongest first; at most ten.
    pub movers: Vec<ModelRecord>,
    /// Models with a texture distance, and how they fare; `None` if there is none.
    pub likeness: Option<Likeness>,
    /// How many models move, for each texture and for all together.
    pub moving: Vec<Moving>,
    /// How Ψ goes with the architecture, for each texture and for all together.
    pub correlations: Vec<ArchitectureCorrelation>,
    /// What was written, below the sweep directory.
    pub files: Vec<PathBuf>,
}

/// A model that has no Ψ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lost {
    /// Name of the exemplar.
    pub texture: String,
    /// Channels, C.
    pub channels: usize,
    /// Hidden neurons, D.
    pub hidden: usize,
    /// Run seed.
    pub seed: u64,
    /// How it ended.
    pub status: Status,
    /// Why, if its result says so.
    pub reason: Option<String>,
}

impl Lost {
    /// One that has no Ψ, if `model` is.
    fn of(model: &ModelResult) -> Option<Self> {
        let record = model.record();
        (record.status != Status::Ok).then(|| Self {
            texture: record.texture.clone(),
            channels: record.channels,
            hidden: record.hidden,
            seed: record.seed,
            status: record.status,
            reason: model.result.reason.clone(),
        })
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            texture,
            channels,
            hidden,
            seed,
            ..
        } = self;
        let reason = self.reason.as_deref().unwrap_or("its result does not say why");
        write!(
            f,
            "{texture}, C = {channels}, D = {hidden}, seed {seed} {}: {reason}",
            self.status.name()
        )
    }
}

/// How well the models look like their textures, by texture distance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Likeness {
    /// Models that have one.
    pub models: usize,
    /// The smallest.
    pub best: f64,
    /// The middle one; of an even number the mean of the middle two.
    pub median: f64,
    /// Models of at most 3.
    pub learned: usize,
}

impl ReportSummary {
    /// Of the sweep in `dir`, of whose files `damaged` could not be read.
    pub(super) fn of(dir: &Path, collection: &Collection, damaged: &[Damage], files: Vec<PathBuf>) -> Self {
        let count = |status| collection.records().filter(|r| r.status == status).count();
        let mut movers: Vec<_> = collection
            .records()
            .filter_map(|r| Some((r.measured_psi()?, r)))
            .collect();
        movers.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut warnings = collection.incomparable();
        warnings.extend(damaged.iter().map(|damage| damage.below(dir)));
        Self {
            ok: count(Status::Ok),
            diverged: count(Status::Diverged),
            failed: count(Status::Failed),
            unreadable: collection.unreadable.len(),
            warnings,
            lost: collection.models.iter().filter_map(Lost::of).collect(),
            unfinished: collection.unfinished.clone(),
            movers: movers
                .into_iter()
                .take(MOVERS)
                .map(|(_, record)| record.clone())
                .collect(),
            likeness: likeness(collection),
            moving: findings::moving(collection),
            correlations: findings::correlations(collection),
            files,
        }
    }

    /// The summary as a Markdown document that shows the pictures; links are relative to the sweep
    /// directory `dir`.
    #[must_use]
    pub fn markdown(&self, dir: &Path) -> String {
        let mut text = format!("# Sweep\n\n{self}");
        let pictures: Vec<_> = self
            .files
            .iter()
            .filter(|path| path.extension().is_some_and(|e| e == "png"))
            .collect();
        if !pictures.is_empty() {
            text += "\n## Pictures\n";
        }
        for path in pictures {
            let link = path.strip_prefix(dir).unwrap_or(path);
            let link: Vec<_> = link.iter().map(|part| part.to_string_lossy()).collect();
            let name = path
                .file_stem()
                .map_or_else(String::new, |stem| stem.to_string_lossy().replace('_', " "));
            // Angle brackets allow spaces in a destination.
            text += &format!("\n![{name}](<{}>)\n", link.join("/"));
        }
        text
    }

    fn mover_rows(&self) -> Vec<Vec<String>> {
        let number = |v: Option<f64>, digits: usize| v.map_or("–".to_owned(), |v| format!("{v:.digits$}"));
        let row = |(i, r): (usize, &ModelRecord)| {
            let mark = if r.above_floor() == Some(false) { " *" } else { "" };
            vec![
                (i + 1).to_string(),
                r.texture.clone(),
                r.channels.to_string(),
                r.hidden.to_string(),
                r.seed.to_string(),
                format!("{}{mark}", number(r.psi, 3)),
                number(r.psi_se, 3),
                number(r.psi_floor(), 3),
                number(r.texture_distance, 2),
            ]
        };
        self.movers.iter().enumerate().map(row).collect()
    }

    fn correlation_rows(&self) -> Vec<Vec<String>> {
        let number = |v: Option<f64>| v.map_or("–".to_owned(), |v| format!("{v:+.2}"));
        let interval = |i: Option<Interval>, remark: Option<Remark>| match i {
            Some(Interval { low, high }) => format!("{low:+.2} to {high:+.2}"),
            None => remark.map_or("–", Remark::text).to_owned(),
        };
        let row = |c: &ArchitectureCorrelation| {
            vec![
                c.texture.clone().unwrap_or_else(|| "all".to_owned()),
                c.quantity.name().to_owned(),
                number(c.correlation.pearson),
                interval(c.correlation.pearson_interval, c.correlation.remark),
                number(c.correlation.spearman),
                interval(c.correlation.spearman_interval, c.correlation.remark),
                c.correlation.n.to_string(),
            ]
        };
        self.correlations.iter().map(row).collect()
    }

    /// The share of models that move, in a sentence; `None` if nothing is known of it.
    fn moving_line(&self) -> Option<String> {
        // The last one covers all the others.
        let (all, each) = self.moving.split_last()?;
        let mut line = format!(
            "Above their motion floor: {} of {} models ({:.0} %)",
            all.above_floor,
            all.models,
            100.0 * all.share
        );
        let parts: Vec<_> = each
            .iter()
            .filter_map(|m| Some(format!("{} {} of {}", m.texture.as_ref()?, m.above_floor, m.models)))
            .collect();
        if !parts.is_empty() {
            line += &format!(": {}", parts.join(", "));
        }
        Some(line + ".")
    }
}

impl fmt::Display for ReportSummary {
    /// Markdown whose tables are aligned, so that it reads well in a terminal too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let finished = self.ok + self.diverged + self.failed + self.unreadable;
        let unreadable = match self.unreadable {
            0 => String::new(),
            count => format!(", {count} unreadable"),
        };
        writeln!(
            f,
            "{finished} models finished: {} ok, {} diverged, {} failed{unreadable}; {} begun and not finished.",
            self.ok,
            self.diverged,
            self.failed,
            self.unfinished.len()
        )?;
        if let Some(likeness) = &self.likeness {
            writeln!(
                f,
                "Texture distance: best {:.2}, median {:.2}; {} of {} models at most {LEARNED}.",
                likeness.best, likeness.median, likeness.learned, likeness.models
            )?;
        }
        if let Some(line) = self.moving_line() {
            writeln!(f, "{line}")?;
        }
        write_list(f, "Warnings", &self.warnings, "report.html names them")?;
        write_list(f, "Models without Ψ", &self.lost, "result.json of each says why")?;
        if !self.movers.is_empty() {
            writeln!(f, "\n## Strongest movers\n")?;
            let header = [
                "#",
                "texture",
                "C",
                "D",
                "seed",
                "Ψ px/frame",
                "± se",
                "floor",
                "distance",
            ];
            write_table(f, &header, 2, &self.mover_rows())?;
            if self.movers.iter().any(|r| r.above_floor() == Some(false)) {
                writeln!(
                    f,
                    "\n\\* not above its motion floor by two standard errors: perhaps no motion but noise"
                )?;
            }
        }
        if self.correlations.iter().any(|c| c.correlation.n > 1) {
            writeln!(f, "\n## Ψ and the architecture\n")?;
            let still = |c: &ArchitectureCorrelation| c.correlation.remark == Some(Remark::NothingMoves);
            if self.correlations.iter().all(still) {
                return writeln!(
                    f,
                    "Of no model is Ψ above its motion floor: nothing can be said of what motion goes with."
                );
            }
            let header = ["texture", "quantity", "Pearson r", "95 %", "Spearman ρ", "95 %", "n"];
            write_table(f, &header, 2, &self.correlation_rows())?;
            writeln!(
                f,
                "\n95 %: intervals by the bootstrap over architectures (C, D), of each all models together; each interval \
                 by itself. Of {} that are looked at together, chance alone takes one off 0 more often than one time in \
                 twenty.",
                Quantity::ALL.len()
            )?;
            let too_few = |c: &ArchitectureCorrelation| c.correlation.remark == Some(Remark::TooFewArchitectures);
            if self.correlations.iter().any(too_few) {
                writeln!(
                    f,
                    "\nToo few architectures for an interval where there are fewer than {FEWEST_ARCHITECTURES}."
                )?;
            }
        }
        Ok(())
    }
}

fn likeness(collection: &Collection) -> Option<Likeness> {
    let mut distances: Vec<f64> = collection.records().filter_map(|r| r.texture_distance).collect();
    distances.retain(|d| d.is_finite());
    let best = distances.iter().copied().reduce(f64::min)?;
    Some(Likeness {
        models: distances.len(),
        best,
        median: stats::median(&distances)?,
        learned: distances.iter().filter(|d| **d <= LEARNED).count(),
    })
}

/// A list under a heading, if there is anything to list; where it is too long, `rest` says where the rest is.
fn write_list(f: &mut fmt::Formatter<'_>, heading: &str, entries: &[impl fmt::Display], rest: &str) -> fmt::Result {
    if entries.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n## {heading}\n")?;
    for entry in entries.iter().take(LISTED) {
        writeln!(f, "- {entry}")?;
    }
    match entries.len().saturating_sub(LISTED) {
        0 => Ok(()),
        more => writeln!(f, "- and {more} more: {rest}"),
    }
}

/// A Markdown table, padded; the first `left` columns to the left, the others to the right.
fn write_table(f: &mut fmt::Formatter<'_>, header: &[&str], left: usize, rows: &[Vec<String>]) -> fmt::Result {
    // A bar would end the cell.
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| cell.replace('|', "\\|")).collect())
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(String::as_str);
        cells
            .chain([header[column]])
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
            .max(3)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        write!(f, "|")?;
        for (column, (cell, width)) in cells.zip(&widths).enumerate() {
            if column < left {
                write!(f, " {cell:<width$} |")?;
            } else {
                write!(f, " {cell:>width$} |")?;
            }
        }
        writeln!(f)
    };
    line(&mut header.iter().copied())?;
    let rules: Vec<String> = widths
        .iter()
        .enumerate()
        .map(|(column, width)| {
            if column < left {
                "-".repeat(*width)
            } else {
                format!("{}:", "-".repeat(width - 1))
            }
        })
        .collect();
    line(&mut rules.iter().map(String::as_str))?;
    for row in &rows {
        line(&mut row.iter().map(String::as_str))?;
    }
    Ok(())
}
