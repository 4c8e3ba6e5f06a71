//! What decides the result of a training.

use std::fmt;
use std::fs;
use std::path::Path;

use nca_core::checkpoint::read_tensors_any;
use nca_core::{Error, Result};

use super::initial::initial_weights;
use super::run::{KEY_EARLIER, KEY_RECIPE};
use crate::choice::hash;
use crate::network::{COARSEST, MULTIPLE};
use crate::weights::SpyNetWeights;

/// Which levels a stage trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trained {
    /// This one; those below are frozen.
    Level(usize),
    /// All from the coarsest to this one, with a loss on each.
    UpTo(usize),
}

impl Trained {
    /// The finest level that takes part.
    #[must_use]
    pub fn top(self) -> usize {
        match self {
            Self::Level(top) | Self::UpTo(top) => top,
        }
    }

    /// The coarsest level whose weights change.
    #[must_use]
    pub fn lowest(self) -> usize {
        match self {
            Self::Level(level) => level,
            Self::UpTo(_) => 0,
        }
    }
}

impl fmt::Display for Trained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Level(level) => write!(f, "level {level}"),
            Self::UpTo(level) => write!(f, "levels 0-{level}"),
        }
    }
}

/// What the scenes of a stage are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenes {
    /// Whole textures that move, with nothing else: what a level learns to see motion from.
    Clear,
    /// Everything.
    All,
}

impl fmt::Display for Scenes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clear => "clear",
            Self::All => "all",
        })
    }
}

/// A run of iterations under the same settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// Which levels change.
    pub trained: Trained,
    /// Whether the top level, and every finer one, first takes the weights of the level below it.
    pub from_below: bool,
    /// What the pairs show.
    pub scenes: Scenes,
    /// Rows of the pairs of frames.
    pub height: usize,
    /// Columns of the pairs of frames.
    pub width: usize,
    /// Shortest motion that is not zero, in pixels of the pairs. A coarse level learns nothing from
    /// motions it cannot see.
    pub slowest: f64,
    /// How often the pairs are halved before training: the top level need not see the full size.
    pub halvings: u32,
    /// Pairs of an iteration.
    pub batch: usize,
    /// How many iterations use a pair, each time varied anew; at least 1.
    pub reuse: u64,
    /// Iterations.
    pub iterations: u64,
    /// Adam's learning rate at the start; it falls along half a cosine to
    /// [`Stage::LAST_RATE`] of it.
    pub learning_rate: f64,
    /// Power q of the endpoint error that is made small: 1, or less for a pixel to count the more the
    /// nearer it is to the truth.
    pub exponent: f64,
}

impl Stage {
    /// The last learning rate, as a share of the first.
    pub const LAST_RATE: f64 = 0.02;
    /// Iterations over which the learning rate first rises: Adam's second moments are guesses then.
    const RISE: u64 = 50;

    /// Of no iterations yet; pairs as (columns, rows, slowest motion), and (batch, reuse).
    fn new(
        trained: Trained,
        from_below: bool,
        scenes: Scenes,
        (width, height, slowest): (usize, usize, f64),
        halvings: u32,
        (batch, reuse): (usize, u64),
        learning_rate: f64,
    ) -> Self {
        Self {
            trained,
            from_below,
            scenes,
            height,
            width,
            slowest,
            halvings,
            batch,
            reuse,
            iterations: 0,
            learning_rate,
            exponent: 1.0,
        }
    }

    /// The three levels of a frame of 128×128, end to end.
    fn levels_to_2(rate: f64) -> Self {
        Self::new(Trained::UpTo(2), false, Scenes::All, (128, 128, 0.02), 0, (4, 2), rate)
    }

    fn level_3() -> Self {
        Self::new(Trained::Level(3), true, Scenes::All, (256, 256, 0.02), 0, (1, 2), 4e-4)
    }

    fn level_4() -> Self {
        Self::new(Trained::Level(4), true, Scenes::All, (512, 384, 0.02), 0, (1, 2), 3e-4)
    }

    /// Rows and columns of the pairs trained on.
    #[must_use]
    pub fn trained_size(&self) -> (usize, usize) {
        (self.height >> self.halvings, self.width >> self.halvings)
    }

    /// Learning rate of `iteration`, counted from 0.
    #[must_use]
    pub fn learning_rate_at(&self, iteration: u64) -> f64 {
        let progress = iteration as f64 / self.iterations.max(1) as f64;
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
        let rise = ((iteration + 1) as f64 / Self::RISE.min(self.iterations).max(1) as f64).min(1.0);
        self.learning_rate * rise * (Self::LAST_RATE + (1.0 - Self::LAST_RATE) * cosine)
    }

