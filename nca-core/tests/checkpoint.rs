//! Model and tensor files: round trips, every way to be wrong, and hostile bytes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nca_core::checkpoint::PerceptionOrder::{ChannelMajor, KernelMajor};
use nca_core::checkpoint::{
    Conventions, KEY_CONFIG, KEY_FORMAT, KEY_PERCEPTION_ORDER, PerceptionOrder, TensorView, read_tensors, write_tensors,
};
use nca_core::testkit::real_data;
use nca_core::{Nca, NcaConfig, Preset, SeedState};
use proptest::prelude::*;
use safetensors::Dtype;
use safetensors::tensor::TensorView as RawView;

type Metadata = BTreeMap<String, String>;

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file.safetensors");
    (dir, path)
}

/// A model all of whose weights differ from zero and from each other.
fn model(preset: Preset, channels: usize, hidden: usize) -> Nca {
    let mut nca = Nca::preset(preset, channels, hidden, 3).unwrap();
    for (t, tensor) in nca.params.iter_mut().enumerate() {
        for (i, value) in tensor.iter_mut().enumerate() {
            *value = (i as f32 + 1.0) * 0.001 + t as f32;
        }
    }
    nca
}

/// The tensors of `nca` under the names `w1`, `b1`, `w2`, `b2`, two-dimensional.
fn bare_tensors(nca: &Nca) -> Vec<TensorView<'_>> {
    let (c, d, kc) = (nca.config.channels, nca.config.hidden, nca.config.perceived());
    let mut views = vec![
        TensorView::new("w1", &[d, kc], &nca.params.w1),
        TensorView::new("b1", &[d], &nca.params.b1),
        TensorView::new("w2", &[c, d], &nca.params.w2),
    ];
    views.extend(nca.params.b2.as_ref().map(|b2| TensorView::new("b2", &[c], b2)));
    views
}

/// Loads what is expected to be wrong; the message must be one line that names the file and holds
/// every one of `parts`.
fn refused(path: &Path, conventions: impl Into<Conventions>, parts: &[&str]) {
    let message = Nca::load(path, conventions).unwrap_err().to_string();
    assert!(message.contains(&path.display().to_string()), "no file name: {message}");
    assert!(!message.contains('\n'), "more than one line: {message}");
    for part in parts {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }
}

/// Saves a model, lets `change` spoil its tensors and metadata, and writes the result.
fn spoiled<'a>(path: &Path, change: impl for<'v> FnOnce(&mut Vec<TensorView<'v>>, &mut Metadata) + 'a) {
    model(Preset::Notebook, 5, 7).save(path).unwrap();
    let saved = read_tensors(path).unwrap();
    let mut views: Vec<_> = saved
        .iter()
        .map(|(name, tensor)| TensorView::new(name, &tensor.shape, &tensor.values))
        .collect();
    let mut metadata = saved.metadata().clone();
    change(&mut views, &mut metadata);
    write_tensors(path, &views, &metadata).unwrap();
}

#[test]
fn models_of_every_preset_round_trip() {
    let (_dir, path) = scratch();
    let extra = Metadata::from([("texture".to_owned(), "bubbly".to_owned())]);
    for preset in Preset::ALL {
        let mut nca = model(preset, 5, 7);
        nca.config.fire_rate = 0.3;
        nca.config.seed = SeedState::Uniform;
        nca.save_with_extra(&path, &extra).unwrap();
        let (loaded, metadata) = Nca::load_with_extra(&path, None).unwrap();
        assert_eq!(loaded, nca);
        assert_eq!(metadata, extra);
        assert_eq!(Nca::load(&path, Some(preset)).unwrap(), nca);
    }
}

#[test]
fn equal_models_make_equal_files() {
    let (dir, path) = scratch();
    let other = dir.path().join("other.safetensors");
    let extra = Metadata::from([("a", "1"), ("b", "2"), ("c", "3")].map(|(k, v)| (k.to_owned(), v.to_owned())));
    model(Preset::Paper, 4, 6).save_with_extra(&path, &extra).unwrap();
    model(Preset::Paper, 4, 6).save_with_extra(&other, &extra).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), std::fs::read(other).unwrap());
}

#[test]
fn tensors_have_the_names_and_shapes_of_a_pytorch_module() {
    let (_dir, path) = scratch();
    model(Preset::Notebook, 5, 7).save(&path).unwrap();
    let tensors = read_tensors(&path).unwrap();
    let shapes: Vec<_> = tensors.iter().map(|(name, t)| (name, t.shape.clone())).collect();
    assert_eq!(
        shapes,
        [
            ("w1.bias", vec![7]),
            ("w1.weight", vec![7, 20, 1, 1]),
            ("w2.bias", vec![5]),
            ("w2.weight", vec![5, 7, 1, 1]),
        ]
    );
    assert_eq!(tensors.metadata()[KEY_FORMAT], "1");
    assert_eq!(tensors.metadata()[KEY_PERCEPTION_ORDER], "kernel-major");
}

