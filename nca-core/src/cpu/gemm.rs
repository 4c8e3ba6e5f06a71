//! Small matrix products in registers.
//!
//! Four micro-kernels carry the update network and the convolutions:
//!
//! * [`multiply`], `C = A·B` with `A` packed in panels of 4, 6 or 8 rows and the columns of `B` and `C`
//!   (cells) in vector lanes: a register tile of `ROWS × 3` vectors (AVX2 and portable: `× 2`), one broadcast of `A` for
//!   three fused multiply-adds. `B` is read where it lies, row by row, so a convolution needs no im2col.
//! * [`dots`], `C += A·Bᵀ` over long rows, for gradients of filters and of narrow layers: the lanes hold partial sums
//!   over positions, which are added up once a task, so neither operand is transposed.
//! * [`multiply_rows`], the first with `A` as it lies, for tiles that have been transformed; and
//!   [`multiply_over_cells`] on top of it, for gradients of the update network's weights: sums over the cells of two
//!   panels, one of which is transposed where that is cheaper than `dots`.
//! * [`multiply_complex`], a product of complex matrices for spectra, lanes along columns; also of the
//!   transpose of `A`, which is read in place.

// Pointers into tiles whose shapes the callers prepare.
#![allow(unsafe_code)]

mod complex;
mod dots;
mod over_cells;
mod rows;

pub(super) use self::complex::{Complex, multiply_complex};
pub(super) use self::dots::{Outer, dots, most_padded_columns};
pub(super) use self::over_cells::{OverCells, multiply_over_cells};
pub(super) use self::rows::{Matrix, Start, multiply_rows};
use super::simd::Isa;

/// Rows of a matrix cut into panels: as many of [`Isa::ROWS`] rows as possible, then at most two of
/// [`SHORT`] rows, so that few rows are padding.
#[derive(Clone, Copy)]
pub(super) struct Panels {
    /// Rows that matter.
    rows: usize,
    /// Rows of a tall panel.
    height: usize,
    tall: usize,
    short: usize,
}

/// Rows of a short panel.
const SHORT: usize = 4;

/// Bound on [`Panels::padded`] over all instruction sets.
pub(super) const fn most_padded(rows: usize) -> usize {
    rows + 7
}

impl Panels {
    #[inline(always)]
    pub(super) fn new<S: Isa>(rows: usize) -> Self {
        let with = |short: usize| Self {
            rows,
            height: S::ROWS,
            tall: rows.saturating_sub(short * SHORT).div_ceil(S::ROWS),
            short,
        };
        let mut best = with(0);
        for short in 1..=2 {
            if with(short).padded() < best.padded() {
                best = with(short);
            }
        }
        best
    }

    /// Rows with those that pad the last panel.
    #[inline(always)]
    pub(super) fn padded(self) -> usize {
        self.tall * self.height + self.short * SHORT
    }

    /// Rows that matter.
    pub(super) fn rows(self) -> usize {
        self.rows
    }

    /// First row and height of the panel of `row`.
    fn panel(self, row: usize) -> (usize, usize) {
        let tall = self.tall * self.height;
        if row < tall {
            (row / self.height * self.height, self.height)
        } else {
            (tall + (row - tall) / SHORT * SHORT, SHORT)
        }
    }

    /// First row and height of each panel.
    pub(super) fn list(self) -> impl Iterator<Item = (usize, usize)> {
        let tall = (0..self.tall).map(move |panel| (panel * self.height, self.height));
        let short = (0..self.short).map(move |panel| (self.tall * self.height + panel * SHORT, SHORT));
        tall.chain(short)
    }

    /// Writes `value(row, column)` of a matrix of `depth` columns to `packed`, `padded() · depth`
    /// long: panel after panel, in each column after column; zeros in the padding rows.
    pub(super) fn pack(self, depth: usize, packed: &mut [f32], value: impl Fn(usize, usize) -> f32) {
        for (first, height) in self.list() {
            let panel = &mut packed[first * depth..][..height * depth];
            for (column, values) in panel.chunks_exact_mut(height).enumerate() {
                for (row, packed) in (first..).zip(values) {
                    *packed = if row < self.rows { value(row, column) } else { 0.0 };
                }
            }
        }
    }
}

/// Where row `k` of the right operand starts.
pub(super) trait Rows: Copy {
    /// # Safety
    /// `k` must be a row of the operand.
    unsafe fn row(self, k: usize) -> *const f32;
}

/// Rows at a fixed distance.
#[derive(Clone, Copy)]
pub(super) struct Strided {
    /// Row 0.
    pub(super) start: *const f32,
    /// Floats from row to row.
    pub(super) stride: usize,
}

