//! The fast CPU backend through the suite that every backend runs, once for each instruction set.

use nca_core::Precision;
use nca_core::cpu::{Bf16Unit, ConvAlgorithm, Cpu, Simd};
use nca_core::testkit;

/// The backend on `simd`; `None` where this machine lacks it, and the test reports itself skipped.
fn cpu(simd: Simd) -> Option<Cpu> {
    simd.available().then(|| {
        Cpu::builder()
            .simd(simd)
            .threads(2)
            .build()
            .expect("an instruction set that is available")
    })
}

mod avx512 {
    use super::*;
    nca_core::backend_suite!(|| cpu(Simd::Avx512));
}

mod avx2 {
    use super::*;
    nca_core::backend_suite!(|| cpu(Simd::Avx2));
}

mod neon {
    use super::*;
    nca_core::backend_suite!(|| cpu(Simd::Neon));
}

mod portable {
    use super::*;
    nca_core::backend_suite!(|| cpu(Simd::Portable));
}

/// Those by transforms have a bound of another kind (`convolution.rs`).
mod direct_convolutions {
    use super::*;
    #[test]
    fn conv2d() {
        for simd in Simd::ALL.into_iter().filter(|simd| simd.available()) {
            let cpu = Cpu::builder().simd(simd).threads(2).conv(ConvAlgorithm::Direct);
            testkit::run(cpu.build().expect("available"), testkit::conv2d::parity);
        }
    }
}

/// What may be multiplied in bf16: the update network of the fused step, and convolutions.
mod bf16 {
    use super::*;

    /// On each unit that this machine has; the grids of the suite are narrow and wide, so that all widths of vectors
    /// meet it.
    fn backends() -> impl Iterator<Item = Cpu> {
        let available = Bf16Unit::ALL.into_iter().filter(|unit| unit.available());
        available.map(|unit| {
            let cpu = Cpu::builder().threads(2).precision(Precision::Bf16).bf16(unit);
            cpu.build().expect("available")
        })
    }

    #[test]
    fn nca_step() {
        for cpu in backends() {
            testkit::run(cpu, testkit::nca_step::parity);
        }
    }

    #[test]
    fn rollout() {
        for cpu in backends() {
            testkit::run(cpu, testkit::rollout::parity);
        }
    }

    #[test]
    fn conv2d() {
        for unit in Bf16Unit::ALL.into_iter().filter(|unit| unit.available()) {
            let cpu = Cpu::builder().threads(2).precision(Precision::Bf16).bf16(unit);
            testkit::run(
                cpu.conv(ConvAlgorithm::Direct).build().expect("available"),
                testkit::conv2d::parity,
            );
        }
    }
}
