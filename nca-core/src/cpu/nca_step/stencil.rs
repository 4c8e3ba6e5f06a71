//! Perception kernels in a basis in which they are sparse, and the perception of a tile.
//!
//! With `t, m, b` the rows above, at and below a cell, every 3×3 kernel is a combination of nine
//! terms: the rows enter as `p = t + b`, `q = b − t` or `m`, and in each of these the columns as the
//! sum of both neighbours, their difference or the centre. A kernel that is even or odd in x and y
//! (identity, Sobel, Laplacian, however scaled) has few of them, and all kernels share the sums.

// Vector loads around pointers into the state.
#![allow(unsafe_code)]

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

/// A row of the state and what lies beyond its ends.
#[derive(Clone, Copy)]
struct Row {
    start: *const f32,
    before: f32,
    after: f32,
}

impl Row {
    /// The row of `width` cells at `start`.
    #[inline(always)]
    unsafe fn of_state(start: *const f32, width: usize, padding: Padding) -> Self {
        // SAFETY: the caller's condition.
        let (first, last) = unsafe { (*start, *start.add(width - 1)) };
        let (before, after) = match padding {
            Padding::Circular => (last, first),
            Padding::Zero => (0.0, 0.0),
            Padding::Replicate => (first, last),
        };
        Self { start, before, after }
    }

    /// Left neighbours, cells and right neighbours of the vector at column `x`.
    #[inline(always)]
    unsafe fn three<S: Isa>(self, s: S, x: usize, width: usize) -> [S::V; 3] {
        // SAFETY: the caller keeps the vector within the row; neighbours outside are not read.
        unsafe {
            let at = self.start.add(x);
            let centre = s.load(at);
            let left = if x == 0 {
                s.shift_up(centre, self.before)
            } else {
                s.load(at.sub(1))
            };
            let right = if x + S::LANES == width {
                s.shift_down(centre, self.after)
            } else {
                s.load(at.add(1))
            };
            [left, centre, right]
        }
    }

    /// As [`Row::three`] for a vector that touches neither end of the row.
    #[inline(always)]
    unsafe fn three_inside<S: Isa>(self, s: S, x: usize) -> [S::V; 3] {
        // SAFETY: the caller's condition.
        unsafe {
            let at = self.start.add(x);
            [s.load(at.sub(1)), s.load(at), s.load(at.add(1))]
        }
    }
}

