//! Ψ against what an architecture can be summed up to: D/C, D − C, |D − C| and C·D.

use std::ops::Range;

use plotters::element::{EmptyElement, PathElement, Polygon};
use plotters::prelude::DrawingBackend;
use plotters::style::{Color, RGBColor};
use serde::Serialize;

use super::bootstrap::{FEWEST_ARCHITECTURES, Interval};
use super::collect::Collection;
use super::findings::{Correlation, Quantity, Remark, correlation};
use super::record::ModelRecord;
use crate::plot::axis::{Scale, minus};
use crate::plot::chart::{Axis, Panel, TICK};
use crate::plot::{
    Canvas, Drawn, FAINT_INK, Figure, PAPER, Point, Style, TextPlace, break_lines, categorical, shorten, text_width,
};

/// The quantities that have a panel; log(D/C) has that of D/C, whose axis is logarithmic.
const SHOWN: [Quantity; 4] = [
    Quantity::Ratio,
    Quantity::Difference,
    Quantity::Distance,
    Quantity::Product,
];
/// Panels side by side.
const ACROSS: usize = 2;

const TOP: f64 = 76.0;
const PANEL: Point = (400.0, 280.0);
const GAP_X: f64 = 36.0;
/// Between the rows of panels: axis labels of the upper, coefficients of the lower.
const GAP_Y: f64 = 92.0;
const BOTTOM: f64 = 112.0;
const RIGHT: f64 = 24.0;

/// A model that has a Ψ.
struct Mark {
    texture: usize,
    channels: usize,
    hidden: usize,
    seed: u64,
    psi: f64,
    psi_se: Option<f64>,
    /// Whether Ψ is above its motion floor, if that is known.
    above_floor: Option<bool>,
}

impl Mark {
    /// Unless it is known to stand still.
    fn is_filled(&self) -> bool {
        self.above_floor != Some(false)
    }
}

