//! Whatever is wrong with flags and files ends in one clear line and exit code 2, never in a panic.

mod common;

use std::fs;
use std::path::Path;

use common::{refused, xtask};

#[test]
fn impossible_flags() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let out = directory.path().join("run");
    let out = out.to_str().expect("UTF-8");
    let sweep = |flags: &[&str], words: &[&str]| {
        let mut args = vec!["sweep", "--out", out];
        args.extend_from_slice(flags);
        refused(&args, words);
    };
    sweep(&["--channels", "2"], &["--channels is 2", "3 to"]);
    sweep(&["--channels", ""], &["--channels"]);
    sweep(&["--channels", "9..=8"], &["--channels", "9..=8"]);
    sweep(&["--hidden", "0"], &["--hidden is 0"]);
    sweep(&["--hidden", "16,16"], &["--hidden", "twice"]);
    sweep(&["--size", "7"], &["--size is 7", "8 to"]);
    sweep(&["--size", "many"], &["--size", "many"]);
    sweep(&["--iterations", "0"], &["--iterations is 0"]);
    sweep(&["--learning-rate", "NaN"], &["--learning-rate is NaN"]);
    sweep(&["--learning-rate", "-1"], &["--learning-rate is -1"]);
    sweep(&["--pool", "3"], &["--pool is 3", "4 to"]);
    sweep(
        &["--steps-min", "64", "--steps-max", "64"],
        &["--steps-max is 64", "65"],
    );
    sweep(&["--seeds", "0"], &["--seeds"]);
    let last = u64::MAX.to_string();
    sweep(
        &["--seed", &last, "--seeds", "2"],
        &[
            "--seed is 18446744073709551615",
            "at most 18446744073709551614, for 2 seeds",
        ],
    );
    sweep(&["--shard", "0/4"], &["--shard", "0/4"]);
    sweep(&["--preset", "large"], &["--preset", "large", "quick"]);
    sweep(&["--backend", "tpu"], &["--backend", "tpu", "reference", "cuda"]);
    sweep(&["--texture", "no-such-texture"], &["no-such-texture", "bubbly"]);
    sweep(
        &["--texture", "bubbly", "--texture", "bubbly"],
        &["--texture", "bubbly"],
    );
    sweep(&["--checkpoint-seconds=-3"], &["--checkpoint-seconds"]);
    sweep(&["--dtd", "dtd"], &["--dtd is dtd", "--texture"]);
    sweep(
        &["--dtd", "dtd", "--texture", "cracked"],
        &["--dtd is dtd", "--texture"],
    );
    sweep(&["--appearance", "vgg-gram"], &["--vgg is missing", "vgg-gram"]);
    sweep(&["--vgg", "no-such.safetensors"], &["no-such.safetensors"]);
    sweep(
        &["--warmup", "4294967295"],
        &["--warmup + --frames × --steps-per-frame", "4294967295"],
    );
    sweep(&["--steps-per-frame", "0"], &["--steps-per-frame is 0"]);
    sweep(&["--frames", "1"], &["--frames is 1"]);
    sweep(
        &["--objective", "beauty"],
        &["--objective is beauty", "appearance, motion, both"],
    );
    sweep(&["--motion-weight", "0"], &["--motion-weight is 0"]);
    sweep(&["--motion-weight", "NaN"], &["--motion-weight is NaN"]);
    sweep(
        &["--motion-target", "1", "--motion-weight", "-2"],
        &["--motion-weight is -2", "--motion-target"],
    );
    sweep(&["--motion-target", "-1"], &["--motion-target is -1"]);
    sweep(&["--motion-frames", "1"], &["--motion-frames is 1", "2 to"]);
    sweep(&["--motion-pairs", "all"], &["--motion-pairs", "successive or last"]);
    sweep(&["--motion-window", "2"], &["--motion-window is 2", "1 to 1"]);
    sweep(
        &["--objective", "appearance", "--motion-weight", "1"],
        &["--objective is appearance with --motion-weight 1"],
    );
    sweep(
        &["--objective", "motion", "--appearance", "patch"],
        &["--appearance is patch with the objective 'motion'"],
    );
    sweep(
        &["--objective", "motion", "--vgg", "vgg.safetensors"],
        &["--vgg is vgg.safetensors"],
    );
    sweep(
        &["--objective", "both", "--flow", "classical"],
        &["--flow is classical, which has no derivative", "spynet"],
    );
    sweep(&["--clamp", "-1"], &["--clamp is -1"]);
    sweep(&["--checkpoint-seconds", "-1"], &["--checkpoint-seconds is -1"]);
    sweep(&["--overflow-weight", "-1"], &["--overflow-weight is -1"]);
    sweep(&["--no-such-flag"], &["--no-such-flag"]);
    assert!(!Path::new(out).exists(), "a refused sweep left something behind");
}

