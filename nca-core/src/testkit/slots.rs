//! Scalars that operations add to one of several slots.

use super::cases::numbers;
use super::compare::{Mismatch, Tolerance, compare};
use super::host::{download, upload};
use crate::backend::Device;
use crate::error::{Error, Result};

/// Length of the buffer of scalars in tests.
const SLOTS: usize = 5;
/// The slot that is added to.
const SLOT: usize = 3;

/// What the slots hold before.
fn before() -> Vec<f64> {
    numbers(0, 0, SLOTS)
}

/// All slots after `add` has added its scalar to one of them.
pub(super) fn added<B: Device>(backend: &B, add: impl FnOnce(&mut B::Buffer, usize) -> Result<()>) -> Result<Vec<f64>> {
    let mut out = upload(backend, &before())?;
    add(&mut out, SLOT)?;
    download(backend, &out)
}

/// The scalar alone, in f64: what is differentiated.
pub(super) fn scalar<B: Device>(
    backend: &B,
    add: impl FnOnce(&mut B::Buffer, usize) -> Result<()>,
) -> Result<Vec<f64>> {
    let mut out = backend.zeros(1)?;
    add(&mut out, 0)?;
    download(backend, &out)
}

/// Compares all slots: the one added to within `tolerance` of `magnitude` and what it held, the
/// others unchanged.
pub(super) fn compare_slots(
    op: &'static str,
    got: &[f64],
    want: &[f64],
    magnitude: f64,
    tolerance: Tolerance,
) -> Result<(), Mismatch> {
    let mut magnitudes = vec![0.0; SLOTS];
    magnitudes[SLOT] = magnitude + before()[SLOT].abs();
    compare(op, "out", got, want, &magnitudes, tolerance)
}

/// The scalar of an input with a NaN in it must be a NaN, so that a diverged run is noticed.
pub(super) fn shows_nan(op: &'static str, slots: &[f64]) -> Result<(), Mismatch> {
    if slots[SLOT].is_nan() {
        return Ok(());
    }
    Err(Mismatch::Rule {
        op,
        rule: format!("gives {} for an input with a NaN, expected NaN", slots[SLOT]),
    })
}

/// A slot that does not exist must be answered with [`Error::Length`].
pub(super) fn refuses_missing_slot<B: Device>(
    backend: &B,
    op: &'static str,
    add: impl FnOnce(&mut B::Buffer, usize) -> Result<()>,
) -> Result<(), Mismatch> {
    let answer = add(&mut backend.zeros(SLOTS)?, SLOTS);
    if matches!(answer, Err(Error::Length { .. })) {
        return Ok(());
    }
    Err(Mismatch::Rule {
        op,
        rule: format!("slot {SLOTS} of {SLOTS}: answered {answer:?}, expected Error::Length"),
    })
}
