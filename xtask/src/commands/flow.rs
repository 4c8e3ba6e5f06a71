//! `cargo xtask flow`

use std::path::{Path, PathBuf};

use clap::Args;
use image::RgbImage;
use nca_core::Error;
use nca_core::backend::Backend;
use nca_train::Texture;
use nca_train::picture::write_png;
use serde::Serialize;
use spynet::evaluate::files::read_truth;
use spynet::{EndpointError, FlowChoice, FlowField, automatic_max, endpoint_error, flow_to_rgb, write_flo};

use crate::backend::{BackendArgs, Job};
use crate::files::{check_extension, check_outputs};
use crate::flags::FlowMethodArgs;
use crate::output::{print_json, print_line};

/// Estimate the optical flow between two pictures
#[derive(Args)]
pub(crate) struct FlowArgs {
    /// First frame
    #[arg(value_name = "FRAME1")]
    first: PathBuf,
    /// Second frame, of the same size
    #[arg(value_name = "FRAME2")]
    second: PathBuf,
    #[command(flatten)]
    flow: FlowMethodArgs,
    #[command(flatten)]
    backend: BackendArgs,
    /// Write the flow here (Middlebury .flo)
    #[arg(long, value_name = "FILE.flo")]
    out: Option<PathBuf>,
    /// Write a picture of the flow here (Middlebury colours: hue is direction, saturation is speed)
    #[arg(long, value_name = "FILE.png")]
    color: Option<PathBuf>,
    /// Speed of full saturation in that picture, in pixels [default: the fastest pixel's]
    #[arg(long, value_name = "X", requires = "color")]
    color_max: Option<f32>,
    /// Compare with this true flow (Middlebury .flo, or KITTI .png), where it is known
    #[arg(long, value_name = "FILE")]
    gt: Option<PathBuf>,
    /// Print one JSON object to standard output, and nothing else there
    #[arg(long)]
    json: bool,
}

/// What `flow --json` prints.
#[derive(Serialize)]
struct Output {
    flow: String,
    width: usize,
    height: usize,
    /// Mean length of the flow, pixels.
    psi: f64,
    /// Mean endpoint error, pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    epe: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    above_1px: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    above_3px: Option<f64>,
}

pub(crate) fn run(args: &FlowArgs) -> anyhow::Result<()> {
    check_outputs(
        &[("--out", args.out.as_deref()), ("--color", args.color.as_deref())],
        &[
            Some(&args.first),
            Some(&args.second),
            args.gt.as_deref(),
            args.flow.flow_weights.as_deref(),
        ],
        None,
    )?;
    check_extension("--out", args.out.as_deref(), "a Middlebury flow file", &["flo"])?;
    check_extension("--color", args.color.as_deref(), "a PNG picture", &["png"])?;
    if let Some(max) = args.color_max
        && !(max > 0.0 && max.is_finite())
    {
        return Err(Error::invalid("--color-max", max, "a positive number of pixels").into());
    }
    let choice = args.flow.choice()?;
    let first = Texture::read(&args.first)?;
    let second = Texture::read(&args.second)?;
    let (height, width) = (first.height, first.width);
    if (second.height, second.width) != (height, width) {
        let found = format!("{}x{} pixels", second.width, second.height);
        return Err(Error::format(&args.second, found, format!("{width}x{height} as the first frame")).into());
    }
    let truth = args.gt.as_ref().map(read_truth).transpose()?;
    if let (Some(path), Some(truth)) = (&args.gt, &truth)
        && (truth.height(), truth.width()) != (height, width)
    {
        let found = format!("{}x{} pixels", truth.width(), truth.height());
        return Err(Error::format(path, found, format!("{width}x{height} as the frames")).into());
    }
    let (name, field) = args.backend.open_for_flow(&choice)?.run(Estimate {
        choice: &choice,
        first: &first,
        second: &second,
    })?;
    let error = truth.as_ref().map(|truth| endpoint_error(&field, truth)).transpose()?;
    if let Some(path) = &args.out {
        write_flo(path, &field)?;
    }
    if let Some(path) = &args.color {
        write_color(path, &field, args.color_max)?;
    }
    let output = Output {
        flow: name,
        width,
        height,
        // An estimate is known at every pixel.
        psi: field.mean_magnitude().unwrap_or_default(),
        epe: error.as_ref().map(|e: &EndpointError| e.mean),
        above_1px: error.as_ref().map(|e| e.above_1px),
        above_3px: error.as_ref().map(|e| e.above_3px),
    };
    if args.json {
        return print_json(&output);
    }
    print_line(&format!(
        "Ψ = {:.4} px, fastest pixel {:.4} px ({} flow, {width}x{height})",
        output.psi,
        // What the colours of a flow without motion go by is not its speed.
        if output.psi > 0.0 { automatic_max(&field) } else { 0.0 },
        output.flow
    ))?;
    match error {
        Some(error) => print_line(&format!(
            "endpoint error {:.4} px; {:.2} % of the pixels off by more than 1 px, {:.2} % by more than 3 px",
            error.mean,
            100.0 * error.above_1px,
            100.0 * error.above_3px
        )),
        None => Ok(()),
    }
}

struct Estimate<'a> {
    choice: &'a FlowChoice,
    first: &'a Texture,
    second: &'a Texture,
}

impl Job for Estimate<'_> {
    /// Name of the estimator, and the flow.
    type Output = (String, FlowField);

    fn run<B: Backend<Elem = f32>>(self, backend: &B) -> anyhow::Result<Self::Output> {
        let estimator = self.choice.estimator(backend)?;
        let (first, second) = (self.first, self.second);
        let field = estimator.estimate(first.height, first.width, &first.rgb, &second.rgb)?;
        Ok((estimator.name().to_owned(), field))
    }
}

fn write_color(path: &Path, field: &FlowField, max: Option<f32>) -> anyhow::Result<()> {
    let rgb = flow_to_rgb(field, max)?;
    let picture = RgbImage::from_raw(field.width() as u32, field.height() as u32, rgb)
        .ok_or_else(|| Error::format(path, "a flow field too large", "sides below 2^32"))?;
    Ok(write_png(path, &picture)?)
}
