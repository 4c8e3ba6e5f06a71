//! The fast CPU backend against the oracle, over instruction sets and numbers of threads.

use nca_core::backend::{Backend, Conv2d, ConvShape, Device, MaskKey, NcaStep, SortRows, upload_params, zero_params};
use nca_core::cpu::{Bf16Unit, ConvAlgorithm, Cpu, Simd};
use nca_core::philox::{PhiloxRng, Stream};
use nca_core::reference::Reference;
use nca_core::{Grid, HostParams, NcaConfig, Padding, Precision, Preset, Result};

/// Machine epsilon of f32.
const EPSILON: f64 = f32::EPSILON as f64;

/// Normal numbers, a pure function of `index`.
fn normals(len: usize, index: u64, sigma: f64) -> Vec<f32> {
    let mut rng = PhiloxRng::new(1, Stream::Test, index);
    (0..len).map(|_| (sigma * rng.normal()) as f32).collect()
}

/// A model with every tensor drawn, so that no gradient vanishes.
fn params(config: &NcaConfig) -> HostParams {
    let mut params = HostParams::zeros(config);
    let fan_in = [config.perceived(), config.perceived(), config.hidden, config.hidden];
    for ((values, fan_in), index) in params.iter_mut().zip(fan_in).zip(100..) {
        *values = normals(values.len(), index, 1.0 / (fan_in as f64).sqrt());
    }
    params
}

/// Outputs of one step and its backward: x', g_x, then the gradients of the parameters.
fn step<B: Backend>(backend: &B, config: &NcaConfig, grid: Grid) -> Result<Vec<Vec<f64>>> {
    let len = config.channels * grid.cells();
    let upload = |values: Vec<f32>| {
        let values: Vec<B::Elem> = values.iter().map(|&v| nca_core::Real::of(f64::from(v))).collect();
        backend.buffer(&values)
    };
    let params = upload_params(backend, &params(config))?;
    let x = upload(normals(len, 0, 1.0))?;
    let g_next = upload(normals(len, 1, 1.0))?;
    let key = MaskKey {
        seed: 0x1234_5678_9abc,
        step: 7,
    };
    let mut x_next = backend.zeros(len)?;
    let mut g_x = backend.zeros(len)?;
    let mut grads = zero_params(backend, config)?;
    let mut scratch = backend.scratch(&backend.nca_step_scratch(config, grid))?;
    backend.nca_step(config, grid, &params, key, &x, &mut x_next, &mut scratch)?;
    let mut scratch = backend.scratch(&backend.nca_step_backward_scratch(config, grid))?;
    backend.nca_step_backward(
        config,
        grid,
        &params,
        key,
        &x,
        &g_next,
        &mut g_x,
        &mut grads,
        &mut scratch,
    )?;
    [&x_next, &g_x]
        .into_iter()
        .chain(grads.iter())
        .map(|buffer| {
            Ok(backend
                .to_vec(buffer)?
                .into_iter()
                .map(nca_core::Real::to_f64)
                .collect())
        })
        .collect()
}

/// Every backend this machine can run.
fn backends() -> Vec<Cpu> {
    let available = Simd::ALL.into_iter().filter(|simd| simd.available());
    available
        .map(|simd| Cpu::builder().threads(2).simd(simd).build().unwrap())
        .collect()
}

