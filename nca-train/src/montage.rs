//! Frames of several automata as one picture: a grid of labelled tiles.

use image::imageops::replace;
use image::{Rgb, RgbImage};
use nca_core::{Error, Result};
use plotters::prelude::DrawingBackend;

use crate::picture::scale_up;
use crate::plot::{Canvas, Drawn, Figure, MAX_PIXELS, Point, Style, TextPlace, picture, text_width};

/// Between columns and rows, and around them; pixels.
const GAP: u32 = 8;
/// Height of a label, pixels.
const LABEL: u32 = 18;
/// Most that a column is widened to for its labels, pixels.
const LONGEST: u32 = 240;
const STYLE: Style = Style::new(11.0, TextPlace::Left);

/// Where the tiles and labels of a picture are. All frames have the same size.
#[derive(Clone, Debug)]
pub struct Montage {
    /// Labels and paper, on which frames are put.
    page: RgbImage,
    columns: usize,
    /// Width of a column, pixels: small tiles leave room for what is written above them.
    column: u32,
    /// Width and height of a tile, pixels.
    tile: (u32, u32),
    count: usize,
    scale: u32,
}

impl Montage {
    /// A tile below each label, for frames of `width` × `height` pixels enlarged `scale` times; about
    /// as wide as high. Columns are as wide as labels of a usual length need; longer ones are cut in their middle. More
    /// pixels than a picture may have are an error.
    pub fn new(labels: &[String], width: u32, height: u32, scale: u32) -> Result<Self> {
        let tile = (width * scale.max(1), height * scale.max(1));
        let longest = labels.iter().map(|label| text_width(label, STYLE)).fold(0.0, f64::max);
        let column = tile.0.max((longest.ceil() as u32).min(LONGEST));
        let cell = (f64::from(column + GAP), f64::from(tile.1 + LABEL + GAP));
        let columns = (labels.len() as f64 * cell.1 / cell.0).sqrt().round() as usize;
        let columns = columns.clamp(1, labels.len().max(1));
        let mut montage = Self {
            page: RgbImage::new(0, 0),
            columns,
            column,
            tile,
            count: labels.len(),
            scale,
        };
        let (width, height) = montage.size();
        if u64::from(width) * u64::from(height) > MAX_PIXELS {
            return Err(Error::invalid(
                "size of the picture",
                format!("{width}x{height} pixels for {} models", labels.len()),
                format!("{MAX_PIXELS} pixels at most: a smaller --size or --scale, or fewer models"),
            ));
        }
        let sheet = Labels {
            montage: &montage,
            labels,
        };
        let page = picture(&sheet).map_err(|e| Error::invalid("labels", e, "ones that can be drawn"))?;
        montage.page = page;
        Ok(montage)
    }

    /// Width and height of the whole, pixels.
    #[must_use]
    pub fn size(&self) -> (u32, u32) {
        let rows = self.count.div_ceil(self.columns) as u32;
        (
            GAP + self.columns as u32 * (self.column + GAP),
            GAP + rows * (self.tile.1 + LABEL + GAP),
        )
    }

    /// Upper left corner of a label; its tile is below it.
    fn corner(&self, index: usize) -> (u32, u32) {
        let (column, row) = ((index % self.columns) as u32, (index / self.columns) as u32);
        (
            GAP + column * (self.column + GAP),
            GAP / 2 + row * (self.tile.1 + LABEL + GAP),
        )
    }

    /// The picture of a moment: a frame for each label.
    #[must_use]
    pub fn compose(&self, frames: &[RgbImage]) -> RgbImage {
        let mut page = self.page.clone();
        for (index, frame) in frames.iter().take(self.count).enumerate() {
            let (x, y) = self.corner(index);
            replace(
                &mut page,
                &scale_up(frame, self.scale),
                i64::from(x),
                i64::from(y + LABEL),
            );
        }
        page
    }
}

/// The labels of a montage.
struct Labels<'a> {
    montage: &'a Montage,
    labels: &'a [String],
}

impl Figure for Labels<'_> {
    fn title(&self) -> String {
        "Models".to_owned()
    }

    fn size(&self) -> Point {
        let (width, height) = self.montage.size();
        (f64::from(width), f64::from(height))
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        for (index, label) in self.labels.iter().enumerate() {
            let (x, y) = self.montage.corner(index);
            let middle = (f64::from(x), f64::from(y) + f64::from(LABEL) / 2.0);
            canvas.text(middle, fitting(label, self.montage.column), STYLE)?;
        }
        Ok(())
    }
}

/// The label, its middle replaced by an ellipsis if it is wider than `width` pixels: labels may begin alike and differ
/// in how they end.
fn fitting(label: &str, width: u32) -> String {
    let letters: Vec<char> = label.chars().collect();
    let keeping = |kept: usize| -> String {
        let (head, tail) = (kept.div_ceil(2), kept / 2);
        let ends = [&letters[..head], &letters[letters.len() - tail..]];
        ends.map(|letters| letters.iter().collect::<String>()).join("…")
    };
    let fits = |text: &String| text_width(text, STYLE) <= f64::from(width);
    let cut = || (0..letters.len()).rev().map(keeping).find(fits).unwrap_or_default();
    Some(label.to_owned()).filter(fits).unwrap_or_else(cut)
}

