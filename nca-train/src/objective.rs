//! What training is after: a look, a motion, or both.

use std::fmt;
use std::str::FromStr;

use nca_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// The terms of the objective. Whichever they are, the overflow loss is added to them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// To look like the exemplar.
    #[default]
    Appearance,
    /// To move, whatever it looks like.
    Motion(MotionTerm),
    /// To look like the exemplar and to move.
    Both(MotionTerm),
}

impl Objective {
    /// What `--objective` takes.
    pub const NAMES: [&'static str; 3] = ["appearance", "motion", "both"];

    /// Its name, one of [`Objective::NAMES`], recorded with every result.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Appearance => Self::NAMES[0],
            Self::Motion(_) => Self::NAMES[1],
            Self::Both(_) => Self::NAMES[2],
        }
    }

    /// The objective called `name`; `term` describes its motion, if it has any.
    pub fn new(name: &str, term: MotionTerm) -> Result<Self> {
        match name {
            "appearance" => Ok(Self::Appearance),
            "motion" => Ok(Self::Motion(term)),
            "both" => Ok(Self::Both(term)),
            _ => Err(Error::invalid("--objective", name, Self::NAMES.join(", "))),
        }
    }

    /// Whether it compares pictures with the exemplar.
    #[must_use]
    pub fn has_appearance(&self) -> bool {
        !matches!(self, Self::Motion(_))
    }

    /// The motion it asks for.
    #[must_use]
    pub fn motion(&self) -> Option<&MotionTerm> {
        match self {
            Self::Appearance => None,
            Self::Motion(term) | Self::Both(term) => Some(term),
        }
    }

    /// As [`Objective::motion`], to change it.
    pub fn motion_mut(&mut self) -> Option<&mut MotionTerm> {
        match self {
            Self::Appearance => None,
            Self::Motion(term) | Self::Both(term) => Some(term),
        }
    }

    /// Refuses what could not be trained, naming the flag.
    pub fn validate(&self) -> Result<()> {
        self.motion().map_or(Ok(()), MotionTerm::validate)
    }
}

/// Between which frames the flow runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pairing {
    /// From each frame to the next one, as Ψ is measured (the paper).
    Successive,
    /// From the last frame to each earlier one (the notebook).
    Last,
}

impl Pairing {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Successive, Self::Last];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Successive => "successive",
            Self::Last => "last",
        }
    }
}

impl fmt::Display for Pairing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Pairing {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|pairing| pairing.name() == s)
            .ok_or_else(|| Error::invalid("--motion-pairs", s, "successive or last"))
    }
}

/// The part of the objective that asks for motion.
///
/// The rollout of an iteration goes on after its random number of steps: the first of
/// [`frames`](Self::frames) frames is taken there and each further one `steps_per_frame` steps later;
/// the last frame is the last state, at which the appearance is compared too. Ψ is the mean over all
/// pairs of frames and all samples of `(1/HW) Σ ‖flow‖`, in pixels per frame, of frames that are not
/// clipped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MotionTerm {
    /// Factor w of the loss: without a target `−w·Ψ`, so a positive one asks for more motion and a
    /// negative one for less; with a target `w·|Ψ − target|`, positive.
    pub weight: f64,
    /// Ψ to be reached, pixels per frame.
    pub target: Option<f64>,
    /// Frames M of an iteration, the first one included; they make M − 1 pairs.
    pub frames: usize,
    /// Steps between frames.
    pub steps_per_frame: u32,
    /// Which pairs.
    pub pairs: Pairing,
    /// The gradient, of every term, flows back through this many last pairs' steps only: the state
    /// before them is taken as given. All pairs still count for Ψ. `None`: through every step.
    pub window: Option<usize>,
}

impl Default for MotionTerm {
    /// More motion from one frame to the next, 32 steps later, with a weight of 1, which is for motion alone: beside a look
    /// it takes [`MotionTerm::weight_beside_appearance`].
    fn default() -> Self {
        Self {
            weight: 1.0,
            target: None,
            frames: 2,
            steps_per_frame: 32,
            pairs: Pairing::Successive,
            window: None,
        }
    }
}