/// Shapes and settings that reach every path: widths below, at and around the lane counts, hidden
/// sizes around the register tile, all paddings, fire rates, clamp and bias.
fn cases() -> Vec<(NcaConfig, Grid)> {
    let mut cases = Vec::new();
    let shapes = [
        (8, 16, Grid::new(2, 16, 16)),
        (3, 1, Grid::new(1, 1, 1)),
        (5, 7, Grid::new(3, 3, 5)),
        (12, 96, Grid::new(2, 9, 33)),
        (4, 130, Grid::new(1, 40, 8)),
        (33, 19, Grid::new(1, 7, 130)),
        (70, 20, Grid::new(1, 12, 40)),
        (6, 10, Grid::new(1, 3, 700)),
        // More tiles than groups of tiles.
        (4, 8, Grid::new(5, 64, 64)),
    ];
    for (i, &(channels, hidden, grid)) in shapes.iter().enumerate() {
        for (j, preset) in Preset::ALL.into_iter().enumerate() {
            let mut config = NcaConfig::preset(preset, channels, hidden).unwrap();
            config.padding = [Padding::Circular, Padding::Zero, Padding::Replicate][(i + j) % 3];
            config.fire_rate = [0.5, 1.0, 0.1, 0.0][(i + 2 * j) % 4];
            config.clamp = [None, Some(1.5)][(i + j) % 2];
            cases.push((config, grid));
        }
    }
    let mut config = NcaConfig::preset(Preset::Paper, 5, 9).unwrap();
    config.perception.kernels.truncate(3);
    config
        .perception
        .kernels
        .push([[0.5, -1.0, 0.25], [2.0, 0.0, -0.75], [1.5, 0.1, -0.3]]);
    config
        .perception
        .kernels
        .push([[0.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 0.0]]);
    cases.push((config, Grid::new(2, 11, 21)));
    cases
}

#[test]
fn steps_agree_with_the_oracle() {
    let oracle = Reference::<f64>::new();
    for (config, grid) in cases() {
        let expected = step(&oracle, &config, grid).unwrap();
        for cpu in backends() {
            let found = step(&cpu, &config, grid).unwrap();
            for (output, (found, expected)) in found.iter().zip(&expected).enumerate() {
                // Rounding errors of a chain of sums: at most the reduction length times epsilon,
                // relative to the largest term; the sums over cells are the longest.
                let cells = if output < 2 { 1 } else { grid.cells() };
                let reduction = config.perceived() + config.hidden + cells;
                let scale = expected.iter().fold(1.0f64, |m, v| m.max(v.abs()));
                let tolerance = reduction as f64 * EPSILON * scale;
                let worst = found
                    .iter()
                    .zip(expected)
                    .map(|(f, e)| (f - e).abs())
                    .fold(0.0, f64::max);
                assert!(
                    worst <= tolerance,
                    "{} output {output}: {worst:e} > {tolerance:e} for {config:?} on {grid:?}",
                    cpu.describe()
                );
            }
        }
    }
}

#[test]
fn number_of_threads_does_not_matter() {
    for simd in Simd::ALL.into_iter().filter(|simd| simd.available()) {
        for (config, grid) in cases() {
            let run = |threads| {
                let cpu = Cpu::builder().threads(threads).simd(simd).build().unwrap();
                step(&cpu, &config, grid).unwrap()
            };
            let one = run(1);
            assert!(one == run(2) && one == run(3), "{simd}: {config:?} on {grid:?}");
        }
    }
}

/// Every unit comes to what the definition says but for the roundings of f32, with vectors of any width, and to the same
/// bits on any number of threads.
#[test]
fn bf16_agrees_with_its_definition() {
    let reference = Reference::<f64>::new().with_precision(Precision::Bf16);
    for (config, grid) in cases() {
        let expected = step(&reference, &config, grid).unwrap();
        let units = Bf16Unit::ALL.into_iter().filter(|unit| unit.available());
        for (unit, simd) in units.flat_map(|unit| Simd::ALL.map(|simd| (unit, simd))) {
            if !simd.available() {
                continue;
            }
            let run = |threads| {
                let cpu = Cpu::builder().threads(threads).simd(simd);
                let cpu = cpu.precision(Precision::Bf16).bf16(unit).build().unwrap();
                step(&cpu, &config, grid).unwrap()
            };
            let found = run(1);
            assert!(found == run(2) && found == run(3), "{unit}: {config:?} on {grid:?}");
            for (output, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let difference = |f: fn(f64) -> f64| -> f64 { found.iter().zip(expected).map(|(a, b)| f(a - b)).sum() };
                let (of, scale) = (
                    difference(|v| v * v).sqrt(),
                    expected.iter().map(|v| v * v).sum::<f64>().sqrt(),
                );
                // Few sums of f32 round to another neighbour in bf16 than those of f64; factors that are not
                // rounded at all would make a difference of a third of the roundoff.
                let allowed = 0.05 * Precision::Bf16.roundoff() * scale;
                assert!(
                    of <= allowed,
                    "{unit}, output {output}: {of:e} of {scale:e} for {config:?} on {grid:?}"
                );
            }
        }
    }
}