/// Every model in a panel for each quantity.
pub(super) struct Scatter {
    textures: Vec<String>,
    marks: Vec<Mark>,
    /// Of each of [`SHOWN`], in two lines.
    correlations: Vec<[String; 2]>,
    /// What marks mean, where there are such.
    key: Vec<(Sample, &'static str)>,
    /// Lines below the key.
    notes: [String; 2],
}

/// What may be drawn for a model.
#[derive(Clone, Copy)]
enum Sample {
    Filled,
    Open,
    Bar,
}

/// A row of the table of the scatter plot.
#[derive(Serialize)]
pub(super) struct Row {
    texture: String,
    channels: usize,
    hidden: usize,
    seed: u64,
    ratio: f64,
    difference: f64,
    distance: f64,
    product: f64,
    psi: f64,
    psi_se: Option<f64>,
    above_floor: Option<bool>,
}

/// The scatter plot of all models; `None` if none has a Ψ.
pub(super) fn scatter(collection: &Collection) -> Option<Scatter> {
    let textures: Vec<String> = collection.textures().into_iter().map(str::to_owned).collect();
    let mark = |r: &ModelRecord| {
        Some(Mark {
            texture: textures.iter().position(|t| *t == r.texture)?,
            channels: r.channels,
            hidden: r.hidden,
            seed: r.seed,
            psi: r.measured_psi()?,
            psi_se: r.psi_se.filter(|se| se.is_finite()),
            above_floor: r.above_floor(),
        })
    };
    let mut marks: Vec<Mark> = collection.records().filter_map(mark).collect();
    if marks.is_empty() {
        return None;
    }
    // Texture last, so that none lies above all others.
    marks.sort_by_key(|m| (m.channels, m.hidden, m.seed));
    let any = |condition: fn(&Mark) -> bool| marks.iter().any(condition);
    let above = match any(|m| m.above_floor.is_none()) {
        true => "Ψ above its motion floor, or that unknown",
        false => "Ψ above its motion floor",
    };
    let key = [
        (any(Mark::is_filled), Sample::Filled, above),
        (
            any(|m| !m.is_filled()),
            Sample::Open,
            "not above it: perhaps noise, not motion",
        ),
        (
            any(|m| m.psi_se.is_some()),
            Sample::Bar,
            "± standard error of Ψ over frame pairs",
        ),
    ];
    let found = |quantity| correlation(quantity, collection.records());
    let all = SHOWN.map(found);
    let given = all.iter().find(|found| found.pearson.is_some());
    let notes = [
        explanation(given.unwrap_or(&all[0])),
        format!("{}.", collection.provenance()),
    ];
    let lines = |(quantity, found): (Quantity, Correlation)| {
        let spearman = coefficient(found.spearman, found.spearman_interval);
        let mut pearson = coefficient(found.pearson, found.pearson_interval);
        if quantity == Quantity::Ratio && found.pearson.is_some() {
            // Its axis is logarithmic: this is what the eye sees.
            let logarithm = correlation(Quantity::LogRatio, collection.records());
            let r = coefficient(logarithm.pearson, logarithm.pearson_interval);
            pearson += &format!(", for log(D/C) {r}");
        }
        match found.pearson {
            Some(_) => [format!("Spearman ρ = {spearman}"), format!("Pearson r = {pearson}")],
            None => [String::new(), "no correlation given".to_owned()],
        }
    };
    Some(Scatter {
        correlations: SHOWN.into_iter().zip(all).map(lines).collect(),
        key: key
            .into_iter()
            .filter_map(|(occurs, sample, meaning)| occurs.then_some((sample, meaning)))
            .collect(),
        notes,
        textures,
        marks,
    })
}

/// What the coefficients above the panels are, or why there are none.
fn explanation(found: &Correlation) -> String {
    let models = |n: usize| format!("{n} model{}", if n == 1 { "" } else { "s" });
    match found.remark {
        Some(Remark::NothingMoves) => "No correlation: of no model is Ψ above its motion floor.".to_owned(),
        Some(Remark::NoVariation) => "No correlation: Ψ, or the architecture, is the same in all models.".to_owned(),
        _ if found.pearson.is_none() => format!("No correlation: too few models ({}).", found.n),
        Some(Remark::TooFewArchitectures) => format!(
            "ρ, r: correlation of Ψ with the quantity below, {}; an interval takes {FEWEST_ARCHITECTURES} architectures.",
            models(found.n)
        ),
        None => format!(
            "ρ, r: correlation of Ψ with the quantity below, {}; in parentheses 95 % intervals (bootstrap over architectures).",
            models(found.n)
        ),
    }
}

/// A coefficient and its interval: `0.78 (0.75 to 0.81)`.
fn coefficient(value: Option<f64>, interval: Option<Interval>) -> String {
    let number = |v: f64| minus(&format!("{v:.2}"));
    let interval = interval.map_or_else(String::new, |i| format!(" ({} to {})", number(i.low), number(i.high)));
    value.map_or("–".to_owned(), number) + &interval
}

fn scale(quantity: Quantity, values: &[f64]) -> Scale {
    let values = values.iter().copied();
    match quantity {
        Quantity::Ratio => Scale::octaves(values),
        Quantity::Product => Scale::decades(values),
        Quantity::Distance => Scale::linear(values, true),
        Quantity::Difference | Quantity::LogRatio => Scale::linear(values, false),
    }
}

impl Scatter {
    /// The axis of Ψ, error bars included.
    fn psi_axis(&self) -> Axis {
        let ends = self.marks.iter().flat_map(|m| {
            let se = m.psi_se.unwrap_or(0.0);
            [(m.psi - se).max(0.0), m.psi + se]
        });
        Axis::new(Scale::linear(ends, true), PANEL.1, 26.0)
    }

    fn margin(&self) -> f64 {
        self.psi_axis().room() + 4.0
    }

