//! The question of the sweep, answered with numbers: does Ψ go with the architecture, and how many
//! models move at all?

use std::path::Path;

use nca_core::Result;
use nca_core::checkpoint::write_atomic;
use serde::{Serialize, Serializer};

use super::bootstrap::{FEWEST_ARCHITECTURES, Interval, correlation_intervals, distinct};
use super::collect::Collection;
use super::record::ModelRecord;
use super::stats;

/// A number that sums up an architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// D/C
    Ratio,
    /// D − C
    Difference,
    /// |D − C|
    Distance,
    /// C·D
    Product,
    /// log(D/C), natural
    LogRatio,
}

impl Quantity {
    /// In the order of tables.
    pub const ALL: [Self; 5] = [
        Self::Ratio,
        Self::Difference,
        Self::Distance,
        Self::Product,
        Self::LogRatio,
    ];

    /// As it is written: `D − C`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ratio => "D/C",
            Self::Difference => "D − C",
            Self::Distance => "|D − C|",
            Self::Product => "C·D",
            Self::LogRatio => "log(D/C)",
        }
    }

    /// Its value for an architecture of C channels and D hidden neurons.
    #[must_use]
    pub fn of(self, channels: usize, hidden: usize) -> f64 {
        let (c, d) = (channels as f64, hidden as f64);
        match self {
            Self::Ratio => d / c,
            Self::Difference => d - c,
            Self::Distance => (d - c).abs(),
            Self::Product => c * d,
            Self::LogRatio => (d / c).ln(),
        }
    }
}

impl Serialize for Quantity {
    /// Its name.
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Why a correlation lacks something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remark {
    /// Models of fewer than [`FEWEST_ARCHITECTURES`] architectures: no intervals.
    TooFewArchitectures,
    /// Ψ or the quantity is the same in all models: no coefficients.
    NoVariation,
    /// No model has a Ψ above its motion floor: coefficients would be those of noise, and there are none.
    NothingMoves,
}

impl Remark {
    /// The reason in words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::TooFewArchitectures => "too few architectures",
            Self::NoVariation => "no variation",
            Self::NothingMoves => "no model moves",
        }
    }
}

impl Serialize for Remark {
    /// Its text.
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

/// A model in a correlation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Its architecture (C, D).
    pub architecture: (usize, usize),
    /// One quantity.
    pub x: f64,
    /// The other.
    pub y: f64,
}

/// How two quantities go together over the models that have both.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Correlation {
    /// Models.
    pub n: usize,
    /// Different architectures (C, D) of these: what the intervals resample.
    pub architectures: usize,
    /// Pearson's r, of the values as they are.
    pub pearson: Option<f64>,
    /// Its 95 % interval by the bootstrap over architectures.
    pub pearson_interval: Option<Interval>,
    /// Spearman's ρ, of the ranks.
    pub spearman: Option<f64>,
    /// Its 95 % interval by the bootstrap over architectures.
    pub spearman_interval: Option<Interval>,
    /// Why something is missing.
    pub remark: Option<Remark>,
}

impl Correlation {
    /// Of the pairs in which both are finite.
    #[must_use]
    pub fn of(pairs: &[Pair]) -> Self {
        let finite = || pairs.iter().filter(|pair| pair.x.is_finite() && pair.y.is_finite());
        let (x, y): (Vec<_>, Vec<_>) = finite().map(|pair| (pair.x, pair.y)).unzip();
        let of: Vec<_> = finite().map(|pair| pair.architecture).collect();
        let architectures = distinct(&of);
        let pearson = stats::pearson(&x, &y);
        let [pearson_interval, spearman_interval] = match pearson {
            Some(_) => correlation_intervals(&of, &x, &y),
            None => [None, None],
        };
        Self {
            n: x.len(),
            architectures,
            pearson,
            pearson_interval,
            spearman: stats::spearman(&x, &y),
            spearman_interval,
            remark: match pearson {
                _ if architectures < FEWEST_ARCHITECTURES => Some(Remark::TooFewArchitectures),
                None => Some(Remark::NoVariation),
                Some(_) => None,
            },
        }
    }
}

/// Correlation of Ψ with a quantity of the architecture.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArchitectureCorrelation {
    /// Over the models of this texture; over all if `None`.
    pub texture: Option<String>,
    /// What of the architecture.
    pub quantity: Quantity,
    /// The coefficients.
    #[serde(flatten)]
    pub correlation: Correlation,
}

/// How many models move: have a Ψ [above its floor](crate::motion::above_floor).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Moving {
    /// Of this texture; of all if `None`.
    pub texture: Option<String>,
    /// Models that do.
    pub above_floor: usize,
    /// Models of which it is known.
    pub models: usize,
    /// `above_floor / models`.
    pub share: f64,
}

/// How Ψ goes with every [`Quantity`], for each texture and then for all together.
pub(super) fn correlations(collection: &Collection) -> Vec<ArchitectureCorrelation> {
    let mut found = Vec::new();
    for texture in scopes(collection) {
        for quantity in Quantity::ALL {
            found.push(ArchitectureCorrelation {
                texture: texture.map(str::to_owned),
                quantity,
                correlation: correlation(quantity, within(collection, texture)),
            });
        }
    }
    found
}

