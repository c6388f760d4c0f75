"""Pictures: named kernels, and the convolution matrix against scipy.ndimage in float64."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from convx import image
from convx.matlab import fspecial

pytestmark = pytest.mark.once

MODES = {"edge": "nearest", "constant": "constant", "reflect": "mirror", "symmetric": "reflect", "wrap": "wrap"}
GIMP = np.array([[35, 40, 41, 45, 50], [40, 40, 42, 46, 52], [42, 46, 50, 55, 55], [48, 52, 56, 58, 60],
                 [56, 60, 65, 70, 75]], np.uint8)


def rounded(y, dtype):
    """Nearest integer, halves away from zero, in exact steps of a different formula than the library's."""
    if np.dtype(dtype).kind == "f":
        return y.astype(dtype)
    info = np.iinfo(dtype)
    whole, part = np.floor(abs(y)), abs(y) % 1
    return np.clip(np.sign(y) * (whole + (part >= 0.5)), info.min, info.max).astype(dtype)


def channel_by_channel(pixels, matrix, border="edge", cval=0, divisor=1, offset=0):
    """The definition on (H, W, C), in float64."""
    planes = [ndimage.correlate(plane.astype(float), np.asarray(matrix, float), mode=MODES[border], cval=cval)
              for plane in np.moveaxis(pixels, -1, 0)]
    return np.stack(planes, -1) / divisor + offset


def test_seed_003_the_pixel_above():
    y = image.apply(GIMP, "shift")
    assert y[2, 2] == 42 and y.dtype == np.uint8
    assert np.array_equal(y[1:], GIMP[:-1])


@pytest.mark.parametrize("direction", image.DIRECTIONS)
@pytest.mark.parametrize("distance", [1, 2])
def test_a_shift_moves_the_picture(direction, distance):
    down, right = (distance * step for step in image.DIRECTIONS[direction])
    y = image.apply(GIMP, image.kernel("shift", direction=direction, distance=distance), border="wrap")
    assert np.array_equal(y, np.roll(GIMP, (down, right), (0, 1)))


@pytest.mark.parametrize("name", image.kernels())
def test_every_kernel_is_odd_and_says_what_it_does(name):
    w = image.kernel(name)
    assert w.dtype == np.float64 and w.ndim == 2 and all(k % 2 for k in w.shape) and np.isfinite(w).all()
    total = 0 if name in ("edge-detect", "edge-enhance", "sobel", "prewitt", "scharr", "laplacian", "log") else 1
    assert w.sum() == pytest.approx(total, abs=1e-12)
    assert image.kernels()[name]


def test_kernels_that_matlab_has():
    assert np.array_equal(image.kernel("disk", radius=3), fspecial("disk", 3))
    assert np.array_equal(image.kernel("gaussian", sigma=2, size=7), fspecial("gaussian", 7, 2))
    assert np.array_equal(image.kernel("motion", length=7, angle=30), fspecial("motion", 7, 30))
    assert np.array_equal(image.kernel("sobel", direction="y"), -fspecial("sobel"))
    assert np.array_equal(image.kernel("prewitt", direction="y"), -fspecial("prewitt"))
    assert image.kernel("gaussian", sigma=1.5).shape == (7, 7)


def test_derivatives_point_right_and_down():
    ramp = np.add.outer(10.0 * np.arange(6), np.arange(7.0))
    for name, total in (("sobel", 8), ("prewitt", 6), ("scharr", 32)):
        inner = image.apply(ramp, image.kernel(name), border="crop")
        assert np.allclose(inner, total) and np.allclose(
            image.apply(ramp, image.kernel(name, direction="y"), border="crop"), 10 * total)


