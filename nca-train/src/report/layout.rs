//! Names of the files in a sweep directory.
//!
//! ```text
//! DIR/sweep.json                              what is swept, and the version of this layout
//! DIR/results.csv                             a row for each model
//! DIR/correlations.csv                        how Ψ goes with the architecture
//! DIR/report.md                               summary, with the pictures
//! DIR/report.html                             the page in which the automata run
//! DIR/plots/*.svg, *.png, *.csv               heat maps, curves, scatter plots, and their numbers
//! DIR/contact_sheet.png                       every final frame beside its target
//! DIR/models/TEXTURE/target.png               what the models of this folder were to look like
//! DIR/models/TEXTURE/c012_d096_s0/            one model:
//!     config.json  model.safetensors  metrics.jsonl  frame.png  flow.flo  result.json
//!     state.safetensors                       its checkpoint, as long as it is not finished
//!     state.damaged.safetensors               a checkpoint that could not be read, set aside; the next ones are
//!                                             state.damaged-2.safetensors, ...
//! DIR/.sweep.lock, DIR/.settings.lock         empty: locked by the runs that work here
//! DIR/.shard-1-of-4.lock                      empty: locked by the run of that shard
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use nca_core::{Error, Result};

const TARGET: &str = "target.png";

/// Table of all models.
#[must_use]
pub fn results_csv(dir: &Path) -> PathBuf {
    dir.join("results.csv")
}

/// Table of the correlations of Ψ with the architecture.
#[must_use]
pub fn correlations_csv(dir: &Path) -> PathBuf {
    dir.join("correlations.csv")
}

/// Summary in Markdown.
#[must_use]
pub fn report_md(dir: &Path) -> PathBuf {
    dir.join("report.md")
}

/// The page in which the automata run.
#[must_use]
pub fn report_html(dir: &Path) -> PathBuf {
    dir.join("report.html")
}

/// Folder of the plots.
#[must_use]
pub fn plots_dir(dir: &Path) -> PathBuf {
    dir.join("plots")
}

/// Final frames of all models.
#[must_use]
pub fn contact_sheet(dir: &Path) -> PathBuf {
    dir.join("contact_sheet.png")
}

/// Folder of the textures' folders.
#[must_use]
pub fn models_dir(dir: &Path) -> PathBuf {
    dir.join("models")
}

/// The exemplar, as the models of `texture` saw it.
#[must_use]
pub fn target(dir: &Path, texture: &str) -> PathBuf {
    models_dir(dir).join(texture).join(TARGET)
}

/// Stem of a plot of one texture, safe as a file name: `curves_bubbly`.
pub(super) fn plot_stem(dir: &Path, kind: &str, texture: &str) -> PathBuf {
    plots_dir(dir).join(format!("{kind}_{}", safe_name(texture)))
}

/// `name` with every character that a file name had better not have replaced by `_`.
pub(crate) fn safe_name(name: &str) -> String {
    let safe = |c: char| if c.is_alphanumeric() || c == '-' { c } else { '_' };
    if name.is_empty() {
        "texture".to_owned()
    } else {
        name.chars().map(safe).collect()
    }
}

/// Name of a model's directory below its texture's: `c012_d096_s0`.
#[must_use]
pub fn model_name(channels: usize, hidden: usize, seed: u64) -> String {
    format!("c{channels:03}_d{hidden:03}_s{seed}")
}

/// C, D and seed of the model whose directory has this name.
pub(super) fn architecture_of(name: &str) -> Option<(usize, usize, u64)> {
    let mut parts = name.split('_');
    let mut number = |letter: char| parts.next()?.strip_prefix(letter)?.parse::<u64>().ok();
    let (channels, hidden, seed) = (number('c')? as usize, number('d')? as usize, number('s')?);
    (model_name(channels, hidden, seed) == name).then_some((channels, hidden, seed))
}

/// Folders in `dir`, by name; hidden ones are not ours.
pub(crate) fn subdirectories(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| Error::io(dir, e))? {
        let entry = entry.map_err(|e| Error::io(dir, e))?;
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if !hidden && entry.path().is_dir() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// The directory of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelDir(PathBuf);

impl ModelDir {
    /// The directory at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The directory of a model of the sweep in `dir`.
    #[must_use]
    pub fn of(dir: &Path, texture: &str, channels: usize, hidden: usize, seed: u64) -> Self {
        Self(models_dir(dir).join(texture).join(model_name(channels, hidden, seed)))
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// What it was to look like; kept once for all models of a texture.
    #[must_use]
    pub fn target(&self) -> PathBuf {
        self.0.with_file_name(TARGET)
    }

    /// What it was trained with.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.0.join("config.json")
    }

    /// Its weights.
    #[must_use]
    pub fn model(&self) -> PathBuf {
        self.0.join("model.safetensors")
    }

    /// Its training curve.
    #[must_use]
    pub fn metrics(&self) -> PathBuf {
        self.0.join("metrics.jsonl")
    }

    /// Its final frame.
    #[must_use]
    pub fn frame(&self) -> PathBuf {
        self.0.join("frame.png")
    }

    /// Optical flow from the frame before to its final one, Middlebury format.
    #[must_use]
    pub fn flow(&self) -> PathBuf {
        self.0.join("flow.flo")
    }

    /// How it ended; written last.
    #[must_use]
    pub fn result(&self) -> PathBuf {
        self.0.join("result.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_directory_tells_the_model() {
        for model in [(3, 1, 0), (12, 96, 7), (1024, 2048, u64::MAX)] {
            let (channels, hidden, seed) = model;
            assert_eq!(architecture_of(&model_name(channels, hidden, seed)), Some(model));
        }
        for other in [
            "",
            "c012",
            "c12_d096_s0",
            "c012_d096_s0_old",
            "d096_c012_s0",
            "c012_d096_s-1",
        ] {
            assert_eq!(architecture_of(other), None, "{other}");
        }
    }
}
