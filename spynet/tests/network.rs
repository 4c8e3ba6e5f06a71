//! SpyNet's derivatives against difference quotients, and SpyNet as an estimator.

use nca_core::backend::{Backend, Device};
use nca_core::cpu::Cpu;
use nca_core::philox::{PhiloxRng, Stream};
use nca_core::reference::Reference;
use nca_core::testkit::check_gradient;
use nca_core::{Grid, Result};
use spynet::{FlowEstimator, FlowPass, LayerWeights, SpyNet, SpyNetFlow, SpyNetWeights};

/// Kernels of side 3 and few channels; weights trebled, so that flows are of the order of a pixel.
fn narrow() -> SpyNetWeights {
    narrow_times(3.0)
}

fn narrow_times(gain: f32) -> SpyNetWeights {
    let init = SpyNetWeights::init(3, &[8, 4, 3, 2], 3, 5).unwrap();
    let scaled = |values: &[f32]| values.iter().map(|v| gain * v).collect();
    let layer = |layer: &LayerWeights| LayerWeights {
        weight: scaled(&layer.weight),
        bias: scaled(&layer.bias),
        ..layer.clone()
    };
    SpyNetWeights::new(
        init.levels()
            .iter()
            .map(|level| level.iter().map(layer).collect())
            .collect(),
    )
    .unwrap()
}

/// A kernel whose square no integer holds, for which no weights are there.
#[test]
fn impossible_shapes_are_refused() {
    let layer = LayerWeights {
        inputs: 8,
        outputs: 2,
        kernel: (1 << 33) + 1,
        weight: Vec::new(),
        bias: vec![0.0; 2],
    };
    let refused = SpyNetWeights::new(vec![vec![layer]]).unwrap_err().to_string();
    assert!(refused.contains("a kernel of side 8589934593"), "{refused}");
    // Some that cannot be counted, some that no address space holds, and ever more levels.
    for channels in [&[8, usize::MAX, 2][..], &[8, 1 << 61, 2], &[8, 1 << 50, 2]] {
        let refused = SpyNetWeights::init(1, channels, 3, 0).unwrap_err().to_string();
        assert!(refused.contains(&format!("{channels:?}")), "{refused}");
    }
    assert!(SpyNetWeights::init(1, &[8, 2], 1 << 33, 0).is_err());
    let refused = SpyNetWeights::init(usize::MAX, &[8, 2], 3, 0).unwrap_err().to_string();
    assert!(refused.contains("expected 1 to 16"), "{refused}");
}

/// Frames whose pixels no integer counts: products that wrapped would make buffers of no pixels for them.
#[test]
fn impossible_frames_are_refused() {
    let backend = Oracle::new();
    let net = SpyNet::new(&backend, &narrow()).unwrap();
    let estimator = Reference::<f32>::new();
    let estimator = SpyNetFlow::new(&estimator, &narrow()).unwrap();
    for grid in [
        Grid::new(4, 1 << 31, 1 << 31),
        Grid::new(1 << 63, 2, 1),
        // A row, and a side that is made a multiple of 32.
        Grid::new(1, 1, usize::MAX),
        // They can be counted, but as rows of 32 pixels not.
        Grid::new(1 << 54, 1, 1),
    ] {
        let refused = FlowPass::new(&backend, &net, grid, true).unwrap_err().to_string();
        assert!(refused.contains("frames of the flow network"), "{refused}");
        assert!(estimator.flow(grid, &[], &[]).is_err());
    }
}

fn noise(len: usize, index: u64) -> Vec<f64> {
    let mut rng = PhiloxRng::new(8, Stream::Test, index);
    (0..len).map(|_| rng.uniform()).collect()
}

type Oracle = Reference<f64>;

/// All weights in a row, layer by layer.
fn parameters(backend: &Oracle, net: &SpyNet<Oracle>) -> Vec<f64> {
    net.layers()
        .flat_map(|layer| [&layer.weight, &layer.bias])
        .flat_map(|buffer| backend.to_vec(buffer).unwrap())
        .collect()
}

fn set_parameters(backend: &Oracle, net: &mut SpyNet<Oracle>, mut values: &[f64]) {
    for buffer in net.layers_mut().flat_map(|layer| [&mut layer.weight, &mut layer.bias]) {
        let (own, rest) = values.split_at(backend.len(buffer));
        backend.upload(own, buffer).unwrap();
        values = rest;
    }
}

