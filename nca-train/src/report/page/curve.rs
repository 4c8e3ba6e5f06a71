//! Training curves in as few numbers as can be seen.

use serde::Serialize;

use crate::report::record::MetricRow;

/// Most points of a loss curve: a page of hundreds of models must stay small.
const MAX_POINTS: usize = 100;

/// Loss and Ψ in the course of training.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Curve {
    iterations: Vec<u64>,
    /// Mean loss of the rows since the last point; null where one was not finite.
    loss: Vec<Option<f32>>,
    psi_iterations: Vec<u64>,
    psi: Vec<Option<f32>>,
}

impl Curve {
    pub(super) fn of(rows: &[MetricRow]) -> Self {
        let window = rows.len().div_ceil(MAX_POINTS).max(1);
        let mut curve = Self {
            iterations: Vec::new(),
            loss: Vec::new(),
            psi_iterations: Vec::new(),
            psi: Vec::new(),
        };
        for chunk in rows.chunks(window) {
            curve.iterations.extend(chunk.last().map(|row| row.iteration));
            let mean = chunk.iter().map(|row| row.loss).sum::<f64>() / chunk.len() as f64;
            curve.loss.push(short(mean));
        }
        let measured: Vec<_> = rows.iter().filter_map(|row| Some((row.iteration, row.psi?))).collect();
        let window = measured.len().div_ceil(MAX_POINTS).max(1);
        for chunk in measured.chunks(window) {
            curve.psi_iterations.extend(chunk.last().map(|row| row.0));
            curve
                .psi
                .push(short(chunk.iter().map(|row| row.1).sum::<f64>() / chunk.len() as f64));
        }
        curve
    }
}

/// Four digits: a tenth of a pixel of any plot.
fn short(value: f64) -> Option<f32> {
    let rounded: f32 = format!("{value:.3e}").parse().ok()?;
    rounded.is_finite().then_some(rounded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(iteration: u64, loss: f64, psi: Option<f64>) -> MetricRow {
        MetricRow {
            iteration,
            loss,
            appearance_loss: loss,
            motion_loss: None,
            psi_training: None,
            overflow_loss: 0.0,
            learning_rate: 1e-3,
            steps: 32,
            seconds: 0.0,
            psi,
            psi_se: None,
        }
    }

    #[test]
    fn short_runs_keep_every_point_and_long_ones_their_means() {
        let rows: Vec<_> = (1..=3).map(|i| row(10 * i, 1.23456 * i as f64, None)).collect();
        let curve = Curve::of(&rows);
        assert_eq!(curve.iterations, [10, 20, 30]);
        assert_eq!(curve.loss, [Some(1.235), Some(2.469), Some(3.704)]);
        assert!(curve.psi.is_empty());

        let rows: Vec<_> = (1..=1000)
            .map(|i| row(i, i as f64, (i % 500 == 0).then_some(0.5)))
            .collect();
        let curve = Curve::of(&rows);
        assert_eq!(curve.iterations.len(), MAX_POINTS);
        assert_eq!((curve.iterations[0], curve.loss[0]), (10, Some(5.5)));
        assert_eq!((curve.psi_iterations, curve.psi), (vec![500, 1000], vec![Some(0.5); 2]));
    }

    #[test]
    fn what_is_not_finite_is_null() {
        let curve = Curve::of(&[row(1, f64::NAN, None), row(2, f64::INFINITY, None), row(3, 1e300, None)]);
        assert_eq!(curve.loss, [None; 3]);
        assert!(Curve::of(&[]).iterations.is_empty());
    }
}
