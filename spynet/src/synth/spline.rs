//! Weights of cubic kernels at a fraction of a cell.

/// Cubic B-spline: smooth (twice differentiable), positive, not interpolating.
pub(super) fn weights(t: f32) -> [f32; 4] {
    let (t2, t3, s) = (t * t, t * t * t, 1.0 - t);
    [
        s * s * s * (1.0 / 6.0),
        0.5 * t3 - t2 + 2.0 / 3.0,
        -0.5 * t3 + 0.5 * t2 + 0.5 * t + 1.0 / 6.0,
        t3 * (1.0 / 6.0),
    ]
}

/// The same in double precision, and its derivative.
pub(super) fn weights_and_slopes(t: f64) -> [[f64; 4]; 2] {
    let (t2, t3, s) = (t * t, t * t * t, 1.0 - t);
    [
        [
            s * s * s / 6.0,
            0.5 * t3 - t2 + 2.0 / 3.0,
            -0.5 * t3 + 0.5 * t2 + 0.5 * t + 1.0 / 6.0,
            t3 / 6.0,
        ],
        [-0.5 * s * s, 1.5 * t2 - 2.0 * t, -1.5 * t2 + t + 0.5, 0.5 * t2],
    ]
}

/// Catmull–Rom: passes through the samples, differentiable once.
pub(super) fn interpolating(t: f32) -> [f32; 4] {
    let (t2, t3) = (t * t, t * t * t);
    [
        0.5 * (-t3 + 2.0 * t2 - t),
        0.5 * (3.0 * t3 - 5.0 * t2 + 2.0),
        0.5 * (-3.0 * t3 + 4.0 * t2 + t),
        0.5 * (t3 - t2),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_reproduce_constants_and_lines() {
        for t in [0.0_f32, 0.125, 0.5, 0.9] {
            let [double, slopes] = weights_and_slopes(f64::from(t));
            for w in [weights(t), interpolating(t), double.map(|w| w as f32)] {
                let line: f32 = w.iter().zip([-1.0, 0.0, 1.0, 2.0]).map(|(w, x)| w * x).sum();
                let one = w.iter().sum::<f32>();
                assert!((one - 1.0).abs() < 1e-6 && (line - t).abs() < 1e-6, "{w:?}");
            }
            let slope: f64 = slopes.iter().zip([-1.0, 0.0, 1.0, 2.0]).map(|(w, x)| w * x).sum();
            assert!(slopes.iter().sum::<f64>().abs() < 1e-15 && (slope - 1.0).abs() < 1e-15);
        }
        assert_eq!(interpolating(0.0), [0.0, 1.0, 0.0, 0.0]);
    }
}