impl Rows for Strided {
    #[inline(always)]
    unsafe fn row(self, k: usize) -> *const f32 {
        // SAFETY: the caller's condition.
        unsafe { self.start.add(k * self.stride) }
    }
}

/// Rows at the offsets of a table: the shifted images of a convolution.
#[derive(Clone, Copy)]
pub(super) struct Shifted {
    /// Origin of the offsets.
    pub(super) start: *const f32,
    /// Offset of each row, in floats.
    pub(super) offsets: *const usize,
}

impl Rows for Shifted {
    #[inline(always)]
    unsafe fn row(self, k: usize) -> *const f32 {
        // SAFETY: the caller's condition.
        unsafe { self.start.add(*self.offsets.add(k)) }
    }
}

/// What happens to the result of [`multiply`] before it is stored.
pub(super) trait Epilogue<S: Isa>: Copy {
    /// Initial value of an accumulator of `row` that will be stored at `to`.
    ///
    /// # Safety
    /// `row` must be below the padded number of rows, `to` valid for a vector.
    unsafe fn start(self, s: S, row: usize, to: *const f32) -> S::V;
    /// Stores `v`, of `row`, at `to`.
    ///
    /// # Safety
    /// `to` must be valid for a vector and `row` as in [`Epilogue::start`].
    unsafe fn finish(self, s: S, row: usize, to: *mut f32, v: S::V);
}

/// `C = A·B`.
#[derive(Clone, Copy)]
pub(super) struct Plain;

impl<S: Isa> Epilogue<S> for Plain {
    #[inline(always)]
    unsafe fn start(self, s: S, _: usize, _: *const f32) -> S::V {
        s.splat(0.0)
    }
    #[inline(always)]
    unsafe fn finish(self, s: S, _: usize, to: *mut f32, v: S::V) {
        // SAFETY: the caller's condition.
        unsafe { s.store(to, v) }
    }
}

/// `C = A·B + bias`, one summand a row; the array has the padded number of rows.
#[derive(Clone, Copy)]
pub(super) struct Bias(pub(super) *const f32);

impl<S: Isa> Epilogue<S> for Bias {
    #[inline(always)]
    unsafe fn start(self, s: S, row: usize, _: *const f32) -> S::V {
        // SAFETY: the caller's condition.
        s.splat(unsafe { *self.0.add(row) })
    }
    #[inline(always)]
    unsafe fn finish(self, s: S, _: usize, to: *mut f32, v: S::V) {
        // SAFETY: the caller's condition.
        unsafe { s.store(to, v) }
    }
}

/// [`Bias`] for a product whose depth is cut into parts, which are multiplied one after the other: the first starts with
/// the bias, the others with what `C` holds. The result does not depend on the cuts.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) bias: *const f32,
    pub(super) first: bool,
}

impl<S: Isa> Epilogue<S> for Part {
    #[inline(always)]
    unsafe fn start(self, s: S, row: usize, to: *const f32) -> S::V {
        // SAFETY: the caller's condition.
        unsafe {
            if self.first {
                s.splat(*self.bias.add(row))
            } else {
                s.load(to)
            }
        }
    }
    #[inline(always)]
    unsafe fn finish(self, s: S, _: usize, to: *mut f32, v: S::V) {
        // SAFETY: the caller's condition.
        unsafe { s.store(to, v) }
    }
}

/// `C = relu(A·B + bias)`; NaN stays NaN. Cut into parts as [`Part`] is; the last one ends with ReLU.
#[derive(Clone, Copy)]
pub(super) struct PartRelu {
    pub(super) bias: *const f32,
    pub(super) first: bool,
    pub(super) last: bool,
}

impl<S: Isa> Epilogue<S> for PartRelu {
    #[inline(always)]
    unsafe fn start(self, s: S, row: usize, to: *const f32) -> S::V {
        let Self { bias, first, .. } = self;
        // SAFETY: the caller's condition.
        unsafe { Part { bias, first }.start(s, row, to) }
    }
    #[inline(always)]
    unsafe fn finish(self, s: S, _: usize, to: *mut f32, v: S::V) {
        // SAFETY: the caller's condition.
        unsafe { s.store(to, if self.last { s.max(s.splat(0.0), v) } else { v }) }
    }
}

/// `C = A·B` where `C` was positive, else 0: the derivative of ReLU, in place of its result.
#[derive(Clone, Copy)]
pub(super) struct Gate;

impl<S: Isa> Epilogue<S> for Gate {
    #[inline(always)]
    unsafe fn start(self, s: S, _: usize, _: *const f32) -> S::V {
        s.splat(0.0)
    }
    #[inline(always)]
    unsafe fn finish(self, s: S, _: usize, to: *mut f32, v: S::V) {
        // SAFETY: the caller's condition.
        unsafe { s.store(to, s.where_above(s.load(to), s.splat(0.0), v)) }
    }
}

