//! The page about a sweep: what it says, and that every cell of its grid runs its model.

mod lost;

use std::fs;
use std::path::Path;

use nca_core::philox::{PhiloxRng, Stream};
use nca_core::{Grid, Nca, NcaConfig, Preset};
use nca_train::Texture;
use nca_train::picture::write_png;
use nca_train::report::layout::{self, ModelDir};
use nca_train::report::{MetricRow, ModelRecord, ResultFile, Status, read_result, write_report};
use nca_train::sweep::{SETTINGS_FILE, SweepPreset, SweepSettings};
use serde_json::json;
use spynet::{FlowField, write_flo};
use tempfile::TempDir;

use crate::browser::Browser;
use crate::parity::{MOMENTS, deviation, excess, lively, on_cpu};

/// A name that would break out of the page, were it not escaped everywhere.
const HOSTILE: &str = "z<b>&\"'</script>";
/// Why models have been lost.
const REASON: &str = "the state is not finite at step <7>";
const SIZE: usize = 12;

/// A made-up sweep.
struct Made {
    textures: Vec<&'static str>,
    channels: Vec<usize>,
    hidden: Vec<usize>,
    size: usize,
    rows: u64,
}

impl Made {
    fn small() -> Self {
        Self {
            textures: vec!["bubbly", HOSTILE],
            channels: vec![4, 6],
            hidden: vec![5, 8, 12],
            size: SIZE,
            rows: 12,
        }
    }

    fn paper() -> Self {
        Self {
            textures: vec!["bubbly", "chequered", "cracked", "interlaced"],
            channels: (8..=128).step_by(8).collect(),
            hidden: (16..=128).step_by(16).collect(),
            size: 128,
            rows: 600,
        }
    }

    fn nca(&self, t: usize, c: usize, d: usize) -> Nca {
        let mut nca = lively(NcaConfig::preset(Preset::Paper, c, d).unwrap());
        // No two alike.
        nca.params.b1[0] = (t + 1) as f32 / 16.0;
        nca
    }

    /// Ψ rises with D and falls with C; only the two largest D are above their floor.
    fn record(&self, t: usize, c: usize, d: usize, status: Status) -> ModelRecord {
        let ok = |value: f64| (status == Status::Ok).then_some(value);
        let psi = 0.05 * (t + 1) as f64 + 0.1 * d as f64 / c as f64;
        ModelRecord {
            texture: folder(self.textures[t]).0,
            channels: c,
            hidden: d,
            seed: 3,
            status,
            psi: ok(psi),
            psi_se: ok(0.04 * psi),
            psi_floor_static: ok(0.0),
            psi_floor_flicker: ok(if d == self.hidden[0] { 9.0 } else { 0.01 }),
            flow: "classical".to_owned(),
            steps_per_frame: 32,
            appearance_loss: ok(1.0),
            texture_distance: ok(2.0),
            loss: ok(1.0),
            iterations: 10 * self.rows,
            seconds: Some(1.0),
            precision: "f32".to_owned(),
            backend: "cpu".to_owned(),
        }
    }

    fn write(&self, dir: &Path, lost: impl Fn(usize, usize, usize) -> Option<Status>) {
        let mut settings = SweepSettings::preset(SweepPreset::Quick, "cpu");
        settings.channels.clone_from(&self.channels);
        settings.hidden.clone_from(&self.hidden);
        settings.train.size = self.size;
        fs::write(dir.join(SETTINGS_FILE), serde_json::to_string(&settings).unwrap()).unwrap();
        for (t, texture) in self.textures.iter().enumerate() {
            let (name, exemplar) = folder(texture);
            let target = Texture::resolve(exemplar, None, self.size).unwrap().to_image().unwrap();
            fs::create_dir_all(layout::models_dir(dir).join(safe(&name))).unwrap();
            write_png(layout::models_dir(dir).join(safe(&name)).join("target.png"), &target).unwrap();
            for &c in &self.channels {
                for &d in &self.hidden {
                    let status = lost(t, c, d).unwrap_or(Status::Ok);
                    let model = ModelDir::of(dir, &safe(&name), c, d, 3);
                    fs::create_dir_all(model.path()).unwrap();
                    let record = self.record(t, c, d, status);
                    let mut metrics = String::new();
                    for i in 1..=self.rows {
                        let row = row(10 * i, d as f64 / i as f64, (i % 3 == 0).then_some(0.1 * i as f64));
                        metrics += &format!("{}\n", serde_json::to_string(&row).unwrap());
                    }
                    fs::write(model.metrics(), metrics).unwrap();
                    if status == Status::Ok {
                        write_png(model.frame(), &target).unwrap();
                        let mut rng = PhiloxRng::new(1, Stream::Test, d as u64);
                        let mut flow = vec![0.0; 2 * self.size * self.size];
                        flow.fill_with(|| rng.normal() as f32);
                        write_flo(model.flow(), &FlowField::new(self.size, self.size, flow).unwrap()).unwrap();
                        self.nca(t, c, d).save(model.model()).unwrap();
                    }
                    let mut result = ResultFile::new(record, "patch", vec![0.1; 3]);
                    result.reason = (status != Status::Ok).then(|| REASON.to_owned());
                    fs::write(model.result(), serde_json::to_string(&result).unwrap()).unwrap();
                }
            }
        }
    }
}

