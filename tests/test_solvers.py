"""Every solver on every problem it accepts, against the oracle, SciPy and NumPy, within the computed tolerance."""

import arrays
import numpy as np
import problems
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

import convx
from convx import _schedule, _select, _trial
from convx._geometry import parse
from convx._select import SOLVERS
from convx._solvers import reference

FLOATS = ("f4", "f8", "c8", "c16")
KIND = {"f4": "f32", "c8": "f32", "f8": "f64", "c16": "f64"}
each_solver = pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.name)
each_line = pytest.mark.parametrize("line", problems.ZOO)


def refused(solver, geometry, x, w, kind, cval=0):
    """Whether the solver refuses; if so, check that it says why and that naming it raises with these words."""
    said = problems.refusals(solver, geometry, x, w, kind, cval)
    if not said:
        return False
    for sentence in said:
        assert isinstance(sentence, str) and len(sentence.split()) > 2 and "\n" not in sentence
    if not geometry.n * geometry.m:  # no outputs: nobody is asked
        return True
    with pytest.raises(ValueError) as caught:
        problems.run(geometry, x, w, cval=cval, algorithm=solver.name)
    assert str(caught.value) in [f"algorithm={solver.name!r} refused: {sentence}" for sentence in said]
    return True


def check(geometry, dtype, seed=0, shared=True, cval=0, biased=True, threads=1):
    """Each solver on one problem against the oracle, from random numbers into an array of garbage."""
    x, w, bias = problems.arrays(geometry, dtype, seed, shared)
    bias = bias if biased else None
    expected = problems.exact(geometry, x, w, bias, cval)
    bounds = problems.Bounds(geometry, x, w, bias, cval)
    for solver in SOLVERS:
        if not refused(solver, geometry, x, w, KIND[dtype], cval):
            y = problems.run(geometry, x, w, bias, cval, solver.name, threads=threads)
            problems.assert_close(y, expected, bounds.of(solver), f"{solver.name}: ")


@each_line
@pytest.mark.parametrize("dtype", FLOATS)
def test_zoo(line, dtype):
    check(parse(line), dtype)


@each_line
def test_zoo_with_cval_and_without_bias(line):
    for dtype in ("f4", "f8"):
        check(parse(line), dtype, cval=-1.75)
        check(parse(line), dtype, biased=False)
    check(parse(line), "c16", cval=0.5 - 2j)


@settings(max_examples=4 * settings().max_examples)
@given(problems.geometries(), st.sampled_from(FLOATS), st.integers(0, 99), st.sampled_from((0, 0, 1.5)), st.booleans())
def test_any_geometry(geometry, dtype, seed, cval, biased):
    check(geometry, dtype, seed, cval=cval, biased=biased)


@given(problems.geometries(), st.sampled_from(FLOATS), st.booleans())
def test_unshared_weights(geometry, dtype, biased):
    check(geometry, dtype, shared=False, biased=biased)


@each_line
@pytest.mark.parametrize("dtype", FLOATS)
def test_auto_is_one_of_them(line, dtype):
    geometry = parse(line)
    x, w, bias = problems.arrays(geometry, dtype)
    bound = problems.tolerance(geometry, x, w, bias, factor=max(s.error_factor for s in SOLVERS if not s.normwise))
    problems.assert_close(problems.run(geometry, x, w, bias, threads=2), problems.exact(geometry, x, w, bias), bound)


@each_solver
@pytest.mark.parametrize("pair", ["f4 f8", "f8 c16", "c16 f8", "c8 f4", "f4 c16"])
def test_mixed_dtypes(solver, pair):
    x_dtype, w_dtype = pair.split()
    for line in problems.ZOO[:12] + problems.ZOO[26:32]:
        geometry = parse(line)
        x, w = problems.arrays(geometry, x_dtype)[0], problems.arrays(geometry, w_dtype)[1]
        try:
            y = problems.run(geometry, x, w, algorithm=solver.name)
        except ValueError as error:
            assert f"{solver.name!r} refused: " in str(error)
            continue
        assert y.dtype == np.result_type(x, w)
        problems.assert_close(y, problems.exact(geometry, x, w), problems.allowed(solver, geometry, x, w))


