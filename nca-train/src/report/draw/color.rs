//! Colours that survive colour blindness and a grey printer.

/// Red, green, blue and opacity, 0 to 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::report) struct Color {
    pub(in crate::report) red: u8,
    pub(in crate::report) green: u8,
    pub(in crate::report) blue: u8,
    pub(in crate::report) alpha: u8,
}

impl Color {
    /// Text and axes.
    pub(in crate::report) const INK: Self = Self::rgb(0x22, 0x22, 0x22);
    /// Text of less weight.
    pub(in crate::report) const FAINT_INK: Self = Self::rgb(0x66, 0x66, 0x66);
    /// Lines behind the data.
    pub(in crate::report) const GRID: Self = Self::rgb(0xE4, 0xE4, 0xE4);
    /// Where there is no value.
    pub(in crate::report) const NO_VALUE: Self = Self::rgb(0xD0, 0xD0, 0xD0);
    /// The page.
    pub(in crate::report) const PAPER: Self = Self::rgb(0xFF, 0xFF, 0xFF);

    const fn rgb(red: u8, green: u8, blue: u8) -> Self {
        Self {
            red,
            green,
            blue,
            alpha: 255,
        }
    }

    const fn hex(code: u32) -> Self {
        Self::rgb((code >> 16) as u8, (code >> 8) as u8, code as u8)
    }

    pub(in crate::report) const fn with_alpha(self, alpha: u8) -> Self {
        Self { alpha, ..self }
    }

    /// Black or white, whichever reads better on it, by relative luminance (ITU-R BT.709).
    pub(in crate::report) fn contrast(self) -> Self {
        let linear = |v: u8| (f64::from(v) / 255.0).powf(2.2);
        let luminance = 0.2126 * linear(self.red) + 0.7152 * linear(self.green) + 0.0722 * linear(self.blue);
        // Where the contrast ratios (L + 0.05) / (0.016 + 0.05) and 1.05 / (L + 0.05) are equal.
        if luminance > 0.213 { Self::INK } else { Self::PAPER }
    }

    fn mix(self, other: Self, t: f64) -> Self {
        let mix = |a: u8, b: u8| (f64::from(a) + t * (f64::from(b) - f64::from(a))).round() as u8;
        Self::rgb(
            mix(self.red, other.red),
            mix(self.green, other.green),
            mix(self.blue, other.blue),
        )
    }
}

/// Viridis (van der Walt and Smith, 2015), perceptually uniform, at ninths of its range.
const VIRIDIS: [Color; 9] = [
    Color::hex(0x440154),
    Color::hex(0x472D7B),
    Color::hex(0x3B528B),
    Color::hex(0x2C728E),
    Color::hex(0x21908C),
    Color::hex(0x27AD81),
    Color::hex(0x5DC863),
    Color::hex(0xAADC32),
    Color::hex(0xFDE725),
];

/// The colour map at `t` in `[0, 1]`; values outside take the nearest end, NaN the
/// lower one.
pub(in crate::report) fn viridis(t: f64) -> Color {
    let intervals = VIRIDIS.len() - 1;
    let t = if t.is_nan() { 0.0 } else { t.clamp(0.0, 1.0) };
    let at = t * intervals as f64;
    let low = (at as usize).min(intervals - 1);
    VIRIDIS[low].mix(VIRIDIS[low + 1], at - low as f64)
}

/// Colour of the `index`-th of `count` ordered lines: viridis without the yellow end, which is lost
/// on white.
pub(in crate::report) fn ordinal(index: usize, count: usize) -> Color {
    const BRIGHTEST: f64 = 0.88;
    if count < 2 {
        return viridis(0.35);
    }
    viridis(BRIGHTEST * index as f64 / (count - 1) as f64)
}

/// Okabe and Ito (2008), *Color Universal Design*, without the yellow that is lost on white.
const CATEGORICAL: [Color; 7] = [
    Color::hex(0x0072B2),
    Color::hex(0xD55E00),
    Color::hex(0x009E73),
    Color::hex(0xCC79A7),
    Color::hex(0xE69F00),
    Color::hex(0x56B4E9),
    Color::hex(0x000000),
];

/// Colour of the `index`-th category; they repeat after seven.
pub(in crate::report) fn categorical(index: usize) -> Color {
    CATEGORICAL[index % CATEGORICAL.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_gets_steadily_lighter() {
        let light = |c: Color| 0.2126 * f64::from(c.red) + 0.7152 * f64::from(c.green) + 0.0722 * f64::from(c.blue);
        let steps: Vec<_> = (0..=100).map(|i| light(viridis(f64::from(i) / 100.0))).collect();
        assert!(steps.windows(2).all(|pair| pair[0] <= pair[1] + 1.0), "{steps:?}");
        assert_eq!(viridis(-1.0), VIRIDIS[0]);
        assert_eq!(viridis(f64::NAN), VIRIDIS[0]);
        assert_eq!(viridis(2.0), VIRIDIS[8]);
    }

    #[test]
    fn text_on_the_map_changes_colour_once() {
        assert_eq!(viridis(0.0).contrast(), Color::PAPER);
        assert_eq!(viridis(1.0).contrast(), Color::INK);
        assert_eq!(Color::PAPER.contrast(), Color::INK);
    }
}
