"""Problem and strides -> steps (floor 4): nests, a solver for each, and the proof that no address leaves its array.

Nothing here computes but trials ("measure"); `_plan` keeps what is made here, and runs it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product
from typing import NamedTuple

import numpy as np

from . import _select, _stored, _trial
from ._kernels.ready import empty
from ._nest import KERNEL_RANK, Nest, normal_form, peel, prove
from ._problem import Problem
from ._solvers import reference

KINDS = {np.dtype(t): kind for kind, types in {"f32": "f", "f64": "d", "i64": "lL"}.items() for t in types}
SMALL = 30e-6  # seconds of predicted work below which one thread is faster (an OpenMP region costs 5 to 20 us)


@dataclass(frozen=True)
class Step:
    """One solver on one nest, and for complex arrays which parts it reads and writes (0 real, 1 imaginary)."""

    solver: object
    nest: Nest
    model: Nest
    packed: bytes
    threads_useful: bool
    x_part: int = 0
    y_part: int = 0
    conjugate: bool = False
    stored: bytes | None = None  # how x and y are stored, where that is not as reals


class Call(NamedTuple):
    """What a solver's run gets besides the nest and the arrays."""

    kind: str
    dtype: np.dtype
    bias: np.ndarray | None
    cval: np.ndarray
    threads: int
    packed: bytes
    way: object  # what the solver's `way` decided
    stored: bytes | None = None
    weights: object = None


@dataclass(frozen=True)
class Schedule:
    steps: tuple[Step, ...]
    fill: bool
    kind: str
    real: np.dtype
    converts: bool = False  # no kernel takes x and y as they are stored: there are no steps
    calls: dict = field(default_factory=dict)  # those without bias and bound weights, by thread count


