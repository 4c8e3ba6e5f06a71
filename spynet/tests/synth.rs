//! Synthetic pairs: what they promise is held against the frames themselves.

use proptest::prelude::*;
use spynet::synth::{FlowPair, Kind, Raster, Synth, SynthSettings};

fn source(kind: Kind, height: usize, width: usize) -> Synth {
    Synth::new(SynthSettings {
        height,
        width,
        mix: vec![(kind, 1.0)],
        nuisance: 0.0,
        rasters: vec![raster()],
        ..SynthSettings::default()
    })
    .unwrap()
}

/// A smooth periodic picture, of another size than any frame here.
fn raster() -> Raster {
    let (height, width) = (40, 56);
    let wave = |p: usize, n: usize, k: f32| (std::f32::consts::TAU * k * p as f32 / n as f32).sin();
    let value = |c: usize, y: usize, x: usize| {
        let (a, b) = (wave(y, height, 2.0), wave(x, width, 3.0));
        0.5 + 0.2 * [a + b, a * b, a - b][c]
    };
    let rgb = (0..3 * height * width)
        .map(|i| value(i / (height * width), i / width % height, i % width))
        .collect();
    Raster { height, width, rgb }
}

/// Flow at pixel `p`.
fn flow_at(pair: &FlowPair, p: usize) -> [f64; 2] {
    [
        f64::from(pair.flow[p]),
        f64::from(pair.flow[pair.height * pair.width + p]),
    ]
}

/// Where the first frame's pixel `p` is in the second.
fn goal(pair: &FlowPair, p: usize) -> [f64; 2] {
    let flow = flow_at(pair, p);
    [(p % pair.width) as f64 + flow[0], (p / pair.width) as f64 + flow[1]]
}

fn mean_length(pair: &FlowPair) -> f64 {
    let plane = pair.height * pair.width;
    let lengths = (0..plane).map(|p| {
        let [u, v] = flow_at(pair, p);
        u.hypot(v)
    });
    lengths.sum::<f64>() / plane as f64
}

/// Catmull–Rom interpolation of `frame [3,H,W]` at `q`: the three channels, and the spread of the
/// 4×4 pixels used. Beyond the edge the frame goes round.
fn sample(frame: &[f32], height: usize, width: usize, q: [f64; 2]) -> [(f64, f64); 3] {
    let kernel = |t: f64| {
        let t = t.abs();
        if t < 1.0 {
            1.5 * t.powi(3) - 2.5 * t * t + 1.0
        } else if t < 2.0 {
            -0.5 * t.powi(3) + 2.5 * t * t - 4.0 * t + 2.0
        } else {
            0.0
        }
    };
    std::array::from_fn(|c| {
        let (mut sum, mut low, mut high) = (0.0, f64::INFINITY, f64::NEG_INFINITY);
        for row in q[1].floor() as i64 - 1..=q[1].floor() as i64 + 2 {
            for column in q[0].floor() as i64 - 1..=q[0].floor() as i64 + 2 {
                let (y, x) = (
                    row.rem_euclid(height as i64) as usize,
                    column.rem_euclid(width as i64) as usize,
                );
                let value = f64::from(frame[(c * height + y) * width + x]);
                sum += kernel(q[0] - column as f64) * kernel(q[1] - row as f64) * value;
                (low, high) = (low.min(value), high.max(value));
            }
        }
        (sum, high - low)
    })
}

/// Whether everything within `radius` of `p` is visible and no rim of a piece is near, across which
/// the motion jumps.
fn is_clear(pair: &FlowPair, p: usize, radius: i64) -> bool {
    /// Textures and pieces that bend or turn change their motion by less from pixel to pixel, or
    /// all pixels are left out, which the tests would see.
    const JUMP: f64 = 0.4;
    let (height, width) = (pair.height as i64, pair.width as i64);
    let (x, y) = ((p % pair.width) as i64, (p / pair.width) as i64);
    let pixel = |i: i64, j: i64| (j.rem_euclid(height) * width + i.rem_euclid(width)) as usize;
    (y - radius..=y + radius).all(|j| {
        (x - radius..=x + radius).all(|i| {
            if pair.kind != Kind::Torus && !((0..height - 1).contains(&j) && (0..width - 1).contains(&i)) {
                return false;
            }
            let here = flow_at(pair, pixel(i, j));
            pair.visible[pixel(i, j)]
                && [pixel(i + 1, j), pixel(i, j + 1)].into_iter().all(|other| {
                    let there = flow_at(pair, other);
                    (there[0] - here[0]).hypot(there[1] - here[1]) < JUMP
                })
        })
    })
}

