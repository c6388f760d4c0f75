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
from ._plan import Plan, Problem, compute, is_fortran, native

KINDS = {np.dtype("f"): "f32", np.dtype("d"): "f64", np.dtype("u8"): "i64"}
FEW = 12  # cells of a window that are combined in one go
MANY = 16  # phases of a row that are worth vectors
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

    def place_steps(self, shape) -> tuple[int, ...]:
        """Row-major steps over the spatial axes of x or y: what a place counts."""
        sizes = [shape[s] for s in self.s_at]
        return tuple(prod(sizes[a + 1:]) for a in range(len(sizes)))


def _innermost(p: Pooling, order: str):
    """The role of the axis that runs along memory: "n", "c" or the number of a spatial axis.

    The extent of the batch has no say in it: what a batch is cut into must not change how its parts are computed.
    """
    positions = range(len(p.x_shape))
    for at in positions if order == "F" else reversed(positions):
        if at == p.c_at and p.x_shape[at] == 1:
            continue
        return {p.n_at: "n", p.c_at: "c"}.get(at) or p.s_at.index(at)
    raise AssertionError("an array without spatial axes")


def _phases(axis: Axis):
    """For every residue of the outputs along a row (taps, stride, dilation, start), walked upwards; one stride for all.
    None where there are many."""
    count = axis.base // gcd(axis.base, axis.stride)
    if count > MANY:
        return None
    phases = [(0, 1, 1, 0)] * count
    stride = 1
    for part, _, outs in axis.phases():
        reach = min(part.dilation * (part.taps - 1), 0)
        phases[outs.start] = part.taps, 1, abs(part.dilation), reach - part.offset
        if part.out > 1:
            stride = part.stride
    return [(taps, stride, dilation, start) for taps, _, dilation, start in phases]


def _is_identity(axis: Axis) -> bool:
    return (axis.taps == axis.base == 1 and axis.offset == 0 and axis.size == axis.out
            and (axis.stride == 1 or axis.out == 1))


