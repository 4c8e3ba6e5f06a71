//! The contact sheet: every final frame, arranged by C and D, beside its target.

use std::path::PathBuf;

use image::imageops::{self, FilterType};
use image::{RgbImage, image_dimensions};
use nca_core::{Error, Result};

use super::collect::{Collection, ModelResult};
use super::draw::{Anchor, Color, Figure, Paint, Point, Style, rasterize, shorten, text_width};
use super::layout::ModelDir;
use super::record::Status;
use crate::picture::{read_picture, scale_up};

const MARGIN: f64 = 24.0;
/// Around a block, to its neighbours.
const BLOCK_GAP: f64 = 40.0;
/// Between frames.
const GAP: f64 = 6.0;
/// Texture name and column labels above the frames.
const HEADER: f64 = 50.0;
/// Ψ below each frame.
const CAPTION: f64 = 17.0;
/// Between target and row labels.
const TARGET_GAP: f64 = 28.0;
const LABEL: Style = Style::new(13.0, Anchor::Middle);
const CAPTION_STYLE: Style = Style::new(11.0, Anchor::Middle);

/// Frames smaller than this are enlarged, by a whole factor: in sheets of few frames, of many.
const SMALL: [u32; 2] = [144, 96];
/// Frames larger than this are reduced.
const LARGE: u32 = 256;
/// Up to so many frames of a texture are few.
const FEW: usize = 40;

/// A frame and where its upper left corner goes.
struct Placed {
    path: PathBuf,
    at: Point,
}

/// Draws the sheet: a block for each texture, C downwards and D to the right as in the heat maps,
/// the seeds of an architecture side by side. `None` if there is no model.
pub(super) fn contact_sheet(collection: &Collection) -> Result<Option<RgbImage>> {
    if collection.models.is_empty() {
        return Ok(None);
    }
    let frames_of_a_texture = collection.models.len() / collection.textures().len().max(1);
    let small = SMALL[usize::from(frames_of_a_texture > FEW)];
    let tile = tile_size(collection, small)?;
    let sheet = Sheet::new(collection, tile);
    let (figure, frames) = sheet.lay_out(collection);
    let mut page = rasterize(&figure, 1.0)?;
    for frame in frames {
        let picture = fit(&read_picture(&frame.path)?, small);
        // Smaller ones lie in the middle of their tile.
        let x = frame.at.0 + (tile.0 - f64::from(picture.width())) / 2.0;
        let y = frame.at.1 + (tile.1 - f64::from(picture.height())) / 2.0;
        imageops::replace(&mut page, &picture, x.round() as i64, y.round() as i64);
    }
    Ok(Some(page))
}

/// The frames and targets there are.
fn pictures(collection: &Collection) -> impl Iterator<Item = PathBuf> {
    let models = collection.models.iter().map(|m| ModelDir::new(&m.path));
    models
        .flat_map(|dir| [dir.frame(), dir.target()])
        .filter(|path| path.exists())
}

/// Width and height that the largest picture is shown in.
fn tile_size(collection: &Collection, small: u32) -> Result<(f64, f64)> {
    let (mut width, mut height) = (0, 0);
    for path in pictures(collection) {
        let (w, h) = image_dimensions(&path).map_err(|e| Error::format(&path, e, "a picture"))?;
        let (w, h) = shown_size(w, h, small);
        (width, height) = (width.max(w), height.max(h));
    }
    let least = f64::from(small);
    Ok((f64::from(width).max(least), f64::from(height).max(least)))
}

fn enlargement(width: u32, height: u32, small: u32) -> u32 {
    small.div_ceil(width.max(height).max(1)).max(1)
}

fn shown_size(width: u32, height: u32, small: u32) -> (u32, u32) {
    let side = width.max(height);
    if side > LARGE {
        let reduced = |v: u32| ((f64::from(v) * f64::from(LARGE) / f64::from(side)).round() as u32).max(1);
        return (reduced(width), reduced(height));
    }
    let factor = enlargement(width, height, small);
    (width * factor, height * factor)
}

fn fit(picture: &RgbImage, small: u32) -> RgbImage {
    let (width, height) = picture.dimensions();
    let (w, h) = shown_size(width, height, small);
    if w < width {
        imageops::resize(picture, w, h, FilterType::Triangle)
    } else {
        scale_up(picture, enlargement(width, height, small))
    }
}

/// The measures of a sheet.
struct Sheet<'a> {
    textures: Vec<&'a str>,
    channels: Vec<usize>,
    hidden: Vec<usize>,
    seeds: Vec<u64>,
    tile: (f64, f64),
    /// Width of the row labels.
    labels: f64,
}

impl<'a> Sheet<'a> {
    fn new(collection: &'a Collection, tile: (f64, f64)) -> Self {
        let channels = collection.channels();
        let widest = channels
            .iter()
            .map(|c| text_width(&row_label(*c), LABEL.size, false))
            .fold(0.0, f64::max);
        Self {
            textures: collection.textures(),
            channels,
            hidden: collection.hidden(),
            seeds: collection.seeds(),
            tile,
            labels: widest + 10.0,
        }
    }

    /// Width of the frames of an architecture, one for each seed.
    fn cell_width(&self) -> f64 {
        let seeds = self.seeds.len() as f64;
        seeds * self.tile.0 + (seeds - 1.0) * GAP / 3.0
    }

    fn row_height(&self) -> f64 {
        self.tile.1 + CAPTION
    }

    /// From the left edge of a block to its first frame.
    fn grid_left(&self) -> f64 {
        self.tile.0 + TARGET_GAP + self.labels
    }

