"""What is special about Winograd tiles: what one infinity spoils, sums whose order must not move, errors by norms."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product

import numpy as np
import problems
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

import convx
from convx import _kernels, _plan
from convx._geometry import parse
from convx._schedule import schedule
from convx._solvers import winograd

FLOATS = ("f4", "f8")
KIND = {"f4": "f32", "f8": "f64"}


def layer(n, c, m, size, dtype, seed=0, taps=(3, 3)):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, c, *size)).astype(dtype), rng.standard_normal((m, c, *taps)).astype(dtype),
            rng.standard_normal(m).astype(dtype))


def by_tiles(x, w, bias=None, **options):
    return convx.conv(x, w, bias, algorithm="winograd", **options)


def exact(x, w, padding):
    """The sum by slices of the padded input, in extended precision."""
    x = np.pad(x.astype(np.longdouble), ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    rows, columns = x.shape[2] - 2, x.shape[3] - 2
    y = np.zeros((x.shape[0], w.shape[0], rows, columns), np.longdouble)
    with np.errstate(all="ignore"):
        for i, j in product(range(3), repeat=2):
            part = np.tensordot(x[:, :, i:i + rows, j:j + columns], w[:, :, i, j].astype(np.longdouble), ((1,), (1,)))
            y += part.transpose(0, 3, 1, 2)
    return y


def bound(x, w):
    size = np.abs(x).max() * np.abs(w).sum((1, 2, 3)).max()
    return winograd.error_factor * (w[0].size + 2) * np.finfo(x.dtype).eps * np.float64(size)


# ---- what it takes

@pytest.mark.parametrize("line", ["i19 k1 o19", "i19x19 k3x6 o17x14", "i19x19 k7x3 o13x17", "i19x19 k2x2 o9x9 s2",
                                  "i39x19 k11x3 o15x9 s2", "i19x19 k3x3 o19x19 d2 p2 edge", "i19x19 k1x1 o19x19",
                                  "i19x9x9 k3x6x1 o17x4x9", "i19x19 k3x3 o10x10 s2 p1 edge", "i79x79 k9x9 o15x15 s5",
                                  "i19x19 k3x3 o7x7 s2 d3", "i19x19 k3x3 o9x15 s2x1 d1x2",
                                  "i19x19 k9x9 o3x3 s1 d2"])
def test_refused(line):
    geometry = parse("n2 g1 c2 m2 " + line)
    x, w, _ = problems.arrays(geometry, "f4")
    (said,) = problems.refusals(winograd, geometry, x, w, "f32")
    assert "only" in said or "needed" in said
    with pytest.raises(ValueError, match="algorithm='winograd' refused: "):
        problems.run(geometry, x, w, algorithm="winograd")


@pytest.mark.parametrize("line", ["i9x9 k3x3 o7x7", "i9x9 k3x3 o7x7 d-1 p-2", "i5x9x9 k2x3x3 o2x7x7 s2x1x1",
                                  "i5x9x9 k2x3x3 o5x11x11 d2x1x1 p1x2x2", "i70 k3 o68", "i19 k2 o20 p1",
                                  "i70 k5 o66 d-1 p-4", "i9x9 k1x3 o9x7", "i9x19 k4x1 o6x19", "i9x9 k4x1 o6x9",
                                  "i9x9x19 k3x3x1 o7x7x19",
                                  "i9x17x9 k3x1x3 o7x17x7", "i9x17x19 k3x1x1 o9x17x19 p1x0x0", "i9x9 k5x2 o5x8",
                                  "i11x12 k4x5 o8x8"])
def test_accepted(line):
    for lead in ("n2 g1 c5 m6 ", "n1 g3 c2 m3 "):
        geometry = parse(lead + line)
        for dtype in FLOATS:
            x, w, bias = problems.arrays(geometry, dtype)
            assert not problems.refusals(winograd, geometry, x, w, KIND[dtype])
            y = problems.run(geometry, x, w, bias, algorithm="winograd", threads=2)
            problems.assert_close(y, problems.exact(geometry, x, w, bias),
                                  problems.allowed(winograd, geometry, x, w, bias))


DILATED = ["i9x9 k3x3 o5x5 d2", "i13x12 k3x3 o13x12 d2 p2", "i11x25 k3x3 o11x25 d3x5 p3x5", "i7x9 k3x3 o6x13 d4x1 p4x3",
           "i12x16 k3x3 o4x6 s2 d2", "i14x20 k3x3 o9x5 s2 d4 p5", "i5x9 k3x3 o9x1 d7x4 p9x0", "i1x2 k3x3 o1x2 d2 p2",
           "i4x9x8 k3x3x3 o4x9x8 d2 p2", "i4x9x8 k2x3x3 o3x9x4 d1x2x2 p0x2x0", "i9x16 k3x3 o5x16 d-2 p-4x-2",
           "i9x9x9 k3x3x1 o7x7x9", "i9x7x9 k3x1x3 o7x7x7"]  # columns that are filtered alike are one row with dilation
# taps are pixels of dy here, and the outputs those of a weight gradient
STRIDED = ["i9x9 k5x5 o3x3 s2", "i13x12 k13x12 o3x3 s2 p2", "i11x25 k11x25 o3x3 s3x5 p3x5", "i12x16 k4x6 o3x3 s2 d2",
           "i14x20 k9x5 o3x3 s4 d2 p5", "i5x9 k9x1 o3x3 s7x4 p9x0", "i4x9x8 k4x9x8 o3x3x3 s2 p2",
           "i1x2 k1x2 o3x3 s2 p2"]

# steps of outputs: phases of one tap or more, alike or not
PHASED = ["i19x19 k3x3 o9x9 s2", "i19x18 k3x3 o10x9 s2 p1", "i20x21 k4x4 o10x10 s2 p1", "i40x70 k4x4 o19x34 s2",
          "i23x81 k5x5 o12x41 s2 p2", "i31x30 k7x4 o11x27 s3x1 p2x0", "i19x40 k3x5 o9x19 s2 d-1 p-2x-3",
          "i40 k9 o17 s2 p1", "i9x19 k2x3 o4x9 s2",
          "i90x3 k4x1 o45x3 s2x1 p1x0", "i5x20x20 k3x4x4 o2x10x10 s2 p0x1x1", "i1x2 k3x3 o1x1 s2 p1",
          "i3x30 k3x5 o2x8 s2x4 p1x2", "i33x33 k8x8 o8x8 s4 p2", "i8x9 k4x4 o9x9 s2 p7"]


@pytest.mark.parametrize("line", DILATED + STRIDED + PHASED)
def test_lattices(line):
    """Steps of more than one: threads, batches and layouts change no bit."""
    test_accepted(line)
    for lead in ("n3 g1 c5 m20 ", "n2 g2 c3 m3 "):
        geometry = parse(lead + line)
        x, w, bias = problems.arrays(geometry, "f4")
        y = problems.run(geometry, x, w, bias, algorithm="winograd")
        for threads in (2, 5):
            assert np.array_equal(problems.run(geometry, x, w, bias, algorithm="winograd", threads=threads), y)
        one = replace(geometry, n=1)
        for n in range(geometry.n):
            assert np.array_equal(problems.run(one, x[n:n + 1], w, bias, algorithm="winograd"), y[n:n + 1])


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("size,dilation", [((29, 40), 2), ((30, 31), (3, 1))])
def test_a_dilated_layer_and_its_gradients(layout, size, dilation):
    """Against the same layer whose weights have the zeros spelt out; bound weights and a remembered call change no bit.
    """
    x, w, bias = layer(2, 19, 33, size, "f4")
    rates = np.broadcast_to(dilation, 2)
    spread = np.zeros((33, 19, *2 * rates + 1), "f4")
    spread[:, :, ::rates[0], ::rates[1]] = w
    dilated = {"padding": "same", "dilation": dilation, "algorithm": "winograd", "layout": layout}

    def turned(array, back=False):
        return np.moveaxis(array, *(layout.index("C"), 1)[::1 if back else -1]).copy()

    a, b = turned(x), turned(w)
    y = convx.conv(a, b, bias, **dilated)
    assert np.array_equal(convx.conv(a, b, bias, **dilated), y)
    assert np.array_equal(convx.plan("conv", a, b, **dilated).bind(b, bias)(a), y)
    wide = x.astype(float), spread.astype(float)
    aim = convx.conv(*wide, bias.astype(float), padding="same", algorithm="gemm")
    allowed = bound(x, w) + np.finfo("f4").eps * np.abs(aim).max()
    problems.assert_close(turned(y, back=True), aim, np.full(aim.shape, allowed))
    dx, dw, _ = convx.conv_backward(a, b, y, **dilated)
    dy = turned(y, back=True)
    dx64, dw64, _ = convx.conv_backward(*wide, dy.astype(float), padding="same", algorithm="gemm")
    problems.assert_close(turned(dx, back=True), dx64, np.full(x.shape, bound(dy, w.swapaxes(0, 1))))
    problems.assert_close(turned(dw, back=True), dw64[:, :, ::rates[0], ::rates[1]],
                          np.full(w.shape, gradient_bound(x, dy)))


def test_lattices_beside_outputs_that_no_product_reaches():
    x, w, _ = layer(2, 8, 8, (1, 8, 8), np.float64, taps=(1, 3, 3))
    options = {"padding": ((0, 1), (2, 2), (2, 2)), "dilation": (1, 2, 2)}
    y = np.full((2, 8, 2, 8, 8), np.nan)
    convx.conv(x, w, out=y, algorithm="winograd", **options)
    assert np.allclose(y, convx.conv(x, w, algorithm="reference", **options), rtol=0, atol=1e-11)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("taps,stride", [(3, 2), (4, 2), ((5, 3), (2, 1)), ((3, 5), (1, 3))])
def test_a_strided_layer(layout, taps, stride):
    """Every stride-th output of the dense layer; bound weights and a remembered call change no bit, and an infinity
    reaches what it reaches in a sum."""
    x, w, bias = layer(2, 35, 50, (37, 72), "f4", taps=np.broadcast_to(taps, 2))
    s, t = np.broadcast_to(stride, 2)
    options = {"padding": 1, "stride": stride, "algorithm": "winograd", "layout": layout}

    def turned(array, back=False):
        return np.moveaxis(array, *(layout.index("C"), 1)[::1 if back else -1]).copy()

    a, b = turned(x), turned(w)
    y = convx.conv(a, b, bias, **options)
    assert np.array_equal(convx.conv(a, b, bias, **options), y)
    assert np.array_equal(convx.plan("conv", a, b, **options).bind(b, bias)(a), y)
    aim = convx.conv(*(v.astype(float) for v in (x, w, bias)), padding=1, algorithm="gemm")[:, :, ::s, ::t]
    allowed = bound(x, w) + np.finfo("f4").eps * np.abs(aim).max()
    problems.assert_close(turned(y, back=True), aim, np.full(aim.shape, allowed))
    x[0, 3, 7, 8], x[1, 4, 36, 0], w[5, 2, 0, 1] = np.inf, -np.inf, np.inf
    spoilt = turned(convx.conv(turned(x), turned(w), bias, **options), back=True)
    aim = convx.conv(x, w, bias, padding=1, algorithm="direct")[:, :, ::s, ::t]
    finite = np.isfinite(aim)
    assert np.array_equal(spoilt[~finite], aim[~finite], equal_nan=True)
    problems.assert_close(spoilt[finite], aim[finite].astype(float), np.full(finite.sum(), 2 * allowed))


def test_integers_are_never_given_to_it():
    x, w = np.ones((1, 16, 12, 12), np.int32), np.ones((16, 16, 3, 3), np.int32)
    with pytest.raises(ValueError, match="sums of integers must be exact"):
        by_tiles(x, w)
    chosen = convx.explain("conv2d", x, w).chosen
    assert chosen != "winograd"


def test_auto_takes_it_for_layers_and_not_for_plain_arrays():
    x, w = np.ones((1, 128, 56, 56), np.float32), np.ones((128, 128, 3, 3), np.float32)
    assert convx.explain("conv2d", x, w, padding=1).chosen == "winograd"
    image, taps = np.ones((500, 500), np.float32), np.ones((3, 3), np.float32)
    assert convx.explain("correlate", image, taps).chosen != "winograd"


def test_costs_grow_with_the_work_and_fall_with_threads():
    def nest(size):
        x, w = np.empty((1, 64, size, size)), np.empty((64, 64, 3, 3))
        problem = convx.plan("conv2d", x, w, padding=1).problem
        (step,) = schedule(problem, x, w, np.empty(problem.y_shape)).steps
        return step.nest

    small, large = nest(28), nest(56)
    assert 0 < winograd.seconds(small, "f64", 1) < winograd.seconds(large, "f64", 1)
    assert winograd.seconds(large, "f64", 2) < winograd.seconds(large, "f64", 1)
    assert 0 < winograd.scratch(large, "f64", 1) < winograd.scratch(large, "f64", 2)


# ---- values

@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", [(1, 1), (2, 9), (4, 4), (5, 8), (6, 35), (13, 70), (18, 131)])
@pytest.mark.parametrize("c,m", [(1, 1), (3, 17), (8, 8), (9, 24), (33, 50), (130, 7), (300, 26)])
def test_sizes_around_tiles_runs_panels_and_slices(dtype, size, c, m):
    x, w, bias = layer(2 if c < 100 else 1, c, m, size, dtype)
    y = by_tiles(x, w, bias, padding=1, workers=2)
    aim = exact(x, w, 1) + bias.reshape(-1, 1, 1)
    allowed = bound(x, w) + np.finfo(dtype).eps * np.abs(aim).max()
    problems.assert_close(y, aim, np.full(y.shape, allowed))


def test_weights_too_large_to_be_transformed_at_once():
    x, w, _ = layer(1, 420, 320, (9, 9), "f4")
    lanes = _kernels.load("winograd", "f32").LANES
    assert 36 * 4 * 420 * (320 // lanes * lanes) > 12 << 20
    for workers in (1, 5):
        y = by_tiles(x, w, padding=1, workers=workers)
        problems.assert_close(y, exact(x, w, 1), np.full(y.shape, bound(x, w)))


@given(st.sampled_from(FLOATS), st.integers(1, 20), st.integers(1, 20), st.integers(0, 99), st.floats(0, 12),
       st.sampled_from(("alternating", "constant", "one tap", "uneven")))
def test_error_by_norms_on_hostile_numbers(dtype, c, m, seed, power, kind):
    x, w, _ = layer(1, c, m, (10, 11), dtype, seed)
    rng = np.random.default_rng(seed + 1)
    large = np.dtype(dtype).type(10.0 ** power)
    if kind == "alternating":  # large values that cancel nearly everywhere
        x += large * (-1) ** np.add.outer(np.arange(10), np.arange(11)).astype(dtype)
        w -= w.mean((2, 3), keepdims=True)
    elif kind == "constant":
        x += large
        w -= w.mean((1, 2, 3), keepdims=True)
    elif kind == "one tap":
        w *= np.arange(9).reshape(3, 3) == rng.integers(9, size=(m, c, 1, 1))
    else:
        x *= (10.0 ** rng.uniform(-power / 2, power / 2, x.shape)).astype(dtype)
        w *= (10.0 ** rng.uniform(-power / 2, power / 2, w.shape)).astype(dtype)
    y = by_tiles(x, w, padding=1)
    problems.assert_close(y, exact(x, w, 1), np.full(y.shape, bound(x, w)))


# ---- the table of tiles

TABLE = [(points, taps) for taps, choice in winograd.POINTS.items() for points in choice]


def with_tiles(monkeypatch, points):
    for choice in ("_choice", "_gradient_choice"):
        monkeypatch.setattr(winograd, choice, lambda nest, kind: points)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("down", TABLE)
@pytest.mark.parametrize("across", TABLE)
def test_every_tile_of_the_table(dtype, down, across, monkeypatch):
    points, taps = zip(down, across, strict=True)
    if points == (1, 1):
        return
    with_tiles(monkeypatch, points)
    x, w, bias = layer(2, 9, 19, (13, 31), dtype, sum(points) + sum(taps), taps)
    rows, columns = (s + 2 - t + 1 for s, t in zip(x.shape[2:], taps, strict=True))
    plan = _plan.Plan(convx.plan("conv", x, w, padding=1, algorithm="winograd").problem)
    y = plan(x, w, bias, workers=1)
    wide = np.pad(x.astype(np.longdouble), ((0, 0), (0, 0), (1, 1), (1, 1)))
    aim, size = np.zeros(y.shape, np.longdouble), np.abs(x).max() * np.abs(w).sum((1, 2, 3)).max() + np.abs(bias).max()
    dy = np.random.default_rng(5).standard_normal(y.shape).astype(dtype)
    dw = np.zeros(w.shape, np.longdouble)
    for i, j in np.ndindex(*taps):
        part = wide[:, :, i:i + rows, j:j + columns]
        aim += np.einsum("mc,nchw->nmhw", w[:, :, i, j].astype(np.longdouble), part)
        dw[:, :, i, j] = np.tensordot(dy.astype(np.longdouble), part, ((0, 2, 3), (0, 2, 3)))
    allowed = winograd.error_factor * (w[0].size + 3) * np.finfo(dtype).eps * size
    problems.assert_close(y, aim + bias.reshape(-1, 1, 1), np.full(y.shape, allowed))
    assert np.array_equal(plan(x, w, bias, workers=3), y)
    assert np.array_equal(plan.bind(w, bias)(x), y)
    problem = convx.plan("conv_grad_weight", x, dy, w_shape=w.shape, padding=1, algorithm="winograd").problem
    problems.assert_close(_plan.Plan(problem)(x, dy, workers=2), dw, np.full(w.shape, gradient_bound(x, dy)))


def test_the_tile_is_chosen_by_what_a_call_reads():
    """Small pictures of many channels take small tiles: their transformed weights are fewer."""
    def points(c, size, taps=(3, 3)):
        x, w = np.empty((1, c, *size), "f4"), np.empty((c, c, *taps), "f4")
        (step,) = schedule(convx.plan("conv", x, w, padding="same").problem, x, w, np.empty(x.shape, "f4")).steps
        return winograd.way(step.nest, step.model, "f32", False)[1][0][2]

    assert points(64, (56, 56)) == (6, 6)
    assert np.prod(points(512, (14, 14))) < 36
    assert points(64, (4000,), (3,)) == (1, 6)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size,taps", [((70,), (3,)), ((70,), (5,)), ((6, 7, 20), (3, 1, 1)), ((6, 7, 20), (1, 1, 3)),
                                       ((6, 7, 20), (3, 1, 4)), ((6, 7, 20), (3, 3, 1)), ((6, 7, 20), (2, 5, 3))])
def test_bits_of_lines_and_volumes_do_not_depend_on_how_the_arrays_lie(dtype, size, taps):
    x, w, bias = layer(3, 11, 18, size, dtype, taps=taps)
    plain = by_tiles(x, w, bias, padding=1)
    around = [(0, 0), (0, 0)] + [(1, 1)] * len(size)
    padded = np.pad(x.astype(np.longdouble), around)
    aim = np.einsum("nc...k,mck->nm...", sliding_window_view(padded, taps, tuple(range(2, padded.ndim))).reshape(
        3, 11, *plain.shape[2:], -1), w.astype(np.longdouble).reshape(18, 11, -1)) + bias.reshape(-1, *[1] * len(size))
    allowed = winograd.error_factor * (w[0].size + 3) * np.finfo(dtype).eps * (
        np.abs(x).max() * np.abs(w).sum(tuple(range(1, w.ndim))).max() + np.abs(bias).max())
    problems.assert_close(plain, aim, np.full(plain.shape, allowed))
    wide = np.full(tuple(2 * s for s in x.shape), np.nan, dtype)
    every = (slice(None, None, 2),) * x.ndim
    wide[every] = x
    out = np.full(tuple(2 * s for s in plain.shape), np.nan, dtype)[every]
    for a in (x, wide[every], np.flip(np.flip(x).copy())):
        assert np.array_equal(by_tiles(a, w, bias, padding=1, workers=2), plain)
        assert np.array_equal(by_tiles(a, w, bias, padding=1, workers=3, out=out), plain)
    assert np.array_equal(by_tiles(x[1:], w, bias, padding=1), plain[1:])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_sample_reaches_only_its_windows(value):
    for taps in (3, 5):
        clean, w, bias = layer(1, 9, 11, (40,), "f4", taps=(taps,))
        for at in range(40):
            x = clean.copy()
            x[0, 3, at] = value
            hit = np.zeros(40, bool)
            hit[max(at - taps // 2, 0):at + taps // 2 + 1] = True
            assert (~np.isfinite(by_tiles(x, w, bias, padding=taps // 2)) == hit).all()


# ---- bits

@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("c,m,size", [(5, 9, (9, 14)), (40, 100, (14, 14)), (140, 70, (11, 50)), (64, 200, (7, 7))])
def test_bits_depend_on_neither_threads_nor_batch_nor_binding(dtype, layout, c, m, size):
    x, w, bias = layer(5, c, m, size, dtype)
    if layout == "NHWC":
        x, w = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)) for a in (x, w))
    options = {"layout": layout, "padding": 1}
    whole = by_tiles(x, w, bias, workers=1, **options)
    for workers in (2, 3, 7):
        assert np.array_equal(by_tiles(x, w, bias, workers=workers, **options), whole)
    for part in (slice(0, 1), slice(1, 4), slice(4, 5)):
        assert np.array_equal(by_tiles(x[part], w, bias, workers=2, **options), whole[part])
    held = convx.plan("conv2d", x, w, algorithm="winograd", **options).bind(w, bias)
    for workers in (1, 2, 3):
        assert np.array_equal(held(x, workers=workers), whole)


@pytest.mark.parametrize("dtype", FLOATS)
def test_bits_do_not_depend_on_how_the_arrays_lie(dtype):
    x, w, bias = layer(3, 21, 19, (10, 23), dtype)
    plain = by_tiles(x, w, bias, padding=1)
    turned = np.flip(np.flip(x, (1, 2, 3)).copy(), (1, 2, 3)), np.flip(np.flip(w).copy())
    wide = np.full((6, 42, 20, 46), np.nan, dtype)
    wide[::2, ::2, ::2, ::2] = x
    for a, b in ((turned[0], w), (x, turned[1]), (wide[::2, ::2, ::2, ::2], w), (x, np.asfortranarray(w))):
        assert np.array_equal(by_tiles(a, b, bias, padding=1, workers=2), plain)
        for out in (np.full(plain.shape, np.nan, dtype), np.flip(np.full(plain.shape, np.nan, dtype)),
                    np.full((3, 38, 10, 46), np.nan, dtype)[:, ::2, :, ::2]):
            assert by_tiles(a, b, bias, padding=1, out=out) is out
            assert np.array_equal(out, plain)
    last = by_tiles(*(a.transpose(0, 2, 3, 1).copy() for a in (x, w)), bias, padding=1, layout="NHWC")
    assert np.array_equal(last.transpose(0, 3, 1, 2), plain)
    last = by_tiles(x.transpose(0, 2, 3, 1), w.transpose(2, 3, 1, 0).copy(), bias, padding=1, layout="NHWC",
                    w_layout="HWIO")
    assert np.array_equal(last.transpose(0, 3, 1, 2), plain)


def test_many_threads_on_one_plan():
    w = layer(1, 4, 8, (1, 1), "f4")[1]
    inputs = [layer(1, 4, 1, (40, 40), "f4", seed)[0] for seed in range(8)]
    p = convx.plan("conv", inputs[0], w, padding=1, algorithm="winograd")
    q, want = p.bind(w), [by_tiles(x, w, padding=1, workers=1) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for call in (lambda x: p(x, w), lambda x: p(x, w, workers=2), q, lambda x: q(x, workers=2)):
            for got, y in zip(pool.map(call, inputs * 3), want * 3, strict=True):
                assert np.array_equal(got, y)


@pytest.mark.parametrize("dtype", FLOATS)
def test_fortran_order(dtype):
    x, w, bias = layer(3, 21, 19, (10, 23), dtype)
    aim = exact(x, w, 1) + bias.reshape(-1, 1, 1)
    allowed = np.full(aim.shape, bound(x, w) + np.finfo(dtype).eps * np.abs(aim).max())
    for a, b in product((x, np.asfortranarray(x)), (w, np.asfortranarray(w))):
        problems.assert_close(by_tiles(a, b, bias, padding=1, workers=2), aim, allowed)
        out = np.full(aim.shape, np.nan, dtype, order="F")
        problems.assert_close(by_tiles(a, b, bias, padding=1, out=out), aim, allowed)
    matlab = by_tiles(np.asfortranarray(x.transpose(2, 3, 1, 0)), np.asfortranarray(w.transpose(2, 3, 1, 0)), bias,
                      padding=1, layout="HWCN")
    assert matlab.flags.f_contiguous
    problems.assert_close(matlab.transpose(3, 2, 0, 1), aim, allowed)


def test_out_beside_what_must_not_be_touched():
    x, w, _ = layer(1, 8, 8, (7, 9), "f4")
    room = np.full((1, 10, 11, 13), 7, np.float32)
    y = by_tiles(x, w, padding=1, out=room[:, 1:9, 2:9, 2:11])
    assert np.array_equal(y, by_tiles(x, w, padding=1))
    room[:, 1:9, 2:9, 2:11] = 7
    assert (room == 7).all()


@pytest.mark.parametrize("boundary", ["edge", "reflect", "symmetric", "wrap", "constant"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_boundaries_equal_a_padded_array(boundary, dtype):
    x, w, bias = layer(2, 9, 10, (7, 13), dtype)
    around = {"mode": boundary, **({"constant_values": -2.5} if boundary == "constant" else {})}
    padded = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)), **around)
    y = by_tiles(x, w, bias, padding=2, boundary=boundary, cval=-2.5 if boundary == "constant" else 0)
    assert np.array_equal(y, by_tiles(padded, w, bias))  # the same tiles: the same bits
    y = by_tiles(x.transpose(0, 2, 3, 1).copy(), w, bias, padding=2, boundary=boundary, layout="NHWC", w_layout="OIHW",
                 cval=-2.5 if boundary == "constant" else 0)
    assert np.array_equal(y.transpose(0, 3, 1, 2), by_tiles(padded, w, bias))


def test_complex_arrays_add_to_what_is_there():
    rng = np.random.default_rng(8)
    x = (rng.standard_normal((2, 9, 7, 13)) + 1j * rng.standard_normal((2, 9, 7, 13))).astype("c8")
    w = (rng.standard_normal((10, 9, 3, 3)) + 1j * rng.standard_normal((10, 9, 3, 3))).astype("c8")
    bias = (rng.standard_normal(10) + 1j).astype("c8")
    y = by_tiles(x, w, bias, padding=1)
    for part, aim in ((y.real, exact(x.real, w.real, 1) - exact(x.imag, w.imag, 1) + bias.real.reshape(-1, 1, 1)),
                      (y.imag, exact(x.real, w.imag, 1) + exact(x.imag, w.real, 1) + bias.imag.reshape(-1, 1, 1))):
        allowed = 2 * bound(np.abs(x), np.abs(w))
        problems.assert_close(part, aim, np.full(part.shape, allowed))


# ---- what is not finite

def hit_by(x_shape, w_shape, at, padding):
    """Outputs whose windows hold the pixel `at` of x."""
    n, _, i, j = at
    hit = np.zeros((x_shape[0], w_shape[0], x_shape[2] + 2*padding - 2, x_shape[3] + 2*padding - 2), bool)
    hit[n, :, max(i + padding - 2, 0):i + padding + 1, max(j + padding - 2, 0):j + padding + 1] = True
    return hit


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_one_pixel_reaches_only_its_windows(value, layout):
    clean, w, bias = layer(2, 9, 11, (9, 10), "f4")
    order = (0, 1, 2, 3) if layout == "NCHW" else (0, 2, 3, 1)
    expected = by_tiles(clean, w, bias, padding=1)
    for at in product((1,), (3,), range(9), range(10)):  # every place in a tile, its corners and the image's
        x = clean.copy()
        x[at] = value
        y = by_tiles(x.transpose(order).copy(), w, bias, padding=1, layout=layout, w_layout="OIHW")
        y = y.transpose(np.argsort(order))
        hit = hit_by(x.shape, w.shape, at, 1)
        assert np.array_equal(~np.isfinite(y), hit), at
        assert (np.isnan(y) == (hit & np.isnan(value))).all(), at
        assert np.abs(y - expected)[~hit].max() <= 2 * bound(clean, w)


def test_an_infinite_weight_does_not_meet_padding():
    x, w, _ = layer(1, 9, 11, (9, 10), "f4")
    for i, j in product(range(3), repeat=2):
        v = w.copy()
        v[4, 5, i, j] = np.inf
        y = by_tiles(x, v, padding=1)
        aim = np.zeros(y.shape, bool)
        rows, columns = np.arange(9) + i - 1, np.arange(10) + j - 1
        aim[0, 4] = np.logical_and.outer((rows >= 0) & (rows < 9), (columns >= 0) & (columns < 10))
        assert np.array_equal(~np.isfinite(y), aim)
        assert not np.isnan(y).any()


@pytest.mark.parametrize("dtype", FLOATS)
def test_finite_numbers_whose_transform_overflows(dtype):
    most = np.finfo(dtype).max
    x, w, _ = layer(1, 2, 3, (9, 9), dtype)
    x[0, 0] = most / 4 * np.sign(x[0, 0])  # sums of four and more in the transform
    w[:, 0] = 0
    w[:, 0, 1, 1] = 1
    w[:, 1] = 0
    y = by_tiles(x, w, padding=1)
    assert np.isfinite(y).all()
    assert (np.abs(y / x[:, :1] - 1) <= winograd.error_factor * 20 * np.finfo(dtype).eps).all()


def test_infinity_in_y_stays_where_it_was_added():
    x = np.zeros((1, 8, 8, 8), "c8")
    x.real[...], x.imag[...] = layer(1, 8, 8, (8, 8), "f4")[0], 1
    x[0, 2, 3, 3] = np.inf
    w = (layer(1, 8, 8, (8, 8), "f4")[1] + 1j).astype("c8")
    y = by_tiles(x, w, padding=1)
    assert np.array_equal(~np.isfinite(y), hit_by(x.shape, w.shape, (0, 2, 3, 3), 1))


# ---- weight gradients: 3x3 outputs, for which the pixels of dy are the taps

def gradient(x, dy, **options):
    options = {"padding": 1, "algorithm": "winograd"} | options
    layout, groups = options.get("layout", "NCHW"), options.get("groups", 1)
    c, m = (a.shape[layout.index("C")] for a in (x, dy))
    taps = (3,) * (x.ndim - 2)
    shape = (m, c // groups, *taps) if layout == "NCHW" else (m, *taps, c // groups)
    return convx.conv_grad_weight(x, dy, options.pop("w_shape", shape), **options)


def pair(n, c, m, size, dtype, seed=0, padding=1):
    """x and dy of a layer."""
    rng = np.random.default_rng(seed)
    out = tuple(s + 2*padding - 2 for s in size)
    return (rng.standard_normal((n, c, *size)).astype(dtype), rng.standard_normal((n, m, *out)).astype(dtype))


def exact_gradient(x, dy, padding=1, wide=np.longdouble):
    """The sum over images and pixels by slices of the padded input."""
    around = [(0, 0), (0, 0)] + [(padding, padding)] * (x.ndim - 2)
    x, dy, over = np.pad(x.astype(wide), around), dy.astype(wide), (0, *range(2, x.ndim))
    dw = np.zeros((dy.shape[1], x.shape[1], *(3,) * (x.ndim - 2)), wide)
    with np.errstate(all="ignore"):
        for at in np.ndindex(dw.shape[2:]):
            part = x[(..., *(slice(k, k + s) for k, s in zip(at, dy.shape[2:], strict=True)))]
            dw[(..., *at)] = np.tensordot(dy, part, (over, over))
    return dw


def gradient_bound(x, dy):
    size = np.abs(x).max() * np.abs(dy).sum((0, *range(2, dy.ndim))).max()
    return winograd.error_factor * (dy[:, 0].size + 2) * np.finfo(x.dtype).eps * np.float64(size)


def assert_gradient(dw, x, dy, padding=1, wide=np.longdouble):
    problems.assert_close(dw, exact_gradient(x, dy, padding, wide), np.full(dw.shape, gradient_bound(x, dy)))


def cut_of(x, dy):
    """(parts, block) of a float32 gradient."""
    problem = convx.plan("conv_grad_weight", x, dy, w_shape=(dy.shape[1], x.shape[1], *(3,) * (x.ndim - 2)),
                         padding=1).problem
    (step,) = schedule(problem, x, dy, np.empty(problem.y_shape, x.dtype)).steps
    return winograd.way(step.nest, step.model, "f32", False)[1][0][2][:2]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", [(1, 2), (2, 9), (4, 4), (5, 8), (13, 70)])
@pytest.mark.parametrize("c,m", [(1, 1), (3, 17), (8, 8), (9, 24), (33, 50), (130, 7), (70, 130)])
def test_gradients_of_sizes_around_tiles_and_panels(dtype, size, c, m):
    x, dy = pair(2 if c < 50 else 1, c, m, size, dtype)
    assert_gradient(gradient(x, dy, workers=2), x, dy)


@pytest.mark.parametrize("n,c,m,size,parts", [(3, 9, 20, (57, 58), 4), (1, 33, 16, (124, 200), 16),
                                              (1, 100, 400, (40, 40), 0), (2, 33, 80, (30, 31), 1),
                                              (1, 12, 20, (9, 18, 30), 2), (1, 40, 80, (7, 34, 40), 1)])
def test_gradients_in_parts_and_in_blocks(n, c, m, size, parts):
    x, dy = pair(n, c, m, size, "f4")
    found, block = cut_of(x, dy)
    tiles = n * int(np.prod([*size[:-2], *(-(-s // 4) for s in size[-2:])]))
    assert found == parts and block < tiles / max(parts, 1)
    dw = gradient(x, dy, workers=1)
    assert_gradient(dw, x, dy, wide=np.float64)
    for workers in (2, 3, 40):  # 40: more than there are parts
        assert np.array_equal(gradient(x, dy, workers=workers), dw)
    last = [np.moveaxis(a, 1, -1).copy() for a in (x, dy)]
    found = gradient(*last, workers=2, layout="NHWC" if len(size) == 2 else "NDHWC")
    assert np.array_equal(np.moveaxis(found, -1, 1), dw)


@pytest.mark.parametrize("dtype", FLOATS)
def test_bits_of_gradients_do_not_depend_on_how_the_arrays_lie(dtype):
    x, dy = pair(3, 21, 19, (10, 23), dtype)
    plain = gradient(x, dy)
    wide = np.full((6, 42, 20, 46), np.nan, dtype)
    wide[::2, ::2, ::2, ::2] = x
    turned = np.flip(np.flip(dy).copy())
    for a, b in ((np.flip(np.flip(x).copy()), dy), (wide[::2, ::2, ::2, ::2], dy), (x, turned)):
        assert np.array_equal(gradient(a, b, workers=2), plain)
        for out in (np.full(plain.shape, np.nan, dtype), np.flip(np.full(plain.shape, np.nan, dtype)),
                    np.full((19, 42, 3, 6), np.nan, dtype)[:, ::2, :, ::2],
                    np.full((3, 3, 21, 19), np.nan, dtype).transpose(3, 2, 0, 1),
                    np.full((19, 3, 3, 21), np.nan, dtype).transpose(0, 3, 1, 2)):
            assert gradient(a, b, out=out) is out
            assert np.array_equal(out, plain)
    room = np.full((21, 23, 5, 5), 7, dtype)
    gradient(x, dy, out=room[1:20, 1:22, 1:4, 1:4])
    assert np.array_equal(room[1:20, 1:22, 1:4, 1:4], plain)
    room[1:20, 1:22, 1:4, 1:4] = 7
    assert (room == 7).all()


@pytest.mark.parametrize("dtype", FLOATS)
def test_gradients_in_fortran_order(dtype):
    x, dy = pair(3, 21, 19, (10, 23), dtype)
    allowed = np.full((19, 21, 3, 3), gradient_bound(x, dy))
    x_f, dy_f = (np.asfortranarray(a.transpose(2, 3, 1, 0)) for a in (x, dy))
    found = gradient(x_f, dy_f, layout="HWCN", w_shape=(3, 3, 21, 19))
    problems.assert_close(found.transpose(3, 2, 0, 1), exact_gradient(x, dy), allowed)


@pytest.mark.parametrize("boundary", ["edge", "reflect", "symmetric", "wrap", "constant"])
def test_gradients_at_boundaries_equal_a_padded_array(boundary):
    x, dy = pair(2, 9, 10, (7, 13), "f4", padding=2)
    cval = -2.5 if boundary == "constant" else 0
    around = {"mode": boundary, **({"constant_values": cval} if boundary == "constant" else {})}
    padded = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)), **around)
    for layout in ("NCHW", "NHWC"):
        a, b, p = (np.moveaxis(v, 1, layout.index("C")).copy() for v in (x, dy, padded))
        dw = gradient(a, b, padding=2, boundary=boundary, cval=cval, layout=layout)
        assert np.array_equal(dw, gradient(p, b, padding=0, layout=layout))  # the same tiles: the same bits


@pytest.mark.parametrize("dtype", FLOATS)
def test_gradients_of_groups_and_volumes(dtype):
    x, dy = pair(2, 12, 20, (9, 10), dtype)
    dw = gradient(x, dy, groups=4, workers=2)
    for workers in (1, 9):
        assert np.array_equal(gradient(x, dy, groups=4, workers=workers), dw)
    for g in range(4):
        assert_gradient(dw[5*g:5*g + 5], x[:, 3*g:3*g + 3], dy[:, 5*g:5*g + 5])
    x, dy = pair(2, 9, 20, (5, 9, 10), dtype)
    assert_gradient(gradient(x, dy, workers=2), x, dy)
    options = {"dilation": (2, 1, 1), "stride": (3, 1, 1), "padding": (3, 1, 1), "w_shape": (20, 9, 3, 3, 3)}
    dw = gradient(x, dy[:, :, :3], **options)
    spread = np.zeros((2, 20, 7, 9, 10), dtype)
    spread[:, :, ::3] = dy[:, :, :3]
    above = np.pad(x, ((0, 0), (0, 0), (3, 3), (0, 0), (0, 0)))
    for k in range(3):
        part = exact_gradient(above[:, :, 2*k:2*k + 7].swapaxes(1, 2).reshape(14, 9, 9, 10),
                              spread.swapaxes(1, 2).reshape(14, 20, 9, 10))
        problems.assert_close(dw[:, :, k], part, np.full(part.shape, gradient_bound(x, dy)))


def test_complex_gradients_add_to_what_is_there():
    rng = np.random.default_rng(8)
    for size in ((7, 13), (60, 57)):
        x = (rng.standard_normal((1, 9, *size)) + 1j * rng.standard_normal((1, 9, *size))).astype("c8")
        dy = (rng.standard_normal((1, 20, *size)) + 1j * rng.standard_normal((1, 20, *size))).astype("c8")
        dw = gradient(x, dy, workers=2)
        for part, aim in ((dw.real, exact_gradient(x.real, dy.real) + exact_gradient(x.imag, dy.imag)),
                          (dw.imag, exact_gradient(x.real, dy.imag) - exact_gradient(x.imag, dy.real))):
            problems.assert_close(part, aim, np.full(part.shape, 2 * gradient_bound(np.abs(x), np.abs(dy))))


@pytest.mark.parametrize("n,c,m,taps,parts", [(1900, 3, 5, (14, 13), 1), (1400, 16, 64, (13, 12), 2)])
def test_layers_with_three_by_three_outputs(n, c, m, taps, parts):
    """So many images that their transforms or products are not all there at a time."""
    x, w, bias = layer(n, c, m, (taps[0] + 2, taps[1] + 2), "f4", taps=taps)
    step = schedule(convx.plan("conv", x, w).problem, x, w, np.empty((n, m, 3, 3), "f4")).steps[0]
    assert winograd.way(step.nest, step.model, "f32", False)[1][0][2][0] == parts
    y = by_tiles(x, w, bias, workers=1)
    for at in (0, 1, n - 1):
        windows = [x[at, :, i:i + taps[0], j:j + taps[1]].astype(float) for i, j in np.ndindex(3, 3)]
        aim = np.stack([np.tensordot(w, window, 3) for window in windows], -1)
        problems.assert_close(y[at], aim.reshape(m, 3, 3) + bias.reshape(-1, 1, 1), np.full((m, 3, 3), bound(x, w)))
    for part in (slice(0, 1), slice(1, n)):
        assert np.array_equal(by_tiles(x[part], w, bias, workers=3), y[part])
    assert np.array_equal(convx.plan("conv", x, w, algorithm="winograd").bind(w, bias)(x), y)


@pytest.mark.parametrize("line", ["i9x9 k7x7 o3x3 s2 d3", "i20x9 k7x7 o3x3 s3 d2", "i20x9 k7x7 o3x3 d2",
                                  "i19x9 k7x4 o13x6", "i19 k7 o13"])
def test_refused_gradients(line):
    geometry = parse("n2 g1 c2 m2 " + line)
    x, w, _ = problems.arrays(geometry, "f4")
    assert problems.refusals(winograd, geometry, x, w, "f32")


def test_auto_takes_it_for_gradients():
    for c, size in ((64, (56, 56)), (512, (14, 14)), (32, (8, 28, 28)), (1, (200, 200))):
        x, dy = pair(1, c, c, size, "f4")
        chosen = convx.explain("conv_grad_weight", x, dy, w_shape=(c, c, *(3,) * len(size)), padding=1).chosen
        assert (chosen == "winograd") == (c > 1)


def test_costs_of_gradients_grow_with_the_work_and_fall_with_threads():
    def nest(size, c=64):
        x, dy = pair(1, c, 64, (size, size), "f4")
        problem = convx.plan("conv_grad_weight", x, dy, w_shape=(64, c, 3, 3), padding=1).problem
        (step,) = schedule(problem, x, dy, np.empty(problem.y_shape, "f4")).steps
        return step.nest

    for small, large in ((nest(28), nest(56)), (nest(14, 256), nest(28, 256))):
        assert 0 < winograd.seconds(small, "f32", 1) < winograd.seconds(large, "f32", 1)
        assert winograd.seconds(large, "f32", 2) < winograd.seconds(large, "f32", 1)
        assert 0 < winograd.scratch(large, "f32", 1) < winograd.scratch(large, "f32", 2) < 16 << 20


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("size,c,m", [((6, 9), 3, 18), ((6, 9), 90, 110)])
def test_one_pixel_reaches_only_the_taps_that_read_it(value, size, c, m):
    clean, above = pair(2, c, m, size, "f4")
    expected, places = gradient(clean, above), list(np.ndindex(size))
    for at in places if c < 10 else places[::11]:
        for side in (0, 1):
            x, dy = clean.copy(), above.copy()
            (x, dy)[side][(1, 2, *at)] = value
            dw = gradient(x, dy)
            aim = exact_gradient(x, dy, wide=np.float64)  # 0 * inf at the rim: absent, as below
            hit = np.zeros(dw.shape, bool)
            for k in np.ndindex(3, 3):
                other = [a + (1 - b if side == 0 else b - 1) for a, b in zip(at, k, strict=True)]
                if all(0 <= o < s for o, s in zip(other, size, strict=True)):
                    hit[(slice(None), 2, *k) if side == 0 else (2, slice(None), *k)] = True
            assert np.array_equal(~np.isfinite(dw), hit), (at, side)
            assert np.array_equal(np.isnan(dw), hit & np.isnan(value))
            assert np.array_equal(np.sign(dw)[hit & ~np.isnan(dw)], np.sign(aim)[hit & ~np.isnan(dw)])
            assert np.abs(dw - expected)[~hit].max() <= 2 * gradient_bound(clean, above)


@pytest.mark.parametrize("c,m,parts", [(9, 20, 4), (70, 140, 1), (100, 400, 0)])
def test_infinite_gradients_of_parts_and_blocks(c, m, parts):
    clean, dy = pair(3, c, m, (57, 58), "f4")
    assert cut_of(clean, dy)[0] == parts
    x, half = clean.copy(), np.where(np.arange(m) < m // 2, 1, -1)[:, None, None]
    x[0, 1, 0, 0] = x[2, 1, 50, 50] = x[1, 8, 30, 9] = np.inf
    dy[0, :, :2, :2], dy[1, :, 29:32, 8:11], dy[2, :, 49:52, 49:52] = 1, 2, half
    dw = gradient(x, dy, workers=2)
    first = np.zeros((3, 3))  # the taps that read x[0, 1, 0, 0] for an output inside
    first[:2, :2] = np.inf
    with np.errstate(invalid="ignore"):
        aim = half * np.full((3, 3), np.inf) + first
    assert np.array_equal(dw[:, 1], aim, equal_nan=True) and np.isnan(aim).any() and np.isinf(aim).any()
    assert (dw[:, 8] == np.inf).all()
    rest = [0, *range(2, 8)]
    problems.assert_close(dw[:, rest], exact_gradient(clean[:, rest], dy, wide=np.float64),
                          np.full((m, 7, 3, 3), gradient_bound(clean, dy)))
    x[...] = np.nan
    assert np.isnan(gradient(x, dy, workers=2)).all()


@pytest.mark.parametrize("dtype", FLOATS)
def test_gradients_of_finite_numbers_whose_transform_overflows(dtype):
    most = np.finfo(dtype).max
    x, dy = pair(1, 2, 3, (9, 9), dtype)
    x[0, 0] = most / 4 * np.sign(x[0, 0])
    x[0, 1], dy[...] = 0, 0
    dy[:, :, 4, 4] = 1
    dw = gradient(x, dy)
    assert np.isfinite(dw).all()
    assert np.array_equal(dw[:, 0], np.broadcast_to(x[0, 0, 3:6, 3:6], (3, 3, 3))) and not dw[:, 1].any()
