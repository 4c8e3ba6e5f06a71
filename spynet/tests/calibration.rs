//! The evaluation of estimators, on estimators whose errors are known.

use std::fs;

use nca_core::{Error, Grid, Result};
use spynet::evaluate::files::{find_pairs, read_truth};
use spynet::evaluate::{Accuracy, DISTANCES, Exhibit, Set, SizeClass, ZeroFlow, calibrate, fields, floors, tables};
use spynet::synth::{Kind, Raster};
use spynet::{Classical, FlowEstimator, FlowField, write_flo, write_kitti};
use tempfile::TempDir;

/// Sees everything move by the same.
struct Constant(f32, f32);

impl FlowEstimator for Constant {
    fn name(&self) -> &'static str {
        "constant"
    }

    fn flow(&self, grid: Grid, _: &[f32], _: &[f32]) -> Result<Vec<f32>> {
        Ok([vec![self.0; grid.cells()], vec![self.1; grid.cells()]].concat())
    }
}

#[test]
fn errors_are_counted_by_set() {
    let constant = Constant(3.0, 0.0);
    let mut accuracy = Accuracy::new(vec![&ZeroFlow, &constant]);
    let frame = vec![0.5; 3 * 8 * 8];
    let named = Set::Named("some".to_owned());
    for (u, v) in [(3.0, 4.0), (0.0, 0.0), (0.0, 0.05)] {
        let truth = FlowField::new(8, 8, [vec![u; 64], vec![v; 64]].concat()).unwrap();
        let sets = [Set::of_size(&truth), named.clone()];
        let estimates = accuracy.add(&sets, &frame, &frame, &truth).unwrap();
        assert_eq!(estimates[1].u()[0], 3.0);
    }
    let rows = accuracy.rows();
    let row = |set: &str, flow: &str| rows.iter().find(|row| row.set == set && row.flow == flow).unwrap();
    let some = row("some", "zero");
    assert_eq!(some.pairs, 3);
    // Single precision of 0.05.
    assert!((some.epe - 5.05 / 3.0).abs() < 1e-7 && (some.true_length - some.epe).abs() < 1e-12);
    assert_eq!((some.above_1px, some.above_3px), (1.0 / 3.0, 1.0 / 3.0));
    assert_eq!(row("2 to 8 px", "constant").epe, 4.0);
    assert_eq!(row("no motion", "constant").epe, 3.0);
    assert_eq!(row("below 0.1 px", "zero").pairs, 1);
    assert_eq!(SizeClass::of(0.1), SizeClass::Subpixel);
    // Small frames come first, then large ones, each with the kinds in their order; classes of motion come
    // last, the estimators in their order.
    let synthetic = |side, kind| Set::Synthetic {
        height: side,
        width: side,
        kind,
    };
    assert!(synthetic(128, Kind::Chairs) < synthetic(512, Kind::Still));
    assert!(synthetic(128, Kind::Still) < synthetic(128, Kind::Affine));
    assert!(synthetic(512, Kind::Chairs) < named && named < Set::Size(SizeClass::Still));
    // Of pairs from files all come first, then folders, then each.
    let (folder, file) = (Set::Folder("z".to_owned()), Set::File("a".to_owned()));
    assert!(Set::Files < folder && folder < file && file < named);
    assert_eq!(Set::Folder(String::new()).name(), "./");
    assert_eq!(synthetic(128, Kind::Torus).name(), "torus 128×128");
    assert_eq!(rows[0].flow, "zero");

    let table = tables::accuracy(&rows);
    assert_eq!(table.lines().count(), 2 + 4, "{table}");
    assert!(table.contains("| some | 3 | 1.683 | 1.683 | 33.3 | 33.3 |"), "{table}");
    let csv = tables::csv(&rows).unwrap();
    assert!(
        csv.starts_with("set,flow,pairs,true_length,length,epe,above_1px,above_3px\n"),
        "{csv}"
    );
    assert_eq!(csv.lines().count(), 1 + rows.len());

    let other = FlowField::new(8, 7, vec![0.0; 112]).unwrap();
    assert!(accuracy.add(&[named], &frame, &frame, &other).is_err());
}

