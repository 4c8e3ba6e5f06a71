//! Optical flow without learned weights.
//!
//! # Method
//! Lucas and Kanade's least squares over small windows, made dense by Horn and Schunck's smoothness
//! (Bruhn, Weickert & Schnörr, *Lucas/Kanade Meets Horn/Schunck: Combining Local and Global Optic
//! Flow Methods*, IJCV 2005), coarse to fine with warping (Brox, Bruhn, Papenberg & Weickert, *High
//! Accuracy Optical Flow Estimation Based on a Theory for Warping*, ECCV 2004).
//!
//! Both frames become pyramids: level l has half the size of level l − 1, and each is blurred by the
//! same Gaussian in its own pixels, so that nothing finer than its grid is left. From the coarsest
//! level to the finest, and [`WARPS`] times on each, the second frame is warped back by the flow
//! `w = (u, v)` found so far, and the change `d` is found that minimises
//!
//! ```text
//! Σ_pixels  G ∗ t·Σ_colours (∇I·d + I_t)²  +  α·|∇(w + d)|²  +  β·|w + d|²
//! α = σ²·STIFFNESS + s·SMOOTHNESS        β = 4ˡ·(σ²·REST + s·STILLNESS)
//! ```
//!
//! G is a Gaussian window, `I_t` the difference of the frames, ∇I the gradient of their mean, t the
//! trust in a pixel (0 where the flow leaves the image). The unknown is a sparse, symmetric, positive
//! definite system, solved by conjugate gradients.
//!
//! **σ², the mean of I_t², is what the flow does not explain**, and it sets how stiff the flow is:
//! with σ² as the variance of noise, the two priors are those of a flow whose derivatives have the
//! variance 1/`STIFFNESS` and whose length has 1/`REST`. So frames that differ by motion alone are
//! followed in detail, and independent noise is averaged over wide areas instead of being fitted.
//! s, the mean squared derivative of the finest level, keeps the result independent of contrast.
//!
//! # Properties
//! Identical frames give exactly 0: the right-hand side is 0. Every frame gives finite numbers. The
//! result of a pair does not depend on its batch nor on the number of threads.
//!
//! # Cost
//! O(HW): about 4/3 · `WARPS` warps, windows and solutions of the finest grid; some 15 ms for a pair
//! of 128×128 on one core. Memory: about 40 floats a pixel and thread.
//!
//! # What is hard
//! * Along an edge or a stripe nothing can be seen (the aperture problem): the flow there is the
//!   smoothest one that fits its surroundings, ultimately the shortest.
//! * A periodic texture looks the same after one period. Motions below about 0.4 periods are found;
//!   beyond a half the wrong multiple is as good as the right one.
//! * Frames that have nothing in common still have a best match. Two frames of independent noise
//!   give about a pixel.
//! * Motion boundaries are smoothed over a few pixels; structures that move against their
//!   surroundings and are smaller than their motion are lost.

mod image;
mod solve;

use nca_core::backend::check;
use nca_core::{Error, Grid, Result};
use rayon::prelude::*;

use crate::estimator::FlowEstimator;
use image::{Planes, blur, derivatives, gaussian, spline_coefficients, warp};
use solve::{Scratch, System};

/// Colours of a frame.
const COLORS: usize = 3;

/// Standard deviation of the blur of every level, in its own pixels.
const BLUR: f64 = 0.8;
/// Standard deviation of the window G, in pixels.
const WINDOW: f64 = 2.0;
/// Levels are added while they have at least so many rows and columns.
const COARSEST: usize = 8;
/// Warps on each level.
const WARPS: usize = 3;
/// Largest change of a flow component by one warp, in pixels: linearisation reaches no further.
const LARGEST_CHANGE: f32 = 1.0;

/// Inverse variance of the flow's derivatives, against unexplained differences.
const STIFFNESS: f64 = 40.0;
/// Inverse variance of the flow's length in pixels of the finest level, against unexplained
/// differences.
const REST: f64 = 0.01;
/// Weight of smoothness where everything is explained, in units of the mean squared derivative.
const SMOOTHNESS: f64 = 0.03;
/// Weight of no motion where everything is explained, in the same units: enough to overrule the
/// traces of a fine texture that halving leaves on coarse levels.
const STILLNESS: f64 = 1e-5;
/// Added to the mean squared derivative, so that frames of one colour give a regular system.
const LEAST_CONTRAST: f64 = 1e-5;
/// On coarse levels, trust in the [`EDGE`] outermost pixels, whose blur is made of clamped pixels: a
/// texture too fine for the level leaves a false structure there that stays when the texture moves.
const EDGE_TRUST: f32 = 0.01;
/// Pixels that [`EDGE_TRUST`] holds for.
const EDGE: usize = 2;