    fn block_size(&self) -> (f64, f64) {
        let width = self.grid_left() + self.hidden.len() as f64 * (self.cell_width() + GAP) - GAP;
        let height = HEADER + self.channels.len() as f64 * (self.row_height() + GAP) - GAP;
        (width, height)
    }

    /// Size of a page with so many blocks side by side.
    fn page_size(&self, across: usize) -> (f64, f64) {
        let (width, height) = self.block_size();
        let down = self.textures.len().div_ceil(across);
        let extent = |count: usize, size: f64| 2.0 * MARGIN + count as f64 * (size + BLOCK_GAP) - BLOCK_GAP;
        (extent(across, width), extent(down, height))
    }

    /// As many blocks side by side as make the page most like a sheet of paper.
    fn across(&self) -> usize {
        const ASPECT: f64 = std::f64::consts::SQRT_2;
        let misfit = |across: &usize| {
            let (width, height) = self.page_size(*across);
            (width / height / ASPECT).ln().abs()
        };
        (1..=self.textures.len())
            .min_by(|a, b| misfit(a).total_cmp(&misfit(b)))
            .unwrap_or(1)
    }

    fn lay_out(&self, collection: &Collection) -> (Figure, Vec<Placed>) {
        let across = self.across();
        let (width, height) = self.page_size(across);
        let mut figure = Figure::new("Final frames", width, height);
        let mut frames = Vec::new();
        let (block_width, block_height) = self.block_size();
        for (i, texture) in self.textures.iter().enumerate() {
            let origin = (
                MARGIN + (i % across) as f64 * (block_width + BLOCK_GAP),
                MARGIN + (i / across) as f64 * (block_height + BLOCK_GAP),
            );
            self.draw_block(&mut figure, &mut frames, collection, texture, origin);
        }
        (figure, frames)
    }

    fn draw_block(
        &self,
        figure: &mut Figure,
        frames: &mut Vec<Placed>,
        collection: &Collection,
        texture: &str,
        (left, top): Point,
    ) {
        let title = Style::new(16.0, Anchor::Start).bold();
        figure.text((left, top + 14.0), shorten(texture, title, self.block_size().0), title);
        let header = top + HEADER - 9.0;
        let first_row = top + HEADER;
        figure.text((left + self.tile.0 / 2.0, header), "target", LABEL);
        let target = collection
            .of_texture(texture)
            .map(|m| ModelDir::new(&m.path).target())
            .find(|path| path.exists());
        match target {
            Some(path) => frames.push(Placed {
                path,
                at: (left, first_row),
            }),
            None => self.draw_blank(figure, (left, first_row), "not kept"),
        }
        let grid_left = left + self.grid_left();
        for (column, d) in self.hidden.iter().enumerate() {
            let x = grid_left + column as f64 * (self.cell_width() + GAP) + self.cell_width() / 2.0;
            figure.text((x, header), format!("D = {d}"), LABEL);
        }
        for (row, &c) in self.channels.iter().enumerate() {
            let y = first_row + row as f64 * (self.row_height() + GAP);
            let label = Style::new(LABEL.size, Anchor::End);
            figure.text_centred((grid_left - 10.0, y + self.tile.1 / 2.0), row_label(c), label);
            for (column, &d) in self.hidden.iter().enumerate() {
                for (place, &seed) in self.seeds.iter().enumerate() {
                    let x = grid_left
                        + column as f64 * (self.cell_width() + GAP)
                        + place as f64 * (self.tile.0 + GAP / 3.0);
                    let model = collection.of_texture(texture).find(|model| {
                        let r = model.record();
                        (r.channels, r.hidden, r.seed) == (c, d, seed)
                    });
                    self.draw_model(figure, frames, model, (x, y));
                }
            }
        }
    }

    fn draw_model(&self, figure: &mut Figure, frames: &mut Vec<Placed>, model: Option<&ModelResult>, at: Point) {
        let Some(model) = model else {
            self.draw_blank(figure, at, "not run");
            return;
        };
        let record = model.record();
        let path = ModelDir::new(&model.path).frame();
        match record.status {
            Status::Ok if path.exists() => frames.push(Placed { path, at }),
            Status::Ok => self.draw_blank(figure, at, "not kept"),
            Status::Diverged | Status::Failed => {
                let shade = Color::NO_VALUE;
                figure.rect(at, self.tile.0, self.tile.1, Paint::fill(shade));
                self.draw_in_tile(figure, at, record.status.name());
            }
        }
        if let Some(psi) = record.measured_psi() {
            let at = (at.0 + self.tile.0 / 2.0, at.1 + self.tile.1 + 12.5);
            figure.text(at, format!("Ψ = {psi:.3}"), CAPTION_STYLE);
        }
    }

    fn draw_blank(&self, figure: &mut Figure, at: Point, why: &str) {
        let outline = Paint::line(Color::NO_VALUE, 1.0);
        figure.rect((at.0 + 0.5, at.1 + 0.5), self.tile.0 - 1.0, self.tile.1 - 1.0, outline);
        self.draw_in_tile(figure, at, why);
    }

    fn draw_in_tile(&self, figure: &mut Figure, (x, y): Point, text: &str) {
        let style = CAPTION_STYLE.color(Color::FAINT_INK);
        figure.text_centred((x + self.tile.0 / 2.0, y + self.tile.1 / 2.0), text, style);
    }
}

fn row_label(channels: usize) -> String {
    format!("C = {channels}")
}
