//! What decides the result of a training.

use std::fmt;

use nca_core::{Error, Result};

use super::initial::initial_weights;
use super::stage::{Scenes, Stage, Trained};
use super::start::Start;
use crate::weights::SpyNetWeights;

/// Everything that decides the result of a training; [`fmt::Display`] writes all of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Decides everything random.
    pub seed: u64,
    /// What is trained.
    pub start: Start,
    /// Rounds of each level, in training and afterwards; `None` for those that the start has.
    pub rounds: Option<Vec<usize>>,
    /// One after the other.
    pub stages: Vec<Stage>,
    /// Pairs of 128×128 pixels that a stage is measured on; of larger ones fewer, but at least four.
    pub held_out: usize,
    /// How often a stage is measured.
    pub measurements: u64,
}

/// [`Stage::exponent`] once a network is nearly right.
const REFINED_EXPONENT: f64 = 0.5;
/// For levels that are right to fractions of a pixel at best: between what counts all pixels alike and
/// [`REFINED_EXPONENT`].
const FINE_EXPONENT: f64 = 0.7;

impl Recipe {
    /// ε of the loss, in pixels of the level.
    pub const EPSILON: f64 = 0.01;
    /// What the loss of a level below the top counts in an end-to-end stage, and that of a round before the last; the last
    /// round of the top counts 1.
    pub const LOWER_WEIGHT: f64 = 0.5;
    /// Adam's decay rates and its summand.
    pub const BETA1: f64 = 0.9;
    /// See [`Recipe::BETA1`].
    pub const BETA2: f64 = 0.999;
    /// See [`Recipe::BETA1`].
    pub const ADAM_EPSILON: f64 = 1e-8;

    /// From nothing to weights that can be used: an hour or two on two cores.
    #[must_use]
    pub fn full(seed: u64) -> Self {
        Self::of_stages(seed, &[12_000, 24_000, 19_200, 4_000, 2_400, 2_000, 600])
    }

    /// A few minutes on two cores: to see that everything works, not to use.
    #[must_use]
    pub fn quick(seed: u64) -> Self {
        Self::of_stages(seed, &[400, 200, 200, 40, 20, 20, 5])
    }

    /// From the weights of [`Recipe::full`], or such, to better ones: an hour on two cores.
    ///
    /// The error is raised to a power below one from here on: what is left to gain is in the many pixels that
    /// are almost right.
    ///
    /// The levels that see a whole frame of 128×128 go on together, as they meet it: all that most uses
    /// need. Then the two finer ones begin anew as copies of a level that has learnt for longer than
    /// they had. The coarser levels stay as they are by then: a fine level's pictures, halved, lack what
    /// flickers from pixel to pixel, and the coarser levels would forget it.
    #[must_use]
    pub fn refine(seed: u64, start: Start) -> Self {
        let levels = start.levels();
        let stages = [
            (4_000, Stage::levels_to_2(3e-4)),
            (5_000, Stage::level_3()),
            (2_000, Stage::level_4()),
        ];
        let stages = stages.map(|(iterations, stage)| {
            let exponent = REFINED_EXPONENT;
            (iterations, Stage { exponent, ..stage })
        });
        Self {
            start,
            ..Self::of(seed, stages)
        }
        .up_to(levels)
    }

    /// From trained weights to ones that have also learnt from scenes like photographs: half an hour on two cores.
    ///
    /// All levels but the finest go on from what they are, the coarse ones together, each finer one on its own.
    #[must_use]
    pub fn photographic(seed: u64, start: Start) -> Self {
        let levels = start.levels();
        let stages = [
            (5_000, Stage::levels_to_2(3e-4), REFINED_EXPONENT),
            (3_000, Stage::level_3(), FINE_EXPONENT),
            (3_500, Stage::level_4(), FINE_EXPONENT),
        ];
        let stages = stages.map(|(iterations, stage, exponent)| {
            let stage = Stage {
                from_below: false,
                scenes: Scenes::Photographic,
                reuse: 4,
                exponent,
                ..stage
            };
            (iterations, stage)
        });
        Self {
            start,
            ..Self::of(seed, stages)
        }
        .up_to(levels)
    }

