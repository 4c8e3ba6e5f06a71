//! Planar images: blur, pyramid, derivative and warp, all with clamped edges.

/// Image planes `[P,H,W]`; pixels beyond the edge equal the nearest pixel of the image.
#[derive(Clone, Debug)]
pub(super) struct Planes {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) data: Vec<f32>,
}

impl Planes {
    pub(super) fn zeros(count: usize, height: usize, width: usize) -> Self {
        Self {
            height,
            width,
            data: vec![0.0; count * height * width],
        }
    }

    /// Pixels of one plane.
    pub(super) fn area(&self) -> usize {
        self.height * self.width
    }

    pub(super) fn planes(&self) -> std::slice::ChunksExact<'_, f32> {
        self.data.chunks_exact(self.area())
    }

    /// Half the size, rounded up: pixel `(y, x)` is the mean around `(2y, 2x)` weighted with `kernel`
    /// ([`gaussian`]).
    pub(super) fn halved(&self, kernel: &[f32]) -> Self {
        let (height, width) = (self.height.div_ceil(2), self.width.div_ceil(2));
        let mut blurred = self.data.clone();
        let mut scratch = vec![0.0; self.area()];
        let mut data = Vec::with_capacity(blurred.len() / 4);
        for plane in blurred.chunks_exact_mut(self.area()) {
            blur(plane, self.height, self.width, kernel, &mut scratch);
            for row in plane.chunks_exact(self.width).step_by(2) {
                data.extend(row.iter().step_by(2));
            }
        }
        Self { height, width, data }
    }

    /// Flow of a coarse level at the next finer one: bilinear, pixel `(y, x)` from `(y/2, x/2)`,
    /// vectors twice as long.
    pub(super) fn flow_at_double(&self, height: usize, width: usize) -> Self {
        let mut data = Vec::with_capacity(2 * height * width);
        for plane in self.planes() {
            let at = |y: usize, x: usize| plane[y.min(self.height - 1) * self.width + x.min(self.width - 1)];
            for y in 0..height {
                let (above, below) = (y / 2, y.div_ceil(2));
                for x in 0..width {
                    let (left, right) = (x / 2, x.div_ceil(2));
                    // Twice the mean of four.
                    data.push(0.5 * (at(above, left) + at(above, right) + at(below, left) + at(below, right)));
                }
            }
        }
        Self { height, width, data }
    }
}

/// Right half of a Gaussian of standard deviation `sigma` pixels, centre first, cut at 3σ, sum of
/// the whole kernel 1.
pub(super) fn gaussian(sigma: f64) -> Vec<f32> {
    let radius = (3.0 * sigma).ceil() as i32;
    let weight = |i: i32| (-0.5 * (f64::from(i) / sigma).powi(2)).exp();
    let sum: f64 = (-radius..=radius).map(weight).sum();
    (0..=radius).map(|i| (weight(i) / sum) as f32).collect()
}

/// Separable convolution of one plane `[H,W]` with a symmetric kernel, in place; `half` is its right
/// half, centre first. `scratch` has the plane's length.
pub(super) fn blur(plane: &mut [f32], height: usize, width: usize, half: &[f32], scratch: &mut [f32]) {
    let clamped = |i: isize, len: usize| i.clamp(0, len as isize - 1) as usize;
    // Columns: whole rows at a time, so that the inner loop runs along memory.
    for y in 0..height {
        let out = &mut scratch[y * width..][..width];
        for (o, &v) in out.iter_mut().zip(&plane[y * width..][..width]) {
            *o = half[0] * v;
        }
        for (distance, &weight) in half.iter().enumerate().skip(1) {
            let above = clamped(y as isize - distance as isize, height);
            let below = clamped(y as isize + distance as isize, height);
            let rows = plane[above * width..][..width]
                .iter()
                .zip(&plane[below * width..][..width]);
            for (o, (&a, &b)) in out.iter_mut().zip(rows) {
                *o += weight * (a + b);
            }
        }
    }
    // Rows: the interior without clamping, the edges with it.
    let radius = half.len() - 1;
    for (row, out) in scratch.chunks_exact(width).zip(plane.chunks_exact_mut(width)) {
        let interior = radius..width.saturating_sub(radius).max(radius);
        for x in (0..radius.min(width)).chain(interior.end.min(width)..width) {
            let mut sum = half[0] * row[x];
            for (distance, &weight) in half.iter().enumerate().skip(1) {
                let left = clamped(x as isize - distance as isize, width);
                let right = clamped(x as isize + distance as isize, width);
                sum += weight * (row[left] + row[right]);
            }
            out[x] = sum;
        }
        if width > 2 * radius {
            let count = width - 2 * radius;
            let inner = &mut out[radius..][..count];
            for (o, &v) in inner.iter_mut().zip(&row[radius..][..count]) {
                *o = half[0] * v;
            }
            for (distance, &weight) in half.iter().enumerate().skip(1) {
                let sides = row[radius - distance..][..count]
                    .iter()
                    .zip(&row[radius + distance..][..count]);
                for (o, (&a, &b)) in inner.iter_mut().zip(sides) {
                    *o += weight * (a + b);
                }
            }
        }
    }
}

