"""xcorr, xcorr2, normxcorr2, cconv, deconv, convmtx, convmtx2 of convx.matlab, against their sums written out."""

from math import sqrt

import numpy as np
import pytest
import scipy.linalg
import scipy.signal
from arrays import whole
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from convx.matlab import (
    MatlabError,
    cconv,
    conv,
    conv2,
    convmtx,
    convmtx2,
    deconv,
    normxcorr2,
    xcorr,
    xcorr2,
)

pytestmark = pytest.mark.once  # no matter which kernel row or build

EPS = np.finfo(float).eps
DTYPES = ("f8", "f4", "c16", "c8", "u1", "i2", "?")


def class_of(*arrays):
    single = any(a.dtype in ("f4", "c8") for a in arrays)
    return np.dtype({(False, False): "f8", (True, False): "f4", (False, True): "c16", (True, True): "c8"}[
        single, any(a.dtype.kind == "c" for a in arrays)])


@st.composite
def vectors(draw, least=1, most=7, count=2):
    found = []
    for seed in range(count):
        dtype = np.dtype(draw(st.sampled_from(DTYPES)))
        found.append(whole(draw(st.integers(least, most)), draw(st.integers(0, 99)) + 100 * seed, dtype,
                           least=0 if dtype.kind in "u?" else -4))
    return found


def lagged(x, y, lag):
    """xcorr by its sum, for |m| <= lag; exact for whole numbers."""
    n = max(len(x), len(y))
    x, y = (np.concatenate([a, np.zeros(n - len(a), a.dtype)]).astype(complex) for a in (x, y))
    return np.array([sum(x[i + m] * y[i].conj() for i in range(n) if 0 <= i + m < n) for m in range(-lag, lag + 1)])


@given(vectors(), st.integers(0, 12) | st.none(), st.booleans(), st.booleans())
def test_xcorr(pair, maxlag, x_row, y_row):
    x, y = pair
    asked = max(len(x), len(y)) - 1 if maxlag is None else maxlag
    if y.size == 1 and maxlag is None:  # a lone number is a lag
        maxlag = asked
    options = () if maxlag is None else (maxlag,)
    expected = lagged(x, y, asked)
    flat, lags = xcorr(x, y, *options, nargout=2)
    assert flat.dtype == class_of(x, y) and np.array_equal(flat, expected)
    assert np.array_equal(lags, range(-asked, asked + 1)) and lags.dtype.kind == "i"
    r, lags = xcorr(x.reshape((1, -1) if x_row else (-1, 1)), y.reshape((1, -1) if y_row else (-1, 1)), *options,
                    nargout=2)
    assert np.array_equal(r, expected.reshape((1, -1) if x_row or x.size == 1 else (-1, 1)))
    assert lags.shape == (1, 2 * asked + 1)


@given(vectors(count=1), st.integers(0, 9))
def test_xcorr_scales(drawn, lag):
    x, = drawn
    n = len(x)
    plain = lagged(x, x, lag)
    power = (np.abs(x.astype(complex)) ** 2).sum()
    counts = np.maximum(n - abs(np.arange(-lag, lag + 1)), 1)
    eps = np.finfo(class_of(x)).eps
    for scale, factor in (("none", 1), ("biased", 1 / n), ("unbiased", 1 / counts), ("coeff", 1 / max(power, 1)),
                          ("normalized", 1 / max(power, 1))):
        found = xcorr(x, lag, scale)
        assert found.dtype == class_of(x) and np.array_equal(xcorr(x, scale.upper(), lag), found, equal_nan=True)
        if scale in ("coeff", "normalized") and not power:
            assert np.isnan(found[max(lag - n + 1, 0):lag + n]).all()
            continue
        assert (abs(found - plain * factor) <= 4 * eps * abs(plain * factor)).all()
        assert scale not in ("coeff", "normalized") or found[lag] == 1
        assert (abs(xcorr(x, x, lag, scale) - found) <= 4 * eps * abs(found)).all()


