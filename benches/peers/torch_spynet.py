"""SpyNet in PyTorch: flow of a pair of frames, and its gradient to both. Sides are multiples of 32."""

import torch
import torch.nn.functional as F

from serve import EXACT, Work, in_f64
from torch_device import on_device

MEAN = torch.tensor([0.485, 0.456, 0.406])[None, :, None, None]
DEVIATION = torch.tensor([0.229, 0.224, 0.225])[None, :, None, None]
COARSEST = 32
LAYERS = 5


def warp(image, flow):
    """`image` sampled at displaced pixels, clamped to the border."""
    _, _, height, width = image.shape
    ys = torch.arange(height, device=flow.device)
    xs = torch.arange(width, device=flow.device)
    ys, xs = torch.meshgrid(ys, xs, indexing="ij")
    x = (flow[:, 0] + xs) * (2 / (width - 1)) - 1
    y = (flow[:, 1] + ys) * (2 / (height - 1)) - 1
    grid = torch.stack([x, y], 3)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=True)


def estimate(levels, first, second, layout):
    first, second = ((frame - MEAN) / DEVIATION for frame in (first, second))
    pyramid = [(first, second)]
    while max(pyramid[0][0].shape[2:]) > COARSEST and len(pyramid) < len(levels):
        pyramid.insert(0, tuple(F.avg_pool2d(frame, 2) for frame in pyramid[0]))
    flow = torch.zeros_like(pyramid[0][0][:, :2])
    for number, (layers, (first, second)) in enumerate(zip(levels, pyramid)):
        if number > 0:
            flow = 2 * F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=True)
        x = torch.cat([first, warp(second, flow), flow], 1).contiguous(memory_format=layout)
        for i, (weight, bias) in enumerate(layers):
            x = F.conv2d(x, weight, bias, padding=weight.shape[2] // 2)
            if i + 1 < len(layers):
                x = F.relu(x)
        flow = flow + x
    return flow


def subject(gradient, layout=torch.contiguous_format, compiled=False):
    def make(inputs, shape):
        tensors = {name: on_device(array) for name, array in inputs.items()}

        def tensor(level, layer, kind):
            return tensors[f"netBasic.{level}.netBasic.{2 * layer}.{kind}"]

        count = sum(name.endswith("netBasic.0.weight") for name in tensors)
        levels = [
            [
                (tensor(level, layer, "weight").contiguous(memory_format=layout), tensor(level, layer, "bias"))
                for layer in range(LAYERS)
            ]
            for level in range(count)
        ]
        frames = [tensors["first"], tensors["second"]]
        flow_of = torch.compile(estimate, dynamic=False) if compiled else estimate

        @torch.no_grad()
        def forward():
            return flow_of(levels, *frames, layout)

        def both():
            leaves = [frame.detach().requires_grad_() for frame in frames]
            flow = flow_of(levels, *leaves, layout)
            return flow.detach(), *torch.autograd.grad(flow, leaves, tensors["g_flow"])

        if not gradient:
            return Work(lambda: {"flow": forward().contiguous().numpy()}, forward)

        def check():
            flow, g_first, g_second = both()
            return {"flow": flow.numpy(), "first": g_first.numpy(), "second": g_second.numpy()}

        return Work(check, both)

    return make


def formulations(gradient):
    exact = {EXACT: in_f64(subject(gradient))} if gradient else {}
    return {
        "as written": subject(gradient),
        "channels-last": subject(gradient, torch.channels_last),
        "compiled": subject(gradient, compiled=True),
        "compiled channels-last": subject(gradient, torch.channels_last, compiled=True),
        **exact,
    }


FORWARD, GRADIENT = formulations(False), formulations(True)
