//! The linear system of one warp: data term and smoothness, by preconditioned conjugate gradients.

use super::image::Planes;

/// `(J + α·L + β) d = b` for two unknowns a pixel: J is the 2×2 tensor of each pixel, L the negative
/// five-point Laplacian of each component, with edges that reflect.
///
/// Symmetric and positive definite as long as `alpha` and `beta` are positive.
pub(super) struct System<'a> {
    pub(super) height: usize,
    pub(super) width: usize,
    /// J11, J12, J22, each `[H,W]`.
    pub(super) tensor: [&'a [f32]; 3],
    /// Weight of the smoothness.
    pub(super) alpha: f32,
    /// Weight of the length of the flow.
    pub(super) beta: f32,
}

/// Buffers of the solver, `[2,H,W]` each.
pub(super) struct Scratch {
    residual: Vec<f32>,
    preconditioned: Vec<f32>,
    direction: Vec<f32>,
    image: Vec<f32>,
}

impl Scratch {
    pub(super) fn new(height: usize, width: usize) -> Self {
        let zeros = || vec![0.0; 2 * height * width];
        Self {
            residual: zeros(),
            preconditioned: zeros(),
            direction: zeros(),
            image: zeros(),
        }
    }
}

impl System<'_> {
    /// `out = −L·flow` for one component.
    fn laplacian(&self, plane: &[f32], out: &mut [f32]) {
        let (height, width) = (self.height, self.width);
        for y in 0..height {
            let row = &plane[y * width..][..width];
            let above = &plane[y.saturating_sub(1) * width..][..width];
            let below = &plane[(y + 1).min(height - 1) * width..][..width];
            let out = &mut out[y * width..][..width];
            for x in 0..width {
                out[x] = above[x] + below[x] - 2.0 * row[x];
            }
            // A neighbour beyond the edge equals the pixel itself and adds nothing.
            if width > 1 {
                out[0] += row[1] - row[0];
                out[width - 1] += row[width - 2] - row[width - 1];
            }
            for (o, taps) in out.iter_mut().skip(1).zip(row.windows(3)) {
                *o += taps[0] + taps[2] - 2.0 * taps[1];
            }
        }
    }

    /// `b −= (α·L + β)·flow`: the priors are about the whole flow, the unknown is its change.
    pub(super) fn subtract_priors_of(&self, flow: &Planes, b: &mut [f32], scratch: &mut Scratch) {
        let area = self.height * self.width;
        let curvature = &mut scratch.image[..2 * area];
        for (plane, out) in flow.planes().zip(curvature.chunks_exact_mut(area)) {
            self.laplacian(plane, out);
        }
        for (b, (&c, &f)) in b.iter_mut().zip(curvature.iter().zip(&flow.data)) {
            *b += self.alpha * c - self.beta * f;
        }
    }

    /// `out = (J + α·L + β) d`.
    fn apply(&self, d: &[f32], out: &mut [f32]) {
        let area = self.height * self.width;
        let (du, dv) = d.split_at(area);
        let (out_u, out_v) = out.split_at_mut(area);
        self.laplacian(du, out_u);
        self.laplacian(dv, out_v);
        let [j11, j12, j22] = self.tensor;
        let (alpha, beta) = (self.alpha, self.beta);
        let (j11, j12, j22) = (&j11[..area], &j12[..area], &j22[..area]);
        for p in 0..area {
            out_u[p] = (j11[p] + beta) * du[p] + j12[p] * dv[p] - alpha * out_u[p];
            out_v[p] = j12[p] * du[p] + (j22[p] + beta) * dv[p] - alpha * out_v[p];
        }
    }

    /// `z = M⁻¹ r`, M being the 2×2 blocks on the diagonal.
    fn precondition(&self, r: &[f32], z: &mut [f32]) {
        let area = self.height * self.width;
        let (ru, rv) = r.split_at(area);
        let (zu, zv) = z.split_at_mut(area);
        let [j11, j12, j22] = self.tensor;
        let (j11, j12, j22, rv, zv) = (&j11[..area], &j12[..area], &j22[..area], &rv[..area], &mut zv[..area]);
        let own = 4.0 * self.alpha + self.beta;
        for p in 0..area {
            let (a, b, c) = (j11[p] + own, j12[p], j22[p] + own);
            let inverse = 1.0 / (a * c - b * b);
            zu[p] = (c * ru[p] - b * rv[p]) * inverse;
            zv[p] = (a * rv[p] - b * ru[p]) * inverse;
        }
    }

    /// Solves for `d`, starting at 0, with at most `iterations` steps or until the residual's norm
    /// (in the preconditioner's metric) has fallen to `tolerance` of the first. `b` zero gives
    /// exactly 0.
    pub(super) fn solve(&self, b: &[f32], d: &mut [f32], iterations: usize, tolerance: f64, scratch: &mut Scratch) {
        let len = b.len();
        let r = &mut scratch.residual[..len];
        let z = &mut scratch.preconditioned[..len];
        let p = &mut scratch.direction[..len];
        let q = &mut scratch.image[..len];
        d.fill(0.0);
        r.copy_from_slice(b);
        self.precondition(r, z);
        p.copy_from_slice(z);
        let mut rz = dot(r, z);
        let enough = rz * tolerance * tolerance;
        for _ in 0..iterations {
            // Also ends where the residual has vanished or left the finite numbers.
            if !(rz > enough && rz.is_finite()) {
                break;
            }
            self.apply(p, q);
            let curvature = dot(p, q);
            if curvature <= 0.0 {
                break;
            }
            let step = (rz / curvature) as f32;
            for i in 0..len {
                d[i] += step * p[i];
                r[i] -= step * q[i];
            }
            self.precondition(r, z);
            let next = dot(r, z);
            let keep = (next / rz) as f32;
            rz = next;
            for i in 0..len {
                p[i] = z[i] + keep * p[i];
            }
        }
    }
}

