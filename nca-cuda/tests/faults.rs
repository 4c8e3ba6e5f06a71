//! The suite sees faults of this backend too, not only those of the reference.

use nca_core::Precision;
use nca_core::testkit::{Fault, Faulty, Kind, Mismatch, suite};
use nca_cuda::Cuda;

type Backend = Faulty<Cuda>;
type Check = fn(&Backend) -> Result<(), Mismatch>;

fn check_of(stem: &str) -> Check {
    let (_, check) = suite().into_iter().find(|(op, _)| *op == stem).expect("an operation");
    check
}

#[test]
fn a_fault_is_noticed() {
    let element = |op, output| Fault {
        op,
        output,
        kind: Kind::Element,
    };
    let faults = [
        ("nca_step", element("nca_step", "x_next")),
        ("nca_step", element("nca_step_backward", "g_x")),
        ("sort_rows", element("sort_rows", "sorted")),
        ("conv2d", element("conv2d_backward_weight", "g_weight")),
    ];
    for (stem, fault) in faults {
        let backend = Faulty::new(Cuda::emulated(), Some(fault));
        assert!(check_of(stem)(&backend).is_err(), "{fault:?} went unnoticed");
    }
}

/// Also where products are rounded and more is allowed: a fault of the size of the result, as one of the size of
/// the others is within what rounding may do.
#[test]
fn a_fault_is_noticed_whatever_the_precision() {
    let kept = |op, output| Fault {
        op,
        output,
        kind: Kind::Accumulation,
    };
    let faults = [
        ("nca_step", kept("nca_step", "x_next")),
        ("nca_step", kept("nca_step_backward", "g_x")),
        ("mlp", kept("mlp_backward", "g_z")),
        ("conv2d", kept("conv2d", "y")),
    ];
    for precision in [Precision::Tf32, Precision::F16, Precision::Bf16] {
        for (stem, fault) in faults {
            let backend = Faulty::new(Cuda::emulated().with_precision(precision), Some(fault));
            let verdict = check_of(stem)(&backend);
            assert!(verdict.is_err(), "{fault:?} went unnoticed in {precision}");
        }
    }
}

/// Adding where the contract says overwriting.
#[test]
fn a_broken_rule_is_noticed() {
    let fault = Fault {
        op: "perceive",
        output: "z",
        kind: Kind::Accumulation,
    };
    let backend = Faulty::new(Cuda::emulated(), Some(fault));
    assert!(check_of("perceive")(&backend).is_err());
}
