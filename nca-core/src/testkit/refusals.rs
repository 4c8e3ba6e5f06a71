//! What every backend must refuse, and neither run nor panic at: sizes whose product wraps to the length of the small
//! buffers that come with them, and automata that are not valid.

use super::compare::Mismatch;
use crate::backend::{AdamStep, Backend, ConvShape, MaskKey, MatmulShape, ResizeShape, Upsample2Shape, zero_params};
use crate::config::{Grid, NcaConfig, Preset};
use crate::error::{Error, Result};

/// Four times this many elements are as many as four, to who counts in a `usize` without a look at what is lost.
const WRAPS: usize = (1 << (usize::BITS - 2)) + 1;

/// Every operation that is given sizes, on such calls.
pub fn parity<B: Backend<Elem = f32>>(backend: &B) -> std::result::Result<(), Mismatch> {
    automata(backend)?;
    rows(backend)?;
    pictures(backend)?;
    products(backend)?;
    nothing(backend)?;
    let step = AdamStep {
        learning_rate: 1e-3,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.0,
        step: 0,
    };
    let (g, mut p, mut m, mut v) = (
        backend.zeros(4)?,
        backend.zeros(4)?,
        backend.zeros(4)?,
        backend.zeros(4)?,
    );
    refused("adam", "step 0", &backend.adam(&step, &g, &mut p, &mut m, &mut v))
}

/// That there is no room for it, or another failure of the device, is no refusal.
fn refused(op: &'static str, what: &str, result: &Result<()>) -> std::result::Result<(), Mismatch> {
    let found = match result {
        Err(Error::Invalid { .. } | Error::Length { .. }) => return Ok(()),
        Err(other) => other.to_string(),
        Ok(()) => "done".to_owned(),
    };
    Err(Mismatch::Rule {
        op,
        rule: format!("{what} is not refused: {found}"),
    })
}

/// The steps, and the parts of a step.
fn automata<B: Backend<Elem = f32>>(backend: &B) -> std::result::Result<(), Mismatch> {
    let valid = NcaConfig::preset(Preset::Paper, 4, 8)?;
    let with = |change: fn(&mut NcaConfig)| {
        let mut config = valid.clone();
        change(&mut config);
        config
    };
    let cases = [
        (
            "a grid that memory cannot address",
            valid.clone(),
            Grid::new(1, WRAPS, 1),
        ),
        (
            "a batch that memory cannot address",
            valid.clone(),
            Grid::new(WRAPS, 1, 1),
        ),
        (
            "a fire rate of NaN",
            with(|config| config.fire_rate = f64::NAN),
            Grid::square(1),
        ),
        (
            "a clamp of NaN",
            with(|config| config.clamp = Some(f64::NAN)),
            Grid::square(1),
        ),
        (
            "a clamp below zero",
            with(|config| config.clamp = Some(-1.0)),
            Grid::square(1),
        ),
        (
            "an automaton of no kernels",
            with(|config| config.perception.kernels.clear()),
            Grid::square(1),
        ),
    ];
    for (what, config, grid) in &cases {
        let (config, grid, key) = (config, *grid, MaskKey { seed: 1, step: 0 });
        let zeros = |len| backend.zeros(len);
        let (x, z, h) = (zeros(4)?, zeros(config.perceived())?, zeros(8)?);
        let (mut to_x, mut to_x2, mut to_z, mut to_h) = (zeros(4)?, zeros(4)?, zeros(config.perceived())?, zeros(8)?);
        let (params, mut grads) = (zero_params(backend, config)?, zero_params(backend, config)?);
        let no = |op, result| refused(op, what, &result);
        no("perceive", backend.perceive(config, grid, &x, &mut to_z))?;
        no(
            "perceive_backward",
            backend.perceive_backward(config, grid, &z, &mut to_x),
        )?;
        no("mlp", backend.mlp(config, grid, &params, &z, &mut to_h, &mut to_x))?;
        no(
            "mlp_backward",
            backend.mlp_backward(config, grid, &params, &z, &h, &x, &mut to_h, &mut to_z, &mut grads),
        )?;
        no("update", backend.update(config, grid, key, &x, &x, &mut to_x))?;
        no(
            "update_backward",
            backend.update_backward(config, grid, key, &x, &x, &x, &mut to_x, &mut to_x2),
        )?;
        // Scratch of the length that is asked for, where that is one.
        let scratch = |lengths: Vec<usize>| {
            let lengths = lengths.into_iter().map(|len| if len > 1 << 20 { 1 } else { len });
            backend.scratch(&lengths.collect::<Vec<_>>())
        };
        let mut forward = scratch(backend.nca_step_scratch(config, grid))?;
        let mut backward = scratch(backend.nca_step_backward_scratch(config, grid))?;
        no(
            "nca_step",
            backend.nca_step(config, grid, &params, key, &x, &mut to_x, &mut forward),
        )?;
        no(
            "nca_step_backward",
            backend.nca_step_backward(config, grid, &params, key, &x, &x, &mut to_x, &mut grads, &mut backward),
        )?;
        no(
            "rollout",
            backend.rollout(config, grid, &params, key, 2, &mut to_x, &mut to_x2, &mut forward),
        )?;
        let mut states = [zeros(4)?, zeros(4)?];
        no(
            "rollout_states",
            backend.rollout_states(
                config,
                grid,
                &params,
                key,
                &mut states,
                &mut to_x,
                &mut [],
                &mut forward,
            ),
        )?;
        no(
            "rollout_backward",
            backend.rollout_backward(
                config,
                grid,
                &params,
                key,
                &states,
                &[],
                &mut to_x,
                &mut to_x2,
                &mut grads,
                &mut backward,
            ),
        )?;
        let mut rgb = zeros(3)?;
        no("rgb", backend.rgb(config, grid, &x, &mut rgb))?;
        no("rgb_backward", backend.rgb_backward(config, grid, &x, &rgb, &mut to_x))?;
    }
    Ok(())
}

