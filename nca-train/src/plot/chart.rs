//! Charts of `plotters` on our scales: panels with axes, ticks and labels.

use std::ops::Range;

use plotters::chart::{ChartBuilder, ChartContext, LabelAreaPosition};
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::element::PathElement;
use plotters::prelude::DrawingBackend;

use super::Point;
use super::axis::{Scale, Tick};
use super::canvas::{Canvas, Drawn, Style, TextPlace, text_width};
use super::color::{GRID, INK};

/// Tick labels.
pub(crate) const TICK: Style = Style::new(9.5, TextPlace::Center);
/// Axis labels.
pub(crate) const LABEL: Style = Style::new(11.0, TextPlace::Center);
const TICK_LENGTH: f64 = 4.0;
/// Between an axis and its tick labels: `plotters` keeps twice the length of a tick.
const TICK_ROOM: f64 = 2.0 * TICK_LENGTH;
/// Between tick labels and the label of an axis.
const LABEL_GAP: f64 = 8.0;
/// Height of a line of axis label.
const LABEL_LINE: f64 = 15.0;

/// An axis as a coordinate of `plotters`.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    scale: Scale,
    ticks: Vec<Tick>,
}

impl Axis {
    /// A scale drawn over so many pixels, each tick of which may take `room`.
    pub(crate) fn new(scale: Scale, length: f64, room: f64) -> Self {
        let ticks = scale.ticks((length / room) as usize);
        Self { scale, ticks }
    }

    /// Places for things in a row, the `i`-th from `i` to `i + 1`, each with its name.
    pub(crate) fn places(names: impl IntoIterator<Item = String>, downwards: bool) -> Self {
        let tick = |(i, label)| Tick {
            value: i as f64 + 0.5,
            label,
        };
        let ticks: Vec<_> = names.into_iter().enumerate().map(tick).collect();
        let count = ticks.len().max(1) as f64;
        let scale = if downwards {
            Scale::exactly(count, 0.0)
        } else {
            Scale::exactly(0.0, count)
        };
        Self { scale, ticks }
    }

    /// An axis without marks.
    pub(crate) fn bare(low: f64, high: f64) -> Self {
        Self {
            scale: Scale::exactly(low, high),
            ticks: Vec::new(),
        }
    }

    /// Width of the widest tick label.
    fn widest(&self) -> f64 {
        let widths = self.ticks.iter().map(|tick| text_width(&tick.label, TICK));
        widths.fold(0.0, f64::max)
    }

    /// Room that a vertical axis needs for ticks and labels.
    pub(crate) fn room(&self) -> f64 {
        TICK_ROOM + self.widest() + LABEL_GAP + LABEL_LINE
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        from + (self.scale.map(*value) * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() {
            return Vec::new();
        }
        self.ticks.iter().map(|tick| tick.value).collect()
    }

    fn range(&self) -> Range<f64> {
        let (low, high) = self.scale.ends();
        low..high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        let tick = self.ticks.iter().find(|tick| tick.value == *value);
        tick.map_or_else(String::new, |tick| tick.label.clone())
    }
}

/// What `plotters` calls a chart of two axes.
pub(crate) type Chart<'a, DB> = ChartContext<'a, DB, Cartesian2d<Axis, Axis>>;

/// The rectangle in which data are drawn, and what stands around it.
#[derive(Clone, Debug)]
pub(crate) struct Panel<'a> {
    pub(crate) corner: Point,
    pub(crate) size: Point,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    /// Label below; tick labels too if given, even if empty.
    pub(crate) x_label: Option<&'a str>,
    /// Label at the side; tick labels too if given, even if empty.
    pub(crate) y_label: Option<&'a str>,
    /// Room at the side for them, [`Axis::room`] or more.
    pub(crate) side: f64,
    /// Whether the y axis is on the right.
    pub(crate) on_the_right: bool,
    /// Whether lines run through the panel at the ticks.
    pub(crate) grid: bool,
}

impl Panel<'_> {
    /// Height below a panel that its ticks and label take up.
    pub(crate) const FOOT: f64 = TICK_ROOM + 12.0 + LABEL_LINE;

    /// Draws axes, ticks, labels and grid, and then what `data` draws in the chart.
    pub(crate) fn draw<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        data: impl FnOnce(&mut Chart<'_, DB>) -> Drawn<DB>,
    ) -> Drawn<DB> {
        let side = if self.y_label.is_some() { self.side } else { 0.0 };
        let foot = if self.x_label.is_some() { Self::FOOT } else { 0.0 };
        let ((x, y), (width, height)) = (self.corner, self.size);
        let left = if self.on_the_right { x } else { x - side };
        let area = canvas.part((left, y), (width + side, height + foot));
        let at_side = if self.on_the_right {
            LabelAreaPosition::Right
        } else {
            LabelAreaPosition::Left
        };
        let mut chart = ChartBuilder::on(&area)
            .set_label_area_size(at_side, canvas.px(side))
            .set_label_area_size(LabelAreaPosition::Bottom, canvas.px(foot))
            .build_cartesian_2d(self.x.clone(), self.y.clone())?;
        let mut mesh = chart.configure_mesh();
        mesh.bold_line_style(canvas.stroke(GRID, 0.75))
            .axis_style(canvas.stroke(INK, 0.75))
            .label_style(canvas.style(TICK))
            .axis_desc_style(canvas.style(LABEL))
            .y_label_offset(canvas.rise(TICK))
            .set_all_tick_mark_size(canvas.px(TICK_LENGTH));
        if !self.grid {
            mesh.disable_mesh();
        }
        if let Some(label) = self.x_label {
            mesh.x_desc(label);
        }
        if let Some(label) = self.y_label {
            mesh.y_desc(label);
        }
        mesh.draw()?;
        if self.grid {
            let edges = [(x, y), (x, y + height), (x + width, y + height)].map(|(x, y)| (canvas.px(x), canvas.px(y)));
            canvas.element(&PathElement::new(edges.to_vec(), canvas.stroke(INK, 0.75)))?;
        }
        data(&mut chart)
    }
}
