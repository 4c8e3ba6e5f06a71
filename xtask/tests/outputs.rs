//! What is written where: nothing over what is read, nothing under the name of another format.

mod common;

use std::fs;
use std::path::Path;

use common::refused;

fn path(directory: &Path, name: &str) -> String {
    directory.join(name).to_str().expect("UTF-8").to_owned()
}

/// A picture and a model in `directory`.
fn inputs(directory: &Path) -> (String, String) {
    let (frame, model) = (path(directory, "frame.png"), path(directory, "model.safetensors"));
    image::RgbImage::new(20, 16).save(&frame).expect("a picture");
    let nca = nca_core::Nca::preset(nca_core::Preset::Paper, 5, 7, 0).expect("a model");
    nca.save(&model).expect("a file");
    (frame, model)
}

/// What is read is not written over.
#[test]
fn outputs_are_not_inputs() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| path(directory.path(), name);
    let (frame, model) = inputs(directory.path());
    let before = [&frame, &model].map(|file| fs::read(file).expect("the file"));
    let words = ["another file than those that are read"];
    refused(&["flow", &frame, &frame, "--out", &frame], &words);
    refused(&["flow", &frame, &frame, "--color", &frame], &words);
    let both = path("both");
    let flow = ["flow", &frame, &frame, "--out", &both, "--color", &both];
    refused(&flow, &["--color is", "that of --out"]);
    refused(&["export", "--model", &model, "--out", &model], &words);
    assert_eq!([&frame, &model].map(|file| fs::read(file).expect("the file")), before);
    assert!(!Path::new(&both).exists());
}

/// A name that promises another format than the one that is written.
#[test]
fn names_of_other_formats() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| path(directory.path(), name);
    let (frame, model) = inputs(directory.path());
    for (args, flag, name, expected) in [
        (
            &["flow", &frame, &frame][..],
            "--out",
            "flow.png",
            ".flo: a Middlebury flow file",
        ),
        (&["flow", &frame, &frame], "--color", "color.jpg", ".png: a PNG picture"),
        (
            &["export", "--model", &model],
            "--out",
            "page.png",
            ".html or .htm: a page of HTML",
        ),
        (
            &["train"],
            "--model-out",
            "model.pt",
            ".safetensors: a safetensors file",
        ),
    ] {
        let out = path(name);
        let words = [&format!("{flag} is {out}, "), &format!("ends in {expected} is written")];
        refused(&[args, &[flag, &out]].concat(), &words.map(String::as_str));
        assert!(!Path::new(&out).exists());
    }
    assert!(!Path::new("runs/train").exists());
}