    /// From trained weights to ones that also follow smooth textures over long distances: under an hour on two cores.
    ///
    /// What moves by a tenth of the frame and can still be followed has no fine features. Only the coarse levels see such
    /// motions, and go on together: first with a loss in which whole pixels count, for the long ways, then with that of a
    /// refinement, or what is still would be seen to move, and at last on the scenes of before, or pieces that move each in its own
    /// way would be forgotten. They may work in `rounds`, one number for each level of the network; in as many as the start has,
    /// otherwise.
    ///
    /// # Errors
    /// [`Error::Invalid`] for rounds that the levels cannot have.
    pub fn enlarged(seed: u64, start: Start, rounds: Option<Vec<usize>>) -> Result<Self> {
        let levels = start.levels();
        let stages = [
            (10_000, 3e-4, Scenes::Enlarged, FINE_EXPONENT),
            (14_000, 2e-4, Scenes::Enlarged, REFINED_EXPONENT),
            (4_500, 1.5e-4, Scenes::Photographic, REFINED_EXPONENT),
        ];
        let stages = stages.map(|(iterations, rate, scenes, exponent)| {
            let stage = Stage {
                scenes,
                reuse: 4,
                exponent,
                ..Stage::levels_to_2(rate)
            };
            (iterations, stage)
        });
        let recipe = Self {
            start,
            rounds,
            ..Self::of(seed, stages)
        };
        recipe.initial_weights()?;
        Ok(recipe.up_to(levels))
    }

    /// From trained weights to ones whose levels work in `rounds`, one number for each: half an hour on two cores.
    ///
    /// Levels 3 and 4 are trained where they have several. Without it a second round finds what is left of a motion,
    /// but takes more of what noise there is for motion too.
    ///
    /// # Errors
    /// [`Error::Invalid`] for rounds that the levels cannot have.
    pub fn in_rounds(seed: u64, start: Start, rounds: Vec<usize>) -> Result<Self> {
        let mut recipe = Self::rounds_alone(seed, start, rounds)?;
        let rounds = recipe.rounds.as_deref().unwrap_or_default();
        let several = |stage: &Stage| rounds.get(stage.trained.top()).is_some_and(|&n| n > 1);
        let mut stages = vec![(1_500, Stage::level_3()), (1_000, Stage::level_4())];
        stages.retain(|(_, stage)| several(stage));
        for (_, stage) in &mut stages {
            stage.from_below = false;
            stage.scenes = Scenes::Photographic;
            stage.reuse = 4;
            stage.exponent = REFINED_EXPONENT;
            stage.learning_rate *= 0.5;
        }
        recipe.stages = Self::of(seed, stages).stages;
        Ok(recipe)
    }

    /// Trained weights as they are, in `rounds`, one number for each level: nothing is trained.
    ///
    /// # Errors
    /// [`Error::Invalid`] for rounds that the levels cannot have.
    pub fn rounds_alone(seed: u64, start: Start, rounds: Vec<usize>) -> Result<Self> {
        let recipe = Self {
            start,
            rounds: Some(rounds),
            ..Self::of(seed, [])
        };
        recipe.initial_weights()?;
        Ok(recipe)
    }

    /// What the full and the quick recipe share.
    ///
    /// The levels are narrower than the published ones, with kernels of side 5: a quarter of the work,
    /// so four times the iterations in the same time, which here is worth more.
    fn of_stages(seed: u64, iterations: &[u64; 7]) -> Self {
        use Scenes::{All, Clear};
        use Trained::Level;
        let stages = [
            Stage::new(Level(0), false, Clear, (64, 64, 1.0), 1, (8, 4), 1e-3),
            Stage::new(Level(0), false, All, (64, 64, 0.25), 1, (16, 4), 1e-3),
            Stage::new(Level(1), true, All, (64, 64, 0.1), 0, (8, 2), 1e-3),
            Stage::new(Level(2), true, All, (128, 128, 0.02), 0, (4, 2), 7e-4),
            Stage::levels_to_2(4e-4),
            Stage::level_3(),
            Stage::level_4(),
        ];
        Self::of(seed, iterations.iter().copied().zip(stages))
    }