impl MotionTerm {
    /// Most frames of an iteration.
    pub const MAX_FRAMES: usize = 10_000;

    /// A factor beside which an appearance loss still decides the look, with a `target` and without: those of
    /// `STEERING.md`. With 1 the motion wins over it.
    #[must_use]
    pub fn weight_beside_appearance(target: Option<f64>) -> f64 {
        if target.is_some() { 0.2 } else { 0.02 }
    }

    /// The notebook's: −Ψ of 100 frames, from the last one to each of the 99 others.
    ///
    /// Its automata are chaotic from the start: perturbations grow by a factor of about 1.6 a step,
    /// so the gradient through all 3200 steps leaves the finite numbers, and that through more than the
    /// last pair's says nothing about Ψ. The window is therefore one pair: what the last 32 steps can do
    /// about the last frame.
    #[must_use]
    pub fn notebook() -> Self {
        Self {
            frames: 100,
            pairs: Pairing::Last,
            window: Some(1),
            ..Self::default()
        }
    }

    /// Pairs of frames, M − 1.
    #[must_use]
    pub fn pair_count(&self) -> usize {
        self.frames.saturating_sub(1)
    }

    /// Steps from the first frame to the last.
    #[must_use]
    pub fn steps(&self) -> u32 {
        u32::try_from(self.pair_count())
            .unwrap_or(u32::MAX)
            .saturating_mul(self.steps_per_frame)
    }

    /// Step that frame `index` shows, the first one showing step `first`.
    #[must_use]
    pub fn step_of(&self, first: u32, index: usize) -> u32 {
        first + index as u32 * self.steps_per_frame
    }

    /// Index of the first frame that takes a gradient.
    #[must_use]
    pub fn first_in_window(&self) -> usize {
        self.window.map_or(0, |window| self.frames.saturating_sub(window))
    }

    /// Pictures that must be kept until the gradient has gone through them: all that flow from the
    /// last frame ends in, or those of successive pairs that take a gradient.
    #[must_use]
    pub fn stored_frames(&self) -> usize {
        match self.pairs {
            Pairing::Successive => self.frames.saturating_sub(self.first_in_window()),
            Pairing::Last => self.frames,
        }
    }

    /// Step at which the gradient stops, the first frame showing step `first`.
    #[must_use]
    pub fn gradient_from(&self, first: u32) -> u32 {
        match self.window {
            None => 0,
            Some(window) => self.step_of(first, self.pair_count() - window.min(self.pair_count())),
        }
    }

    /// Loss at Ψ = `psi`.
    #[must_use]
    pub fn loss(&self, psi: f64) -> f64 {
        match self.target {
            None => -self.weight * psi,
            Some(target) => self.weight * (psi - target).abs(),
        }
    }

    /// Derivative of [`MotionTerm::loss`]; 0 at the target itself.
    #[must_use]
    pub fn slope(&self, psi: f64) -> f64 {
        match self.target {
            None => -self.weight,
            Some(target) if psi > target => self.weight,
            Some(target) if psi < target => -self.weight,
            Some(_) => 0.0,
        }
    }

