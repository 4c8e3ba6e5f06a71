//! What motion training asks for.

use clap::Args;
use nca_core::Error;
use nca_train::objective::{MotionTerm, Objective, Pairing};
use nca_train::sweep::SweepSettings;

use super::{MOTION, TRAINING};

/// What motion training asks for.
///
/// These make a model that moves as strongly as you like: 'Motion as an objective' in README.md says how.
#[derive(Args, Clone, Debug)]
pub(crate) struct MotionArgs {
    /// What training is after: appearance, motion or both [default: what the preset says, appearance
    /// but for notebook; both where that is appearance and a flag below is given]
    #[arg(long, value_name = "NAME", help_heading = TRAINING)]
    objective: Option<String>,
    /// Factor of the motion loss: the objective gains X·Ψ, so a positive one asks for more motion
    /// and a negative one for less; with --motion-target the loss is X·|Ψ − target| [default: beside a
    /// look 0.02, with --motion-target 0.2; 1 where motion is all that is asked for]
    #[arg(long, value_name = "X", help_heading = MOTION)]
    motion_weight: Option<f64>,
    /// Ψ to be reached, in pixels per frame
    #[arg(long, value_name = "PX", help_heading = MOTION)]
    motion_target: Option<f64>,
    /// Frames of an iteration, --steps-per-frame steps apart, at the end of its rollout: N − 1 pairs, where
    /// --frames counts pairs [default: 2, for --preset notebook 100]
    #[arg(long, value_name = "N", help_heading = MOTION)]
    motion_frames: Option<usize>,
    /// Pairs whose flow counts: successive (the paper's) or last (from the last frame to each
    /// earlier one, the notebook's) [default: successive, for --preset notebook last]
    #[arg(long, value_name = "NAME", help_heading = MOTION)]
    motion_pairs: Option<Pairing>,
    /// Let the gradient flow back through the steps of the last N pairs only; 0 for all [default: 0, for --preset
    /// notebook 1]
    #[arg(long, value_name = "N", help_heading = MOTION)]
    motion_window: Option<usize>,
}

impl MotionArgs {
    /// Name and value of a flag that was given, `--objective` aside.
    fn given(&self) -> Option<String> {
        let flags = [
            ("--motion-weight", self.motion_weight.map(|v| v.to_string())),
            ("--motion-target", self.motion_target.map(|v| v.to_string())),
            ("--motion-frames", self.motion_frames.map(|v| v.to_string())),
            ("--motion-pairs", self.motion_pairs.map(|v| v.to_string())),
            ("--motion-window", self.motion_window.map(|v| v.to_string())),
        ];
        flags
            .into_iter()
            .find_map(|(flag, value)| Some(format!("{flag} {}", value?)))
    }

    /// Overwrites in `settings` what was given; frames of training are as far apart as those of
    /// measuring.
    pub(super) fn apply(&self, settings: &mut SweepSettings, steps_per_frame: Option<u32>) -> nca_core::Result<()> {
        let current = &settings.train.objective;
        let given = self.given();
        let name = match (&self.objective, &given) {
            (Some(name), _) => name.as_str(),
            (None, Some(_)) if current.motion().is_none() => "both",
            (None, _) => current.name(),
        };
        let usual = current.name() == "both";
        let term = current.motion().cloned().unwrap_or(MotionTerm {
            steps_per_frame: settings.measure.steps_per_frame,
            ..MotionTerm::default()
        });
        let mut objective = Objective::new(name, term)?;
        match (objective.motion_mut(), given) {
            (None, Some(flag)) => {
                return Err(Error::invalid(
                    "--objective",
                    format!("{name} with {flag}"),
                    "motion or both with it",
                ));
            }
            (None, None) => {}
            (Some(term), _) => {
                term.target = self.motion_target.or(term.target);
                if name == "both" && !usual {
                    term.weight = MotionTerm::weight_beside_appearance(term.target);
                }
                term.weight = self.motion_weight.unwrap_or(term.weight);
                term.frames = self.motion_frames.unwrap_or(term.frames);
                term.pairs = self.motion_pairs.unwrap_or(term.pairs);
                term.window = match self.motion_window {
                    Some(0) => None,
                    given => given.or(term.window),
                };
                term.steps_per_frame = steps_per_frame.unwrap_or(term.steps_per_frame);
            }
        }
        settings.train.objective = objective;
        Ok(())
    }
}
