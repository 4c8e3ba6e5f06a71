//! Scales of axes, linear and logarithmic, with their ticks and labels: `plotters` draws what is chosen
//! here.

/// A mark on an axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tick {
    pub(crate) value: f64,
    pub(crate) label: String,
}

/// How values map to positions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale {
    low: f64,
    high: f64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Linear,
    /// Ticks at 1, 2, 5 · 10ⁿ.
    Decades,
    /// Ticks at 2ⁿ.
    Octaves,
}

impl Scale {
    /// A linear scale that shows all finite `values` with a little room; from zero if they are not
    /// negative and `from_zero`.
    pub(crate) fn linear(values: impl IntoIterator<Item = f64>, from_zero: bool) -> Self {
        let Some((low, high)) = range(values) else {
            return Self::over(0.0, 1.0, Kind::Linear);
        };
        let from_zero = from_zero && low >= 0.0;
        let low = if from_zero { 0.0 } else { low };
        let room = 0.05 * (high - low);
        match (from_zero, room > 0.0) {
            (true, true) => Self::over(0.0, high + room, Kind::Linear),
            (true, false) => Self::over(0.0, 1.0, Kind::Linear),
            (false, true) => Self::over(low - room, high + room, Kind::Linear),
            (false, false) => {
                let room = if low == 0.0 { 1.0 } else { 0.5 * low.abs() };
                Self::over(low - room, high + room, Kind::Linear)
            }
        }
    }

    /// A logarithmic scale with ticks at 1, 2, 5 · 10ⁿ; linear if a value is not positive.
    pub(crate) fn decades(values: impl IntoIterator<Item = f64> + Clone) -> Self {
        Self::logarithmic(values, Kind::Decades)
    }

    /// A logarithmic scale with ticks at powers of two; linear if a value is not positive.
    pub(crate) fn octaves(values: impl IntoIterator<Item = f64> + Clone) -> Self {
        Self::logarithmic(values, Kind::Octaves)
    }

    fn logarithmic(values: impl IntoIterator<Item = f64> + Clone, kind: Kind) -> Self {
        match range(values.clone()) {
            Some((low, high)) if low > 0.0 => {
                let low = low.max(1.0 / LARGEST);
                let high = high.max(low);
                let room = (high / low).powf(0.06).max(1.15);
                Self::over(low / room, high * room, kind)
            }
            _ => Self::linear(values, false),
        }
    }

    /// A linear scale over exactly `[low, high]`.
    pub(crate) fn exactly(low: f64, high: f64) -> Self {
        Self::over(low, high, Kind::Linear)
    }

    fn over(low: f64, high: f64, kind: Kind) -> Self {
        Self { low, high, kind }
    }

    /// The values at its low and its high end; a scale may run backwards.
    pub(crate) fn ends(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    /// Position of a value: 0 at the low end, 1 at the high end. Values beyond an end lie on it.
    pub(crate) fn map(&self, value: f64) -> f64 {
        let (low, high, value) = match self.kind {
            Kind::Linear => (self.low, self.high, value),
            Kind::Decades | Kind::Octaves => (self.low.ln(), self.high.ln(), value.max(self.low).ln()),
        };
        ((value - low) / (high - low)).clamp(0.0, 1.0)
    }

    /// At most about `most` round values within the scale.
    pub(crate) fn ticks(&self, most: usize) -> Vec<Tick> {
        let most = most.max(2);
        match self.kind {
            Kind::Linear => self.linear_ticks(most),
            Kind::Octaves => self.octave_ticks(most),
            Kind::Decades => self.decade_ticks(most),
        }
    }

    fn linear_ticks(&self, most: usize) -> Vec<Tick> {
        let raw = (self.high - self.low) / most as f64;
        let power = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0]
            .map(|m| m * power)
            .into_iter()
            .find(|s| *s >= raw * 0.999);
        let step = step.unwrap_or(raw);
        let slack = 1e-9 * step;
        let first = ((self.low - slack) / step).ceil();
        let count = ((self.high + slack) / step - first).floor();
        if !(0.0..=100.0).contains(&count) {
            return Vec::new();
        }
        let values: Vec<f64> = (0..=count as usize).map(|i| (first + i as f64) * step).collect();
        let label = linear_labels(step, self.low.abs().max(self.high.abs()));
        values
            .into_iter()
            .map(|value| Tick {
                value,
                label: label(value),
            })
            .collect()
    }

