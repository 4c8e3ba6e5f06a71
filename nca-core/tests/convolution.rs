//! The algorithms of convolution against the oracle and each other, on numbers and shapes of all kinds.

use nca_core::Result;
use nca_core::backend::{Conv2d, ConvShape, Device};
use nca_core::cpu::{ConvAlgorithm, Cpu, Simd};
use nca_core::philox::{PhiloxRng, Stream};
use nca_core::reference::Reference;
use proptest::prelude::*;

/// Rounding of one operation in f32.
const UNIT: f64 = f32::EPSILON as f64 / 2.0;
/// Side of a tile of the transforms.
const TILE: usize = 16;
/// Levels of radix-2 transforms on the way of a number: 8 of its own, 8 of its factor's, 8 back, and as
/// many again because each rounds both products and sums.
const LEVELS: usize = 32;

/// Normal numbers, a pure function of seed and index.
fn normals(seed: u64, index: u64, len: usize) -> Vec<f64> {
    let mut rng = PhiloxRng::new(seed, Stream::Test, index);
    (0..len).map(|_| f64::from(rng.normal() as f32)).collect()
}

/// Input, weights and gradient of the output of a convolution.
struct Numbers {
    x: Vec<f64>,
    weight: Vec<f64>,
    g_y: Vec<f64>,
}

impl Numbers {
    fn new(shape: &ConvShape, seed: u64) -> Self {
        Self {
            x: normals(seed, 0, shape.input_len()),
            weight: normals(seed, 1, shape.weight_len()),
            g_y: normals(seed, 2, shape.output_len()),
        }
    }

    /// Cubed: a few large numbers among small ones.
    fn wild(&self) -> Self {
        self.map(|v| f64::from((v * v * v) as f32))
    }

    fn map(&self, f: impl Fn(f64) -> f64 + Copy) -> Self {
        let map = |values: &[f64]| values.iter().copied().map(f).collect();
        Self {
            x: map(&self.x),
            weight: map(&self.weight),
            g_y: map(&self.g_y),
        }
    }
}

/// Outputs, gradient of the input, gradient of the weights.
type Passes = [Vec<f64>; 3];

fn passes<B: Conv2d>(backend: &B, shape: &ConvShape, numbers: &Numbers) -> Result<Passes> {
    let upload = |values: &[f64]| {
        let values: Vec<B::Elem> = values.iter().map(|&v| nca_core::Real::of(v)).collect();
        backend.buffer(&values)
    };
    let (x, weight, g_y) = (upload(&numbers.x)?, upload(&numbers.weight)?, upload(&numbers.g_y)?);
    // What a pass must overwrite.
    let spoilt = |len: usize| upload(&vec![f64::NAN; len]);
    let (mut y, mut g_x) = (spoilt(shape.output_len())?, spoilt(shape.input_len())?);
    let mut g_weight = backend.zeros(shape.weight_len())?;
    backend.conv2d(shape, &x, &weight, None, &mut y)?;
    backend.conv2d_backward_input(shape, &weight, &g_y, &mut g_x)?;
    backend.conv2d_backward_weight(shape, &x, &g_y, &mut g_weight, None)?;
    let download = |buffer: &B::Buffer| -> Result<Vec<f64>> {
        let values = backend.to_vec(buffer)?;
        Ok(values.into_iter().map(nca_core::Real::to_f64).collect())
    };
    Ok([download(&y)?, download(&g_x)?, download(&g_weight)?])
}

/// Largest sum of squares of the numbers in any window of a tile's size, rooted: at most that of whole
/// planes, and at most as many numbers as a tile has times the largest square.
fn window_norm(plane: &[f64]) -> f64 {
    let whole: f64 = plane.iter().map(|v| v * v).sum();
    whole.sqrt().min(TILE as f64 * largest(plane.iter().map(|v| v.abs())))
}

/// Bound on the error of each pass by transforms, by the module's formula: `ε·(LEVELS + n)` times the norms
/// of windows and filters, where n is the number of products summed in the frequency domain.
fn fft_bounds(shape: &ConvShape, numbers: &Numbers) -> [f64; 3] {
    let norms = |values: &[f64], plane: usize| largest(values.chunks_exact(plane).map(window_norm));
    let x = norms(&numbers.x, shape.height * shape.width);
    let weight = norms(&numbers.weight, shape.kernel * shape.kernel);
    let g_y = norms(&numbers.g_y, shape.out_height() * shape.out_width());
    let step = TILE + 1 - shape.kernel;
    let windows = shape.batch * shape.out_height().div_ceil(step) * shape.out_width().div_ceil(step);
    let bound = |products: usize, norms: f64| UNIT * (LEVELS + products) as f64 * products as f64 * norms;
    [
        bound(shape.inputs, x * weight),
        bound(shape.outputs, g_y * weight),
        bound(windows, x * g_y),
    ]
}

