//! A made-up sweep, and everything the report makes of it.
//!
//! With `NCA_REPORT_OUT=DIR` the sweeps are left in DIR to be looked at.

mod comparable;
mod lost;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use image::RgbImage;
use nca_core::philox::{PhiloxRng, Stream};
use nca_core::{Nca, Preset};
use nca_train::Texture;
use nca_train::picture::write_png;
use nca_train::report::layout::{self, ModelDir};
use nca_train::report::{
    ArchitectureCorrelation, MetricRow, ModelRecord, Quantity, Remark, ReportSummary, ResultFile, Status, collect,
    read_csv, read_metrics, write_csv, write_report,
};
use nca_train::sweep::{SETTINGS_FILE, SweepPreset, SweepSettings};
use proptest::prelude::*;
use spynet::{FlowField, write_flo};
use tempfile::TempDir;

/// A grid of models to make up.
struct Made {
    textures: &'static [&'static str],
    channels: Vec<usize>,
    hidden: Vec<usize>,
    seeds: u64,
    size: usize,
    rows: u64,
    lost: fn(&str, usize, usize, u64) -> Option<Status>,
}

impl Made {
    fn small() -> Self {
        Self {
            textures: &["bubbly", "cracked"],
            channels: vec![6, 8, 12],
            hidden: vec![16, 32, 64],
            seeds: 1,
            size: 48,
            rows: 500,
            lost: |texture, c, d, _| (texture == "cracked" && (c, d) == (12, 16)).then_some(Status::Diverged),
        }
    }

    fn paper() -> Self {
        Self {
            textures: &["bubbly", "chequered", "cracked", "interlaced"],
            channels: (8..=128).step_by(8).collect(),
            hidden: (16..=128).step_by(16).collect(),
            seeds: 1,
            size: 24,
            rows: 6000,
            lost: |texture, c, d, _| match (texture, c, d) {
                ("interlaced", 128, 16) | ("cracked", 120, 16..=32) => Some(Status::Diverged),
                ("bubbly", 40, 64) => Some(Status::Failed),
                _ => None,
            },
        }
    }

    fn write(&self, dir: &Path) {
        for (t, name) in self.textures.iter().enumerate() {
            let target = Texture::resolve(name, None, self.size).unwrap().to_image().unwrap();
            for &c in &self.channels {
                for &d in &self.hidden {
                    for seed in 0..self.seeds {
                        self.write_model(dir, (t, name), (c, d, seed), &target);
                    }
                }
            }
            write_png(layout::target(dir, name), &target).unwrap();
        }
    }