@given(st.data())
def test_apply_is_the_definition(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), label="seed"))
    height, width, count = (data.draw(st.integers(1, 9)) for _ in range(3))
    rows, columns = (data.draw(st.sampled_from([1, 3, 5])) for _ in range(2))
    dtype = data.draw(st.sampled_from(["u1", "u2", "i2", "f4", "f8"]), label="dtype")
    border = data.draw(st.sampled_from(list(MODES)), label="border")
    if border == "reflect" and (rows // 2 >= height or columns // 2 >= width):
        border = "edge"  # ndimage and numpy.pad agree only while one reflection suffices
    limit = 2 ** (8 * np.dtype(dtype).itemsize - 1) - 1 if dtype[0] in "ui" else 1000
    pixels = rng.integers(0, limit, (height, width, count)).astype(dtype)
    matrix = rng.integers(-3, 4, (rows, columns))
    divisor, offset = data.draw(st.sampled_from([(1, 0), (4, 0.5), (2, -7), (7, 0)]), label="scale")
    expected = channel_by_channel(pixels, matrix, border, 5, divisor, offset)
    y = image.apply(pixels, matrix, border=border, cval=5, divisor=divisor, offset=offset, channel_axis=-1, alpha=None)
    assert y.dtype == pixels.dtype and y.shape == pixels.shape
    if dtype[0] == "f":
        scale = (abs(matrix).sum() * limit / divisor + abs(offset)) * np.finfo(dtype).eps * (matrix.size + 2)
        assert abs(y - expected).max() <= scale
    else:  # integer matrices: the sums are exact, and only the division by 7 rounds before the rounding
        assert np.array_equal(y, rounded(expected, dtype))


def test_a_fractional_matrix_rounds_the_float64_sum():
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (40, 50, 3), np.uint8)
    w = image.kernel("gaussian", sigma=1.3)
    exact = channel_by_channel(pixels, w)
    sure = abs(exact % 1 - 0.5) > 1e-9
    assert np.array_equal(image.apply(pixels, w)[sure], rounded(exact, np.uint8)[sure])
    assert sure.mean() > 0.99


def test_saturation_and_halves():
    row = np.array([[0, 3, 250, 255]], np.uint8)
    assert image.apply(row, [[2]]).tolist() == [[0, 6, 255, 255]]
    assert image.apply(row, [[-1]], offset=2).tolist() == [[2, 0, 0, 0]]
    assert image.apply(row, [[1]], divisor=2).tolist() == [[0, 2, 125, 128]]
    assert image.apply(row, [[-1]], divisor=2, dtype=np.int16).tolist() == [[0, -2, -125, -128]]
    assert image.apply(row, [[1]], divisor=2, dtype=np.float32).tolist() == [[0, 1.5, 125, 127.5]]
    assert image.apply(np.array([[np.nan, np.inf, -np.inf]]), [[1]], dtype=np.uint8).tolist() == [[0, 255, 0]]
    mask = np.array([[True, False, False]])
    assert image.apply(mask, np.ones((1, 3)), divisor=2).tolist() == [[True, True, False]]
    deep = np.array([[65535, 1, 7]], np.uint16)
    assert image.apply(deep, np.ones((1, 3)), normalise=True).tolist() == [[43690, 21848, 5]]


def test_normalise_keeps_grey_grey():
    grey = np.full((5, 6), 90, np.uint8)
    for matrix, value in ((np.ones((3, 3)), 90), ([[-1, 0, 1]], 128), ([[0, -1, 0]], 165)):
        assert (image.apply(grey, matrix, normalise=True) == value).all()
    assert (image.apply(np.full((3, 3), 0.25), [[-1, 0, 1]], normalise=True) == 0.5).all()


def test_keep_and_crop():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, 7, 8, 3), np.uint8)
    whole = image.apply(pixels, "sharpen")
    crop = image.apply(pixels, "sharpen", border="crop")
    keep = image.apply(pixels, "sharpen", border="keep")
    assert crop.shape == (2, 5, 6, 3) and np.array_equal(crop, whole[:, 1:-1, 1:-1])
    assert np.array_equal(keep[:, 1:-1, 1:-1], crop)
    rim = np.ones((7, 8), bool)
    rim[1:-1, 1:-1] = False
    assert np.array_equal(keep[:, rim], pixels[:, rim])
    assert np.array_equal(image.apply(pixels[:, :, :2], np.ones((3, 3)), border="keep"), pixels[:, :, :2])


def test_transparent_pixels_lend_no_colour():
    pixels = np.zeros((3, 5, 4), np.uint8)
    pixels[..., 0] = 200
    pixels[..., 3] = 255
    pixels[:, 2] = (0, 255, 0, 0)  # a column of transparent green
    box = np.ones((3, 3))
    y = image.apply(pixels, box, divisor=9)
    assert (y[:, 1:4, 0] == 200).all() and not y[..., 1].any()
    assert (y[:, 2, 3] == 170).all()
    plain = image.apply(pixels, box, divisor=9, alpha=None)
    assert (plain[:, 2, 1] == 85).all() and (plain[:, 2, 0] == 133).all()
    clear = np.zeros((4, 4, 4), np.uint8)
    clear[..., :3] = 77
    assert not image.apply(clear, box, divisor=9).any()


