"""Pooling: every window by plain Python, PyTorch where it is installed, and the laws of the gradients."""

from itertools import product
from math import ceil, prod

import numpy as np
import pytest
from arrays import sliced, whole, zoo
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

import convx

LAYOUTS = ("NCHW", "NHWC", "HWCN")
REAL = (np.bool_, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, np.float16,
        np.float32, np.float64, np.longdouble)


def placed(a, layout):
    """A channels-first array in this layout."""
    return {"NCHW": a, "NHWC": np.moveaxis(a, 1, -1), "HWCN": np.moveaxis(a, (0, 1), (-1, -2))}[layout]


def first(a, layout):
    """The channels-first view of an array in this layout."""
    return {"NCHW": a, "NHWC": np.moveaxis(a, -1, 1), "HWCN": np.moveaxis(a, (-1, -2), (0, 1))}[layout]


# The oracle: lists of cells -------------------------------------------------------------------------------------------

def outputs(size, k, s, d, before, after, ceil_mode=False):
    """The number of outputs on one axis, by sliding the window until it does not fit."""
    span, o = d * (k - 1) + 1, 0
    while s * o + span <= before + size + after:
        o += 1
    if ceil_mode and s * (o - 1) + span < before + size + after and s * o < before + size:
        o += 1
    return o


def windows(sizes, k, s, d, pads, ceil_mode=False):
    """output -> (cells of x in scan order, cells of the padded area)."""
    outs = [outputs(*axis, *pad, ceil_mode) for *axis, pad in zip(sizes, k, s, d, pads, strict=True)]
    found = {}
    for o in np.ndindex(*outs):
        spots = [[s[a] * o[a] + d[a] * t - pads[a][0] for t in range(k[a])] for a in range(len(k))]
        cells = [i for i in product(*spots) if all(0 <= j < n for j, n in zip(i, sizes, strict=True))]
        area = prod(sum(spot < n + pad[1] for spot in axis) for axis, n, pad in zip(spots, sizes, pads, strict=True))
        found[o] = cells, area
    return outs, found


def slow_max(x, outs, found):
    """(largest values, flat indices, all places) of a channels-first x."""
    y = np.empty((*x.shape[:2], *outs), x.dtype)
    index = np.empty(y.shape, np.int64)
    ties = {}
    for n, c in np.ndindex(x.shape[:2]):
        for o, (cells, _) in found.items():
            best = cells[:1]
            for i in cells[1:]:
                a, b = x[(n, c, *best[0])], x[(n, c, *i)]
                if (b > a) or (b != b and a == a):
                    best = [i]
                elif b == a or (a != a and b != b):
                    best.append(i)
            y[(n, c, *o)] = x[(n, c, *best[0])]
            index[(n, c, *o)] = np.ravel_multi_index(best[0], x.shape[2:])
            ties[(n, c, *o)] = best
    return y, index, ties


def slow_average(x, outs, found, include, divisor=None):
    y = np.empty((*x.shape[:2], *outs), np.float64)
    for n, c in np.ndindex(x.shape[:2]):
        for o, (cells, area) in found.items():
            total = sum(float(x[(n, c, *i)]) for i in cells)
            y[(n, c, *o)] = total / (divisor or (area if include else len(cells)))
    return y


def added(x, dy, index):
    """dy added one by one at flat indices of a channels-first x."""
    dx = np.zeros((*x.shape[:2], prod(x.shape[2:])))
    n, c, _ = np.ogrid[:x.shape[0], :x.shape[1], :1]
    np.add.at(dx, (n, c, index.reshape(*x.shape[:2], -1)), dy.reshape(*x.shape[:2], -1))
    return dx.reshape(x.shape)


@st.composite
def poolings(draw, most=9):
    rank = draw(st.integers(1, 3))
    small = st.integers(1, 3)
    k, s, d = (tuple(draw(small) for _ in range(rank)) for _ in range(3))
    pads = tuple((draw(st.integers(0, (t - 1) * g)), draw(st.integers(0, (t - 1) * g)))
                 for t, g in zip(k, d, strict=True))
    sizes = tuple(draw(st.integers(max(1, g * (t - 1) + 1 - sum(p)), most if rank < 3 else 5 + g * (t - 1)))
                  for t, g, p in zip(k, d, pads, strict=True))
    return {
        "sizes": sizes, "k": k, "s": s, "d": d, "pads": pads, "ceil_mode": draw(st.booleans()),
        "n": draw(st.integers(1, 2)), "c": draw(st.sampled_from([1, 2, 9, 17])),
        "layout": draw(st.sampled_from(LAYOUTS)), "order": draw(st.sampled_from("CF")),
        "seed": draw(st.integers(0, 99)), "nan": draw(st.booleans()),
        "dtype": draw(st.sampled_from([np.float32, np.float64])),
    }


def made(q):
    """x (channels first, few different values: many ties), options, and what the oracle needs."""
    x = whole((q["n"], q["c"], *q["sizes"]), q["seed"], q["dtype"], -3, 3)
    if q["nan"]:
        x[np.random.default_rng(q["seed"]).random(x.shape) < 0.15] = np.nan
    options = {"stride": q["s"], "dilation": q["d"], "padding": q["pads"], "ceil_mode": q["ceil_mode"],
               "layout": q["layout"]}
    return x, options, windows(q["sizes"], q["k"], q["s"], q["d"], q["pads"], q["ceil_mode"])


def laid(a, q):
    return np.array(placed(a, q["layout"]), order=q["order"])


def keeps_order(y, x):
    """A Fortran-ordered x gives a Fortran-ordered y."""
    return y.flags.f_contiguous if x.flags.f_contiguous and not x.flags.c_contiguous else y.flags.c_contiguous


@given(poolings())
def test_max_against_the_definition(q):
    x, options, (outs, found) = made(q)
    if not all(cells for cells, _ in found.values()):
        with pytest.raises(ValueError, match="holds no cell"):
            convx.max_pool(laid(x, q), q["k"], **options)
        return
    y, index, ties = slow_max(x, outs, found)
    got = convx.max_pool(laid(x, q), q["k"], **options)
    again, where = convx.max_pool(laid(x, q), q["k"], return_indices=True, **options)
    assert got.dtype == x.dtype and where.dtype == np.int64
    assert np.array_equal(first(got, q["layout"]), y, equal_nan=True)
    assert np.array_equal(again, got, equal_nan=True)
    assert np.array_equal(first(where, q["layout"]), index)
    assert keeps_order(got, laid(x, q))
    dy = whole(y.shape, q["seed"] + 1, q["dtype"])
    for rule in ("first", "all"):
        dx = np.zeros(x.shape)
        for o, places in ties.items():
            for i in places[:1] if rule == "first" else places:
                dx[(*o[:2], *i)] += dy[o]
        grad = convx.max_pool_grad(laid(x, q), laid(dy, q), q["k"], ties=rule, **options)
        assert grad.dtype == dy.dtype and np.array_equal(first(grad, q["layout"]), dx)
        if rule == "first":
            assert grad.sum() == dy.sum()


