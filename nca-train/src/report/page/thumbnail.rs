//! Small pictures, of which a page may hold many hundreds.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use nca_core::{Error, Result};
use spynet::{FlowField, flow_to_rgb, is_known, read_flo};

use super::data::png_address;
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

/// The flow between the last two frames of every model that has kept it, in the same colours.
pub(super) struct Flows {
    fields: Vec<(ModelDir, FlowField)>,
    full: Option<f32>,
}

impl Flows {
    /// Part of all vectors that may be longer than full colour shows.
    const BEYOND: f64 = 0.005;
    /// Side of the picture of the colour wheel.
    const WHEEL: usize = 96;

    pub(super) fn read(models: impl Iterator<Item = ModelDir>) -> Result<Self> {
        let mut fields = Vec::new();
        for model in models {
            if model.flow().exists() {
                let field = read_flo(model.flow())?;
                fields.push((model, field));
            }
        }
        let mut lengths: Vec<f32> = fields
            .iter()
            .flat_map(|(_, field)| field.vectors())
            .filter(|&(u, v)| is_known(u, v))
            .map(|(u, v)| u.hypot(v))
            .collect();
        let at = (lengths.len() as f64 * (1.0 - Self::BEYOND)) as usize;
        let full = (!lengths.is_empty()).then(|| *lengths.select_nth_unstable_by(at, f32::total_cmp).1);
        // Where nothing moves, anything is full colour.
        let full = full.map(|length| if length > 0.0 { length } else { 1.0 });
        Ok(Self { fields, full })
    }

    /// Length of full colour, pixels per frame; `None` where there is no flow at all.
    pub(super) fn full(&self) -> Option<f32> {
        self.full
    }

    /// The flow of a model as a picture.
    pub(super) fn thumbnail(&self, model: &ModelDir) -> Result<Option<String>> {
        let field = self.fields.iter().find(|(of, _)| of == model);
        field.map(|(_, field)| thumbnail(&self.picture(field)?)).transpose()
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
