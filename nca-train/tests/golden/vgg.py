#!/usr/bin/env python3
"""Writes `vgg.json` with PyTorch, in f64: features of narrow VGG networks, and the losses on them.

    python3 vgg.py             (needs torch and numpy; any recent version)

Weights, pictures, positions and directions are drawn from Philox here and in Rust; only what comes
out is stored.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

HERE = Path(__file__).parent
sys.path.append(str(HERE.parents[2] / "nca-core/tests/golden"))

import philox  # noqa: E402

# Sequences of `tests/narrow/mod.rs`; last counter word of drawn positions.
SEED, EXEMPLAR, SAMPLE = 7, 1000, 9
# `features.N` of each convolution with its outputs; a pooling comes before the first of a block.
NETWORKS = {
    "VGG16": [[(0, 4), (2, 4)], [(5, 6), (7, 6)], [(10, 8), (12, 8), (14, 8)], [(17, 10)]],
    "VGG19": [[(0, 4), (2, 4)], [(5, 6), (7, 6)], [(10, 8), (12, 8), (14, 8), (16, 8)], [(19, 10)]],
}
MEAN = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64).reshape(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64).reshape(1, 3, 1, 1)
BATCH, HEIGHT, WIDTH = 2, 13, 11
SAMPLES, DIRECTIONS = 40, 5
EPSILON = 1e-6
# Distance that every kink keeps from the f32 error of what decides it.
MARGIN = 5e-6


def single(values):
    """f32 numbers in f64."""
    return values.astype(np.float32).astype(np.float64)


def noise(sequence, *shape):
    return torch.from_numpy(single(philox.uniform(int(np.prod(shape)), SEED, philox.TEST, sequence))).reshape(shape)


class Margin:
    """The smallest distance from a kink so far."""

    def __init__(self):
        self.value = float("inf")

    def keep(self, distances):
        """Distances from kinks; exact zeros are ties that either side resolves alike."""
        distances = distances.detach().abs()
        distances = distances[distances > 0]
        if distances.numel():
            self.value = min(self.value, distances.min().item())


class Vgg:
    def __init__(self, blocks):
        self.blocks = []
        inputs = 3
        for block in blocks:
            layers = []
            for index, outputs in block:
                count = outputs * inputs * 9
                uniform = -1.0 + 2.0 * philox.uniform(count + outputs, SEED, philox.TEST, index)
                weight = single(np.sqrt(6.0 / (9 * inputs)) * uniform[:count]).reshape(outputs, inputs, 3, 3)
                layers.append((torch.from_numpy(weight), torch.from_numpy(single(0.1 * uniform[count:]))))
                inputs = outputs
            self.blocks.append(layers)

    def features(self, rgb, margin):
        """The first layer of each block after its rectifier."""
        x = (rgb - MEAN) / STD
        taps = []
        for block, layers in enumerate(self.blocks):
            if block > 0:
                patches = F.unfold(x, 2, stride=2).reshape(*x.shape[:2], 4, -1)
                top = patches.sort(dim=2).values
                margin.keep(top[:, :, 3] - top[:, :, 2])
                x = F.max_pool2d(x, 2)
            for layer, (weight, bias) in enumerate(layers):
                before = F.conv2d(x, weight, bias, padding=1)
                margin.keep(before)
                x = F.relu(before)
                if layer == 0:
                    taps.append(x)
        return taps


def choose(count, bound, draw, sequence):
    """`count` of `bound` positions in random order, all of them in order if there are no more."""
    items = list(range(bound))
    if count >= bound:
        return items
    words = philox.words(count, draw, SAMPLE, sequence)
    for i in range(count):
        j = i + (int(words[i]) * (bound - i) >> 32)
        items[i], items[j] = items[j], items[i]
    return items[:count]


def moments(x):
    """Mean and covariance of rows."""
    mean = x.mean(0)
    centred = x - mean
    return mean, centred.T @ centred / len(x)


def nearest(distance, candidates, margin):
    """The nearest candidate to each row must stay the nearest, or be replaced by its like: vectors
    with one channel lit all point the same way."""
    if len(candidates) > 1:
        two = distance.sort(dim=1)
        first, second = candidates[two.indices[:, 0]], candidates[two.indices[:, 1]]
        differ = (first - second).abs().amax(1) > 1e-4
        margin.keep((two.values[:, 1] - two.values[:, 0])[differ])


def relaxed_ot(taps, targets, draw, margin):
    loss = 0.0
    for layer, (tap, target) in enumerate(zip(taps, targets)):
        rms = target.square().mean().sqrt()
        positions = tap.shape[2] * tap.shape[3]
        count = min(SAMPLES, positions)
        sequence = layer * (BATCH + 1)
        y = (target / rms).flatten(2)[0].T[choose(count, positions, draw, sequence)]
        for b in range(BATCH):
            x = (tap / rms).flatten(2)[b].T[choose(count, positions, draw, sequence + 1 + b)]
            unit_x, unit_y = (v / (v.square().sum(1, keepdim=True) + EPSILON).sqrt() for v in (x, y))
            distance = 1 - unit_x @ unit_y.T
            nearest(distance, unit_y, margin)
            nearest(distance.T, unit_x, margin)
            rows, columns = distance.min(1).values.mean(), distance.min(0).values.mean()
            margin.keep(rows - columns)
            (mean_x, covariance_x), (mean_y, covariance_y) = moments(x), moments(y)
            margin.keep(mean_x - mean_y)
            margin.keep(covariance_x - covariance_y)
            loss = loss + torch.maximum(rows, columns)
            loss = loss + (mean_x - mean_y).abs().mean() + (covariance_x - covariance_y).abs().mean()
    return loss / BATCH


def sliced_wasserstein(taps, targets, draw, margin):
    loss = 0.0
    for layer, (tap, target) in enumerate(zip(taps, targets)):
        rms = target.square().mean().sqrt()
        channels = tap.shape[1]
        normals = philox.normal(DIRECTIONS * channels, draw, philox.PROJECTION, layer).reshape(DIRECTIONS, channels)
        vectors = torch.from_numpy(normals / np.sqrt((normals**2).sum(axis=1, keepdims=True)))
        a = (vectors @ (tap / rms).flatten(2)).sort(dim=2).values
        b = (vectors @ (target / rms).flatten(2)).sort(dim=2).values
        margin.keep(a.diff(dim=2))
        loss = loss + (a - b).square().mean()
    return loss


def gram(taps, targets, draw, margin):
    loss = 0.0
    for tap, target in zip(taps, targets):
        rms = target.square().mean().sqrt()
        a, b = ((features / rms).flatten(2) for features in (tap, target))
        a, b = (x @ x.transpose(1, 2) / x.shape[2] for x in (a, b))
        loss = loss + (a - b).square().mean() / 4
    return loss


LOSSES = {"vgg-ot": relaxed_ot, "vgg-slw": sliced_wasserstein, "vgg-gram": gram}


def case(network):
    vgg = Vgg(NETWORKS[network])
    exemplar = noise(EXEMPLAR, 1, 3, HEIGHT, WIDTH)
    rgb = noise(EXEMPLAR + 1, BATCH, 3, HEIGHT, WIDTH).requires_grad_()
    margin = Margin()
    targets = [tap.detach() for tap in vgg.features(exemplar, margin)]
    with torch.no_grad():
        taps = [flat(tap) for tap in vgg.features(rgb, margin)]
    shared = margin.value
    losses = []
    for name, loss_of in LOSSES.items():
        # The first draw whose kinks keep away.
        for draw in range(1, 1000):
            margin = Margin()
            rgb.grad = None
            loss = loss_of(vgg.features(rgb, margin), targets, draw, margin)
            loss.backward()
            if min(margin.value, shared) >= MARGIN:
                break
        else:
            raise SystemExit(f"{network}, {name}: no draw keeps {MARGIN} from kinks, {shared} without it")
        losses.append({"name": name, "draw": draw, "loss": loss.item(), "g_rgb": flat(rgb.grad)})
    return {
        "network": network, "batch": BATCH, "height": HEIGHT, "width": WIDTH,
        "samples": SAMPLES, "directions": DIRECTIONS, "taps": taps, "losses": losses,
    }


def flat(tensor):
    """Plain numbers with fourteen digits, twice as many as f32 has."""
    return [float(f"{v:.14g}") for v in tensor.detach().reshape(-1).tolist()]


if __name__ == "__main__":
    text = ",\n".join(json.dumps(case(network), separators=(",", ":")) for network in NETWORKS)
    (HERE / "vgg.json").write_text(f"[\n{text}\n]\n")
