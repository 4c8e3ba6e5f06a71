//! Products of two panels over their cells, for gradients of weights.

// As in `gemm`.
#![allow(unsafe_code)]

use super::super::simd::Isa;
use super::dots::{Outer, dots, most_padded_columns};
use super::rows::{Matrix, Start, multiply_rows};
use super::{Blocks, Panels, Strided};

/// Floats of the operand that is transposed at a time; with the rows that meet them they stay in L1.
const TURNED_FLOATS: usize = 6 * 1024;
/// Cells that are summed up one after the other: the sums of so many are then added to the others.
const MOST_CELLS: usize = 256;
/// Fewest lanes with which transposing was seen to pay: with eight it was level.
const TURNING_LANES: usize = 16;
/// What costs as much as so many multiply-adds of vectors: to transpose a vector,
const TRANSPOSITION: f64 = 8.0;
/// to add up the lanes of a vector,
const ADDING_LANES: f64 = 7.0;
/// and a multiply-add in a block of a single vector, for it needs a load and waits for the one before.
const SINGLE: f64 = 1.25;

/// `C = A·Bᵀ` for panels `A` of `rows` and `B` of `columns` rows, whose columns are cells: how it is computed, and how
/// `C` lies.
#[derive(Clone, Copy)]
pub(in crate::cpu) enum OverCells {
    /// With cells as lanes, which are added up at the end: by [`dots`].
    Dots(Outer),
    /// One of the operands is transposed, in L1, so that its rows become the lanes and nothing is added up.
    Turned(Turned),
}

/// What is transposed of a product over cells.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Turned {
    /// Whether it is `A` rather than `B`; `C` is then stored as its transpose.
    first: bool,
    /// Rows of the operand that stays as it is.
    kept: Panels,
    /// Rows of the transposed one, padded to whole vectors.
    lanes: usize,
}

impl Turned {
    #[inline(always)]
    fn new<S: Isa>(rows: usize, columns: usize, first: bool) -> Self {
        let (kept, lanes) = if first { (columns, rows) } else { (rows, columns) };
        Self {
            first,
            kept: Panels::new::<S>(kept),
            lanes: lanes.next_multiple_of(S::LANES),
        }
    }

    /// Multiply-adds of vectors, for each vector of cells.
    #[inline(always)]
    fn cost<S: Isa>(self) -> f64 {
        let blocks = Blocks::new::<S>(self.lanes / S::LANES);
        let slowed: f64 = blocks.map(|(_, n)| if n == 1 { SINGLE } else { n as f64 }).sum();
        S::LANES as f64 * (slowed * self.kept.padded() as f64) + TRANSPOSITION * self.lanes as f64
    }
}

impl OverCells {
    /// A product of `rows × columns` over about `vectors` vectors of cells.
    #[inline(always)]
    pub(in crate::cpu) fn new<S: Isa>(rows: usize, columns: usize, vectors: usize) -> Self {
        let outer = Outer::new::<S>(rows, columns);
        let adding = ADDING_LANES / vectors as f64;
        let turned = [false, true].map(|first| Turned::new::<S>(rows, columns, first));
        let (mut best, mut least) = (Self::Dots(outer), outer.len() as f64 * (1.0 + adding));
        for way in turned {
            if S::LANES >= TURNING_LANES && way.cost::<S>() < least {
                (best, least) = (Self::Turned(way), way.cost::<S>());
            }
        }
        best
    }

    /// Rows that a panel of `rows` must have, whichever operand it is.
    #[inline(always)]
    pub(in crate::cpu) fn padded_rows<S: Isa>(rows: usize) -> usize {
        let panels = Panels::new::<S>(rows).padded();
        most_padded_columns(panels.max(rows.next_multiple_of(S::LANES)))
    }

    /// Floats of scratch that [`multiply_over_cells`] asks for.
    pub(in crate::cpu) fn scratch() -> usize {
        TURNED_FLOATS
    }

    /// Floats of `C`.
    pub(in crate::cpu) fn len(self) -> usize {
        match self {
            Self::Dots(outer) => outer.len(),
            Self::Turned(way) => way.kept.padded() * way.lanes,
        }
    }

    /// Where element `(row, column)` of `C` lies.
    pub(in crate::cpu) fn index(self, row: usize, column: usize) -> usize {
        match self {
            Self::Dots(outer) => outer.index(row, column),
            Self::Turned(Turned { first: true, lanes, .. }) => column * lanes + row,
            Self::Turned(Turned {
                first: false, lanes, ..
            }) => row * lanes + column,
        }
    }
}

