"""The nest as it stands (floor 3): any strides, unshared weights, exact integers. Refuses only what is not compiled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .. import _kernels
from .._nest import Window
from ._base import at, not_compiled

name = "direct"
error_factor = 1.0
normwise = False

NONE, BATCH, GROUPS, CHANNELS, ROW = range(5)


def lane(nest) -> int:
    """The loop whose values become vector lanes: unit stride in y, 0 or 1 in x, the longest such.

    Weights are copied so that they run along the lanes (`_arranged`), but where they are not shared.
    """
    found = [(1, NONE)]
    shared = nest.shares_weights()
    if nest.y[0] == 1 and nest.x[0] == 1:
        found.append((nest.n, BATCH))
    if nest.y[1] == 1 and nest.x[1] in (0, 1) and (shared or nest.w[0] == 1):
        found.append((nest.g, GROUPS))
    if nest.y[2] == 1 and (shared or nest.w[1] == 1):
        found.append((nest.m, CHANNELS))
    if nest.windows:
        v = nest.windows[-1]
        if v.ys == 1 and v.xs * v.axis.stride == 1 and v.wo == 0:
            found.append((v.axis.out, ROW))
    return max(found)[1]


def _arranged(nest, along: int):
    """The nest for weights copied with groups or channels innermost, and the shape and strides to copy them by.

    None where they already lie so.
    """
    place = {GROUPS: 0, CHANNELS: 1}.get(along)
    if place is None or nest.w[place] == 1:
        return None
    extents = [nest.g, nest.m, nest.c, *(v.axis.taps for v in nest.windows)]
    strides = [*nest.w, *(v.ws for v in nest.windows)]
    order = [a for a in range(len(extents)) if a != place] + [place]
    steps, step = [0] * len(extents), 1
    for a in reversed(order):
        steps[a] = step
        step *= extents[a]
    windows = tuple(Window(v.axis, v.xs, s, 0, v.ys) for v, s in zip(nest.windows, steps[3:], strict=True))
    copied = replace(nest, w=tuple(steps[:3]), origin=(nest.origin[0], 0, nest.origin[2]), windows=windows)
    return copied.pack(), tuple(extents[a] for a in order), tuple(strides[a] for a in order)


def refuse(nest, kind):
    return not_compiled(nest, kind)


def seconds(nest, kind, threads):
    """Lanes in whole vectors at 1.0 G products/s a lane, the rest one by one at 0.4 G.

    The first on one core of a Zen 3 server, the second of a Zen 4 server (`python benchmarks/costs.py`).
    """
    where = lane(nest)
    lanes = _kernels.load("direct", kind).LANES
    extent = {NONE: 1, BATCH: nest.n, GROUPS: nest.g, CHANNELS: nest.m}.get(where)
    whole = 0 if extent is None else extent // lanes * lanes
    if where == ROW:
        axis = nest.windows[-1].axis
        extent, rims = axis.out, axis.out
        if axis.taps:
            low, high = axis.reach()
            rims = min(axis.out, max(0, -low) + max(0, high - axis.size + 1))
        whole = (extent - rims) // lanes * lanes
    share = whole / max(extent, 1) if where != NONE else 0
    return 1e-6 + nest.products * (share / (1.0e9 * lanes) + (1 - share) / 0.4e9) / threads


def scratch(nest, kind, threads):
    return 0 if _arranged(nest, lane(nest)) is None else nest.g * nest.m * nest.depth * (4 if kind == "f32" else 8)


def way(nest, model, kind, bound):
    """(lane, how the weights are arranged along it)."""
    along = lane(nest)
    return along, _arranged(nest, along)


def prepare(nest, call, w):
    """Weights copied along the lanes once, or None where they lie so."""
    _, arranged = call.way
    if arranged is None:
        return None
    _, shape, strides = arranged
    return np.ascontiguousarray(at(w, call.dtype, nest.origin[1], shape, strides))


def run(nest, call, x, w, y):
    kernel = _kernels.load("direct", call.kind)
    along, arranged = call.way
    packed = call.packed
    if arranged is not None:
        packed = arranged[0]
        w = call.weights if call.weights is not None else prepare(nest, call, w)
    kernel.run(x, w, y, call.bias, packed, nest.first, call.cval, along, call.threads)
