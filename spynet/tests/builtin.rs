//! What the weights that come with the crate are worth at least. `cargo xtask flow-eval` tells more.

use nca_core::cpu::Cpu;
use spynet::evaluate::{Accuracy, DISTANCES, Exhibit, Set, ZeroFlow, calibrate, floors};
use spynet::synth::{Kind, Synth, SynthSettings};
use spynet::{Classical, FlowEstimator as _, FlowField, SpyNetFlow};

/// Mean endpoint errors of zero flow, of the classical estimator and of the network on chairs of `width`×`height`.
fn errors(width: usize, height: usize, photographic: f64, pairs: u64) -> [f64; 3] {
    let cpu = Cpu::new().unwrap();
    let network = SpyNetFlow::builtin(&cpu).unwrap();
    let classical = Classical::default();
    let mut accuracy = Accuracy::new(vec![&ZeroFlow, &classical, &network]);
    let synth = Synth::new(SynthSettings {
        height,
        width,
        mix: vec![(Kind::Chairs, 1.0)],
        nuisance: 0.0,
        photographic,
        ..SynthSettings::default()
    })
    .unwrap();
    for index in 0..pairs {
        // Another seed than trainings and tables have.
        let pair = synth.pair(0x0b57_ac1e, index);
        let truth = FlowField::new(height, width, pair.flow).unwrap();
        accuracy
            .add(&[Set::Named("chairs".into())], &pair.first, &pair.second, &truth)
            .unwrap();
    }
    let rows = accuracy.rows();
    let of = |name: &str| rows.iter().find(|row| row.flow == name).unwrap().epe;
    [of("zero"), of(classical.name()), of(network.name())]
}

#[test]
fn chairs_are_seen_to_move() {
    for (width, height, photographic, pairs) in [(128, 128, 0.0, 12), (512, 384, 0.0, 4), (512, 384, 1.0, 4)] {
        let [zero, classical, network] = errors(width, height, photographic, pairs);
        let what = format!("{width}x{height}, photographic {photographic}: {zero} {classical} {network}");
        println!("{what}");
        assert!(network < 0.5 * zero && network < classical, "{what}");
    }
}

#[test]
fn textures_move_as_far_as_they_do() {
    let cpu = Cpu::new().unwrap();
    let network = SpyNetFlow::builtin(&cpu).unwrap();
    let rows = calibrate(&[&network], &[Exhibit::octaves(), Exhibit::blobs()], 128, || {}).unwrap();
    assert_eq!(rows.len(), DISTANCES.len());
    for row in rows {
        let (distance, psi) = (row.distance, row.psi);
        println!("{distance} px: {psi}, {} of the cases", row.within);
        assert!((psi - distance).abs() < 0.1 * distance + 0.05, "{distance} px: {psi}");
    }
}

#[test]
fn what_stands_still_is_seen_to() {
    let cpu = Cpu::new().unwrap();
    let network = SpyNetFlow::builtin(&cpu).unwrap();
    let exhibits = [Exhibit::octaves(), Exhibit::weave()];
    for row in floors(&[&network], &exhibits, 128, || {}).unwrap() {
        println!("{}: {}", row.disturbance, row.psi);
        if row.disturbance == "identical frames" || row.disturbance == "flicker of 0.01" {
            assert!(row.psi < 0.02, "{}: {}", row.disturbance, row.psi);
        }
    }
}
