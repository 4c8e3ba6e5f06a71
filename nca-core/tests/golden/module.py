#!/usr/bin/env python3
"""Writes `module.pt`, the state_dict of an automaton as PyTorch programs of the field write one, and
`module.json`, a state before and after one step of it in which every cell updates.

    python3 module.py          (needs torch; any recent version)

The filters are applied to every channel as to a picture of its own, so the columns of w1 go channel by
channel: all that this file adds to what `make.py` shows.
"""

import json
from pathlib import Path

import torch
from torch import nn

HERE = Path(__file__).parent
BATCH, CHANNELS, HIDDEN, HEIGHT, WIDTH = 2, 5, 11, 7, 9


class Automaton(nn.Module):
    def __init__(self):
        super().__init__()
        identity = torch.tensor([[0.0, 0, 0], [0, 1, 0], [0, 0, 0]])
        sobel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
        laplacian = torch.tensor([[1.0, 2, 1], [2, -12, 2], [1, 2, 1]])
        # Not among the weights that are saved.
        self.perception = nn.Conv2d(
            CHANNELS, 4 * CHANNELS, 3, groups=CHANNELS, padding=1, padding_mode="circular", bias=False
        ).requires_grad_(False)
        filters = torch.stack([identity, sobel, sobel.T, laplacian])
        self.perception.weight.copy_(filters.repeat(CHANNELS, 1, 1)[:, None])
        self.w1 = nn.Conv2d(4 * CHANNELS, HIDDEN, 1)
        self.w2 = nn.Conv2d(HIDDEN, CHANNELS, 1, bias=False)

    def forward(self, x):
        return x + self.w2(torch.relu(self.w1(self.perception(x))))


def numbers(tensor):
    return [float(v) for v in tensor.reshape(-1)]


with torch.no_grad():
    torch.manual_seed(0)
    automaton = Automaton()
    for parameter in (automaton.w1.weight, automaton.w1.bias, automaton.w2.weight):
        parameter.copy_((torch.randn(parameter.shape) * 154).round() / 1024)
    weights = {name: value for name, value in automaton.state_dict().items() if not name.startswith("perception")}
    torch.save(weights, HERE / "module.pt")
    x = (torch.randn(BATCH, CHANNELS, HEIGHT, WIDTH) * 1024).round() / 1024
    x_next = automaton.double()(x.double())
    case = {"batch": BATCH, "height": HEIGHT, "width": WIDTH, "x": numbers(x), "x_next": numbers(x_next)}
    (HERE / "module.json").write_text(f"[\n{json.dumps(case, separators=(',', ':'))}\n]\n")