/// Most iterations of the solver, and the factor by which it reduces the error.
const SOLVER: (usize, f64) = (20, 0.03);

/// Pyramidal least-squares flow with smoothness; no weights, no settings. Edges are clamped.
///
/// Colours are clipped to `[0, 1]`.
///
/// Its error for translations of textures is a few hundredths of a pixel; see the head of its source
/// for the method, its sources and its limits.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Classical;

impl FlowEstimator for Classical {
    fn name(&self) -> &'static str {
        "classical"
    }

    /// # Errors
    /// When a frame has the wrong length or is not finite, or the grid has no pixels.
    fn flow(&self, grid: Grid, first: &[f32], second: &[f32]) -> Result<Vec<f32>> {
        if grid.plane() == 0 {
            return Err(Error::invalid(
                "size of the frames",
                format!("{}×{}", grid.width, grid.height),
                "at least 1×1",
            ));
        }
        for (what, frames) in [("first frame", first), ("second frame", second)] {
            let sizes = [COLORS, grid.batch, grid.height, grid.width];
            check::shape("classical flow", what, frames.len(), &sizes)?;
            if let Some(index) = frames.iter().position(|v| !v.is_finite()) {
                return Err(Error::invalid(
                    format!("element {index} of the {what}"),
                    frames[index],
                    "a colour from 0 to 1",
                ));
            }
        }
        let frame = COLORS * grid.plane();
        let mut flow = vec![0.0; 2 * grid.cells()];
        flow.par_chunks_mut(2 * grid.plane())
            .zip(first.par_chunks(frame).zip(second.par_chunks(frame)))
            .for_each(|(flow, (first, second))| {
                flow.copy_from_slice(&flow_of_pair(grid.height, grid.width, first, second));
            });
        Ok(flow)
    }
}

/// `first`, `second` `[3,H,W]` → `[2,H,W]`.
fn flow_of_pair(height: usize, width: usize, first: &[f32], second: &[f32]) -> Vec<f32> {
    let first = pyramid(height, width, first);
    let second = pyramid(height, width, second);
    let contrast = 0.5 * (mean_squared_derivative(&first[0]) + mean_squared_derivative(&second[0])) + LEAST_CONTRAST;
    let coarsest = &first[first.len() - 1];
    let mut flow = Planes::zeros(2, coarsest.height, coarsest.width);
    for (level, (first, second)) in first.iter().zip(&second).enumerate().rev() {
        if (flow.height, flow.width) != (first.height, first.width) {
            flow = flow.flow_at_double(first.height, first.width);
        }
        Refinement::new(first, second, level, contrast).run(&mut flow);
    }
    flow.data
}

/// The blurred frame and its halvings, finest first.
fn pyramid(height: usize, width: usize, frame: &[f32]) -> Vec<Planes> {
    let mut finest = Planes {
        height,
        width,
        data: frame.iter().map(|v| v.clamp(0.0, 1.0)).collect(),
    };
    let kernel = gaussian(BLUR);
    let mut scratch = vec![0.0; height * width];
    for plane in finest.data.chunks_exact_mut(height * width) {
        blur(plane, height, width, &kernel, &mut scratch);
    }
    // Variances add up and halving divides them by four: (b² + 3b²)/4 = b².
    let kernel = gaussian(BLUR * 3.0_f64.sqrt());
    let mut levels = vec![finest];
    while let Some(last) = levels.last()
        && last.height.min(last.width).div_ceil(2) >= COARSEST
    {
        let next = last.halved(&kernel);
        levels.push(next);
    }
    levels
}

/// Of both components and all colours.
fn mean_squared_derivative(image: &Planes) -> f64 {
    let area = image.area();
    let (mut dx, mut dy) = (vec![0.0; area], vec![0.0; area]);
    let mut sum = 0.0;
    for plane in image.planes() {
        derivatives(plane, image.height, image.width, &mut dx, &mut dy);
        sum += dx.iter().chain(&dy).map(|&v| f64::from(v * v)).sum::<f64>();
    }
    0.5 * sum / area as f64
}

