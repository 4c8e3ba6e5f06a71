//! `cargo xtask flow-eval`

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use image::RgbImage;
use indicatif::{ProgressBar, ProgressStyle};
use nca_core::Error;
use nca_core::backend::Backend;
use nca_core::checkpoint::write_atomic;
use nca_train::exemplar::Exemplar;
use nca_train::picture::write_png;
use nca_train::{Texture, rgb8};
use spynet::evaluate::files::{PairFiles, find_pairs, read_truth};
use spynet::evaluate::{
    Accuracy, AccuracyRow, CalibrationRow, DISTANCES, Exhibit, FloorRow, HELD_OUT_SEED, Set, ZeroFlow, calibrate,
    fields, floors, tables,
};
use spynet::synth::{Kind, Raster, Synth, SynthSettings};
use spynet::{Classical, FlowChoice, FlowEstimator, FlowField, automatic_max, flow_to_rgb, write_flo, write_kitti};

use crate::backend::{BackendArgs, Job};
use crate::commands::sweep::FlowMethodArgs;
use crate::output::print_line;

/// Say what a flow estimator is worth, beside the classical one and none at all
///
/// Endpoint errors on synthetic pairs that no training has seen, by kind and by size of motion, and on
/// pairs with known flow from a folder; Ψ of textures moved by known distances in eight directions; Ψ of
/// frames that do not move; rotation, zoom and shear. Prints Markdown tables; with --out also writes
/// them, CSV files, and pictures and flow files of examples.
#[derive(Args)]
pub(crate) struct FlowEvalArgs {
    #[command(flatten)]
    flow: FlowMethodArgs,
    #[command(flatten)]
    backend: BackendArgs,
    /// Synthetic pairs of each kind at 128x128, and a quarter as many at 512x384
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pairs: u32,
    /// Also evaluate on the pairs in this folder and those below it (layouts of FlyingChairs,
    /// Middlebury and KITTI)
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Also calibrate on the pictures in this folder, each made 128x128
    #[arg(long, value_name = "DIR")]
    textures: Option<PathBuf>,
    /// Write REPORT.md, CSV files and examples here
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Side of the frames of synthetic pairs and of the calibration: that of automata.
const SIDE: usize = 128;
/// Height and width of synthetic pairs as of film.
const LARGE: (usize, usize) = (384, 512);
/// Large pairs have twelve times the pixels, so that fewer tell as much.
const FEWER_LARGE: u64 = 4;
/// Pairs of each set that are drawn.
const EXAMPLES: usize = 2;
/// Shortest features of pictures and built-ins at 128×128, in pixels.
const PICTURE_PERIOD: f64 = 10.0;
/// The built-ins as no training sees them.
const EXEMPLAR_SEED: u64 = 0x51DE;

pub(crate) fn run(args: &FlowEvalArgs) -> anyhow::Result<()> {
    let choice = args.flow.choice()?;
    // What is wrong with the folders should be said before the long part.
    let data = args.data.as_ref().map(find_pairs).transpose()?.unwrap_or_default();
    let backend = args.backend.open()?;
    let mut pictures = built_ins()?;
    if let Some(dir) = &args.textures {
        pictures.extend(read_pictures(dir)?);
    }
    let mut exhibits = Exhibit::procedural();
    for picture in &pictures {
        exhibits.push(Exhibit::from_picture(&picture.name, PICTURE_PERIOD, &raster(picture))?);
    }
    if let Some(out) = &args.out {
        std::fs::create_dir_all(out).map_err(|e| Error::io(out, e))?;
    }
    let evaluation = backend.run(Evaluate {
        args,
        choice: &choice,
        data: &data,
        exhibits: &exhibits,
    })?;
    let report = evaluation.markdown(args);
    if let Some(out) = &args.out {
        let save = |name: &str, text: &str| write_atomic(out.join(name), |file| file.write_all(text.as_bytes()));
        save("REPORT.md", &report)?;
        save("accuracy.csv", &tables::csv(&evaluation.accuracy)?)?;
        save("calibration.csv", &tables::csv(&evaluation.calibration)?)?;
        save("floors.csv", &tables::csv(&evaluation.floors)?)?;
        save("fields.csv", &tables::csv(&evaluation.fields)?)?;
    }
    print_line(report.trim_end())
}

fn built_ins() -> nca_core::Result<Vec<Texture>> {
    Exemplar::ALL
        .iter()
        .map(|exemplar| exemplar.render(SIDE, EXEMPLAR_SEED))
        .collect()
}

/// The pictures in a folder, in the order of their names.
fn read_pictures(dir: &Path) -> nca_core::Result<Vec<Texture>> {
    let io = |e| Error::io(dir, e);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let kind = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if ["png", "jpg", "jpeg", "bmp", "webp", "gif", "ppm"].contains(&kind.as_str()) {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(Error::format(
            dir,
            "no pictures",
            "PNG, JPEG, BMP, WebP, GIF or PPM files",
        ));
    }
    paths.sort();
    paths.iter().map(|path| Texture::load(path, SIDE)).collect()
}

fn raster(texture: &Texture) -> Raster {
    Raster {
        height: texture.height,
        width: texture.width,
        rgb: texture.rgb.clone(),
    }
}

/// All that is found out.
struct Evaluation {
    accuracy: Vec<AccuracyRow>,
    calibration: Vec<CalibrationRow>,
    floors: Vec<FloorRow>,
    fields: Vec<AccuracyRow>,
}

impl Evaluation {
    fn markdown(&self, args: &FlowEvalArgs) -> String {
        let mut text = String::from("# Flow estimators compared\n\n");
        if let Some(name) = args.flow.flow_weights.as_ref().and_then(|path| path.file_name()) {
            let _ = writeln!(text, "Weights of the network: `{}`.\n", name.to_string_lossy());
        }
        let _ = writeln!(
            text,
            "## Endpoint error\n\nOn synthetic pairs of each kind from a seed held out; the last lines have the pairs of all kinds and \
             sizes by the mean length of their motion. `zero` is the answer that nothing moves.\n\n{}",
            tables::accuracy(&self.accuracy)
        );
        let _ = writeln!(
            text,
            "## Calibration of Ψ\n\nTextures moved in eight directions at {SIDE}×{SIDE}, enlarged where the motion would exceed 0.4 of \
             their shortest period; `within` counts Ψ that is within 10 % ± 0.05 px of the truth.\n\n{}",
            tables::calibration(&self.calibration)
        );
        let _ = writeln!(
            text,
            "## Ψ of frames that do not move\n\n{}",
            tables::floors(&self.floors)
        );
        let _ = writeln!(text, "## Rotation, zoom, shear\n\n{}", tables::accuracy(&self.fields));
        text
    }
}

struct Evaluate<'a> {
    args: &'a FlowEvalArgs,
    choice: &'a FlowChoice,
    data: &'a [PairFiles],
    exhibits: &'a [Exhibit],
}

