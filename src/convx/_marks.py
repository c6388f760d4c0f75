"""The gradient of the largest values of windows (floor 4): from the numbers of a pooling to calls of the kernel.

Every output has a mark, the place of its largest value. A cell of dx is the sum of dy over its window of the role swap,
as the gradient of a sum is, but of those outputs alone whose mark it is.
"""

from __future__ import annotations

from ._schedule import is_fortran
from ._windows import Pooling, innermost, kernel_of, numbers, pack, team

ROOM = 8192  # marks of a block of pixels of a row: three rows of them, with their x, dy and dx, are in half an L2


def _reach(axis) -> int:
    return axis.dilation * max(axis.taps - 1, 0) + 1


def _ring(p: Pooling, extent: int, pitch: int):
    """(steps of the ring of marks per axis, indices of the first axis that it holds, its size). Along the last axis it
    has `extent` outputs, `pitch` apart."""
    steps, ring, size = [pitch], 0, extent * pitch
    for a in range(len(p.axes) - 2, -1, -1):
        steps.insert(0, size)
        ring = min(p.axes[a].out, _reach(p.axes[a]) // p.axes[a].stride + 2)
        size *= ring if a == 0 else p.axes[a].out
    return steps, ring, size


def _made(p: Pooling, x, dy, ties_all: bool):
    """(function of the kernel, its arguments behind the arrays)."""
    kernel = kernel_of(x, "pool_grad")
    packed, rows, _ = numbers(p, x, dy)
    if rows and not ties_all:
        return kernel.row_gradient, (packed,)
    role = innermost(p, x)
    packed, lanes, _ = pack(p, x, dy, role, None)
    part, last = min(lanes, 16 * kernel.LANES), p.axes[-1]
    cells = min(max(ROOM // part, 4 * _reach(last)), last.size)
    steps, ring, room = _ring(p, min(last.out, (cells + _reach(last)) // last.stride + 2), part)
    swapped, _, _ = pack(p.swapped, dy, x, role, None, steps, ring)
    return kernel.lane_gradient, (packed, swapped, part, cells, room, ties_all)


def routing(p: Pooling, x, dy, ties_all: bool, threads):
    """What computes dx = dy where x, which lies in memory alike, is the largest value of its window, as a function of
    x, dy and dx: it, and its further arguments."""
    key = "marks", x.strides, dy.strides, x.dtype, ties_all, is_fortran(x)
    found = p.packed.get(key)
    if found is None:
        found = p.packed[key] = _made(p, x, dy, ties_all)
    return found[0], *found[1], team(threads, x, x)


def routed(p: Pooling, x, dy, dx, ties_all: bool, threads: int) -> None:
    if dy.size and dx.size:
        gradient, *further = routing(p, x, dy, ties_all, threads)
        gradient(x, dy, dx, *further)
    else:
        dx[...] = 0