/// Derivatives of one plane `[H,W]` to the right and downwards: the five-tap difference
/// [1 −8 0 8 −1]/12, exact for polynomials of degree four.
pub(super) fn derivatives(plane: &[f32], height: usize, width: usize, dx: &mut [f32], dy: &mut [f32]) {
    let difference = |a2: f32, a1: f32, b1: f32, b2: f32| ((b1 - a1) * 8.0 - (b2 - a2)) * (1.0 / 12.0);
    for y in 0..height {
        let row = &plane[y * width..][..width];
        let out = &mut dx[y * width..][..width];
        for x in (0..width.min(2)).chain(width.saturating_sub(2).max(2).min(width)..width) {
            let at = |offset: isize| row[(x as isize + offset).clamp(0, width as isize - 1) as usize];
            out[x] = difference(at(-2), at(-1), at(1), at(2));
        }
        for (o, taps) in out.iter_mut().skip(2).zip(row.windows(5)) {
            *o = difference(taps[0], taps[1], taps[3], taps[4]);
        }
        let row_at = |offset: isize| {
            let y = (y as isize + offset).clamp(0, height as isize - 1) as usize;
            &plane[y * width..][..width]
        };
        let (a2, a1, b1, b2) = (row_at(-2), row_at(-1), row_at(1), row_at(2));
        let out = &mut dy[y * width..][..width];
        for x in 0..width {
            out[x] = difference(a2[x], a1[x], b1[x], b2[x]);
        }
    }
}

/// Coefficients of the cubic B-spline through the pixels of `image`: the values c with
/// `(c[i−1] + 4c[i] + c[i+1])/6 = image[i]` along rows and columns, edges clamped (Unser, *Splines: a
/// perfect fit for signal and image processing*, 1999).
pub(super) fn spline_coefficients(image: &Planes) -> Planes {
    let (height, width) = (image.height, image.width);
    let mut coefficients = image.clone();
    let (down, right) = (elimination(height), elimination(width));
    for plane in coefficients.data.chunks_exact_mut(height * width) {
        for row in plane.chunks_exact_mut(width) {
            let mut last = 0.0;
            for (v, factor) in row.iter_mut().zip(&right) {
                last = (6.0 * *v - last) * factor;
                *v = last;
            }
            for (v, factor) in row.iter_mut().zip(&right).rev().skip(1) {
                last = *v - factor * last;
                *v = last;
            }
        }
        for v in &mut plane[..width] {
            *v *= 6.0 * down[0];
        }
        for y in 1..height {
            let (done, rest) = plane.split_at_mut(y * width);
            for (v, last) in rest[..width].iter_mut().zip(&done[(y - 1) * width..]) {
                *v = (6.0 * *v - last) * down[y];
            }
        }
        for y in (0..height - 1).rev() {
            let (rest, done) = plane.split_at_mut((y + 1) * width);
            for (v, last) in rest[y * width..].iter_mut().zip(&done[..width]) {
                *v -= down[y] * last;
            }
        }
    }
    coefficients
}

