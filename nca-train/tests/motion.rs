//! Ψ of automata and frames whose motion is known.

use std::sync::Mutex;

use nca_core::cpu::Cpu;
use nca_core::philox::{PhiloxRng, Stream};
use nca_core::reference::Reference;
use nca_core::{Error, Grid, HostParams, IDENTITY, Nca, NcaConfig, Perception, Preset, Result, Simulation};
use nca_train::exemplar::Exemplar;
use nca_train::motion::{Motion, MotionMeter, MotionSettings, measure_motion, measure_simulation};
use spynet::{Classical, FlowEstimator};

const SIZE: usize = 48;
const PLANE: usize = SIZE * SIZE;

/// A few pairs, one step apart.
fn settings(pairs: usize) -> MotionSettings {
    MotionSettings {
        pairs,
        steps_per_frame: 1,
        warmup: 0,
        seed: 5,
        height: SIZE,
        width: SIZE,
    }
}

/// An automaton whose next state is its state seen through `kernel`: with the differences
/// d = kernel⋆x − x it adds relu(d) − relu(−d), at every cell.
fn filter_automaton(kernel: nca_core::Kernel) -> Nca {
    const C: usize = 3;
    const D: usize = 2 * C;
    let config = NcaConfig {
        perception: Perception {
            kernels: vec![IDENTITY, kernel],
        },
        fire_rate: 1.0,
        ..NcaConfig::preset(Preset::Paper, C, D).unwrap()
    };
    let mut params = HostParams::zeros(&config);
    for c in 0..C {
        for (hidden, sign) in [(c, 1.0), (C + c, -1.0)] {
            params.w1[hidden * 2 * C + c] = -sign;
            params.w1[hidden * 2 * C + C + c] = sign;
            params.w2[c * D + hidden] = sign;
        }
    }
    Nca { config, params }
}

/// Runs an automaton of three channels from an exemplar's picture.
fn measure_from(exemplar: Exemplar, nca: &Nca, settings: MotionSettings, flow: &dyn FlowEstimator) -> Motion {
    let backend = Cpu::new().unwrap();
    let mut simulation = Simulation::new(&backend, nca, Grid::square(SIZE), 0).unwrap();
    let picture = exemplar.render(SIZE, 0).unwrap();
    let state: Vec<f32> = picture.rgb.iter().map(|v| v - 0.5).collect();
    simulation.set_state(&state).unwrap();
    measure_simulation(&mut simulation, &settings, flow, |_, _| {}).unwrap()
}

/// The same flow everywhere, whatever it sees.
struct Constant(f32, f32);

impl FlowEstimator for Constant {
    fn name(&self) -> &'static str {
        "constant"
    }
    fn flow(&self, grid: Grid, _: &[f32], _: &[f32]) -> Result<Vec<f32>> {
        let plane = grid.plane();
        let flow = [vec![self.0; plane], vec![self.1; plane]].concat();
        Ok(flow.repeat(grid.batch))
    }
}

#[test]
fn a_translation_by_one_pixel_a_step() {
    // The cell to the left, or above, becomes the cell.
    let right = filter_automaton([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]);
    let down = filter_automaton([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]);
    for (exemplar, nca) in [
        (Exemplar::Bubbly, &right),
        (Exemplar::Bubbly, &down),
        (Exemplar::Cracked, &right),
    ] {
        for steps_per_frame in [1, 2] {
            let settings = MotionSettings {
                steps_per_frame,
                ..settings(4)
            };
            let motion = measure_from(exemplar, nca, settings, &Classical::default());
            let expected = f64::from(steps_per_frame);
            // The estimator's promise for the translation of a texture is 0.1 px a pixel. What
            // enters over the edge, of which it can know nothing, is within that.
            let error = (motion.psi - expected).abs();
            assert!(error < 0.1 * expected, "{exemplar}: Ψ is {} of {expected}", motion.psi);
            assert!(motion.above_floor);
            assert_eq!(motion.psi_floor_static, 0.0);
        }
    }
}

#[test]
fn a_still_automaton() {
    let motion = measure_from(
        Exemplar::Bubbly,
        &filter_automaton(IDENTITY),
        settings(4),
        &Classical::default(),
    );
    assert_eq!(motion.psi_series, [0.0; 4]);
    assert_eq!((motion.psi, motion.psi_se), (0.0, 0.0));
    assert_eq!((motion.psi_floor_static, motion.psi_floor_flicker), (0.0, 0.0));
    assert!(!motion.above_floor);
}

