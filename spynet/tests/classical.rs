//! The classical estimator, held against motions that are exact by construction.

mod textures;

use std::f64::consts::TAU;

use nca_core::Grid;
use nca_core::philox::{PhiloxRng, Stream};
use proptest::prelude::*;
use rayon::prelude::*;
use spynet::evaluate::{CalibrationRow, Exhibit, ZeroFlow, fields};
use spynet::{Classical, FlowEstimator, FlowField, endpoint_error};
use textures::{photographs, with_noise};

const SIZE: usize = 64;

fn estimate(height: usize, width: usize, first: &[f32], second: &[f32]) -> FlowField {
    let flow = Classical::default()
        .flow(Grid::new(1, height, width), first, second)
        .unwrap();
    FlowField::new(height, width, flow).unwrap()
}

/// A field from its value at each column and row.
fn field(height: usize, width: usize, at: impl Fn(f64, f64) -> (f64, f64)) -> FlowField {
    let vectors: Vec<_> = (0..height * width)
        .map(|p| at((p % width) as f64, (p / width) as f64))
        .collect();
    let u = vectors.iter().map(|v| v.0 as f32);
    let data = u.chain(vectors.iter().map(|v| v.1 as f32)).collect();
    FlowField::new(height, width, data).unwrap()
}

fn textures() -> Vec<Exhibit> {
    Exhibit::procedural().into_iter().chain(photographs()).collect()
}

/// Mean length within 10 % ± 0.05 px and mean endpoint error within 10 % ± 0.05 px, for eight
/// directions; textures are enlarged where the motion would exceed 0.4 of the shortest period.
#[test]
fn translations() {
    textures().par_iter().for_each(|texture| {
        for distance in [0.1, 0.25, 0.5, 1.0, 2.0, 4.0] {
            let scale = (distance / (0.4 * texture.period)).max(1.0);
            for direction in 0..8 {
                let (sin, cos) = (TAU * f64::from(direction) / 8.0).sin_cos();
                let (dx, dy) = (distance * cos, distance * sin);
                let (first, second) = texture.translated(SIZE, SIZE, scale, dx, dy);
                let flow = estimate(SIZE, SIZE, &first, &second);
                let mean = flow.mean_magnitude().unwrap();
                let error = endpoint_error(&flow, &field(SIZE, SIZE, |_, _| (dx, dy))).unwrap();
                let allowed = CalibrationRow::allowance(distance);
                assert!(
                    (mean - distance).abs() <= allowed && error.mean <= allowed,
                    "{} by ({dx:.2}, {dy:.2}): mean length {mean:.3}, {error:?}",
                    texture.name
                );
            }
        }
    });
}

/// The bar that motion strength stands on: one pixel, to within a tenth.
#[test]
fn one_pixel_to_within_a_tenth() {
    for texture in textures() {
        for (dx, dy) in [(1.0, 0.0), (0.0, -1.0)] {
            let (first, second) = texture.translated(SIZE, SIZE, 1.0, dx, dy);
            let flow = estimate(SIZE, SIZE, &first, &second);
            let error = endpoint_error(&flow, &field(SIZE, SIZE, |_, _| (dx, dy))).unwrap();
            assert!(error.mean < 0.1, "{}: {error:?}", texture.name);
            assert!((flow.mean_magnitude().unwrap() - 1.0).abs() < 0.1, "{}", texture.name);
        }
    }
}

#[test]
fn identical_frames_give_exactly_nothing() {
    for (height, width) in [(8, 8), (9, 31), (64, 64), (50, 17)] {
        for texture in textures() {
            let frame = texture.frame(height, width, 1.0, |x, y| (x, y));
            let flow = estimate(height, width, &frame, &frame);
            assert!(
                flow.data().iter().all(|&v| v == 0.0),
                "{} {height}×{width}",
                texture.name
            );
        }
    }
    let noise = with_noise(&[0.5; 3 * 20 * 30], 0.3, 9);
    assert!(estimate(20, 30, &noise, &noise).data().iter().all(|&v| v == 0.0));
}

/// Motions that differ from place to place: 2° of rotation and 3 % of zoom about the centre, up to
/// 1.6 px in the corners, and a shear wave of half a pixel and 32 px length.
#[test]
fn rotation_zoom_and_waves() {
    let classical = Classical::default();
    for texture in Exhibit::procedural() {
        let rows = fields(&[&ZeroFlow, &classical], std::slice::from_ref(&texture), SIZE).unwrap();
        assert_eq!(rows.len(), 3 * 2);
        for pair in rows.chunks_exact(2) {
            let (zero, found) = (&pair[0], &pair[1]);
            assert_eq!((zero.flow.as_str(), found.flow.as_str()), ("zero", "classical"));
            assert_eq!(zero.set, found.set);
            assert!((zero.epe - zero.true_length).abs() < 1e-12);
            eprintln!("{} of {}: {:.3} px", found.set, texture.name, found.epe);
            // A fifth of the mean motion in each of them.
            assert!(found.epe < 0.2 * zero.epe, "{}: {found:?}", texture.name);
        }
    }
}