/// Inverse pivots of Gaussian elimination for the matrix with 4 on its diagonal, 1 beside it, and
/// 5 in both corners (a coefficient beyond the edge equals the last one).
fn elimination(len: usize) -> Vec<f32> {
    let mut inverse_pivots = Vec::with_capacity(len);
    let mut last = 0.0;
    for i in 0..len {
        let edges = f32::from(u8::from(i == 0)) + f32::from(u8::from(i + 1 == len));
        last = 1.0 / (4.0 + edges - last);
        inverse_pivots.push(last);
    }
    inverse_pivots
}

/// The spline of `coefficients` at `p + flow(p)`, clamped to the image; `trust [H,W]` is 1 where that
/// point lies inside the image and falls to 0 one pixel outside.
pub(super) fn warp(coefficients: &Planes, flow: &Planes, warped: &mut Planes, trust: &mut [f32]) {
    let (height, width, area) = (coefficients.height, coefficients.width, coefficients.area());
    let (us, vs) = flow.data.split_at(area);
    let (last_row, last_column) = ((height - 1) as f32, (width - 1) as f32);
    for y in 0..height {
        for x in 0..width {
            let p = y * width + x;
            let (px, py) = (x as f32 + us[p], y as f32 + vs[p]);
            let (cx, cy) = (px.clamp(0.0, last_column), py.clamp(0.0, last_row));
            trust[p] = (1.0 - (px - cx).abs()).max(0.0) * (1.0 - (py - cy).abs()).max(0.0);
            let (column, row) = (cx as usize, cy as usize);
            let (wx, wy) = (cubic_b_spline(cx - column as f32), cubic_b_spline(cy - row as f32));
            let columns = taps(column, width);
            let rows = taps(row, height).map(|r| r * width);
            for (plane, out) in coefficients.planes().zip(warped.data.chunks_exact_mut(area)) {
                let mut sum = 0.0;
                for (start, w) in rows.into_iter().zip(wy) {
                    let line = &plane[start..][..width];
                    let along: f32 = (0..4).map(|i| wx[i] * line[columns[i]]).sum();
                    sum += w * along;
                }
                out[p] = sum;
            }
        }
    }
}

/// Indices of the pixels one before to two after `first`, clamped.
fn taps(first: usize, len: usize) -> [usize; 4] {
    [
        first.saturating_sub(1),
        first,
        (first + 1).min(len - 1),
        (first + 2).min(len - 1),
    ]
}