/// What a call leaves in scratch memory does not count in the next one.
#[test]
fn scratch_memory_is_forgotten() {
    let units = Bf16Unit::ALL.into_iter().filter(|unit| unit.available());
    let units: Vec<_> = units.map(Some).chain([None]).collect();
    let simds = Simd::ALL.into_iter().filter(|simd| simd.available());
    for (simd, &unit) in simds.flat_map(|simd| units.iter().map(move |unit| (simd, unit))) {
        let new = || {
            let cpu = Cpu::builder().threads(2).simd(simd).conv(ConvAlgorithm::Direct);
            match unit {
                Some(unit) => cpu.precision(Precision::Bf16).bf16(unit).build().unwrap(),
                None => cpu.build().unwrap(),
            }
        };
        let used = new();
        for (config, grid) in cases() {
            let len = config.channels * grid.cells();
            let params = upload_params(&used, &params(&config)).unwrap();
            let nan = used.buffer(&vec![f32::NAN; len]).unwrap();
            let (mut out, mut grads) = (used.zeros(len).unwrap(), zero_params(&used, &config).unwrap());
            let key = MaskKey { seed: 1, step: 2 };
            used.nca_step(&config, grid, &params, key, &nan, &mut out, &mut [])
                .unwrap();
            used.nca_step_backward(&config, grid, &params, key, &nan, &nan, &mut out, &mut grads, &mut [])
                .unwrap();
            let (found, expected) = (
                step(&used, &config, grid).unwrap(),
                step(&new(), &config, grid).unwrap(),
            );
            assert!(found == expected, "{simd}, {unit:?}: {config:?} on {grid:?}");
        }
        assert!(convolution(&used) == convolution(&new()), "{simd}, {unit:?}");
    }
}

/// A convolution with each of its gradients.
fn convolution(cpu: &Cpu) -> Vec<Vec<f32>> {
    let shape = ConvShape {
        batch: 3,
        inputs: 5,
        outputs: 13,
        height: 41,
        width: 38,
        kernel: 7,
        padding: 2,
    };
    let x = cpu.buffer(&normals(shape.input_len(), 0, 1.0)).unwrap();
    let weight = cpu.buffer(&normals(shape.weight_len(), 1, 1.0)).unwrap();
    let g_y = cpu.buffer(&normals(shape.output_len(), 2, 1.0)).unwrap();
    let mut y = cpu.zeros(shape.output_len()).unwrap();
    let mut g_x = cpu.zeros(shape.input_len()).unwrap();
    let mut g_weight = cpu.zeros(shape.weight_len()).unwrap();
    let mut g_bias = cpu.zeros(shape.outputs).unwrap();
    cpu.conv2d(&shape, &x, &weight, None, &mut y).unwrap();
    cpu.conv2d_backward_input(&shape, &weight, &g_y, &mut g_x).unwrap();
    cpu.conv2d_backward_weight(&shape, &x, &g_y, &mut g_weight, Some(&mut g_bias))
        .unwrap();
    [y, g_x, g_weight, g_bias].map(|buffer| buffer.to_vec()).to_vec()
}

