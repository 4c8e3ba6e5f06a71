//! Operations on more than the suite gives them: every shape of tile, sums in slices, rows that are sorted in parts.

mod common;

use nca_core::Result;
use nca_core::backend::{Conv2d, ConvShape, Device as _, Matmul, MatmulShape, SortRows, Warp};
use nca_core::reference::Reference;
use nca_core::testkit::cases::numbers;
use nca_core::testkit::host::{absolute, download, oracle, poisoned, upload};
use nca_core::testkit::{Tolerance, compare, compare_bits};

use self::common::{backends, precise_backends};

/// y, g_x, `g_weight` and `g_bias` of a convolution.
fn convolve<B: Conv2d>(backend: &B, shape: &ConvShape, inputs: &[Vec<f64>; 6]) -> Result<[Vec<f64>; 4]> {
    let [x, weight, bias, g_y, g_weight, g_bias] = inputs.each_ref().map(|values| upload(backend, values));
    let (x, weight, bias, g_y) = (x?, weight?, bias?, g_y?);
    let (mut g_weight, mut g_bias) = (g_weight?, g_bias?);
    let mut y = poisoned(backend, shape.output_len())?;
    backend.conv2d(shape, &x, &weight, Some(&bias), &mut y)?;
    let mut g_x = poisoned(backend, shape.input_len())?;
    backend.conv2d_backward_input(shape, &weight, &g_y, &mut g_x)?;
    backend.conv2d_backward_weight(shape, &x, &g_y, &mut g_weight, Some(&mut g_bias))?;
    Ok([
        download(backend, &y)?,
        download(backend, &g_x)?,
        download(backend, &g_weight)?,
        download(backend, &g_bias)?,
    ])
}

fn check_convolution(shape: &ConvShape) {
    let (outputs, output) = (shape.outputs, shape.output_len());
    let lens = [
        shape.input_len(),
        shape.weight_len(),
        outputs,
        output,
        shape.weight_len(),
        outputs,
    ];
    let inputs: [Vec<f64>; 6] = std::array::from_fn(|i| numbers(3, i as u64, lens[i]));
    let want = convolve(&oracle(), shape, &inputs).unwrap();
    let magnitude = convolve(&oracle(), shape, &inputs.each_ref().map(|values| absolute(values))).unwrap();
    let area = shape.kernel * shape.kernel;
    let pixels = output / outputs;
    let terms = [shape.inputs * area, outputs * area, pixels, pixels];
    for backend in precise_backends() {
        let got = convolve(&backend, shape, &inputs).unwrap();
        for (i, name) in ["y", "g_x", "g_weight", "g_bias"].into_iter().enumerate() {
            let tolerance = Tolerance::products(backend.precision(), terms[i], 1);
            compare("conv2d", name, &got[i], &want[i], &magnitude[i], tolerance)
                .unwrap_or_else(|mismatch| panic!("{}: {mismatch}\n  for {shape:?}", backend.describe()));
        }
    }
}

fn conv(inputs: usize, outputs: usize, [height, width]: [usize; 2], kernel: usize, padding: usize) -> ConvShape {
    ConvShape {
        batch: 2,
        inputs,
        outputs,
        height,
        width,
        kernel,
        padding,
    }
}

/// The tiles of 128 channels, one and two of them, with planes that can be written by fours and that cannot.
#[test]
fn convolutions_to_many_channels() {
    check_convolution(&conv(3, 70, [12, 10], 3, 1));
    check_convolution(&conv(3, 130, [7, 9], 3, 0));
}

/// Long sums are cut into slices; a layer of the flow network has the longest.
#[test]
fn convolutions_with_long_sums() {
    check_convolution(&conv(33, 40, [6, 6], 3, 1));
    check_convolution(&conv(64, 32, [8, 8], 7, 3));
    check_convolution(&conv(18, 66, [5, 7], 4, 2));
}

/// Pixels for many tiles, and for many slices of the weights' gradient.
#[test]
fn convolutions_of_large_images() {
    check_convolution(&conv(2, 3, [130, 131], 7, 3));
}

#[test]
fn products_of_large_tiles() {
    let shape = MatmulShape::new(96, 65, 130, 67);
    for shape in [shape, shape.transpose_a(), shape.transpose_b()] {
        let a = numbers(1, 0, shape.batch * shape.a_len());
        let b = numbers(1, 1, shape.batch * shape.b_len());
        let c = numbers(1, 2, shape.batch * shape.c_len());
        let want = product(&oracle(), &shape, &a, &b, &c);
        let magnitude = product(&oracle(), &shape, &absolute(&a), &absolute(&b), &absolute(&c));
        for backend in precise_backends() {
            let tolerance = Tolerance::products(backend.precision().of_gradients(), shape.inner, 1);
            let got = product(&backend, &shape, &a, &b, &c);
            compare("matmul", "c", &got, &want, &magnitude, tolerance)
                .unwrap_or_else(|mismatch| panic!("{}: {mismatch}\n  for {shape:?}", backend.describe()));
        }
    }
}