/// A vector too long to be one would leave its pixel out of the mean, and the more of them, the better the estimator.
#[test]
fn estimates_that_are_no_flow_are_refused() {
    let frame = vec![0.5; 3 * 4];
    // The truth knows two pixels of four.
    let truth = FlowField::new(2, 2, vec![1.0, 2e9, 1.0, 2e9, 0.0, 0.0, 0.0, 0.0]).unwrap();
    let exhibits = [Exhibit::octaves()];
    for (constant, found) in [
        (Constant(0.0, 2e9), "(0e0, 2e9)"),
        (Constant(f32::INFINITY, 1.0), "(inf, 1e0)"),
        (Constant(0.0, f32::NAN), "NaN"),
    ] {
        let mut accuracy = Accuracy::new(vec![&ZeroFlow, &constant]);
        let estimators: [&dyn FlowEstimator; 1] = [&constant];
        let errors: [Error; 4] = [
            accuracy.add(&[Set::Files], &frame, &frame, &truth).unwrap_err(),
            calibrate(&estimators, &exhibits, 4, || {}).unwrap_err(),
            floors(&estimators, &exhibits, 4, || {}).unwrap_err(),
            fields(&estimators, &exhibits, 4).unwrap_err(),
        ];
        for error in errors.map(|error| error.to_string()) {
            let words = ["estimate of constant", "row 0, column 0", found];
            assert!(words.iter().all(|words| error.contains(words)), "{error}");
        }
        // Nor does the pair count for the other estimator.
        assert!(accuracy.rows().is_empty());
    }
}

/// Lengths of the estimate and of the truth are compared, so they are means over the same pixels.
#[test]
fn lengths_are_of_the_pixels_that_the_truth_knows() {
    struct Two;
    impl FlowEstimator for Two {
        fn name(&self) -> &'static str {
            "two"
        }
        fn flow(&self, _: Grid, _: &[f32], _: &[f32]) -> Result<Vec<f32>> {
            Ok(vec![2.0, 50.0, 0.0, 0.0])
        }
    }
    let truth = FlowField::new(1, 2, vec![3.0, 2e9, 0.0, 0.0]).unwrap();
    let mut accuracy = Accuracy::new(vec![&Two]);
    accuracy.add(&[Set::Files], &[0.5; 6], &[0.5; 6], &truth).unwrap();
    let row = &accuracy.rows()[0];
    assert_eq!((row.length, row.true_length, row.epe), (2.0, 3.0, 1.0));
}

#[test]
fn calibration_knows_right_from_wrong() {
    let exhibits = [Exhibit::octaves()];
    let constant = Constant(0.0, -1.0);
    let mut seen = 0;
    let rows = calibrate(&[&constant], &exhibits, 16, || seen += 1).unwrap();
    assert_eq!((rows.len(), seen), (DISTANCES.len(), DISTANCES.len()));
    for row in &rows {
        assert_eq!((row.psi, row.psi_min, row.psi_max), (1.0, 1.0, 1.0));
        assert_eq!(row.cases, if row.distance > 0.0 { 8 } else { 1 });
        assert_eq!(row.within, f64::from(u8::from(row.distance == 1.0)), "{row:?}");
    }
    // Eight points on a circle of radius 1 about the origin, seen from one of them: the mean of
    // 2·sin(kπ/8) is cot(π/16)/4.
    let one = rows.iter().find(|row| row.distance == 1.0).unwrap();
    let expected = 0.25 / (std::f64::consts::PI / 16.0).tan();
    assert!((one.epe - expected).abs() < 1e-7, "{} {expected}", one.epe);
    assert_eq!(tables::calibration(&rows).lines().count(), 2 + DISTANCES.len());
}

