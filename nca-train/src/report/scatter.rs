//! Ψ against what an architecture can be summed up to: D/C, D − C and C·D.

use super::collect::Collection;
use super::draw::axis::{AxisText, Panel, Scale, TICK_SIZE, minus};
use super::draw::{Anchor, Color, Figure, Paint, Point, Stroke, Style, categorical, shorten, text_width};
use super::findings::{Correlation, Quantity, correlation};
use super::record::ModelRecord;

/// The quantities that have a panel.
const SHOWN: [Quantity; 3] = [Quantity::Ratio, Quantity::Difference, Quantity::Product];

fn scale(quantity: Quantity, values: &[f64]) -> Scale {
    let values = values.iter().copied();
    match quantity {
        Quantity::Ratio => Scale::octaves(values),
        Quantity::Product => Scale::decades(values),
        Quantity::Difference | Quantity::Distance | Quantity::LogRatio => Scale::linear(values, false),
    }
}

const TOP: f64 = 66.0;
const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 280.0;
const GAP: f64 = 36.0;
const BOTTOM: f64 = 68.0;
const RIGHT: f64 = 18.0;

/// A panel for each quantity; `None` if no model has a Ψ.
pub(super) fn scatter(collection: &Collection) -> Option<Figure> {
    let textures = collection.textures();
    let mut measured: Vec<(&ModelRecord, f64)> = collection
        .records()
        .filter_map(|r| Some((r, r.measured_psi()?)))
        .collect();
    if measured.is_empty() {
        return None;
    }
    // Texture last, so that none lies above all others.
    measured.sort_by_key(|(r, _)| (r.channels, r.hidden, r.seed));
    let ends = measured.iter().flat_map(|(r, psi)| {
        let se = r.psi_se.unwrap_or(0.0);
        [(psi - se).max(0.0), psi + se]
    });
    let y = Scale::linear(ends, true);
    let margin = Panel::left_room(&y, HEIGHT);
    let panels = SHOWN.len() as f64;
    let width = margin + panels * (WIDTH + GAP) - GAP + RIGHT;
    let rows = legend_rows(&textures, width - margin - RIGHT);
    let top = TOP + 18.0 * (rows.len() - 1) as f64;
    let height = top + HEIGHT + BOTTOM;
    let mut figure = Figure::new("Motion strength against the architecture", width, height);

    for (i, quantity) in SHOWN.into_iter().enumerate() {
        let values: Vec<_> = measured
            .iter()
            .map(|(r, _)| quantity.of(r.channels, r.hidden))
            .collect();
        let panel = Panel {
            left: margin + i as f64 * (WIDTH + GAP),
            top,
            width: WIDTH,
            height: HEIGHT,
            x: scale(quantity, &values),
            y,
        };
        let first = i == 0;
        let x_text = AxisText {
            tick_labels: true,
            label: Some(quantity.name()),
        };
        let y_text = AxisText {
            tick_labels: first,
            label: first.then_some("Ψ (px/frame)"),
        };
        panel.draw(&mut figure, x_text, y_text);
        for &(record, psi) in &measured {
            let kind = textures.iter().position(|t| *t == record.texture).unwrap_or(0);
            draw_model(
                &mut figure,
                &panel,
                record,
                (quantity.of(record.channels, record.hidden), psi),
                kind,
            );
        }
        let text = correlation_text(&correlation(quantity, collection.records()));
        figure.text(
            (panel.left + WIDTH, top - 9.0),
            text,
            Style::new(TICK_SIZE, Anchor::End),
        );
    }

    let any_hollow = measured.iter().any(|(r, _)| r.above_flicker() == Some(false));
    draw_legend(&mut figure, margin, &textures, &rows);
    let hollow = if any_hollow {
        "Open marks: Ψ not above that of the flicker control. "
    } else {
        ""
    };
    let note = format!(
        "{hollow}Bars: ± standard error over frame pairs. r on unscaled values. {}.",
        collection.provenance()
    );
    let style = Style::new(TICK_SIZE, Anchor::Start).color(Color::FAINT_INK);
    figure.text((margin, height - 10.0), note, style);
    Some(figure)
}