    fn octave_ticks(&self, most: usize) -> Vec<Tick> {
        let (first, last) = (self.low.log2().ceil() as i32, self.high.log2().floor() as i32);
        if last <= first {
            // A range without two powers of two is as good as linear.
            return self.linear_ticks(most);
        }
        let every = (last - first) / most as i32 + 1;
        (first..=last)
            // Multiples of the stride, so that 1 is among them.
            .filter(|n| n % every == 0)
            .map(|n| Tick {
                value: 2f64.powi(n),
                label: match n {
                    0..=16 => (1i64 << n).to_string(),
                    -16..=-1 => format!("1/{}", 1i64 << -n),
                    _ => format!("2{}", superscript(n)),
                },
            })
            .collect()
    }

    fn decade_ticks(&self, most: usize) -> Vec<Tick> {
        let (first, last) = (self.low.log10().floor() as i32, self.high.log10().floor() as i32);
        let within = |steps: &[f64], every: i32| -> Vec<Tick> {
            (first..=last)
                .filter(|n| n % every == 0)
                .flat_map(|n| steps.iter().map(move |step| (step * 10f64.powi(n), n, *step)))
                .filter(|(value, ..)| (self.low..=self.high).contains(value))
                .map(|(value, n, step)| Tick {
                    value,
                    label: match n {
                        0..=4 => format!("{value:.0}"),
                        -3..=-1 => format!("{value:.*}", n.unsigned_abs() as usize),
                        _ if step == 1.0 => format!("10{}", superscript(n)),
                        _ => format!("{step:.0}·10{}", superscript(n)),
                    },
                })
                .collect()
        };
        let candidates = [
            within(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0], 1),
            within(&[1.0, 2.0, 5.0], 1),
            within(&[1.0, 3.0], 1),
            within(&[1.0], 1),
        ];
        if let Some(ticks) = candidates.into_iter().find(|ticks| ticks.len() <= most) {
            // As above.
            return if ticks.len() < 2 {
                self.linear_ticks(most)
            } else {
                ticks
            };
        }
        within(&[1.0], (last - first) / most as i32 + 1)
    }
}

/// Writes multiples of `step` up to the magnitude `largest`, all with the same digits.
fn linear_labels(step: f64, largest: f64) -> impl Fn(f64) -> String {
    let power = |v: f64| v.log10().floor() as i32;
    // Within rounding of the logarithm.
    let mut digits = -power(step * 1.000_001);
    let lead = step * 10f64.powi(digits);
    if (lead - lead.round()).abs() > 1e-6 {
        // 2.5 needs a digit more than its power of ten.
        digits += 1;
    }
    let exponent = power(largest);
    move |v| {
        let label = match exponent {
            _ if v == 0.0 && !(0..=4).contains(&digits) => "0".to_owned(),
            4..=5 if digits <= -2 => format!("{}k", (v / 100.0).round() / 10.0),
            -4..=5 if digits <= 5 => format!("{:.*}", digits.max(0) as usize, v + 0.0),
            _ => {
                let decimals = (digits + exponent).max(0) as usize;
                format!("{:.decimals$}·10{}", v / 10f64.powi(exponent), superscript(exponent))
            }
        };
        minus(&label)
    }
}

/// Largest magnitude an axis reaches, so that its ratios and its room stay finite.
const LARGEST: f64 = 1e140;

fn range(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    let finite = values.into_iter().filter(|v| v.is_finite());
    finite.map(|v| v.clamp(-LARGEST, LARGEST)).fold(None, |range, v| {
        let (low, high) = range.unwrap_or((v, v));
        Some((low.min(v), high.max(v)))
    })
}

