//! Turning the results of a sweep into something to look at: table, statistics, plots, contact
//! sheet, summary.

mod collect;
mod csv;
pub mod layout;
mod record;
pub mod stats;

pub use self::collect::{Collection, ModelResult, collect, read_metrics, read_result};
pub use self::csv::{COLUMNS, read_csv, write_csv};
pub use self::record::{MetricRow, ModelRecord, RESULT_FORMAT, ResultFile, Status};
