//! `cargo xtask render`

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use image::RgbImage;
use indicatif::ProgressBar;
use nca_core::backend::Backend;
use nca_core::{Error, Grid, Nca, Simulation};
use nca_train::animation::{Animation, AnimationSettings, Format};
use nca_train::montage::{Montage, beside};
use nca_train::texture::rgb_image;
use spynet::{FlowChoice, FlowEstimator, FlowField, flow_to_rgb};

use crate::backend::{BackendArgs, Job};
use crate::flags::{ConventionsArgs, FlowMethodArgs, Size};
use crate::interrupt::remove_when_interrupted;
use crate::model::{about_model, load};
use crate::output::say;
use crate::progress::bar_style;

/// Run automata from their seed state and save what they look like
///
/// A .png holds the last frame; .gif, .apng, .mp4, .webm and a folder (of numbered PNGs) hold every
/// K-th step. Videos are encoded by the ffmpeg on PATH. Frames take the place of those that an earlier
/// run left in the folder.
#[derive(Args)]
pub(crate) struct RenderArgs {
    /// Model file (safetensors or PyTorch); given more than once, the models run side by side, each with its name
    #[arg(long = "model", value_name = "FILE", required = true)]
    models: Vec<PathBuf>,
    #[command(flatten)]
    conventions: ConventionsArgs,
    /// Rows and columns of the grid, as 128x128 or 128
    #[arg(long, value_name = "HxW", default_value = "128x128")]
    size: Size,
    /// Steps to run
    #[arg(long, value_name = "N", default_value_t = 1024)]
    steps: u32,
    /// Steps between the frames of an animation, and between those whose flow is shown [default: 8]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    every: Option<u32>,
    /// Frames a second of a .gif, .apng or video [default: 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    fps: Option<u16>,
    /// Pixels per cell
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=32))]
    scale: u32,
    /// What to show: the automaton, its motion since the frame before (hue is direction, saturation is
    /// speed), or both
    #[arg(long, value_enum, default_value = "rgb")]
    view: View,
    #[command(flatten)]
    flow: FlowMethodArgs,
    /// Speed of full saturation, in pixels per frame [default: 1]
    #[arg(long, value_name = "X")]
    flow_max: Option<f32>,
    /// Decides initial state and masks
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    backend: BackendArgs,
    /// FILE.png, FILE.gif, FILE.apng, FILE.mp4, FILE.webm or a folder
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
}

/// What of an automaton is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum View {
    Rgb,
    Flow,
    SideBySide,
}

const DEFAULT_EVERY: u32 = 8;
const DEFAULT_FPS: u16 = 20;
const DEFAULT_FLOW_MAX: f32 = 1.0;
/// Most models in a picture.
const MAX_MODELS: usize = 64;
/// White columns between an automaton and its flow, cells.
const VIEW_GAP: usize = 2;

pub(crate) fn run(args: &RenderArgs) -> anyhow::Result<()> {
    if args.models.len() > MAX_MODELS {
        return Err(Error::invalid(
            "--model",
            format!("{} files", args.models.len()),
            format!("at most {MAX_MODELS}"),
        )
        .into());
    }
    let flow = flow_choice(args)?;
    let format = Format::of(&args.out)?;
    check_flags(args, format)?;
    let load = |path: &PathBuf| load(path, args.conventions.get()).map(|(nca, _)| nca);
    let ncas = args.models.iter().map(load).collect::<Result<Vec<_>, _>>()?;
    args.backend.open()?.run(Render {
        args,
        ncas: &ncas,
        flow,
        format,
    })
}

/// How flow is estimated; `None` where none is shown, and then no flag may ask for it.
fn flow_choice(args: &RenderArgs) -> nca_core::Result<Option<FlowChoice>> {
    if args.view != View::Rgb {
        let max = args.flow_max.unwrap_or(DEFAULT_FLOW_MAX);
        if !(max.is_finite() && max > 0.0) {
            return Err(Error::invalid("--flow-max", max, "a positive number of pixels"));
        }
        return args.flow.choice().map(Some);
    }
    let given = [
        ("--flow", args.flow.flow.is_some()),
        ("--flow-weights", args.flow.flow_weights.is_some()),
        ("--flow-max", args.flow_max.is_some()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(Error::invalid(
            flag,
            "given although no flow is shown",
            "--view flow or side-by-side with it",
        )),
        None => Ok(None),
    }
}

struct Render<'a> {
    args: &'a RenderArgs,
    ncas: &'a [Nca],
    flow: Option<FlowChoice>,
    format: Format,
}

