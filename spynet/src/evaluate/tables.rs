//! Tables of an evaluation: Markdown to read, CSV to compute with.

use std::fmt::Write;

use nca_core::{Error, Result};
use serde::Serialize;

use super::accuracy::AccuracyRow;
use super::calibration::{CalibrationRow, FloorRow};

/// Rows as CSV with a header line.
///
/// # Errors
/// When a row cannot be written as one line.
pub fn csv<R: Serialize>(rows: &[R]) -> Result<String> {
    let failed = |e: &dyn std::fmt::Display| Error::invalid("row of a table", e, "plain fields");
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row).map_err(|e| failed(&e))?;
    }
    let bytes = writer.into_inner().map_err(|e| failed(&e))?;
    String::from_utf8(bytes).map_err(|e| failed(&e))
}

/// Endpoint errors: a line for each set, three columns for each estimator.
#[must_use]
pub fn accuracy(rows: &[AccuracyRow]) -> String {
    let flows = distinct(rows.iter().map(|row| row.flow.as_str()));
    let mut header = vec!["set".to_owned(), "pairs".to_owned(), "motion, px".to_owned()];
    for flow in &flows {
        header.extend([
            format!("{flow}: error, px"),
            "> 1 px, %".to_owned(),
            "> 3 px, %".to_owned(),
        ]);
    }
    let mut table = Table::new(&header);
    for set in distinct(rows.iter().map(|row| row.set.as_str())) {
        let of_set: Vec<&AccuracyRow> = rows.iter().filter(|row| row.set == set).collect();
        let mut line = vec![
            set.to_owned(),
            of_set[0].pairs.to_string(),
            number(of_set[0].true_length),
        ];
        for flow in &flows {
            match of_set.iter().find(|row| row.flow == *flow) {
                Some(row) => line.extend([
                    number(row.epe),
                    format!("{:.1}", 100.0 * row.above_1px),
                    format!("{:.1}", 100.0 * row.above_3px),
                ]),
                None => line.extend(["", "", ""].map(str::to_owned)),
            }
        }
        table.line(&line);
    }
    table.text
}

/// Calibration of Ψ: a line for each distance, three columns for each estimator.
#[must_use]
pub fn calibration(rows: &[CalibrationRow]) -> String {
    let flows = distinct(rows.iter().map(|row| row.flow.as_str()));
    let mut header = vec!["moved by, px".to_owned(), "cases".to_owned()];
    for flow in &flows {
        header.extend([
            format!("{flow}: Ψ, px"),
            "least to most".to_owned(),
            "within, %".to_owned(),
        ]);
    }
    let mut table = Table::new(&header);
    for first in rows.iter().filter(|row| row.flow == flows[0]) {
        let mut line = vec![first.distance.to_string(), first.cases.to_string()];
        for flow in &flows {
            let found = rows
                .iter()
                .find(|row| row.flow == *flow && row.distance == first.distance);
            match found {
                Some(row) => line.extend([
                    number(row.psi),
                    format!("{} to {}", number(row.psi_min), number(row.psi_max)),
                    format!("{:.0}", 100.0 * row.within),
                ]),
                None => line.extend(["", "", ""].map(str::to_owned)),
            }
        }
        table.line(&line);
    }
    table.text
}

/// Ψ of what does not move: a line for each disturbance, two columns for each estimator.
#[must_use]
pub fn floors(rows: &[FloorRow]) -> String {
    let flows = distinct(rows.iter().map(|row| row.flow.as_str()));
    let mut header = vec!["frames".to_owned()];
    for flow in &flows {
        header.extend([format!("{flow}: Ψ, px"), "most".to_owned()]);
    }
    let mut table = Table::new(&header);
    for disturbance in distinct(rows.iter().map(|row| row.disturbance.as_str())) {
        let mut line = vec![disturbance.to_owned()];
        for flow in &flows {
            match rows
                .iter()
                .find(|row| row.flow == *flow && row.disturbance == disturbance)
            {
                Some(row) => line.extend([number(row.psi), number(row.psi_max)]),
                None => line.extend(["", ""].map(str::to_owned)),
            }
        }
        table.line(&line);
    }
    table.text
}

/// A Markdown table in the making.
struct Table {
    text: String,
}

impl Table {
    fn new(header: &[String]) -> Self {
        let mut table = Self { text: String::new() };
        table.line(header);
        // Numbers to the right, names to the left.
        let rule: Vec<String> = (0..header.len())
            .map(|i| if i == 0 { "---" } else { "---:" }.to_owned())
            .collect();
        table.line(&rule);
        table
    }

    fn line(&mut self, cells: &[String]) {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "| {} |", cells.join(" | "));
    }
}

/// Three digits behind the point.
fn number(value: f64) -> String {
    format!("{value:.3}")
}

/// Each of `items` once, in order of appearance.
fn distinct<'a>(items: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found = Vec::new();
    for item in items {
        if !found.contains(&item) {
            found.push(item);
        }
    }
    found
}
