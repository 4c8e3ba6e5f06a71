//! A figure as SVG 1.1.

use std::fmt::Write;

use super::font::FAMILY;
use super::{Anchor, Color, Figure, Paint, Point, Shape, Style};

/// The whole document.
pub(super) fn to_svg(figure: &Figure) -> String {
    let (width, height) = (Number(figure.width), Number(figure.height));
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"{FAMILY}\" fill=\"none\" stroke-linejoin=\"round\">\n\
         <title>{}</title>\n<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n",
        Escaped(&figure.title)
    );
    for shape in &figure.shapes {
        // Writing to a String cannot fail.
        let _ = write_shape(&mut out, shape);
        out.push('\n');
    }
    out.push_str("</svg>\n");
    out
}

fn write_shape(out: &mut String, shape: &Shape) -> std::fmt::Result {
    match shape {
        Shape::Path { points, closed, paint } => {
            out.push_str(if *closed {
                "<polygon points=\""
            } else {
                "<polyline points=\""
            });
            for (i, &(x, y)) in points.iter().enumerate() {
                let space = if i == 0 { "" } else { " " };
                write!(out, "{space}{},{}", Number(x), Number(y))?;
            }
            out.push('"');
            write_paint(out, paint)?;
            out.push_str("/>");
        }
        Shape::Circle { centre, radius, paint } => {
            let (x, y) = *centre;
            write!(
                out,
                "<circle cx=\"{}\" cy=\"{}\" r=\"{}\"",
                Number(x),
                Number(y),
                Number(*radius)
            )?;
            write_paint(out, paint)?;
            out.push_str("/>");
        }
        Shape::Text { at, text, style } => write_text(out, *at, text, style)?,
    }
    Ok(())
}

fn write_text(out: &mut String, (x, y): Point, text: &str, style: &Style) -> std::fmt::Result {
    let (x, y) = (Number(x), Number(y));
    write!(out, "<text x=\"{x}\" y=\"{y}\" font-size=\"{}\"", Number(style.size))?;
    match style.anchor {
        Anchor::Start => {}
        Anchor::Middle => out.push_str(" text-anchor=\"middle\""),
        Anchor::End => out.push_str(" text-anchor=\"end\""),
    }
    if style.bold {
        out.push_str(" font-weight=\"bold\"");
    }
    if style.upwards {
        write!(out, " transform=\"rotate(-90 {x} {y})\"")?;
    }
    write_color(out, "fill", style.color)?;
    write!(out, ">{}</text>", Escaped(text))
}

fn write_paint(out: &mut String, paint: &Paint) -> std::fmt::Result {
    if let Some(color) = paint.fill {
        write_color(out, "fill", color)?;
    }
    if let Some(stroke) = paint.stroke {
        write_color(out, "stroke", stroke.color)?;
        write!(out, " stroke-width=\"{}\"", Number(stroke.width))?;
    }
    Ok(())
}

fn write_color(out: &mut String, what: &str, color: Color) -> std::fmt::Result {
    write!(
        out,
        " {what}=\"#{:02x}{:02x}{:02x}\"",
        color.red, color.green, color.blue
    )?;
    if color.alpha < 255 {
        write!(out, " {what}-opacity=\"{}\"", Number(f64::from(color.alpha) / 255.0))?;
    }
    Ok(())
}

/// A coordinate to a hundredth of a pixel, without trailing zeros.
struct Number(f64);

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rounded = (self.0 * 100.0).round() / 100.0;
        // Adding zero turns −0 into 0.
        write!(f, "{}", rounded + 0.0)
    }
}

/// Text between tags. Control characters, which XML has no way to write, become spaces.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                c if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') => f.write_char(' ')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_become_elements() {
        let mut figure = Figure::new("a < b & c", 10.0, 20.5);
        figure.line((0.0, 1.0 / 3.0), (-0.001, 2.0), Color::INK.with_alpha(51), 1.5);
        figure.rect((1.0, 2.0), 3.0, 4.0, Paint::fill(Color::PAPER));
        figure.circle((5.0, 5.0), 2.0, Paint::fill(Color::INK));
        let style = Style::new(9.0, Anchor::End).bold().upwards();
        figure.text((3.0, 4.0), "Ψ <\u{7}>", style);
        let svg = to_svg(&figure);
        for expected in [
            "width=\"10\" height=\"20.5\" viewBox=\"0 0 10 20.5\"",
            "<title>a &lt; b &amp; c</title>",
            "<polyline points=\"0,0.33 0,2\" stroke=\"#222222\" stroke-opacity=\"0.2\" stroke-width=\"1.5\"/>",
            "<polygon points=\"1,2 4,2 4,6 1,6\" fill=\"#ffffff\"/>",
            "<circle cx=\"5\" cy=\"5\" r=\"2\" fill=\"#222222\"/>",
            "<text x=\"3\" y=\"4\" font-size=\"9\" text-anchor=\"end\" font-weight=\"bold\" \
             transform=\"rotate(-90 3 4)\" fill=\"#222222\">Ψ &lt; &gt;</text>",
        ] {
            assert!(svg.contains(expected), "{expected}\nnot in\n{svg}");
        }
    }
}
