//! Every backend against PyTorch: the files of `golden/`, written by the script beside them.

use std::collections::BTreeMap;
use std::path::Path;

use nca_core::backend::{AdamStep, Backend, ConvShape, Device, MaskKey, upload_params, zero_params};
use nca_core::checkpoint::{Conventions, PerceptionOrder};
use nca_core::cpu::Cpu;
use nca_core::philox::{fire_threshold, is_active};
use nca_core::reference::Reference;
use nca_core::{Grid, Nca, NcaConfig, Padding, Params, Preset, Real, Rollout};
use serde::Deserialize;
use serde_json::Value;

/// One case of a golden file: numbers and lists of numbers by name.
#[derive(Deserialize)]
#[serde(transparent)]
struct Case(BTreeMap<String, Value>);

impl Case {
    fn all(name: &str) -> Vec<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.json"));
        let text = std::fs::read_to_string(&path).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn get<T: for<'de> Deserialize<'de>>(&self, name: &str) -> T {
        serde_json::from_value(self.0[name].clone()).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| !value.is_null())
    }

    fn numbers(&self, name: &str) -> Vec<f64> {
        self.get(name)
    }

    fn buffer<B: Device>(&self, backend: &B, name: &str) -> B::Buffer {
        upload(backend, &self.numbers(name))
    }

    fn config(&self) -> NcaConfig {
        let preset: Preset = self.get("preset");
        let mut config = NcaConfig::preset(preset, self.get("channels"), self.get("hidden")).unwrap();
        config.padding = self.get::<Padding>("padding");
        config
    }

    fn grid(&self) -> Grid {
        Grid::new(self.get("batch"), self.get("height"), self.get("width"))
    }

    fn key(&self) -> MaskKey {
        MaskKey {
            seed: self.get("seed"),
            step: self.get("step"),
        }
    }

    fn params<B: Device>(&self, backend: &B) -> Params<B::Buffer> {
        Params {
            w1: self.buffer(backend, "w1"),
            b1: self.buffer(backend, "b1"),
            w2: self.buffer(backend, "w2"),
            b2: self.has("b2").then(|| self.buffer(backend, "b2")),
        }
    }

    /// Compares the elements of `buffer` with the list `name`, which went through `terms` roundings.
    fn check<B: Device>(&self, backend: &B, name: &str, buffer: &B::Buffer, terms: usize) {
        check::<B::Elem>(name, &backend.to_vec(buffer).unwrap(), &self.numbers(name), terms);
    }

    fn check_grads<B: Device>(&self, backend: &B, grads: &Params<B::Buffer>, terms: usize) {
        let names = ["g_w1", "g_b1", "g_w2", "g_b2"];
        assert_eq!(grads.b2.is_some(), self.has("g_b2"));
        for (name, grad) in names.into_iter().zip(grads.iter()) {
            self.check(backend, name, grad, terms);
        }
    }
}

fn upload<B: Device>(backend: &B, values: &[f64]) -> B::Buffer {
    let values: Vec<_> = values.iter().map(|&v| B::Elem::of(v)).collect();
    backend.buffer(&values).unwrap()
}

/// Elements that only an operation's own output can replace without being noticed.
fn unset<B: Device>(backend: &B, len: usize) -> B::Buffer {
    upload(backend, &vec![f64::NAN; len])
}

/// `|got − want| ≤ 2·terms·ε·max|want|`: two sums of `terms` terms of that size, one rounded in the
/// backend's type and one in PyTorch's f64.
fn check<T: Real>(name: &str, got: &[T], want: &[f64], terms: usize) {
    assert_eq!(got.len(), want.len(), "{name}");
    let scale = want.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
    let tolerance = 2.0 * terms as f64 * Real::to_f64(T::epsilon()) * scale;
    for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
        let error = (Real::to_f64(got) - want).abs();
        assert!(
            error <= tolerance,
            "{name}[{i}]: {got} instead of {want}, off by {error:e} of {tolerance:e}"
        );
    }
}

