//! Examples from the synthetic scenes.

use nca_core::{Error, Result};

use super::batch::{Example, ExampleSource};
use super::recipe::Recipe;
use super::stage::{Scenes, Stage};
use crate::synth::{Kind, Synth, SynthSettings};

/// [`Synth`] for each size that a recipe asks for.
#[derive(Clone, Debug)]
pub struct SynthSource {
    /// By what stages ask for.
    scenes: Vec<(Asked, Synth)>,
    description: String,
}

/// Rows, columns, slowest motion and what to show.
type Asked = (usize, usize, f64, Scenes);

fn asked(stage: &Stage) -> Asked {
    (stage.height, stage.width, stage.slowest, stage.scenes)
}

/// Scenes like photographs, half of them.
fn photographic(settings: &SynthSettings) -> SynthSettings {
    SynthSettings {
        photographic: 0.5,
        nuisance: 0.5 * settings.nuisance,
        ..settings.clone()
    }
}

/// How often a kind of scene occurs among enlarged ones, as a multiple of how often else: twice as often where one texture
/// moves, or does not, half as often where pieces hide it. Where nothing is to be seen, most then moves as it does beside it.
fn whole(kind: Kind) -> f64 {
    match kind {
        Kind::Still | Kind::Translation | Kind::Affine | Kind::Smooth => 2.0,
        Kind::Torus => 1.0,
        Kind::Layers | Kind::Chairs => 0.5,
    }
}

impl SynthSource {
    /// Scenes by `settings`, whose size and slowest motion are those of the recipe's stages; `rasters`
    /// names the pictures in the settings.
    pub fn new(recipe: &Recipe, settings: &SynthSettings, rasters: &[String]) -> Result<Self> {
        let mut scenes: Vec<(Asked, Synth)> = Vec::new();
        for stage in &recipe.stages {
            if scenes.iter().all(|(key, _)| *key != asked(stage)) {
                let settings = match stage.scenes {
                    Scenes::All => settings.clone(),
                    Scenes::Photographic => photographic(settings),
                    Scenes::Enlarged => SynthSettings {
                        enlarged: 0.5,
                        mix: settings
                            .mix
                            .iter()
                            .map(|&(kind, share)| (kind, share * whole(kind)))
                            .collect(),
                        ..photographic(settings)
                    },
                    Scenes::Clear => SynthSettings {
                        mix: vec![(Kind::Translation, 2.0), (Kind::Smooth, 1.0)],
                        still: 0.0,
                        nuisance: 0.0,
                        ..settings.clone()
                    },
                };
                let settings = SynthSettings {
                    height: stage.height,
                    width: stage.width,
                    slowest: stage.slowest,
                    ..settings
                };
                scenes.push((asked(stage), Synth::new(settings)?));
            }
        }
        let mix: Vec<String> = settings
            .mix
            .iter()
            .map(|(kind, share)| format!("{} {share}", kind.name()))
            .collect();
        let description = format!(
            "synthetic scenes (clear: translations and bends alone; all: {}), still {}, motions up to {} of the width, nuisance {}, pictures: {}",
            mix.join(", "),
            settings.still,
            settings.fastest,
            settings.nuisance,
            if rasters.is_empty() {
                "none".to_owned()
            } else {
                rasters.join(", ")
            }
        );
        Ok(Self { scenes, description })
    }
}

impl ExampleSource for SynthSource {
    fn describe(&self) -> String {
        self.description.clone()
    }

    fn example(&self, stage: &Stage, seed: u64, index: u64) -> Result<Example> {
        let Some((_, synth)) = self.scenes.iter().find(|(key, _)| *key == asked(stage)) else {
            return Err(Error::invalid(
                "stage to make examples for",
                stage,
                "one of the recipe's",
            ));
        };
        let pair = synth.pair(seed, index);
        Ok(Example {
            height: pair.height,
            width: pair.width,
            first: pair.first,
            second: pair.second,
            flow: pair.flow,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// About half of the pairs of photographic scenes have the values of files, of others none; where half of the textures
    /// are enlarged, neighbours differ by less.
    #[test]
    fn scenes_are_what_a_stage_asks_for() {
        let mut recipe = Recipe::quick(0).up_to(1);
        recipe.stages.truncate(1);
        recipe.stages[0].scenes = Scenes::All;
        for scenes in [Scenes::Photographic, Scenes::Enlarged] {
            recipe.stages.push(Stage {
                scenes,
                ..recipe.stages[0].clone()
            });
        }
        let source = SynthSource::new(&recipe, &SynthSettings::default(), &[]).unwrap();
        let rounded = |stage: &Stage| {
            let is_rounded = |index: &u64| {
                let example = source.example(stage, 5, *index).unwrap();
                example
                    .first
                    .iter()
                    .all(|v| (v * 255.0).fract().min(1.0 - (v * 255.0).fract()) < 1e-3)
            };
            (0..40).filter(is_rounded).count()
        };
        assert_eq!(rounded(&recipe.stages[0]), 0);
        for stage in &recipe.stages[1..] {
            let half = rounded(stage);
            assert!((12..=28).contains(&half), "{half} of {stage}");
        }
        // Whole textures alone, as often in both.
        let settings = SynthSettings {
            mix: vec![(Kind::Translation, 1.0)],
            nuisance: 0.0,
            ..SynthSettings::default()
        };
        let source = SynthSource::new(&recipe, &settings, &[]).unwrap();
        let roughness = |stage: &Stage| -> f32 {
            let of_pair = |index| -> f32 {
                let example = source.example(stage, 5, index).unwrap();
                example.first.windows(2).map(|pair| (pair[0] - pair[1]).powi(2)).sum()
            };
            (0..40).map(of_pair).sum()
        };
        let [usual, enlarged] = [1, 2].map(|stage| roughness(&recipe.stages[stage]));
        assert!(enlarged < 0.8 * usual, "{enlarged}, else {usual}");
    }
}
