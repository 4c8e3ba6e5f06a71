//! A flow field on the host.

use nca_core::{Error, Result, check_len};

/// Largest component, in pixels, that still is a flow: beyond it the flow is unknown (Middlebury's
/// convention; their files mark such pixels with 1.666e9).
pub const UNKNOWN_THRESHOLD: f32 = 1e9;

/// Whether `(u, v)` is a flow, rather than a mark for "unknown" (a component beyond ±1e9).
#[must_use]
pub fn is_known(u: f32, v: f32) -> bool {
    u.abs() <= UNKNOWN_THRESHOLD && v.abs() <= UNKNOWN_THRESHOLD
}

/// Optical flow of one pair of frames, in pixels: how far each pixel moves, right and down.
///
/// Holds no NaN; a pixel may be unknown ([`is_known`]).
#[derive(Clone, Debug, PartialEq)]
pub struct FlowField {
    height: usize,
    width: usize,
    data: Vec<f32>,
}

impl FlowField {
    /// From `data [2,H,W]`: all of x (to the right), then all of y (downwards).
    ///
    /// # Errors
    /// When the field is empty, `data` has not `2·H·W` elements or holds a NaN.
    pub fn new(height: usize, width: usize, data: Vec<f32>) -> Result<Self> {
        if height == 0 || width == 0 {
            return Err(Error::invalid(
                "size of the flow field",
                format!("{width}×{height}"),
                "at least 1×1",
            ));
        }
        let expected = height.saturating_mul(width).saturating_mul(2);
        check_len("flow field", "data", data.len(), expected)?;
        if let Some(index) = data.iter().position(|v| v.is_nan()) {
            let (channel, pixel) = (index / (height * width), index % (height * width));
            return Err(Error::invalid(
                format!(
                    "{} of the flow at row {}, column {}",
                    ["x", "y"][channel],
                    pixel / width,
                    pixel % width
                ),
                "NaN",
                "a number",
            ));
        }
        Ok(Self { height, width, data })
    }

    /// Rows, H.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns, W.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// `[2,H,W]`.
    #[must_use]
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// `[2,H,W]`.
    #[must_use]
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }

    /// Horizontal components `[H,W]`.
    #[must_use]
    pub fn u(&self) -> &[f32] {
        &self.data[..self.height * self.width]
    }

    /// Vertical components `[H,W]`.
    #[must_use]
    pub fn v(&self) -> &[f32] {
        &self.data[self.height * self.width..]
    }

    /// `(u, v)` of every pixel, row by row.
    pub fn vectors(&self) -> impl Iterator<Item = (f32, f32)> + '_ {
        self.u().iter().copied().zip(self.v().iter().copied())
    }

    /// Mean of `‖flow‖₂` over the known pixels, in pixels; `None` if there are none.
    #[must_use]
    pub fn mean_magnitude(&self) -> Option<f64> {
        let (mut sum, mut count) = (0.0, 0_u64);
        for (u, v) in self.vectors().filter(|&(u, v)| is_known(u, v)) {
            sum += f64::from(u).hypot(f64::from(v));
            count += 1;
        }
        (count > 0).then(|| sum / count as f64)
    }
}

/// The first vector of `estimate` that is no flow, of those whose pixels `truth` knows: its place and value in words.
pub(crate) fn first_unknown(estimate: &FlowField, truth: Option<&FlowField>) -> Option<(String, String)> {
    let asked = |pixel: usize| truth.is_none_or(|truth| is_known(truth.u()[pixel], truth.v()[pixel]));
    let unknown = |&(pixel, (u, v)): &(usize, (f32, f32))| !is_known(u, v) && asked(pixel);
    let (pixel, (u, v)) = estimate.vectors().enumerate().find(unknown)?;
    let place = format!("at row {}, column {}", pixel / estimate.width, pixel % estimate.width);
    Some((place, format!("({u:e}, {v:e})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_field() {
        assert!(FlowField::new(0, 3, vec![]).is_err());
        assert!(FlowField::new(2, 2, vec![0.0; 7]).is_err());
        assert!(FlowField::new(usize::MAX, usize::MAX, vec![0.0; 2]).is_err());
        let mut data = vec![0.0; 12];
        data[9] = f32::NAN;
        let message = FlowField::new(2, 3, data).unwrap_err().to_string();
        assert!(message.contains("y of the flow at row 1, column 0"), "{message}");
    }

    #[test]
    fn mean_magnitude_skips_the_unknown() {
        let field = FlowField::new(1, 3, vec![3.0, 0.0, 2e9, 4.0, -1.0, 0.0]).unwrap();
        assert_eq!(field.mean_magnitude(), Some(3.0));
        let unknown = FlowField::new(1, 1, vec![0.0, f32::INFINITY]).unwrap();
        assert_eq!(unknown.mean_magnitude(), None);
    }
}
