//! Draws a sheet of synthetic pairs: first frame, second frame, true flow (colour wheel), and the
//! first frame where the second shows it too (red where not).
//!
//! `cargo run -p spynet --example synth_sheet -- OUT.png [KIND] [HEIGHT WIDTH] [FIRST_INDEX]
//! [PHOTOGRAPHIC] [ENLARGED]`; eight rows of three pairs of `KIND`, or of all kinds.

use std::error::Error;

use image::{Rgb, RgbImage};
use spynet::synth::{FlowPair, Kind, Synth, SynthSettings};
use spynet::{FlowField, flow_to_rgb};

const COLUMNS: usize = 3;
const ROWS: usize = 8;
const GAP: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let out = args.first().ok_or("expected the name of a PNG file")?;
    let kind = match args.get(1).map(String::as_str) {
        None | Some("all") => None,
        Some(name) => Some(Kind::ALL.into_iter().find(|k| k.name() == name).ok_or("no such kind")?),
    };
    let number = |i: usize, default: usize| args.get(i).map_or(Ok(default), |v| v.parse());
    let (height, width, start) = (number(2, 128)?, number(3, 128)?, number(4, 0)?);
    let mut settings = SynthSettings {
        height,
        width,
        photographic: args.get(5).map_or(Ok(0.0), |v| v.parse())?,
        enlarged: args.get(6).map_or(Ok(0.0), |v| v.parse())?,
        ..SynthSettings::default()
    };
    if let Some(kind) = kind {
        settings.mix = vec![(kind, 1.0)];
    }
    let synth = Synth::new(settings)?;
    let mut sheet = RgbImage::new((COLUMNS * (4 * width + GAP + 8)) as u32, (ROWS * (height + GAP)) as u32);
    let clock = std::time::Instant::now();
    let pairs: Vec<FlowPair> = (0..COLUMNS * ROWS).map(|i| synth.pair(0, (start + i) as u64)).collect();
    let each = clock.elapsed().as_secs_f64() * 1e3 / pairs.len() as f64;
    for (i, pair) in pairs.iter().enumerate() {
        let (left, top) = ((i % COLUMNS) * (4 * width + GAP + 8), (i / COLUMNS) * (height + GAP));
        let field = FlowField::new(height, width, pair.flow.clone())?;
        let mean = field.mean_magnitude().unwrap_or(0.0);
        let seen = pair.visible.iter().filter(|v| **v).count() as f64 / pair.visible.len() as f64;
        println!(
            "{i:3} {:12} mean {mean:7.3} px, {:5.1} % seen",
            pair.kind.name(),
            100.0 * seen
        );
        let flow = flow_to_rgb(&field, None)?;
        let plane = height * width;
        for p in 0..plane {
            let byte = |frame: &[f32], c: usize| (255.0 * frame[c * plane + p]).round() as u8;
            let first = [0, 1, 2].map(|c| byte(&pair.first, c));
            let marked = if pair.visible[p] {
                first
            } else {
                [255, first[1] / 3, first[2] / 3]
            };
            let colours = [
                first,
                [0, 1, 2].map(|c| byte(&pair.second, c)),
                [0, 1, 2].map(|c| flow[3 * p + c]),
                marked,
            ];
            for (k, colour) in colours.into_iter().enumerate() {
                let (x, y) = (left + k * width + p % width, top + p / width);
                sheet.put_pixel(x as u32, y as u32, Rgb(colour));
            }
        }
    }
    println!("{each:.1} ms a pair");
    sheet.save(out)?;
    Ok(())
}
