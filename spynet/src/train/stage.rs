//! A run of iterations under the same settings.

use std::fmt;

use nca_core::{Error, Result};

use crate::network::{COARSEST, MULTIPLE};

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
    /// Everything, half of it like photographs ([`SynthSettings::photographic`]), and half as often with noise, flicker
    /// or brightness that changes.
    ///
    /// [`SynthSettings::photographic`]: crate::synth::SynthSettings::photographic
    Photographic,
    /// As photographic scenes, and half of the textures enlarged ([`SynthSettings::enlarged`]), with fewer pieces in front.
    ///
    /// [`SynthSettings::enlarged`]: crate::synth::SynthSettings::enlarged
    Enlarged,
}

impl fmt::Display for Scenes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clear => "clear",
            Self::All => "all",
            Self::Photographic => "photographic",
            Self::Enlarged => "enlarged photographic",
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
    pub(super) const RISE: u64 = 50;

    /// Of no iterations yet; pairs as (columns, rows, slowest motion), and (batch, reuse).
    pub(super) fn new(
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
    pub(super) fn levels_to_2(rate: f64) -> Self {
        Self::new(Trained::UpTo(2), false, Scenes::All, (128, 128, 0.02), 0, (4, 2), rate)
    }

    pub(super) fn level_3() -> Self {
        Self::new(Trained::Level(3), true, Scenes::All, (256, 256, 0.02), 0, (1, 2), 4e-4)
    }

    pub(super) fn level_4() -> Self {
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

    pub(super) fn validate(&self, number: usize, levels: usize) -> Result<()> {
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
