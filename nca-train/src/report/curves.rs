//! Ψ and loss in the course of training: a column of panels for each C, a line for each D.

use super::collect::{Collection, ModelResult};
use super::draw::axis::{AxisText, LABEL_SIZE, Panel, Scale, TICK_SIZE};
use super::draw::{Anchor, Color, Figure, Paint, Point, Style, ordinal, shorten};
use super::record::{MetricRow, Status};
use super::stats;

/// Most points of a loss curve: more would not be seen, and make a heavy file.
const MAX_POINTS: usize = 150;
/// Most columns side by side.
const MAX_COLUMNS: usize = 8;

const TOP: f64 = 62.0;
const GAP_X: f64 = 22.0;
/// Between the Ψ and the loss panels of a column.
const GAP_Y: f64 = 16.0;
/// Between rows of columns: room for an axis label and a title.
const BAND_GAP: f64 = 66.0;
const BOTTOM: f64 = 62.0;
const LEGEND: f64 = 116.0;

/// A curve and how it ended.
struct Line {
    column: usize,
    color: Color,
    points: Vec<Point>,
    diverged: bool,
}

/// Training of all models of a texture; `None` if no model has a curve.
pub(super) fn curves(collection: &Collection, texture: &str) -> Option<Figure> {
    let (channels, hidden) = (collection.channels(), collection.hidden());
    let mut psi = Vec::new();
    let mut loss = Vec::new();
    let mut averaged = 1;
    for model in collection.of_texture(texture).filter(|model| !model.metrics.is_empty()) {
        let record = model.record();
        let line = |points| Line {
            column: channels.partition_point(|&c| c < record.channels),
            color: ordinal(hidden.partition_point(|&d| d < record.hidden), hidden.len()),
            points,
            diverged: record.status == Status::Diverged,
        };
        psi.push(line(psi_points(model)));
        let (points, window) = loss_points(&model.metrics);
        averaged = averaged.max(window);
        loss.push(line(points));
    }
    let last = collection
        .of_texture(texture)
        .filter_map(|m| m.metrics.last())
        .map(|row| row.iteration)
        .max()?;

    let iterations = Scale::exactly(0.0, last.max(1) as f64);
    let psi_scale = Scale::linear(values(&psi), true);
    let loss_scale = Scale::decades(without_outliers(values(&loss)));
    let across = channels.len().min(MAX_COLUMNS).max(1);
    let bands = channels.len().div_ceil(across);
    let width = ((1180.0 - GAP_X * (across - 1) as f64) / across as f64).clamp(118.0, 300.0);
    let height = if bands > 1 { 118.0 } else { 180.0 };
    let margin = Panel::left_room(&psi_scale, height).max(Panel::left_room(&loss_scale, height));
    let band_height = 2.0 * height + GAP_Y;
    let figure_width = margin + across as f64 * (width + GAP_X) + LEGEND;
    let figure_height = TOP + bands as f64 * (band_height + BAND_GAP) - BAND_GAP + BOTTOM;
    let mut figure = Figure::new(format!("Training on {texture}"), figure_width, figure_height);
    let title = Style::new(13.0, Anchor::Start).bold();
    figure.text(
        (margin, 24.0),
        shorten(texture, title, figure_width - margin - 10.0),
        title,
    );

    for (column, c) in channels.iter().enumerate() {
        let (across_index, band) = (column % across, column / across);
        let panel = |row: usize, y: Scale| Panel {
            left: margin + across_index as f64 * (width + GAP_X),
            top: TOP + band as f64 * (band_height + BAND_GAP) + row as f64 * (height + GAP_Y),
            width,
            height,
            x: iterations,
            y,
        };
        let (upper, lower) = (panel(0, psi_scale), panel(1, loss_scale));
        let left = |label| AxisText {
            tick_labels: across_index == 0,
            label: (across_index == 0).then_some(label),
        };
        let bottom = AxisText {
            tick_labels: true,
            label: (across_index == (across - 1) / 2).then_some("Iteration"),
        };
        upper.draw(&mut figure, AxisText::default(), left("Ψ (px/frame)"));
        lower.draw(&mut figure, bottom, left("Loss"));
        let title = Style::new(LABEL_SIZE, Anchor::Middle).bold();
        figure.text((upper.left + width / 2.0, upper.top - 8.0), format!("C = {c}"), title);
        for (panel, lines, dots) in [(&upper, &psi, true), (&lower, &loss, false)] {
            for line in lines.iter().filter(|line| line.column == column) {
                draw_line(&mut figure, panel, line, dots);
            }
        }
    }
    let any_diverged = loss.iter().any(|line| line.diverged);
    draw_legend(
        &mut figure,
        (figure_width - LEGEND + 8.0, TOP),
        figure_height - TOP - BOTTOM,
        &hidden,
        any_diverged,
    );
    let note = match averaged {
        1 => collection.provenance(),
        n => format!("{}; loss averaged over {n} iterations", collection.provenance()),
    };
    let style = Style::new(TICK_SIZE, Anchor::Start).color(Color::FAINT_INK);
    figure.text((margin, figure_height - 10.0), note, style);
    Some(figure)
}

