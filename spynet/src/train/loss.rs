//! What a training makes small.

/// Mean over pixels of `(‖flow − truth‖² + ε²)^(q/2) − ε^q`.
///
/// With q = 1 it is the endpoint error, in pixels. With less, as in Sun et al. 2018 (PWC-Net, their
/// fine-tuning), a pixel counts the more the nearer it is to the truth: what is off by whole pixels, as
/// where something is hidden, no longer drowns what could be right to a hundredth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct EndpointLoss {
    /// q, above 0 and at most 1.
    pub(super) exponent: f64,
    /// ε in pixels of the level, above 0.
    pub(super) epsilon: f64,
}

impl EndpointLoss {
    /// The loss of `flow [B,2,h,w]`, times `weight`, and its gradient; `plane` is h·w.
    pub(super) fn evaluate(&self, plane: usize, weight: f64, flow: &[f32], truth: &[f32], gradient: &mut [f32]) -> f64 {
        let Self { exponent, epsilon } = *self;
        let pixels = flow.len() / 2;
        let (floor, square) = (epsilon.powf(exponent), epsilon * epsilon);
        let scale = weight / pixels as f64;
        let mut sum = 0.0;
        let pairs = flow.chunks_exact(2 * plane).zip(truth.chunks_exact(2 * plane));
        for ((flow, truth), gradient) in pairs.zip(gradient.chunks_exact_mut(2 * plane)) {
            for p in 0..plane {
                let [x, y] = [p, plane + p].map(|i| f64::from(flow[i]) - f64::from(truth[i]));
                let length = x * x + y * y + square;
                let power = length.powf(0.5 * exponent);
                sum += power - floor;
                let slope = scale * exponent * power / length;
                gradient[p] = (slope * x) as f32;
                gradient[plane + p] = (slope * y) as f32;
            }
        }
        scale * sum
    }
}

#[cfg(test)]
mod tests {
    use nca_core::philox::{PhiloxRng, Stream};

    use super::*;

    const PLANE: usize = 15;

    fn noise(len: usize, index: u64) -> Vec<f32> {
        let mut rng = PhiloxRng::new(9, Stream::Test, index);
        (0..len).map(|_| rng.uniform_in(-1.0, 1.0) as f32).collect()
    }

    #[test]
    fn gradient_is_that_of_the_loss() {
        let (flow, truth) = (noise(4 * PLANE, 0), noise(4 * PLANE, 1));
        for exponent in [1.0, 0.4] {
            let loss = EndpointLoss { exponent, epsilon: 0.1 };
            let of = |flow: &[f32]| loss.evaluate(PLANE, 0.7, flow, &truth, &mut vec![0.0; 4 * PLANE]);
            let mut gradient = vec![0.0; 4 * PLANE];
            loss.evaluate(PLANE, 0.7, &flow, &truth, &mut gradient);
            for i in 0..flow.len() {
                // A power of two, so that the flow is moved by as much on both sides.
                let h = 2.0_f32.powi(-9);
                let at = |h: f32| {
                    let mut moved = flow.clone();
                    moved[i] += h;
                    (of(&moved), moved[i])
                };
                let ((above, high), (below, low)) = (at(h), at(-h));
                let quotient = (above - below) / f64::from(high - low);
                assert!(
                    (quotient - f64::from(gradient[i])).abs() < 1e-5,
                    "{exponent}: {i}: {quotient} {}",
                    gradient[i]
                );
            }
        }
    }

    #[test]
    fn the_exponent_one_is_the_endpoint_error() {
        let mut flow = vec![0.0; 2 * PLANE];
        flow[..PLANE].fill(3.0);
        flow[PLANE..].fill(-4.0);
        let of = |exponent, flow: &[f32]| {
            let epsilon = 1e-6;
            EndpointLoss { exponent, epsilon }.evaluate(PLANE, 2.0, flow, &[0.0; 2 * PLANE], &mut [0.0; 2 * PLANE])
        };
        assert!((of(1.0, &flow) - 10.0).abs() < 1e-4);
        assert!((of(0.5, &flow) - 2.0 * (5.0_f64.sqrt() - 1e-3)).abs() < 1e-6);
        assert_eq!(of(0.5, &[0.0; 2 * PLANE]), 0.0);
    }
}