#[test]
fn reserved_keys_and_bad_weights_are_not_saved() {
    let (_dir, path) = scratch();
    let mut nca = model(Preset::Paper, 4, 6);
    let reserved = Metadata::from([(KEY_FORMAT.to_owned(), "9".to_owned())]);
    assert!(
        nca.save_with_extra(&path, &reserved)
            .unwrap_err()
            .to_string()
            .contains(KEY_FORMAT)
    );
    nca.params.w2[3] = f32::NAN;
    let error = nca.save(&path).unwrap_err();
    assert!(error.to_string().contains("w2.weight"), "{error}");
    assert!(!path.exists());
}

#[test]
fn channel_major_columns_are_permuted() {
    let (_dir, path) = scratch();
    let nca = model(Preset::Paper, 5, 7);
    let (kernels, channels) = (4, 5);
    let columns: Vec<f32> = nca
        .params
        .w1
        .chunks(kernels * channels)
        .flat_map(|row| (0..channels).flat_map(move |c| (0..kernels).map(move |k| row[k * channels + c])))
        .collect();
    let mut views = bare_tensors(&nca);
    views[0].values = &columns;
    let stated = |order: &str| Metadata::from([(KEY_PERCEPTION_ORDER.to_owned(), order.to_owned())]);
    write_tensors(&path, &views, &stated("channel-major")).unwrap();
    assert_eq!(Nca::load(&path, Some(Preset::Paper)).unwrap(), nca);
    // What is given decides where the file says nothing.
    let given = Conventions::from(Preset::Paper);
    assert_eq!(Nca::load(&path, given.order(KernelMajor)).unwrap(), nca);
    assert_eq!(PerceptionOrder::stated_in(&path).unwrap(), Some(ChannelMajor));
    write_tensors(&path, &views, &Metadata::new()).unwrap();
    assert_eq!(Nca::load(&path, given.order(ChannelMajor)).unwrap(), nca);
    assert_eq!(PerceptionOrder::stated_in(&path).unwrap(), None);
    assert_ne!(
        Nca::load(&path, given).unwrap(),
        nca,
        "kernel-major unless something says otherwise"
    );
    write_tensors(&path, &views, &stated("row-major")).unwrap();
    refused(
        &path,
        Some(Preset::Paper),
        &["row-major", "kernel-major or channel-major"],
    );
}

#[test]
fn bare_files_take_the_preset_given() {
    let (_dir, path) = scratch();
    for preset in Preset::ALL {
        let nca = model(preset, 6, 9);
        write_tensors(&path, &bare_tensors(&nca), &Metadata::new()).unwrap();
        assert_eq!(Nca::load(&path, Some(preset)).unwrap(), nca);
        refused(&path, None, &["--perception", "paper, notebook, distill"]);
    }
}

#[test]
fn bare_files_decide_on_the_output_bias_themselves() {
    let (_dir, path) = scratch();
    let nca = model(Preset::Distill, 6, 9);
    let mut views = bare_tensors(&nca);
    views.retain(|view| view.name != "b2");
    write_tensors(&path, &views, &Metadata::new()).unwrap();
    let loaded = Nca::load(&path, Some(Preset::Distill)).unwrap();
    assert_eq!(loaded.params.b2, None);
    assert!(!loaded.config.output_bias);
    loaded.validate().unwrap();
}

#[test]
fn weights_may_be_f16_bf16_or_f64() {
    let (_dir, path) = scratch();
    let mut nca = model(Preset::Paper, 4, 6);
    // Values that every type holds exactly.
    for tensor in nca.params.iter_mut() {
        for (i, value) in tensor.iter_mut().enumerate() {
            *value = (i % 7) as f32 - 3.25;
        }
    }
    let bytes_of = |values: &[f32], dtype: Dtype| -> Vec<u8> {
        let bytes = |v: &f32| match dtype {
            Dtype::F16 => half::f16::from_f32(*v).to_le_bytes().to_vec(),
            Dtype::BF16 => half::bf16::from_f32(*v).to_le_bytes().to_vec(),
            _ => f64::from(*v).to_le_bytes().to_vec(),
        };
        values.iter().flat_map(bytes).collect()
    };
    for dtype in [Dtype::F16, Dtype::BF16, Dtype::F64] {
        let views = bare_tensors(&nca);
        let bytes: Vec<_> = views.iter().map(|view| bytes_of(view.values, dtype)).collect();
        let raw = views.iter().zip(&bytes).map(|(view, bytes)| {
            let raw = RawView::new(dtype, view.shape.clone(), bytes).unwrap();
            (view.name.as_str(), raw)
        });
        // Written by the format's own crate, which also shows that its files are read.
        safetensors::serialize_to_file(raw, None, &path).unwrap();
        assert_eq!(Nca::load(&path, Some(Preset::Paper)).unwrap(), nca, "{dtype:?}");
    }
}

