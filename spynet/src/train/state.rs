//! The checkpoint of a training.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use nca_core::checkpoint::{Tensors, read_tensors, write_tensors};
use nca_core::{Error, Result};

use super::recipe::Recipe;
use super::run::{LogRow, csv_of, rows_of};
use crate::weights::SpyNetWeights;

/// Version of the checkpoint's layout.
const FORMAT: &str = "1";
const KEY_FORMAT: &str = "spynet.train.format";
const KEY_RECIPE: &str = "spynet.train.recipe";
const KEY_STAGE: &str = "spynet.train.stage";
const KEY_ITERATION: &str = "spynet.train.iteration";
const KEY_LOSSES: &str = "spynet.train.losses";
const KEY_SECONDS: &str = "spynet.train.seconds";
const KEY_LOG: &str = "spynet.train.log";
/// Before the names of Adam's moments.
const MOMENTS: [&str; 2] = ["adam.m.", "adam.v."];

/// Everything that must survive a stop.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainState {
    /// Stage, counted from 0; the number of stages once all are done.
    pub stage: usize,
    /// Iterations done in it.
    pub iteration: u64,
    /// Weights.
    pub weights: SpyNetWeights,
    /// Adam's first and second moments.
    pub moments: [SpyNetWeights; 2],
    /// Sum and number of the losses since the last row of the log.
    pub losses: (f64, u64),
    /// The log so far.
    pub log: Vec<LogRow>,
    /// Seconds of training so far.
    pub seconds: f64,
}

impl TrainState {
    /// Untrained weights.
    pub fn new(recipe: &Recipe) -> Result<Self> {
        let weights = recipe.initial_weights()?;
        let mut zeros = weights.clone();
        for layer in zeros.levels_mut().iter_mut().flatten() {
            layer.weight.fill(0.0);
            layer.bias.fill(0.0);
        }
        Ok(Self {
            stage: 0,
            iteration: 0,
            weights,
            moments: [zeros.clone(), zeros],
            losses: (0.0, 0),
            log: Vec::new(),
            seconds: 0.0,
        })
    }

    /// Writes the checkpoint atomically; `made_by` is the recipe and the data, without which it is not
    /// read back.
    pub fn save(&self, path: &Path, made_by: &str) -> Result<()> {
        let mut tensors = self.weights.views("");
        for (name, moments) in MOMENTS.iter().zip(&self.moments) {
            tensors.extend(moments.views(name));
        }
        let metadata = BTreeMap::from(
            [
                (KEY_FORMAT, FORMAT.to_owned()),
                (KEY_RECIPE, made_by.to_owned()),
                (KEY_STAGE, self.stage.to_string()),
                (KEY_ITERATION, self.iteration.to_string()),
                (KEY_LOSSES, format!("{} {}", self.losses.0, self.losses.1)),
                (KEY_SECONDS, self.seconds.to_string()),
                (KEY_LOG, csv_of(&self.log)?),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        );
        write_tensors(path, &tensors, &metadata)
    }

    /// Reads the checkpoint of a training by `recipe`.
    pub fn load(path: &Path, recipe: &Recipe, made_by: &str) -> Result<Self> {
        let mut tensors = read_tensors(path)?;
        let format = field(&tensors, KEY_FORMAT)?;
        if format != FORMAT {
            let found = format!("flow training checkpoint format {format}");
            return Err(Error::format(path, found, format!("format {FORMAT}")));
        }
        if field(&tensors, KEY_RECIPE)? != made_by {
            return Err(Error::format(
                path,
                "a checkpoint of another recipe",
                "one of the recipe asked for; resume with the flags of the first run",
            ));
        }
        let losses = field(&tensors, KEY_LOSSES)?;
        let losses = losses
            .split_once(' ')
            .and_then(|(sum, count)| Some((sum.parse().ok()?, count.parse().ok()?)))
            .ok_or_else(|| Error::format(path, format!("'{losses}' in {KEY_LOSSES}"), "a sum and a count"))?;
        let mut state = Self {
            stage: number(&tensors, KEY_STAGE)?,
            iteration: number(&tensors, KEY_ITERATION)?,
            losses,
            log: rows_of(path, field(&tensors, KEY_LOG)?)?,
            seconds: number(&tensors, KEY_SECONDS)?,
            ..Self::new(recipe)?
        };
        state.weights.take_views(&mut tensors, "")?;
        for (name, moments) in MOMENTS.iter().zip(&mut state.moments) {
            moments.take_views(&mut tensors, name)?;
        }
        tensors.refuse_rest()?;
        let fits = match recipe.stages.get(state.stage) {
            Some(stage) => state.iteration <= stage.iterations,
            None => state.stage == recipe.stages.len() && state.iteration == 0,
        };
        if !fits {
            let found = format!("iteration {} of stage {}", state.iteration, state.stage + 1);
            return Err(Error::format(path, found, "an iteration of the recipe"));
        }
        Ok(state)
    }
}

/// The metadata string `key`.
fn field<'t>(tensors: &'t Tensors, key: &str) -> Result<&'t str> {
    tensors.metadata().get(key).map(String::as_str).ok_or_else(|| {
        let found = format!("no {key} in the metadata");
        Error::format(tensors.path(), found, "a checkpoint of a flow training")
    })
}

/// The metadata string `key` as a number.
fn number<N: FromStr>(tensors: &Tensors, key: &str) -> Result<N> {
    let text = field(tensors, key)?;
    text.parse()
        .map_err(|_| Error::format(tensors.path(), format!("'{text}' in {key}"), "a number"))
}
