//! Sorting the rows of a matrix.
//!
//! Rows are sorted by [`cells`] of their range where that is quick. Otherwise a float is mapped to an
//! integer of the same order and each row is sorted by these keys with a stable
//! least-significant-digit radix sort (three digits of 11 bits); short rows are sorted by comparison of
//! (key, index). The result is one and the same.

// Memory lent to tasks; the scatter of the radix sort, whose places are known to be in bounds.
#![allow(unsafe_code)]

mod cells;

use rayon::prelude::*;

use super::arena::{Arenas, Carver, carve};
use super::simd::{Isa, Kernel, dispatch};
use super::{Buffer, Cpu, Indices};
use crate::backend::{SortRows, check};
use crate::error::Result;

/// Bits of a digit: 2048 counters of 4 bytes stay in L1 beside the streams.
const DIGIT_BITS: u32 = 11;
const DIGITS: usize = 3;
const BUCKETS: usize = 1 << DIGIT_BITS;
/// Rows shorter than this are sorted by comparison: clearing and summing the counters would cost
/// more.
const SHORT: usize = 512;

impl SortRows for Cpu {
    fn sort_rows(&self, rows: usize, len: usize, x: &Buffer, sorted: &mut Buffer, order: &mut Indices) -> Result<()> {
        check::shape("sort_rows", "x", x.len(), &[rows, len])?;
        check::shape("sort_rows", "sorted", sorted.len(), &[rows, len])?;
        check::shape("sort_rows", "order", order.0.len(), &[rows, len])?;
        if len == 0 {
            return Ok(());
        }
        self.install(|| {
            self.arenas.reserve_threads(|carver| Pieces::carve(carver, len))?;
            x.par_chunks_exact(len)
                .zip(sorted.par_chunks_exact_mut(len))
                .zip(order.0.par_chunks_exact_mut(len))
                .for_each(|((x, sorted), order)| {
                    let arenas = &self.arenas;
                    let row = SortRow {
                        arenas,
                        x,
                        sorted,
                        order,
                    };
                    dispatch(self.simd, len, row);
                });
            Ok(())
        })
    }

    fn sort_rows_backward(
        &self,
        rows: usize,
        len: usize,
        order: &Indices,
        g_sorted: &Buffer,
        g_x: &mut Buffer,
    ) -> Result<()> {
        const OP: &str = "sort_rows_backward";
        check::shape(OP, "order", order.0.len(), &[rows, len])?;
        check::shape(OP, "g_sorted", g_sorted.len(), &[rows, len])?;
        check::shape(OP, "g_x", g_x.len(), &[rows, len])?;
        if len == 0 {
            return Ok(());
        }
        self.install(|| {
            g_x.par_chunks_exact_mut(len)
                .zip(g_sorted.par_chunks_exact(len))
                .zip(order.0.par_chunks_exact(len))
                .try_for_each(|((g_x, g_sorted), order)| {
                    check::index(OP, "order", order, &[len], len)?;
                    for (&g, &i) in g_sorted.iter().zip(order) {
                        g_x[i as usize] = g;
                    }
                    Ok(())
                })
        })
    }
}

/// An integer that orders as the float does: −0 equals 0, every NaN is last.
fn key(v: f32) -> u32 {
    if v.is_nan() {
        return u32::MAX;
    }
    // −0 + 0 = +0.
    let bits = (v + 0.0).to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// Memory of the sort of a row.
struct Pieces {
    cells: cells::Pieces,
    items: *mut u64,
    spare: *mut u64,
    counts: *mut [u32; BUCKETS],
}

impl Pieces {
    fn carve(carver: &mut Carver, len: usize) -> Self {
        Self {
            cells: cells::Pieces::carve(carver, if (SHORT..=cells::MOST).contains(&len) { len } else { 0 }),
            items: carver.take(len),
            spare: carver.take(len),
            counts: carver.take(DIGITS),
        }
    }
}

/// One row.
struct SortRow<'a> {
    arenas: &'a Arenas,
    x: &'a [f32],
    sorted: &'a mut [f32],
    order: &'a mut [u32],
}