/// What `train` starts from must be there and fit.
#[test]
fn impossible_starts() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("UTF-8").to_owned();
    let (model, out) = (path("model.safetensors"), path("run"));
    let nca = nca_core::Nca::preset(nca_core::Preset::Paper, 5, 7, 0).expect("a model");
    nca.save(&model).expect("a file");
    let missing = path("missing.safetensors");
    refused(&["train", "--out", &out, "--init", &missing], &["missing.safetensors"]);
    refused(
        &["train", "--out", &out, "--init", &model, "--channels", "6"],
        &["model.safetensors", "C = 5, D = 7", "C = 6"],
    );
    // Weights alone: of which conventions, must be said.
    let bare = path("bare.safetensors");
    let views: Vec<_> = [("w1", [7, 20]), ("w2", [5, 7])]
        .map(|(name, shape)| {
            let values = vec![0.0; shape[0] * shape[1]];
            (name, shape, values)
        })
        .into();
    let tensors: Vec<_> = views
        .iter()
        .map(|(name, shape, values)| nca_core::checkpoint::TensorView::new(*name, shape, values))
        .collect();
    nca_core::checkpoint::write_tensors(Path::new(&bare), &tensors, &std::collections::BTreeMap::new())
        .expect("a file");
    refused(
        &["train", "--out", &out, "--init", &bare],
        &["bare.safetensors", "--perception"],
    );
    refused(&["train", "--out", &out, "--perception", "distill"], &["--init"]);
    refused(
        &["train", "--out", &out, "--perception-order", "channel-major"],
        &["--perception-order is channel-major", "--init"],
    );
    refused(
        &[
            "render",
            "--out",
            &path("a.png"),
            "--model",
            &model,
            "--perception-order",
            "row-major",
        ],
        &["--perception-order", "row-major", "kernel-major or channel-major"],
    );
    refused(
        &["train", "--out", &out, "--init", &model, "--model-out", &model],
        &["--model-out is", "another file than those that are read"],
    );
    refused(
        &["train", "--out", &out, "--model-out", &path("none/model.safetensors")],
        &["--model-out is", "a directory that exists"],
    );
    assert!(!Path::new(&out).exists(), "a refused run left something behind");
}

/// Folders and backends that would be asked for in vain.
#[test]
fn flags_without_effect() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("UTF-8").to_owned();
    let (frame, model, page) = (path("frame.png"), path("model.safetensors"), path("page.html"));
    image::RgbImage::new(20, 16).save(&frame).expect("a picture");
    let nca = nca_core::Nca::preset(nca_core::Preset::Paper, 5, 7, 0).expect("a model");
    nca.save(&model).expect("a file");
    for texture in ["bubbly", &frame] {
        let flags = ["--model", &model, "--texture", texture, "--dtd", "dtd"];
        let words = ["--dtd is dtd without", "--texture with a name of the dataset's"];
        refused(&[&["measure"][..], &flags].concat(), &words);
        refused(&[&["export", "--out", &page][..], &flags].concat(), &words);
        refused(&["train", "--out", &page, "--texture", texture, "--dtd", "dtd"], &words);
    }
    for (flag, value, expected) in [
        ("--precision", "bf16", "f32"),
        ("--backend", "reference", "cpu"),
        ("--backend", "cuda", "cpu"),
    ] {
        let words = [
            &format!("{flag} is {value} for classical flow"),
            &format!("expected {expected}, or --flow spynet"),
        ];
        let words = words.map(String::as_str);
        refused(&["flow", &frame, &frame, "--flow", "classical", flag, value], &words);
        refused(&["flow-eval", "--flow", "classical", flag, value], &words);
    }
    // A folder that is not there is what is wrong, not the texture.
    let nowhere = path("nowhere");
    let of_dataset = ["--texture", "bubbly_0101", "--dtd", &nowhere];
    for command in [
        &["measure", "--model", &model][..],
        &["export", "--model", &model, "--out", &page],
        &["train", "--out", &page],
        &["sweep", "--out", &page],
    ] {
        refused(
            &[command, &of_dataset].concat(),
            &["--dtd is ", "nowhere, where there is no folder"],
        );
    }
    assert!(!Path::new(&page).exists());
    // What is asked for is what it does.
    let flow = xtask(&["flow", &frame, &frame, "--flow", "classical", "--precision", "f32"]);
    assert!(flow.status.success(), "{}", String::from_utf8_lossy(&flow.stderr));
}