    fn write_model(
        &self,
        dir: &Path,
        (t, texture): (usize, &str),
        (c, d, seed): (usize, usize, u64),
        target: &RgbImage,
    ) {
        let mut rng = PhiloxRng::new(seed, Stream::Test, (t * 1_000_000 + c * 1000 + d) as u64);
        let mut noise = move || 2.0 * rng.uniform() - 1.0;
        let model = ModelDir::of(dir, texture, c, d, seed);
        fs::create_dir_all(model.path()).unwrap();
        let status = (self.lost)(texture, c, d, seed).unwrap_or(Status::Ok);
        let ratio = d as f64 / c as f64;
        let psi = (0.12 + 0.1 * t as f64) * (1.0 + ratio.ln() + 0.5 * noise()).max(0.02);
        let rows = if status == Status::Diverged {
            self.rows / 3
        } else {
            self.rows
        };
        let mut metrics = String::new();
        let mut loss = 0.0;
        for iteration in 1..=rows {
            let progress = iteration as f64 / self.rows as f64;
            let transient = 3000.0 * (-60.0 * progress).exp();
            loss = (0.2 + 5.0 / (1.0 + 20.0 * progress) + transient)
                * (1.0 + 8.0 / (c + d) as f64)
                * (1.0 + 0.2 * noise());
            if status == Status::Diverged && iteration + 20 > rows {
                loss *= 10f64.powi((iteration + 20 - rows) as i32);
            }
            let measured = iteration % (self.rows / 12).max(1) == 0;
            let row = MetricRow {
                iteration,
                loss: if status == Status::Diverged && iteration == rows {
                    f64::NAN
                } else {
                    loss
                },
                appearance_loss: loss,
                motion_loss: None,
                psi_training: None,
                overflow_loss: 0.0,
                learning_rate: 1e-3,
                steps: 48,
                seconds: 0.01 * iteration as f64,
                psi: measured.then(|| psi * progress.sqrt() * (1.0 + 0.15 * noise())),
                psi_se: measured.then_some(0.01),
            };
            metrics += &format!("{}\n", serde_json::to_string(&row).unwrap());
        }
        fs::write(model.metrics(), metrics).unwrap();
        let ok = |value| (status == Status::Ok).then_some(value);
        let record = ModelRecord {
            texture: texture.to_owned(),
            channels: c,
            hidden: d,
            seed,
            status,
            psi: ok(psi),
            psi_se: ok(0.03 * psi + 0.004),
            psi_floor_static: ok(0.0),
            psi_floor_flicker: ok(0.05),
            flow: "classical".to_owned(),
            steps_per_frame: 32,
            appearance_loss: ok(loss),
            texture_distance: ok(1.5 + noise() * 0.5),
            loss: ok(loss),
            iterations: rows,
            seconds: Some(12.0),
            precision: "f32".to_owned(),
            backend: "cpu".to_owned(),
        };
        if status == Status::Ok {
            let mut frame = target.clone();
            for value in frame.as_flat_samples_mut().samples.iter_mut() {
                *value = (f64::from(*value) + 30.0 * noise()).clamp(0.0, 255.0) as u8;
            }
            write_png(model.frame(), &frame).unwrap();
        }
        let result = ResultFile::new(record, "patches", vec![psi; 3]);
        fs::write(model.result(), serde_json::to_string(&result).unwrap()).unwrap();
    }
}

/// A directory that vanishes, or stays where it can be looked at.
struct Place {
    path: PathBuf,
    _temporary: Option<TempDir>,
}

fn place(name: &str) -> Place {
    if let Some(out) = std::env::var_os("NCA_REPORT_OUT") {
        let path = Path::new(&out).join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        return Place { path, _temporary: None };
    }
    let temporary = tempfile::tempdir().unwrap();
    Place {
        path: temporary.path().to_owned(),
        _temporary: Some(temporary),
    }
}

fn report(name: &str, made: &Made) -> (Place, ReportSummary) {
    let place = place(name);
    made.write(&place.path);
    let summary = write_report(&place.path).unwrap();
    (place, summary)
}