@each_solver
def test_every_solver_accepts_something(solver):
    accepted = 0
    for geometry in problems.zoo():
        x, w, _ = problems.arrays(geometry, "f8")
        accepted += not problems.refusals(solver, geometry, x, w, "f64")
    assert accepted >= 10


@each_solver
@each_line
def test_integers_beyond_floating_point(solver, line):
    geometry = parse(line)
    rng = np.random.default_rng(5)
    x, w = (rng.integers(-2**62, 2**62, a.shape) for a in problems.arrays(geometry, "f8")[:2])
    bias = rng.integers(-2**62, 2**62, geometry.g * geometry.m)
    if problems.refusals(solver, geometry, x, w, "i64"):
        if x.size and w.size:
            with pytest.raises(ValueError, match=f"algorithm={solver.name!r} refused: "):
                problems.run(geometry, x, w, bias, algorithm=solver.name, overflow="wrap")
        return
    expected = problems.exact(geometry, x, w, bias)
    y = problems.run(geometry, x, w, bias, algorithm=solver.name, overflow="wrap")
    assert np.array_equal(y.astype(object), (expected + 2**63) % 2**64 - 2**63)
    y = problems.run(geometry, x >> 33, w >> 33, bias >> 8, algorithm=solver.name)
    assert np.array_equal(y.astype(object), problems.exact(geometry, x >> 33, w >> 33, bias >> 8))


@given(problems.geometries(), st.integers(20, 62), st.integers(0, 99))
def test_integer_overflow_rules(geometry, bits, seed):
    rng = np.random.default_rng(seed)
    x, w = (rng.integers(-2**bits, 2**bits, a.shape) for a in problems.arrays(geometry, "f8")[:2])
    expected = problems.exact(geometry, x, w)
    wrapped = (expected + 2**63) % 2**64 - 2**63
    assert np.array_equal(problems.run(geometry, x, w, overflow="wrap").astype(object), wrapped)
    least, most = -2**63, 2**63 - 1
    saturated = np.minimum(np.maximum(expected, least), most)
    assert np.array_equal(problems.run(geometry, x, w, overflow="saturate").astype(object), saturated)
    if (wrapped == expected).all():
        assert np.array_equal(problems.run(geometry, x, w).astype(object), expected)
    else:
        with pytest.raises(OverflowError):
            problems.run(geometry, x, w)


@pytest.mark.parametrize("dtype", ["g", "G", "O"])
def test_dtypes_without_a_kernel(dtype):
    for solver in SOLVERS:
        assert (solver.refuse(None, "other") is None) == (solver is reference)
    for line in problems.ZOO[:30:3]:
        geometry = parse(line)
        x, w = (a.astype(dtype) for a in problems.arrays(geometry, "f8")[:2])
        y = problems.run(geometry, x, w, algorithm="reference", dtype=dtype)
        fine = np.longdouble if dtype == "O" else dtype  # a bound in extended precision: the numbers have 53 bits
        eps = np.finfo(float if dtype == "O" else fine).eps
        bound = problems.tolerance(geometry, x.astype(fine), w.astype(fine)) / np.finfo(fine).eps * eps
        problems.assert_close(y.astype(fine), problems.exact(geometry, x.astype(fine), w.astype(fine)), 2 * bound)


PLAIN = [((9,), (4,)), ((1, 50), (1, 7)), ((12, 70), (3, 4)), ((70, 5), (5, 3)), ((4, 5, 40), (2, 3, 5))]


@each_solver
@pytest.mark.parametrize("mode", ["valid", "full"])
@pytest.mark.parametrize("shapes", PLAIN)
def test_plain_cases_against_scipy(solver, mode, shapes):
    rng = np.random.default_rng(1)
    for dtype in FLOATS:
        x, w = (rng.standard_normal(s) for s in shapes)
        if np.dtype(dtype).kind == "c":
            x, w = (a + 1j * rng.standard_normal(a.shape) for a in (x, w))
        x, w = x.astype(dtype), w.astype(dtype)
        try:
            y = convx.conv(x[None, None], w[None, None], padding=mode, algorithm=solver.name)[0, 0]
        except ValueError as error:
            assert f"{solver.name!r} refused: " in str(error)
            continue
        fine = np.clongdouble if np.dtype(dtype).kind == "c" else np.longdouble
        expected = scipy.signal.correlate(x.astype(fine), w.conj().astype(fine), mode, method="direct")
        size = scipy.signal.correlate(abs(x).astype(float), abs(w).astype(float), mode, method="direct")
        count = scipy.signal.correlate(np.ones(x.shape), np.ones(w.shape), mode, method="direct").round()
        if solver.normwise:
            terms, most = problems.by_norms(x, w, 0)
            size, count = np.full(size.shape, most), terms
        bound = solver.error_factor * (count + 2) * np.finfo(dtype).eps * size
        problems.assert_close(y, expected, bound)


