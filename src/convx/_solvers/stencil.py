"""One or few channels in a group, vectors along the row (floor 3): image filters, depthwise and grouped layers."""

from __future__ import annotations

import struct
from math import log2

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
    reach = 1
    for v in nest.windows:
        reach *= (v.axis.taps - 1) * v.axis.dilation + v.axis.stride
    planes = nest.c * (nest.windows[0].axis.taps if len(nest.windows) > 2 else 1)
    if max(reach, planes, nest.m) > SCRATCH or scratch(nest, kind, 1) > SCRATCH:
        return f"{planes} planes of windows over {reach} cells would take more than {SCRATCH} bytes of scratch"
    return None


def _moved(nest, lanes: int, channels: int, channel_step: int, column: int, strided: int = 1) -> float:
    """Nanoseconds of a vector of x that is copied, or of y that is written from scratch, beyond neighbours."""
    if column == 1:
        return 0.0
    near = nest.g * channels >= 4 and (channel_step == 1 or channels == 1)
    if near:
        return 7.0 if strided == 1 else 35.0
    return 8.0 if column == 2 and lanes > 4 else 0.6 * lanes


def predicted(nest, kind, threads, depth, around, high=0) -> float:
    """Seconds for `depth` products an output and `around` ns more a vector; high: the rows of a tile, if others.

    Vectors of whole tiles at 0.22 ns a product (0.38 and 0.5 in tiles of two and of one vector, twice that
    where kernel rows share no rows of x), those of a single row at 0.5; copies of x by phases of a stride 5, what
    is turned 7 (35 with a stride), every second value 8; 15 a row that is copied, 60 a channel of y, and 2 us. Twice
    the channels take a tenth longer each, as more of x is in flight; with a stride, where fewer kernel rows share a
    row, 1.4 times. Every output channel reads x again, at least 5 ns a line of it where an image does not stay in L2
    (3 channels of 64 in 224^2 float64 take 2.9 ms, not 1.9).

    One core of an Emerald Rapids server under load, beside gemm and direct: image filters, depthwise and grouped
    layers in both layouts, each solver by its name (`benchmarks/crossover.py --lines` shows the like).
    """
    lanes = _kernels.load("stencil", kind).LANES
    a, b = (nest.windows[-2].axis if len(nest.windows) > 1 else None), nest.windows[-1]
    planes = nest.outputs // max(b.axis.out, 1)
    columns = -(-b.axis.out // lanes)
    product = {1: 0.5, 2: 0.38}.get(columns, 0.22)
    x_size = nest.n * nest.g * nest.c
    for v in nest.windows:
        x_size *= v.axis.out * v.axis.stride + (v.axis.taps - 1) * v.axis.dilation
    if a is None or a.out == 1:
        columns, product = -(-columns // 4) * 4, 0.5
    else:
        high = high or (8 if columns == 1 else 4)
        planes = planes // max(a.out, 1) * -(-a.out // high) * high
        if a.dilation > 1 and a.stride % a.dilation:
            product *= 2
    if nest.c > 1:
        product *= (1 + 0.09 * log2(nest.c)) * (1.4 if b.axis.stride > 1 else 1)
    time = planes * columns * (around + product * depth)
    x_cost = _moved(nest, lanes, nest.c, nest.x[2], b.xs, b.axis.stride)
    if nest.c > 1 or b.xs != 1:
        time += 15.0 * x_size / max(b.axis.out * b.axis.stride + (b.axis.taps - 1) * b.axis.dilation, 1)
    time += 60.0 * nest.n * nest.g * nest.m
    time += x_size / lanes * (max(x_cost, 5.0) if b.axis.stride > 1 else x_cost)
    time += nest.outputs / lanes * _moved(nest, lanes, nest.m, nest.y[2], b.ys)
    x_bytes = x_size * (8 if kind == "f64" else 4)
    if nest.m > 1 and b.xs == 1 and x_bytes > nest.n * nest.g << 20:
        time = max(time, nest.m * x_bytes / 64 * 5.0)
    return 2e-6 + time * 1e-9 / threads


def seconds(nest, kind, threads):
    """A vector takes 5 ns beside its products, one of a single row 6."""
    rows = nest.windows[-2].axis.out if len(nest.windows) > 1 else 1
    return predicted(nest, kind, threads, nest.depth, 5.0 if rows > 1 else 6.0)


def scratch(nest, kind, threads):
    return threads * (8 if kind == "f64" else 4) * _kernels.load("stencil", kind).scratch_size(nest.pack(), False)


def _type(dtype, real: int) -> int:
    """The number of a stored type, CONVX_TYPE of _stored.h; 0: floats of `real` bytes."""
    return 0 if dtype.kind == "f" and dtype.itemsize == real else ord(dtype.kind) * 16 + dtype.itemsize


def stores(nest, kind, x_dtype, y_dtype, divisor, offset):
    """What the kernel must know to read x and to write y = sum / divisor + offset as they are stored, or None.

    Channels that are neighbours, rows of which are turned as reals, are left to those who convert whole arrays.
    """
    real, last = 4 if kind == "f32" else 8, nest.windows[-1]
    half = [dtype.kind == "f" and dtype.itemsize == 2 for dtype in (x_dtype, y_dtype)]
    if not nest.first or (any(half) and not _kernels.load("stencil", kind).HALF) or (half[1] and real == 8):
        return None
    if y_dtype.kind == "f" and y_dtype.itemsize > real:
        return None
    if (last.xs != 1 and nest.g * nest.c >= 4) or (last.ys != 1 and nest.g * nest.m >= 4):
        return None
    return struct.pack("qqdd", _type(x_dtype, real), _type(y_dtype, real), divisor, offset)


def way(nest, model, kind, bound):
    return None


def joined(call, other):
    """One call for the nests of both, which share no output, or None: in one region, x copied once where it can be."""
    if call.stored != other.stored or len(call.packed) >= _kernels.load("stencil", call.kind).MOST * len(other.packed):
        return None
    return call._replace(packed=call.packed + other.packed)


def ready(nest, call):
    return [(_kernels.load("stencil", call.kind).run, None, call.packed, nest.first, call.cval, call.stored, False)]


def run(nest, call, x, w, y):
    for kernel, _, *rest in ready(nest, call):
        kernel(x, w, y, call.bias, *rest, call.threads)