    /// The textures in each row of the legend.
    fn legend(&self) -> Vec<Range<usize>> {
        let widths: Vec<f64> = self.textures.iter().map(|texture| entry_width(texture)).collect();
        break_lines(&widths, ENTRY_GAP, panels_width())
    }

    /// Height above the panels.
    fn top(&self) -> f64 {
        TOP + LEGEND_LINE * (self.legend().len() - 1) as f64
    }

    fn draw_panel<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, index: usize) -> Drawn<DB> {
        let quantity = SHOWN[index];
        let (column, row) = (index % ACROSS, index / ACROSS);
        let corner = (
            self.margin() + column as f64 * (PANEL.0 + GAP_X),
            self.top() + row as f64 * (PANEL.1 + GAP_Y),
        );
        let values: Vec<_> = self.marks.iter().map(|m| quantity.of(m.channels, m.hidden)).collect();
        let panel = Panel {
            corner,
            size: PANEL,
            x: Axis::new(scale(quantity, &values), PANEL.0, 42.0),
            y: self.psi_axis(),
            x_label: Some(quantity.name()),
            y_label: (column == 0).then_some("Ψ (px/frame)"),
            side: self.psi_axis().room(),
            on_the_right: false,
            grid: true,
        };
        let style = Style::new(TICK.size, TextPlace::Right);
        for (line, rise) in self.correlations[index].iter().zip([24.0, 10.0]) {
            if !line.is_empty() {
                canvas.text((corner.0 + PANEL.0, corner.1 - rise), line, style)?;
            }
        }
        panel.draw(canvas, |chart| {
            for (mark, &x) in self.marks.iter().zip(&values) {
                if let Some(se) = mark.psi_se {
                    let ends = vec![(x, mark.psi - se), (x, mark.psi + se)];
                    let stroke = canvas.stroke(categorical(mark.texture).mix(0.6), 1.0);
                    chart.plotting_area().draw(&PathElement::new(ends, stroke))?;
                }
                let [rim, inside] = marker(canvas, mark.texture, categorical(mark.texture), mark.is_filled());
                let symbol = EmptyElement::at((x, mark.psi)) + rim + inside;
                chart.plotting_area().draw(&symbol)?;
            }
            Ok(())
        })
    }

    fn draw_legend<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        for (row, entries) in self.legend().into_iter().enumerate() {
            let middle = 20.0 + LEGEND_LINE * row as f64;
            let mut x = self.margin();
            for texture in entries {
                let at = (canvas.px(x + 4.0), canvas.px(middle));
                let [rim, inside] = marker(canvas, texture, categorical(texture), true);
                canvas.element(&(EmptyElement::at(at) + rim + inside))?;
                let name = &self.textures[texture];
                canvas.text((x + MARK_ROOM, middle), legend_name(name), LEGEND)?;
                x += entry_width(name) + ENTRY_GAP;
            }
        }
        Ok(())
    }
}

impl Scatter {
    /// What marks mean, from the left end and the middle of the height of its line.
    fn draw_key<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, (left, middle): Point) -> Drawn<DB> {
        let mut x = left;
        for &(sample, meaning) in &self.key {
            let at = (canvas.px(x + 4.0), canvas.px(middle));
            match sample {
                Sample::Filled | Sample::Open => {
                    let [rim, inside] = marker(canvas, 0, FAINT_INK, matches!(sample, Sample::Filled));
                    canvas.element(&(EmptyElement::at(at) + rim + inside))?;
                }
                Sample::Bar => canvas.line((x + 4.0, middle - 6.0), (x + 4.0, middle + 6.0), FAINT_INK, 1.0)?,
            }
            canvas.text((x + MARK_ROOM, middle), meaning, NOTE)?;
            x += key_width(meaning) + ENTRY_GAP;
        }
        Ok(())
    }

    /// What is drawn, as numbers.
    pub(super) fn rows(&self) -> Vec<Row> {
        let row = |m: &Mark| {
            let of = |quantity: Quantity| quantity.of(m.channels, m.hidden);
            Row {
                texture: self.textures[m.texture].clone(),
                channels: m.channels,
                hidden: m.hidden,
                seed: m.seed,
                ratio: of(Quantity::Ratio),
                difference: of(Quantity::Difference),
                distance: of(Quantity::Distance),
                product: of(Quantity::Product),
                psi: m.psi,
                psi_se: m.psi_se,
                above_floor: m.above_floor,
            }
        };
        self.marks.iter().map(row).collect()
    }
}