/// Operations on the rows of matrices.
fn rows<B: Backend<Elem = f32>>(backend: &B) -> std::result::Result<(), Mismatch> {
    let no = |op, result| refused(op, "a matrix that memory cannot address", &result);
    let four = || backend.zeros(4);
    let indices = || backend.zero_indices(4);
    let (x, index) = (four()?, indices()?);
    let (mut y, mut y2, mut at, mut at2) = (four()?, four()?, indices()?, indices()?);
    no("sort_rows", backend.sort_rows(4, WRAPS, &x, &mut y, &mut at))?;
    no(
        "sort_rows_backward",
        backend.sort_rows_backward(4, WRAPS, &index, &x, &mut y),
    )?;
    // A backend that cannot see the indices must leave memory alone that is not the buffer's.
    let beyond = backend.indices(&[0, 1, 2, 4])?;
    let _ = backend.sort_rows_backward(1, 4, &beyond, &x, &mut y);
    no(
        "normalize_rows",
        backend.normalize_rows(4, WRAPS, 1e-8, &x, &mut y, &mut y2),
    )?;
    no(
        "normalize_rows_backward",
        backend.normalize_rows_backward(4, WRAPS, &x, &x, &x, &mut y),
    )?;
    no(
        "gather_columns",
        backend.gather_columns(1, WRAPS, 4, 4, &x, &index, &mut y),
    )?;
    no(
        "gather_columns_backward",
        backend.gather_columns_backward(1, WRAPS, 4, 4, &index, &x, &mut y),
    )?;
    let mut column_min = backend.zeros(4)?;
    no(
        "minima",
        backend.minima(4, 1, WRAPS, &x, &mut y, &mut at, &mut column_min, &mut at2),
    )?;
    no(
        "minima_backward",
        backend.minima_backward(4, 1, WRAPS, &index, &index, &x, &x, &mut y),
    )
}

/// Operations on planes of pictures.
fn pictures<B: Backend<Elem = f32>>(backend: &B) -> std::result::Result<(), Mismatch> {
    let no = |op, result| refused(op, "a picture that memory cannot address", &result);
    let four = || backend.zeros(4);
    let (x, flow) = (four()?, backend.zeros(8)?);
    let (mut y, mut g_flow) = (four()?, backend.zeros(8)?);
    no("warp", backend.warp(4, 1, WRAPS, 1, &x, &flow, &mut y))?;
    no(
        "warp_backward",
        backend.warp_backward(4, 1, WRAPS, 1, &x, &flow, &x, &mut y, &mut g_flow),
    )?;
    // Planes of one column have nothing in their halves.
    let mut empty = backend.zeros(0)?;
    no("avg_pool2", backend.avg_pool2(4, WRAPS, 1, &x, &mut empty))?;
    no(
        "avg_pool2_backward",
        backend.avg_pool2_backward(4, WRAPS, 1, &empty, &mut y),
    )?;
    let nothing = backend.zeros(0)?;
    no("max_pool2", backend.max_pool2(4, WRAPS, 1, &x, &mut empty))?;
    no(
        "max_pool2_backward",
        backend.max_pool2_backward(4, WRAPS, 1, &x, &nothing, &mut y),
    )?;
    let resize = ResizeShape {
        planes: 4,
        height: WRAPS,
        width: 1,
        out_height: WRAPS,
        out_width: 1,
    };
    no("resize", backend.resize(&resize, &x, &mut y))?;
    no("resize_backward", backend.resize_backward(&resize, &x, &mut y))?;
    // So many rows in each of four planes wrap to 16.
    let upsample = Upsample2Shape {
        planes: 4,
        height: WRAPS,
        width: 1,
        out_height: WRAPS.wrapping_mul(2),
        out_width: 2,
    };
    no(
        "upsample2",
        backend.upsample2(&upsample, 2.0, &x, &mut backend.zeros(16)?),
    )?;
    no(
        "upsample2_backward",
        backend.upsample2_backward(&upsample, 2.0, &backend.zeros(16)?, &mut y),
    )?;
    no(
        "channel_affine",
        backend.channel_affine(WRAPS, &[1.0; 4], &[0.0; 4], &x, &mut y),
    )?;
    no(
        "channel_affine_backward",
        backend.channel_affine_backward(WRAPS, &[1.0; 4], &x, &mut y),
    )?;
    let plane = (1 << (usize::BITS - 1)) + 2;
    let mut out = backend.zeros(1)?;
    no(
        "flow_magnitude",
        backend.flow_magnitude(plane, 1e-8, 1.0, &x, &mut out, 0),
    )?;
    no(
        "flow_magnitude_backward",
        backend.flow_magnitude_backward(plane, 1e-8, 1.0, &x, &mut y),
    )
}

