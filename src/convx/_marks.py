"""The gradient of the largest values of windows (floor 4): from the numbers of a pooling to calls of the kernels.

Every output has a mark, the place of its largest value. A cell of dx is the sum of dy over its window of the role swap,
as the gradient of a sum is, but of those outputs alone whose mark it is.
"""

from __future__ import annotations

from math import gcd, prod

from . import _kernels
from ._plan import is_fortran
from ._windows import BLOCK, KINDS, Pooling, innermost, numbers, pack, row_numbers, team

ROOM = 8192  # marks of a row of lanes, as whole rows of pictures have: with those of three rows and dy in half an L2
MANY = 16    # outputs that one cell of a row looks at; where it is more, dy goes to the marks, output by output


def _looks(axis) -> int:
    """Of how many windows along a forward axis a cell can be part, wherever these may be."""
    return -(-axis.taps * gcd(axis.stride, axis.dilation) // axis.stride)


def _reach(axis) -> int:
    return axis.dilation * max(axis.taps - 1, 0) + 1


def _ring(p: Pooling, order, extent: int, pitch: int):
    """(steps of the ring of marks per axis, indices of the first axis that it holds, its size). Along the inner axis it
    has `extent` outputs, `pitch` apart."""
    steps, step = {order[-1]: pitch}, extent * pitch
    for a in reversed(order[:-1]):
        steps[a] = step
        ring = min(p.axes[a].out, _reach(p.axes[a]) // p.axes[a].stride + 2)
        step *= p.axes[a].out if a != order[0] else ring
    return steps, ring if len(order) > 1 else 0, step


def _rows(p: Pooling, role: int, lanes: int):
    """Numbers of rows along this axis, of p and of its role swap, whose blocks fit together; None if there are none."""
    axis = p.axes[role]
    back = row_numbers(p.swapped.axes[role], lanes, max(BLOCK, 4 * _reach(axis)))
    there = back and row_numbers(axis, lanes, back[2])
    return there and (there, back)


def _made(p: Pooling, x, dy, ties_all: bool):
    """(function of the kernel, its arguments behind the arrays)."""
    kind, role = KINDS[x.dtype], innermost(p, x)
    lanes = _kernels.load("pool", kind).LANES
    rows = _rows(p, role, lanes) if role not in ("n", "c") and not ties_all else None
    if rows and (rows[1][0] > 2 or prod(map(_looks, p.axes)) > MANY):
        kernel, packed, _, _ = numbers(p, x, dy)
        return kernel.scattered, (packed,)
    there, back = rows or (None, None)
    packed, many, order = pack(p, x, dy, role, there)
    inner = p.axes[order[-1]]
    if rows:
        part, pitch, cells, extent = 1, 1, back[0] * back[1], back[2]
    else:
        part = pitch = min(many, 16 * lanes)
        cells = min(max(ROOM // part, 4 * _reach(inner)), inner.size)
        extent = min(inner.out, (cells + _reach(inner)) // inner.stride + 2)
    steps, ring, room = _ring(p, order, extent, pitch)
    swapped, _, _ = pack(p.swapped, dy, x, role, back, steps, ring)
    return _kernels.load("pool_grad", kind).gradient, (packed, swapped, part, cells, room, ties_all)


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
