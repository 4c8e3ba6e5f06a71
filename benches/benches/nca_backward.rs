//! The gradient of one step at fire rate 0.5; throughput in cell updates, active or not.

use std::time::Duration;

use benches::{STEPS, Setup};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nca_core::backend::Backend;

fn nca_backward(criterion: &mut Criterion) {
    for cpu in benches::cpus().expect("a CPU backend") {
        run(criterion, &cpu);
    }
    if let Some(gpu) = benches::gpu() {
        run(criterion, &gpu);
    }
}

fn run<B: Backend>(criterion: &mut Criterion, backend: &B) {
    let mut group = criterion.benchmark_group("nca_backward");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    for case in STEPS {
        let mut setup = Setup::new(backend, case, 0.5).expect("a case of the table");
        let mut step = 0;
        group.throughput(Throughput::Elements(case.grid.cells() as u64));
        group.bench_function(BenchmarkId::new(benches::label(backend), case.name()), |bencher| {
            bencher.iter(|| {
                step += 1;
                setup.backward(backend, step).expect("a step back");
            });
        });
    }
    group.finish();
}

criterion_group!(groups, nca_backward);
criterion_main!(groups);