impl Kernel for SortRow<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, s: S) {
        let Self {
            arenas,
            x,
            sorted,
            order,
        } = self;
        let mut memory = arenas.thread();
        let pieces = carve(&mut memory, |carver| Pieces::carve(carver, x.len()));
        // SAFETY: all are as long as `x`, which holds a vector, and the pieces were carved for it; any bits
        // are integers.
        unsafe {
            let short = x.len() < SHORT;
            if !short && x.len() <= cells::MOST && cells::sort(s, x, sorted, order, &pieces.cells) {
                return;
            }
            let mut items = std::slice::from_raw_parts_mut(pieces.items, x.len());
            for (item, (&v, i)) in items.iter_mut().zip(x.iter().zip(0u64..)) {
                *item = u64::from(key(v)) << 32 | i;
            }
            if short {
                items.sort_unstable();
            } else {
                let spare = std::slice::from_raw_parts_mut(pieces.spare, x.len());
                items = radix(items, spare, &mut *pieces.counts.cast());
            }
            for ((sorted, order), item) in sorted.iter_mut().zip(order).zip(items) {
                let index = *item as u32;
                (*sorted, *order) = (x[index as usize], index);
            }
        }
    }
}

/// Sorts items by the key in their high half; returns the one of the two arrays where they end.
fn radix<'a>(
    mut items: &'a mut [u64],
    mut spare: &'a mut [u64],
    counts: &mut [[u32; BUCKETS]; DIGITS],
) -> &'a mut [u64] {
    *counts = [[0; BUCKETS]; DIGITS];
    for &item in &*items {
        for (digit, counts) in counts.iter_mut().enumerate() {
            counts[bucket(item, digit)] += 1;
        }
    }
    for (digit, counts) in counts.iter_mut().enumerate() {
        let mut start = 0;
        for count in counts.iter_mut() {
            start += std::mem::replace(count, start);
        }
        for &item in &*items {
            let at = &mut counts[bucket(item, digit)];
            // SAFETY: the counts of a digit add up to the number of items, so every place is
            // below it.
            unsafe { *spare.get_unchecked_mut(*at as usize) = item };
            *at += 1;
        }
        std::mem::swap(&mut items, &mut spare);
    }
    items
}

#[inline(always)]
fn bucket(item: u64, digit: usize) -> usize {
    (item >> (32 + digit as u32 * DIGIT_BITS)) as usize & (BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::super::Simd;
    use super::*;
    use crate::backend::Device;
    use crate::philox::{PhiloxRng, Stream};

    /// Rows that take every way there is, among them those that the sort by cells must give up.
    fn rows(len: usize) -> Vec<(&'static str, Vec<f32>)> {
        let mut rng = PhiloxRng::new(1, Stream::Test, len as u64);
        let normals: Vec<f32> = (0..len).map(|_| rng.normal() as f32).collect();
        let map = |f: &dyn Fn(usize, f32) -> f32| normals.iter().enumerate().map(|(i, &v)| f(i, v)).collect();
        let except = |value: f32| map(&|i, v| if i == len / 3 { value } else { v });
        vec![
            ("normal", map(&|_, v| v)),
            ("few levels", map(&|_, v| (4.0 * v).round() / 4.0)),
            ("one level", map(&|_, _| 0.25)),
            ("zeros of both signs", map(&|_, v| if v > 0.0 { 0.0 } else { -0.0 })),
            ("one far outlier", except(1e9)),
            ("NaN", except(f32::NAN)),
            ("infinity", except(f32::INFINITY)),
            (
                "beyond the largest range",
                map(&|_, v| if v.abs() < 1.0 { v * f32::MAX } else { v }),
            ),
            ("subnormal", map(&|_, v| v * f32::MIN_POSITIVE / 1e3)),
            ("descending", map(&|i, _| -(i as f32))),
            ("ascending, closer and closer", map(&|i, _| -1.0 / (1.0 + i as f32))),
        ]
    }

    #[test]
    fn every_way_is_a_stable_sort() {
        let one = |simd| Cpu::builder().threads(1).build_emulated(simd).unwrap();
        let mut cpus: Vec<Cpu> = Simd::emulated().map(one).collect();
        cpus.push(Cpu::builder().threads(2).build().unwrap());
        for len in [1, 7, SHORT - 1, SHORT, SHORT + 1, 14_884, cells::MOST, cells::MOST + 1] {
            for (name, x) in rows(len) {
                let mut expected: Vec<u32> = (0..len as u32).collect();
                expected.sort_by_key(|&i| key(x[i as usize]));
                for cpu in &cpus {
                    let mut sorted = cpu.zeros(len).unwrap();
                    let mut order = cpu.zero_indices(len).unwrap();
                    cpu.sort_rows(1, len, &cpu.buffer(&x).unwrap(), &mut sorted, &mut order)
                        .unwrap();
                    assert!(order.0 == expected, "{name}, {len}");
                    let same = expected
                        .iter()
                        .zip(&*sorted)
                        .all(|(&i, v)| v.to_bits() == x[i as usize].to_bits());
                    assert!(same, "{name}, {len}");
                }
            }
        }
    }
}
