//! Perception kernels in a basis in which they are sparse, and the perception of a tile.
//!
//! With `t, m, b` the rows above, at and below a cell, every 3×3 kernel is a combination of nine
//! terms: the rows enter as `p = t + b`, `q = b − t` or `m`, and in each of these the columns as the
//! sum of both neighbours, their difference or the centre. A kernel that is even or odd in x and y
//! (identity, Sobel, Laplacian, however scaled) has few of them, and all kernels share the sums.

// Vector loads around pointers into the state.
#![allow(unsafe_code)]

use std::ops::Range;

use super::super::perceive::neighbour;
use super::super::simd::{Isa, prefetch};
use super::Plan;
use super::active::Active;
use super::tiling::Tile;
use crate::config::{NcaConfig, Padding};
use crate::perception::{Kernel, Perception};

/// Coefficients `[p, q, m] × [sum, difference, centre]`.
type Coefficients = [[f32; 3]; 3];

const SUM: usize = 0;
const DIFFERENCE: usize = 1;
const CENTRE: usize = 2;
const P: usize = 0;
const Q: usize = 1;
const M: usize = 2;

/// The kernels of a model, prepared for the vector code.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stencil {
    pub(super) kernels: usize,
    pub(super) channels: usize,
    pub(super) padding: Padding,
    /// Every kernel as it is, for the adjoint.
    pub(super) taps: [[[f32; 3]; 3]; Perception::MAX_KERNELS],
    basis: [Coefficients; Perception::MAX_KERNELS],
    /// Set if the model has one kernel of each usual symmetry.
    pub(super) classic: Option<Classic>,
}

/// One kernel of each symmetry: the centre alone, odd in x, odd in y, even in both. All presets are
/// of this form.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Classic {
    /// Number of each kernel in the model: centre, odd in x, odd in y, even.
    pub(super) order: [usize; 4],
    pub(super) centre: f32,
    /// Weight of the right neighbour in the outer rows and in the middle row.
    pub(super) odd_x: [f32; 2],
    /// Weight of the corner and of the centre of the lower row.
    pub(super) odd_y: [f32; 2],
    /// Outer rows: corner, centre; middle row: neighbour, centre.
    pub(super) even: [f32; 4],
}

/// `kernel` in the basis.
fn coefficients(kernel: &Kernel) -> Coefficients {
    let [t, m, b] = kernel;
    let row = |f: &dyn Fn(usize) -> f64| [((f(0) + f(2)) / 2.0) as f32, ((f(2) - f(0)) / 2.0) as f32, f(1) as f32];
    [
        row(&|x| (t[x] + b[x]) / 2.0),
        row(&|x| (b[x] - t[x]) / 2.0),
        row(&|x| m[x]),
    ]
}

impl Stencil {
    pub(super) fn new(config: &NcaConfig) -> Self {
        let mut stencil = Self {
            kernels: config.kernels(),
            channels: config.channels,
            padding: config.padding,
            taps: [[[0.0; 3]; 3]; Perception::MAX_KERNELS],
            basis: [[[0.0; 3]; 3]; Perception::MAX_KERNELS],
            classic: None,
        };
        for (k, kernel) in config.perception.kernels.iter().enumerate() {
            stencil.taps[k] = kernel.map(|row| row.map(|w| w as f32));
            stencil.basis[k] = coefficients(kernel);
        }
        stencil.classic = Classic::of(&stencil.basis[..stencil.kernels]);
        stencil
    }

    /// Row of a panel of perceptions, all kernels of a channel after those of the one before.
    pub(super) fn row(&self, channel: usize, kernel: usize) -> usize {
        channel * self.kernels + kernel
    }

    /// Where the perception in row `row` of a panel is in the model's order, all channels of a kernel
    /// after those of the one before.
    pub(super) fn input(&self, row: usize) -> usize {
        row % self.kernels * self.channels + row / self.kernels
    }
}