@given(poolings(), st.booleans(), st.sampled_from([None, None, 5, -2.5]))
def test_average_against_the_definition(q, include, divisor):
    q["nan"] = False
    x, options, (outs, found) = made(q)
    options |= {"count_include_pad": include, "divisor": divisor}
    if not include and divisor is None and not all(cells for cells, _ in found.values()):
        with pytest.raises(ValueError, match="holds no cell"):
            convx.avg_pool(laid(x, q), q["k"], **options)
        return
    want = slow_average(x, outs, found, include, divisor).astype(q["dtype"])
    got = convx.avg_pool(laid(x, q), q["k"], **options)
    # Sums of whole numbers are exact: one rounding, that of the division (twice where float32 meets float64).
    assert got.dtype == q["dtype"] and got.shape == placed(want, q["layout"]).shape
    assert (np.abs(first(got, q["layout"]) - want) <= np.finfo(q["dtype"]).eps * np.abs(want)).all()
    assert keeps_order(got, laid(x, q))
    # The gradient is the adjoint: <avg x, dy> = <x, grad dy>.
    dy = whole(want.shape, q["seed"] + 1, q["dtype"])
    dx = convx.avg_pool_grad(laid(x, q).shape, laid(dy, q), q["k"], **options)
    assert dx.shape == laid(x, q).shape and dx.dtype == dy.dtype
    left = (want.astype(float) * dy).sum()
    right = (x.astype(float) * first(dx, q["layout"])).sum()
    shared = slow_average(np.abs(x), outs, found, include, divisor)
    terms = prod(q["k"]) + want.size
    assert abs(left - right) <= 2 * (terms + 2) * np.finfo(q["dtype"]).eps * (np.abs(shared) * np.abs(dy)).sum()


@given(poolings(), st.booleans())
def test_the_average_gradient_against_the_definition(q, include):
    x, options, (_, found) = made(q)
    if not all(cells for cells, _ in found.values()):
        return
    shape = (*x.shape[:2], *(max(o[a] for o in found) + 1 for a in range(len(q["k"]))))
    dy = whole(shape, q["seed"], q["dtype"])
    dx, bound = np.zeros(x.shape), np.zeros(x.shape)
    for o, (cells, area) in found.items():
        for i in cells:
            part = dy[(..., *o)].astype(float) / (area if include else len(cells))
            dx[(..., *i)] += part
            bound[(..., *i)] += np.abs(part)
    got = convx.avg_pool_grad(laid(x, q).shape, laid(dy, q), q["k"], count_include_pad=include, **options)
    assert (np.abs(first(got, q["layout"]) - dx) <= (prod(q["k"]) + 2) * np.finfo(q["dtype"]).eps * bound).all()


# Dtypes ---------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("shape, window, options", [
    ((2, 3, 11, 13), (3, 2), {"padding": ((1, 1), (0, 1)), "stride": 2}),
    ((2, 11, 13, 9), (2, 3), {"layout": "NHWC", "stride": 1}),
    ((1, 2, 40), (4,), {"stride": 3, "padding": "same"}),
])
def test_largest_values_of_every_dtype(dtype, shape, window, options):
    rng = np.random.default_rng(1)
    kind = np.dtype(dtype).kind
    if kind in "iu":
        info = np.iinfo(dtype)
        x = rng.choice(np.array([info.min, info.min + 1, info.max - 1, info.max, 0, 1, 5], dtype), shape)
    elif kind == "b":
        x = rng.random(shape) < 0.3
    else:
        x = rng.standard_normal(shape).astype(dtype)
        x[rng.random(shape) < 0.1] = -np.inf
        x[rng.random(shape) < 0.05] = np.nan
    layout = options.get("layout", "NCHW")
    c_first = first(x, layout)
    sizes, s = c_first.shape[2:], options["stride"]
    pads = {"same": [(1, 2)]}.get(options.get("padding"), options.get("padding", ((0, 0),) * len(sizes)))
    outs, found = windows(sizes, window, (s,) * len(sizes), (1,) * len(sizes), pads)
    y, index, _ = slow_max(c_first, outs, found)
    got, where = convx.max_pool(x, window, return_indices=True, **options)
    assert got.dtype == np.dtype(dtype)
    assert np.array_equal(first(got, layout), y, equal_nan=kind == "f")
    assert np.array_equal(first(where, layout), index)
    assert np.array_equal(convx.max_pool(x, window, **options), got, equal_nan=kind == "f")
    grad = convx.max_pool_grad(x, np.ones(got.shape, np.float32), window, **options)
    dx = np.zeros(c_first.shape)
    for o in np.ndindex(y.shape):
        dx[(*o[:2], *np.unravel_index(index[o], sizes))] += 1
    assert grad.dtype == np.float32 and np.array_equal(first(grad, layout), dx)


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.uint16, np.int32, np.int64, np.uint64])
def test_averages_of_integers_are_exact_sums_rounded_once(dtype):
    rng = np.random.default_rng(2)
    info = (0, 1) if dtype is np.bool_ else (max(np.iinfo(dtype).min, -2**49), min(np.iinfo(dtype).max, 2**49))
    x = rng.integers(info[0], info[1], (2, 3, 9, 10), endpoint=True, dtype=np.int64).astype(dtype)
    y = convx.avg_pool(x, 3, stride=2, padding=1)
    assert y.dtype == np.float64
    _, found = windows((9, 10), (3, 3), (2, 2), (1, 1), ((1, 1), (1, 1)))
    for n, c, *o in np.ndindex(y.shape):
        cells, _ = found[tuple(o)]
        assert y[(n, c, *o)] == sum(int(x[(n, c, *i)]) for i in cells) / len(cells)


@pytest.mark.parametrize("dtype, eps", [(np.float16, 2.0**-10), (np.longdouble, 2.0**-52),
                                        (np.complex64, 2.0**-23), (np.complex128, 2.0**-52)])