# Nothing finite becomes infinite or nan, and nothing else stays finite.

SPOTS = [("x", np.nan), ("x", np.inf), ("x", -np.inf), ("w", np.inf), ("w", np.nan)]


def same_kind(y, expected, who):
    """nan where it is nan, the same infinities, and finite elsewhere."""
    for ask in (np.isnan, np.isposinf, np.isneginf):
        wrong = ask(y) != ask(expected)
        assert not wrong.any(), (f"{who}, {ask.__name__}: {wrong.sum()} of {wrong.size} differ, "
                                 f"first y{np.argwhere(wrong)[0]}")


def check_spot(geometry, dtype, operand, value, seed, shared=True, cval=0):
    arrays = dict(zip("xw", problems.arrays(geometry, dtype, seed, shared), strict=False))
    if not arrays[operand].size:
        return
    spot = np.random.default_rng(seed).integers(arrays[operand].size)
    able = [solver for solver in SOLVERS if not refused(solver, geometry, *arrays.values(), KIND[dtype], cval)]
    arrays[operand].flat[spot] = value
    expected = problems.exact(geometry, **arrays, cval=cval)
    found = {solver: problems.run(geometry, **arrays, cval=cval, algorithm=solver.name) for solver in able}
    arrays[operand].flat[spot] = 0
    fine, bounds = np.isfinite(expected), problems.Bounds(geometry, **arrays, cval=cval)
    for solver, y in found.items():
        if y.dtype.kind == "c":  # whether inf times a complex number is nan depends on how it is multiplied
            assert np.array_equal(np.isfinite(y), fine), solver.name
        else:
            same_kind(y, expected, solver.name)
        problems.assert_close(y[fine], expected[fine], bounds.of(solver)[fine], f"{solver.name}: ")


@each_line
def test_one_value_that_is_not_finite(line):
    for seed, (operand, value) in enumerate(SPOTS * 3):
        check_spot(parse(line), ("f4", "f8")[seed % 2], operand, value, seed)
    check_spot(parse(line), "c16", "x", np.nan, 1)


@settings(max_examples=3 * settings().max_examples)
@given(problems.geometries(), st.sampled_from(SPOTS), st.sampled_from(FLOATS), st.integers(0, 999),
       st.sampled_from((0, 0, 2.5)))
def test_one_value_that_is_not_finite_anywhere(geometry, spot, dtype, seed, cval):
    check_spot(geometry, dtype, *spot, seed, cval=cval)


@given(problems.geometries(ranks=(1, 2)), st.sampled_from(SPOTS), st.integers(0, 999))
def test_one_unshared_value_that_is_not_finite(geometry, spot, seed):
    check_spot(geometry, "f8", *spot, seed, shared=False)


@pytest.mark.parametrize("cval", [np.nan, np.inf])
def test_a_boundary_that_is_not_finite(cval):
    for geometry in problems.zoo():
        x, w, _ = problems.arrays(geometry, "f4")
        expected = problems.exact(geometry, x, w, cval=cval)
        for solver in SOLVERS:
            if not refused(solver, geometry, x, w, "f32", cval):
                same_kind(problems.run(geometry, x, w, cval=cval, algorithm=solver.name), expected, solver.name)