impl Classic {
    /// The form of these kernels, if it is this one.
    fn of(basis: &[Coefficients]) -> Option<Self> {
        /// Non-zero terms allowed for the centre, odd in x, odd in y, even.
        const TERMS: [&[(usize, usize)]; 4] = [
            &[(M, CENTRE)],
            &[(P, DIFFERENCE), (M, DIFFERENCE)],
            &[(Q, SUM), (Q, CENTRE)],
            &[(P, SUM), (P, CENTRE), (M, SUM), (M, CENTRE)],
        ];
        let fits = |c: &Coefficients, terms: &[(usize, usize)]| {
            (0..3).all(|row| (0..3).all(|term| c[row][term] == 0.0 || terms.contains(&(row, term))))
        };
        if basis.len() != TERMS.len() {
            return None;
        }
        let mut free: Vec<usize> = Vec::with_capacity(TERMS.len());
        free.extend(0..basis.len());
        let mut order = [0; 4];
        // The first set of terms is part of the last one, so the narrowest comes first.
        for (kernel, terms) in order.iter_mut().zip(TERMS) {
            let found = free.iter().position(|&k| fits(&basis[k], terms))?;
            *kernel = free.remove(found);
        }
        let [centre, x, y, even] = order.map(|k| basis[k]);
        Some(Self {
            order,
            centre: centre[M][CENTRE],
            odd_x: [x[P][DIFFERENCE], x[M][DIFFERENCE]],
            odd_y: [y[Q][SUM], y[Q][CENTRE]],
            even: [even[P][SUM], even[P][CENTRE], even[M][SUM], even[M][CENTRE]],
        })
    }
}

/// Left neighbours, cells and right neighbours of a vector of cells.
type Three<S> = [<S as Isa>::V; 3];

/// The vector at `column` of the row of `width` cells that starts at `row`, and its neighbours. Without
/// `EDGE` the vector touches neither end of the row.
#[inline(always)]
unsafe fn see<S: Isa, const EDGE: bool>(
    s: S,
    row: *const f32,
    column: usize,
    width: usize,
    padding: Padding,
) -> Three<S> {
    // SAFETY: the caller keeps the vector within the row; neighbours outside are not read.
    unsafe {
        let at = row.add(column);
        let centre = s.load(at);
        if !EDGE {
            return [s.load(at.sub(1)), centre, s.load(at.add(1))];
        }
        let (first, last) = (*row, *row.add(width - 1));
        let (before, after) = match padding {
            Padding::Circular => (last, first),
            Padding::Zero => (0.0, 0.0),
            Padding::Replicate => (first, last),
        };
        let left = if column == 0 {
            s.shift_up(centre, before)
        } else {
            s.load(at.sub(1))
        };
        let right = if column + S::LANES == width {
            s.shift_down(centre, after)
        } else {
            s.load(at.add(1))
        };
        [left, centre, right]
    }
}

/// The panel that [`perceive_tile`] fills.
#[derive(Clone, Copy)]
pub(super) struct Panel {
    pub(super) start: *mut f32,
    /// Floats from row to row, at least [`super::active::leading`].
    pub(super) ld: usize,
}

/// Perceives the active cells of `tile` in some channels: row `K·i + k` of the panel gets kernel `k` of the
/// `i`-th of the channels, a column for each active cell. What lies behind the last column up to the next
/// whole vector is set to 0.
///
/// # Safety
/// `x` must be the state of the tile's sample, `[C,H,W]`; `zeros` as wide as the grid; `z` must
/// have K rows for each channel.
#[inline(always)]
pub(super) unsafe fn perceive_tile<S: Isa>(
    s: S,
    plan: &Plan,
    tile: &Tile,
    active: &Active<S>,
    x: *const f32,
    zeros: *const f32,
    channels: Range<usize>,
    z: Panel,
) {
    match plan.stencil.classic {
        // SAFETY: the caller's condition.
        Some(classic) => unsafe { perceive_by(s, plan, tile, active, x, zeros, channels, z, classic.splat(s)) },
        // SAFETY: the caller's condition.
        None => unsafe { perceive_by(s, plan, tile, active, x, zeros, channels, z, &plan.stencil) },
    }
}

