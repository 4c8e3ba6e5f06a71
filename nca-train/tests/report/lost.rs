//! Models that are missing, lost or cannot be read.

use super::*;

#[test]
fn nothing_finished_is_no_error() {
    let place = place("empty");
    fs::create_dir_all(ModelDir::of(&place.path, "bubbly", 8, 16, 0).path()).unwrap();
    let summary = write_report(&place.path).unwrap();
    assert_eq!((summary.ok, summary.unfinished.len()), (0, 1));
    assert_eq!(read_csv(layout::results_csv(&place.path)).unwrap(), []);
    let header = fs::read_to_string(layout::results_csv(&place.path)).unwrap();
    assert!(
        header.starts_with("texture,channels,hidden,seed,status,psi,psi_se,"),
        "{header}"
    );
}

#[test]
fn a_single_model_and_one_that_only_diverged() {
    for (name, lost) in [("single", None), ("lost", Some(Status::Diverged))] {
        let mut made = Made::small();
        made.textures = &["bubbly"];
        (made.channels, made.hidden) = (vec![12], vec![96]);
        made.lost = if lost.is_some() {
            |_, _, _, _| Some(Status::Diverged)
        } else {
            |_, _, _, _| None
        };
        let (place, summary) = report(name, &made);
        assert_eq!(summary.ok, usize::from(lost.is_none()));
        let too_few = |c: &ArchitectureCorrelation| c.correlation.remark == Some(Remark::TooFewArchitectures);
        assert!(summary.correlations.iter().all(too_few));
        if lost.is_none() {
            let texts = svg_texts(&place, "architecture");
            assert!(
                texts.iter().any(|t| t == "No correlation: too few models (1)."),
                "{texts:?}"
            );
        }
    }
}

#[test]
fn what_cannot_be_read_is_left_out_and_named() {
    let mut made = Made::small();
    made.textures = &["bubbly"];
    (made.channels, made.rows) = (vec![8], 10);
    let place = place("garbage");
    made.write(&place.path);
    let model = ModelDir::of(&place.path, "bubbly", 8, 32, 0);
    let other = ModelDir::of(&place.path, "bubbly", 8, 64, 0);
    let nca = Nca::preset(Preset::Paper, 8, 32, 0).unwrap();
    nca.save(model.model()).unwrap();
    write_flo(model.flow(), &FlowField::new(4, 4, vec![0.5; 32]).unwrap()).unwrap();
    let settings = SweepSettings::preset(SweepPreset::Quick, "cpu");
    let settings_file = place.path.join(SETTINGS_FILE);
    fs::write(&settings_file, serde_json::to_string(&settings).unwrap()).unwrap();

    let whole = write_report(&place.path).unwrap();
    assert_eq!((whole.warnings.len(), whole.ok, whole.unreadable), (0, 3, 0));
    // What is said of a file that has changed, and the report of the others.
    let report_after = |path: &Path, bytes: &[u8]| {
        let before = fs::read(path).unwrap();
        fs::write(path, bytes).unwrap();
        let summary = write_report(&place.path).unwrap();
        fs::write(path, before).unwrap();
        let [warning] = summary.warnings.as_slice() else {
            panic!("{:?}", summary.warnings)
        };
        let start = format!("{}: found ", path.strip_prefix(&place.path).unwrap().display());
        assert!(
            warning.starts_with(&start) && warning.contains(", expected "),
            "{warning}"
        );
        assert!(!warning.contains('\n'), "{warning}");
        for file in [layout::report_md(&place.path), layout::report_html(&place.path)] {
            let text = fs::read_to_string(&file).unwrap();
            // As it stands in a string of the page's data.
            let quoted = warning.replace('"', "\\\"");
            assert!(text.contains(warning) || text.contains(&quoted), "{warning}");
        }
        assert_eq!(summary.files, whole.files);
        assert_eq!(summary.ok + summary.unreadable, 3);
        (warning.clone(), summary)
    };
    let result = fs::read_to_string(model.result()).unwrap();
    let newer = result.replace("\"format\":1", "\"format\":2");
    for (bytes, part) in [
        (&b"{"[..], "JSON that does not fit"),
        (b"\xff\xfe", "UTF-8"),
        (result.replace("\"ok\"", "\"fine\"").as_bytes(), "fine"),
        (newer.as_bytes(), "result format 2, expected format 1"),
        (&fs::read(other.result()).unwrap(), "D = 64"),
    ] {
        let (warning, summary) = report_after(&model.result(), bytes);
        assert!(warning.contains(part), "{warning}");
        assert_eq!(summary.unreadable, 1);
        let texts = svg_texts(&place, "heatmap");
        assert!(texts.iter().any(|t| t == "?") && texts.iter().any(|t| t == "unreadable"));
        let text = fs::read_to_string(layout::report_md(&place.path)).unwrap();
        assert!(
            text.contains("3 models finished: 2 ok, 0 diverged, 0 failed, 1 unreadable;"),
            "{text}"
        );
        assert_eq!(read_csv(layout::results_csv(&place.path)).unwrap().len(), 2);
    }
    let (metrics, _) = report_after(&model.metrics(), b"{}\n");
    assert!(metrics.contains("line 1"), "{metrics}");
    let png = fs::read(model.frame()).unwrap();
    for path in [model.frame(), model.target()] {
        report_after(&path, b"no picture");
        report_after(&path, &png[..200]);
    }
    report_after(&model.flow(), b"PIEH");
    let (weights, _) = report_after(&model.model(), &fs::read(model.model()).unwrap()[..100]);
    assert!(weights.contains("model.safetensors"), "{weights}");
    report_after(&settings_file, b"{}");
    // Several at a time, each once.
    for path in [model.metrics(), model.frame(), other.result()] {
        fs::write(path, "{}\n").unwrap();
    }
    let summary = write_report(&place.path).unwrap();
    assert_eq!((summary.warnings.len(), summary.ok), (3, 2));

    let missing = write_report(place.path.join("nowhere")).unwrap_err().to_string();
    assert!(missing.contains("nowhere"), "{missing}");
}

