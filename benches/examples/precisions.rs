//! What the factors of products in bf16 buy.
//!
//! `cargo run --release -p benches --example precisions [THREADS [CASE…]]` prints, for the cases whose names start with a
//! `CASE` (all if none is given), the time of a step at fire rate 0.5 and of its gradient in f32, and how many times as
//! fast each unit for bf16 that this machine has is; and the same for flows (`flow`) and features of VGG16 (`vgg`), whose
//! second figure is the way there and back. The backends take turns, and the best times count: others on the machine only
//! ever slow them down.

use std::time::Instant;

use benches::{Arguments, FLOW_PAIRS, FlowPair, PICTURES, STEPS, Setup, VggPass, write_vgg};
use nca_core::backend::Device as _;
use nca_core::cpu::{Bf16Unit, Cpu};
use nca_core::{Precision, Result};

/// Seconds spent on each figure.
const SECONDS: f64 = 0.5;
/// Turns in which they are spent.
const TURNS: u32 = 5;

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::read()?;
    let threads = arguments.cpu.threads();
    let units = [Bf16Unit::Amx, Bf16Unit::Avx512].map(|unit| unit.available().then_some(unit));
    let units: Vec<Bf16Unit> = units.into_iter().flatten().collect();
    if units.is_empty() {
        println!("this processor does not multiply bf16");
        return Ok(());
    }
    let mut cpus = vec![arguments.cpu.clone()];
    for &unit in &units {
        let bf16 = Cpu::builder().threads(threads).precision(Precision::Bf16).bf16(unit);
        cpus.push(bf16.build()?);
    }
    println!("{}, milliseconds", arguments.cpu.describe());
    print!("{:<28} {:>9} {:>9}", "case", "there", "back");
    for unit in &units {
        print!(" {:>8} {:>8}", unit.name(), "");
    }
    println!();
    for case in STEPS.into_iter().filter(|case| arguments.want(&case.name())) {
        compare(
            &case.name(),
            &cpus,
            |cpu| Setup::new(cpu, case, 0.5),
            [Setup::forward, Setup::backward],
        )?;
    }
    for pair in FLOW_PAIRS {
        let name = format!("flow {}", pair.name());
        if arguments.want(&name) {
            compare(
                &name,
                &cpus,
                |cpu| FlowPair::new(cpu, pair),
                [
                    |pair: &mut FlowPair<Cpu>, cpu, _| pair.forward(cpu),
                    |pair, cpu, _| pair.both(cpu),
                ],
            )?;
        }
    }
    let directory = tempfile::tempdir()?;
    for picture in PICTURES {
        let name = format!("vgg {}", picture.name());
        if arguments.want(&name) {
            let weights = directory.path().join(format!("{}.safetensors", picture.layers()));
            write_vgg(&weights, picture)?;
            compare(
                &name,
                &cpus,
                |cpu| VggPass::new(cpu, picture, &weights),
                [
                    |vgg: &mut VggPass<Cpu>, cpu, _| vgg.forward(cpu),
                    |vgg, cpu, _| vgg.both(cpu),
                ],
            )?;
        }
    }
    Ok(())
}

/// A pass of a work; the number tells its calls apart.
type Pass<T> = fn(&mut T, &Cpu, u32) -> Result<()>;

/// Prints the best times of the first backend, and how many times as fast the others are.
fn compare<T>(name: &str, cpus: &[Cpu], work: impl Fn(&Cpu) -> Result<T>, passes: [Pass<T>; 2]) -> Result<()> {
    let mut works = cpus.iter().map(work).collect::<Result<Vec<T>>>()?;
    let mut best = vec![[f64::INFINITY; 2]; cpus.len()];
    for _ in 0..TURNS {
        for ((cpu, work), best) in cpus.iter().zip(&mut works).zip(&mut best) {
            for (pass, best) in passes.into_iter().zip(best) {
                let start = Instant::now();
                for number in 0.. {
                    let before = Instant::now();
                    pass(work, cpu, number)?;
                    // The first call makes room and wakes up what has slept.
                    if number > 0 {
                        *best = best.min(before.elapsed().as_secs_f64());
                    }
                    if number > 1 && start.elapsed().as_secs_f64() > SECONDS / f64::from(TURNS) {
                        break;
                    }
                }
            }
        }
    }
    let f32 = best[0];
    print!("{name:<28} {:>9.3} {:>9.3}", 1e3 * f32[0], 1e3 * f32[1]);
    for bf16 in &best[1..] {
        print!(" {:>7.2}x {:>7.2}x", f32[0] / bf16[0], f32[1] / bf16[1]);
    }
    println!();
    Ok(())
}
