//! What is said of motion that is none, or that was measured in different ways.

use super::*;

/// Overwrites the results of a sweep.
fn change(place: &Path, made: &Made, change: impl Fn(&mut ModelRecord)) {
    for texture in made.textures {
        for &c in &made.channels {
            for &d in &made.hidden {
                let path = ModelDir::of(place, texture, c, d, 0).result();
                let mut result = nca_train::report::read_result(&path).unwrap();
                change(&mut result.record);
                fs::write(&path, serde_json::to_string(&result).unwrap()).unwrap();
            }
        }
    }
}

#[test]
fn where_nothing_moves_nothing_is_concluded() {
    let mut made = Made::small();
    made.rows = 10;
    let place = place("still");
    made.write(&place.path);
    change(&place.path, &made, |record| {
        if record.texture == "bubbly" {
            record.psi_floor_flicker = record.psi.map(|psi| 2.0 * psi);
        }
    });
    let summary = write_report(&place.path).unwrap();
    for row in &summary.correlations {
        let still = row.texture.as_deref() == Some("bubbly");
        assert_eq!(row.correlation.remark == Some(Remark::NothingMoves), still, "{row:?}");
        assert_eq!(row.correlation.pearson.is_none(), still, "{row:?}");
        assert_eq!(row.correlation.spearman_interval.is_none(), still, "{row:?}");
    }
    assert!(summary.to_string().contains("no model moves"), "{summary}");
    let table = fs::read_to_string(layout::correlations_csv(&place.path)).unwrap();
    assert!(table.contains("bubbly,D − C,9,9,,,,,,,no model moves"), "{table}");

    change(&place.path, &made, |record| {
        record.psi_floor_flicker = record.psi.map(|psi| 2.0 * psi);
    });
    let summary = write_report(&place.path).unwrap();
    assert!(
        summary
            .to_string()
            .contains("nothing can be said of what motion goes with"),
        "{summary}"
    );
    assert!(!summary.to_string().contains("Spearman"), "{summary}");
    let texts = svg_texts(&place, "architecture");
    assert!(
        texts.iter().any(|text| text.starts_with("No correlation: of no model")),
        "{texts:?}"
    );
    assert!(
        !texts
            .iter()
            .any(|text| text.starts_with("Pearson") || text.starts_with("Spearman")),
        "{texts:?}"
    );
    // Of a model whose floor is not known it is not known, either.
    change(&place.path, &made, |record| {
        if (record.channels, record.hidden) == (6, 16) {
            record.psi_floor_flicker = None;
        }
    });
    let unknown = write_report(&place.path).unwrap().correlations;
    assert!(unknown.iter().all(|row| row.correlation.pearson.is_some()));
}

#[test]
fn motion_of_different_measures_is_not_compared_silently() {
    let mut made = Made::small();
    made.rows = 10;
    let place = place("mixed");
    made.write(&place.path);
    assert_eq!(write_report(&place.path).unwrap().warnings, [""; 0]);
    change(&place.path, &made, |record| {
        if record.status != Status::Ok {
            // Of a model without Ψ it does not matter.
            record.flow = "spynet:0".to_owned();
        } else if record.channels == 8 {
            record.flow = "spynet:1".to_owned();
        }
    });
    let summary = write_report(&place.path).unwrap();
    let warning = "Ψ was measured by classical in 11 models, by spynet:1 in 6 models: these do not compare";
    assert_eq!(summary.warnings, [warning]);
    assert!(summary.to_string().contains(warning), "{summary}");
    let page = fs::read_to_string(layout::report_html(&place.path)).unwrap();
    assert!(page.contains(warning));
    let texts = svg_texts(&place, "heatmap");
    assert!(
        texts
            .iter()
            .any(|text| text.contains("classical or spynet:1 flow; not all Ψ compare")),
        "{texts:?}"
    );
    change(&place.path, &made, |record| {
        record.flow = "classical".to_owned();
        record.steps_per_frame = if record.channels == 8 { 16 } else { 32 };
    });
    let warnings = write_report(&place.path).unwrap().warnings;
    assert_eq!(
        warnings,
        [
            "Ψ was measured of frames 16 steps apart in 6 models, of frames 32 steps apart in 11 models: these do not compare"
        ]
    );
}
