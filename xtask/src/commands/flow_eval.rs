//! `cargo xtask flow-eval`

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use image::RgbImage;
use indicatif::ProgressBar;
use nca_core::Error;
use nca_core::backend::Backend;
use nca_core::checkpoint::write_atomic;
use nca_train::exemplar::Exemplar;
use nca_train::montage::Montage;
use nca_train::picture::write_png;
use nca_train::{Texture, rgb8};
use spynet::evaluate::files::{PairFiles, find_pairs, read_truth};
use spynet::evaluate::{
    Accuracy, AccuracyRow, CalibrationRow, DISTANCES, Exhibit, FloorRow, HELD_OUT_SEED, Set, ZeroFlow, calibrate,
    fields, floors, tables,
};
use spynet::synth::{Kind, Raster, Synth, SynthSettings};
use spynet::{
    Classical, FlowChoice, FlowEstimator, FlowField, automatic_max, endpoint_error, flow_to_rgb, write_flo, write_kitti,
};

use crate::backend::{BackendArgs, Job};
use crate::files::check_out_directory;
use crate::flags::FlowMethodArgs;
use crate::output::print_line;
use crate::progress::bar_style;

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
    /// Also evaluate on the pairs in this folder and those below it (layouts of FlyingChairs:
    /// NAME_img1.png, NAME_img2.png, NAME_flow.flo; Middlebury; KITTI)
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Evaluate on the pairs of --data alone
    #[arg(long, requires = "data", conflicts_with_all = ["pairs", "textures"])]
    data_only: bool,
    /// Also calibrate on the pictures in this folder, each made 128x128
    #[arg(long, value_name = "DIR")]
    textures: Option<PathBuf>,
    /// Write REPORT.md, CSV files and examples here, outside of --data and --textures
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
/// Pairs from files that are drawn, where their folders are fewer than would make more.
const FILE_EXAMPLES: usize = 8;
/// Panels of examples are at least so wide, pixels: their labels need it.
const LABEL_WIDTH: u32 = 256;
/// So many pairs from files have a line each.
const FEW_FILES: usize = 20;
/// Shortest features of pictures and built-ins at 128×128, in pixels.
const PICTURE_PERIOD: f64 = 10.0;
/// The built-ins as no training sees them.
const EXEMPLAR_SEED: u64 = 0x51DE;

pub(crate) fn run(args: &FlowEvalArgs) -> anyhow::Result<()> {
    let choice = args.flow.choice()?;
    // Pictures are called after the pairs: beside a pair they could take the place of its true flow.
    let inputs = [
        ("--data", args.data.as_deref()),
        ("--textures", args.textures.as_deref()),
    ];
    check_out_directory("--out", args.out.as_deref(), &inputs)?;
    // What is wrong with the folders should be said before the long part.
    let data = args.data.as_ref().map(find_pairs).transpose()?.unwrap_or_default();
    let backend = args.backend.open_for_flow(&choice)?;
    let exhibits = if args.data_only { Vec::new() } else { exhibits(args)? };
    if let Some(out) = &args.out {
        std::fs::create_dir_all(out).map_err(|e| Error::io(out, e))?;
    }
    let evaluation = backend.run(Evaluate {
        args,
        choice: &choice,
        data: &data,
        exhibits: &exhibits,
    })?;
    let report = evaluation.markdown(args, &data);
    if let Some(out) = &args.out {
        let save = |name: &str, text: &str| write_atomic(out.join(name), |file| file.write_all(text.as_bytes()));
        save("REPORT.md", &report)?;
        if !data.is_empty() {
            save("files.csv", &tables::csv(&evaluation.files)?)?;
        }
        if !args.data_only {
            save("accuracy.csv", &tables::csv(&evaluation.accuracy)?)?;
            save("calibration.csv", &tables::csv(&evaluation.calibration)?)?;
            save("floors.csv", &tables::csv(&evaluation.floors)?)?;
            save("fields.csv", &tables::csv(&evaluation.fields)?)?;
        }
    }
    print_line(report.trim_end())
}