/// Name of a texture, and the built-in exemplar that stands for it.
fn folder(texture: &str) -> (String, &str) {
    (texture.to_owned(), if texture == HOSTILE { "cracked" } else { texture })
}

/// Name of the folder of a texture.
fn safe(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_alphanumeric() { c } else { '_' })
        .collect()
}

fn row(iteration: u64, loss: f64, psi: Option<f64>) -> MetricRow {
    MetricRow {
        iteration,
        loss,
        appearance_loss: loss,
        motion_loss: None,
        psi_training: None,
        overflow_loss: 0.0,
        learning_rate: 1e-3,
        steps: 32,
        seconds: 0.0,
        psi,
        psi_se: None,
    }
}

/// The page of the small sweep, of which one model has diverged, one failed, and one has lost its weights.
fn small() -> (TempDir, Made) {
    let directory = tempfile::tempdir().unwrap();
    let made = Made::small();
    made.write(directory.path(), |t, c, d| match (t, c, d) {
        (0, 6, 12) => Some(Status::Diverged),
        (1, 4, 5) => Some(Status::Failed),
        _ => None,
    });
    fs::remove_file(ModelDir::of(directory.path(), "bubbly", 4, 8, 3).model()).unwrap();
    write_report(directory.path()).unwrap();
    (directory, made)
}

/// The page, open and paused; `stage` is its stage.
fn open_paused(browser: &mut Browser, directory: &TempDir) {
    browser.window(1280, 900, false);
    browser.media(&[("prefers-reduced-motion", "reduce")]);
    browser.open(&layout::report_html(directory.path()));
    browser.evaluate("NCA.started.then((s) => { globalThis.stage = s; })");
    // The strongest mover of all is there from the start, and the grid of its texture.
    assert_eq!(on_stage(browser), json!([[HOSTILE, 4, 12]]));
    assert_eq!(
        texts(browser, "#correlations caption"),
        json!([format!("Ψ of {HOSTILE}")])
    );
    browser.click("[name=scope][value=\"0\"] + span");
}

/// Texture, C and D of the models on the stage.
fn on_stage(browser: &mut Browser) -> serde_json::Value {
    browser.evaluate("stage.screens.map(({ model: m }) => [textureOf(m).name, m.channels, m.hidden])")
}

/// Uses something that runs a model, and waits until it is there and the page has come to rest.
fn run_by(browser: &mut Browser, selector: &str) {
    browser.click(selector);
    browser.evaluate("stage.latest");
}

fn cell(row: usize, column: usize) -> String {
    format!("#heatmap td[data-row=\"{row}\"][data-column=\"{column}\"]")
}

fn texts(browser: &mut Browser, selector: &str) -> serde_json::Value {
    browser.evaluate(&format!(
        "[...document.querySelectorAll('{selector}')].map((element) => element.textContent)"
    ))
}

