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

/// How much more often than elsewhere a kind of scene occurs among enlarged ones: twice as often where there is one texture,
/// half as often where pieces hide it. Then empty ground mostly moves as what lies beside it does.
fn whole(kind: Kind) -> f64 {
    match kind {
        Kind::Still | Kind::Translation | Kind::Affine | Kind::Smooth => 2.0,
        Kind::Torus => 1.0,
        Kind::Layers | Kind::Chairs => 0.5,
    }
}

/// What `scenes` are made of.
fn shown(scenes: Scenes, settings: &SynthSettings) -> SynthSettings {
    match scenes {
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
    }
}

/// All by which `scenes` differ from others under `settings`.
fn described(scenes: Scenes, settings: &SynthSettings) -> String {
    let SynthSettings {
        mix,
        still,
        nuisance,
        photographic,
        enlarged,
        ..
    } = shown(scenes, settings);
    let mut text: Vec<String> = mix
        .iter()
        .map(|(kind, share)| format!("{} {share}", kind.name()))
        .collect();
    for (what, value, usual) in [
        ("unmoved", still, settings.still),
        ("nuisance", nuisance, settings.nuisance),
        ("photographic", photographic, 0.0),
        ("enlarged", enlarged, 0.0),
    ] {
        if value != usual {
            text.push(format!("{what} {value}"));
        }
    }
    format!("{scenes}: {}", text.join(", "))
}

impl SynthSource {
    /// Scenes by `settings`, whose size and slowest motion are those of the recipe's stages; `rasters`
    /// names the pictures in the settings.
    pub fn new(recipe: &Recipe, settings: &SynthSettings, rasters: &[String]) -> Result<Self> {
        let mut scenes: Vec<(Asked, Synth)> = Vec::new();
        for stage in &recipe.stages {
            if scenes.iter().all(|(key, _)| *key != asked(stage)) {
                let settings = shown(stage.scenes, settings);
                let settings = SynthSettings {
                    height: stage.height,
                    width: stage.width,
                    slowest: stage.slowest,
                    ..settings
                };
                scenes.push((asked(stage), Synth::new(settings)?));
            }
        }
        let mut kinds: Vec<Scenes> = Vec::new();
        for (_, _, _, scenes) in scenes.iter().map(|(asked, _)| *asked) {
            if !kinds.contains(&scenes) {
                kinds.push(scenes);
            }
        }
        let kinds: Vec<String> = kinds.into_iter().map(|scenes| described(scenes, settings)).collect();
        let description = format!(
            "synthetic scenes ({}), still {}, motions up to {} of the width, nuisance {}, pictures: {}",
            kinds.join("; "),
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

    /// What decides the examples is in the description, which a file of weights tells and a checkpoint compares.
    #[test]
    fn the_description_tells_each_kind_of_scenes() {
        let mut recipe = Recipe::quick(0).up_to(1);
        recipe.stages.truncate(1);
        let first = recipe.stages[0].clone();
        let scenes = [Scenes::Clear, Scenes::All, Scenes::Enlarged, Scenes::Enlarged];
        recipe.stages = scenes
            .map(|scenes| Stage {
                scenes,
                ..first.clone()
            })
            .to_vec();
        let settings = SynthSettings {
            mix: vec![(Kind::Smooth, 1.0), (Kind::Torus, 1.5), (Kind::Chairs, 2.0)],
            ..SynthSettings::default()
        };
        let source = SynthSource::new(&recipe, &settings, &[]).unwrap();
        assert_eq!(
            source.describe(),
            "synthetic scenes (clear: translation 2, smooth 1, unmoved 0, nuisance 0; all: smooth 1, torus 1.5, chairs 2; \
             enlarged photographic: smooth 2, torus 1.5, chairs 1, nuisance 0.5, photographic 0.5, enlarged 0.5), \
             still 0.15, motions up to 0.1 of the width, nuisance 1, pictures: none"
        );
    }
}