def native(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The array itself if compiled code can walk it, else a converted copy."""
    if array.dtype == dtype and array.dtype.isnative and array.flags.aligned:
        if array.flags.c_contiguous:
            return array
        size = dtype.itemsize if dtype.kind != "c" else dtype.itemsize // 2
        if not any(s % size for s in array.strides):
            return array
    return np.array(array, dtype=dtype, order="K")


def element_size(array: np.ndarray, kind: str) -> int:
    """Bytes of an element as nests count them: of a real number, where compiled kernels see numbers by their parts."""
    return array.itemsize // 2 if array.dtype.kind == "c" and kind != "other" else array.itemsize


def element_strides(array: np.ndarray, places, size: int):
    strides = array.strides
    return tuple(0 if at is None else strides[at] // size * k for at, k in places)


def extent(array: np.ndarray, size: int) -> tuple[int, int]:
    """(lowest, highest) element of `size` bytes of the array, from its first one."""
    steps = [(n - 1) * (s // size) for n, s in zip(array.shape, array.strides, strict=True)]
    return sum(min(s, 0) for s in steps), sum(max(s, 0) for s in steps) + array.itemsize // size - 1


def real_of(dtype: np.dtype) -> np.dtype:
    return np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


def is_fortran(x) -> bool:
    return x.flags.f_contiguous and not x.flags.c_contiguous


def empty_like_layout(problem: Problem, x, dtype):
    """A new y in the memory order of x: a Fortran-ordered x gives a Fortran-ordered y."""
    return empty(problem.y_shape, np.dtype(dtype), is_fortran(x), x)


def _nests(problem: Problem, kind: str, strides):
    """Nests for these element strides, reduced as far as the kernels need, and whether y must be filled first."""
    nests, fill = normal_form(problem.geometry, *strides)
    if problem.algorithm == "reference" or kind == "other":
        return nests, fill
    if problem.cval and any(len(n.windows) > KERNEL_RANK for n in nests):
        return nests, fill
    nests, bare = peel(nests)
    return nests, fill or bare


def _strides_of(problem: Problem, x, w, y):
    """The strides that `normal_form` wants, from functions that give those of a map in each array."""
    def optional(strides, places):
        return strides(places) if places else None

    return (x(problem.x_map), w(problem.w_map), y(problem.y_map), optional(w, problem.w_out_map),
            optional(w, problem.w_in_map), optional(y, problem.y_tap_map))


def _actual(array, size: int):
    return lambda places: element_strides(array, places, size)


def _contiguous(shape, fortran: bool, batch=None):
    """Strides in a contiguous array of this shape whose batch axis is not 1."""
    sizes = [2 if a == batch else n for a, n in enumerate(shape)]
    steps = [1] * len(sizes)
    order = range(len(sizes)) if fortran else range(len(sizes) - 1, -1, -1)
    step = 1
    for a in order:
        steps[a] = step
        step *= max(sizes[a], 1)
    return lambda places: tuple(0 if at is None else steps[at] * k for at, k in places)


def model(problem: Problem, kind: str, fortran: bool, w=None) -> list[Nest]:
    """The nests that decisions are made on: contiguous arrays in the order of x, any batch, the given weights.

    Neither the batch nor the strides it has in memory may change a choice, or the parts of a batch would differ in
    bits from the whole. w: what gives the strides of the weights; None: contiguous ones.
    """
    batch = (problem.x_map[0][0], problem.y_map[0][0]) if problem.batched else (None, None)
    strides = _strides_of(problem, _contiguous(problem.x_shape, fortran, batch[0]),
                          w or _contiguous(problem.w_shape, False), _contiguous(problem.y_shape, fortran, batch[1]))
    return [nest.settled() for nest in _nests(problem, kind, strides)[0]]


def ideal(problem: Problem, nest: Nest) -> Nest:
    """A nest of the model as the choice may see it."""
    return replace(nest, origin=(0, 0, 0), n=1 if problem.batched else nest.n)


def schedule(problem: Problem, x, w, y, threads: int = 1) -> Schedule:
    """Nests for these strides, a solver for each, and the proof that no address leaves its array.

    With algorithm="measure" solvers are tried on the arrays, and y is overwritten.
    """
    real = real_of(w.dtype)
    kind = KINDS.get(real, "other")
    if kind == "other":
        real = y.dtype
    stored = _stored.differs(problem, x, w, y)
    converted = Schedule((), False, kind, real, True)
    if stored and problem.algorithm == "measure":
        return converted
    sizes = [element_size(a, kind) for a in (x, w, y)]
    strides_x, weights, strides_y = map(_actual, (x, w, y), sizes)
    nests, fill = _nests(problem, kind, _strides_of(problem, strides_x, weights, strides_y))
    prove(nests, list(map(extent, (x, w, y), sizes)))
    nests = [nest.settled() for nest in nests]
    if stored and (fill or not nests or not problem.geometry.c):
        return converted
    chosen: dict = {}
    steps = []
    models = model(problem, kind, is_fortran(x), weights)
    if len(models) != len(nests):
        models = nests  # a view whose axes do not merge as the contiguous array's do, at rank 4 and more
    for whole, plain in zip(nests, models, strict=True):
        key = replace(whole, origin=(0, 0, 0)), ideal(problem, plain)
        if key not in chosen:
            if problem.algorithm == "measure":
                solver = _fastest(problem, whole, key, kind, real, x, w, y, threads)
            else:
                alone = replace(whole, n=1) if problem.batched else whole
                solver = _select.choose(alone, key[1], kind, problem.algorithm, problem.normwise)
            chosen[key] = solver, solver.seconds(whole, kind, 1)
        solver, time = chosen[key]
        for nest, (x_part, w_part, y_part, conjugate, again) in product(
                _pieces(whole, solver, kind), _parts(real, x, w, y)):
            part = nest.shifted(x_part, w_part, y_part, nest.first and not again)
            packed = part.pack() if solver is not reference else b""
            how = None
            if stored:
                if hasattr(solver, "stores"):
                    how = solver.stores(part, kind, x.dtype, y.dtype, *problem.finish)
                if how is None:
                    return converted
            steps.append(Step(solver, part, key[1], packed, time > SMALL, x_part, y_part, conjugate, how))
    if not problem.geometry.c:
        return Schedule((), True, kind, real)
    return Schedule(tuple(steps), fill, kind, real)


def _pieces(nest: Nest, solver, kind: str) -> list[Nest]:
    """The nest in parts of its batch that the solver takes.

    Some want scratch for all images; how many there are must not change the choice, so large batches are cut.
    """
    most = nest.n
    while most > 1 and solver.refuse(replace(nest, n=most), kind):
        most = -(-most // 2)
    return [replace(nest.shifted(n * nest.x[0], 0, n * nest.y[0], nest.first), n=min(most, nest.n - n))
            for n in range(0, nest.n, most)] if most < nest.n else [nest]


def _fastest(problem: Problem, nest: Nest, key, kind: str, real, x, w, y, threads: int):
    """The solver that takes the least time for this nest, found once for its form."""
    def call(solver):
        cval = np.array([complex(problem.cval).real], real)
        packed = nest.pack() if solver is not reference else b""
        return Call(kind, real, None, cval, threads, packed, solver.way(nest, key[1], kind, False))

    def trial(solver):
        given = call(solver)
        return lambda: solver.run(nest, given, x, w, y)

    able = {s: _select.seconds(s, key[1], kind, 1) for s in _select.eligible(nest, kind, problem.normwise)}
    return _trial.fastest((key, kind, threads, problem.normwise), able, trial)


def _parts(real, x, w, y):
    """(x part, w part, y part, conjugate w, adds to an earlier one): complex arithmetic as real nests."""
    if real == y.dtype or y.dtype.kind != "c":
        return ((0, 0, 0, False, False),)
    if x.dtype == real:
        return ((0, 0, 0, False, False), (0, 1, 1, False, False))
    if w.dtype == real:
        return ((0, 0, 0, False, False), (1, 0, 1, False, False))
    return ((0, 0, 0, False, False), (1, 1, 0, True, True), (0, 1, 1, False, False), (1, 0, 1, False, True))


def calls_of(problem: Problem, found: Schedule, bias, threads: int, bound: bool) -> list[Call | None]:
    """A call for each step, None where the one before it does that step too.

    Such neighbours, as the phases of a strided gradient are, store their outputs first, so they share none.
    """
    calls, last = [], -1
    for number, step in enumerate(found.steps):
        call = _call(problem, found, step, bias, threads, bound)
        before = found.steps[last]
        packs = bound and hasattr(step.solver, "prepare")
        alike = step.nest.first and before.nest.first and not packs and problem.y_dtype.kind != "c" and all(
            getattr(step, name) == getattr(before, name) for name in ("solver", "threads_useful"))
        both = step.solver.joined(calls[last], call) if number and alike and hasattr(step.solver, "joined") else None
        if both is None:
            last = number
        else:
            calls[last], call = both, None
        calls.append(call)
    return calls


def _call(problem: Problem, found: Schedule, step: Step, bias, threads: int, bound: bool) -> Call:
    cval = problem.cval
    if found.real.kind == "f" and problem.y_dtype.kind == "c":
        bias = None if bias is None else np.ascontiguousarray((bias.real, bias.imag)[step.y_part])
        cval = (complex(cval).real, complex(cval).imag)[step.x_part]
    way = step.solver.way(step.nest, step.model, found.kind, bound)
    threads = threads if step.threads_useful else 1
    return Call(found.kind, found.real, bias, np.array([cval], found.real), threads, step.packed, way, step.stored)
