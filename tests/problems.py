"""The fixed zoo of problem lines, strategies for geometries, one way to run them, and the computed tolerance."""

from dataclasses import astuple, replace

import numpy as np
import oracle
import pytest
from hypothesis import note
from hypothesis import strategies as st

from convx import _plan
from convx._geometry import BOUNDARIES, NAMED_PADDINGS, Axis, Geometry, forward_axis, parse
from convx._nest import KERNEL_RANK, normal_form, peel
from convx._problem import Problem
from convx._schedule import real_of
from convx._select import SOLVERS

ZOO = """
n1 g1 c1 m1 i1 k1 o1
n1 g1 c1 m1 i9 k3 o7
n1 g1 c1 m1 i9 k3 o9 p1
n2 g1 c1 m1 i5 k5 o9 d-1
n1 g1 c1 m2 i40 k7 o40 p3
n1 g1 c2 m1 i70 k3 o68
n2 g1 c3 m4 i8x9 k3x3 o6x7
n2 g1 c3 m4 i8x9 k3x3 o8x9 p1
n1 g1 c3 m8 i7x37 k3x3 o7x37 p1
n1 g1 c1 m1 i12x40 k5x5 o12x40 p2 reflect
n1 g1 c1 m1 i12x40 k6x1 o12x40 p2x0 symmetric
n1 g1 c2 m1 i4x70 k1x5 o4x70 p0x2 edge
n1 g1 c1 m3 i6x35 k3x3 o6x35 d2 p2 wrap
n1 g1 c1 m1 i3x3 k5x5 o7x7 p4 reflectxwrap
n1 g1 c1 m1 i1x1 k3x3 o3x3 p2 reflect
n2 g3 c1 m1 i6x7 k3x3 o6x7 p1
n1 g3 c1 m2 i6x40 k3x3 o4x38
n1 g20 c1 m1 i5x5 k3x3 o5x5 p1
n2 g2 c3 m2 i5x6 k2x3 o4x4
n2 g1 c5 m7 i4x5 k1x1 o4x5
n1 g2 c4 m3 i6x6 k1x1 o3x3 s2
n17 g1 c2 m3 i5 k3 o5 p1
n1 g1 c3 m4 i9x9 k3x3 o4x4 s2
n1 g1 c3 m4 i9x9 k3x3 o5x5 s2 p1
n1 g1 c2 m2 i9x8 k2x3 o3x3 s3 d2 p1
n1 g1 c2 m2 i9x8 k3x2 o5x6 d2
n1 g1 c2 m3 i6x7 k3x3 o6x7 d-1 p-1
n1 g1 c1 m1 i9 k4 o6 s-1 p-5
n1 g1 c2 m1 i7 k3 o9 s-1 d-2 p-9
n1 g1 c2 m2 i4x4 k3x3 o9x9 b2 d-1 p0
n1 g2 c2 m1 i4 k3 o9 b2 d-1 p-1
n1 g1 c1 m1 i3x4 k1x1 o7x8 b3
n1 g1 c1 m2 i5 k2 o11 b3 s2 d-3 p1
n1 g1 c1 m1 i4 k3 o8 b4 s2 d6
n1 g1 c2 m2 i3x4x5 k2x2x3 o2x3x3
n1 g1 c2 m2 i3x4x5 k3x3x3 o3x4x5 p1
n1 g1 c1 m2 i3x4x20 k3x3x3 o5x6x22 p2x2x2 symmetric
n1 g1 c2 m1 i2x3x3x4 k2x2x2x2 o3x4x4x5 p1
n1 g1 c1 m1 i2x2x2x2x3 k2x1x2x2x2 o1x2x1x1x2
n1 g1 c1 m2 i2x3x2x3 k2x2x1x2 o4x5x3x5 b2x2x2x2 d-1 p0
n1 g1 c1 m1 i4 k3 o2 p-40
n2 g1 c2 m2 i5x6 k5x6 o1x1
n1 g1 c2 m2 i4x5 k4x5 o3x3 p1
n0 g1 c2 m2 i5 k3 o3
n2 g1 c0 m2 i5x5 k3x3 o3x3
n2 g1 c9 m5 i5x6 k3x3 o5x6 p1
n1 g1 c17 m40 i9x13 k3x3 o9x13 p1 reflect
n1 g2 c8 m25 i6x10 k3x3 o4x8
n1 g1 c2 m9 i4x6x7 k2x3x3 o3x6x7 p0x1x1
n1 g1 c1 m0 i5 k3 o3
n1 g1 c1 m1 i0 k1 o2 p2
""".strip().splitlines()

ALGORITHMS = ("auto", *(solver.name for solver in SOLVERS))
NO_KERNEL = ("fft", "reference")  # solvers that do not depend on the kernel row