/// Both coefficients, and how many models they rest on.
fn correlation_text(correlation: &Correlation) -> String {
    let number = |value: Option<f64>| value.map_or("–".to_owned(), |v| minus(&format!("{v:.2}")));
    format!(
        "Pearson r = {}, Spearman ρ = {}, n = {}",
        number(correlation.pearson),
        number(correlation.spearman),
        correlation.n
    )
}

fn draw_model(figure: &mut Figure, panel: &Panel, record: &ModelRecord, (x, psi): Point, kind: usize) {
    let color = categorical(kind);
    if let Some(se) = record.psi_se {
        figure.line(panel.at(x, psi - se), panel.at(x, psi + se), color.with_alpha(150), 1.0);
    }
    let filled = record.above_flicker() != Some(false);
    marker(figure, panel.at(x, psi), kind, color, filled);
}

/// The mark of the `kind`-th texture: colour and form both tell it.
fn marker(figure: &mut Figure, centre: Point, kind: usize, color: Color, filled: bool) {
    const RADIUS: f64 = 3.4;
    let paint = Paint {
        fill: Some(if filled { color.with_alpha(225) } else { Color::PAPER }),
        stroke: Some(Stroke {
            color: if filled { Color::PAPER } else { color },
            width: if filled { 0.5 } else { 1.1 },
        }),
    };
    // Corners of a regular polygon, from straight up; grown to about the area of the circle.
    let polygon = |corners: u32, turn: f64, growth: f64| {
        let corner = |i: u32| {
            let angle = std::f64::consts::TAU * (f64::from(i) / f64::from(corners) + turn);
            let radius = RADIUS * growth;
            (centre.0 + radius * angle.sin(), centre.1 - radius * angle.cos())
        };
        (0..corners).map(corner).collect()
    };
    match kind % 6 {
        0 => figure.circle(centre, RADIUS, paint),
        1 => figure.polygon(polygon(4, 0.125, 1.25), paint),
        2 => figure.polygon(polygon(3, 0.0, 1.4), paint),
        3 => figure.polygon(polygon(4, 0.0, 1.3), paint),
        4 => figure.polygon(polygon(3, 0.5, 1.4), paint),
        _ => figure.polygon(polygon(5, 0.0, 1.2), paint),
    }
}

const ENTRY_GAP: f64 = 22.0;
const MARK_ROOM: f64 = 12.0;
const LEGEND_STYLE: Style = Style::new(10.5, Anchor::Start);

/// A texture's name as the legend has it.
fn legend_name(texture: &str) -> String {
    shorten(texture, LEGEND_STYLE, 260.0)
}

fn entry_width(texture: &str) -> f64 {
    MARK_ROOM + text_width(&legend_name(texture), LEGEND_STYLE.size, false) + ENTRY_GAP
}

/// Indices of the textures that stand in each row of the legend.
fn legend_rows(textures: &[&str], width: f64) -> Vec<Vec<usize>> {
    let mut rows = vec![Vec::new()];
    let mut used = 0.0;
    for (i, texture) in textures.iter().enumerate() {
        let entry = entry_width(texture);
        if used > 0.0 && used + entry > width {
            rows.push(Vec::new());
            used = 0.0;
        }
        used += entry;
        if let Some(row) = rows.last_mut() {
            row.push(i);
        }
    }
    rows
}

fn draw_legend(figure: &mut Figure, left: f64, textures: &[&str], rows: &[Vec<usize>]) {
    for (row, entries) in rows.iter().enumerate() {
        let baseline = 24.0 + 18.0 * row as f64;
        let mut x = left;
        for &kind in entries {
            marker(figure, (x + 4.0, baseline - 4.0), kind, categorical(kind), true);
            figure.text((x + MARK_ROOM, baseline), legend_name(textures[kind]), LEGEND_STYLE);
            x += entry_width(textures[kind]);
        }
    }
}
