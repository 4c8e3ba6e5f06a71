//! Colours that tell values and things apart, for the colour-blind too.

use plotters::style::RGBColor;
use plotters::style::colors::colormaps::{ColorMap, ViridisRGB};

/// Text and axes.
pub(crate) const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
/// Notes.
pub(crate) const FAINT_INK: RGBColor = RGBColor(0x66, 0x66, 0x66);
/// Lines behind the data.
pub(crate) const GRID: RGBColor = RGBColor(0xE4, 0xE4, 0xE4);
/// Where there is no value.
pub(crate) const NO_VALUE: RGBColor = RGBColor(0xD0, 0xD0, 0xD0);
/// The page.
pub(crate) const PAPER: RGBColor = RGBColor(0xFF, 0xFF, 0xFF);

/// Viridis (van der Walt and Smith, 2015), perceptually uniform, at `t` in `[0, 1]`; values outside
/// take the nearest end, NaN the lower one.
pub(crate) fn viridis(t: f64) -> RGBColor {
    ViridisRGB.get_color(if t.is_nan() { 0.0 } else { t.clamp(0.0, 1.0) as f32 })
}

/// Black or white, whichever reads better on a colour, by relative luminance (ITU-R BT.709).
pub(crate) fn contrast(color: RGBColor) -> RGBColor {
    let linear = |v: u8| (f64::from(v) / 255.0).powf(2.2);
    let luminance = 0.2126 * linear(color.0) + 0.7152 * linear(color.1) + 0.0722 * linear(color.2);
    // Where the contrast ratios (L + 0.05) / (0.016 + 0.05) and 1.05 / (L + 0.05) are equal.
    if luminance > 0.213 { INK } else { PAPER }
}

/// Colour of the `index`-th of `count` ordered lines: viridis without the yellow end, which is lost
/// on white.
pub(crate) fn ordinal(index: usize, count: usize) -> RGBColor {
    const BRIGHTEST: f64 = 0.88;
    if count < 2 {
        return viridis(0.35);
    }
    viridis(BRIGHTEST * index as f64 / (count - 1) as f64)
}

/// Okabe and Ito (2008), *Color Universal Design*, without the yellow that is lost on white.
const CATEGORICAL: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0xE6, 0x9F, 0x00),
    RGBColor(0x56, 0xB4, 0xE9),
    RGBColor(0x00, 0x00, 0x00),
];

/// Colour of the `index`-th category; they repeat after seven.
pub(crate) fn categorical(index: usize) -> RGBColor {
    CATEGORICAL[index % CATEGORICAL.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_gets_steadily_lighter() {
        let light = |c: RGBColor| 0.2126 * f64::from(c.0) + 0.7152 * f64::from(c.1) + 0.0722 * f64::from(c.2);
        let steps: Vec<_> = (0..=100).map(|i| light(viridis(f64::from(i) / 100.0))).collect();
        assert!(steps.windows(2).all(|pair| pair[0] <= pair[1] + 1.0), "{steps:?}");
        assert_eq!(viridis(-1.0), viridis(0.0));
        assert_eq!(viridis(f64::NAN), viridis(0.0));
        assert_eq!(viridis(2.0), viridis(1.0));
    }

    #[test]
    fn text_on_the_map_changes_colour_once() {
        assert_eq!(contrast(viridis(0.0)), PAPER);
        assert_eq!(contrast(viridis(1.0)), INK);
        assert_eq!(contrast(PAPER), INK);
    }
}