/// Inner product; the order of summation is fixed. Eight sums run side by side within a block, the
/// blocks are added in f64.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    const LANES: usize = 8;
    const BLOCK: usize = 512;
    let mut total = 0.0;
    for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
        let (a8, a_rest) = a.as_chunks::<LANES>();
        let (b8, b_rest) = b.as_chunks::<LANES>();
        let mut sums = [0.0_f32; LANES];
        for (a, b) in a8.iter().zip(b8) {
            for lane in 0..LANES {
                sums[lane] += a[lane] * b[lane];
            }
        }
        let rest = a_rest.iter().zip(b_rest).map(|(x, y)| x * y);
        total += sums.into_iter().chain(rest).map(f64::from).sum::<f64>();
    }
    total
}

#[cfg(test)]
mod tests {
    use nca_core::philox::{PhiloxRng, Stream};

    use super::*;

    #[test]
    fn solution_satisfies_the_system() {
        let (height, width) = (9, 14);
        let area = height * width;
        let mut rng = PhiloxRng::new(4, Stream::Test, 0);
        let (mut j11, mut j12, mut j22) = (vec![0.0; area], vec![0.0; area], vec![0.0; area]);
        for p in 0..area {
            let (gx, gy) = (rng.normal() as f32, rng.normal() as f32);
            (j11[p], j12[p], j22[p]) = (gx * gx, gx * gy, gy * gy);
        }
        let system = System {
            height,
            width,
            tensor: [&j11, &j12, &j22],
            alpha: 0.5,
            beta: 1e-3,
        };
        let b: Vec<f32> = (0..2 * area).map(|_| rng.normal() as f32).collect();
        let mut scratch = Scratch::new(height, width);
        let (mut d, mut image) = (vec![0.0; 2 * area], vec![0.0; 2 * area]);
        system.solve(&b, &mut d, 500, 1e-6, &mut scratch);
        system.apply(&d, &mut image);
        let error: f32 = image.iter().zip(&b).map(|(x, y)| (x - y).powi(2)).sum::<f32>().sqrt();
        let size: f32 = b.iter().map(|x| x * x).sum::<f32>().sqrt();
        // The asked 1e-6 is relative to the preconditioner's metric; its condition number is below 1e3.
        assert!(error < 1e-3 * size, "{error} of {size}");

        system.solve(&vec![0.0; 2 * area], &mut d, 500, 1e-6, &mut scratch);
        assert!(d.iter().all(|&v| v == 0.0));
    }

    #[test]
    fn operator_is_symmetric_and_positive() {
        let (height, width) = (5, 4);
        let area = height * width;
        let (j11, j12, j22) = (vec![2.0; area], vec![-1.0; area], vec![0.5; area]);
        let system = System {
            height,
            width,
            tensor: [&j11, &j12, &j22],
            alpha: 0.3,
            beta: 1e-3,
        };
        let mut rng = PhiloxRng::new(5, Stream::Test, 0);
        for _ in 0..20 {
            let x: Vec<f32> = (0..2 * area).map(|_| rng.normal() as f32).collect();
            let y: Vec<f32> = (0..2 * area).map(|_| rng.normal() as f32).collect();
            let (mut ax, mut ay) = (vec![0.0; 2 * area], vec![0.0; 2 * area]);
            system.apply(&x, &mut ax);
            system.apply(&y, &mut ay);
            // Sums of 40 products of numbers of size up to ten.
            assert!((dot(&ax, &y) - dot(&x, &ay)).abs() < 40.0 * 10.0 * f64::from(f32::EPSILON) * 10.0);
            assert!(dot(&ax, &x) > 0.0);
        }
    }
}
