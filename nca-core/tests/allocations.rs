//! The hot loops allocate nothing large after their first call.
//!
//! In a binary of its own: the allocator that counts is the whole program's.

// Counting means being the allocator.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use nca_core::backend::{
    Conv2d, ConvShape, Device, L1, L2, MaskKey, NcaStep, RolloutSteps, SortRows, upload_params, zero_params,
};
use nca_core::cpu::{Bf16Unit, ConvAlgorithm, Cpu};
use nca_core::{Grid, HostParams, NcaConfig, Precision, Preset};

/// Allocations above this are large, in bytes.
const LARGE: usize = 4096;

static LARGE_ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counting large requests.
struct Counting;

// SAFETY: every call is handed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGE_ALLOCATIONS.fetch_add(usize::from(layout.size() > LARGE), Ordering::Relaxed);
        // SAFETY: the caller's condition.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's condition.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGE_ALLOCATIONS.fetch_add(usize::from(size > LARGE), Ordering::Relaxed);
        // SAFETY: the caller's condition.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Large allocations during `job`.
fn large_allocations(job: impl FnOnce()) -> usize {
    let before = LARGE_ALLOCATIONS.load(Ordering::Relaxed);
    job();
    LARGE_ALLOCATIONS.load(Ordering::Relaxed) - before
}

/// One test: a second one beside it would be counted too.
#[test]
fn hot_loops_allocate_only_once() {
    let cpu = Cpu::with_threads(2).unwrap();
    steps_and_rollouts(&cpu);
    for unit in Bf16Unit::ALL.into_iter().filter(|unit| unit.available()) {
        let cpu = Cpu::builder().threads(2).precision(Precision::Bf16).bf16(unit);
        steps_and_rollouts(&cpu.build().unwrap());
        convolutions(&cpu.conv(ConvAlgorithm::Direct).build().unwrap());
    }
    distances(&cpu);
    for conv in ConvAlgorithm::ALL {
        convolutions(&Cpu::builder().threads(2).conv(conv).build().unwrap());
    }
}

/// Sorts, by all algorithms, and distances of what is sorted.
fn distances(cpu: &Cpu) {
    for (rows, len) in [(4, 5000), (3, 70_000), (40, 300)] {
        // A row in three that the sort by cells gives up.
        let outlier = |i: usize| if i % (3 * len) == 7 { 1e9 } else { 1.0 };
        let x: Vec<f32> = (0..rows * len).map(|i| (i as f32).sin() * outlier(i)).collect();
        let (x, target) = (cpu.buffer(&x).unwrap(), cpu.zeros(len).unwrap());
        let (mut sorted, mut g) = (cpu.zeros(x.len()).unwrap(), cpu.zeros(x.len()).unwrap());
        let mut order = cpu.zero_indices(x.len()).unwrap();
        let mut out = cpu.zeros(1).unwrap();
        let mut all = || {
            cpu.sort_rows(rows, len, &x, &mut sorted, &mut order).unwrap();
            cpu.l1(1.0, &sorted, &target, &mut out, 0).unwrap();
            cpu.l2(1.0, &sorted, &target, &mut out, 0).unwrap();
            cpu.l1_backward(1.0, &sorted, &target, &mut g).unwrap();
            cpu.sort_rows_backward(rows, len, &order, &g, &mut sorted).unwrap();
        };
        all();
        assert_eq!(
            large_allocations(|| (0..5).for_each(|_| all())),
            0,
            "{rows} rows of {len}"
        );
    }
}

fn convolutions(cpu: &Cpu) {
    let shape = ConvShape {
        batch: 2,
        inputs: 16,
        outputs: 24,
        height: 60,
        width: 50,
        kernel: 7,
        padding: 3,
    };
    let (x, g_y) = (
        cpu.zeros(shape.input_len()).unwrap(),
        cpu.zeros(shape.output_len()).unwrap(),
    );
    let (weight, bias) = (
        cpu.zeros(shape.weight_len()).unwrap(),
        cpu.zeros(shape.outputs).unwrap(),
    );
    let (mut y, mut g_x) = (
        cpu.zeros(shape.output_len()).unwrap(),
        cpu.zeros(shape.input_len()).unwrap(),
    );
    let (mut g_weight, mut g_bias) = (
        cpu.zeros(shape.weight_len()).unwrap(),
        cpu.zeros(shape.outputs).unwrap(),
    );
    let mut all = || {
        cpu.conv2d(&shape, &x, &weight, Some(&bias), &mut y).unwrap();
        cpu.conv2d_backward_input(&shape, &weight, &g_y, &mut g_x).unwrap();
        cpu.conv2d_backward_weight(&shape, &x, &g_y, &mut g_weight, Some(&mut g_bias))
            .unwrap();
    };
    assert!(large_allocations(&mut all) > 0, "the counter does not count");
    assert_eq!(large_allocations(|| (0..5).for_each(|_| all())), 0, "{}", cpu.conv());
}

fn steps_and_rollouts(cpu: &Cpu) {
    let config = NcaConfig::preset(Preset::Distill, 24, 40).unwrap();
    let grid = Grid::new(2, 48, 48);
    let len = config.channels * grid.cells();
    let params = upload_params(cpu, &HostParams::init(&config, 1)).unwrap();
    let mut grads = zero_params(cpu, &config).unwrap();
    let activations_len = cpu.activations_len(&config, grid);
    assert_eq!(activations_len > 0, cpu.precision() == Precision::F32);
    let mut activations = [cpu.zeros(activations_len).unwrap(), cpu.zeros(activations_len).unwrap()];
    let mut last = cpu.zeros(len).unwrap();
    let mut states: Vec<_> = (0..4).map(|_| cpu.zeros(len).unwrap()).collect();
    let (mut x, mut spare) = (cpu.zeros(len).unwrap(), cpu.zeros(len).unwrap());
    let (mut g, mut g_spare) = (cpu.zeros(len).unwrap(), cpu.zeros(len).unwrap());
    let mut all = |step: u32| {
        let key = MaskKey { seed: 3, step };
        cpu.nca_step(&config, grid, &params, key, &x, &mut spare, &mut [])
            .unwrap();
        cpu.nca_step_backward(&config, grid, &params, key, &x, &g, &mut g_spare, &mut grads, &mut [])
            .unwrap();
        cpu.rollout(&config, grid, &params, key, 3, &mut x, &mut spare, &mut [])
            .unwrap();
        cpu.rollout_states(
            &config,
            grid,
            &params,
            key,
            &mut states,
            &mut last,
            &mut activations,
            &mut [],
        )
        .unwrap();
        cpu.rollout_backward(
            &config,
            grid,
            &params,
            key,
            &states,
            &activations,
            &mut g,
            &mut g_spare,
            &mut grads,
            &mut [],
        )
        .unwrap();
    };
    assert!(large_allocations(|| all(0)) > 0, "the counter does not count");
    assert_eq!(
        large_allocations(|| (1..20).for_each(&mut all)),
        0,
        "{}",
        cpu.describe()
    );
}
