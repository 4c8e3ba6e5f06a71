//! Small matrix products in registers.
//!
//! Two micro-kernels carry the update network and the convolutions:
//!
//! * [`multiply`], `C = A·B` with `A` packed in panels of 4 or 8 rows and the columns of `B` and `C`
//!   (cells) in vector lanes: a register tile of `ROWS × 3` vectors, one broadcast of `A` for three
//!   fused multiply-adds. `B` is read where it lies, row by row, so a convolution needs no im2col.
//! * [`dots`], `C += A·Bᵀ` over long rows, for gradients of weights: the lanes hold partial sums
//!   over cells, which are added up once a tile, so neither operand is transposed.

// Pointers into tiles whose shapes the callers prepare.
#![allow(unsafe_code)]

use super::simd::{Isa, TILE_VECTORS};

/// Rows of a matrix cut into panels of `height` (4 or 8) rows, the last one of 4 if that suffices.
#[derive(Clone, Copy)]
pub(super) struct Panels {
    /// Rows that matter.
    rows: usize,
    /// Rows of a full panel.
    height: usize,
}

impl Panels {
    pub(super) fn new<S: Isa>(rows: usize) -> Self {
        Self { rows, height: S::ROWS }
    }

    /// Rows with those that pad the last panel.
    pub(super) fn padded(self) -> usize {
        let last = self.rows.saturating_sub(1) / self.height * self.height;
        last + if self.rows - last <= 4 { 4 } else { self.height }
    }

