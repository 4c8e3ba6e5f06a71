//! The weight-free appearance loss with its gradient; throughput in pixels.

use std::time::Duration;

use benches::{Appearance, LOSSES};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nca_core::backend::Backend;
use nca_core::cpu::Cpu;

fn losses(criterion: &mut Criterion) {
    run(criterion, &Cpu::new().expect("a CPU backend"));
    if let Some(gpu) = benches::gpu() {
        run(criterion, &gpu);
    }
}

fn run<B: Backend>(criterion: &mut Criterion, backend: &B) {
    let mut group = criterion.benchmark_group("losses");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    for case in LOSSES {
        let mut loss = Appearance::new(backend, case).expect("a case of the table");
        let mut draw = 0;
        group.throughput(Throughput::Elements(case.grid.cells() as u64));
        group.bench_function(BenchmarkId::new(backend.name(), case.name()), |bencher| {
            bencher.iter(|| {
                draw += 1;
                loss.evaluate(backend, draw).expect("a loss");
            });
        });
    }
    group.finish();
}

criterion_group!(groups, losses);
criterion_main!(groups);
