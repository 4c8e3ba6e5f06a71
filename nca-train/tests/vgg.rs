//! VGG networks: which files load, what the features are, and the gradient through them.

mod narrow;

use std::cell::RefCell;

use narrow::{Named, VGG16, VGG19, download, pictures, tensors, upload};
use nca_core::backend::Device;
use nca_core::cpu::Cpu;
use nca_core::reference::Reference;
use nca_core::testkit::{check_gradient, real_data};
use nca_train::vgg::{Features, Vgg};

type Host = Reference<f64>;

/// The names of the layers of a file with `tensors`, or the error without the file's name.
fn names(tensors: &[Named]) -> Result<Vec<String>, String> {
    let (_dir, path) = narrow::file(tensors);
    match Vgg::load(&Host::new(), &path) {
        Ok(vgg) => Ok(vgg.names().collect()),
        Err(error) => {
            let message = error.to_string();
            let start = format!("{}: ", path.display());
            Err(message.strip_prefix(&start).expect("the file's name").to_owned())
        }
    }
}

#[test]
fn the_indices_tell_the_network() {
    let all = [
        "relu1_1", "relu1_2", "relu2_1", "relu2_2", "relu3_1", "relu3_2", "relu3_3", "relu3_4", "relu4_1",
    ];
    assert_eq!(names(&tensors(&VGG19)).unwrap(), all);
    let vgg16: Vec<_> = all.into_iter().filter(|name| *name != "relu3_4").collect();
    assert_eq!(names(&tensors(&VGG16)).unwrap(), vgg16);
    for layers in 1..VGG19.len() {
        assert_eq!(names(&tensors(&VGG19[..layers])).unwrap(), all[..layers]);
    }
}

#[test]
fn other_tensors_are_left_alone() {
    let mut tensors = tensors(&VGG16);
    tensors.push(("classifier.0.weight".to_owned(), vec![2, 3], vec![0.0; 6]));
    assert_eq!(names(&tensors).unwrap().len(), VGG16.len());
}

