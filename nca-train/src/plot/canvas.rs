//! A drawing area of `plotters` measured in pixels of the figure, with text that sits where it is
//! put on every backend.

use std::ops::Range;
use std::sync::LazyLock;

use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind};
use plotters::element::{Cross, PathElement, Rectangle, Text};
use plotters::prelude::DrawingBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, RGBColor, ShapeStyle, TextStyle};

use super::color::{INK, PAPER};
use super::{FINE, Point};

/// A part of a page, in units of the backend.
pub(crate) type Area<DB> = DrawingArea<DB, Shift>;
/// The outcome of drawing.
pub(crate) type Drawn<DB, T = ()> = Result<T, DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

/// Family names in SVG, and the name of the embedded font; Verdana has nearly the same widths.
const FAMILY: &str = "DejaVu Sans, Verdana, sans-serif";
/// `plotters` divides the size of a font by this to have its em.
const SIZE_OF_EM: f64 = 1.24;
/// `plotters` takes the middle of a text to be half an ex, 0.27 em, above its baseline; that of capitals
/// and digits, which are 0.73 em high, is this much higher. In em.
const RISE: f64 = 0.091;
/// Height of a line of the font, em.
const LINE: f64 = 1.164;
/// What is measured of a text is by so much too wide: `plotters` measures a font as if its size were the
/// height of a line, and draws it as if it were [`SIZE_OF_EM`] em.
pub(super) const MEASURED: f64 = SIZE_OF_EM / LINE;
/// Units for a pixel in which texts are measured.
const MEASURE: f64 = 16.0;

/// Whether the embedded fonts can be used; where not, drawing a text says so.
static FONTS: LazyLock<bool> = LazyLock::new(|| {
    let fonts = [
        (FontStyle::Normal, dejavu::sans::regular()),
        (FontStyle::Bold, dejavu::sans::bold()),
    ];
    fonts
        .into_iter()
        .all(|(style, bytes)| plotters::style::register_font(FAMILY, style, bytes).is_ok())
});

/// Where a text lies with respect to its point, along the writing direction.
pub(crate) type TextPlace = HPos;

/// How a text looks.
#[derive(Clone, Copy)]
pub(crate) struct Style {
    /// Em, pixels.
    pub(crate) size: f64,
    bold: bool,
    color: RGBColor,
    place: TextPlace,
}

impl Style {
    pub(crate) const fn new(size: f64, place: TextPlace) -> Self {
        Self {
            size,
            bold: false,
            color: INK,
            place,
        }
    }

    pub(crate) const fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    pub(crate) const fn color(self, color: RGBColor) -> Self {
        Self { color, ..self }
    }

    /// The same in `plotters`' terms, for a backend of so many units a pixel, centred across the
    /// writing direction.
    fn at_scale(self, unit: f64) -> TextStyle<'static> {
        // Once for all: a font must be there before it is named.
        LazyLock::force(&FONTS);
        let weight = if self.bold { FontStyle::Bold } else { FontStyle::Normal };
        let font = FontDesc::new(FontFamily::Name(FAMILY), self.size * SIZE_OF_EM * unit, weight);
        font.color(&self.color).pos(Pos::new(self.place, VPos::Center))
    }
}

/// Width of a line of text, pixels.
pub(crate) fn text_width(text: &str, style: Style) -> f64 {
    let measured = style.at_scale(MEASURE).font.layout_box(text);
    measured.map_or(0.0, |(low, high)| f64::from(high.0 - low.0) / MEASURE / MEASURED)
}

/// Distributes things of these widths, in order, over lines of `room` with gaps between neighbours; each
/// line, as indices, has one at least, but for the single line of nothing.
pub(crate) fn break_lines(widths: &[f64], gap: f64, room: f64) -> Vec<Range<usize>> {
    let (mut lines, mut first, mut used) = (Vec::new(), 0, 0.0);
    for (index, width) in widths.iter().enumerate() {
        if index > first && used + gap + width > room {
            lines.push(first..index);
            (first, used) = (index, *width);
        } else {
            used += if index > first { gap + width } else { *width };
        }
    }
    lines.push(first..widths.len());
    lines
}

/// The text, its end replaced by an ellipsis if it is wider than `width` pixels.
pub(crate) fn shorten(text: &str, style: Style, width: f64) -> String {
    let fits = |text: &str| text_width(text, style) <= width;
    if fits(text) {
        return text.to_owned();
    }
    let mut kept: Vec<char> = text.chars().collect();
    loop {
        let shortened: String = kept.iter().copied().chain(['…']).collect();
        if kept.pop().is_none() || fits(&shortened) {
            return shortened;
        }
    }
}

/// A page of a figure, of [`FINE`] backend units a pixel.
pub(crate) struct Canvas<DB: DrawingBackend> {
    area: Area<DB>,
}

impl<DB: DrawingBackend> Canvas<DB> {
    /// A page of [`FINE`] backend units a pixel.
    pub(super) fn new(area: Area<DB>) -> Self {
        Self { area }
    }