#[test]
fn a_cell_runs_that_very_model() {
    let Some(mut browser) = Browser::start() else { return };
    let (directory, made) = small();
    open_paused(&mut browser, &directory);
    run_by(&mut browser, &cell(1, 1));
    assert_eq!(on_stage(&mut browser), json!([["bubbly", 6, 8]]));
    browser.evaluate("stage.play(false); stage.reset(); stage.screens[0].run(8)");
    let got = browser.floats("stage.screens[0].automaton.readState()");
    let (nca, grid) = (made.nca(0, 6, 8), Grid::square(SIZE));
    assert_eq!(MOMENTS[1], 8);
    let allowed = 2.0 * deviation(&nca, grid, 3)[1];
    assert!(excess(&got, &on_cpu(&nca, grid, 3)[1], allowed) <= 1.0);
    // Its neighbour's state is another.
    assert!(excess(&got, &on_cpu(&made.nca(1, 6, 8), grid, 3)[1], allowed) > 1.0);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn the_grid_has_keys() {
    let Some(mut browser) = Browser::start() else { return };
    let (directory, _) = small();
    open_paused(&mut browser, &directory);
    // One cell alone takes the focus from outside.
    assert_eq!(
        browser.evaluate("document.querySelectorAll('#heatmap td[tabindex=\"0\"]').length"),
        json!(1)
    );
    browser.evaluate("document.querySelector('#heatmap td[tabindex=\"0\"]').focus()");
    browser.key("ArrowDown");
    browser.key("ArrowRight");
    browser.key("Enter");
    browser.evaluate("stage.latest");
    assert_eq!(on_stage(&mut browser), json!([["bubbly", 6, 8]]));
    browser.key("End");
    let focused = "[document.activeElement.dataset.row, document.activeElement.dataset.column]";
    assert_eq!(browser.evaluate(focused), json!(["1", "2"]));
    // It has diverged: there is nothing to run, and the page says why.
    assert_eq!(
        browser.evaluate("document.activeElement.title"),
        json!(format!("C = 6, D = 12: diverged; {REASON}"))
    );
    browser.key("Enter");
    assert_eq!(on_stage(&mut browser), json!([["bubbly", 6, 8]]));
    browser.key("Home");
    browser.key("ArrowUp");
    browser.key("ArrowLeft");
    browser.key("ArrowUp");
    assert_eq!(browser.evaluate(focused), json!(["0", "0"]));
    let playing = browser.evaluate("stage.playing");
    browser.key(" ");
    assert_ne!(browser.evaluate("stage.playing"), playing);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn the_grid_shows_every_aspect_and_texture() {
    let Some(mut browser) = Browser::start() else { return };
    let (directory, _) = small();
    open_paused(&mut browser, &directory);
    let cells = "#heatmap td";
    assert_eq!(
        texts(&mut browser, cells),
        json!(["0.17", "0.25", "0.35", "0.13", "0.18", "✕"])
    );
    let words = browser.evaluate(&format!(
        "document.querySelector('{}').getAttribute('aria-label')",
        cell(0, 0)
    ));
    assert_eq!(
        words,
        json!("C = 4, D = 5: Ψ 0.175 ± 0.007 px/frame, not above its motion floor")
    );
    assert_eq!(
        browser.evaluate("[...document.querySelectorAll('#heatmap td.still')].length"),
        json!(2)
    );
    browser.click("[name=aspect][value=error] + span");
    assert_eq!(
        texts(&mut browser, cells),
        json!(["0.007", "0.010", "0.014", "0.005", "0.007", "✕"])
    );
    for aspect in ["frame", "flow"] {
        browser.click(&format!("[name=aspect][value={aspect}] + span"));
        browser.wait_for(
            "[...document.querySelectorAll('#heatmap td img')].filter((i) => i.naturalWidth === 12).length === 5",
        );
    }
    browser.wait_for("document.querySelector('.wheel').naturalWidth === 96");

    browser.click("[name=aspect][value=psi] + span");
    browser.click("[name=scope][value=\"1\"] + span");
    assert_eq!(
        texts(&mut browser, cells),
        json!(["!", "0.30", "0.40", "0.18", "0.23", "0.30"])
    );
    assert_eq!(
        texts(&mut browser, "#correlations caption"),
        json!([format!("Ψ of {HOSTILE}")])
    );
    // Pooled: the mean of both textures, or of what there is.
    browser.click("[name=scope][value=\"2\"] + span");
    assert_eq!(
        texts(&mut browser, cells),
        json!(["0.17", "0.28", "0.38", "0.16", "0.21", "0.30"])
    );
    run_by(&mut browser, &cell(1, 1));
    assert_eq!(on_stage(&mut browser), json!([[HOSTILE, 6, 8]]));
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn movers_curves_and_choosers_run_models_too() {
    let Some(mut browser) = Browser::start() else { return };
    let (directory, _) = small();
    open_paused(&mut browser, &directory);
    run_by(&mut browser, "#movers li:nth-child(2) button");
    assert_eq!(on_stage(&mut browser), json!([["bubbly", 4, 12]]));

    // Beside it a model to compare with; the next one chosen goes to that screen.
    browser.click("#compare");
    browser.wait_for("stage.screens.length === 2 && stage.screens[1].ready");
    run_by(&mut browser, &cell(0, 0));
    assert_eq!(on_stage(&mut browser), json!([["bubbly", 4, 12], ["bubbly", 4, 5]]));
    assert_eq!(
        browser.evaluate("document.querySelectorAll('#heatmap td.running').length"),
        json!(2)
    );
    browser.click("#compare");

    let index = browser.evaluate("DATA.models.findIndex((m) => m.texture === 1 && m.channels === 6 && m.hidden === 5)");
    browser.choose(".screen .model", &index.to_string());
    browser.wait_for("stage.screens[0].model.channels === 6");
    assert_eq!(on_stage(&mut browser), json!([[HOSTILE, 6, 5]]));

    // One line for each model of the texture that has a curve, and clicking one runs it.
    let series = "uPlotCharts().map((chart) => chart.series.length - 1)";
    browser.evaluate("globalThis.uPlotCharts = () => stage.curves.charts.map(({ chart }) => chart); 0");
    assert_eq!(browser.evaluate(series), json!([6, 6]));
    browser.choose("#curve-channels", "4");
    assert_eq!(browser.evaluate(series), json!([3, 3]));
    let place = browser.evaluate(
        "(() => {
            const [, chart] = uPlotCharts();
            const { left, top } = { left: chart.valToPos(chart.data[0][5], 'x'), top: chart.valToPos(chart.data[3][5], 'y') };
            return [left / chart.over.clientWidth, top / chart.over.clientHeight];
        })()",
    );
    let at: (f64, f64) = serde_json::from_value(place).unwrap();
    browser.drag("#loss-chart .u-over", at, at);
    browser.evaluate("stage.latest");
    assert_eq!(on_stage(&mut browser), json!([[HOSTILE, 4, 12]]));
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn numbers_settings_and_names_are_there() {
    let Some(mut browser) = Browser::start() else { return };
    let (directory, _) = small();
    open_paused(&mut browser, &directory);
    let lead = browser.evaluate("document.getElementById('lead').textContent");
    let lead = lead.as_str().unwrap();
    for part in [
        "10 models trained on 2 textures",
        "7 of 10 move",
        "1 model diverged",
        "1 model failed",
        HOSTILE,
    ] {
        assert!(lead.contains(part), "no '{part}' in {lead}");
    }
    // Where nothing moves, nothing is called a mover.
    let still = browser.evaluate(
        "(() => {
            for (const model of DATA.models) model.aboveFloor = false;
            for (const row of DATA.sweep.moving) row.above_floor = 0;
            drawLead();
            return document.getElementById('lead').textContent;
        })()",
    );
    let still = still.as_str().unwrap();
    assert!(
        still.contains("None of 10 moves") && still.contains("The largest Ψ"),
        "{still}"
    );
    assert!(!still.contains("mover"), "{still}");
    // The clearest of several is said to be that.
    let answer = browser.evaluate(
        "answer(['a', 'b', 'c', 'd', 'e'].map((quantity, i) => ({
            quantity, n: 36, architectures: 9, spearman: 0.5 + 0.05 * i, spearman_interval: { low: 0.1, high: 0.9 },
        })), null)",
    );
    let answer = answer.as_str().unwrap();
    for part in [
        "rises with e most clearly of 5 quantities",
        "36 models of 9 architectures",
        "up to about 25 % of sweeps",
    ] {
        assert!(answer.contains(part), "no '{part}' in {answer}");
    }
    assert_eq!(
        texts(&mut browser, "#correlations tbody th"),
        json!(["D/C", "D − C", "|D − C|", "C·D", "log(D/C)"])
    );
    assert_eq!(
        texts(&mut browser, "#command"),
        json!(["cargo xtask sweep --preset quick --channels 4,6 --hidden 5,8,12 --size 12 --backend cpu"])
    );
    assert_eq!(
        browser.evaluate("JSON.parse(document.getElementById('settings').textContent).train.size"),
        json!(12)
    );
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_device_that_cannot_goes_on_saying_so() {
    let Some(mut browser) = Browser::start() else { return };
    let (directory, _) = small();
    browser.call(
        "Page.addScriptToEvaluateOnNewDocument",
        json!({ "source": "WebGL2RenderingContext.prototype.getExtension = () => null;" }),
    );
    browser.window(1280, 900, false);
    browser.open(&layout::report_html(directory.path()));
    browser.evaluate("NCA.started.then((s) => { globalThis.stage = s; })");
    let notice = "[stage.$notice.hidden, stage.$notice.textContent]";
    let reason = browser.evaluate(notice);
    assert!(
        reason[1].as_str().unwrap().contains("EXT_color_buffer_float"),
        "{reason}"
    );
    for control in [cell(1, 1).as_str(), "#reset", "#play", "#compare"] {
        browser.click(control);
        browser.evaluate("stage.latest");
        assert_eq!(browser.evaluate(notice), reason, "{control}");
        assert_eq!(browser.evaluate("stage.playing"), json!(false), "{control}");
    }
    // Pictures and numbers are there for all that.
    assert_eq!(texts(&mut browser, "#heatmap td").as_array().unwrap().len(), 6);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_sweep_of_which_no_model_has_finished_has_a_page() {
    let Some(mut browser) = Browser::start() else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut settings = SweepSettings::preset(SweepPreset::Quick, "cpu");
    settings.channels = vec![4];
    let text = serde_json::to_string(&settings).unwrap();
    fs::write(directory.path().join(SETTINGS_FILE), text).unwrap();
    for hidden in [8, 16] {
        fs::create_dir_all(ModelDir::of(directory.path(), "bubbly", 4, hidden, 0).path()).unwrap();
    }
    write_report(directory.path()).unwrap();
    browser.window(1280, 900, false);
    browser.open(&layout::report_html(directory.path()));
    assert_eq!(
        texts(&mut browser, "#lead"),
        json!(["No model has finished yet. 3 models still to come."])
    );
    // The title, what was found and how it is made; nothing to click but the colours.
    let shown = "[...document.querySelectorAll('h2, button, p')].filter((e) => e.checkVisibility()).map((e) => e.id)";
    assert_eq!(browser.evaluate(shown), json!(["theme", "lead", "made-title"]));
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn it_fits_wide_and_narrow_windows_in_light_and_dark() {
    let Some(mut browser) = Browser::start() else { return };
    let (directory, _) = small();
    open_paused(&mut browser, &directory);
    for (width, height) in [(1280, 900), (390, 844)] {
        for dark in [false, true] {
            browser.window(width, height, dark);
            browser.wait_for(&format!("innerWidth === {width} && !document.fonts.loading"));
            browser.evaluate("scrollTo(0, 0)");
            let scheme = if dark { "dark" } else { "light" };
            let picture = browser.picture(&format!("report_{width}_{scheme}"));
            assert_eq!(picture.dimensions(), (width, height));
            let corner = picture.get_pixel(2, height - 3).0;
            assert_eq!(corner.iter().all(|&v| v < 64), dark, "{corner:?}");
            assert_eq!(
                browser.evaluate("document.documentElement.scrollWidth <= innerWidth"),
                json!(true),
                "{width}"
            );
        }
    }
    assert_eq!(browser.complaints(), [""; 0]);
}

/// The paper's 512 models, with weights as hard to compress as weights get.
#[test]
fn the_papers_sweep_fits_a_page() {
    const MOST_BYTES: u64 = 50 << 20;
    const MOST_SECONDS: f64 = 3.0;
    let directory = tempfile::tempdir().unwrap();
    Made::paper().write(directory.path(), |_, _, _| None);
    write_report(directory.path()).unwrap();
    let file = layout::report_html(directory.path());
    let bytes = fs::metadata(&file).unwrap().len();
    println!("512 models: {:.1} MB", bytes as f64 / 1e6);
    assert!(bytes < MOST_BYTES, "{bytes}");
    if let Some(folder) = std::env::var_os("NCA_PAGE_OUT") {
        fs::copy(&file, Path::new(&folder).join("paper.html")).unwrap();
    }
    let Some(mut browser) = Browser::start() else { return };
    browser.window(1280, 900, false);
    browser.media(&[("prefers-reduced-motion", "reduce")]);
    browser.call("Performance.enable", json!({ "timeDomain": "threadTicks" }));
    browser.open(&file);
    let milliseconds =
        browser.evaluate("NCA.started.then((s) => (s.screens[0].ready ? Math.round(performance.now()) : -1))");
    println!("its first automaton is there after {milliseconds} ms");
    // Of the clock's time a busy machine gives it only part.
    let seconds = browser.processor_seconds();
    println!("of processor time: {seconds:.2} s");
    assert!(seconds < MOST_SECONDS, "{seconds}");
    assert_eq!(
        browser.evaluate("document.querySelectorAll('#heatmap td').length"),
        json!(128)
    );
    assert_eq!(browser.complaints(), [""; 0]);
}