#[test]
fn a_wrong_file_is_told_by_the_tensor() {
    let all = tensors(&VGG19);
    let without = |name: &str| -> Vec<Named> { all.iter().filter(|(n, ..)| n != name).cloned().collect() };
    let reshaped = |name: &str, shape: &[usize]| -> Vec<Named> {
        let mut tensors = all.clone();
        let tensor = tensors.iter_mut().find(|(n, ..)| n == name).unwrap();
        tensor.1 = shape.to_vec();
        tensor.2 = vec![0.0; shape.iter().product()];
        tensors
    };
    // VGG with batch normalisation has modules in between.
    let batch_norm = tensors(&[(0, 4), (3, 4), (7, 6)]);
    let mut longer = tensors(&VGG16);
    longer.push(("features.40.weight".to_owned(), vec![4, 10, 3, 3], vec![0.0; 360]));
    let mut infinite = all.clone();
    infinite
        .iter_mut()
        .find(|(name, ..)| name == "features.2.bias")
        .unwrap()
        .2[1] = f32::NEG_INFINITY;
    let cases = [
        (infinite, "found -inf in features.2.bias, expected finite"),
        (Vec::new(), "no tensor features.0.weight"),
        (
            without("features.0.weight"),
            "tensor features.19.weight but no features.0.weight",
        ),
        (
            without("features.7.weight"),
            "tensor features.19.weight but no features.7.weight",
        ),
        (batch_norm, "tensor features.7.weight but no features.2.weight"),
        (longer, "tensor features.40.weight but no features.19.weight"),
        (without("features.10.bias"), "no tensor features.10.bias"),
        (
            reshaped("features.0.weight", &[4, 1, 3, 3]),
            "tensor features.0.weight of shape [4, 1, 3, 3]",
        ),
        (
            reshaped("features.5.weight", &[6, 4, 5, 5]),
            "tensor features.5.weight of shape [6, 4, 5, 5]",
        ),
        (
            reshaped("features.5.weight", &[]),
            "tensor features.5.weight of shape []",
        ),
        (
            reshaped("features.12.bias", &[7]),
            "tensor features.12.bias of shape [7]",
        ),
        // The next layer expects what this one gives.
        (
            reshaped("features.14.weight", &[9, 8, 3, 3]),
            "tensor features.14.bias of shape [8]",
        ),
    ];
    for (tensors, expected) in cases {
        let error = names(&tensors).unwrap_err();
        assert!(error.contains(expected), "{error}\nshould say: {expected}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn a_missing_file_is_an_error() {
    assert!(Vgg::load(&Host::new(), "no/such/file.safetensors").is_err());
}

#[test]
fn layers_that_are_not_there_are_refused() {
    let backend = Host::new();
    let vgg = narrow::load(&backend, &VGG19);
    assert_eq!(vgg.layer("relu3_4").unwrap(), 7);
    assert!(vgg.layer("relu5_1").unwrap_err().to_string().contains("relu4_1"));
    for taps in [&[][..], &[9], &[3, 3], &[4, 2]] {
        assert!(Features::new(&backend, &vgg, 1, 16, 16, taps).is_err(), "{taps:?}");
    }
    let error = Features::new(&backend, &vgg, 1, 16, 7, &[8]).err().unwrap().to_string();
    assert!(error.contains("16x7") && error.contains("8x8"), "{error}");
}

/// relu1_1, relu2_1, … as far as the file and the pixels go.
#[test]
fn losses_compare_the_first_layer_of_each_block() {
    let backend = Host::new();
    let vgg = narrow::load(&backend, &VGG19);
    assert_eq!(vgg.texture_layers(8, 30), [0, 2, 4, 8]);
    assert_eq!(vgg.texture_layers(30, 7), [0, 2, 4]);
    assert_eq!(vgg.texture_layers(1, 1), [0]);
    let short = narrow::load(&backend, &VGG19[..6]);
    assert_eq!(short.texture_layers(64, 64), [0, 2, 4]);
}

/// From several taps at once, the last one included or not, odd sizes, both networks.
#[test]
fn gradients_agree_with_differences() {
    let backend = Host::new();
    let (batch, height, width) = (2, 11, 9);
    let rgb = pictures(batch, height, width);
    for (layers, taps) in [
        (&VGG19[..], &[0, 2, 4, 8][..]),
        (&VGG16[..], &[1, 6, 7]),
        (&VGG16[..], &[5]),
    ] {
        let vgg = narrow::load(&backend, layers);
        let mut features = Features::new(&backend, &vgg, batch, height, width, taps).unwrap();
        let forward = |features: &mut Features<Host>, rgb: &[f64]| -> nca_core::Result<Vec<f64>> {
            features.forward(&backend, &vgg, &upload(&backend, rgb))?;
            Ok((0..features.taps()).flat_map(|tap| features.tap(tap).clone()).collect())
        };
        forward(&mut features, &rgb).unwrap();
        let mut g_taps = features.tap_gradients(&backend).unwrap();
        let mut numbers = nca_core::testkit::cases::numbers(3, 0, 10_000).into_iter();
        for g in g_taps.iter_mut().flatten() {
            *g = numbers.next().unwrap();
        }
        let mut g_rgb = vec![f64::NAN; rgb.len()];
        features.backward(&backend, &vgg, &g_taps, &mut g_rgb).unwrap();
        // Buffers that an earlier backward has left are as good as new ones.
        let first = g_rgb.clone();
        features.backward(&backend, &vgg, &g_taps, &mut g_rgb).unwrap();
        assert_eq!(g_rgb, first);

        let features = RefCell::new(features);
        check_gradient("vgg", "g_rgb", &rgb, &g_rgb, &g_taps.concat(), |rgb| {
            forward(&mut features.borrow_mut(), rgb)
        })
        .unwrap();
    }
}

/// The published weights load, and give activations of the size their documentation states: a mean
/// of about 570 in relu3_4. That of a given picture is taken to be within a factor of four.
#[test]
fn published_weights_load() {
    let Some(path) = real_data("vgg19-conv1_1-conv3_4.safetensors") else {
        return;
    };
    let backend = Cpu::with_threads(2).unwrap();
    let vgg = Vgg::load(&backend, path).unwrap();
    assert_eq!(vgg.names().last().unwrap(), "relu3_4");
    let texture = nca_train::Texture::resolve("bubbly", None, 32).unwrap();
    let last = vgg.layer("relu3_4").unwrap();
    let mut features = Features::new(&backend, &vgg, 1, 32, 32, &[last]).unwrap();
    features
        .forward(&backend, &vgg, &backend.buffer(&texture.rgb).unwrap())
        .unwrap();
    let values = download(&backend, features.tap(0));
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    assert!((570.0 / 4.0..570.0 * 4.0).contains(&mean), "{mean}");
}
