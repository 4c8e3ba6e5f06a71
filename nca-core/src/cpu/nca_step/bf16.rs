//! Both layers of a tile, forward and backward, with factors in bf16.
//!
//! Perception, clamp, gather and the adjoint are those of f32. What lies between goes block by block of 32 active cells:
//! a product leaves a square of 32 × 32 sums in L1, and what takes it adds the bias, ends with ReLU or its derivative,
//! and rounds it to the factors of the next product.

// Kernels on tiles in scratch memory.
#![allow(unsafe_code)]

use super::super::arena::Carver;
use super::super::bf16::{
    BLOCK, Bf16Unit, Finish, Job, Left, SQUARE, Turned, Unit, Vector, narrow_rows, natural_row, pack_left, packed_len,
    pad_pairs, padded_pairs, padded_rows, pair_row, pair_rows, product, product_over_cells, store_pairs,
};
use super::super::simd::Isa;
use super::Plan;

/// A packed matrix: where it lies, its rows, and its depth.
#[derive(Clone, Copy)]
struct Packed {
    start: *mut f32,
    rows: usize,
    depth: usize,
}

impl Packed {
    fn carve(carver: &mut Carver, rows: usize, depth: usize) -> Self {
        Self {
            start: carver.take(packed_len(rows, depth)),
            rows,
            depth,
        }
    }

    fn fill(self, value: impl Fn(usize, usize) -> f32) {
        // SAFETY: `carve` took so much, and nobody reads it yet.
        let packed = unsafe { std::slice::from_raw_parts_mut(self.start, packed_len(self.rows, self.depth)) };
        pack_left(self.rows, self.depth, packed, value);
    }

    #[inline(always)]
    fn left(self) -> Left {
        Left::packed(self.start, self.depth)
    }
}

/// The weights of a model as left operands; those of the backward pass are empty where it is not needed.
#[derive(Clone, Copy)]
pub(super) struct Weights {
    /// What multiplies them.
    pub(super) unit: Bf16Unit,
    /// `[D, KC]`
    w1: Packed,
    /// `[C, D]`
    w2: Packed,
    /// `[KC, D]`
    w1_transposed: Packed,
    /// `[D, C]`
    w2_transposed: Packed,
}

impl Weights {
    /// Takes the memory, if the plan is to multiply bf16; [`Weights::fill`] fills it.
    pub(super) fn carve(carver: &mut Carver, plan: &Plan, backward: bool) -> Option<Self> {
        let (inputs, hidden, channels) = (plan.inputs(), plan.hidden, plan.stencil.channels);
        let transposed = |rows: usize| if backward { rows } else { 0 };
        plan.bf16.map(|unit| Self {
            unit,
            w1: Packed::carve(carver, hidden, inputs),
            w2: Packed::carve(carver, channels, hidden),
            w1_transposed: Packed::carve(carver, transposed(inputs), hidden),
            w2_transposed: Packed::carve(carver, transposed(hidden), channels),
        })
    }

    /// Rounds and packs the weights that `w1(row, column)` and `w2(row, column)` give.
    pub(super) fn fill(&self, w1: impl Fn(usize, usize) -> f32, w2: impl Fn(usize, usize) -> f32) {
        self.w1.fill(&w1);
        self.w2.fill(&w2);
        self.w1_transposed.fill(|row, column| w1(column, row));
        self.w2_transposed.fill(|row, column| w2(column, row));
    }
}

/// Scratch of a tile; what only the backward pass needs is empty forward.
#[derive(Clone, Copy)]
pub(super) struct Scratch {
    /// Blocks of pairs: the perception or the gradient of the update; the hidden layer or its gradient.
    outer: *mut f32,
    hidden: *mut f32,
    square: *mut f32,
    /// Rows of bf16, of all cells: perception, hidden layer, and the gradients of the update and of the hidden layer.
    z: *mut f32,
    h: *mut f32,
    g_dx: *mut f32,
    g_h: *mut f32,
    /// Pairs from row to row of these.
    row: usize,
    /// Sixteen partial sums for each row of the hidden layer.
    sums: *mut f32,
    /// For [`product_over_cells`].
    turned: *mut f32,
}

impl Scratch {
    /// For tiles of at most `cells` cells, if the plan is to multiply bf16.
    pub(super) fn carve(carver: &mut Carver, plan: &Plan, cells: usize, backward: bool) -> Option<Self> {
        let (inputs, hidden, channels) = (plan.inputs(), plan.hidden, plan.stencil.channels);
        let row = natural_row(cells);
        let natural = |rows: usize| if backward { padded_rows(rows) * row } else { 0 };
        let block = |depth: usize| padded_pairs(depth.div_ceil(2)) * BLOCK;
        plan.bf16.map(|_| Self {
            outer: carver.take(block(inputs.max(channels))),
            hidden: carver.take(block(hidden)),
            square: carver.take(SQUARE),
            z: carver.take(natural(inputs)),
            h: carver.take(natural(hidden)),
            g_dx: carver.take(natural(channels)),
            g_h: carver.take(natural(hidden)),
            row,
            sums: carver.take(if backward { padded_rows(hidden) * 16 } else { 0 }),
            turned: carver.take(if backward { Turned::scratch() } else { 0 }),
        })
    }
}