/// Errors of the second frame brought back by the flow plus `(dx, dy)`, against the first: root mean
/// square over the clear pixels, as a part of the spread of the pixels interpolated.
fn warp_error(pair: &FlowPair, dx: f64, dy: f64) -> Option<f64> {
    let plane = pair.height * pair.width;
    let (mut errors, mut spreads, mut count) = (0.0, 0.0, 0);
    for p in (0..plane).filter(|&p| is_clear(pair, p, 4)) {
        count += 1;
        let q = goal(pair, p);
        let values = sample(&pair.second, pair.height, pair.width, [q[0] + dx, q[1] + dy]);
        for (c, (value, spread)) in values.into_iter().enumerate() {
            errors += (value - f64::from(pair.first[c * plane + p])).powi(2);
            spreads += spread * spread;
        }
    }
    (count > plane / 20).then(|| (errors / spreads).sqrt())
}

/// Nothing is wrong with the flow but the interpolation: across the sharpest edge a texture has, a
/// smooth step of 2 px, Catmull–Rom interpolation is off by 0.0376 of the spread in the root mean
/// square over all phases, and a frame is interpolated along two axes. Half a pixel off is worse.
#[test]
fn the_flow_brings_the_second_frame_back() {
    const BOUND: f64 = 2.0 * 0.0376;
    for kind in Kind::ALL {
        let synth = source(kind, 48, 64);
        let mut compared = 0;
        for index in 0..12 {
            let pair = synth.pair(11, index);
            let Some(error) = warp_error(&pair, 0.0, 0.0) else {
                continue;
            };
            compared += 1;
            let wrong = warp_error(&pair, 0.35, -0.35).unwrap();
            let what = format!("{} {index}: {error}, half a pixel off {wrong}", kind.name());
            assert!(error < BOUND && error < 0.7 * wrong, "{what}");
            if kind == Kind::Still {
                assert_eq!(pair.first, pair.second, "{what}");
            }
        }
        assert!(compared > 6, "{}: {compared} compared", kind.name());
    }
}

/// What is hidden in the second frame has something else in its place; mostly something that the first
/// frame shows (not a piece from outside, or from below another one). What leaves the frame is not
/// visible.
#[test]
fn what_is_hidden_is_covered_by_something() {
    const WIDTH: usize = 60;
    const HEIGHT: usize = 48;
    let (mut hidden, mut covered, mut outside) = (0, 0, 0);
    for kind in [Kind::Layers, Kind::Chairs, Kind::Translation] {
        let synth = source(kind, HEIGHT, WIDTH);
        for index in 0..16 {
            let pair = synth.pair(5, index);
            let goals: Vec<_> = (0..HEIGHT * WIDTH).map(|p| goal(&pair, p)).collect();
            for (p, q) in goals.iter().enumerate() {
                let inside = (0.0..=(WIDTH - 1) as f64).contains(&q[0]) && (0.0..=(HEIGHT - 1) as f64).contains(&q[1]);
                if !inside {
                    outside += 1;
                    assert!(!pair.visible[p], "{} {index}: {p} leaves the frame", kind.name());
                } else if !pair.visible[p] {
                    hidden += 1;
                    covered += usize::from((0..HEIGHT * WIDTH).any(|other| {
                        let (dx, dy) = (goals[other][0] - q[0], goals[other][1] - q[1]);
                        // Half the diagonal of a pixel, with some room for zoom.
                        pair.visible[other] && dx.hypot(dy) < 1.0
                    }));
                }
            }
        }
    }
    assert!(hidden > 300 && outside > 300, "{hidden} {outside}");
    assert!(covered as f64 > 0.85 * f64::from(hidden), "{covered} of {hidden}");
}

