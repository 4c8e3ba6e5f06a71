//! From SVG to pixels, with the embedded fonts.

use std::sync::{Arc, LazyLock};

use image::{Rgb, RgbImage};
use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::fontdb::Database;
use resvg::usvg::{Options, Tree};

/// Largest picture.
pub(crate) const MAX_PIXELS: u64 = 1 << 28;

static FONTS: LazyLock<Arc<Database>> = LazyLock::new(|| {
    let mut fonts = Database::new();
    for bytes in [dejavu::sans::regular(), dejavu::sans::bold()] {
        fonts.load_font_data(bytes.to_vec());
    }
    Arc::new(fonts)
});

/// Draws a document on white, `scale` pixels for each of its own. The message says why it cannot be
/// drawn.
pub(super) fn rasterize(svg: &str, scale: f64) -> Result<RgbImage, String> {
    let options = Options {
        fontdb: Arc::clone(&FONTS),
        ..Options::default()
    };
    let tree = Tree::from_str(svg, &options).map_err(|e| e.to_string())?;
    let sides = [tree.size().width(), tree.size().height()].map(|side| (f64::from(side) * scale).ceil());
    let [width, height] = sides;
    let too_large = || format!("{width}x{height} pixels, more than {MAX_PIXELS}");
    if width * height > MAX_PIXELS as f64 {
        return Err(too_large());
    }
    let mut pixels = Pixmap::new(width as u32, height as u32).ok_or_else(too_large)?;
    pixels.fill(Color::WHITE);
    let transform = Transform::from_scale(scale as f32, scale as f32);
    resvg::render(&tree, transform, &mut pixels.as_mut());
    let mut picture = RgbImage::new(width as u32, height as u32);
    for (to, from) in picture.pixels_mut().zip(pixels.pixels()) {
        // Opaque, since the page is: nothing to divide by.
        *to = Rgb([from.red(), from.green(), from.blue()]);
    }
    Ok(picture)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(width: u32, height: u32, body: &str) -> String {
        format!("<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}'>{body}</svg>")
    }

    fn dark(picture: &RgbImage) -> usize {
        picture.pixels().filter(|p| p.0[0] < 128).count()
    }

    #[test]
    fn shapes_land_where_they_should_on_white() {
        let svg = document(20, 10, "<rect x='5' y='2' width='10' height='4' fill='black'/>");
        let picture = rasterize(&svg, 2.0).unwrap();
        assert_eq!(picture.dimensions(), (40, 20));
        assert_eq!(dark(&picture), 20 * 8);
        assert_eq!(picture.get_pixel(0, 0).0, [255; 3]);
        assert_eq!(picture.get_pixel(10, 4).0, [0; 3]);
        assert_eq!(picture.get_pixel(29, 11).0, [0; 3]);
    }

    #[test]
    fn text_is_drawn_with_the_embedded_fonts() {
        let ink = |text: &str, family: &str, weight: &str| {
            let body = format!(
                "<text x='4' y='30' font-size='24' font-family='{family}' font-weight='{weight}'>{text}</text>"
            );
            dark(&rasterize(&document(200, 40, &body), 1.0).unwrap())
        };
        let plain = ink("Ψ ρ −", "DejaVu Sans, Verdana, sans-serif", "normal");
        assert!(plain > 50, "{plain}");
        assert!(ink("Ψ ρ −", "DejaVu Sans, Verdana, sans-serif", "bold") > plain * 5 / 4);
    }

    #[test]
    fn what_cannot_be_drawn_is_refused() {
        assert!(rasterize("<svg", 1.0).is_err());
        assert!(rasterize(&document(100_000, 100_000, ""), 1.0).is_err());
    }
}