/// The textures of the calibration.
fn exhibits(args: &FlowEvalArgs) -> nca_core::Result<Vec<Exhibit>> {
    let mut pictures = built_ins()?;
    if let Some(dir) = &args.textures {
        pictures.extend(read_pictures(dir)?);
    }
    let mut exhibits = Exhibit::procedural();
    for picture in &pictures {
        exhibits.push(Exhibit::from_picture(&picture.name, PICTURE_PERIOD, &raster(picture))?);
    }
    Ok(exhibits)
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
#[derive(Default)]
struct Evaluation {
    /// On the pairs from files: all, those of each folder, and each.
    files: Vec<AccuracyRow>,
    accuracy: Vec<AccuracyRow>,
    calibration: Vec<CalibrationRow>,
    floors: Vec<FloorRow>,
    fields: Vec<AccuracyRow>,
}

impl Evaluation {
    fn markdown(&self, args: &FlowEvalArgs, data: &[PairFiles]) -> String {
        let mut text = String::from("# Flow estimators compared\n\n");
        if let Some(name) = args.flow.flow_weights.as_ref().and_then(|path| path.file_name()) {
            let _ = writeln!(text, "Weights of the network: `{}`.\n", name.to_string_lossy());
        }
        text += "Endpoint errors are in pixels; `zero` is the answer that nothing moves.\n\n";
        if !data.is_empty() {
            let names: BTreeSet<&str> = data.iter().map(|pair| pair.name.as_str()).collect();
            let few = data.len() <= FEW_FILES;
            let rows: Vec<AccuracyRow> = self
                .files
                .iter()
                .filter(|row| few || !names.contains(row.set.as_str()))
                .cloned()
                .collect();
            let _ = writeln!(
                text,
                "## Endpoint error on pairs from files\n\n{}",
                tables::accuracy(&rows)
            );
            if !few {
                text += "The errors of each pair are in files.csv, which --out writes.\n\n";
            }
        }
        if args.data_only {
            return text;
        }
        let _ = writeln!(
            text,
            "## Endpoint error on synthetic pairs\n\nOf each kind, from a seed held out; the last lines have the pairs of all kinds and \
             sizes by the mean length of their motion.\n\n{}",
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
        let bar = ProgressBar::new(steps).with_style(bar_style("{prefix:12} {bar:30.cyan} {pos}/{len}  {eta} left"));
        bar.set_prefix("errors");
        // Files may be damaged: that should be said before the long part.
        let files = self.files(&estimators, &bar)?;
        if self.args.data_only {
            bar.finish_and_clear();
            return Ok(Evaluation {
                files,
                ..Evaluation::default()
            });
        }
        let mut accuracy = Accuracy::new(estimators.clone());
        self.synthetic(&mut accuracy, &estimators, &bar)?;
        bar.set_prefix("calibration");
        let calibration = calibrate(&estimators, self.exhibits, SIDE, || bar.inc(1))?;
        bar.set_prefix("floors");
        let floors = floors(&estimators, self.exhibits, SIDE, || bar.tick())?;
        let fields = fields(&estimators, self.exhibits, SIDE)?;
        bar.finish_and_clear();
        Ok(Evaluation {
            files,
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
        let pairs = if self.args.data_only {
            0
        } else {
            u64::from(self.args.pairs)
        };
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
    fn files(&self, estimators: &[&dyn FlowEstimator], bar: &ProgressBar) -> anyhow::Result<Vec<AccuracyRow>> {
        let mut accuracy = Accuracy::new(estimators.to_vec());
        let folders: BTreeSet<&str> = self.data.iter().map(|files| files.folder.as_str()).collect();
        let mut drawn: BTreeMap<&str, usize> = BTreeMap::new();
        for files in self.data {
            let truth = read_truth(&files.truth)?;
            let [first, second] = [&files.first, &files.second].map(|path| read_frame(path, &truth, &files.truth));
            let (first, second) = (first?, second?);
            let mut sets = vec![Set::Files, Set::File(files.name.clone())];
            if folders.len() > 1 {
                sets.push(Set::Folder(files.folder.clone()));
            }
            let estimates = accuracy
                .add(&sets, &first.rgb, &second.rgb, &truth)
                .with_context(|| format!("{} and its frames", files.truth.display()))?;
            let drawn = drawn.entry(&files.folder).or_default();
            if *drawn < EXAMPLES.max(FILE_EXAMPLES / folders.len()) {
                *drawn += 1;
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
        Ok(accuracy.rows())
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
        let colours = |field: &FlowField| picture(field.height(), field.width(), flow_to_rgb(field, Some(longest))?);
        let frame = |rgb: &[f32]| picture(truth.height(), truth.width(), rgb8(rgb));
        let mut labels = vec![
            "first frame".to_owned(),
            "second frame".to_owned(),
            "true flow".to_owned(),
            format!("colours: full at {longest:.2} px, whiter where slower"),
        ];
        let key = wheel(truth.height(), truth.width(), longest)?;
        let mut panels = vec![
            frame(example.first)?,
            frame(example.second)?,
            colours(truth)?,
            colours(&key)?,
        ];
        write_flo(path("-truth.flo"), truth)?;
        // What a KITTI PNG can hold.
        if longest < 511.0 {
            write_kitti(path("-truth-kitti.png"), truth)?;
        }
        for (estimator, estimate) in estimators.iter().zip(estimates) {
            if estimator.name() == ZeroFlow.name() {
                continue;
            }
            panels.push(colours(estimate)?);
            let error = endpoint_error(estimate, truth)?.mean;
            labels.push(format!("{}: {error:.2} px off", estimator.name()));
            // Names have colons, which not every file system takes.
            write_flo(path(&format!("-{}.flo", estimator.name().replace(':', "-"))), estimate)?;
        }
        let (width, height) = (truth.width() as u32, truth.height() as u32);
        let montage = Montage::new(&labels, width, height, LABEL_WIDTH.div_ceil(width))?;
        Ok(write_png(path(".png"), &montage.compose(&panels))?)
    }
}

/// Flow away from the middle, up to `longest` at the rim of a disc and unmoved outside of it: what each
/// colour means.
fn wheel(height: usize, width: usize, longest: f32) -> nca_core::Result<FlowField> {
    let radius = 0.4 * height.min(width) as f32;
    let vectors: Vec<(f32, f32)> = (0..height * width)
        .map(|p| {
            let middle = |side: usize| (side - 1) as f32 / 2.0;
            let x = ((p % width) as f32 - middle(width)) / radius;
            let y = ((p / width) as f32 - middle(height)) / radius;
            if x.hypot(y) <= 1.0 {
                (longest * x, longest * y)
            } else {
                (0.0, 0.0)
            }
        })
        .collect();
    let components = vectors.iter().map(|v| v.0).chain(vectors.iter().map(|v| v.1));
    FlowField::new(height, width, components.collect())
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

/// A picture of `[H,W,3]` bytes.
fn picture(height: usize, width: usize, rgb: Vec<u8>) -> nca_core::Result<RgbImage> {
    let found = rgb.len();
    RgbImage::from_raw(width as u32, height as u32, rgb)
        .ok_or_else(|| Error::invalid("picture", format!("{found} bytes"), format!("{width}×{height}×3")))
}
