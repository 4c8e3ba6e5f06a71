//! Ψ of automata whose motion is known.

use nca_core::cpu::Cpu;
use nca_core::{Grid, HostParams, IDENTITY, Init, Nca, NcaConfig, Padding, Perception, RgbMap, SeedState, Simulation};
use nca_train::Texture;
use nca_train::motion::{MotionSettings, measure_motion, measure_simulation};
use spynet::Classical;

const SIZE: usize = 48;

/// An automaton of three channels that moves its picture one pixel to the right in a step: the
/// perception looks at the left neighbour, and the update adds what it sees and takes away what is
/// there. `relu(v) − relu(−v)` is `v`.
fn translation() -> Nca {
    let left = [[0.0; 3], [1.0, 0.0, 0.0], [0.0; 3]];
    let config = NcaConfig {
        channels: 3,
        hidden: 6,
        perception: Perception {
            kernels: vec![left, IDENTITY],
        },
        padding: Padding::Circular,
        fire_rate: 1.0,
        clamp: None,
        rgb: RgbMap::Affine {
            scale: 1.0,
            offset: 0.0,
        },
        seed: SeedState::Zeros,
        output_bias: false,
        init: Init::Paper,
    };
    let mut params = HostParams::zeros(&config);
    for c in 0..3 {
        for (half, sign) in [(0, 1.0), (1, -1.0)] {
            let neuron = 2 * c + half;
            // Columns of w1: the left neighbour's channels, then the cell's own.
            params.w1[neuron * 6 + c] = sign;
            params.w1[neuron * 6 + 3 + c] = -sign;
            params.w2[c * 6 + neuron] = sign;
        }
    }
    Nca { config, params }
}

fn settings(steps_per_frame: u32) -> MotionSettings {
    MotionSettings {
        pairs: 6,
        steps_per_frame,
        warmup: 0,
        seed: 1,
        height: SIZE,
        width: SIZE,
    }
}

/// Ψ of the exemplar `name` moved by `steps` pixels a frame.
fn psi_of_moving(name: &str, steps: u32) -> f64 {
    let backend = Cpu::new().expect("a CPU");
    let mut simulation = Simulation::new(&backend, &translation(), Grid::square(SIZE), 0).expect("a valid model");
    let texture = Texture::resolve(name, None, SIZE).expect("a built-in exemplar");
    simulation.set_state(&texture.rgb).expect("three channels");
    let motion = measure_simulation(&mut simulation, &settings(steps), &Classical::default(), |_, _| {});
    let motion = motion.expect("a finite motion");
    assert_eq!(motion.psi_floor_static, 0.0);
    assert!(motion.above_floor, "{name}: {motion:?}");
    motion.psi
}

#[test]
fn a_known_translation_is_measured() {
    for name in ["bubbly", "cracked"] {
        let psi = psi_of_moving(name, 1);
        assert!((psi - 1.0).abs() < 0.1, "{name}: {psi}");
        let psi = psi_of_moving(name, 2);
        assert!((psi - 2.0).abs() < 0.2, "{name}: {psi}");
    }
}

#[test]
fn an_automaton_that_stands_still_has_no_motion() {
    let mut still = translation();
    still.params.w2.fill(0.0);
    let backend = Cpu::new().expect("a CPU");
    let mut frames = 0;
    let motion = measure_motion(&backend, &still, &settings(3), &Classical::default(), |_, _| {
        frames += 1
    });
    let motion = motion.expect("a finite motion");
    assert_eq!(
        (motion.psi, motion.psi_floor_flicker, motion.above_floor),
        (0.0, 0.0, false)
    );
    assert_eq!((frames, motion.psi_series.len()), (7, 6));
}

#[test]
fn a_state_that_leaves_the_finite_numbers_is_named() {
    let mut growing = translation();
    growing.params.b1.fill(1.0);
    growing.params.w2.fill(1e38); // six neurons add up to infinity
    let backend = Cpu::new().expect("a CPU");
    let error = measure_motion(&backend, &growing, &settings(8), &Classical::default(), |_, _| {});
    assert!(error.expect_err("an overflow").to_string().contains("not finite"));
}