#[test]
fn integers_are_read_where_they_are_exact() {
    let (_dir, path) = scratch();
    let write = |value: i64| {
        let bytes = value.to_le_bytes();
        let raw = RawView::new(Dtype::I64, vec![], &bytes).unwrap();
        safetensors::serialize_to_file([("count", raw)], None, &path).unwrap();
        read_tensors(&path)
    };
    assert_eq!(write(-(1 << 24)).unwrap().get("count").unwrap().values, [-16_777_216.0]);
    let message = write((1 << 24) + 1).unwrap_err().to_string();
    assert!(message.contains("16777217 in tensor count"), "{message}");
}

/// Files pass through a buffer of fixed size; these do not fit it, nor a multiple of it.
#[test]
fn tensors_larger_than_any_buffer_round_trip() {
    let (_dir, path) = scratch();
    let values: Vec<f32> = (0..200_003).map(|i| (i % 1999) as f32).collect();
    write_tensors(&path, &[TensorView::new("a", &[200_003], &values)], &Metadata::new()).unwrap();
    assert!(read_tensors(&path).unwrap().get("a").unwrap().values == values);
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|&v| half::f16::from_f32(v).to_le_bytes())
        .collect();
    let raw = RawView::new(Dtype::F16, vec![200_003], &bytes).unwrap();
    safetensors::serialize_to_file([("a", raw)], None, &path).unwrap();
    assert!(read_tensors(&path).unwrap().get("a").unwrap().values == values);
}

#[test]
fn contradictory_metadata_is_refused_by_name() {
    let (_dir, path) = scratch();
    let set = |key: &'static str, value: &'static str| {
        move |_: &mut Vec<TensorView<'_>>, metadata: &mut Metadata| {
            metadata.insert(key.into(), value.into());
        }
    };
    spoiled(&path, set(KEY_FORMAT, "2"));
    refused(&path, None, &["format 2", "newer version", "format 1"]);
    spoiled(&path, set(KEY_FORMAT, "one"));
    refused(&path, None, &["\"one\""]);
    spoiled(&path, set(KEY_CONFIG, "{"));
    refused(&path, None, &[KEY_CONFIG]);
    for key in [KEY_FORMAT, KEY_CONFIG, KEY_PERCEPTION_ORDER] {
        spoiled(&path, |_, metadata| {
            metadata.remove(key);
        });
        refused(&path, None, &["without", key]);
    }
}

#[test]
fn a_configuration_that_does_not_fit_is_refused_by_name() {
    let (_dir, path) = scratch();
    let replace = |from: &'static str, to: &'static str| {
        move |_: &mut Vec<TensorView<'_>>, metadata: &mut Metadata| {
            let config = metadata[KEY_CONFIG].replace(from, to);
            assert_ne!(config, metadata[KEY_CONFIG]);
            metadata.insert(KEY_CONFIG.into(), config);
        }
    };
    spoiled(&path, replace("\"channels\":5", "\"channels\":2"));
    refused(&path, None, &["number of channels 2", "3 to 1024"]);
    spoiled(&path, replace("\"fire_rate\":0.5", "\"fire_rate\":1.5"));
    refused(&path, None, &["fire rate 1.5"]);
    spoiled(&path, replace("\"hidden\":7", "\"hidden\":\"many\""));
    refused(&path, None, &[KEY_CONFIG]);
    spoiled(&path, replace("\"hidden\":7", "\"hidden\":8"));
    refused(&path, None, &["w1.weight of shape [7, 20, 1, 1]", "[8, 20, 1, 1]"]);
    spoiled(&path, replace("\"output_bias\":true", "\"output_bias\":false"));
    refused(&path, None, &["unknown tensor w2.bias"]);
    spoiled(&path, replace("\"hidden\":7", "\"hidden\":7,\"later\":1"));
    refused(&path, None, &[KEY_CONFIG, "later"]);
}

