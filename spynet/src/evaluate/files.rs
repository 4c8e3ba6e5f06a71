//! Pairs of pictures with known flow in a folder.
//!
//! Three ways of laying them out are known, in the folder itself and in folders below it:
//!
//! * FlyingChairs: `NAME_img1.*`, `NAME_img2.*`, `NAME_flow.flo` (or, where there is none, a KITTI PNG,
//!   `NAME_flow.png`);
//! * Middlebury: `frame10.*`, `frame11.*`, `flow10.flo` in a folder for each pair;
//! * KITTI: `image_2/NAME_10.png`, `image_2/NAME_11.png`, `flow_occ/NAME_10.png` (also `colored_0`,
//!   `image_0`, `flow_noc`). A data set has the flow of a pair twice, with and without the pixels that other things hide in the
//!   second frame: where both are there, `flow_occ` is taken, which knows more pixels.
//!
//! Extensions may be in capitals.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nca_core::{Error, Result};

use crate::field::FlowField;
use crate::flo::read_flo;
use crate::kitti::read_kitti;

/// Files of a pair.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PairFiles {
    /// The folder of its data set, below the one that was searched; empty where that is the same.
    pub folder: String,
    /// Name for tables and pictures.
    pub name: String,
    /// First frame.
    pub first: PathBuf,
    /// Second frame.
    pub second: PathBuf,
    /// True flow.
    pub truth: PathBuf,
}

/// Extensions of pictures.
const PICTURES: [&str; 7] = ["png", "jpg", "jpeg", "ppm", "bmp", "webp", "gif"];
/// Folders below which are looked into.
const DEPTH: usize = 4;

/// Reads a true flow: a `.flo` file, or else a KITTI PNG.
///
/// # Errors
/// As [`read_flo`] and [`read_kitti`]; when the file has neither extension.
pub fn read_truth(path: impl AsRef<Path>) -> Result<FlowField> {
    let path = path.as_ref();
    match extension(path).as_str() {
        "flo" => read_flo(path),
        "png" => read_kitti(path),
        other => Err(Error::format(
            path,
            format!("the extension \"{other}\""),
            ".flo or .png (KITTI)",
        )),
    }
}

/// All pairs in `dir` and below, sorted by folder and name.
///
/// # Errors
/// When a folder cannot be read, a flow lacks one of its frames, or there is no pair at all.
pub fn find_pairs(dir: impl AsRef<Path>) -> Result<Vec<PairFiles>> {
    let dir = dir.as_ref();
    let mut pairs = BTreeSet::new();
    search(dir, dir, DEPTH, &mut pairs)?;
    if pairs.is_empty() {
        let expected =
            "NAME_img1, NAME_img2 and NAME_flow.flo; frame10, frame11 and flow10.flo; or KITTI's image_2 and flow_occ";
        return Err(Error::format(dir, "no pairs with known flow", expected));
    }
    Ok(pairs.into_iter().collect())
}

fn search(root: &Path, dir: &Path, depth: usize, pairs: &mut BTreeSet<PairFiles>) -> Result<()> {
    let io = |e| Error::io(dir, e);
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.is_dir() {
            if depth > 0 {
                search(root, &path, depth - 1, pairs)?;
            }
            continue;
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let kind = extension(&path);
        let (flo, png) = (kind == "flo", kind == "png");
        // A picture beside a `.flo` file shows its colours.
        let known = flo || png && called(&path.with_extension(""), &["flo"]).is_none();
        let folder = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Middlebury has a folder for each pair, in that of the set.
        let set = if stem == "flow10" && flo && dir != root {
            dir.parent()
        } else {
            Some(dir)
        };
        let (first, second) = if let Some(name) = stem.strip_suffix("_flow").filter(|_| known) {
            (dir.join(format!("{name}_img1")), dir.join(format!("{name}_img2")))
        } else if stem == "flow10" && flo {
            (dir.join("frame10"), dir.join("frame11"))
        } else if let Some(name) = stem.strip_suffix("_10").filter(|_| png && folder.starts_with("flow_")) {
            let Some(images) = ["image_2", "colored_0", "image_0"]
                .iter()
                .filter_map(|images| Some(dir.parent()?.join(images)))
                .find(|images| images.is_dir())
            else {
                let expected = "a folder image_2, colored_0 or image_0 beside it";
                return Err(Error::format(dir, "no frames", expected));
            };
            let all = dir.with_file_name("flow_occ").join(&stem);
            if folder != "flow_occ" && called(&all, &["png"]).is_some() {
                continue;
            }
            (images.join(format!("{name}_10")), images.join(format!("{name}_11")))
        } else {
            continue;
        };
        let name = path.strip_prefix(root).unwrap_or(&path).with_extension("");
        let set = set.and_then(|set| set.strip_prefix(root).ok()).unwrap_or(Path::new(""));
        pairs.insert(PairFiles {
            folder: set.to_string_lossy().replace('\\', "/"),
            name: name.to_string_lossy().replace(['/', '\\'], "-"),
            first: picture(&first, &path)?,
            second: picture(&second, &path)?,
            truth: path,
        });
    }
    Ok(())
}

/// The picture called `stem`, whatever its extension; `truth` is the flow that asks for it.
fn picture(stem: &Path, truth: &Path) -> Result<PathBuf> {
    called(stem, &PICTURES).ok_or_else(|| {
        let expected = format!("{}, with .{}", stem.display(), PICTURES.join(", ."));
        Error::format(truth, "a flow without one of its frames", expected)
    })
}

/// The file called `stem` and one of the extensions `kinds`, in small letters, capitals, or a capital and small letters.
fn called(stem: &Path, kinds: &[&str]) -> Option<PathBuf> {
    let with = |kind: &str| {
        // A stem may have a dot, after which `with_extension` would replace.
        let mut path = stem.as_os_str().to_owned();
        path.push(".");
        path.push(kind);
        PathBuf::from(path)
    };
    let capital = |kind: &str| format!("{}{}", kind[..1].to_uppercase(), &kind[1..]);
    let spellings = |kind: &&str| [(*kind).to_owned(), kind.to_uppercase(), capital(kind)];
    kinds
        .iter()
        .flat_map(spellings)
        .map(|kind| with(&kind))
        .find(|path| path.is_file())
}

fn extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_lowercase()
}
