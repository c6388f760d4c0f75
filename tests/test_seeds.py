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
