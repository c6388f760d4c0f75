"""Dense layers as a matrix product over packed tiles (floor 3); the kernel's head describes the schedule."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import prod

import numpy as np

from .. import _kernels
from .._geometry import Axis
from .._nest import KERNEL_RANK, Window
from ._base import not_dense

name = "gemm"
error_factor = 1.0
normwise = False
MOST = 16  # nests of a call, as in the kernel


def refuse(nest, kind):
    return not_dense(nest, kind)


def _in_order(nest, channel_last: bool) -> bool:
    """Whether the weights of one output channel are contiguous in the order of the inner sum."""
    loops = [(nest.c, nest.w[2])] + [(v.axis.taps, v.ws) for v in nest.windows]
    if channel_last:
        loops = loops[1:] + loops[:1]
    step = 1
    for extent, stride in reversed(loops):
        if extent > 1 and stride != step:
            return False
        step *= extent
    return True


def _weights_in_place(nest, flat: bool, channel_last: bool, kind: str) -> bool:
    """Whether the kernel reads weights where they lie, whatever else is true of the way.

    Rows in the order of the inner sum. Lanes, where they are neighbours and fill vectors, as in the gradients of
    channels-last layers: the first tile of a panel keeps a copy of them for the others.
    """
    if not flat:
        return _in_order(nest, channel_last)
    return nest.w[1] == 1 and nest.m % _kernels.load("gemm", kind).LANES == 0


def _inside(nest) -> float:
    """The share of tiles of neighbouring pixels whose windows lie inside x."""
    share = 1.0
    for v in nest.windows:
        low, high = v.axis.reach()
        rims = (max(0, -low) + max(0, high - v.axis.size + 1)) / v.axis.stride
        share *= max(0.0, 1 - (4 if v is nest.windows[-1] else 1) * rims / max(v.axis.out, 1))
    return share


def _may_line(nest) -> bool:
    """Whether the batch may be the innermost window, so that pixels which are neighbours in memory follow each other.

    So it is for the weight gradient of channels-last layers, whose batch are the channels.
    """
    return nest.n > 1 and nest.x[0] == 1 and len(nest.windows) < KERNEL_RANK


def _may_strip(nest) -> bool:
    """Whether taps share input rows that lie along the pixels, and a strip of them is smaller than a copy for each.

    The strip of a single output row must not exceed twice STRIP of the kernel: a wide dilation fills it with gaps.
    """
    if not nest.windows or nest.windows[-1].xs != 1:
        return False
    out = nest.windows[-1].axis.out
    spans = [(v.axis.taps, v.axis.stride, v.axis.dilation * (v.axis.taps - 1) + 1) for v in nest.windows[-2:]]
    taps, read = 1, 1
    for count, stride, span in spans:
        taps *= count
        read *= min(stride, span)
    if taps < 1 or taps <= read:
        return False
    height = spans[-2][2] if len(spans) > 1 else 1
    _, stride, span = spans[-1]
    line = (min(out, 480) + 64 + span // stride) * min(stride, span)
    return min(nest.depth // taps, 640 // taps + 1) * height * line <= 2 * 65536


def _lined(nest):
    window = Window(Axis(nest.n, 1, nest.n), nest.x[0], 0, 0, nest.y[0])
    return replace(nest, n=1, x=(0, *nest.x[1:]), y=(0, *nest.y[1:]), windows=(*nest.windows, window))


def _strip_runs(nest):
    """How many runs of x strips consist of, and their length: a row of outputs and what its taps reach beyond it.

    Where taps are many and outputs few, as in weight gradients, strips are as large as the reach of the taps.
    """
    last = nest.windows[-1].axis
    runs = nest.n * nest.c * (nest.windows[-3].axis.out * nest.windows[-3].axis.taps if len(nest.windows) > 2 else 1)
    for v in nest.windows[-2:]:
        span = v.axis.dilation * (v.axis.taps - 1)
        runs *= min(v.axis.stride, span + 1)
        if v is not nest.windows[-1]:
            runs *= v.axis.out + span // v.axis.stride
    return runs, last.out + last.dilation * (last.taps - 1) // last.stride


def _cycles(nest, flat: bool, channel_last: bool, in_place: bool, strips: bool, lanes: int, rows: int,
            bound: bool) -> float:
    """Vector cycles of one way: whole tiles, packing x, packing w, storing y.

    One multiply-add per cycle, a copied vector counts 6, a turned element 0.7, one gathered 2 apart 0.4, any other 2,
    a weight 0.5 more, a run 8 (30 where it is shorter than a vector: weight gradients of 3 to 8 channels of an Emerald
    Rapids server), what is around a tile 300 and around a pixel 12: one core of a Zen 4 server (`python
    benchmarks/crossover.py --lines`); the choice between the ways is flat within a factor 1.5 of each.
    """
    last = nest.windows[-1] if nest.windows else None
    pixels, depth, m = nest.outputs // max(nest.g * nest.m, 1), nest.depth, nest.m
    taps = depth // max(nest.c, 1)
    row = max(last.axis.out, 1) if last else 1

    def up(n, k):
        return -(-n // k) * k

    def moved(step, turned=False):
        return {1: 6.0 / lanes, 2: 0.4}.get(step, 0.7 if turned else 2.0)

    if flat:
        merged = last is not None and nest.x[2] == 1 and last.axis.dilation * last.xs == nest.c
        if channel_last:
            runs = pixels * (taps // max(last.axis.taps, 1) if merged else taps) * (1 if nest.x[2] == 1 else nest.c)
            x_cost = pixels * depth * moved(nest.x[2]) + 8.0 * runs
        else:
            runs = pixels * depth // (max(last.axis.taps, 1) if last else 1)
            x_cost = pixels * depth * moved(last.xs * last.axis.dilation if last else 1) + 20.0 * runs
        length, run = nest.c, nest.x[2]
        if not channel_last and last and last.axis.taps > 1:
            length, run = last.axis.taps, last.xs * last.axis.dilation
        if length >= 16 and abs(run) <= lanes:
            x_cost *= 1 - _inside(nest)  # the others are read in place
        turned = nest.w[2] == 1 if channel_last else last is not None and last.ws == 1
        w_cost = 0 if bound else m * depth * (moved(nest.w[1], turned) + 0.5)  # in place it is kept, which is a copy
        y_cost = pixels * m * (3.0 / lanes if nest.y[2] == 1 else 1.5)
        work = up(pixels, rows) * up(m, lanes) * depth / lanes
        tiles = up(pixels, rows) / rows * up(m, 3 * lanes) / (3 * lanes)
    else:
        step = last.xs * last.axis.stride if last else 0
        columns, run = up(pixels, lanes), 8.0 if row >= lanes else 30.0
        if strips:
            runs, length = _strip_runs(nest)
            x_cost = runs * (length * moved(step, True) + run)
            pitch = row + last.axis.dilation * (last.axis.taps - 1) // last.axis.stride
            columns = pixels // row * min(up(row, lanes), pitch)
        else:
            x_cost = pixels * depth * (moved(step, nest.x[2] == 1 and nest.c >= lanes) + run / min(row, 3 * lanes))
            if step == 1 and depth == nest.c >= 16 and row >= 3 * lanes:
                x_cost *= 0.3  # the first tile that reads a panel keeps it
        w_cost = 0 if in_place or bound else m * depth * moved(1 if nest.w[2] == 1 else 3)
        y_cost = pixels * m * (3.0 / lanes if last and last.ys == 1 else 1.5)
        work = up(m, rows) * columns * depth / lanes
        tiles = up(m, rows) / rows * up(pixels, 3 * lanes) / (3 * lanes)
    around = 300.0 * tiles * up(max(depth, 1), 640) / 640 + 12.0 * pixels
    return (x_cost + w_cost + y_cost + work + around) * nest.g


@lru_cache(maxsize=4096)
def _ways(nest, kind: str, bound: bool):
    """(cycles, flat, channel_last, strips, lined) of the cheapest way."""
    kernel = _kernels.load("gemm", kind)
    by_x = nest.x[2] == 1
    by_w = not _in_order(nest, False) and (_in_order(nest, True) or abs(nest.w[2]) == 1)
    ways = []
    for lined in (False, True) if _may_line(nest) else (False,):
        line = _lined(nest) if lined else nest
        for flat, strips in ((False, False), (False, True), (True, False)):
            if strips and not _may_strip(line):
                continue
            channel_last = by_x if flat else by_w
            in_place = _weights_in_place(line, flat, channel_last, kind)
            cycles = _cycles(line, flat, channel_last, in_place, strips, kernel.LANES, kernel.ROWS, bound)
            ways.append((cycles, flat, channel_last, strips, lined))
    return min(ways)


def seconds(nest, kind, threads):
    """Cycles of the cheapest way at 4.3 GHz, at 3.2 where few outputs sum up many taps, 6 us for scratch and region,
    0.3 us a group.

    The rates are those of an Emerald Rapids server (`benchmarks/crossover.py`: dense layers took 0.75 of the time that
    the cycles of the other machine need at 3.5 GHz, small ones as long, weight gradients of first layers 1.1).
    """
    few = prod(v.axis.taps for v in nest.windows) > prod(v.axis.out for v in nest.windows)
    return 5.7e-6 + 3e-7 * nest.g + _ways(nest, kind, False)[0] / (3.2e9 if few else 4.3e9) / threads


def scratch(nest, kind, threads):
    size = 8 if kind == "f64" else 4
    _, flat, channel_last, _, _ = _ways(nest, kind, False)
    block = threads * 640 * 310 * size
    in_place = _weights_in_place(nest, flat, channel_last, kind)
    return block + (0 if in_place else min(nest.g * nest.m * nest.depth * size, 12 << 20))


def way(nest, model, kind, bound):
    """(flat, channel_last, in_place, packed): decided on the model, but for whether weights can be read in place."""
    _, flat, channel_last, strips, lined = _ways(model, kind, bound)
    line = _lined(nest) if lined else nest
    in_place = _weights_in_place(line, flat, channel_last, kind)
    return flat, channel_last, in_place, strips, line.pack()


def prepare(nest, call, w):
    """Weights packed once for `run`, or None where they are read in place."""
    flat, channel_last, in_place, strips, packed_nest = call.way
    if in_place:
        return None
    kernel = _kernels.load("gemm", call.kind)
    memory = np.empty(kernel.packed_size(packed_nest, flat) + 64, call.dtype)
    packed = memory[-memory.ctypes.data % 64 // memory.itemsize:]  # on a cache line
    kernel.pack(w, packed, packed_nest, flat, channel_last, strips, call.threads)
    return packed


def joined(call, other):
    """One call for the nests of both, which share no output, or None: in one region, where their ways are alike."""
    (*way, nests), (*alike, nest) = call.way, other.way
    if way != alike or len(nests) >= MOST * len(nest):
        return None
    return call._replace(way=(*way, nests + nest))


def ready(nest, call):
    *way, packed_nest = call.way
    return [(_kernels.load("gemm", call.kind).run, None, packed_nest, nest.first, call.cval, *way, call.weights)]


def run(nest, call, x, w, y):
    for kernel, _, *rest in ready(nest, call):
        kernel(x, w, y, call.bias, *rest, call.threads)
