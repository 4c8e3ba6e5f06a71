//! What the texture distance says of pictures whose likeness is known.

use nca_core::cpu::Cpu;
use nca_core::philox::{PhiloxRng, Stream};
use nca_core::testkit::real_data;
use nca_core::{Grid, Nca, Preset, Simulation};
use nca_train::Texture;
use nca_train::distance::{DistanceFrames, TextureDistance, texture_distance};
use nca_train::exemplar::Exemplar;

const SIZE: usize = 48;
const PLANE: usize = SIZE * SIZE;

/// The picture with each element `(channel, y, x)` replaced.
fn picture(value: impl Fn(usize, usize, usize) -> f32) -> Vec<f32> {
    let at = |i: usize| value(i / PLANE, i / SIZE % SIZE, i % SIZE);
    (0..3 * PLANE).map(at).collect()
}

fn rolled(texture: &Texture, down: usize, right: usize) -> Vec<f32> {
    picture(|c, y, x| texture.rgb[(c * SIZE + (y + down) % SIZE) * SIZE + (x + right) % SIZE])
}

fn distance_of<'a>(backend: &'a Cpu, exemplar: &Texture) -> impl FnMut(&[f32]) -> f64 + 'a {
    let mut distance = TextureDistance::new(backend, exemplar).unwrap();
    move |frame| distance.of(backend, frame).unwrap()
}

#[test]
fn one_is_as_alike_as_two_crops() {
    let backend = Cpu::new().unwrap();
    for exemplar in Exemplar::ALL {
        let texture = exemplar.render(SIZE, 0).unwrap();
        let mut distance = distance_of(&backend, &texture);
        assert_eq!(distance(&texture.rgb), 1.0, "{exemplar}");
        // Not by half its size: that makes quadrants change places.
        for (down, right) in [(16, 9), (1, 30), (35, 20)] {
            let moved = distance(&rolled(&texture, down, right));
            assert!((0.6..1.4).contains(&moved), "{exemplar} moved: {moved}");
        }
        for seed in 1..4 {
            // Another sample of the process: its colours are drawn anew, and a weave has few strands.
            let other = distance(&exemplar.render(SIZE, seed).unwrap().rgb);
            assert!((0.6..2.2).contains(&other), "{exemplar}, seed {seed}: {other}");
        }
    }
}

#[test]
fn evenly_spaced_frames_count() {
    let backend = Cpu::new().unwrap();
    let texture = Exemplar::ALL[0].render(SIZE, 0).unwrap();
    let frames: Vec<_> = (0..=10).map(|i| rolled(&texture, 3 * i, i)).collect();
    let mut distance = distance_of(&backend, &texture);
    for (pairs, seen) in [(10, &[0, 2, 4, 6][..]), (3, &[0, 1, 2, 3]), (1, &[0, 1])] {
        let mut look = DistanceFrames::new(pairs);
        for (index, frame) in frames[..=pairs].iter().enumerate() {
            look.visit(index, frame);
        }
        let expected = seen.iter().map(|&i| distance(&frames[i])).sum::<f64>() / seen.len() as f64;
        assert_eq!(look.mean(&backend, &texture).unwrap(), expected, "{pairs} pairs");
    }
    assert!(DistanceFrames::new(3).mean(&backend, &texture).is_err());
}

#[test]
fn what_is_not_the_texture_lies_far_from_one() {
    let backend = Cpu::new().unwrap();
    let mut rng = PhiloxRng::new(0, Stream::Test, 0);
    let noise: Vec<f32> = (0..3 * PLANE).map(|_| rng.uniform() as f32).collect();
    let order = rng.choose(PLANE, PLANE);
    for (index, exemplar) in Exemplar::ALL.into_iter().enumerate() {
        let texture = exemplar.render(SIZE, 0).unwrap();
        let rgb = &texture.rgb;
        let mut distance = distance_of(&backend, &texture);
        let mut far = |what: &str, least: f64, frame: &[f32]| {
            let found = distance(frame);
            assert!(found > least, "{exemplar}: {what} at {found}");
        };
        let mean = |c: usize| rgb[c * PLANE..][..PLANE].iter().sum::<f32>() / PLANE as f32;
        let means = [mean(0), mean(1), mean(2)];
        far("noise", 10.0, &noise);
        far("the mean colour", 4.0, &picture(|c, _, _| means[c]));
        far("black", 4.0, &picture(|_, _, _| 0.0));
        far(
            "shuffled pixels",
            2.0,
            &picture(|c, y, x| rgb[c * PLANE + order[y * SIZE + x]]),
        );
        let blurred = picture(|c, y, x| {
            let near = (0..9).map(|i| rgb[(c * SIZE + (y + i / 3) % SIZE) * SIZE + (x + i % 3) % SIZE]);
            near.sum::<f32>() / 9.0
        });
        far("a blurred picture", 2.0, &blurred);
        far(
            "other colours",
            3.0,
            &picture(|c, y, x| rgb[((c + 1) % 3 * SIZE + y) * SIZE + x]),
        );
        let next = Exemplar::ALL[(index + 1) % 4].render(SIZE, 0).unwrap();
        far("another texture", 3.0, &next.rgb);
    }
}

