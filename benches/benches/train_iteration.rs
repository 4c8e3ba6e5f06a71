//! A rollout, its appearance loss and the gradient of both; throughput in cell updates.

use std::time::Duration;

use benches::{TRAINING, TRAINING_STEPS, Training};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nca_core::backend::Backend;

fn train_iteration(criterion: &mut Criterion) {
    for cpu in benches::cpus().expect("a CPU backend") {
        run(criterion, &cpu);
    }
    if let Some(gpu) = benches::gpu() {
        run(criterion, &gpu);
    }
}

fn run<B: Backend>(criterion: &mut Criterion, backend: &B) {
    let mut group = criterion.benchmark_group("train_iteration");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    for case in TRAINING {
        let mut training = Training::new(backend, case).expect("a case of the table");
        let mut draw = 0;
        let updates = case.grid.cells() as u64 * u64::from(TRAINING_STEPS);
        group.throughput(Throughput::Elements(updates));
        group.bench_function(BenchmarkId::new(benches::label(backend), case.name()), |bencher| {
            bencher.iter(|| {
                draw += 1;
                training.iterate(backend, draw).expect("an iteration");
            });
        });
    }
    group.finish();
}

criterion_group!(groups, train_iteration);
criterion_main!(groups);
