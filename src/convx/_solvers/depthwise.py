"""Pairs of group and output channel as vector lanes (floor 3): depthwise and grouped layers, and their gradients."""

from __future__ import annotations

from .. import _kernels
from ._base import not_dense

name = "depthwise"
error_factor = 1.0
normwise = False
SCRATCH = 1 << 22


def _few(nest) -> bool:
    """Whether a few outputs are sums of many products, as in the weight gradient."""
    outputs = taps = 1
    for v in nest.windows:
        outputs, taps = outputs * v.axis.out, taps * v.axis.taps
    return taps > outputs


def refuse(nest, kind):
    reason = not_dense(nest, kind)
    if reason:
        return reason
    reach = max((v.axis.taps * v.axis.dilation + v.axis.out * v.axis.stride for v in nest.windows), default=1)
    if max(reach, nest.depth, nest.n * nest.m) > SCRATCH or scratch(nest, kind, 1) > SCRATCH:
        return f"windows of {nest.depth} products over {reach} cells would take more than {SCRATCH} bytes of scratch"
    return None


def seconds(nest, kind, threads):
    return 1e-6 + nest.products * 1e-11


def scratch(nest, kind, threads):
    room, copied = _kernels.load("depthwise", kind).scratch_size(nest.pack(), _few(nest))
    return (threads * room + copied) * (8 if kind == "f64" else 4)


def way(nest, model, kind, bound):
    return _few(model)


def run(nest, call, x, w, y):
    kernel = _kernels.load("depthwise", call.kind)
    kernel.run(x, w, y, call.bias, call.packed, nest.first, call.cval, call.way, call.threads)