    /// Pixels in backend units.
    pub(crate) fn px(&self, pixels: f64) -> i32 {
        (pixels * f64::from(FINE)).round() as i32
    }

    fn at(&self, (x, y): Point) -> (i32, i32) {
        (self.px(x), self.px(y))
    }

    /// A stroke of a width in pixels.
    pub(crate) fn stroke(&self, color: impl Color, width: f64) -> ShapeStyle {
        color.stroke_width(self.px(width).max(1) as u32)
    }

    /// A text style for elements of charts, centred across the writing direction but for
    /// [`Canvas::rise`].
    pub(crate) fn style(&self, style: Style) -> TextStyle<'static> {
        style.at_scale(f64::from(FINE))
    }

    /// How far a text must be moved down, in backend units, to be centred at its point.
    pub(crate) fn rise(&self, style: Style) -> i32 {
        self.px(RISE * style.size)
    }

    /// A rectangle of the page.
    pub(super) fn part(&self, corner: Point, size: Point) -> Area<DB> {
        self.area.clone().shrink(self.at(corner), self.at(size))
    }

    /// A text whose capitals are centred at `(x, y)` across the writing direction.
    pub(crate) fn text(&self, at: Point, text: impl AsRef<str>, style: Style) -> Drawn<DB> {
        let (x, y) = self.at(at);
        let place = (x, y + self.rise(style));
        self.area.draw(&Text::new(text.as_ref(), place, self.style(style)))
    }

    pub(crate) fn line(&self, from: Point, to: Point, color: RGBColor, width: f64) -> Drawn<DB> {
        let points = vec![self.at(from), self.at(to)];
        self.area.draw(&PathElement::new(points, self.stroke(color, width)))
    }

    /// A filled rectangle.
    pub(crate) fn fill(&self, corner: Point, size: Point, color: RGBColor) -> Drawn<DB> {
        let far = (corner.0 + size.0, corner.1 + size.1);
        let corners = [self.at(corner), self.at(far)];
        self.area.draw(&Rectangle::new(corners, color.filled()))
    }

    /// The edges of a rectangle, a pixel wide, within it.
    pub(crate) fn frame(&self, corner: Point, size: Point, color: RGBColor) -> Drawn<DB> {
        self.fill(corner, size, color)?;
        self.fill((corner.0 + 1.0, corner.1 + 1.0), (size.0 - 2.0, size.1 - 2.0), PAPER)
    }

    /// A cross as wide and high as `size`.
    pub(crate) fn cross(&self, at: Point, size: f64, color: RGBColor, width: f64) -> Drawn<DB> {
        let arm = self.px(size / 2.0);
        self.area.draw(&Cross::new(self.at(at), arm, self.stroke(color, width)))
    }

    /// An element in backend units.
    pub(crate) fn element<E>(&self, element: &E) -> Drawn<DB>
    where
        E: plotters::element::Drawable<DB>,
        for<'b> &'b E: plotters::element::PointCollection<'b, (i32, i32)>,
    {
        self.area.draw(element)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_filled_and_never_empty() {
        assert_eq!(
            break_lines(&[3.0, 4.0, 2.0, 20.0, 1.0], 1.0, 8.0),
            [0..2, 2..3, 3..4, 4..5]
        );
        let single = |widths: &[f64], line| break_lines(widths, 1.0, 8.0).into_iter().eq(std::iter::once(line));
        assert!(single(&[20.0], 0..1) && single(&[], 0..0));
    }

    #[test]
    fn the_font_has_what_the_plots_write() {
        assert!(*FONTS);
        // What a font lacks is as wide as the box that is drawn for it.
        let width = |c: char| text_width(&c.to_string(), Style::new(1000.0, HPos::Left));
        let lacking = width('\u{10FFFD}');
        for c in "ΨρC·DN/−×±°⁰¹²³⁴⁵⁶⁷⁸⁹⁻—é…|".chars() {
            assert!((width(c) - lacking).abs() > 1.0, "{c}");
        }
    }

    #[test]
    fn what_is_too_long_ends_in_an_ellipsis() {
        let style = Style::new(10.0, HPos::Left);
        assert_eq!(shorten("bubbly", style, 100.0), "bubbly");
        let short = shorten("bubbly_0101_of_the_dataset", style, 60.0);
        assert!(short.starts_with("bubbl") && short.ends_with('…'), "{short}");
        assert!(text_width(&short, style) <= 60.0);
        assert_eq!(shorten("bubbly", style, 0.0), "…");
    }

    #[test]
    fn widths_add_up_and_scale() {
        // Measured to sixteenths of a pixel.
        const STEP: f64 = 1.0 / MEASURE;
        let width = |text: &str, size: f64| text_width(text, Style::new(size, HPos::Left));
        assert!((width("00000", 20.0) - 10.0 * width("0", 10.0)).abs() < 11.0 * STEP);
        assert!(width("Ψ", 10.0) > 0.0 && width("", 10.0) == 0.0);
        let bold = text_width("CD", Style::new(10.0, HPos::Left).bold());
        assert!(bold > width("CD", 10.0));
    }
}
