//! Every control of the stage, used by mouse and keyboard.

use std::path::Path;

use nca_core::{Nca, NcaConfig, Preset, SeedState};
use nca_train::Texture;
use nca_train::report::page::Exhibit;
use serde_json::json;
use tempfile::TempDir;

use crate::browser::Browser;

/// A page with one small model; its state is nowhere zero, so that damage shows.
fn page() -> (TempDir, std::path::PathBuf) {
    let mut config = NcaConfig::preset(Preset::Paper, 4, 6).unwrap();
    config.seed = SeedState::Uniform;
    let nca = Nca::new(config, 3).unwrap();
    let target = Texture::resolve("bubbly", None, 16).unwrap();
    let exhibit = Exhibit {
        name: "A <model> & its page",
        nca: &nca,
        height: 16,
        width: 20,
        seed: 7,
        target: Some(&target),
    };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("page.html");
    std::fs::write(&file, exhibit.page().unwrap()).unwrap();
    (directory, file)
}

/// The page, open at desktop width, paused at step 0; `stage` and `a` are its stage and automaton.
fn open_paused(browser: &mut Browser, file: &Path) {
    browser.window(1280, 900, false);
    browser.media(&[("prefers-reduced-motion", "reduce")]);
    browser.open(file);
    browser.evaluate("NCA.started.then((s) => { globalThis.stage = s; globalThis.a = s.screens[0].automaton; })");
}

fn step(browser: &mut Browser) -> u64 {
    browser.evaluate("a.step").as_u64().unwrap()
}

/// Cells of the first channel that are exactly zero.
fn zeros(browser: &mut Browser) -> u64 {
    browser
        .evaluate("a.readState().subarray(0, a.width * a.height).filter((v) => v === 0).length")
        .as_u64()
        .unwrap()
}

