"""Windows of cells combined without weights (floor 4): from the numbers of a pooling to calls of the pool kernel.

The sum of a window is the convolution with a scalar weight, and its gradient the role swap of the same axes; the
largest value is the same numbers with another way of combining. So one kernel computes them all.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import cached_property
from math import gcd, prod

import numpy as np

from . import _kernels
from ._geometry import Axis, Geometry
from ._kernels import ready
from ._plan import Plan, compute
from ._problem import Problem
from ._schedule import is_fortran, native

KINDS = {np.dtype("f"): "f32", np.dtype("d"): "f64", np.dtype("u8"): "i64"}
BLOCK = 2048  # outputs of a row at a time: two padded rows stay in the first cache
SMALL = 2**17  # cells below which one thread is faster: 30 us at 4 cells a nanosecond
SIGN = np.uint64(2**63)


@dataclass(frozen=True)
class Pooling:
    """Axes (forward: x to y), where the loops live in both arrays, and what sums are divided by, per axis."""

    axes: tuple[Axis, ...]
    n_at: int | None
    c_at: int
    s_at: tuple[int, ...]
    x_shape: tuple[int, ...]
    y_shape: tuple[int, ...]
    counts: tuple = field(default=(), compare=False)
    packed: dict = field(default_factory=dict, compare=False)

    @cached_property
    def swapped(self) -> Pooling:
        """From y to x: the gradient of a sum; divided as well where one number divides them all."""
        counts = ()
        if self.counts and all(many.size and (many == many[0]).all() for many in self.counts):
            same = prod(float(many[0]) for many in self.counts)
            counts = tuple(np.full(a.size, same if i == 0 else 1.0) for i, a in enumerate(self.axes))
        axes = tuple(a.swap_xy() for a in self.axes)
        return Pooling(axes, self.n_at, self.c_at, self.s_at, self.y_shape, self.x_shape, counts)

    @cached_property
    def inverse(self) -> bool:
        """Whether all counts are powers of two of ordinary size, so that factors are as exact as quotients."""
        parts = [np.frexp(many) for many in self.counts]
        return len(parts) < 8 and all((m == 0.5).all() and (np.abs(e) < 16).all() for m, e in parts)

    def spread_counts(self, dtype):
        """The counts of every output, to divide an array of y's shape by."""
        total = np.ones((), dtype)
        for s, many in zip(self.s_at, self.counts, strict=True):
            total = total * many.astype(dtype).reshape([-1 if a == s else 1 for a in range(len(self.y_shape))])
        return total

    def place_steps(self) -> tuple[int, ...]:
        """Row-major steps over the spatial axes: what a place counts."""
        sizes = [self.x_shape[s] for s in self.s_at]
        return tuple(prod(sizes[a + 1:]) for a in range(len(sizes)))


def kernel_of(x, name="pool"):
    """The kernel for the dtype of x."""
    return _kernels.load(name, KINDS[x.dtype])


def innermost(p: Pooling, x):
    """The role of the axis that runs along memory: "n", "c" or the number of a spatial axis.

    The extent of the batch has no say in it: what a batch is cut into must not change how its parts are computed.
    """
    positions = range(len(p.x_shape))
    for at in positions if is_fortran(x) else reversed(positions):
        if at == p.c_at and p.x_shape[at] == 1:
            continue
        return {p.n_at: "n", p.c_at: "c"}.get(at) or p.s_at.index(at)
    raise AssertionError("an array without spatial axes")


