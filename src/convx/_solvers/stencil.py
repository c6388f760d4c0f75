"""One or few channels in a group, vectors along the row (floor 3): image filters, depthwise and grouped layers."""

from __future__ import annotations

from .. import _kernels
from ._base import not_dense

name = "stencil"
error_factor = 1.0
normwise = False
SCRATCH = 1 << 22


def refuse(nest, kind):
    reason = not_dense(nest, kind)
    if reason:
        return reason
    if not nest.windows:
        return "no axis to run along"
    reach = max((v.axis.taps - 1) * v.axis.dilation + v.axis.stride for v in nest.windows)
    planes = nest.c * (nest.windows[0].axis.taps if len(nest.windows) > 2 else 1)
    if max(reach, planes, nest.m) > SCRATCH or scratch(nest, kind, 1) > SCRATCH:
        return f"a window of {planes} planes that reaches over {reach} would take more than {SCRATCH} bytes of scratch"
    return None


def seconds(nest, kind, threads):
    return 1e-6 + nest.products * 1e-11


def scratch(nest, kind, threads):
    return threads * (8 if kind == "f64" else 4) * _kernels.load("stencil", kind).scratch_size(nest.pack())


def way(nest, model, kind, bound):
    return None


def ready(nest, call):
    return _kernels.load("stencil", call.kind).run, None, call.packed, nest.first, call.cval


def run(nest, call, x, w, y):
    kernel, _, *rest = ready(nest, call)
    kernel(x, w, y, call.bias, *rest, call.threads)