#[test]
fn a_page_plays_at_once_unless_less_motion_is_asked_for() {
    let Some(mut browser) = Browser::start() else { return };
    let (_directory, file) = page();
    for (preference, plays) in [("reduce", false), ("no-preference", true)] {
        browser.media(&[("prefers-reduced-motion", preference)]);
        browser.open(&file);
        browser.evaluate("NCA.started.then((s) => { globalThis.stage = s; globalThis.a = s.screens[0].automaton; })");
        assert_eq!(browser.evaluate("stage.playing"), json!(plays), "{preference}");
        if plays {
            browser.wait_for("a.step > 2");
        } else {
            assert_eq!(step(&mut browser), 0);
        }
    }
    assert_eq!(browser.evaluate("document.title"), json!("A <model> & its page"));
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn time_is_controlled() {
    let Some(mut browser) = Browser::start() else { return };
    let (_directory, file) = page();
    open_paused(&mut browser, &file);

    browser.click("#play");
    assert_eq!(browser.evaluate("stage.$play.textContent"), json!("Pause"));
    browser.wait_for("a.step > 2");
    browser.click("#play");
    let stopped = step(&mut browser);
    browser.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))");
    assert_eq!(step(&mut browser), stopped);

    browser.click("#single");
    assert_eq!(step(&mut browser), stopped + 1);
    assert_eq!(
        browser.evaluate("document.querySelector('.progress').textContent"),
        json!(format!("step {}", stopped + 1))
    );

    browser.click("#reset");
    assert_eq!(step(&mut browser), 0);
    browser.choose("#speed", "32");
    browser.click("#play");
    browser.wait_for("a.step > 32");
    browser.click("#play");
    assert_eq!(step(&mut browser) % 32, 0);

    // Space plays and pauses wherever nothing else wants it.
    browser.evaluate("document.activeElement.blur()");
    browser.key(" ");
    assert_eq!(browser.evaluate("stage.playing"), json!(true));
    browser.key(" ");
    assert_eq!(browser.evaluate("stage.playing"), json!(false));
    // On a button it presses that button, once.
    browser.evaluate("stage.$single.focus()");
    let before = step(&mut browser);
    browser.key(" ");
    assert_eq!(
        (step(&mut browser), browser.evaluate("stage.playing")),
        (before + 1, json!(false))
    );
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn the_pointer_damages_and_moves() {
    let Some(mut browser) = Browser::start() else { return };
    let (_directory, file) = page();
    open_paused(&mut browser, &file);
    assert_eq!(zeros(&mut browser), 0);

    browser.evaluate("stage.$brush.value = 2; 0");
    browser.drag("canvas", (0.5, 0.5), (0.5, 0.5));
    // Centres of cells nearer than 2 to the corner of four of them: 12.
    assert_eq!(zeros(&mut browser), 12);
    let place = "[a.readState()[7 * 20 + 9], a.readState()[8 * 20 + 10], a.readState()[3] !== 0]";
    assert_eq!(browser.evaluate(place), json!([0, 0, true]));
    // All channels.
    assert_eq!(browser.evaluate("a.readState()[3 * 320 + 8 * 20 + 10]"), json!(0));

    browser.click("#reset");
    browser.evaluate("stage.$brush.value = 4; 0");
    // Over the edge of the torus, and without gaps.
    browser.drag("canvas", (0.001, 0.5), (0.999, 0.5));
    let rows = browser.evaluate("[7, 8].map((y) => a.readState().subarray(20 * y, 20 * y + 20).every((v) => v === 0))");
    assert_eq!(rows, json!([true, true]));

    browser.click("#reset");
    browser.click("#zoom-in");
    assert_eq!(browser.evaluate("stage.$zoom.textContent"), json!("2×"));
    browser.click("[name=tool][value=move] + span");
    browser.drag("canvas", (0.5, 0.5), (0.25, 0.5));
    assert_eq!(zeros(&mut browser), 0);
    let centre = browser.evaluate("stage.centre[0]").as_f64().unwrap();
    assert!((centre - 0.625).abs() < 0.01, "{centre}");
    // What is damaged is what is seen.
    browser.click("[name=tool][value=damage] + span");
    browser.drag("canvas", (0.5, 0.5), (0.5, 0.5));
    assert_eq!(browser.evaluate("a.readState()[8 * 20 + 12]"), json!(0));
    browser.click("#zoom-out");
    assert_eq!(browser.evaluate("[stage.zoom, ...stage.centre]"), json!([1, 0.5, 0.5]));
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn the_picture_has_keys() {
    let Some(mut browser) = Browser::start() else { return };
    let (_directory, file) = page();
    open_paused(&mut browser, &file);
    browser.evaluate("document.querySelector('canvas').focus()");
    browser.key("+");
    browser.key("ArrowLeft");
    browser.key("ArrowUp");
    assert_eq!(
        browser.evaluate("[stage.zoom, ...stage.centre]"),
        json!([2, 0.4375, 0.4375])
    );
    browser.key("ArrowRight");
    browser.key("ArrowDown");
    browser.key("-");
    assert_eq!(browser.evaluate("[stage.zoom, ...stage.centre]"), json!([1, 0.5, 0.5]));
    browser.key("Enter");
    assert!(zeros(&mut browser) > 0);
    browser.key("r");
    assert_eq!(zeros(&mut browser), 0);
    browser.key(" ");
    assert_eq!(browser.evaluate("stage.playing"), json!(true));
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn grid_and_seed_are_the_readers_choice() {
    let Some(mut browser) = Browser::start() else { return };
    let (_directory, file) = page();
    open_paused(&mut browser, &file);
    assert_eq!(
        browser.evaluate("[a.height, a.width, String(a.seed)]"),
        json!([16, 20, "7"])
    );
    let first = browser.floats("a.readState()");

    browser.fill("#height", "9");
    browser.fill("#width", "31");
    assert_eq!(browser.evaluate("[a.height, a.width]"), json!([9, 31]));
    assert_eq!(
        browser.evaluate("stage.screens[0].canvas.style.aspectRatio"),
        json!("31 / 9")
    );

    browser.fill("#height", "16");
    browser.fill("#width", "20");
    browser.fill("#seed", "18446744073709551615");
    assert_eq!(browser.evaluate("String(a.seed)"), json!("18446744073709551615"));
    assert_ne!(browser.floats("a.readState()"), first);
    browser.fill("#seed", "7");
    assert_eq!(browser.floats("a.readState()"), first);
    // One more than there are, last: a new seed is drawn after it all the same.
    for wrong in ["-1", "x", "", "18446744073709551616"] {
        browser.fill("#seed", wrong);
        assert_eq!(browser.evaluate("String(a.seed)"), json!("7"), "{wrong:?}");
    }
    // No model either is shown with a seed that there is not.
    browser.evaluate("stage.show(stage.screens[0], DATA.models[0])");
    assert_eq!(browser.evaluate("String(a.seed)"), json!("7"));
    browser.click("#reseed");
    assert_ne!(browser.evaluate("String(a.seed)"), json!("7"));
    assert_eq!(browser.evaluate("stage.$seed.value === String(a.seed)"), json!(true));
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn two_run_side_by_side_and_colours_change() {
    let Some(mut browser) = Browser::start() else { return };
    let (_directory, file) = page();
    open_paused(&mut browser, &file);
    browser.click("#single");
    browser.click("#compare");
    browser.wait_for("stage.screens.length === 2 && stage.screens[1].ready");
    // They start together, and go together.
    assert_eq!(
        browser.evaluate("stage.screens.map((s) => s.automaton.step)"),
        json!([0, 0])
    );
    browser.click("#single");
    assert_eq!(
        browser.evaluate("stage.screens.map((s) => s.automaton.step)"),
        json!([1, 1])
    );
    let apart = browser.evaluate(
        "(() => {
            const [one, two] = stage.screens.map((s) => s.canvas.getBoundingClientRect());
            return one.right <= two.left && Math.abs(one.top - two.top) < 1;
        })()",
    );
    assert_eq!(apart, json!(true));
    browser.click("#compare");
    assert_eq!(browser.evaluate("document.querySelectorAll('canvas').length"), json!(1));

    let colour = "getComputedStyle(document.body).backgroundColor";
    let light = browser.evaluate(colour);
    browser.click("#theme");
    assert_ne!(browser.evaluate(colour), light);
    browser.click("#theme");
    assert_eq!(browser.evaluate(colour), light);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_device_that_cannot_says_so() {
    let Some(mut browser) = Browser::start() else { return };
    let (_directory, file) = page();
    browser.call(
        "Page.addScriptToEvaluateOnNewDocument",
        json!({ "source": "WebGL2RenderingContext.prototype.getExtension = () => null;" }),
    );
    browser.open(&file);
    let notice = browser.evaluate("[stageNotice = document.getElementById('notice'), 0] && stageNotice.textContent");
    assert!(notice.as_str().unwrap().contains("EXT_color_buffer_float"), "{notice}");
    assert_eq!(browser.evaluate("stageNotice.hidden"), json!(false));
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn what_a_device_refuses_leaves_the_model_before() {
    let Some(mut browser) = Browser::start() else { return };
    let (_directory, file) = page();
    open_paused(&mut browser, &file);
    browser.click("#single");
    let before = browser.floats("a.readState()");
    let found = browser.evaluate(
        "(async () => {
            const other = { ...await runnable(DATA.models[0]), fireRate: 1 };
            const wide = a.gl.getParameter(a.gl.MAX_TEXTURE_SIZE) + 1;
            try {
                a.load(other, 16, wide, 0n);
            } catch (error) {
                return [error instanceof Unsupported, a.model.fireRate === 1, a.height, a.width, a.step];
            }
        })()",
    );
    assert_eq!(found, json!([true, false, 16, 20, 1]));
    assert_eq!(browser.floats("a.readState()"), before);
    // It runs on; a model as untrained as this one changes nothing.
    browser.click("#single");
    assert_eq!(step(&mut browser), 2);
    assert_eq!(browser.floats("a.readState()"), before);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_context_that_is_lost_comes_back() {
    let Some(mut browser) = Browser::start() else { return };
    let (_directory, file) = page();
    open_paused(&mut browser, &file);
    browser.evaluate("globalThis.lose = a.gl.getExtension('WEBGL_lose_context'); lose.loseContext()");
    browser.wait_for("!stage.screens[0].ready");
    browser.click("#play");
    browser.evaluate("lose.restoreContext()");
    browser.wait_for("stage.screens[0].ready && stage.screens[0].automaton.step > 2");
    assert_eq!(browser.complaints(), [""; 0]);
}
