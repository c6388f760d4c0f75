"""imfilter, imgaussfilt, imboxfilt, fspecial, padarray, im2col, col2im of convx.matlab against their definitions.

The oracle pads by the index formulas and adds shifted copies. Kernels of whole numbers, or of multiples of a power of
two, make every comparison an equality, halves included.
"""

import numpy as np
import pytest
import scipy.integrate
import scipy.ndimage
from arrays import located, whole
from hypothesis import given
from hypothesis import strategies as st

import convx
import convx.matlab._filtered
from convx.matlab import (
    MatlabError,
    col2im,
    conv2,
    convn,
    filter2,
    fspecial,
    im2col,
    imboxfilt,
    imfilter,
    imgaussfilt,
    padarray,
)

pytestmark = pytest.mark.once  # no matter which kernel row or build

RULES = {"replicate": "edge", "circular": "wrap", "symmetric": "symmetric"}
INTEGERS = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8")
CLASSES = (*INTEGERS, "?", "f4", "f8")
MAGIC = np.array([[17, 24, 1, 8, 15], [23, 5, 7, 14, 16], [4, 6, 13, 20, 22], [10, 12, 19, 21, 3], [11, 18, 25, 2, 9]])


def rimmed(a, before, after, boundary):
    """The array with a rim; boundary is a word or a number."""
    for axis, (p, q) in enumerate(zip(before, after, strict=True)):
        n = a.shape[axis]
        reads = [located(i, n, RULES.get(boundary, "constant")) for i in range(-p, n + q)]
        end = np.full([1 if k == axis else m for k, m in enumerate(a.shape)], 0 if boundary in RULES else boundary)
        a = np.concatenate([a, end.astype(a.dtype)], axis).take(reads, axis)
    return a


def rounded(y, dtype):
    """Exact sums in the class of the image."""
    dtype = np.dtype(dtype)
    if dtype.kind not in "biu":
        return y.astype(dtype)
    y = np.copysign(np.floor(np.abs(y) + 0.5), y)
    return y != 0 if dtype.kind == "b" else np.array([min(max(int(v), np.iinfo(dtype).min), np.iinfo(dtype).max)
                                                      for v in y.ravel()], dtype).reshape(y.shape)


