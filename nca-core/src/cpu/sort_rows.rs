//! Sorting the rows of a matrix.
//!
//! A float is mapped to an integer of the same order and each row is sorted by these keys with a
//! stable least-significant-digit radix sort (three digits of 11 bits); short rows are sorted by
//! comparison of (key, index).

// The scatter of the radix sort, whose places are known to be in bounds.
#![allow(unsafe_code)]

use rayon::prelude::*;

use super::{Buffer, Cpu, Indices};
use crate::backend::SortRows;
use crate::error::{Result, check_len};

/// Bits of a digit: 2048 counters of 4 bytes stay in L1 beside the streams.
const DIGIT_BITS: u32 = 11;
const DIGITS: usize = 3;
const BUCKETS: usize = 1 << DIGIT_BITS;
/// Rows shorter than this are sorted by comparison: clearing and summing the counters would cost
/// more.
const SHORT: usize = 512;

impl SortRows for Cpu {
    fn sort_rows(&self, rows: usize, len: usize, x: &Buffer, sorted: &mut Buffer, order: &mut Indices) -> Result<()> {
        check_len("sort_rows", "x", x.len(), rows * len)?;
        check_len("sort_rows", "sorted", sorted.len(), rows * len)?;
        check_len("sort_rows", "order", order.0.len(), rows * len)?;
        if len == 0 {
            return Ok(());
        }
        self.install(|| {
            x.par_chunks_exact(len)
                .zip(sorted.par_chunks_exact_mut(len))
                .zip(order.0.par_chunks_exact_mut(len))
                .for_each_init(Scratch::default, |scratch, ((x, sorted), order)| {
                    scratch.sort(x, order);
                    for (sorted, &i) in sorted.iter_mut().zip(&*order) {
                        *sorted = x[i as usize];
                    }
                });
        });
        Ok(())
    }

    fn sort_rows_backward(
        &self,
        rows: usize,
        len: usize,
        order: &Indices,
        g_sorted: &Buffer,
        g_x: &mut Buffer,
    ) -> Result<()> {
        check_len("sort_rows_backward", "order", order.0.len(), rows * len)?;
        check_len("sort_rows_backward", "g_sorted", g_sorted.len(), rows * len)?;
        check_len("sort_rows_backward", "g_x", g_x.len(), rows * len)?;
        if len == 0 {
            return Ok(());
        }
        self.install(|| {
            g_x.par_chunks_exact_mut(len)
                .zip(g_sorted.par_chunks_exact(len))
                .zip(order.0.par_chunks_exact(len))
                .for_each(|((g_x, g_sorted), order)| {
                    for (&g, &i) in g_sorted.iter().zip(order) {
                        g_x[i as usize] = g;
                    }
                });
        });
        Ok(())
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

/// Memory of one sort, kept between rows.
#[derive(Default)]
struct Scratch {
    /// Key in the high half, index in the low one.
    items: Vec<u64>,
    spare: Vec<u64>,
    counts: Vec<[u32; BUCKETS]>,
}

impl Scratch {
    /// Writes the sorting permutation of `x` to `order`.
    fn sort(&mut self, x: &[f32], order: &mut [u32]) {
        self.items.clear();
        let items = x.iter().zip(0u64..).map(|(&v, i)| u64::from(key(v)) << 32 | i);
        self.items.extend(items);
        if x.len() < SHORT {
            self.items.sort_unstable();
        } else {
            self.radix();
        }
        for (order, item) in order.iter_mut().zip(&self.items) {
            *order = *item as u32;
        }
    }

    fn radix(&mut self) {
        self.counts.clear();
        self.counts.resize(DIGITS, [0; BUCKETS]);
        if let [low, middle, high] = &mut self.counts[..] {
            for &item in &self.items {
                low[bucket(item, 0)] += 1;
                middle[bucket(item, 1)] += 1;
                high[bucket(item, 2)] += 1;
            }
        }
        self.spare.resize(self.items.len(), 0);
        for (digit, counts) in self.counts.iter_mut().enumerate() {
            let mut start = 0;
            for count in counts.iter_mut() {
                start += std::mem::replace(count, start);
            }
            for &item in &self.items {
                let at = &mut counts[bucket(item, digit)];
                // SAFETY: the counts of a digit add up to the number of items, so every place is
                // below it.
                unsafe { *self.spare.get_unchecked_mut(*at as usize) = item };
                *at += 1;
            }
            std::mem::swap(&mut self.items, &mut self.spare);
        }
    }
}

#[inline(always)]
fn bucket(item: u64, digit: usize) -> usize {
    (item >> (32 + digit as u32 * DIGIT_BITS)) as usize & (BUCKETS - 1)
}