impl Job for Evaluate<'_> {
    type Output = Evaluation;

    fn run<B: Backend<Elem = f32>>(self, backend: &B) -> anyhow::Result<Evaluation> {
        let chosen = self.choice.estimator(backend)?;
        let classical = Classical::default();
        let mut estimators: Vec<&dyn FlowEstimator> = vec![&ZeroFlow, &classical];
        if *self.choice != FlowChoice::Classical {
            estimators.push(chosen.as_ref());
        }
        let synthetic: u64 = self.sizes().iter().map(|(_, pairs)| pairs).sum();
        let steps = Kind::ALL.len() as u64 * synthetic
            + self.data.len() as u64
            + (self.exhibits.len() * DISTANCES.len()) as u64;
        let style = ProgressStyle::with_template("{prefix:12} {bar:30.cyan} {pos}/{len}  {eta} left");
        let bar = ProgressBar::new(steps).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix("errors");
        let mut accuracy = Accuracy::new(estimators.clone());
        // Files may be damaged: that should be said before the long part.
        self.add_files(&mut accuracy, &estimators, &bar)?;
        self.synthetic(&mut accuracy, &estimators, &bar)?;
        bar.set_prefix("calibration");
        let calibration = calibrate(&estimators, self.exhibits, SIDE, || bar.inc(1))?;
        bar.set_prefix("floors");
        let floors = floors(&estimators, self.exhibits, SIDE, || bar.tick())?;
        let fields = fields(&estimators, self.exhibits, SIDE)?;
        bar.finish_and_clear();
        Ok(Evaluation {
            accuracy: accuracy.rows(),
            calibration,
            floors,
            fields,
        })
    }
}