/// Cuts `vectors` vectors of columns into blocks for [`multiply`]: `(first column, vectors)`.
///
/// Blocks have [`Isa::VECTORS`] vectors. Where three are followed by a single one, both blocks get two,
/// for a block of one vector waits for its own additions.
pub(super) struct Blocks {
    lanes: usize,
    most: usize,
    column: usize,
    left: usize,
}

impl Blocks {
    #[inline(always)]
    pub(super) fn new<S: Isa>(vectors: usize) -> Self {
        Self {
            lanes: S::LANES,
            most: S::VECTORS,
            column: 0,
            left: vectors,
        }
    }
}

impl Iterator for Blocks {
    type Item = (usize, usize);
    #[inline(always)]
    fn next(&mut self) -> Option<(usize, usize)> {
        let vectors = match self.left {
            0 => return None,
            4 => 2,
            n => n.min(self.most),
        };
        let column = self.column;
        self.column += vectors * self.lanes;
        self.left -= vectors;
        Some((column, vectors))
    }
}

/// Bound on the columns of a block of [`multiply`] with vectors of `lanes` floats: two of AVX2, three of others.
pub(super) const fn block_columns(lanes: usize) -> usize {
    lanes * if lanes == 8 { 2 } else { 3 }
}

/// `C = epilogue(A·B)` for a block of `vectors ≤` [`Isa::VECTORS`] vectors of columns.
///
/// `a` is packed by `panels`, `b` has `depth` rows, `c` has the padded number of rows, `ldc` floats
/// apart.
///
/// # Safety
/// The operands must be valid in these shapes, for `vectors` whole vectors a row.
#[inline(always)]
pub(super) unsafe fn multiply<S: Isa, R: Rows, E: Epilogue<S>>(
    s: S,
    panels: Panels,
    depth: usize,
    a: *const f32,
    b: R,
    vectors: usize,
    c: *mut f32,
    ldc: usize,
    epilogue: E,
) {
    // SAFETY: the caller's condition.
    unsafe {
        if S::VECTORS == 3 && vectors == 3 {
            multiply_block::<S, R, E, 3>(s, panels, depth, a, b, c, ldc, epilogue);
        } else if vectors == 2 {
            multiply_block::<S, R, E, 2>(s, panels, depth, a, b, c, ldc, epilogue);
        } else {
            multiply_block::<S, R, E, 1>(s, panels, depth, a, b, c, ldc, epilogue);
        }
    }
}

#[inline(always)]
unsafe fn multiply_block<S: Isa, R: Rows, E: Epilogue<S>, const N: usize>(
    s: S,
    panels: Panels,
    depth: usize,
    a: *const f32,
    b: R,
    c: *mut f32,
    ldc: usize,
    epilogue: E,
) {
    // SAFETY: the caller's condition.
    unsafe {
        let mut row = 0;
        for _ in 0..panels.tall {
            let (a, c) = (a.add(row * depth), c.add(row * ldc));
            match S::ROWS {
                8 => multiply_tile::<S, R, E, 8, N>(s, depth, a, b, row, c, ldc, epilogue),
                6 => multiply_tile::<S, R, E, 6, N>(s, depth, a, b, row, c, ldc, epilogue),
                _ => multiply_tile::<S, R, E, 4, N>(s, depth, a, b, row, c, ldc, epilogue),
            }
            row += S::ROWS;
        }
        for _ in 0..panels.short {
            let (a, c) = (a.add(row * depth), c.add(row * ldc));
            multiply_tile::<S, R, E, SHORT, N>(s, depth, a, b, row, c, ldc, epilogue);
            row += SHORT;
        }
    }
}