def sums(a, h, boundary=0, output="same", operation="corr"):
    """The index rule: the rim, and the valid convolution with the kernel turned for 'corr'."""
    rank = max(a.ndim, h.ndim)
    a, h = (x.reshape(x.shape + (1,) * (rank - x.ndim)) for x in (a, h))
    if operation == "corr":
        h = np.flip(h)
    before = [k - 1 if output == "full" else (k - 1) // 2 for k in h.shape]
    after = [k - 1 if output == "full" else k // 2 for k in h.shape]
    p = rimmed(a, before, after, boundary).astype(np.result_type(a, h, float))
    y = np.zeros([n - k + 1 for n, k in zip(p.shape, h.shape, strict=True)], np.result_type(p, h))
    for at in np.ndindex(h.shape):  # valid: y(i) = sum of h(j) p(i + k - 1 - j)
        y += h[at] * p[tuple(slice(k - 1 - j, k - 1 - j + n) for j, k, n in zip(at, h.shape, y.shape, strict=True))]
    return y


def identifier(function, *arguments, **options):
    with pytest.raises(MatlabError) as caught:
        function(*arguments, **options)
    return caught.value.identifier


def image(shape, dtype, seed=0):
    if np.dtype(dtype).kind == "b":
        return whole(shape, seed, least=0, most=1) > 0
    return whole(shape, seed, dtype, 0 if np.dtype(dtype).kind == "u" else -100, 100)


# imfilter -------------------------------------------------------------------------------------------------------------

def test_imfilter_published():
    expected = np.array([[24, -16, -16, 14, -8], [5, -16, 9, 9, -14], [6, 9, 14, 9, -20], [12, 9, 9, -16, -21],
                         [18, 14, -16, -16, -2]])
    h = [-1, 0, 1]
    assert np.array_equal(imfilter(MAGIC.astype(float), h), expected)
    assert np.array_equal(imfilter(MAGIC.astype(float), h, "conv"), -expected)
    found = imfilter(MAGIC.astype(np.uint8), h)
    assert found.dtype == np.uint8 and np.array_equal(found, np.maximum(expected, 0))


@st.composite
def filterings(draw):
    rank = draw(st.sampled_from([2, 2, 2, 3, 4]))
    shape = draw(st.lists(st.integers(1, 5), min_size=rank, max_size=rank))
    taps = draw(st.lists(st.integers(1, 4 if rank < 4 else 2), min_size=2, max_size=draw(st.sampled_from([2, rank]))))
    a = image(shape, draw(st.sampled_from(CLASSES)), draw(st.integers(0, 99)))
    h = whole(taps, draw(st.integers(0, 99)), least=-9, most=9) * 2.0 ** -draw(st.integers(0, 3))
    return (np.asfortranarray(a) if draw(st.booleans()) else a, h, draw(st.sampled_from([0, 3, *RULES])),
            draw(st.sampled_from(["same", "full"])), draw(st.sampled_from(["corr", "conv"])))


@given(filterings())
def test_imfilter_is_the_index_rule(case):
    a, h, boundary, output, operation = case
    stored = boundary if boundary in RULES else a.dtype.type(boundary)
    expected = rounded(sums(a, h, stored, output, operation), a.dtype)
    found = imfilter(a, h, operation, boundary, output)
    rank = max(2, *(k + 1 for k, n in enumerate(expected.shape) if n > 1), 2)
    assert found.dtype == a.dtype and found.shape == expected.shape[:rank]
    assert np.array_equal(found, expected.reshape(found.shape))
    assert found.flags.c_contiguous or found.flags.f_contiguous
    if a.flags.f_contiguous and not a.flags.c_contiguous and found.size > max(found.shape):
        assert found.flags.f_contiguous


@pytest.mark.parametrize("boundary", [0, 7, *RULES])
@pytest.mark.parametrize("dtype", ["u1", "f4", "f8"])
def test_imfilter_with_any_kernel(boundary, dtype):
    rng = np.random.default_rng(5)
    a = image((9, 7), dtype)
    for taps in ((3, 3), (4, 2), (12, 9)):  # the last one is larger than the image
        h = rng.standard_normal(taps) / 4
        for output in ("same", "full"):
            exact = sums(a, h, boundary, output)
            found = imfilter(a, h, boundary, output)
            bound = 1e-13 * sums(abs(a), abs(h), boundary, output).max()
            if dtype == "u1":
                off = np.abs(np.clip(exact, -0.5, 255.5) - found)  # what rounds to the end of the class lies within
                assert (off <= 0.5 + bound).all()
            else:
                assert found.dtype == np.dtype(dtype)
                assert (abs(found - exact) <= bound + (abs(exact) * 2.0**-24 if dtype == "f4" else 0)).all()


@pytest.mark.parametrize("dtype", ["u1", "?", "i4", "f4"])
def test_bands_and_threads_change_nothing(dtype, monkeypatch):
    a = image((23, 31, 3), dtype)
    h = whole((4, 3), 1, least=-9, most=9) / 8
    for view in (a, np.asfortranarray(a), a.transpose(1, 2, 0), a[::-1, ::2]):
        expected = rounded(sums(view, h, "symmetric"), dtype)
        for band in (1, 100, 1 << 16):
            monkeypatch.setattr(convx.matlab._filtered, "BAND", band)
            for threads in (1, 3):
                with convx.threads(threads):
                    assert np.array_equal(imfilter(view, h, "symmetric"), expected)


def test_rounding_and_saturation():
    ones = np.ones((1, 1))
    for dtype, gain, value, expected in (
            ("u1", 0.5, 1, 1), ("u1", 0.5, 5, 3), ("i1", 0.5, -1, -1), ("i1", 0.5, -5, -3), ("u1", 2, 200, 255),
            ("u1", -1, 200, 0), ("i1", 2, -100, -128), ("i1", 2, 100, 127), ("u1", 0.49999999999999994, 1, 0),
            ("u2", 1.5, 65535, 65535), ("i8", 4, 2**62, 2**63 - 1), ("u8", 2, 2**63, 2**64 - 1), ("u1", np.nan, 3, 0),
            ("u1", np.inf, 3, 255), ("?", 0.5, True, True), ("?", 0.4, True, False), ("?", -0.5, True, True),
            ("i8", 1, 2**53 + 1, 2**53)):  # the last one: int64 becomes double first
        found = imfilter(np.array([[value]], dtype), gain * ones)
        assert found.dtype == np.dtype(dtype) and found.tolist() == [[expected]], (dtype, gain, value)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_means_of_the_ends_of_a_class(dtype):
    """Weights whose sum is one give the ends back; a little more is saturated."""
    limits = np.iinfo(dtype)
    for end in (limits.min, limits.max):
        a = np.full((9, 9), end, dtype)
        for h in (np.ones((3, 3)) / 9, fspecial("gaussian", 7, 2), fspecial("disk", 3), np.full((2, 2), 0.3)):
            if a.itemsize < 8 or h.size == 4:  # doubles near the ends of 64 bits are far apart
                assert np.array_equal(imfilter(a, h, "replicate"), a)
            assert np.array_equal(imfilter(a, -h, "replicate"), rounded(sums(a.astype(float), -h, "replicate"), dtype))
        if a.itemsize < 8:
            assert np.array_equal(imgaussfilt(a, 1.5), a) and np.array_equal(imgaussfilt(a, 4), a)
            assert np.array_equal(imboxfilt(a, 5), a) and np.array_equal(imboxfilt(a, NormalizationFactor=0.2), a)


def test_sums_of_multiples_of_a_power_of_two_are_exact():
    exact_in = convx.matlab._filtered.exact_in
    assert exact_in(np.array([1.0, -2.0]), 255) == exact_in(np.array([0.25, 0.125]), 255) == np.float32
    assert exact_in(np.array([1.0, 2.0**-16]), 255) == np.float32  # 255 * (2**16 + 1) < 2**24
    assert exact_in(np.array([1.0, 2.0**-17]), 255) == np.float64
    assert exact_in(np.array([65792.0]), 255) == np.float32 and exact_in(np.array([65793.0]), 256) == np.float64
    assert exact_in(np.array([1.0, 2.0**-60]), 255) is None and exact_in(np.array([0.1]), 255) is None
    assert exact_in(np.array([0.0]), 1) == np.float32 and exact_in(np.array([np.inf]), 1) is None
    assert exact_in(np.array([1j]), 1) is None
    a = image((40, 40), "u2", 3) * 600  # halves and sums that no float32 holds
    h = whole((15, 15), 4, least=-3000, most=3000) / 4096
    assert np.array_equal(imfilter(a, h), rounded(sums(a, h), "u2"))


def test_constants_outside():
    a = np.full((2, 2), 100, np.uint8)
    h = [[0.0, 0, 1]]
    for constant, expected in ((300, 255), (-1, 0), (2.5, 3), (np.uint16(999), 255), (np.nan, 0)):
        assert imfilter(a, h, constant)[:, 1].tolist() == [expected] * 2
    assert imfilter(a > 0, h, 7).dtype == bool and imfilter(a > 0, h, 7).all()
    assert imfilter(a.astype(float), h, 2.5)[0, 1] == 2.5
    assert imfilter(a.astype("f4"), h, 1j)[0].tolist() == [100, 1j]


def test_rank_one_kernels():
    """Run along columns and rows: only the last bits differ, and the constant is taken as it is."""
    a = image((30, 25), "u1")
    h = np.outer(np.arange(1, 18) / 17.3, np.arange(2, 19) / 991.7)
    assert h.size == 289
    for boundary in (0, 300, "circular"):
        for output in ("same", "full"):
            exact = sums(a.astype(float), h, boundary, output)
            assert (abs(np.minimum(exact, 255.5) - imfilter(a, h, boundary, output)) <= 0.5 + 1e-9).all()
    small = h[:16, :17]  # 272 taps
    exact = sums(a, small, np.uint8(255))
    assert (abs(np.minimum(exact, 255.5) - imfilter(a, small, 300)) <= 0.5 + 1e-9).all()
    b = a / 7
    assert np.allclose(imfilter(b, h, 2.5, "full"), sums(b, h, 2.5, "full"), rtol=1e-12)
    ones = np.ones((9, 9))  # whole numbers stay whole
    assert np.array_equal(imfilter(a.astype(float), ones), sums(a, ones))
    assert np.allclose(imfilter(b, 1j * h), sums(b, 1j * h), rtol=1e-12)


def test_imfilter_is_what_the_others_are():
    a, rng = MAGIC.astype(float), np.random.default_rng(0)
    for taps in ((3, 3), (2, 4), (4, 1)):
        h = rng.integers(-5, 5, taps).astype(float)
        assert np.array_equal(imfilter(a, h), filter2(h, a))
        assert np.array_equal(imfilter(a, h, "conv"), conv2(a, h, "same"))
        assert np.array_equal(imfilter(a, h, "conv", "full"), conv2(a, h))
        b = rng.integers(-5, 5, (4, 5, 3)).astype(float)
        planes = np.stack([imfilter(b[:, :, k], h, "circular", "full") for k in range(3)], 2)
        assert np.array_equal(imfilter(b, h, "circular", "full"), planes)
    cube = rng.integers(-5, 5, (2, 3, 2)).astype(float)
    assert np.array_equal(imfilter(b, cube, "conv"), convn(b, cube, "same"))
    assert np.array_equal(imfilter(a, cube, "full", "conv"), convn(a, cube))
    for word, mode in (("symmetric", "reflect"), ("replicate", "nearest"), ("circular", "wrap"), (0, "constant")):
        h = rng.standard_normal((5, 3))
        assert np.allclose(imfilter(a, h, word), scipy.ndimage.correlate(a, h, mode=mode), rtol=0, atol=1e-12)


def test_complex_images_and_kernels():
    a = whole((5, 6), 1, complex)
    h = whole((3, 2), 2, complex)
    for operation in ("corr", "conv"):  # no conjugation
        assert np.array_equal(imfilter(a, h, operation), sums(a, h, 0, "same", operation))
        expected = sums(a.real, h, "circular", "same", operation)
        assert np.array_equal(imfilter(a.real, h, "circular", operation), expected)
        assert np.array_equal(imfilter(a, h.real, "full", operation), sums(a, h.real, 0, "full", operation))
    single = imfilter(a.real.astype("f4"), h)
    assert single.dtype == np.complex64 and np.array_equal(single, sums(a.real, h))
    assert identifier(imfilter, a.real.astype("i2"), h) == "MATLAB:imfilter:invalidType"


def test_options_of_imfilter():
    a, h = MAGIC.astype(float), np.arange(1.0, 7).reshape(2, 3)
    full = imfilter(a, h, "circular", "full", "conv")
    for options in (("CONV", "Full", "ci"), ("fu", "conv", "circ"), ("conv", "full", "CIRCULAR")):
        assert np.array_equal(imfilter(a, h, *options), full)
    assert np.array_equal(imfilter(a, h, "full", "same"), imfilter(a, h))
    assert np.array_equal(imfilter(a, h, 5, "replicate", 2), imfilter(a, h, 2))
    for wrong in ("c", "co", "s", "", "reflect", "valid"):
        assert identifier(imfilter, a, h, wrong) == "MATLAB:imfilter:unrecognizedStringChoice"
    assert identifier(imfilter, a, h, 1, 2, 3, 4) == "MATLAB:narginchk:tooManyInputs"
    assert identifier(imfilter, a, h, [1, 2]) == "MATLAB:imfilter:invalidType"
    for wrong in (("text", h), (a, None), (a, "text"), (None, h)):
        assert identifier(imfilter, *wrong) == "MATLAB:imfilter:invalidType"
    assert np.array_equal(imfilter(a, h, algorithm="direct"), imfilter(a, h))
    large = whole((40, 30), 1, "u1", 0, 255), whole((15, 15), 2, least=-9, most=9)
    assert np.array_equal(imfilter(*large, algorithm="fft"), imfilter(*large))  # what is rounded is as good as exact


def test_what_overflows_is_inf():
    found = imfilter(np.full((3, 3), 3e38, "f4"), [0, 10])
    assert found.dtype == np.float32 and np.isinf(found[:, :2]).all()
    assert imfilter(np.array([[1, np.nan, 3]], "f4"), [1, 1]).tolist()[0][2] == 3
    for dtype in ("f2", "g", ">f8", ">u2", ">f4"):
        found = imfilter(MAGIC.astype(dtype), [1, 1])
        assert np.array_equal(found, imfilter(MAGIC, [1, 1])) and found.dtype.isnative


def test_vectors_and_empty_arrays():
    assert imfilter([1, 2, 3], [1, 1]).tolist() == [3, 5, 3] and imfilter([1, 2, 3], [[1, 1]]).shape == (1, 3)
    assert imfilter([1, 2, 3], np.ones((3, 1)), "full").shape == (3, 3)
    for dtype in ("u1", "?", "f4"):
        for empty in ((0, 0), (0, 4), (3, 0, 2)):
            found = imfilter(np.zeros(empty, dtype), np.ones((3, 3)))
            assert found.shape == empty and found.dtype == np.dtype(dtype)
        found = imfilter(np.ones((3, 4), dtype), np.zeros((0, 0)))
        assert found.shape == (3, 4) and not found.any() and found.dtype == np.dtype(dtype)
        found = imfilter(np.zeros((0, 4), dtype), np.ones((3, 2)), "full", "circular")
        assert found.shape == (2, 5) and not found.any() and found.dtype == np.dtype(dtype)
    assert imfilter(np.ones((3, 4)), np.zeros((0, 1)), "full").shape == (2, 4)
    assert identifier(imfilter, np.zeros((0, 4)), np.zeros((0, 1)), "full") == (
        "images:imfilter:negativeDimensionBadSizeB")


# imgaussfilt, imboxfilt -----------------------------------------------------------------------------------------------

def test_imgaussfilt_is_imfilter_with_a_gaussian():
    a = image((20, 17, 2), "f8")
    for sigma in (0.5, 0.9, 1.7, 3):
        h = fspecial("gaussian", 2 * int(np.ceil(2 * sigma)) + 1, sigma)
        for padding in ("replicate", "symmetric", "circular", 5):
            exact = sums(a, h[:, :, None], padding)
            for domain in ("auto", "Spat", "frequency"):
                found = imgaussfilt(a, sigma, "Padding", padding, FilterDomain=domain)
                assert np.allclose(found, exact, rtol=0, atol=1e-10)
    assert np.array_equal(imgaussfilt(a), imgaussfilt(a, 0.5, FilterSize=[3, 3], padding="rep"))
    assert np.array_equal(imgaussfilt(a, "FilterSize", 5), imgaussfilt(a, 0.5, filtersize=5))
    assert np.allclose(imgaussfilt(a, FilterSize=1, FilterDomain="frequency"), a)
    truncate = np.ceil(2 * 1.7) / 1.7
    scipys = scipy.ndimage.gaussian_filter(a, 1.7, mode="nearest", truncate=truncate, axes=(0, 1))
    assert np.allclose(imgaussfilt(a, 1.7), scipys, rtol=0, atol=1e-11)
    y, x = np.ogrid[-3:4, -2:3]
    h = np.exp(-(y**2 / (2 * 1.5**2) + x**2 / (2 * 0.7**2)))
    assert np.allclose(imgaussfilt(a, [1.5, 0.7], FilterSize=[7, 5]), sums(a, (h / h.sum())[:, :, None], "replicate"))


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "f4"])
def test_imgaussfilt_keeps_the_class(dtype):
    a = image((40, 30), dtype)
    for sigma in (1, 4):  # 4: 17 x 17 taps, along columns and rows, 8 and 16 bits in single
        h = fspecial("gaussian", 4 * sigma + 1, sigma)
        found, exact = imgaussfilt(a, sigma), sums(a, h, "replicate")
        assert found.dtype == np.dtype(dtype)
        assert (abs(found - exact) <= (1e-4 if dtype == "f4" else 0.5 + 1e-4)).all()
    assert imgaussfilt(np.zeros((0, 3), dtype)).shape == (0, 3)
    assert imgaussfilt(a[0]).shape == (30,)


