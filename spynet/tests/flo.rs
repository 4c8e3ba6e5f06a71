//! `.flo` files: the format, and what happens to damaged ones.

use std::path::Path;

use nca_core::philox::{PhiloxRng, Stream};
use proptest::prelude::*;
use spynet::{FlowField, encode_flo, parse_flo, read_flo, write_flo};

const NAME: &str = "some.flo";

fn random_field(height: usize, width: usize, seed: u64) -> FlowField {
    let mut rng = PhiloxRng::new(seed, Stream::Test, 0);
    let data = (0..2 * height * width)
        .map(|_| {
            if rng.below(16) == 0 {
                1.666_666_8e9
            } else {
                rng.normal() as f32 * 7.0
            }
        })
        .collect();
    FlowField::new(height, width, data).unwrap()
}

/// The bytes of a 2×1 field, written out by hand from the format's description.
#[test]
fn bytes_are_middleburys() {
    let field = FlowField::new(1, 2, vec![1.0, -2.0, 0.5, 1e10]).unwrap();
    let mut expected = b"PIEH".to_vec();
    expected.extend([2, 0, 0, 0, 1, 0, 0, 0]);
    for value in [1.0_f32, 0.5, -2.0, 1e10] {
        expected.extend(value.to_le_bytes());
    }
    assert_eq!(encode_flo(&field).unwrap(), expected);
    assert_eq!(parse_flo(&expected, NAME).unwrap(), field);
}

fn message(bytes: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(NAME);
    std::fs::write(&path, bytes).unwrap();
    let from_file = read_flo(&path).unwrap_err().to_string();
    let from_bytes = parse_flo(bytes, &path).unwrap_err().to_string();
    assert_eq!(from_file, from_bytes);
    assert!(from_file.contains(NAME), "{from_file}");
    from_file
}

#[test]
fn each_damage_has_its_message() {
    let good = encode_flo(&random_field(3, 4, 1)).unwrap();
    let with = |at: usize, patch: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + patch.len()].copy_from_slice(patch);
        bytes
    };
    assert!(message(&[]).contains("found 0 bytes"));
    assert!(message(&good[..11]).contains("found 11 bytes"));
    assert!(message(&with(0, b"PIEX")).contains("magic number"));
    assert!(message(&with(4, &0_i32.to_le_bytes())).contains("width 0"));
    assert!(message(&with(8, &(-3_i32).to_le_bytes())).contains("height -3"));
    assert!(message(&with(8, &i32::MAX.to_le_bytes())).contains("height 2147483647"));
    // 99 999² pixels would be 80 GB: refused by the length of the file, before any allocation.
    let huge = [
        with(4, &99_999_i32.to_le_bytes())[..8].to_vec(),
        99_999_i32.to_le_bytes().to_vec(),
    ]
    .concat();
    assert!(message(&huge).contains("found 12 bytes"));
    assert!(message(&good[..good.len() - 1]).contains("107 bytes"));
    assert!(message(&[good.clone(), vec![0]].concat()).contains("109 bytes"));
    // The fourth value in the file is v of the second pixel.
    let nan = message(&with(12 + 3 * 4, &f32::NAN.to_le_bytes()));
    assert!(
        nan.contains("NaN") && nan.contains("y of the flow at row 0, column 1"),
        "{nan}"
    );
}

#[test]
fn missing_files_and_directories_are_named() {
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path().join("absent.flo"), directory.path().to_owned()] {
        let message = read_flo(&path).unwrap_err().to_string();
        assert!(message.contains(&path.display().to_string()), "{message}");
    }
    let nowhere = directory.path().join("no/such/folder.flo");
    let message = write_flo(&nowhere, &random_field(1, 1, 0)).unwrap_err().to_string();
    assert!(message.contains("folder.flo"), "{message}");
}

#[test]
fn writing_replaces_and_leaves_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(NAME);
    for seed in 0..2 {
        let field = random_field(5, 7, seed);
        write_flo(&path, &field).unwrap();
        assert_eq!(read_flo(&path).unwrap(), field);
    }
    let entries: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(entries.len(), 1, "{entries:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn round_trip(height in 1_usize..12, width in 1_usize..12, seed: u64) {
        let field = random_field(height, width, seed);
        prop_assert_eq!(parse_flo(&encode_flo(&field).unwrap(), NAME).unwrap(), field);
    }

    /// Whatever is cut off or changed: an error that names the file, or a field of the size that the
    /// header states.
    #[test]
    fn damage_never_panics(
        seed: u64,
        keep in 0.0..1.2_f64,
        patches in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut bytes = encode_flo(&random_field(4, 5, seed)).unwrap();
        bytes.resize((bytes.len() as f64 * keep) as usize, 0xa5);
        for (at, value) in patches {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
        }
        match parse_flo(&bytes, NAME) {
            Ok(field) => prop_assert_eq!(12 + field.data().len() * 4, bytes.len()),
            Err(e) => prop_assert!(e.to_string().contains(NAME)),
        }
    }

    #[test]
    fn noise_is_no_flow(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        prop_assert!(parse_flo(&bytes, Path::new(NAME)).is_err());
    }
}