/// A model that leaves the finite numbers is named, and that its file may be misunderstood.
#[test]
fn models_that_diverge() {
    use nca_core::checkpoint::{TensorView, write_tensors};
    use std::collections::BTreeMap;

    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("UTF-8").to_owned();
    let (good, wild, bare) = (
        path("good.safetensors"),
        path("wild.safetensors"),
        path("bare.safetensors"),
    );
    let mut nca = nca_core::Nca::preset(nca_core::Preset::Paper, 4, 6, 0).expect("a model");
    nca.save(&good).expect("a file");
    nca.params.w2.fill(1e30);
    nca.save(&wild).expect("a file");
    let params = &nca.params;
    let tensors = [
        TensorView::new("w1", &[6, 16], &params.w1),
        TensorView::new("b1", &[6], &params.b1),
        TensorView::new("w2", &[4, 6], &params.w2),
    ];
    write_tensors(Path::new(&bare), &tensors, &BTreeMap::new()).expect("a file");

    let measure = "measure --size 8 --warmup 64 --frames 2 --flow classical --threads 1";
    let picture = path("out.png");
    let render = [
        "render",
        "--size",
        "8",
        "--steps",
        "64",
        "--threads",
        "1",
        "--out",
        &picture,
        "--model",
        &good,
    ];
    for (model, more, hint) in [
        (&wild, &[][..], ""),
        (&wild, &["--perception", "paper"], ""),
        (
            &bare,
            &["--perception", "paper", "--perception-order", "kernel-major"],
            "; the file holds only weights, perhaps not for --perception paper but notebook or distill, \
             or for --perception-order channel-major",
        ),
    ] {
        let message = |args: Vec<&str>| {
            refused(&args, &[&format!("{model}: found the state not finite at step")]);
            let message = String::from_utf8_lossy(&xtask(&args).stderr).into_owned();
            assert!(
                message
                    .trim_end()
                    .ends_with(&format!("expected a model that stays finite{hint}")),
                "{message}"
            );
        };
        let flags = [&["--model", model][..], more].concat();
        message(measure.split(' ').chain(flags.iter().copied()).collect());
        message([&render[..], &flags].concat());
    }
    assert!(!Path::new(&picture).exists());
}

/// What is wrong with a number is said of its flag, by whatever command.
#[test]
fn numbers_below_zero() {
    for (command, flags) in [
        (
            "sweep",
            "--channels --size --iterations --pool --steps-min --seed --jobs --clamp --checkpoint-seconds",
        ),
        (
            "train",
            "--channels --learning-rate --overflow-weight --memory-budget --motion-frames",
        ),
        ("measure --model none", "--size --frames --warmup --threads"),
        (
            "render --model none --view flow --out x.png",
            "--size --steps --every --fps --flow-max --seed",
        ),
        ("export --model none --out x.html", "--size --seed"),
        ("flow a.png b.png --color c.png", "--color-max"),
        ("flow-eval", "--pairs"),
        (
            "flow-train --out none",
            "--iterations --batch --levels --exemplars --seed --learning-rate --checkpoint-seconds",
        ),
        ("watch none", "--interval"),
        ("bench-peers", "--threads --repeats"),
    ] {
        for flag in flags.split(' ') {
            let args: Vec<&str> = command.split(' ').chain([flag, "-1"]).collect();
            let output = xtask(&args);
            let message = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{args:?}: {message}");
            assert!(!message.contains("unexpected argument"), "{args:?}: {message}");
            assert!(message.contains(flag) && message.contains("-1"), "{args:?}: {message}");
        }
    }
}