#[test]
fn still_frames_have_no_floor_by_zero_and_identical_ones_none_at_all() {
    let exhibits = [Exhibit::blobs(), Exhibit::weave()];
    let classical = Classical::default();
    let rows = floors(&[&ZeroFlow, &classical], &exhibits, 32, || {}).unwrap();
    assert!(
        rows.iter()
            .filter(|row| row.flow == "zero")
            .all(|row| row.psi_max == 0.0)
    );
    let of = |name: &str| {
        rows.iter()
            .find(|row| row.flow == "classical" && row.disturbance == name)
            .unwrap()
            .psi
    };
    assert_eq!(of("identical frames"), 0.0);
    assert!(of("flicker of 0.01") > 0.0 && of("flicker of 0.1") > of("flicker of 0.01"));
    assert_eq!(tables::floors(&rows).lines().count(), 2 + rows.len() / 2);
}

/// A motion of half a texture's period could as well be one the other way: no shift by half a period to a whole one may
/// leave a texture as it is, nor nearly.
#[test]
fn no_texture_repeats_within_its_period() {
    const SIDE: usize = 48;
    let repeats = |exhibit: &Exhibit, dx: f64, dy: f64| {
        let (first, second) = exhibit.translated(SIDE, SIDE, 1.0, dx, dy);
        let differs = |frame: &[f32]| {
            let squares: f64 = first.iter().zip(frame).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            (squares / first.len() as f64).sqrt()
        };
        differs(&second) < 0.1 * differs(&vec![0.5; first.len()])
    };
    for exhibit in Exhibit::procedural() {
        for dy in 0..16 {
            for dx in -16..=16 {
                let (dx, dy) = (f64::from(dx) / 2.0, f64::from(dy) / 2.0);
                let near = (0.5 * exhibit.period..0.999 * exhibit.period).contains(&f64::hypot(dx, dy));
                assert!(!(near && repeats(&exhibit, dx, dy)), "{} by {dx}, {dy}", exhibit.name);
            }
        }
    }
    let checker = Exhibit::checker();
    assert!(repeats(&checker, 8.0, 8.0) && (checker.period - f64::hypot(8.0, 8.0)).abs() < 1e-9);
}

#[test]
fn pictures_become_exhibits() {
    let picture = Raster {
        height: 2,
        width: 3,
        rgb: vec![0.25; 18],
    };
    let exhibit = Exhibit::from_picture("grey", 10.0, &picture).unwrap();
    // Weights that sum to one, in double precision.
    assert!(
        exhibit
            .frame(5, 4, 2.0, |x, y| (x - 7.3, y + 9.1))
            .iter()
            .all(|v| (v - 0.25).abs() < 1e-6)
    );
    assert!(
        Exhibit::from_picture(
            "none",
            10.0,
            &Raster {
                height: 0,
                width: 3,
                rgb: vec![]
            }
        )
        .is_err()
    );
    assert!(
        Exhibit::from_picture(
            "short",
            10.0,
            &Raster {
                height: 2,
                width: 3,
                rgb: vec![0.0; 17]
            }
        )
        .is_err()
    );
}

/// Sizes whose product wraps to the length of an empty frame.
#[test]
fn impossible_sizes_are_refused() {
    let side = 1 << (usize::BITS / 2);
    for grid in [
        Grid::new(1, side, side),
        Grid::new(4, side / 2, side / 2),
        Grid::new(0, side, side),
    ] {
        for estimator in [&ZeroFlow as &dyn FlowEstimator, &Classical::default()] {
            let refused = estimator.flow(grid, &[], &[]).unwrap_err().to_string();
            assert!(refused.contains("first frame has 0 elements"), "{refused}");
        }
    }
    let picture = Raster {
        height: side,
        width: side,
        rgb: Vec::new(),
    };
    let refused = Exhibit::from_picture("none", 10.0, &picture).unwrap_err().to_string();
    assert!(refused.contains("picture has 0 elements"), "{refused}");
}

