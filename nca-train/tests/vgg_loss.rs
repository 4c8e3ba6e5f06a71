//! The losses on VGG features: their gradients, their rules, and what they are for.

mod narrow;

use std::cell::RefCell;
use std::path::Path;

use narrow::{VGG16, VGG19, download, exemplar, load, pictures, upload};
use nca_core::backend::{Adam, AdamStep, Backend, Device};
use nca_core::cpu::Cpu;
use nca_core::philox::{PhiloxRng, Stream};
use nca_core::reference::Reference;
use nca_core::testkit::{check_gradient, real_data};
use nca_train::Texture;
use nca_train::loss::{APPEARANCES, AppearanceLoss, OtSettings, SlwSettings, VggGram, VggOt, VggSlw, appearance};
use nca_train::vgg::Vgg;

type Host = Reference<f64>;
type Loss<B> = Box<dyn AppearanceLoss<B>>;

/// Size of the pictures: odd, and more positions in the first layer than are compared.
const HEIGHT: usize = 11;
const WIDTH: usize = 9;
const BATCH: usize = 2;
const SAMPLES: usize = 40;
const DRAW: u64 = 12345;

/// Every loss on a narrow VGG network.
fn losses(layers: &[(usize, usize)], exemplar: &Texture) -> Vec<Loss<Host>> {
    let backend = &Host::new();
    let ot = OtSettings { samples: SAMPLES };
    let slw = SlwSettings { directions: 5 };
    vec![
        Box::new(VggOt::new(backend, load(backend, layers), &ot, exemplar, BATCH).unwrap()),
        Box::new(VggSlw::new(backend, load(backend, layers), &slw, exemplar, BATCH).unwrap()),
        Box::new(VggGram::new(backend, load(backend, layers), &(), exemplar, BATCH).unwrap()),
    ]
}

fn value<B: Backend>(backend: &B, loss: &mut dyn AppearanceLoss<B>, draw: u64, rgb: &[f64]) -> f64 {
    let mut out = backend.zeros(1).unwrap();
    loss.evaluate(backend, draw, &upload(backend, rgb), None, &mut out, 0)
        .unwrap();
    download(backend, &out)[0]
}

fn gradient<B: Backend>(backend: &B, loss: &mut dyn AppearanceLoss<B>, draw: u64, rgb: &[f64]) -> (f64, Vec<f64>) {
    let mut out = backend.zeros(1).unwrap();
    let mut g_rgb = backend.zeros(rgb.len()).unwrap();
    backend.fill(f64::NAN, &mut g_rgb).unwrap();
    loss.evaluate(backend, draw, &upload(backend, rgb), Some(&mut g_rgb), &mut out, 0)
        .unwrap();
    (download(backend, &out)[0], download(backend, &g_rgb))
}

#[test]
fn gradients_agree_with_differences() {
    let backend = Host::new();
    let rgb = pictures(BATCH, HEIGHT, WIDTH);
    for layers in [&VGG16[..], &VGG19[..], &VGG19[..3]] {
        for mut loss in losses(layers, &exemplar(HEIGHT, WIDTH)) {
            let (_, g_rgb) = gradient(&backend, loss.as_mut(), DRAW, &rgb);
            assert!(g_rgb.iter().any(|g| *g != 0.0));
            let name = loss.name();
            let loss = RefCell::new(loss);
            check_gradient(name, "g_rgb", &rgb, &g_rgb, &[1.0], |rgb| {
                Ok(vec![value(&backend, loss.borrow_mut().as_mut(), DRAW, rgb)])
            })
            .unwrap();
        }
    }
}