/// `train` trains one model, and says who goes on with more.
#[test]
fn a_sweep_is_no_model() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let out = directory.path().to_str().expect("UTF-8");
    let mut settings = nca_train::sweep::SweepSettings::preset("quick".parse().expect("a preset"), "cpu");
    // Lest it runs, were it not refused.
    settings.textures = vec!["missing".to_owned()];
    let text = serde_json::to_string(&settings).expect("JSON");
    fs::write(directory.path().join("sweep.json"), text).expect("a file");
    refused(
        &["train", "--resume", "--out", out],
        &[
            &format!("--resume is given for {out}, a sweep of 9 models"),
            &format!("cargo xtask sweep --resume --out {out}"),
        ],
    );
    // Of one model it is the same training.
    settings.channels.truncate(1);
    settings.hidden.truncate(1);
    let text = serde_json::to_string(&settings).expect("JSON");
    fs::write(directory.path().join("sweep.json"), text).expect("a file");
    refused(&["train", "--resume", "--out", out], &["missing"]);
}

/// A run that is gone on with keeps its preset.
#[test]
fn a_resumed_run_has_a_preset() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let out = directory.path().to_str().expect("UTF-8");
    for (command, preset) in [("sweep", "quick"), ("train", "notebook")] {
        let mut settings = nca_train::sweep::SweepSettings::preset(preset.parse().expect("a preset"), "cpu");
        // Lest it runs, were it not refused.
        settings.textures = vec!["missing".to_owned()];
        let text = serde_json::to_string(&settings).expect("JSON");
        fs::write(directory.path().join("sweep.json"), text).expect("a file");
        refused(
            &[command, "--resume", "--out", out, "--preset", "paper"],
            &["--preset is paper", &format!("expected {preset}, as the run in {out}")],
        );
    }
}

/// A training of flow takes up no more memory than it is allowed to, and leaves nothing when refused.
#[test]
fn impossible_flow_trainings() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let out = directory.path().join("run");
    let training = |flag: &str, words: &[&str]| {
        let out = out.to_str().expect("UTF-8");
        refused(&["flow-train", "--out", out, flag], words);
    };
    training("--batch=0", &["--batch", "1..=1024"]);
    training("--batch=1025", &["--batch", "1..=1024"]);
    training("--batch=99999999999", &["--batch", "99999999999"]);
    for factor in ["NaN", "0", "-1", "inf"] {
        let found = format!("--learning-rate is {factor}");
        training(&format!("--learning-rate={factor}"), &[&found, "a positive multiple"]);
    }
    training("--checkpoint-seconds=-1", &["--checkpoint-seconds"]);
    training("--rounds=1,1,1,2,2,2", &["--from"]);
    training("--photographic", &["--from"]);
    training("--enlarged", &["--from"]);
    training("--iterations=0", &["--iterations is 0", "with --rounds"]);
    refused(
        &[
            "flow-train",
            "--out",
            out.to_str().expect("UTF-8"),
            "--budget=shipped",
            "--iterations=1",
            "--batch=1",
            "--levels=2",
        ],
        &["--levels is 2", "3 to 5"],
    );
    let weights = directory.path().join("weights.safetensors");
    let own = spynet::SpyNetWeights::builtin().expect("weights");
    own.save(&weights, &std::collections::BTreeMap::new()).expect("a file");
    let from = format!("--from={}", weights.to_str().expect("UTF-8"));
    for (rounds, words) in [
        ("--rounds=1,1", ["--rounds", "[1, 1]", "numbers from 1 to 8"]),
        (
            "--rounds=1,1,1,0,2,1",
            ["--rounds", "[1, 1, 1, 0, 2, 1]", "numbers from 1 to 8"],
        ),
        ("--rounds=1,1,2,1,1,1", ["--rounds", "[1, 1, 2, 1, 1, 1]", "3 or 4"]),
    ] {
        refused(
            &["flow-train", "--out", out.to_str().expect("UTF-8"), &from, rounds],
            &words,
        );
    }
    // Two of six levels are not what is to be trained, and no training at all would look like one.
    refused(
        &[
            "flow-train",
            "--out",
            out.to_str().expect("UTF-8"),
            &from,
            "--enlarged",
            "--rounds=1,1,1,1,1,1",
            "--levels=2",
        ],
        &["--enlarged is given for 2 levels", "levels 0 to 2"],
    );
    if nca_cuda::probe().is_err() {
        training("--backend=cuda", &["cuda backend: "]);
    }
    assert!(!out.exists(), "a refused training left something behind");
}

