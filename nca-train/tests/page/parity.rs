//! The page's automaton is the CPU's automaton.

use nca_core::backend::{MaskKey, Mlp, Perceive, Update};
use nca_core::cpu::Cpu;
use nca_core::philox::{PhiloxRng, Stream, fire_threshold, is_active};
use nca_core::reference::Reference;
use nca_core::testkit::Tolerance;
use nca_core::{Error, Grid, Nca, NcaConfig, Padding, Params, Preset, SeedState, Simulation, seed_state};
use nca_train::report::page::{Exhibit, as_shown};
use nca_train::rgb8;
use tempfile::TempDir;

use crate::browser::Browser;

/// Steps after which states are compared.
pub(crate) const MOMENTS: [u32; 3] = [1, 8, 64];
/// Rollouts with random rounding errors, from which the deviation to be expected is taken.
const TRIALS: usize = 4;
const SEED: u64 = 0x0123_4567_89AB_CDEF;

/// A model whose second layer does something: untrained ones of `paper` and `distill` stand still.
pub(crate) fn lively(config: NcaConfig) -> Nca {
    let mut nca = Nca::new(config, 5).unwrap();
    let mut rng = PhiloxRng::new(5, Stream::Test, 0);
    let sigma = 0.1 / (nca.config.hidden as f64).sqrt();
    nca.params.w2.fill_with(|| (sigma * rng.normal()) as f32);
    if let Some(b2) = &mut nca.params.b2 {
        b2.fill_with(|| (0.01 * rng.normal()) as f32);
    }
    as_shown(&nca).unwrap()
}

/// The page of `nca`, opened, with an automaton of it called `a` on a grid of its own.
fn open(browser: &mut Browser, nca: &Nca, grid: Grid, seed: u64) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let exhibit = Exhibit {
        name: "parity",
        nca,
        height: 8,
        width: 8,
        seed: 0,
        target: None,
    };
    let file = directory.path().join("page.html");
    std::fs::write(&file, exhibit.page().unwrap()).unwrap();
    browser.media(&[("prefers-reduced-motion", "reduce")]);
    browser.open(&file);
    let Grid { height, width, .. } = grid;
    browser.evaluate(&format!(
        "(async () => {{
            globalThis.a = new Automaton(document.createElement('canvas'));
            a.load(await runnable(DATA.models[0]), {height}, {width}, {seed}n);
        }})()"
    ));
    directory
}

/// How far a rollout in f32 may be from one in exact arithmetic after each of [`MOMENTS`].
///
/// In one step a sum of n products is off by at most `Tolerance::reduction(n)` of the sum of their
/// absolute values. How such errors grow over many steps depends on the model, so it is tried:
/// f64 rollouts in which every active element is off by that bound, with random signs; the largest
/// deviation of any element in any of them.
pub(crate) fn deviation(nca: &Nca, grid: Grid, seed: u64) -> Vec<f64> {
    let backend = Reference::<f64>::new();
    let config = &nca.config;
    let wide = |values: &Vec<f32>| Ok::<_, Error>(values.iter().map(|&v| f64::from(v)).collect());
    let params: Params<Vec<f64>> = nca.params.try_map(wide).unwrap();
    let absolute = |values: &Vec<f64>| Ok::<_, Error>(values.iter().map(|v| v.abs()).collect());
    let sizes: Params<Vec<f64>> = params.try_map(absolute).unwrap();
    let mut absolute_kernels = config.clone();
    for weight in absolute_kernels.perception.kernels.iter_mut().flatten().flatten() {
        *weight = weight.abs();
    }
    let tolerance = Tolerance::reduction(9 + config.perceived() + config.hidden + 2);
    let cells = grid.plane();
    let [mut z, mut h, mut dx] = [config.perceived(), config.hidden, config.channels].map(|n| vec![0.0; n * cells]);
    let start: Vec<f64> = seed_state::<f32>(config, grid, seed)
        .into_iter()
        .map(f64::from)
        .collect();
    // The last rollout is the exact one.
    let mut states = vec![start; TRIALS + 1];
    let mut next = vec![0.0; config.channels * cells];
    let mut rng = PhiloxRng::new(1, Stream::Test, 1);
    let mut found = Vec::new();
    for step in 0..MOMENTS[MOMENTS.len() - 1] {
        let key = MaskKey { seed, step };
        for (trial, state) in states.iter_mut().enumerate() {
            let size: Vec<f64> = state.iter().map(|v| v.abs()).collect();
            backend.perceive(&absolute_kernels, grid, &size, &mut z).unwrap();
            backend.mlp(config, grid, &sizes, &z, &mut h, &mut dx).unwrap();
            let bounds: Vec<f64> = dx
                .iter()
                .zip(&size)
                .map(|(dx, x)| tolerance.relative * (dx + x))
                .collect();
            backend.perceive(config, grid, state, &mut z).unwrap();
            backend.mlp(config, grid, &params, &z, &mut h, &mut dx).unwrap();
            if trial < TRIALS {
                for (dx, bound) in dx.iter_mut().zip(bounds) {
                    *dx += if rng.next_u32() & 1 == 0 { bound } else { -bound };
                }
            }
            backend.update(config, grid, key, state, &dx, &mut next).unwrap();
            state.copy_from_slice(&next);
        }
        if MOMENTS.contains(&(step + 1)) {
            let (exact, trials) = states.split_last().unwrap();
            assert!(exact.iter().all(|v| v.is_finite()));
            let distances = trials
                .iter()
                .flat_map(|t| t.iter().zip(exact).map(|(a, b)| (a - b).abs()));
            found.push(distances.fold(0.0, f64::max));
        }
    }
    found
}