    /// Stages with their iterations.
    fn of(seed: u64, stages: impl IntoIterator<Item = (u64, Stage)>) -> Self {
        Self {
            seed,
            start: Start::Untrained {
                levels: SpyNetWeights::LEVELS,
                channels: vec![8, 24, 32, 24, 16, 2],
                kernel: 5,
            },
            rounds: None,
            stages: stages
                .into_iter()
                .map(|(iterations, stage)| Stage { iterations, ..stage })
                .collect(),
            held_out: 32,
            measurements: 10,
        }
    }

    /// Multiplies every stage's iterations; none falls below one.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        for stage in &mut self.stages {
            stage.iterations = ((stage.iterations as f64 * factor).round() as u64).max(1);
        }
        self
    }

    /// Leaves out the stages whose top level is `levels` or more.
    #[must_use]
    pub fn up_to(mut self, levels: usize) -> Self {
        self.stages.retain(|stage| stage.trained.top() < levels);
        self
    }

    /// Iterations of all stages.
    #[must_use]
    pub fn iterations(&self) -> u64 {
        self.stages.iter().map(|stage| stage.iterations).sum()
    }

    /// What no training could do ends here, with what was found and what was expected.
    pub fn validate(&self) -> Result<()> {
        if self.stages.is_empty() && self.rounds.is_none() {
            return Err(Error::invalid("stages of the recipe", "none", "at least one"));
        }
        for (number, stage) in self.stages.iter().enumerate() {
            stage.validate(number + 1, self.start.levels())?;
        }
        if self.held_out == 0 || self.measurements == 0 {
            let found = format!("{} pairs, {} times a stage", self.held_out, self.measurements);
            return Err(Error::invalid("held-out set", found, "at least one pair, once"));
        }
        Ok(())
    }

    /// The weights that the first stage starts from; untrained levels answer that the flow so far is right.
    pub fn initial_weights(&self) -> Result<SpyNetWeights> {
        let weights = match &self.start {
            Start::Untrained {
                levels,
                channels,
                kernel,
            } => initial_weights(*levels, channels, *kernel, self.seed)?,
            Start::Weights { weights, .. } => weights.clone(),
        };
        match &self.rounds {
            Some(rounds) => weights.with_rounds(rounds.clone()),
            None => Ok(weights),
        }
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {}; {}; endpoint error, eps {} px, lower levels x {}; Adam {} {} {}; ",
            self.seed,
            self.start,
            Self::EPSILON,
            Self::LOWER_WEIGHT,
            Self::BETA1,
            Self::BETA2,
            Self::ADAM_EPSILON,
        )?;
        if let Some(rounds) = &self.rounds {
            write!(f, "{rounds:?} rounds, earlier ones x {}; ", Self::LOWER_WEIGHT)?;
        }
        if self.stages.is_empty() {
            return write!(f, "nothing trained");
        }
        for stage in &self.stages {
            write!(f, "{stage}; ")?;
        }
        write!(
            f,
            "{} pairs held out, {} times a stage",
            self.held_out, self.measurements
        )
    }
}

#[cfg(test)]
mod tests {
    use std::ops::AddAssign as _;

    use super::super::run::{KEY_EARLIER, KEY_RECIPE};
    use super::*;

    /// Levels, channels and kernel of a recipe from nothing.
    fn untrained(recipe: &mut Recipe) -> (&mut usize, &mut Vec<usize>, &mut usize) {
        match &mut recipe.start {
            Start::Untrained {
                levels,
                channels,
                kernel,
            } => (levels, channels, kernel),
            Start::Weights { name, .. } => panic!("from {name}"),
        }
    }

    /// The weights that `recipe` starts from, as if they had been trained before.
    fn given(recipe: &Recipe, name: &str) -> Start {
        Start::Weights {
            name: name.into(),
            earlier: None,
            weights: recipe.initial_weights().unwrap(),
        }
    }

    #[test]
    fn presets_are_valid() {
        for recipe in [
            Recipe::full(0),
            Recipe::quick(0),
            Recipe::quick(0).scaled(0.001).up_to(1),
            Recipe::refine(0, given(&Recipe::full(1), "these")),
            Recipe::photographic(0, given(&Recipe::full(1), "these")),
            Recipe::enlarged(0, given(&Recipe::full(1), "these"), None).unwrap(),
            Recipe::in_rounds(0, given(&Recipe::full(1), "these"), vec![1, 1, 2, 3, 3, 1]).unwrap(),
        ] {
            recipe.validate().unwrap();
        }
    }