def test_xcorr_of_two_signals_in_scale():
    x, y = np.array([3.0, 4.0]), np.array([0.0, 5.0 + 12j])
    expected = lagged(x, y, 1) / (5 * 13)
    assert abs(xcorr(x, y, "normalized") - expected).max() <= 4 * EPS
    assert np.isnan(xcorr(x, np.zeros(2), "coeff")).all()


@given(st.integers(1, 5), st.integers(2, 4), st.sampled_from(DTYPES), st.integers(0, 6) | st.none())
def test_xcorr_of_columns(size, columns, dtype, maxlag):
    x = whole((max(size, 2), columns), 7, dtype, least=0 if np.dtype(dtype).kind in "u?" else -4)
    lag = len(x) - 1 if maxlag is None else maxlag
    r = xcorr(x, *(() if maxlag is None else (maxlag,)))
    assert r.shape == (2 * lag + 1, columns**2)
    for i in range(columns):
        for j in range(columns):
            assert np.array_equal(r[:, i * columns + j], lagged(x[:, i], x[:, j], lag))
    powers = [sum(abs(x[:, i].astype(complex)) ** 2) for i in range(columns)]
    if all(powers):
        scaled = xcorr(x, lag, "coeff")
        expected = r / np.sqrt(np.multiply.outer(powers, powers).reshape(-1))
        assert abs(scaled - expected).max() <= 8 * np.finfo(r.dtype).eps


def test_xcorr_long_and_against_scipy():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal(5000), rng.standard_normal(5000)
    full = scipy.signal.correlate(x, y, method="fft")
    assert abs(xcorr(x, y) - full).max() <= 1e-12 * abs(full).max()
    assert abs(xcorr(x, y, 20) - full[4999 - 20:4999 + 21]).max() <= 1e-12 * abs(full).max()
    short = xcorr(x[:3000], y)
    assert len(short) == 9999 and np.abs(short[-2000:]).max() <= 1e-12 * abs(full).max()
    assert xcorr(3).tolist() == [9.0] and xcorr([[3]], 2).tolist() == [[0, 0, 9, 0, 0]]


@given(st.lists(st.integers(1, 4), min_size=4, max_size=4), st.sampled_from(DTYPES), st.sampled_from(DTYPES))
def test_xcorr2(sizes, a_type, b_type):
    m, n, p, q = sizes
    a, b = (whole(shape, seed, dtype, least=0 if np.dtype(dtype).kind in "u?" else -4)
            for shape, seed, dtype in (((m, n), 1, a_type), ((p, q), 2, b_type)))
    expected = np.zeros((m + p - 1, n + q - 1), complex)
    for i, j in np.ndindex(m, n):
        for r, s in np.ndindex(p, q):  # the lag is (i-r, j-s)
            expected[i - r + p - 1, j - s + q - 1] += complex(a[i, j]) * complex(b[r, s]).conjugate()
    found = xcorr2(a, b)
    assert found.dtype == class_of(a, b) and np.array_equal(found, expected)
    assert np.array_equal(xcorr2(a), xcorr2(a, a))
    assert np.array_equal(found, conv2(a, b[::-1, ::-1].conj()))


def by_windows(template, image):
    """Rule 7 window by window, in Python's numbers until the square root, and where the image varies."""
    t, a = (x.astype(int) - min(int(x.min()), 0) for x in (template, image))
    rows, columns = t.shape
    a = np.pad(a, ((rows - 1,) * 2, (columns - 1,) * 2))
    windows = np.lib.stride_tricks.sliding_window_view(a, t.shape)
    n, varies = t.size, n_times_variance(t)
    c = np.zeros(windows.shape[:2])
    for i, j in np.ndindex(c.shape):
        w = windows[i, j]
        if n_times_variance(w):
            c[i, j] = int(n * (w * t).sum() - w.sum() * t.sum()) / sqrt(varies) / sqrt(n_times_variance(w))
    return c


def n_times_variance(a):
    return int(a.size * (a * a).sum() - a.sum() ** 2)