/// Bound on the error of outputs and of gradients of the input by Winograd's algorithm, by its module's
/// formula.
fn winograd_bounds(shape: &ConvShape, numbers: &Numbers) -> [f64; 2] {
    /// Roundings of a number on its way through three transforms.
    const ROUNDINGS: usize = 24;
    /// Largest element of |Aᵀ|·(|G|·1·|Gᵀ| ⊙ |Bᵀ|·1·|B|)·|A| at the points 0, ±2/3, ±3/2 and ∞.
    const AMPLIFICATION: f64 = 537.0;
    let magnitude = |values: &[f64]| largest(values.iter().map(|v| v.abs()));
    let (x, weight, g_y) = (
        magnitude(&numbers.x),
        magnitude(&numbers.weight),
        magnitude(&numbers.g_y),
    );
    let bound = |channels: usize, magnitudes: f64| {
        UNIT * (ROUNDINGS + channels) as f64 * channels as f64 * AMPLIFICATION * magnitudes
    };
    [bound(shape.inputs, x * weight), bound(shape.outputs, g_y * weight)]
}

/// Bound on the error of each pass, whatever the algorithm.
fn bounds(shape: &ConvShape, numbers: &Numbers) -> [f64; 3] {
    let mut bounds = fft_bounds(shape, numbers);
    if shape.kernel == 3 {
        for (bound, winograd) in bounds.iter_mut().zip(winograd_bounds(shape, numbers)) {
            *bound = bound.max(winograd);
        }
    }
    bounds
}

fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, f64::max)
}

fn instruction_sets() -> impl Iterator<Item = Simd> {
    Simd::ALL.into_iter().filter(|simd| simd.available())
}

fn cpu(simd: Simd, conv: ConvAlgorithm, threads: usize) -> Cpu {
    let builder = Cpu::builder().simd(simd).conv(conv).threads(threads);
    builder.build().expect("an instruction set that is available")
}

