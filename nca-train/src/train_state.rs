//! The state of a training, and its file.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use nca_core::checkpoint::{TensorView, Tensors, read_tensors, write_tensors};
use nca_core::{Error, Grid, NcaConfig, Params, Result, param_sizes};

use crate::settings::TrainSettings;

/// Version of the file's layout.
const FORMAT: &str = "2";
/// Versions that are read. In 1, a sweep's rows of metrics are text in the metadata.
const READ: [&str; 2] = ["1", FORMAT];
const KEY_FORMAT: &str = "nca.train.format";
const KEY_ITERATION: &str = "nca.train.iteration";
/// Prefixes of the parameter-shaped tensors: weights, Adam's first and second moments.
const GROUPS: [&str; 3] = ["params", "adam.m", "adam.v"];
const POOL: &str = "pool";

/// Everything that must survive a stop, on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainState<T> {
    /// Iterations done.
    pub iteration: u64,
    /// Weights.
    pub params: Params<Vec<T>>,
    /// Adam's first moments.
    pub first_moments: Params<Vec<T>>,
    /// Adam's second moments.
    pub second_moments: Params<Vec<T>>,
    /// Pool, `[P,C,H,W]`.
    pub pool: Vec<T>,
}

impl TrainState<f32> {
    /// Writes the state to a safetensors file, which is never there in part: what was at `path` before is replaced once all
    /// is written. With [`TrainState::load`] and [`Trainer::restore`](crate::Trainer::restore) a training goes on as if it
    /// had not stopped.
    ///
    /// ```
    /// use nca_core::{Nca, Preset, cpu::Cpu};
    /// use nca_train::{PatchLoss, PatchSettings, Texture, TrainSettings, TrainState, Trainer};
    ///
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("training.safetensors");
    /// let backend = Cpu::new()?;
    /// let texture = Texture::resolve("bubbly", None, 16)?;
    /// let nca = Nca::preset(Preset::Paper, 8, 16, 0)?;
    /// let small = TrainSettings { size: 16, pool: 8, steps_min: 4, steps_max: 8, ..TrainSettings::preset(Preset::Paper) };
    /// let trainer = || -> nca_core::Result<_> {
    ///     let loss = PatchLoss::new(&backend, PatchSettings::default(), &texture, small.batch)?;
    ///     Trainer::new(&backend, &nca, small.clone(), Box::new(loss), 0)
    /// };
    /// let mut first = trainer()?;
    /// first.step()?;
    /// first.state()?.save(&path)?;
    ///
    /// let mut second = trainer()?;
    /// second.restore(&TrainState::load(&path, &nca.config, &small)?)?;
    /// assert_eq!(first.step()?.loss, second.step()?.loss);
    /// # Ok::<(), nca_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        self.save_with_extra(path, &BTreeMap::new())
    }

    /// [`TrainState::save`] with metadata of one's own; keys that start with `nca.train.` are taken.
    pub fn save_with_extra(&self, path: &Path, extra: &BTreeMap<String, String>) -> Result<()> {
        self.save_with(path, extra, None)
    }

    /// [`TrainState::save_with_extra`], and with a tensor of one's own.
    pub(crate) fn save_with(
        &self,
        path: &Path,
        extra: &BTreeMap<String, String>,
        tensor: Option<TensorView<'_>>,
    ) -> Result<()> {
        let groups = [&self.params, &self.first_moments, &self.second_moments];
        let mut tensors = Vec::new();
        for (group, params) in GROUPS.iter().zip(groups) {
            for (name, values) in Params::<()>::NAMES.iter().zip(params.iter()) {
                tensors.push(TensorView::new(format!("{group}.{name}"), &[values.len()], values));
            }
        }
        tensors.push(TensorView::new(POOL, &[self.pool.len()], &self.pool));
        tensors.extend(tensor);
        let mut metadata = extra.clone();
        metadata.insert(KEY_FORMAT.to_owned(), FORMAT.to_owned());
        metadata.insert(KEY_ITERATION.to_owned(), self.iteration.to_string());
        write_tensors(path, &tensors, &metadata)
    }

    /// Reads the state of a training of `config` under `settings`, which the file does not tell: they must be those it was
    /// written under.
    ///
    /// # Errors
    /// [`Error::Io`] where there is no such file, [`Error::Format`] if it is damaged or of an automaton, or a pool, of another
    /// size, [`Error::Invalid`] if it is of another layout.
    pub fn load(path: &Path, config: &NcaConfig, settings: &TrainSettings) -> Result<Self> {
        let mut tensors = read_tensors(path)?;
        check_format(&tensors)?;
        Self::take(&mut tensors, config, settings)
    }

    /// The state in `tensors`, of which nothing may be left.
    pub(crate) fn take(tensors: &mut Tensors, config: &NcaConfig, settings: &TrainSettings) -> Result<Self> {
        let pool_len = config.state_len(Grid::new(settings.pool, settings.size, settings.size))?;
        let iteration = number(tensors, KEY_ITERATION)?;
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
            iteration,
            params,
            first_moments,
            second_moments,
            pool,
        })
    }
}

/// Refuses files of another layout.
pub(crate) fn check_format(tensors: &Tensors) -> Result<()> {
    let format = field(tensors, KEY_FORMAT)?;
    if READ.contains(&format) {
        return Ok(());
    }
    Err(Error::invalid(
        tensors.path().display().to_string(),
        format!("a training checkpoint of format {format}"),
        format!("format {}", READ.join(" or ")),
    ))
}

/// The metadata string `key`.
pub(crate) fn field<'t>(tensors: &'t Tensors, key: &str) -> Result<&'t str> {
    tensors.metadata().get(key).map(String::as_str).ok_or_else(|| {
        let found = format!("no {key} in the metadata");
        Error::format(tensors.path(), found, "a training checkpoint")
    })
}

/// The metadata string `key` as a number.
pub(crate) fn number<N: FromStr>(tensors: &Tensors, key: &str) -> Result<N> {
    let text = field(tensors, key)?;
    text.parse()
        .map_err(|_| Error::format(tensors.path(), format!("'{text}' in {key}"), "a number"))
}