def each(names):
    """A test for each of these algorithms; of those without a kernel one row is asked."""
    return pytest.mark.parametrize("algorithm", [
        pytest.param(name, marks=pytest.mark.once) if name in NO_KERNEL else name for name in names])


each_algorithm = each(ALGORITHMS)

FAMILIES = ("forward", "swap_xy", "swap_wy", "any")


@st.composite
def forward_options(draw, rank, flip=None):
    """Per axis (size, taps, stride, dilation, padding, boundary, flip) of a convolution that has an output."""
    flip = draw(st.booleans()) if flip is None else flip
    most, high = ((9, 5), (9, 5), (6, 3), (4, 2), (3, 2))[rank - 1]
    rows = []
    for _ in range(rank):
        size, taps = draw(st.integers(1, most)), draw(st.integers(1, high))
        stride, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 3))
        pad = st.integers(0, 3)
        padding = draw(st.sampled_from(NAMED_PADDINGS) | st.tuples(pad, pad) | pad.map(lambda p: (p, p)))
        around = {"valid": (0, 0)}.get(padding, padding)
        if not isinstance(around, str):  # "same" and "full" always have room
            taps = min(taps, (size + sum(around) - 1) // dilation + 1)
        rows.append((size, taps, stride, dilation, padding, draw(st.sampled_from(BOUNDARIES)), flip))
    return rows


@st.composite
def any_axes(draw):
    """An axis with any numbers at all: both signs, any base, outputs that meet nothing."""
    step = st.integers(1, 3).flatmap(lambda s: st.sampled_from((s, -s)))
    counts = (draw(st.integers(1, 7)), draw(st.integers(1, 4)), draw(st.integers(1, 7)))
    return Axis(*counts, draw(st.integers(1, 3)), draw(step), draw(step), draw(st.integers(-9, 9)),
                draw(st.sampled_from(BOUNDARIES)))


@st.composite
def axes(draw, family=None):
    """One axis of a family: a forward convolution, one of its role swaps, or any numbers."""
    family = family or draw(st.sampled_from(FAMILIES))
    if family == "any":
        return draw(any_axes())
    axis = forward_axis(*draw(forward_options(1))[0])
    if family == "swap_xy":
        return replace(axis, boundary="constant").swap_xy()
    return axis.swap_wy() if family == "swap_wy" else axis


@st.composite
def geometries(draw, ranks=(1, 2, 3, 4), families=FAMILIES):
    """A whole problem; a failing test prints its line, which belongs into the zoo."""
    rank, family = draw(st.sampled_from(ranks)), draw(st.sampled_from(families))
    if family == "any":
        found = [replace(a, size=min(a.size, (7, 7, 4, 3, 2)[rank - 1]), out=min(a.out, (7, 7, 4, 3, 2)[rank - 1]),
                         taps=min(a.taps, (4, 4, 3, 2, 2)[rank - 1])) for a in (draw(any_axes()) for _ in range(rank))]
    else:
        found = [forward_axis(*row) for row in draw(forward_options(rank))]
        if family == "swap_xy":
            found = [replace(a, boundary="constant") for a in found]
    n, g, c, m = (draw(st.integers(1, 3)) for _ in range(4))
    geometry = Geometry(n, g, c, m, tuple(found))
    if geometry.products > 100_000:  # the oracle keeps every product
        geometry = Geometry(1, 1, 1, 2, tuple(found))
    if family.startswith("swap"):
        geometry = getattr(geometry, family)()
    note(geometry.text())
    return geometry


def zoo():
    return [parse(line) for line in ZOO]


def numbers(geometry):
    """The axes as the plain tuples that the oracle takes."""
    return [astuple(axis) for axis in geometry.axes]


def arrays(geometry, dtype, seed=0, shared=True):
    """x (n, g, c, *i), w (g, m, c, *k) or unshared (g, m, c, *k, *o), and a bias (g*m,)."""
    rng, dtype, g = np.random.default_rng(seed), np.dtype(dtype), geometry
    outs = () if shared else tuple(a.out for a in g.axes)
    shapes = ((g.n, g.g, g.c, *(a.size for a in g.axes)),
              (g.g, g.m, g.c, *(a.taps for a in g.axes), *outs),
              (g.g * g.m,))
    parts = [rng.standard_normal(s) + (1j * rng.standard_normal(s) if dtype.kind == "c" else 0) for s in shapes]
    return [p.astype(dtype) for p in parts]


def problem_of(geometry, x, w, cval=0, algorithm="auto", dtype=None, overflow="raise"):
    """The Problem whose arrays are x (n, g*c, *i), w as in `arrays`, y (n, g*m, *o)."""
    rank, g = len(geometry.axes), geometry
    space, tap = range(2, 2 + rank), range(3, 3 + rank)
    y_dtype = np.dtype(dtype) if dtype else np.result_type(x, w)
    return Problem(
        geometry, ((0, 1), (1, g.c), (1, 1), *((a, 1) for a in space)),
        ((0, 1), (1, 1), (2, 1), *((a, 1) for a in tap)), ((0, 1), (1, g.m), (1, 1), *((a, 1) for a in space)),
        (g.n, g.g * g.c, *x.shape[3:]), w.shape,
        (g.n, g.g * g.m, *(a.out for a in g.axes)), x.dtype, w.dtype, y_dtype, cval, overflow, algorithm,
        tuple((a + rank, 1) for a in tap) if w.ndim > 3 + rank else ())


def run(geometry, x, w, bias=None, cval=0, algorithm="auto", dtype=None, overflow="raise", threads=1):
    """y (n, g, m, *o), computed by a fresh plan into an array of garbage, so that nothing may be left unwritten."""
    problem = problem_of(geometry, x, w, cval, algorithm, dtype, overflow)
    y = np.full(problem.y_shape, 77 if problem.y_dtype.kind in "iu" else np.nan, problem.y_dtype)
    _plan.run(_plan.Plan(problem), x.reshape(problem.x_shape), w, bias, y, threads)
    return y.reshape(geometry.n, geometry.g, geometry.m, *problem.y_shape[2:])


def refusals(solver, geometry, x, w, kind, cval=0):
    """What the solver says about each nest of this problem that it refuses."""
    def strides(array, at):  # in real numbers: complex arrays are computed part by part
        return [array.strides[a] // real_of(array.dtype).itemsize * k for a, k in at]

    problem = problem_of(geometry, x, w, cval)
    y = np.empty(problem.y_shape, problem.y_dtype)
    nests, _ = normal_form(geometry, strides(x.reshape(problem.x_shape), problem.x_map), strides(w, problem.w_map),
                           strides(y, problem.y_map), strides(w, problem.w_out_map) or None)
    if solver.name != "reference" and not (cval and any(len(n.windows) > KERNEL_RANK for n in nests)):
        nests, _ = peel(nests)
    said = [solver.refuse(nest, kind) for nest in nests]
    return [sentence for sentence in said if sentence is not None]


def exact(geometry, x, w, bias=None, cval=0):
    """The oracle's y in an arithmetic much finer than the arrays': extended precision, or Python integers."""
    fine = {"f": np.longdouble, "c": np.clongdouble, "i": object, "u": object}
    y = oracle.convolve(numbers(geometry), x.astype(fine[x.dtype.kind]), w.astype(fine[w.dtype.kind]), cval)
    return y if bias is None else y + bias.reshape(geometry.g, geometry.m, *(1 for _ in geometry.axes))


def tolerance(geometry, x, w, bias=None, cval=0, factor=1.0):
    """factor*(L + 2)*eps*(|x| conv |w|) for each output, with L its own number of products (and its bias)."""
    at, eps = numbers(geometry), np.finfo(np.result_type(x, w)).eps
    size = oracle.convolve(at, np.abs(x).astype(float), np.abs(w).astype(float), abs(cval))
    count = oracle.convolve(at, np.ones(x.shape), np.ones(w.shape), bool(cval))
    if bias is not None:
        size, count = size + np.abs(bias).reshape(geometry.g, geometry.m, *(1 for _ in at)), count + 1
    return factor * (count + 2) * eps * size


class Bounds:
    """The tolerances of the solvers for one problem: element by element, or by norms (`Solver.normwise`)."""

    def __init__(self, geometry, x, w, bias=None, cval=0):
        self.elements = tolerance(geometry, x, w, bias, cval)
        terms, size = by_norms(x, w, 2, cval)
        size += np.abs(bias).max(initial=0) if bias is not None else 0
        self.norms = np.full(self.elements.shape,
                             (terms + 2 + (bias is not None)) * np.finfo(np.result_type(x, w)).eps * size)

    def of(self, solver):
        return solver.error_factor * (self.norms if solver.normwise else self.elements)


def allowed(solver, *problem):
    return Bounds(*problem).of(solver)


def by_norms(x, w, lead, cval=0):
    """(products of an output, max|x| * the largest sum of |w| over an output channel); w has `lead` channel axes."""
    terms = int(np.prod(w.shape[lead:], dtype=object))
    most = max(np.abs(x).max(initial=0), abs(cval))
    return terms, most * np.abs(w).sum(axis=tuple(range(lead, w.ndim))).max(initial=0)


def assert_close(y, expected, bound, where=""):
    """Real and imaginary parts within the bound, element by element."""
    for part, aim in ((y.real, expected.real), (y.imag, expected.imag)):
        off = np.abs(part - aim)
        wrong = ~(off <= bound)  # a nan is wrong too
        if wrong.any():
            at = tuple(np.argwhere(wrong)[0].tolist())
            raise AssertionError(f"{where}{wrong.sum()} of {wrong.size} outputs are off, first y{list(at)}: "
                                 f"{part[at]} instead of {aim[at]}, off by {off[at]}, allowed {bound[at]}")
