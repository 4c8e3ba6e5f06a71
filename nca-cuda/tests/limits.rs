//! Automata at the limits of the fused kernels, and beyond them.

mod common;

use nca_core::backend::{ChannelAffine, Device, MaskKey, Perceive};
use nca_core::philox::{fire_threshold, is_active};
use nca_core::testkit::cases::{NcaCase, numbers};
use nca_core::testkit::nca_step::parity_of;
use nca_core::{Grid, NcaConfig, Padding, Perception, Preset};

use self::common::{backends, precise_backends};

/// The paper's automaton with C channels and D neurons.
fn case(channels: usize, hidden: usize, grid: Grid) -> NcaCase {
    NcaCase {
        config: NcaConfig::preset(Preset::Paper, channels, hidden).unwrap(),
        grid,
        seed: 7,
        key: MaskKey { seed: 3, step: 5 },
    }
}

fn check(case: &NcaCase) {
    for backend in precise_backends() {
        let name = backend.describe();
        parity_of(&backend, case).unwrap_or_else(|mismatch| panic!("{name}: {mismatch}\n  for {case:?}"));
    }
}

/// Several tiles, the last one short, in two samples.
const GRID: Grid = Grid {
    batch: 2,
    height: 9,
    width: 27,
};

#[test]
fn the_papers_model() {
    check(&case(12, 96, GRID));
}

/// 64 neurons are the last that the smaller kernel takes.
#[test]
fn both_kernels_at_their_border() {
    check(&case(16, 64, GRID));
    check(&case(17, 65, GRID));
}

#[test]
fn the_largest_fused_model() {
    let mut case = case(128, 128, Grid::new(1, 6, 25));
    check(&case);
    // With a clamp backward needs more shared memory than the smallest device has.
    case.config.clamp = Some(0.75);
    check(&case);
    case.config.channels = 96;
    check(&case);
}

/// One channel or neuron more, and the step is done layer by layer.
#[test]
fn models_too_large_for_the_fused_kernels() {
    check(&case(129, 20, Grid::new(1, 5, 14)));
    check(&case(8, 129, Grid::new(2, 5, 14)));
}

/// Every number of kernels leaves another number of rows of perception empty.
#[test]
fn any_number_of_kernels() {
    for count in [1, 3, 7, Perception::MAX_KERNELS] {
        let mut case = case(10, 24, Grid::new(1, 4, 37));
        case.config.padding = Padding::Replicate;
        case.config.perception.kernels = (0..count as u64)
            .map(|k| {
                let weights = numbers(9, k, 9);
                [0, 1, 2].map(|row| [0, 1, 2].map(|column| weights[3 * row + column]))
            })
            .collect();
        check(&case);
    }
}

/// The fire rate sets the length of a tile: a cell in a hundred, and every one.
#[test]
fn rare_and_certain_updates() {
    for fire_rate in [0.01, 0.9, 1.0] {
        let mut case = case(9, 20, Grid::new(1, 23, 61));
        case.config.fire_rate = fire_rate;
        check(&case);
    }
}

/// A tile with more active cells than a block computes at a time. Its length makes that rare, so a step is looked for.
#[test]
fn a_tile_of_two_rounds() {
    let mut case = case(9, 20, Grid::new(1, 2, 48));
    let (seed, threshold) = (case.key.seed, fire_threshold(case.config.fire_rate));
    let active = |step| {
        (0..96)
            .filter(|&cell| is_active(seed, step, 0, cell, threshold))
            .count()
    };
    case.key.step = (0..1_000_000)
        .find(|&step| active(step) > 64)
        .expect("a step in some thousands");
    check(&case);
}

/// More tiles than have blocks of their own: every cell active, so that tiles are short.
#[test]
fn blocks_of_several_tiles() {
    let mut case = case(3, 1, Grid::new(1, 260, 264));
    case.config.fire_rate = 1.0;
    check(&case);
}

/// CUDA has at most 65,535 blocks along two of a grid's axes: what would need more is refused by name.
#[test]
fn more_than_a_grid_has_blocks_for() {
    const MANY: usize = 65_536;
    for backend in backends() {
        let (x, mut y) = (backend.zeros(MANY).unwrap(), backend.zeros(MANY).unwrap());
        let error = backend
            .channel_affine(1, &[1.0], &[0.0], &x, &mut y)
            .unwrap_err()
            .to_string();
        assert_eq!(error, "channel_affine: samples is 65536, expected at most 65535");
        let error = backend
            .channel_affine_backward(1, &[1.0], &x, &mut y)
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "channel_affine_backward: samples is 65536, expected at most 65535"
        );

        let NcaCase { config, .. } = case(3, 1, Grid::new(1, 1, 1));
        let grid = Grid::new(MANY, 1, 1);
        let (x, mut z) = (
            backend.zeros(3 * MANY).unwrap(),
            backend.zeros(config.perceived() * MANY).unwrap(),
        );
        let error = backend.perceive(&config, grid, &x, &mut z).unwrap_err().to_string();
        assert_eq!(error, "perceive: samples is 65536, expected at most 65535");
    }
}