/// Both frames and every weight, along the gradient and a random direction; the size has both sides
/// resized, so that the whole chain takes part.
#[test]
fn gradients_are_those_of_the_forward() {
    check_gradients(&narrow());
}

/// The same where levels have several rounds, which share their weights. Seven rounds of trebled weights would multiply
/// a change ten thousandfold, and difference quotients would meet kinks.
#[test]
fn gradients_are_summed_over_rounds() {
    check_gradients(&narrow_times(2.0).with_rounds(vec![2, 3, 2]).unwrap());
}

fn check_gradients(weights: &SpyNetWeights) {
    let backend = Oracle::new();
    let grid = Grid::new(1, 33, 40);
    let mut net = SpyNet::new(&backend, weights).unwrap();
    let mut grads = SpyNet::zeros(&backend, weights).unwrap();
    let mut pass = FlowPass::new(&backend, &net, grid, true).unwrap();
    let (first, second) = (noise(3 * grid.cells(), 0), noise(3 * grid.cells(), 1));
    let g_flow: Vec<f64> = noise(2 * grid.cells(), 2).iter().map(|v| v - 0.5).collect();
    let flow = pass.forward(&backend, &net, &first, &second).unwrap();
    let longest = flow.iter().fold(0.0_f64, |a, v| a.max(v.abs()));
    assert!(longest > 0.3, "warping takes no part: {longest} px");
    let (mut g_first, mut g_second) = (vec![0.0; first.len()], vec![0.0; second.len()]);
    pass.backward(&backend, &net, &g_flow, &mut g_first, &mut g_second, Some(&mut grads))
        .unwrap();

    let run = |net: &SpyNet<Oracle>, first: &[f64], second: &[f64]| -> Result<Vec<f64>> {
        let mut pass = FlowPass::new(&backend, net, grid, false)?;
        Ok(pass.forward(&backend, net, &first.to_vec(), &second.to_vec())?.clone())
    };
    check_gradient("spynet", "g_first", &first, &g_first, &g_flow, |x| {
        run(&net, x, &second)
    })
    .unwrap();
    check_gradient("spynet", "g_second", &second, &g_second, &g_flow, |x| {
        run(&net, &first, x)
    })
    .unwrap();

    let (values, g_values) = (parameters(&backend, &net), parameters(&backend, &grads));
    let net = std::cell::RefCell::new(&mut net);
    check_gradient("spynet", "g_weights", &values, &g_values, &g_flow, |x| {
        let net = &mut **net.borrow_mut();
        set_parameters(&backend, net, x);
        run(net, &first, &second)
    })
    .unwrap();
}

/// The first of several rounds is what a single one would be, and each of the others corrects the one before.
#[test]
fn a_round_starts_from_the_flow_of_the_one_before() {
    let backend = Oracle::new();
    let grid = Grid::new(2, 32, 32);
    let weights = narrow();
    let (first, second) = (noise(3 * grid.cells(), 6), noise(3 * grid.cells(), 7));
    let flows = |rounds: usize| -> Vec<Vec<f64>> {
        let weights = weights.clone().with_rounds(vec![rounds, 1, 1]).unwrap();
        let net = SpyNet::new(&backend, &weights).unwrap();
        let mut pass = FlowPass::new(&backend, &net, grid, false).unwrap();
        let last = pass.forward(&backend, &net, &first, &second).unwrap().clone();
        let found: Vec<_> = (0..pass.rounds().count())
            .map(|round| pass.round_flow(round).clone())
            .collect();
        assert_eq!(found.last(), Some(&last));
        found
    };
    let (one, three) = (flows(1), flows(3));
    assert_eq!((one.len(), three.len()), (1, 3));
    assert!(one[0] == three[0]);
    assert!(three[1] != three[0] && three[2] != three[1]);
}

