"""Large kernels on few channels by Winograd's lines down the columns: the tiles of `stencil`, fewer products (floor 3).

The heads of the kernel, `stencil.pyx`, and of `_down.pxd` describe the points.
"""

from __future__ import annotations

from math import inf

from .. import _kernels
from . import stencil

name = "stencil_winograd"
error_factor = 4.0  # benchmarks/winograd_error.py: 2.0 for one channel of 2x2 taps, 0.2 of 9x9, 0.02 of 31x31
normwise = True

LINE, POINTS = 4, 7  # rows of outputs, and of taps, of a line, and its products


def refuse(nest, kind):
    reason = stencil.refuse(nest, kind)
    if reason:
        return reason
    if len(nest.windows) < 2:
        return "no axis beside the one along rows"
    down = nest.windows[-2].axis
    if down.stride > 1 or down.dilation > 1:
        return f"stride {down.stride} and dilation {down.dilation} down the columns (only 1)"
    if down.taps == 1 or down.out == 1:
        return f"{down.out} outputs of {down.taps} taps down the columns (several of several are needed)"
    if scratch(nest, kind, 1) > stencil.SCRATCH:
        return f"rows at points would take more than {stencil.SCRATCH} bytes of scratch"
    return None


def _depth(nest) -> int:
    """Weights of an output channel and group at the points: products for LINE outputs."""
    down = nest.windows[-2].axis
    return nest.depth // down.taps * -(-down.taps // LINE) * POINTS


def seconds(nest, kind, threads):
    """As `stencil` with fewer kernel rows; a vector of outputs takes 5 ns beside its products, one of x 10 to become
    rows at points (pieces of 128 rows and 16 vectors overlap), a weight 2. 1.4 times all that where several planes are
    summed, whose rows at points leave L1.

    One core of an Emerald Rapids server, images of 256^2 to 2048^2 and kernels of 5x5 to 63x63 in both dtypes; layers
    of 1 to 16 channels, volumes of 32^3 to 128^3 (`benchmarks/crossover.py`).
    """
    if refuse(nest, kind):  # the model of a view that is not refused
        return inf
    down, along = nest.windows[-2].axis, nest.windows[-1].axis
    depth, lanes = _depth(nest), _kernels.load("stencil", kind).LANES
    vectors = nest.n * nest.g * nest.c * (down.out + -(-down.out // 128) * (down.taps - 1)) * -(-along.out // lanes)
    for v in nest.windows[:-2]:
        vectors *= v.axis.out * v.axis.stride + (v.axis.taps - 1) * v.axis.dilation
    vectors *= along.stride + (along.taps - 1) * along.dilation / (16 * lanes)
    time = stencil.predicted(nest, kind, threads, depth / LINE, 5.0, 8 * LINE) + 10e-9 * vectors / threads
    if nest.depth > down.taps * along.taps:
        time *= 1.4
    return time + 2e-9 * nest.g * nest.m * depth


def scratch(nest, kind, threads):
    size, kernel = 8 if kind == "f64" else 4, _kernels.load("stencil", kind)
    return size * (threads * kernel.scratch_size(nest.pack(), True) + nest.g * nest.m * _depth(nest))


def ready(nest, call):
    return [(_kernels.load("stencil", call.kind).run, None, call.packed, nest.first, call.cval, call.stored, True)]


def run(nest, call, x, w, y):
    for kernel, _, *rest in ready(nest, call):
        kernel(x, w, y, call.bias, *rest, call.threads)


stores, way, joined = stencil.stores, stencil.way, stencil.joined
