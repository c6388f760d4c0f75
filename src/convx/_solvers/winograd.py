"""3x3 layers by Winograd's F(4x4, 3x3) (floor 3); the kernel's head describes the transforms and the schedule."""

from __future__ import annotations

import numpy as np

from .. import _kernels
from ._base import not_dense

name = "winograd"
error_factor = 8.0
normwise = True


def refuse(nest, kind):
    reason = not_dense(nest, kind)
    if reason:
        return reason
    if len(nest.windows) < 2:
        return f"{len(nest.windows)} axes with taps (3x3 are needed)"
    for v in nest.windows[-2:]:
        a = v.axis
        if a.taps != 3:
            return f"{a.taps} taps along one of the last two axes (only 3)"
        if a.stride != 1 or a.dilation != 1:
            return f"stride {a.stride} and dilation {a.dilation} along one of the last two axes (only 1)"
    return None


def _tiles(nest):
    b, d = (-(-v.axis.out // 4) for v in nest.windows[-2:])
    outer = nest.windows[0].axis.out if len(nest.windows) > 2 else 1
    return nest.n * outer * b * d


def seconds(nest, kind, threads):
    return 1e-6 + nest.products / 100e9


def scratch(nest, kind, threads):
    return 0


def way(nest, model, kind, bound):
    return None


def prepare(nest, call, w):
    """The transformed weights."""
    kernel = _kernels.load("winograd", call.kind)
    packed = np.empty(kernel.packed_size(call.packed), call.dtype)
    kernel.pack(w, packed, call.packed, call.threads)
    return packed


def run(nest, call, x, w, y):
    kernel = _kernels.load("winograd", call.kind)
    kernel.run(x, w, y, call.bias, call.packed, nest.first, call.cval, call.weights, call.threads)