/// How Ψ goes with a quantity over the models that have a Ψ; without coefficients where all of these are known to stand
/// still.
pub(super) fn correlation<'a>(quantity: Quantity, records: impl Iterator<Item = &'a ModelRecord>) -> Correlation {
    let measured: Vec<_> = records.filter_map(|r| Some((r, r.measured_psi()?))).collect();
    if !measured.is_empty() && measured.iter().all(|(r, _)| r.above_floor() == Some(false)) {
        return Correlation {
            n: measured.len(),
            architectures: distinct(&measured.iter().map(|(r, _)| (r.channels, r.hidden)).collect::<Vec<_>>()),
            pearson: None,
            pearson_interval: None,
            spearman: None,
            spearman_interval: None,
            remark: Some(Remark::NothingMoves),
        };
    }
    let pairs: Vec<_> = measured
        .iter()
        .map(|(r, psi)| Pair {
            architecture: (r.channels, r.hidden),
            x: quantity.of(r.channels, r.hidden),
            y: *psi,
        })
        .collect();
    Correlation::of(&pairs)
}

/// The share of models that move, for each texture and then for all together; nothing where it is
/// known of no model.
pub(super) fn moving(collection: &Collection) -> Vec<Moving> {
    let of = |texture: Option<&str>| {
        let above: Vec<bool> = within(collection, texture)
            .filter_map(ModelRecord::above_floor)
            .collect();
        let above_floor = above.iter().filter(|above| **above).count();
        (!above.is_empty()).then(|| Moving {
            texture: texture.map(str::to_owned),
            above_floor,
            models: above.len(),
            share: above_floor as f64 / above.len() as f64,
        })
    };
    scopes(collection).into_iter().filter_map(of).collect()
}

/// Each texture, then all (`None`); a single texture alone, for it is all.
fn scopes(collection: &Collection) -> Vec<Option<&str>> {
    let textures = collection.textures();
    let all = (textures.len() != 1).then_some(None);
    textures.into_iter().map(Some).chain(all).collect()
}

fn within<'a>(collection: &'a Collection, texture: Option<&'a str>) -> impl Iterator<Item = &'a ModelRecord> {
    collection
        .records()
        .filter(move |r| texture.is_none_or(|t| r.texture == t))
}

/// Header of `correlations.csv`.
const COLUMNS: [&str; 11] = [
    "texture",
    "quantity",
    "models",
    "architectures",
    "pearson",
    "pearson_low",
    "pearson_high",
    "spearman",
    "spearman_low",
    "spearman_high",
    "remark",
];

/// Writes the table of correlations, atomically; `texture` is empty where it is all of them, a number
/// where there is none.
pub(super) fn write_correlations(path: &Path, correlations: &[ArchitectureCorrelation]) -> Result<()> {
    write_atomic(path, |file| {
        let mut table = ::csv::Writer::from_writer(file);
        table.write_record(COLUMNS)?;
        for row in correlations {
            let c = &row.correlation;
            let (pearson, spearman) = (c.pearson_interval, c.spearman_interval);
            table.serialize((
                row.texture.as_deref(),
                row.quantity,
                (c.n, c.architectures),
                (c.pearson, pearson.map(|i| i.low), pearson.map(|i| i.high)),
                (c.spearman, spearman.map(|i| i.low), spearman.map(|i| i.high)),
                c.remark,
            ))?;
        }
        table.flush()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each of an architecture of its own.
    fn pairs(values: &[(f64, f64)]) -> Vec<Pair> {
        let pair = |(i, &(x, y))| Pair {
            architecture: (i, 1),
            x,
            y,
        };
        values.iter().enumerate().map(pair).collect()
    }

    #[test]
    fn quantities_of_an_architecture() {
        let of = |quantity: Quantity| quantity.of(16, 4);
        assert_eq!(Quantity::ALL.map(of), [0.25, -12.0, 12.0, 64.0, -2.0 * 2f64.ln()]);
    }

    #[test]
    fn pairs_with_a_missing_half_are_left_out() {
        let found = Correlation::of(&pairs(&[(1.0, 2.0), (f64::NAN, 9.0), (2.0, 4.0), (3.0, f64::NAN)]));
        assert_eq!((found.n, found.architectures), (2, 2));
        assert!((found.pearson.unwrap() - 1.0).abs() < 4.0 * f64::EPSILON);
        assert_eq!(
            (found.pearson_interval, found.remark),
            (None, Some(Remark::TooFewArchitectures))
        );
    }

    #[test]
    fn a_remark_says_what_is_missing() {
        let line = |n: usize| pairs(&(0..n).map(|i| (i as f64, (i * i) as f64)).collect::<Vec<_>>());
        let few = line(FEWEST_ARCHITECTURES - 1);
        assert_eq!(Correlation::of(&few).remark, Some(Remark::TooFewArchitectures));
        assert_eq!(Correlation::of(&line(FEWEST_ARCHITECTURES)).remark, None);
        // Four seeds each are no more architectures.
        let seeds = few.repeat(4);
        let found = Correlation::of(&seeds);
        assert_eq!((found.n, found.architectures), (28, 7));
        assert_eq!(found.remark, Some(Remark::TooFewArchitectures));
        assert_eq!((found.pearson_interval, found.spearman_interval), (None, None));
        let flat = pairs(&[(1.0, 2.0); 9]);
        assert_eq!(Correlation::of(&flat).remark, Some(Remark::NoVariation));
    }
}
