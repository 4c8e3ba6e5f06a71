//! The weights of a flow network, on the host.

use std::collections::BTreeMap;
use std::path::Path;

use nca_core::backend::check;
use nca_core::checkpoint::{TensorView, Tensors, parse_tensors, read_tensors_any, write_tensors, write_tensors_f16};
use nca_core::philox::{PhiloxRng, Stream};
use nca_core::{Error, Result};

/// One convolution.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerWeights {
    /// Input channels, I.
    pub inputs: usize,
    /// Output channels, O.
    pub outputs: usize,
    /// Side of the kernel, k; odd.
    pub kernel: usize,
    /// `[O,I,k,k]`.
    pub weight: Vec<f32>,
    /// `[O]`.
    pub bias: Vec<f32>,
}

/// The convolutions of every pyramid level, coarsest level first.
///
/// A level sees eight channels (first frame, warped second frame, flow so far) and answers with two
/// (the correction of the flow); between them ReLU follows every layer but the last. It may do so in several rounds, each
/// with the flow of the one before.
#[derive(Clone, Debug, PartialEq)]
pub struct SpyNetWeights {
    levels: Vec<Vec<LayerWeights>>,
    /// Of each level.
    rounds: Vec<usize>,
}

/// Metadata of a file: the rounds of each level, where any has several.
const KEY_ROUNDS: &str = "spynet.rounds";

/// Names of the published files: `netBasic` since the reimplementation's second edition,
/// `moduleBasic` before.
const PREFIXES: [&str; 2] = ["netBasic", "moduleBasic"];

impl SpyNetWeights {
    /// Levels of the published network.
    pub const LEVELS: usize = 6;
    /// Channels of the published network, from input to output.
    pub const CHANNELS: [usize; 6] = [8, 32, 64, 32, 16, 2];
    /// Side of the published network's kernels.
    pub const KERNEL: usize = 7;
    /// Most levels, and most layers of a level, that a file may have.
    const MOST: usize = 16;
    /// Most rounds of a level.
    const MOST_ROUNDS: usize = 8;

    /// Weights of the given levels, which must fit together.
    pub fn new(levels: Vec<Vec<LayerWeights>>) -> Result<Self> {
        Self::check_levels(levels.len())?;
        for (l, level) in levels.iter().enumerate() {
            let mut channels = Self::CHANNELS[0];
            for (i, layer) in level.iter().enumerate() {
                let name = format!("layer {i} of level {l} of the flow network");
                let sides = [layer.outputs, layer.inputs, layer.kernel, layer.kernel];
                let weights = sides.iter().try_fold(1_usize, |len, &side| len.checked_mul(side));
                let fits = layer.inputs == channels
                    && layer.kernel % 2 == 1
                    && layer.outputs > 0
                    && Some(layer.weight.len()) == weights
                    && layer.bias.len() == layer.outputs;
                if !fits {
                    let found = format!(
                        "{} inputs, {} outputs, a kernel of side {}, {} weights and {} biases",
                        layer.inputs,
                        layer.outputs,
                        layer.kernel,
                        layer.weight.len(),
                        layer.bias.len()
                    );
                    let expected = format!("{channels} inputs, an odd kernel and as many weights as that makes");
                    return Err(Error::invalid(name, found, expected));
                }
                if let Some(v) = layer.weight.iter().chain(&layer.bias).find(|v| !v.is_finite()) {
                    return Err(Error::invalid(format!("a weight of {name}"), v, "a finite number"));
                }
                channels = layer.outputs;
            }
            if level.is_empty() || channels != 2 {
                return Err(Error::invalid(
                    format!("output of level {l} of the flow network"),
                    format!("{channels} channels"),
                    "2, the flow's x and y",
                ));
            }
        }
        let rounds = vec![1; levels.len()];
        Ok(Self { levels, rounds })
    }

    /// The same weights with this many rounds of each level, 1 to 8.
    pub fn with_rounds(self, rounds: Vec<usize>) -> Result<Self> {
        let most = Self::MOST_ROUNDS;
        if rounds.len() != self.levels.len() || rounds.iter().any(|n| !(1..=most).contains(n)) {
            let expected = format!("{} numbers from 1 to {most}, one for each level", self.levels.len());
            return Err(Error::invalid(
                "rounds of the flow network",
                format!("{rounds:?}"),
                expected,
            ));
        }
        Ok(Self { rounds, ..self })
    }

