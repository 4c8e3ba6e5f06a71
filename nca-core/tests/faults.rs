//! The suite can fail: a fault in any output of any operation is noticed.

use std::collections::BTreeSet;
use std::path::Path;

use nca_core::reference::Reference;
use nca_core::testkit::{Fault, Faulty, Kind, Mismatch, Rule, suite};

type Backend = Faulty<Reference<f32>>;
type Check = fn(&Backend) -> Result<(), Mismatch>;

fn faulty(fault: Option<Fault>) -> Backend {
    Faulty::new(Reference::new(), fault)
}

/// The check of the operation that `op` belongs to; memory operations have one check together.
fn check_of(op: &str) -> Check {
    let suite = suite();
    let (_, check) = suite
        .iter()
        .filter(|(stem, _)| op == *stem || op.strip_prefix(stem).is_some_and(|rest| rest.starts_with('_')))
        .max_by_key(|(stem, _)| stem.len())
        .unwrap_or(&suite[0]);
    *check
}

/// Every output that the suite makes the backend write.
fn outputs() -> Vec<(&'static str, &'static str, Rule)> {
    let backend = faulty(None);
    for (stem, check) in suite() {
        check(&backend).unwrap_or_else(|mismatch| panic!("{stem} without a fault: {mismatch}"));
    }
    backend.seen()
}

#[test]
fn every_fault_is_noticed() {
    let outputs = outputs();
    let mut unnoticed = Vec::new();
    for (op, output, rule) in outputs {
        for kind in [Kind::Element, Kind::Accumulation] {
            let fault = Fault { op, output, kind };
            if (kind, rule) != (Kind::Accumulation, Rule::InPlace) && check_of(op)(&faulty(Some(fault))).is_ok() {
                unnoticed.push(fault);
            }
        }
    }
    assert!(unnoticed.is_empty(), "{unnoticed:#?}");
}

/// The operations that the traits of `src/backend` declare, read from their sources.
fn declared() -> BTreeSet<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/backend");
    let mut ops = BTreeSet::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        // The memory operations are not all visible in what they write.
        if path.ends_with("device.rs") {
            continue;
        }
        let source = std::fs::read_to_string(path).unwrap();
        for (start, _) in source.match_indices("    fn ") {
            let (name, arguments) = source[start + 7..].split_once('(').unwrap();
            let writes = !name.ends_with("_scratch") && !name.ends_with("_len");
            if arguments.trim_start().starts_with("&self") && writes {
                ops.insert(name.to_owned());
            }
        }
    }
    ops
}

/// Operations that are given no sizes but those of their buffers.
const WITHOUT_SIZES: [&str; 10] = [
    "axpy",
    "l1",
    "l1_backward",
    "l2",
    "l2_backward",
    "normalize",
    "overflow",
    "overflow_backward",
    "relu",
    "relu_backward",
];

#[test]
fn every_call_that_must_be_refused_is_noticed() {
    let refusals = check_of("refusals");
    refusals(&faulty(None)).unwrap();
    let mut unnoticed = Vec::new();
    for op in declared()
        .into_iter()
        .filter(|op| !WITHOUT_SIZES.contains(&op.as_str()))
    {
        let fault = Fault {
            op: op.clone().leak(),
            output: "",
            kind: Kind::Acceptance,
        };
        if refusals(&faulty(Some(fault))).is_ok() {
            unnoticed.push(op);
        }
    }
    assert!(unnoticed.is_empty(), "{unnoticed:#?}");
}

#[test]
fn every_operation_is_in_the_suite() {
    let seen: BTreeSet<String> = outputs().into_iter().map(|(op, ..)| op.to_owned()).collect();
    let missing: Vec<String> = declared().difference(&seen).cloned().collect();
    assert!(missing.is_empty(), "no check of the suite calls {missing:?}");
}

#[test]
fn a_fault_in_download_is_noticed() {
    let fault = Fault {
        op: "download",
        output: "dst",
        kind: Kind::Element,
    };
    assert!(check_of("download")(&faulty(Some(fault))).is_err());
}

/// The mismatch says what a developer needs: operation, output, element, both values, the input.
#[test]
fn a_mismatch_names_what_differs() {
    let fault = Fault {
        op: "perceive_backward",
        output: "g_x",
        kind: Kind::Element,
    };
    let Err(Mismatch::Case { case, cause }) = check_of("perceive")(&faulty(Some(fault))) else {
        panic!("expected the failing input");
    };
    assert!(case.contains("NcaConfig"), "{case}");
    let Mismatch::Value {
        op,
        output,
        got,
        want,
        allowed,
        ..
    } = *cause
    else {
        panic!("expected a value, got {cause}");
    };
    assert_eq!((op, output), ("perceive_backward", "g_x"));
    assert!((got - want).abs() > allowed);
}
