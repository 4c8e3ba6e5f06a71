//! Iterations of training for motion, and the appearance loss, allocate nothing large after the first one.
//!
//! In a binary of its own: the allocator that counts is the whole program's.

// Counting means being the allocator.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use nca_core::backend::Device;
use nca_core::cpu::Cpu;
use nca_core::{Nca, Preset};
use nca_train::exemplar::Exemplar;
use nca_train::loss::{AppearanceLoss, PatchLoss, PatchSettings};
use nca_train::{MotionTerm, Objective, Pairing, TrainSettings, Trainer};
use spynet::SpyNetWeights;

const SIZE: usize = 64;
/// Allocations above this are large in training, in bytes: that of one colour of one picture.
const PLANE: usize = SIZE * SIZE * size_of::<f32>() - 1;

/// Allocations above this are counted.
static LARGE: AtomicUsize = AtomicUsize::new(0);
static LARGE_ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counting large requests.
struct Counting;

// SAFETY: every call is handed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's condition.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's condition.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller's condition.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(size: usize) {
    let large = size > LARGE.load(Ordering::Relaxed);
    LARGE_ALLOCATIONS.fetch_add(usize::from(large), Ordering::Relaxed);
}

/// Allocations of more than `large` bytes during `job`.
fn large_allocations(large: usize, job: impl FnOnce()) -> usize {
    LARGE.store(large, Ordering::Relaxed);
    let before = LARGE_ALLOCATIONS.load(Ordering::Relaxed);
    job();
    LARGE_ALLOCATIONS.load(Ordering::Relaxed) - before
}

/// One test: a second one beside it would be counted too.
#[test]
fn iterations_allocate_only_once() {
    let backend = Cpu::with_threads(2).unwrap();
    appearance(&backend);
    let network = SpyNetWeights::init(2, &[8, 6, 2], 5, 1).unwrap();
    for pairs in Pairing::ALL {
        let term = MotionTerm {
            frames: 3,
            steps_per_frame: 4,
            pairs,
            ..MotionTerm::default()
        };
        let settings = TrainSettings {
            objective: Objective::Motion(term),
            size: SIZE,
            batch: 2,
            pool: 4,
            reseed_every: 2,
            steps_min: 5,
            steps_max: 6,
            ..TrainSettings::preset(Preset::Notebook)
        };
        let nca = Nca::preset(Preset::Distill, 6, 8, 0).unwrap();
        let mut trainer = Trainer::with_objective(&backend, &nca, settings, None, Some(&network), 0).unwrap();
        assert!(
            large_allocations(PLANE, || assert!(trainer.step().unwrap().loss.is_finite())) > 0,
            "the counter does not count"
        );
        let more = large_allocations(PLANE, || {
            (1..7).for_each(|_| assert!(trainer.step().unwrap().loss.is_finite()));
        });
        assert_eq!(more, 0);
    }
}

/// The appearance loss with its gradient, new filters every time.
fn appearance(backend: &Cpu) {
    const PICTURES: usize = 3;
    let exemplar = Exemplar::Bubbly.render(SIZE, 0).unwrap();
    let mut loss = PatchLoss::new(backend, PatchSettings::default(), &exemplar, PICTURES).unwrap();
    let rgb: Vec<f32> = (0..PICTURES * 3 * SIZE * SIZE).map(|i| (i as f32).sin()).collect();
    let rgb = backend.buffer(&rgb).unwrap();
    let (mut g_rgb, mut out) = (backend.zeros(rgb.len()).unwrap(), backend.zeros(1).unwrap());
    let mut evaluate = |draw| {
        loss.evaluate(backend, draw, &rgb, Some(&mut g_rgb), &mut out, 0)
            .unwrap();
    };
    evaluate(1);
    assert_eq!(large_allocations(4096, || (2..6).for_each(&mut evaluate)), 0);
}