impl Figure for Scatter {
    fn title(&self) -> String {
        "Motion strength against the architecture".to_owned()
    }

    fn size(&self) -> Point {
        let down = SHOWN.len().div_ceil(ACROSS) as f64;
        let panels = self.margin() + panels_width() + RIGHT;
        let note = self.notes.iter().map(|note| text_width(note, TICK)).fold(0.0, f64::max);
        let key: f64 = self.key.iter().map(|(_, meaning)| key_width(meaning) + ENTRY_GAP).sum();
        (
            panels.max(self.margin() + note.max(key) + 10.0),
            self.top() + down * (PANEL.1 + GAP_Y) - GAP_Y + BOTTOM,
        )
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        for index in 0..SHOWN.len() {
            self.draw_panel(canvas, index)?;
        }
        self.draw_legend(canvas)?;
        let (left, bottom) = (self.margin(), self.size().1);
        self.draw_key(canvas, (left, bottom - 48.0))?;
        let [first, second] = &self.notes;
        canvas.text((left, bottom - 30.0), first, NOTE)?;
        canvas.text((left, bottom - 14.0), second, NOTE)
    }
}

/// The mark of a texture around the origin, its rim and its inside: colour and form both tell it.
fn marker<DB: DrawingBackend>(
    canvas: &Canvas<DB>,
    texture: usize,
    color: RGBColor,
    filled: bool,
) -> [Polygon<(i32, i32)>; 2] {
    const RADIUS: f64 = 3.4;
    /// A polygon of so many corners is a circle.
    const ROUND: u32 = 20;
    // Corners, turn from straight up, and what it is grown by to about the area of the circle.
    let (corners, turn, growth) = match texture % 6 {
        0 => (ROUND, 0.0, 1.0),
        1 => (4, 0.125, 1.25),
        2 => (3, 0.0, 1.4),
        3 => (4, 0.0, 1.3),
        4 => (3, 0.5, 1.4),
        _ => (5, 0.0, 1.2),
    };
    let polygon = |radius: f64, color: RGBColor| {
        let corner = |i: u32| {
            let angle = std::f64::consts::TAU * (f64::from(i) / f64::from(corners) + turn);
            let radius = radius * growth;
            (canvas.px(radius * angle.sin()), canvas.px(-radius * angle.cos()))
        };
        Polygon::new((0..corners).map(corner).collect::<Vec<_>>(), color.filled())
    };
    if filled {
        [polygon(RADIUS + 0.4, PAPER), polygon(RADIUS, color)]
    } else {
        [polygon(RADIUS + 0.3, color), polygon(RADIUS - 0.8, PAPER)]
    }
}

fn panels_width() -> f64 {
    ACROSS as f64 * (PANEL.0 + GAP_X) - GAP_X
}

const LEGEND: Style = Style::new(10.5, TextPlace::Left);
const NOTE: Style = Style::new(TICK.size, TextPlace::Left).color(FAINT_INK);
const LEGEND_LINE: f64 = 18.0;
const ENTRY_GAP: f64 = 22.0;
const MARK_ROOM: f64 = 12.0;

/// A texture's name as the legend has it.
fn legend_name(texture: &str) -> String {
    shorten(texture, LEGEND, 260.0)
}

fn key_width(meaning: &str) -> f64 {
    MARK_ROOM + text_width(meaning, NOTE)
}

fn entry_width(texture: &str) -> f64 {
    MARK_ROOM + text_width(&legend_name(texture), LEGEND)
}