/// A pass has buffers for the levels, rounds and layers of the network it was made for.
#[test]
fn a_pass_is_for_its_rounds() {
    let backend = Oracle::new();
    let grid = Grid::square(32);
    let net = |rounds: usize| SpyNet::new(&backend, &narrow().with_rounds(vec![rounds, 1, 1]).unwrap()).unwrap();
    let mut pass = FlowPass::new(&backend, &net(2), grid, false).unwrap();
    let frame = vec![0.0; 3 * grid.cells()];
    pass.forward(&backend, &net(2), &frame, &frame).unwrap();
    let refused = pass.forward(&backend, &net(1), &frame, &frame).unwrap_err().to_string();
    assert!(
        refused.contains("a network of [1] rounds") && refused.contains("expected [2]"),
        "{refused}"
    );
    // The frames do not reach the levels above, which may be others.
    let other = SpyNet::new(&backend, &narrow().with_rounds(vec![2, 3, 1]).unwrap()).unwrap();
    pass.forward(&backend, &other, &frame, &frame).unwrap();
}

/// As many rounds in all do not make the same levels; and layers, and what gradients are added to, have shapes.
#[test]
fn a_pass_is_for_its_levels_and_layers() {
    let backend = Oracle::new();
    let grid = Grid::square(128);
    let weights = |channels: &[usize], kernel: usize, rounds: &[usize]| {
        let weights = SpyNetWeights::init(rounds.len(), channels, kernel, 5).unwrap();
        weights.with_rounds(rounds.to_vec()).unwrap()
    };
    let own = weights(&[8, 4, 2], 3, &[2, 1, 1]);
    let net = SpyNet::new(&backend, &own).unwrap();
    let mut pass = FlowPass::new(&backend, &net, grid, true).unwrap();
    let frame = vec![0.0; 3 * grid.cells()];
    let g_flow = vec![0.0; 2 * grid.cells()];
    let (mut g_first, mut g_second) = (frame.clone(), frame.clone());
    pass.forward(&backend, &net, &frame, &frame).unwrap();
    for (other, words) in [
        (weights(&[8, 4, 2], 3, &[1, 2, 1]), "[1, 2, 1] rounds"),
        (weights(&[8, 4, 2], 3, &[2, 2]), "[2, 2] rounds"),
        (weights(&[8, 5, 2], 3, &[2, 1, 1]), "[[8, 5, 3], [5, 2, 3]]"),
        (weights(&[8, 4, 2], 5, &[2, 1, 1]), "[[8, 4, 5], [4, 2, 5]]"),
        (weights(&[8, 4, 4, 2], 3, &[2, 1, 1]), "[4, 4, 3]"),
    ] {
        let other = SpyNet::new(&backend, &other).unwrap();
        let forward = pass.forward(&backend, &other, &frame, &frame).map(drop);
        let backward = pass.backward(&backend, &other, &g_flow, &mut g_first, &mut g_second, None);
        let mut grads = SpyNet::zeros(&backend, &own).unwrap();
        let supervised = pass.backward_supervised(&backend, &other, 0, |_, _, _| Ok(()), &mut grads);
        for result in [forward, backward, supervised] {
            let refused = result.unwrap_err().to_string();
            assert!(
                refused.contains("of a flow pass") && refused.contains(words),
                "{refused}"
            );
        }
    }
    for (grads, words) in [
        (weights(&[8, 4, 2], 3, &[2, 1]), "a network of 2 levels"),
        (weights(&[8, 5, 2], 3, &[2, 1, 1]), "level 0 of the gradients"),
    ] {
        let mut grads = SpyNet::zeros(&backend, &grads).unwrap();
        let backward = pass.backward(&backend, &net, &g_flow, &mut g_first, &mut g_second, Some(&mut grads));
        let supervised = pass.backward_supervised(&backend, &net, 0, |_, _, _| Ok(()), &mut grads);
        for result in [backward, supervised] {
            let refused = result.unwrap_err().to_string();
            assert!(refused.contains("gradients") && refused.contains(words), "{refused}");
        }
    }
    // Two levels of three rounds in all, as those of three levels.
    let two = SpyNet::new(&backend, &weights(&[8, 4, 2], 3, &[1, 2])).unwrap();
    let three = SpyNet::new(&backend, &weights(&[8, 4, 2], 3, &[1, 1, 1])).unwrap();
    for (own, other) in [(&two, &three), (&three, &two)] {
        let mut pass = FlowPass::new(&backend, own, grid, false).unwrap();
        assert!(pass.forward(&backend, other, &frame, &frame).is_err());
        pass.forward(&backend, own, &frame, &frame).unwrap();
    }
}

