//! Reading back what a sweep has left in its directory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use nca_core::{Error, Result};
use serde::Deserialize;

use super::damage::{Damage, Damages};
use super::layout::{self, ModelDir};
use super::record::{MetricRow, ModelRecord, RESULT_FORMAT, ResultFile};
use crate::read::read_at_most;

/// A finished model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelResult {
    /// Its directory.
    pub path: PathBuf,
    /// What `result.json` says.
    pub result: ResultFile,
    /// What `metrics.jsonl` says, iterations increasing.
    pub metrics: Vec<MetricRow>,
}

impl ModelResult {
    /// Its row of the table.
    #[must_use]
    pub fn record(&self) -> &ModelRecord {
        &self.result.record
    }
}

/// A model whose `result.json` is there but cannot be read: what its directory's name says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Name of the exemplar.
    pub texture: String,
    /// Channels, C.
    pub channels: usize,
    /// Hidden neurons, D.
    pub hidden: usize,
    /// Run seed.
    pub seed: u64,
    /// What was found in its result and what was expected.
    pub reason: String,
}

/// What there is in a sweep directory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Collection {
    /// Finished models, by texture, C, D and seed.
    pub models: Vec<ModelResult>,
    /// Directories of models that have not finished yet.
    pub unfinished: Vec<PathBuf>,
    /// Models that have ended in a way that cannot be read.
    pub unreadable: Vec<Unreadable>,
    /// Files that cannot be read, results among them.
    pub damaged: Vec<Damage>,
}

impl Collection {
    /// Rows of the table.
    pub fn records(&self) -> impl Iterator<Item = &ModelRecord> {
        self.models.iter().map(ModelResult::record)
    }

    /// Texture, C, D and seed of every model that has ended, those with unreadable results last.
    fn places(&self) -> impl Iterator<Item = (&str, usize, usize, u64)> {
        let readable = self
            .records()
            .map(|r| (r.texture.as_str(), r.channels, r.hidden, r.seed));
        let others = self.unreadable.iter();
        readable.chain(others.map(|m| (m.texture.as_str(), m.channels, m.hidden, m.seed)))
    }

    /// Names of the textures, in order, each once.
    #[must_use]
    pub fn textures(&self) -> Vec<&str> {
        in_order(self.places().map(|place| place.0))
    }

    /// The models of a texture.
    pub fn of_texture(&self, texture: &str) -> impl Iterator<Item = &ModelResult> {
        self.models
            .iter()
            .filter(move |model| model.record().texture == texture)
    }

    /// Every C there is, increasing.
    #[must_use]
    pub fn channels(&self) -> Vec<usize> {
        in_order(self.places().map(|place| place.1))
    }

    /// Every D there is, increasing.
    #[must_use]
    pub fn hidden(&self) -> Vec<usize> {
        in_order(self.places().map(|place| place.2))
    }

    /// Every seed there is, increasing.
    #[must_use]
    pub fn seeds(&self) -> Vec<u64> {
        in_order(self.places().map(|place| place.3))
    }

    /// How Ψ was measured, for the foot of a figure: `Frames 32 steps apart; classical flow; 3 seeds`.
    pub(super) fn provenance(&self) -> String {
        fn list<T: Ord + ToString>(values: impl Iterator<Item = T>) -> String {
            let unique: Vec<_> = in_order(values).iter().map(ToString::to_string).collect();
            unique.join(" or ")
        }
        if self.models.is_empty() {
            return "No result that can be read".to_owned();
        }
        // Only what was measured was measured somehow; of nothing else is there anything to say.
        let any = self.records().any(|r| r.measured_psi().is_some());
        let measured = || self.records().filter(|r| !any || r.measured_psi().is_some());
        let seeds = self.seeds().len();
        let objectives = list(self.models.iter().map(|model| model.result.objective.as_str()));
        let objective = match objectives.as_str() {
            "appearance" => String::new(),
            other => format!("; trained for {other}"),
        };
        let mixed = match self.incomparable().is_empty() {
            true => "",
            false => "; not all Ψ compare",
        };
        format!(
            "Frames {} steps apart; {} flow{mixed}; {seeds} seed{}{objective}",
            list(measured().map(|r| r.steps_per_frame)),
            list(measured().map(|r| r.flow.as_str())),
            if seeds == 1 { "" } else { "s" }
        )
    }

    /// Why Ψ of some models does not compare with that of others, if so: each reason in a sentence.
    pub(super) fn incomparable(&self) -> Vec<String> {
        let measured = || self.records().filter(|r| r.measured_psi().is_some());
        let flows = counted(measured().map(|r| r.flow.clone()));
        let steps = counted(measured().map(|r| format!("frames {} steps apart", r.steps_per_frame)));
        [("by", flows), ("of", steps)]
            .into_iter()
            .filter(|(_, found)| found.len() > 1)
            .map(|(word, found)| {
                let parts: Vec<_> = found
                    .iter()
                    .map(|(what, models)| {
                        format!("{word} {what} in {models} model{}", if *models == 1 { "" } else { "s" })
                    })
                    .collect();
                format!("Ψ was measured {}: these do not compare", parts.join(", "))
            })
            .collect()
    }
}

