"""What is special about gemm's tiles: panels that run on over short rows, and phases that are done in one region."""

from itertools import product

import numpy as np
import problems
import pytest

import convx
from convx._plan import Plan
from convx._solvers import gemm

FLOATS = ("f4", "f8")
# rows of x, kernel, stride, dilation, padding: rows that leave lanes empty, shorter than a vector, of several panels
LAYERS = [((9, 29), (3, 3), 1, 1, 1), ((11, 57), (3, 3), (2, 2), 1, 1), ((8, 7), (3, 3), 1, 1, 1),
          ((12, 15), (5, 5), 1, 1, 2), ((13, 70), (2, 4), (3, 2), 1, 0), ((15, 41), (3, 2), (1, 3), (2, 2), 3),
          ((9, 18), (4, 4), (2, 1), (1, 3), 2)]


def by_slices(x, w, stride, dilation, padding):
    """The sum over the taps, each of which reads a slice of the padded input, in float64."""
    s, d = np.broadcast_to(stride, 2), np.broadcast_to(dilation, 2)
    x = np.pad(x.astype(float), ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    out = [(n - b * (k - 1) - 1) // a + 1 for n, k, a, b in zip(x.shape[2:], w.shape[2:], s, d, strict=True)]
    y = np.zeros((x.shape[0], w.shape[0], *out))
    for i, j in product(*map(range, w.shape[2:])):
        rows, columns = (slice(b * k, b * k + a * (o - 1) + 1, a) for k, a, b, o in zip((i, j), s, d, out, strict=True))
        y += np.einsum("mc,ncij->nmij", w[:, :, i, j].astype(float), x[:, :, rows, columns])
    return y


def layer(case, dtype, n=2, c=37, m=19):
    size, kernel, stride, dilation, padding = case
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((n, c, *size)).astype(dtype), rng.standard_normal((m, c, *kernel)).astype(dtype)
    return x, w, {"stride": stride, "dilation": dilation, "padding": padding, "algorithm": "gemm"}


def both_ways(monkeypatch, operator, x, w, options, threads=1):
    """The result from packed windows and from strips."""
    found = []
    for strips in (False, True):
        monkeypatch.setattr(gemm, "_ways", lambda nest, kind, bound, strips=strips: (
            0.0, False, False, strips and gemm._may_strip(nest), False))
        found.append(Plan(convx.plan(operator, x, w, **options).problem)(x, w, workers=threads))
    return found


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("case", LAYERS)
def test_strips_are_the_layer(case, dtype, monkeypatch):
    x, w, options = layer(case, dtype)
    packed, shared = both_ways(monkeypatch, "conv", x, w, options)
    assert np.array_equal(packed, shared)
    for threads in (2, 5):
        assert np.array_equal(both_ways(monkeypatch, "conv", x, w, options, threads)[1], packed)
    allowed = (w[0].size + 2) * np.finfo(dtype).eps * by_slices(abs(x), abs(w), *case[2:])
    problems.assert_close(shared, by_slices(x, w, *case[2:]), allowed)


@pytest.mark.parametrize("case", LAYERS)
def test_strips_where_values_are_not_finite(case, monkeypatch):
    """A zero of the padding meets an infinite weight, nan lies between two rows, and finite sums keep their bits."""
    x, w, options = layer(case, "f4")
    plain = both_ways(monkeypatch, "conv", x, w, options)[1]
    x[0, 3, 4, -1] = np.nan
    x[1, 5, 2, 0] = np.inf
    w[7, 2, 0, 0] = -np.inf
    aim = convx.conv(x, w, **(options | {"algorithm": "direct"}))
    assert np.isfinite(aim[:, 7]).any() or case[4] == 0
    for threads in (1, 2):
        for y in both_ways(monkeypatch, "conv", x, w, options, threads):
            finite = np.isfinite(aim)
            assert np.array_equal(np.isfinite(y), finite)
            assert np.array_equal(np.where(finite, 0, y), np.where(finite, 0, aim), equal_nan=True)
            same = finite & (np.arange(w.shape[0]) != 7).reshape(-1, 1, 1)
            assert np.array_equal(y[same], plain[same])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("case", [case for case in LAYERS if case[2] != 1])
def test_phases_in_one_region(case, layout, dtype):
    """<y, dy> = <x, dx> term by term is the gradient; phases done one by one, as with bound weights, give its bits."""
    x, w, options = layer(case, dtype)
    dy = np.random.default_rng(1).standard_normal(convx.conv(x, w, **options).shape).astype(dtype)
    dx = np.zeros((*x.shape[:2], *(n + 2 * case[4] for n in x.shape[2:])))
    size = np.zeros_like(dx)
    s, d = np.broadcast_to(case[2], 2), np.broadcast_to(case[3], 2)
    for i, j in product(*map(range, w.shape[2:])):
        at = (..., *(slice(b * k, b * k + a * (o - 1) + 1, a)
                     for k, a, b, o in zip((i, j), s, d, dy.shape[2:], strict=True)))
        for to, left, right in ((dx, w, dy), (size, abs(w), abs(dy))):
            to[at] += np.einsum("mc,nmij->ncij", left[:, :, i, j].astype(float), right.astype(float))
    inner = (..., *(slice(case[4], case[4] + n) for n in x.shape[2:]))
    a, b = (np.moveaxis(v, 1, layout.index("C")).copy() for v in (dy, w))
    shape = np.moveaxis(x, 1, layout.index("C")).shape
    found = convx.conv_grad_input(a, b, shape, layout=layout, **options)
    allowed = (w[:, 0].size + 2) * np.finfo(dtype).eps * size[inner]
    problems.assert_close(np.moveaxis(found, layout.index("C"), 1), dx[inner], allowed)
    for workers in (1, 2, 5):
        assert np.array_equal(convx.conv_grad_input(a, b, shape, layout=layout, workers=workers, **options), found)
    bound = convx.plan("conv_grad_input", a, b, x_shape=shape, layout=layout, **options).bind(b)
    assert np.array_equal(bound(a), found)


def test_weights_too_large_to_be_packed_at_once():
    """Phases whose packed weights do not fit together go one after another."""
    rng = np.random.default_rng(2)
    dy, w = (rng.standard_normal(s).astype("f4") for s in ((1, 700, 4, 5), (700, 330, 4, 4)))
    assert w.nbytes > 12 << 20
    dx = convx.conv_transpose(dy, w, stride=2, padding=1, algorithm="gemm", workers=2)
    wide = convx.conv_transpose(dy.astype(float), w.astype(float), stride=2, padding=1, algorithm="direct")
    size = convx.conv_transpose(abs(dy).astype(float), abs(w).astype(float), stride=2, padding=1, algorithm="direct")
    problems.assert_close(dx, wide, (700 * 4 + 2) * np.finfo("f4").eps * size)