/// Frames that flicker about a picture and do not move: whatever Ψ they get, the control gets too.
#[test]
fn flicker_is_not_above_its_floor() {
    let picture = Exemplar::Cracked.render(SIZE, 0).unwrap();
    let settings = settings(16);
    let flow = Classical::default();
    let mut meter = MotionMeter::new(&flow, settings).unwrap();
    for index in 0..=settings.pairs {
        let mut rng = PhiloxRng::new(0, Stream::Test, index as u64);
        let frame: Vec<f32> = picture
            .rgb
            .iter()
            .map(|v| (v + 0.06 * rng.normal() as f32).clamp(0.0, 1.0))
            .collect();
        meter.push(&frame).unwrap();
    }
    let motion = meter.finish().unwrap();
    assert!(motion.psi > 0.0);
    let ratio = motion.psi / motion.psi_floor_flicker;
    // Not exactly 1: the control's frames carry their own noise besides the two copies'.
    assert!((0.8..1.25).contains(&ratio), "Ψ is {ratio} of its flicker floor");
    assert!(!motion.above_floor);
}

#[test]
fn psi_is_the_mean_length_of_the_flow() {
    let motion = measure_from(
        Exemplar::Bubbly,
        &filter_automaton(IDENTITY),
        settings(19),
        &Constant(3.0, -4.0),
    );
    assert_eq!(motion.psi_series, [5.0; 19]);
    assert_eq!((motion.psi, motion.psi_se), (5.0, 0.0));
    assert_eq!((motion.psi_floor_static, motion.psi_floor_flicker), (5.0, 5.0));
    assert!(!motion.above_floor);
    assert_eq!(motion.flow, "constant");
}

/// Reports as flow how far apart in brightness two flat frames are, and remembers every batch.
#[derive(Default)]
struct Brightness {
    batches: Mutex<Vec<usize>>,
}

impl FlowEstimator for Brightness {
    fn name(&self) -> &'static str {
        "brightness"
    }
    fn flow(&self, grid: Grid, first: &[f32], second: &[f32]) -> Result<Vec<f32>> {
        self.batches.lock().unwrap().push(grid.batch);
        let frame = 3 * grid.plane();
        let pairs = first.chunks_exact(frame).zip(second.chunks_exact(frame));
        Ok(pairs
            .flat_map(|(a, b)| [vec![b[0] - a[0]; grid.plane()], vec![0.0; grid.plane()]].concat())
            .collect())
    }
}

/// Every pair is measured once, in order, a bounded number at a time.
#[test]
fn pairs_are_successive_frames() {
    for pairs in [2, 7, 8, 9, 20] {
        let flow = Brightness::default();
        let mut meter = MotionMeter::new(&flow, settings(pairs)).unwrap();
        let mut brightness = 0.0;
        for index in 0..=pairs {
            brightness += index as f32 / 1024.0;
            meter.push(&[brightness; 3 * PLANE]).unwrap();
        }
        assert!(meter.push(&[0.0; 3 * PLANE]).is_err());
        let motion = meter.finish().unwrap();
        let expected: Vec<f64> = (1..=pairs).map(|index| index as f64 / 1024.0).collect();
        assert_eq!(motion.psi_series, expected);
        let batches = flow.batches.into_inner().unwrap();
        assert!(batches.iter().all(|&n| n <= 8), "{batches:?}");
    }
    let mut meter = MotionMeter::new(&Constant(0.0, 0.0), settings(3)).unwrap();
    assert!(meter.push(&[0.0; PLANE]).is_err());
    meter.push(&[0.0; 3 * PLANE]).unwrap();
    assert!(meter.finish().is_err());
}

/// Large frames are estimated fewer at a time, or the layers of a network for eight of them would not fit into memory.
#[test]
fn large_frames_come_a_few_at_a_time() {
    for (height, width, most) in [(256, 256, 8), (256, 512, 4), (700, 700, 1), (1024, 513, 1)] {
        let flow = Brightness::default();
        let settings = MotionSettings {
            height,
            width,
            ..settings(9)
        };
        let mut meter = MotionMeter::new(&flow, settings).unwrap();
        for index in 0..=9 {
            meter.push(&vec![index as f32 / 16.0; 3 * height * width]).unwrap();
        }
        assert_eq!(meter.finish().unwrap().psi_series, [0.0625; 9]);
        let batches = flow.batches.into_inner().unwrap();
        assert_eq!(batches.iter().max(), Some(&most), "{height}x{width}");
    }
}