@given(st.integers(0, 2**32 - 1))
def test_alpha_weighting_is_the_definition(seed):
    rng = np.random.default_rng(seed)
    pixels = rng.random((6, 7, 4))
    matrix = rng.integers(-2, 4, (3, 3))
    a = pixels[..., 3:]
    top = channel_by_channel(pixels[..., :3] * a, matrix)
    below = channel_by_channel(a, abs(matrix))
    expected = top * np.divide(abs(matrix).sum(), below, out=np.zeros_like(below), where=below != 0) / 3 + 0.1
    y = image.apply(pixels, matrix, divisor=3, offset=0.1)
    assert np.allclose(y[..., :3], expected, rtol=0, atol=1e-12 * abs(matrix).sum() / max(a.min(), 1e-3))
    assert np.allclose(y[..., 3:], channel_by_channel(a, matrix) / 3 + 0.1, rtol=0, atol=1e-13)


def test_channels_and_axes():
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (6, 7, 3), np.uint8)
    y = image.apply(pixels, "sharpen", channels=[-2])
    whole = image.apply(pixels, "sharpen")
    assert np.array_equal(y[..., 1], whole[..., 1]) and np.array_equal(y[..., ::2], pixels[..., ::2])
    first = image.apply(pixels.transpose(2, 0, 1), "sharpen", channel_axis=0)
    assert np.array_equal(first, whole.transpose(2, 0, 1))
    stack = image.apply(pixels.transpose(2, 0, 1), "sharpen", channel_axis=None)  # three grey pictures
    assert np.array_equal(stack, first)
    fortran = image.apply(np.asfortranarray(pixels), "sharpen")
    assert np.array_equal(fortran, whole)
    before = pixels.copy()
    image.apply(pixels, "gaussian", border="keep", channels=[0])
    assert np.array_equal(pixels, before)


@pytest.mark.parametrize(("arguments", "options", "error", "text"), [
    ((GIMP[0], "box"), {}, ValueError, "height and width"),
    ((GIMP, "bix"), {}, ValueError, "'bix' is none of identity"),
    ((GIMP, np.ones((2, 3))), {}, ValueError, r"shape \(2, 3\).*odd"),
    ((GIMP, np.ones((3, 3), complex)), {}, TypeError, "complex128"),
    ((GIMP, [[np.nan]]), {}, ValueError, "undefined"),
    ((GIMP.astype(complex), "box"), {}, TypeError, "complex128"),
    ((GIMP.astype(np.int64), "box"), {}, TypeError, "32 bits"),
    ((GIMP, "box"), {"border": "clamp"}, ValueError, "'clamp' is none of edge"),
    ((GIMP, np.ones((7, 3))), {"border": "crop"}, ValueError, "7x3 does not fit into a picture of 5x5"),
    ((GIMP, "box"), {"divisor": 0}, ValueError, "divisor=0"),
    ((GIMP, "box"), {"offset": np.inf}, ValueError, "offset=inf"),
    ((GIMP, "box"), {"divisor": 2, "normalise": True}, ValueError, "leave them out"),
    ((GIMP, "box"), {"channel_axis": 2}, ValueError, "channel_axis=2: the picture has 2 axes"),
    ((GIMP, "box"), {"channel_axis": "last"}, ValueError, "channel_axis='last'"),
    ((GIMP, "box"), {"channels": [1]}, ValueError, r"channels=\(1,\): the picture has 1"),
    ((GIMP, "box"), {"alpha": 3}, ValueError, "alpha=3: the picture has 1"),
    ((GIMP, "box"), {"alpha": "last"}, ValueError, "alpha='last'"),
    ((GIMP, "box"), {"dtype": "c8"}, TypeError, "complex64"),
    ((GIMP, "box"), {"dtype": "bogus"}, TypeError, "dtype='bogus' is no dtype"),
    ((GIMP, "box"), {"divisor": "2"}, TypeError, "divisor='2': it must be a real number"),
    ((GIMP, "box"), {"offset": None}, TypeError, "offset=None: it must be a real number"),
    ((GIMP, "box"), {"cval": 1j}, TypeError, "cval=1j: it must be a real number"),
    ((GIMP, "box"), {"border": ["edge"]}, ValueError, "border="),
    ((GIMP, "box"), {"channels": 1}, TypeError, "channels=1: a sequence"),
    ((GIMP, "box"), {"channels": [0.5]}, TypeError, "channels: 0.5 is no integer"),
    ((GIMP, "box"), {"channel_axis": 1.5}, TypeError, "channel_axis: 1.5 is no integer"),
    ((GIMP, "box"), {"alpha": 0.0}, TypeError, "alpha: 0.0 is no integer"),
    (([[1, 2], [3]], "box"), {}, ValueError, "the picture makes no array: its rows differ in length"),
    ((GIMP, [[1], [2, 3]]), {}, ValueError, "the matrix makes no array"),
    ((np.ma.masked_array(GIMP, GIMP > 40), "box"), {}, TypeError, "the picture has masked elements"),
    ((GIMP[:0], "box"), {}, ValueError, "0x5"),
])
def test_errors(arguments, options, error, text):
    with pytest.raises(error, match=text):
        image.apply(*arguments, **options)