def _phases(axis: Axis):
    """For every residue of the outputs of the inner axis (taps, stride, dilation, start), walked upwards."""
    phases = [(0, 1, 1, 0)] * (axis.base // gcd(axis.base, axis.stride))
    for part, _, outs in axis.phases():
        reach = min(part.dilation * (part.taps - 1), 0)
        phases[outs.start] = part.taps, part.stride if part.out > 1 else 1, abs(part.dilation), reach - part.offset
    return phases


def _row_numbers(axis: Axis, lanes: int):
    """(step, block, width, low, phases) of rows along the inner axis; None where a padded row is out of proportion."""
    phases = _phases(axis)
    step = len(phases)
    block = max(1, min(-(-axis.out // step), BLOCK // step))
    full = [f for f in phases if f[0]] or phases[:1]
    stride = max(f[1] for f in full)
    low = min(start for *_, start in full)
    high = max(start + dilation * max(taps - 1, 0) for taps, _, dilation, start in full) + stride * (block - 1)
    width = -(-(high - low + 1 + lanes * (stride + 1)) // lanes) * lanes  # whole vectors, and room to read on
    if width > 4 * (axis.size + axis.out) + 4096 or step > BLOCK:
        return None
    return step, block, width, low, [(*f[:3], f[3] - low if f[0] else 0) for f in phases]


def _tap_step(axis: Axis) -> int:
    return axis.base // gcd(axis.base, axis.dilation)


def pack(p: Pooling, x, y, role, row, place_steps=None, ring=0):
    """The numbers of the pooling for these arrays, which lie in memory alike, as the struct of _pool.h; the lanes; the
    order of the axes. row: the numbers of rows along the axis `role`, or None; place_steps: of every axis; else places
    count elements of x, or (nobody goes to one by its number, so that small numbers will do) the cells of a plane."""
    size = x.itemsize
    xs, ys = ([s // size for s in a.strides] for a in (x, y))
    rank = len(p.axes)
    order = list(range(rank))
    if row is not None:
        order = [a for a in order if a != role] + [role]
    loops = {"n": (1, 0, 0) if p.n_at is None else (p.x_shape[p.n_at], xs[p.n_at], ys[p.n_at]),
             "c": (p.x_shape[p.c_at], xs[p.c_at], ys[p.c_at])}
    lanes = 1
    if role in loops:
        lanes, loops[role] = loops[role][0], (1, 0, 0)
    step, block, width, low, phases = row or (1, 1, 1, 0, [(0, 1, 1, 0)])
    (n, xn, yn), (g, xg, yg) = loops["n"], loops["c"]
    if g == 1 or (xn, yn) == (g*xg, g*yg):  # one loop: planes with one step can be walked together
        n, g, xg, yg = 1, n*g, xn if g == 1 else xg, yn if g == 1 else yg
    by_place = row is not None and role == rank - 1
    if place_steps is None:
        place_steps = p.place_steps() if row is None else [xs[at] for at in p.s_at]
    numbers = [n, g, xn, xg, yn, yg, lanes, rank, row is not None, by_place, p.inverse, step, block, width, low, ring]
    for a in order:
        axis, at = p.axes[a], p.s_at[a]
        numbers += [axis.out, axis.taps, axis.size, axis.base, axis.stride if axis.out > 1 else 1, axis.dilation,
                    axis.offset, _tap_step(axis), xs[at], ys[at], place_steps[a]]
    for phase in phases:
        numbers += phase
    return struct.pack(f"{len(numbers)}n", *numbers), lanes, order


def numbers(p: Pooling, x, y, flat=False):
    """(packed, whether lanes run along rows, counts), remembered for arrays of these strides. flat: places count cells
    of a plane row by row, else elements of x."""
    key = x.strides, y.strides, x.dtype, flat, is_fortran(x)
    found = p.packed.get(key)
    if found is None:
        role = innermost(p, x)
        row = None if role in ("n", "c") else _row_numbers(p.axes[role], kernel_of(x).LANES)
        packed, _, order = pack(p, x, y, role, row, p.place_steps() if flat else None)
        counts = None
        if p.counts:  # whole vectors are read from every position on
            counts = np.concatenate([*(p.counts[a] for a in order), np.ones(64)]).astype(x.dtype)
            if p.inverse:
                counts = 1 / counts
        found = p.packed[key] = packed, row is not None, counts
    return found


def laid_out(array, dtype):
    """The array, or a copy of that dtype, contiguous in C or Fortran order."""
    array = native(array, dtype)
    return array if array.flags.c_contiguous or array.flags.f_contiguous else np.ascontiguousarray(array)


def empty(shape, x, dtype, out=None):
    """out where the kernel can write to it, else a new array in the memory order of x."""
    fortran = is_fortran(x)
    if out is not None and native(out, dtype) is out and out.flags["F_CONTIGUOUS" if fortran else "C_CONTIGUOUS"]:
        return out
    return ready.empty(tuple(shape), np.dtype(dtype), fortran, x)


def team(threads, *arrays):
    return threads if sum(a.size for a in arrays) >= SMALL else 1


def combining(p: Pooling, x, y, largest: bool, threads):
    """What computes y = sums (divided by the counts) or largest values, as a function of x and y: it, and its further
    arguments. x and y of one compiled dtype, contiguous alike."""
    packed, _, counts = numbers(p, x, y)
    return kernel_of(x).values, packed, counts, largest, team(threads, x, y)


def combined(p: Pooling, x, y, largest: bool, threads: int) -> None:
    if y.size:
        values, *numbers = combining(p, x, y, largest, threads)
        values(x, y, *numbers)


def located(p: Pooling, x, y, threads: int):
    """y = largest values; where they are, as flat indices into the spatial axes."""
    places = np.empty_like(y, np.int32 if y.itemsize == 4 else np.int64)
    if y.size:
        packed, _, _ = numbers(p, x, y, flat=True)
        kernel_of(x).places(x, y, places, packed, team(threads, x, y))
    return places


def ordered(x, cells: int):
    """x as an array of a compiled dtype whose values are ordered as those of x, and the way back.

    Integers of 64 bits compare as unsigned ones; what has no kernel (long double) is replaced by its ranks. Places
    in float32 have 31 bits: `cells` beyond that take float64.
    """
    dtype = x.dtype.newbyteorder("=")
    if dtype.kind in "iu" and dtype.itemsize == 8:
        if dtype.kind == "u":
            return laid_out(x, dtype), lambda y: y
        return laid_out(x, dtype).view(np.uint64) ^ SIGN, lambda y: (y ^ SIGN).view(dtype)
    if dtype.kind == "f" and dtype.itemsize > 8:
        values, ranks = np.unique(x, return_inverse=True)
        return laid_out(ranks.reshape(x.shape), np.float64), lambda y: values.astype(dtype)[y.astype(np.intp)]
    small = dtype.itemsize <= (4 if dtype.kind == "f" else 2) and cells < 2**31 - 1
    return laid_out(x, np.dtype(np.float32 if small else np.float64)), lambda y: y.astype(dtype, copy=False)


def by_definition(p: Pooling, x, y) -> None:
    """Sums of a dtype without a compiled kernel: the convolution with a scalar weight, by `reference`."""
    n = 1 if p.n_at is None else p.x_shape[p.n_at]
    places = (p.n_at, 1), (p.c_at, 1), (None, 1), *((s, 1) for s in p.s_at)
    problem = Problem(
        geometry=Geometry(n, p.x_shape[p.c_at], 1, 1, p.axes), x_map=places,
        w_map=((None, 1),) * (3 + len(p.axes)), y_map=places, x_shape=p.x_shape, w_shape=(), y_shape=p.y_shape,
        x_dtype=x.dtype, w_dtype=x.dtype, y_dtype=y.dtype, algorithm="reference")
    if y.size:
        compute(Plan(problem), x, np.ones((), x.dtype), None, y, 1)
    if p.counts:
        y /= p.spread_counts(y.real.dtype)