    /// How often each level is applied, coarsest first.
    #[must_use]
    pub fn rounds(&self) -> &[usize] {
        &self.rounds
    }

    /// Untrained weights for `levels` levels of the given channels, uniform in ±1/√(I·k²) (PyTorch's
    /// default), a pure function of `seed`.
    ///
    /// # Errors
    /// As [`SpyNetWeights::new`]; when there are more weights than memory could address, or than it can give.
    pub fn init(levels: usize, channels: &[usize], kernel: usize, seed: u64) -> Result<Self> {
        Self::check_levels(levels)?;
        let mut index = 0;
        let mut draw = |len: usize, bound: f64| -> Option<Vec<f32>> {
            let mut rng = PhiloxRng::new(seed, Stream::Init, index);
            index += 1;
            let mut values = Vec::new();
            values.try_reserve_exact(len).ok()?;
            values.extend((0..len).map(|_| rng.uniform_in(-bound, bound) as f32));
            Some(values)
        };
        let mut layer = |pair: &[usize]| {
            let (inputs, outputs) = (pair[0], pair[1]);
            let taps = check::elements(&[inputs, kernel, kernel]);
            let bound = 1.0 / (taps as f64).sqrt();
            let weight = draw(check::elements(&[outputs, inputs, kernel, kernel]), bound);
            weight.zip(draw(outputs, bound)).map(|(weight, bias)| LayerWeights {
                inputs,
                outputs,
                kernel,
                weight,
                bias,
            })
        };
        let levels = (0..levels)
            .map(|_| channels.windows(2).map(&mut layer).collect())
            .collect::<Option<_>>();
        Self::new(levels.ok_or_else(|| {
            Error::invalid(
                "layers of the flow network",
                format!("{channels:?} channels with kernels of side {kernel}"),
                "as many weights as memory can hold",
            )
        })?)
    }

    fn check_levels(levels: usize) -> Result<()> {
        if (1..=Self::MOST).contains(&levels) {
            return Ok(());
        }
        let expected = format!("1 to {}", Self::MOST);
        Err(Error::invalid("levels of the flow network", levels, expected))
    }

    /// The file of the weights that come with the crate.
    pub(crate) const BUILTIN: &'static [u8] = include_bytes!("../weights/spynet-synth.safetensors");

    /// The weights that come with the crate, trained by this project on synthetic scenes
    /// ([`train`](crate::train)); `weights/README.md` tells how.
    pub fn builtin() -> Result<Self> {
        Self::parse("built-in weights", Self::BUILTIN)
    }