@pytest.mark.parametrize(("name", "parameters", "error", "text"), [
    ("box", {"size": 4}, ValueError, "size=4: it must be odd"),
    ("box", {"size": 2.5}, ValueError, "size=2.5"),
    ("shift", {"direction": "north"}, ValueError, "'north' is none of up, down"),
    ("shift", {"distance": 0}, ValueError, "distance=0"),
    ("gaussian", {"sigma": 0}, ValueError, "sigma=0.*above 0"),
    ("gaussian", {"sigma": "abc"}, TypeError, "sigma='abc'.*a real number"),
    ("gaussian", {"sigma": float("inf")}, ValueError, "sigma=inf.*finite"),
    ("motion", {"angle": "left"}, TypeError, "angle='left'.*a real number"),
    ("motion", {"angle": float("nan")}, ValueError, "angle=nan.*finite number$"),
    ("unsharp", {"alpha": None}, TypeError, "alpha=None.*a real number"),
    ("box", {"size": "x"}, ValueError, "size='x'.*whole"),
    ("box", {"size": float("inf")}, ValueError, "size=inf.*whole"),
    ("sobel", {"direction": "z"}, ValueError, "neither x nor y"),
    ("laplacian", {"alpha": 2}, ValueError, "alpha=2"),
    ("laplacian", {"alpha": "0.5"}, TypeError, "alpha='0.5'.*a real number"),
    ("unsharp", {"alpha": np.array([0.5])}, TypeError, "alpha=.*a real number"),
    ("box", {"size": None}, ValueError, "size=None.*whole"),
    ("box", {"size": 3j}, ValueError, "size=3j.*whole"),
    ("box", {"size": np.array([3, 3])}, ValueError, "size=array.*whole"),
    ("shift", {"distance": np.nan}, ValueError, "distance=nan"),
    ("shift", {"direction": ["up"]}, ValueError, "none of up"),
    ("sobel", {"direction": ["x"]}, ValueError, "neither x nor y"),
    (["box"], {}, ValueError, r"kernel \['box'\] is none of"),
    ("sharpen", {"size": 3}, TypeError, "'sharpen' has no such parameter: size"),
])
def test_kernel_errors(name, parameters, error, text):
    with pytest.raises(error, match=text):
        image.kernel(name, **parameters)


def test_empty_pictures():
    assert image.apply(np.zeros((0, 5, 3), np.uint8), "box", border="constant").shape == (0, 5, 3)
    assert image.apply(np.zeros((0, 4, 5, 3), np.uint8), "box").shape == (0, 4, 5, 3)


def test_normalised_wants_numbers():
    assert image.normalised([1, 2]) == (3, 0) and image.normalised("box")[1] == 0
    for matrix, error in (([[1, "a"]], TypeError), ([[1, 2], [3]], ValueError), ([np.nan], ValueError)):
        with pytest.raises(error, match="the matrix"):
            image.normalised(matrix)


def test_parameters_may_be_scalars_of_numpy():
    for size in (np.int8(5), np.float32(5), np.array(5)):
        assert np.array_equal(image.kernel("box", size=size), image.kernel("box", size=5))
    for alpha in (np.float64(0.5), np.array(0.5)):
        assert np.array_equal(image.kernel("laplacian", alpha=alpha), image.kernel("laplacian", alpha=0.5))


def test_infinite_pixels_with_alpha_warn_not():
    picture = np.full((4, 5, 4), 0.5, np.float32)  # warnings are errors here
    picture[1, 2] = np.inf, np.nan, 3e38, 0
    y = image.apply(picture, "box", border="keep")
    assert y.dtype == np.float32 and np.array_equal(y[0], picture[0])
    assert image.apply(picture, "box", dtype="u1", divisor=1e-30).dtype == np.uint8
