//! Files of SpyNet weights: names, shapes, damage.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nca_core::checkpoint::{TensorView, write_tensors};
use proptest::prelude::*;
use spynet::SpyNetWeights;

fn weights() -> SpyNetWeights {
    SpyNetWeights::init(2, &[8, 3, 2], 3, 1).unwrap()
}

fn file() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weights.safetensors");
    (directory, path)
}

/// Name, shape and values of each tensor, names as `prefix` has them.
fn tensors(weights: &SpyNetWeights, prefix: &str) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let mut tensors = Vec::new();
    for (l, level) in weights.levels().iter().enumerate() {
        for (i, layer) in level.iter().enumerate() {
            let name = format!("{prefix}.{l}.{prefix}.{}", 2 * i);
            let shape = vec![layer.outputs, layer.inputs, layer.kernel, layer.kernel];
            tensors.push((format!("{name}.weight"), shape, layer.weight.clone()));
            tensors.push((format!("{name}.bias"), vec![layer.outputs], layer.bias.clone()));
        }
    }
    tensors
}

fn load(tensors: &[(String, Vec<usize>, Vec<f32>)]) -> Result<SpyNetWeights, String> {
    let (_directory, path) = file();
    let views: Vec<_> = tensors
        .iter()
        .map(|(name, shape, values)| TensorView::new(name.clone(), shape, values))
        .collect();
    write_tensors(&path, &views, &BTreeMap::new()).unwrap();
    SpyNetWeights::load(&path).map_err(|e| {
        let message = e.to_string();
        assert!(message.contains("weights.safetensors"), "{message}");
        message
    })
}

/// Rounds are kept by a file where any level has several, and each level has one where the file says nothing.
#[test]
fn rounds_are_kept() {
    let (_directory, path) = file();
    let several = weights().with_rounds(vec![1, 3]).unwrap();
    for weights in [weights(), several] {
        weights.save(&path, &BTreeMap::new()).unwrap();
        assert!(SpyNetWeights::load(&path).unwrap() == weights, "{:?}", weights.rounds());
        weights.save_f16(&path, &BTreeMap::new()).unwrap();
        assert_eq!(SpyNetWeights::load(&path).unwrap().rounds(), weights.rounds());
    }
    for (text, expected) in [
        ("1 x", "numbers"),
        ("1", "2 numbers"),
        ("1 0", "1 to 8"),
        ("1 1 1", "2 numbers"),
    ] {
        let metadata = BTreeMap::from([("spynet.rounds".to_owned(), text.to_owned())]);
        let weights = tensors(&weights(), "netBasic");
        let views = weights
            .iter()
            .map(|(name, shape, values)| TensorView::new(name.clone(), shape, values));
        write_tensors(&path, &views.collect::<Vec<_>>(), &metadata).unwrap();
        let refused = SpyNetWeights::load(&path).unwrap_err().to_string();
        assert!(
            refused.contains("weights.safetensors") && refused.contains(expected),
            "{refused}"
        );
        assert_eq!(refused.matches("expected").count(), 1, "{refused}");
    }
}

#[test]
fn published_network_has_its_size() {
    let published = SpyNetWeights::init(
        SpyNetWeights::LEVELS,
        &SpyNetWeights::CHANNELS,
        SpyNetWeights::KERNEL,
        0,
    )
    .unwrap();
    let count: usize = tensors(&published, "").iter().map(|t| t.2.len()).sum();
    // 240 050 a level, the 1.44 million of the paper.
    assert_eq!(count, 6 * 240_050);
}

#[test]
fn both_name_styles_and_our_own_files() {
    let weights = weights();
    for prefix in ["netBasic", "moduleBasic"] {
        assert_eq!(load(&tensors(&weights, prefix)).unwrap(), weights);
    }
    let (_directory, path) = file();
    weights.save(&path, &BTreeMap::new()).unwrap();
    assert_eq!(SpyNetWeights::load(&path).unwrap(), weights);
}

#[test]
fn what_does_not_fit_is_named() {
    let good = tensors(&weights(), "netBasic");
    let without = |name: &str| good.iter().filter(|t| t.0 != name).cloned().collect::<Vec<_>>();
    let with = |name: &str, shape: &[usize], value: f32| {
        let mut tensors = without(name);
        tensors.push((name.to_owned(), shape.to_vec(), vec![value; shape.iter().product()]));
        tensors
    };
    assert!(load(&[]).unwrap_err().contains("netBasic.0.netBasic.0.weight"));
    assert!(
        load(&without("netBasic.1.netBasic.2.bias"))
            .unwrap_err()
            .contains("netBasic.1.netBasic.2.bias")
    );
    // Without the last layer, a level ends with the wrong number of channels; its bias is left over.
    assert!(load(&without("netBasic.1.netBasic.2.weight")).is_err());
    let wrong = load(&with("netBasic.0.netBasic.0.weight", &[3, 8, 3], 0.0)).unwrap_err();
    assert!(wrong.contains("[3, 8, 3]"), "{wrong}");
    let wrong = load(&with("netBasic.0.netBasic.0.weight", &[3, 8, 3, 1], 0.0)).unwrap_err();
    assert!(wrong.contains("square"), "{wrong}");
    assert!(load(&with("netBasic.0.netBasic.0.weight", &[3, 7, 3, 3], 0.0)).is_err());
    assert!(load(&with("netBasic.0.netBasic.0.weight", &[3, 8, 2, 2], 0.0)).is_err());
    assert!(load(&with("netBasic.0.netBasic.0.bias", &[4], 0.0)).is_err());
    assert!(load(&with("netBasic.0.netBasic.0.bias", &[3], f32::NAN)).is_err());
    assert!(
        load(&with("something.else", &[1], 0.0))
            .unwrap_err()
            .contains("something.else")
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Damaged files are refused or hold a valid network; nothing panics.
    #[test]
    fn damage_never_panics(
        keep in 0.0..1.1_f64,
        patches in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5),
    ) {
        let (_directory, path) = file();
        SpyNetWeights::init(1, &[8, 2], 1, 2).unwrap().save(&path, &BTreeMap::new()).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        if keep < 1.0 {
            bytes.truncate((bytes.len() as f64 * keep) as usize);
        }
        for (at, value) in patches {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
        }
        std::fs::write(&path, &bytes).unwrap();
        match SpyNetWeights::load(&path) {
            Ok(weights) => prop_assert_eq!(weights.levels().len(), 1),
            Err(e) => prop_assert!(e.to_string().contains("weights.safetensors"), "{}", e),
        }
    }
}
