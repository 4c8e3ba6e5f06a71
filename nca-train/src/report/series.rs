//! Loss and Ψ in the course of training, in no more points than can be seen.

use super::record::MetricRow;
use super::stats;
use crate::plot::Point;

/// The course of a model's training: pairs of iteration and value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    /// Mean loss of windows of the log.
    pub(super) loss: Vec<Point>,
    /// Ψ, pixels per frame, as it was measured; of models trained for motion as training saw it: it saw
    /// it far more often.
    pub(super) psi: Vec<Point>,
    /// Whether Ψ is that of the frames of training.
    pub(super) psi_of_training: bool,
    /// Rows of the log in a point of the loss; 1 for short runs.
    pub(super) window: usize,
}

impl Series {
    /// What the rows of a log say, either in at most `most` points. Values that are not finite are left
    /// out.
    pub(super) fn of(rows: &[MetricRow], most: usize) -> Self {
        let values = |value: fn(&MetricRow) -> Option<f64>| -> Vec<Point> {
            let point = |row: &MetricRow| Some((row.iteration as f64, value(row)?));
            rows.iter().filter_map(point).collect()
        };
        let training = values(|row| row.psi_training);
        let psi_of_training = !training.is_empty();
        let psi = if psi_of_training {
            training
        } else {
            values(|row| row.psi)
        };
        let (loss, window) = averaged(&values(|row| Some(row.loss)), most);
        Self {
            loss,
            psi: averaged(&psi, most).0,
            psi_of_training,
            window,
        }
    }
}

/// Means over windows of as many points as make at most `most`, and how many those are.
fn averaged(points: &[Point], most: usize) -> (Vec<Point>, usize) {
    let window = points.len().div_ceil(most).max(1);
    let means = points.chunks(window).filter_map(|chunk| {
        let iteration = stats::mean(chunk.iter().map(|point| point.0))?;
        Some((iteration, stats::mean(chunk.iter().map(|point| point.1))?))
    });
    (means.collect(), window)
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
        let rows: Vec<_> = (1..=3).map(|i| row(10 * i, i as f64, None)).collect();
        let series = Series::of(&rows, 100);
        assert_eq!(series.loss, [(10.0, 1.0), (20.0, 2.0), (30.0, 3.0)]);
        assert_eq!((series.psi, series.window), (Vec::new(), 1));

        let rows: Vec<_> = (1..=1000)
            .map(|i| row(i, i as f64, (i % 500 == 0).then_some(0.5)))
            .collect();
        let series = Series::of(&rows, 100);
        assert_eq!(
            (series.loss.len(), series.loss[0], series.window),
            (100, (5.5, 5.5), 10)
        );
        assert_eq!(series.psi, [(500.0, 0.5), (1000.0, 0.5)]);
    }

    #[test]
    fn what_is_not_finite_is_left_out() {
        let rows = [row(1, f64::NAN, None), row(2, f64::INFINITY, None), row(3, 1e300, None)];
        assert_eq!(Series::of(&rows, 10).loss, [(3.0, 1e300)]);
        assert_eq!(Series::of(&rows, 1).loss, [(2.0, 1e300)]);
        assert_eq!(Series::of(&[], 10).loss, []);
    }

    #[test]
    fn psi_is_that_of_training_where_training_computed_it() {
        let mut rows: Vec<_> = (1..=4).map(|i| row(i, -1.0, (i == 4).then_some(0.5))).collect();
        let measured = Series::of(&rows, 10);
        assert_eq!((measured.psi, measured.psi_of_training), (vec![(4.0, 0.5)], false));
        for row in &mut rows {
            row.psi_training = Some(row.iteration as f64);
        }
        let trained = Series::of(&rows, 2);
        assert_eq!(
            (trained.psi, trained.psi_of_training),
            (vec![(1.5, 1.5), (3.5, 3.5)], true)
        );
    }
}
