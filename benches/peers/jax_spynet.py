"""SpyNet in JAX: flow of a pair of frames, and its gradient to both. Sides are multiples of 32."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from serve import Work

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
COARSEST = 32
LAYERS = 5


def halve(x):
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).mean((2, 4))


def double(flow):
    """Bilinear with aligned corners, as a product with a matrix on either side; values doubled."""

    def matrix(size):
        position = np.arange(2 * size) * ((size - 1) / (2 * size - 1))
        below = np.minimum(position.astype(int), size - 2)
        weights = np.zeros((2 * size, size), np.float32)
        weights[np.arange(2 * size), below] = 1 - (position - below)
        weights[np.arange(2 * size), below + 1] = position - below
        return weights

    _, height, width, _ = flow.shape
    return 2 * jnp.einsum("yh,xw,bhwc->byxc", matrix(height), matrix(width), flow)


def warp(image, flow):
    """`image` sampled at displaced pixels, clamped to the border."""
    batch, height, width, _ = image.shape
    x = jnp.clip(flow[..., 0] + jnp.arange(width), 0, width - 1)
    y = jnp.clip(flow[..., 1] + jnp.arange(height)[:, None], 0, height - 1)
    left, top = jnp.floor(x).astype(int), jnp.floor(y).astype(int)
    right, bottom = jnp.minimum(left + 1, width - 1), jnp.minimum(top + 1, height - 1)
    x, y = (x - left)[..., None], (y - top)[..., None]
    b = jnp.arange(batch)[:, None, None]
    above = image[b, top, left] * (1 - x) + image[b, top, right] * x
    below = image[b, bottom, left] * (1 - x) + image[b, bottom, right] * x
    return above * (1 - y) + below * y


def estimate(levels, first, second):
    pyramid = [tuple((frame - MEAN) / DEVIATION for frame in (first, second))]
    while max(pyramid[0][0].shape[1:3]) > COARSEST and len(pyramid) < len(levels):
        pyramid.insert(0, tuple(halve(frame) for frame in pyramid[0]))
    flow = jnp.zeros((*pyramid[0][0].shape[:3], 2))
    for number, (layers, (first, second)) in enumerate(zip(levels, pyramid)):
        if number > 0:
            flow = double(flow)
        x = jnp.concatenate([first, warp(second, flow), flow], 3)
        for i, (weight, bias) in enumerate(layers):
            x = lax.conv_general_dilated(x, weight, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + bias
            if i + 1 < len(layers):
                x = jax.nn.relu(x)
        flow = flow + x
    return flow


def rows(x):
    return jnp.asarray(x.transpose(0, 2, 3, 1))


def planes(x):
    return np.asarray(x).transpose(0, 3, 1, 2)


def subject(gradient):
    def make(inputs, shape):
        def layer(level, number):
            name = f"netBasic.{level}.netBasic.{2 * number}"
            return jnp.asarray(inputs[f"{name}.weight"].transpose(2, 3, 1, 0)), jnp.asarray(inputs[f"{name}.bias"])

        count = sum(name.endswith("netBasic.0.weight") for name in inputs)
        levels = [[layer(level, number) for number in range(LAYERS)] for level in range(count)]
        first, second = rows(inputs["first"]), rows(inputs["second"])

        if not gradient:
            flow_of = jax.jit(estimate)
            return Work(
                check=lambda: {"flow": planes(flow_of(levels, first, second))},
                run=lambda: flow_of(levels, first, second).block_until_ready(),
            )

        @jax.jit
        def both(levels, first, second, g_flow):
            flow, back = jax.vjp(lambda first, second: estimate(levels, first, second), first, second)
            return flow, *back(g_flow)

        def run():
            return jax.block_until_ready(both(levels, first, second, g_flow))

        g_flow = rows(inputs["g_flow"])
        return Work(lambda: dict(zip(("flow", "first", "second"), map(planes, run()))), run)

    return make


FORWARD, GRADIENT = {"compiled": subject(False)}, {"compiled": subject(True)}