/// Independent noise in each frame (flicker) is no motion: on still textures it may pretend to less
/// than a quarter of a pixel up to a standard deviation of 0.1, and must not drown a real motion of
/// half a pixel. Pure noise, which has no right answer, stays below the size of its grains times
/// the coarsest level's scale.
#[test]
fn flicker_is_not_taken_for_motion() {
    for texture in textures() {
        let (first, second) = texture.translated(SIZE, SIZE, 1.0, 0.4, 0.3);
        let still: Vec<f64> = [0.01, 0.05, 0.1]
            .iter()
            .map(|&sigma| {
                let (a, b) = (with_noise(&first, sigma, 1), with_noise(&first, sigma, 2));
                estimate(SIZE, SIZE, &a, &b).mean_magnitude().unwrap()
            })
            .collect();
        let (a, b) = (with_noise(&first, 0.05, 3), with_noise(&second, 0.05, 4));
        let moving = estimate(SIZE, SIZE, &a, &b).mean_magnitude().unwrap();
        eprintln!(
            "{}: still {still:.3?} px at 0.01, 0.05, 0.1; moving by 0.5 px {moving:.3} px",
            texture.name
        );
        assert!(still.iter().all(|&v| v < 0.25), "{}: {still:?}", texture.name);
        assert!((moving - 0.5).abs() < 0.15, "{}: {moving}", texture.name);
    }
    let grey = [0.5; 3 * SIZE * SIZE];
    let (a, b) = (with_noise(&grey, 0.15, 5), with_noise(&grey, 0.15, 6));
    let noise = estimate(SIZE, SIZE, &a, &b).mean_magnitude().unwrap();
    eprintln!("pure noise: {noise:.3} px");
    assert!(noise < 3.0, "{noise}");
}

/// Half the contrast, the same motion.
#[test]
fn contrast_does_not_matter() {
    let (first, second) = Exhibit::octaves().translated(SIZE, SIZE, 1.0, 0.6, -0.3);
    let faint = |frame: &[f32]| -> Vec<f32> { frame.iter().map(|v| 0.5 + 0.1 * (v - 0.5)).collect() };
    let full = estimate(SIZE, SIZE, &first, &second).mean_magnitude().unwrap();
    let tenth = estimate(SIZE, SIZE, &faint(&first), &faint(&second))
        .mean_magnitude()
        .unwrap();
    assert!((full - tenth).abs() < 0.02 * full, "{full} {tenth}");
}

/// Frames of one colour have no gradient but that of rounding, some 1e-7; a difference of 1 and the
/// weight 0.01 of no motion leave 1e-5 px of it.
#[test]
fn nothing_to_see_is_nothing_moving() {
    let (black, white) = (vec![0.0; 3 * 12 * 10], vec![1.0; 3 * 12 * 10]);
    for (a, b) in [(&black, &white), (&white, &black)] {
        assert!(estimate(12, 10, a, b).data().iter().all(|&v| v.abs() < 1e-4));
    }
}

/// Three pairs at once, on any number of threads, are the three pairs one by one.
#[test]
fn batches_and_threads_change_nothing() {
    let (height, width) = (33, 40);
    let pairs: Vec<_> = Exhibit::procedural()
        .iter()
        .take(3)
        .zip([(0.5, 0.0), (-1.0, 1.0), (0.2, 2.0)])
        .map(|(texture, (dx, dy))| texture.translated(height, width, 1.0, dx, dy))
        .collect();
    let first: Vec<f32> = pairs.iter().flat_map(|p| p.0.clone()).collect();
    let second: Vec<f32> = pairs.iter().flat_map(|p| p.1.clone()).collect();
    let alone: Vec<f32> = pairs
        .iter()
        .flat_map(|(a, b)| estimate(height, width, a, b).into_data())
        .collect();
    for threads in [1, 2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let together = pool
            .install(|| Classical::default().flow(Grid::new(3, height, width), &first, &second))
            .unwrap();
        assert!(
            together.iter().zip(&alone).all(|(a, b)| a.to_bits() == b.to_bits()),
            "{threads} threads"
        );
    }
}

#[test]
fn bad_frames_are_refused_by_name() {
    let grid = Grid::new(2, 8, 9);
    let good = vec![0.5; 2 * 3 * 72];
    let message =
        |first: &[f32], second: &[f32]| Classical::default().flow(grid, first, second).unwrap_err().to_string();
    assert!(message(&good[1..], &good).contains("first frame"));
    assert!(message(&good, &good[1..]).contains("second frame"));
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut frame = good.clone();
        frame[100] = bad;
        let message = message(&good, &frame);
        assert!(message.contains("element 100 of the second frame"), "{message}");
    }
    assert!(Classical::default().flow(Grid::new(1, 0, 8), &[], &[]).is_err());
    assert!(
        Classical::default()
            .flow(Grid::new(0, 8, 8), &[], &[])
            .unwrap()
            .is_empty()
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the frames, the flow is finite, and not longer than all changes of all warps.
    #[test]
    fn always_finite(height in 1_usize..40, width in 1_usize..40, seed: u64, kind in 0_u32..4) {
        let mut rng = PhiloxRng::new(seed, Stream::Test, 0);
        let mut frame = || -> Vec<f32> {
            (0..3 * height * width)
                .map(|_| match kind {
                    0 => rng.uniform() as f32,
                    // Black and white.
                    1 => rng.below(2) as f32,
                    // Mostly flat, a few dots.
                    2 => f32::from(u8::from(rng.below(50) == 0)),
                    // Far out of range, and tiny.
                    _ => (rng.normal() * 10_f64.powf(rng.uniform_in(-40.0, 30.0))) as f32,
                })
                .collect()
        };
        let (first, second) = (frame(), frame());
        let flow = estimate(height, width, &first, &second);
        // Three warps of at most 1 px in each of at most four levels.
        let longest = 3.0 * (1.0 + 2.0 + 4.0 + 8.0);
        prop_assert!(flow.data().iter().all(|v| v.is_finite() && v.abs() <= longest));
    }
}