/// `C += A·Bᵀ` (`C = A·Bᵀ` if `fresh`), laid out as `layout` says. The rows of both panels are `ld` floats apart and
/// `vectors` vectors long.
///
/// # Safety
/// The panels must have [`OverCells::padded_rows`] rows, `turned` [`OverCells::scratch`] floats, `c`
/// [`OverCells::len`], and nothing may overlap.
#[inline(always)]
pub(in crate::cpu) unsafe fn multiply_over_cells<S: Isa>(
    s: S,
    layout: OverCells,
    a: *mut f32,
    b: *mut f32,
    ld: usize,
    vectors: usize,
    turned: *mut f32,
    c: *mut f32,
    fresh: bool,
) {
    match layout {
        OverCells::Dots(outer) => {
            let b = Strided { start: b, stride: ld };
            // SAFETY: the caller's condition.
            unsafe { dots(s, outer, a, ld, b, vectors, c, fresh) };
        }
        OverCells::Turned(way) => {
            let (kept, turning) = if way.first { (b, a) } else { (a, b) };
            // SAFETY: the caller's condition.
            unsafe { multiply_turned(s, way, kept, turning, ld, vectors, turned, c, fresh) };
        }
    }
}

#[inline(always)]
unsafe fn multiply_turned<S: Isa>(
    s: S,
    way: Turned,
    kept: *mut f32,
    turning: *const f32,
    ld: usize,
    vectors: usize,
    turned: *mut f32,
    c: *mut f32,
    fresh: bool,
) {
    let most = (TURNED_FLOATS / (S::VECTORS * S::LANES)).min(MOST_CELLS) / S::LANES;
    // Once at least: without cells the product is zero all the same.
    for start in (0..vectors.max(1)).step_by(most) {
        let cells = most.min(vectors - start) * S::LANES;
        let start = start * S::LANES;
        for (lane, lanes) in Blocks::new::<S>(way.lanes / S::LANES) {
            let row = lanes * S::LANES;
            // SAFETY: the caller's condition; blocks have at most `S::VECTORS` vectors.
            unsafe {
                for cell in (0..cells).step_by(S::LANES) {
                    for block in (0..row).step_by(S::LANES) {
                        let from = turning.add((lane + block) * ld + start + cell);
                        s.transpose(from, ld, turned.add(cell * row + block), row);
                    }
                }
                let kept = Matrix {
                    start: kept.add(start),
                    row: ld,
                };
                let turned = Matrix { start: turned, row };
                let c = Matrix {
                    start: c.add(lane),
                    row: way.lanes,
                };
                let begin = if fresh && start == 0 {
                    Start::Fresh
                } else {
                    Start::Beside
                };
                multiply_rows(s, way.kept, cells, kept, turned, lanes, c, begin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Simd;
    use super::super::super::simd::{Kernel, dispatch};
    use super::*;

    /// Small integers, whose sums f32 represents exactly.
    fn entry(row: usize, cell: usize) -> f32 {
        ((row * 7 + cell * 3) % 11) as f32 - 5.0
    }

    /// Both ways to multiply over cells, and the one that is chosen, against plain sums of integers.
    struct CheckOverCells {
        rows: usize,
        columns: usize,
        vectors: usize,
    }

    impl Kernel for CheckOverCells {
        type Output = ();
        #[inline(always)]
        fn run<S: Isa>(self, s: S) {
            let cells = self.vectors * S::LANES;
            // Rows lie further apart than they are long, and what lies between must not count.
            let ld = cells + 5;
            let panel = |rows: usize, shift: usize| -> Vec<f32> {
                let at = |i: usize| (i / ld, i % ld);
                (0..OverCells::padded_rows::<S>(rows) * ld)
                    .map(at)
                    .map(|(row, cell)| {
                        if row < rows && cell < cells {
                            entry(row + shift, cell)
                        } else {
                            f32::NAN
                        }
                    })
                    .collect()
            };
            let (mut a, mut b) = (panel(self.rows, 1), panel(self.columns, 4));
            let mut scratch = vec![f32::NAN; OverCells::scratch()];
            let turned = [false, true].map(|first| Turned::new::<S>(self.rows, self.columns, first));
            let ways = [
                OverCells::new::<S>(self.rows, self.columns, self.vectors),
                OverCells::Dots(Outer::new::<S>(self.rows, self.columns)),
                OverCells::Turned(turned[0]),
                OverCells::Turned(turned[1]),
            ];
            for (number, way) in ways.into_iter().enumerate() {
                let mut c = vec![f32::NAN; way.len()];
                for fresh in [true, false] {
                    let (a, b) = (a.as_mut_ptr(), b.as_mut_ptr());
                    let (scratch, c) = (scratch.as_mut_ptr(), c.as_mut_ptr());
                    // SAFETY: the vectors above have these shapes.
                    unsafe { multiply_over_cells(s, way, a, b, ld, self.vectors, scratch, c, fresh) };
                }
                for row in 0..self.rows {
                    for column in 0..self.columns {
                        let sum: f32 = (0..cells).map(|i| entry(row + 1, i) * entry(column + 4, i)).sum();
                        assert_eq!(c[way.index(row, column)], 2.0 * sum, "way {number}: {row}, {column}");
                    }
                }
            }
        }
    }

    #[test]
    fn products_are_exact_on_integers() {
        for simd in Simd::emulated() {
            for (rows, columns) in [(1, 1), (5, 20), (12, 37), (96, 48), (20, 130)] {
                for vectors in [0, 1, 3, 17, 50] {
                    let check = CheckOverCells { rows, columns, vectors };
                    dispatch(simd, 64, check);
                }
            }
        }
    }
}