/// A number with a minus sign instead of a hyphen.
pub(crate) fn minus(number: &str) -> String {
    number.replace('-', "−")
}

fn superscript(n: i32) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    n.to_string()
        .chars()
        .map(|c| c.to_digit(10).map_or('⁻', |d| DIGITS[d as usize]))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(scale: Scale, most: usize) -> Vec<String> {
        scale.ticks(most).into_iter().map(|t| t.label).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(
            labels(Scale::exactly(0.0, 1.0), 5),
            ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
        );
        assert_eq!(labels(Scale::exactly(-3.0, 11.0), 3), ["0", "5", "10"]);
        assert_eq!(
            labels(Scale::exactly(-110.0, 110.0), 5),
            ["−100", "−50", "0", "50", "100"]
        );
        assert_eq!(
            labels(Scale::exactly(0.0, 0.1), 4),
            ["0.000", "0.025", "0.050", "0.075", "0.100"]
        );
        assert_eq!(
            labels(Scale::exactly(0.0, 20_000.0), 4),
            ["0", "5k", "10k", "15k", "20k"]
        );
        assert_eq!(labels(Scale::exactly(0.0, 5e-7), 2), ["0", "2.5·10⁻⁷", "5.0·10⁻⁷"]);
        assert_eq!(labels(Scale::exactly(-1e9, 2e9), 3), ["−1·10⁹", "0", "1·10⁹", "2·10⁹"]);
        assert_eq!(
            labels(Scale::octaves([0.125, 16.0]), 8),
            ["1/8", "1/4", "1/2", "1", "2", "4", "8", "16"]
        );
        assert_eq!(labels(Scale::octaves([0.125, 16.0]), 5), ["1/4", "1", "4", "16"]);
        assert_eq!(labels(Scale::decades([0.02, 30.0]), 4), ["0.1", "1", "10"]);
        assert_eq!(labels(Scale::decades([1e-7, 1e7]), 3), ["10⁻⁶", "1", "10⁶"]);
    }

    #[test]
    fn degenerate_data_still_have_a_scale() {
        for values in [
            vec![],
            vec![f64::NAN],
            vec![0.0],
            vec![3.0, 3.0],
            vec![-2.0],
            vec![f64::MAX, f64::MIN_POSITIVE],
            vec![f64::MIN, f64::MAX],
        ] {
            for scale in [
                Scale::linear(values.clone(), true),
                Scale::linear(values.clone(), false),
                Scale::decades(values.clone()),
                Scale::octaves(values.clone()),
            ] {
                assert!(scale.low < scale.high, "{values:?} {scale:?}");
                assert!(scale.ticks(5).len() >= 2, "{values:?} {scale:?}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

        #[test]
        fn ticks_lie_on_the_axis_in_order(low in -1e4..1e4f64, width in 1e-3..1e5f64, most in 2..12usize) {
            for scale in [
                Scale::linear([low, low + width], false),
                Scale::linear([0.0, width], true),
                Scale::decades([width, width * (1.0 + low.abs())]),
                Scale::octaves([width, width * (1.0 + low.abs())]),
            ] {
                let ticks = scale.ticks(most);
                prop_assert!(ticks.len() <= most + 2, "{:?}: {:?}", scale, ticks);
                let slack = 1e-8 * (scale.high - scale.low);
                for tick in &ticks {
                    prop_assert!(tick.value >= scale.low - slack && tick.value <= scale.high + slack);
                }
                prop_assert!(ticks.windows(2).all(|t| t[0].value < t[1].value && t[0].label != t[1].label),
                    "{:?}: {:?}", scale, ticks);
            }
        }

        #[test]
        fn scales_are_monotone(a in 1e-3..1e3f64, b in 1e-3..1e3f64) {
            for scale in [Scale::linear([1e-3, 1e3], true), Scale::decades([1e-3, 1e3]), Scale::octaves([1e-3, 1e3])] {
                prop_assert_eq!(scale.map(a) < scale.map(b), a < b);
                prop_assert!((0.0..=1.0).contains(&scale.map(a)));
            }
        }
    }
}