def test_averages_of_other_dtypes(dtype, eps):
    # The reference is computed in float64.
    x = whole((2, 3, 7, 8), 3, dtype)
    y = convx.avg_pool(x, 3, stride=2, padding=1)
    dy = whole(y.shape, 4, dtype)
    dx = convx.avg_pool_grad(x.shape, dy, 3, stride=2, padding=1)
    assert y.dtype == dx.dtype == np.dtype(dtype)
    for part in (np.real, np.imag):
        want = convx.avg_pool(part(x).astype(float), 3, stride=2, padding=1)
        assert (np.abs(part(y) - want) <= 2 * eps * np.abs(want)).all()
        back = convx.avg_pool_grad(x.shape, part(dy).astype(float), 3, stride=2, padding=1)
        most = convx.avg_pool_grad(x.shape, np.abs(part(dy)).astype(float), 3, stride=2, padding=1)
        assert (np.abs(part(dx) - back) <= 11 * eps * most).all()


def test_long_double_keeps_its_digits():
    one = np.ones((1, 1, 4), np.longdouble) + np.finfo(np.longdouble).eps
    assert np.array_equal(convx.avg_pool(one, (2,)), one[..., ::2])
    assert np.array_equal(convx.avg_pool_grad((1, 1, 4), one[..., ::2], (2,)), one / 2)
    assert convx.max_pool(one * np.arange(4), (2,)).tolist() == (one * np.arange(4))[..., 1::2].tolist()


def test_float16_averages_do_not_overflow_on_the_way():
    x = np.full((1, 1, 4, 4), 60000, np.float16)
    assert (convx.avg_pool(x, 2) == 60000).all()


# nan, infinities, zeros -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_one_nan_reaches_its_windows_and_no_others(layout, dtype, stride):
    x = whole((2, 9, 23, 29), 5, dtype)
    for h, w in ((0, 0), (11, 17), (22, 28)):
        spoiled = x.copy()
        spoiled[1, 4, h, w] = np.nan
        for pool in (convx.max_pool, convx.avg_pool):
            y = first(pool(placed(x, layout), 3, stride=stride, padding=1, layout=layout), layout)
            z = first(pool(placed(spoiled, layout), 3, stride=stride, padding=1, layout=layout), layout)
            hit = np.zeros(y.shape, bool)
            for o in np.ndindex(y.shape[2:]):
                hit[(1, 4, *o)] = all(abs(stride * p - i) <= 1 for p, i in zip(o, (h, w), strict=True))
            assert np.array_equal(np.isnan(z), hit) and np.array_equal(z[~hit], y[~hit])


