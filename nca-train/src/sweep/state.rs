//! The checkpoint of a model in training.

use std::collections::BTreeMap;
use std::path::Path;

use nca_core::checkpoint::read_tensors;
use nca_core::{Error, NcaConfig, Result};

use super::inputs::changed;
use crate::report::MetricRow;
use crate::settings::TrainSettings;
use crate::train_state::{TrainState, check_format, field, number};

const KEY_SECONDS: &str = "nca.train.seconds";
const KEY_SETTINGS: &str = "nca.train.settings";
const KEY_METRICS: &str = "nca.train.metrics";

/// A training state with what its model directory shows of it.
pub(super) struct Checkpoint {
    pub(super) state: TrainState<f32>,
    pub(super) metrics: Vec<MetricRow>,
    /// Seconds of training so far.
    pub(super) seconds: f64,
}

impl Checkpoint {
    /// Writes the checkpoint atomically. `settings` is the text of the model's `config.json`: it is read back only
    /// under the same settings.
    pub(super) fn save(&self, path: &Path, settings: &str) -> Result<()> {
        let metrics = serde_json::to_string(&self.metrics).map_err(|e| Error::format(path, e, "metrics as JSON"))?;
        let extra = BTreeMap::from([
            (KEY_SECONDS.to_owned(), self.seconds.to_string()),
            (KEY_SETTINGS.to_owned(), settings.to_owned()),
            (KEY_METRICS.to_owned(), metrics),
        ]);
        self.state.save_with_extra(path, &extra)
    }

    /// Reads the checkpoint of a model `config` that is trained as `train` says.
    ///
    /// # Errors
    /// [`Error::Format`] if the file is damaged, [`Error::Invalid`] if it was made under other settings, or is of another
    /// layout.
    pub(super) fn load(path: &Path, config: &NcaConfig, train: &TrainSettings, settings: &str) -> Result<Self> {
        let mut tensors = read_tensors(path)?;
        check_format(&tensors)?;
        if let Some(found) = changed(field(&tensors, KEY_SETTINGS)?, settings) {
            return Err(Error::invalid(
                path.display().to_string(),
                format!("a checkpoint of other settings ({found})"),
                "one of this sweep's; go on with what it was made with, or delete it to train the model from the start",
            ));
        }
        let seconds = number(&tensors, KEY_SECONDS)?;
        let metrics = serde_json::from_str(field(&tensors, KEY_METRICS)?)
            .map_err(|e| Error::format(path, format!("metrics that end in '{e}'"), "a JSON list of metric rows"))?;
        Ok(Self {
            state: TrainState::take(&mut tensors, config, train)?,
            metrics,
            seconds,
        })
    }
}
