//! What the page is told, as JSON. Names are those of the page's scripts.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::RgbImage;
use nca_core::{Error, Nca, NcaConfig, Padding, Perception, Result, RgbMap, SeedState};
use serde::Serialize;

use super::curve::Curve;
use super::sweep::SweepData;
use super::weights::pack;
use crate::picture::encode_png;

/// The whole page.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageData {
    pub(super) title: String,
    pub(super) textures: Vec<TextureData>,
    pub(super) models: Vec<ModelData>,
    /// The conventions that models refer to, each once.
    pub(super) conventions: Vec<Conventions>,
    /// The sweep that the models are of.
    pub(super) sweep: Option<SweepData>,
}

/// What models were to look like.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TextureData {
    pub(super) name: String,
    /// Rows and columns of the grid that its models run on at first.
    pub(super) height: usize,
    pub(super) width: usize,
    /// A picture, as a `data:` address.
    pub(super) target: Option<String>,
}

/// A model. Lengths are pixels per frame.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ModelData {
    /// Index of its texture.
    pub(super) texture: usize,
    pub(super) channels: usize,
    pub(super) hidden: usize,
    /// Seed of its run, in words: a script's numbers have 53 bits.
    pub(super) seed: String,
    /// Index of its block of weights; without one it cannot be run here.
    pub(super) weights: Option<usize>,
    /// Why it cannot be run here.
    pub(super) dead: Option<String>,
    /// Index of its conventions.
    pub(super) conventions: usize,
    pub(super) status: &'static str,
    /// Motion strength Ψ and its standard error.
    pub(super) psi: Option<f64>,
    pub(super) psi_se: Option<f64>,
    /// Whether Ψ is above its motion floor, if that is known.
    pub(super) above_floor: Option<bool>,
    /// Texture distance.
    pub(super) distance: Option<f64>,
    /// Last frame, and the flow from the one before, as `data:` addresses.
    pub(super) frame: Option<String>,
    pub(super) flow: Option<String>,
    pub(super) curve: Option<Curve>,
}

/// What the automata of a page share: all but C, D and the weights.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Conventions {
    kernels: Vec<Vec<f64>>,
    padding: Padding,
    fire_rate: f64,
    clamp: Option<f64>,
    /// Of an affine map; without one the colours are stretched frame by frame.
    rgb: Option<Affine>,
    seed: SeedState,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Affine {
    scale: f64,
    offset: f64,
}

impl Conventions {
    fn of(config: &NcaConfig) -> Self {
        let NcaConfig {
            perception: Perception { kernels },
            ..
        } = config;
        Self {
            kernels: kernels.iter().map(|kernel| kernel.concat()).collect(),
            padding: config.padding,
            fire_rate: config.fire_rate,
            clamp: config.clamp,
            rgb: match config.rgb {
                RgbMap::Affine { scale, offset } => Some(Affine { scale, offset }),
                RgbMap::MinMax => None,
            },
            seed: config.seed,
        }
    }
}

/// The automata of a page.
#[derive(Debug, Default)]
pub(super) struct Automata {
    pub(super) conventions: Vec<Conventions>,
    /// Their weights, packed.
    pub(super) weights: Vec<String>,
}

impl Automata {
    /// Adds `nca`; the index of its weights and that of its conventions.
    pub(super) fn add(&mut self, nca: &Nca) -> Result<(usize, usize)> {
        self.weights.push(pack(nca)?);
        let conventions = Conventions::of(&nca.config);
        let known = self.conventions.iter().position(|known| *known == conventions);
        let index = known.unwrap_or_else(|| {
            self.conventions.push(conventions);
            self.conventions.len() - 1
        });
        Ok((self.weights.len() - 1, index))
    }
}

/// A picture as the address of itself.
pub(super) fn png_address(picture: &RgbImage) -> Result<String> {
    let mut bytes = Vec::new();
    encode_png(picture, &mut bytes).map_err(|e| Error::invalid("picture", e, "one that can be written as PNG"))?;
    Ok(format!("data:image/png;base64,{}", BASE64_STANDARD.encode(bytes)))
}