fn psi_points(model: &ModelResult) -> Vec<Point> {
    let rows = model.metrics.iter();
    rows.filter_map(|row| Some((row.iteration as f64, row.psi?)))
        .filter(|p| p.1.is_finite())
        .collect()
}

/// The loss, averaged over windows of the returned length, which is 1 for short runs.
fn loss_points(rows: &[MetricRow]) -> (Vec<Point>, usize) {
    let window = rows.len().div_ceil(MAX_POINTS);
    let points = rows.chunks(window.max(1)).filter_map(|chunk| {
        let iteration = stats::mean(chunk.iter().map(|row| row.iteration as f64))?;
        Some((iteration, stats::mean(chunk.iter().map(|row| row.loss))?))
    });
    (points.collect(), window)
}

fn values(lines: &[Line]) -> Vec<f64> {
    lines.iter().flat_map(|line| line.points.iter().map(|p| p.1)).collect()
}

/// A diverging run passes any bound; it shall not flatten the others. Beyond it, lines run along
/// the edge of the panel.
fn without_outliers(mut values: Vec<f64>) -> Vec<f64> {
    const BOUND_OVER_MEDIAN: f64 = 1e4;
    values.sort_by(f64::total_cmp);
    if let Some(&median) = values.get(values.len() / 2)
        && median > 0.0
    {
        values.retain(|&v| v <= BOUND_OVER_MEDIAN * median);
    }
    values
}

fn draw_line(figure: &mut Figure, panel: &Panel, line: &Line, dots: bool) {
    let points: Vec<Point> = line.points.iter().map(|&(x, y)| panel.at(x, y)).collect();
    if dots {
        for &point in &points {
            figure.circle(point, 1.7, Paint::fill(line.color));
        }
    }
    if line.diverged
        && let Some(&end) = points.last()
    {
        figure.cross(end, 7.0, line.color, 1.6);
    }
    figure.path(points, Paint::line(line.color, 1.3));
}

fn draw_legend(figure: &mut Figure, (left, top): Point, room: f64, hidden: &[usize], any_diverged: bool) {
    // A long list is set tighter.
    let line = (room / (hidden.len() + 2) as f64).min(16.0);
    let style = Style::new(TICK_SIZE, Anchor::Start);
    figure.text((left, top + 8.0), "Hidden neurons D", style);
    let mut y = top + 8.0 + line;
    for (i, d) in hidden.iter().enumerate() {
        let color = ordinal(i, hidden.len());
        figure.line((left, y - 3.5), (left + 20.0, y - 3.5), color, 2.2);
        figure.text((left + 27.0, y), d.to_string(), style);
        y += line;
    }
    if any_diverged {
        figure.cross((left + 10.0, y - 3.5), 7.0, Color::INK, 1.6);
        figure.text((left + 27.0, y), "diverged", style);
    }
}