#[test]
fn wrong_tensors_are_refused_by_name() {
    let (_dir, path) = scratch();
    for name in ["w1.weight", "w1.bias", "w2.weight", "w2.bias"] {
        spoiled(&path, |views, _| views.retain(|view| view.name != name));
        refused(&path, None, &["no tensor", name]);
        spoiled(&path, |views, _| {
            let view = views.iter_mut().find(|view| view.name == name).unwrap();
            view.shape.push(1);
        });
        refused(&path, None, &["of shape", name]);
    }
    spoiled(&path, |views, _| {
        views.push(TensorView::new("w3.weight", &[2], &[0.0, 0.0]));
    });
    refused(&path, None, &["unknown tensor w3.weight of shape [2]"]);
}

#[test]
fn weights_that_are_not_finite_are_refused_by_name() {
    let (_dir, path) = scratch();
    for bias in [
        &[0.0, f32::NAN, 0.0, 0.0, 0.0, 0.0, 0.0],
        &[0.0, f32::INFINITY, 0.0, 0.0, 0.0, 0.0, 0.0],
    ] {
        spoiled(&path, |views, _| {
            views.iter_mut().find(|view| view.name == "w1.bias").unwrap().values = bias;
        });
        refused(&path, None, &["element 1 of tensor w1.bias", "finite"]);
    }
}

#[test]
fn a_preset_must_not_contradict_the_file() {
    let (_dir, path) = scratch();
    model(Preset::Notebook, 5, 7).save(&path).unwrap();
    refused(&path, Some(Preset::Distill), &["--perception distill"]);
}

#[test]
fn bare_files_of_another_kind_are_refused() {
    let (_dir, path) = scratch();
    let nca = model(Preset::Distill, 6, 9);
    let foreign = TensorView::new("features.0.weight", &[2], &[1.0, 2.0]);
    write_tensors(&path, &[foreign], &Metadata::new()).unwrap();
    refused(
        &path,
        Some(Preset::Paper),
        &["features.0.weight", "w1.weight", "w1, b1, w2, b2"],
    );
    let mut views = bare_tensors(&nca);
    views[0].shape = vec![12, 18];
    write_tensors(&path, &views, &Metadata::new()).unwrap();
    refused(
        &path,
        Some(Preset::Distill),
        &["tensor w1 of shape [12, 18]", "[12, 24, 1, 1]"],
    );
    let mut views = bare_tensors(&nca);
    views.remove(1);
    write_tensors(&path, &views, &Metadata::new()).unwrap();
    refused(&path, Some(Preset::Distill), &["no tensor b1"]);
    write_tensors(&path, &[], &Metadata::new()).unwrap();
    refused(&path, None, &["none"]);
}

#[test]
fn a_model_trained_by_others_loads() {
    let Some(path) = real_data("models/distill_bubbly_0101.safetensors") else {
        return;
    };
    let nca = Nca::load(&path, Some(Preset::Distill)).unwrap();
    assert_eq!(nca.config, NcaConfig::preset(Preset::Distill, 12, 96).unwrap());
    nca.validate().unwrap();
    refused(&path, None, &["--perception"]);
}

#[test]
fn what_is_no_safetensors_file_is_refused() {
    let (dir, path) = scratch();
    refused(&path, None, &[]);
    refused(dir.path(), None, &[]);
    for bytes in [
        &b""[..],
        b"1234567",
        b"\x89PNG\r\n\x1a\n and so on",
        &[0xff; 64],
        &[0; 64],
    ] {
        std::fs::write(&path, bytes).unwrap();
        refused(&path, None, &["safetensors"]);
    }
}

#[test]
fn taking_tensors_names_file_tensor_and_shapes() {
    let (_dir, path) = scratch();
    let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    write_tensors(&path, &[TensorView::new("a", &[2, 3], &values)], &Metadata::new()).unwrap();
    let mut tensors = read_tensors(&path).unwrap();
    assert_eq!(tensors.len(), 1);
    let message = tensors.refuse_rest().unwrap_err().to_string();
    assert!(message.contains("unknown tensor a"), "{message}");
    let message = tensors.clone().take_shaped("a", &[3, 2]).unwrap_err().to_string();
    assert!(
        message.contains("tensor a of shape [2, 3], expected shape [3, 2]"),
        "{message}"
    );
    assert!(tensors.take("b").unwrap_err().to_string().contains("no tensor b"));
    assert_eq!(tensors.take_shaped("a", &[2, 3]).unwrap(), values);
    assert!(tensors.is_empty());
    tensors.refuse_rest().unwrap();
}

