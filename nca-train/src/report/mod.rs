//! Turning the results of a sweep into something to look at: table, statistics, plots, contact
//! sheet, summary.
//!
//! [`write_report`] does all of it from what lies in the directory ([`layout`]), finished or not.

pub mod bootstrap;
mod collect;
mod contact;
mod csv;
mod curves;
mod damage;
mod findings;
mod grid;
mod heatmap;
pub mod layout;
pub mod page;
mod record;
mod scatter;
mod series;
pub mod stats;
mod summary;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use nca_core::checkpoint::write_atomic;
use nca_core::{Error, Result};

pub use self::collect::{Collection, ModelResult, Unreadable, collect, read_metrics, read_result};
pub use self::csv::{COLUMNS, read_csv, write_csv};
pub use self::damage::Damage;
pub use self::findings::{ArchitectureCorrelation, Correlation, Moving, Pair, Quantity, Remark};
pub use self::record::{MetricRow, ModelRecord, RESULT_FORMAT, ResultFile, Status};
pub use self::summary::{Likeness, Lost, ReportSummary};
use crate::picture::write_png;
use crate::plot;

/// Writes `results.csv`, `correlations.csv`, the plots, the contact sheet, `report.md` and
/// `report.html` of the sweep in `dir` from the model directories there are.
///
/// Every file is written atomically, so this may run while the sweep does. What cannot be read, and a contact sheet that
/// would be too large, is left out; log, summary and page name it.
pub fn write_report(dir: impl AsRef<Path>) -> Result<ReportSummary> {
    let dir = dir.as_ref();
    let collection = collect(dir)?;
    let mut damages = damage::Damages::new(collection.damaged.clone());
    let table = layout::results_csv(dir);
    write_csv(&table, collection.records())?;
    let mut files = vec![table];
    files.extend(write_plots(dir, &collection)?);
    let path = layout::contact_sheet(dir);
    if let Some(sheet) = contact::contact_sheet(&collection, &path, plot::MAX_PIXELS, &mut damages) {
        write_png(&path, &sheet)?;
        files.push(path);
    }
    let gathered = page::Gathered::read(dir, &collection, &mut damages)?;
    let damaged = damages.into_list();
    for damage in &damaged {
        tracing::warn!("left out of the report: {}: {}", damage.path.display(), damage.reason);
    }
    for words in collection.incomparable() {
        tracing::warn!("{words}");
    }
    let correlations = layout::correlations_csv(dir);
    let page = layout::report_md(dir);
    files.extend([correlations.clone(), page.clone(), layout::report_html(dir)]);
    let summary = ReportSummary::of(dir, &collection, &damaged, files);
    findings::write_correlations(&correlations, &summary.correlations)?;
    let text = summary.markdown(dir);
    write_atomic(page, |file| file.write_all(text.as_bytes()))?;
    let living = page::sweep_page(&collection, &summary, gathered)?;
    write_atomic(layout::report_html(dir), |file| file.write_all(living.as_bytes()))?;
    Ok(summary)
}

/// The colours of the heat maps, red, green and blue: viridis, dark at 0 and light at 1.
#[must_use]
pub fn viridis(t: f64) -> [u8; 3] {
    let color = plot::viridis(t);
    [color.0, color.1, color.2]
}

/// Writes every plot as SVG, PNG and CSV.
fn write_plots(dir: &Path, collection: &Collection) -> Result<Vec<PathBuf>> {
    use heatmap::Shown::{Error as StandardError, Psi};

    let plots = layout::plots_dir(dir);
    let textures = collection.textures();
    if textures.is_empty() {
        return Ok(Vec::new());
    }
    fs::create_dir_all(&plots).map_err(|e| Error::io(&plots, e))?;
    let mut written = Vec::new();
    let mut heatmap = |stem: PathBuf, textures: &[&str], shown: &[heatmap::Shown]| {
        let figure = heatmap::heatmap(collection, textures, shown);
        plot::save(&figure, &figure.rows(), &stem).map(|paths| written.extend(paths))
    };
    if textures.len() == 1 {
        heatmap(plots.join("heatmap"), &textures, &[Psi, StandardError])?;
    } else {
        heatmap(plots.join("heatmap"), &textures, &[Psi])?;
        heatmap(plots.join("standard_error"), &textures, &[StandardError])?;
        for texture in &textures {
            // Alone, a texture of weak motion has the whole range of colours.
            let stem = layout::plot_stem(dir, "heatmap", texture);
            heatmap(stem, &[texture], &[Psi, StandardError])?;
        }
    }
    if let Some(figure) = scatter::scatter(collection) {
        written.extend(plot::save(&figure, &figure.rows(), &plots.join("architecture"))?);
    }
    for texture in &textures {
        if let Some(figure) = curves::curves(collection, texture) {
            written.extend(plot::save(
                &figure,
                &figure.rows(),
                &layout::plot_stem(dir, "curves", texture),
            )?);
        }
    }
    Ok(written)
}