@given(st.lists(st.integers(1, 3), min_size=2, max_size=2), st.lists(st.integers(0, 4), min_size=2, max_size=2),
       st.sampled_from(("u1", "i2", "f8", "f4")), st.integers(0, 99), st.booleans())
def test_normxcorr2(taps, more, dtype, seed, flat_spot):
    least = 0 if dtype == "u1" else -4
    template = whole(taps, seed, dtype, least=least)
    image = whole([k + m for k, m in zip(taps, more, strict=True)], seed + 1, dtype, least=least)
    if flat_spot:
        image[1:] = 2
    if template.size < 2 or (template == template[0, 0]).all():
        return
    found = normxcorr2(template, image)
    expected = by_windows(template, image)
    assert found.dtype == np.float64 and found.shape == expected.shape
    # The variances of these windows are 0 or at least 1/81. A zero that comes out as the root of a rounding error
    # divides another rounding error, as in MATLAB.
    assert (abs(found - expected) <= np.where(expected, 1e-11, 1e-5)).all()


def test_normxcorr2_finds_the_template():
    image = np.random.default_rng(2).integers(0, 255, (40, 50)).astype(np.uint8)
    template = image[7:16, 20:31]
    for algorithm in ("auto", "sums"):
        c = normxcorr2(template, np.asfortranarray(image), algorithm=algorithm)
        r, s = np.unravel_index(c.argmax(), c.shape)
        assert (r - 9 + 1, s - 11 + 1) == (7, 20) and abs(c.max() - 1) < 1e-12 and c.flags.f_contiguous
    assert abs(normxcorr2(template, image) - normxcorr2(template, image, algorithm="sums")).max() < 1e-10


def test_normxcorr2_is_zero_where_nothing_varies_or_nothing_is_left():
    template = np.array([[1.0, 2.0], [3.0, 5.0]])
    assert (normxcorr2(template, np.full((5, 5), 0.1))[1:-1, 1:-1] == 0).all()
    assert (normxcorr2(np.arange(49).reshape(7, 7), np.full((9, 9), 253, np.uint8))[6:-6, 6:-6] == 0).all()
    rng = np.random.default_rng(3)
    high = 1e8 + rng.standard_normal((30, 30))  # S*S/mn takes all digits away
    c = normxcorr2(template, high)
    assert np.abs(c).max() <= 1 + sqrt(EPS)
    assert normxcorr2([1, 2], [1, 2, 3]).shape == (4,)
    for spoiled in (np.nan, np.inf):
        high[3, 3] = spoiled
        assert np.isfinite(normxcorr2(template, high)[10:]).all()


def circular(a, b, n):
    w = conv(a.reshape(-1).astype(complex), b.reshape(-1).astype(complex))
    c = np.zeros(n, complex)
    for j, value in enumerate(w):
        c[j % n] += value
    return c


@given(vectors(), st.integers(1, 20) | st.none(), st.booleans(), st.booleans())
def test_cconv(pair, n, a_row, b_row):
    a, b = pair
    expected = circular(a, b, n or len(a) + len(b) - 1)
    found = cconv(a, b) if n is None else cconv(a, b, n)
    assert found.dtype == class_of(a, b) and np.array_equal(found, expected)
    found = cconv(a.reshape((1, -1) if a_row else (-1, 1)), b.reshape((1, -1) if b_row else (-1, 1)), n)
    is_row = (a_row or a.size == 1) and (b_row or b.size == 1)
    assert np.array_equal(found, expected.reshape((1, -1) if is_row else (-1, 1)))


def test_cconv_is_the_product_of_transforms_and_xcorr():
    rng = np.random.default_rng(4)
    a, b = rng.standard_normal(3000) + 1j * rng.standard_normal(3000), rng.standard_normal(3000)
    product = np.fft.ifft(np.fft.fft(a, 3500) * np.fft.fft(b, 3500))
    assert abs(cconv(a, b, 3500) - product).max() <= 1e-12 * abs(product).max()
    r = xcorr(a, b)
    assert abs(cconv(a, b[::-1].conj(), 5999) - r).max() <= 1e-12 * abs(r).max()