/// The value is added to its slot, is the same with and without gradient and whenever the same draw
/// comes again, and another one with another draw where anything is drawn.
#[test]
fn a_draw_decides_the_loss() {
    let backend = Host::new();
    let rgb = pictures(BATCH, HEIGHT, WIDTH);
    for mut loss in losses(&VGG19, &exemplar(HEIGHT, WIDTH)) {
        let loss = loss.as_mut();
        let first = value(&backend, loss, DRAW, &rgb);
        let other = value(&backend, loss, DRAW + 1, &rgb);
        assert_eq!(first != other, loss.name() != "vgg-gram", "{}", loss.name());
        assert_eq!(gradient(&backend, loss, DRAW, &rgb).0, first);

        let mut out = vec![1.0, 10.0];
        loss.evaluate(&backend, DRAW, &rgb, None, &mut out, 1).unwrap();
        assert_eq!(out[0], 1.0);
        // One rounding for each term that is added to a number of order 10.
        assert!((out[1] - 10.0 - first).abs() <= 12.0 * 10.0 * f64::EPSILON, "{out:?}");
    }
}

/// Each picture counts for its share, and none knows of the others.
#[test]
fn the_loss_of_a_batch_is_the_mean() {
    let backend = Host::new();
    let rgb = pictures(BATCH, HEIGHT, WIDTH);
    let exemplar = exemplar(HEIGHT, WIDTH);
    let single = 3 * HEIGHT * WIDTH;
    // All positions compared: which ones are drawn depends on the place in the batch.
    let ot = OtSettings { samples: usize::MAX };
    let make = |batch| -> Vec<Loss<Host>> {
        let slw = SlwSettings::default();
        vec![
            Box::new(VggOt::new(&backend, load(&backend, &VGG16), &ot, &exemplar, batch).unwrap()),
            Box::new(VggSlw::new(&backend, load(&backend, &VGG16), &slw, &exemplar, batch).unwrap()),
            Box::new(VggGram::new(&backend, load(&backend, &VGG16), &(), &exemplar, batch).unwrap()),
        ]
    };
    for (mut both, mut one) in make(2).into_iter().zip(make(1)) {
        let (loss, g_rgb) = gradient(&backend, both.as_mut(), DRAW, &rgb);
        let singles = [0, 1].map(|i| gradient(&backend, one.as_mut(), DRAW, &rgb[i * single..][..single]));
        // A handful of roundings of the same terms.
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-13 * a.abs().max(1.0);
        assert!(close(loss, (singles[0].0 + singles[1].0) / 2.0));
        let halves = singles.iter().flat_map(|(_, g)| g.iter().map(|g| g / 2.0));
        assert!(g_rgb.iter().zip(halves).all(|(a, b)| close(*a, b)), "{}", both.name());
    }
}

/// The exemplar is like itself: no loss but the ε of the cosines. (Biases are such that no vector is
/// all zeros, which would have no direction in common with itself.)
#[test]
fn the_exemplar_has_no_loss() {
    let backend = &Host::new();
    let exemplar = exemplar(8, 8);
    let rgb: Vec<f64> = exemplar.rgb.iter().map(|&v| f64::from(v)).collect();
    let batch = rgb.repeat(BATCH);
    let noise = pictures(BATCH, 8, 8);
    let mut tensors = narrow::tensors(&VGG19);
    for (_, _, biases) in tensors.iter_mut().filter(|(name, ..)| name.ends_with("bias")) {
        biases.fill(2.0);
    }
    let (_dir, file) = narrow::file(&tensors);
    let layers = || Vgg::load(backend, &file).unwrap();
    let all: [Loss<Host>; 3] = [
        Box::new(VggOt::new(backend, layers(), &OtSettings::default(), &exemplar, BATCH).unwrap()),
        Box::new(VggSlw::new(backend, layers(), &SlwSettings::default(), &exemplar, BATCH).unwrap()),
        Box::new(VggGram::new(backend, layers(), &(), &exemplar, BATCH).unwrap()),
    ];
    for mut loss in all {
        let itself = value(backend, loss.as_mut(), DRAW, &batch);
        let noise = value(backend, loss.as_mut(), DRAW, &noise);
        assert!(
            itself.abs() < 1e-5 && noise > 1e-3,
            "{}: {itself:e}, {noise:e}",
            loss.name()
        );
    }
}