def _turns(axes, last: int | None, lanes: int, single: bool) -> list[int]:
    """The turn of every axis, -1 for those along which nothing is combined (but one has a turn in any case).

    From the last axis outwards: what follows reads what a stage leaves. Along a row (`last`) a vector holds V outputs,
    if there are as many, and costs about twice: where outputs are few the others go first. Small windows are combined
    along the last two at once, unless the axes must be `single`: what a stage leaves costs as much as some more cells.
    """
    turns = [a for a in reversed(range(len(axes))) if not _is_identity(axes[a])] or [len(axes) - 1]
    reads = [-(-a.taps // a.base) for a in axes]
    found = [turns.index(a) if a in turns else -1 for a in range(len(axes))]
    if len(turns) == 1 or (last is not None and last not in turns):
        return found
    if not single and turns[:2] == [len(axes) - 1, len(axes) - 2] and reads[turns[0]] * reads[turns[1]] <= FEW:
        return [max(turn - 1, 0) if turn >= 0 else -1 for turn in found]
    if last is not None:
        before, after = prod(axes[a].size for a in turns[1:]), prod(axes[a].out for a in turns[1:])
        others = sum(reads[a] for a in turns[1:])
        narrow, wide = -(-axes[last].out // lanes), -(-axes[last].size // lanes)
        if (2 * before * narrow * reads[last] + after * narrow * others
                > after * wide * others + 2 * after * narrow * reads[last]):
            turns.append(turns.pop(0))
    return [turns.index(a) if a in turns else -1 for a in range(len(axes))]


def _pack(p: Pooling, x, y, memory: str, single=False, turns=None):
    """The numbers of the pooling for these arrays, which lie in memory alike ("C" or "F"), as the struct of _pool.h;
    the order of the axes; their turns (given: those of the pooling that this one is the swap of)."""
    size = x.itemsize
    xs, ys = ([s // size for s in a.strides] for a in (x, y))
    role = _innermost(p, memory)
    rank = len(p.axes)
    order = list(range(rank))
    loops = {"n": (1, 0, 0) if p.n_at is None else (p.x_shape[p.n_at], xs[p.n_at], ys[p.n_at]),
             "c": (p.x_shape[p.c_at], xs[p.c_at], ys[p.c_at])}
    lanes, phases = 1, None
    if role in loops:
        lanes, loops[role] = loops[role][0], (1, 0, 0)
    elif max(len(_phases(a) or ()) or MANY + 1 for a in (p.axes[role], p.axes[role].swap_xy())) <= MANY:
        phases = _phases(p.axes[role])
        order = [a for a in order if a != role] + [role]
    (n, xn, yn), (g, xg, yg) = loops["n"], loops["c"]
    if xn == g * xg and yn == g * yg:
        n, g = 1, n * g
    axes = [p.axes[a] for a in order]
    ids = p.place_steps(p.x_shape if turns is None else p.y_shape)  # of a swap, y is the array that was pooled
    if turns is None:
        turns = _turns(axes, rank - 1 if phases else None, _kernels.load("pool", KINDS[x.dtype]).LANES, single)
    counts = 0 if not p.counts else 1 if all((many == many[:1]).all() for many in p.counts) else 2
    numbers = [n, g, xn, xg, yn, yg, lanes, rank, max(turns) + 1, phases is not None, len(phases or [0]), counts,
               p.inverse]
    for axis, at, a, turn in zip(axes, (p.s_at[a] for a in order), order, turns, strict=True):
        numbers += [axis.out, axis.taps, axis.size, axis.base, axis.stride if axis.out > 1 else 1, axis.dilation,
                    axis.offset, axis.base // gcd(axis.base, axis.dilation), xs[at], ys[at], ids[a], turn]
    for phase in phases or [(0, 1, 1, 0)]:
        numbers += phase
    return struct.pack(f"{len(numbers)}n", *numbers), order, turns


def _counts(p: Pooling, order, dtype):
    """What the kernel divides by: one number, or factors for every axis, of which whole vectors are read."""
    if not p.counts:
        return None
    counts = np.concatenate([p.counts[a] for a in order])
    if all((many == many[:1]).all() for many in p.counts):
        counts = np.array([prod(float(many[0]) for many in p.counts)])
    counts = counts.astype(dtype)
    return 1 / counts if p.inverse else counts


def _numbers(p: Pooling, x, y, single=False, back=False):
    """(kernel, packed, counts), remembered for arrays of these strides. single: axis by axis; back: the numbers of the
    gradient instead of counts."""
    memory = "F" if is_fortran(x) else "C"
    key = x.strides, y.strides, x.dtype, single, back, memory
    found = p.packed.get(key)
    if found is None:
        packed, order, turns = _pack(p, x, y, memory, single)
        last = _counts(p, order, x.dtype)
        if back:
            reverse = [max(turns) - turn if turn >= 0 else -1 for turn in turns]
            last = _pack(p.swapped, y, x, memory, turns=reverse)[0]
        found = p.packed[key] = _kernels.load("pool", KINDS[x.dtype]), packed, last
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
    return ready.empty(tuple(shape), np.dtype(dtype), fortran)


def _team(threads, *arrays):
    return threads if sum(a.size for a in arrays) >= SMALL else 1


def combining(p: Pooling, x, y, largest: bool, threads):
    """What computes y = sums (divided by the counts) or largest values, as a function of x and y: it, and its further
    arguments. x and y of one compiled dtype, contiguous alike."""
    kernel, packed, counts = _numbers(p, x, y)
    return kernel.values, packed, counts, largest, _team(threads, x, y)


def combined(p: Pooling, x, y, largest: bool, threads: int) -> None:
    if y.size:
        values, *numbers = combining(p, x, y, largest, threads)
        values(x, y, *numbers)


def located(p: Pooling, x, y, threads: int):
    """y = largest values; where they are, as flat indices into the spatial axes."""
    places = np.empty_like(y, np.int32 if y.itemsize == 4 else np.int64)
    if y.size:
        kernel, packed, _ = _numbers(p, x, y, single=True)
        kernel.places(x, y, places, packed, _team(threads, x, y))
    return places


def routing(p: Pooling, x, dy, ties_all: bool, threads):
    """What computes dx = dy where x, which lies in memory alike, is the largest value of its window, as a function of
    x, dy and dx: it, and its further arguments."""
    kernel, packed, back = _numbers(p, x, dy, single=True, back=True)
    return kernel.gradient, packed, back, ties_all, _team(threads, x, x)


def routed(p: Pooling, x, dy, dx, ties_all: bool, threads: int) -> None:
    if dy.size and dx.size:
        gradient, *numbers = routing(p, x, dy, ties_all, threads)
        gradient(x, dy, dx, *numbers)
    else:
        dx[...] = 0


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
