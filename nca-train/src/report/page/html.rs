//! Putting the sources together into one file that needs no other.

use std::fmt::Write;

use nca_core::{Error, Result};
use serde::Serialize;

use crate::plot::escape;

/// Nothing is fetched, from anywhere: what the page needs, it brings along.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:";

macro_rules! source {
    ($path:literal) => {
        include_str!(concat!("web/", $path))
    };
}

const STYLE: &[&str] = &[source!("vendor/uplot/uPlot.min.css"), source!("style.css")];
const SHADERS: &[(&str, &str)] = &[
    ("screen", source!("glsl/screen.vert")),
    ("mask", source!("glsl/mask.frag")),
    ("hidden", source!("glsl/hidden.frag")),
    ("update", source!("glsl/update.frag")),
    ("damage", source!("glsl/damage.frag")),
    ("extremes", source!("glsl/extremes.frag")),
    ("picture", source!("glsl/picture.frag")),
];
const SCRIPTS: &[&str] = &[
    source!("vendor/uplot/uPlot.iife.min.js"),
    source!("js/data.js"),
    source!("js/philox.js"),
    source!("js/automaton.js"),
    source!("js/view.js"),
    source!("js/player.js"),
    source!("js/heatmap.js"),
    source!("js/statistics.js"),
    source!("js/curves.js"),
    source!("js/main.js"),
];
/// The notice that goes with every copy of the bundled library.
const LICENCE: &str = source!("vendor/uplot/LICENSE");
const FRAME: &str = source!("page.html");

/// A page called `title` that shows `data`; `weights` are the packed weights of its models.
pub(super) fn page(title: &str, data: &impl Serialize, weights: &[String]) -> Result<String> {
    let json = serde_json::to_string(data).map_err(|e| Error::invalid("contents of the page", e, "JSON"))?;
    // The end of a script is found before JSON is read: no "<" may stand in it.
    let json = json.replace('<', "\\u003c");
    let mut head = format!("<title>{}</title>\n", escape(title));
    head += &format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n");
    for style in STYLE {
        head += &format!("<style>\n{style}</style>\n");
    }
    let mut tail = format!("<script type=\"application/json\" id=\"data\">{json}</script>\n");
    for (index, packed) in weights.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = writeln!(
            tail,
            "<script type=\"text/plain\" id=\"weights-{index}\">{packed}</script>"
        );
    }
    for (name, shader) in SHADERS {
        tail += &format!("<script type=\"text/plain\" id=\"shader-{name}\">\n{shader}</script>\n");
    }
    tail += &format!("<!-- The first script below is uPlot:\n{LICENCE}-->\n");
    for script in SCRIPTS {
        tail += &format!("<script>\n{script}</script>\n");
    }
    Ok(FRAME
        .replacen("<!-- head -->", &head, 1)
        .replacen("<!-- tail -->", &tail, 1))
}
