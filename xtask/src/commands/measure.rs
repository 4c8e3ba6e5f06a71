//! `cargo xtask measure`

use std::path::PathBuf;

use clap::Args;
use indicatif::ProgressBar;
use nca_core::backend::Backend;
use nca_core::{Error, Nca, Precision};
use nca_train::TrainSettings;
use nca_train::distance::DistanceFrames;
use nca_train::motion::{Motion, MotionSettings, measure_motion};
use nca_train::provenance::trained_size;
use nca_train::texture::Texture;
use serde::Serialize;
use spynet::FlowChoice;

use crate::backend::{BackendArgs, Job};
use crate::flags::{ConventionsArgs, FlowMethodArgs, check_dtd};
use crate::model::{about_model, load};
use crate::output::{print_json, print_line};
use crate::progress::bar_style;

/// Measure how strongly a trained automaton moves by itself (Ψ, pixels per frame)
///
/// Ψ is the mean length of the optical flow between successive frames. Two controls tell how far to
/// trust it: Ψ of identical frames, and Ψ of one frame with independent noise of the frames' own
/// flicker. With a texture, the command also tells how like it the automaton looks.
#[derive(Args)]
pub(crate) struct MeasureArgs {
    /// Model file (safetensors or PyTorch)
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    #[command(flatten)]
    conventions: ConventionsArgs,
    /// Also measure the texture distance to this: bubbly, chequered, interlaced or cracked (built in), an image file, or
    /// with --dtd a DTD name; cropped to a square and resized to the grid
    #[arg(long, value_name = "NAME|PATH")]
    texture: Option<String>,
    /// Folder of the Describable Textures Dataset
    #[arg(long, value_name = "DIR", requires = "texture")]
    dtd: Option<PathBuf>,
    /// Side of the grid in cells [default: that it was trained on, where its file tells, else 128]
    #[arg(long, value_name = "N")]
    size: Option<usize>,
    /// Frame pairs: N + 1 frames
    #[arg(long, value_name = "N", default_value_t = 100)]
    frames: usize,
    /// Automaton steps between two frames; Ψ grows with it
    #[arg(long, value_name = "N", default_value_t = 32)]
    steps_per_frame: u32,
    /// Steps before the first frame
    #[arg(long, value_name = "N", default_value_t = 1024)]
    warmup: u32,
    #[command(flatten)]
    flow: FlowMethodArgs,
    /// Decides initial state and masks
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    backend: BackendArgs,
    /// Print one JSON object to standard output, and nothing else there
    #[arg(long)]
    json: bool,
}

/// What `measure --json` prints.
#[derive(Serialize)]
struct Output {
    model: PathBuf,
    channels: usize,
    hidden: usize,
    size: usize,
    backend: &'static str,
    precision: Precision,
    #[serde(flatten)]
    motion: Motion,
    /// Only where a texture was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    texture_distance: Option<f64>,
}

pub(crate) fn run(args: &MeasureArgs) -> anyhow::Result<()> {
    let sizes = TrainSettings::MIN_SIZE..=TrainSettings::MAX_SIZE;
    if let Some(size) = args.size.filter(|size| !sizes.contains(size)) {
        let expected = format!("{} to {}", sizes.start(), sizes.end());
        return Err(Error::invalid("--size", size, expected).into());
    }
    let flow = args.flow.choice()?;
    let texture = args.texture.as_deref();
    check_dtd(args.dtd.as_deref(), texture)?;
    let (nca, metadata) = load(&args.model, args.conventions.get())?;
    let trained = trained_size(&args.model, &metadata);
    // What is not needed need not be right.
    let trained = if args.size.is_some() {
        trained.unwrap_or_default()
    } else {
        trained?
    };
    let size = args.size.or(trained).unwrap_or(MotionSettings::default().width);
    if let Some(trained) = trained.filter(|&trained| trained != size && texture.is_some()) {
        tracing::warn!(
            "{}: trained on {trained}x{trained} cells, where the parts of a texture have another size than on {size}x{size}",
            args.model.display()
        );
    }
    let texture = texture
        .map(|spec| Texture::resolve(spec, args.dtd.as_deref(), size))
        .transpose()?;
    let backend = args.backend.open()?;
    let (motion, texture_distance) = backend.run(Measure {
        args,
        nca: &nca,
        size,
        flow: &flow,
        texture: texture.as_ref(),
    })?;
    if args.json {
        return print_json(&Output {
            model: args.model.clone(),
            channels: nca.config.channels,
            hidden: nca.config.hidden,
            size,
            backend: backend.name(),
            precision: backend.precision(),
            motion,
            texture_distance,
        });
    }
    let verdict = if motion.above_floor {
        "above the floor: it moves"
    } else {
        "not above the floor: no motion this estimator could tell from flicker"
    };
    print_line(&format!(
        "Ψ = {:.4} ± {:.4} px/frame over {} pairs, {} steps apart ({} flow)\n\
         floor: {:.4} (identical frames), {:.4} (flicker); Ψ is {verdict}",
        motion.psi,
        motion.psi_se,
        motion.psi_series.len(),
        motion.steps_per_frame,
        motion.flow,
        motion.psi_floor_static,
        motion.psi_floor_flicker,
    ))?;
    if let (Some(texture), Some(distance)) = (&texture, texture_distance) {
        print_line(&format!(
            "texture distance to {} = {distance:.3} (1: as alike as two parts of the texture are)",
            texture.name,
        ))?;
    }
    Ok(())
}

struct Measure<'a> {
    args: &'a MeasureArgs,
    nca: &'a Nca,
    size: usize,
    flow: &'a FlowChoice,
    texture: Option<&'a Texture>,
}

impl Job for Measure<'_> {
    /// Motion, and the texture distance where there is a texture.
    type Output = (Motion, Option<f64>);

    fn run<B: Backend<Elem = f32>>(self, backend: &B) -> anyhow::Result<Self::Output> {
        let args = self.args;
        let flow = self.flow.estimator(backend)?;
        let settings = MotionSettings {
            pairs: args.frames,
            steps_per_frame: args.steps_per_frame,
            warmup: args.warmup,
            seed: args.seed,
            height: self.size,
            width: self.size,
        };
        let bar = if args.json {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(args.frames as u64)
        };
        let bar = bar.with_style(bar_style("measuring  {bar:30.cyan} frame {pos}/{len}  {eta} left"));
        let mut look = self.texture.map(|texture| (texture, DistanceFrames::new(args.frames)));
        let motion = measure_motion(backend, self.nca, &settings, flow.as_ref(), |index, frame| {
            if let Some((_, look)) = &mut look {
                look.visit(index, frame);
            }
            bar.set_position(index as u64);
        })
        .map_err(|error| about_model(error, &args.model, args.conventions.get()))?;
        bar.finish_and_clear();
        let distance = look.map(|(texture, look)| look.mean(backend, texture)).transpose()?;
        Ok((motion, distance))
    }
}