/// The state on the CPU after each of [`MOMENTS`].
pub(crate) fn on_cpu(nca: &Nca, grid: Grid, seed: u64) -> Vec<Vec<f32>> {
    let cpu = Cpu::with_threads(1).unwrap();
    let mut simulation = Simulation::new(&cpu, nca, grid, seed).unwrap();
    let to = |moment: u32| {
        simulation.run(moment - simulation.step()).unwrap();
        simulation.state().unwrap()
    };
    MOMENTS.into_iter().map(to).collect()
}

/// The largest difference of two states, as a multiple of what is allowed.
pub(crate) fn excess(got: &[f32], want: &[f32], allowed: f64) -> f64 {
    assert_eq!(got.len(), want.len());
    got.iter()
        .zip(want)
        .map(|(&got, &want)| f64::from(got) - f64::from(want))
        // A NaN must not be lost in a maximum.
        .map(|difference| {
            if difference.is_finite() {
                difference.abs() / allowed
            } else {
                f64::INFINITY
            }
        })
        .fold(0.0, f64::max)
}

/// Every preset, and what no preset has: other paddings and kernels, odd numbers everywhere.
fn cases() -> Vec<(&'static str, NcaConfig, Grid)> {
    let preset = |preset, channels, hidden| NcaConfig::preset(preset, channels, hidden).unwrap();
    let mut odd = preset(Preset::Paper, 3, 1);
    odd.perception.kernels.truncate(3);
    odd.perception.kernels[0] = [[0.1, -0.2, 0.3], [0.4, 0.5, -0.6], [0.7, 0.8, -0.9]];
    odd.padding = Padding::Replicate;
    odd.seed = SeedState::Uniform;
    odd.fire_rate = 1.0;
    let mut walled = preset(Preset::Distill, 9, 10);
    walled.padding = Padding::Zero;
    walled.fire_rate = 0.3;
    walled.seed = SeedState::Uniform;
    vec![
        ("paper", preset(Preset::Paper, 12, 96), Grid::new(1, 16, 16)),
        ("notebook", preset(Preset::Notebook, 7, 18), Grid::new(1, 13, 21)),
        ("distill", preset(Preset::Distill, 16, 33), Grid::new(1, 21, 12)),
        ("odd", odd, Grid::new(1, 1, 5)),
        ("walled", walled, Grid::new(1, 9, 7)),
        (
            "largest of the paper",
            preset(Preset::Paper, 128, 128),
            Grid::new(1, 4, 7),
        ),
    ]
}

#[test]
fn states_agree_after_1_8_and_64_steps() {
    let Some(mut browser) = Browser::start() else { return };
    for (name, config, grid) in cases() {
        let nca = lively(config);
        let _page = open(&mut browser, &nca, grid, SEED);
        let allowed = deviation(&nca, grid, SEED);
        for ((moment, want), allowed) in MOMENTS.into_iter().zip(on_cpu(&nca, grid, SEED)).zip(allowed) {
            browser.evaluate(&format!("a.run({moment} - a.step)"));
            let got = browser.floats("a.readState()");
            // Both are off, and from each other by no more than twice as much.
            let excess = excess(&got, &want, 2.0 * allowed);
            let size = want.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            println!(
                "{name}, {moment} steps: {excess:.3} of {:.1e}, values to {size:.2}",
                2.0 * allowed
            );
            assert!(
                excess <= 1.0,
                "{name} after {moment} steps: {excess} times what is allowed"
            );
            // A comparison worth its name: what is allowed is small beside what is there.
            assert!(2.0 * allowed < 1e-2 * f64::from(size), "{name}: {allowed} of {size}");
        }
    }
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn the_comparison_sees_a_wrong_mask_weight_and_edge() {
    let Some(mut browser) = Browser::start() else { return };
    let nca = lively(NcaConfig::preset(Preset::Notebook, 6, 10).unwrap());
    let grid = Grid::new(1, 9, 11);
    let _page = open(&mut browser, &nca, grid, SEED);
    let allowed = 2.0 * deviation(&nca, grid, SEED)[1];
    let want = &on_cpu(&nca, grid, SEED)[1];
    // Index 35 is a weight of channel 8·k + 1: of a channel that there is.
    let faults = [
        ("nothing", "", false),
        ("a step of the mask", "a.step = 1", true),
        ("a bit of a weight", "m.weights[35] ^= 64", true),
        ("an edge", "m.padding = 'replicate'", true),
        ("a kernel", "m.kernels[1][4] += 0.001", true),
    ];
    for (name, fault, seen) in faults {
        let script = format!(
            "(async () => {{
                const m = structuredClone(await runnable(DATA.models[0]));
                const before = !`{fault}`.startsWith('a.');
                if (before) {{ {fault}; }}
                a.load(m, 9, 11, {SEED}n);
                if (!before) {{ {fault}; }}
                a.run(8);
                return a.readState();
            }})()"
        );
        let excess = excess(&browser.floats(&script), want, allowed);
        assert_eq!(excess > 1.0, seen, "{name}: {excess}");
    }
}