    /// Writes `value(row, column)` of a matrix of `depth` columns to `packed`, `padded() · depth`
    /// long: panel after panel, in each column after column; zeros in the padding rows.
    pub(super) fn pack(self, depth: usize, packed: &mut [f32], value: impl Fn(usize, usize) -> f32) {
        for (p, panel) in packed[..self.padded() * depth]
            .chunks_mut(self.height * depth)
            .enumerate()
        {
            let height = panel.len() / depth;
            for (column, values) in panel.chunks_exact_mut(height).enumerate() {
                for (row, packed) in (p * self.height..).zip(values) {
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
    /// Initial value of an accumulator of `row`.
    ///
    /// # Safety
    /// `row` must be below the padded number of rows.
    unsafe fn start(self, s: S, row: usize) -> S::V;
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
    unsafe fn start(self, s: S, _: usize) -> S::V {
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
    unsafe fn start(self, s: S, row: usize) -> S::V {
        // SAFETY: the caller's condition.
        s.splat(unsafe { *self.0.add(row) })
    }
    #[inline(always)]
    unsafe fn finish(self, s: S, _: usize, to: *mut f32, v: S::V) {
        // SAFETY: the caller's condition.
        unsafe { s.store(to, v) }
    }
}

/// `C = relu(A·B + bias)`; NaN stays NaN.
#[derive(Clone, Copy)]
pub(super) struct BiasRelu(pub(super) *const f32);

impl<S: Isa> Epilogue<S> for BiasRelu {
    #[inline(always)]
    unsafe fn start(self, s: S, row: usize) -> S::V {
        // SAFETY: the caller's condition.
        s.splat(unsafe { *self.0.add(row) })
    }
    #[inline(always)]
    unsafe fn finish(self, s: S, _: usize, to: *mut f32, v: S::V) {
        // SAFETY: the caller's condition.
        unsafe { s.store(to, s.max(s.splat(0.0), v)) }
    }
}

/// `C = A·B` where `C` was positive, else 0: the derivative of ReLU, in place of its result.
#[derive(Clone, Copy)]
pub(super) struct Gate;

impl<S: Isa> Epilogue<S> for Gate {
    #[inline(always)]
    unsafe fn start(self, s: S, _: usize) -> S::V {
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
/// Blocks have three vectors, but never is one left alone beside others, for a block of one vector
/// waits for its own additions.
pub(super) struct Blocks {
    lanes: usize,
    column: usize,
    left: usize,
}

impl Blocks {
    #[inline(always)]
    pub(super) fn new<S: Isa>(vectors: usize) -> Self {
        Self {
            lanes: S::LANES,
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
            n if n == TILE_VECTORS + 1 => 2,
            n => n.min(TILE_VECTORS),
        };
        let column = self.column;
        self.column += vectors * self.lanes;
        self.left -= vectors;
        Some((column, vectors))
    }
}

/// `C = epilogue(A·B)` for a block of `vectors ≤ 3` vectors of columns.
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
        match vectors {
            1 => multiply_block::<S, R, E, 1>(s, panels, depth, a, b, c, ldc, epilogue),
            2 => multiply_block::<S, R, E, 2>(s, panels, depth, a, b, c, ldc, epilogue),
            _ => multiply_block::<S, R, E, TILE_VECTORS>(s, panels, depth, a, b, c, ldc, epilogue),
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
    let mut row = 0;
    // SAFETY: the caller's condition; panels start at multiples of `height` rows.
    unsafe {
        while row < panels.rows {
            let a = a.add(row * depth);
            let c = c.add(row * ldc);
            if S::ROWS == 8 && panels.rows - row > 4 {
                multiply_tile::<S, R, E, 8, N>(s, depth, a, b, row, c, ldc, epilogue);
            } else {
                multiply_tile::<S, R, E, 4, N>(s, depth, a, b, row, c, ldc, epilogue);
            }
            row += panels.height;
        }
    }
}

/// One register tile: `M` rows of `N` vectors.
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
        for (r, sums) in sums.iter_mut().enumerate() {
            *sums = [epilogue.start(s, row + r); N];
        }
        for k in 0..depth {
            let from = b.row(k);
            let mut columns = [s.splat(0.0); N];
            for (v, column) in columns.iter_mut().enumerate() {
                *column = s.load(from.add(v * S::LANES));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let weight = s.splat(*a.add(k * M + r));
                for (sum, &column) in sums.iter_mut().zip(&columns) {
                    *sum = s.fma(weight, column, *sum);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (v, &sum) in sums.iter().enumerate() {
                epilogue.finish(s, row + r, c.add(r * ldc + v * S::LANES), sum);
            }
        }
    }
}

/// Layout of the result of [`dots`]: register tile after register tile.
#[derive(Clone, Copy)]
pub(super) struct Outer {
    rows: Panels,
    columns: usize,
}

impl Outer {
    /// A product of `rows × columns`.
    pub(super) fn new<S: Isa>(rows: usize, columns: usize) -> Self {
        Self {
            rows: Panels::new::<S>(rows),
            columns,
        }
    }

    /// Columns with those that pad the last tile; so many rows of `B` are read.
    pub(super) fn padded_columns(self) -> usize {
        self.columns.next_multiple_of(TILE_VECTORS)
    }

    /// Number of elements.
    pub(super) fn len(self) -> usize {
        self.rows.padded() * self.padded_columns()
    }

    /// Where element `(row, column)` lies.
    pub(super) fn index(self, row: usize, column: usize) -> usize {
        let first = row / self.rows.height * self.rows.height;
        let height = (self.rows.padded() - first).min(self.rows.height);
        let tile = first * self.padded_columns() + column / TILE_VECTORS * TILE_VECTORS * height;
        tile + column % TILE_VECTORS * height + row - first
    }
}

/// Floats of `B` that [`dots`] keeps in L1 while the rows of `A` stream past: 16 KiB.
const DOTS_BLOCK: usize = 4096;

/// `C += A·Bᵀ` (`C = A·Bᵀ` if `fresh`), `c` laid out as `outer` says.
///
/// Rows of `a` are `lda` floats apart, of both operands `vectors` vectors long.
///
/// # Safety
/// `a` must have the padded number of rows, `b` the padded number of columns, all valid for that
/// length; `c` must hold `outer.len()` floats.
#[inline(always)]
pub(super) unsafe fn dots<S: Isa, R: Rows>(
    s: S,
    outer: Outer,
    a: *const f32,
    lda: usize,
    b: R,
    vectors: usize,
    c: *mut f32,
    fresh: bool,
) {
    let columns = outer.padded_columns();
    let block = (DOTS_BLOCK / (vectors * S::LANES).max(1))
        .max(1)
        .next_multiple_of(TILE_VECTORS);
    let mut first = 0;
    // SAFETY: the caller's condition.
    unsafe {
        while first < columns {
            let end = (first + block).min(columns);
            let mut row = 0;
            while row < outer.rows.rows {
                let a = a.add(row * lda);
                let c = c.add(row * columns);
                let mut column = first;
                while column < end {
                    if S::ROWS == 8 && outer.rows.rows - row > 4 {
                        dots_tile::<S, R, 8>(s, a, lda, b, column, vectors, c.add(8 * column), fresh);
                    } else {
                        dots_tile::<S, R, 4>(s, a, lda, b, column, vectors, c.add(4 * column), fresh);
                    }
                    column += TILE_VECTORS;
                }
                row += outer.rows.height;
            }
            first = end;
        }
    }
}

/// One register tile of [`dots`]: `M` rows of `A` against three rows of `B`.
#[inline(always)]
unsafe fn dots_tile<S: Isa, R: Rows, const M: usize>(
    s: S,
    a: *const f32,
    lda: usize,
    b: R,
    column: usize,
    vectors: usize,
    c: *mut f32,
    fresh: bool,
) {
    // SAFETY: the caller's condition.
    unsafe {
        let from = [b.row(column), b.row(column + 1), b.row(column + 2)];
        let mut sums = [[s.splat(0.0); M]; TILE_VECTORS];
        for v in 0..vectors {
            let at = v * S::LANES;
            let right = [
                s.load(from[0].add(at)),
                s.load(from[1].add(at)),
                s.load(from[2].add(at)),
            ];
            for r in 0..M {
                let left = s.load(a.add(r * lda + at));
                for (sums, &right) in sums.iter_mut().zip(&right) {
                    sums[r] = s.fma(left, right, sums[r]);
                }
            }
        }
        for (j, sums) in sums.iter().enumerate() {
            for i in (0..M).step_by(4) {
                let four = s.sums([sums[i], sums[i + 1], sums[i + 2], sums[i + 3]]);
                let c = c.add(j * M + i).cast::<[f32; 4]>();
                let old = if fresh { [0.0; 4] } else { c.read_unaligned() };
                c.write_unaligned([old[0] + four[0], old[1] + four[1], old[2] + four[2], old[3] + four[3]]);
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
                    )
                };
            }
            for row in 0..self.rows {
                for column in 0..columns {
                    let expected: f32 = (0..self.depth).map(|k| entry(row, k) * entry(k, column)).sum();
                    assert_eq!(c[row * columns + column], expected, "{row}, {column}");
                }
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
                    )
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
        for simd in Simd::ALL.into_iter().filter(|simd| simd.available()) {
            for rows in [1, 3, 4, 5, 8, 9, 12, 13, 17] {
                for (depth, vectors) in [(1, 1), (2, 2), (7, 3), (10, 4), (48, 5), (301, 8)] {
                    dispatch(simd, 64, Check { rows, depth, vectors });
                }
            }
        }
    }
}