def test_imboxfilt():
    for dtype in ("u1", "i2", "u4", "i4", "f4", "f8"):
        a = image((9, 11, 2), dtype)
        for size in (3, 5, [1, 7], [13, 3]):
            rows, columns = np.broadcast_to(size, 2)
            for padding in ("replicate", "symmetric", "circular", 40):
                total = sums(a, np.ones((rows, columns, 1)), padding)
                found = imboxfilt(a, size, Padding=padding)
                assert found.dtype == a.dtype
                exact = rounded(total / (rows * columns), dtype)  # an odd number of cells: no halves
                assert np.allclose(found, exact, rtol=1e-6 if dtype == "f4" else 1e-13, atol=0)
                gained = imboxfilt(a, size, "Padding", padding, "NormalizationFactor", 0.5)
                assert np.array_equal(gained, rounded(total / 2, dtype))
    assert np.array_equal(imboxfilt(a), imboxfilt(a, 3))
    assert np.array_equal(imboxfilt(a, "Pad", 0), imboxfilt(a, Padding=0))
    assert imboxfilt(np.full((5, 5), 200, np.uint8), 3, NormalizationFactor=1).tolist() == [[255] * 5] * 5


def test_errors_of_the_two():
    a = MAGIC.astype(float)
    for function, name in ((imgaussfilt, "imgaussfilt"), (imboxfilt, "imboxfilt")):
        for wrong in (a > 0, a.astype("i8"), a + 1j, "text"):
            assert identifier(function, wrong) == f"MATLAB:{name}:invalidType"
        assert identifier(function, a, 0) == f"MATLAB:{name}:expectedPositive"
        assert identifier(function, a, [1, 2, 3]) == f"MATLAB:{name}:expectedPositive"
        assert identifier(function, a, 3, "Padding") == f"MATLAB:{name}:invalidOption"
        assert identifier(function, a, 3, Size=1) == f"MATLAB:{name}:invalidOption"
        assert identifier(function, a, 3, Padding="valid") == f"MATLAB:{name}:unrecognizedStringChoice"
        assert identifier(function, a, 3, Padding=1j) == f"MATLAB:{name}:invalidType"
        assert identifier(function, a, 2.0**70 if function is imgaussfilt else 3**39) == (
            "MATLAB:array:SizeLimitExceeded")
    assert identifier(imgaussfilt, a, FilterSize=[1, 3**39]) == "MATLAB:array:SizeLimitExceeded"
    assert identifier(imboxfilt, a, 4) == "MATLAB:imboxfilt:expectedOdd"
    assert identifier(imgaussfilt, a, 1, FilterSize=4) == "MATLAB:imgaussfilt:expectedOdd"
    assert identifier(imgaussfilt, a, FilterDomain="time") == "MATLAB:imgaussfilt:unrecognizedStringChoice"
    assert identifier(imboxfilt, a, NormalizationFactor=[1, 2]) == "MATLAB:imboxfilt:invalidType"