/// Every value and how often it is there, in their order.
fn counted(values: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    counts
}

/// Every value once, increasing.
fn in_order<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    values.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Reads every model directory below the sweep directory `dir`.
///
/// A model without a `result.json` is unfinished, and one without metrics has none. A file that is there but not what it
/// should be is left out, and named in [`Collection::damaged`].
///
/// # Errors
/// Where there is no folder of models, or a folder cannot be listed.
pub fn collect(dir: impl AsRef<Path>) -> Result<Collection> {
    let models = layout::models_dir(dir.as_ref());
    if !models.is_dir() {
        return Err(Error::format(dir, "no folder 'models'", "the directory of a sweep"));
    }
    let mut collection = Collection::default();
    let mut damages = Damages::default();
    for texture in layout::subdirectories(&models)? {
        for path in layout::subdirectories(&texture)? {
            let model = ModelDir::new(&path);
            if let Some(result) = damages.read(&model.result(), |_| read_own_result(&model)) {
                let metrics = damages.read(&model.metrics(), read_metrics);
                collection.models.push(ModelResult {
                    path,
                    result,
                    metrics: metrics.unwrap_or_default(),
                });
            } else if let Some(reason) = damages.reason(&model.result()) {
                // Of a folder that is named otherwise nothing is known but that it is there.
                let name = path
                    .file_name()
                    .and_then(|name| layout::architecture_of(name.to_str()?));
                collection
                    .unreadable
                    .extend(name.map(|(channels, hidden, seed)| Unreadable {
                        texture: folder_name(&texture),
                        channels,
                        hidden,
                        seed,
                        reason: reason.to_owned(),
                    }));
            } else {
                collection.unfinished.push(path);
            }
        }
    }
    collection.damaged = damages.into_list();
    collection.models.sort_by(|a, b| {
        let key = |m: &ModelResult| {
            let r = m.record();
            (r.texture.clone(), r.channels, r.hidden, r.seed)
        };
        key(a).cmp(&key(b))
    });
    Ok(collection)
}

/// The result in the directory of a model, which must be that model's.
fn read_own_result(model: &ModelDir) -> Result<ResultFile> {
    let result = read_result(model.result())?;
    let record = &result.record;
    let expected = layout::model_name(record.channels, record.hidden, record.seed);
    if model.path().file_name().is_none_or(|name| name != expected.as_str()) {
        return Err(Error::format(
            model.result(),
            format!("the result of {}", record.label()),
            "that of the model its directory is named after",
        ));
    }
    Ok(result)
}

fn folder_name(path: &Path) -> String {
    path.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// Reads a `result.json`.
pub fn read_result(path: impl AsRef<Path>) -> Result<ResultFile> {
    /// What every version has.
    #[derive(Deserialize)]
    struct Versioned {
        format: u32,
    }
    let path = path.as_ref();
    let text = read_text(path)?;
    let bad = |e: serde_json::Error| Error::format(path, format!("JSON that does not fit ({e})"), "a model's result");
    let Versioned { format } = serde_json::from_str(&text).map_err(bad)?;
    if format != RESULT_FORMAT {
        return Err(Error::format(
            path,
            format!("result format {format}"),
            format!("format {RESULT_FORMAT}"),
        ));
    }
    serde_json::from_str(&text).map_err(bad)
}

/// Reads a `metrics.jsonl`.
///
/// A last line without its line end was cut off by the death of the writer and is left out; rows
/// that a resumed run wrote again replace those before.
pub fn read_metrics(path: impl AsRef<Path>) -> Result<Vec<MetricRow>> {
    let path = path.as_ref();
    let text = read_text(path)?;
    let mut rows: Vec<MetricRow> = Vec::new();
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let Some(line) = line.strip_suffix('\n') else { break };
        if line.trim().is_empty() {
            continue;
        }
        let row: MetricRow = serde_json::from_str(line).map_err(|e| {
            let found = format!("line {}, which does not fit ({e})", number + 1);
            Error::format(path, found, "a line of training metrics")
        })?;
        let kept = rows.partition_point(|earlier| earlier.iteration < row.iteration);
        rows.truncate(kept);
        rows.push(row);
    }
    Ok(rows)
}

/// Largest file read: a million iterations of metrics are less.
const MAX_FILE_MIB: u64 = 512;

fn read_text(path: &Path) -> Result<String> {
    let bytes = read_at_most(path, MAX_FILE_MIB, "a file")?;
    String::from_utf8(bytes).map_err(|_| Error::format(path, "bytes that are not UTF-8", "text in UTF-8"))
}
