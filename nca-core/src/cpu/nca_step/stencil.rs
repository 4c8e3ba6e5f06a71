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
use super::classic::Classic;
use super::sobel::Sobel;
use super::tiling::Tile;
use crate::config::{NcaConfig, Padding};
use crate::perception::{Kernel, Perception};

/// Coefficients `[p, q, m] × [sum, difference, centre]`.
pub(super) type Coefficients = [[f32; 3]; 3];

pub(super) const SUM: usize = 0;
pub(super) const DIFFERENCE: usize = 1;
pub(super) const CENTRE: usize = 2;
pub(super) const P: usize = 0;
pub(super) const Q: usize = 1;
pub(super) const M: usize = 2;

/// The kernels of a model, prepared for the vector code.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stencil {
    pub(super) kernels: usize,
    pub(super) channels: usize,
    pub(super) padding: Padding,
    /// Every kernel as it is, for the adjoint.
    pub(super) taps: [[[f32; 3]; 3]; Perception::MAX_KERNELS],
    basis: [Coefficients; Perception::MAX_KERNELS],
    pub(super) form: Form,
}

/// How the kernels of a model are applied.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// Those of the paper.
    Sobel(Sobel),
    /// One of each usual symmetry: those of all other presets.
    Classic(Classic),
    /// Any others, tap by tap.
    Any,
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
            form: Form::Any,
        };
        for (k, kernel) in config.perception.kernels.iter().enumerate() {
            stencil.taps[k] = kernel.map(|row| row.map(|w| w as f32));
            stencil.basis[k] = coefficients(kernel);
        }
        if let Some(classic) = Classic::of(&stencil.basis[..stencil.kernels]) {
            stencil.form = Sobel::of(&classic).map_or(Form::Classic(classic), Form::Sobel);
        }
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

/// Left neighbours, cells and right neighbours of a vector of cells.
pub(super) type Three<S> = [<S as Isa>::V; 3];

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
    // SAFETY: the caller's condition.
    unsafe {
        match plan.stencil.form {
            Form::Sobel(sobel) => perceive_by(s, plan, tile, active, x, zeros, channels, z, sobel.splat(s)),
            Form::Classic(classic) => perceive_by(s, plan, tile, active, x, zeros, channels, z, classic.splat(s)),
            Form::Any => perceive_by(s, plan, tile, active, x, zeros, channels, z, &plan.stencil),
        }
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
            let mut rest = filters.nothing(s);
            for group in 0..active.groups() {
                let column = tile.x + active.column(group);
                rest = if column == 0 || column + S::LANES == width {
                    walk.down::<S, F, true>(s, active, group, column, z, rest, filters)
                } else {
                    walk.down::<S, F, false>(s, active, group, column, z, rest, filters)
                }
            }
            for (kernel, rest) in filters.rests(rest) {
                s.finish(z.start.add(kernel * z.ld), active.count, rest);
            }
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
        mut rest: F::Rest,
        filters: F,
    ) -> F::Rest {
        let (width, padding) = (self.width, self.padding);
        // SAFETY: the caller's condition.
        unsafe {
            let above = see::<S, EDGE>(s, self.above, column, width, padding);
            let first = see::<S, EDGE>(s, self.first, column, width, padding);
            let mut carry = filters.start(s, above, first);
            let last = active.height() - 1;
            for row in 0..last {
                let to = Rows::new(s, active, row, strip, z);
                let below = see::<S, EDGE>(s, self.first.add((row + 1) * width), column, width, padding);
                carry = filters.next(s, carry, below, to, &mut rest);
            }
            let to = Rows::new(s, active, last, strip, z);
            let below = see::<S, EDGE>(s, self.below, column, width, padding);
            filters.next(s, carry, below, to, &mut rest);
            rest
        }
    }
}

/// The rows of a panel, one for each kernel, that the active lanes of a vector of cells are appended to.
#[derive(Clone, Copy)]
pub(super) struct Rows<S: Isa> {
    z: Panel,
    packer: S::Packer,
    number: usize,
}

impl<S: Isa> Rows<S> {
    #[inline(always)]
    unsafe fn new(s: S, active: &Active<S>, row: usize, strip: usize, z: Panel) -> Self {
        // SAFETY: the caller's condition: a group of the tile.
        let (packer, number) = unsafe { active.packer(s, row, strip) };
        Self { z, packer, number }
    }

