"""The first layers of VGG16 in JAX: the first features of every block, and the gradient from them to the
pictures."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from serve import Work
from vgg16 import BLOCKS

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


def features(blocks, rgb):
    x = (rgb - MEAN) / DEVIATION
    taps = []
    for number, block in enumerate(blocks):
        if number > 0:
            x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        for i, (weight, bias) in enumerate(block):
            x = lax.conv_general_dilated(x, weight, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            x = jax.nn.relu(x + bias)
            if i == 0:
                taps.append(x)
    return taps


def rows(x):
    return jnp.asarray(x.transpose(0, 2, 3, 1))


def planes(x):
    return np.asarray(x).transpose(0, 3, 1, 2)


def subject(gradient):
    def make(inputs, shape):
        blocks = [
            [
                (
                    jnp.asarray(inputs[f"features.{n}.weight"].transpose(2, 3, 1, 0)),
                    jnp.asarray(inputs[f"features.{n}.bias"]),
                )
                for n in block
                if f"features.{n}.weight" in inputs
            ]
            for block in BLOCKS[: shape["blocks"]]
        ]
        rgb = rows(inputs["rgb"])

        def named(taps):
            return {f"tap{k}": planes(tap) for k, tap in enumerate(taps)}

        if not gradient:
            features_of = jax.jit(features)
            return Work(
                check=lambda: named(features_of(blocks, rgb)),
                run=lambda: jax.block_until_ready(features_of(blocks, rgb)),
            )

        @jax.jit
        def both(blocks, rgb, g_taps):
            taps, back = jax.vjp(lambda rgb: features(blocks, rgb), rgb)
            return taps, back(g_taps)[0]

        g_taps = [rows(inputs[f"g_tap{k}"]) for k in range(shape["blocks"])]

        def check():
            taps, g_rgb = both(blocks, rgb, g_taps)
            return {**named(taps), "rgb": planes(g_rgb)}

        return Work(check, lambda: jax.block_until_ready(both(blocks, rgb, g_taps)))

    return make


FORWARD, GRADIENT = {"compiled": subject(False)}, {"compiled": subject(True)}
