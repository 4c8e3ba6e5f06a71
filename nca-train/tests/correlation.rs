//! Correlations and their intervals against scipy: `golden/correlation.json`, written by the script
//! beside it.

use std::path::Path;

use nca_train::report::{Correlation, Pair, Quantity};
use serde::Deserialize;

/// Rounding of sums of fifty terms of order one, by either side.
const TOLERANCE: f64 = 256.0 * f64::EPSILON;

#[derive(Deserialize)]
struct Case {
    name: String,
    architectures: Vec<usize>,
    x: Vec<f64>,
    y: Vec<f64>,
    pearson: f64,
    pearson_interval: [f64; 2],
    spearman: f64,
    spearman_interval: [f64; 2],
}

fn cases() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/correlation.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn coefficients_and_intervals_are_those_of_scipy() {
    let cases = cases();
    assert!(Quantity::ALL.iter().all(|q| cases.iter().any(|c| c.name == q.name())));
    for case in cases {
        let numbers = case.x.iter().zip(&case.y).zip(&case.architectures);
        let pairs: Vec<_> = numbers
            .map(|((&x, &y), &a)| Pair {
                architecture: (a, 1),
                x,
                y,
            })
            .collect();
        let found = Correlation::of(&pairs);
        let close = |what: &str, found: Option<f64>, expected: f64| {
            let near = found.is_some_and(|v| (v - expected).abs() <= TOLERANCE);
            assert!(near, "{}, {what}: {found:?}, expected {expected}", case.name);
        };
        close("r", found.pearson, case.pearson);
        close("ρ", found.spearman, case.spearman);
        for (what, found, [low, high]) in [
            ("interval of r", found.pearson_interval, case.pearson_interval),
            ("interval of ρ", found.spearman_interval, case.spearman_interval),
        ] {
            close(what, found.map(|i| i.low), low);
            close(what, found.map(|i| i.high), high);
        }
    }
}