/// The work on one level.
struct Refinement {
    level: usize,
    contrast: f64,
    window: Vec<f32>,
    /// First frame, through the same spline as the warped second one: equal frames stay equal.
    first: Planes,
    /// Spline coefficients of the second frame.
    second: Planes,
    warped: Planes,
    trust: Vec<f32>,
    /// J11, J12, J22 of the tensor, then both components of the right-hand side: `[5,H,W]`.
    normal: Planes,
    change: Vec<f32>,
    solver: Scratch,
}

impl Refinement {
    fn new(first: &Planes, second: &Planes, level: usize, contrast: f64) -> Self {
        let (height, width, area) = (first.height, first.width, first.area());
        let mut through_spline = Planes::zeros(COLORS, height, width);
        let mut trust = vec![0.0; area];
        let no_flow = Planes::zeros(2, height, width);
        warp(&spline_coefficients(first), &no_flow, &mut through_spline, &mut trust);
        Self {
            level,
            contrast,
            window: gaussian(WINDOW),
            first: through_spline,
            second: spline_coefficients(second),
            warped: Planes::zeros(COLORS, height, width),
            trust,
            normal: Planes::zeros(5, height, width),
            change: vec![0.0; 2 * area],
            solver: Scratch::new(height, width),
        }
    }

    /// Improves `flow`.
    fn run(&mut self, flow: &mut Planes) {
        let (height, width, area) = (flow.height, flow.width, flow.area());
        for _ in 0..WARPS {
            warp(&self.second, flow, &mut self.warped, &mut self.trust);
            if self.level > 0 {
                distrust_edges(height, width, &mut self.trust);
            }
            let unexplained = self.normal_equations();
            let finer_pixels = 4_f64.powi(self.level as i32);
            let alpha = STIFFNESS * unexplained + SMOOTHNESS * self.contrast;
            let beta = finer_pixels * (REST * unexplained + STILLNESS * self.contrast);
            let (tensor, right) = self.normal.data.split_at_mut(3 * area);
            let system = System {
                height,
                width,
                tensor: [&tensor[..area], &tensor[area..2 * area], &tensor[2 * area..]],
                alpha: alpha as f32,
                beta: beta as f32,
            };
            system.subtract_priors_of(flow, right, &mut self.solver);
            let (iterations, reduction) = SOLVER;
            system.solve(right, &mut self.change, iterations, reduction, &mut self.solver);
            for (f, d) in flow.data.iter_mut().zip(&self.change) {
                *f += d.clamp(-LARGEST_CHANGE, LARGEST_CHANGE);
            }
        }
    }

    /// Fills `normal`; returns the mean over pixels and colours of the squared difference between the
    /// first frame and the warped second one.
    fn normal_equations(&mut self) -> f64 {
        let (height, width, area) = (self.first.height, self.first.width, self.first.area());
        let (mut mean, mut dx, mut dy) = (vec![0.0; area], vec![0.0; area], vec![0.0; area]);
        let mut squares = 0.0;
        self.normal.data.fill(0.0);
        let (xx, rest) = self.normal.data.split_at_mut(area);
        let (xy, rest) = rest.split_at_mut(area);
        let (yy, rest) = rest.split_at_mut(area);
        let (right_x, right_y) = rest.split_at_mut(area);
        for (first, second) in self.first.planes().zip(self.warped.planes()) {
            for (m, (a, b)) in mean.iter_mut().zip(first.iter().zip(second)) {
                *m = 0.5 * (a + b);
            }
            derivatives(&mean, height, width, &mut dx, &mut dy);
            let mut squares_of_color = 0.0;
            for p in 0..area {
                let (weight, x, y) = (self.trust[p], dx[p], dy[p]);
                let difference = first[p] - second[p];
                xx[p] += weight * x * x;
                xy[p] += weight * x * y;
                yy[p] += weight * y * y;
                right_x[p] += weight * x * difference;
                right_y[p] += weight * y * difference;
                squares_of_color += weight * difference * difference;
            }
            squares += f64::from(squares_of_color);
        }
        for plane in self.normal.data.chunks_exact_mut(area) {
            blur(plane, height, width, &self.window, &mut mean);
        }
        squares / (COLORS * area) as f64
    }
}

/// Scales the trust in the outermost pixels `[H,W]` by [`EDGE_TRUST`].
fn distrust_edges(height: usize, width: usize, trust: &mut [f32]) {
    let outer = |i: usize, len: usize| i < EDGE || i + EDGE >= len;
    for (y, row) in trust.chunks_exact_mut(width).enumerate() {
        for (x, t) in row.iter_mut().enumerate() {
            if outer(y, height) || outer(x, width) {
                *t *= EDGE_TRUST;
            }
        }
    }
}