#[test]
fn a_small_sweep_gives_every_file() {
    let made = Made::small();
    let (place, summary) = report("small", &made);
    assert_eq!((summary.ok, summary.diverged, summary.failed), (17, 1, 0));
    for file in [
        "results.csv",
        "report.md",
        "correlations.csv",
        "contact_sheet.png",
        "plots/heatmap.svg",
        "plots/heatmap.png",
        "plots/heatmap.csv",
        "plots/standard_error.svg",
        "plots/heatmap_bubbly.svg",
        "plots/architecture.csv",
        "plots/curves_bubbly.csv",
        "plots/architecture.svg",
        "plots/architecture.png",
        "plots/curves_bubbly.svg",
        "plots/curves_cracked.png",
    ] {
        let path = place.path.join(file);
        assert!(path.is_file(), "{file}");
        assert!(summary.files.contains(&path), "{file}");
    }
    assert!(summary.files.iter().all(|path| path.is_file()));

    let records = read_csv(layout::results_csv(&place.path)).unwrap();
    let collected = collect(&place.path).unwrap();
    assert!(records.iter().eq(collected.records()));
    assert!(summary.movers.windows(2).all(|pair| pair[0].psi >= pair[1].psi));
    // Ψ was made to grow with D/C.
    let ratio = summary
        .correlations
        .iter()
        .find(|c| c.texture.is_none() && c.quantity == Quantity::Ratio)
        .unwrap();
    assert_eq!(ratio.correlation.n, 17);
    assert!(ratio.correlation.spearman.unwrap() > 0.5);
    let interval = ratio.correlation.spearman_interval.unwrap();
    assert!(interval.low > 0.0 && interval.high < 1.0, "{interval:?}");
    assert_eq!(summary.correlations.len(), 3 * Quantity::ALL.len());
    let all = summary.moving.last().unwrap();
    let above = records.iter().filter(|r| r.above_floor() == Some(true)).count();
    assert_eq!((all.above_floor, all.models, summary.moving.len()), (above, 17, 3));

    let table = fs::read_to_string(layout::correlations_csv(&place.path)).unwrap();
    assert_eq!(table.lines().count(), 1 + summary.correlations.len());
    let pooled = format!(",D/C,17,9,{},", ratio.correlation.pearson.unwrap());
    assert!(table.lines().any(|line| line.starts_with(&pooled)), "{table}");

    let text = fs::read_to_string(layout::report_md(&place.path)).unwrap();
    assert!(
        text.contains("18 models finished: 17 ok, 1 diverged, 0 failed; 0 begun and not finished."),
        "{text}"
    );
    assert!(text.contains("![contact sheet](<contact_sheet.png>)"), "{text}");
    assert!(
        text.contains("intervals by the bootstrap over architectures (C, D)"),
        "{text}"
    );
}

/// The texts of an SVG file, which must be a document in XML.
fn svg_texts(place: &Place, stem: &str) -> Vec<String> {
    let path = layout::plots_dir(&place.path).join(stem).with_extension("svg");
    let text = fs::read_to_string(path).unwrap();
    assert!(!text.contains("NaN") && !text.contains("inf"), "{stem}");
    let document = roxmltree::Document::parse(&text).unwrap();
    let texts = document.descendants().filter(|node| node.has_tag_name("text"));
    texts.filter_map(|node| Some(node.text()?.trim().to_owned())).collect()
}

#[test]
fn svg_is_wellformed_and_keeps_its_text() {
    let (place, _) = report("svg", &Made::small());
    let holds = |texts: &[String], part: &str| texts.iter().any(|text| text.contains(part));
    let heatmap = svg_texts(&place, "heatmap");
    for text in [
        "Ψ (px/frame)",
        "Hidden neurons D",
        "Channels C",
        "bubbly",
        "mean of all",
        "diverged",
        "64",
        "12",
    ] {
        assert!(heatmap.iter().any(|t| t == text), "{text} in {heatmap:?}");
    }
    assert!(!holds(&heatmap, "not run"));
    assert!(holds(&svg_texts(&place, "standard_error"), "SE of Ψ (px/frame)"));
    let architecture = svg_texts(&place, "architecture");
    for text in [
        "Pearson r = ",
        "Spearman ρ = ",
        "log(D/C)",
        "D/C",
        "D − C",
        "|D − C|",
        "C·D",
    ] {
        assert!(holds(&architecture, text), "{text} in {architecture:?}");
    }
    let curves = svg_texts(&place, "curves_cracked");
    for text in ["Iteration", "Loss", "Ψ (px/frame)", "diverged", "C = 12"] {
        assert!(holds(&curves, text), "{text} in {curves:?}");
    }
}