impl Job for Render<'_> {
    type Output = ();

    fn run<B: Backend<Elem = f32>>(self, backend: &B) -> anyhow::Result<()> {
        let args = self.args;
        let Size { height, width } = args.size;
        let every = args.every.unwrap_or(DEFAULT_EVERY);
        let estimator = self.flow.map(|choice| choice.estimator(backend)).transpose()?;
        let view = Lens {
            view: args.view,
            estimator: estimator.as_deref(),
            flow_max: args.flow_max.unwrap_or(DEFAULT_FLOW_MAX),
            size: args.size,
        };
        let montage = montage(args, self.ncas, view.width())?;
        let (frame_width, frame_height, scale) = match &montage {
            // Labels must not be enlarged with the cells.
            Some(montage) => (montage.size().0 as usize, montage.size().1 as usize, 1),
            None => (view.width(), height, args.scale),
        };
        let settings = AnimationSettings {
            height: frame_height,
            width: frame_width,
            scale,
            fps: args.fps.unwrap_or(DEFAULT_FPS),
            // The seed state, every K-th step, and the last one.
            frames: args.steps.div_ceil(every).saturating_add(1),
        };
        // Before what takes memory and time: it refuses pictures that are too large.
        let mut animation = Animation::create(&args.out, &settings)?;
        if let Some(folder) = animation.temporary() {
            remove_when_interrupted(folder).context("no handler of Ctrl-C")?;
        }
        let mut shows = Vec::new();
        for nca in self.ncas {
            shows.push(Show {
                simulation: Simulation::new(backend, nca, Grid::new(1, height, width), args.seed)?,
                before: None,
            });
        }
        let first = match (self.format.is_animated(), args.view) {
            (true, _) => 0,
            // A single picture of flow needs the frame before.
            (false, View::Flow | View::SideBySide) => args.steps.saturating_sub(every),
            (false, View::Rgb) => args.steps,
        };
        let bar = ProgressBar::new(u64::from(args.steps));
        bar.set_style(bar_style("rendering  {bar:30.cyan} step {pos}/{len}  {eta} left"));
        let mut step = first;
        loop {
            let mut pictures = Vec::new();
            for (show, path) in shows.iter_mut().zip(&args.models) {
                let picture = show.at(step, &view);
                pictures.push(picture.map_err(|error| about_model(error, path, args.conventions.get()))?);
            }
            match &montage {
                Some(montage) => animation.add(&montage.compose(&pictures))?,
                None => animation.add(&pictures[0])?,
            }
            if step == first && animation.replaced() > 0 {
                bar.suspend(|| {
                    let (out, frames) = (args.out.display(), animation.replaced());
                    say!("{out}: replaced {frames} frames of an earlier run");
                });
            }
            bar.set_position(u64::from(step));
            if step >= args.steps {
                break;
            }
            step = args.steps.min(step.saturating_add(every));
        }
        animation.finish()?;
        bar.finish_and_clear();
        Ok(())
    }
}

/// Refuses flags that mean nothing for the kind of file.
fn check_flags(args: &RenderArgs, format: Format) -> nca_core::Result<()> {
    if !format.is_animated() && args.view == View::Rgb && args.every.is_some() {
        return Err(Error::invalid(
            "--every",
            "given for a single picture",
            "--out as .gif, .apng, .mp4, .webm or a folder",
        ));
    }
    if !format.has_frame_rate() && args.fps.is_some() {
        return Err(Error::invalid(
            "--fps",
            "given for pictures without a frame rate",
            "--out as .gif, .apng, .mp4 or .webm",
        ));
    }
    Ok(())
}

