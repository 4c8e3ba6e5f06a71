//! Textures from files: geometry, names, and files that are not what they should be.

use std::fs;
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{DynamicImage, ImageEncoder, ImageFormat, Rgb, RgbImage, imageops};
use nca_core::Error;
use nca_core::testkit::real_data;
use nca_train::Texture;
use nca_train::picture::read_picture;
use nca_train::texture::{rgb_image, rgb8};
use proptest::prelude::*;
use tempfile::TempDir;

/// A picture in which every pixel is different.
fn gradient(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([(x * 7 % 256) as u8, (y * 5 % 256) as u8, ((x + y) * 3 % 256) as u8])
    })
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn write(dir: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_png_of_the_right_size_is_read_exactly() {
    let dir = TempDir::new().unwrap();
    let picture = gradient(24, 24);
    let path = write(&dir, "exact.png", &encoded(&picture.clone().into(), ImageFormat::Png));
    let texture = Texture::load(&path, 24).unwrap();
    assert_eq!(
        (texture.name.as_str(), texture.height, texture.width),
        ("exact", 24, 24)
    );
    assert_eq!(texture.to_image().unwrap(), picture);
}

/// EXIF metadata that state an orientation, 1 to 8, and nothing else: TIFF, little-endian, one directory with one entry.
fn oriented(orientation: u8) -> Vec<u8> {
    let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    exif
}

/// What the orientations of EXIF 2.32 (table 4.6.4) mean: where the first row and the first column of what is stored are.
#[test]
fn photographs_stand_upright() {
    let dir = TempDir::new().unwrap();
    let stored = gradient(40, 24);
    let pixel = |x: u32, y: u32, orientation: u8| {
        // Of the upright picture, in the stored one, whose sides are 40 and 24.
        let (right, bottom) = (39, 23);
        let (x, y) = match orientation {
            2 => (right - x, y),
            3 => (right - x, bottom - y),
            4 => (x, bottom - y),
            5 => (y, x),
            6 => (y, bottom - x),
            7 => (right - y, bottom - x),
            8 => (right - y, x),
            _ => (x, y),
        };
        *stored.get_pixel(x, y)
    };
    // Beyond 8 nothing is meant.
    for orientation in 1..=9 {
        let (width, height) = if (5..=8).contains(&orientation) {
            (24, 40)
        } else {
            (40, 24)
        };
        let upright = RgbImage::from_fn(width, height, |x, y| pixel(x, y, orientation));
        let mut bytes = Vec::new();
        let mut encoder = PngEncoder::new(&mut bytes);
        encoder.set_exif_metadata(oriented(orientation)).unwrap();
        stored.write_with_encoder(encoder).unwrap();
        let path = write(&dir, "photo.png", &bytes);
        assert_eq!(read_picture(&path).unwrap(), upright, "{orientation}");
        let centre = imageops::crop_imm(&upright, (width - 24) / 2, (height - 24) / 2, 24, 24).to_image();
        assert_eq!(
            Texture::load(&path, 24).unwrap().to_image().unwrap(),
            centre,
            "{orientation}"
        );
    }

    let jpeg = |exif: Option<Vec<u8>>| {
        let mut bytes = Vec::new();
        let mut encoder = JpegEncoder::new(&mut bytes);
        if let Some(exif) = exif {
            encoder.set_exif_metadata(exif).unwrap();
        }
        stored.write_with_encoder(encoder).unwrap();
        write(&dir, "photo.jpg", &bytes)
    };
    let plain = read_picture(jpeg(None)).unwrap();
    let path = jpeg(Some(oriented(6)));
    assert_eq!(read_picture(&path).unwrap(), imageops::rotate90(&plain));
    let turned = Texture::load(&path, 24).unwrap().to_image().unwrap();
    let centre = imageops::crop_imm(&imageops::rotate90(&plain), 0, 8, 24, 24).to_image();
    assert_eq!(turned, centre);
    // Metadata that make no sense turn nothing.
    let path = jpeg(Some(b"II*\0\xff\xff\xff\xff".to_vec()));
    assert_eq!(read_picture(path).unwrap(), plain);
}

#[test]
fn the_centre_square_is_taken() {
    let dir = TempDir::new().unwrap();
    for (width, height) in [(40, 24), (24, 40)] {
        let picture = gradient(width, height);
        let path = write(&dir, "wide.png", &encoded(&picture.clone().into(), ImageFormat::Png));
        let centre = RgbImage::from_fn(24, 24, |x, y| {
            *picture.get_pixel(x + (width - 24) / 2, y + (height - 24) / 2)
        });
        assert_eq!(Texture::load(&path, 24).unwrap().to_image().unwrap(), centre);
    }
}

#[test]
fn resizing_keeps_ramps_and_stays_in_range() {
    let dir = TempDir::new().unwrap();
    // Black and white bars make Lanczos overshoot.
    let bars = RgbImage::from_fn(96, 96, |x, _| Rgb([if x / 6 % 2 == 0 { 0 } else { 255 }; 3]));
    let path = write(&dir, "bars.png", &encoded(&bars.into(), ImageFormat::Png));
    for size in [8, 31, 50, 200] {
        let texture = Texture::load(&path, size).unwrap();
        assert!(texture.rgb.iter().all(|v| (0.0..=1.0).contains(v)));
    }
    let ramp = RgbImage::from_fn(128, 128, |x, _| Rgb([(2 * x) as u8; 3]));
    let path = write(&dir, "ramp.png", &encoded(&ramp.into(), ImageFormat::Png));
    let texture = Texture::load(&path, 32).unwrap();
    for x in 4..28 {
        // The middle of four columns 2/255 apart. Lanczos keeps a ramp up to its ripple, here below
        // one level of eight bits.
        let expected = (8.0 * x as f32 + 3.0) / 255.0;
        assert!((texture.rgb[16 * 32 + x] - expected).abs() < 1.0 / 255.0, "column {x}");
    }
}

#[test]
fn every_format_and_pixel_type() {
    let dir = TempDir::new().unwrap();
    let picture = DynamicImage::from(gradient(32, 32));
    let expected = Texture::load(write(&dir, "a.png", &encoded(&picture, ImageFormat::Png)), 32).unwrap();
    for (name, format) in [("a.bmp", ImageFormat::Bmp), ("a.webp", ImageFormat::WebP)] {
        let texture = Texture::load(write(&dir, name, &encoded(&picture, format)), 32).unwrap();
        assert_eq!(texture.rgb, expected.rgb, "{name}");
    }
    // The first bytes say what a file is, not its name.
    let path = write(&dir, "misnamed.jpg", &encoded(&picture, ImageFormat::Png));
    assert_eq!(Texture::load(path, 32).unwrap().rgb, expected.rgb);
    let rgba = write(&dir, "rgba.png", &encoded(&picture.to_rgba8().into(), ImageFormat::Png));
    assert_eq!(Texture::load(rgba, 32).unwrap().rgb, expected.rgb);
    let deep = write(&dir, "deep.png", &encoded(&picture.to_rgb16().into(), ImageFormat::Png));
    let deep = Texture::load(deep, 32).unwrap();
    for (a, b) in deep.rgb.iter().zip(&expected.rgb) {
        assert!((a - b).abs() < f32::EPSILON, "{a} {b}");
    }
    let grey = write(&dir, "grey.png", &encoded(&picture.to_luma8().into(), ImageFormat::Png));
    let grey = Texture::load(grey, 32).unwrap();
    assert_eq!(grey.rgb[..1024], grey.rgb[2048..]);
    let jpeg = write(&dir, "a.jpg", &encoded(&picture, ImageFormat::Jpeg));
    assert_eq!(Texture::load(jpeg, 32).unwrap().rgb.len(), 3 * 32 * 32);
}

#[test]
fn a_dtd_folder_by_name() {
    let dir = TempDir::new().unwrap();
    let jpeg = encoded(&gradient(20, 16).into(), ImageFormat::Jpeg);
    write(&dir, "dtd/images/bubbly/bubbly_0101.jpg", &jpeg);
    write(&dir, "flat/bubbly_0101.jpg", &jpeg);
    for folder in ["dtd", "dtd/images", "flat"] {
        let folder = dir.path().join(folder);
        let texture = Texture::from_dtd(&folder, "bubbly_0101", 8).unwrap();
        assert_eq!(texture.name, "bubbly_0101");
        assert_eq!(texture, Texture::resolve("bubbly_0101", Some(&folder), 8).unwrap());
    }
    let folder = dir.path().join("dtd");
    let message = Texture::from_dtd(&folder, "bubbly_0102", 8).unwrap_err().to_string();
    assert!(
        message.contains("bubbly_0102") && message.contains("bubbly_0102.jpg"),
        "{message}"
    );
    // A name reaches nothing outside the folder.
    for name in ["../flat/bubbly_0101", "", "bubbly/bubbly_0101", "..", "bubbly_0101.jpg"] {
        assert!(Texture::from_dtd(&folder, name, 8).is_err(), "{name}");
    }
}

#[test]
fn what_is_not_found_is_explained() {
    let message = Texture::resolve("marbled_0001", Some(Path::new("no-such-dtd")), 32)
        .unwrap_err()
        .to_string();
    for part in ["marbled_0001", "bubbly, chequered, interlaced, cracked", "no-such-dtd"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(!message.contains('\n'));
    let message = Texture::resolve("missing.png", None, 32).unwrap_err().to_string();
    assert!(message.contains("missing.png") && message.contains("DTD"), "{message}");
    assert_eq!(Texture::resolve("cracked", None, 16).unwrap().name, "cracked");
}

#[test]
fn impossible_sizes_are_refused_before_the_file_is_read() {
    for size in [0, 7, 1 << 20] {
        let message = Texture::load("does-not-exist.png", size).unwrap_err().to_string();
        assert!(message.contains("texture size"), "{message}");
    }
}

#[test]
fn a_missing_file_and_a_folder() {
    let dir = TempDir::new().unwrap();
    for path in [dir.path().join("missing.png"), dir.path().to_owned()] {
        let error = Texture::load(&path, 32).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
    }
}

#[test]
fn garbage_and_truncated_files_are_refused_by_name() {
    let dir = TempDir::new().unwrap();
    let picture = DynamicImage::from(gradient(64, 64));
    let mut files = vec![("empty.png", Vec::new()), ("text.jpg", b"not a picture".to_vec())];
    for (name, format) in [
        ("cut.png", ImageFormat::Png),
        ("cut.jpg", ImageFormat::Jpeg),
        ("cut.bmp", ImageFormat::Bmp),
        ("cut.webp", ImageFormat::WebP),
        ("cut.gif", ImageFormat::Gif),
    ] {
        let mut bytes = encoded(&picture, format);
        bytes.truncate(bytes.len() / 2);
        files.push((name, bytes));
    }
    for (name, bytes) in files {
        let error = Texture::load(write(&dir, name, &bytes), 32).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{name}: {error}");
        let message = error.to_string();
        assert!(message.contains(name) && !message.contains('\n'), "{message}");
    }
}

/// A thumbnail in a JPEG's metadata has an end-of-image marker of its own.
#[test]
fn a_jpeg_cut_after_its_thumbnail_is_truncated() {
    let dir = TempDir::new().unwrap();
    let jpeg = encoded(&gradient(64, 64).into(), ImageFormat::Jpeg);
    let thumbnail = encoded(&gradient(8, 8).into(), ImageFormat::Jpeg);
    let mut bytes = jpeg[..2].to_vec();
    bytes.extend([0xFF, 0xE3]);
    bytes.extend((thumbnail.len() as u16 + 2).to_be_bytes());
    bytes.extend(&thumbnail);
    bytes.extend(&jpeg[2..]);
    let whole = Texture::load(write(&dir, "whole.jpg", &bytes), 32).unwrap();
    assert_eq!(
        whole.rgb,
        Texture::load(write(&dir, "plain.jpg", &jpeg), 32).unwrap().rgb
    );
    bytes.truncate(bytes.len() - jpeg.len() / 3);
    assert!(Texture::load(write(&dir, "cut.jpg", &bytes), 32).is_err());
}

/// A header that promises four gigapixels.
#[test]
fn a_decompression_bomb_is_refused() {
    let dir = TempDir::new().unwrap();
    for side in [30_000_u32, 65_536] {
        let mut bytes = encoded(&gradient(16, 16).into(), ImageFormat::Bmp);
        bytes[18..22].copy_from_slice(&side.to_le_bytes());
        bytes[22..26].copy_from_slice(&side.to_le_bytes());
        let error = Texture::load(write(&dir, "bomb.bmp", &bytes), 32).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{error}");
    }
}

#[test]
fn pictures_clip_and_round() {
    let rgb = [-1.0, 0.0, 0.5, 2.0, f32::NAN, 1.0, 0.25, 0.75, 0.1, 0.2, 0.3, 0.4];
    assert_eq!(rgb8(&rgb), [0, 0, 26, 0, 255, 51, 128, 64, 77, 255, 191, 102]);
    assert_eq!(rgb_image(&rgb, 2, 2).unwrap().dimensions(), (2, 2));
    assert!(rgb_image(&rgb, 2, 3).is_err());
    assert!(Texture::new("nan", 2, 2, rgb.to_vec()).is_err());
}

#[test]
fn the_papers_textures() {
    let Some(textures) = real_data("textures") else {
        return;
    };
    for name in ["bubbly_0101", "chequered_0121", "interlaced_0172"] {
        let texture = Texture::resolve(name, Some(&textures), 64).unwrap();
        assert_eq!((texture.name.as_str(), texture.rgb.len()), (name, 3 * 64 * 64));
    }
    assert!(Texture::load(textures.join("cracked_0085_128.png"), 64).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Damaged files end in a picture or in an error that names the file, never in a panic.
    #[test]
    fn damaged_files_do_not_panic(
        format in prop::sample::select(vec![
            ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif, ImageFormat::Bmp, ImageFormat::WebP,
        ]),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8_u32), 0..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = encoded(&gradient(24, 20).into(), format);
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let dir = TempDir::new().unwrap();
        match Texture::load(write(&dir, "damaged", &bytes), 16) {
            Ok(texture) => prop_assert!(texture.rgb.iter().all(|v| (0.0..=1.0).contains(v))),
            Err(error) => {
                let message = error.to_string();
                prop_assert!(message.contains("damaged") && !message.contains('\n'), "{}", message);
            }
        }
    }
}
