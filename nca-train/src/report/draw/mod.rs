//! A small vector drawing: plots fill a [`Figure`], which is then written as SVG and as PNG.
//!
//! Both come from the same list of shapes, so they show the same. Text stays text in SVG; in PNG
//! it is drawn with an embedded font, since a bare machine has none.

pub(super) mod axis;
mod color;
mod font;
mod raster;
mod svg;

use std::path::Path;

use nca_core::Result;
use nca_core::checkpoint::write_atomic;

pub(super) use self::color::{Color, categorical, ordinal, viridis};
pub(super) use self::font::{shorten, text_width};
pub(super) use self::raster::rasterize;
use crate::picture::write_png;

/// A position in the figure: pixels at 96 dpi, from the upper left corner.
pub(super) type Point = (f64, f64);

/// Where a text lies with respect to its point, along the writing direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Style {
    /// Em, pixels.
    pub(super) size: f64,
    pub(super) bold: bool,
    pub(super) color: Color,
    pub(super) anchor: Anchor,
    /// Written upwards instead of to the right.
    pub(super) upwards: bool,
}

impl Style {
    pub(super) const fn new(size: f64, anchor: Anchor) -> Self {
        Self {
            size,
            bold: false,
            color: Color::INK,
            anchor,
            upwards: false,
        }
    }

    pub(super) const fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    pub(super) const fn upwards(self) -> Self {
        Self { upwards: true, ..self }
    }

    pub(super) const fn color(self, color: Color) -> Self {
        Self { color, ..self }
    }
}

/// How a line looks; widths in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stroke {
    pub(super) color: Color,
    pub(super) width: f64,
}

/// What a shape is filled and outlined with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Paint {
    pub(super) fill: Option<Color>,
    pub(super) stroke: Option<Stroke>,
}

impl Paint {
    pub(super) fn fill(color: Color) -> Self {
        Self {
            fill: Some(color),
            stroke: None,
        }
    }

    pub(super) fn line(color: Color, width: f64) -> Self {
        Self {
            fill: None,
            stroke: Some(Stroke { color, width }),
        }
    }
}

/// A drawn thing.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    /// A polyline, or a polygon if `closed`.
    Path {
        points: Vec<Point>,
        closed: bool,
        paint: Paint,
    },
    Circle {
        centre: Point,
        radius: f64,
        paint: Paint,
    },
    /// A line of text; `at` is on the baseline.
    Text {
        at: Point,
        text: String,
        style: Style,
    },
}

/// Shapes on a white page, later ones above earlier ones.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figure {
    /// What a screen reader says, and the window title of a viewer.
    pub(super) title: String,
    /// Pixels at 96 dpi.
    pub(super) width: f64,
    /// Pixels at 96 dpi.
    pub(super) height: f64,
    pub(super) shapes: Vec<Shape>,
}

/// Pixels of a written PNG for a pixel of the figure.
const PNG_SCALE: f64 = 2.0;

impl Figure {
    pub(super) fn new(title: impl Into<String>, width: f64, height: f64) -> Self {
        Self {
            title: title.into(),
            width,
            height,
            shapes: Vec::new(),
        }
    }

    pub(super) fn path(&mut self, points: Vec<Point>, paint: Paint) {
        self.shapes.push(Shape::Path {
            points,
            closed: false,
            paint,
        });
    }

    pub(super) fn polygon(&mut self, points: Vec<Point>, paint: Paint) {
        self.shapes.push(Shape::Path {
            points,
            closed: true,
            paint,
        });
    }

    pub(super) fn line(&mut self, from: Point, to: Point, color: Color, width: f64) {
        self.path(vec![from, to], Paint::line(color, width));
    }

    pub(super) fn rect(&mut self, (x, y): Point, width: f64, height: f64, paint: Paint) {
        let (right, bottom) = (x + width, y + height);
        self.polygon(vec![(x, y), (right, y), (right, bottom), (x, bottom)], paint);
    }

    pub(super) fn circle(&mut self, centre: Point, radius: f64, paint: Paint) {
        self.shapes.push(Shape::Circle { centre, radius, paint });
    }

    /// Text with its baseline at `at`.
    pub(super) fn text(&mut self, at: Point, text: impl Into<String>, style: Style) {
        let text = text.into();
        self.shapes.push(Shape::Text { at, text, style });
    }

    /// Text whose digits and capitals are centred at `at` across the writing direction.
    pub(super) fn text_centred(&mut self, (x, y): Point, text: impl Into<String>, style: Style) {
        let drop = font::CAP_HEIGHT * style.size / 2.0;
        let at = if style.upwards { (x + drop, y) } else { (x, y + drop) };
        self.text(at, text, style);
    }

    /// A cross as wide and high as `size`.
    pub(super) fn cross(&mut self, (x, y): Point, size: f64, color: Color, width: f64) {
        let r = size / 2.0;
        self.line((x - r, y - r), (x + r, y + r), color, width);
        self.line((x - r, y + r), (x + r, y - r), color, width);
    }

    /// Writes `stem.svg` and `stem.png`, each atomically.
    pub(super) fn save(&self, stem: &Path) -> Result<()> {
        let text = svg::to_svg(self);
        write_atomic(stem.with_extension("svg"), |file| {
            std::io::Write::write_all(file, text.as_bytes())
        })?;
        write_png(stem.with_extension("png"), &rasterize(self, PNG_SCALE)?)
    }
}

#[cfg(test)]
pub(super) mod check {
    //! What every figure must keep to.

    use super::*;

    /// A box around a text: left, top, right, bottom.
    fn bounds(at: Point, text: &str, style: &Style) -> [f64; 4] {
        let width = text_width(text, style.size, style.bold);
        let back = match style.anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => width / 2.0,
            Anchor::End => width,
        };
        let (up, down) = (font::CAP_HEIGHT * style.size, 0.2 * style.size);
        if style.upwards {
            [at.0 - up, at.1 - width + back, at.0 + down, at.1 + back]
        } else {
            [at.0 - back, at.1 - up, at.0 - back + width, at.1 + down]
        }
    }

    /// Everything lies on the page, all coordinates are finite, and no two texts overlap.
    pub(in crate::report) fn assert_well_laid(figure: &Figure) {
        let on_page = |&(x, y): &Point| {
            // Half a line width may stick out of a shape.
            (-1.0..=figure.width + 1.0).contains(&x) && (-1.0..=figure.height + 1.0).contains(&y)
        };
        let mut texts = Vec::new();
        for shape in &figure.shapes {
            match shape {
                Shape::Path { points, .. } => assert!(points.iter().all(on_page), "{}: {shape:?}", figure.title),
                Shape::Circle { centre, .. } => assert!(on_page(centre), "{}: {shape:?}", figure.title),
                Shape::Text { at, text, style } => {
                    let b = bounds(*at, text, style);
                    assert!(
                        on_page(&(b[0], b[1])) && on_page(&(b[2], b[3])),
                        "{}: '{text}' {b:?}",
                        figure.title
                    );
                    texts.push((text, b));
                }
            }
        }
        for (i, (one, a)) in texts.iter().enumerate() {
            for (other, b) in &texts[..i] {
                let overlap = a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
                assert!(!overlap, "{}: '{one}' {a:?} and '{other}' {b:?} overlap", figure.title);
            }
        }
    }
}
