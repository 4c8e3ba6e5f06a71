#!/usr/bin/env python3
"""Writes `correlation.json` with scipy: correlations and their bootstrap intervals.

    python3 correlation.py      (needs numpy and scipy; any recent version)

Coefficients are those of `scipy.stats`. Resamples are drawn from Philox as in Rust, so that the
intervals agree to rounding; `scipy.stats.bootstrap`, with draws of its own, must find nearly the
same ones, or nothing is written.
"""

import json
import math
import sys
import warnings
from pathlib import Path

import numpy as np
from scipy import stats

HERE = Path(__file__).parent
sys.path.append(str(HERE.parents[2] / "nca-core/tests/golden"))

import philox  # noqa: E402

BOOTSTRAP, SEED, RESAMPLES = 11, 0, 2000
# Percentiles of 2000 draws scatter by about 0.03 of the width of what is drawn from.
AGREEMENT = 0.15


def pearson(x, y):
    return stats.pearsonr(x, y).statistic


def spearman(x, y):
    return stats.spearmanr(x, y).statistic


def interval(statistic, x, y, architectures):
    """Percentile interval over resampled architectures; resamples without a coefficient are left out."""
    members = [np.flatnonzero(architectures == a) for a in range(architectures.max() + 1)]
    n, found = len(members), []

    def resampled(groups):
        index = np.concatenate([members[group] for group in groups])
        return statistic(x[index], y[index])

    for resample in range(RESAMPLES):
        index = (philox.words(n, SEED, BOOTSTRAP, resample) * np.uint64(n)) >> np.uint64(32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = resampled(index)
        if math.isfinite(value):
            found.append(value)
    low, high = np.percentile(found, [2.5, 97.5])
    own = stats.bootstrap(
        (np.arange(n),), resampled, vectorized=False, n_resamples=RESAMPLES,
        confidence_level=0.95, method="percentile", rng=np.random.default_rng(1),
    ).confidence_interval
    width = high - low
    if math.isfinite(own.low) and max(abs(own.low - low), abs(own.high - high)) > AGREEMENT * width:
        raise RuntimeError(f"{statistic.__name__}: {low, high} here, {own} from scipy")
    return [low, high]


def case(name, x, y, architectures=None):
    """`architectures`: of each pair, numbered as they first come; each its own where there are none."""
    architectures = np.arange(len(x)) if architectures is None else np.asarray(architectures)
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    return {
        "name": name, "architectures": architectures.tolist(), "x": x.tolist(), "y": y.tolist(),
        "pearson": pearson(x, y), "pearson_interval": interval(pearson, x, y, architectures),
        "spearman": spearman(x, y), "spearman_interval": interval(spearman, x, y, architectures),
    }


def grid(channels, hidden, psi):
    """Architectures of a grid with a made-up Ψ, rounded so that the file stays short."""
    rng = np.random.default_rng(3)
    pairs = [(c, d) for c in channels for d in hidden]
    values = [round(psi(c, d) * math.exp(0.3 * rng.normal()), 4) for c, d in pairs]
    return pairs, values


def main():
    cases = []
    pairs, psi = grid(range(8, 129, 24), range(16, 129, 16), lambda c, d: 0.1 + d / c)
    quantities = {
        "D/C": lambda c, d: d / c,
        "D − C": lambda c, d: d - c,
        "|D − C|": lambda c, d: abs(d - c),
        "C·D": lambda c, d: c * d,
        "log(D/C)": lambda c, d: math.log(d / c),
    }
    for name, quantity in quantities.items():
        cases.append(case(name, [quantity(c, d) for c, d in pairs], psi))
    # Three by three models, as the smallest sweep has; ties on both sides.
    pairs, psi = grid([6, 8, 12], [32, 64, 96], lambda c, d: 0.2 * d / c)
    cases.append(case("nine models", [d - c for c, d in pairs], psi))
    cases.append(case("ties", [1, 1, 1, 2, 2, 3, 3, 3, 4, 4], [0, 0, 1, 0, 1, 1, 2, 2, 2, 1]))
    # Three seeds of each, noisier than its architectures are among each other; the seeds' table goes seed by seed.
    pairs, psi = grid([6, 8, 12, 16], [16, 32, 64], lambda c, d: 0.2 + d / c)
    rng = np.random.default_rng(4)
    seeds = [round(value * math.exp(0.5 * rng.normal()), 4) for _ in range(3) for value in psi]
    x = [d / c for c, d in pairs] * 3
    cases.append(case("three seeds", x, seeds, list(range(len(pairs))) * 3))
    (HERE / "correlation.json").write_text(json.dumps(cases, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