    /// Weights of fewer levels are refined as far as they go, and a file tells what made them.
    #[test]
    fn given_weights_are_where_it_starts() {
        let weights = SpyNetWeights::init(4, &[8, 6, 2], 3, 7).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("w.safetensors");
        let load = |keys: &[&str]| {
            let metadata = keys.iter().map(|&key| (key.to_owned(), format!("{key}!"))).collect();
            weights.save(&path, &metadata).unwrap();
            Start::load(&path).unwrap()
        };
        let recipe = Recipe::refine(0, load(&[]));
        assert_eq!(recipe.initial_weights().unwrap(), weights);
        let tops: Vec<usize> = recipe.stages.iter().map(|stage| stage.trained.top()).collect();
        assert_eq!(tops, [2, 3]);
        recipe.validate().unwrap();

        let told = |start: &Start| match start {
            Start::Weights { earlier, .. } => earlier.clone(),
            Start::Untrained { .. } => panic!("untrained"),
        };
        assert_eq!(told(&recipe.start), None);
        let first = load(&[KEY_RECIPE]);
        assert_eq!(told(&first).as_deref(), Some("spynet.recipe!"));
        let second = load(&[KEY_RECIPE, KEY_EARLIER]);
        assert_eq!(told(&second).as_deref(), Some("spynet.earlier!; then: spynet.recipe!"));
        // Other bytes have another name.
        assert_ne!(first.to_string(), second.to_string());
    }

    #[test]
    fn photographs_come_last() {
        let recipe = Recipe::photographic(0, given(&Recipe::full(1), "these"));
        let tops: Vec<usize> = recipe.stages.iter().map(|stage| stage.trained.top()).collect();
        assert_eq!(tops, [2, 3, 4]);
        for stage in &recipe.stages {
            assert!(stage.scenes == Scenes::Photographic && !stage.from_below, "{stage}");
        }
    }

    /// The coarse levels alone, in the rounds that the weights have or are to have.
    #[test]
    fn enlarged_textures_are_for_the_coarse_levels() {
        let start = given(&Recipe::full(1), "these");
        let of = |rounds: Option<Vec<usize>>| Recipe::enlarged(0, start.clone(), rounds);
        let recipe = of(Some(vec![2, 1, 1, 1, 3, 1])).unwrap();
        let stages: Vec<_> = recipe
            .stages
            .iter()
            .map(|stage| (stage.trained, stage.scenes))
            .collect();
        let scenes = [Scenes::Enlarged, Scenes::Enlarged, Scenes::Photographic];
        assert_eq!(stages, scenes.map(|scenes| (Trained::UpTo(2), scenes)));
        assert!(recipe.stages.iter().all(|stage| !stage.from_below));
        assert_eq!(recipe.initial_weights().unwrap().rounds(), [2, 1, 1, 1, 3, 1]);
        assert_eq!(of(None).unwrap().initial_weights().unwrap().rounds(), [1; 6]);
        of(Some(vec![1; 5])).unwrap_err();
    }

    #[test]
    fn rounds_are_for_every_level_and_leave_something_to_train() {
        let start = given(&Recipe::full(1), "these");
        let of = |rounds: &[usize]| Recipe::in_rounds(0, start.clone(), rounds.to_vec());
        let recipe = of(&[1, 1, 1, 2, 1, 3]).unwrap();
        let tops: Vec<usize> = recipe.stages.iter().map(|stage| stage.trained.top()).collect();
        assert_eq!(tops, [3]);
        assert_eq!(recipe.initial_weights().unwrap().rounds(), [1, 1, 1, 2, 1, 3]);
        for wrong in [&[1, 1, 1, 2, 1][..], &[1, 1, 1, 0, 1, 1], &[1, 1, 1, 9, 1, 1]] {
            let refused = of(wrong).unwrap_err().to_string();
            assert!(refused.contains("6 numbers from 1 to 8"), "{refused}");
        }
        assert!(of(&[1, 1, 2, 1, 1, 1]).unwrap().stages.is_empty());

        let alone = Recipe::rounds_alone(0, start.clone(), vec![1, 1, 1, 2, 1, 3]).unwrap();
        alone.validate().unwrap();
        assert!(
            alone
                .to_string()
                .ends_with("[1, 1, 1, 2, 1, 3] rounds, earlier ones x 0.5; nothing trained"),
            "{alone}"
        );
        assert_eq!(
            alone.initial_weights().unwrap().levels(),
            recipe.initial_weights().unwrap().levels()
        );
        Recipe::rounds_alone(0, start.clone(), vec![1; 5]).unwrap_err();
    }