#[test]
fn flows_are_what_their_kinds_say() {
    for index in 0..12 {
        let still = source(Kind::Still, 24, 40).pair(1, index);
        assert!(still.flow.iter().all(|&v| v == 0.0) && still.visible.iter().all(|&v| v));

        let shift = source(Kind::Translation, 24, 40).pair(1, index);
        assert!(shift.flow.chunks_exact(24 * 40).all(|c| c.iter().all(|&v| v == c[0])));

        let affine = source(Kind::Affine, 24, 40).pair(1, index);
        for channel in affine.flow.chunks_exact(24 * 40) {
            let at = |y: usize, x: usize| f64::from(channel[y * 40 + x]);
            for (y, x) in [(3, 4), (20, 11), (7, 33)] {
                let plane =
                    at(0, 0) + (at(0, 39) - at(0, 0)) * x as f64 / 39.0 + (at(23, 0) - at(0, 0)) * y as f64 / 23.0;
                // Single precision of a few pixels.
                assert!((at(y, x) - plane).abs() < 1e-5, "{} {plane}", at(y, x));
            }
        }

        let torus = source(Kind::Torus, 24, 40).pair(1, index);
        assert!(torus.flow.iter().all(|v| v.abs() < 20.0));
    }
}

/// A pair is a pure function of seed and index.
#[test]
fn threads_change_nothing() {
    let synth = Synth::new(SynthSettings {
        height: 33,
        width: 40,
        rasters: vec![raster()],
        ..SynthSettings::default()
    })
    .unwrap();
    let alone: Vec<FlowPair> = (0..10).map(|index| synth.pair(3, index)).collect();
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        // Backwards, too: there is no state.
        let again: Vec<FlowPair> = pool.install(|| (0..10).rev().map(|index| synth.pair(3, index)).collect());
        assert!(again.iter().rev().eq(&alone), "{threads} threads");
    }
    assert_ne!(synth.pair(4, 0), alone[0]);
    assert_ne!(alone[1], alone[0]);
}

#[test]
fn all_kinds_and_sizes_of_motion_occur() {
    let synth = Synth::new(SynthSettings {
        height: 24,
        width: 32,
        ..SynthSettings::default()
    })
    .unwrap();
    let pairs: Vec<FlowPair> = (0..400).map(|index| synth.pair(2, index)).collect();
    for kind in Kind::ALL {
        let count = pairs.iter().filter(|pair| pair.kind == kind).count();
        // The rarest kind is one in twelve: 33 expected, a deviation of 5.5.
        assert!(count > 10, "{}: {count}", kind.name());
    }
    let share = |low: f64, high: f64| {
        let count = pairs
            .iter()
            .filter(|&pair| (low..high).contains(&mean_length(pair)))
            .count();
        count as f64 / pairs.len() as f64
    };
    let [none, tiny, small, large] = [(0.0, 1e-9), (1e-9, 0.1), (0.1, 1.0), (1.0, 99.0)].map(|(a, b)| share(a, b));
    // A tenth of 400 is 40, give or take 6.
    assert!(
        [none, tiny, small, large].iter().all(|&s| s > 0.1),
        "{none} {tiny} {small} {large}"
    );
}

/// The scenes of [`Kind::Chairs`] move by 2 to 5 px on average at 512×384: measured at a quarter of it,
/// where everything is a quarter.
#[test]
fn chairs_move_by_some_pixels() {
    let synth = source(Kind::Chairs, 96, 128);
    let lengths: Vec<f64> = (0..60).map(|index| 4.0 * mean_length(&synth.pair(8, index))).collect();
    let mean = lengths.iter().sum::<f64>() / 60.0;
    assert!((2.0..6.0).contains(&mean), "{mean} {lengths:?}");
}