/// [`perceive_tile`] with one way to apply the kernels.
#[inline(always)]
unsafe fn perceive_by<S: Isa, F: Filters<S>>(
    s: S,
    plan: &Plan,
    tile: &Tile,
    active: &Active<S>,
    x: *const f32,
    zeros: *const f32,
    channels: Range<usize>,
    z: Panel,
    filters: F,
) {
    let (padding, kernels) = (plan.stencil.padding, plan.stencil.kernels);
    let (height, width) = (plan.grid.height, plan.grid.width);
    let above = neighbour(padding, height, tile.y, 0);
    let below = neighbour(padding, height, tile.y + tile.height - 1, 2);
    // SAFETY: rows are those of the grid; groups lie within the tile's columns and are written at
    // their number, which with a whole vector stays below `ld`.
    unsafe {
        for (i, channel) in channels.clone().enumerate() {
            let x = x.add(channel * height * width);
            let next = x.wrapping_add((height + tile.y) * width + tile.x);
            if plan.ahead {
                for row in 0..=tile.height {
                    prefetch(next.wrapping_add(row * width), tile.width);
                }
            }
            let walk = Walk {
                above: above.map_or(zeros, |y| x.add(y * width)),
                first: x.add(tile.y * width),
                below: below.map_or(zeros, |y| x.add(y * width)),
                width,
                padding,
            };
            let z = Panel {
                start: z.start.add(i * kernels * z.ld),
                ld: z.ld,
            };
            for group in 0..active.groups() {
                let column = tile.x + active.column(group);
                if column == 0 || column + S::LANES == width {
                    walk.down::<S, F, true>(s, active, group, column, z, filters);
                } else {
                    walk.down::<S, F, false>(s, active, group, column, z, filters);
                }
            }
        }
        for row in 0..channels.len() * kernels {
            s.store(z.start.add(row * z.ld + active.count), s.splat(0.0));
        }
    }
}

/// The rows of a tile and those above and below it, in one channel.
#[derive(Clone, Copy)]
struct Walk {
    above: *const f32,
    /// First row of the tile; the others follow.
    first: *const f32,
    below: *const f32,
    width: usize,
    padding: Padding,
}

impl Walk {
    /// Goes down a strip, so that every vector of the state is loaded once, and what a row gives to
    /// the one above it and to the one below it is computed once.
    #[inline(always)]
    unsafe fn down<S: Isa, F: Filters<S>, const EDGE: bool>(
        self,
        s: S,
        active: &Active<S>,
        strip: usize,
        column: usize,
        z: Panel,
        filters: F,
    ) {
        let (width, padding) = (self.width, self.padding);
        // SAFETY: the caller's condition.
        unsafe {
            let above = see::<S, EDGE>(s, self.above, column, width, padding);
            let first = see::<S, EDGE>(s, self.first, column, width, padding);
            let mut carry = filters.start(s, above, first);
            let last = active.height() - 1;
            for row in 0..last {
                let (lanes, number) = active.group(row, strip);
                let below = see::<S, EDGE>(s, self.first.add((row + 1) * width), column, width, padding);
                carry = filters.next(s, carry, below, lanes, z.start.add(number), z.ld);
            }
            let (lanes, number) = active.group(last, strip);
            let below = see::<S, EDGE>(s, self.below, column, width, padding);
            filters.next(s, carry, below, lanes, z.start.add(number), z.ld);
        }
    }
}

/// A way to apply all kernels to the vectors of a strip, one row after the other.
trait Filters<S: Isa>: Copy {
    /// What is kept of the rows above.
    type Carry: Copy;

    /// Begins with the row above the first and the first.
    fn start(self, s: S, above: Three<S>, first: Three<S>) -> Self::Carry;

    /// Given the row `below` it, writes kernel `k` of a row to `z + k·ld`, the selected lanes packed.
    ///
    /// # Safety
    /// `z` must be valid for a vector at each kernel.
    unsafe fn next(
        self,
        s: S,
        carry: Self::Carry,
        below: Three<S>,
        lanes: S::Select,
        z: *mut f32,
        ld: usize,
    ) -> Self::Carry;
}

/// [`Classic`] in vectors.
#[derive(Clone, Copy)]
struct ClassicVectors<S: Isa> {
    order: [usize; 4],
    centre: S::V,
    odd_x: [S::V; 2],
    odd_y: [S::V; 2],
    even: [S::V; 4],
}

impl Classic {
    #[inline(always)]
    fn splat<S: Isa>(&self, s: S) -> ClassicVectors<S> {
        ClassicVectors {
            order: self.order,
            centre: s.splat(self.centre),
            odd_x: [s.splat(self.odd_x[0]), s.splat(self.odd_x[1])],
            odd_y: [s.splat(self.odd_y[0]), s.splat(self.odd_y[1])],
            even: [
                s.splat(self.even[0]),
                s.splat(self.even[1]),
                s.splat(self.even[2]),
                s.splat(self.even[3]),
            ],
        }
    }
}

/// What the last two rows give to the kernels at the last one and at the one below it.
#[derive(Clone, Copy)]
struct ClassicCarry<S: Isa> {
    centre: S::V,
    /// As the outer row, and the sum at the last row without the one below it.
    x: [S::V; 2],
    /// As the outer row: the last but one, the last.
    y: [S::V; 2],
    /// As `x`.
    even: [S::V; 2],
}

