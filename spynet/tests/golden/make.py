"""Flow and gradients of a SpyNet in PyTorch, for `spynet/tests/golden.rs`.

    pip install numpy torch && python make.py

The network is written here from its description, in f64. Weights and frames are formulas that the
Rust test evaluates too, so only results are stored.
"""

import json
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "nca-core" / "tests" / "golden"))
import philox  # noqa: E402

INIT = 1  # `Stream::Init`
LEVELS, KERNEL, SEED, GAIN = 6, 7, 11, 2.0
PUBLISHED, NARROW = [8, 32, 64, 32, 16, 2], [8, 7, 6, 5, 4, 2]
# Sides: resized from below and above 32, odd, already a multiple, several levels.
CASES = [(NARROW, 2, 101, 77), (NARROW, 1, 32, 32), (NARROW, 1, 64, 192), (PUBLISHED, 2, 40, 36)]
STRIDE = 17  # every so-manieth element is stored


def weights(channels):
    """`SpyNetWeights::init(6, channels, 7, SEED)` times GAIN."""
    index, levels = 0, []
    for _ in range(LEVELS):
        layers = []
        for i, o in zip(channels, channels[1:]):
            bound = 1 / np.sqrt(i * KERNEL**2)
            draw = []
            for shape in [(o, i, KERNEL, KERNEL), (o,)]:
                u = philox.uniform(int(np.prod(shape)), SEED, INIT, index)
                values = (-bound + 2 * bound * u).astype(np.float32) * np.float32(GAIN)
                draw.append(torch.tensor(values.astype(np.float64)).reshape(shape).requires_grad_())
                index += 1
            layers.append(draw)
        levels.append(layers)
    return levels


def frames(batch, height, width):
    """Waves, and the same waves moved; f32 values."""
    b, c, y, x = np.ogrid[:batch, :3, :height, :width]
    pairs = []
    for dx, dy in [(0.0, 0.0), (1.5, -0.75)]:
        u, v = x - dx, y - dy
        wave = np.sin(0.31 * u + 0.17 * v + 0.9 * c) + np.cos(0.13 * u - 0.37 * v + 0.7 * b)
        pairs.append(torch.tensor((0.5 + 0.2 * wave).astype(np.float32).astype(np.float64)).requires_grad_())
    return pairs


def warp(image, flow):
    _, _, height, width = image.shape
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    u, v = x + flow[:, 0], y + flow[:, 1]
    grid = torch.stack([2 * u / (width - 1) - 1, 2 * v / (height - 1) - 1], dim=-1)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=True)


def spynet(levels, first, second):
    _, _, height, width = first.shape
    up = [-(-side // 32) * 32 for side in (height, width)]
    mean = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64).view(1, 3, 1, 1)
    pyramid = []
    for image in (first, second):
        image = F.interpolate(image, size=up, mode="bilinear", align_corners=False)
        image, images = (image - mean) / std, []
        images.append(image)
        while len(images) < 6 and max(image.shape[2:]) > 32:
            image = F.avg_pool2d(image, 2, 2)
            images.append(image)
        pyramid.append(images[::-1])
    flow = None
    for layers, one, two in zip(levels, *pyramid):
        if flow is None:
            flow = torch.zeros(one.shape[0], 2, *one.shape[2:], dtype=torch.float64)
        else:
            flow = 2 * F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=True)
            flow = F.pad(flow, [0, one.shape[3] - flow.shape[3], 0, one.shape[2] - flow.shape[2]], mode="replicate")
        x = torch.cat([one, warp(two, flow), flow], 1)
        for i, (w, b) in enumerate(layers):
            x = F.conv2d(x, w, b, padding=KERNEL // 2)
            x = x if i == len(layers) - 1 else torch.relu(x)
        flow = flow + x
    flow = F.interpolate(flow, size=[height, width], mode="bilinear", align_corners=False)
    return flow * torch.tensor([width / up[1], height / up[0]], dtype=torch.float64).view(1, 2, 1, 1)


def some(tensor):
    return [float(f"{v:.9g}") for v in tensor.detach().reshape(-1)[::STRIDE].tolist()]


def main():
    cases = []
    for channels, batch, height, width in CASES:
        levels = weights(channels)
        first, second = frames(batch, height, width)
        flow = spynet(levels, first, second)
        # The upstream gradient: a formula of the element's index.
        index = torch.arange(flow.numel(), dtype=torch.float64).reshape(flow.shape)
        (flow * torch.sin(0.37 * index)).sum().backward()
        used = [p for layers in levels for layer in layers for p in layer if p.grad is not None]
        cases.append(
            {
                "channels": channels,
                "batch": batch,
                "height": height,
                "width": width,
                "mean_length": float(flow.detach().norm(dim=1).mean()),
                "flow": some(flow),
                "g_first": some(first.grad),
                "g_second": some(second.grad),
                "g_weights": [float(p.grad.norm()) for p in used],
            }
        )
        print(batch, height, width, "mean length", cases[-1]["mean_length"], "layers used", len(used) // 2)
    (HERE / "spynet.json").write_text(
        json.dumps({"seed": SEED, "gain": GAIN, "stride": STRIDE, "cases": cases}) + "\n"
    )


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    main()
