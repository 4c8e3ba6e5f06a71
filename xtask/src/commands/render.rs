//! `cargo xtask render`

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use nca_core::backend::Backend;
use nca_core::{Error, Grid, Nca, Preset, Simulation};
use nca_train::TrainSettings;
use nca_train::animation::{Animation, AnimationSettings};
use nca_train::rgb8;

use crate::backend::{BackendArgs, Job};

/// Run an automaton from its seed state and save what it looks like
///
/// A .png holds the last frame; .gif, .apng and a folder (of numbered PNGs) hold every K-th step.
#[derive(Args)]
pub(crate) struct RenderArgs {
    /// Model file (safetensors)
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Conventions of a file that holds only weights: paper, notebook or distill
    #[arg(long, value_name = "PRESET")]
    perception: Option<Preset>,
    /// Rows and columns of the grid, as 128x128 or 128
    #[arg(long, value_name = "HxW", default_value = "128x128")]
    size: Size,
    /// Steps to run
    #[arg(long, value_name = "N", default_value_t = 1024)]
    steps: u32,
    /// Steps between the frames of an animation [default: 8]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    every: Option<u32>,
    /// Frames a second of a .gif or .apng [default: 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    fps: Option<u16>,
    /// Pixels per cell
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=32))]
    scale: u32,
    /// Decides initial state and masks
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    backend: BackendArgs,
    /// FILE.png, FILE.gif, FILE.apng or a folder
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
}

/// Rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) height: usize,
    pub(super) width: usize,
}

impl FromStr for Size {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let (low, high) = (TrainSettings::MIN_SIZE, TrainSettings::MAX_SIZE);
        let side = |text: &str| {
            text.parse()
                .ok()
                .filter(|side| (low..=high).contains(side))
                .ok_or_else(|| format!("found '{s}', expected rows x columns as in 96x128, each {low} to {high}"))
        };
        let (height, width) = s.split_once('x').unwrap_or((s, s));
        Ok(Self {
            height: side(height)?,
            width: side(width)?,
        })
    }
}

const DEFAULT_EVERY: u32 = 8;
const DEFAULT_FPS: u16 = 20;

pub(crate) fn run(args: &RenderArgs) -> anyhow::Result<()> {
    let nca = Nca::load(&args.model, args.perception)?;
    args.backend.open()?.run(Render { args, nca: &nca })
}

struct Render<'a> {
    args: &'a RenderArgs,
    nca: &'a Nca,
}

impl Job for Render<'_> {
    type Output = ();

    fn run<B: Backend<Elem = f32>>(self, backend: &B) -> anyhow::Result<()> {
        let args = self.args;
        let Size { height, width } = args.size;
        let mut simulation = Simulation::new(backend, self.nca, Grid::new(1, height, width), args.seed)?;
        let every = args.every.unwrap_or(DEFAULT_EVERY);
        let settings = AnimationSettings {
            height,
            width,
            scale: args.scale,
            fps: args.fps.unwrap_or(DEFAULT_FPS),
            // The seed state, every K-th step, and the last one.
            frames: 1 + args.steps.div_ceil(every),
        };
        let mut animation = Animation::create(&args.out, &settings)?;
        if !animation.is_animated() && args.every.is_some() {
            return Err(Error::invalid(
                "--every",
                "given for a single picture",
                "--out as .gif, .apng or a folder",
            )
            .into());
        }
        if !animation.has_frame_rate() && args.fps.is_some() {
            return Err(Error::invalid(
                "--fps",
                "given for pictures without a frame rate",
                "--out as .gif or .apng",
            )
            .into());
        }
        let every = if animation.is_animated() {
            every
        } else {
            args.steps.max(1)
        };
        let bar = ProgressBar::new(u64::from(args.steps));
        let style = ProgressStyle::with_template("rendering  {bar:30.cyan} step {pos}/{len}  {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        if animation.is_animated() || args.steps == 0 {
            animation.add(&rgb8(&simulation.frame()?))?;
        }
        while simulation.step() < args.steps {
            simulation.run(every.min(args.steps - simulation.step()))?;
            animation.add(&rgb8(&simulation.frame()?))?;
            bar.set_position(u64::from(simulation.step()));
        }
        animation.finish()?;
        bar.finish_and_clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!("96x128".parse(), Ok(Size { height: 96, width: 128 }));
        assert_eq!("64".parse(), Ok(Size { height: 64, width: 64 }));
        for bad in ["7", "64x", "x64", "64x64x64", "99999", "-8", ""] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }
}
