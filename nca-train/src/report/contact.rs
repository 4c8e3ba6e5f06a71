//! The contact sheet: every final frame, arranged by C and D, beside its target.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use image::RgbImage;
use image::imageops::{self, FilterType};
use plotters::prelude::DrawingBackend;

use super::collect::{Collection, ModelResult};
use super::damage::Damages;
use super::layout::ModelDir;
use super::record::Status;
use crate::picture::{read_picture, scale_up};
use crate::plot::{Canvas, Drawn, FAINT_INK, Figure, NO_VALUE, Point, Style, TextPlace, picture, shorten, text_width};

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
const LABEL: Style = Style::new(13.0, TextPlace::Center);
const CAPTION_STYLE: Style = Style::new(11.0, TextPlace::Center);

/// Frames smaller than this are enlarged, by a whole factor: in sheets of few frames, of many.
const SMALL: [u32; 2] = [144, 96];
/// Frames larger than this are reduced, in sheets of very many to less: but not below [`SMALLEST`], where captions would run
/// into each other.
const LARGE: u32 = 256;
/// See [`LARGE`].
const SMALLEST: u32 = 64;
/// Up to so many frames of a texture are few.
const FEW: usize = 40;

/// A place for a picture.
struct Tile {
    at: Point,
    content: Content,
    /// Below it.
    caption: Option<String>,
}