/// Weights of the four coefficients around a point `t` in [0, 1) beyond the second.
fn cubic_b_spline(t: f32) -> [f32; 4] {
    let (s, sixth) = (1.0 - t, 1.0 / 6.0);
    [
        s * s * s * sixth,
        (4.0 + t * t * (3.0 * t - 6.0)) * sixth,
        (4.0 + s * s * (3.0 * s - 6.0)) * sixth,
        t * t * t * sixth,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(height: usize, width: usize) -> Vec<f32> {
        (0..height * width)
            .map(|p| (2 * (p % width)) as f32 + (3 * (p / width)) as f32)
            .collect()
    }

    /// The obvious blur, for every size down to ones smaller than the kernel.
    #[test]
    fn blur_is_the_clamped_convolution() {
        let half = gaussian(1.3);
        let radius = half.len() as isize - 1;
        for (height, width) in [(1, 1), (2, 9), (9, 2), (8, 8), (11, 13), (5, 30)] {
            let plane: Vec<f32> = (0..height * width).map(|p| ((p * 7919) % 101) as f32).collect();
            let at = |y: isize, x: isize| {
                let (y, x) = (y.clamp(0, height as isize - 1), x.clamp(0, width as isize - 1));
                f64::from(plane[y as usize * width + x as usize])
            };
            let mut blurred = plane.clone();
            blur(&mut blurred, height, width, &half, &mut vec![0.0; height * width]);
            for (p, &value) in blurred.iter().enumerate() {
                let (y, x) = ((p / width) as isize, (p % width) as isize);
                let mut expected = 0.0;
                for dy in -radius..=radius {
                    for dx in -radius..=radius {
                        let weight = half[dy.unsigned_abs()] * half[dx.unsigned_abs()];
                        expected += f64::from(weight) * at(y + dy, x + dx);
                    }
                }
                // Two sums of 2·radius + 1 products of numbers below 101.
                let tolerance = 101.0 * 4.0 * f64::from(f32::EPSILON) * (2 * radius + 1) as f64;
                assert!((f64::from(value) - expected).abs() < tolerance, "{height}×{width} {p}");
            }
        }
    }

    #[test]
    fn derivatives_of_a_plane_are_exact_inside() {
        let (height, width) = (9, 7);
        let (mut dx, mut dy) = (vec![0.0; 63], vec![0.0; 63]);
        derivatives(&ramp(height, width), height, width, &mut dx, &mut dy);
        for y in 2..height - 2 {
            for x in 2..width - 2 {
                assert!((dx[y * width + x] - 2.0).abs() < 1e-5);
                assert!((dy[y * width + x] - 3.0).abs() < 1e-5);
            }
        }
        // No memory is touched out of bounds and nothing is left unset in tiny images.
        for (height, width) in [(1, 1), (2, 3), (3, 2), (4, 4)] {
            let mut dx = vec![f32::NAN; height * width];
            let mut dy = dx.clone();
            derivatives(&ramp(height, width), height, width, &mut dx, &mut dy);
            assert!(dx.iter().chain(&dy).all(|v| v.is_finite()), "{height}×{width}");
        }
    }

    #[test]
    fn spline_passes_through_the_pixels() {
        for (height, width) in [(1, 1), (1, 5), (6, 1), (8, 9), (13, 11)] {
            let data: Vec<f32> = (0..2 * height * width)
                .map(|p| ((p * 7919) % 101) as f32 / 101.0)
                .collect();
            let image = Planes { height, width, data };
            let flow = Planes::zeros(2, height, width);
            let mut warped = Planes::zeros(2, height, width);
            let mut trust = vec![0.0; height * width];
            warp(&spline_coefficients(&image), &flow, &mut warped, &mut trust);
            for (a, b) in warped.data.iter().zip(&image.data) {
                // Two banded systems whose inverses have a norm of 3, two sums of four terms.
                assert!((a - b).abs() < 64.0 * f32::EPSILON, "{height}×{width}: {a} {b}");
            }
            assert!(trust.iter().all(|&t| t == 1.0));
        }
    }

    #[test]
    fn warp_shifts_a_wave() {
        let (height, width) = (16, 64);
        let wave = |x: f64| (std::f64::consts::TAU * x / 8.0).sin() as f32;
        let image = Planes {
            height,
            width,
            data: (0..height * width).map(|p| wave((p % width) as f64)).collect(),
        };
        let mut flow = Planes::zeros(2, height, width);
        flow.data[..height * width].fill(0.375);
        flow.data[height * width..].fill(-0.25);
        let mut warped = Planes::zeros(1, height, width);
        let mut trust = vec![0.0; height * width];
        warp(&spline_coefficients(&image), &flow, &mut warped, &mut trust);
        for x in 12..width - 12 {
            // The interpolant of a wave of period 8 is off by (2π/8)⁴/384 at most.
            let error = (warped.data[8 * width + x] - wave(x as f64 + 0.375)).abs();
            assert!(error < 1.1e-3, "{x}: {error}");
        }
        assert_eq!((trust[0], trust[height * width - 1]), (0.75, 0.625));
    }

    #[test]
    fn pyramid_keeps_places() {
        // A constant flow and a linear one survive halving the grid and doubling it again.
        for (height, width) in [(8_usize, 8_usize), (9, 12), (13, 11)] {
            let (h, w) = (height.div_ceil(2), width.div_ceil(2));
            let mut coarse = Planes::zeros(2, h, w);
            for p in 0..h * w {
                coarse.data[p] = (p % w) as f32;
                coarse.data[h * w + p] = (p / w) as f32;
            }
            let fine = coarse.flow_at_double(height, width);
            for p in 0..height * width {
                // At even sizes the last row and column lie beyond the coarse grid.
                let expected_x = (p % width).min(2 * (w - 1)) as f32;
                let expected_y = (p / width).min(2 * (h - 1)) as f32;
                assert_eq!((fine.data[p], fine.data[height * width + p]), (expected_x, expected_y));
            }
        }
    }
}
