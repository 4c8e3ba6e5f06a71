//! Reading back what a sweep has left in its directory.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use nca_core::{Error, Result};
use serde::Deserialize;

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

/// What there is in a sweep directory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Collection {
    /// Finished models, by texture, C, D and seed.
    pub models: Vec<ModelResult>,
    /// Directories of models that have not finished yet.
    pub unfinished: Vec<PathBuf>,
}

impl Collection {
    /// Rows of the table.
    pub fn records(&self) -> impl Iterator<Item = &ModelRecord> {
        self.models.iter().map(ModelResult::record)
    }

    /// Names of the textures, in order, each once.
    #[must_use]
    pub fn textures(&self) -> Vec<&str> {
        // The models are sorted by texture first.
        let mut names: Vec<_> = self.records().map(|record| record.texture.as_str()).collect();
        names.dedup();
        names
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
        self.records()
            .map(|r| r.channels)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// Every D there is, increasing.
    #[must_use]
    pub fn hidden(&self) -> Vec<usize> {
        self.records()
            .map(|r| r.hidden)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// Every seed there is, increasing.
    #[must_use]
    pub fn seeds(&self) -> Vec<u64> {
        self.records()
            .map(|r| r.seed)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// How Ψ was measured, for the foot of a figure: `Frames 32 steps apart; classical flow; 3 seeds`.
    pub(super) fn provenance(&self) -> String {
        fn list<T: Ord + ToString>(values: impl Iterator<Item = T>) -> String {
            let unique: Vec<_> = values
                .collect::<BTreeSet<_>>()
                .iter()
                .map(ToString::to_string)
                .collect();
            unique.join(" or ")
        }
        let seeds = self.seeds().len();
        let objectives = list(self.models.iter().map(|model| model.result.objective.as_str()));
        let objective = match objectives.as_str() {
            "" | "appearance" => String::new(),
            other => format!("; trained for {other}"),
        };
        format!(
            "Frames {} steps apart; {} flow; {seeds} seed{}{objective}",
            list(self.records().map(|r| r.steps_per_frame)),
            list(self.records().map(|r| r.flow.as_str())),
            if seeds == 1 { "" } else { "s" }
        )
    }
}

/// Reads every model directory below the sweep directory `dir`.
///
/// A model without a `result.json` is unfinished, which is no error; a file that is there but not
/// what it should be is one, and named.
pub fn collect(dir: impl AsRef<Path>) -> Result<Collection> {
    let models = layout::models_dir(dir.as_ref());
    if !models.is_dir() {
        return Err(Error::format(dir, "no folder 'models'", "the directory of a sweep"));
    }
    let mut collection = Collection::default();
    for texture in subdirectories(&models)? {
        for path in subdirectories(&texture)? {
            let model = ModelDir::new(&path);
            if model.result().exists() {
                collection.models.push(read_model(&model)?);
            } else {
                collection.unfinished.push(path);
            }
        }
    }
    collection.models.sort_by(|a, b| {
        let key = |m: &ModelResult| {
            let r = m.record();
            (r.texture.clone(), r.channels, r.hidden, r.seed)
        };
        key(a).cmp(&key(b))
    });
    Ok(collection)
}

fn read_model(model: &ModelDir) -> Result<ModelResult> {
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
    let metrics = match model.metrics() {
        path if path.exists() => read_metrics(&path)?,
        _ => Vec::new(),
    };
    Ok(ModelResult {
        path: model.path().to_owned(),
        result,
        metrics,
    })
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

/// Folders in `dir`, by name; hidden ones are not ours.
fn subdirectories(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| Error::io(dir, e))? {
        let entry = entry.map_err(|e| Error::io(dir, e))?;
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if !hidden && entry.path().is_dir() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}