#[test]
fn masks_have_the_same_bits() {
    let Some(mut browser) = Browser::start() else { return };
    let grid = Grid::new(1, 13, 37);
    for fire_rate in [0.0, 0.1, 0.5, 1.0] {
        let mut config = NcaConfig::preset(Preset::Paper, 4, 4).unwrap();
        config.fire_rate = fire_rate;
        let _page = open(&mut browser, &lively(config), grid, 0);
        let threshold = fire_threshold(fire_rate);
        for seed in [0, 1, SEED, u64::MAX] {
            for step in [0, 1, 77, u32::MAX] {
                browser.evaluate(&format!("a.seed = {seed}n; a.step = {step}; 0"));
                let got = browser.bytes("a.readMask()");
                let want: Vec<u8> = (0..grid.plane() as u32)
                    .map(|cell| is_active(seed, step, 0, cell, threshold).into())
                    .collect();
                assert_eq!(got, want, "fire rate {fire_rate}, seed {seed}, step {step}");
            }
        }
    }
}

#[test]
fn seed_states_are_the_same_numbers() {
    let Some(mut browser) = Browser::start() else { return };
    let grid = Grid::new(1, 7, 9);
    for kind in [SeedState::Zeros, SeedState::Uniform, SeedState::Normal] {
        let mut config = NcaConfig::preset(Preset::Paper, 5, 4).unwrap();
        config.seed = kind;
        for seed in [0, SEED, u64::MAX] {
            let _page = open(&mut browser, &lively(config.clone()), grid, seed);
            let got = browser.floats("a.readState()");
            let want = seed_state::<f32>(&config, grid, seed);
            assert_eq!(got.len(), want.len());
            for (got, want) in got.into_iter().zip(want) {
                // Logarithm and sine of two libraries may differ in the last bits of f64, which may
                // turn the rounding to f32 the other way.
                let allowed = if kind == SeedState::Normal {
                    f32::EPSILON * want.abs()
                } else {
                    0.0
                };
                assert!((got - want).abs() <= allowed, "{kind:?}: {got} and {want}");
            }
        }
    }
}

#[test]
fn pictures_have_the_same_colours() {
    let Some(mut browser) = Browser::start() else { return };
    let grid = Grid::new(1, 11, 14);
    for preset in Preset::ALL {
        let mut config = NcaConfig::preset(preset, 6, 12).unwrap();
        config.seed = SeedState::Normal;
        let nca = lively(config);
        let _page = open(&mut browser, &nca, grid, SEED);
        browser.evaluate("[a.canvas.width, a.canvas.height] = [14, 11]");
        let script = "(() => {
            a.run(8);
            a.draw({ centre: [7, 5.5], enlargement: 1 });
            const pixels = new Uint8Array(4 * 14 * 11);
            a.gl.readPixels(0, 0, 14, 11, a.gl.RGBA, a.gl.UNSIGNED_BYTE, pixels);
            return pixels;
        })()";
        let pixels = browser.bytes(script);
        let cpu = Cpu::with_threads(1).unwrap();
        let mut simulation = Simulation::new(&cpu, &nca, grid, SEED).unwrap();
        simulation.run(8).unwrap();
        let want = rgb8(&simulation.frame().unwrap());
        for (cell, want) in want.as_chunks::<3>().0.iter().enumerate() {
            // The browser's first row is the lowest.
            let at = 4 * ((10 - cell / 14) * 14 + cell % 14);
            for (got, want) in pixels[at..at + 3].iter().zip(want) {
                // Between two levels either is right.
                assert!(got.abs_diff(*want) <= 1, "{preset} cell {cell}: {got} and {want}");
            }
        }
    }
}