#[test]
fn a_loss_is_chosen_by_name() {
    let backend = Host::new();
    let exemplar = exemplar(16, 16);
    let (_dir, file) = narrow::file(&narrow::tensors(&VGG16));
    for name in APPEARANCES {
        let vgg = (name != "patch").then_some(file.as_path());
        let mut loss = appearance(name, vgg, &backend, &exemplar, BATCH).unwrap();
        assert_eq!(loss.name(), name);
        assert!(value(&backend, loss.as_mut(), DRAW, &pictures(BATCH, 16, 16)) > 0.0);
    }
    let refused = |name: &str, vgg: Option<&Path>| {
        let answer = appearance(name, vgg, &backend, &exemplar, BATCH);
        answer.expect_err("an error").to_string()
    };
    assert!(refused("vgg-ot", None).contains("--vgg"));
    assert!(refused("vgg", Some(&file)).contains("vgg-slw"));
    assert!(refused("vgg-slw", Some(Path::new("no/such/file"))).contains("no/such/file"));
}

/// Pictures of another size or number than announced are refused.
#[test]
fn wrong_lengths_are_refused() {
    let backend = Host::new();
    for mut loss in losses(&VGG16, &exemplar(HEIGHT, WIDTH)) {
        let mut out = vec![0.0];
        let rgb = pictures(BATCH + 1, HEIGHT, WIDTH);
        assert!(loss.evaluate(&backend, DRAW, &rgb, None, &mut out, 0).is_err());
        let rgb = pictures(BATCH, HEIGHT, WIDTH);
        assert!(loss.evaluate(&backend, DRAW, &rgb, None, &mut out, 1).is_err());
        let mut g_rgb = vec![0.0; 5];
        assert!(
            loss.evaluate(&backend, DRAW, &rgb, Some(&mut g_rgb), &mut out, 0)
                .is_err()
        );
    }
}

/// On pictures large enough that every operation is split between threads.
#[test]
fn number_of_threads_does_not_matter() {
    let (height, width) = (36, 33);
    let exemplar = exemplar(height, width);
    let rgb = pictures(1, height, width);
    let (_dir, file) = narrow::file(&narrow::tensors(&VGG19));
    for name in ["vgg-ot", "vgg-slw", "vgg-gram"] {
        let run = |threads| {
            let cpu = Cpu::with_threads(threads).unwrap();
            let mut loss = appearance(name, Some(&file), &cpu, &exemplar, 1).unwrap();
            gradient(&cpu, loss.as_mut(), DRAW, &rgb)
        };
        let one = run(1);
        assert!(one == run(2) && one == run(3), "{name}");
    }
}

/// Optimising the pixels of a picture of noise makes it more like the exemplar, with the published
/// weights.
#[test]
fn pixels_can_be_optimised() {
    const SIZE: usize = 32;
    const ITERATIONS: u64 = 24;
    let Some(vgg) = real_data("vgg19-conv1_1-conv3_4.safetensors") else {
        return;
    };
    let backend = Cpu::with_threads(2).unwrap();
    let exemplar = Texture::resolve("bubbly", None, SIZE).unwrap();
    let mut rng = PhiloxRng::new(1, Stream::Test, 0);
    let noise: Vec<f32> = (0..3 * SIZE * SIZE).map(|_| rng.uniform() as f32).collect();
    for name in ["vgg-ot", "vgg-slw", "vgg-gram"] {
        let mut loss = appearance(name, Some(&vgg), &backend, &exemplar, 1).unwrap();
        let mut rgb = backend.buffer(&noise).unwrap();
        let zeros = || backend.zeros(noise.len()).unwrap();
        let (mut g_rgb, mut m, mut v) = (zeros(), zeros(), zeros());
        let mut values = Vec::new();
        for iteration in 0..ITERATIONS {
            let mut out = backend.zeros(1).unwrap();
            loss.evaluate(&backend, iteration, &rgb, Some(&mut g_rgb), &mut out, 0)
                .unwrap();
            values.push(out[0]);
            let step = AdamStep {
                learning_rate: 0.03,
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-8,
                weight_decay: 0.0,
                step: iteration + 1,
            };
            backend.adam(&step, &g_rgb, &mut rgb, &mut m, &mut v).unwrap();
        }
        let (first, last) = (values[0], values[values.len() - 1]);
        eprintln!("{name}: {first} to {last}");
        assert!(last < 0.5 * first, "{name}: {values:?}");
    }
}