enum Content {
    Picture(PathBuf),
    /// Why there is none.
    Blank(&'static str),
    /// There was a model, but it did not get so far, in a word.
    Lost(&'static str),
}

/// What a place says whose file cannot be read.
const UNREADABLE: &str = "unreadable";

/// Draws the sheet: a block for each texture, C downwards and D to the right as in the heat maps,
/// the seeds of an architecture side by side. `None` if there is no model. Pictures that cannot be read are noted, and so is
/// the sheet itself, by the `path` it would have, where it would have more than `most` pixels however small its frames, or
/// cannot be drawn: a report without it is better than none.
pub(super) fn contact_sheet(
    collection: &Collection,
    path: &Path,
    most: u64,
    damages: &mut Damages,
) -> Option<RgbImage> {
    if collection.models.is_empty() {
        return None;
    }
    let Some(large) = largest_frame(collection, most) else {
        let models = collection.models.len();
        let reason = format!("frames of {models} models, expected so few that they fit in {most} pixels");
        damages.note(path, reason);
        return None;
    };
    let frames_of_a_texture = collection.models.len() / collection.textures().len().max(1);
    let shown = Shown {
        small: SMALL[usize::from(frames_of_a_texture > FEW)].min(large),
        large,
    };
    let pictures = pictures(collection, shown, damages);
    let tile = tile_size(&pictures, shown.small);
    let sheet = Sheet::new(collection, &pictures, tile);
    let mut page = match picture(&sheet) {
        Ok(page) => page,
        Err(why) => {
            damages.note(path, why);
            return None;
        }
    };
    for (tile_at, path) in sheet.tiles.iter().filter_map(Tile::picture) {
        let Some(picture) = pictures.get(path) else { continue };
        // Smaller ones lie in the middle of their tile.
        let x = tile_at.0 + (tile.0 - f64::from(picture.width())) / 2.0;
        let y = tile_at.1 + (tile.1 - f64::from(picture.height())) / 2.0;
        imageops::replace(&mut page, picture, x.round() as i64, y.round() as i64);
    }
    Some(page)
}

/// The longest side that frames may be shown in for a sheet of at most `most` pixels; `None` where there is no such.
fn largest_frame(collection: &Collection, most: u64) -> Option<u32> {
    let fits = |side: &u32| {
        let (width, height) = Sheet::without_tiles(collection, (f64::from(*side), f64::from(*side))).size();
        width.ceil() * height.ceil() <= most as f64
    };
    (SMALLEST..=LARGE).rev().find(fits)
}

/// The sides that frames are shown in.
#[derive(Clone, Copy)]
struct Shown {
    /// Those of smaller ones are enlarged.
    small: u32,
    /// Those of larger ones are reduced.
    large: u32,
}

impl Tile {
    /// Where its picture goes, if it has one.
    fn picture(&self) -> Option<(Point, &Path)> {
        match &self.content {
            Content::Picture(path) => Some((self.at, path)),
            Content::Blank(_) | Content::Lost(_) => None,
        }
    }

    /// Of a target, or of a model's frame.
    fn of_file(at: Point, path: PathBuf, pictures: &Pictures) -> Self {
        let content = match pictures.contains_key(&path) {
            true => Content::Picture(path),
            false if path.exists() => Content::Blank(UNREADABLE),
            false => Content::Blank("not kept"),
        };
        Self::of(at, content)
    }

    fn of(at: Point, content: Content) -> Self {
        Self {
            at,
            content,
            caption: None,
        }
    }

    fn of_model(at: Point, model: &ModelResult, pictures: &Pictures) -> Self {
        let record = model.record();
        let mut tile = match record.status {
            Status::Ok => Self::of_file(at, ModelDir::new(&model.path).frame(), pictures),
            lost => Self::of(at, Content::Lost(lost.name())),
        };
        tile.caption = record.measured_psi().map(|psi| format!("Ψ = {psi:.3}"));
        tile
    }
}

/// Frames and targets in the sizes in which they are shown: together as large as the sheet.
type Pictures = BTreeMap<PathBuf, RgbImage>;

/// Those that there are and can be read.
fn pictures(collection: &Collection, shown: Shown, damages: &mut Damages) -> Pictures {
    let mut pictures = Pictures::new();
    for model in &collection.models {
        let directory = ModelDir::new(&model.path);
        let frame = Some(directory.frame()).filter(|_| model.record().status == Status::Ok);
        for path in frame.into_iter().chain([directory.target()]) {
            if !pictures.contains_key(&path)
                && let Some(picture) = damages.read(&path, read_picture)
            {
                pictures.insert(path, shown.fit(&picture));
            }
        }
    }
    pictures
}

/// Width and height that the largest picture is shown in.
fn tile_size(pictures: &Pictures, small: u32) -> Point {
    let largest = |side: fn(&RgbImage) -> u32| f64::from(pictures.values().map(side).fold(small, u32::max));
    (largest(RgbImage::width), largest(RgbImage::height))
}

impl Shown {
    fn fit(self, picture: &RgbImage) -> RgbImage {
        let (width, height) = picture.dimensions();
        let side = width.max(height).max(1);
        if side > self.large {
            let reduced = |v: u32| ((f64::from(v) * f64::from(self.large) / f64::from(side)).round() as u32).max(1);
            return imageops::resize(picture, reduced(width), reduced(height), FilterType::Triangle);
        }
        scale_up(picture, self.small.div_ceil(side).min(self.large / side))
    }
}

/// A sheet and everything on it.
struct Sheet<'a> {
    textures: Vec<&'a str>,
    channels: Vec<usize>,
    hidden: Vec<usize>,
    seeds: Vec<u64>,
    tile: Point,
    /// Width of the row labels.
    labels: f64,
    tiles: Vec<Tile>,
}

impl<'a> Sheet<'a> {
    fn new(collection: &'a Collection, pictures: &Pictures, tile: Point) -> Self {
        let mut sheet = Self::without_tiles(collection, tile);
        sheet.tiles = sheet.fill(collection, pictures);
        sheet
    }

