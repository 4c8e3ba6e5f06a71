//! The paper's perception kernels, in the fewest operations: the centre, Sobel in x and y, and a Laplacian that differs
//! from the outer product of `[1, 2, 1]` with itself at the centre alone.
//!
//! `[1, 2, 1]` down a column is `a + b` of each row and the next, twice, and what one kernel has summed up across a row, or
//! down a column, the others use.

// Vectors through pointers.
#![allow(unsafe_code)]

use super::super::simd::Isa;
use super::adjoint::{Four, Symmetric};
use super::classic::{Classic, append};
use super::stencil::{Filters, Rows, Three};

/// `[1, 2, 1]` in every direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sobel {
    /// Number of each kernel in the model: centre, x, y, Laplacian.
    order: [usize; 4],
    /// What the centre of the Laplacian has more than that of the outer product.
    surplus: f32,
}

impl Sobel {
    /// The form of these kernels, if it is this one.
    pub(super) fn of(classic: &Classic) -> Option<Self> {
        let Classic {
            order,
            centre,
            odd_x,
            odd_y,
            even: [corner, outer, neighbour, middle],
        } = *classic;
        let fits = centre == 1.0
            && odd_x == [1.0, 2.0]
            && odd_y == [1.0, 2.0]
            && [corner, outer, neighbour] == [1.0, 2.0, 2.0];
        fits.then_some(Self {
            order,
            surplus: middle - 4.0,
        })
    }

    #[inline(always)]
    pub(super) fn splat<S: Isa>(self, s: S) -> SobelVectors<S> {
        SobelVectors {
            order: self.order,
            two: s.splat(2.0),
            surplus: s.splat(self.surplus),
        }
    }
}

/// [`Sobel`] in vectors.
#[derive(Clone, Copy)]
pub(super) struct SobelVectors<S: Isa> {
    order: [usize; 4],
    two: S::V,
    surplus: S::V,
}

/// What the last two rows give.
#[derive(Clone, Copy)]
pub(super) struct SobelCarry<S: Isa> {
    centre: S::V,
    /// Right less left neighbour: of the last row, and of both together.
    slope: S::V,
    slopes: S::V,
    /// `[1, 2, 1]` across: of the last but one, of the last, and of both together.
    smooth: [S::V; 2],
    smooths: S::V,
}

impl<S: Isa> SobelVectors<S> {
    /// Slope and smoothing of a row.
    #[inline(always)]
    fn across(self, s: S, [left, centre, right]: Three<S>) -> [S::V; 2] {
        [s.sub(right, left), s.fma(self.two, centre, s.add(left, right))]
    }
}

impl<S: Isa> Filters<S> for SobelVectors<S> {
    type Carry = SobelCarry<S>;
    type Rest = Four<S>;

    #[inline(always)]
    fn nothing(self, s: S) -> Four<S> {
        [s.splat(0.0); 4]
    }

    #[inline(always)]
    fn rests(self, rest: Four<S>) -> impl Iterator<Item = (usize, S::V)> {
        self.order.into_iter().zip(rest)
    }

    #[inline(always)]
    fn start(self, s: S, above: Three<S>, first: Three<S>) -> SobelCarry<S> {
        let ([slope_above, smooth_above], [slope, smooth]) = (self.across(s, above), self.across(s, first));
        SobelCarry {
            centre: first[1],
            slope,
            slopes: s.add(slope_above, slope),
            smooth: [smooth_above, smooth],
            smooths: s.add(smooth_above, smooth),
        }
    }

    #[inline(always)]
    unsafe fn next(self, s: S, here: SobelCarry<S>, below: Three<S>, to: Rows<S>, rest: &mut Four<S>) -> SobelCarry<S> {
        let [slope, smooth] = self.across(s, below);
        let next = SobelCarry {
            centre: below[1],
            slope,
            slopes: s.add(here.slope, slope),
            smooth: [here.smooth[1], smooth],
            smooths: s.add(here.smooth[1], smooth),
        };
        let seen = [
            here.centre,
            s.add(here.slopes, next.slopes),
            s.sub(smooth, here.smooth[0]),
            s.fma(self.surplus, here.centre, s.add(here.smooths, next.smooths)),
        ];
        // SAFETY: the caller's condition.
        unsafe { append(s, self.order, seen, to, rest) };
        next
    }
}

impl<S: Isa> Symmetric<S> for SobelVectors<S> {
    #[inline(always)]
    fn order(self) -> [usize; 4] {
        self.order
    }

    #[inline(always)]
    fn give(self, s: S, [above, here, below]: [Four<S>; 3]) -> Three<S> {
        let [_, x_above, y_above, even_above] = above;
        let [centre, x_here, _, even_here] = here;
        let [_, x_below, y_below, even_below] = below;
        // A kernel seen from the other end is mirrored: odd ones change their sign.
        let x = s.fma(self.two, x_here, s.add(x_above, x_below));
        let even = s.fma(self.two, even_here, s.add(even_above, even_below));
        let sides = s.add(even, s.sub(y_above, y_below));
        let middle = s.fma(self.two, sides, s.fma(self.surplus, even_here, centre));
        [s.sub(sides, x), middle, s.add(sides, x)]
    }
}
