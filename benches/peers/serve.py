"""The protocol of a peer: one line of JSON in, one line of JSON out (README.md)."""

import json
import os
import sys
import time

import numpy as np

# Elements of each tensor that an answer shows.
SAMPLES = 1024
# The formulation in double precision, which is not timed.
EXACT = "in f64"


class Unavailable(Exception):
    """A formulation that makes no sense for a shape; its text says why."""


def show(array):
    """What is compared of a result: its root mean square, and elements spread over it."""
    flat = np.asarray(array).reshape(-1).astype(np.float64)
    places = np.arange(SAMPLES) * (flat.size - 1) // (SAMPLES - 1)
    return {"length": flat.size, "rms": float(np.sqrt(np.mean(flat * flat))), "samples": flat[places].tolist()}


class Work:
    """A formulation made ready for one shape: `check()` computes what is compared, a dictionary of
    arrays; `run()` is one unit of what is timed, and ends when it is done."""

    def __init__(self, check, run):
        self.check, self.run = check, run


def in_f64(make):
    """The same formulation in double precision: what others are compared with."""

    def make_exact(inputs, shape):
        return make({name: array.astype(np.float64) for name, array in inputs.items()}, shape)

    return make_exact


def serve(library, version, threads, subjects, forget=lambda: None):
    """Answers requests until standard input ends. `subjects[subject][formulation]` is a function of the
    inputs (arrays by name) and the request's shape that returns a Work. `forget()` is called when those of the last
    inputs are done with."""
    # Who only takes formulations from the modules that import this one need not have it.
    from safetensors.numpy import load_file

    # Whatever a library prints must not come between two answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**fields):
        print(json.dumps(fields), file=answers, flush=True)

    formulations = {subject: list(table) for subject, table in subjects.items()}
    answer(library=library, version=version, threads=threads, formulations=formulations)
    inputs, path, ready = {}, None, {}
    for line in sys.stdin:
        request = json.loads(line)
        if request["inputs"] != path:
            ready.clear()
            forget()
            path = request["inputs"]
            inputs = load_file(path)
        key = json.dumps([request["subject"], request["formulation"], request["shape"]])
        try:
            if request["repeats"] == 0:
                ready.pop(key, None)
                make = subjects[request["subject"]][request["formulation"]]
                work = make(inputs, request["shape"])
                answer(result={name: show(array) for name, array in work.check().items()})
                ready[key] = work
            else:
                work, seconds = ready[key], []
                for _ in range(request["repeats"]):
                    start = time.perf_counter()
                    work.run()
                    seconds.append(time.perf_counter() - start)
                answer(seconds=seconds)
        except Exception as error:  # noqa: BLE001: whatever a library throws is its answer
            answer(unavailable=(f"{type(error).__name__}: {error}".splitlines() or ["no reason given"])[0])
