//! Runs an automaton for some steps and writes what it looks like.
//!
//! ```text
//! cargo run --release -p nca-core --example run -- [OUT.png [MODEL.safetensors [PRESET]]]
//! ```
//!
//! Without a model it runs an untrained one: random rules and a random start, and yet stripes grow.
//! PRESET (`paper`, `notebook`, `distill`) is needed for model files that do not say how their weights
//! are meant.

use nca_core::cpu::Cpu;
use nca_core::{Grid, Nca, NcaConfig, Preset, Simulation};

const SIZE: u32 = 128;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let out = args.next().unwrap_or_else(|| "nca.png".to_owned());
    let nca = match args.next() {
        Some(model) => Nca::load(model, args.next().map(|preset| preset.parse()).transpose()?)?,
        None => {
            let mut config = NcaConfig::preset(Preset::Notebook, 12, 96)?;
            config.clamp = Some(1.0); // untrained rules would grow without bound
            Nca::new(config, 7)?
        }
    };

    let backend = Cpu::new()?;
    let mut simulation = Simulation::new(&backend, &nca, Grid::square(SIZE as usize), 42)?;
    simulation.run(1000)?;

    let frame = simulation.frame()?; // [3, H, W], values from 0 to 1
    let cell = |x, y, channel| frame[((channel * SIZE + y) * SIZE + x) as usize];
    let picture = image::RgbImage::from_fn(SIZE, SIZE, |x, y| {
        image::Rgb([0, 1, 2].map(|channel| (cell(x, y, channel) * 255.0).round() as u8))
    });
    picture.save(&out)?;
    println!("{} weights, {} steps: {out}", nca.params.count(), simulation.step());
    Ok(())
}
