//! What every figure must keep to, on a backend that remembers what it was told to draw.

use plotters::drawing::IntoDrawingArea;
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind, FontTransform,
};

use super::canvas::{Canvas, MEASURED};
use super::{FINE, Figure};

/// Draws nothing, and writes down where it would have.
struct Recorder<'a> {
    size: (u32, u32),
    found: &'a mut Found,
}

/// What a figure consists of, in fine units.
#[derive(Default)]
pub(crate) struct Found {
    /// Texts and the boxes around them: left, top, right, bottom.
    texts: Vec<(String, [i32; 4])>,
    /// Ends and corners of everything else.
    points: Vec<BackendCoord>,
}

type Outcome = Result<(), DrawingErrorKind<std::convert::Infallible>>;

impl Recorder<'_> {
    fn keep(&mut self, points: impl IntoIterator<Item = BackendCoord>) -> Outcome {
        self.found.points.extend(points);
        Ok(())
    }
}

impl DrawingBackend for Recorder<'_> {
    type ErrorType = std::convert::Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Outcome {
        Ok(())
    }

    fn present(&mut self) -> Outcome {
        Ok(())
    }

    fn draw_pixel(&mut self, point: BackendCoord, _: BackendColor) -> Outcome {
        self.keep([point])
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, _: &S) -> Outcome {
        self.keep([from, to])
    }

    fn draw_rect<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, _: &S, _: bool) -> Outcome {
        self.keep([from, to])
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, _: &S) -> Outcome {
        self.keep(path)
    }

    fn draw_circle<S: BackendStyle>(&mut self, (x, y): BackendCoord, radius: u32, _: &S, _: bool) -> Outcome {
        let radius = radius as i32;
        self.keep([(x - radius, y - radius), (x + radius, y + radius)])
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, _: &S) -> Outcome {
        self.keep(path)
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, (x, y): BackendCoord) -> Outcome {
        let (low, high) = style
            .layout_box(text)
            .map_err(|e| DrawingErrorKind::FontError(Box::new(e)))?;
        let width = (f64::from(high.0 - low.0) / MEASURED) as i32;
        let height = high.1 - low.1;
        let left = match style.anchor().h_pos {
            HPos::Left => 0,
            HPos::Center => -width / 2,
            HPos::Right => -width,
        };
        let top = match style.anchor().v_pos {
            VPos::Top => 0,
            VPos::Center => -height / 2,
            VPos::Bottom => -height,
        };
        // Letters fill about the middle seven tenths of the height of a line.
        let (upper, lower) = (top + height * 3 / 20, top + height * 17 / 20);
        let corners = [(left, upper), (left + width, lower)].map(|(x, y)| match style.transform() {
            FontTransform::Rotate270 => (y, -x),
            FontTransform::Rotate90 => (-y, x),
            _ => (x, y),
        });
        let [(x0, y0), (x1, y1)] = corners;
        let bounds = [x + x0.min(x1), y + y0.min(y1), x + x0.max(x1), y + y0.max(y1)];
        if !text.is_empty() {
            self.found.texts.push((text.to_owned(), bounds));
        }
        Ok(())
    }
}

/// Everything lies on the page, and no two texts overlap.
pub(crate) fn assert_well_laid<F: Figure>(figure: &F) {
    check(&record(figure), figure.size(), &figure.title());
}

pub(crate) fn record<F: Figure>(figure: &F) -> Found {
    let mut found = Found::default();
    let size = figure.size();
    let fine = |side: f64| (side.ceil() * f64::from(FINE)) as u32;
    let area = Recorder {
        size: (fine(size.0), fine(size.1)),
        found: &mut found,
    }
    .into_drawing_area();
    figure.draw(&Canvas::new(area)).unwrap();
    found
}

pub(crate) fn check(found: &Found, (width, height): super::Point, title: &str) {
    let (right, bottom) = (width * f64::from(FINE), height * f64::from(FINE));
    // A pixel: half a line width may stick out.
    let slack = f64::from(FINE);
    let on_page = |x: i32, y: i32| {
        (-slack..=right + slack).contains(&f64::from(x)) && (-slack..=bottom + slack).contains(&f64::from(y))
    };
    for &(x, y) in &found.points {
        assert!(on_page(x, y), "{title}: ({x}, {y}) of {width}x{height}");
    }
    for (i, (one, a)) in found.texts.iter().enumerate() {
        assert!(
            on_page(a[0], a[1]) && on_page(a[2], a[3]),
            "{title}: '{one}' {a:?} of {width}x{height}"
        );
        for (other, b) in &found.texts[..i] {
            let overlap = a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
            assert!(!overlap, "{title}: '{one}' {a:?} and '{other}' {b:?} overlap");
        }
    }
}

impl Found {
    /// Puts the last text there once more.
    pub(crate) fn repeat_a_text(&mut self) {
        let last = self.texts.last().cloned();
        self.texts.extend(last);
    }
}