# fspecial -------------------------------------------------------------------------------------------------------------

def test_fspecial_printed_values():
    third = np.array([[.0251, .1453, .0251], [.1453, .3183, .1453], [.0251, .1453, .0251]])
    for name, arguments, rows, decimals in (
            ("disk", (1,), third, 4),
            ("gaussian", (5, 1), [[.002969, .013306, .021938, .013306, .002969]], 6),
            ("log", (5, .5), [[.0448, .0468, .0564, .0468, .0448], [.0468, .3167, .7146, .3167, .0468]], 4),
            ("laplacian", (), [[.1667, .6667, .1667], [.6667, -3.3333, .6667], [.1667, .6667, .1667]], 4),
            ("unsharp", (), [[-.1667, -.6667, -.1667], [-.6667, 4.3333, -.6667], [-.1667, -.6667, -.1667]], 4),
            ("prewitt", (), [[1, 1, 1], [0, 0, 0], [-1, -1, -1]], 15),
            ("sobel", (), [[1, 2, 1], [0, 0, 0], [-1, -2, -1]], 15),
            ("motion", (9, 0), [[1 / 9] * 9], 15), ("motion", (9, 90), [[1 / 9]] * 9, 15),
            ("motion", (), [[1 / 9] * 9], 15), ("motion", (4, 0), [[.125, .25, .25, .25, .125]], 15),
            ("average", (), [[1 / 9] * 3] * 3, 15), ("average", ([2, 3],), [[1 / 6] * 3] * 2, 15)):
        h = fspecial(name, *arguments)
        rows = np.array(rows)
        assert h.dtype == np.float64 and h.shape[1] == rows.shape[1]
        assert (abs(h[:len(rows)] - rows) <= 0.5 * 10.0**-decimals + 1e-15).all(), name
        assert len(h) == len(rows) or np.array_equal(h, np.flip(h))
    assert round(fspecial("gaussian", 5, 1)[2, 2], 4) == .1621 and round(fspecial("log", 5, .5)[2, 2], 4) == -4.9048
    assert fspecial("motion", 20, 45).shape == (15, 15)
    five = fspecial("motion", 5, 45)
    assert np.allclose(np.fliplr(five).diagonal(), [.0304, .1771, .1771, .1771, .0304], rtol=0, atol=5e-5)
    assert np.allclose(np.fliplr(five).diagonal(1), [.0501, .0519, .0519, .0501], rtol=0, atol=5e-5)


