//! The Describable Textures Dataset, and textures that come from it.

use std::path::Path;

use nca_core::{Error, Result};
use nca_train::exemplar::Exemplar;

/// Whether a texture is looked for in the dataset: what is built in, and any other file, comes first.
pub(super) fn is_of_dataset(texture: &str) -> bool {
    Exemplar::by_name(texture).is_none() && !Path::new(texture).is_file()
}

/// That of a folder of the dataset nothing would be used.
pub(super) fn unused(dtd: &Path) -> Error {
    let found = format!("{} without a texture of it", dtd.display());
    Error::invalid("--dtd", found, "--texture with a name of the dataset's")
}

/// Refuses a folder of the dataset that is not there: it is not the texture that is wrong then.
pub(super) fn check_dtd_folder(dtd: Option<&Path>) -> Result<()> {
    match dtd {
        Some(dtd) if !dtd.is_dir() => Err(Error::invalid(
            "--dtd",
            format!("{}, where there is no folder", dtd.display()),
            "the folder of the Describable Textures Dataset (`cargo xtask fetch dtd`)",
        )),
        _ => Ok(()),
    }
}

/// Refuses a folder of the dataset that is not there, or beside a texture that does not come from it.
pub(crate) fn check_dtd(dtd: Option<&Path>, texture: Option<&str>) -> Result<()> {
    match (dtd, texture) {
        (Some(dtd), Some(texture)) if !is_of_dataset(texture) => Err(unused(dtd)),
        _ => check_dtd_folder(dtd),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dataset_is_for_its_textures() {
        let place = tempfile::tempdir().unwrap();
        let picture = place.path().join("photo.jpg");
        std::fs::write(&picture, "a picture").unwrap();
        let check = |texture: Option<&str>| check_dtd(Some(Path::new("data/dtd")), texture);
        check_dtd(Some(place.path()), Some("bubbly_0101")).unwrap();
        check_dtd(Some(place.path()), None).unwrap();
        let message = check(Some("bubbly_0101")).unwrap_err().to_string();
        assert!(
            message.starts_with("--dtd is data/dtd, where there is no folder"),
            "{message}"
        );
        check_dtd(None, Some("bubbly")).unwrap();
        for texture in ["bubbly", picture.to_str().unwrap()] {
            let message = check(Some(texture)).unwrap_err().to_string();
            assert!(message.starts_with("--dtd is data/dtd without"), "{message}");
            assert!(message.contains("--texture"), "{message}");
        }
    }
}
