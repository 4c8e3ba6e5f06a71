//! What the file of a trained automaton tells of its training.

use std::collections::BTreeMap;
use std::path::Path;

use nca_core::{Error, Result};

use crate::settings::TrainSettings;

/// Side of the grid that the automaton was trained on, in cells.
const SIZE: &str = "train.size";

/// Metadata for the file of an automaton that was trained with `settings`, as [`nca_core::Nca::save_with_extra`] takes it.
#[must_use]
pub fn metadata(settings: &TrainSettings) -> BTreeMap<String, String> {
    BTreeMap::from([(SIZE.to_owned(), settings.size.to_string())])
}

/// Side of the grid that an automaton was trained on, from the `metadata` of its file `path`; `None` where it does not
/// tell.
///
/// A texture looks as the automaton learned it at that size: at another, its parts are larger or smaller.
///
/// # Errors
/// [`Error::Format`] if it tells no size that can be trained.
pub fn trained_size(path: &Path, metadata: &BTreeMap<String, String>) -> Result<Option<usize>> {
    let sizes = TrainSettings::MIN_SIZE..=TrainSettings::MAX_SIZE;
    let Some(text) = metadata.get(SIZE) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(size) if sizes.contains(&size) => Ok(Some(size)),
        _ => Err(Error::format(
            path,
            format!("{SIZE} = {text:?} in its metadata"),
            format!("a number from {} to {}", sizes.start(), sizes.end()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nca_core::Preset;

    #[test]
    fn a_size_is_told_or_not() {
        let path = Path::new("some.safetensors");
        let settings = TrainSettings {
            size: 48,
            ..TrainSettings::preset(Preset::Paper)
        };
        assert_eq!(trained_size(path, &metadata(&settings)).unwrap(), Some(48));
        assert_eq!(trained_size(path, &BTreeMap::new()).unwrap(), None);
        for wrong in ["", "7", "-48", "5000", "48x48"] {
            let metadata = BTreeMap::from([(SIZE.to_owned(), wrong.to_owned())]);
            let error = trained_size(path, &metadata).unwrap_err().to_string();
            assert!(error.contains("some.safetensors: found train.size = "), "{error}");
        }
    }
}
