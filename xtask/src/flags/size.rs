//! Rows and columns of a grid.

use std::str::FromStr;

use nca_train::TrainSettings;

/// Rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl FromStr for Size {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let (low, high) = (TrainSettings::MIN_SIZE, TrainSettings::MAX_SIZE);
        let side = |text: &str| {
            text.parse()
                .ok()
                .filter(|side| (low..=high).contains(side))
                .ok_or_else(|| format!("found '{s}', expected rows x columns as in 96x128, each {low} to {high}"))
        };
        let (height, width) = s.split_once('x').unwrap_or((s, s));
        Ok(Self {
            height: side(height)?,
            width: side(width)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!("96x128".parse(), Ok(Size { height: 96, width: 128 }));
        assert_eq!("64".parse(), Ok(Size { height: 64, width: 64 }));
        for bad in ["7", "64x", "x64", "64x64x64", "99999", "-8", ""] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }
}
