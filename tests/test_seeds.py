"""The worked examples of the four tutorials that the project grew from."""

import numpy as np
import pytest

import convx

IMAGE = np.array([[35, 40, 41, 45, 50], [40, 40, 42, 46, 52], [42, 46, 50, 55, 55], [48, 52, 56, 58, 60],
                  [56, 60, 65, 70, 75]])


def test_000_the_layer_of_ones():
    x = np.zeros((1, 3, 3, 2))
    x[0, :, :, 0] = [[2, 1, 1.5], [3, 2.2, 5], [5, 3, 2]]
    x[0, :, :, 1] = [[7.3, 4, 2], [4, 3, 2], [0.8, 2.7, 3.9]]
    y = convx.conv2d(x, np.ones((1, 2, 2, 2)), padding="same", layout="NHWC")
    want = np.array([[26.5, 20.7, 10.5], [23.7, 23.8, 12.9], [11.5, 11.6, 5.9]])
    assert y.shape == (1, 3, 3, 1)
    # Eight products; the tutorial's numbers are themselves rounded to doubles.
    assert (np.abs(y[0, :, :, 0] - want) <= 10 * np.finfo(float).eps * want).all()
    assert np.array_equal(np.round(y[0, :, :, 0], 10), want)
    # Its kernel of size 2 is padded after; padded before, the sums move by one cell.
    lower = convx.conv2d(x, np.ones((1, 2, 2, 2)), padding="same_lower", layout="NHWC")
    assert np.array_equal(lower[0, 1:, 1:], y[0, :-1, :-1])


@pytest.mark.parametrize("m, k", [(5, 3), (8, 2), (7, 7), (9, 4), (1, 1)])
def test_001_widths(m, k):
    v, kernel = np.ones((1, 1, m, m)), np.ones((1, 1, k, k))
    widths = {"valid": m - k + 1, "same": m, "full": m + k - 1}
    for padding, width in widths.items():
        assert convx.conv(v, kernel, padding=padding).shape == (1, 1, width, width)
        assert convx.convolve(v[0, 0], kernel[0, 0], padding).shape == (width, width)
    # "Full" pads the image to m + 2 (k - 1); then every pixel is seen k times in each direction.
    padded = np.pad(v[0, 0], k - 1)
    assert padded.shape == (m + 2 * (k - 1),) * 2
    assert np.array_equal(convx.conv(padded[None, None], kernel), convx.conv(v, kernel, padding="full"))
    assert convx.conv(v, kernel, padding="full").sum() == (m * k) ** 2


def test_001_the_formula_with_a_stride():
    rng = np.random.default_rng(1)
    v, kernel = rng.integers(-5, 6, (3, 8, 9)).astype(float), rng.integers(-5, 6, (2, 3, 3, 2)).astype(float)
    for s in (1, 2, 3):
        z = convx.conv(v, kernel, stride=s)
        for i, j, k in np.ndindex(z.shape):
            total = sum(v[c, j * s + m, k * s + n] * kernel[i, c, m, n] for c, m, n in np.ndindex(3, 3, 2))
            assert z[i, j, k] == total


def test_002_forward_of_one_axis():
    # Its gradient table reads dL/dx0 = w2 dy0, dL/dx1 = w1 dy0 + w2 dy1, ...: y0 = w2 x0 + w1 x1 + w0 x2 and so on.
    x, w = np.array([2.0, 3, 5, 7, 11]), np.array([1.0, 10, 100])
    want = [w[2] * x[o] + w[1] * x[o + 1] + w[0] * x[o + 2] for o in range(3)]
    assert convx.conv1d(x[None], w[None, None], flip=True).tolist() == [want]
    assert convx.convolve(x, w, "valid").tolist() == want
    assert convx.conv1d(x[None], w[None, None, ::-1]).tolist() == [want]
    bias = convx.conv1d(x[None], w[None, None], np.array([0.5]), flip=True)
    assert bias.tolist() == [[v + 0.5 for v in want]]


def test_002_python_and_matlab_order():
    # [N x Depth x H x W] in Python is [H x W x Depth x N] in MATLAB: the same layer on the transposed memory.
    rng = np.random.default_rng(2)
    x, w = rng.integers(-5, 6, (2, 3, 6, 5)).astype(float), rng.integers(-5, 6, (4, 3, 3, 3)).astype(float)
    y = convx.conv(x, w, padding=1)
    matlab = convx.conv(x.transpose(2, 3, 1, 0), w.transpose(2, 3, 1, 0), padding=1, layout="HWCN")
    assert y.shape == (2, 4, 6, 5)  # "remains the same as input if proper padding is used"
    assert np.array_equal(matlab, y.transpose(2, 3, 1, 0))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
def test_003_every_pixel_becomes_the_one_above(dtype):
    kernel = np.array([[0, 1, 0], [0, 0, 0], [0, 0, 0]], dtype)
    x = IMAGE.astype(dtype)
    y = convx.conv2d(x[None, None], kernel[None, None], padding="same")[0, 0]
    assert y[2, 2] == 42
    assert np.array_equal(y[1:], IMAGE[:-1]) and not y[0].any()
    assert np.array_equal(convx.correlate(x, kernel, "same"), y)
    # A convolution proper turns the kernel around, and the pixels move up.
    assert np.array_equal(convx.convolve(x, kernel, "same")[:-1], IMAGE[1:])
    edge = convx.correlate(x, kernel, "same", boundary="edge")
    assert np.array_equal(edge[0], IMAGE[0])


