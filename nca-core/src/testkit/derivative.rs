//! Gradients against central differences.

use super::cases::numbers;
use super::compare::Mismatch;
use crate::error::Result;

/// Steps tried; the best one counts. Long ones cross kinks and bend, short ones drown in rounding.
const STEPS: [f64; 4] = [1e-5, 1e-6, 1e-7, 1e-8];
/// Largest relative error of a directional derivative.
const RELATIVE: f64 = 1e-6;

/// Checks `g_x`, the gradient of `Σ g_y·forward(x)` at `x`, in f64.
///
/// The derivative along the gradient itself sees its length, the one along a random direction
/// everything else. Directions have a root mean square of 1. `x` must be away from kinks.
pub fn check_gradient(
    op: &'static str,
    output: &'static str,
    x: &[f64],
    g_x: &[f64],
    g_y: &[f64],
    forward: impl Fn(&[f64]) -> Result<Vec<f64>>,
) -> Result<(), Mismatch> {
    if g_x.len() != x.len() {
        return Err(Mismatch::Rule {
            op,
            rule: format!("{output} has {} elements, expected {}", g_x.len(), x.len()),
        });
    }
    // What rounding alone makes of a difference quotient with the longest step.
    let y = forward(x)?;
    let noise = f64::EPSILON * y.iter().zip(g_y).map(|(y, g)| (y * g).abs()).sum::<f64>() / STEPS[0];
    for (index, direction) in [unit(g_x), unit(&numbers(0, 0, x.len()))].into_iter().enumerate() {
        let want: f64 = g_x.iter().zip(&direction).map(|(g, d)| g * d).sum();
        let allowed = RELATIVE * want.abs() + noise;
        let mut got = f64::NAN;
        for step in STEPS {
            let moved =
                |sign: f64| -> Vec<f64> { x.iter().zip(&direction).map(|(x, d)| x + sign * step * d).collect() };
            let (above, below) = (forward(&moved(1.0))?, forward(&moved(-1.0))?);
            let rise: f64 = g_y
                .iter()
                .zip(above.iter().zip(below))
                .map(|(g, (a, b))| g * (a - b))
                .sum();
            let slope = rise / (2.0 * step);
            if got.is_nan() || (slope - want).abs() < (got - want).abs() {
                got = slope;
            }
        }
        // `got` is what the backward claims here, the difference quotient is the oracle.
        let near = (want - got).abs() <= allowed;
        if !near {
            return Err(Mismatch::Value {
                op,
                output,
                index,
                got: want,
                want: got,
                allowed,
            });
        }
    }
    Ok(())
}

/// `v` scaled to a root mean square of 1; zeros stay.
fn unit(v: &[f64]) -> Vec<f64> {
    let rms = (v.iter().map(|v| v * v).sum::<f64>() / v.len().max(1) as f64).sqrt();
    let scale = if rms > 0.0 { 1.0 / rms } else { 0.0 };
    v.iter().map(|v| v * scale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn squares(x: &[f64]) -> Result<Vec<f64>> {
        Ok(x.iter().map(|x| x * x).collect())
    }

    #[test]
    fn a_right_gradient_passes_and_a_slightly_wrong_one_does_not() {
        let x = numbers(1, 0, 9);
        let g_y = numbers(1, 1, 9);
        let right: Vec<f64> = x.iter().zip(&g_y).map(|(x, g)| 2.0 * x * g).collect();
        assert_eq!(check_gradient("square", "g_x", &x, &right, &g_y, squares), Ok(()));
        for index in 0..9 {
            let mut wrong = right.clone();
            wrong[index] += 1e-4;
            assert!(check_gradient("square", "g_x", &x, &wrong, &g_y, squares).is_err());
        }
        let scaled: Vec<f64> = right.iter().map(|g| g * (1.0 + 1e-5)).collect();
        assert!(check_gradient("square", "g_x", &x, &scaled, &g_y, squares).is_err());
        assert!(check_gradient("square", "g_x", &x, &[0.0; 9], &g_y, squares).is_err());
    }
}