    /// Refuses what could not be trained, naming the flag.
    pub fn validate(&self) -> Result<()> {
        let (weight, expected) = match self.target {
            None => (
                self.weight != 0.0,
                "a number other than 0: positive for more motion, negative for less",
            ),
            Some(_) => (
                self.weight > 0.0,
                "a positive number with --motion-target, which draws Ψ from both sides",
            ),
        };
        if !(weight && self.weight.is_finite()) {
            return Err(Error::invalid("--motion-weight", self.weight, expected));
        }
        if let Some(target) = self.target
            && !(target >= 0.0 && target.is_finite())
        {
            let expected = "a number of at least 0, in pixels per frame";
            return Err(Error::invalid("--motion-target", target, expected));
        }
        if !(2..=Self::MAX_FRAMES).contains(&self.frames) {
            let expected = format!("2 to {}", Self::MAX_FRAMES);
            return Err(Error::invalid("--motion-frames", self.frames, expected));
        }
        if !(1..=10_000).contains(&self.steps_per_frame) {
            return Err(Error::invalid("--steps-per-frame", self.steps_per_frame, "1 to 10000"));
        }
        if let Some(window) = self.window
            && !(1..=self.pair_count()).contains(&window)
        {
            let expected = format!("1 to {}, the pairs of {} frames", self.pair_count(), self.frames);
            return Err(Error::invalid("--motion-window", window, expected));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_lie_where_the_documentation_says() {
        let notebook = MotionTerm {
            window: None,
            ..MotionTerm::notebook()
        };
        assert_eq!(notebook.pair_count(), 99);
        assert_eq!(notebook.steps(), 99 * 32);
        assert_eq!(notebook.step_of(32, 99), 3200);
        assert_eq!((notebook.first_in_window(), notebook.gradient_from(32)), (0, 0));
        let windowed = MotionTerm {
            window: Some(3),
            ..notebook
        };
        // The frame at the start of the window is part of what is taken as given.
        assert_eq!(windowed.gradient_from(32), 3200 - 3 * 32);
        assert_eq!(windowed.step_of(32, windowed.first_in_window()), 3200 - 2 * 32);
    }

    #[test]
    fn the_sign_of_the_weight_is_the_direction() {
        let term = |weight, target| MotionTerm {
            weight,
            target,
            ..MotionTerm::default()
        };
        assert_eq!(term(2.0, None).loss(0.3), -0.6);
        assert_eq!(term(-2.0, None).slope(0.3), 2.0);
        let drawn = term(2.0, Some(0.5));
        assert_eq!([0.3, 0.5, 0.8].map(|psi| drawn.slope(psi)), [-2.0, 0.0, 2.0]);
        for psi in [0.1, 0.9] {
            let (step, slope) = (1e-6, drawn.slope(psi));
            let rise = drawn.loss(psi + step) - drawn.loss(psi - step);
            assert!((rise / (2.0 * step) - slope).abs() < 1e-8);
        }
    }

    #[test]
    fn impossible_terms_are_refused_by_flag() {
        let refused = |term: MotionTerm, words: &[&str]| {
            let message = term.validate().unwrap_err().to_string();
            for word in words {
                assert!(message.contains(word), "no '{word}' in: {message}");
            }
        };
        let default = MotionTerm::default;
        for weight in [0.0, f64::NAN, f64::INFINITY] {
            refused(MotionTerm { weight, ..default() }, &["--motion-weight"]);
        }
        let drawn = |weight, target| MotionTerm {
            weight,
            target: Some(target),
            ..default()
        };
        refused(drawn(-1.0, 1.0), &["--motion-weight is -1", "--motion-target"]);
        refused(drawn(1.0, -0.1), &["--motion-target is -0.1"]);
        refused(drawn(1.0, f64::NAN), &["--motion-target is NaN"]);
        refused(MotionTerm { frames: 1, ..default() }, &["--motion-frames is 1", "2 to"]);
        refused(
            MotionTerm {
                steps_per_frame: 0,
                ..default()
            },
            &["--steps-per-frame is 0"],
        );
        for window in [0, 2] {
            let term = MotionTerm {
                window: Some(window),
                ..default()
            };
            refused(term, &["--motion-window", "1 to 1"]);
        }
        assert!(Objective::new("beauty", default()).is_err());
        for name in Objective::NAMES {
            let objective = Objective::new(name, default()).unwrap();
            assert_eq!(objective.name(), name);
            assert_eq!(objective.motion().is_some(), name != "appearance");
            assert_eq!(objective.has_appearance(), name != "motion");
            objective.validate().unwrap();
        }
    }
}