@pytest.mark.parametrize("r", [0.4, 0.5, 1, 1.5, 2.3, 3, 5])
def test_disk_is_the_area_of_the_pixels(r):
    h = fspecial("disk", r)
    c = (len(h) - 1) // 2
    assert c == int(np.ceil(r - 0.5)) and h.shape == (2 * c + 1, 2 * c + 1)

    def height(x, low, high):
        y = np.sqrt(max(r * r - x * x, 0))
        return max(min(y, high) - max(-y, low), 0)

    for i in range(c + 1):
        for j in range(i, c + 1):
            turns = [p for p in (np.sqrt(max(r * r - (i - .5)**2, 0)), np.sqrt(max(r * r - (i + .5)**2, 0)), r)
                     if j - .5 < p < j + .5] + [0] * (j == 0)
            area = scipy.integrate.quad(height, j - .5, j + .5, args=(i - .5, i + .5), points=sorted(turns) or None,
                                        epsabs=1e-11)[0]
            assert (h[c + i, c + j] > 0) == (area > 1e-10)
            for value in (h[c + i, c + j], h[c - i, c + j], h[c + j, c - i], h[c - j, c - i]):
                assert abs(value - area / (np.pi * r * r)) < 1e-8


@pytest.mark.parametrize("shape, sigma", [((5, 5), 1), ((3, 4), 0.5), ((1, 7), 2), ((40, 41), 1.3), ((6, 6), 0.6)])
def test_gaussian_and_log(shape, sigma):
    rows, columns = shape
    e = np.array([[np.exp(-((j - (columns - 1) / 2)**2 + (i - (rows - 1) / 2)**2) / (2 * sigma**2))
                   for j in range(columns)] for i in range(rows)])
    cut = e < np.finfo(float).eps * e.max()
    e[cut] = 0
    h = fspecial("gaussian", shape, sigma)
    assert np.allclose(h, e / e.sum(), rtol=1e-13) and (h[cut] == 0).all() and (h[~cut] > 0).all()
    assert cut.any() == (shape == (40, 41)) and abs(h.sum() - 1) < 1e-14
    square = np.array([[(j - (columns - 1) / 2)**2 + (i - (rows - 1) / 2)**2 for j in range(columns)]
                       for i in range(rows)])
    t = e / e.sum() * (square - 2 * sigma**2) / sigma**4
    log = fspecial("log", shape, sigma)
    assert np.allclose(log, t - t.sum() / t.size, rtol=1e-12, atol=1e-15) and abs(log.sum()) < 1e-13
    assert fspecial("log").shape == (5, 5) and fspecial("gaussian").shape == (3, 3)
    assert np.array_equal(fspecial("gaussian", 4), fspecial("gaussian", [4, 4], 0.5))


