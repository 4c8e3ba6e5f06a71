//! The fast CPU backend through the suite that every backend runs, once for each instruction set.

use nca_core::cpu::{ConvAlgorithm, Cpu, Simd};

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
            nca_core::testkit::run(cpu.build().expect("available"), nca_core::testkit::conv2d::parity);
        }
    }
}
