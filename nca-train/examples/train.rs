//! Trains an automaton on a built-in texture and saves it:
//! `cargo run --release -p nca-train --example train -- [iterations] [model.safetensors]`

use nca_core::{Nca, Preset, cpu::Cpu};
use nca_train::loss::{PatchLoss, PatchSettings};
use nca_train::{Texture, TrainSettings, Trainer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let iterations = args.next().map_or(Ok(300), |n| n.parse())?;
    let path = args.next().unwrap_or_else(|| "model.safetensors".to_owned());

    let backend = Cpu::new()?;
    let texture = Texture::resolve("bubbly", None, 48)?;
    let nca = Nca::preset(Preset::Paper, 12, 48, 0)?;
    let settings = TrainSettings {
        size: 48,
        pool: 32,
        steps_max: 64,
        ..TrainSettings::preset(Preset::Paper).with_iterations(iterations)
    };
    let loss = PatchLoss::new(&backend, PatchSettings::default(), &texture, settings.batch)?;
    let mut trainer = Trainer::new(&backend, &nca, settings, Box::new(loss), 0)?;
    for i in 0..iterations {
        let done = trainer.step()?;
        if i % 20 == 0 {
            println!("iteration {i:4}  loss {:.4}", done.loss);
        }
    }
    // With the size it was trained at, so that `measure` looks there.
    let metadata = nca_train::provenance::metadata(trainer.settings());
    trainer.nca()?.save_with_extra(&path, &metadata)?;
    println!("saved {path}");
    Ok(())
}