/// Roundings on the way from a state to the next: stencil, two layers, bias, mask, sum, clamp.
fn step_terms(config: &NcaConfig) -> usize {
    9 + config.perceived() + config.hidden + 5
}

/// Roundings of a step's parameter gradients: those of the step there and back, summed over cells.
fn grad_terms(config: &NcaConfig, grid: Grid) -> usize {
    2 * step_terms(config) + grid.cells()
}

fn nca_step<B: Backend>(backend: &B) {
    for case in Case::all("nca_step") {
        let (config, grid, key) = (case.config(), case.grid(), case.key());
        let (params, x) = (case.params(backend), case.buffer(backend, "x"));
        let len = backend.len(&x);

        let mut x_next = unset(backend, len);
        let mut scratch = backend.scratch(&backend.nca_step_scratch(&config, grid)).unwrap();
        backend
            .nca_step(&config, grid, &params, key, &x, &mut x_next, &mut scratch)
            .unwrap();
        case.check(backend, "x_next", &x_next, step_terms(&config));

        let mut g_x = unset(backend, len);
        let mut grads = zero_params(backend, &config).unwrap();
        let lengths = backend.nca_step_backward_scratch(&config, grid);
        let mut scratch = backend.scratch(&lengths).unwrap();
        let g_next = case.buffer(backend, "g_next");
        backend
            .nca_step_backward(
                &config,
                grid,
                &params,
                key,
                &x,
                &g_next,
                &mut g_x,
                &mut grads,
                &mut scratch,
            )
            .unwrap();
        case.check(backend, "g_x", &g_x, 2 * step_terms(&config));
        case.check_grads(backend, &grads, grad_terms(&config, grid));
    }
}

/// The file of a PyTorch module whose perception is a depthwise convolution.
fn module<B: Backend>(backend: &B) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/module.pt");
    let conventions = Conventions::from(Preset::Paper).order(PerceptionOrder::ChannelMajor);
    let Nca { mut config, params } = Nca::load(file, conventions).unwrap();
    config.fire_rate = 1.0;
    for case in Case::all("module") {
        let x = case.buffer(backend, "x");
        let mut x_next = unset(backend, backend.len(&x));
        let params = upload_params(backend, &params).unwrap();
        let mut scratch = backend
            .scratch(&backend.nca_step_scratch(&config, case.grid()))
            .unwrap();
        let key = MaskKey { seed: 0, step: 0 };
        backend
            .nca_step(&config, case.grid(), &params, key, &x, &mut x_next, &mut scratch)
            .unwrap();
        case.check(backend, "x_next", &x_next, step_terms(&config));
    }
}

fn rollout<B: Backend>(backend: &B) {
    for case in Case::all("rollout") {
        let (config, grid, key) = (case.config(), case.grid(), case.key());
        let (steps, frame): (u32, u32) = (case.get("steps"), case.get("frame"));
        let (params, x0) = (case.params(backend), case.buffer(backend, "x0"));
        assert_eq!(key.step, 0, "a rollout counts its steps from 0");

        // A budget of nothing: the fewest states kept, the most recomputed.
        let mut rollout = Rollout::new(backend, &config, grid, steps, 0).unwrap();
        rollout
            .forward(backend, &params, &x0, key.seed, steps, &[frame], |t, state| {
                case.check(backend, "x_frame", state, step_terms(&config) * t as usize);
                Ok(())
            })
            .unwrap();
        let chain = steps as usize;
        case.check(backend, "x_last", rollout.last(), step_terms(&config) * chain);

        let mut grads = zero_params(backend, &config).unwrap();
        let g_frame = case.buffer(backend, "g_frame");
        *rollout.grad_mut() = case.buffer(backend, "g_last");
        rollout
            .backward(backend, &params, &mut grads, &[frame], |_, _, grad| {
                backend.axpy(1.0, &g_frame, grad)
            })
            .unwrap();
        case.check(backend, "g_x0", rollout.grad_mut(), 2 * step_terms(&config) * chain);
        case.check_grads(backend, &grads, grad_terms(&config, grid) * chain);
    }
}

