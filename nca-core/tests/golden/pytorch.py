#!/usr/bin/env python3
"""Writes the files of `pytorch/` with torch.save, and `pytorch/expected.json` with what is in them.

    python3 pytorch.py            (needs torch and numpy; any version that still writes both formats)

Each object is saved in both formats: `NAME.zip.pt` and, before version 1.6, `NAME.stream.pt`.
"""

import json
from collections import OrderedDict
from pathlib import Path

import torch

HERE = Path(__file__).parent / "pytorch"


def ramp(*shape, dtype=torch.float32):
    count = int(torch.tensor(shape).prod()) if shape else 1
    return (torch.arange(count, dtype=torch.float32) * 0.5 - 1).reshape(shape).to(dtype)


def module():
    """A state_dict with its `_metadata`, biases, running statistics and an integer."""
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.BatchNorm2d(2))
    with torch.no_grad():
        for tensor in net.state_dict().values():
            tensor.copy_(ramp(*tensor.shape, dtype=tensor.dtype))
    return net.state_dict()


def dtypes():
    floats = [torch.float32, torch.float16, torch.bfloat16, torch.float64]
    integers = [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]
    tensors = {str(dtype).removeprefix("torch."): ramp(5, dtype=dtype) for dtype in floats}
    for dtype in integers:
        tensors[str(dtype).removeprefix("torch.")] = torch.tensor([0, 1, 100], dtype=dtype)
    tensors["bool"] = torch.tensor([True, False])
    return tensors


def views():
    """One storage under many shapes, strides and offsets."""
    base = ramp(4, 6)
    return {
        "base": base, "transposed": base.t(), "rows": base[1:3], "columns": base[:, 2:5], "every_other": base[::2, ::3],
        "one": base[2, 3], "expanded": base[0, :3].expand(2, 3), "empty": base[:0], "permuted": ramp(2, 3, 4).permute(2, 0, 1),
    }


def nested():
    """A training checkpoint: tensors at several depths between things that are none."""
    parameter = torch.nn.Parameter(ramp(3))
    optimiser = torch.optim.Adam([parameter], lr=1e-3)
    parameter.grad = ramp(3)
    optimiser.step()
    return {
        "epoch": 3, "loss": 0.25, "name": "bubbly", "done": False, "nothing": None, "size": torch.Size([2, 3]),
        "dtype": torch.float32, "betas": (0.9, 0.999), "big": 1 << 40, "model": OrderedDict(w=parameter),
        "optimiser": optimiser.state_dict(), "list": [ramp(2), [ramp(1)]],
    }


def leaves(value, name=""):
    """The tensors of `value` by dotted name."""
    if isinstance(value, torch.Tensor):
        return {name: value}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else []
    found = {}
    for key, item in items:
        found.update(leaves(item, f"{name}.{key}" if name else str(key)))
    return found


def main():
    HERE.mkdir(exist_ok=True)
    expected = {}
    for make in (module, dtypes, views, nested):
        name, value = make.__name__, make()
        torch.save(value, HERE / f"{name}.zip.pt")
        torch.save(value, HERE / f"{name}.stream.pt", _use_new_zipfile_serialization=False)
        expected[name] = {
            key: {"shape": list(tensor.shape), "values": tensor.detach().double().reshape(-1).tolist()}
            for key, tensor in leaves(value).items()
        }
    # Newer pickle protocols write other instructions for the same thing.
    for protocol in (3, 4, 5):
        torch.save(nested(), HERE / f"nested.zip.protocol{protocol}.pt", pickle_protocol=protocol)
        torch.save(
            nested(), HERE / f"nested.stream.protocol{protocol}.pt", pickle_protocol=protocol,
            _use_new_zipfile_serialization=False,
        )
    (HERE / "expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
