//! Small pictures, of which a page may hold many hundreds.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use nca_core::{Error, Result};
use spynet::{FlowField, flow_to_rgb, is_known, read_flo};

use super::data::png_address;
use crate::report::damage::Damages;
use crate::report::layout::ModelDir;

/// Largest side of a thumbnail.
const SIDE: u32 = 64;
const JPEG_QUALITY: u8 = 85;

/// A picture of at most 64×64 pixels, as the address of itself.
pub(super) fn thumbnail(picture: &RgbImage) -> Result<String> {
    let (width, height) = picture.dimensions();
    let side = width.max(height);
    let small = if side > SIDE {
        let reduced = |v: u32| (v * SIDE / side).max(1);
        &imageops::resize(picture, reduced(width), reduced(height), FilterType::Triangle)
    } else {
        picture
    };
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY)
        .encode_image(small)
        .map_err(|e| Error::invalid("picture", e, "one that can be written as JPEG"))?;
    Ok(format!("data:image/jpeg;base64,{}", BASE64_STANDARD.encode(bytes)))
}

/// The colours in which the flow between the last two frames of every model is shown.
///
/// Fields are read twice, for the colours and for the picture: all of them together may be larger than
/// memory.
pub(super) struct Flows {
    full: Option<f32>,
}

impl Flows {
    /// Part of all vectors that may be longer than full colour shows.
    const BEYOND: f64 = 0.005;
    /// Most vectors of a field that count.
    const SAMPLE: usize = 4096;
    /// Side of the picture of the colour wheel.
    const WHEEL: usize = 96;

    /// Those for the flow of `models`, as far as it can be read.
    pub(super) fn read(models: impl Iterator<Item = ModelDir>, damages: &mut Damages) -> Self {
        let mut lengths: Vec<f32> = Vec::new();
        for model in models {
            if let Some(field) = field_of(&model, damages) {
                lengths.extend(sample(&field, Self::SAMPLE));
            }
        }
        let at = (lengths.len() as f64 * (1.0 - Self::BEYOND)) as usize;
        let full = (!lengths.is_empty()).then(|| *lengths.select_nth_unstable_by(at, f32::total_cmp).1);
        // Where nothing moves, anything is full colour.
        let full = full.map(|length| if length > 0.0 { length } else { 1.0 });
        Self { full }
    }

    /// Length of full colour, pixels per frame; `None` where there is no flow at all.
    pub(super) fn full(&self) -> Option<f32> {
        self.full
    }

    /// The flow of a model as a picture, if there is one that can be read.
    pub(super) fn thumbnail(&self, model: &ModelDir, damages: &mut Damages) -> Result<Option<String>> {
        let field = field_of(model, damages);
        field.map(|field| thumbnail(&self.picture(&field)?)).transpose()
    }

    /// A disc in which every vector points away from the middle, full colour at the rim.
    pub(super) fn wheel(&self) -> Result<Option<String>> {
        let Some(full) = self.full else { return Ok(None) };
        let radius = Self::WHEEL as f32 / 2.0;
        let along = |i: usize| (i as f32 + 0.5 - radius) / radius * full;
        let cells = || (0..Self::WHEEL).flat_map(|y| (0..Self::WHEEL).map(move |x| (along(x), along(y))));
        // Outside the disc nothing moves.
        let inside = |(u, v): (f32, f32)| if u.hypot(v) <= full { (u, v) } else { (0.0, 0.0) };
        let data = cells()
            .map(|c| inside(c).0)
            .chain(cells().map(|c| inside(c).1))
            .collect();
        let field = FlowField::new(Self::WHEEL, Self::WHEEL, data)?;
        png_address(&self.picture(&field)?).map(Some)
    }

    fn picture(&self, field: &FlowField) -> Result<RgbImage> {
        let (width, height) = (field.width() as u32, field.height() as u32);
        let colours = flow_to_rgb(field, self.full)?;
        RgbImage::from_raw(width, height, colours).ok_or_else(|| {
            Error::invalid(
                "size of a flow field",
                format!("{width}×{height}"),
                "that of its colours",
            )
        })
    }
}

/// The flow that a model has kept.
fn field_of(model: &ModelDir, damages: &mut Damages) -> Option<FlowField> {
    damages.read(&model.flow(), read_flo)
}

/// Lengths of at most `most` known vectors of a field, evenly spread over it.
fn sample(field: &FlowField, most: usize) -> impl Iterator<Item = f32> {
    fn divisor(a: usize, b: usize) -> usize {
        if b == 0 { a } else { divisor(b, a % b) }
    }
    let mut stride = (field.width() * field.height()).div_ceil(most);
    // Lest all be of a few columns.
    while divisor(stride, field.width()) > 1 {
        stride += 1;
    }
    field
        .vectors()
        .step_by(stride)
        .filter(|&(u, v)| is_known(u, v))
        .map(|(u, v)| u.hypot(v))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_small_and_of_everywhere() {
        let field = |width: usize, height: usize| {
            let cells = || (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
            // Vectors to the right as long as the column's number, from 1.
            let data = cells().map(|(x, _)| x as f32 + 1.0).chain(cells().map(|_| 0.0));
            FlowField::new(height, width, data.collect()).unwrap()
        };
        assert_eq!(sample(&field(7, 3), 4096).count(), 21);
        for (width, height) in [(512, 512), (96, 128), (101, 203), (2047, 1023)] {
            let field = field(width, height);
            let lengths: Vec<f32> = sample(&field, 4096).collect();
            assert!(
                (1024..=4096).contains(&lengths.len()),
                "{width}×{height}: {}",
                lengths.len()
            );
            let columns: std::collections::BTreeSet<_> = lengths.iter().map(|v| *v as usize).collect();
            assert_eq!(columns.len(), width.min(lengths.len()), "{width}×{height}");
            // A sample whose quantiles are those of the whole.
            let below = lengths.iter().filter(|v| **v <= width as f32 / 2.0).count() as f64 / lengths.len() as f64;
            assert!((below - 0.5).abs() < 0.02, "{width}×{height}: {below}");
        }
    }
}
