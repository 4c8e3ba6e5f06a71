//! Sorting by cells: the range of the values is cut into equal cells, values are brought into the order of
//! their cells by a radix sort of two short digits, and what shares a cell is put right by insertion.
//!
//! For values that spread over their range, as the projections of patches do, few share a cell. Where
//! many do (one far outlier is enough), insertion would take long: it gives up and leaves the row to
//! another sort, whose result would be the same.

// Vector loads; places that are known to be in bounds.
#![allow(unsafe_code)]

use super::super::arena::Carver;
use super::super::simd::Isa;

/// Bits of the number of a cell, and of an index beside it in one word.
const BITS: u32 = 16;
/// Longest row whose indices fit.
pub(super) const MOST: usize = 1 << BITS;
/// Buckets of a digit, half the number of a cell: as many write streams stay in L1.
const BUCKETS: usize = 1 << (BITS / 2);
/// Places that insertion may move values by, as a multiple of the length of the row.
const PATIENCE: usize = 4;

/// Memory of a sort: two arrays of words.
pub(super) struct Pieces {
    items: *mut u32,
    spare: *mut u32,
}

impl Pieces {
    /// Takes the memory for a row of `len` values.
    pub(super) fn carve(carver: &mut Carver, len: usize) -> Self {
        Self {
            items: carver.take(len),
            spare: carver.take(len),
        }
    }
}

/// Sorts `x` into `sorted`, its permutation into `order`, equal values in their order; or returns `false`
/// with both spoilt where that would take long or a value is not finite.
///
/// # Safety
/// `x` must hold a vector and at most [`MOST`] values, `sorted` and `order` be as long, `pieces` have been
/// carved for them.
#[inline(always)]
pub(super) unsafe fn sort<S: Isa>(s: S, x: &[f32], sorted: &mut [f32], order: &mut [u32], pieces: &Pieces) -> bool {
    // SAFETY: the caller's condition; any bits are words.
    let (items, spare) = unsafe {
        (
            std::slice::from_raw_parts_mut(pieces.items, x.len()),
            std::slice::from_raw_parts_mut(pieces.spare, x.len()),
        )
    };
    // SAFETY: the caller's condition.
    let (low, high) = unsafe { range(s, x) };
    let scale = (MOST - 1) as f32 / (high - low);
    // Not where a value or the range is infinite or NaN, nor where the range is as good as empty.
    if !(scale > 0.0 && scale < f32::INFINITY) {
        return false;
    }
    for (i, (&v, item)) in x.iter().zip(items.iter_mut()).enumerate() {
        // SAFETY: from 0 to `MOST` − 1 but for three roundings, so below `MOST`; not NaN, as `range` says.
        let cell = unsafe { ((v - low) * scale).to_int_unchecked::<i32>() };
        *item = (cell as u32) << BITS | i as u32;
    }
    let [low, high] = places(items);
    scatter(items, spare, low, BITS);
    scatter(spare, items, high, BITS + BITS / 2);
    insert(x, items, sorted, order)
}

/// The least and the greatest value; NaN if a value is not finite.
///
/// # Safety
/// `x` must hold a vector.
#[inline(always)]
unsafe fn range<S: Isa>(s: S, x: &[f32]) -> (f32, f32) {
    let zero = s.splat(0.0);
    // 0, or NaN from the first value on that is not finite.
    let (mut low, mut high, mut sound) = (s.splat(f32::INFINITY), s.splat(f32::NEG_INFINITY), zero);
    let mut lanes = [[0.0; 16]; 3];
    // SAFETY: vectors within `x`, the last moved left to end with it; lanes hold any vector.
    unsafe {
        for at in (0..x.len()).step_by(S::LANES) {
            let v = s.load(x.as_ptr().add(at.min(x.len() - S::LANES)));
            (low, high, sound) = (s.min(v, low), s.max(v, high), s.fma(v, zero, sound));
        }
        for (lanes, v) in lanes.iter_mut().zip([low, high, sound]) {
            s.store(lanes.as_mut_ptr(), v);
        }
    }
    let [low, high, sound] = lanes.map(|lanes| lanes.into_iter().take(S::LANES));
    let sound: f32 = sound.sum();
    (
        low.fold(f32::INFINITY, f32::min) + sound,
        high.fold(f32::NEG_INFINITY, f32::max) + sound,
    )
}

/// Where the first item of each bucket goes, for the low and for the high half of the cell.
#[inline(always)]
fn places(items: &[u32]) -> [[u32; BUCKETS]; 2] {
    // Neighbours often fall into one bucket: counted in turn, they do not wait for each other.
    let mut counts = [[[0u32; BUCKETS]; 2]; 2];
    let mut count = |turn: usize, item: u32| {
        for (half, counts) in counts[turn].iter_mut().enumerate() {
            counts[bucket(item, BITS + half as u32 * (BITS / 2))] += 1;
        }
    };
    let pairs = items.chunks_exact(2);
    pairs.remainder().iter().for_each(|&item| count(0, item));
    for pair in pairs {
        count(0, pair[0]);
        count(1, pair[1]);
    }
    let [even, odd] = counts;
    let mut places = [[0; BUCKETS]; 2];
    for half in 0..2 {
        let mut start = 0;
        for (place, counts) in places[half].iter_mut().zip(even[half].iter().zip(&odd[half])) {
            *place = start;
            start += counts.0 + counts.1;
        }
    }
    places
}

/// The bucket of the digit at `shift`.
#[inline(always)]
fn bucket(item: u32, shift: u32) -> usize {
    (item >> shift) as usize % BUCKETS
}

/// Brings the items into the order of the digit at `shift`, keeping their order within a bucket.
#[inline(always)]
fn scatter(from: &[u32], to: &mut [u32], mut places: [u32; BUCKETS], shift: u32) {
    for &item in from {
        let place = &mut places[bucket(item, shift)];
        // SAFETY: the buckets have as many places as items, in all as many as there are items.
        unsafe { *to.get_unchecked_mut(*place as usize) = item };
        *place += 1;
    }
}

/// Sorts values that are in the order of their cells, in each of their indices; `false` if it takes long.
#[inline(always)]
fn insert(x: &[f32], items: &[u32], sorted: &mut [f32], order: &mut [u32]) -> bool {
    let mut patience = PATIENCE * x.len();
    for (end, &item) in items.iter().enumerate() {
        let index = item % MOST as u32;
        let mut place = end;
        // SAFETY: items hold the indices of `x`; places are below its length, and that of the others.
        unsafe {
            let v = *x.get_unchecked(index as usize);
            while place > 0 && *sorted.get_unchecked(place - 1) > v {
                *sorted.get_unchecked_mut(place) = *sorted.get_unchecked(place - 1);
                *order.get_unchecked_mut(place) = *order.get_unchecked(place - 1);
                place -= 1;
            }
            *sorted.get_unchecked_mut(place) = v;
            *order.get_unchecked_mut(place) = index;
        }
        match patience.checked_sub(end - place) {
            Some(left) => patience = left,
            None => return false,
        }
    }
    true
}
