//! Convolution against the oracle.

use proptest::prelude::*;

use super::cases::{for_all, numbers};
use super::compare::{Mismatch, Tolerance, compare};
use super::derivative::check_gradient;
use super::host::{absolute, download, oracle, poisoned, refuses_wrong_lengths, upload};
use crate::backend::{Backend, ConvShape};
use crate::error::Result;

/// A convolution and a seed for its numbers.
#[derive(Clone, Debug)]
pub struct ConvCase {
    /// Its shape.
    pub shape: ConvShape,
    /// Whether it has a bias.
    pub bias: bool,
    /// Seed of all numbers.
    pub seed: u64,
}

/// Input, weights and bias of a convolution.
#[derive(Clone)]
struct Inputs {
    x: Vec<f64>,
    weight: Vec<f64>,
    bias: Option<Vec<f64>>,
}

impl Inputs {
    fn of(case: &ConvCase, index: u64) -> Self {
        Self {
            x: numbers(case.seed, index, case.shape.input_len()),
            weight: numbers(case.seed, index + 1, case.shape.weight_len()),
            bias: case.bias.then(|| numbers(case.seed, index + 2, case.shape.outputs)),
        }
    }

    fn absolute(&self) -> Self {
        Self {
            x: absolute(&self.x),
            weight: absolute(&self.weight),
            bias: self.bias.as_deref().map(absolute),
        }
    }
}

fn forward<B: Backend>(backend: &B, shape: &ConvShape, inputs: &Inputs) -> Result<Vec<f64>> {
    let (x, weight) = (upload(backend, &inputs.x)?, upload(backend, &inputs.weight)?);
    let bias = inputs.bias.as_ref().map(|bias| upload(backend, bias)).transpose()?;
    let mut y = poisoned(backend, shape.output_len())?;
    backend.conv2d(shape, &x, &weight, bias.as_ref(), &mut y)?;
    download(backend, &y)
}

/// The gradients of all three inputs, in the shapes of `inputs`; those of weight and bias added to
/// the ones of `before`.
fn backward<B: Backend>(
    backend: &B,
    shape: &ConvShape,
    inputs: &Inputs,
    g_y: &[f64],
    before: &Inputs,
) -> Result<Inputs> {
    let (x, weight, g_y) = (
        upload(backend, &inputs.x)?,
        upload(backend, &inputs.weight)?,
        upload(backend, g_y)?,
    );
    let mut g_x = poisoned(backend, shape.input_len())?;
    backend.conv2d_backward_input(shape, &weight, &g_y, &mut g_x)?;
    let mut g_weight = upload(backend, &before.weight)?;
    let mut g_bias = before.bias.as_ref().map(|bias| upload(backend, bias)).transpose()?;
    backend.conv2d_backward_weight(shape, &x, &g_y, &mut g_weight, g_bias.as_mut())?;
    Ok(Inputs {
        x: download(backend, &g_x)?,
        weight: download(backend, &g_weight)?,
        bias: g_bias.map(|bias| download(backend, &bias)).transpose()?,
    })
}

fn conv_cases(channels: usize, width: usize, largest_kernel: usize) -> impl Strategy<Value = ConvCase> {
    (
        (1..=3_usize, 1..=channels, 1..=channels),
        (1..=9_usize, 1..=width),
        (1..=largest_kernel, 0..=3_usize),
        (any::<bool>(), any::<u64>()),
    )
        .prop_map(
            |((batch, inputs, outputs), (height, width), (kernel, padding), (bias, seed))| ConvCase {
                shape: ConvShape {
                    batch,
                    inputs,
                    outputs,
                    height,
                    width,
                    kernel: kernel.min(height.min(width) + 2 * padding),
                    padding,
                },
                bias,
                seed,
            },
        )
}

