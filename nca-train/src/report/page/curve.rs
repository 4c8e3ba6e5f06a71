//! Training curves as the page has them.

use serde::Serialize;

use crate::plot::Point;
use crate::report::record::MetricRow;
use crate::report::series::Series;

/// Most points of a curve: a page of hundreds of models must stay small.
const MAX_POINTS: usize = 100;

/// Loss and Ψ in the course of training: iterations, and a value for each.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Curve {
    iterations: Vec<f32>,
    loss: Vec<f32>,
    psi_iterations: Vec<f32>,
    psi: Vec<f32>,
    /// Whether Ψ is that of the frames of training.
    psi_of_training: bool,
}

impl Curve {
    pub(super) fn of(rows: &[MetricRow]) -> Self {
        let series = Series::of(rows, MAX_POINTS);
        let (iterations, loss) = short(&series.loss);
        let (psi_iterations, psi) = short(&series.psi);
        Self {
            iterations,
            loss,
            psi_iterations,
            psi,
            psi_of_training: series.psi_of_training,
        }
    }
}

/// Iterations and values in four digits, a tenth of a pixel of any plot; those left out that f32 does
/// not hold.
fn short(points: &[Point]) -> (Vec<f32>, Vec<f32>) {
    let rounded = |value: f64| format!("{value:.3e}").parse::<f32>().ok().filter(|v| v.is_finite());
    let point = |&(iteration, value): &Point| Some((iteration as f32, rounded(value)?));
    points.iter().filter_map(point).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_short_and_finite() {
        let (iterations, values) = short(&[(10.0, 1.23456), (20.0, 1e300), (25.5, -0.001_234_56)]);
        assert_eq!(iterations, [10.0, 25.5]);
        assert_eq!(values, [1.235, -0.001_235]);
    }
}
