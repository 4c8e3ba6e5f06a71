//! The layers of one level of SpyNet and the first ones of VGG: forward, backward to images and to weights;
//! throughput in pixels.

use std::time::Duration;

use benches::{ConvLayer, ConvSetup, PASSES, SPYNET, VGG};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Sides of the images, one at a time.
const SIZES: [usize; 2] = [128, 256];

fn layers(criterion: &mut Criterion, name: &str, layers: &[ConvLayer]) {
    let cpus = benches::cpus().expect("a CPU backend");
    let mut group = criterion.benchmark_group(name);
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(500));
    for size in SIZES {
        for (cpu, layer) in cpus.iter().flat_map(|cpu| layers.iter().map(move |layer| (cpu, layer))) {
            let mut setup = ConvSetup::new(cpu, *layer, size, 1).expect("a layer of the table");
            group.throughput(Throughput::Elements((size * size) as u64));
            for pass in PASSES {
                let id = BenchmarkId::new(format!("{}/{}", benches::label(cpu), pass.name()), layer.name(size, 1));
                group.bench_function(id, |bencher| {
                    bencher.iter(|| setup.run(cpu, pass).expect("a convolution"));
                });
            }
        }
    }
    group.finish();
}

fn spynet(criterion: &mut Criterion) {
    layers(criterion, "spynet", &SPYNET);
}

fn vgg(criterion: &mut Criterion) {
    // The deeper ones never meet images of these sizes.
    layers(criterion, "vgg", &VGG[..5]);
}

criterion_group!(groups, spynet, vgg);
criterion_main!(groups);
