"""Layers of few channels a group: the kernels for them in every layout, and which of them auto takes."""

from dataclasses import replace

import numpy as np
import problems
import pytest
from layers import Bounds, Case, attempt, axis_of

import convx
from convx._plan import Plan
from convx._solvers import stencil, winograd

each_kernel = pytest.mark.parametrize("algorithm", ["depthwise", "stencil"])
LAYOUTS = ("NCHW", "NHWC", "HWCN")


def layer(g, c, m, sizes, taps, n=2, padding=1, boundary="constant", stride=1, dilation=1):
    axes = [axis_of(size, k, stride, dilation, (padding, padding), boundary)
            for size, k in zip(sizes, taps, strict=True)]
    options = {"stride": stride, "padding": padding, "dilation": dilation, "boundary": boundary, "groups": g}
    return Case("conv", n, g, c, m, axes, options)


CASES = [
    layer(35, 1, 1, (9, 13), (3, 3)),  # groups that fill no whole vector, rows shorter than one
    layer(3, 1, 1, (7, 67), (3, 3), stride=2),  # fewer groups than lanes
    layer(16, 1, 1, (12, 33), (3, 3), stride=3, dilation=2),
    layer(17, 1, 2, (8, 19), (5, 2), padding=2, boundary="reflect"),
    layer(8, 4, 4, (10, 18), (3, 3)),
    layer(4, 4, 4, (9, 40), (3, 3), stride=2, boundary="wrap"),
    layer(5, 3, 2, (11, 9), (1, 3), dilation=3, padding=3),
    layer(2, 16, 16, (5, 21), (3, 3)),
    layer(20, 1, 1, (150,), (7,), padding=3, stride=2),
    layer(9, 2, 1, (300,), (4,), padding=0),
    layer(18, 1, 1, (4, 6, 17), (3, 3, 3)),
    layer(4, 2, 2, (5, 4, 9), (2, 3, 2), boundary="edge"),
    layer(1, 1, 1, (3, 270), (3, 3), n=1),  # pieces in place and pieces through a copy side by side
    layer(1, 2, 3, (40, 70), (6, 5), n=1, padding=3, stride=2),
    layer(24, 1, 1, (9, 12), (3, 3), stride=2),  # channels last: in place, by the tiles of 3 and of 5 taps
    layer(40, 1, 1, (10, 11), (5, 5), padding=2, boundary="symmetric"),
    layer(33, 1, 1, (13, 9), (5, 5), padding=2, stride=2),
    layer(18, 1, 1, (3, 3, 4, 5), (2, 2, 3, 3)),  # passes that add to the first
]


def ids(case):
    return f"g{case.g}c{case.c}m{case.m}-" + "x".join(str(a[0]) for a in case.axes)


def in_memory(case, arrays, layout):
    """The case, and its arrays as they lie in this layout."""
    other = replace(case, layout=layout)
    return other, {name: other.canonical(name, np.ascontiguousarray(other.user(name, a))) for name, a in arrays.items()}


@each_kernel
@pytest.mark.parametrize("case", CASES, ids=ids)
def test_values_and_bits_in_every_layout(algorithm, case):
    for dtype in ("f4", "f8"):
        arrays = case.arrays(dtype)
        expected = {letter: case.expected(letter, arrays) for letter in "uwv"}
        bounds = {letter: Bounds(case, letter, arrays).of(algorithm) for letter in "uwv"}
        for layout in LAYOUTS:
            other, laid = in_memory(case, arrays, layout)
            for letter in "uwv":
                found = attempt(other, letter, laid, algorithm, workers=1)
                problems.assert_close(found, expected[letter], bounds[letter], f"{letter} {layout} {dtype}: ")
                again = attempt(other, letter, laid, algorithm, workers=3)
                assert np.array_equal(found, again), (letter, layout, dtype)