#[test]
fn a_plot_comes_with_its_numbers() {
    let mut made = Made::small();
    made.seeds = 2;
    let (place, _) = report("numbers", &made);
    let rows = |stem: &str| -> Vec<BTreeMap<String, String>> {
        let path = layout::plots_dir(&place.path).join(stem).with_extension("csv");
        csv::Reader::from_path(path)
            .unwrap()
            .deserialize()
            .map(Result::unwrap)
            .collect()
    };
    let heatmap = rows("heatmap");
    // Two textures and their mean.
    assert_eq!(heatmap.len(), 3 * 9);
    let row = |texture: &str, channels: &str, hidden: &str| {
        let mut rows = heatmap.iter();
        rows.find(|row| row["texture"] == texture && row["channels"] == channels && row["hidden"] == hidden)
            .unwrap()
    };
    let cell = |texture: &str, channels: &str, hidden: &str| {
        let row = row(texture, channels, hidden);
        let number = |name: &str| row[name].parse::<f64>().ok();
        (number("psi"), number("psi_se"), row["status"].clone())
    };
    let (bubbly, cracked) = (cell("bubbly", "6", "64"), cell("cracked", "6", "64"));
    let (psi, se) = (
        bubbly.0.unwrap() + cracked.0.unwrap(),
        bubbly.1.unwrap().hypot(cracked.1.unwrap()),
    );
    let mean = cell("mean of all", "6", "64");
    assert!((mean.0.unwrap() - psi / 2.0).abs() < 1e-12 && (mean.1.unwrap() - se / 2.0).abs() < 1e-12);
    assert_eq!(cell("cracked", "12", "16"), (None, None, "diverged".to_owned()));
    assert_eq!(cell("mean of all", "12", "16").0, cell("bubbly", "12", "16").0);
    // Models that were lost were run all the same.
    let counts = |texture: &str| {
        let row = row(texture, "12", "16");
        (row["measured"].as_str(), row["models"].as_str())
    };
    assert_eq!(counts("bubbly"), ("2", "2"));
    assert_eq!(counts("cracked"), ("0", "2"));
    assert_eq!(counts("mean of all"), ("2", "4"));
    assert_eq!(rows("architecture").len(), 34);
    let curves = rows("curves_cracked");
    assert!(curves.iter().any(|row| row["quantity"] == "psi") && curves.iter().any(|row| row["quantity"] == "loss"));
}

#[test]
fn the_same_sweep_gives_the_same_bytes() {
    let made = Made::small();
    let (place, summary) = report("twice", &made);
    let before: Vec<_> = summary.files.iter().map(|path| fs::read(path).unwrap()).collect();
    write_report(&place.path).unwrap();
    for (path, bytes) in summary.files.iter().zip(before) {
        assert!(fs::read(path).unwrap() == bytes, "{}", path.display());
    }
}

#[test]
fn the_grid_of_the_paper_gives_every_file() {
    let mut made = Made::paper();
    if std::env::var_os("NCA_REPORT_OUT").is_some() {
        made.size = 128;
    } else {
        made.rows = 300;
    }
    let (_place, summary) = report("paper", &made);
    assert_eq!((summary.ok, summary.diverged, summary.failed), (508, 3, 1));
    assert_eq!(summary.movers.len(), 10);
}

#[test]
fn seeds_are_averaged_and_half_done_models_listed() {
    let mut made = Made::small();
    made.seeds = 3;
    made.textures = &["bubbly"];
    made.lost = |_, c, d, seed| match (c, d, seed) {
        (6, 16, 0) | (8, 16, _) => Some(Status::Diverged),
        (12, 16, _) => Some(Status::Failed),
        _ => None,
    };
    let place = place("seeds");
    made.write(&place.path);
    for seed in 0..3 {
        fs::remove_file(ModelDir::of(&place.path, "bubbly", 12, 64, seed).result()).unwrap();
    }
    // What an interrupted write leaves behind.
    fs::create_dir_all(layout::models_dir(&place.path).join(".old/x")).unwrap();
    let summary = write_report(&place.path).unwrap();
    assert_eq!((summary.ok, summary.diverged, summary.failed), (17, 4, 3));
    assert_eq!(summary.unfinished.len(), 3);
    let texts = svg_texts(&place, "heatmap");
    for text in ["diverged", "failed", "a seed without Ψ", "not run", "3 seeds"] {
        assert!(texts.iter().any(|t| t.contains(text)), "{text} in {texts:?}");
    }
}