fn rgb<B: Backend>(backend: &B) {
    for case in Case::all("rgb") {
        let (config, grid) = (case.config(), case.grid());
        let x = case.buffer(backend, "x");
        let mut rgb = unset(backend, 3 * grid.cells());
        backend.rgb(&config, grid, &x, &mut rgb).unwrap();
        case.check(backend, "rgb", &rgb, 4);
        // The derivative of an extreme sums over all that it scales.
        let mut g_x = unset(backend, backend.len(&x));
        let g_rgb = case.buffer(backend, "g_rgb");
        backend.rgb_backward(&config, grid, &x, &g_rgb, &mut g_x).unwrap();
        case.check(backend, "g_x", &g_x, 3 * grid.plane() + 4);
    }
}

fn adam<B: Backend>(backend: &B) {
    for case in Case::all("adam") {
        let mut p = case.buffer(backend, "start");
        let count = backend.len(&p);
        let (mut m, mut v) = (backend.zeros(count).unwrap(), backend.zeros(count).unwrap());
        let rates = case.numbers("rates");
        let (gradients, values): (Vec<Vec<f64>>, Vec<Vec<f64>>) = (case.get("gradients"), case.get("values"));
        // Roundings of one step: decay, two moments, two corrections, root, quotient, difference.
        let terms = |steps: usize| 12 * steps;
        for (i, &learning_rate) in rates.iter().enumerate() {
            let settings = AdamStep {
                learning_rate,
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-8,
                weight_decay: case.get("weight_decay"),
                step: i as u64 + 1,
            };
            let g = upload(backend, &gradients[i]);
            backend.adam(&settings, &g, &mut p, &mut m, &mut v).unwrap();
            let got = backend.to_vec(&p).unwrap();
            check(&format!("value after step {}", i + 1), &got, &values[i], terms(i + 1));
        }
        case.check(backend, "m", &m, terms(rates.len()));
        case.check(backend, "v", &v, terms(rates.len()));
    }
}

fn conv2d<B: Backend>(backend: &B) {
    for case in Case::all("conv2d") {
        let shape = ConvShape {
            batch: case.get("batch"),
            inputs: case.get("inputs"),
            outputs: case.get("outputs"),
            height: case.get("height"),
            width: case.get("width"),
            kernel: case.get("kernel"),
            padding: case.get("padding"),
        };
        let area = shape.kernel * shape.kernel;
        let (x, weight) = (case.buffer(backend, "x"), case.buffer(backend, "weight"));
        let bias = case.has("bias").then(|| case.buffer(backend, "bias"));
        let mut y = unset(backend, shape.output_len());
        backend.conv2d(&shape, &x, &weight, bias.as_ref(), &mut y).unwrap();
        case.check(backend, "y", &y, shape.inputs * area + 1);

        let g_y = case.buffer(backend, "g_y");
        let mut g_x = unset(backend, shape.input_len());
        backend.conv2d_backward_input(&shape, &weight, &g_y, &mut g_x).unwrap();
        case.check(backend, "g_x", &g_x, shape.outputs * area);

        let mut g_weight = backend.zeros(shape.weight_len()).unwrap();
        let mut g_bias = bias.is_some().then(|| backend.zeros(shape.outputs).unwrap());
        backend
            .conv2d_backward_weight(&shape, &x, &g_y, &mut g_weight, g_bias.as_mut())
            .unwrap();
        let cells = shape.batch * shape.out_height() * shape.out_width();
        case.check(backend, "g_weight", &g_weight, cells);
        if let Some(g_bias) = &g_bias {
            case.check(backend, "g_bias", g_bias, cells);
        }
    }
}

fn avg_pool2<B: Backend>(backend: &B) {
    for case in Case::all("avg_pool2") {
        let (planes, height, width) = (case.get("planes"), case.get("height"), case.get("width"));
        let x = case.buffer(backend, "x");
        let mut y = unset(backend, case.numbers("y").len());
        backend.avg_pool2(planes, height, width, &x, &mut y).unwrap();
        case.check(backend, "y", &y, 4);
        let mut g_x = unset(backend, backend.len(&x));
        let g_y = case.buffer(backend, "g_y");
        backend
            .avg_pool2_backward(planes, height, width, &g_y, &mut g_x)
            .unwrap();
        case.check(backend, "g_x", &g_x, 1);
    }
}

