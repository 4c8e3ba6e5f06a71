//! The automaton's own file format: see the [module documentation](super).

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::any::read_tensors_any;
use super::order::{Conventions, PerceptionOrder};
use super::safetensors::write_tensors;
use super::tensors::{TensorView, Tensors};
use crate::config::{NcaConfig, Preset};
use crate::error::{Error, Result};
use crate::model::Nca;
use crate::params::HostParams;

/// Version of the model file that is written, and the newest that is read.
pub const FORMAT: u32 = 1;
/// Metadata key of the version.
pub const KEY_FORMAT: &str = "nca.format";
/// Metadata key of the configuration.
pub const KEY_CONFIG: &str = "nca.config";
/// Metadata key of the order of the columns of `w1.weight`.
pub const KEY_PERCEPTION_ORDER: &str = "nca.perception_order";

/// Keys beginning so are this module's own.
const RESERVED: &str = "nca.";
/// Tensor names of bare files, beside those of [`HostParams::NAMES`].
const BARE_NAMES: [&str; 4] = ["w1", "b1", "w2", "b2"];

impl Nca {
    /// Writes the automaton to `path`, atomically.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Invalid`] if the automaton does not pass [`Nca::validate`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.save_with_extra(path, &BTreeMap::new())
    }

    /// As [`Nca::save`], with `extra` in the metadata.
    ///
    /// # Errors
    /// Those of [`Nca::save`], and [`Error::Invalid`] if a key of `extra` begins with `nca.`.
    pub fn save_with_extra(&self, path: impl AsRef<Path>, extra: &BTreeMap<String, String>) -> Result<()> {
        self.validate()?;
        if let Some(key) = extra.keys().find(|key| key.starts_with(RESERVED)) {
            return Err(Error::invalid(
                "metadata key",
                key,
                format!("one that does not begin with {RESERVED}"),
            ));
        }
        let config = serde_json::to_string(&self.config).map_err(|e| Error::invalid("configuration", e, "JSON"))?;
        let mut metadata = extra.clone();
        metadata.insert(KEY_FORMAT.to_owned(), FORMAT.to_string());
        metadata.insert(KEY_CONFIG.to_owned(), config);
        metadata.insert(
            KEY_PERCEPTION_ORDER.to_owned(),
            PerceptionOrder::KernelMajor.name().to_owned(),
        );
        let tensors: Vec<_> = HostParams::NAMES
            .into_iter()
            .zip(shapes(&self.config))
            .zip(self.params.iter())
            .map(|((name, shape), values)| TensorView::new(name, &shape, values))
            .collect();
        write_tensors(path, &tensors, &metadata)
    }

    /// Reads an automaton.
    ///
    /// A file that states its configuration needs no conventions (`None`); if a preset is given, its perception
    /// kernels must be those of the file. A bare file, a PyTorch `state_dict` included, takes everything
    /// but C, D and the presence of b2 from the preset, and the order of the columns of w1 from
    /// [`Conventions::order`].
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Format`], which names the file, what was found and what was expected.
    pub fn load(path: impl AsRef<Path>, conventions: impl Into<Conventions>) -> Result<Self> {
        Ok(Self::load_with_extra(path, conventions)?.0)
    }

    /// As [`Nca::load`], and the metadata that [`Nca::save_with_extra`] was given.
    ///
    /// # Errors
    /// Those of [`Nca::load`].
    pub fn load_with_extra(
        path: impl AsRef<Path>,
        conventions: impl Into<Conventions>,
    ) -> Result<(Self, BTreeMap<String, String>)> {
        let Conventions { preset, order } = conventions.into();
        let mut tensors = read_tensors_any(path)?;
        let stated = stated_config(&tensors)?;
        if let (Some(stated), Some(preset)) = (&stated, preset)
            && stated.perception != NcaConfig::preset(preset, stated.channels, stated.hidden)?.perception
        {
            return Err(Error::format(
                tensors.path(),
                "perception kernels in its metadata that are not those of the preset",
                format!("those of the preset given, --perception {preset} (without one the file's own are used)"),
            ));
        }
        let order = column_order(&tensors, stated.is_some(), order)?;
        let config = match stated {
            Some(config) => config,
            None => bare_config(&tensors, preset)?,
        };
        let params = take_params(&mut tensors, &config, order)?;
        let mut extra = tensors.metadata().clone();
        extra.retain(|key, _| !key.starts_with(RESERVED));
        Ok((Self { config, params }, extra))
    }
}

/// Shapes of the tensors of `config`, in the order of [`HostParams::NAMES`].
fn shapes(config: &NcaConfig) -> [Vec<usize>; 4] {
    let (c, d, kc) = (config.channels, config.hidden, config.perceived());
    [vec![d, kc, 1, 1], vec![d], vec![c, d, 1, 1], vec![c]]
}

/// The configuration in the metadata, `None` for a bare file.
fn stated_config(tensors: &Tensors) -> Result<Option<NcaConfig>> {
    let (path, metadata) = (tensors.path(), tensors.metadata());
    let (format, config) = match (metadata.get(KEY_FORMAT), metadata.get(KEY_CONFIG)) {
        (None, None) => return Ok(None),
        (Some(format), Some(config)) => (format, config),
        (Some(_), None) => return Err(missing_key(path, KEY_CONFIG)),
        (None, Some(_)) => return Err(missing_key(path, KEY_FORMAT)),
    };
    match format.parse::<u32>() {
        Ok(1..=FORMAT) => {}
        Ok(newer) if newer > FORMAT => {
            return Err(Error::format(
                path,
                format!("model format {newer}, written by a newer version of this program"),
                format!("format {FORMAT} at most"),
            ));
        }
        _ => {
            return Err(Error::format(
                path,
                format!("{KEY_FORMAT} = {format:?}"),
                format!("a format number from 1 to {FORMAT}"),
            ));
        }
    }
    let config: NcaConfig = serde_json::from_str(config).map_err(|e| {
        Error::format(
            path,
            format!("{KEY_CONFIG} that cannot be read ({e})"),
            "a configuration",
        )
    })?;
    config.validate().map_err(|e| e.in_file(path, "a valid model"))?;
    Ok(Some(config))
}

fn missing_key(path: &Path, key: &str) -> Error {
    Error::format(path, format!("metadata without {key}"), format!("a key {key}"))
}

/// The order of the columns of w1: that of the metadata, or `given`. A file that states its configuration must state its order
/// too.
fn column_order(tensors: &Tensors, required: bool, given: Option<PerceptionOrder>) -> Result<PerceptionOrder> {
    match PerceptionOrder::stated_by(tensors)? {
        Some(stated) => Ok(stated),
        None if required => Err(missing_key(tensors.path(), KEY_PERCEPTION_ORDER)),
        None => Ok(given.unwrap_or_default()),
    }
}

/// The configuration of a bare file: `preset`, with C, D and the presence of b2 from the tensors.
fn bare_config(tensors: &Tensors, preset: Option<Preset>) -> Result<NcaConfig> {
    let path = tensors.path();
    let [w1, _, w2, b2] = names_in(tensors).map(|name| tensors.get(name));
    let (Some(w1), Some(w2)) = (w1, w2) else {
        return Err(Error::format(
            path,
            format!("tensors {}", list(tensors.iter().map(|(name, _)| name))),
            format!("a model: {} or {}", HostParams::NAMES.join(", "), BARE_NAMES.join(", ")),
        ));
    };
    let Some(preset) = preset else {
        return Err(Error::format(
            path,
            "a bare model, without its configuration",
            format!(
                "a preset, --perception {}, to say how its weights are meant",
                list(Preset::ALL.map(Preset::name))
            ),
        ));
    };
    let rows = |shape: &[usize]| shape.first().copied().unwrap_or(0);
    let mut config =
        NcaConfig::preset(preset, rows(&w2.shape), rows(&w1.shape)).map_err(|e| e.in_file(path, "a valid model"))?;
    config.output_bias = b2.is_some();
    Ok(config)
}

/// The names the parameters go by in this file.
fn names_in(tensors: &Tensors) -> [&'static str; 4] {
    let bare = tensors.get(BARE_NAMES[0]).is_some() && tensors.get(HostParams::NAMES[0]).is_none();
    if bare { BARE_NAMES } else { HostParams::NAMES }
}

/// "a, b, c", or "none".
fn list<S: fmt::Display>(items: impl IntoIterator<Item = S>) -> String {
    const MOST: usize = 8;
    let mut names: Vec<_> = items.into_iter().take(MOST + 1).map(|item| item.to_string()).collect();
    if names.is_empty() {
        return "none".to_owned();
    }
    if names.len() > MOST {
        names[MOST] = "…".to_owned();
    }
    names.join(", ")
}

/// Takes the weights, checking that they are the ones `config` needs, finite and nothing else.
fn take_params(tensors: &mut Tensors, config: &NcaConfig, order: PerceptionOrder) -> Result<HostParams> {
    let names = names_in(tensors);
    let shapes = shapes(config);
    let mut take = |index: usize| take_weights(tensors, names[index], &shapes[index]);
    let params = HostParams {
        w1: order.to_kernel_major(config, take(0)?),
        b1: take(1)?,
        w2: take(2)?,
        b2: config.output_bias.then(|| take(3)).transpose()?,
    };
    tensors.refuse_rest()?;
    Ok(params)
}

/// Takes tensor `name` of the given shape, or of that shape without the trailing ones of a 1×1
/// convolution.
fn take_weights(tensors: &mut Tensors, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
    let matrix = shape.get(..2).filter(|_| shape.len() == 4);
    let flat = matrix.filter(|&matrix| tensors.get(name).is_some_and(|tensor| tensor.shape == matrix));
    let values = tensors.take_shaped(name, flat.unwrap_or(shape))?;
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(values),
        Some(at) => Err(Error::format(
            tensors.path(),
            format!("{} at element {at} of tensor {name}", values[at]),
            "finite weights",
        )),
    }
}
