"""The layer of tutorial 000 and its backward module: its numbers, its formulas, and what it did not do."""

import numpy as np
import pytest

import convx
from convx import nn
from convx._solvers import winograd

pytestmark = pytest.mark.once  # no matter which kernel row or build


def notebook():
    x = np.zeros((1, 3, 3, 2))
    x[0, :, :, 0] = np.array([[2, 1, 1.5], [3, 2.2, 5], [5, 3, 2]])
    x[0, :, :, 1] = np.array([[7.3, 4, 2], [4, 3, 2], [0.8, 2.7, 3.9]])
    return x


def by_definition(x, kernel, strides, step, before, out):
    """The tutorial's sums, and the windows that they are made of."""
    _, kh, kw, c = kernel.shape
    windows = np.zeros((len(x), *out, kh, kw, c))
    for b, i, j, ki, kj in np.ndindex(len(x), *out, kh, kw):
        h, w = strides[0] * i + step[0] * ki - before[0], strides[1] * j + step[1] * kj - before[1]
        if 0 <= h < x.shape[1] and 0 <= w < x.shape[2]:
            windows[b, i, j, ki, kj] = x[b, h, w]
    return np.einsum("bijklc,fklc->bijf", windows, kernel), windows


def test_the_notebook():
    conv = nn.Convolution((1, 3, 3, 2), 1, (2, 2), (1, 1), (0, 0), "SAME")
    assert conv.kernel.shape == (1, 2, 2, 2)
    conv.kernel = np.ones((1, 2, 2, 2))
    assert conv.output_shape() == (1, 3, 3, 1)
    y = conv(notebook())
    want = np.array([[26.5, 20.7, 10.5], [23.7, 23.8, 12.9], [11.5, 11.6, 5.9]])
    assert y.shape == (1, 3, 3, 1)
    assert (np.abs(y[0, :, :, 0] - want) <= 10 * np.finfo(float).eps * want).all()
    assert np.array_equal(conv.execute(notebook()), y)


@pytest.mark.parametrize("padding", ["VALID", "SAME"])
@pytest.mark.parametrize("dilations", [(0, 0), (1, 2), (2, 0)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 1), (2, 3)])
def test_against_the_formulas(strides, dilations, padding):
    # Whole numbers up to 4: every sum is exact whatever its order, but for what the tiles of Winograd round.
    def rounding(terms):
        return winograd.error_factor * (terms + 2) * np.finfo(float).eps * terms * 16

    def same(a, b, terms=3 * 2 * 3):
        return a.shape == b.shape and np.abs(a - b).max() <= rounding(terms)

    rng = np.random.default_rng(0)
    conv = nn.Convolution((2, 9, 8, 3), 4, (3, 2), strides, dilations, padding)
    conv.kernel = rng.integers(-4, 5, (4, 3, 2, 3)).astype(float)
    x = rng.integers(-4, 5, (2, 9, 8, 3)).astype(float)
    step = tuple(d + 1 for d in dilations)
    span = [(k - 1) * s + 1 for k, s in zip((3, 2), step, strict=True)]
    if padding == "VALID":
        out, before = [(n - w) // s + 1 for n, w, s in zip((9, 8), span, strides, strict=True)], (0, 0)
    else:  # ceil(size / stride) outputs, the odd cell after: not the input size at every stride, as the tutorial had it
        out = [-(-n // s) for n, s in zip((9, 8), strides, strict=True)]
        before = [max((o - 1) * s + w - n, 0) // 2 for n, w, s, o in zip((9, 8), span, strides, out, strict=True)]
    y, windows = by_definition(x, conv.kernel, strides, step, before, out)
    assert conv.output_shape() == y.shape
    assert same(conv(x), y)
    J = nn.ConvGrad(conv).gradient(x)
    assert J.shape == (2, *out, 4, 3, 2, 3)
    assert all(np.array_equal(J[:, :, :, f], windows) for f in range(4))
    delta = rng.integers(-4, 5, y.shape).astype(float)
    want = np.einsum("bijf,bijklc->fklc", delta, windows)
    assert same(nn.ConvGrad(conv).backrop(delta, x), want, 2 * 9 * 8)
    assert same(conv.kernel_gradient(delta, x), want, 2 * 9 * 8)
    # Each of x.size numbers of dx is rounded as a sum of 4*3*2 products up to 16, and then multiplied by up to 4.
    aim = (delta * y).sum()
    assert abs((conv.input_gradient(delta) * x).sum() - aim) <= rounding(4 * 3 * 2) * 4 * x.size
    usual = nn.Convolution((2, 9, 8, 3), 4, (3, 2), strides, padding=padding, dilation=step)
    usual.kernel = conv.kernel
    assert same(usual(x), y)


def test_other_ranks_padding_and_batches():
    conv = nn.Convolution((1, 6, 2), 3, 3, padding=((2, 0),))
    x = np.random.default_rng(0).standard_normal((4, 6, 2))
    assert conv.output_shape() == (1, 6, 3)
    assert np.array_equal(conv(x), convx.conv1d(x, conv.kernel, layout="NHWC", padding=((2, 0),)))
    assert conv.jacobian(x).shape == (4, 6, 3, 3, 2)
    assert nn.Convolution((1, 6, 6, 6, 2), 3, 3)(np.ones((1, 6, 6, 6, 2))).shape == (1, 4, 4, 4, 3)
    assert (conv.kernel >= 0).all() and (conv.kernel < 1).all()


def test_one_infinite_value_reaches_its_windows_only():
    x = np.ones((1, 4, 4, 1))
    x[0, 0, 0] = np.inf
    J = nn.Convolution((1, 4, 4, 1), 1, 2).jacobian(x)
    assert np.isinf(J).sum() == 1 and not np.isnan(J).any()


def test_sentences():
    with pytest.raises(ValueError, match="dilations=-1: it must be at least 0"):
        nn.Convolution((1, 5, 5, 1), 1, 2, 1, -1)
    with pytest.raises(ValueError, match="give one of the two"):
        nn.Convolution((1, 5, 5, 1), 1, 2, 1, 1, dilation=2)
    with pytest.raises(ValueError, match="padding='same_upper'"):  # an AttributeError there
        nn.Convolution((1, 5, 5, 1), 1, 2, 1, 0, "same_upper")
    with pytest.raises(ValueError, match="spans 7, more than the padded input"):
        nn.Convolution((1, 5, 5, 1), 1, 4, 1, 1)
    with pytest.raises(ValueError, match="at least one spatial axis"):
        nn.Convolution((5, 5), 1, 2)
    conv = nn.Convolution((1, 5, 5, 1), 1, 2)
    with pytest.raises(ValueError, match="this layer has"):
        conv.kernel = np.ones((1, 2, 2))
    with pytest.raises(ValueError, match=r"this layer takes \(N, 5, 5, 1\)"):
        conv(np.ones((1, 5, 6, 1)))
    with pytest.raises(TypeError, match="is for a Convolution"):
        nn.ConvGrad(nn.Conv(1, 2))