#[test]
fn a_cut_off_line_of_metrics_is_left_out_and_repeated_ones_replace() {
    let place = place("metrics");
    let path = place.path.join("metrics.jsonl");
    let line = |iteration: u64, loss: f64| {
        format!(
            "{{\"iteration\":{iteration},\"loss\":{loss},\"appearance_loss\":1,\"overflow_loss\":0,\
             \"learning_rate\":0.001,\"steps\":32,\"seconds\":1.5}}\n"
        )
    };
    let text = [line(1, 9.0), line(2, 8.0), line(3, 7.0), line(2, 6.0), line(3, 5.0)].concat();
    fs::write(&path, format!("{text}{}", &line(4, 1.0)[..40])).unwrap();
    let rows = read_metrics(&path).unwrap();
    let losses: Vec<_> = rows.iter().map(|row| (row.iteration, row.loss)).collect();
    assert_eq!(losses, [(1, 9.0), (2, 6.0), (3, 5.0)]);
}

#[test]
fn a_table_of_other_columns_is_refused() {
    let place = place("table");
    let path = place.path.join("results.csv");
    fs::write(&path, "texture,psi\nbubbly,1\n").unwrap();
    let message = read_csv(&path).unwrap_err().to_string();
    assert!(
        message.contains("results.csv") && message.contains("texture,psi"),
        "{message}"
    );
}

fn record() -> impl Strategy<Value = ModelRecord> {
    // Zero to nine tenths of the values one may meet, the rest anything.
    let number = || prop::option::of(any::<f64>().prop_filter("finite", |v| v.is_finite()));
    let name = || "[ -~äΨ\n\"]{0,12}";
    let status = prop::sample::select(vec![Status::Ok, Status::Diverged, Status::Failed]);
    (
        (name(), 3..200usize, 1..200usize, any::<u64>(), status),
        (number(), number(), number(), number(), name(), any::<u32>()),
        (number(), number(), number(), any::<u64>(), number(), name(), name()),
    )
        .prop_map(|(a, b, c)| ModelRecord {
            texture: a.0,
            channels: a.1,
            hidden: a.2,
            seed: a.3,
            status: a.4,
            psi: b.0,
            psi_se: b.1,
            psi_floor_static: b.2,
            psi_floor_flicker: b.3,
            flow: b.4,
            steps_per_frame: b.5,
            appearance_loss: c.0,
            texture_distance: c.1,
            loss: c.2,
            iterations: c.3,
            seconds: c.4,
            precision: c.5,
            backend: c.6,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn tables_survive_writing_and_reading(records in prop::collection::vec(record(), 0..6)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.csv");
        write_csv(&path, &records).unwrap();
        prop_assert_eq!(read_csv(&path).unwrap(), records);
    }

    #[test]
    fn damaged_files_give_errors_not_panics(cut in 0..900usize, flip in 0..900usize, bit in 0..8u32) {
        let dir = tempfile::tempdir().unwrap();
        let made = Made { textures: &["bubbly"], channels: vec![8], hidden: vec![16], rows: 3, size: 8, ..Made::small() };
        made.write(dir.path());
        let model = ModelDir::of(dir.path(), "bubbly", 8, 16, 0);
        for path in [model.result(), model.metrics()] {
            let whole = fs::read(&path).unwrap();
            let mut bytes = whole.clone();
            let at = flip % bytes.len();
            bytes[at] ^= 1 << bit;
            bytes.truncate(cut.max(1));
            fs::write(&path, bytes).unwrap();
            // Either outcome may be right; a panic is not.
            let _ = collect(dir.path());
            fs::write(&path, whole).unwrap();
        }
        prop_assert_eq!(collect(dir.path()).unwrap().damaged, []);
    }
}
