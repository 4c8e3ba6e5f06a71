//! How far an estimate is from the truth.

use nca_core::{Error, Result};

use crate::field::{FlowField, first_unknown, is_known};

/// Endpoint error of a flow field: `‖estimate − truth‖₂` in pixels, over the pixels that the truth knows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EndpointError {
    /// Mean, in pixels.
    pub mean: f64,
    /// Share of pixels that are off by more than 1 px, in `[0, 1]`.
    pub above_1px: f64,
    /// Share of pixels that are off by more than 3 px, in `[0, 1]`.
    pub above_3px: f64,
    /// Pixels compared.
    pub pixels: u64,
}

/// Endpoint error of `estimate` against `truth`; pixels unknown in the truth are left out, whatever the estimate has there.
///
/// # Errors
/// When the sizes differ, the truth knows no pixel, or the estimate is not finite or beyond ±1e9 px at one that it knows: an
/// estimate does not choose where it is judged.
pub fn endpoint_error(estimate: &FlowField, truth: &FlowField) -> Result<EndpointError> {
    let size = |f: &FlowField| format!("{}×{}", f.width(), f.height());
    if (estimate.height(), estimate.width()) != (truth.height(), truth.width()) {
        return Err(Error::invalid(
            "size of the estimated flow",
            size(estimate),
            format!("{}, the size of the true flow", size(truth)),
        ));
    }
    if let Some((place, found)) = first_unknown(estimate, Some(truth)) {
        let expected = "components within ±1e9 px where the true flow is known";
        return Err(Error::invalid(format!("estimated flow {place}"), found, expected));
    }
    let (mut sum, mut above_1px, mut above_3px, mut pixels) = (0.0, 0_u64, 0_u64, 0_u64);
    for ((u, v), (true_u, true_v)) in estimate.vectors().zip(truth.vectors()) {
        if !is_known(true_u, true_v) {
            continue;
        }
        let (dx, dy) = (f64::from(u) - f64::from(true_u), f64::from(v) - f64::from(true_v));
        let error = dx.hypot(dy);
        sum += error;
        above_1px += u64::from(error > 1.0);
        above_3px += u64::from(error > 3.0);
        pixels += 1;
    }
    if pixels == 0 {
        return Err(Error::invalid("true flow", "without a known pixel", "at least one"));
    }
    let count = pixels as f64;
    Ok(EndpointError {
        mean: sum / count,
        above_1px: above_1px as f64 / count,
        above_3px: above_3px as f64 / count,
        pixels,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(u: &[f32], v: &[f32]) -> FlowField {
        FlowField::new(1, u.len(), [u, v].concat()).unwrap()
    }

    #[test]
    fn counts_what_the_truth_knows() {
        let estimate = field(&[3.0, 1.0, 0.0, 2e9, 5.0], &[4.0, 0.0, 0.5, 0.0, 0.0]);
        let truth = field(&[0.0, 1.0, 0.0, -2e9, 5.0], &[0.0, 1.5, 0.5, 0.0, 1.666e9]);
        let error = endpoint_error(&estimate, &truth).unwrap();
        assert_eq!(error.pixels, 3);
        assert_eq!(error.mean, (5.0 + 1.5 + 0.0) / 3.0);
        assert_eq!(error.above_1px, 2.0 / 3.0);
        assert_eq!(error.above_3px, 1.0 / 3.0);
    }

    /// It would be left out of the mean, which it makes worthless.
    #[test]
    fn refuses_an_estimate_that_is_no_flow() {
        let truth = field(&[0.0, 1.0, 2.0], &[0.0; 3]);
        for (u, words) in [(2e9, "(2e9, 0e0)"), (f32::NEG_INFINITY, "(-inf, 0e0)")] {
            let message = endpoint_error(&field(&[0.0, 1.0, u], &[0.0; 3]), &truth)
                .unwrap_err()
                .to_string();
            assert!(
                message.contains("row 0, column 2") && message.contains(words),
                "{message}"
            );
        }
    }

    #[test]
    fn no_error_against_itself() {
        let flow = field(&[0.25, -7.0], &[3.0, 1e8]);
        let error = endpoint_error(&flow, &flow).unwrap();
        assert_eq!((error.mean, error.above_1px, error.pixels), (0.0, 0.0, 2));
    }

    #[test]
    fn refuses_other_sizes_and_nothing_known() {
        let wide = FlowField::new(2, 3, vec![0.0; 12]).unwrap();
        let tall = FlowField::new(3, 2, vec![0.0; 12]).unwrap();
        let message = endpoint_error(&wide, &tall).unwrap_err().to_string();
        assert!(message.contains("3×2") && message.contains("2×3"), "{message}");
        let unknown = field(&[2e9], &[0.0]);
        let message = endpoint_error(&unknown, &unknown).unwrap_err().to_string();
        assert!(message.contains("true flow is without a known pixel"), "{message}");
    }
}
