//! What a model leaves behind: the row of the table, its result file, its training curve.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::motion::above_floor;
use crate::objective::Objective;

/// Version of `result.json`.
pub const RESULT_FORMAT: u32 = 1;

/// How a model ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Trained and measured.
    Ok,
    /// Left the finite numbers; there is nothing to measure.
    Diverged,
    /// Could not be run to its end; its result says why ([`ResultFile::reason`]).
    Failed,
}

impl Status {
    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Diverged => "diverged",
            Self::Failed => "failed",
        }
    }
}

/// A row of `results.csv`; the fields are its columns, in their order.
///
/// A measurement that does not exist (a diverged model has no Ψ) is `None`, an empty field in the
/// table. Numbers that are not finite are written as missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// Name of the exemplar.
    pub texture: String,
    /// Channels, C.
    pub channels: usize,
    /// Hidden neurons, D.
    pub hidden: usize,
    /// Run seed.
    pub seed: u64,
    /// How the run ended.
    pub status: Status,
    /// Motion strength Ψ, pixels per frame.
    #[serde(serialize_with = "finite")]
    pub psi: Option<f64>,
    /// Standard error of Ψ over frame pairs, pixels per frame.
    #[serde(serialize_with = "finite")]
    pub psi_se: Option<f64>,
    /// Ψ of identical frames, pixels per frame.
    #[serde(serialize_with = "finite")]
    pub psi_floor_static: Option<f64>,
    /// Ψ of one frame under independent noise as strong as the frames' own change, pixels per frame.
    #[serde(serialize_with = "finite")]
    pub psi_floor_flicker: Option<f64>,
    /// Name of the flow estimator.
    pub flow: String,
    /// Automaton steps between two frames.
    pub steps_per_frame: u32,
    /// Appearance loss at the end: its mean over the last tenth of the rows of `metrics.jsonl`.
    #[serde(serialize_with = "finite")]
    pub appearance_loss: Option<f64>,
    /// Distance to the exemplar; 1 is that of two crops of the exemplar.
    #[serde(serialize_with = "finite")]
    pub texture_distance: Option<f64>,
    /// Total loss at the end: its mean over the last tenth of the rows of `metrics.jsonl`.
    #[serde(serialize_with = "finite")]
    pub loss: Option<f64>,
    /// Training iterations done.
    pub iterations: u64,
    /// Seconds of the training iterations; measuring is not counted.
    #[serde(serialize_with = "finite")]
    pub seconds: Option<f64>,
    /// Precision of products ([`nca_core::Precision`]) in training and measuring.
    pub precision: String,
    /// Device it was trained on.
    pub backend: String,
}

impl ModelRecord {
    /// Ψ of a model that has one.
    #[must_use]
    pub fn measured_psi(&self) -> Option<f64> {
        self.psi.filter(|psi| self.status == Status::Ok && psi.is_finite())
    }

    /// The motion floor, the larger Ψ of the two controls; `None` where either is missing.
    #[must_use]
    pub fn psi_floor(&self) -> Option<f64> {
        Some(self.psi_floor_static?.max(self.psi_floor_flicker?))
    }

    /// Whether Ψ is [above its floor](above_floor) by two standard errors; `None` where one of these
    /// numbers is missing. Only a model of which this is `Some(false)` is marked as not moving.
    #[must_use]
    pub fn above_floor(&self) -> Option<bool> {
        Some(above_floor(
            self.measured_psi()?,
            self.psi_se?,
            self.psi_floor_static?,
            self.psi_floor_flicker?,
        ))
    }

    /// The architecture and seed in words: `C = 12, D = 96, seed 0`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("C = {}, D = {}, seed {}", self.channels, self.hidden, self.seed)
    }
}

/// `result.json`: a finished model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultFile {
    /// Layout version, [`RESULT_FORMAT`].
    pub format: u32,
    /// Name of the appearance loss it was trained with; `none` if only for motion.
    pub appearance: String,
    /// Name of its objective: appearance, motion or both.
    #[serde(default = "appearance")]
    pub objective: String,
    /// Its row of the table.
    #[serde(flatten)]
    pub record: ModelRecord,
    /// Why it failed or diverged, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Mean flow length of every frame pair, pixels per frame; Ψ is their mean.
    pub psi_series: Vec<f64>,
}

impl ResultFile {
    /// A result in the current layout of a model trained for its appearance.
    #[must_use]
    pub fn new(record: ModelRecord, appearance: impl Into<String>, psi_series: Vec<f64>) -> Self {
        Self {
            format: RESULT_FORMAT,
            appearance: appearance.into(),
            objective: self::appearance(),
            record,
            reason: None,
            psi_series,
        }
    }
}

