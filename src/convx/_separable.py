"""Kernels that are a product of vectors: one axis after the other (floor 4).

w[k1, k2, ...] = u1[k1] * u2[k2] * ...  turns  prod K products an output into  sum K. The values of w decide, so this is
no solver: `walk` looks at them when a plan says that it would pay, and leaves everything else to the solvers.

It is used only where its error stays inside the bound of a direct sum, (prod K + 2) eps (|x| conv |w|), in the middle
and at the border where windows have fewer taps. d passes over K1, K2, ... taps round sum K / 2 times eps, the vectors
differ from w by r eps of each of its elements: r <= 3 - d/2 suffices for all K. Integer weights take integer vectors
that give them exactly or none at all, so sums of integers stay exact. An infinity or nan reaches the outputs whose
windows hold it, and no others, as ever.

The first axis is cut into bands of outputs, so that what lies between two passes stays in the cache and never needs a
copy of the picture. Images of a batch are done one by one: nothing depends on their number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial, reduce

import numpy as np

from . import _plan, _select
from ._geometry import Axis
from ._problem import Problem
from ._schedule import KINDS, is_fortran, model
from ._stored import PLAIN

BAND = 1 << 20  # bytes between two passes
ROWS = 16  # outputs of a band at least
GAIN = 1.3  # the predicted advantage that is worth the look at the weights
LEAST = 1e6  # products of an image below which there is nothing to gain
PASS = 15e-6  # seconds of a pass over a band beside its work


@dataclass(frozen=True)
class Passes:
    """Which spatial axes are filtered one after the other, and how many outputs of the first at a time."""

    axes: tuple[int, ...]
    band: int
    seconds: float


def passes(plan, fortran: bool) -> Passes | None:
    """How the plan would go axis by axis, or None where that cannot be or would not pay; found once."""
    key = "separable", fortran
    if key not in plan.schedules:
        plan.schedules[key] = _passes(plan.problem, fortran)
    return plan.schedules[key]


def _passes(problem: Problem, fortran: bool) -> Passes | None:
    g = problem.geometry
    if problem.algorithm != "auto" or not problem.real_only or g.g * g.c * g.m != 1 or problem.cval or problem.rims:
        return None
    if problem.w_out_map or problem.w_in_map or problem.y_tap_map or any(a.base != 1 or a.stride < 1 for a in g.axes):
        return None
    wide = tuple(a for a, axis in enumerate(g.axes) if axis.taps > 1)
    places = [m[3 + a] for a in wide for m in (problem.x_map, problem.w_map, problem.y_map)]
    if len(wide) < 2 or any(at is None or step != 1 for at, step in places):
        return None
    if np.prod([a.out * a.taps for a in g.axes], dtype=float) < LEAST:
        return None
    wide = wide[::-1] if fortran else wide
    kind = KINDS.get(problem.compute_dtype)
    if kind not in ("f32", "f64"):
        return None
    first = g.axes[wide[0]].out
    row = problem.compute_dtype.itemsize * int(np.prod([
        max(axis.size, axis.out) for a, axis in enumerate(g.axes) if a != wide[0]]))
    band = min(first, max(ROWS, BAND // max(row, 1)))
    one = _image(problem)
    whole = _seconds(one, kind, fortran)
    steps = [_pass(one, wide, number, 0, first) for number in range(len(wide))]
    apart = sum(_seconds(step, kind, fortran) for step in steps) + PASS * len(wide) * -(-first // band)
    return Passes(wide, band, apart) if apart * GAIN < whole else None


def _seconds(problem: Problem, kind: str, fortran: bool) -> float:
    """The smallest prediction, on one thread."""
    normwise = problem.normwise if problem.algorithm == "auto" else None
    return sum(min(_select.seconds(s, nest, kind, 1) for s in _select.eligible(nest, kind, normwise))
               for nest in model(problem, kind, fortran))


def _image(problem: Problem) -> Problem:
    """The problem for one image of the batch."""
    def shape(sizes, at):
        return tuple(1 if a == at else n for a, n in enumerate(sizes))

    return replace(problem, geometry=replace(problem.geometry, n=1),
                   x_shape=shape(problem.x_shape, problem.x_map[0][0]),
                   y_shape=shape(problem.y_shape, problem.y_map[0][0]))


def _pass(problem: Problem, wide, number: int, start: int, count: int) -> Problem:
    """The pass along axis number `number` of those in `wide`, for `count` outputs of the first from `start` on."""
    axes, sizes, w_map = list(problem.geometry.axes), list(problem.y_shape), [(None, 1)] * len(problem.x_map)
    source = list(sizes)
    if number:  # axes of one tap went with the first pass
        axes = [axis if a in wide else _plain(axis.out) for a, axis in enumerate(axes)]
    for rank, a in enumerate(wide):
        axis, at = axes[a], problem.y_map[3 + a][0]
        if rank == 0:
            axis = replace(axis, out=count, offset=axis.offset - axis.stride * start)
        axes[a] = axis if rank == number else _plain(axis.out if rank < number else axis.size)
        source[at] = axis.out if rank < number else axis.size
        sizes[at] = axis.out if rank <= number else axis.size
    a = wide[number]
    w_map[3 + a] = (0, 1)
    if number < len(wide) - 1:
        problem = replace(problem, y_dtype=problem.compute_dtype, finish=PLAIN)
    return replace(problem, geometry=replace(problem.geometry, axes=tuple(axes)), algorithm="sums",
                   x_map=problem.x_map if number == 0 else problem.y_map, w_map=tuple(w_map),
                   x_shape=problem.x_shape if number == 0 else tuple(source),
                   w_shape=(problem.geometry.axes[a].taps,), y_shape=tuple(sizes))


def _plain(size: int) -> Axis:
    return Axis(size, 1, size)


def vectors(w: np.ndarray) -> list[np.ndarray] | None:
    """One vector an axis, whose product is w within the bound of a direct sum; None if there are none."""
    if not _may_be(w) or not np.isfinite(w).all() or not w.any():
        return None
    at = np.unravel_index(np.abs(w).argmax(), w.shape)
    lines = [w[(*at[:a], slice(None), *at[a + 1:])].astype(np.float64) for a in range(w.ndim)]
    if (w == np.rint(w)).all():
        return _whole(w, lines)
    eps = np.finfo(w.dtype).eps
    with np.errstate(all="ignore"):
        lines = [lines[0], *(line / line.flat[np.abs(line).argmax()] for line in lines[1:])]
        if _worst(lines, w) > 16 * eps:  # the rough look, in float64
            return None
        found = _sharpened(w.astype(np.longdouble), [line.astype(np.longdouble) for line in lines])
        exponent = 0
        for a, line in enumerate(found[:-1]):  # no sum between two passes exceeds the largest input
            lift = int(np.ceil(np.log2(np.abs(line).sum())))
            found[a] = np.ldexp(line, -lift)
            exponent += lift
        found[-1] = np.ldexp(found[-1], exponent)
        found = [line.astype(w.dtype) for line in found]
        if any((np.abs(line[line != 0]) < np.finfo(w.dtype).tiny).any() for line in found):
            return None
        return found if _worst([line.astype(np.longdouble) for line in found], w) <= (3 - w.ndim / 2) * eps else None


def _may_be(w: np.ndarray) -> bool:
    """Whether two determinants of 2 x 2 weights are about zero: those where the first and the middle rows and columns
    meet, and those in the corner. Few kernels that are no product get any further, and the look costs two microseconds,
    not fifty."""
    rest = tuple(n // 2 for n in w.shape[2:])
    for p, q in ((w.shape[0] // 2, w.shape[1] // 2), (1, 1)):
        one, other = w.item(0, 0, *rest) * w.item(p, q, *rest), w.item(0, q, *rest) * w.item(p, 0, *rest)
        if abs(one - other) > 1e-3 * max(abs(one), abs(other)):
            return False
    return True


def _worst(lines, w) -> float:
    """The largest difference between the product of the lines and w, relative to the element of w."""
    off = np.abs(reduce(np.multiply.outer, lines) - w)
    return float(np.where(off == 0, 0, off / np.abs(w)).max())  # nan and inf stay what they are: too much


def _sharpened(w, lines):
    """The vectors after a step of least squares each, which averages the rounding errors of the elements of w."""
    for a in range(w.ndim):
        line = np.moveaxis(w, a, 0)
        for other in lines[:a] + lines[a + 1:]:
            line = np.tensordot(line, other, (1, 0)) / (other @ other)
        lines[a] = line
    return lines


def _whole(w: np.ndarray, lines) -> list[np.ndarray] | None:
    """Integer vectors with exactly this product: all but the first without a common factor."""
    if np.abs(lines[0]).max() >= 2**53:
        return None
    whole = [line.astype(np.int64) for line in lines]
    found = [line // np.gcd.reduce(line) for line in whole[1:]]
    share = np.prod([line[np.abs(line).argmax()] for line in found])
    if (whole[0] % share).any():
        return None
    found = [whole[0] // share, *found]
    same = (reduce(np.multiply.outer, found) == w).all()
    return [line.astype(w.dtype) for line in found] if same else None


def walk(plan, x, w, bias, y, threads: int) -> bool:
    """y axis by axis if plan and weights allow it; whether they did."""
    fortran = is_fortran(x)
    how = passes(plan, fortran)
    if how is None:
        return False
    problem = plan.problem
    found = vectors(_by_axes(problem, how, w))
    if found is None:
        return False
    one, n = _image(problem), problem.geometry.n
    for image in range(n):
        here, there = (_taken(array, at[0][0], image) for array, at in ((x, problem.x_map), (y, problem.y_map)))
        for start in range(0, problem.geometry.axes[how.axes[0]].out, how.band):
            _band(plan, one, how, found, here, bias, there, start, threads, fortran)
    return True


def undecided(plan, fortran: bool):
    """Whether `walk` must look at weights, as a quick function of them; None if it never does anything."""
    how, problem = passes(plan, fortran), plan.problem  # not the plan: it may hold the function
    return None if how is None else lambda w: _may_be(_by_axes(problem, how, w))


def _by_axes(problem: Problem, how: Passes, w: np.ndarray) -> np.ndarray:
    """The weights with the axes in the order of the passes, and no others."""
    order = [problem.w_map[3 + a][0] for a in how.axes]
    rest = [a for a in range(w.ndim) if a not in order]
    return w.transpose(*order, *rest).reshape([w.shape[a] for a in order])


def _taken(array, at, image: int):
    return array if at is None else array[(*(slice(None),) * at, slice(image, image + 1))]


def _band(plan, one: Problem, how: Passes, found, x, bias, y, start: int, threads: int, fortran: bool) -> None:
    count = min(how.band, one.geometry.axes[how.axes[0]].out - start)
    at = one.y_map[3 + how.axes[0]][0]
    last = len(how.axes) - 1
    for number, line in enumerate(found):
        key = number, start if number == 0 else 0, count
        child = plan._child(("pass", fortran, *key), partial(_pass, one, how.axes, *key))
        if number == last:
            target = y[(*(slice(None),) * at, slice(start, start + count))]
        else:
            target = np.empty(child.problem.y_shape, child.problem.y_dtype, order="F" if fortran else "C")
        _plan.compute(child, x, line, bias if number == last else None, target, threads)
        x = target
