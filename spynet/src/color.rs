//! Flow as colour: the Middlebury colour wheel (Baker et al., *A Database and Evaluation
//! Methodology for Optical Flow*, IJCV 2011).
//!
//! Hue is the direction, saturation the length: white is no motion, full colour the maximum.
//! Longer vectors are darkened to three quarters, unknown flow is black.

use std::f32::consts::PI;

use nca_core::{Error, Result};

use crate::field::{FlowField, is_known};

/// Steps between two neighbouring primaries, so chosen that hue differences look even.
const SEGMENTS: [(usize, [u8; 3], [u8; 3]); 6] = [
    (15, RED, YELLOW),
    (6, YELLOW, GREEN),
    (4, GREEN, CYAN),
    (11, CYAN, BLUE),
    (13, BLUE, MAGENTA),
    (6, MAGENTA, RED),
];
const RED: [u8; 3] = [255, 0, 0];
const YELLOW: [u8; 3] = [255, 255, 0];
const GREEN: [u8; 3] = [0, 255, 0];
const CYAN: [u8; 3] = [0, 255, 255];
const BLUE: [u8; 3] = [0, 0, 255];
const MAGENTA: [u8; 3] = [255, 0, 255];

/// Number of hues.
const HUES: usize = 55;
/// Brightness of vectors beyond the maximum.
const BEYOND: f32 = 0.75;

/// The 55 hues in `[0, 1]`, from red over yellow, green, cyan, blue and magenta back to red.
#[must_use]
pub fn color_wheel() -> [[f32; 3]; HUES] {
    let mut wheel = [[0.0; 3]; HUES];
    let mut hue = 0;
    for (steps, from, to) in SEGMENTS {
        for step in 0..steps {
            for c in 0..3 {
                // Whole 255ths, as the original has them: rising values are rounded down,
                // falling ones are 255 minus a value rounded down.
                let moved = 255 * step / steps;
                let value = match from[c].cmp(&to[c]) {
                    std::cmp::Ordering::Less => moved,
                    std::cmp::Ordering::Greater => 255 - moved,
                    std::cmp::Ordering::Equal => usize::from(from[c]),
                };
                wheel[hue][c] = value as f32 / 255.0;
            }
            hue += 1;
        }
    }
    wheel
}

/// Length that gets full colour when none is asked for: the longest known vector, or 1 where
/// nothing moves.
#[must_use]
pub fn automatic_max(field: &FlowField) -> f32 {
    let max = field
        .vectors()
        .filter(|&(u, v)| is_known(u, v))
        .map(|(u, v)| u.hypot(v))
        .fold(0.0, f32::max);
    if max > 0.0 { max } else { 1.0 }
}

/// RGB8 picture `[H,W,3]` of a flow field.
///
/// `max` is the length in pixels that gets full colour ([`automatic_max`] by default); give it to
/// compare pictures.
///
/// # Errors
/// When `max` is not a positive number.
pub fn flow_to_rgb(field: &FlowField, max: Option<f32>) -> Result<Vec<u8>> {
    let max = max.unwrap_or_else(|| automatic_max(field));
    if !(max.is_finite() && max > 0.0) {
        return Err(Error::invalid("flow length of full colour", max, "a positive number"));
    }
    let wheel = color_wheel();
    Ok(field
        .vectors()
        .flat_map(|(u, v)| {
            if is_known(u, v) {
                color(&wheel, u, v, u.hypot(v) / max)
            } else {
                [0; 3]
            }
        })
        .collect())
}