@pytest.mark.parametrize("n", [4096, 4099, 5000])
def test_cconv_of_long_vectors_goes_round(n):
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal(4000), rng.standard_normal(3001)
    product = np.fft.irfft(np.fft.rfft(a, n) * np.fft.rfft(b, n), n)
    for found in (cconv(a, b, n), cconv(b, a, n)):
        assert abs(found - product).max() <= 1e-13 * np.linalg.norm(a) * np.linalg.norm(b)


@given(vectors(least=0, most=9), st.booleans(), st.booleans())
def test_deconv_divides(pair, u_row, v_row):
    u, v = pair
    if not v.size or not v[0]:
        return
    dtype = class_of(u, v)
    q, r = deconv(u, v, nargout=2)
    assert q.dtype == r.dtype == dtype and q.size == max(u.size - v.size + 1, 1) and r.shape == u.shape
    assert np.array_equal(q, deconv(u, v))
    if v.size > u.size:
        assert q.tolist() == [0] and np.array_equal(r, u)
    else:
        assert (r[:q.size] == 0).all()
        size = np.convolve(abs(v.astype(dtype)), abs(q)) + abs(u)
        bound = 8 * (q.size + 2) * np.finfo(dtype).eps * size.max() * (1 + abs(v).max() / abs(v[0])) ** q.size
        assert (abs(np.convolve(v.astype(dtype), q) + r - u) <= bound).all()
    q2, r2 = deconv(u.reshape((1, -1) if u_row else (-1, 1)), v.reshape((1, -1) if v_row else (-1, 1)), nargout=2)
    is_row = u_row or u.size == 1
    assert np.array_equal(q2, q.reshape((1, -1) if is_row else (-1, 1))) and r2.shape == (
        (1, u.size) if is_row else (u.size, 1))


@given(st.integers(1, 8), st.integers(1, 5), st.integers(0, 99))
def test_deconv_undoes_conv_of_whole_numbers(size, taps, seed):
    q, v = whole(size, seed), whole(taps, seed + 1)
    v[0] = 1
    found, r = deconv(conv(q, v), v, nargout=2)
    assert np.array_equal(found, q) and not r.any()


@pytest.mark.parametrize("shape", ["full", "same", "valid"])
@pytest.mark.parametrize("taps", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["f8", "c16", "f4"])
def test_deconv_by_least_squares(shape, taps, dtype):
    rng = np.random.default_rng(5)
    v, x = rng.standard_normal(taps).astype(dtype), rng.standard_normal(9).astype(dtype)
    v[0] = 0 if taps > 1 else 2
    u = conv(x, v, shape)
    q, r = deconv(u, v, shape, Method="least-squares", nargout=2)
    tolerance = 1e3 * np.finfo(dtype).eps * abs(x).max()
    assert q.shape == x.shape and r.shape == u.shape and q.dtype == r.dtype == np.dtype(dtype)
    assert abs(r).max() <= tolerance
    if shape == "full":
        assert abs(q - x).max() <= 100 * tolerance
    u = u + rng.standard_normal(u.size).astype(dtype)  # not a convolution any more
    q, r = deconv(u, v, shape, Method="least-squares", RegularizationFactor=0.5, nargout=2)
    columns = np.array([conv(e, v, shape) for e in np.eye(9, dtype=dtype)]).T
    gradient = columns.conj().T @ r - 0.25 * q  # of |r|^2 + |q/2|^2
    assert abs(gradient).max() <= tolerance * 10 and abs(columns @ q + r - u).max() <= tolerance


