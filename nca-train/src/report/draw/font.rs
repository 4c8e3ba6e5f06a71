//! DejaVu Sans, embedded: widths and outlines.

use std::sync::LazyLock;

use ttf_parser::{Face, GlyphId, OutlineBuilder};

use super::Style;

/// Family names in SVG; Verdana has nearly the same widths.
pub(super) const FAMILY: &str = "DejaVu Sans, Verdana, sans-serif";
/// Height of capitals and digits, em.
pub(super) const CAP_HEIGHT: f64 = 0.729;

type Parsed = Option<Face<'static>>;
static REGULAR: LazyLock<Parsed> = LazyLock::new(|| Face::parse(dejavu::sans::regular(), 0).ok());
static BOLD: LazyLock<Parsed> = LazyLock::new(|| Face::parse(dejavu::sans::bold(), 0).ok());

fn face(bold: bool) -> Option<&'static Face<'static>> {
    if bold { BOLD.as_ref() } else { REGULAR.as_ref() }
}

/// Width of a line of text, pixels, for an em of `size` pixels.
pub(in crate::report) fn text_width(text: &str, size: f64, bold: bool) -> f64 {
    face(bold).map_or(0.0, |face| place(face, text).1 * size / f64::from(face.units_per_em()))
}

/// The text, its end replaced by an ellipsis if it is wider than `width` pixels.
pub(in crate::report) fn shorten(text: &str, style: Style, width: f64) -> String {
    let fits = |text: &str| text_width(text, style.size, style.bold) <= width;
    if fits(text) {
        return text.to_owned();
    }
    let mut kept: Vec<char> = text.chars().collect();
    loop {
        let shortened: String = kept.iter().copied().chain(['…']).collect();
        if kept.pop().is_none() || fits(&shortened) {
            return shortened;
        }
    }
}

/// Draws the outlines of a line of text that starts at the origin of `target`: font units, y up.
/// Returns the font units of an em, and the width.
pub(super) fn outline(text: &str, bold: bool, target: &mut impl TextOutline) -> Option<(f64, f64)> {
    let face = face(bold)?;
    let (glyphs, width) = place(face, text);
    for (glyph, x) in glyphs {
        target.start_glyph(x);
        face.outline_glyph(glyph, target);
    }
    Some((f64::from(face.units_per_em()), width))
}

/// Takes the outlines of a text glyph by glyph.
pub(super) trait TextOutline: OutlineBuilder {
    /// The following outline is to be moved right by `x` font units.
    fn start_glyph(&mut self, x: f64);
}

/// Glyphs with their positions, and the width of all; font units.
fn place(face: &Face<'_>, text: &str) -> (Vec<(GlyphId, f64)>, f64) {
    let mut x = 0.0;
    let mut glyphs: Vec<(GlyphId, f64)> = Vec::new();
    for c in text.chars() {
        // Glyph 0 is the box that stands for what a font lacks.
        let glyph = face.glyph_index(c).unwrap_or(GlyphId(0));
        if let Some(&(previous, _)) = glyphs.last() {
            x += f64::from(kerning(face, previous, glyph));
        }
        glyphs.push((glyph, x));
        x += f64::from(face.glyph_hor_advance(glyph).unwrap_or(0));
    }
    (glyphs, x)
}

fn kerning(face: &Face<'_>, left: GlyphId, right: GlyphId) -> i16 {
    let tables = face.tables().kern.into_iter().flat_map(|kern| kern.subtables);
    tables
        .filter(|table| table.horizontal && !table.has_cross_stream)
        .find_map(|table| table.glyphs_kerning(left, right))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::Anchor;
    use super::*;

    #[test]
    fn the_font_has_what_the_plots_write() {
        for bold in [false, true] {
            let face = face(bold).unwrap();
            for c in "ΨρC·DN/−×±°⁰¹²³⁴⁵⁶⁷⁸⁹⁻—é…".chars() {
                assert!(face.glyph_index(c).is_some(), "{c}");
            }
            let em = f64::from(face.units_per_em());
            let capital = f64::from(face.glyph_bounding_box(face.glyph_index('H').unwrap()).unwrap().y_max);
            assert!((capital / em - CAP_HEIGHT).abs() < 1e-3, "{}", capital / em);
        }
    }

    #[test]
    fn what_is_too_long_ends_in_an_ellipsis() {
        let style = Style::new(10.0, Anchor::Start);
        assert_eq!(shorten("bubbly", style, 100.0), "bubbly");
        let short = shorten("bubbly_0101_of_the_dataset", style, 60.0);
        assert!(short.starts_with("bubbl") && short.ends_with('…'), "{short}");
        assert!(text_width(&short, 10.0, false) <= 60.0);
        assert_eq!(shorten("bubbly", style, 0.0), "…");
    }

    #[test]
    fn widths_add_up_and_scale() {
        let digit = text_width("0", 10.0, false);
        assert!((text_width("00000", 20.0, false) - 10.0 * digit).abs() < 1e-9);
        assert!(text_width("AV", 10.0, false) < text_width("A", 10.0, false) + text_width("V", 10.0, false));
        assert!(text_width("Ψ", 10.0, true) > 0.0);
        assert_eq!(text_width("", 10.0, false), 0.0);
    }
}