/// Two pictures of the same height side by side, white columns of `gap` pixels between them.
#[must_use]
pub fn beside(left: &RgbImage, right: &RgbImage, gap: u32) -> RgbImage {
    let width = left.width() + gap + right.width();
    let mut both = RgbImage::from_pixel(width, left.height().max(right.height()), Rgb([255; 3]));
    replace(&mut both, left, 0, 0);
    replace(&mut both, right, i64::from(left.width() + gap), 0);
    both
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(width: u32, height: u32, level: u8) -> RgbImage {
        RgbImage::from_pixel(width, height, Rgb([level; 3]))
    }

    #[test]
    fn every_frame_has_its_place() {
        let labels: Vec<String> = (0..5).map(|i| format!("model {i}")).collect();
        let montage = Montage::new(&labels, 20, 10, 3).unwrap();
        let frames: Vec<_> = (0..5).map(|i| plain(20, 10, 10 + i)).collect();
        let page = montage.compose(&frames);
        assert_eq!(page.dimensions(), montage.size());
        for (index, frame) in frames.iter().enumerate() {
            let (x, y) = montage.corner(index);
            let level = frame.get_pixel(0, 0);
            let found = page.pixels().filter(|p| *p == level).count();
            assert_eq!(found, 60 * 30, "frame {index}");
            assert_eq!(page.get_pixel(x, y + LABEL), level);
            assert_eq!(page.get_pixel(x + 59, y + LABEL + 29), level);
            // Something is written above.
            let dark = |dx, dy| page.get_pixel(x + dx, y + dy).0[0] < 128;
            assert!((0..60).any(|dx| (0..LABEL).any(|dy| dark(dx, dy))), "label {index}");
        }
    }

    #[test]
    fn a_picture_that_is_too_large_is_refused_for_its_size() {
        let labels = vec!["a".to_owned(); 2];
        let message = Montage::new(&labels, 4096, 4096, 32).unwrap_err().to_string();
        for part in ["131088x262204", "--size", "--scale"] {
            assert!(message.contains(part), "no '{part}' in {message}");
        }
    }

    #[test]
    fn labels_that_are_too_long_stay_in_their_column() {
        let labels = vec!["a name without end, a name without end, a name without end".to_owned(); 2];
        let montage = Montage::new(&labels, 40, 490, 1).unwrap();
        let page = montage.compose(&[plain(40, 490, 7), plain(40, 490, 7)]);
        let (left, right) = (montage.corner(0), montage.corner(1));
        assert!(right.0 > left.0, "side by side");
        assert_eq!(montage.column, LONGEST);
        let gap = left.0 + LONGEST..right.0;
        assert!(
            gap.clone()
                .all(|x| (0..page.height()).all(|y| page.get_pixel(x, y).0 == [255; 3]))
        );
    }

    #[test]
    fn labels_of_small_tiles_are_whole() {
        let labels = ["bubbly, C = 12, D = 96", "b, C = 128, D = 128"].map(str::to_owned);
        let montage = Montage::new(&labels, 24, 20, 1).unwrap();
        let longest = text_width(&labels[0], STYLE);
        assert!(montage.column >= longest as u32 && montage.column < LONGEST);
        for label in &labels {
            assert_eq!(fitting(label, montage.column), *label);
        }
        let (x, y) = montage.corner(0);
        // Something is written above and beside the tile, up to the end of the label.
        let dark = |x: u32| (y..y + LABEL).any(|y| montage.page.get_pixel(x, y).0[0] < 128);
        assert!((x + longest as u32 - 8..x + montage.column).any(dark));
        // Large tiles are as near to each other as they can be.
        assert_eq!(Montage::new(&labels, 300, 20, 1).unwrap().column, 300);
    }

    #[test]
    fn a_label_keeps_both_its_ends() {
        let label = "a name of more letters than there is room for, C = 12, D = 96";
        let cut = fitting(label, 200);
        let (head, tail) = cut.split_once('…').unwrap();
        assert!(label.starts_with(head) && label.ends_with(tail), "{cut}");
        assert!(tail.contains("C = 12, D = 96"), "{cut}");
        assert!(text_width(&cut, STYLE) <= 200.0);
        assert_eq!(fitting(label, 0), "");
    }

    #[test]
    fn side_by_side() {
        let both = beside(&plain(4, 3, 1), &plain(5, 3, 2), 2);
        assert_eq!(both.dimensions(), (11, 3));
        let row: Vec<u8> = (0..11).map(|x| both.get_pixel(x, 2).0[0]).collect();
        assert_eq!(row, [1, 1, 1, 1, 255, 255, 2, 2, 2, 2, 2]);
    }
}