/// Before anything is written, in words a user can act on.
#[test]
fn a_missing_gpu() {
    if nca_cuda::probe().is_ok() {
        eprintln!("skipped: this machine has a GPU");
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let out = directory.path().join("run");
    let flags = ["sweep", "--backend", "cuda", "--out", out.to_str().expect("UTF-8")];
    refused(&flags, &["cuda backend: "]);
    assert!(!out.exists(), "a refused sweep left something behind");
}

#[test]
fn broken_models() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("UTF-8").to_owned();
    let picture = path("out.png");
    let cases: [(&str, &[u8]); 4] = [
        ("missing.safetensors", b""),
        ("empty.safetensors", b""),
        ("text.safetensors", b"this is not a model"),
        (
            "huge_header.safetensors",
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, b'{', b'}'],
        ),
    ];
    for (name, bytes) in cases {
        let model = path(name);
        if name != "missing.safetensors" {
            fs::write(&model, bytes).expect("a file");
        }
        refused(&["render", "--model", &model, "--out", &picture], &[name]);
        refused(&["measure", "--model", &model, "--json"], &[name]);
    }
    let model = path("text.safetensors");
    refused(
        &["render", "--model", &model, "--size", "4x64", "--out", &picture],
        &["--size", "4x64"],
    );
    refused(&["measure", "--model", &model, "--size", "0"], &["--size is 0"]);
    refused(
        &["measure", "--model", &model, "--perception", "papier"],
        &["--perception", "papier"],
    );
    assert!(!Path::new(&picture).exists());
}

#[test]
fn broken_pictures() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("UTF-8").to_owned();
    let (good, other, torn, flow) = (path("good.png"), path("other.png"), path("torn.png"), path("flow.flo"));
    image::RgbImage::new(20, 16).save(&good).expect("a picture");
    image::RgbImage::new(16, 20).save(&other).expect("a picture");
    let bytes = fs::read(&good).expect("the picture");
    fs::write(&torn, &bytes[..bytes.len() / 2]).expect("a file");
    fs::write(&flow, b"PIEH\x01\x00\x00\x00\x01\x00\x00\x00").expect("a file");
    refused(&["flow", &good, &torn], &["torn.png"]);
    refused(&["flow", &good, &other], &["other.png", "16x20", "20x16"]);
    refused(&["flow", &good, &good, "--gt", &flow], &["flow.flo"]);
    refused(&["flow", &good, &path("none.png")], &["none.png"]);
    // No pairs in the folder, and a flow whose frames are missing.
    let folder = path("folder");
    fs::create_dir(&folder).expect("a folder");
    refused(&["flow-eval", "--data", &folder], &["folder", "no pairs"]);
    fs::copy(&flow, path("folder/a_flow.flo")).expect("a copy");
    refused(&["flow-eval", "--data", &folder], &["a_flow.flo", "a_img1"]);
    refused(&["flow-eval", "--textures", &folder], &["folder", "no pictures"]);
    // A frame that is damaged, and a flow that knows no pixel: said before anything else is evaluated.
    fs::copy(&good, path("folder/a_img1.png")).expect("a copy");
    fs::copy(&torn, path("folder/a_img2.png")).expect("a copy");
    let unknown = spynet::FlowField::new(16, 20, vec![2e9; 640]).expect("a field");
    spynet::write_flo(path("folder/a_flow.flo"), &unknown).expect("a file");
    let eval = path("eval");
    let evaluate = ["flow-eval", "--pairs", "1", "--data", &folder, "--out", &eval];
    refused(&evaluate, &["a_img2.png"]);
    fs::copy(&good, path("folder/a_img2.png")).expect("a copy");
    refused(&evaluate, &["a_flow.flo"]);
    assert_eq!(fs::read_dir(&eval).expect("a folder").count(), 0);
    refused(&["flow-eval", "--pairs", "0"], &["--pairs"]);
    refused(
        &["flow", &good, &good, "--flow", "magic"],
        &["--flow", "magic", "classical"],
    );
    let (out, text) = (path("run"), path("text.png"));
    fs::write(&text, "no picture").expect("a file");
    refused(
        &["train", "--texture", &text, "--out", &out],
        &["text.png: found no picture of a known format"],
    );
    refused(&["sweep", "--texture", &torn, "--out", &out], &["torn.png"]);
    refused(&["report", &out], &["run"]);
}