/// Forward and both backwards against the oracle; kernels of even and odd size, any padding, with
/// and without bias.
pub fn parity<B: Backend<Elem = f32>>(backend: &B) -> Result<(), Mismatch> {
    let wide = conv_cases(19, 40, 7);
    for_all(&prop_oneof![3 => conv_cases(7, 9, 7), 1 => wide], |case| {
        let (shape, oracle) = (&case.shape, oracle());
        let inputs = Inputs::of(case, 0);
        let area = shape.kernel * shape.kernel;
        let got = forward(backend, shape, &inputs)?;
        let want = forward(&oracle, shape, &inputs)?;
        let magnitude = forward(&oracle, shape, &inputs.absolute())?;
        let terms = Tolerance::products(backend.precision(), shape.inputs * area, 1);
        compare("conv2d", "y", &got, &want, &magnitude, terms)?;

        let (g_y, before) = (numbers(case.seed, 10, shape.output_len()), Inputs::of(case, 11));
        let got = backward(backend, shape, &inputs, &g_y, &before)?;
        let want = backward(&oracle, shape, &inputs, &g_y, &before)?;
        let magnitude = backward(&oracle, shape, &inputs.absolute(), &absolute(&g_y), &before.absolute())?;
        let precision = backend.precision().of_gradients();
        let terms = Tolerance::products(precision, shape.outputs * area, 1);
        compare("conv2d_backward_input", "g_x", &got.x, &want.x, &magnitude.x, terms)?;
        const OP: &str = "conv2d_backward_weight";
        let terms = Tolerance::products(precision, shape.output_len() / shape.outputs, 1);
        compare(OP, "g_weight", &got.weight, &want.weight, &magnitude.weight, terms)?;
        if let (Some(got), Some(want), Some(magnitude)) = (&got.bias, &want.bias, &magnitude.bias) {
            compare(OP, "g_bias", got, want, magnitude, terms)?;
        }
        lengths(backend, shape)
    })?;
    refuses_large_kernels(backend)
}

fn lengths<B: Backend>(backend: &B, shape: &ConvShape) -> Result<(), Mismatch> {
    let (input, weights) = (shape.input_len(), shape.weight_len());
    let (outputs, output) = (shape.outputs, shape.output_len());
    refuses_wrong_lengths("conv2d", 4, |wrong| {
        let buffer = |i, len| backend.zeros(len + usize::from(i == wrong));
        let (x, weight, bias) = (buffer(0, input)?, buffer(1, weights)?, buffer(2, outputs)?);
        backend.conv2d(shape, &x, &weight, Some(&bias), &mut buffer(3, output)?)
    })?;
    refuses_wrong_lengths("conv2d_backward_input", 3, |wrong| {
        let buffer = |i, len| backend.zeros(len + usize::from(i == wrong));
        let (weight, g_y) = (buffer(0, weights)?, buffer(1, output)?);
        backend.conv2d_backward_input(shape, &weight, &g_y, &mut buffer(2, input)?)
    })?;
    refuses_wrong_lengths("conv2d_backward_weight", 4, |wrong| {
        let buffer = |i, len| backend.zeros(len + usize::from(i == wrong));
        let (x, g_y) = (buffer(0, input)?, buffer(1, output)?);
        let (mut g_weight, mut g_bias) = (buffer(2, weights)?, buffer(3, outputs)?);
        backend.conv2d_backward_weight(shape, &x, &g_y, &mut g_weight, Some(&mut g_bias))
    })
}

/// A kernel larger than the padded image has no output at all.
fn refuses_large_kernels<B: Backend>(backend: &B) -> Result<(), Mismatch> {
    let shape = ConvShape {
        batch: 1,
        inputs: 1,
        outputs: 1,
        height: 2,
        width: 9,
        kernel: 5,
        padding: 1,
    };
    let (x, weight, mut y) = (backend.zeros(18)?, backend.zeros(25)?, backend.zeros(0)?);
    match backend.conv2d(&shape, &x, &weight, None, &mut y) {
        Err(_) => Ok(()),
        Ok(()) => Err(Mismatch::Rule {
            op: "conv2d",
            rule: "accepts a kernel larger than the padded image".to_owned(),
        }),
    }
}

/// Backward against differences with respect to input, weight and bias; multilinear, so there is
/// no kink.
pub fn gradient<B: Backend<Elem = f64>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&conv_cases(3, 6, 4), |case| {
        let shape = &case.shape;
        let inputs = Inputs::of(case, 0);
        let g_y = numbers(case.seed, 10, shape.output_len());
        let before = Inputs {
            x: Vec::new(),
            weight: vec![0.0; shape.weight_len()],
            bias: inputs.bias.as_ref().map(|bias| vec![0.0; bias.len()]),
        };
        let g = backward(backend, shape, &inputs, &g_y, &before)?;
        check_gradient("conv2d_backward_input", "g_x", &inputs.x, &g.x, &g_y, |x| {
            let x = x.to_vec();
            forward(backend, shape, &Inputs { x, ..inputs.clone() })
        })?;
        const OP: &str = "conv2d_backward_weight";
        check_gradient(OP, "g_weight", &inputs.weight, &g.weight, &g_y, |weight| {
            let weight = weight.to_vec();
            forward(
                backend,
                shape,
                &Inputs {
                    weight,
                    ..inputs.clone()
                },
            )
        })?;
        let (Some(bias), Some(g_bias)) = (&inputs.bias, &g.bias) else {
            return Ok(());
        };
        check_gradient(OP, "g_bias", bias, g_bias, &g_y, |bias| {
            let bias = Some(bias.to_vec());
            forward(backend, shape, &Inputs { bias, ..inputs.clone() })
        })
    })
}