@each_kernel
@pytest.mark.parametrize("case", CASES[:6] + CASES[8:12:2], ids=ids)
def test_what_is_not_finite_stays_where_it_is_read(algorithm, case):
    for spoilt, value in (("u", np.inf), ("w", -np.inf), ("v", np.nan)):
        arrays = case.arrays("f4")
        arrays[spoilt].flat[arrays[spoilt].size // 3] = value
        expected = {letter: case.expected(letter, arrays) for letter in "uwv" if letter != spoilt}
        for layout in LAYOUTS[:2]:
            other, laid = in_memory(case, arrays, layout)
            for letter in expected:
                found = attempt(other, letter, laid, algorithm)
                for ask in (np.isnan, np.isposinf, np.isneginf):
                    assert np.array_equal(ask(found), ask(expected[letter])), (letter, spoilt, layout, ask.__name__)


@pytest.mark.parametrize("case", CASES[:3] + CASES[8:9] + CASES[14:], ids=ids)
def test_in_place_has_the_bits_of_strips(case):
    for spoilt in "", "w":
        arrays = case.arrays("f4")
        if spoilt:
            arrays[spoilt].flat[7] = np.inf
        last, laid = in_memory(case, arrays, "NHWC")
        apart = dict(laid)  # and every second channel of arrays, which are copied
        for name in "uv":
            apart[name] = last.canonical(name, np.repeat(last.user(name, laid[name]), 2, axis=-1)[..., ::2])
        for letter in "uwv":
            if letter != spoilt:
                found = [attempt(last, letter, some, "depthwise") for some in (laid, apart)]
                assert np.array_equal(*found, equal_nan=True), (letter, spoilt)


@each_kernel
def test_strided_views_and_views_for_out(algorithm):
    rng = np.random.default_rng(3)
    for groups, strides in ((6, (1, 1)), (2, (2, 1)), (6, (2, 2))):
        x, w = rng.standard_normal((2, 6, 21, 38)), rng.standard_normal((6, 6 // groups, 3, 3))
        views = x[:, ::-1, ::2, ::-1], np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)[:, :, 1:, ::3]
        for view in views:
            options = {"groups": groups, "stride": strides, "padding": 1, "algorithm": algorithm}
            expected = convx.conv(view.copy(), w, **options | {"algorithm": "reference"})
            room = np.full((*expected.shape[:-1], 2 * expected.shape[-1]), 7.0)
            convx.conv(view, w, out=room[..., ::2], **options)
            assert np.allclose(room[..., ::2], expected, rtol=0, atol=1e-12) and (room[..., 1::2] == 7).all()


@pytest.mark.once
def test_auto_takes_them_where_they_are_fast():
    def chosen(operator, g, c, m, layout, **options):
        x, w = np.zeros((1, g * c, 56, 56), "f4"), np.zeros((g * m, c, 3, 3), "f4")
        y = np.zeros((1, g * m, 56, 56), "f4")
        problem = {"conv": (x, w), "conv_grad_weight": (x, y)}[operator]
        if layout == "NHWC":
            problem, w = [np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in problem], np.moveaxis(w, 1, -1)
        shape = {"w_shape": w.shape} if operator == "conv_grad_weight" else {}
        return convx.explain(operator, *problem, padding=1, groups=g, layout=layout, **shape, **options).chosen

    assert chosen("conv", 256, 1, 1, "NCHW") == "stencil"
    assert chosen("conv", 256, 1, 1, "NHWC") == "depthwise"
    assert chosen("conv", 32, 4, 4, "NCHW") == "stencil"
    assert chosen("conv", 32, 4, 4, "NHWC") in ("depthwise", "stencil")
    for layout in ("NCHW", "NHWC"):
        assert chosen("conv_grad_weight", 256, 1, 1, layout) == "depthwise"
        assert chosen("conv_grad_weight", 32, 4, 4, layout) == "depthwise"
        assert chosen("conv", 1, 64, 64, layout) in ("gemm", "winograd")


PHASES = [  # groups, inputs and outputs of a group, x, taps, options
    (20, 1, 1, (9, 13), (3, 3), {"stride": 2, "padding": 1}),
    (3, 1, 2, (16, 530), (3, 4), {"stride": 2, "padding": 1}),  # several pieces of a row
    (2, 4, 4, (14, 513), (5, 5), {"stride": 2, "padding": 2}),  # a last piece of one column, in one phase of two
    (96, 1, 1, (57, 56), (3, 3), {"stride": 2, "padding": 1}),  # enough for threads
    (4, 1, 1, (21, 70), (3, 3), {"stride": (2, 1), "padding": 1}),  # read and written in place
    (4, 1, 1, (23, 40), (6, 7), {"stride": 5, "padding": 1}),  # more nests than a call takes
    (5, 1, 1, (23, 40), (3, 3), {"stride": 2, "padding": 2, "dilation": 3}),
    (6, 2, 1, (6, 7, 11), (3, 3, 3), {"stride": 2, "padding": 1}),
    (3, 1, 1, (150,), (3,), {"stride": 2}),
]


WIDE_PHASES = [
    (1, 20, 7, (40, 62), (4, 4), {"stride": 2, "padding": 1}),
    (2, 3, 40, (27, 16), (6, 4), {"stride": (3, 2), "padding": (1, 0)}),
    (1, 5, 6, (6, 12, 80), (2, 5, 5), {"stride": (1, 2, 2)}),
    (1, 70, 3, (62, 63), (15, 15), {"stride": 5}),  # more phases than the kernel takes at a time
    (1, 33, 65, (18, 18), (4, 4), {"stride": 2, "padding": 1}),  # fewer tiles than channels
]


@pytest.mark.parametrize("solver,case", [*((stencil, case) for case in PHASES), *((winograd, c) for c in WIDE_PHASES)],
                         ids=lambda value: value.name if hasattr(value, "name") else "x".join(map(str, value[3])))
def test_phases_joined_have_the_bits_of_phases_apart(monkeypatch, solver, case):
    g, c, m, sizes, taps, options = case
    rng = np.random.default_rng(5)
    x, w = rng.standard_normal((2, g * c, *sizes)).astype("f4"), rng.standard_normal((g * m, c, *taps)).astype("f4")
    options = {"groups": g, **options}
    dy = rng.standard_normal(convx.conv(x, w, **options).shape).astype("f4")
    spoilt, bias = w.copy(), rng.standard_normal(g * c).astype("f4")
    spoilt.flat[w.size // 2] = np.inf

    def fresh(operator, array, **more):
        plan = convx.plan(operator, array, w, **options, algorithm=solver.name, **more)
        return Plan(plan.problem)  # convx.plan keeps those that it has made, with their calls

    def results(workers):
        yield fresh("conv_transpose", dy)(dy, w, bias, workers=workers)
        for array, weights in ((dy, w), (dy, spoilt), (dy.astype("f2"), w)):
            yield fresh("conv_grad_input", array, x_shape=x.shape)(array, weights, workers=workers)
        plan = fresh("conv_grad_input", dy, x_shape=x.shape)
        room = np.full((*x.shape[:-1], 2 * x.shape[-1]), 7, "f4")
        yield plan(dy, w, out=room[..., ::2], workers=workers)
        assert (room[..., 1::2] == 7).all()
        yield plan.bind(w)(dy, workers=workers)
        part = fresh("conv_grad_input", dy[:1], x_shape=(1, *x.shape[1:]))
        yield np.concatenate([part(one, w, workers=workers) for one in (dy[:1], dy[1:])])

    joined = list(results(1))
    wide = convx.conv_grad_input(dy.astype(float), w.astype(float), x.shape, algorithm="reference", **options)
    size = convx.conv_grad_input(abs(dy).astype(float), abs(w).astype(float), x.shape, algorithm="reference", **options)
    if solver.normwise:
        size = np.full_like(size, abs(dy).max() * abs(w).sum((0, *range(2, w.ndim))).max())
    allowed = solver.error_factor * (w[:m].size + 2) * np.finfo("f4").eps * size
    problems.assert_close(joined[1], wide, allowed)
    for again in 4, 5, 6:
        assert np.array_equal(joined[again], joined[1])
    for found, other in zip(joined, results(3), strict=True):
        assert np.array_equal(found, other, equal_nan=True)
    monkeypatch.delattr(solver, "joined")
    for found, other in zip(joined, results(1), strict=True):
        assert np.array_equal(found, other, equal_nan=True)


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize(("sizes", "taps", "options"), [
    ((56, 56), (3, 3), {"stride": 2, "padding": 1}),
    ((9, 31), (7, 6), {"stride": (1, 2), "padding": 3}),  # windows wider than what lies between the rims
    ((3, 4), (5, 5), {"stride": 2, "padding": 4}),  # windows of rims alone
    ((14, 14), (3, 3), {"padding": 1}),
    ((13, 70), (5, 3), {"padding": (4, 2), "dilation": (2, 3)}),
    ((11, 500), (3, 4), {"stride": 2}),
    ((5, 20, 33), (3, 3, 3), {"padding": 1}),
])
def test_rows_in_place_have_the_bits_of_copied_rows(sizes, taps, options, kind):
    rng = np.random.default_rng(8)
    x, w = rng.standard_normal((2, 6, *sizes)).astype(kind), rng.standard_normal((6, 2, *taps)).astype(kind)
    apart = np.full((*x.shape[:-1], 2 * x.shape[-1]), np.nan, kind)[..., ::2]  # columns that lie apart are copied
    apart[...] = x
    bias = rng.standard_normal(6).astype(kind)
    for weights in (w, np.where(w == w.flat[5], np.inf, w).astype(kind)):
        y = convx.conv(x, weights, bias, groups=3, algorithm="stencil", **options)
        assert np.array_equal(convx.conv(apart, weights, bias, groups=3, algorithm="stencil", **options), y,
                              equal_nan=True)
        wide = [a.astype(float) for a in (x, weights, bias)]
        expected = convx.conv(*wide, groups=3, algorithm="reference", **options)
        size = convx.conv(*(abs(a) for a in wide), groups=3, algorithm="reference", **options)
        finite = np.isfinite(expected)
        assert np.array_equal(np.isfinite(y), finite)
        allowed = (w[0].size + 2) * np.finfo(kind).eps * size[finite]
        assert (abs(y[finite] - expected[finite]) <= allowed).all()
