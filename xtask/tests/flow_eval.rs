//! Estimators compared on pairs from files.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use image::{Rgb, RgbImage};
use spynet::{FlowField, write_flo};

const WIDTH: u32 = 56;
const HEIGHT: u32 = 40;

/// A pair in the layout of FlyingChairs: waves that move by `shift` pixels to the right.
fn write_pair(folder: &Path, name: &str, shift: f32) {
    fs::create_dir_all(folder).expect("a folder");
    for (index, shift) in [(1, 0.0), (2, shift)] {
        let frame = RgbImage::from_fn(WIDTH, HEIGHT, |x, y| {
            let (x, y) = (x as f32 - shift, y as f32);
            let waves = [(0.5, 0.1), (0.4, 0.4), (-0.2, 0.5)];
            Rgb(waves.map(|(a, b): (f32, f32)| (127.5 + 100.0 * (a * x + b * y).sin()) as u8))
        });
        frame
            .save(folder.join(format!("{name}_img{index}.png")))
            .expect("a picture");
    }
    let plane = (WIDTH * HEIGHT) as usize;
    let flow = [vec![shift; plane], vec![0.0; plane]].concat();
    let flow = FlowField::new(HEIGHT as usize, WIDTH as usize, flow).expect("a field");
    write_flo(folder.join(format!("{name}_flow.flo")), &flow).expect("a file");
}

fn evaluate(data: &Path, out: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args("flow-eval --data-only --flow classical --backend cpu --threads 1 --data".split(' '))
        .arg(data)
        .arg("--out")
        .arg(out)
        .output()
        .expect("the binary runs")
}

/// Column `column` of the rows of `set`, by estimator.
fn column(csv: &str, set: &str, column: &str) -> Vec<(String, f64)> {
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().expect("a header");
    let index = header.iter().position(|&name| name == column).expect("the column");
    lines
        .filter(|line| line[0] == set)
        .map(|line| (line[1].to_owned(), line[index].parse().expect("a number")))
        .collect()
}

#[test]
fn each_folder_and_each_pair_has_its_errors() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (data, out) = (directory.path().join("data"), directory.path().join("out"));
    for (folder, shift) in [("near", 0.5), ("near", 1.0), ("far", 2.0)] {
        write_pair(&data.join(folder), &format!("by{shift}"), shift);
    }
    let output = evaluate(&data, &out);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{message}");

    let csv = fs::read_to_string(out.join("files.csv")).expect("a table");
    // No flow is off by what moves, to the rounding of sums.
    for (set, pairs, zero) in [
        ("all files", 3.0, 3.5 / 3.0),
        ("near/", 2.0, 0.75),
        ("far/", 1.0, 2.0),
        ("near-by0.5_flow", 1.0, 0.5),
    ] {
        let [(none, without), (classical, with)] = &column(&csv, set, "epe")[..] else {
            panic!("{set}: {csv}");
        };
        assert_eq!((none.as_str(), classical.as_str()), ("zero", "classical"));
        assert!((without - zero).abs() < 1e-6, "{set}: {without}");
        assert!(*with < 0.3 * zero, "{set}: {with}");
        assert!(
            column(&csv, set, "pairs").iter().all(|(_, found)| *found == pairs),
            "{set}"
        );
    }

    // The table tells of all, of folders, of pairs, and of nothing else.
    let report = fs::read_to_string(out.join("REPORT.md")).expect("a report");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), report.trim_end());
    let sets: Vec<&str> = report
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next())
        .collect();
    let pairs = ["far-by2_flow", "near-by0.5_flow", "near-by1_flow"];
    assert_eq!(sets[2..], [&["all files", "far/", "near/"], &pairs[..]].concat());

    // Frames, the truth and the estimate, each with a label.
    let drawn = image::open(out.join("far-by2_flow.png"))
        .expect("a picture")
        .into_rgb8();
    assert!(
        drawn.width() > 2 * WIDTH && drawn.height() > 2 * HEIGHT,
        "{:?}",
        drawn.dimensions()
    );
    let files: BTreeSet<String> = fs::read_dir(&out)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    for pair in pairs {
        for suffix in [".png", "-truth.flo", "-truth-kitti.png", "-classical.flo"] {
            assert!(
                files.contains(&format!("{pair}{suffix}")),
                "{pair}{suffix} of {files:?}"
            );
        }
    }
    assert_eq!(files.len(), 4 * pairs.len() + 2, "{files:?}");
}

#[test]
fn many_pairs_are_told_of_by_folder_and_drawn_in_part() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (data, out) = (directory.path().join("data"), directory.path().join("out"));
    for index in 0..11 {
        for folder in ["a", "b"] {
            write_pair(&data.join(folder), &format!("{index:05}"), 1.0);
        }
    }
    let output = evaluate(&data, &out);
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        report.contains("| a/ | 11 |") && report.contains("| b/ | 11 |"),
        "{report}"
    );
    assert!(!report.contains("00003"), "{report}");
    let csv = fs::read_to_string(out.join("files.csv")).expect("a table");
    assert_eq!(column(&csv, "b-00010_flow", "epe").len(), 2);
    // Of each folder some.
    for (folder, index, drawn) in [("a", 3, true), ("b", 3, true), ("a", 4, false), ("b", 4, false)] {
        assert_eq!(
            out.join(format!("{folder}-{index:05}_flow.png")).exists(),
            drawn,
            "{folder} {index}"
        );
    }
}

/// A true flow as a KITTI PNG has the name that a picture of its pair would have.
#[test]
fn true_flow_is_not_written_over() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    write_pair(&data, "a", 1.0);
    let (flo, png) = (data.join("a_flow.flo"), data.join("a_flow.png"));
    spynet::write_kitti(&png, &spynet::read_flo(&flo).expect("a flow")).expect("a file");
    fs::remove_file(&flo).expect("a file to remove");
    let before = fs::read(&png).expect("the truth");
    for out in [
        data.clone(),
        data.join("."),
        data.join("new/../../data"),
        data.join("new"),
    ] {
        let output = evaluate(&data, &out);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(
            fs::read(&png).expect("the truth") == before,
            "{}: written over",
            out.display()
        );
        assert_eq!(output.status.code(), Some(2), "{message}");
        for part in ["--out is ", "outside of", "--data"] {
            assert!(message.contains(part), "no '{part}' in {message}");
        }
        assert_eq!(fs::read_dir(&data).expect("the folder").count(), 3);
    }
    let out = directory.path().join("out");
    assert!(evaluate(&data, &out).status.success());
    assert!(out.join("a_flow.png").exists() && fs::read(&png).expect("the truth") == before);
}