@each_solver
def test_opposite_infinities_meet_in_nan(solver):
    geometry = parse("n1 g1 c1 m1 i6x70 k3x3 o6x70 p1")
    x, w, _ = problems.arrays(geometry, "f4")
    x[..., 2, 30], x[..., 3, 31], w[...] = np.inf, -np.inf, np.abs(w)
    if not refused(solver, geometry, x, w, "f32"):
        y = problems.run(geometry, x, w, algorithm=solver.name)
        same_kind(y, problems.exact(geometry, x, w), solver.name)
        assert np.isnan(y).any() and np.isposinf(y).any() and np.isneginf(y).any()


# Sizes that reach the vector paths, around the edges of register tiles.

WITH_KERNEL = [solver for solver in SOLVERS if solver.name not in problems.NO_KERNEL]
EDGES = sorted({tile + d for tile in (4, 8, 14, 16, 32, 48, 64, 96, 128) for d in (-1, 0, 1)} | {1, 2, 23, 199, 200})
KERNELS = ((3, 3), (1, 1), (5, 4), (1, 7), (7, 1), (2, 2), (4, 3), (11, 3))


def large_cases():
    """(x shape, w shape, groups, options): each edge as a width, and as a number of channels."""
    cases = []
    for a, edge in enumerate(EDGES):
        kernel, pad = KERNELS[a % len(KERNELS)], a % 3
        step, spread = ((1, 1), (1, 1), (2, 1), (1, 2), (3, 1))[a % 5]
        around = tuple(max(pad, spread * (k - 1) // 2) for k in kernel)
        options = {"stride": step, "dilation": spread, "padding": around}
        cases.append(((1 + a % 2, 1 + a % 3, 5 + a % 7, edge), (1 + a % 5, 1 + a % 3, *kernel), 1, options))
        if edge <= 70:
            c, width = EDGES[(a * 5) % 17], (7, 33, 20, 3, 14)[a % 5]
            cases.append(((1 + a % 3, c, 4 + a % 4, width), (edge, c, *kernel), 1, options))
            cases.append(((2, edge * 2, 9, 10), (edge * (2 + 2 * (a % 2)), 1, 3, 3), edge * 2, {"padding": 1}))
        if edge <= 40:
            cases.append(((1, edge, 6, 21 + a), (9 + a, edge, 3, 3), 1, {"padding": (1, 1)}))
    cases.append(((1, 40, 10, 200), (70, 40, 3, 3), 1, {"padding": 1}))
    cases.append(((2, 24, 14, 15), (36, 8, 3, 3), 3, {"padding": 1, "stride": 2}))
    cases.append(((1, 4, 40, 130), (3, 4, 9, 9), 1, {"padding": 4}))
    return cases


def by_windows(x, w, groups, stride=1, dilation=1, padding=0):
    """The convolution layer as a product of sliding windows, in the type of x."""
    padding = (padding,) * 2 if isinstance(padding, int) else padding
    x = np.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)))
    spans = tuple(dilation * (k - 1) + 1 for k in w.shape[2:])
    view = sliding_window_view(x, spans, (2, 3))[:, :, ::stride, ::stride, ::dilation, ::dilation]
    parts = [np.tensordot(v, u, ((1, 4, 5), (1, 2, 3)))
             for v, u in zip(np.split(view, groups, 1), np.split(w, groups), strict=True)]
    return np.concatenate(parts, -1).transpose(0, 3, 1, 2)


ORDER = {"NCHW": (0, 1, 2, 3), "NHWC": (0, 2, 3, 1), "HWCN": (2, 3, 1, 0)}
ORDER |= {"OIHW": ORDER["NCHW"], "OHWI": ORDER["NHWC"], "HWIO": ORDER["HWCN"]}
LAYOUTS = ("NCHW OIHW", "NHWC OHWI", "NHWC HWIO", "HWCN HWIO")


def in_layout(layouts, x, w, groups, options, algorithm):
    """y in NCHW of a convolution that was computed in other layouts; None where the solver refuses."""
    layout, w_layout = layouts.split()
    x, w = (np.ascontiguousarray(a.transpose(ORDER[to])) for a, to in ((x, layout), (w, w_layout)))
    try:
        y = convx.conv(x, w, groups=groups, layout=layout, w_layout=w_layout, algorithm=algorithm, **options)
    except ValueError as error:
        assert f"{algorithm!r} refused: " in str(error)
        return None
    return y.transpose(np.argsort(ORDER[layout]))