/// A KITTI data set has the flow of every pair with and without the pixels that are hidden in the second frame.
#[test]
fn a_pair_of_kitti_counts_once() {
    let dir = TempDir::new().unwrap();
    let flow = FlowField::new(2, 3, vec![0.5; 12]).unwrap();
    for folder in ["image_2", "flow_occ", "flow_noc"] {
        fs::create_dir(dir.path().join(folder)).unwrap();
    }
    for number in ["000", "001"] {
        for frame in ["10.png", "11.png"] {
            fs::write(dir.path().join(format!("image_2/{number}_{frame}")), b"").unwrap();
        }
        write_kitti(dir.path().join(format!("flow_noc/{number}_10.png")), &flow).unwrap();
    }
    write_kitti(dir.path().join("flow_occ/000_10.png"), &flow).unwrap();
    let pairs = find_pairs(dir.path()).unwrap();
    let names: Vec<&str> = pairs.iter().map(|pair| pair.name.as_str()).collect();
    assert_eq!(names, ["flow_noc-001_10", "flow_occ-000_10"]);
}

#[test]
fn extensions_may_be_in_capitals() {
    let dir = TempDir::new().unwrap();
    let flow = FlowField::new(2, 3, vec![0.5; 12]).unwrap();
    // The last one shows the flow's colours.
    for name in ["a_img1.PNG", "a_img2.Jpg", "a_flow.png"] {
        fs::write(dir.path().join(name), b"").unwrap();
    }
    write_flo(dir.path().join("a_flow.FLO"), &flow).unwrap();
    let pairs = find_pairs(dir.path()).unwrap();
    assert_eq!(pairs.len(), 1);
    assert!(pairs[0].first.ends_with("a_img1.PNG") && pairs[0].second.ends_with("a_img2.Jpg"));
    assert_eq!(read_truth(&pairs[0].truth).unwrap(), flow);
}

#[test]
fn pairs_are_found_in_every_layout() {
    let dir = TempDir::new().unwrap();
    let message = find_pairs(dir.path()).unwrap_err().to_string();
    assert!(message.contains("frame10"), "{message}");
    assert!(find_pairs(dir.path().join("none")).is_err());

    let touch = |name: &str| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"").unwrap();
    };
    let flow = FlowField::new(2, 3, vec![0.5; 12]).unwrap();
    for name in ["a_img1.ppm", "a_img2.ppm"] {
        touch(name);
    }
    for name in ["frame10.png", "frame11.png"] {
        touch(&format!("b/{name}"));
        touch(&format!("m/b/{name}"));
    }
    for name in [
        "k/image_2/007_10.png",
        "k/image_2/007_11.png",
        "k/flow_occ/readme.txt",
        "a_other.png",
    ] {
        touch(name);
    }
    write_flo(dir.path().join("a_flow.flo"), &flow).unwrap();
    // The same flow in colours.
    touch("a_flow.png");
    touch("c_img1.png");
    touch("c_img2.png");
    write_kitti(dir.path().join("c_flow.png"), &flow).unwrap();
    write_flo(dir.path().join("b/flow10.flo"), &flow).unwrap();
    write_flo(dir.path().join("m/b/flow10.flo"), &flow).unwrap();
    write_kitti(dir.path().join("k/flow_occ/007_10.png"), &flow).unwrap();
    let pairs = find_pairs(dir.path()).unwrap();
    let names: Vec<&str> = pairs.iter().map(|pair| pair.name.as_str()).collect();
    assert_eq!(
        names,
        ["a_flow", "b-flow10", "c_flow", "k-flow_occ-007_10", "m-b-flow10"]
    );
    let folders: Vec<&str> = pairs.iter().map(|pair| pair.folder.as_str()).collect();
    assert_eq!(folders, ["", "", "", "k/flow_occ", "m"]);
    assert!(pairs[3].second.ends_with("k/image_2/007_11.png"));
    for pair in &pairs {
        assert_eq!(read_truth(&pair.truth).unwrap(), flow);
    }
    assert!(read_truth(dir.path().join("a_img1.ppm")).is_err());

    fs::remove_file(dir.path().join("a_img2.ppm")).unwrap();
    let message = find_pairs(dir.path()).unwrap_err().to_string();
    assert!(
        message.contains("a_flow.flo") && message.contains("a_img2"),
        "{message}"
    );
}