/// Nuisances change the frames and leave the truth alone.
#[test]
fn nuisances_do_not_move() {
    let settings = |nuisance| SynthSettings {
        height: 32,
        width: 32,
        mix: vec![(Kind::Still, 1.0)],
        nuisance,
        ..SynthSettings::default()
    };
    let synth = Synth::new(settings(1.0)).unwrap();
    let pairs: Vec<FlowPair> = (0..40).map(|index| synth.pair(6, index)).collect();
    assert!(pairs.iter().all(|pair| pair.flow.iter().all(|&v| v == 0.0)));
    let changed = pairs.iter().filter(|pair| pair.first != pair.second).count();
    // One minus the product of the shares without each: 0.6·0.65·0.7·0.85·0.8 = 0.19 stay alike.
    assert!((24..40).contains(&changed), "{changed}");
}

/// Photographic scenes have places with next to nothing to see, in the levels of a file, and still move as they say.
#[test]
fn photographic_scenes_fade_out_and_are_rounded() {
    const SIDE: usize = 64;
    let settings = |photographic| SynthSettings {
        height: SIDE,
        width: SIDE,
        mix: vec![(Kind::Translation, 1.0)],
        nuisance: 0.0,
        photographic,
        ..SynthSettings::default()
    };
    // Share of pixels that differ from their neighbours by less than two levels.
    let flat = |pair: &FlowPair| {
        let plane = SIDE * SIDE;
        let near = |i: usize, j: usize| (pair.first[i] - pair.first[j]).abs() < 1.5 / 255.0;
        let inner = |p: usize| p % SIDE + 1 < SIDE && p / SIDE + 1 < SIDE;
        let alike = |p: usize| {
            (0..3).all(|c| near(c * plane + p, c * plane + p + 1) && near(c * plane + p, c * plane + p + SIDE))
        };
        (0..plane).filter(|&p| inner(p) && alike(p)).count() as f64 / plane as f64
    };
    let [plain, photographic] = [0.0, 1.0].map(|share| {
        let synth = Synth::new(settings(share)).unwrap();
        (0..16).map(|index| synth.pair(8, index)).collect::<Vec<_>>()
    });
    let mean = |pairs: &[FlowPair]| pairs.iter().map(flat).sum::<f64>() / pairs.len() as f64;
    let (before, after) = (mean(&plain), mean(&photographic));
    assert!(
        after > before + 0.2,
        "{before} of the plain ones is flat, {after} of the others"
    );
    for pair in &photographic {
        let whole = |v: &f32| (v * 255.0 - (v * 255.0).round()).abs() < 1e-3;
        assert!(pair.first.iter().chain(&pair.second).all(whole));
    }
    let mut compared = 0;
    for pair in &photographic {
        let errors = [warp_error(pair, 0.0, 0.0), warp_error(pair, 0.35, -0.35)];
        let [Some(error), Some(wrong)] = errors else { continue };
        compared += 1;
        assert!(error < 0.7 * wrong, "{error}, half a pixel off {wrong}");
    }
    assert!(compared > 12, "{compared} compared");
}

/// Enlarged textures change slowly from pixel to pixel, fit their torus as others do, and move as they say.
#[test]
fn enlarged_textures_are_smooth() {
    const SIDE: usize = 96;
    const PLANE: usize = SIDE * SIDE;
    let pairs = |kind, enlarged| {
        let synth = Synth::new(SynthSettings {
            height: SIDE,
            width: SIDE,
            mix: vec![(kind, 1.0)],
            nuisance: 0.0,
            still: 0.0,
            enlarged,
            ..SynthSettings::default()
        })
        .unwrap();
        (0..24).map(|index| synth.pair(9, index)).collect::<Vec<_>>()
    };
    // Difference of neighbours, across and around the seam if asked, to the standard deviation.
    let roughness = |pair: &FlowPair, seam: bool| {
        let (mut differences, mut squares) = (0.0, 0.0);
        for plane in pair.first.chunks_exact(PLANE) {
            let mean = plane.iter().map(|&v| f64::from(v)).sum::<f64>() / PLANE as f64;
            squares += plane.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / PLANE as f64;
            for row in plane.chunks_exact(SIDE) {
                let step = |x: usize| f64::from(row[x] - row[(x + 1) % SIDE]).powi(2);
                differences += if seam {
                    step(SIDE - 1) / SIDE as f64
                } else {
                    (0..SIDE - 1).map(step).sum::<f64>() / PLANE as f64
                };
            }
        }
        (differences / squares).sqrt()
    };
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let [usual, enlarged] = [0.0, 1.0].map(|share| {
        median(
            pairs(Kind::Translation, share)
                .iter()
                .map(|p| roughness(p, false))
                .collect(),
        )
    });
    // Two and a half times as large at the median of 1 to 6.
    assert!(enlarged < 0.6 * usual, "{enlarged}, else {usual}");
    let torus = pairs(Kind::Torus, 1.0);
    let [seam, inside] = [true, false].map(|seam| median(torus.iter().map(|p| roughness(p, seam)).collect()));
    assert!(seam < 1.5 * inside, "{seam} at the seam, {inside} elsewhere");
    let mut compared = 0;
    for pair in &pairs(Kind::Translation, 1.0) {
        let errors = [warp_error(pair, 0.0, 0.0), warp_error(pair, 0.35, -0.35)];
        let [Some(error), Some(wrong)] = errors else { continue };
        compared += 1;
        assert!(error < 0.7 * wrong, "{error}, half a pixel off {wrong}");
    }
    assert!(compared > 18, "{compared} compared");
}