def test_003_the_sliding_window():
    x = np.array([[1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 1, 1, 0], [0, 1, 1, 0, 0]])
    kernel = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]])
    assert convx.conv2d(x[None, None], kernel[None, None])[0, 0].tolist() == [[4, 3, 4], [2, 4, 3], [2, 3, 4]]


def by_sums(v, kernel, g, s):
    """The two derivatives of the second tutorial, (3), term by term: i, j, m start at 0 here."""
    dk, dv = np.zeros(kernel.shape), np.zeros(v.shape)
    for i, c, p, q in np.ndindex(kernel.shape):
        dk[i, c, p, q] = sum(g[i, m, n] * v[c, p + s * m, q + s * n] for m, n in np.ndindex(g.shape[1:]))
    for i, j, k in np.ndindex(v.shape):
        rows = [(o, m) for o in range(g.shape[1]) for m in range(kernel.shape[2]) if o * s + m == j]
        columns = [(n, p) for n in range(g.shape[2]) for p in range(kernel.shape[3]) if n * s + p == k]
        dv[i, j, k] = sum(kernel[q, i, m, p] * g[q, o, n] for o, m in rows for n, p in columns
                          for q in range(kernel.shape[0]))
    return dv, dk


@pytest.mark.parametrize("s", [1, 2, 3])
def test_001_the_derivatives_with_a_stride(s):
    rng = np.random.default_rng(s)
    v, kernel = rng.integers(-5, 6, (3, 8, 9)).astype(float), rng.integers(-5, 6, (2, 3, 3, 2)).astype(float)
    g = rng.integers(-5, 6, convx.conv(v, kernel, stride=s).shape).astype(float)
    dv, dk = by_sums(v, kernel, g, s)
    assert np.array_equal(convx.conv_grad_input(g, kernel, v.shape, stride=s), dv)
    assert np.array_equal(convx.conv_grad_weight(v, g, kernel.shape, stride=s), dk)
    # "One bias per channel, shared across all locations"; for locally connected layers "each unit its own bias".
    assert np.array_equal(convx.conv_grad_bias(g, layout="CHW"), [sum(g[i].flat) for i in range(2)])
    assert np.array_equal(convx.locally_connected_grad_bias(g, layout="CHW", per_unit=True), g)


def test_002_the_gradients_of_one_axis():
    x0, x1, x2, x3, x4 = x = np.array([2.0, 3, 5, 7, 11])
    w0, w1, w2 = w = np.array([1.0, 10, 100])
    dout = dy0, dy1, dy2 = np.array([13.0, 17, 19])
    dx = [w2 * dy0, w1 * dy0 + w2 * dy1, w0 * dy0 + w1 * dy1 + w2 * dy2, w0 * dy1 + w1 * dy2, w0 * dy2]
    dw = [x2 * dy0 + x3 * dy1 + x4 * dy2, x1 * dy0 + x2 * dy1 + x3 * dy2, x0 * dy0 + x1 * dy1 + x2 * dy2]
    # Its Y = X * flip(W) pairs y0 with w2 x0: a convolution of mathematics, which flip=True is.
    found = convx.conv_backward(x[None], w[None, None], dout[None], flip=True)
    assert [a.ravel().tolist() for a in found] == [dx, dw, [dy0 + dy1 + dy2]]
    # "dL/dX = dout zero padded * flipped W": a full correlation with W, whose taps run against those of dx's sums.
    assert np.correlate(dout, w, "full").tolist() == dx
    assert convx.correlate(dout, w, "full").tolist() == dx
    assert convx.conv1d(dout[None], w[None, None], padding="full").tolist() == [dx]
    # "dL/dW = flipped X * dout": sliding dout over X gives it from the last to the first; turning X turns that round.
    assert convx.correlate(x, dout, "valid").tolist() == dw[::-1]
    assert convx.correlate(x[::-1], dout[::-1], "valid").tolist() == dw
    assert convx.convolve(x[::-1], dout, "valid").tolist() == dw


def test_002_size_of_dx_is_size_of_x():
    # "The gradients of an input have the same size as the input itself", also where the stride leaves a rest.
    for size in range(5, 12):
        x, w = np.ones((2, 3, size, size)), np.ones((4, 3, 3, 3))
        for options in ({"stride": 1}, {"stride": 2}, {"stride": 3, "padding": 1}, {"stride": 4, "padding": "same"}):
            y = convx.conv(x, w, **options)
            dx, dw, db = convx.conv_backward(x, w, y, **options)
            assert dx.shape == x.shape and dw.shape == w.shape and db.shape == (4,)


def test_002_the_bias_gradient_sums_the_batch():
    dout = np.arange(6.0).reshape(2, 1, 3)
    # Its formula leaves one sum per output, before they are added up for the one bias of the filter.
    per_output = convx.locally_connected_grad_bias(dout, per_unit=True)
    assert per_output.tolist() == [[0 + 3, 1 + 4, 2 + 5]]
    assert convx.conv_grad_bias(dout).tolist() == [per_output.sum()]