@pytest.mark.parametrize("length, theta", [(9, 30), (9, 210), (12.5, 77), (5, 135), (7, -20), (0.3, 40), (2, 10),
                                           (20, 91)])
def test_motion_is_the_distance_to_a_segment(length, theta):
    h = fspecial("motion", length, theta)
    length, phi = max(1, length), np.deg2rad(theta % 180)
    rows, columns = h.shape
    assert rows % 2 == columns % 2 == 1 and abs(h.sum() - 1) < 1e-14 and np.allclose(h, np.flip(h))
    end = (length - 1) / 2 * np.array([np.cos(phi), np.sin(phi)])
    expected = {}
    for x in range(-30, 31):
        for y in range(-30, 31):
            along = 0 if not end.any() else np.clip(np.dot([x, y], end) / np.dot(end, end), -1, 1)
            weight = 1 - np.linalg.norm(np.array([x, y]) - along * end)
            if weight > 1e-12:
                expected[y, x] = weight
    total = sum(expected.values())
    for (y, x), weight in expected.items():
        row, column = (rows - 1) // 2 - y, (columns - 1) // 2 + x
        if 0 <= row < rows and 0 <= column < columns:
            assert abs(h[row, column] * total - weight) < 1e-12
        else:
            pytest.fail(f"{(y, x)} with weight {weight} lies outside of the kernel")
    assert (h > 1e-13).sum() == len(expected)


def test_laplacian_and_unsharp():
    for a in (0, 0.2, 0.5, 1):
        expected = 4 / (a + 1) * np.array([[a / 4, (1 - a) / 4, a / 4], [(1 - a) / 4, -1, (1 - a) / 4],
                                           [a / 4, (1 - a) / 4, a / 4]])
        assert np.allclose(fspecial("laplacian", a), expected, rtol=1e-15)
        assert np.allclose(fspecial("unsharp", a), [[0, 0, 0], [0, 1, 0], [0, 0, 0]] - expected, rtol=1e-15)


@pytest.mark.filterwarnings("error")
def test_parameters_of_fspecial_whose_powers_no_double_holds():
    point = np.zeros((3, 3))
    point[1, 1] = 1
    assert np.array_equal(fspecial("gaussian", 3, 1e-200), point) and not fspecial("gaussian", 2, 1e-200).any()
    assert np.array_equal(fspecial("gaussian", 3, 1e200), fspecial("average"))
    assert np.array_equal(imgaussfilt(point, 1e-200), point)
    assert fspecial("disk", 1e-200) == 1 and np.isnan(fspecial("log", 3, 1e-200)).all()