/// Weight gradients are added to what is there; those of frames replace it.
#[test]
fn backward_accumulates_weights_alone() {
    let backend = Oracle::new();
    let grid = Grid::new(2, 20, 33);
    let weights = narrow();
    let net = SpyNet::new(&backend, &weights).unwrap();
    let mut pass = FlowPass::new(&backend, &net, grid, true).unwrap();
    let (first, second) = (noise(3 * grid.cells(), 3), noise(3 * grid.cells(), 4));
    let g_flow = noise(2 * grid.cells(), 5);
    pass.forward(&backend, &net, &first, &second).unwrap();
    let mut grads = SpyNet::zeros(&backend, &weights).unwrap();
    let mut once = (vec![f64::NAN; first.len()], vec![f64::NAN; first.len()]);
    pass.backward(&backend, &net, &g_flow, &mut once.0, &mut once.1, Some(&mut grads))
        .unwrap();
    let single = parameters(&backend, &grads);
    let mut twice = (vec![f64::NAN; first.len()], vec![f64::NAN; first.len()]);
    pass.backward(&backend, &net, &g_flow, &mut twice.0, &mut twice.1, Some(&mut grads))
        .unwrap();
    assert_eq!(once, twice);
    assert!(once.0.iter().chain(&once.1).all(|v| v.is_finite()));
    for (double, single) in parameters(&backend, &grads).iter().zip(&single) {
        // Sums of at most 2·64·64 terms, in two orders.
        assert!((double - 2.0 * single).abs() <= 8192.0 * f64::EPSILON * single.abs().max(1.0));
    }
}

#[test]
fn a_pass_without_gradients_has_no_backward() {
    let backend = Oracle::new();
    let grid = Grid::square(8);
    let net = SpyNet::new(&backend, &narrow()).unwrap();
    let mut pass = FlowPass::new(&backend, &net, grid, false).unwrap();
    let mut frame = vec![0.0; 3 * 64];
    let (first, g_flow) = (frame.clone(), vec![0.0; 2 * 64]);
    pass.forward(&backend, &net, &first, &first).unwrap();
    let mut other = frame.clone();
    assert!(
        pass.backward(&backend, &net, &g_flow, &mut frame, &mut other, None)
            .is_err()
    );
}

fn frames(grid: Grid, index: u64) -> Vec<f32> {
    noise(3 * grid.cells(), index).into_iter().map(|v| v as f32).collect()
}

/// A batch is its pairs one by one, at any size; buffers kept from another size change nothing.
fn batches_are_pairs<B: Backend<Elem = f32>>(backend: &B) {
    let estimator = SpyNetFlow::new(backend, &narrow()).unwrap();
    assert_eq!(estimator.name(), "spynet");
    for (height, width) in [(8, 8), (33, 9), (64, 40)] {
        let grid = Grid::new(3, height, width);
        let (first, second) = (frames(grid, 6), frames(grid, 7));
        let together = estimator.flow(grid, &first, &second).unwrap();
        assert_eq!(together.len(), 2 * grid.cells());
        let len = 3 * grid.plane();
        for (b, flow) in together.chunks(2 * grid.plane()).enumerate() {
            let own = b * len..(b + 1) * len;
            let alone = estimator
                .flow(Grid::new(1, height, width), &first[own.clone()], &second[own])
                .unwrap();
            for (a, b) in flow.iter().zip(&alone) {
                // A convolution may sum in another order for another shape: 72 products of numbers of
                // size one, through nine layers.
                assert!(
                    a.is_finite() && (a - b).abs() < 9.0 * 72.0 * f32::EPSILON * 10.0,
                    "{a} {b}"
                );
            }
        }
    }
}

#[test]
fn batches_are_pairs_on_the_reference() {
    batches_are_pairs(&Reference::<f32>::new());
}

#[test]
fn batches_are_pairs_on_the_cpu() {
    batches_are_pairs(&Cpu::new().unwrap());
}

#[test]
fn frames_of_another_size_are_refused() {
    let backend = Reference::<f32>::new();
    let estimator = SpyNetFlow::new(&backend, &narrow()).unwrap();
    let grid = Grid::square(16);
    let (good, short) = (frames(grid, 8), vec![0.0; 5]);
    assert!(estimator.flow(grid, &good, &short).is_err());
    assert!(estimator.flow(grid, &short, &good).is_err());
    assert!(estimator.flow(Grid::new(1, 0, 16), &[], &[]).is_err());
    assert!(estimator.flow(grid, &good, &good).is_ok());
}