def shapes_of(case):
    return "-".join("x".join(map(str, shape)) for shape in case[:2])


@pytest.mark.parametrize("case", large_cases(), ids=shapes_of)
def test_large(case):
    x_shape, w_shape, groups, options = case
    rng = np.random.default_rng(3)
    x, w = rng.standard_normal(x_shape), rng.standard_normal(w_shape)
    size = by_windows(abs(x), abs(w), groups, **options)
    count = by_windows(np.ones(x_shape), np.ones(w_shape), groups, **options).round()
    terms, most = problems.by_norms(x, w, 1)
    for dtype in ("f4", "f8"):
        a, b = x.astype(dtype), w.astype(dtype)
        expected = by_windows(a.astype(float), b.astype(float), groups, **options)
        found = {}
        for solver in WITH_KERNEL:
            bound = solver.error_factor * (count + 2) * np.finfo(dtype).eps * size
            if solver.normwise:
                bound = np.full(size.shape, solver.error_factor * (terms + 2) * np.finfo(dtype).eps * most)
            for layout in LAYOUTS:
                y = in_layout(layout, a, b, groups, options, solver.name)
                if y is not None:
                    problems.assert_close(y, expected, bound, f"{solver.name} {layout} {dtype}: ")
                    found[solver.name, layout] = y, bound
        assert {("direct", layout) for layout in LAYOUTS} <= set(found)
        (first, first_bound), *others = found.values()
        for y, bound in others:  # two solvers, or two layouts, never differ by more than both may err
            problems.assert_close(y, first, bound + first_bound)


@pytest.mark.parametrize("case", large_cases()[::4], ids=shapes_of)
def test_large_and_not_finite(case):
    x_shape, w_shape, groups, options = case
    rng = np.random.default_rng(4)
    x, w = rng.standard_normal(x_shape).astype("f4"), rng.standard_normal(w_shape).astype("f4")
    for operand, value in SPOTS[1:]:
        a, b = x.copy(), w.copy()
        marked = [np.zeros(x_shape), np.ones(w_shape)] if operand == "x" else [np.ones(x_shape), np.zeros(w_shape)]
        spot = rng.integers((a if operand == "x" else b).size)
        (a if operand == "x" else b).flat[spot] = value
        marked[operand == "w"].flat[spot] = 1
        hit = by_windows(*marked, groups, **options) > 0.5
        for solver in WITH_KERNEL:
            for layout in LAYOUTS:
                y = in_layout(layout, a, b, groups, options, solver.name)
                if y is not None:
                    assert np.array_equal(~np.isfinite(y), hit), (solver.name, layout, operand, value)
                    assert (np.isnan(y) == (hit & np.isnan(value))).all(), (solver.name, layout, operand, value)


@each_solver
def test_bound_weights_give_the_same_bits(solver):
    rng = np.random.default_rng(6)
    x, w, bias = rng.standard_normal((2, 6, 9, 40)), rng.standard_normal((8, 6, 3, 3)), rng.standard_normal(8)
    plan = convx.plan("conv", x, w, padding="same", algorithm=solver.name)
    once, bound = plan(x, w, bias), plan.bind(w, bias)
    w[...], bias[...] = 0, 0
    for _ in range(2):
        assert np.array_equal(bound(x), once)


@pytest.mark.parametrize("dtype, tiny", [("f4", 1e-30), ("f8", 1e-200)])
@pytest.mark.parametrize("shape", [(40, 500), (9, 70), (5, 3), (1, 300)])
def test_a_sum_too_small_to_be_kept_has_one_sign_wherever_it_is_stored(shape, dtype, tiny):
    # Where products are fused it is -0. Whole tiles, parts of them, masked ones and planes in scratch store it alike.
    x, w = np.full(shape, tiny, dtype), np.full((1, 3), -tiny, dtype)
    found = set()
    for boundary in ("constant", "edge"):
        steps = np.empty((*shape, 2), dtype)[..., 0]
        for out in (None, steps):
            y = convx.convolve(x, w, "same", boundary=boundary, algorithm="stencil", out=out)
            assert (y == 0).all()
            found |= set(np.signbit(y).ravel())
    assert len(found) == 1