def test_errors_of_fspecial():
    for short, name in (("LAPL", "laplacian"), ("a", "average")):
        assert np.array_equal(fspecial(short), fspecial(name))
    for wrong in ("l", "kirsch", "", 3):
        assert identifier(fspecial, wrong) == "MATLAB:fspecial:unrecognizedStringChoice"
    for name, most in (("average", 1), ("disk", 1), ("gaussian", 2), ("laplacian", 1), ("log", 2), ("motion", 2),
                       ("prewitt", 0), ("sobel", 0), ("unsharp", 1)):
        assert identifier(fspecial, name, *[1] * (most + 1)) == "images:fspecial:tooManyArgsForThisFilter"
    for name in ("average", "gaussian", "log"):
        assert identifier(fspecial, name, [1, 2, 3]) == "images:fspecial:wrongSizeN"
        for wrong in (0, 2.5, -1, np.inf, "x"):
            assert identifier(fspecial, name, wrong).startswith("MATLAB:fspecial:")
    for name in ("laplacian", "unsharp"):
        for wrong in (-0.1, 1.1):
            assert identifier(fspecial, name, wrong) == "images:fspecial:outOfRangeAlpha"
    for call in (("gaussian", 1e300), ("disk", 2**40), ("motion", 2**40, 45)):
        assert identifier(fspecial, *call) == "MATLAB:array:SizeLimitExceeded"
    for call in (("disk", 0), ("gaussian", 3, 0), ("log", 3, [1, 2]), ("motion", np.nan), ("motion", 3, 1j)):
        assert identifier(fspecial, *call).startswith("MATLAB:fspecial:")


# padarray -------------------------------------------------------------------------------------------------------------

def test_padarray_published():
    assert padarray([1, 2, 3, 4], 3, 9, "pre").tolist() == [[9] * 4] * 3 + [[1, 2, 3, 4]]
    assert padarray([[1, 2], [3, 4]], [3, 2], "replicate", "post").tolist() == [[1, 2, 2, 2]] + [[3, 4, 4, 4]] * 4
    cube = padarray(np.stack([[[1, 2], [3, 4]], [[5, 6], [7, 8]]], 2), [3, 3], 0, "both")
    assert cube.shape == (8, 8, 2) and cube.sum() == 36 and cube[3:5, 3:5, 1].tolist() == [[5, 6], [7, 8]]


@given(st.lists(st.integers(1, 4), min_size=2, max_size=3), st.lists(st.integers(0, 9), min_size=1, max_size=4),
       st.sampled_from([0, 5, *RULES]), st.sampled_from(["both", "pre", "post"]), st.sampled_from(CLASSES),
       st.booleans())
def test_padarray_is_its_index_formula(shape, sizes, rule, direction, dtype, fortran):
    a = image(shape, dtype)
    a = np.asfortranarray(a) if fortran else a
    rank = max(a.ndim, len(sizes))
    sizes = sizes + [0] * (rank - len(sizes))
    given_ = a.reshape(a.shape + (1,) * (rank - a.ndim))
    before, after = ([n if direction != other else 0 for n in sizes] for other in ("post", "pre"))
    expected = rimmed(given_, before, after, rule)
    found = padarray(a, sizes, rule, direction)
    assert found.dtype == a.dtype and np.array_equal(found.reshape(expected.shape), expected)
    assert found.ndim <= rank
    if direction == "both" and rule == 0:
        assert np.array_equal(padarray(a, sizes), found)
    if rule == 0:
        assert np.array_equal(padarray(a, sizes, direction), found)


def test_padarray_classes_and_errors():
    a = np.array([[1, 2], [3, 4]], np.uint8)
    for constant, expected in ((300, 255), (-1, 0), (2.5, 3), (np.nan, 0)):
        assert padarray(a, 1, constant)[0, 0] == expected and padarray(a, 1, constant).dtype == np.uint8
    assert padarray(a > 2, 1, 5)[0, 0] and padarray(a.astype("f4"), 1, 0.1).dtype == np.float32
    assert padarray(a.astype("f4"), 1, 2j).dtype == np.complex64
    assert padarray([1, 2], [0, 2], "SYM", "pre").tolist() == [2, 1, 1, 2]
    assert padarray([1, 2, 3], 1).shape == (3, 3) and padarray([[1, 2, 3]], [0, 1]).shape == (1, 5)
    assert padarray(np.zeros((0, 3)), [1, 1], 4).tolist() == [[4] * 5] * 2
    assert padarray(np.zeros((0, 3)), [0, 1], "symmetric").shape == (0, 5)
    letters = np.array([["a", "b"]])
    assert padarray(letters, [0, 1], "replicate").tolist() == [["a", "a", "b", "b"]]
    assert identifier(padarray, letters, [0, 1]) == "images:padarray:badTypeForConstantPadding"
    assert identifier(padarray, a, -1) == "MATLAB:padarray:expectedNonnegative"
    for wrong in (1.5, [1, np.nan], np.inf, 1j):
        assert identifier(padarray, a, wrong) == "MATLAB:padarray:expectedInteger"
    for wrong in (("reflect",), (0, "sideways"), ("both", "pre"), (0, "circular"), ("p",)):
        assert identifier(padarray, a, 1, *wrong) in ("MATLAB:padarray:unrecognizedStringChoice",
                                                      "MATLAB:narginchk:tooManyInputs")
    assert identifier(padarray, a, 1, 1j) == identifier(padarray, a, 1, [1, 2]) == "MATLAB:padarray:invalidType"
    assert identifier(padarray, np.zeros((0, 3)), 1, "circular") == "MATLAB:badsubscript"
    assert identifier(padarray, a, [2**40, 2**40]) == identifier(padarray, a, 2**62) == "MATLAB:array:SizeLimitExceeded"
    assert identifier(padarray, [[1, 2], [3]], 1) == "MATLAB:padarray:invalidType"


