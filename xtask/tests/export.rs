//! `export` writes a page that is complete in itself, or one line that says why not.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use nca_core::{Nca, Preset};

fn export(model: &Path, out: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("export")
        .arg("--model")
        .arg(model)
        .arg("--out")
        .arg(out)
        .args(more)
        .output()
        .expect("the binary runs")
}

#[test]
fn a_model_becomes_a_page() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (model, out) = (
        directory.path().join("wave.safetensors"),
        directory.path().join("wave.html"),
    );
    let nca = Nca::preset(Preset::Notebook, 5, 9, 2).expect("a model");
    nca.save(&model).expect("a file");
    let output = export(
        &model,
        &out,
        &["--size", "24x40", "--texture", "bubbly", "--seed", "99"],
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = fs::read_to_string(&out).expect("a page");
    for part in [
        "<title>wave</title>",
        "\"height\":24,\"width\":40",
        "\"seed\":\"99\"",
        "\"target\":\"data:image/png;base64,",
        "id=\"weights-0\"",
    ] {
        assert!(page.contains(part), "no {part}");
    }
    // Nothing is taken from elsewhere.
    for reference in ["src=\"http", "href=", "import ", "fetch(", "url("] {
        assert!(!page.contains(reference), "{reference}");
    }
    // The file's conventions are its own.
    let output = export(&model, &out, &["--perception", "paper"]);
    assert_eq!(output.status.code(), Some(2));
}

/// The texture is shown as large as the automaton learned it, whatever the grid.
#[test]
fn the_target_has_the_size_of_training() {
    use base64::Engine as _;

    let directory = tempfile::tempdir().expect("a temporary directory");
    let (model, out) = (directory.path().join("m.safetensors"), directory.path().join("m.html"));
    let nca = Nca::preset(Preset::Paper, 4, 8, 0).expect("a model");
    let settings = nca_train::TrainSettings {
        size: 16,
        ..nca_train::TrainSettings::preset(Preset::Paper)
    };
    for (metadata, side) in [
        (nca_train::provenance::metadata(&settings), 16),
        (std::collections::BTreeMap::new(), 24),
    ] {
        nca.save_with_extra(&model, &metadata).expect("a file");
        let output = export(&model, &out, &["--size", "24x40", "--texture", "bubbly"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let page = fs::read_to_string(&out).expect("a page");
        let (_, target) = page
            .split_once("\"target\":\"data:image/png;base64,")
            .expect("a target");
        let (target, _) = target.split_once('"').expect("its end");
        let png = base64::engine::general_purpose::STANDARD
            .decode(target)
            .expect("base64");
        let picture = image::load_from_memory(&png).expect("a picture");
        assert_eq!((picture.width(), picture.height()), (side, side));
    }
}

#[test]
fn what_cannot_be_shown_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (model, out) = (directory.path().join("m.safetensors"), directory.path().join("m.html"));
    let mut nca = Nca::preset(Preset::Paper, 4, 8, 0).expect("a model");
    nca.params.b1[0] = 1e6;
    nca.save(&model).expect("a file");
    for (more, words) in [
        (&[][..], &["m.safetensors", "1000000", "65504"][..]),
        (&["--size", "2000"], &["2000", "1024"]),
        (&["--texture", "nothing"], &["nothing", "bubbly"]),
        (&["--dtd", "there"], &["--texture"]),
    ] {
        let output = export(&model, &out, more);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{more:?}: {message}");
        for word in words {
            assert!(message.contains(word), "{more:?}: no '{word}' in: {message}");
        }
        assert!(!out.exists(), "{more:?}");
    }
}