/// An automaton at work.
struct Show<'b, B: Backend> {
    simulation: Simulation<'b, B>,
    /// The frame shown last.
    before: Option<Vec<f32>>,
}

impl<B: Backend<Elem = f32>> Show<'_, B> {
    /// Runs up to `step` and shows what there is.
    fn at(&mut self, step: u32, lens: &Lens<'_>) -> nca_core::Result<RgbImage> {
        self.simulation.run(step.saturating_sub(self.simulation.step()))?;
        let now = self.simulation.frame()?;
        let picture = lens.picture(self.before.as_deref(), &now)?;
        self.before = Some(now);
        Ok(picture)
    }
}

/// How a frame becomes a picture.
struct Lens<'a> {
    view: View,
    /// There if flow is shown.
    estimator: Option<&'a dyn FlowEstimator>,
    flow_max: f32,
    size: Size,
}

impl Lens<'_> {
    /// Columns of a picture, cells.
    fn width(&self) -> usize {
        match self.view {
            View::Rgb | View::Flow => self.size.width,
            View::SideBySide => 2 * self.size.width + VIEW_GAP,
        }
    }

    /// The picture of a frame `[3,H,W]`, given the one before if there is one.
    fn picture(&self, before: Option<&[f32]>, now: &[f32]) -> nca_core::Result<RgbImage> {
        let rgb = || rgb_image(now, self.size.height, self.size.width);
        match self.view {
            View::Rgb => rgb(),
            View::Flow => self.flow(before, now),
            View::SideBySide => Ok(beside(&rgb()?, &self.flow(before, now)?, VIEW_GAP as u32)),
        }
    }

    /// The colours of the motion since the frame before; of none without one.
    fn flow(&self, before: Option<&[f32]>, now: &[f32]) -> nca_core::Result<RgbImage> {
        let Size { height, width } = self.size;
        let vectors = match (before, self.estimator) {
            (Some(before), Some(estimator)) => estimator.flow(Grid::new(1, height, width), before, now)?,
            _ => vec![0.0; 2 * height * width],
        };
        let colors = flow_to_rgb(&FlowField::new(height, width, vectors)?, Some(self.flow_max))?;
        RgbImage::from_raw(width as u32, height as u32, colors)
            .ok_or_else(|| Error::invalid("--size", format!("{height}x{width}"), "sides below 2^32"))
    }
}

/// The grid that several models are shown in; `None` for a single one.
fn montage(args: &RenderArgs, ncas: &[Nca], width: usize) -> nca_core::Result<Option<Montage>> {
    if ncas.len() == 1 {
        return Ok(None);
    }
    let labels: Vec<_> = args
        .models
        .iter()
        .zip(ncas)
        .map(|(path, nca)| label(path, nca))
        .collect();
    Montage::new(&labels, width as u32, args.size.height as u32, args.scale).map(Some)
}

/// A model's name: that of its file, or, as a sweep calls all of its files the same, of the texture's
/// folder; and its architecture.
fn label(path: &Path, nca: &Nca) -> String {
    let name = |path: &Path| path.file_stem().map(|name| name.to_string_lossy().into_owned());
    let texture = || name(path.parent()?.parent()?);
    let name = match name(path) {
        Some(stem) if stem == "model" => texture().unwrap_or(stem),
        stem => stem.unwrap_or_default(),
    };
    format!("{name}, C = {}, D = {}", nca.config.channels, nca.config.hidden)
}

#[cfg(test)]
mod tests {
    use nca_core::Preset;

    use super::*;

    #[test]
    fn a_model_is_called_by_its_file_or_its_texture() {
        let config = nca_core::NcaConfig::preset(Preset::Paper, 12, 96);
        let nca = Nca::new(config.unwrap(), 0).unwrap();
        let label = |path: &str| label(Path::new(path), &nca);
        assert_eq!(label("mine.safetensors"), "mine, C = 12, D = 96");
        assert_eq!(
            label("runs/quick/models/bubbly/c012_d096_s0/model.safetensors"),
            "bubbly, C = 12, D = 96"
        );
        assert_eq!(label("model.safetensors"), "model, C = 12, D = 96");
    }
}