#[test]
fn tensors_that_do_not_fit_together_are_not_written() {
    let (_dir, path) = scratch();
    let values = [0.0; 4];
    let bad = |views: &[TensorView<'_>]| {
        let error = write_tensors(&path, views, &Metadata::new()).unwrap_err();
        error.to_string()
    };
    assert!(bad(&[TensorView::new("a", &[3], &values)]).contains("shape of tensor a"));
    assert!(bad(&[TensorView::new("a", &[usize::MAX, 2], &values)]).contains("shape of tensor a"));
    let twice = TensorView::new("a", &[4], &values);
    assert!(bad(&[twice.clone(), twice]).contains("unique"));
    assert!(bad(&[TensorView::new("__metadata__", &[4], &values)]).contains("unique"));
    assert!(!path.exists());
}

#[test]
fn the_crate_of_the_format_reads_what_is_written() {
    let (_dir, path) = scratch();
    let metadata = Metadata::from([("key".to_owned(), "värde \"quoted\"".to_owned())]);
    let views = [
        TensorView::new("z", &[2, 1], &[1.5, -2.5]),
        TensorView::new("a", &[], &[7.0]),
        TensorView::new("empty", &[0, 3], &[]),
    ];
    write_tensors(&path, &views, &metadata).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["key"], metadata["key"]);
    let read = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    for view in views {
        let raw = read.tensor(&view.name).unwrap();
        let bytes: Vec<u8> = view.values.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(
            (raw.dtype(), raw.shape(), raw.data()),
            (Dtype::F32, &view.shape[..], &bytes[..])
        );
    }
}

/// Sizes that add up to more than any file has are refused, whatever the sum wraps around to.
#[test]
fn a_header_of_impossible_sizes_is_refused() {
    let (_dir, path) = scratch();
    let (long, mut at) = (u64::MAX / 8, 0);
    let mut header = "{".to_owned();
    for (name, len) in ('a'..='h').map(|name| (name, long)).chain([('i', 7)]) {
        let end = at + len;
        header += &format!(r#""{name}":{{"dtype":"U8","shape":[{len}],"data_offsets":[{at},{end}]}},"#);
        at = end;
    }
    header.pop();
    header.push('}');
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.bytes());
    std::fs::write(&path, bytes).unwrap();
    refused(&path, None, &["bytes by its header"]);
}

/// Any bits, NaN payloads and infinities included.
fn any_bits() -> impl Strategy<Value = Vec<f32>> {
    proptest::collection::vec(any::<u32>().prop_map(f32::from_bits), 0..200)
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn tensors_round_trip_bit_for_bit(
        tensors in proptest::collection::btree_map("[a-zA-Z0-9_.é\"]{1,12}", any_bits(), 0..5),
        metadata in proptest::collection::btree_map(".{0,8}", ".{0,20}", 0..4),
    ) {
        let (_dir, path) = scratch();
        let views: Vec<_> = tensors.iter().map(|(name, v)| TensorView::new(name, &[v.len(), 1], v)).collect();
        write_tensors(&path, &views, &metadata).unwrap();
        let read = read_tensors(&path).unwrap();
        prop_assert_eq!(read.metadata(), &metadata);
        prop_assert_eq!(read.len(), tensors.len());
        for (name, tensor) in read.iter() {
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&tensor.values), bits(&tensors[name]));
            prop_assert_eq!(&tensor.shape, &[tensors[name].len(), 1]);
        }
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn a_truncated_model_is_refused(cut in any::<prop::sample::Index>()) {
        let (_dir, path) = scratch();
        model(Preset::Paper, 4, 6).save(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..cut.index(bytes.len())]).unwrap();
        prop_assert!(Nca::load(&path, None).is_err());
    }

    #[test]
    fn flipped_bits_never_panic(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 0..8), 1..6),
        in_header in any::<bool>(),
    ) {
        let (_dir, path) = scratch();
        model(Preset::Paper, 4, 6).save(&path).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        // Half of the cases aim at the length and the header, where a flip hurts most.
        let header = 8 + u16::from_le_bytes([bytes[0], bytes[1]]) as usize;
        let end = if in_header { header } else { bytes.len() };
        for (at, bit) in flips {
            bytes[at.index(end)] ^= 1_u8 << bit;
        }
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(nca) = Nca::load(&path, None) {
            prop_assert!(nca.validate().is_ok());
        }
    }

    #[test]
    fn random_bytes_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        plausible_length in any::<bool>(),
    ) {
        let (_dir, path) = scratch();
        let mut bytes = bytes;
        if plausible_length && bytes.len() >= 8 {
            let header = (bytes.len() as u64 - 8) / 2;
            bytes[..8].copy_from_slice(&header.to_le_bytes());
        }
        std::fs::write(&path, &bytes).unwrap();
        prop_assert!(Nca::load(&path, None).is_err());
    }
}