def test_deconv_takes_its_options_in_pairs_as_in_matlab():
    u, v = np.array([3.0, 1, 4, 1, 5]), np.array([2.0, 1])
    for shape in ("full", "same"):
        want = deconv(u, v, shape=shape, Method="least-squares", RegularizationFactor=0.5)
        assert np.array_equal(deconv(u, v, shape, "method", "Least-Squares", "regular", 0.5), want)
    assert np.array_equal(deconv(u, v, "Method", "long-division"), deconv(u, v))
    for bad in (np.nan, np.inf):
        assert all(np.isnan(a).all() for a in deconv([1, bad, 3, 4], v, Method="least-squares", nargout=2))


@given(vectors(least=1, count=1), st.integers(1, 6))
def test_convmtx(drawn, n):
    h, = drawn
    expected = np.zeros((h.size + n - 1, n), h.dtype)
    for i, j in np.ndindex(expected.shape):
        if 0 <= i - j < h.size:
            expected[i, j] = h[i - j]
    column, row = convmtx(h[:, None], n), convmtx(h[None], n)
    assert column.dtype == row.dtype == h.dtype
    assert np.array_equal(row, expected.T) and np.array_equal(convmtx(h, n), row)
    if h.size > 1:
        assert np.array_equal(column, expected) and np.array_equal(column, scipy.linalg.convolution_matrix(h, n))
    else:
        assert np.array_equal(column, h[0] * np.eye(n, dtype=int))
    x = whole(n, 3)
    assert np.array_equal(x @ row, conv(h, x))


@given(st.lists(st.integers(1, 4), min_size=4, max_size=4), st.sampled_from(("f8", "u1", "f4", "c8")))
def test_convmtx2(sizes, dtype):
    p, q, m, n = sizes
    h = whole((p, q), 8, dtype, least=0 if dtype == "u1" else -4)
    t = convmtx2(h, m, n)
    expected = np.zeros(((m + p - 1) * (n + q - 1), m * n), complex)
    for r, s, i, j in np.ndindex(p, q, m, n):
        expected[(i + r) + (j + s) * (m + p - 1), i + j * m] = h[r, s]
    assert sparse.issparse(t) and t.format == "csc" and t.dtype == ("c16" if dtype == "c8" else "f8")
    assert np.array_equal(t.toarray(), expected) and t.nnz == np.count_nonzero(h) * m * n
    assert (convmtx2(h, [m, n]) != t).nnz == 0
    x = whole((m, n), 9)
    assert np.array_equal((t @ x.ravel(order="F")).reshape((m + p - 1, n + q - 1), order="F"), conv2(x, h))


def test_convmtx2_of_the_page():
    """The published first row (fixtures) is that of conv2; the product is the same up to rounding."""
    magic = np.array([[17, 24, 1, 8, 15], [23, 5, 7, 14, 16], [4, 6, 13, 20, 22], [10, 12, 19, 21, 3],
                      [11, 18, 25, 2, 9]])
    h = np.ones((3, 3)) / 9
    y = (convmtx2(h, 5, 5) @ magic.ravel(order="F")).reshape((7, 7), order="F")
    assert abs(y[0] - [1.8889, 4.5556, 4.6667, 3.6667, 2.6667, 2.5556, 1.6667]).max() < 0.6e-4
    assert abs(y - conv2(magic, h)).max() <= 1e-12 * y.max()


PLANE, CUBE, ROW = np.ones((3, 3)), np.ones((2, 2, 2)), np.ones((1, 3))