/// The active cells of a tile, block by block: first cell, number of cells.
#[inline(always)]
fn blocks(cells: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..cells)
        .step_by(BLOCK)
        .map(move |start| (start, BLOCK.min(cells - start)))
}

/// `dx = W2·relu(W1·z + b1) + b2`.
pub(super) struct Forward<'a> {
    pub(super) weights: &'a Weights,
    pub(super) b1: *const f32,
    pub(super) b2: *const f32,
    pub(super) scratch: Scratch,
    /// `[KC, cells]`, rows `ld` floats apart, as those of `dx`.
    pub(super) z: *const f32,
    pub(super) dx: *mut f32,
    pub(super) ld: usize,
    pub(super) cells: usize,
    /// Where the backward pass wants factors of the perception and of the hidden layer; `dx` is then null unless it is
    /// wanted too.
    pub(super) keep: bool,
}

impl Job for Forward<'_> {
    #[inline(always)]
    fn run<U: Unit>(self, u: U) {
        let (scratch, Weights { w1, w2, .. }) = (self.scratch, *self.weights);
        debug_assert!(self.ld >= self.cells.next_multiple_of(16), "whole vectors are read");
        // SAFETY: tiles make a job with the panels (`Pieces::carve`), the scratch and the weights of their plan.
        unsafe {
            pad_pairs(scratch.hidden, w1.rows);
            for (start, cells) in blocks(self.cells) {
                let (z, within) = (self.z.add(start), start / 2);
                if self.keep {
                    narrow_rows(u, z, self.ld, w1.depth, cells, scratch.z.add(within), scratch.row);
                }
                pair_rows(u, z, self.ld, w1.depth, cells, scratch.outer);
                let relu = Relu {
                    bias: self.b1,
                    kept: if self.keep {
                        scratch.h.add(within)
                    } else {
                        std::ptr::null_mut()
                    },
                    kept_row: scratch.row,
                };
                let relu = Paired {
                    row: relu,
                    pairs: scratch.hidden,
                };
                product(u, w1.left(), w1.rows, w1.depth, scratch.outer, 2, scratch.square, relu);
                if !self.dx.is_null() {
                    let store = Store {
                        bias: self.b2,
                        to: self.dx.add(start),
                        ld: self.ld,
                        vectors: cells.div_ceil(16),
                    };
                    product(
                        u,
                        w2.left(),
                        w2.rows,
                        w2.depth,
                        scratch.hidden,
                        store.vectors,
                        scratch.square,
                        store,
                    );
                }
            }
        }
    }
}

/// The gradients of the weights and of b1, and that of the perception, after [`Forward`] has kept its factors.
pub(super) struct Backward<'a> {
    pub(super) weights: &'a Weights,
    pub(super) scratch: Scratch,
    /// `[C, cells]`, rows `ld` floats apart, as those of `g_z`, `[KC, cells]`.
    pub(super) g_dx: *const f32,
    pub(super) g_z: *mut f32,
    pub(super) ld: usize,
    pub(super) cells: usize,
    /// How the gradients of w1 and w2 lie, and where they and that of b1 are summed up.
    pub(super) ways: [Turned; 2],
    pub(super) matrices: [*mut f32; 2],
    pub(super) g_b1: *mut f32,
    /// Whether these are written, not added to.
    pub(super) fresh: bool,
}

impl Job for Backward<'_> {
    #[inline(always)]
    fn run<U: Unit>(self, u: U) {
        let (scratch, fresh) = (self.scratch, self.fresh);
        let (w1, w2) = (self.weights.w1_transposed, self.weights.w2_transposed);
        let (hidden, channels) = (w2.rows, w2.depth);
        debug_assert!(self.ld >= self.cells.next_multiple_of(16), "whole vectors are read");
        // SAFETY: as in `Forward`; the gradients are as long as their layouts say.
        unsafe {
            scratch.sums.write_bytes(0, hidden * 16);
            pad_pairs(scratch.hidden, hidden);
            for (start, cells) in blocks(self.cells) {
                let (g_dx, within) = (self.g_dx.add(start), start / 2);
                narrow_rows(u, g_dx, self.ld, channels, cells, scratch.g_dx.add(within), scratch.row);
                pair_rows(u, g_dx, self.ld, channels, cells, scratch.outer);
                let gate = Gate {
                    h: scratch.h.add(within),
                    kept: scratch.g_h.add(within),
                    kept_row: scratch.row,
                    sums: scratch.sums,
                };
                let gate = Paired {
                    row: gate,
                    pairs: scratch.hidden,
                };
                product(u, w2.left(), hidden, channels, scratch.outer, 2, scratch.square, gate);
                let store = Store {
                    bias: std::ptr::null(),
                    to: self.g_z.add(start),
                    ld: self.ld,
                    vectors: cells.div_ceil(16),
                };
                product(
                    u,
                    w1.left(),
                    w1.rows,
                    hidden,
                    scratch.hidden,
                    store.vectors,
                    scratch.square,
                    store,
                );
            }
            let factors = [(scratch.g_h, scratch.z), (scratch.g_dx, scratch.h)];
            for ((a, b), (way, c)) in factors.into_iter().zip(self.ways.into_iter().zip(self.matrices)) {
                product_over_cells(u, way, a, b, scratch.row, self.cells, scratch.turned, c, fresh);
            }
            let s = u.isa();
            for row in (0..hidden).step_by(4) {
                let mut partial = [s.splat(0.0); 4];
                for (r, partial) in partial.iter_mut().enumerate() {
                    *partial = s.load(scratch.sums.add((row + r) * 16));
                }
                for (r, sum) in s.sums(partial).into_iter().enumerate() {
                    let sum_of_all = self.g_b1.add(row + r);
                    *sum_of_all = if fresh { sum } else { *sum_of_all + sum };
                }
            }
        }
    }
}