/// Colour of a vector that is `length` times as long as the maximum. That is asked for, since of components divided first the
/// longest vector of a field would now and then come out beyond 1, and dark.
fn color(wheel: &[[f32; 3]; HUES], u: f32, v: f32, length: f32) -> [u8; 3] {
    // 0 to the right, 1/4 down, 1/2 to the left, 3/4 up.
    let turn = ((-v).atan2(-u) / PI + 1.0) / 2.0;
    let position = turn * (HUES - 1) as f32;
    let first = (position as usize).min(HUES - 1);
    let second = (first + 1) % HUES;
    let fraction = position - first as f32;
    std::array::from_fn(|c| {
        let hue = (1.0 - fraction) * wheel[first][c] + fraction * wheel[second][c];
        let value = if length <= 1.0 {
            1.0 - length * (1.0 - hue)
        } else {
            hue * BEYOND
        };
        (255.0 * value) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(u: f32, v: f32, max: f32) -> [u8; 3] {
        let field = FlowField::new(1, 1, vec![u, v]).unwrap();
        flow_to_rgb(&field, Some(max)).unwrap().try_into().unwrap()
    }

    #[test]
    fn wheel_has_its_primaries_in_place() {
        let wheel = color_wheel();
        let places = [0, 15, 21, 25, 36, 49];
        for (&place, (_, from, _)) in places.iter().zip(SEGMENTS) {
            assert_eq!(wheel[place].map(|v| (v * 255.0).round() as u8), from);
        }
        // Neighbours differ by at most a quarter of the range in one channel (the segment of 4).
        for i in 0..HUES {
            let (a, b) = (wheel[i], wheel[(i + 1) % HUES]);
            let steps: f32 = (0..3).map(|c| (a[c] - b[c]).abs()).sum();
            assert!(steps > 0.0 && steps < 0.26, "hue {i}: {steps}");
        }
    }

    #[test]
    fn directions_and_lengths() {
        assert_eq!(one(0.0, 0.0, 1.0), [255; 3]);
        // To the right: atan2(-0, -1) = -π, the first hue.
        assert_eq!(one(1.0, 0.0, 1.0), RED);
        // Half as long: half as saturated.
        assert_eq!(one(1.0, 0.0, 2.0), [255, 127, 127]);
        // Beyond the maximum: three quarters as bright.
        assert_eq!(one(3.0, 0.0, 1.0), [191, 0, 0]);
        // Down is a quarter of the wheel on: between yellow (15) and the green side.
        let [r, g, b] = one(0.0, 1.0, 1.0);
        assert!(r > 200 && g > 200 && b == 0, "{r} {g} {b}");
        // To the left is cyan to blue, up is blue to magenta.
        let [r, g, b] = one(-1.0, 0.0, 1.0);
        assert!(r == 0 && g > 150 && b > 250, "{r} {g} {b}");
        let [r, g, b] = one(0.0, -1.0, 1.0);
        assert!(r > 50 && g == 0 && b > 250, "{r} {g} {b}");
    }

    /// The longest vector sets the scale, so it is not beyond it; without a care for rounding every fiftieth is.
    #[test]
    fn the_longest_vector_has_full_colour() {
        for step in 1..1000 {
            let (u, v) = (0.001 * step as f32, 0.3);
            let field = FlowField::new(1, 1, vec![u, v]).unwrap();
            let found = flow_to_rgb(&field, None).unwrap();
            // A hue has a channel that is full: by itself, or mixed of two neighbours that are.
            assert!(*found.iter().max().unwrap() >= 254, "({u}, {v}): {found:?}");
        }
    }

    #[test]
    fn unknown_is_black_and_does_not_set_the_scale() {
        let field = FlowField::new(1, 3, vec![2.0, 1.7e9, 0.0, 0.0, 0.0, f32::NEG_INFINITY]).unwrap();
        assert_eq!(automatic_max(&field), 2.0);
        assert_eq!(flow_to_rgb(&field, None).unwrap(), [255, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn still_field_is_white() {
        let field = FlowField::new(2, 2, vec![0.0; 8]).unwrap();
        assert_eq!(flow_to_rgb(&field, None).unwrap(), vec![255; 12]);
    }

    #[test]
    fn refuses_impossible_maxima() {
        let field = FlowField::new(1, 1, vec![0.0; 2]).unwrap();
        for max in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert!(flow_to_rgb(&field, Some(max)).is_err());
        }
    }
}