#[test]
fn settings_are_refused_by_name() {
    let refuse = |change: &dyn Fn(&mut SynthSettings)| {
        let mut settings = SynthSettings::default();
        change(&mut settings);
        Synth::new(settings).unwrap_err().to_string()
    };
    assert!(refuse(&|s| s.height = 15).contains("height"));
    assert!(refuse(&|s| s.width = 5000).contains("width"));
    assert!(refuse(&|s| s.mix.clear()).contains("mix"));
    assert!(refuse(&|s| s.mix = vec![(Kind::Still, f64::NAN)]).contains("mix"));
    assert!(refuse(&|s| s.still = 1.5).contains("still"));
    assert!(refuse(&|s| s.slowest = 0.0).contains("slowest"));
    assert!(refuse(&|s| s.fastest = 0.5).contains("fastest"));
    assert!(refuse(&|s| s.nuisance = f64::NAN).contains("nuisance"));
    assert!(refuse(&|s| s.photographic = 1.1).contains("photographic"));
    assert!(refuse(&|s| s.enlarged = -0.1).contains("enlarged"));
    assert!(
        refuse(&|s| s.rasters = vec![Raster {
            height: 2,
            width: 2,
            rgb: vec![0.0; 12]
        }])
        .contains("raster")
    );
    assert!(
        refuse(&|s| s.rasters = vec![Raster {
            height: 4,
            width: 4,
            rgb: vec![0.0; 12]
        }])
        .contains("raster")
    );
    assert!(
        refuse(&|s| s.rasters = vec![Raster {
            height: 4,
            width: 4,
            rgb: vec![2.0; 48]
        }])
        .contains("raster")
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the size and the seed, frames are colours and flows are numbers.
    #[test]
    fn always_in_range(height in 16_usize..70, width in 16_usize..70, seed: u64, index: u64, kind in 0_usize..7) {
        let synth = Synth::new(SynthSettings {
            height,
            width,
            mix: vec![(Kind::ALL[kind], 0.5)],
            fastest: 0.25,
            photographic: 0.5,
            enlarged: 0.5,
            rasters: vec![raster()],
            ..SynthSettings::default()
        })
        .unwrap();
        let pair = synth.pair(seed, index);
        prop_assert_eq!(pair.kind, Kind::ALL[kind]);
        prop_assert_eq!(pair.first.len(), 3 * height * width);
        prop_assert_eq!(pair.second.len(), 3 * height * width);
        prop_assert_eq!(pair.flow.len(), 2 * height * width);
        prop_assert_eq!(pair.visible.len(), height * width);
        let frames = pair.first.iter().chain(&pair.second);
        prop_assert!(frames.into_iter().all(|v| (0.0..=1.0).contains(v)));
        prop_assert!(pair.flow.iter().all(|v| v.abs() < 2.0 * width.max(height) as f32));
    }
}