/// Perceives the active cells of `tile`: row `k·C + c` of `z`, `ld` floats apart, gets kernel `k` of
/// channel `c`, a column for each active cell. What lies behind the last column up to the next whole
/// vector is set to 0.
///
/// # Safety
/// `x` must be the state of the tile's sample, `[C,H,W]`; `zeros` as wide as the grid; `z` must
/// have `K·C` rows of `ld ≥ leading(count)` floats.
#[inline(always)]
pub(super) unsafe fn perceive_tile<S: Isa>(
    s: S,
    plan: &Plan,
    tile: &Tile,
    active: &Active<S>,
    x: *const f32,
    zeros: *const f32,
    z: *mut f32,
    ld: usize,
) {
    match plan.stencil.classic {
        // SAFETY: the caller's condition.
        Some(classic) => unsafe { perceive_by(s, plan, tile, active, x, zeros, z, ld, classic.splat(s)) },
        // SAFETY: the caller's condition.
        None => unsafe { perceive_by(s, plan, tile, active, x, zeros, z, ld, &plan.stencil) },
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
    z: *mut f32,
    ld: usize,
    filters: F,
) {
    let (channels, padding) = (plan.stencil.channels, plan.stencil.padding);
    let (height, width) = (plan.grid.height, plan.grid.width);
    // SAFETY: rows are those of the grid; groups lie within the tile's columns and are written at
    // their number, which with a whole vector stays below `ld`.
    unsafe {
        for channel in 0..channels {
            let x = x.add(channel * height * width);
            let z = z.add(channel * ld);
            for row in 0..tile.height {
                let y = tile.y + row;
                let next = x.wrapping_add((height + y) * width + tile.x);
                prefetch(next, tile.width);
                if row + 1 == tile.height {
                    prefetch(next.wrapping_add(width), tile.width);
                }
                let rows = [0, 1, 2].map(|dy| match neighbour(padding, height, y, dy) {
                    Some(y) => Row::of_state(x.add(y * width), width, padding),
                    None => Row {
                        start: zeros,
                        before: 0.0,
                        after: 0.0,
                    },
                });
                for group in 0..active.groups() {
                    let column = tile.x + active.column(group);
                    let [t, m, b] = if column == 0 || column + S::LANES == width {
                        [
                            rows[0].three(s, column, width),
                            rows[1].three(s, column, width),
                            rows[2].three(s, column, width),
                        ]
                    } else {
                        [
                            rows[0].three_inside(s, column),
                            rows[1].three_inside(s, column),
                            rows[2].three_inside(s, column),
                        ]
                    };
                    let (lanes, number) = active.group(row, group);
                    filters.apply(s, t, m, b, lanes, z.add(number), channels * ld);
                }
            }
        }
        for row in 0..plan.stencil.kernels * channels {
            s.store(z.add(row * ld + active.count), s.splat(0.0));
        }
    }
}

/// A way to apply all kernels to one vector of cells.
trait Filters<S: Isa>: Copy {
    /// Writes kernel `k` to `z + k·stride`, the selected lanes packed; `t`, `m`, `b` are the left
    /// neighbours, cells and right neighbours in the row above, at and below.
    ///
    /// # Safety
    /// `z` must be valid for a vector at each kernel.
    unsafe fn apply(self, s: S, t: [S::V; 3], m: [S::V; 3], b: [S::V; 3], lanes: S::Select, z: *mut f32, stride: usize);
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

impl<S: Isa> Filters<S> for ClassicVectors<S> {
    #[inline(always)]
    unsafe fn apply(
        self,
        s: S,
        t: [S::V; 3],
        m: [S::V; 3],
        b: [S::V; 3],
        lanes: S::Select,
        z: *mut f32,
        stride: usize,
    ) {
        let p = [s.add(t[0], b[0]), s.add(t[1], b[1]), s.add(t[2], b[2])];
        let q = [s.sub(b[0], t[0]), s.sub(b[1], t[1]), s.sub(b[2], t[2])];
        let centre = s.mul(self.centre, m[1]);
        let x = s.mul(self.odd_x[0], s.sub(p[2], p[0]));
        let x = s.fma(self.odd_x[1], s.sub(m[2], m[0]), x);
        let y = s.mul(self.odd_y[0], s.add(q[0], q[2]));
        let y = s.fma(self.odd_y[1], q[1], y);
        let even = s.mul(self.even[0], s.add(p[0], p[2]));
        let even = s.fma(self.even[1], p[1], even);
        let even = s.fma(self.even[2], s.add(m[0], m[2]), even);
        let even = s.fma(self.even[3], m[1], even);
        // SAFETY: the caller's condition.
        unsafe {
            s.store(z.add(self.order[0] * stride), s.compress(centre, lanes));
            s.store(z.add(self.order[1] * stride), s.compress(x, lanes));
            s.store(z.add(self.order[2] * stride), s.compress(y, lanes));
            s.store(z.add(self.order[3] * stride), s.compress(even, lanes));
        }
    }
}

/// Any kernels: nine multiply-adds each.
impl<S: Isa> Filters<S> for &Stencil {
    #[inline(always)]
    unsafe fn apply(
        self,
        s: S,
        t: [S::V; 3],
        m: [S::V; 3],
        b: [S::V; 3],
        lanes: S::Select,
        z: *mut f32,
        stride: usize,
    ) {
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
            unsafe { s.store(z.add(k * stride), s.compress(v, lanes)) };
        }
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