def test_the_first_nan_gets_the_gradient():
    x = np.array([[[1.0, np.nan, 3.0, np.nan, 2.0, 2.0]]])
    y, index = convx.max_pool(x, (3,), stride=1, return_indices=True)
    assert np.isnan(y[0, 0]).all() and index.tolist() == [[[1, 1, 3, 3]]]
    dy = np.array([[[1.0, 2.0, 4.0, 8.0]]])
    assert convx.max_pool_grad(x, dy, (3,), stride=1).tolist() == [[[0, 3, 0, 12, 0, 0]]]
    assert convx.max_pool_grad(x, dy, (3,), stride=1, ties="all").tolist() == [[[0, 3, 0, 14, 0, 0]]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_minus_infinity_is_a_value_and_padding_is_not(layout):
    x = np.full((2, 3, 5, 6), -np.inf, np.float32)
    y, index = convx.max_pool(placed(x, layout), 3, stride=2, padding=1, layout=layout, return_indices=True)
    assert (y == -np.inf).all()
    rows, columns = np.unravel_index(first(index, layout), (5, 6))
    assert (rows[0, 0, :, 0] == [0, 1, 3]).all() and (columns[0, 0, 0] == [0, 1, 3]).all()
    assert (convx.avg_pool(placed(x, layout), 3, stride=2, padding=1, layout=layout) == -np.inf).all()


def test_both_zeros_are_one_value():
    x = np.array([[[0.0, -0.0, -0.0, 0.0]]])
    y, index = convx.max_pool(x, (2,), stride=1, return_indices=True)
    assert (y == 0).all() and index.tolist() == [[[0, 1, 2]]]


def test_the_seed_gradient():
    # dx += dy * (x == max), window by window: every tied cell gets dy in full.
    x = whole((2, 3, 8, 8), 8, float, 0, 2)
    dy = whole((2, 3, 4, 4), 9, float)
    want = np.zeros(x.shape)
    for h, w in product(range(4), range(4)):
        part = x[:, :, 2*h:2*h + 2, 2*w:2*w + 2]
        want[:, :, 2*h:2*h + 2, 2*w:2*w + 2] += dy[:, :, h, w, None, None] * (part == part.max((2, 3), keepdims=True))
    assert np.array_equal(convx.max_pool_grad(x, dy, 2, ties="all"), want)


# Forms of arguments ---------------------------------------------------------------------------------------------------

def test_windows_in_every_form():
    x = whole((2, 3, 8, 12), 1)
    for pool in (convx.max_pool, convx.avg_pool):
        assert np.array_equal(pool(x, 2), pool(x, (2, 2), stride=(2, 2)))
        assert np.array_equal(pool(x, np.int64(2)), pool(x, [2, 2]))
        assert np.array_equal(pool(x, np.array([4, 3])), pool(x, (4, 3), stride=np.array([4, 3])))
        assert np.array_equal(pool(x, 1), x)
    assert np.array_equal(convx.max_pool(x, "global"), x.max((2, 3), keepdims=True))
    assert np.array_equal(convx.avg_pool(x, "global"), x.sum((2, 3), keepdims=True) / 96)
    assert np.array_equal(convx.max_pool(placed(x, "NHWC"), "global", layout="NHWC")[:, 0, 0], x.max((2, 3)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k, s, d", [(4, 2, 1), (2, 2, 1), (3, 3, 1), (3, 1, 2), (5, 4, 3), (2, 3, 1)])
def test_rows_longer_than_a_block(dtype, k, s, d):
    for size, channels in ((2047, 1), (2050, 17), (5000, 40), (9001, 3)):
        x = whole((1, channels, size), size, dtype)
        taps = np.arange((size - d * (k - 1) - 1) // s + 1)[:, None] * s + d * np.arange(k)
        y, index = convx.max_pool(x, (k,), stride=s, dilation=d, return_indices=True)
        assert np.array_equal(y, x[..., taps].max(-1)) and np.array_equal(index, taps[
            np.arange(len(taps)), x[..., taps].argmax(-1)])
        mean = convx.avg_pool(x, (k,), stride=s, dilation=d)
        assert np.array_equal(mean, x[..., taps].sum(-1) / dtype(k))
        dy = whole(y.shape, 1, dtype)
        dx = np.zeros(x.shape)
        np.add.at(dx, (slice(None), slice(None), taps), dy[..., None].astype(float))
        got = convx.avg_pool_grad(x.shape, dy, (k,), stride=s, dilation=d, divisor=4)
        assert np.array_equal(got, dx / 4)  # whole numbers over a power of two: exact
        dx = np.zeros(x.shape)
        np.add.at(dx, (0, np.arange(channels)[:, None], index[0]), dy[0])
        assert np.array_equal(convx.max_pool_grad(x, dy, (k,), stride=s, dilation=d), dx)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k, s, d, p", [(2, 2, 1, 0), (3, 2, 1, 1), (3, 2, 1, 0), (2, 1, 1, 1), (3, 1, 1, 1),
                                        (2, 2, 2, 0), (3, 2, 2, 2), (4, 2, 1, 1), (2, 3, 1, 0)])
def test_rows_of_every_length(k, s, d, p, dtype):
    """Small windows of rows around whole vectors, in the midst of nan: none of them is read, or written over."""
    for size in (*range(d * (k - 1) + 1, 9), *range(14, 19), 28, *range(31, 36), 47, 63, 64, 65, 70):
        height, planes = d * (k - 1) + 3, 5
        room = np.full(planes * height * size + 40, np.nan, dtype)
        x = room[20:-20].reshape(1, planes, height, size)
        x[...] = whole(x.shape, size, dtype, -9, 9)
        o = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n in (height, size)]
        end = [s * (n - 1) + 1 for n in o]
        spots = [np.s_[..., d * i:d * i + end[0]:s, d * j:d * j + end[1]:s] for i in range(k) for j in range(k)]
        around = ((0, 0), (0, 0), (p, p), (p, p))
        options = {"stride": s, "dilation": d, "padding": p}
        to = np.full(planes * o[0] * o[1] + 40, 77, dtype)
        y = to[20:-20].reshape(1, planes, *o)
        highest = np.max([np.pad(x, around, constant_values=-np.inf)[at] for at in spots], axis=0)
        assert np.array_equal(convx.max_pool(x, k, out=y, **options), highest)
        total = np.sum([np.pad(x, around)[at] for at in spots], axis=0)
        cells = np.sum([np.pad(np.ones_like(x), around)[at] for at in spots], axis=0)
        assert np.array_equal(convx.avg_pool(x, k, out=y, **options), total / cells)
        assert np.array_equal(convx.avg_pool(x, k, out=y, count_include_pad=True, **options), total / dtype(k * k))
        assert (to[:20] == 77).all() and (to[-20:] == 77).all()
        dy, index = whole(y.shape, 1, dtype), convx.max_pool(x, k, return_indices=True, **options)[1]
        back = np.full(room.shape, 77, dtype)
        dx = convx.max_pool_grad(x, dy, k, out=back[20:-20].reshape(x.shape), **options)
        assert np.array_equal(dx, added(x, dy, index))
        assert (back[:20] == 77).all() and (back[-20:] == 77).all()
        wide = np.zeros_like(np.pad(x, around))
        for at in spots:
            wide[at] += y
        near = [slice(p, n - p) for n in wide.shape[2:]]
        dx = convx.avg_pool_grad(x.shape, y, k, divisor=1, out=x, **options)
        assert np.abs(dx - wide[..., *near]).max() <= 2 * k * k * np.finfo(dtype).eps * np.abs(wide).max()
        assert np.isnan(room[:20]).all() and np.isnan(room[-20:]).all()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("shape, k, s, d", [
    ((1, 1, 90, 37), 3, 1, 1), ((1, 2, 61, 70), 3, 2, 1), ((2, 19, 40, 33), 2, 2, 1), ((1, 290, 7, 6), 3, 1, 1),
    ((1, 3, 50, 45), (5, 4), (3, 2), 2), ((1, 2, 40, 50), 7, 1, 1), ((1, 65, 20, 9), (9, 2), (1, 2), 1),
    ((2, 5, 30, 31), "global", None, 1), ((1, 2, 40, 12), 12, None, 1),
    ((1, 3, 21, 17, 19), (3, 2, 3), (1, 2, 2), (2, 1, 1)), ((1, 2, 2, 9000), (1, 4000), None, 1),
])
def test_the_gradient_goes_where_the_places_are(layout, order, shape, k, s, d):
    """Windows that overlap little or much, in bands, rings, parts of lanes; whole numbers, so that sums are exact."""
    x = np.array(placed(whole(shape, 1, np.float32, -9, 9), layout), order=order)
    options = {"stride": s, "dilation": d, "layout": layout.replace("H", "DH") if len(shape) > 4 else layout}
    y = convx.max_pool(x, k, **options)
    dy = np.array(whole(y.shape, 2, np.float32), order=order)
    _, index = convx.max_pool(x, k, return_indices=True, **options)
    want = added(first(x, layout), first(dy, layout), first(index, layout))
    for workers in (1, 3):
        dx = convx.max_pool_grad(x, dy, k, workers=workers, **options)
        assert np.array_equal(first(dx, layout), want)


@pytest.mark.parametrize("taps", [1, 4, 13, 40])
def test_rows_that_no_window_reads(taps):
    """Windows of many taps in a row, between which whole rows of x, or of padding, lie."""
    dy = whole((1, 3, 4, 50), taps, np.float32)
    dx = convx.avg_pool_grad((1, 3, 17, 49 + taps), dy, (2, taps), stride=(5, 1), divisor=1)
    want = np.zeros((1, 3, 17, 49 + taps), np.float32)
    for k in range(taps):
        want[:, :, ::5, k:k + 50] += dy
        want[:, :, 1::5, k:k + 50] += dy
    assert np.array_equal(dx, want)
    y = convx.avg_pool(dx, (2, taps), stride=1, padding=((3, 3), (0, 0)), count_include_pad=True)
    assert y.shape == (1, 3, 22, 50) and not y[:, :, [0, 1, -2, -1]].any() and np.isfinite(y).all()


@pytest.mark.parametrize("rank", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_ranks(rank, layout):
    x = whole((2, 3, 5, 4, 4, 3, 3)[:rank + 2], rank, np.float32)
    k = (2, 3, 2, 3, 2)[:rank]
    s = (2, 1, 1, 2, 1)[:rank]
    outs, found = windows(x.shape[2:], k, s, (1,) * rank, ((0, 0),) * rank)
    y, index, _ = slow_max(x, outs, found)
    got, where = convx.max_pool(placed(x, layout), k, stride=s, layout=layout, return_indices=True)
    assert np.array_equal(first(got, layout), y) and np.array_equal(first(where, layout), index)
    mean = slow_average(x, outs, found, False)
    got = first(convx.avg_pool(placed(x, layout), k, stride=s, layout=layout), layout)
    assert np.allclose(got, mean, rtol=2.0**-22, atol=0)
    dy = whole(y.shape, 7, np.float32)
    dx = first(convx.avg_pool_grad(placed(x, layout).shape, placed(dy, layout), k, stride=s, layout=layout), layout)
    assert abs((mean * dy).sum() - (x * dx.astype(float)).sum()) <= 1e-4 * np.abs(dy).sum()


@pytest.mark.parametrize("layout, shape", [
    ("CHW", (3, 6, 8)), ("HWC", (6, 8, 3)), ("CW", (3, 8)), ("WC", (8, 3)), ("CDHW", (3, 4, 6, 8)),
    ("DHWC", (4, 6, 8, 3)),
])
def test_without_a_batch(layout, shape):
    x = whole(shape, 2)
    rank = len(shape) - 1
    batched = convx.max_pool(x[None], 2, layout="N" + layout)[0]
    assert np.array_equal(convx.max_pool(x, 2, layout=layout), batched)
    assert np.array_equal(convx.max_pool(x, (2,) * rank, layout=layout), batched)
    dy = whole(batched.shape, 3)
    dx = convx.avg_pool_grad(x.shape, dy, 2, layout=layout)
    assert np.array_equal(dx, convx.avg_pool_grad((1, *shape), dy[None], 2, layout="N" + layout)[0])
    y, index = convx.max_pool(x, 2, layout=layout, return_indices=True)
    assert np.array_equal(convx.max_unpool(y, index, x.shape, layout=layout) != 0, (x != 0) & (
        convx.max_pool_grad(x, np.ones(y.shape), 2, layout=layout) != 0))


@pytest.mark.parametrize("word, sizes", [("valid", [(0, 0)] * 2), ("same", [(1, 1), (0, 1)]),
                                         ("same_lower", [(1, 1), (1, 0)]), ("full", [(2, 2), (1, 1)]),
                                         (1, [(1, 1)] * 2), ((1, 0), [(1, 1), (0, 0)])])
def test_paddings_in_every_form(word, sizes):
    x = whole((1, 2, 7, 6), 4)
    got = convx.avg_pool(x, (3, 2), stride=1, padding=word)
    want = convx.avg_pool(x, (3, 2), stride=1, padding=sizes)
    assert np.array_equal(got, want)
    outs, found = windows((7, 6), (3, 2), (1, 1), (1, 1), sizes)
    assert np.allclose(got, slow_average(x, outs, found, False), rtol=1e-15, atol=0)


def test_a_last_window_that_would_start_in_the_padding_is_dropped():
    for size, k, s, pad in product(range(1, 12), range(1, 5), range(1, 6), range(3)):
        want = ceil((size + 2 * pad - k) / s) + 1
        if pad > k // 2 or want < 1:
            continue
        want -= (want - 1) * s >= size + pad
        y = convx.avg_pool(np.ones((1, 1, size)), (k,), stride=s, padding=pad, ceil_mode=True)
        assert y.shape == (1, 1, want) and (y == 1).all()


@pytest.mark.parametrize("count_include_pad", [False, True])
def test_one_window_is_dropped_however_wide_the_padding(count_include_pad):
    # PyTorch's rule, which ONNX Runtime has too: the last window goes, and no more. PyTorch's padding is at most half a
    # window; beyond that others may be left that hold padding alone, where an average of cells of x does not exist.
    kept = 0
    for size, k, s, before, after in product(range(1, 7), (1, 2, 3), (1, 2, 3), (0, 1), range(5)):
        want = ceil((size + before + after - k) / s) + 1
        if want < 1 or before >= k:
            continue
        want -= (want - 1) * s >= size + before
        first = np.arange(want) * s - before
        real, padded = (np.minimum(first + k, end) - np.maximum(first, start)
                        for start, end in ((0, size), (-before, size + after)))

        x, options = np.ones((1, 1, size)), {"stride": s, "padding": ((before, after),), "ceil_mode": True}
        kept += not (real > 0).all()
        if count_include_pad:
            y = convx.avg_pool(x, (k,), count_include_pad=True, **options)
            assert np.array_equal(y, (np.maximum(real, 0) / padded)[None, None])
        elif (real > 0).all():
            assert np.array_equal(convx.avg_pool(x, (k,), **options), np.ones((1, 1, want)))
        else:
            with pytest.raises(ValueError, match=f"the window of output {np.argmin(real > 0)} holds no cell of x"):
                convx.avg_pool(x, (k,), **options)
    assert kept


def test_padding_wider_than_any_array():
    far = 10**9
    x = whole((1, 2, 5), 1)
    y = convx.max_pool(x, (far,), padding=((far - 3, 0),), stride=1)
    assert np.array_equal(y, [[[x[0, c, :3 + j].max() for j in range(3)] for c in range(2)]])
    z = convx.avg_pool(x, (far,), padding=((far - 3, far - 5),), stride=far, count_include_pad=True)
    assert np.array_equal(z[..., 0], x[..., :3].sum(-1) / far)
    wide = convx.avg_pool(x, (4,), padding=((10**6, 10**6),), stride=10**6, count_include_pad=True)
    assert wide.shape == (1, 2, 3) and np.array_equal(wide[..., 1], x[..., :4].sum(-1) / 4) and not wide[..., ::2].any()


# Memory ---------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("layout", LAYOUTS)
def test_arrays_in_every_form(layout):
    x = placed(whole((2, 5, 6, 9), 1, np.float32), layout)
    dy = placed(whole((2, 5, 3, 5), 2, np.float32), layout)
    options = {"stride": 2, "padding": ((0, 0), (0, 1)), "layout": layout}
    y, mean = convx.max_pool(x, 2, **options), convx.avg_pool(x, 2, **options)
    dx = convx.max_pool_grad(x, dy, 2, **options)
    back = convx.avg_pool_grad(x.shape, dy, 2, **options)
    for _, a in zoo(x):
        assert np.array_equal(convx.max_pool(a, 2, **options), y)
        assert np.array_equal(convx.avg_pool(a, 2, **options), mean)
        assert np.array_equal(convx.max_pool_grad(a, dy, 2, **options), dx)
    for _, a in zoo(dy):
        assert np.array_equal(convx.max_pool_grad(x, a, 2, **options), dx)
        assert np.array_equal(convx.avg_pool_grad(x.shape, a, 2, **options), back)


def test_results_go_into_out():
    x = whole((2, 5, 6, 9), 1, np.float32)
    y, index = convx.max_pool(x, 2, return_indices=True)
    dy = whole(y.shape, 3, np.float32)
    for make in (np.copy, np.asfortranarray, sliced):
        for call, like in ((lambda out: convx.max_pool(x, 2, out=out), y),
                           (lambda out: convx.max_pool(x, 2, return_indices=True, out=out)[0], y),
                           (lambda out: convx.avg_pool(x, 2, out=out), y),
                           (lambda out: convx.max_pool_grad(x, dy, 2, out=out), x),
                           (lambda out: convx.avg_pool_grad(x.shape, dy, 2, out=out), x),
                           (lambda out: convx.max_unpool(y, index, x.shape, out=out), x)):
            out = make(np.full(like.shape, 7, np.float32))
            want = call(None)
            assert call(out) is out and np.array_equal(out, want)


@pytest.mark.parametrize("shape", [(0, 3, 6, 6), (2, 0, 6, 6), (0, 0, 6, 6)])
def test_nothing_to_pool(shape):
    x = np.ones(shape, np.float32)
    y, index = convx.max_pool(x, 2, return_indices=True)
    assert y.shape == index.shape == convx.avg_pool(x, 2).shape == (*shape[:2], 3, 3)
    assert convx.max_pool_grad(x, y, 2).shape == convx.avg_pool_grad(shape, y, 2).shape == shape
    assert convx.max_unpool(y, index, shape).shape == shape


# Laws -----------------------------------------------------------------------------------------------------------------

SHAPES = [("NCHW", (3, 5, 33, 41)), ("NHWC", (3, 33, 41, 21)), ("HWCN", (33, 41, 5, 3)), ("NCHW", (1, 1, 300, 700)),
          ("NCW", (1, 1, 200001)), ("NHWC", (1, 300, 700, 1)), ("NWC", (1, 9001, 19)),
          ("NCDHW", (2, 3, 17, 18, 19))]


@pytest.mark.parametrize("layout, shape", SHAPES)
@pytest.mark.parametrize("order", "CF")
def test_bits_do_not_depend_on_threads(layout, shape, order):
    x = np.array(np.random.default_rng(3).standard_normal(shape), np.float32, order=order)
    for k, s in ((2, 2), (3, 1), (3, 2), (5, 3)):
        options = {"stride": s, "padding": k // 2, "layout": layout}
        y = convx.max_pool(x, k, workers=1, **options)
        dy = np.array(np.random.default_rng(4).standard_normal(y.shape), np.float32, order=order)
        calls = [lambda t, k=k, o=options: convx.max_pool(x, k, return_indices=True, workers=t, **o)[1],
                 lambda t, k=k, o=options: convx.avg_pool(x, k, workers=t, **o),
                 lambda t, k=k, o=options, g=dy: convx.max_pool_grad(x, g, k, workers=t, **o),
                 lambda t, k=k, o=options, g=dy: convx.avg_pool_grad(x.shape, g, k, workers=t, **o)]
        for call in calls:
            one = call(1)
            for threads in (2, 3, 7):
                assert np.array_equal(call(threads), one)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bits_do_not_depend_on_how_a_batch_is_split(layout):
    rng = np.random.default_rng(5)
    x = rng.standard_normal((5, 7, 21, 23)).astype(np.float32)
    options = {"stride": 2, "padding": 1, "layout": layout}

    def parts(call, *arrays):
        pieces = [first(call(*(np.ascontiguousarray(placed(a[n:n + 1], layout)) for a in arrays)), layout)
                  for n in range(5)]
        return np.concatenate(pieces)

    def both(call, *arrays):
        full = first(call(*(np.ascontiguousarray(placed(a, layout)) for a in arrays)), layout)
        assert np.array_equal(full, parts(call, *arrays))
        return full

    y = both(lambda a: convx.avg_pool(a, 3, **options), x)
    dy = rng.standard_normal(y.shape).astype(np.float32)
    both(lambda a, g: convx.max_pool_grad(a, g, 3, **options), x, dy)
    both(lambda a, g: convx.avg_pool_grad(a.shape, g, 3, **options), x, dy)


@given(poolings())
def test_unpooling_puts_values_back(q):
    q["nan"] = False
    x, options, (_, found) = made(q)
    if not all(cells for cells, _ in found.values()):
        return
    y, index = convx.max_pool(laid(x, q), q["k"], return_indices=True, **options)
    back = convx.max_unpool(y, index, laid(x, q).shape, layout=q["layout"])
    assert keeps_order(back, y)
    chosen = convx.max_pool_grad(laid(x, q), np.ones(y.shape), q["k"], **options) != 0
    assert np.array_equal(back, np.where(chosen, laid(x, q), 0))


# Against PyTorch ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("rank", [1, 2, 3])
def test_against_torch(rank):
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
    functional = torch.nn.functional
    largest = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[rank - 1]
    mean = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[rank - 1]
    rng = np.random.default_rng(rank)
    for k, s, p, d, ceil_mode in product((1, 2, 3, 4), (1, 2, 3), (0, 1, 2), (1, 2), (False, True)):
        if p > k // 2:
            continue
        x = rng.integers(-4, 5, (2, 3, 11, 10, 9)[:rank + 2]).astype(np.float32)
        t = torch.from_numpy(x).requires_grad_(True)
        options = {"stride": s, "padding": p, "ceil_mode": ceil_mode}
        y, index = largest(t, k, dilation=d, return_indices=True, **options)
        dy = rng.integers(-4, 5, tuple(y.shape)).astype(np.float32)
        y.backward(torch.from_numpy(dy))
        try:
            got, where = convx.max_pool(x, (k,) * rank, dilation=d, return_indices=True, **options)
        except ValueError as error:  # a dilated window that ceil_mode adds may hold padding only: PyTorch gives -inf
            assert "holds no cell" in str(error) and np.isinf(y.detach().numpy()).any()
        else:
            assert np.array_equal(got, y.detach().numpy()) and np.array_equal(where, index.numpy())
            assert np.array_equal(convx.max_pool_grad(x, dy, (k,) * rank, dilation=d, **options), t.grad.numpy())
        if d > 1:
            continue
        for include in (False, True):
            t.grad = None
            y = mean(t, k, count_include_pad=include, **options)
            dy = rng.integers(-4, 5, tuple(y.shape)).astype(np.float32)
            y.backward(torch.from_numpy(dy))
            got = convx.avg_pool(x, (k,) * rank, count_include_pad=include, **options)
            assert got.shape == tuple(y.shape)
            assert np.allclose(got, y.detach().numpy(), rtol=2.0**-22, atol=2.0**-22)
            dx = convx.avg_pool_grad(x.shape, dy, (k,) * rank, count_include_pad=include, **options)
            assert np.allclose(dx, t.grad.numpy(), rtol=0, atol=(k**rank + 2) * 2.0**-21)


# Errors ---------------------------------------------------------------------------------------------------------------

X = np.ones((2, 3, 6, 8), np.float32)
Y = np.ones((2, 3, 3, 4), np.float32)


@pytest.mark.parametrize("options, kind, parts", [
    ({"window": 0}, ValueError, ["window=0", "at least 1"]),
    ({"window": -2}, ValueError, ["window=-2"]),
    ({"window": 2.0}, TypeError, ["window", "float"]),
    ({"window": None}, TypeError, ["window", "NoneType"]),
    ({"window": "all"}, ValueError, ["window='all'", "'global'"]),
    ({"window": (2, 2, 2, 2)}, ValueError, ["x has 4 axes", "4 entries", "needs 6"]),
    ({"window": ()}, ValueError, ["0 entries"]),
    ({"window": (2, 0)}, ValueError, ["window=0"]),
    ({"window": 7}, ValueError, ["spatial axis 0", "7 taps", "0 + 6 + 0 = 6"]),
    ({"window": "global", "padding": 1}, ValueError, ["'global'", "padding"]),
    ({"window": "global", "dilation": 2}, ValueError, ["'global'", "dilation"]),
    ({"stride": 0}, ValueError, ["stride=0"]),
    ({"stride": (1, 2, 3)}, ValueError, ["stride has 3 entries", "2 spatial axes"]),
    ({"stride": 1.5}, TypeError, ["stride", "float"]),
    ({"stride": 2**70}, ValueError, ["stride="]),
    ({"dilation": 0}, ValueError, ["dilation=0"]),
    ({"padding": -1}, ValueError, ["padding=-1"]),
    ({"padding": "SAME"}, ValueError, ["padding='SAME'", "same_lower"]),
    ({"padding": ((1, 2, 3), 0)}, ValueError, ["(before, after)"]),
    ({"padding": "same", "ceil_mode": True}, ValueError, ["ceil_mode", "'same'"]),
    ({"padding": 2, "stride": 1}, ValueError, ["spatial axis 0", "output 0", "holds no cell", "2 taps"]),
    ({"layout": "NHCW"}, ValueError, ["layout='NHCW'", "NCHW, NHWC, HWCN"]),
    ({"workers": 0}, ValueError, ["workers=0"]),
    ({"out": np.ones((2, 3, 3, 3), np.float32)}, ValueError, ["out has shape (2, 3, 3, 3)", "(2, 3, 3, 4)"]),
    ({"out": np.ones((2, 3, 3, 4))}, TypeError, ["out has dtype float64", "float32"]),
    ({"out": [1]}, TypeError, ["ndarray", "list"]),
    ({"out": X[:, :, ::2, ::2]}, ValueError, ["out overlaps x"]),
    ({"out": np.broadcast_to(np.float32(1), (2, 3, 3, 4))}, ValueError, ["out is read-only"]),
])
def test_bad_arguments(options, kind, parts):
    for pool in (convx.max_pool, convx.avg_pool):
        for _ in range(2):  # the second call meets what the first one cached
            with pytest.raises(kind) as error:
                pool(X, **{"window": 2, **options})
            text = str(error.value)
            assert all(part in text for part in parts) and "\n" not in text and len(text) < 300, text
    assert (X == 1).all()


@pytest.mark.parametrize("call, kind, parts", [
    (lambda: convx.max_pool(X + 1j, 2), TypeError, ["x has dtype complex64", "order"]),
    (lambda: convx.max_pool(X.astype("M8[s]"), 2), TypeError, ["x has dtype"]),
    (lambda: convx.avg_pool(X.astype(object), 2), TypeError, ["x has dtype object"]),
    (lambda: convx.max_pool(X[0, 0], 2), ValueError, ["x has 2 axes", "make 3"]),
    (lambda: convx.max_pool(X[0, 0, 0], 2, layout="CW"), ValueError, ["x has 1 axes", "make 2"]),
    (lambda: convx.max_pool(X[:, :, :0], 2), ValueError, ["spatial axis 0", "0 + 0 + 0"]),
    (lambda: convx.max_pool(X[:, :, :0], "global"), ValueError, ["spatial axis 0 has size 0"]),
    (lambda: convx.max_pool(X[:, :, :0], 2, padding=1), ValueError, ["holds no cell"]),
    (lambda: convx.avg_pool(X, 2, divisor=0), ValueError, ["divisor=0"]),
    (lambda: convx.avg_pool(X, 2, divisor=float("nan")), ValueError, ["divisor=nan"]),
    (lambda: convx.avg_pool(X, 2, divisor="4"), TypeError, ["divisor='4'"]),
    (lambda: convx.avg_pool(X, 2, divisor=10**400), ValueError, ["divisor=inf"]),
    (lambda: convx.avg_pool(X, 2, divisor=1e-60), ValueError, ["divisor=1e-60", "float32"]),
    (lambda: convx.avg_pool_grad(X.shape, Y, 2, divisor=1e60), ValueError, ["divisor=1e+60", "float32"]),
    (lambda: convx.max_pool([[1, 2], [3]], 2), ValueError, ["x makes no array"]),
    (lambda: convx.avg_pool_grad(X.shape, [[1, 2], [3]], 2), ValueError, ["dy makes no array"]),
    (lambda: convx.avg_pool(X, 2, divisor=True), TypeError, ["divisor", "bool"]),
    (lambda: convx.max_pool_grad(X, X, 2), ValueError, ["dy has shape (2, 3, 6, 8)", "(2, 3, 3, 4)"]),
    (lambda: convx.max_pool_grad(X, Y, 2, ties="last"), ValueError, ["ties='last'", "first, all"]),
    (lambda: convx.max_pool_grad(X, Y + 1j, 2), TypeError, ["dy has dtype complex64"]),
    (lambda: convx.max_pool_grad(X, Y.astype(np.longdouble), 2), TypeError, ["dy has dtype", "float64"]),
    (lambda: convx.max_pool_grad(X, Y, 2, out=X), ValueError, ["out overlaps x"]),
    (lambda: convx.avg_pool_grad(X.shape, X, 2), ValueError, ["dy has shape (2, 3, 6, 8)", "(2, 3, 3, 4)"]),
    (lambda: convx.avg_pool_grad(4, Y, 2), TypeError, ["x_shape", "int"]),
    (lambda: convx.avg_pool_grad((2, 3, -6, 8), Y, 2), ValueError, ["x_shape=-6"]),
    (lambda: convx.max_unpool(Y, np.full(Y.shape, 48), X.shape), ValueError, ["indices hold 48", "48 cells"]),
    (lambda: convx.max_unpool(Y, np.full(Y.shape, -1), X.shape), ValueError, ["indices hold -1"]),
    (lambda: convx.max_unpool(Y, np.full(Y.shape, 2**63, np.uint64), X.shape), ValueError, ["indices hold 92233"]),
    (lambda: convx.max_unpool(Y, Y, X.shape), TypeError, ["indices have dtype float32"]),
    (lambda: convx.max_unpool(Y, np.zeros((2, 3), int), X.shape), ValueError, ["indices have shape (2, 3)"]),
    (lambda: convx.max_unpool(Y, np.zeros(Y.shape, int), (2, 4, 6, 8)), ValueError, ["y has shape", "(2, 4, 6, 8)"]),
    (lambda: convx.max_unpool(Y, np.zeros(Y.shape, int), (2, 3, 6, 8), layout="NHCW"), ValueError, ["layout='NHCW'"]),
])
def test_bad_calls(call, kind, parts):
    with pytest.raises(kind) as error:
        call()
    text = str(error.value)
    assert all(part in text for part in parts) and "\n" not in text and len(text) < 300, text


@pytest.mark.parametrize(("k", "s", "p"), [(2, 2, 0), (3, 2, 1), (3, 2, 0), (3, 1, 1), (2, 1, 0), (1, 2, 0), (4, 2, 1)])
def test_rows_of_several_vectors(k, s, p):
    """Whole vectors lie between the edges of a row, and there are more planes than are walked together."""
    x = whole((2, 19, 9, 150), 0, np.float32, -50, 50)
    for pool, fill, combine, options in ((convx.max_pool, -np.inf, np.max, {}),
                                         (convx.avg_pool, 0, np.sum, {"divisor": 1})):
        padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)), constant_values=fill)
        y = combine(sliding_window_view(padded, (k, k), (2, 3))[:, :, ::s, ::s], (-2, -1))
        assert np.array_equal(pool(x, k, stride=s, padding=p, **options), y)
    dy, dx = whole(y.shape, 1, np.float32, -50, 50), np.zeros(padded.shape)
    for a, b in np.ndindex(k, k):
        dx[:, :, a:a + s*y.shape[2]:s, b:b + s*y.shape[3]:s] += dy
    grad = convx.avg_pool_grad(x.shape, dy, k, stride=s, padding=p, divisor=1)
    assert np.array_equal(grad, dx[:, :, p:p + 9, p:p + 150])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("h, w", [(38, 24), (39, 24), (8, 21), (6, 16), (75, 33), (76, 56), (34, 128),
                                  (36, 1050), (40, 2)])