fn max_pool2<B: Backend>(backend: &B) {
    for case in Case::all("max_pool2") {
        let (planes, height, width) = (case.get("planes"), case.get("height"), case.get("width"));
        let x = case.buffer(backend, "x");
        let mut y = unset(backend, case.numbers("y").len());
        backend.max_pool2(planes, height, width, &x, &mut y).unwrap();
        case.check(backend, "y", &y, 0);
        let mut g_x = unset(backend, backend.len(&x));
        let g_y = case.buffer(backend, "g_y");
        backend
            .max_pool2_backward(planes, height, width, &x, &g_y, &mut g_x)
            .unwrap();
        case.check(backend, "g_x", &g_x, 0);
    }
}

fn losses<B: Backend>(backend: &B) {
    let [case] = &Case::all("losses")[..] else {
        panic!("one case expected")
    };
    let x = case.buffer(backend, "x");
    let target = case.buffer(backend, "target");
    let len = backend.len(&x);
    let mut out = backend.zeros(3).unwrap();
    let mut g_x = unset(backend, len);

    let weight = case.get("overflow_weight");
    backend.overflow(weight, &x, &mut out, 0).unwrap();
    backend.overflow_backward(weight, &x, &mut g_x).unwrap();
    case.check(backend, "g_overflow", &g_x, 1);

    let weight = case.get("l1_weight");
    backend.l1(weight, &x, &target, &mut out, 1).unwrap();
    backend.l1_backward(weight, &x, &target, &mut g_x).unwrap();
    case.check(backend, "g_l1", &g_x, 1);

    let mut gradient = case.buffer(backend, "gradient");
    let terms = backend.len(&gradient);
    backend
        .normalize(case.get("epsilon"), &mut gradient, &mut out, 2)
        .unwrap();
    case.check(backend, "normalized", &gradient, terms);

    let out = backend.to_vec(&out).unwrap();
    for (slot, name) in ["overflow", "l1", "norm"].into_iter().enumerate() {
        check(name, &out[slot..=slot], &[case.get(name)], len);
    }
}

/// The masks that PyTorch was given come from a second implementation of Philox, in numpy.
#[test]
fn masks() {
    for case in Case::all("nca_step").iter().chain(&Case::all("rollout")) {
        let (grid, key) = (case.grid(), case.key());
        let threshold = fire_threshold(case.config().fire_rate);
        for (t, mask) in case.get::<Vec<String>>("masks").into_iter().enumerate() {
            let step = key.after(t as u32).step;
            let cells = (0..grid.batch as u32).flat_map(|s| (0..grid.plane() as u32).map(move |c| (s, c)));
            let active = cells.map(|(sample, cell)| is_active(key.seed, step, sample, cell, threshold));
            let text: String = active.map(|on| if on { '1' } else { '0' }).collect();
            assert_eq!(text, mask, "step {step}");
        }
    }
}

/// The comparison itself must be able to fail, in f32 as in f64.
#[test]
#[should_panic(expected = "x[1]")]
fn an_error_of_the_size_of_the_tolerance_is_seen() {
    check::<f32>("x", &[1.0, 0.5 + 3.0 * f32::EPSILON], &[1.0, 0.5], 1);
}

macro_rules! golden {
    ($($name:ident: $backend:expr;)*) => {$(
        mod $name {
            use super::*;

            golden!(@tests $backend; nca_step module rollout rgb adam conv2d avg_pool2 max_pool2 losses);
        }
    )*};
    (@tests $backend:expr; $($test:ident)*) => {$(
        #[test]
        fn $test() {
            super::$test(&$backend);
        }
    )*};
}

golden! {
    cpu: Cpu::new().unwrap();
    reference_f32: Reference::<f32>::new();
    reference_f64: Reference::<f64>::new();
}
