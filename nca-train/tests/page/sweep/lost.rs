//! What the page says of models that are missing, lost or do not move.

use super::*;

#[test]
fn what_is_missing_is_said_with_the_reason() {
    let Some(mut browser) = Browser::start() else { return };
    let (directory, _) = small();
    let model = |c, d| ModelDir::of(directory.path(), "bubbly", c, d, 3);
    fs::write(model(4, 5).result(), "{").unwrap();
    let weights = fs::read(model(6, 5).model()).unwrap();
    fs::write(model(6, 5).model(), &weights[..60]).unwrap();
    write_report(directory.path()).unwrap();
    open_paused(&mut browser, &directory);
    assert_eq!(
        texts(&mut browser, "#heatmap td"),
        json!(["?", "0.25", "0.35", "0.13", "0.18", "✕"])
    );
    let mut title = |row, column| {
        let title = browser.evaluate(&format!("document.querySelector('{}').title", cell(row, column)));
        title.as_str().unwrap().to_owned()
    };
    let unreadable = "C = 4, D = 5: unreadable; its result cannot be read: found JSON that does not fit";
    assert!(title(0, 0).starts_with(unreadable), "{}", title(0, 0));
    assert!(
        title(1, 0).contains("its weights cannot be read: found "),
        "{}",
        title(1, 0)
    );
    let warnings = texts(&mut browser, "#warnings li");
    let starts = [
        "models/bubbly/c004_d005_s3/result.json: found ",
        "models/bubbly/c006_d005_s3/model.safetensors: found ",
    ];
    let warnings = warnings.as_array().unwrap();
    assert_eq!(warnings.len(), starts.len());
    for (warning, start) in warnings.iter().zip(starts) {
        assert!(warning.as_str().unwrap().starts_with(start), "{warning}");
    }
    assert_eq!(
        texts(&mut browser, "#lost li"),
        json!([
            format!("C = 6, D = 12 on bubbly diverged: {REASON}"),
            format!("C = 4, D = 5 on {HOSTILE} failed: {REASON}")
        ])
    );
    let lead = browser.evaluate("document.getElementById('lead').textContent");
    assert!(lead.as_str().unwrap().contains("1 model unreadable."), "{lead}");
    // Where nothing is wrong nothing is said.
    let quiet = "(() => {
        DATA.sweep.warnings = [];
        DATA.sweep.lost = [];
        drawWarnings();
        return ['warnings', 'lost'].map((id) => document.getElementById(id).hidden);
    })()";
    assert_eq!(browser.evaluate(quiet), json!([true, true]));
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_model_that_diverged_has_a_page_with_the_reason_and_no_scale() {
    let Some(mut browser) = Browser::start() else { return };
    let directory = tempfile::tempdir().unwrap();
    let made = Made {
        textures: vec!["bubbly"],
        channels: vec![4],
        hidden: vec![8],
        rows: 1,
        ..Made::small()
    };
    made.write(directory.path(), |_, _, _| Some(Status::Diverged));
    write_report(directory.path()).unwrap();
    browser.window(1280, 900, false);
    browser.open(&layout::report_html(directory.path()));
    assert_eq!(texts(&mut browser, "#heatmap td"), json!(["✕"]));
    assert_eq!(texts(&mut browser, "#key span"), json!(["✕ diverged"]));
    assert_eq!(browser.evaluate("document.querySelector('.best').hidden"), json!(true));
    let shown =
        "[...document.querySelectorAll('#lost li')].filter((e) => e.checkVisibility()).map((e) => e.textContent)";
    assert_eq!(
        browser.evaluate(shown),
        json!([format!("C = 4, D = 8 diverged: {REASON}")])
    );
    // Its loss was written down once: a point in the middle of its axes.
    browser.wait_for("document.querySelectorAll('#loss-chart canvas').length === 1");
    browser.picture("report_diverged");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn where_nothing_moves_no_quantity_is_named() {
    let Some(mut browser) = Browser::start() else { return };
    let (directory, made) = small();
    for &c in &made.channels {
        for &d in &made.hidden {
            let path = ModelDir::of(directory.path(), "bubbly", c, d, 3).result();
            let mut result = read_result(&path).unwrap();
            result.record.psi_floor_static = result.record.psi;
            fs::write(&path, serde_json::to_string(&result).unwrap()).unwrap();
        }
    }
    write_report(directory.path()).unwrap();
    open_paused(&mut browser, &directory);
    let answer = browser.evaluate("document.getElementById('answer').textContent");
    assert!(
        answer.as_str().unwrap().starts_with("On bubbly no model moves"),
        "{answer}"
    );
    assert_eq!(
        texts(&mut browser, "#correlations tbody tr:first-child td:not(.drawn)"),
        json!(["– (no model moves)", "– (no model moves)", "5", "5"])
    );
    assert_eq!(browser.complaints(), [""; 0]);
}