# im2col, col2im -------------------------------------------------------------------------------------------------------

def test_im2col_published():
    a = np.linspace(0, 1, 16).reshape(4, 4)
    means = col2im(im2col(a, [2, 2]).mean(axis=0), [1, 1], [3, 3])
    assert np.allclose(means, [[.1667, .2333, .3], [.4333, .5, .5667], [.7, .7667, .8333]], rtol=0, atol=5e-5)
    b = np.arange(1, 26, dtype=np.uint8).reshape(5, 5)
    blocks = im2col(b, [1, 5])
    assert blocks.dtype == np.uint8 and np.array_equal(blocks, b.T)
    assert np.array_equal(col2im(blocks, [1, 5], [5, 5], "distinct"), b)


def down(a):
    return [a[i, j] for j in range(a.shape[1]) for i in range(a.shape[0])]


@given(st.integers(0, 6), st.integers(0, 6), st.integers(1, 4), st.integers(1, 4), st.sampled_from(CLASSES),
       st.booleans())
def test_blocks_as_columns(rows, columns, m, n, dtype, fortran):
    a = image((rows, columns), dtype)
    a = np.asfortranarray(a) if fortran else a
    starts = [(r, c) for c in range(columns - n + 1) for r in range(rows - m + 1)]
    found = im2col(a, [m, n])
    assert found.shape == (m * n, len(starts)) and found.dtype == a.dtype and found.flags.f_contiguous
    assert found.T.tolist() == [down(a[r:r + m, c:c + n]) for r, c in starts]
    assert np.array_equal(im2col(a, [m, n], "SLID"), found) and np.array_equal(im2col(a, "indexed", [m, n]), found)
    middle = col2im(np.arange(len(starts)), [m, n], [rows, columns])
    assert [middle[r, c] for r, c in starts] == list(range(len(starts)))
    for kind in ((), ("indexed",)):
        fill = 1 if kind and a.dtype.kind == "f" else 0
        whole_blocks = np.full((-(-rows // m) * m, -(-columns // n) * n), fill).astype(a.dtype)
        whole_blocks[:rows, :columns] = a
        found = im2col(a, *kind, [m, n], "distinct")
        assert found.T.tolist() == [down(whole_blocks[r:r + m, c:c + n]) for c in range(0, columns, n)
                                    for r in range(0, rows, m)]
        assert found.shape[0] == m * n and found.dtype == a.dtype
        back = col2im(found, [m, n], [rows, columns], "distinct")
        assert back.dtype == a.dtype and np.array_equal(back, a)


def test_columns_are_the_blocks_of_conv2():
    a, k = MAGIC.astype(float), np.arange(1.0, 7).reshape(3, 2)
    product = np.rot90(k, 2).ravel("F") @ im2col(a, k.shape)
    assert np.array_equal(col2im(product, k.shape, a.shape), conv2(a, k, "valid"))


def test_errors_of_blocks():
    a = np.ones((4, 4))
    for function, call in ((im2col, (a,)), (im2col, (a, "indexed"))):
        assert identifier(function, *call) == "images:im2col:tooFewInputs"
    assert identifier(im2col, a, [2, 2], "valid") == "MATLAB:im2col:unrecognizedStringChoice"
    assert identifier(im2col, a, "other", [2, 2]) == "MATLAB:im2col:unrecognizedStringChoice"
    assert identifier(im2col, np.ones((2, 2, 2)), [1, 1]) == "MATLAB:im2col:expected2D"
    assert identifier(im2col, a, [2, 2], "distinct", 1) == "MATLAB:narginchk:tooManyInputs"
    assert identifier(im2col, a, [0, 2]) == "MATLAB:im2col:expectedPositive"
    assert identifier(im2col, a, [1.5, 2]) == "MATLAB:im2col:expectedInteger"
    assert identifier(im2col, a, [1, 2, 3]) == "MATLAB:im2col:incorrectNumel"
    for kind in ("sliding", "distinct"):
        assert identifier(im2col, a, [2**40, 2**40], kind) == "MATLAB:array:SizeLimitExceeded"
    for kind, size in (("sliding", 8), ("distinct", (3, 4)), ("distinct", (4, 3))):
        assert identifier(col2im, np.ones(size), [2, 2], [4, 4], kind) == "images:col2im:wrongSizeOfB"
    assert identifier(col2im, a, [2, 2], [4, 4], "full") == "MATLAB:col2im:unrecognizedStringChoice"