@pytest.mark.parametrize("call, identifier, message", [
    (lambda: xcorr(ROW, ROW, "loud"), "signal:xcorr:UnknInput", "'loud' is not recognized"),
    (lambda: xcorr(ROW, ROW, 2.5), "signal:xcorr:UnknInput", "MAXLAG must be a whole number"),
    (lambda: xcorr(ROW, ROW, 2, 3), "signal:xcorr:UnknInput", "Too many"),
    (lambda: xcorr(CUBE), "signal:xcorr:UnknInput", "nonempty"),
    (lambda: xcorr([]), "signal:xcorr:UnknInput", "nonempty"),
    (lambda: xcorr(ROW, PLANE), "signal:xcorr:BMustBeVector", "B must be a vector"),
    (lambda: xcorr(PLANE, ROW), "signal:xcorr:MismatchedAB", "A must be a vector"),
    (lambda: xcorr([1, 2], [1, 2, 3], "biased"), "signal:xcorr:NoScale", "must be 'none'"),
    (lambda: xcorr2(CUBE), "signal:xcorr2:inputType", "matrices"),
    (lambda: normxcorr2(3, PLANE), "images:normxcorr2:invalidTemplate", "at least 2"),
    (lambda: normxcorr2(PLANE, PLANE), "images:normxcorr2:sameElementsInTemplate",
     "The values of TEMPLATE cannot all be the same."),
    (lambda: normxcorr2([[1], [2], [3], [4]], PLANE), "images:normxcorr2:invalidSizeForA", "larger than TEMPLATE"),
    (lambda: normxcorr2([[1, 2j]], PLANE), "images:normxcorr2:inputType", "real"),
    (lambda: cconv(PLANE, ROW), "signal:cconv:inputType", "vectors"),
    (lambda: cconv([], ROW), "signal:cconv:inputType", "not empty"),
    (lambda: cconv(ROW, ROW, 0), "signal:cconv:invalidLength", "at least 1"),
    (lambda: deconv(ROW, [0, 1]), "MATLAB:deconv:ZeroCoef1", "First coefficient of A must be non-zero."),
    (lambda: deconv(ROW, [1, 1], Method="magic"), "MATLAB:deconv:badMethod", "long-division"),
    (lambda: deconv(ROW, [1, 1], "full", "same"), "MATLAB:deconv:invalidOption", "is none of"),
    (lambda: deconv(ROW, [1, 1], "full", shape="full"), "MATLAB:deconv:invalidOption", "SHAPE is given twice"),
    (lambda: deconv(ROW, [1, 1], "full", "Way", 1), "MATLAB:deconv:invalidOption", "'Way' is none of"),
    (lambda: deconv(ROW, [1, 1], "same"), "MATLAB:deconv:polydivShape", "SHAPE is not supported"),
    (lambda: deconv(ROW, [1, 1], RegularizationFactor=1), "MATLAB:deconv:polydivRegularizer", "not supported"),
    (lambda: deconv(ROW, [1, 1], RegularizationFactor=[1, 2]), "MATLAB:deconv:inputType", "real scalar"),
    (lambda: deconv(PLANE, ROW), "MATLAB:deconv:inputType", "vectors"),
    (lambda: deconv(ROW, []), "MATLAB:deconv:inputType", "not empty"),
    (lambda: convmtx(PLANE, 3), "signal:convmtx:inputType", "vector"),
    (lambda: convmtx(ROW, 0), "signal:convmtx:invalidLength", "at least 1"),
    (lambda: convmtx2(CUBE, 2, 2), "images:convmtx2:inputType", "matrix"),
    (lambda: convmtx2(PLANE, 2), "images:convmtx2:invalidSize", "size of a matrix"),
    (lambda: convmtx2(PLANE, 2, 1.5), "images:convmtx2:invalidSize", "N must be a whole number"),
    (lambda: xcorr(np.ma.masked_array([1, 2], [0, 1])), "signal:xcorr:UnknInput", "A has masked elements"),
    (lambda: xcorr("abc"), "signal:xcorr:UnknInput", "not char"),
    *((call, "MATLAB:array:SizeLimitExceeded", "exceeds the maximum") for call in (
        lambda: cconv(ROW, ROW, 2**62), lambda: xcorr(ROW, ROW, 2**60), lambda: convmtx(ROW, 2**40))),
    (lambda: convmtx2(PLANE, 2**31, 2**31), "images:convmtx2:invalidSize", "more bytes than an address can name"),
    (lambda: xcorr2(sparse.eye_array(3)), "signal:xcorr2:inputType", "not sparse"),
])
def test_errors(call, identifier, message):
    with pytest.raises(MatlabError, match=message) as caught:
        call()
    assert caught.value.identifier == identifier