    /// Reads a file of weights: safetensors or PyTorch's own formats, with the names of the
    /// published network (`netBasic.{level}.netBasic.{0,2,4,…}.{weight,bias}`, or `moduleBasic`).
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Self::from_tensors(read_tensors_any(path)?)
    }

    /// As [`SpyNetWeights::load`] from the bytes of a safetensors file; `name` is what messages call it.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self> {
        Self::from_tensors(parse_tensors(name, bytes)?)
    }

    fn from_tensors(mut tensors: Tensors) -> Result<Self> {
        let path = tensors.path().to_owned();
        let prefix = PREFIXES
            .into_iter()
            .find(|prefix| tensors.get(&name(prefix, 0, 0, "weight")).is_some());
        let Some(prefix) = prefix else {
            let found = format!("no tensor {}", name(PREFIXES[0], 0, 0, "weight"));
            return Err(Error::format(&path, found, "the weights of a SpyNet"));
        };
        let mut levels = Vec::new();
        while tensors.get(&name(prefix, levels.len(), 0, "weight")).is_some() && levels.len() < Self::MOST {
            let mut layers = Vec::new();
            while tensors
                .get(&name(prefix, levels.len(), layers.len(), "weight"))
                .is_some()
                && layers.len() < Self::MOST
            {
                layers.push(take_layer(&mut tensors, prefix, levels.len(), layers.len())?);
            }
            levels.push(layers);
        }
        tensors.refuse_rest()?;
        let weights = Self::new(levels).and_then(|weights| match tensors.metadata().get(KEY_ROUNDS) {
            None => Ok(weights),
            Some(text) => {
                let rounds: std::result::Result<_, _> = text.split_whitespace().map(str::parse).collect();
                let wrong = |_| Error::invalid(KEY_ROUNDS, format!("'{text}'"), "numbers");
                weights.with_rounds(rounds.map_err(wrong)?)
            }
        });
        weights.map_err(|e| e.in_file(path, "the weights of a SpyNet"))
    }

    /// Writes the weights as safetensors, atomically; `metadata` tells where they come from.
    pub fn save(&self, path: impl AsRef<Path>, metadata: &BTreeMap<String, String>) -> Result<()> {
        write_tensors(path, &self.views(""), &self.with_own(metadata))
    }

    /// As [`SpyNetWeights::save`] in half the size: the weights are rounded to f16.
    pub fn save_f16(&self, path: impl AsRef<Path>, metadata: &BTreeMap<String, String>) -> Result<()> {
        write_tensors_f16(path, &self.views(""), &self.with_own(metadata))
    }

    /// `metadata` and the rounds, where they must be told.
    fn with_own(&self, metadata: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut metadata = metadata.clone();
        metadata.remove(KEY_ROUNDS);
        if self.rounds.iter().any(|&n| n != 1) {
            let rounds: Vec<String> = self.rounds.iter().map(usize::to_string).collect();
            metadata.insert(KEY_ROUNDS.to_owned(), rounds.join(" "));
        }
        metadata
    }

    /// All tensors under the names of the published network, each after `before`.
    pub(crate) fn views(&self, before: &str) -> Vec<TensorView<'_>> {
        let mut tensors = Vec::new();
        for (l, level) in self.levels.iter().enumerate() {
            for (i, layer) in level.iter().enumerate() {
                let shape = [layer.outputs, layer.inputs, layer.kernel, layer.kernel];
                let name = |kind| format!("{before}{}", name(PREFIXES[0], l, i, kind));
                tensors.push(TensorView::new(name("weight"), &shape, &layer.weight));
                tensors.push(TensorView::new(name("bias"), &shape[..1], &layer.bias));
            }
        }
        tensors
    }

    /// Replaces every tensor by the one that [`SpyNetWeights::views`] names so, of the same shape.
    pub(crate) fn take_views(&mut self, tensors: &mut Tensors, before: &str) -> Result<()> {
        for (l, level) in self.levels.iter_mut().enumerate() {
            for (i, layer) in level.iter_mut().enumerate() {
                let shape = [layer.outputs, layer.inputs, layer.kernel, layer.kernel];
                let name = |kind| format!("{before}{}", name(PREFIXES[0], l, i, kind));
                layer.weight = tensors.take_shaped(&name("weight"), &shape)?;
                layer.bias = tensors.take_shaped(&name("bias"), &shape[..1])?;
            }
        }
        Ok(())
    }

    /// The levels, coarsest first, each from input to output.
    #[must_use]
    pub fn levels(&self) -> &[Vec<LayerWeights>] {
        &self.levels
    }

    /// As [`SpyNetWeights::levels`], mutably; the shapes must stay.
    pub(crate) fn levels_mut(&mut self) -> &mut [Vec<LayerWeights>] {
        &mut self.levels
    }
}

/// Name of a tensor; a ReLU stands between two layers and takes a number too.
fn name(prefix: &str, level: usize, layer: usize, kind: &str) -> String {
    format!("{prefix}.{level}.{prefix}.{}.{kind}", 2 * layer)
}

fn take_layer(tensors: &mut Tensors, prefix: &str, level: usize, layer: usize) -> Result<LayerWeights> {
    let key = name(prefix, level, layer, "weight");
    let tensor = tensors.take(&key)?;
    let [outputs, inputs, kernel, width] = tensor.shape[..] else {
        let found = format!("tensor {key} of shape {:?}", tensor.shape);
        return Err(Error::format(tensors.path(), found, "four dimensions"));
    };
    if kernel != width {
        let found = format!("tensor {key} of shape {:?}", tensor.shape);
        return Err(Error::format(tensors.path(), found, "a square kernel"));
    }
    Ok(LayerWeights {
        inputs,
        outputs,
        kernel,
        weight: tensor.values,
        bias: tensors.take_shaped(&name(prefix, level, layer, "bias"), &[outputs])?,
    })
}
