//! A figure as pixels.

use image::RgbImage;
use nca_core::{Error, Result};
use tiny_skia::{FillRule, LineJoin, PathBuilder, Pixmap, Transform};
use ttf_parser::OutlineBuilder;

use super::font::{self, TextOutline};
use super::{Anchor, Color, Figure, Paint, Point, Shape, Style};

/// Most pixels of a picture, 1 GiB while it is drawn.
const MAX_PIXELS: f64 = (1u64 << 28) as f64;

/// Draws the figure with `scale` pixels for each of its own, antialiased.
pub(in crate::report) fn rasterize(figure: &Figure, scale: f64) -> Result<RgbImage> {
    let (width, height) = ((figure.width * scale).ceil(), (figure.height * scale).ceil());
    let too_large = || Error::invalid("size of a picture", format!("{width}x{height}"), "at most 2^28 pixels");
    if width * height > MAX_PIXELS {
        return Err(too_large());
    }
    let mut pixels = Pixmap::new(width as u32, height as u32).ok_or_else(too_large)?;
    pixels.fill(skia_color(Color::PAPER));
    let transform = Transform::from_scale(scale as f32, scale as f32);
    for shape in &figure.shapes {
        draw(&mut pixels, shape, transform);
    }
    // On an opaque page premultiplied colours are the colours themselves.
    let rgb = pixels.data().chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]).collect();
    RgbImage::from_raw(pixels.width(), pixels.height(), rgb).ok_or_else(too_large)
}

fn draw(pixels: &mut Pixmap, shape: &Shape, transform: Transform) {
    match shape {
        Shape::Path { points, closed, paint } => {
            let mut path = PathBuilder::new();
            for (i, &(x, y)) in points.iter().enumerate() {
                if i == 0 {
                    path.move_to(x as f32, y as f32);
                } else {
                    path.line_to(x as f32, y as f32);
                }
            }
            if *closed {
                path.close();
            }
            draw_path(pixels, path, paint, transform);
        }
        Shape::Circle { centre, radius, paint } => {
            let mut path = PathBuilder::new();
            path.push_circle(centre.0 as f32, centre.1 as f32, *radius as f32);
            draw_path(pixels, path, paint, transform);
        }
        Shape::Text { at, text, style } => draw_text(pixels, *at, text, style, transform),
    }
}

fn draw_path(pixels: &mut Pixmap, path: PathBuilder, paint: &Paint, transform: Transform) {
    // A path of a single point, or of none, has nothing to show.
    let Some(path) = path.finish() else { return };
    if let Some(color) = paint.fill {
        pixels.fill_path(&path, &skia_paint(color), FillRule::Winding, transform, None);
    }
    if let Some(stroke) = paint.stroke {
        let look = tiny_skia::Stroke {
            width: stroke.width as f32,
            line_join: LineJoin::Round,
            ..Default::default()
        };
        pixels.stroke_path(&path, &skia_paint(stroke.color), &look, transform, None);
    }
}

fn draw_text(pixels: &mut Pixmap, (x, y): Point, text: &str, style: &Style, transform: Transform) {
    let mut pen = Pen::default();
    let Some((em, width)) = font::outline(text, style.bold, &mut pen) else {
        return;
    };
    let Some(path) = pen.path.finish() else { return };
    let start = match style.anchor {
        Anchor::Start => 0.0,
        Anchor::Middle => -width / 2.0,
        Anchor::End => -width,
    };
    let unit = (style.size / em) as f32;
    // Font units grow upwards, pixels downwards.
    let mut placed = Transform::from_translate(start as f32, 0.0).post_scale(unit, -unit);
    if style.upwards {
        placed = placed.post_concat(Transform::from_row(0.0, -1.0, 1.0, 0.0, 0.0, 0.0));
    }
    let placed = placed.post_translate(x as f32, y as f32).post_concat(transform);
    pixels.fill_path(&path, &skia_paint(style.color), FillRule::Winding, placed, None);
}

fn skia_color(color: Color) -> tiny_skia::Color {
    tiny_skia::Color::from_rgba8(color.red, color.green, color.blue, color.alpha)
}

fn skia_paint(color: Color) -> tiny_skia::Paint<'static> {
    let mut paint = tiny_skia::Paint::default();
    paint.set_color(skia_color(color));
    paint
}

/// Joins the outlines of glyphs into one path.
#[derive(Default)]
struct Pen {
    path: PathBuilder,
    x: f32,
}

impl TextOutline for Pen {
    fn start_glyph(&mut self, x: f64) {
        self.x = x as f32;
    }
}

impl OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        self.path.move_to(self.x + x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.path.line_to(self.x + x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.path.quad_to(self.x + x1, y1, self.x + x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        self.path.cubic_to(self.x + x1, y1, self.x + x2, y2, self.x + x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHITE: [u8; 3] = [255; 3];

    #[test]
    fn shapes_land_where_they_should() {
        let mut figure = Figure::new("", 10.0, 10.0);
        figure.rect((2.0, 3.0), 4.0, 5.0, Paint::fill(Color::INK));
        let pixels = rasterize(&figure, 2.0).unwrap();
        assert_eq!(pixels.dimensions(), (20, 20));
        let ink = [0x22; 3];
        for (x, y, expected) in [
            (4, 6, ink),
            (11, 15, ink),
            (3, 6, WHITE),
            (12, 15, WHITE),
            (4, 5, WHITE),
            (4, 16, WHITE),
        ] {
            assert_eq!(pixels.get_pixel(x, y).0, expected, "{x}, {y}");
        }
    }

    /// Bounds of what is not white: left, top, right, bottom.
    fn inked(pixels: &RgbImage) -> [u32; 4] {
        let dark = pixels.enumerate_pixels().filter(|(_, _, p)| p.0 != WHITE);
        dark.fold([u32::MAX, u32::MAX, 0, 0], |b, (x, y, _)| {
            [b[0].min(x), b[1].min(y), b[2].max(x + 1), b[3].max(y + 1)]
        })
    }

    #[test]
    fn text_stands_on_its_baseline_and_turns_upwards() {
        let drawn = |style: Style| {
            let mut figure = Figure::new("", 100.0, 100.0);
            figure.text((50.0, 50.0), "HHH", style);
            inked(&rasterize(&figure, 1.0).unwrap())
        };
        let style = Style::new(20.0, Anchor::Start);
        let [left, top, right, bottom] = drawn(style);
        assert_eq!(bottom, 50);
        // Capitals of 0.729 · 20 pixels.
        assert_eq!(top, 35);
        let width = font::text_width("HHH", 20.0, false);
        assert!(left >= 50 && f64::from(right) <= 50.0 + width.ceil(), "{left} {right}");
        assert!(f64::from(right - left) > 0.9 * width);
        assert!(drawn(Style::new(20.0, Anchor::End))[2] <= 50);

        let [left, top, right, bottom] = drawn(style.upwards());
        assert_eq!((left, right), (35, 50));
        assert!(bottom <= 50 && f64::from(bottom - top) > 0.9 * width);
    }

    #[test]
    fn impossible_sizes_are_refused() {
        for (width, height) in [(1e9, 1e9), (0.0, 5.0), (f64::INFINITY, 1.0)] {
            assert!(rasterize(&Figure::new("", width, height), 1.0).is_err());
        }
    }
}
