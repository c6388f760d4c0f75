"""Problem -> Plan -> result (floor 4): the one path that every operator takes.

A Problem is what was asked, in canonical terms. A Plan adds the choice: for given strides it holds a Schedule of
steps (solver, nest), made once and proved to stay inside the arrays. Plans are immutable but for that cache, so
many threads may use one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product
from typing import NamedTuple

import numpy as np

from . import _exact, _select, _separable, _stored, _threads, _trial
from ._geometry import Geometry
from ._kernels.ready import SLOTS, Front, empty
from ._nest import KERNEL_RANK, Nest, normal_form, peel, prove
from ._problem import Problem
from ._solvers import reference

KINDS = {np.dtype(t): kind for kind, types in {"f32": "f", "f64": "d", "i64": "lL"}.items() for t in types}
READY = 16  # steps of a call that may be remembered
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


def _ideal(problem: Problem, nest: Nest) -> Nest:
    """A nest of the model as the choice may see it."""
    return replace(nest, origin=(0, 0, 0), n=1 if problem.batched else nest.n)


def is_fortran(x) -> bool:
    return x.flags.f_contiguous and not x.flags.c_contiguous


def schedule(problem: Problem, x, w, y, threads: int = 1) -> Schedule:
    """Nests for these strides, a solver for each, and the proof that no address leaves its array.

    With algorithm="measure" solvers are tried on the arrays, and y is overwritten.
    """
    real = real_of(w.dtype)
    kind = KINDS.get(real, "other")
    if kind == "other":
        real = y.dtype
    stored = _stored.differs(problem, x, w, y)
    if stored and problem.algorithm == "measure":
        return Schedule((), False, kind, real, True)
    sizes = [element_size(a, kind) for a in (x, w, y)]
    strides_x, weights, strides_y = map(_actual, (x, w, y), sizes)
    nests, fill = _nests(problem, kind, _strides_of(problem, strides_x, weights, strides_y))
    prove(nests, list(map(extent, (x, w, y), sizes)))
    nests = [nest.settled() for nest in nests]
    chosen: dict = {}
    steps = []
    models = model(problem, kind, is_fortran(x), weights)
    if len(models) != len(nests):
        models = nests  # a view whose axes do not merge as the contiguous array's do, at rank 4 and more
    for whole, ideal in zip(nests, models, strict=True):
        key = replace(whole, origin=(0, 0, 0)), _ideal(problem, ideal)
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
                if hasattr(solver, "stores") and not fill and problem.geometry.c:
                    how = solver.stores(part, kind, x.dtype, y.dtype, *problem.finish)
                if how is None:
                    return Schedule((), False, kind, real, True)
            steps.append(Step(solver, part, key[1], packed, time > SMALL, x_part, y_part, conjugate, how))
    if stored and not steps:
        return Schedule((), False, kind, real, True)
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
        key = "rim", number
        child = plan.schedules.get(key)
        if child is None:
            child = plan.schedules[key] = Plan(replace(rim.problem, y_dtype=y.dtype, normwise=problem.normwise))
        part = np.empty(rim.problem.y_shape, y.dtype)
        compute(child, x, w, None, part, threads)
        rim.fold(part, y)
    if unit is not None:
        batch = problem.y_map[0][0]
        y += unit if batch is None else np.expand_dims(unit, batch)


def _converted(plan: Plan, x, w, bias, y, threads: int, weights) -> None:
    """y through whole arrays of the type of the sums."""
    child = plan.schedules.get("converted")
    if child is None:
        problem = replace(plan.problem, y_dtype=w.dtype, sums=None, finish=_stored.PLAIN)
        child = plan.schedules["converted"] = Plan(problem)
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
    if found.fill or problem.geometry.c == 0:
        _fill(problem, y, bias)
        if problem.geometry.c == 0:
            return
    plain = bias is None and weights is None
    calls = found.calls.get(threads) if plain else None
    if calls is None:
        calls = _calls(problem, found, bias, threads, weights is not None)
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


def _calls(problem: Problem, found: Schedule, bias, threads: int, bound: bool) -> list[Call | None]:
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


def answer(plan: Plan, x, w, bias, out, workers, front: Front, options=(), weights=None):
    """`run`, and in front what the call came down to, for the next one with arrays of the same forms."""
    operands = map(array_of, (x, w), plan.problem.names)
    y = run(plan, *operands, bias, out, _threads.team(workers), weights)
    if type(x) is type(w) is np.ndarray and not front.knows(x, w, bias, out, options):
        steps = _steps(plan, x, w, bias, y, weights)
        if steps is not None:
            front.keep(x, w, bias, out, options, y, steps)
    return y


def _steps(plan: Plan, x, w, bias, y, weights):
    """The functions and arguments that computed y from these arrays, for `Front.keep`; None if that was not all."""
    problem = plan.problem
    x_slot, w_slot, bias_slot, y_slot, threads = SLOTS
    if problem.swap:
        x, w, x_slot, w_slot = w, x, w_slot, x_slot
    if w.dtype != problem.compute_dtype or w.dtype.kind != "f" or x.dtype.kind == "c" or problem.rims:
        return None
    if _separable.passes(plan, is_fortran(x)):  # the values of w decide
        return None
    if bias is not None and (type(bias) is not np.ndarray or bias.ndim != 1 or bias.dtype != w.dtype
                             or not bias.flags.c_contiguous):
        return None
    key = x.strides, w.strides, y.strides, x.dtype, w.dtype, y.dtype
    found = plan.schedules.get(key)
    if found is None or found.fill or found.converts or not found.steps or not problem.geometry.c:
        return None
    steps = []
    calls = _calls(problem, found, None, 1, weights is not None)
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

    def __call__(self, x, w, bias=None, out=None, workers=None):
        y = self.front.ready(x, w, bias, out, workers, ())
        return answer(self, x, w, bias, out, workers, self.front) if y is None else y

    def bind(self, w, bias=None) -> BoundPlan:
        """Fix the weights (a copy of them) and the bias: packed once, later calls take x only."""
        return BoundPlan(self, array_of(w, self.problem.names[1]), bias)

    def __reduce__(self):  # nests and functions of kernels belong to this process
        return Plan, (self.problem,)

    def __str__(self):
        return str(explanation(self))

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

    def __call__(self, x, out=None, workers=None):
        y = self.front.ready(x, self.w, self.bias, out, workers, ())
        if y is not None:
            return y
        return answer(self.plan, x, self.w, self.bias, out, workers, self.front, weights=self.weights)

    def __reduce__(self):
        return BoundPlan, (self.plan, self.w, self.bias)

    def __repr__(self):
        return f"<BoundPlan {self.plan.problem.text()}>"


def array_of(given, name: str) -> np.ndarray:
    """The argument as an array, or a sentence where it is none, or hides elements."""
    if type(given) is np.ndarray:
        return given
    try:
        array = np.asarray(given)
    except ValueError as error:
        ragged = "inhomogeneous" in str(error)
        raise ValueError(f"{name} makes no array: {'its rows differ in length' if ragged else error}") from None
    if isinstance(given, np.ndarray) and np.ma.is_masked(given):
        raise TypeError(f"{name} has masked elements, whose values would be used: fill them first, as "
                        f"{name}.filled(0) does")
    return array


def accept_operand(name, array, shape, dtype) -> None:
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, the plan was made for {shape}")
    if array.dtype != dtype:
        raise TypeError(f"{name} has dtype {array.dtype}, the plan was made for {dtype}")


def accept_bias(bias, problem: Problem):
    """bias as an array: a value per output channel or, where the problem allows it, per output unit."""
    if bias is None:
        return None
    if not problem.bias:
        raise TypeError("a gradient takes no bias")
    bias = array_of(bias, "bias")
    outputs = problem.geometry.g * problem.geometry.m
    unit = tuple(s for a, s in enumerate(problem.y_shape) if a != problem.y_map[0][0])
    if bias.shape != (outputs,) and (problem.bias != "unit" or bias.shape != unit):
        also = f", or {unit} for a value per unit" if problem.bias == "unit" else ""
        raise ValueError(f"bias has shape {bias.shape}, {outputs} output channels need ({outputs},){also}")
    if bias.dtype.kind not in "biufc":
        raise TypeError(f"bias has dtype {bias.dtype}: a number per output channel is needed")
    integers = bias.dtype.kind in "biu" and problem.y_dtype.kind in "iu"  # exact whatever the signs
    if not integers and not np.can_cast(bias.dtype, problem.y_dtype, "same_kind"):
        raise TypeError(f"bias has dtype {bias.dtype}, which does not fit a {problem.y_dtype} result")
    return bias


def accept_out(out, problem: Problem, x, w) -> None:
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be an ndarray, not {type(out).__name__}")
    if out.shape != problem.y_shape:
        raise ValueError(f"out has shape {out.shape}, the result has {problem.y_shape}")
    if out.dtype != problem.y_dtype:
        raise TypeError(f"out has dtype {out.dtype}, the result is {problem.y_dtype}")
    if not out.flags.writeable:
        raise ValueError("out is read-only")
    covered = out.itemsize
    for n, s in sorted(((n, abs(s)) for n, s in zip(out.shape, out.strides, strict=True) if n > 1), key=lambda d: d[1]):
        if s < covered and out.size:
            raise ValueError(f"out overlaps itself (strides {out.strides} for shape {out.shape})")
        covered += (n - 1) * s
    for name, array in zip(problem.order, (x, w), strict=True):
        if np.may_share_memory(out, array) and _shares(out, array):
            raise ValueError(f"out overlaps {name}; a convolution cannot be done in place")


def _shares(a, b) -> bool:
    try:
        return np.shares_memory(a, b, max_work=10**6)
    except Exception:  # NumPy's TooHardError: undecided counts as overlapping
        return True


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


def empty_like_layout(problem: Problem, x, dtype):
    """A new y in the memory order of x: a Fortran-ordered x gives a Fortran-ordered y."""
    return empty(problem.y_shape, np.dtype(dtype), is_fortran(x))


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


@dataclass(frozen=True)
class Explanation:
    """The problem line, every solver's refusal or predicted time, and the choice. `str()` is the table."""

    problem: str
    rows: tuple[tuple[str, str | None, float | None], ...]
    chosen: str
    threads: int

    def __str__(self):
        lines = [self.problem]
        for name, reason, time in self.rows:
            if reason:
                lines.append(f"  {name:<10} refused: {reason}")
            else:
                chosen = "   chosen" if name == self.chosen else ""
                lines.append(f"  {name:<10} {time * 1e3:9.3f} ms{chosen}")
        return "\n".join(lines)

    __repr__ = __str__


def explanation(plan: Plan) -> Explanation:
    """Predictions for C-ordered arrays, on the nest with the most products."""
    problem = plan.problem
    threads = _threads.get_num_threads()
    dtype = problem.compute_dtype
    normwise = problem.normwise
    if dtype.kind in "iu":
        dtype, normwise = _exact.typical(problem), None
    real = real_of(dtype)
    kind = KINDS.get(real, "other")
    nests = model(problem, kind, False)
    if not nests or 0 in problem.y_shape or not problem.geometry.c:
        return Explanation(problem.text(), (), "nothing to compute", threads)
    nest = max(nests, key=lambda n: n.products)
    rows = tuple((s.name, reason, None if reason else time * len(nests))
                 for s, reason, time in _select.candidates(nest, kind, threads, normwise))
    if problem.algorithm == "measure":
        chosen = "the fastest at the first call"
    else:
        chosen = _select.choose(nest, _ideal(problem, nest), kind, problem.algorithm, normwise).name
    return Explanation(problem.text(), rows, chosen, threads)
