//! The reference backend: every operation as its formula reads, in pure ndarray.
//!
//! It exists to be obviously right, not to be fast: one thread, no fusion, no tiling. In f64 it is
//! the oracle that the other backends and all gradients are held against; in f32 it runs wherever
//! the crate compiles. One file per operation, with the stem it has in [`crate::backend`].

mod adam;
mod avg_pool2;
mod axpy;
mod channel_affine;
mod conv2d;
mod device;
mod flow_magnitude;
mod gather_columns;
mod l1;
mod l2;
mod matmul;
mod max_pool2;
mod minima;
mod mlp;
mod nca_step;
mod normalize;
mod normalize_rows;
mod overflow;
mod perceive;
mod relu;
mod resize;
mod rgb;
mod rollout;
mod sort_rows;
mod update;
mod upsample2;
mod warp;

use std::borrow::Cow;
use std::marker::PhantomData;

use ndarray::{ArrayView, ArrayViewMut, Dimension, IntoDimension};

use crate::backend::check;
use crate::error::{Error, Result, check_len};
use crate::precision::Precision;
use crate::real::Real;

/// The backend that is right by inspection; buffers are `Vec<T>`, index arrays `Vec<u32>`.
///
/// ```
/// use nca_core::backend::{Axpy, Device};
/// use nca_core::reference::Reference;
/// let backend = Reference::<f64>::new();
/// let mut y = backend.buffer(&[1.0, 2.0])?;
/// backend.axpy(0.5, &backend.buffer(&[4.0, 8.0])?, &mut y)?;
/// assert_eq!(backend.to_vec(&y)?, [3.0, 6.0]);
/// # Ok::<(), nca_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference<T> {
    precision: Precision,
    scalar: PhantomData<T>,
}

impl<T: Real> Reference<T> {
    /// The backend; it has no state.
    #[must_use]
    pub fn new() -> Self {
        Self {
            precision: Precision::F32,
            scalar: PhantomData,
        }
    }

    /// The same with factors of products rounded to `precision`: what that means, written down. In f32 nothing is
    /// rounded, whatever T is.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// `values` as factors of products without gradients.
    fn factors<'a>(&self, values: &'a [T]) -> Cow<'a, [T]> {
        rounded(self.precision, values)
    }

    /// `values` as factors of products with gradients.
    fn gradient_factors<'a>(&self, values: &'a [T]) -> Cow<'a, [T]> {
        rounded(self.precision.of_gradients(), values)
    }
}

fn rounded<T: Real>(precision: Precision, values: &[T]) -> Cow<'_, [T]> {
    match precision {
        Precision::F32 => Cow::Borrowed(values),
        _ => values.iter().map(|&v| factor(precision, v)).collect(),
    }
}

/// `v` as a factor.
fn factor<T: Real>(precision: Precision, v: T) -> T {
    match precision {
        Precision::F32 => v,
        _ => T::of(f64::from(precision.round(v.to_f64() as f32))),
    }
}

/// `buffer` seen as an array of `shape`, which it must fill exactly.
fn view<'a, T, S: IntoDimension>(
    op: &'static str,
    what: &'static str,
    buffer: &'a [T],
    shape: S,
) -> Result<ArrayView<'a, T, S::Dim>> {
    let shape = shape.into_dimension();
    let (found, expected) = (buffer.len(), check::elements(shape.slice()));
    check_len(op, what, found, expected)?;
    ArrayView::from_shape(shape, buffer).map_err(|_| mismatch(op, what, found, expected))
}

/// As [`view`], mutably.
fn view_mut<'a, T, S: IntoDimension>(
    op: &'static str,
    what: &'static str,
    buffer: &'a mut [T],
    shape: S,
) -> Result<ArrayViewMut<'a, T, S::Dim>> {
    let shape = shape.into_dimension();
    let (found, expected) = (buffer.len(), check::elements(shape.slice()));
    check_len(op, what, found, expected)?;
    ArrayViewMut::from_shape(shape, buffer).map_err(|_| mismatch(op, what, found, expected))
}

/// `out[slot]`, which must exist.
fn slot_of<'a, T>(op: &'static str, out: &'a mut [T], slot: usize) -> Result<&'a mut T> {
    check::slot(op, out.len(), slot)?;
    Ok(&mut out[slot])
}

fn mismatch(op: &'static str, what: &'static str, found: usize, expected: usize) -> Error {
    Error::Length {
        op,
        what,
        found,
        expected,
    }
}
