"""The first layers of VGG16 in PyTorch: the first features of every block, and the gradient from them to the
pictures."""

import torch
import torch.nn.functional as F

from serve import EXACT, Work, in_f64
from torch_device import on_device
from vgg16 import BLOCKS

MEAN = torch.tensor([0.485, 0.456, 0.406])[None, :, None, None]
DEVIATION = torch.tensor([0.229, 0.224, 0.225])[None, :, None, None]


def features(blocks, rgb, layout):
    x = ((rgb - MEAN) / DEVIATION).contiguous(memory_format=layout)
    taps = []
    for number, block in enumerate(blocks):
        if number > 0:
            x = F.max_pool2d(x, 2)
        for i, (weight, bias) in enumerate(block):
            x = F.relu(F.conv2d(x, weight, bias, padding=1))
            if i == 0:
                taps.append(x)
    return taps


def subject(gradient, layout=torch.contiguous_format, compiled=False):
    def make(inputs, shape):
        tensors = {name: on_device(array) for name, array in inputs.items()}
        blocks = [
            [
                (tensors[f"features.{n}.weight"].contiguous(memory_format=layout), tensors[f"features.{n}.bias"])
                for n in block
                if f"features.{n}.weight" in tensors
            ]
            for block in BLOCKS[: shape["blocks"]]
        ]
        rgb = tensors["rgb"]
        g_taps = [tensors[f"g_tap{k}"].contiguous(memory_format=layout) for k in range(shape["blocks"])]
        features_of = torch.compile(features, dynamic=False) if compiled else features

        @torch.no_grad()
        def forward():
            return features_of(blocks, rgb, layout)

        def both():
            leaf = rgb.detach().requires_grad_()
            taps = features_of(blocks, leaf, layout)
            (g_rgb,) = torch.autograd.grad(taps, [leaf], g_taps)
            return [tap.detach() for tap in taps], g_rgb

        def named(taps):
            return {f"tap{k}": tap.contiguous().numpy() for k, tap in enumerate(taps)}

        if not gradient:
            return Work(lambda: named(forward()), forward)

        def check():
            taps, g_rgb = both()
            return {**named(taps), "rgb": g_rgb.contiguous().numpy()}

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