#[test]
fn frames_are_clipped_and_averaged() {
    let backend = Cpu::new().unwrap();
    let texture = Exemplar::Chequered.render(SIZE, 0).unwrap();
    let mut distance = distance_of(&backend, &texture);
    let beyond = picture(|_, y, _| if y % 2 == 0 { 3.0 } else { -2.0 });
    let clipped = picture(|_, y, _| if y % 2 == 0 { 1.0 } else { 0.0 });
    assert_eq!(distance(&beyond), distance(&clipped));
    // Whatever was measured before.
    assert_eq!(distance(&texture.rgb), 1.0);
    let both = [texture.rgb.clone(), clipped.clone()].concat();
    let mean = texture_distance(&backend, &texture, &both).unwrap();
    assert_eq!(mean, (1.0 + distance(&clipped)) / 2.0);
}

#[test]
fn odd_small_and_flat_exemplars() {
    let backend = Cpu::new().unwrap();
    for (height, width) in [(8, 8), (9, 13), (31, 57)] {
        let mut rng = PhiloxRng::new(0, Stream::Test, 1);
        let rgb: Vec<f32> = (0..3 * height * width).map(|_| rng.uniform() as f32).collect();
        let texture = Texture::new("noise", height, width, rgb).unwrap();
        let mut distance = distance_of(&backend, &texture);
        assert_eq!(distance(&texture.rgb), 1.0);
        let grey = distance(&vec![0.5; texture.rgb.len()]);
        assert!(grey.is_finite() && grey > 0.0, "{grey}");
    }
    // Nothing differs between the crops of a flat picture but rounding: an eighth of a level is no
    // difference, ten are.
    let flat = Texture::new("flat", 16, 16, vec![0.5; 768]).unwrap();
    let mut distance = distance_of(&backend, &flat);
    assert_eq!(distance(&flat.rgb), 0.0);
    assert!(distance(&[0.5 + 0.125 / 255.0; 768]) < 1.0);
    assert!(distance(&[0.5 + 10.0 / 255.0; 768]) > 3.0);
}

#[test]
fn wrong_sizes_are_refused() {
    let backend = Cpu::new().unwrap();
    let texture = Exemplar::Bubbly.render(16, 0).unwrap();
    let mut distance = TextureDistance::new(&backend, &texture).unwrap();
    assert!(distance.of(&backend, &[0.0; 3 * 16 * 15]).is_err());
    for frames in [0, 100, 3 * 256 + 1] {
        assert!(
            texture_distance(&backend, &texture, &vec![0.0; frames]).is_err(),
            "{frames}"
        );
    }
    let line = Texture::new("line", 1, 40, vec![0.0; 120]).unwrap();
    assert!(TextureDistance::new(&backend, &line).is_err());
}

/// An automaton that others trained, with a loss of their own, on what this scale has not seen.
#[test]
fn a_trained_automaton_is_near_its_exemplar() {
    let model = real_data("models/distill_bubbly_0101.safetensors");
    let picture = real_data("textures/bubbly_0101.jpg");
    let (Some(model), Some(picture)) = (model, picture) else {
        return;
    };
    let backend = Cpu::new().unwrap();
    let nca = Nca::load(model, Some(Preset::Distill)).unwrap();
    let mut simulation = Simulation::new(&backend, &nca, Grid::square(64), 0).unwrap();
    simulation.run(600).unwrap();
    let texture = Texture::load(picture, 64).unwrap();
    let distance = texture_distance(&backend, &texture, &simulation.frame().unwrap()).unwrap();
    assert!(distance < 2.0, "{distance}");
}