/// A line of `metrics.jsonl`: a moment of training.
///
/// JSON has no NaN: `null` stands for it in the losses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricRow {
    /// Iteration, counted from 1: how many have been done.
    pub iteration: u64,
    /// Total loss.
    #[serde(deserialize_with = "null_is_nan")]
    pub loss: f64,
    /// Its appearance term; NaN where the objective has none.
    #[serde(deserialize_with = "null_is_nan")]
    pub appearance_loss: f64,
    /// Its motion term, where the objective has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub motion_loss: Option<f64>,
    /// Ψ of the iteration's own frames, pixels per frame, where the objective asks for motion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psi_training: Option<f64>,
    /// Its overflow term.
    #[serde(deserialize_with = "null_is_nan")]
    pub overflow_loss: f64,
    /// Learning rate of the iteration.
    pub learning_rate: f64,
    /// Steps of its rollout, T.
    pub steps: u32,
    /// Seconds of training since the start.
    pub seconds: f64,
    /// Motion strength Ψ, pixels per frame, where it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psi: Option<f64>,
    /// Standard error of Ψ, pixels per frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psi_se: Option<f64>,
}

/// The objective of results that do not name it.
fn appearance() -> String {
    Objective::Appearance.name().to_owned()
}

fn finite<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    value.filter(|v| v.is_finite()).serialize(serializer)
}

fn null_is_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> ModelRecord {
        ModelRecord {
            texture: "bubbly".to_owned(),
            channels: 12,
            hidden: 96,
            seed: u64::MAX,
            status: Status::Ok,
            psi: Some(0.1 + 0.2),
            psi_se: Some(1e-300),
            psi_floor_static: Some(0.0),
            psi_floor_flicker: Some(0.05),
            flow: "classical".to_owned(),
            steps_per_frame: 32,
            appearance_loss: Some(f64::NAN),
            texture_distance: None,
            loss: Some(f64::INFINITY),
            iterations: 500,
            seconds: Some(12.5),
            precision: "f32".to_owned(),
            backend: "cpu".to_owned(),
        }
    }

    #[test]
    fn result_survives_json_bit_for_bit_and_drops_what_is_not_finite() {
        let written = ResultFile::new(record(), "swd", vec![0.1, 1.0 / 3.0]);
        let text = serde_json::to_string(&written).unwrap();
        assert!(!text.contains("reason"), "{text}");
        assert!(text.contains("\"psi\":0.30000000000000004"), "{text}");
        let read: ResultFile = serde_json::from_str(&text).unwrap();
        // A result without an objective was trained for its appearance.
        let older = text.replace("\"objective\":\"appearance\",", "");
        assert_ne!(older, text);
        assert_eq!(serde_json::from_str::<ResultFile>(&older).unwrap(), read);
        let mut expected = written;
        expected.record.appearance_loss = None;
        expected.record.loss = None;
        assert_eq!(read, expected);
    }

    #[test]
    fn nan_losses_survive_a_metrics_line() {
        let row = MetricRow {
            iteration: 7,
            loss: f64::NAN,
            appearance_loss: 1.5,
            motion_loss: None,
            psi_training: None,
            overflow_loss: f64::INFINITY,
            learning_rate: 1e-3,
            steps: 40,
            seconds: 0.5,
            psi: None,
            psi_se: None,
        };
        let text = serde_json::to_string(&row).unwrap();
        assert!(!text.contains("psi"), "{text}");
        let read: MetricRow = serde_json::from_str(&text).unwrap();
        assert!(read.loss.is_nan() && read.overflow_loss.is_nan());
        assert_eq!(read.appearance_loss, 1.5);
    }

    #[test]
    fn only_what_exceeds_both_floors_by_two_errors_counts_as_motion() {
        let with = |psi_se, floor_static, floor_flicker| {
            ModelRecord {
                psi: Some(1.0),
                psi_se,
                psi_floor_static: floor_static,
                psi_floor_flicker: floor_flicker,
                ..record()
            }
            .above_floor()
        };
        assert_eq!(with(Some(0.1), Some(0.0), Some(0.7)), Some(true));
        assert_eq!(with(Some(0.1), Some(0.0), Some(0.9)), Some(false));
        assert_eq!(with(Some(0.1), Some(0.9), Some(0.0)), Some(false));
        assert_eq!(with(None, Some(0.0), Some(0.7)), None);
        assert_eq!(with(Some(0.1), None, Some(0.7)), None);
        assert_eq!(with(Some(0.1), Some(0.0), None), None);
        let mut r = record();
        assert_eq!(r.above_floor(), Some(true));
        r.status = Status::Diverged;
        assert_eq!(r.above_floor(), None);
    }
}