    fn validate(&self, number: usize, levels: usize) -> Result<()> {
        let wrong = |what: &str, found: String, expected: String| {
            Err(Error::invalid(
                format!("{what} of stage {number} ({})", self.trained),
                found,
                expected,
            ))
        };
        let top = self.trained.top();
        if top >= levels {
            return wrong("top level", top.to_string(), format!("below {levels}"));
        }
        if self.from_below && top == 0 {
            return wrong(
                "start",
                "the level below".into(),
                "weights of its own at level 0".into(),
            );
        }
        let (height, width) = self.trained_size();
        let unit = MULTIPLE << self.halvings;
        if self.height == 0
            || self.width == 0
            || !self.height.is_multiple_of(unit)
            || !self.width.is_multiple_of(unit)
            || height.max(width) != COARSEST << top
        {
            let expected = format!(
                "multiples of {unit}, the longer side {}",
                (COARSEST << top) << self.halvings
            );
            return wrong("size", format!("{}x{}", self.width, self.height), expected);
        }
        for (what, value) in [("batch", self.batch as u64), ("reuse", self.reuse)] {
            if value == 0 {
                return wrong(what, "0".into(), "at least 1".into());
            }
        }
        if !(self.slowest > 0.0 && self.slowest.is_finite()) {
            return wrong("slowest motion", self.slowest.to_string(), "above 0".into());
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return wrong("learning rate", self.learning_rate.to_string(), "above 0".into());
        }
        if !(self.exponent > 0.0 && self.exponent <= 1.0) {
            return wrong("exponent", self.exponent.to_string(), "above 0, at most 1".into());
        }
        Ok(())
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (height, width) = self.trained_size();
        write!(f, "{}", self.trained)?;
        if self.from_below {
            write!(f, " from {}", self.trained.top() - 1)?;
        }
        write!(
            f,
            ": {} x {} pairs of {}x{}",
            self.iterations, self.batch, self.width, self.height
        )?;
        if self.halvings > 0 {
            write!(f, " halved to {width}x{height}")?;
        }
        write!(f, ", {} scenes from {} px", self.scenes, self.slowest)?;
        if self.reuse > 1 {
            write!(f, ", each {} times", self.reuse)?;
        }
        write!(f, ", rate {}", self.learning_rate)?;
        if self.exponent != 1.0 {
            write!(f, ", error to the power of {}", self.exponent)?;
        }
        Ok(())
    }
}

/// The network that a training starts with.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// One that answers "no motion", its filters drawn from the recipe's seed.
    Untrained {
        /// Levels; those that no stage trains become copies of the finest that one does.
        levels: usize,
        /// Channels of a level, from input to output.
        channels: Vec<usize>,
        /// Side of the kernels.
        kernel: usize,
    },
    /// One that has been trained before.
    Weights {
        /// What the recipe calls them: must tell them from all others, as a digest does.
        name: String,
        /// The recipes that made them, where that is known.
        earlier: Option<String>,
        /// The weights.
        weights: SpyNetWeights,
    },
}

impl Start {
    /// The weights of a file ([`SpyNetWeights::load`]), named by its SHA-256.
    pub fn load(path: &Path) -> Result<Self> {
        let weights = SpyNetWeights::load(path)?;
        let bytes = fs::read(path).map_err(|e| Error::io(path, e))?;
        let tensors = read_tensors_any(path)?;
        let recipes = [KEY_EARLIER, KEY_RECIPE].map(|key| tensors.metadata().get(key).cloned());
        let recipes: Vec<String> = recipes.into_iter().flatten().collect();
        Ok(Self::Weights {
            name: format!("weights of SHA-256 {}", hash(&bytes, 64)),
            earlier: (!recipes.is_empty()).then(|| recipes.join("; then: ")),
            weights,
        })
    }

    /// Levels of the network.
    #[must_use]
    pub fn levels(&self) -> usize {
        match self {
            Self::Untrained { levels, .. } => *levels,
            Self::Weights { weights, .. } => weights.levels().len(),
        }
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untrained {
                levels,
                channels,
                kernel,
            } => write!(f, "{levels} levels of {channels:?}, kernel {kernel}"),
            Self::Weights { name, .. } => write!(f, "from {name}"),
        }
    }
}

/// Everything that decides the result of a training; [`fmt::Display`] writes all of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Decides everything random.
    pub seed: u64,
    /// What is trained.
    pub start: Start,
    /// One after the other.
    pub stages: Vec<Stage>,
    /// Pairs of 128×128 pixels that a stage is measured on; of larger ones fewer, but at least four.
    pub held_out: usize,
    /// How often a stage is measured.
    pub measurements: u64,
}

impl Recipe {
    /// ε of the loss, in pixels of the level.
    pub const EPSILON: f64 = 0.01;
    /// What the loss of a level below the top counts in an end-to-end stage; the top counts 1.
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
        const EXPONENT: f64 = 0.5;
        let levels = start.levels();
        let stages = [
            (4_000, Stage::levels_to_2(3e-4)),
            (5_000, Stage::level_3()),
            (2_000, Stage::level_4()),
        ];
        let stages = stages.map(|(iterations, stage)| {
            let exponent = EXPONENT;
            (iterations, Stage { exponent, ..stage })
        });
        Self {
            start,
            ..Self::of(seed, stages)
        }
        .up_to(levels)
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
        if self.stages.is_empty() {
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
        match &self.start {
            Start::Untrained {
                levels,
                channels,
                kernel,
            } => initial_weights(*levels, channels, *kernel, self.seed),
            Start::Weights { weights, .. } => Ok(weights.clone()),
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

    /// A checkpoint is taken up by a recipe that reads the same: whatever decides the result must be read.
    #[test]
    fn whatever_changes_is_written() {
        let recipe = Recipe::full(1);
        let changes: [fn(&mut Recipe); 22] = [
            |r| r.seed += 1,
            |r| untrained(r).0.add_assign(1),
            |r| untrained(r).1[1] += 1,
            |r| untrained(r).2.add_assign(2),
            |r| r.start = given(r, "these"),
            |r| r.start = given(r, "those"),
            |r| r.stages.truncate(6),
            |r| r.held_out += 1,
            |r| r.measurements += 1,
            |r| r.stages[1].trained = Trained::UpTo(0),
            |r| r.stages[1].trained = Trained::Level(1),
            |r| r.stages[2].from_below = false,
            |r| r.stages[1].scenes = Scenes::Clear,
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
