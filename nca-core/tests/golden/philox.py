"""Philox4x32-10 in numpy: the rules of `nca_core::philox`, written a second time.

Shared by every golden script of the workspace, so that masks, weights and projections are drawn
here and in Rust from nothing but seeds.
"""

import numpy as np

# Last counter word: `nca_core::philox::Stream`.
MASK, PROJECTION, TEST = 0, 5, 12

_M = (0xD2511F53, 0xCD9E8D57)
_W = (0x9E3779B9, 0xBB67AE85)
_LOW = 0xFFFFFFFF


def philox4x32_10(counter, seed):
    """Four arrays of words for four (broadcastable) arrays of counter words."""
    c = [np.asarray(word, dtype=np.uint64) & np.uint64(_LOW) for word in np.broadcast_arrays(*counter)]
    key = [seed & _LOW, seed >> 32]
    for _ in range(10):
        p0, p1 = np.uint64(_M[0]) * c[0], np.uint64(_M[1]) * c[2]
        high0, high1 = p0 >> np.uint64(32), p1 >> np.uint64(32)
        low0, low1 = p0 & np.uint64(_LOW), p1 & np.uint64(_LOW)
        c = [high1 ^ c[1] ^ np.uint64(key[0]), low1, high0 ^ c[3] ^ np.uint64(key[1]), low0]
        key = [(key[i] + _W[i]) & _LOW for i in range(2)]
    return c


def words(count, seed, stream, index=0):
    """The first `count` words of the sequence `PhiloxRng::new(seed, stream, index)`."""
    blocks = np.arange((count + 3) // 4)
    counter = (blocks, index & _LOW, index >> 32, stream)
    return np.stack(philox4x32_10(counter, seed), axis=-1).reshape(-1)[:count]


def uniform(count, seed, stream, index=0):
    """As many calls of `PhiloxRng::uniform`."""
    return (words(count, seed, stream, index).astype(np.float64) + 0.5) / 2.0**32


def normal(count, seed, stream, index=0):
    """As many calls of `PhiloxRng::normal`."""
    u = uniform(count + count % 2, seed, stream, index).reshape(-1, 2)
    radius = np.sqrt(-2.0 * np.log(u[:, 0]))
    angle = 2.0 * np.pi * u[:, 1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1).reshape(-1)[:count]


def mask(seed, step, batch, height, width, fire_rate):
    """Which cells update, `[batch, 1, height, width]` of 0 and 1."""
    cell = np.arange(height * width)
    sample = np.arange(batch)[:, None]
    all_words = np.stack(philox4x32_10((cell // 4, sample, step, MASK), seed), axis=-1)
    word = np.take_along_axis(all_words, (cell % 4)[None, :, None].repeat(batch, 0), axis=-1)[..., 0]
    threshold = np.uint64(round(fire_rate * 2.0**32))
    return (word < threshold).astype(np.float64).reshape(batch, 1, height, width)
