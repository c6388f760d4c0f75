"""The nest as it stands (floor 3): any strides, unshared weights, exact integers. Refuses only what is not compiled."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from .. import _kernels
from .._nest import Window
from ._base import at, not_compiled

name = "direct"
error_factor = 1.0
normwise = False

NONE, BATCH, GROUPS, CHANNELS, ROW = range(5)


def _lanes(nest, lanes: int):
    """(nanoseconds of a product, lane) of every loop that may be the lanes of vectors of `lanes` values.

    A call for four vectors, or one, takes 45 ns, and each of their products 0.5 (1.5 or 5 with many weights):
    neighbours; six times that for every second value, 4 + 0.85 a lane times for values one by one; a result that is no
    neighbour 0.5 a lane. Products of a single vector wait for each other: 1.2 at least.
    One by one, leftovers and rims of a row, a product takes 1.2 and a tap 5. One core of a Zen 3 server: depthwise and
    strided layers, each solver by its name (`python benchmarks/crossover.py --lines` shows the like).
    """
    shared, depth = nest.shares_weights(), max(nest.depth, 1)
    single = 1.2 + 5.0 / max(nest.c, 1)
    weights = nest.g * nest.m * depth  # beyond L1, or L2, they arrive for every output anew
    each = 0.5 if weights < 1 << 14 else 1.5 if weights < 1 << 17 else 5.0
    yield single, NONE
    loops = []
    if nest.n > 1:
        loops.append((BATCH, nest.n, nest.x[0], nest.y[0], nest.n))
    if nest.g > 1 and (shared or nest.w[0] == 1):
        loops.append((GROUPS, nest.g, nest.x[1], nest.y[1], nest.g))
    if nest.m > 1 and (shared or nest.w[1] == 1):
        loops.append((CHANNELS, nest.m, 0, nest.y[2], nest.m))
    if nest.windows and nest.windows[-1].wo == 0 and nest.windows[-1].axis.taps:
        v = nest.windows[-1]
        low, high = v.axis.reach()
        rims = (max(0, -low) + max(0, high - v.axis.size + 1)) // v.axis.stride
        loops.append((ROW, v.axis.out, v.xs * v.axis.stride, v.ys, max(0, v.axis.out - rims)))
    for place, count, x_step, y_step, inside in loops:
        vectors = inside // lanes
        apart = 4.0 + 0.85 * lanes
        load = {0: 1.0, 1: 1.0, 2: apart if place == GROUPS else 6.0}.get(x_step, apart)
        store = 0.0 if y_step == 1 else lanes / depth
        full, rest = divmod(vectors, 4)
        time = 45.0 * (full + rest) / depth + 4 * each * load * full + max(1.2, each * load) * rest
        time += each * store * vectors + (count - vectors * lanes) * single
        yield time / max(count, 1), place


def lane(nest, lanes: int) -> int:
    """The loop whose values become vector lanes, NONE where that is slower than one by one.

    It does not change the order of any sum. Weights are copied so that they run along the lanes (`_arranged`).
    """
    return min(_lanes(nest, lanes))[1]


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
    """Products as the best lanes allow, 3 ns for a weight that is copied along them, and 1 us."""
    each, along = min(_lanes(nest, _kernels.load("direct", kind).LANES))
    copied = 0 if _arranged(nest, along) is None else nest.g * nest.m * nest.depth
    return 1e-6 + 3e-9 * copied + nest.products * each * 1e-9 / threads


def scratch(nest, kind, threads):
    along = lane(nest, _kernels.load("direct", kind).LANES)
    return 0 if _arranged(nest, along) is None else nest.g * nest.m * nest.depth * (4 if kind == "f32" else 8)


def way(nest, model, kind, bound):
    """(lane, how the weights are arranged along it)."""
    along = lane(nest, _kernels.load("direct", kind).LANES)
    return along, _arranged(nest, along)


def prepare(nest, call, w):
    """Weights copied along the lanes once, or None where they lie so."""
    _, arranged = call.way
    if arranged is None:
        return None
    _, shape, strides = arranged
    return np.ascontiguousarray(at(w, call.dtype, nest.origin[1], shape, strides))


def ready(nest, call):
    kernel = _kernels.load("direct", call.kind).run
    along, arranged = call.way
    if arranged is not None and call.weights is None:
        return [(partial(_copying, kernel, nest, call), None, arranged[0], nest.first, call.cval, along)]
    return [(kernel, call.weights, arranged[0] if arranged else call.packed, nest.first, call.cval, along)]


def _copying(kernel, nest, call, x, w, *rest):
    """The kernel on weights copied along the lanes in every call."""
    kernel(x, prepare(nest, call, w), *rest)


def run(nest, call, x, w, y):
    for kernel, copied, *rest in ready(nest, call):
        kernel(x, w if copied is None else copied, y, call.bias, *rest, call.threads)