    /// A checkpoint is taken up by a recipe that reads the same: whatever decides the result must be read.
    #[test]
    fn whatever_changes_is_written() {
        let recipe = Recipe::full(1);
        let changes: [fn(&mut Recipe); 25] = [
            |r| r.seed += 1,
            |r| untrained(r).0.add_assign(1),
            |r| untrained(r).1[1] += 1,
            |r| untrained(r).2.add_assign(2),
            |r| r.rounds = Some(vec![2; 6]),
            |r| r.start = given(r, "these"),
            |r| r.start = given(r, "those"),
            |r| r.stages.truncate(6),
            |r| r.held_out += 1,
            |r| r.measurements += 1,
            |r| r.stages[1].trained = Trained::UpTo(0),
            |r| r.stages[1].trained = Trained::Level(1),
            |r| r.stages[2].from_below = false,
            |r| r.stages[1].scenes = Scenes::Clear,
            |r| r.stages[1].scenes = Scenes::Photographic,
            |r| r.stages[1].scenes = Scenes::Enlarged,
            |r| r.stages[1].height += 32,
            |r| r.stages[1].width += 32,
            |r| r.stages[1].slowest *= 2.0,
            |r| r.stages[1].halvings = 0,
            |r| r.stages[1].batch += 1,
            |r| r.stages[1].reuse = 1,
            |r| r.stages[1].iterations += 1,
            |r| r.stages[1].learning_rate *= 2.0,
            |r| r.stages[1].exponent = 0.5,
        ];
        let mut texts = std::collections::BTreeSet::from([recipe.to_string()]);
        for (number, change) in changes.into_iter().enumerate() {
            let mut other = recipe.clone();
            change(&mut other);
            assert!(texts.insert(other.to_string()), "change {number} makes no difference");
        }
    }

    #[test]
    fn refuses_what_cannot_be_trained() {
        let refused = |change: fn(&mut Recipe)| {
            let mut recipe = Recipe::quick(0);
            change(&mut recipe);
            recipe.validate().unwrap_err().to_string()
        };
        assert!(refused(|r| r.stages.clear()).contains("stages"));
        assert!(refused(|r| r.stages[0].from_below = true).contains("stage 1 (level 0)"));
        assert!(refused(|r| r.stages[2].halvings = 1).contains("longer side 128"));
        assert!(refused(|r| r.stages[3].width = 120).contains("120x128"));
        assert!(refused(|r| r.stages[3].batch = 0).contains("batch"));
        assert!(refused(|r| r.stages[4].learning_rate = f64::NAN).contains("NaN"));
        assert!(refused(|r| r.stages[2].exponent = 0.0).contains("exponent"));
        assert!(refused(|r| *untrained(r).0 = 4).contains("below 4"));
        assert!(refused(|r| r.held_out = 0).contains("0 pairs"));
    }

    #[test]
    fn rates_rise_and_fall() {
        let stage = &Recipe::full(0).stages[0];
        let rates: Vec<f64> = (0..stage.iterations).map(|i| stage.learning_rate_at(i)).collect();
        let top = (0..rates.len()).max_by(|&a, &b| rates[a].total_cmp(&rates[b])).unwrap();
        assert_eq!(top as u64 + 1, Stage::RISE);
        assert!(rates[top..].windows(2).all(|pair| pair[0] > pair[1]));
        let last = rates[rates.len() - 1] / stage.learning_rate;
        assert!((Stage::LAST_RATE..1.01 * Stage::LAST_RATE).contains(&last), "{last}");
    }
}