#[test]
fn number_of_threads_does_not_matter_to_convolutions() {
    for simd in Simd::ALL.into_iter().filter(|simd| simd.available()) {
        let run = |threads| convolution(&Cpu::builder().threads(threads).simd(simd).build().unwrap());
        let one = run(1);
        assert!(one == run(2) && one == run(3), "{simd}");
    }
    for unit in Bf16Unit::ALL.into_iter().filter(|unit| unit.available()) {
        let run = |threads| {
            let cpu = Cpu::builder().threads(threads).precision(Precision::Bf16).bf16(unit);
            convolution(&cpu.conv(ConvAlgorithm::Direct).build().unwrap())
        };
        let one = run(1);
        assert!(one == run(2) && one == run(3), "{unit}");
    }
}

#[test]
fn settings_are_checked() {
    for simd in Simd::ALL {
        assert_eq!(simd.name().parse::<Simd>().unwrap(), simd);
        let cpu = Cpu::builder().threads(1).simd(simd).build();
        match cpu {
            Ok(cpu) => {
                assert!(simd.available());
                assert_eq!(cpu.describe(), format!("cpu (1 thread, {simd})"));
            }
            Err(error) => {
                assert!(!simd.available());
                assert!(error.to_string().contains("NCA_SIMD"), "{error}");
            }
        }
    }
    for conv in ConvAlgorithm::ALL {
        assert_eq!(conv.name().parse::<ConvAlgorithm>().unwrap(), conv);
        assert_eq!(Cpu::builder().threads(1).conv(conv).build().unwrap().conv(), conv);
    }
    for unit in Bf16Unit::ALL {
        assert_eq!(unit.name().parse::<Bf16Unit>().unwrap(), unit);
        let cpu = Cpu::builder().threads(1).simd(Simd::Portable).bf16(unit);
        assert_eq!(cpu.build().unwrap().bf16(), None, "f32 unless asked for");
        match cpu.precision(Precision::Bf16).build() {
            Ok(cpu) => {
                assert!(unit.available());
                assert_eq!((cpu.bf16(), cpu.precision()), (Some(unit), Precision::Bf16));
                assert_eq!(cpu.describe(), format!("cpu (1 thread, portable, bf16 by {unit})"));
            }
            Err(error) => {
                assert!(!unit.available());
                assert!(error.to_string().contains("NCA_BF16"), "{error}");
            }
        }
    }
    match Cpu::builder().precision(Precision::Bf16).build() {
        Ok(cpu) => assert_eq!(cpu.bf16(), Bf16Unit::detect()),
        Err(error) => {
            assert_eq!(Bf16Unit::detect(), None);
            assert!(error.to_string().contains("NCA_BF16=portable"), "{error}");
        }
    }
    let unknown = "amx2".parse::<Bf16Unit>().unwrap_err().to_string();
    assert!(
        unknown.contains("NCA_BF16") && unknown.contains("portable"),
        "{unknown}"
    );
    let other = Cpu::builder()
        .precision(Precision::Tf32)
        .build()
        .unwrap_err()
        .to_string();
    assert_eq!(other, "precision is tf32, expected f32 or bf16 on the CPU");
    let unknown = "toom".parse::<ConvAlgorithm>().unwrap_err().to_string();
    assert!(
        unknown.contains("NCA_CONV") && unknown.contains("winograd"),
        "{unknown}"
    );
    let unknown = "sse9".parse::<Simd>().unwrap_err().to_string();
    assert!(unknown.contains("sse9") && unknown.contains("portable"), "{unknown}");
    assert!(Cpu::with_threads(0).is_err());
}

/// Indices that lead out of their row are an error, where they once were a panic.
#[test]
fn indices_beyond_a_row_are_refused() {
    let cpu = Cpu::with_threads(1).unwrap();
    let (sorted, mut x) = (cpu.zeros(6).unwrap(), cpu.zeros(6).unwrap());
    let order = cpu.indices(&[0, 1, 2, 0, 3, 1]).unwrap();
    let error = cpu.sort_rows_backward(2, 3, &order, &sorted, &mut x).unwrap_err();
    assert_eq!(
        error.to_string(),
        "sort_rows_backward: order is 3, expected an index below 3"
    );
}
