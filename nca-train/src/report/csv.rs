//! `results.csv`, the table of all models.
//!
//! Plain RFC 4180 with one header line, so that any tool reads it. Its columns are fixed; the
//! version of the whole layout stands in the `sweep.json` beside it.

use std::path::Path;

use nca_core::checkpoint::write_atomic;
use nca_core::{Error, Result};

use super::record::ModelRecord;

/// The header of the table.
pub const COLUMNS: [&str; 18] = [
    "texture",
    "channels",
    "hidden",
    "seed",
    "status",
    "psi",
    "psi_se",
    "psi_floor_static",
    "psi_floor_flicker",
    "flow",
    "steps_per_frame",
    "appearance_loss",
    "texture_distance",
    "loss",
    "iterations",
    "seconds",
    "precision",
    "backend",
];

/// Writes the table atomically, header included even if there is no row. Floats are written so that
/// they read back bit for bit.
pub fn write_csv<'a>(path: impl AsRef<Path>, records: impl IntoIterator<Item = &'a ModelRecord>) -> Result<()> {
    write_atomic(path, |file| {
        let mut table = ::csv::WriterBuilder::new().has_headers(false).from_writer(file);
        table.write_record(COLUMNS)?;
        for record in records {
            table.serialize(record)?;
        }
        table.flush()
    })
}

/// Reads a table that [`write_csv`] wrote, or another tool that kept its header.
pub fn read_csv(path: impl AsRef<Path>) -> Result<Vec<ModelRecord>> {
    let path = path.as_ref();
    let file = std::fs::File::open(path).map_err(|e| Error::io(path, e))?;
    let mut table = ::csv::Reader::from_reader(std::io::BufReader::new(file));
    let header = table
        .headers()
        .map_err(|e| Error::format(path, e, "a table in UTF-8"))?;
    if header != COLUMNS.as_slice() {
        let found = header.iter().collect::<Vec<_>>().join(",");
        return Err(Error::format(path, format!("the header '{found}'"), COLUMNS.join(",")));
    }
    table
        .deserialize()
        .map(|row| row.map_err(|e| Error::format(path, e, "a row of a results table")))
        .collect()
}