impl<S: Isa> ClassicVectors<S> {
    #[inline(always)]
    fn carry(self, s: S, before: ClassicCarry<S>, [left, centre, right]: Three<S>) -> ClassicCarry<S> {
        let (sides, slope) = (s.add(left, right), s.sub(right, left));
        let even = s.fma(self.even[2], sides, before.even[0]);
        ClassicCarry {
            centre,
            x: [s.mul(self.odd_x[0], slope), s.fma(self.odd_x[1], slope, before.x[0])],
            y: [before.y[1], s.fma(self.odd_y[1], centre, s.mul(self.odd_y[0], sides))],
            even: [
                s.fma(self.even[1], centre, s.mul(self.even[0], sides)),
                s.fma(self.even[3], centre, even),
            ],
        }
    }
}

impl<S: Isa> Filters<S> for ClassicVectors<S> {
    type Carry = ClassicCarry<S>;

    #[inline(always)]
    fn start(self, s: S, above: Three<S>, first: Three<S>) -> ClassicCarry<S> {
        let zeros = [s.splat(0.0); 2];
        let nothing = ClassicCarry {
            centre: s.splat(0.0),
            x: zeros,
            y: zeros,
            even: zeros,
        };
        self.carry(s, self.carry(s, nothing, above), first)
    }

    #[inline(always)]
    unsafe fn next(
        self,
        s: S,
        here: ClassicCarry<S>,
        below: Three<S>,
        lanes: S::Select,
        z: *mut f32,
        ld: usize,
    ) -> ClassicCarry<S> {
        let next = self.carry(s, here, below);
        let [centre, x, y, even] = [
            s.mul(self.centre, here.centre),
            s.add(here.x[1], next.x[0]),
            s.sub(next.y[1], here.y[0]),
            s.add(here.even[1], next.even[0]),
        ];
        // SAFETY: the caller's condition.
        unsafe {
            s.store(z.add(self.order[0] * ld), s.compress(centre, lanes));
            s.store(z.add(self.order[1] * ld), s.compress(x, lanes));
            s.store(z.add(self.order[2] * ld), s.compress(y, lanes));
            s.store(z.add(self.order[3] * ld), s.compress(even, lanes));
        }
        next
    }
}

/// Any kernels: nine multiply-adds each.
impl<S: Isa> Filters<S> for &Stencil {
    /// The rows themselves.
    type Carry = [Three<S>; 2];

    #[inline(always)]
    fn start(self, _: S, above: Three<S>, first: Three<S>) -> [Three<S>; 2] {
        [above, first]
    }

    #[inline(always)]
    unsafe fn next(
        self,
        s: S,
        [t, m]: [Three<S>; 2],
        b: Three<S>,
        lanes: S::Select,
        z: *mut f32,
        ld: usize,
    ) -> [Three<S>; 2] {
        let p = [s.add(t[0], b[0]), s.add(t[1], b[1]), s.add(t[2], b[2])];
        let q = [s.sub(b[0], t[0]), s.sub(b[1], t[1]), s.sub(b[2], t[2])];
        let mut terms = [[s.splat(0.0); 3]; 3];
        for ([l, c, r], terms) in [p, q, m].into_iter().zip(&mut terms) {
            *terms = [s.add(l, r), s.sub(r, l), c];
        }
        for (k, coefficients) in self.basis[..self.kernels].iter().enumerate() {
            let mut v = s.splat(0.0);
            for (weights, terms) in coefficients.iter().zip(&terms) {
                for (&weight, &term) in weights.iter().zip(terms) {
                    v = s.fma(s.splat(weight), term, v);
                }
            }
            // SAFETY: the caller's condition.
            unsafe { s.store(z.add(k * ld), s.compress(v, lanes)) };
        }
        [m, b]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Preset;

    #[test]
    fn presets_are_classic() {
        for preset in Preset::ALL {
            let config = NcaConfig::preset(preset, 3, 4).unwrap();
            assert!(Stencil::new(&config).classic.is_some(), "{preset}");
        }
    }

    #[test]
    fn a_kernel_without_symmetry_is_not_classic() {
        let mut config = NcaConfig::preset(Preset::Paper, 3, 4).unwrap();
        config.perception.kernels[1][0][1] = 0.5;
        assert!(Stencil::new(&config).classic.is_none());
    }
}