/// Both vectors of a row of a square.
#[inline(always)]
unsafe fn load_row<U: Unit>(u: U, c: *const f32, row: usize) -> [Vector<U>; 2] {
    // SAFETY: the caller's condition.
    unsafe { [u.isa().load(c.add(row * BLOCK)), u.isa().load(c.add(row * BLOCK + 16))] }
}

/// What becomes of a row of a square, before it is half of a row of pairs.
trait PairedRow<U: Unit>: Copy {
    /// Row `row`, which is row `r` of the square.
    ///
    /// # Safety
    /// As [`Finish::rows`].
    unsafe fn row(self, u: U, row: usize, r: usize, c: *const f32) -> [Vector<U>; 2];
}

/// Rows as pairs, a block of them.
#[derive(Clone, Copy)]
struct Paired<R> {
    row: R,
    pairs: *mut f32,
}

impl<U: Unit, R: PairedRow<U>> Finish<U> for Paired<R> {
    #[inline(always)]
    unsafe fn rows(self, u: U, first: usize, count: usize, c: *const f32) {
        // SAFETY: the caller's condition.
        unsafe {
            for r in (0..count).step_by(2) {
                let low = self.row.row(u, first + r, r, c);
                let high = if r + 1 < count {
                    self.row.row(u, first + r + 1, r + 1, c)
                } else {
                    [u.isa().splat(0.0); 2]
                };
                store_pairs(u, low, high, pair_row(self.pairs, first + r));
            }
        }
    }
}

/// `relu(c + bias)`, also as rows of bf16 unless `kept` is null.
#[derive(Clone, Copy)]
struct Relu {
    bias: *const f32,
    kept: *mut f32,
    kept_row: usize,
}

impl<U: Unit> PairedRow<U> for Relu {
    #[inline(always)]
    unsafe fn row(self, u: U, row: usize, r: usize, c: *const f32) -> [Vector<U>; 2] {
        let s = u.isa();
        // SAFETY: the caller's condition.
        unsafe {
            let bias = s.splat(*self.bias.add(row));
            let [a, b] = load_row(u, c, r);
            let h = [s.max(s.splat(0.0), s.add(a, bias)), s.max(s.splat(0.0), s.add(b, bias))];
            if !self.kept.is_null() {
                s.store(self.kept.add(row * self.kept_row), u.narrow(h[0], h[1]));
            }
            h
        }
    }
}

/// `c` where the hidden layer was positive, also as rows of bf16 and added to the sums of its rows.
#[derive(Clone, Copy)]
struct Gate {
    h: *const f32,
    kept: *mut f32,
    /// Pairs from row to row of `h` and `kept`.
    kept_row: usize,
    sums: *mut f32,
}

impl<U: Unit> PairedRow<U> for Gate {
    #[inline(always)]
    unsafe fn row(self, u: U, row: usize, r: usize, c: *const f32) -> [Vector<U>; 2] {
        let s = u.isa();
        // SAFETY: the caller's condition.
        unsafe {
            let at = row * self.kept_row;
            let g = u.where_positive(s.load(self.h.add(at)), load_row(u, c, r));
            s.store(self.kept.add(at), u.narrow(g[0], g[1]));
            let sum = self.sums.add(row * 16);
            s.store(sum, s.add(s.load(sum), s.add(g[0], g[1])));
            g
        }
    }
}

/// `c + bias`, or `c` if there is none, as rows of f32.
#[derive(Clone, Copy)]
struct Store {
    bias: *const f32,
    to: *mut f32,
    ld: usize,
    vectors: usize,
}

impl<U: Unit> Finish<U> for Store {
    #[inline(always)]
    unsafe fn rows(self, u: U, first: usize, count: usize, c: *const f32) {
        let s = u.isa();
        // SAFETY: the caller's condition.
        unsafe {
            for r in 0..count {
                let bias = if self.bias.is_null() {
                    0.0
                } else {
                    *self.bias.add(first + r)
                };
                for v in 0..self.vectors {
                    let sum = s.add(s.load(c.add(r * BLOCK + 16 * v)), s.splat(bias));
                    s.store(self.to.add((first + r) * self.ld + 16 * v), sum);
                }
            }
        }
    }
}
