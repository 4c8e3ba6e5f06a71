//! Endpoint errors by set.

use std::collections::BTreeMap;

use nca_core::Result;
use serde::Serialize;

use crate::endpoint::endpoint_error;
use crate::estimator::FlowEstimator;
use crate::field::{FlowField, is_known};
use crate::synth::Kind;

/// What pairs have in common whose errors are averaged. Their order is that of the tables.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Set {
    /// Synthetic pairs of a kind, in frames of one size.
    Synthetic {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// What the pairs show.
        kind: Kind,
    },
    /// All pairs from files.
    Files,
    /// Those of them in one folder.
    Folder(String),
    /// One of them.
    File(String),
    /// Pairs given by a name.
    Named(String),
    /// Pairs that move about as far.
    Size(SizeClass),
}

impl Set {
    /// Its name in tables.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Synthetic { height, width, kind } => format!("{} {width}×{height}", kind.name()),
            Self::Files => "all files".to_owned(),
            Self::Folder(folder) if folder.is_empty() => "./".to_owned(),
            Self::Folder(folder) => format!("{folder}/"),
            Self::File(name) | Self::Named(name) => name.clone(),
            Self::Size(class) => class.name().to_owned(),
        }
    }

    /// The set of pairs that move as far as `truth`.
    #[must_use]
    pub fn of_size(truth: &FlowField) -> Self {
        Self::Size(SizeClass::of(truth.mean_magnitude().unwrap_or(0.0)))
    }
}

/// Classes of the mean length of a pair's true flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SizeClass {
    /// Exactly zero.
    Still,
    /// Below 0.1 px.
    Tiny,
    /// 0.1 to 0.5 px.
    Subpixel,
    /// 0.5 to 2 px.
    Small,
    /// 2 to 8 px.
    Medium,
    /// 8 px and more.
    Large,
}

impl SizeClass {
    /// The class of pairs whose flow is `length` px long on average.
    #[must_use]
    pub fn of(length: f64) -> Self {
        match length {
            l if l <= 0.0 => Self::Still,
            l if l < 0.1 => Self::Tiny,
            l if l < 0.5 => Self::Subpixel,
            l if l < 2.0 => Self::Small,
            l if l < 8.0 => Self::Medium,
            _ => Self::Large,
        }
    }

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Still => "no motion",
            Self::Tiny => "below 0.1 px",
            Self::Subpixel => "0.1 to 0.5 px",
            Self::Small => "0.5 to 2 px",
            Self::Medium => "2 to 8 px",
            Self::Large => "8 px and more",
        }
    }
}

/// Errors of one estimator on one set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AccuracyRow {
    /// Name of the set.
    pub set: String,
    /// Name of the estimator.
    pub flow: String,
    /// Pairs of the set.
    pub pairs: u64,
    /// Mean length of the true flow, pixels, where it is known.
    pub true_length: f64,
    /// Mean length of the estimated flow, pixels, where the true one is known.
    pub length: f64,
    /// Mean endpoint error, pixels.
    pub epe: f64,
    /// Share of pixels off by more than 1 px.
    pub above_1px: f64,
    /// Share of pixels off by more than 3 px.
    pub above_3px: f64,
}

/// Sums over the pairs of a set; every pair counts alike, whatever its size.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    pairs: u64,
    values: [f64; 5],
}

/// Collects errors of several estimators on pairs with known flow.
#[derive(Debug)]
pub struct Accuracy<'e> {
    estimators: Vec<&'e dyn FlowEstimator>,
    /// For each set and estimator.
    sums: BTreeMap<(Set, usize), Sums>,
}

impl<'e> Accuracy<'e> {
    /// For these estimators, whose order is that of the tables.
    #[must_use]
    pub fn new(estimators: Vec<&'e dyn FlowEstimator>) -> Self {
        Self {
            estimators,
            sums: BTreeMap::new(),
        }
    }

    /// Estimates the flow from `first` to `second`, both `[3,H,W]`, and counts the errors against
    /// `truth` in each of `sets`. Returns the estimates in their order.
    ///
    /// # Errors
    /// When an estimator fails or what it finds is no flow ([`FlowEstimator::estimate`]), sizes differ, or the truth knows no
    /// pixel. Then the pair counts for no estimator.
    pub fn add(&mut self, sets: &[Set], first: &[f32], second: &[f32], truth: &FlowField) -> Result<Vec<FlowField>> {
        let (height, width) = (truth.height(), truth.width());
        let mut estimates = Vec::with_capacity(self.estimators.len());
        let mut found = Vec::with_capacity(self.estimators.len());
        for estimator in &self.estimators {
            let field = estimator.estimate(height, width, first, second)?;
            let error = endpoint_error(&field, truth)?;
            let [true_length, length] = [truth, &field].map(|flow| length_where_known(flow, truth));
            found.push([true_length, length, error.mean, error.above_1px, error.above_3px]);
            estimates.push(field);
        }
        for (index, values) in found.into_iter().enumerate() {
            for set in sets {
                let sums = self.sums.entry((set.clone(), index)).or_default();
                sums.pairs += 1;
                for (sum, value) in sums.values.iter_mut().zip(values) {
                    *sum += value;
                }
            }
        }
        Ok(estimates)
    }

    /// The means: sets in their order, within a set the estimators in theirs.
    #[must_use]
    pub fn rows(&self) -> Vec<AccuracyRow> {
        self.sums
            .iter()
            .map(|((set, index), sums)| {
                let [true_length, length, epe, above_1px, above_3px] = sums.values.map(|v| v / sums.pairs as f64);
                AccuracyRow {
                    set: set.name(),
                    flow: self.estimators[*index].name().to_owned(),
                    pairs: sums.pairs,
                    true_length,
                    length,
                    epe,
                    above_1px,
                    above_3px,
                }
            })
            .collect()
    }
}

/// Mean length of `flow`, pixels, over the pixels that `truth` knows, of which there are some: lengths of the two compare only
/// over the same pixels.
fn length_where_known(flow: &FlowField, truth: &FlowField) -> f64 {
    let (mut sum, mut count) = (0.0, 0_u64);
    let vectors = flow.vectors().zip(truth.vectors());
    for ((u, v), _) in vectors.filter(|&(_, (true_u, true_v))| is_known(true_u, true_v)) {
        sum += f64::from(u).hypot(f64::from(v));
        count += 1;
    }
    sum / count as f64
}
