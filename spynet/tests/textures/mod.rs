//! Photographed textures, where they are at hand, and noise.

use nca_core::philox::{PhiloxRng, Stream};
use nca_core::testkit::real_data;
use spynet::evaluate::Exhibit;
use spynet::synth::Raster;

/// Photographs of textures, where they are at hand.
pub(super) fn photographs() -> Vec<Exhibit> {
    let names = [
        "bubbly_0101.jpg",
        "chequered_0121.jpg",
        "interlaced_0172.jpg",
        "cracked_0085_128.png",
    ];
    names
        .iter()
        .filter_map(|name| {
            let path = real_data(&format!("textures/{name}"))?;
            let image = image::open(&path).unwrap();
            // As a model would be trained on it: the central square at 128×128.
            let side = image.width().min(image.height());
            let square = image.crop_imm((image.width() - side) / 2, (image.height() - side) / 2, side, side);
            let small = square
                .resize_exact(128, 128, image::imageops::FilterType::Lanczos3)
                .to_rgb8();
            let rgb = (0..3)
                .flat_map(|c| small.pixels().map(move |p| f32::from(p.0[c]) / 255.0))
                .collect();
            let picture = Raster {
                height: 128,
                width: 128,
                rgb,
            };
            // Bubbles, squares, strands and cells are ten pixels wide and more at this size.
            Some(Exhibit::from_picture(name, 10.0, &picture).unwrap())
        })
        .collect()
}

/// Independent normal noise of standard deviation `sigma` added to a frame.
pub(super) fn with_noise(frame: &[f32], sigma: f64, index: u64) -> Vec<f32> {
    let mut rng = PhiloxRng::new(3, Stream::Test, index);
    frame.iter().map(|v| v + (sigma * rng.normal()) as f32).collect()
}
