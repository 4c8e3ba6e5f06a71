//! One perception kernel of each symmetry: what all presets have, whatever their weights.

// Vectors through pointers.
#![allow(unsafe_code)]

use super::super::simd::Isa;
use super::adjoint::{Four, Symmetric};
use super::stencil::{CENTRE, Coefficients, DIFFERENCE, Filters, M, P, Q, Rows, SUM, Three};

/// One kernel of each symmetry: the centre alone, odd in x, odd in y, even in both.
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

impl Classic {
    /// The form of these kernels, if it is this one.
    pub(super) fn of(basis: &[Coefficients]) -> Option<Self> {
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

    #[inline(always)]
    pub(super) fn splat<S: Isa>(&self, s: S) -> ClassicVectors<S> {
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

/// [`Classic`] in vectors.
#[derive(Clone, Copy)]
pub(super) struct ClassicVectors<S: Isa> {
    order: [usize; 4],
    centre: S::V,
    odd_x: [S::V; 2],
    odd_y: [S::V; 2],
    even: [S::V; 4],
}

/// What the last two rows give to the kernels at the last one and at the one below it.
#[derive(Clone, Copy)]
pub(super) struct ClassicCarry<S: Isa> {
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
        to: Rows<S>,
        rest: &mut Four<S>,
    ) -> ClassicCarry<S> {
        let next = self.carry(s, here, below);
        let seen = [
            s.mul(self.centre, here.centre),
            s.add(here.x[1], next.x[0]),
            s.sub(next.y[1], here.y[0]),
            s.add(here.even[1], next.even[0]),
        ];
        // SAFETY: the caller's condition.
        unsafe { append(s, self.order, seen, to, rest) };
        next
    }
}

/// Appends what kernels `order` see.
///
/// # Safety
/// The panel must have room for it.
#[inline(always)]
pub(super) unsafe fn append<S: Isa>(s: S, order: [usize; 4], seen: Four<S>, to: Rows<S>, rest: &mut Four<S>) {
    for ((kernel, v), rest) in order.into_iter().zip(seen).zip(rest) {
        // SAFETY: the caller's condition.
        unsafe { to.append(s, kernel, rest, v) };
    }
}

impl<S: Isa> Symmetric<S> for ClassicVectors<S> {
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
        let x = s.fma(self.odd_x[1], x_here, s.mul(self.odd_x[0], s.add(x_above, x_below)));
        let (y, even) = (s.sub(y_above, y_below), s.add(even_above, even_below));
        let sides = s.fma(self.even[2], even_here, s.mul(self.even[0], even));
        let sides = s.fma(self.odd_y[0], y, sides);
        let middle = s.fma(self.even[1], even, s.mul(self.centre, centre));
        let middle = s.fma(self.even[3], even_here, middle);
        [s.sub(sides, x), s.fma(self.odd_y[1], y, middle), s.add(sides, x)]
    }
}