    /// With places of the size of `tile`, and nothing in them.
    fn without_tiles(collection: &'a Collection, tile: Point) -> Self {
        let channels = collection.channels();
        let widest = channels
            .iter()
            .map(|c| text_width(&row_label(*c), LABEL))
            .fold(0.0, f64::max);
        Self {
            textures: collection.textures(),
            channels,
            hidden: collection.hidden(),
            seeds: collection.seeds(),
            tile,
            labels: widest + 10.0,
            tiles: Vec::new(),
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

    fn block_size(&self) -> Point {
        let width = self.grid_left() + self.hidden.len() as f64 * (self.cell_width() + GAP) - GAP;
        let height = HEADER + self.channels.len() as f64 * (self.row_height() + GAP) - GAP;
        (width, height)
    }

    /// Size of a page with so many blocks side by side.
    fn page_size(&self, across: usize) -> Point {
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

    /// Corner of the block of the `index`-th texture.
    fn block_at(&self, index: usize) -> Point {
        let (across, (width, height)) = (self.across(), self.block_size());
        (
            MARGIN + (index % across) as f64 * (width + BLOCK_GAP),
            MARGIN + (index / across) as f64 * (height + BLOCK_GAP),
        )
    }

    /// From the corner of a block to that of the cell of an architecture.
    fn cell_at(&self, row: usize, column: usize) -> Point {
        (
            self.grid_left() + column as f64 * (self.cell_width() + GAP),
            HEADER + row as f64 * (self.row_height() + GAP),
        )
    }

    /// Every place for a picture.
    fn fill(&self, collection: &Collection, pictures: &Pictures) -> Vec<Tile> {
        let mut tiles = Vec::new();
        for (i, texture) in self.textures.iter().enumerate() {
            let (left, top) = self.block_at(i);
            let models: BTreeMap<_, _> = collection
                .of_texture(texture)
                .map(|model| {
                    let r = model.record();
                    ((r.channels, r.hidden, r.seed), model)
                })
                .collect();
            let mut targets = models.values().map(|m| ModelDir::new(&m.path).target());
            let at = (left, top + HEADER);
            tiles.push(match targets.find(|path| path.exists()) {
                Some(target) => Tile::of_file(at, target, pictures),
                None => Tile::of(at, Content::Blank("not kept")),
            });
            let unreadable = |c: usize, d: usize, seed: u64| {
                let mut others = collection.unreadable.iter().filter(|m| m.texture == *texture);
                others.any(|m| (m.channels, m.hidden, m.seed) == (c, d, seed))
            };
            for (row, &c) in self.channels.iter().enumerate() {
                for (column, &d) in self.hidden.iter().enumerate() {
                    let (x, y) = self.cell_at(row, column);
                    for (place, &seed) in self.seeds.iter().enumerate() {
                        let x = x + place as f64 * (self.tile.0 + GAP / 3.0);
                        let at = (left + x, top + y);
                        tiles.push(match models.get(&(c, d, seed)) {
                            Some(model) => Tile::of_model(at, model, pictures),
                            None if unreadable(c, d, seed) => Tile::of(at, Content::Lost(UNREADABLE)),
                            None => Tile::of(at, Content::Blank("not run")),
                        });
                    }
                }
            }
        }
        tiles
    }

    fn draw_headings<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, index: usize) -> Drawn<DB> {
        let (left, top) = self.block_at(index);
        let title = Style::new(16.0, TextPlace::Left).bold();
        let name = shorten(self.textures[index], title, self.block_size().0);
        canvas.text((left, top + 8.0), name, title)?;
        let header = top + HEADER - 14.0;
        canvas.text((left + self.tile.0 / 2.0, header), "target", LABEL)?;
        for (column, d) in self.hidden.iter().enumerate() {
            let x = left + self.cell_at(0, column).0 + self.cell_width() / 2.0;
            canvas.text((x, header), format!("D = {d}"), LABEL)?;
        }
        for (row, &c) in self.channels.iter().enumerate() {
            let y = top + self.cell_at(row, 0).1 + self.tile.1 / 2.0;
            let label = Style::new(LABEL.size, TextPlace::Right);
            canvas.text((left + self.grid_left() - 10.0, y), row_label(c), label)?;
        }
        Ok(())
    }

    fn draw_tile<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, tile: &Tile) -> Drawn<DB> {
        let (x, y) = tile.at;
        let why = match &tile.content {
            Content::Picture(_) => None,
            Content::Blank(why) => {
                canvas.frame(tile.at, self.tile, NO_VALUE)?;
                Some(*why)
            }
            Content::Lost(why) => {
                canvas.fill(tile.at, self.tile, NO_VALUE)?;
                Some(*why)
            }
        };
        let middle = x + self.tile.0 / 2.0;
        if let Some(why) = why {
            canvas.text((middle, y + self.tile.1 / 2.0), why, CAPTION_STYLE.color(FAINT_INK))?;
        }
        if let Some(caption) = &tile.caption {
            canvas.text((middle, y + self.tile.1 + CAPTION / 2.0), caption, CAPTION_STYLE)?;
        }
        Ok(())
    }
}

impl Figure for Sheet<'_> {
    fn title(&self) -> String {
        "Final frames".to_owned()
    }

    fn size(&self) -> Point {
        self.page_size(self.across())
    }

    /// All but the pictures.
    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        for index in 0..self.textures.len() {
            self.draw_headings(canvas, index)?;
        }
        for tile in &self.tiles {
            self.draw_tile(canvas, tile)?;
        }
        Ok(())
    }
}

fn row_label(channels: usize) -> String {
    format!("C = {channels}")
}
