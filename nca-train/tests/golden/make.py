#!/usr/bin/env python3
"""Writes `patch_loss.json` with PyTorch, in f64.

    python3 make.py            (needs torch and numpy; any recent version)

Pictures are multiples of 1/256: exact in f32, and short as text. The filters are drawn from Philox
here and in Rust; only their seed is stored.
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

# Distance that every kink keeps, beyond the f32 error of a projection of 147 numbers.
MARGIN = 3e-6


def filters(draw, level, projections, patch):
    """Random directions of unit length, `[P, 3, k, k]`."""
    count = 3 * patch * patch
    normals = philox.normal(projections * count, draw, philox.PROJECTION, level).reshape(projections, count)
    directions = normals / np.sqrt((normals**2).sum(axis=1, keepdims=True))
    return torch.from_numpy(directions).reshape(projections, 3, patch, patch)


def pyramid(picture, patch, levels):
    """The picture, and its halves as long as the smaller side is at least twice the patch."""
    images = [picture]
    while len(images) < levels and min(images[-1].shape[2:]) // 2 >= 2 * patch:
        images.append(F.avg_pool2d(images[-1], 2))
    return images


def patch_loss(pictures, exemplar, draw, patch, projections, levels):
    """The loss, and the distance of its kinks."""
    loss, margin = 0.0, float("inf")
    pairs = zip(pyramid(pictures, patch, levels), pyramid(exemplar, patch, levels))
    for level, (image, target) in enumerate(pairs):
        weight = filters(draw, level, projections, patch)
        a = F.conv2d(image, weight).flatten(2).sort(dim=2).values
        b = F.conv2d(target, weight).flatten(2).sort(dim=2).values
        difference = a - b
        loss = loss + difference.abs().mean()
        # Where neighbours in order pull in different directions, they must not change places.
        turns = difference[..., 1:].sign() != difference[..., :-1].sign()
        gaps = (a[..., 1:] - a[..., :-1])[turns]
        margin = min(margin, difference.abs().min().item(), gaps.min().item())
    return loss, margin


def case(height, width, count, patch, projections, levels):
    draw = 0xDEADBEEF12345678
    for seed in range(10_000):
        rng = np.random.default_rng(seed)
        picture = lambda n: torch.from_numpy(np.round(rng.normal(0.5, 0.3, (n, 3, height, width)) * 256) / 256)
        exemplar = F.avg_pool2d(picture(1), 3, 1, 1)
        exemplar = (exemplar * 256).round() / 256
        pictures = picture(count).requires_grad_()
        loss, margin = patch_loss(pictures, exemplar, draw, patch, projections, levels)
        if margin > MARGIN:
            break
    else:
        raise RuntimeError("every case came near a kink")
    loss.backward()
    return {
        "height": height, "width": width, "pictures": count, "draw": draw,
        "patch": patch, "projections": projections, "levels": levels,
        "exemplar": flat(exemplar), "rgb": flat(pictures), "loss": loss.item(), "g_rgb": flat(pictures.grad),
    }


def flat(tensor):
    return [int(v) if v.is_integer() else v for v in tensor.detach().reshape(-1).tolist()]


if __name__ == "__main__":
    cases = [case(25, 29, 2, 3, 8, 4), case(29, 33, 1, 7, 64, 4)]
    text = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    (HERE / "patch_loss.json").write_text(f"[\n{text}\n]\n")
