//! Plots with `plotters`: each as SVG, whose text stays text, as PNG, and as a table of what it shows.
//!
//! The PNG is the SVG drawn by `resvg`, so both show the same. Fonts are embedded: a bare machine has
//! none.

pub(crate) mod axis;
mod canvas;
pub(crate) mod chart;
#[cfg(test)]
pub(crate) mod check;
mod color;
mod raster;

use std::io::Write;
use std::path::{Path, PathBuf};

use image::RgbImage;
use nca_core::checkpoint::write_atomic;
use nca_core::{Error, Result};
use plotters::backend::SVGBackend;
use plotters::drawing::IntoDrawingArea;
use plotters::prelude::DrawingBackend;
use serde::Serialize;

pub(crate) use self::canvas::{Canvas, Drawn, Style, TextPlace, break_lines, shorten, text_width};
pub(crate) use self::color::{FAINT_INK, INK, NO_VALUE, PAPER, categorical, contrast, ordinal, viridis};
pub(crate) use self::raster::MAX_PIXELS;
use crate::picture::write_png;

/// A position or a size in a figure: pixels at 96 dpi, positions from the upper left corner.
pub(crate) type Point = (f64, f64);

/// Something to look at.
pub(crate) trait Figure {
    /// What a screen reader says, and the window title of a viewer.
    fn title(&self) -> String;

    /// Width and height.
    fn size(&self) -> Point;

    /// Draws it, on any backend.
    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB>;
}

/// Units of the drawing for a pixel: `plotters` places everything on whole units.
const FINE: u32 = 8;
/// Pixels of a written plot for a pixel of the figure; fewer where that would be too many for a picture.
const PNG_SCALE: f64 = 2.0;

/// Writes `stem.svg`, `stem.png`, and the numbers behind them as `stem.csv`, a line for each row with
/// the fields as header; each atomically. Returns the paths.
pub(crate) fn save<F: Figure, R: Serialize>(figure: &F, rows: &[R], stem: &Path) -> Result<[PathBuf; 3]> {
    let paths = ["svg", "png", "csv"].map(|extension| stem.with_extension(extension));
    let [vector, picture, table] = &paths;
    let bad = |path: &Path, why: String| Error::format(path, why, "a plot that can be drawn");
    let text = svg(figure).map_err(|e| bad(vector, e))?;
    write_atomic(vector, |file| file.write_all(text.as_bytes()))?;
    let pixels = raster::rasterize(&text, png_scale(figure.size())).map_err(|e| bad(picture, e))?;
    write_png(picture, &pixels)?;
    write_atomic(table, |file| {
        let mut table = ::csv::Writer::from_writer(file);
        for row in rows {
            table.serialize(row)?;
        }
        table.flush()
    })?;
    Ok(paths)
}

/// Pixels for a pixel of a figure of this size, so that a picture can be made of it.
fn png_scale((width, height): Point) -> f64 {
    // Sides are rounded up, by less than a pixel: (width·s + 1)(height·s + 1) = MAX_PIXELS, solved for s.
    let (sum, area) = (width.ceil() + height.ceil(), width.ceil() * height.ceil());
    let root = (sum * sum + 4.0 * area * (MAX_PIXELS as f64 - 1.0)).sqrt();
    PNG_SCALE.min((root - sum) / (2.0 * area))
}

/// The pixels of a figure, as many as its size says; the message says why there are none.
pub(crate) fn picture<F: Figure>(figure: &F) -> std::result::Result<RgbImage, String> {
    raster::rasterize(&svg(figure)?, 1.0)
}

/// The SVG document of a figure; the message says why there is none.
fn svg<F: Figure>(figure: &F) -> std::result::Result<String, String> {
    let (width, height) = figure.size();
    let fine = |side: f64| (side.ceil() * f64::from(FINE)) as u32;
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (fine(width), fine(height))).into_drawing_area();
        figure.draw(&Canvas::new(area.clone())).map_err(|e| e.to_string())?;
        area.present().map_err(|e| e.to_string())?;
    }
    // The backend's own root element would show the figure in its fine units, and has no title.
    let body = text.split_once('>').map_or("", |(_, body)| body);
    let title = escape(&figure.title());
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"{}\" height=\"{}\" \
         viewBox=\"0 0 {} {}\">\n<title>{title}</title>{body}",
        width.ceil(),
        height.ceil(),
        fine(width),
        fine(height)
    ))
}

/// A text as the content of an element of XML or HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_figures_are_drawn_in_fewer_pixels() {
        assert_eq!(png_scale((800.0, 600.0)), PNG_SCALE);
        for size in [(8192.5, 8192.5), (40_000.0, 10_001.3), (300_000.0, 200_000.0)] {
            let scale = png_scale(size);
            let pixels = (size.0.ceil() * scale).ceil() * (size.1.ceil() * scale).ceil();
            let most = MAX_PIXELS as f64;
            assert!(pixels <= most && pixels > 0.9 * most, "{size:?}: {pixels}");
        }
    }
}
