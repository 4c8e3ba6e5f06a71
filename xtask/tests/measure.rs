//! `measure` against what a training recorded of the same model.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use nca_core::checkpoint::{TensorView, write_tensors};
use nca_core::{Nca, Preset};

const FRAMES: &str = "--frames 9 --steps-per-frame 1 --warmup 3 --size 8 --flow classical --backend cpu";

fn xtask(flags: &str, paths: &[(&str, &Path)]) -> Output {
    let mut process = Command::new(env!("CARGO_BIN_EXE_xtask"));
    process.args(flags.split_whitespace());
    for (flag, path) in paths {
        process.arg(flag).arg(path);
    }
    process.output().expect("the binary runs")
}

fn json(text: &[u8]) -> serde_json::Value {
    serde_json::from_slice(text).expect("JSON")
}

/// Ψ and texture distance are those of the record, to the bit; without a texture there is no distance.
#[test]
fn measures_what_training_recorded() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (out, model) = (directory.path().join("out"), directory.path().join("m.safetensors"));
    let training = "train --channels 4 --hidden 4 --texture cracked --iterations 2 --pool 4 --batch 1 --steps-min 2 \
                    --steps-max 3 --measure-every 0 --seed 3";
    let made = xtask(
        &format!("{training} {FRAMES}"),
        &[("--out", &out), ("--model-out", &model)],
    );
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let record = out.join("models/cracked/c004_d004_s3/result.json");
    let record = json(&std::fs::read(record).expect("the record"));

    let command = format!("measure {FRAMES} --seed 3 --json");
    let measured = xtask(&format!("{command} --texture cracked"), &[("--model", &model)]);
    assert!(
        measured.status.success(),
        "{}",
        String::from_utf8_lossy(&measured.stderr)
    );
    let measured = json(&measured.stdout);
    for key in ["psi", "texture_distance"] {
        assert!(record[key].is_f64(), "{record}");
        assert_eq!(measured[key], record[key], "{key}");
    }

    let motion_alone = json(&xtask(&command, &[("--model", &model)]).stdout);
    assert_eq!(motion_alone["psi"], record["psi"]);
    assert_eq!(motion_alone.get("texture_distance"), None);

    // The size is that of training, unless another is asked for, and then the texture is another one.
    let elsewhere = FRAMES.replace("--size 8", "");
    let at_home = json(
        &xtask(
            &format!("measure {elsewhere} --seed 3 --json --texture cracked"),
            &[("--model", &model)],
        )
        .stdout,
    );
    assert_eq!(
        (&at_home["size"], &at_home["texture_distance"]),
        (&8.into(), &record["texture_distance"])
    );
    let larger = FRAMES.replace("--size 8", "--size 16");
    let larger = xtask(
        &format!("measure {larger} --seed 3 --json --texture cracked"),
        &[("--model", &model)],
    );
    let warning = String::from_utf8_lossy(&larger.stderr).into_owned();
    assert!(warning.contains("trained on 8x8 cells"), "{warning}");
    assert_eq!(json(&larger.stdout)["size"], 16);

    let told = xtask(
        &format!("measure {FRAMES} --seed 3 --texture cracked"),
        &[("--model", &model)],
    );
    let distance = record["texture_distance"].as_f64().expect("a number");
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let expected = format!("texture distance to cracked = {distance:.3} ");
    assert!(told.contains(&expected), "{told}");
}

#[test]
fn refuses_textures_it_cannot_find() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let model = directory.path().join("model.safetensors");
    let nca = Nca::preset(Preset::Paper, 4, 4, 0).expect("a model");
    nca.save(&model).expect("a file");
    for (flags, expected) in [("--texture papier", "papier"), ("--dtd .", "--texture <NAME|PATH>")] {
        let refused = xtask(&format!("measure {flags}"), &[("--model", &model)]);
        let message = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}

/// Weights alone, of a program that numbers what a cell perceives channel by channel.
#[test]
fn the_order_of_bare_weights_decides() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (own, bare) = (
        directory.path().join("own.safetensors"),
        directory.path().join("bare.safetensors"),
    );
    let nca = Nca::preset(Preset::Notebook, 5, 6, 1).expect("a model");
    nca.save(&own).expect("a file");
    let w1: Vec<f32> = nca
        .params
        .w1
        .chunks(4 * 5)
        .flat_map(|row| (0..5).flat_map(move |c| (0..4).map(move |k| row[k * 5 + c])))
        .collect();
    let b2 = nca.params.b2.as_deref().expect("a bias");
    let tensors = [
        TensorView::new("w1.weight", &[6, 20, 1, 1], &w1),
        TensorView::new("w1.bias", &[6], &nca.params.b1),
        TensorView::new("w2.weight", &[5, 6, 1, 1], &nca.params.w2),
        TensorView::new("w2.bias", &[5], b2),
    ];
    write_tensors(&bare, &tensors, &BTreeMap::new()).expect("a file");

    let measure = |flags: &str, model: &Path| {
        let output = xtask(&format!("measure {FRAMES} --json {flags}"), &[("--model", model)]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        (json(&output.stdout)["psi"].clone(), said)
    };
    let (psi, _) = measure("", &own);
    let (right, said) = measure("--perception notebook --perception-order channel-major", &bare);
    assert_eq!(right, psi);
    assert!(!said.contains("assumed"), "{said}");
    let (wrong, said) = measure("--perception notebook", &bare);
    assert_ne!(wrong, psi);
    assert!(
        said.contains("kernel-major is assumed") && said.contains("--perception-order"),
        "{said}"
    );
}
