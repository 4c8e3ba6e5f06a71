//! Directions of patch space in which an exemplar varies about equally.

use nca_core::philox::PhiloxRng;

/// Share of the mean variance of a pixel that is added to every direction's.
///
/// Directions in which the exemplar's patches vary less than this are not amplified further: fully
/// whitened, the distance would be one of details that nobody sees.
const DAMPING: f64 = 0.3;
/// Most windows along an axis that the covariance is estimated from.
const MAX_WINDOWS: usize = 64;

/// A picture `[3,H,W]` in f64.
pub(super) struct Planes {
    height: usize,
    width: usize,
    rgb: Vec<f64>,
}

impl Planes {
    pub(super) fn new(height: usize, width: usize, rgb: &[f32]) -> Self {
        Self {
            height,
            width,
            rgb: rgb.iter().map(|&v| f64::from(v)).collect(),
        }
    }

    /// Means of 2×2 blocks.
    pub(super) fn halved(&self) -> Self {
        let (height, width) = (self.height / 2, self.width / 2);
        let mut rgb = Vec::with_capacity(3 * height * width);
        for plane in self.rgb.chunks_exact(self.height * self.width) {
            for cell in 0..height * width {
                let corner = cell / width * 2 * self.width + cell % width * 2;
                let below = corner + self.width;
                rgb.push((plane[corner] + plane[corner + 1] + plane[below] + plane[below + 1]) / 4.0);
            }
        }
        Self { height, width, rgb }
    }

    /// The k × k window at `(y, x)` as a vector of 3k² values, in the order of a filter's weights.
    fn window(&self, patch: usize, y: usize, x: usize, vector: &mut Vec<f64>) {
        vector.clear();
        for plane in self.rgb.chunks_exact(self.height * self.width) {
            for row in plane.chunks_exact(self.width).skip(y).take(patch) {
                vector.extend_from_slice(&row[x..x + patch]);
            }
        }
    }
}

/// The damped covariance Σ + (0.3·tr Σ/n + noise)·I of a picture's patches, n = 3k², as its Cholesky
/// factor.
pub(super) struct Whitening {
    n: usize,
    /// Lower triangle L of the factorisation LLᵀ, row-major.
    factor: Vec<f64>,
}

impl Whitening {
    /// Of all k × k windows of `picture`, or of an even part of them where they are many. `noise`,
    /// the variance that a pixel's rounding adds, must be positive.
    pub(super) fn of(picture: &Planes, patch: usize, noise: f64) -> Self {
        let n = 3 * patch * patch;
        let (rows, columns) = (picture.height + 1 - patch, picture.width + 1 - patch);
        let stride = |windows: usize| windows.div_ceil(MAX_WINDOWS);
        let (mut sum, mut products) = (vec![0.0; n], vec![0.0; n * n]);
        let (mut count, mut vector) = (0.0, Vec::with_capacity(n));
        for y in (0..rows).step_by(stride(rows)) {
            for x in (0..columns).step_by(stride(columns)) {
                picture.window(patch, y, x, &mut vector);
                for (i, &a) in vector.iter().enumerate() {
                    sum[i] += a;
                    for (p, &b) in products[i * n..].iter_mut().zip(&vector[..=i]) {
                        *p += a * b;
                    }
                }
                count += 1.0;
            }
        }
        for i in 0..n {
            for j in 0..=i {
                let product = &mut products[i * n + j];
                *product = *product / count - sum[i] / count * (sum[j] / count);
            }
        }
        let trace: f64 = (0..n).map(|i| products[i * n + i].max(0.0)).sum();
        for i in 0..n {
            products[i * n + i] += DAMPING * trace / n as f64 + noise;
        }
        cholesky(n, &mut products);
        Self { n, factor: products }
    }

    /// A random direction w = L⁻ᵀg, g standard normal: the patches' projections wᵀx have a variance
    /// of about ‖g‖²/n, less where damping counts.
    pub(super) fn direction(&self, rng: &mut PhiloxRng) -> Vec<f64> {
        let (n, l) = (self.n, &self.factor);
        let scale = 1.0 / (n as f64).sqrt();
        let mut w: Vec<f64> = (0..n).map(|_| scale * rng.normal()).collect();
        for i in (0..n).rev() {
            let done: f64 = (i + 1..n).map(|j| l[j * n + i] * w[j]).sum();
            w[i] = (w[i] - done) / l[i * n + i];
        }
        w
    }
}

/// Replaces the lower triangle of a symmetric positive definite n × n matrix by its Cholesky factor.
fn cholesky(n: usize, a: &mut [f64]) {
    for j in 0..n {
        for i in j..n {
            let (row_i, row_j) = (&a[i * n..i * n + j], &a[j * n..j * n + j]);
            let rest = a[i * n + j] - row_i.iter().zip(row_j).map(|(x, y)| x * y).sum::<f64>();
            a[i * n + j] = if i == j { rest.sqrt() } else { rest / a[j * n + j] };
        }
    }
}

#[cfg(test)]
mod tests {
    use nca_core::philox::Stream;

    use super::*;
    use crate::exemplar::Exemplar;

    #[test]
    fn the_factor_is_that_of_the_covariance() {
        // [[4, 2, 2], [2, 5, 3], [2, 3, 6]] = L Lᵀ with L = [[2], [1, 2], [1, 1, 2]].
        let mut a = [4.0, 0.0, 0.0, 2.0, 5.0, 0.0, 2.0, 3.0, 6.0];
        cholesky(3, &mut a);
        assert_eq!(a, [2.0, 0.0, 0.0, 1.0, 2.0, 0.0, 1.0, 1.0, 2.0]);
    }

    /// Without damping every direction would have variance ‖g‖²/n, about 1; with it, at most that.
    #[test]
    fn patches_vary_as_much_in_every_direction() {
        const PATCH: usize = 5;
        let texture = Exemplar::Chequered.render(48, 0).unwrap();
        let picture = Planes::new(48, 48, &texture.rgb);
        let whitening = Whitening::of(&picture, PATCH, 1e-6);
        let mut rng = PhiloxRng::new(0, Stream::Test, 0);
        let mut vector = Vec::new();
        for _ in 0..20 {
            let w = whitening.direction(&mut rng);
            let mut projections = Vec::new();
            for y in 0..=48 - PATCH {
                for x in 0..=48 - PATCH {
                    picture.window(PATCH, y, x, &mut vector);
                    projections.push(w.iter().zip(&vector).map(|(w, v)| w * v).sum::<f64>());
                }
            }
            let mean = projections.iter().sum::<f64>() / projections.len() as f64;
            let variance = projections.iter().map(|p| (p - mean).powi(2)).sum::<f64>() / projections.len() as f64;
            // ‖g‖²/n is 1 ± √(2/75); five of those.
            assert!((0.1..1.0 + 5.0 * 0.163).contains(&variance), "{variance}");
        }
    }

    #[test]
    fn a_flat_picture_has_directions_too() {
        let whitening = Whitening::of(&Planes::new(9, 9, &[0.5; 243]), 7, 1e-6);
        let w = whitening.direction(&mut PhiloxRng::new(0, Stream::Test, 0));
        assert!(w.iter().all(|v| v.is_finite()));
    }

    #[test]
    fn halves_are_block_means() {
        let rgb: Vec<f32> = (0..27).map(|i| i as f32).collect();
        let half = Planes::new(3, 3, &rgb).halved();
        assert_eq!((half.height, half.width, half.rgb), (1, 1, vec![2.0, 11.0, 20.0]));
    }
}
