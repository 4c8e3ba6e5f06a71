//! KITTI's flow PNGs, written and read back, and damaged ones.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use spynet::{FlowField, is_known, read_kitti, write_kitti};
use tempfile::TempDir;

fn file(dir: &TempDir) -> PathBuf {
    dir.path().join("flow.png")
}

#[test]
fn bytes_are_those_of_the_benchmark() {
    let dir = TempDir::new().unwrap();
    let field = FlowField::new(1, 3, vec![1.0, -512.0, 1e10, 0.5, 512.0 - 1.0 / 64.0, 0.0]).unwrap();
    write_kitti(file(&dir), &field).unwrap();
    // Another reader's opinion.
    let picture = image::open(file(&dir)).unwrap();
    let image::DynamicImage::ImageRgb16(picture) = picture else {
        panic!("{:?}", picture.color());
    };
    let pixels: Vec<[u16; 3]> = picture.pixels().map(|p| p.0).collect();
    assert_eq!(pixels, [[32_768 + 64, 32_768 + 32, 1], [0, 65_535, 1], [0, 0, 0]]);
    let back = read_kitti(file(&dir)).unwrap();
    assert_eq!((back.height(), back.width()), (1, 3));
    assert_eq!((back.u()[0], back.v()[0]), (1.0, 0.5));
    assert_eq!((back.u()[1], back.v()[1]), (-512.0, 512.0 - 1.0 / 64.0));
    assert!(!is_known(back.u()[2], back.v()[2]));
}

#[test]
fn what_does_not_fit_is_refused() {
    let dir = TempDir::new().unwrap();
    for value in [512.0, -512.1, 1e8] {
        let field = FlowField::new(1, 1, vec![0.0, value]).unwrap();
        let message = write_kitti(file(&dir), &field).unwrap_err().to_string();
        assert!(message.contains("flow.png") && message.contains("-512"), "{message}");
        assert!(!file(&dir).exists());
    }
}

fn refused(path: &Path) -> String {
    let message = read_kitti(path).unwrap_err().to_string();
    assert!(
        message.contains(path.file_name().unwrap().to_str().unwrap()),
        "{message}"
    );
    message
}

#[test]
fn other_files_are_refused_by_name() {
    let dir = TempDir::new().unwrap();
    refused(&dir.path().join("none.png"));
    let path = file(&dir);
    fs::write(&path, b"no picture").unwrap();
    refused(&path);
    image::RgbImage::new(2, 2).save(&path).unwrap();
    assert!(refused(&path).contains("16 bits"));
    // Torn: whatever the place, an error and no panic.
    let field = FlowField::new(8, 9, (0..144).map(|i| i as f32).collect()).unwrap();
    write_kitti(&path, &field).unwrap();
    let bytes = fs::read(&path).unwrap();
    // The last chunk, 12 bytes long, says only that the picture ends.
    for length in (0..bytes.len() - 12).step_by(7) {
        fs::write(&path, &bytes[..length]).unwrap();
        refused(&path);
    }
}

/// A few bytes that claim to be 60 GB are refused before memory is taken; one run of zeros, than which
/// nothing compresses better, is read.
#[test]
fn a_header_alone_takes_no_memory() {
    let dir = TempDir::new().unwrap();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 99_999, 99_999);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Sixteen);
    let mut writer = encoder.write_header().unwrap();
    writer
        .write_chunk(png::chunk::IDAT, &[0x78, 0x9c, 3, 0, 0, 0, 0, 1])
        .unwrap();
    drop(writer);
    fs::write(file(&dir), &bytes).unwrap();
    let message = refused(&file(&dir));
    assert!(
        message.contains("99999×99999") && message.contains("58138"),
        "{message}"
    );

    let unknown = FlowField::new(600, 700, vec![2e9; 840_000]).unwrap();
    write_kitti(file(&dir), &unknown).unwrap();
    assert!(read_kitti(file(&dir)).unwrap().vectors().all(|(u, v)| !is_known(u, v)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(height in 1_usize..9, width in 1_usize..9, seed in -500.0_f32..500.0) {
        let dir = TempDir::new().unwrap();
        let data: Vec<f32> = (0..2 * height * width).map(|i| (seed * (i as f32 + 1.7)) % 511.0).collect();
        let field = FlowField::new(height, width, data).unwrap();
        write_kitti(file(&dir), &field).unwrap();
        let back = read_kitti(file(&dir)).unwrap();
        // Half a step.
        prop_assert!(back.data().iter().zip(field.data()).all(|(a, b)| (a - b).abs() <= 0.5 / 64.0));
    }
}