#[test]
fn a_grid_of_which_nothing_can_be_read_has_a_report() {
    let mut made = Made::small();
    made.rows = 1;
    let place = place("unreadable");
    made.write(&place.path);
    for texture in made.textures {
        for &c in &made.channels {
            for &d in &made.hidden {
                fs::write(ModelDir::of(&place.path, texture, c, d, 0).result(), "").unwrap();
            }
        }
    }
    let summary = write_report(&place.path).unwrap();
    assert_eq!((summary.ok, summary.unreadable, summary.warnings.len()), (0, 18, 18));
    assert!(summary.to_string().contains("- and 8 more: "), "{summary}");
    assert_eq!(
        svg_texts(&place, "heatmap").iter().filter(|text| *text == "?").count(),
        3 * 9 + 1
    );
}

#[test]
fn lost_models_say_why_and_have_no_scale() {
    let mut made = Made::small();
    made.textures = &["bubbly"];
    (made.channels, made.hidden, made.rows) = (vec![12], vec![96], 30);
    made.lost = |_, _, _, _| Some(Status::Diverged);
    let place = place("lost_why");
    made.write(&place.path);
    let path = ModelDir::of(&place.path, "bubbly", 12, 96, 0).result();
    let mut result = nca_train::report::read_result(&path).unwrap();
    result.reason = Some("the state is not finite at step 7".to_owned());
    fs::write(&path, serde_json::to_string(&result).unwrap()).unwrap();
    let summary = write_report(&place.path).unwrap();
    let line = "- bubbly, C = 12, D = 96, seed 0 diverged: the state is not finite at step 7\n";
    assert!(summary.to_string().contains(line), "{summary}");
    let page = fs::read_to_string(layout::report_html(&place.path)).unwrap();
    assert!(page.contains("\"reason\":\"the state is not finite at step 7\""));
    let texts = svg_texts(&place, "heatmap");
    assert!(
        !texts
            .iter()
            .any(|text| text.contains("px/frame") || text.contains("0.0")),
        "{texts:?}"
    );
    // Of no standard error there is no map, either.
    assert_eq!(texts.iter().filter(|text| *text == "Channels C").count(), 1);
}

#[test]
fn a_curve_of_one_point_is_a_point() {
    let mut made = Made::small();
    made.textures = &["bubbly"];
    (made.channels, made.hidden, made.rows) = (vec![6, 8], vec![16], 1);
    let (place, _) = report("point", &made);
    let path = layout::plots_dir(&place.path).join("curves_bubbly.svg");
    let text = fs::read_to_string(path).unwrap();
    // One for the loss and one for Ψ of each model.
    assert_eq!(text.matches("<circle").count(), 4);
}
