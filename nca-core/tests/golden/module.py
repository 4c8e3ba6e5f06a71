#!/usr/bin/env python3
"""Writes `module.pt`, the state_dict of an automaton as PyTorch programs of the field write one, and
`module.json`, a state before and after one step of it in which every cell updates.

    python3 module.py          (needs torch; any recent version)

The filters are applied to every channel as to a picture of its own, so the columns of w1 go channel by
channel: what this file adds to what `make.py` shows. Another form of the same, one depthwise convolution with all
filters, must give the same.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

HERE = Path(__file__).parent
BATCH, CHANNELS, HIDDEN, HEIGHT, WIDTH = 2, 5, 11, 7, 9


IDENTITY = [[0.0, 0, 0], [0, 1, 0], [0, 0, 0]]
SOBEL = [[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]
LAPLACIAN = [[1.0, 2, 1], [2, -12, 2], [1, 2, 1]]


def filters(like):
    """[K, 3, 3], in the order of the preset `paper`."""
    sobel = torch.tensor(SOBEL)
    return torch.stack([torch.tensor(IDENTITY), sobel, sobel.T, torch.tensor(LAPLACIAN)]).to(like)


def perceive(x):
    """Channels as so many pictures of one channel."""
    pictures = F.pad(x.reshape(BATCH * CHANNELS, 1, HEIGHT, WIDTH), [1, 1, 1, 1], mode="circular")
    return F.conv2d(pictures, filters(x)[:, None]).reshape(BATCH, -1, HEIGHT, WIDTH)


def perceive_depthwise(x):
    weight = filters(x).repeat(CHANNELS, 1, 1)[:, None]
    return F.conv2d(F.pad(x, [1, 1, 1, 1], mode="circular"), weight, groups=CHANNELS)


class Automaton(nn.Module):
    def __init__(self):
        super().__init__()
        self.w1 = nn.Conv2d(4 * CHANNELS, HIDDEN, 1)
        self.w2 = nn.Conv2d(HIDDEN, CHANNELS, 1, bias=False)

    def forward(self, x):
        return x + self.w2(torch.relu(self.w1(perceive(x))))


def numbers(tensor):
    return [float(v) for v in tensor.reshape(-1)]


with torch.no_grad():
    torch.manual_seed(0)
    automaton = Automaton()
    for parameter in (automaton.w1.weight, automaton.w1.bias, automaton.w2.weight):
        parameter.copy_((torch.randn(parameter.shape) * 154).round() / 1024)
    torch.save(automaton.state_dict(), HERE / "module.pt")
    x = (torch.randn(BATCH, CHANNELS, HEIGHT, WIDTH) * 1024).round() / 1024
    x_next = automaton.double()(x.double())
    assert torch.equal(perceive(x), perceive_depthwise(x))
    case = {"batch": BATCH, "height": HEIGHT, "width": WIDTH, "x": numbers(x), "x_next": numbers(x_next)}
    (HERE / "module.json").write_text(f"[\n{json.dumps(case, separators=(',', ':'))}\n]\n")