impl Evaluate<'_> {
    /// Height and width of synthetic pairs, and how many of each kind.
    fn sizes(&self) -> [((usize, usize), u64); 2] {
        let pairs = u64::from(self.args.pairs);
        [((SIDE, SIDE), pairs), (LARGE, pairs.div_ceil(FEWER_LARGE))]
    }

    /// Pairs of each kind and size.
    fn synthetic(
        &self,
        accuracy: &mut Accuracy<'_>,
        estimators: &[&dyn FlowEstimator],
        bar: &ProgressBar,
    ) -> anyhow::Result<()> {
        let rasters: Vec<Raster> = built_ins()?.iter().map(raster).collect();
        let sizes = self.sizes();
        let sets = sizes.iter().flat_map(|&size| Kind::ALL.map(|kind| (kind, size)));
        for (kind, ((height, width), pairs)) in sets {
            let synth = Synth::new(SynthSettings {
                height,
                width,
                mix: vec![(kind, 1.0)],
                rasters: rasters.clone(),
                ..SynthSettings::default()
            })?;
            let set = Set::Synthetic { height, width, kind };
            for index in 0..pairs {
                let pair = synth.pair(HELD_OUT_SEED, index);
                let truth = FlowField::new(height, width, pair.flow.clone())?;
                let sets = [set.clone(), Set::of_size(&truth)];
                let estimates = accuracy.add(&sets, &pair.first, &pair.second, &truth)?;
                if index < EXAMPLES as u64 {
                    let example = Example {
                        name: format!("{}-{width}x{height}-{index}", kind.name()),
                        first: &pair.first,
                        second: &pair.second,
                        truth: &truth,
                    };
                    self.draw(&example, estimators, &estimates)?;
                }
                bar.inc(1);
            }
        }
        Ok(())
    }

    /// Pairs from the folder.
    fn add_files(
        &self,
        accuracy: &mut Accuracy<'_>,
        estimators: &[&dyn FlowEstimator],
        bar: &ProgressBar,
    ) -> anyhow::Result<()> {
        for (index, files) in self.data.iter().enumerate() {
            let truth = read_truth(&files.truth)?;
            let [first, second] = [&files.first, &files.second].map(|path| read_frame(path, &truth, &files.truth));
            let (first, second) = (first?, second?);
            let sets = [Set::Named("from files".to_owned()), Set::Named(files.name.clone())];
            // A line for each pair only where they are few.
            let sets = if self.data.len() > 20 { &sets[..1] } else { &sets[..] };
            let estimates = accuracy
                .add(sets, &first.rgb, &second.rgb, &truth)
                .with_context(|| format!("{} and its frames", files.truth.display()))?;
            if index < EXAMPLES.max(8) {
                let example = Example {
                    name: files.name.clone(),
                    first: &first.rgb,
                    second: &second.rgb,
                    truth: &truth,
                };
                self.draw(&example, estimators, &estimates)?;
            }
            bar.inc(1);
        }
        Ok(())
    }

    /// Frames, true flow and estimates side by side, and the flows as files.
    fn draw(
        &self,
        example: &Example<'_>,
        estimators: &[&dyn FlowEstimator],
        estimates: &[FlowField],
    ) -> anyhow::Result<()> {
        let Some(out) = &self.args.out else {
            return Ok(());
        };
        let truth = example.truth;
        let path = |suffix: &str| out.join(format!("{}{suffix}", example.name));
        // The same colours for all, as strong as in the truth.
        let longest = automatic_max(truth);
        let max = Some(longest);
        let mut panels = vec![rgb8(example.first), rgb8(example.second), flow_to_rgb(truth, max)?];
        write_flo(path("-truth.flo"), truth)?;
        // What a KITTI PNG can hold.
        if longest < 511.0 {
            write_kitti(path("-truth-kitti.png"), truth)?;
        }
        for (estimator, estimate) in estimators.iter().zip(estimates) {
            if estimator.name() == ZeroFlow.name() {
                continue;
            }
            panels.push(flow_to_rgb(estimate, max)?);
            // Names have colons, which not every file system takes.
            write_flo(path(&format!("-{}.flo", estimator.name().replace(':', "-"))), estimate)?;
        }
        write_strip(&path(".png"), truth.height(), truth.width(), &panels)
    }
}

/// A pair to be drawn.
struct Example<'a> {
    name: String,
    first: &'a [f32],
    second: &'a [f32],
    truth: &'a FlowField,
}

/// A frame that must be as large as its flow.
fn read_frame(path: &Path, truth: &FlowField, truth_path: &Path) -> nca_core::Result<Texture> {
    let frame = Texture::read(path)?;
    if (frame.height, frame.width) != (truth.height(), truth.width()) {
        let found = format!("{}x{} pixels", frame.width, frame.height);
        let expected = format!("{}x{} as {}", truth.width(), truth.height(), truth_path.display());
        return Err(Error::format(path, found, expected));
    }
    Ok(frame)
}

/// Pictures of the same size side by side.
fn write_strip(path: &Path, height: usize, width: usize, panels: &[Vec<u8>]) -> anyhow::Result<()> {
    let mut rows = Vec::with_capacity(panels.len() * height * width * 3);
    for y in 0..height {
        for panel in panels {
            rows.extend_from_slice(&panel[3 * y * width..3 * (y + 1) * width]);
        }
    }
    let picture = RgbImage::from_raw((panels.len() * width) as u32, height as u32, rows)
        .ok_or_else(|| Error::format(path, "frames too large", "sides below 2^30"))?;
    Ok(write_png(path, &picture)?)
}