    /// Appends to the row of a kernel.
    ///
    /// # Safety
    /// The panel must have room for it.
    #[inline(always)]
    pub(super) unsafe fn append(self, s: S, kernel: usize, rest: &mut S::V, v: S::V) {
        // SAFETY: the caller's condition.
        *rest = unsafe {
            let to = self.z.start.add(kernel * self.z.ld);
            s.append(self.packer, to, self.number, *rest, v)
        };
    }
}

/// A way to apply all kernels to the vectors of a strip, one row after the other.
pub(super) trait Filters<S: Isa>: Copy {
    /// What is kept of the rows above.
    type Carry: Copy;
    /// [`Isa::append`]'s rest of every kernel.
    type Rest: Copy;

    /// Before anything is appended.
    fn nothing(self, s: S) -> Self::Rest;

    /// The rests, with the number of each kernel.
    fn rests(self, rest: Self::Rest) -> impl Iterator<Item = (usize, S::V)>;

    /// Begins with the row above the first and the first.
    fn start(self, s: S, above: Three<S>, first: Three<S>) -> Self::Carry;

    /// Given the row `below` it, appends what the kernels see at a row.
    ///
    /// # Safety
    /// The panel must have room for it.
    unsafe fn next(self, s: S, carry: Self::Carry, below: Three<S>, to: Rows<S>, rest: &mut Self::Rest) -> Self::Carry;
}

/// Any kernels: nine multiply-adds each.
impl<S: Isa> Filters<S> for &Stencil {
    /// The rows themselves.
    type Carry = [Three<S>; 2];
    type Rest = [S::V; Perception::MAX_KERNELS];

    #[inline(always)]
    fn nothing(self, s: S) -> Self::Rest {
        [s.splat(0.0); Perception::MAX_KERNELS]
    }

    #[inline(always)]
    fn rests(self, rest: Self::Rest) -> impl Iterator<Item = (usize, S::V)> {
        rest.into_iter().take(self.kernels).enumerate()
    }

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
        to: Rows<S>,
        rest: &mut Self::Rest,
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
            unsafe { to.append(s, k, &mut rest[k], v) };
        }
        [m, b]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::Preset;

    /// What the form of a preset's kernels is called.
    fn form(preset: Preset) -> &'static str {
        match Stencil::new(&NcaConfig::preset(preset, 3, 4).unwrap()).form {
            Form::Sobel(_) => "sobel",
            Form::Classic(_) => "classic",
            Form::Any => "any",
        }
    }

    #[test]
    fn presets_have_forms() {
        let forms = Preset::ALL.map(|preset| (preset, form(preset)));
        let expected = Preset::ALL.map(|preset| match preset {
            Preset::Paper => (preset, "sobel"),
            _ => (preset, "classic"),
        });
        assert_eq!(forms, expected);
    }

    #[test]
    fn a_kernel_without_symmetry_has_none() {
        let mut config = NcaConfig::preset(Preset::Paper, 3, 4).unwrap();
        config.perception.kernels[1][0][1] = 0.5;
        assert!(matches!(Stencil::new(&config).form, Form::Any));
    }

    /// Any weight that the short cuts of the paper's kernels take for granted.
    #[test]
    fn other_weights_are_not_the_papers() {
        for (kernel, y, x) in [
            (0, 1, 1),
            (1, 0, 2),
            (1, 1, 2),
            (2, 2, 0),
            (2, 2, 1),
            (3, 0, 0),
            (3, 0, 1),
            (3, 1, 0),
        ] {
            let mut config = NcaConfig::preset(Preset::Paper, 3, 4).unwrap();
            // And its mirror images, so that the kernel keeps its symmetry.
            let places = BTreeSet::from([(y, x), (2 - y, x), (y, 2 - x), (2 - y, 2 - x)]);
            for (y, x) in places {
                config.perception.kernels[kernel][y][x] *= 1.5;
            }
            assert!(matches!(Stencil::new(&config).form, Form::Classic(_)), "{config:?}");
        }
        // The centre of the Laplacian may be anything.
        let mut config = NcaConfig::preset(Preset::Paper, 3, 4).unwrap();
        config.perception.kernels[3][1][1] = -8.0;
        assert!(matches!(Stencil::new(&config).form, Form::Sobel(_)));
    }
}