/// `C + A·B`
fn product<B: Matmul>(backend: &B, shape: &MatmulShape, a: &[f64], b: &[f64], c: &[f64]) -> Vec<f64> {
    let mut c = upload(backend, c).unwrap();
    let (a, b) = (upload(backend, a).unwrap(), upload(backend, b).unwrap());
    backend.matmul(shape, 1.0, &a, &b, 1.0, &mut c).unwrap();
    download(backend, &c).unwrap()
}

/// Numbers of many ties, NaN and infinities now and then.
fn with_ties(len: usize) -> Vec<f64> {
    let mut x = numbers(5, 0, len);
    for (i, v) in x.iter_mut().enumerate() {
        *v = (*v * 50.0).round();
        match i % 1013 {
            0 => *v = f64::NAN,
            1 => *v = f64::INFINITY,
            2 => *v = f64::NEG_INFINITY,
            _ => {}
        }
    }
    x
}

fn sorted<B: SortRows<Elem = f32>>(backend: &B, rows: usize, len: usize, x: &[f64]) -> (Vec<f64>, Vec<u32>) {
    let x = upload(backend, x).unwrap();
    let mut values = poisoned(backend, rows * len).unwrap();
    let mut order = backend.zero_indices(rows * len).unwrap();
    backend.sort_rows(rows, len, &x, &mut values, &mut order).unwrap();
    let mut indices = vec![0; rows * len];
    backend.download_indices(&order, &mut indices).unwrap();
    (download(backend, &values).unwrap(), indices)
}

/// A block sorts 4096 elements: rows of one block, of two, of a few, and of so many that the rows go in groups.
#[test]
fn rows_longer_than_a_block_sorts() {
    for (rows, len) in [(2, 4096), (2, 4097), (3, 8192), (1, 12_289), (2, 20_000), (3, 700_001)] {
        let x = with_ties(rows * len);
        let want = sorted(&Reference::<f32>::new(), rows, len, &x);
        for backend in backends() {
            let (name, got) = (backend.describe(), sorted(&backend, rows, len, &x));
            compare_bits("sort_rows", "sorted", &got.0, &want.0).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(got.1 == want.1, "{name}: order of {rows} rows of {len}");
        }
    }
}

/// g_x and `g_flow`.
fn unwarped<B: Warp>(backend: &B, shape: [usize; 4], [x, flow, g_y]: [&[f64]; 3]) -> [Vec<f64>; 2] {
    let [batch, channels, height, width] = shape;
    let (x, flow, g_y) = (
        upload(backend, x).unwrap(),
        upload(backend, flow).unwrap(),
        upload(backend, g_y).unwrap(),
    );
    let mut g_x = poisoned(backend, backend.len(&x)).unwrap();
    let mut g_flow = poisoned(backend, backend.len(&flow)).unwrap();
    backend
        .warp_backward(batch, channels, height, width, &x, &flow, &g_y, &mut g_x, &mut g_flow)
        .unwrap();
    [download(backend, &g_x).unwrap(), download(backend, &g_flow).unwrap()]
}

/// More pixels than a block sorts and more channels than are summed together; everywhere, and all in one corner.
#[test]
fn gradients_of_warping_a_large_image() {
    let shape = [2, 5, 70, 75];
    let [batch, channels, height, width] = shape;
    let (image, flows) = (batch * channels * height * width, batch * 2 * height * width);
    let (x, g_y) = (numbers(8, 0, image), numbers(8, 1, image));
    // Exact in f32, and off the pixels.
    let wandering = numbers(8, 2, flows)
        .into_iter()
        .map(|v| ((v * 4.0 * 64.0).floor() + 0.5) / 64.0)
        .collect();
    let mut cornered = vec![-200.0; flows];
    cornered[7] = f64::NAN;
    for flow in [wandering, cornered] {
        let [want_x, want_flow] = unwarped(&oracle(), shape, [&x, &flow, &g_y]);
        let [magnitude, _] = unwarped(&oracle(), shape, [&x, &flow, &absolute(&g_y)]);
        // Every pixel of the plane may have been drawn from one, with the roundings of its position and weights.
        let tolerance = Tolerance::reduction(9 + height * width);
        // A slope is the sum over channels of products with differences of numbers below 1.
        let slope = vec![4.0 * channels as f64; flows];
        let slope_tolerance = Tolerance::reduction(9 + channels);
        for backend in backends() {
            let name = backend.describe();
            let [g_x, g_flow] = unwarped(&backend, shape, [&x, &flow, &g_y]);
            compare("warp_backward", "g_x", &g_x, &want_x, &magnitude, tolerance)
                .and_then(|()| compare("warp_backward", "g_flow", &g_flow, &want_flow, &slope, slope_tolerance))
                .unwrap_or_else(|mismatch| panic!("{name}: {mismatch}"));
        }
    }
}