def test_unknown_algorithm():
    with pytest.raises(ValueError, match=r"'fastest' is none of auto, sums, .*reference"):
        convx.conv(np.ones((1, 1, 3)), np.ones((1, 1, 1)), algorithm="fastest")


def test_sums_takes_no_transform():
    x, w = np.ones((600, 600)), np.ones((65, 65))
    layer = np.ones((1, 64, 56, 56), np.float32), np.ones((64, 64, 3, 3), np.float32)
    for name, a, b, transform in (("convolve", x, w, "fft"), ("conv2d", *layer, "winograd")):
        assert convx.explain(name, a, b).chosen == transform
        chosen = convx.explain(name, a, b, algorithm="sums").chosen
        assert not next(solver for solver in SOLVERS if solver.name == chosen).normwise
    values = convx.convolve(arrays.whole((300, 300)), arrays.whole((65, 65)), algorithm="sums")
    assert np.array_equal(values, np.rint(values))


def test_measure_takes_the_fastest_and_remembers(monkeypatch):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 16, 24, 24)), rng.standard_normal((16, 16, 3, 3))
    tried = []
    monkeypatch.setattr(_trial, "_known", {})
    monkeypatch.setattr(_trial, "_seconds", lambda call, best: (call(), tried.append(call), 1 / len(tried))[-1])
    y = convx.conv2d(x, w, algorithm="measure", padding="same")  # each candidate faster than the one before
    able = _select.eligible(*nest_of(x, w))
    assert 1 < len(tried) <= len(able)
    last = next(iter(_trial._known.values())).name
    assert np.array_equal(y, convx.conv2d(x, w, algorithm=last, padding="same"))
    number = len(tried)
    assert np.array_equal(convx.conv2d(x, w, algorithm="measure", padding="same", workers=None), y)
    convx.plan("conv2d", x, w, algorithm="measure", padding="same")(x, w)
    assert len(tried) == number, "a known form is tried again"
    assert convx.explain("conv2d", x, w, algorithm="measure").chosen == "the fastest at the first call"


def nest_of(x, w):
    problem = convx.plan("conv2d", x, w, padding="same").problem
    (nest,) = _schedule.model(problem, "f64", False)
    return nest, "f64", problem.normwise


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "i4", "u1", "f2"])
def test_measure_is_right(dtype):
    rng = np.random.default_rng(1)
    x, w = (rng.integers(-4, 5, shape).astype(dtype) for shape in ((2, 3, 9, 8), (4, 3, 3, 3)))
    options = {"stride": 2, "padding": 1, "boundary": "reflect"}

    def right(found, want, x, w):  # the fastest may be one of the transforms, which round floats within their bound
        if found.dtype.kind in "iu":
            return np.array_equal(found, want)
        factor = max(s.error_factor for s in SOLVERS)
        terms, most = problems.by_norms(abs(x).astype(float), abs(w).astype(float), 0)
        return (abs(found - want) <= factor * (terms + 2) * np.finfo(found.dtype).eps * most).all()

    y = convx.conv2d(x, w, algorithm="measure", **options)
    assert right(y, convx.conv2d(x, w, algorithm="reference", **options), x, w)
    out = np.full_like(y, 7)
    assert convx.conv2d(x, w, algorithm="measure", out=out, **options) is out and np.array_equal(out, y)
    dx = convx.conv_grad_input(y, w, x.shape, algorithm="measure", **options)
    assert right(dx, convx.conv_grad_input(y, w, x.shape, algorithm="reference", **options), y, w)


def test_trial_stops_early_and_forgets(monkeypatch):
    monkeypatch.setattr(_trial, "_known", {})
    monkeypatch.setattr(_trial, "REMEMBERED", 2)
    calls = {"a": 0, "b": 0, "hopeless": 0}

    def trial(name):
        def call():
            calls[name] += 1
        return call

    for form in range(3):
        assert _trial.fastest(form, {"a": 1.0, "b": 2.0, "hopeless": 11.0}, trial) in ("a", "b")
    assert list(_trial._known) == [2] and calls["hopeless"] == 0
    assert 1 < calls["a"] <= 3 * (1 + _trial.CALLS)
