//! The checkpoint of a model in training.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use nca_core::checkpoint::{TensorView, Tensors, read_tensors, write_tensors};
use nca_core::{Error, NcaConfig, Params, Result, param_sizes};

use super::inputs::changed;
use crate::report::MetricRow;
use crate::trainer::TrainState;

/// Version of the checkpoint's layout.
const FORMAT: &str = "1";
const KEY_FORMAT: &str = "nca.train.format";
const KEY_ITERATION: &str = "nca.train.iteration";
const KEY_SECONDS: &str = "nca.train.seconds";
const KEY_SETTINGS: &str = "nca.train.settings";
const KEY_METRICS: &str = "nca.train.metrics";
/// Prefixes of the parameter-shaped tensors: weights, Adam's first and second moments.
const GROUPS: [&str; 3] = ["params", "adam.m", "adam.v"];
const POOL: &str = "pool";

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
        let state = &self.state;
        let groups = [&state.params, &state.first_moments, &state.second_moments];
        let mut tensors = Vec::new();
        for (group, params) in GROUPS.iter().zip(groups) {
            for (name, values) in Params::<()>::NAMES.iter().zip(params.iter()) {
                tensors.push(TensorView::new(format!("{group}.{name}"), &[values.len()], values));
            }
        }
        tensors.push(TensorView::new(POOL, &[state.pool.len()], &state.pool));
        let metrics = serde_json::to_string(&self.metrics).map_err(|e| Error::format(path, e, "metrics as JSON"))?;
        let metadata = BTreeMap::from([
            (KEY_FORMAT.to_owned(), FORMAT.to_owned()),
            (KEY_ITERATION.to_owned(), state.iteration.to_string()),
            (KEY_SECONDS.to_owned(), self.seconds.to_string()),
            (KEY_SETTINGS.to_owned(), settings.to_owned()),
            (KEY_METRICS.to_owned(), metrics),
        ]);
        write_tensors(path, &tensors, &metadata)
    }

    /// Reads the checkpoint of a model `config` with a pool of `pool_len` elements.
    ///
    /// # Errors
    /// [`Error::Format`] if the file is damaged, [`Error::Invalid`] if it was made under other settings, or is of another
    /// layout.
    pub(super) fn load(path: &Path, config: &NcaConfig, pool_len: usize, settings: &str) -> Result<Self> {
        let mut tensors = read_tensors(path)?;
        let format = field(&tensors, KEY_FORMAT)?;
        if format != FORMAT {
            let found = format!("a training checkpoint of format {format}");
            return Err(Error::invalid(
                path.display().to_string(),
                found,
                format!("format {FORMAT}"),
            ));
        }
        if let Some(found) = changed(field(&tensors, KEY_SETTINGS)?, settings) {
            return Err(Error::invalid(
                path.display().to_string(),
                format!("a checkpoint of other settings ({found})"),
                "one of this sweep's; go on with what it was made with, or delete it to train the model from the start",
            ));
        }
        let iteration = number(&tensors, KEY_ITERATION)?;
        let seconds = number(&tensors, KEY_SECONDS)?;
        let metrics = serde_json::from_str(field(&tensors, KEY_METRICS)?)
            .map_err(|e| Error::format(path, format!("metrics that end in '{e}'"), "a JSON list of metric rows"))?;
        let sizes = param_sizes(config);
        let mut group = |group: &str| {
            let mut names = Params::<()>::NAMES.iter();
            sizes.try_map(|&len| {
                let name = names.next().copied().unwrap_or_default();
                tensors.take_shaped(&format!("{group}.{name}"), &[len])
            })
        };
        let [params, first_moments, second_moments] = [group(GROUPS[0])?, group(GROUPS[1])?, group(GROUPS[2])?];
        let pool = tensors.take_shaped(POOL, &[pool_len])?;
        tensors.refuse_rest()?;
        Ok(Self {
            state: TrainState {
                iteration,
                params,
                first_moments,
                second_moments,
                pool,
            },
            metrics,
            seconds,
        })
    }
}

/// The metadata string `key`.
fn field<'t>(tensors: &'t Tensors, key: &str) -> Result<&'t str> {
    tensors.metadata().get(key).map(String::as_str).ok_or_else(|| {
        let found = format!("no {key} in the metadata");
        Error::format(tensors.path(), found, "a training checkpoint")
    })
}

/// The metadata string `key` as a number.
fn number<N: FromStr>(tensors: &Tensors, key: &str) -> Result<N> {
    let text = field(tensors, key)?;
    text.parse()
        .map_err(|_| Error::format(tensors.path(), format!("'{text}' in {key}"), "a number"))
}
