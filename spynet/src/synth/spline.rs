//! Weights of cubic kernels at a fraction of a cell.

/// Cubic B-spline: smooth (twice differentiable), positive, not interpolating.
pub(super) fn weights(t: f64) -> [f64; 4] {
    let (t2, t3) = (t * t, t * t * t);
    [
        (1.0 - t).powi(3) / 6.0,
        (3.0 * t3 - 6.0 * t2 + 4.0) / 6.0,
        (-3.0 * t3 + 3.0 * t2 + 3.0 * t + 1.0) / 6.0,
        t3 / 6.0,
    ]
}

/// Catmull–Rom: passes through the samples, differentiable once.
pub(super) fn interpolating(t: f64) -> [f64; 4] {
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
    fn both_reproduce_constants_and_lines() {
        for t in [0.0, 0.125, 0.5, 0.9] {
            for w in [weights(t), interpolating(t)] {
                let line: f64 = w.iter().zip([-1.0, 0.0, 1.0, 2.0]).map(|(w, x)| w * x).sum();
                assert!((w.iter().sum::<f64>() - 1.0).abs() < 1e-15 && (line - t).abs() < 1e-15);
            }
        }
        assert_eq!(interpolating(0.0), [0.0, 1.0, 0.0, 0.0]);
    }
}
