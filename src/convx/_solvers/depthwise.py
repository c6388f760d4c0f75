"""Pairs of group and output channel as vector lanes (floor 3): depthwise and grouped layers, and their gradients."""

from __future__ import annotations

from math import prod

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
    cells, few = 1, _few(nest)
    for v, lanes in zip(nest.windows[::-1], (64, 4, 1), strict=False):
        a = v.axis
        cells *= lanes * a.dilation + a.out * a.stride if few else lanes * a.stride + a.taps * a.dilation
    planes = nest.outputs // max(nest.g, 1) if few else nest.depth
    if max(cells, planes) > SCRATCH or scratch(nest, kind, 1) > SCRATCH:
        return f"strips of {cells} cells, or {planes} of them, would take more than {SCRATCH} bytes of scratch"
    return None


def _copied(lanes: int, near: bool, column: int) -> float:
    """Nanoseconds of a vector that is copied into a strip: lanes near each other, along their rows, or one by one."""
    return 2.0 if near else 3.0 if column == 1 else 0.7 * lanes


def _area(windows, few: bool) -> int:
    """Columns of all strips of one channel."""
    total = 1
    for v in windows:
        a = v.axis
        lanes, shifts = ((a.taps, a.dilation), (a.out, a.stride)) if few else ((a.out, a.stride), (a.taps, a.dilation))
        total *= lanes[0] * lanes[1] + (shifts[0] - 1) * shifts[1]
    return total


def seconds(nest, kind, threads):
    """Channels last in place: a vector of products 0.3 ns (0.4 in sums), 0.5 where no tile is made for them; 1.2 us.

    From strips: vectors of products at 0.2 ns (0.5 where `sums` has less than 3 x 3 outputs), copies, and around every
    vector of outputs 6 ns, 6 more to turn it, 0.8 a lane to store it one by one; 7 us. Either way a pass over x and y
    at 32 GB/s, which overlaps with products in place.

    One core of an Emerald Rapids server under load, beside gemm and direct: depthwise and grouped layers and their
    gradients in both layouts, each solver by its name (`benchmarks/crossover.py --lines` shows the like).
    """
    lanes, few = _kernels.load("depthwise", kind).LANES, _few(nest)
    vectors, windows = -(-nest.g * nest.m // lanes), nest.windows
    outputs = nest.outputs // max(nest.g * nest.m, 1)
    area = nest.n * nest.c * prod(v.axis.taps * v.axis.out for v in windows[:-2]) * _area(windows[-2:], few)
    passed = (nest.outputs + nest.g * area) * (8 if kind == "f64" else 4) / 32e9
    if _in_place(nest, lanes, few):
        product = (0.4 if few else 0.3) if _has_tile(windows, few) else 0.5
        time = 0.5 * area + outputs * nest.depth * product + (nest.depth + outputs * lanes if few else outputs)
        return 1.2e-6 + max(vectors * time * 1e-9, passed) / threads
    column, w_column, y_column = _columns(nest)
    others, step = (nest.n, nest.x[0]) if few else (nest.c, nest.x[2])
    near = (nest.x[1] == 1 and nest.m == 1) or (step == 1 and nest.x[1] == others <= lanes)
    beside = nest.y[1] == nest.m and (nest.y[2] == 1 or nest.m == 1)
    time = 1.3 * area * _copied(lanes, near, column)
    if few:
        whole = len(windows) > 1 and not any(v.axis.out % 3 for v in windows[-2:])
        time += outputs * nest.depth * (0.2 if whole else 0.5)
        time += nest.depth * _copied(lanes, nest.w[0] == nest.m and (nest.w[1] == 1 or nest.m == 1), w_column)
        time += outputs * lanes
    else:
        stored = 0.0 if beside else 6.0 if y_column == 1 else 0.8 * lanes
        time += outputs * (0.2 * nest.depth + 6.0 + stored)
    return 7e-6 + (vectors * time * 1e-9 + passed) / threads


def _has_tile(windows, few: bool) -> bool:
    """Whether the kernels in place keep a row of taps in registers."""
    if not windows:
        return False
    a = windows[-1].axis
    taps, stride, step = (a.out, a.dilation, a.stride) if few else (a.taps, a.stride, a.dilation)
    return taps in (3, 5) and stride <= 2 and step == 1


def _columns(nest):
    """The steps of x, w and y along the rows."""
    if not nest.windows:
        return 0, 0, 0
    v = nest.windows[-1]
    return v.xs, v.ws, v.ys


def _in_place(nest, lanes: int, few: bool) -> bool:
    """Whether groups of one channel are neighbours in both arrays of pixels."""
    once, near = (nest.n, nest.w[0]) if few else (nest.c, nest.y[1])
    return once == nest.m == nest.x[1] == near == 1 and nest.g >= lanes


def _kernel(nest, kind, few):
    """The kernel of this nest. Those that read in place give the same bits, so the strides of views may decide."""
    name = "depthwise_grad" if few else "depthwise"
    kernel = _kernels.load(name, kind)
    if _in_place(nest, kernel.LANES, few):
        return _kernels.load("depthwise_last_grad" if few else "depthwise_last", kind)
    return kernel


def scratch(nest, kind, threads):
    room, shared = _kernel(nest, kind, _few(nest)).scratch_size(nest.pack())
    return (threads * room + shared) * (8 if kind == "f64" else 4)


def way(nest, model, kind, bound):
    return _few(model)


def ready(nest, call):
    return [(_kernel(nest, call.kind, call.way).run, None, call.packed, nest.first, call.cval)]


def run(nest, call, x, w, y):
    for kernel, _, *rest in ready(nest, call):
        kernel(x, w, y, call.bias, *rest, call.threads)
