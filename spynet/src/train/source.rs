//! Examples from the synthetic scenes.

use std::collections::BTreeMap;

use nca_core::{Error, Result};

use super::batch::{Example, ExampleSource};
use super::recipe::Recipe;
use crate::synth::{Synth, SynthSettings};

/// [`Synth`] for each size that a recipe asks for.
#[derive(Clone, Debug)]
pub struct SynthSource {
    /// By rows and columns.
    sizes: BTreeMap<(usize, usize), Synth>,
    description: String,
}

impl SynthSource {
    /// Scenes by `settings`, whose size is replaced by those of the recipe's stages; `rasters` names the
    /// pictures in the settings.
    pub fn new(recipe: &Recipe, settings: &SynthSettings, rasters: &[String]) -> Result<Self> {
        let mut sizes = BTreeMap::new();
        for stage in &recipe.stages {
            let settings = SynthSettings {
                height: stage.height,
                width: stage.width,
                ..settings.clone()
            };
            sizes.insert((stage.height, stage.width), Synth::new(settings)?);
        }
        let mix: Vec<String> = settings
            .mix
            .iter()
            .map(|(kind, share)| format!("{} {share}", kind.name()))
            .collect();
        let description = format!(
            "synthetic scenes ({}), still {}, {} px to {} of the width, nuisance {}, pictures: {}",
            mix.join(", "),
            settings.still,
            settings.slowest,
            settings.fastest,
            settings.nuisance,
            if rasters.is_empty() {
                "none".to_owned()
            } else {
                rasters.join(", ")
            }
        );
        Ok(Self { sizes, description })
    }
}

impl ExampleSource for SynthSource {
    fn describe(&self) -> String {
        self.description.clone()
    }

    fn example(&self, height: usize, width: usize, seed: u64, index: u64) -> Result<Example> {
        let Some(synth) = self.sizes.get(&(height, width)) else {
            return Err(Error::invalid(
                "size of synthetic frames",
                format!("{width}x{height}"),
                "a size of the recipe",
            ));
        };
        let pair = synth.pair(seed, index);
        Ok(Example {
            height,
            width,
            first: pair.first,
            second: pair.second,
            flow: pair.flow,
        })
    }
}