/// One register tile: `M` rows of `N` vectors.
#[expect(clippy::needless_range_loop)] // Constant bounds unroll, so that the tile stays in registers.
#[inline(always)]
unsafe fn multiply_tile<S: Isa, R: Rows, E: Epilogue<S>, const M: usize, const N: usize>(
    s: S,
    depth: usize,
    a: *const f32,
    b: R,
    row: usize,
    c: *mut f32,
    ldc: usize,
    epilogue: E,
) {
    // SAFETY: the caller's condition.
    unsafe {
        let mut sums = [[s.splat(0.0); N]; M];
        for r in 0..M {
            for v in 0..N {
                sums[r][v] = epilogue.start(s, row + r, c.add(r * ldc + v * S::LANES));
            }
        }
        for k in 0..depth {
            let from = b.row(k);
            let mut columns = [s.splat(0.0); N];
            for v in 0..N {
                columns[v] = s.load(from.add(v * S::LANES));
            }
            for r in 0..M {
                let weight = s.splat(*a.add(k * M + r));
                for v in 0..N {
                    sums[r][v] = s.fma(weight, columns[v], sums[r][v]);
                }
            }
        }
        for r in 0..M {
            for v in 0..N {
                epilogue.finish(s, row + r, c.add(r * ldc + v * S::LANES), sums[r][v]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Simd;
    use super::super::simd::{Kernel, dispatch};
    use super::*;

    /// `rows × depth` times `depth × columns`, with every block width, against plain sums of integers,
    /// which f32 represents exactly.
    struct Check {
        rows: usize,
        depth: usize,
        vectors: usize,
    }

    fn entry(row: usize, column: usize) -> f32 {
        ((row * 7 + column * 3) % 11) as f32 - 5.0
    }

    impl Kernel for Check {
        type Output = ();
        #[inline(always)]
        fn run<S: Isa>(self, s: S) {
            let columns = self.vectors * S::LANES;
            let panels = Panels::new::<S>(self.rows);
            let mut a = vec![0.0; panels.padded() * self.depth];
            panels.pack(self.depth, &mut a, entry);
            let b: Vec<f32> = (0..self.depth * columns)
                .map(|i| entry(i / columns, i % columns))
                .collect();
            let mut c = vec![f32::NAN; panels.padded() * columns];
            for (at, vectors) in Blocks::new::<S>(self.vectors) {
                let right = Strided {
                    start: b[at..].as_ptr(),
                    stride: columns,
                };
                // SAFETY: the vectors above have these shapes.
                unsafe {
                    multiply(
                        s,
                        panels,
                        self.depth,
                        a.as_ptr(),
                        right,
                        vectors,
                        c[at..].as_mut_ptr(),
                        columns,
                        Plain,
                    );
                };
            }
            for row in 0..self.rows {
                for column in 0..columns {
                    let expected: f32 = (0..self.depth).map(|k| entry(row, k) * entry(k, column)).sum();
                    assert_eq!(c[row * columns + column], expected, "{row}, {column}");
                }
            }

            let mut plain: Vec<f32> = (0..panels.padded() * self.depth)
                .map(|i| entry(i / self.depth, i % self.depth))
                .collect();
            let mut right: Vec<f32> = (0..self.depth * columns)
                .map(|i| entry(i / columns, i % columns))
                .collect();
            let matrix = |values: &mut Vec<f32>, row| Matrix {
                start: values.as_mut_ptr(),
                row,
            };
            let mut by_rows = vec![f32::NAN; panels.padded() * columns];
            let (left, right) = (matrix(&mut plain, self.depth), matrix(&mut right, columns));
            let product = matrix(&mut by_rows, columns);
            // SAFETY: the vectors above have these shapes.
            unsafe { multiply_rows(s, panels, self.depth, left, right, self.vectors, product, Start::Fresh) };
            let matter = self.rows * columns;
            assert_eq!(by_rows[..matter], c[..matter]);
            for (times, start) in [(2.0, Start::Onto), (3.0, Start::Beside)] {
                let product = matrix(&mut by_rows, columns);
                // SAFETY: as above.
                unsafe { multiply_rows(s, panels, self.depth, left, right, self.vectors, product, start) };
                assert!(by_rows[..matter].iter().zip(&c).all(|(sum, once)| *sum == times * once));
            }

            let outer = Outer::new::<S>(self.rows, self.depth);
            let left: Vec<f32> = (0..panels.padded() * columns)
                .map(|i| entry(i / columns + 1, i % columns))
                .collect();
            let right: Vec<f32> = (0..outer.padded_columns() * columns)
                .map(|i| entry(i / columns, i % columns))
                .collect();
            let right = Strided {
                start: right.as_ptr(),
                stride: columns,
            };
            let mut product = vec![f32::NAN; outer.len()];
            for fresh in [true, false] {
                // SAFETY: the vectors above have these shapes.
                unsafe {
                    dots(
                        s,
                        outer,
                        left.as_ptr(),
                        columns,
                        right,
                        self.vectors,
                        product.as_mut_ptr(),
                        fresh,
                    );
                };
            }
            for row in 0..self.rows {
                for column in 0..self.depth {
                    let expected: f32 = (0..columns).map(|i| entry(row + 1, i) * entry(column, i)).sum();
                    assert_eq!(product[outer.index(row, column)], 2.0 * expected, "{row}, {column}");
                }
            }
        }
    }

    #[test]
    fn products_are_exact_on_integers() {
        for simd in Simd::emulated() {
            for rows in [1, 3, 4, 5, 8, 9, 12, 13, 17] {
                for (depth, vectors) in [(1, 1), (2, 2), (7, 3), (10, 4), (48, 5), (301, 8)] {
                    dispatch(simd, 64, Check { rows, depth, vectors });
                }
            }
        }
    }
}
