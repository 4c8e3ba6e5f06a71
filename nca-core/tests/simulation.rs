//! Running an automaton: what goes on, and what is replaced on the way.

use nca_core::cpu::Cpu;
use nca_core::{Grid, Nca, Preset, Simulation};

const SEED: u64 = 42;

/// An automaton that moves: its second layer is not zero.
fn automaton(seed: u64) -> Nca {
    Nca::preset(Preset::Notebook, 5, 9, seed).unwrap()
}

#[test]
fn a_run_goes_on_where_another_stopped() {
    let (cpu, grid, nca) = (Cpu::with_threads(1).unwrap(), Grid::new(2, 7, 9), automaton(1));
    let mut whole = Simulation::new(&cpu, &nca, grid, SEED).unwrap();
    whole.run(5).unwrap();
    let (state, step) = (whole.state().unwrap(), whole.step());
    whole.run(6).unwrap();

    let mut rest = Simulation::new(&cpu, &nca, grid, SEED).unwrap();
    rest.set_state(&state).unwrap();
    rest.set_step(step);
    rest.run(6).unwrap();
    assert_eq!(
        (rest.state().unwrap(), rest.step()),
        (whole.state().unwrap(), whole.step())
    );

    // The masks of other steps are others.
    rest.set_state(&state).unwrap();
    rest.run(6).unwrap();
    assert_ne!(rest.state().unwrap(), whole.state().unwrap());
}

#[test]
fn weights_are_replaced_by_those_that_fit() {
    let (cpu, grid) = (Cpu::with_threads(1).unwrap(), Grid::new(2, 7, 9));
    let mut simulation = Simulation::new(&cpu, &automaton(1), grid, SEED).unwrap();
    let other = automaton(2);
    simulation.set_params(&other.params).unwrap();
    let (mut short, mut wild) = (other.params.clone(), other.params.clone());
    short.w1.truncate(3);
    wild.b1[0] = f32::NAN;
    for (bad, name) in [(short, "w1.weight"), (wild, "w1.bias")] {
        let message = simulation.set_params(&bad).unwrap_err().to_string();
        assert!(message.contains(name), "{message}");
    }
    simulation.run(4).unwrap();
    let mut fresh = Simulation::new(&cpu, &other, grid, SEED).unwrap();
    fresh.run(4).unwrap();
    assert_eq!(simulation.state().unwrap(), fresh.state().unwrap());
}