/// Nothing at all, of sizes that could not be multiplied by each other.
fn nothing<B: Backend<Elem = f32>>(backend: &B) -> std::result::Result<(), Mismatch> {
    const HALF: usize = 1 << (usize::BITS / 2);
    let no = |op, result| refused(op, "an empty array of impossible sizes", &result);
    let empty = || backend.zeros(0);
    let (x, mut y, mut y2) = (empty()?, empty()?, empty()?);
    let (mut at, mut at2) = (backend.zero_indices(0)?, backend.zero_indices(0)?);
    no(
        "minima",
        backend.minima(0, HALF, HALF, &x, &mut y, &mut at, &mut y2, &mut at2),
    )?;
    no("avg_pool2", backend.avg_pool2(0, HALF, HALF, &x, &mut y))?;
    no("max_pool2", backend.max_pool2(0, HALF, HALF, &x, &mut y))?;
    no("warp", backend.warp(0, 1, HALF, HALF, &x, &x, &mut y))?;
    let resize = ResizeShape {
        planes: 0,
        height: 1,
        width: 1,
        out_height: usize::MAX,
        out_width: 1,
    };
    no("resize", backend.resize(&resize, &x, &mut y))?;
    no("resize_backward", backend.resize_backward(&resize, &x, &mut y))?;
    let config = NcaConfig::preset(Preset::Paper, 4, 8)?;
    let grid = Grid::new(0, HALF, HALF);
    no("rgb", backend.rgb(&config, grid, &x, &mut y))?;
    // The padding, then the filter, without results and without inputs.
    let picture = backend.zeros(25)?;
    let mut g_picture = backend.zeros(25)?;
    let padded = ConvShape {
        batch: 1,
        inputs: 1,
        outputs: 0,
        height: 5,
        width: 5,
        kernel: 1,
        padding: usize::MAX - 3,
    };
    no("conv2d", backend.conv2d(&padded, &picture, &x, None, &mut y))?;
    no(
        "conv2d_backward_input",
        backend.conv2d_backward_input(&padded, &x, &x, &mut g_picture),
    )?;
    let filter = ConvShape {
        inputs: 0,
        outputs: 1,
        height: HALF,
        width: HALF,
        kernel: HALF,
        padding: 0,
        ..padded
    };
    let mut one = backend.zeros(1)?;
    no("conv2d", backend.conv2d(&filter, &x, &x, None, &mut one))
}

/// Products and convolutions.
fn products<B: Backend<Elem = f32>>(backend: &B) -> std::result::Result<(), Mismatch> {
    let no = |op, result| refused(op, "a product that memory cannot address", &result);
    let (x, mut y) = (backend.zeros(4)?, backend.zeros(4)?);
    let mut square = backend.zeros(16)?;
    let shape = MatmulShape::new(1, 4, WRAPS, 4);
    no("matmul", backend.matmul(&shape, 1.0, &x, &x, 0.0, &mut square))?;
    let fitting = ConvShape {
        batch: 4,
        inputs: 1,
        outputs: 1,
        height: WRAPS,
        width: 1,
        kernel: 1,
        padding: 0,
    };
    // Its side with the zeros around it wraps as well.
    let padded = ConvShape {
        padding: usize::MAX / 2 + 1,
        height: 1,
        ..fitting
    };
    let (weight, mut g_weight) = (backend.zeros(1)?, backend.zeros(1)?);
    for shape in [fitting, padded] {
        no("conv2d", backend.conv2d(&shape, &x, &weight, None, &mut y))?;
        no(
            "conv2d_backward_input",
            backend.conv2d_backward_input(&shape, &weight, &x, &mut y),
        )?;
        no(
            "conv2d_backward_weight",
            backend.conv2d_backward_weight(&shape, &x, &x, &mut g_weight, None),
        )?;
    }
    Ok(())
}