#[test]
fn a_measurement_is_a_function_of_its_settings() {
    let backend = Reference::<f32>::new();
    let mut nca = Nca::preset(Preset::Notebook, 4, 6, 1).unwrap();
    nca.params.w2.iter_mut().for_each(|w| *w *= 0.05);
    let settings = MotionSettings {
        steps_per_frame: 2,
        warmup: 3,
        height: 12,
        width: 16,
        ..settings(5)
    };
    let run = |settings: &MotionSettings| {
        let mut frames = Vec::new();
        let motion = measure_motion(&backend, &nca, settings, &Classical::default(), |index, frame| {
            assert_eq!((index, frame.len()), (frames.len(), 3 * 12 * 16));
            assert!(frame.iter().all(|v| (0.0..=1.0).contains(v)));
            frames.push(frame.to_vec());
        })
        .unwrap();
        assert_eq!(frames.len(), 6);
        (motion, frames)
    };
    let (motion, frames) = run(&settings);
    assert_eq!(run(&settings), (motion.clone(), frames.clone()));
    assert_ne!(run(&MotionSettings { seed: 6, ..settings }).0.psi, motion.psi);
    assert_eq!(
        (
            motion.steps_per_frame,
            motion.warmup,
            motion.seed,
            motion.height,
            motion.width
        ),
        (2, 3, 5, 12, 16)
    );
    // The frames are the automaton's own.
    let mut simulation = Simulation::new(&backend, &nca, Grid::new(1, 12, 16), 5).unwrap();
    for (index, frame) in frames.iter().enumerate() {
        simulation.run(if index == 0 { 3 } else { 2 }).unwrap();
        assert_eq!(&simulation.frame().unwrap(), frame);
    }
    let json = serde_json::to_string(&motion).unwrap();
    assert_eq!(serde_json::from_str::<Motion>(&json).unwrap(), motion);
}

#[test]
fn a_state_that_is_not_finite_is_an_error() {
    let backend = Reference::<f32>::new();
    let settings = MotionSettings {
        steps_per_frame: 50,
        height: 8,
        width: 8,
        ..settings(4)
    };
    let diverges = |nca: &Nca| {
        let result = measure_motion(&backend, nca, &settings, &Classical::default(), |_, _| {});
        matches!(result, Err(Error::NonFinite { .. }))
    };
    // A blur with weights that sum to 9 grows everything; its picture is not finite.
    let mut config = filter_automaton([[1.0; 3]; 3]);
    config.config.seed = nca_core::SeedState::Normal;
    assert!(diverges(&config));
    // Only the fourth channel, which no picture shows, doubles each step: x + relu(x) + 1.
    let mut config = NcaConfig::preset(Preset::Paper, 4, 1).unwrap();
    (config.fire_rate, config.output_bias) = (1.0, true);
    let mut params = HostParams::zeros(&config);
    (params.w1[3], params.w2[3], params.b2) = (1.0, 1.0, Some(vec![0.0, 0.0, 0.0, 1.0]));
    assert!(diverges(&Nca { config, params }));
}

/// Flow that is not a number, or not the right number of them, is not averaged.
#[test]
fn broken_estimators_are_noticed() {
    struct Short;
    impl FlowEstimator for Short {
        fn name(&self) -> &'static str {
            "short"
        }
        fn flow(&self, grid: Grid, _: &[f32], _: &[f32]) -> Result<Vec<f32>> {
            Ok(vec![0.0; grid.cells()])
        }
    }
    let measure = |flow: &dyn FlowEstimator| {
        let mut meter = MotionMeter::new(flow, settings(2)).unwrap();
        for _ in 0..3 {
            meter.push(&[0.5; 3 * PLANE]).unwrap();
        }
        meter.finish()
    };
    assert!(matches!(
        measure(&Constant(f32::NAN, 0.0)),
        Err(Error::NonFinite { .. })
    ));
    assert!(matches!(measure(&Short), Err(Error::Length { .. })));
}

#[test]
fn impossible_settings_are_refused() {
    let nca = Nca::preset(Preset::Paper, 3, 2, 0).unwrap();
    let backend = Reference::<f32>::new();
    let base = settings(4);
    for (word, settings) in [
        ("--frames is 1", MotionSettings { pairs: 1, ..base }),
        (
            "--steps-per-frame",
            MotionSettings {
                steps_per_frame: 0,
                ..base
            },
        ),
        (
            "--warmup + --frames",
            MotionSettings {
                pairs: usize::MAX,
                ..base
            },
        ),
        (
            "--warmup + --frames",
            MotionSettings {
                warmup: u32::MAX,
                ..base
            },
        ),
        ("--size is 7", MotionSettings { height: 7, ..base }),
        ("--size is 1048576", MotionSettings { width: 1 << 20, ..base }),
    ] {
        let error = measure_motion(&backend, &nca, &settings, &Classical::default(), |_, _| {}).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
    let mut wrong = Simulation::new(&backend, &nca, Grid::new(2, SIZE, SIZE), 0).unwrap();
    assert!(measure_simulation(&mut wrong, &base, &Classical::default(), |_, _| {}).is_err());
}
