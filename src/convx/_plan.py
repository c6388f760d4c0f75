"""Problem -> Plan -> result (floor 4): the one path that every operator takes.

A Problem is what was asked, in canonical terms. A Plan adds the choice: for given strides it holds a Schedule of
steps (solver, nest), made once and proved to stay inside the arrays. Plans are immutable but for that cache, so
many threads may use one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from . import _exact, _separable, _stored, _threads
from ._accept import accept_bias, accept_operand, accept_out, array_of
from ._explanation import explanation
from ._geometry import Geometry
from ._kernels.ready import SLOTS, Front
from ._problem import Problem
from ._schedule import KINDS, calls_of, empty_like_layout, is_fortran, native, real_of, schedule

if TYPE_CHECKING:
    from typing import SupportsIndex

    from numpy.typing import ArrayLike

    from ._typing import Array

READY = 16  # steps of a call that may be remembered


def compute(plan: Plan, x, w, bias, y, threads: int, weights=None) -> None:
    """y from native arrays of computable dtypes: the nests, the rims folded back, a bias per unit."""
    problem = plan.problem
    unit, bias = (bias, None) if bias is not None and bias.ndim > 1 else (None, bias)
    if (problem.rims or unit is not None) and _stored.differs(problem, x, w, y):
        _converted(plan, x, w, bias if unit is None else unit, y, threads, weights)
        return
    if not _separable.walk(plan, x, w, bias, y, threads):
        _walk(plan, x, w, bias, y, threads, weights)
    for number, rim in enumerate(problem.rims):
        child = plan._child(("rim", number), partial(replace, rim.problem, y_dtype=y.dtype, normwise=problem.normwise))
        part = np.empty(rim.problem.y_shape, y.dtype)
        compute(child, x, w, None, part, threads)
        rim.fold(part, y)
    if unit is not None:
        batch = problem.y_map[0][0]
        y += unit if batch is None else np.expand_dims(unit, batch)


def _converted(plan: Plan, x, w, bias, y, threads: int, weights) -> None:
    """y through whole arrays of the type of the sums."""
    child = plan._child("converted", partial(replace, plan.problem, y_dtype=w.dtype, sums=None, finish=_stored.PLAIN))
    sums = empty_like_layout(plan.problem, x, w.dtype)
    compute(child, native(x, w.dtype), w, bias, sums, threads, weights)
    _stored.finish(sums, y, plan.problem)


def _walk(plan: Plan, x, w, bias, y, threads: int, weights) -> None:
    """All steps of the schedule for these strides, which is made on first use."""
    problem = plan.problem
    key = x.strides, w.strides, y.strides, x.dtype, w.dtype, y.dtype
    found = plan.schedules.get(key)
    if found is None:
        found = plan.schedules[key] = schedule(problem, x, w, y, threads)
    if found.converts:
        _converted(plan, x, w, bias, y, threads, weights)
        return
    if found.fill:
        _fill(problem, y, bias)
    plain = bias is None and weights is None
    calls = found.calls.get(threads) if plain else None
    if calls is None:
        calls = calls_of(problem, found, bias, threads, weights is not None)
        if plain:
            found.calls[threads] = calls
    conjugated = w.conj() if any(step.conjugate for step in found.steps) else None
    for number, (step, call) in enumerate(zip(found.steps, calls, strict=True)):
        if call is None:
            continue
        operand = conjugated if step.conjugate else w
        if weights is not None and hasattr(step.solver, "prepare"):
            if (key, number) not in weights:
                weights[key, number] = step.solver.prepare(step.nest, call, operand)
            call = call._replace(weights=weights[key, number])
        step.solver.run(step.nest, call, x, operand, y)


def answer(plan: Plan, x, w, bias, out, workers, front: Front, options=(), weights=None):
    """`run`, and in front what the call came down to, for the next one with arrays of the same forms."""
    operands = map(array_of, (x, w), plan.problem.names)
    y = run(plan, *operands, bias, out, _threads.team(workers), weights)
    if type(x) is type(w) is np.ndarray and not front.knows(x, w, bias, out, options):
        steps = _steps(plan, x, w, bias, y, weights)
        if steps is not None:
            swap = plan.problem.swap
            unless = _separable.undecided(plan, is_fortran(w if swap else x))
            front.keep(x, w, bias, out, options, y, steps, unless, swap)
    return y


def _steps(plan: Plan, x, w, bias, y, weights):
    """The functions and arguments that computed y from these arrays, for `Front.keep`; None if that was not all."""
    problem = plan.problem
    x_slot, w_slot, bias_slot, y_slot, threads = SLOTS
    if problem.swap:
        x, w, x_slot, w_slot = w, x, w_slot, x_slot
    if w.dtype != problem.compute_dtype or w.dtype.kind != "f" or x.dtype.kind == "c" or problem.rims:
        return None
    if bias is not None and (type(bias) is not np.ndarray or bias.ndim != 1 or bias.dtype != w.dtype
                             or not bias.flags.c_contiguous):
        return None
    key = x.strides, w.strides, y.strides, x.dtype, w.dtype, y.dtype
    found = plan.schedules.get(key)
    if found is None or found.fill or not found.steps:
        return None
    steps = []
    calls = calls_of(problem, found, None, 1, weights is not None)
    for number, (step, call) in enumerate(zip(found.steps, calls, strict=True)):
        if call is None:
            continue
        if weights is not None:
            call = call._replace(weights=weights.get((key, number)))
        if not hasattr(step.solver, "ready"):
            return None
        steps += [(kernel, x_slot, w_slot if own is None else own, y_slot, None if bias is None else bias_slot, *rest,
                   threads if step.threads_useful else 1) for kernel, own, *rest in step.solver.ready(step.nest, call)]
    return steps if len(steps) <= READY else None


def _fill(problem: Problem, y, bias) -> None:
    """Every output without a single product: the bias, or zero."""
    y[...] = 0
    if bias is not None:
        channel = problem.y_map[2][0]
        y += bias.reshape([-1 if a == channel else 1 for a in range(y.ndim)])


def _front() -> Front:
    return Front(_threads.team)


@dataclass(frozen=True)
class Plan:
    """A convolution that was checked and planned once. Call it with arrays of the planned shapes and dtypes.

    Examples
    --------
    >>> import numpy as np, convx
    >>> x, w = np.ones((1, 3, 8, 8)), np.ones((4, 3, 3, 3))
    >>> p = convx.plan("conv", x, w, padding="same")
    >>> p(x, w).shape
    (1, 4, 8, 8)
    >>> q = p.bind(w)
    >>> float(q(x)[0, 0, 4, 4])
    27.0
    """

    problem: Problem
    schedules: dict = field(default_factory=dict, compare=False)
    front: Front = field(default_factory=_front, compare=False, repr=False)

    @property
    def geometry(self) -> Geometry:
        """Batch, groups, channels, and the index relation of each spatial axis: see `convx.geometry`.

        Of "convolve" and "correlate" in mode "valid" the larger array is the input, whichever was given first.
        """
        return self.problem.geometry

    @property
    def y_shape(self) -> tuple[int, ...]:
        """The shape of the result."""
        return self.problem.y_shape

    def __call__(self, x: ArrayLike, w: ArrayLike, bias: ArrayLike | None = None, out: Array | None = None,
                 workers: SupportsIndex | None = None) -> Array:
        y = self.front.ready(x, w, bias, out, workers, ())
        return answer(self, x, w, bias, out, workers, self.front) if y is None else y

    def bind(self, w: ArrayLike, bias: ArrayLike | None = None) -> BoundPlan:
        """Fix the weights (a copy of them) and the bias: packed once, later calls take x only."""
        return BoundPlan(self, array_of(w, self.problem.names[1]), bias)

    def _child(self, key, make) -> Plan:
        """The plan of the problem that `make` makes, which is a part of this one; made once."""
        found = self.schedules.get(key)
        if found is None:
            found = self.schedules[key] = Plan(make())
        return found

    def __reduce__(self):  # nests and functions of kernels belong to this process
        return Plan, (self.problem,)

    def __str__(self) -> str:
        return str(explanation(self.problem))

    def __repr__(self):
        return f"<Plan {self.problem.text()}>"


class BoundPlan:
    """A plan with its weights (see `Plan.bind`)."""

    def __init__(self, plan: Plan, w: np.ndarray, bias):
        problem = plan.problem
        if problem.swap:  # the second operand is the one that is walked over: nothing to pack
            accept_operand(problem.names[1], w, problem.x_shape, problem.x_dtype)
        else:
            accept_operand(problem.names[1], w, problem.w_shape, problem.w_dtype)
        self.plan, self.w = plan, np.array(w)
        self.w.setflags(write=False)
        self.bias = None if bias is None else np.array(accept_bias(bias, problem))
        self.weights: dict | None = None if problem.swap else {}
        self.front = _front()

    def __call__(self, x: ArrayLike, out: Array | None = None, workers: SupportsIndex | None = None) -> Array:
        y = self.front.ready(x, self.w, self.bias, out, workers, ())
        if y is not None:
            return y
        return answer(self.plan, x, self.w, self.bias, out, workers, self.front, weights=self.weights)

    def __reduce__(self):
        return BoundPlan, (self.plan, self.w, self.bias)

    def __repr__(self):
        return f"<BoundPlan {self.plan.problem.text()}>"


def run(plan: Plan, x, w, bias, out, threads: int, weights=None):
    """Check, allocate, compute. The one place where y is made."""
    problem = plan.problem
    if problem.swap:
        x, w = w, x
    accept_operand(problem.order[0], x, problem.x_shape, problem.x_dtype)
    accept_operand(problem.order[1], w, problem.w_shape, problem.w_dtype)
    bias = accept_bias(bias, problem)
    if out is not None:
        accept_out(out, problem, x, w)
        if bias is not None and np.may_share_memory(out, bias):
            bias = bias.copy()
    with np.errstate(all="ignore"):  # infinities and nan are values like others here, also those that casts make
        if problem.y_dtype.kind in "iu" and problem.sums is None:
            y = _exact.integers(plan, x, w, bias, out, threads)
        else:
            y = floating(plan, x, w, bias, out, threads, weights)
        if out is None:
            return y
        if y is not out:
            out[...] = y
    return out


def _complex_operands(problem: Problem, dtype, x, w):
    """x and w of the dtype, conjugated as asked; one of them may stay real: two real nests instead of four."""
    real = real_of(dtype)
    x_real, w_real = x.dtype.kind != "c", w.dtype.kind != "c"
    if real not in KINDS or (x_real and w_real):
        x, w = native(x, dtype), native(w, dtype)
    else:
        x = native(x, real if x_real and not isinstance(problem.cval, complex) else dtype)
        w = native(w, real if w_real else dtype)
        if x.dtype.kind == w.dtype.kind:
            w = np.ascontiguousarray(w)  # its conjugate, made later, must lie in memory as it does
    if problem.conjugate == "w" and w.dtype.kind == "c":
        w = w.conj()
    if problem.conjugate == "x" and x.dtype.kind == "c":
        x = x.conj()
    return x, w


def floating(plan: Plan, x, w, bias, out, threads, weights=None):
    problem = plan.problem
    dtype = problem.compute_dtype
    if problem.real_only:
        storable = dtype in KINDS and x.dtype.kind in "biuf" and x.dtype.itemsize <= 8
        x, w = native(x, x.dtype.newbyteorder("=") if storable else dtype), native(w, dtype)
    else:
        x, w = _complex_operands(problem, dtype, x, w)
    if bias is not None:
        bias = np.ascontiguousarray(bias, dtype)
    y, dtype = out, problem.y_dtype
    if y is None or native(y, dtype) is not y:
        y = empty_like_layout(problem, x, dtype)
    if y.size:
        compute(plan, x, w, bias, y, threads, weights)
    return y