fn shapes() -> impl Strategy<Value = ConvShape> {
    let kernels = prop_oneof![3 => Just(7_usize), 3 => Just(3_usize), 2 => 1..=16_usize];
    (
        (1..=3_usize, 1..=21_usize, 1..=21_usize),
        (1..=45_usize, 1..=45_usize),
        (kernels, 0..=9_usize),
    )
        .prop_map(
            |((batch, inputs, outputs), (height, width), (kernel, padding))| ConvShape {
                batch,
                inputs,
                outputs,
                height,
                width,
                kernel: kernel.min(height.min(width) + 2 * padding),
                padding,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every pass by every algorithm, on every instruction set.
    #[test]
    fn algorithms_agree_with_the_oracle(shape in shapes(), wild in any::<bool>(), seed in any::<u64>()) {
        let numbers = Numbers::new(&shape, seed);
        let numbers = if wild { numbers.wild() } else { numbers };
        let expected = passes(&Reference::<f64>::new(), &shape, &numbers)?;
        let bounds = bounds(&shape, &numbers);
        for simd in instruction_sets() {
            for conv in ConvAlgorithm::ALL {
                let found = passes(&cpu(simd, conv, 2), &shape, &numbers)?;
                for (pass, ((found, expected), bound)) in found.iter().zip(&expected).zip(bounds).enumerate() {
                    let worst = found.iter().zip(expected).map(|(f, e)| (f - e).abs()).fold(0.0, f64::max);
                    prop_assert!(worst <= bound, "{simd} {conv} pass {pass}: {worst:e} > {bound:e}, {shape:?}");
                    prop_assert!(found.iter().all(|f| f.is_finite()));
                }
            }
        }
    }
}

/// Shapes with more windows or outputs than one task takes, and channels that fill no whole number of vectors.
fn large_shapes() -> [ConvShape; 6] {
    let shape = |kernel, batch, inputs, outputs, height, width| ConvShape {
        batch,
        inputs,
        outputs,
        height,
        width,
        kernel,
        padding: kernel / 2,
    };
    [
        shape(7, 2, 8, 32, 61, 64),
        shape(7, 1, 33, 18, 70, 45),
        shape(7, 5, 16, 2, 32, 32),
        shape(3, 1, 16, 33, 62, 75),
        shape(3, 3, 40, 8, 40, 44),
        shape(3, 9, 40, 200, 9, 13),
    ]
}

#[test]
fn number_of_threads_does_not_matter() {
    for shape in large_shapes() {
        let numbers = Numbers::new(&shape, 5);
        for simd in instruction_sets() {
            for conv in ConvAlgorithm::ALL {
                let run = |threads| passes(&cpu(simd, conv, threads), &shape, &numbers).unwrap();
                let one = run(1);
                assert!(one == run(2) && one == run(3), "{simd} {conv}: {shape:?}");
            }
        }
    }
}

/// The errors of normal numbers relative to the sum of the magnitudes of an output's own terms, which no
/// bound promises of transforms: at most one unit a level, where many terms are summed. (Measured: 5 units directly, 3.4 by
/// transforms.)
#[test]
fn errors_are_small_beside_the_terms_of_an_output() {
    for shape in large_shapes() {
        let numbers = Numbers::new(&shape, 6);
        let oracle = Reference::<f64>::new();
        let expected = passes(&oracle, &shape, &numbers).unwrap();
        let terms = passes(&oracle, &shape, &numbers.map(f64::abs)).unwrap();
        for simd in instruction_sets() {
            for conv in ConvAlgorithm::ALL {
                let found = passes(&cpu(simd, conv, 2), &shape, &numbers).unwrap();
                for pass in 0..3 {
                    // Too few to average the errors of Winograd's transforms: he is not chosen there.
                    let channels = [shape.inputs, shape.outputs, usize::MAX][pass];
                    if conv == ConvAlgorithm::Winograd && channels < 16 {
                        continue;
                    }
                    // A comparison would pass over them.
                    assert!(found[pass].iter().all(|f| f.is_finite()), "{simd} {conv}: {shape:?}");
                    let worst = found[pass]
                        .iter()
                        .zip(&expected[pass])
                        .zip(&terms[pass])
                        .map(|((f, e), t)| (f - e).abs() / t / UNIT)
                        .fold(0.0, f64::max);
                    assert!(
                        worst < LEVELS as f64,
                        "{simd} {conv} pass {pass}: {worst} units, {shape:?}"
                    );
                }
            }
        }
    }
}

/// Few tiles are summed up output by output, many tile by tile: an image's results are the same bits by itself and in a
/// batch.
#[test]
fn batches_are_images() {
    let shape = |batch| ConvShape {
        batch,
        inputs: 35,
        outputs: 40,
        height: 23,
        width: 20,
        kernel: 3,
        padding: 1,
    };
    let numbers = Numbers::new(&shape(4), 8);
    let first = Numbers {
        x: numbers.x[..shape(1).input_len()].to_vec(),
        weight: numbers.weight.clone(),
        g_y: numbers.g_y[..shape(1).output_len()].to_vec(),
    };
    for simd in instruction_sets() {
        for conv in [ConvAlgorithm::Direct, ConvAlgorithm::Fft, ConvAlgorithm::Winograd] {
            let cpu = cpu(simd, conv, 2);
            let (alone, together) = (
                passes(&cpu, &shape(1), &first).unwrap(),
                passes(&cpu, &shape(4), &numbers).unwrap(),
            );
            for pass in 0..2 {
                assert!(together[pass].starts_with(&alone[pass]), "{simd} {conv} pass {pass}");
            }
        }
    }
}

/// Sums of nothing: where no channel comes in the bias comes out, whatever the size.
#[test]
fn without_inputs_only_the_bias_is_left() {
    for side in [4, 100] {
        let shape = ConvShape {
            batch: 2,
            inputs: 0,
            outputs: 3,
            height: side,
            width: side,
            kernel: 3,
            padding: 1,
        };
        let cpu = cpu(Simd::detect(), ConvAlgorithm::Auto, 1);
        let [x, weight] = [(); 2].map(|()| cpu.zeros(0).unwrap());
        let bias = cpu.buffer(&[1.0, -2.0, 3.0]).unwrap();
        let mut y = cpu.zeros(shape.output_len()).unwrap();
        cpu.conv2d(&shape, &x, &weight, Some(&bias), &mut y).unwrap();
        for (i, plane) in y.chunks_exact(side * side).enumerate() {
            assert!(plane.iter().all(|&v| v == bias[i % 3]), "plane {i} of {side}x{side}");
        }
    }
}