def test_planes_row_after_row(h, w, dtype):
    """Windows of 2 x 2, of planes that adjoin as their windows do and of others, in the midst of nan; sums are of rows
    first, to the bit."""
    room = np.full(2 * 19 * h * w + 16, np.nan if dtype != np.int64 else 10**9).astype(dtype)
    x = room[8:-8].reshape(2, 19, h, w)
    x[...] = np.random.default_rng(h).standard_normal(x.shape) * (1 if dtype != np.int64 else 1000)
    for p in (0, 1):
        padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
        a, b, c, d = (padded[:, :, i:i + h // 2 * 2 + 2 * p - 1:2, j:j + w // 2 * 2 + 2 * p - 1:2]
                      for i in range(2) for j in range(2))
        to = np.full(a.size + 16, 77, dtype if dtype != np.int64 else np.float64)
        y = convx.avg_pool(x, 2, padding=p, count_include_pad=True, out=to[8:-8].reshape(a.shape))
        assert np.array_equal(y, ((a + c) + (b + d)) / y.dtype.type(4))
        assert (to[:8] == 77).all() and (to[-8:] == 77).all()
        lowest = -np.inf if dtype != np.int64 else np.iinfo(dtype).min
        padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)), constant_values=lowest)
        highest = sliding_window_view(padded, (2, 2), (2, 3))[:, :, ::2, ::2].max((-2, -1))
        assert np.array_equal(convx.max_pool(x, 2, padding=p), highest)


def test_equal_values_of_another_type_are_checked_again():
    convx.max_pool(X, 2, stride=2)
    with pytest.raises(TypeError, match="stride"):
        convx.max_pool(X, 2, stride=2.0)
    with pytest.raises(TypeError, match="window"):
        convx.max_pool(X, (2, 2.0))


def test_what_overflows_is_infinite_without_a_warning():
    x = np.array([[[6e4, 6e4, -6e4]]], np.float16)  # warnings are errors here
    assert convx.avg_pool(x, 1, divisor=0.1).tolist() == [[[np.inf, np.inf, -np.inf]]]
    assert convx.avg_pool(x, 1, divisor=np.float32(0.1)).tolist() == [[[np.inf, np.inf, -np.inf]]]
    assert np.isinf(convx.avg_pool_grad((1, 1, 3), x, 1, divisor=0.1)).all()
    dx = convx.max_pool_grad(np.zeros((1, 1, 4), np.float16), x[..., :2], 3, stride=1, ties="all")
    assert dx.dtype == np.float16 and dx.tolist() == [[[60000, np.inf, np.inf, 60000]]]
    wide = np.full((1, 1, 2), np.finfo(np.longdouble).max)
    assert np.isinf(convx.avg_pool(wide, 2)).all()
