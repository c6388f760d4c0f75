"""convolve and correlate as drop-ins for scipy.signal, and what they add."""

from itertools import product

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from arrays import plain, whole, writable, zoo

import convx

MODES = ("full", "same", "valid")
PAIRS = ((convx.convolve, scipy.signal.convolve), (convx.correlate, scipy.signal.correlate))
SHAPES = [((7,), (3,)), ((7,), (4,)), ((3,), (8,)), ((1,), (1,)), ((6, 7), (3, 2)), ((6, 7), (2, 9)), ((2, 3), (5, 4)),
          ((4, 5, 6), (2, 3, 1)), ((2, 2, 2), (3, 3, 3)), ((3, 4, 2, 3), (2, 2, 2, 2)), ((1, 5), (3, 1)),
          ((6, 1), (2, 1))]


def direct(theirs, a, v, mode="full"):
    return theirs(a, v, mode, method="direct")


@pytest.mark.parametrize("ours, theirs", PAIRS)
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("dtypes", [("f8", "f8"), ("f4", "f4"), ("c16", "c16"), ("c8", "c8"), ("f8", "c16"),
                                    ("c16", "f8"), ("i8", "i8"), ("f4", "f8"), ("c8", "f4")], ids="-".join)
def test_scipy(ours, theirs, shapes, dtypes):
    a, v = whole(shapes[0], 1, dtypes[0]), whole(shapes[1], 3, dtypes[1])
    for mode in MODES:
        try:
            want = direct(theirs, a, v, mode)
        except ValueError:
            with pytest.raises(ValueError, match="at least as large"):
                ours(a, v, mode)
            continue
        y = ours(a, v, mode)
        assert y.dtype == want.dtype and y.shape == want.shape, mode
        assert np.array_equal(y, want), mode


@pytest.mark.parametrize("ours, theirs", PAIRS)
@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16"])
def test_rounding_is_that_of_a_direct_sum(ours, theirs, dtype):
    rng = np.random.default_rng(5)
    for a_shape, v_shape in (((300,), (41,)), ((40, 50), (7, 6))):
        a, v = rng.standard_normal(a_shape), rng.standard_normal(v_shape)
        if dtype[0] == "c":
            a, v = a + 1j * rng.standard_normal(a_shape), v - 1j * rng.standard_normal(v_shape)
        a, v = a.astype(dtype), v.astype(dtype)
        for mode in MODES:
            want = direct(theirs, a.astype("c16"), v.astype("c16"), mode)
            size = direct(theirs, np.abs(a).astype("f8"), np.abs(v).astype("f8"), mode)
            # A complex product is two real ones per part, hence twice the terms and sqrt(2) for the two parts.
            terms = v.size * (2 if dtype[0] == "c" else 1)
            bound = 2**0.5 * (terms + 2) * np.finfo(dtype).eps * size
            if dtype in ("f8", "c16"):
                bound = 2 * bound  # the other side is rounded as well
            assert (np.abs(ours(a, v, mode) - want) <= bound).all()


@pytest.mark.parametrize("ours, theirs", PAIRS)
def test_scalars(ours, theirs):
    for a, v in ((2.0, 3.0), (2 + 1j, 1 - 1j), (np.float32(2), np.float32(5)), (np.array(3), np.array(4)), (2.0, 1j)):
        for mode in MODES:
            y, want = ours(a, v, mode), theirs(np.asarray(a), np.asarray(v), mode, method="direct")
            assert np.ndim(y) == 0 and y == want
            assert np.asarray(y).dtype == np.asarray(want).dtype
    out = np.zeros(())
    assert ours(2.0, 3.0, out=out) is out
    assert out == 6


@pytest.mark.parametrize("ours", [convx.convolve, convx.correlate])
def test_empty_operands(ours):
    # As SciPy 1.17: an error, but for mode="same", whose result has the size of a whatever it is.
    some, none = (np.ones(2), np.ones((2, 2))), (np.ones(0), np.ones((0, 3)), np.ones((3, 0)))
    for a, v, mode in product(some + none, some + none, MODES):
        if a.ndim != v.ndim or a.size * v.size:
            continue
        if mode == "same" and v.size:
            assert ours(a, v, mode).shape == a.shape
            assert ours(a, v, mode).dtype == np.float64
        else:
            with pytest.raises(ValueError, match=r"empty|large|size 0"):
                ours(a, v, mode)


@pytest.mark.parametrize("ours, theirs", PAIRS)
def test_errors_are_scipys(ours, theirs):
    for a, v, mode in (([1.0, 2], [[1.0]], "full"), (1.0, [1.0], "full"), ([1.0, 2], [1.0], "half"),
                       (np.ones((3, 5)), np.ones((5, 3)), "valid"), (np.ones((2, 2, 3)), np.ones((3, 1, 1)), "valid")):
        with pytest.raises(ValueError, match=r"cceptable mode|dimension|large"):
            theirs(np.asarray(a), np.asarray(v), mode, method="direct")
        with pytest.raises(ValueError, match=r"mode=|axes and|at least as large") as caught:
            ours(a, v, mode)
        assert "\n" not in str(caught.value)


def test_swapped_valid():
    for (ours, theirs), dtype in product(PAIRS, ("f8", "c16", "i4")):
        a, v = whole((2, 3), 6, dtype), whole((4, 5), 7, dtype)
        want = theirs(a.astype("c16"), v.astype("c16"), "valid", method="direct")
        assert np.array_equal(ours(a, v, "valid"), want)
        assert ours(a, v, "valid").shape == (3, 3)
        # As large along one axis, larger along the other: no swap, or the swap, but never an error.
        want = theirs(a.astype("c16"), v[:2].astype("c16"), "valid", method="direct")
        assert np.array_equal(ours(a, v[:2], "valid"), want)


def test_correlate_conjugates_and_commutes():
    a, v = whole((9,), 8, "c16"), whole((4,), 9, "c16")
    y = convx.correlate(a, v)
    assert np.array_equal(y, convx.convolve(a, v[::-1].conj()))
    assert np.array_equal(convx.correlate(v, a), y[::-1].conj())
    assert np.array_equal(y, np.correlate(a, v, "full"))
    assert np.array_equal(convx.convolve(a, v), convx.convolve(v, a))
    assert np.array_equal(convx.convolve(a, v), np.convolve(a, v))


@pytest.mark.parametrize("ours, theirs", PAIRS)
def test_integers_widen(ours, theirs):
    a, v = np.array([200, 100, 50], np.uint8), np.array([3, 2], np.uint8)
    want = direct(theirs, a.astype(int), v.astype(int))
    y = ours(a, v)
    assert y.dtype == np.uint64 and np.array_equal(y, want)
    # SciPy keeps uint8, where 200 * 3 wraps around; overflow="wrap" asks for that.
    assert not np.array_equal(direct(theirs, a, v), want)
    assert np.array_equal(ours(a, v, dtype=np.uint8, overflow="wrap"), direct(theirs, a, v))
    b, u = np.array([-100, 100], np.int16), np.array([30000, 7], np.int16)
    assert np.array_equal(ours(b, u), direct(theirs, b.astype(int), u.astype(int)))
    big = whole((5,), 10, "i8") * 2**61
    with pytest.raises(OverflowError, match="do not fit int64"):
        ours(big, np.array([7, -7, 7]))


@pytest.mark.parametrize("ours", [convx.convolve, convx.correlate])
def test_bool_counts(ours):
    a, v = np.array([True, True, True, False, True]), np.array([True, True, True])
    y = ours(a, v)
    assert y.dtype == np.int64
    assert y.tolist() == [1, 2, 3, 2, 2, 1, 1]  # SciPy says only whether there is any


@pytest.mark.parametrize("ours, theirs", PAIRS)
def test_every_form_of_memory(ours, theirs):
    for dtype in ("f8", "f4", "c16", "c8", "i2"):
        a, v = whole((5, 6), 11, dtype), whole((3, 2), 12, dtype)
        for mode in MODES:
            want = direct(theirs, a.astype("c16"), v.astype("c16"), mode)
            for (name, b), (v_name, u) in product(zoo(a), zoo(v)):
                assert np.array_equal(ours(b, u, mode), want), (dtype, mode, name, v_name)
            for name, out in writable(np.zeros(want.shape, ours(a, v).dtype)):
                assert ours(a, v, mode, out=out) is out
                assert np.array_equal(out, want), (dtype, mode, name)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("a_shape, v_shape, axes", [
    ((4, 7), (4, 3), 1), ((7, 4), (3, 4), 0), ((4, 7), (1, 3), (1,)), ((1, 7), (4, 3), -1),
    ((5, 6, 7), (5, 2, 3), (1, 2)),
    ((5, 6, 7), (1, 2, 3), [2, 1]), ((1, 6, 7), (5, 2, 3), (-1, -2)), ((2, 6, 1, 3), (2, 3, 4, 1), 1),
    ((6, 2, 7), (3, 1, 2), (0, 2)), ((3, 4), (2, 2), (0, 1)), ((3, 4), (2, 2), None), ((2, 3, 8), (2, 3, 8), 2),
    ((2, 1, 8, 3, 1), (1, 4, 3, 3, 2), 2),
])
def test_axes(mode, a_shape, v_shape, axes):
    for dtype in ("f8", "c16", "i4"):
        a, v = whole(a_shape, 13, dtype), whole(v_shape, 14, dtype)
        # The values are whole and small: the nearest whole numbers are what fftconvolve computes.
        # Its 'same' cuts every axis to the size of a, also those that were broadcast; here they stay whole.
        places = range(a.ndim) if axes is None else [i % a.ndim for i in np.atleast_1d(axes)]
        broad = np.broadcast_to(a, [max(p, q) if i not in places else p
                                    for i, (p, q) in enumerate(zip(a_shape, v_shape, strict=True))])
        want = np.round(scipy.signal.fftconvolve(broad.astype("c16"), v.astype("c16"), mode, axes=axes))
        y = convx.convolve(a, v, mode, axes=axes)
        assert y.shape == want.shape and np.array_equal(y, want)
        turned = axes if axes is not None else tuple(range(a.ndim))
        assert np.array_equal(convx.correlate(a, np.flip(v, turned).conj(), mode, axes=axes), want)
        out = np.empty(want.shape, y.dtype, order="F")
        assert convx.convolve(a, v, mode, axes=axes, out=out) is out
        assert np.array_equal(out, want)


@pytest.mark.parametrize("a_shape, v_shape, axes, shape", [
    ((0, 3), (1, 3), 1, (0, 5)), ((1, 3), (0, 3), 1, (0, 5)), ((0, 3), (0, 3), 1, (0, 5)), ((4, 0), (2, 1), 0, (5, 0)),
])
def test_an_empty_axis_broadcasts_to_an_empty_one(a_shape, v_shape, axes, shape):
    for function in (convx.convolve, convx.correlate):
        assert function(np.ones(a_shape), np.ones(v_shape), axes=axes).shape == shape


def test_axes_of_the_larger_second_operand():
    for dtype in ("f8", "c16"):
        a, v = whole((3, 2), 15, dtype), whole((3, 6), 16, dtype)
        want = np.round(scipy.signal.fftconvolve(a, v, "valid", axes=1))
        assert np.array_equal(convx.convolve(a, v, "valid", axes=1), want)
        assert np.array_equal(convx.correlate(a, v[:, ::-1].conj(), "valid", axes=1), want)
        wide = whole((1, 2), 15, dtype)
        want = np.round(scipy.signal.fftconvolve(wide, v, "valid", axes=1))
        assert np.array_equal(convx.convolve(wide, v, "valid", axes=1), want)


def test_an_operand_as_a_list():
    assert convx.convolve([1, 2, 3], [0, 1, 0.5]).tolist() == [0, 1, 2.5, 4, 1.5]
    assert convx.correlate([[1, 2], [3, 4]], [[1, 0], [0, 1]], "valid").tolist() == [[5]]
    assert convx.convolve((1, 2), range(3)).tolist() == [0, 1, 4, 4]


NDIMAGE = {"edge": "nearest", "reflect": "mirror", "symmetric": "reflect", "wrap": "wrap", "constant": "constant"}


@pytest.mark.parametrize("boundary", NDIMAGE)
@pytest.mark.parametrize("taps", [(3,), (5,), (3, 3), (5, 1), (1, 3, 5)])
def test_boundaries_are_ndimages(boundary, taps):
    # ndimage centres odd kernels as mode="same" does; complex ones are checked by numpy.pad below.
    a, v = whole((9, 8, 7)[:len(taps)], 17), whole(taps, 18)
    mode = NDIMAGE[boundary]
    y = convx.convolve(a, v, "same", boundary=boundary, cval=2)
    assert np.array_equal(y, scipy.ndimage.convolve(a, v, mode=mode, cval=2))
    y = convx.correlate(a, v, "same", boundary=boundary, cval=2)
    assert np.array_equal(y, scipy.ndimage.correlate(a, v, mode=mode, cval=2))


@pytest.mark.parametrize("boundary", NDIMAGE)
@pytest.mark.parametrize("ours, theirs", PAIRS)
@pytest.mark.parametrize("taps", [(2, 3), (4, 1), (7, 6)])
def test_boundaries_are_numpy_pad(ours, theirs, boundary, taps):
    a, v = whole((4, 5), 19, "c16"), whole(taps, 20, "c16")
    padded = np.pad(a, [(k - 1, k - 1) for k in taps], mode=boundary)
    full = direct(theirs, padded, v, "valid") if min(padded.shape) >= 1 else None
    assert np.array_equal(ours(a, v, boundary=boundary), full)
    start = [(k - 1) // 2 for k in taps]
    same = full[start[0]:start[0] + 4, start[1]:start[1] + 5]
    assert np.array_equal(ours(a, v, "same", boundary=boundary), same)


def test_boundary_per_convolved_axis():
    a, v = whole((4, 5, 6), 21), whole((1, 3, 3), 22)
    y = convx.correlate(a, v, "same", axes=(2, 1), boundary=("wrap", "edge"))
    padded = np.pad(np.pad(a, ((0, 0), (1, 1), (0, 0)), mode="edge"), ((0, 0), (0, 0), (1, 1)), mode="wrap")
    want = scipy.signal.correlate(padded, v, "valid", method="direct")
    assert np.array_equal(y, want)
    assert np.array_equal(convx.correlate(a, v, "same", axes=(1, 2), boundary=["edge", "wrap"]), want)
    with pytest.raises(ValueError, match="boundary has 3 entries"):
        convx.correlate(a, v, "same", axes=(1, 2), boundary=("edge",) * 3)
    with pytest.raises(ValueError, match="boundary"):
        convx.convolve(v, a, "valid", boundary="edge")  # the larger array is v: which one would be extended?


@pytest.mark.parametrize("size, taps", [(4, 2), (4, 3), (5, 4), (3, 6), (3, 7), (1, 2), (6, 1)])
def test_matlab_same(size, taps):
    # MATLAB's conv(a, v, 'same') is the part of the full result from element ceil((K + 1) / 2), counted from one.
    a, v = whole((size,), 23), whole((taps,), 24)
    first = -(-(taps + 1) // 2) - 1
    assert convx.convolve([1, 2, 3, 4], [1, 1], "same", alignment="matlab").tolist() == [3, 5, 7, 4]
    assert convx.convolve([1, 2, 3, 4], [1, 1], "same").tolist() == [1, 3, 5, 7]
    assert np.array_equal(convx.convolve(a, v, "same", alignment="matlab"), np.convolve(a, v)[first:first + size])
    for mode in ("full",) + ("valid",) * (size >= taps):
        assert np.array_equal(convx.convolve(a, v, mode, alignment="matlab"), convx.convolve(a, v, mode))
    image, kernel = whole((size, 5), 25), whole((taps, 2), 26)
    full = scipy.signal.convolve2d(image, kernel)
    assert np.array_equal(convx.convolve(image, kernel, "same", alignment="matlab"), full[first:first + size, 1:6])


@pytest.mark.parametrize("algorithm", ["direct", "reference"])
@pytest.mark.parametrize("workers", [1, 2, 5, -1])
def test_algorithm_and_workers(algorithm, workers):
    a, v = whole((70, 90), 27), whole((5, 4), 28)
    for ours, theirs in PAIRS:
        for mode in MODES:
            y = ours(a, v, mode, algorithm=algorithm, workers=workers)
            assert np.array_equal(y, direct(theirs, a, v, mode))


def test_cval_and_dtype():
    a, v = whole((6,), 29), whole((3,), 30)
    want = np.convolve(np.pad(a, 2, constant_values=5), v, "valid")
    assert np.array_equal(convx.convolve(a, v, cval=5), want)
    assert convx.convolve(a, v, dtype=np.complex64).dtype == np.complex64
    assert convx.convolve(a.astype("i2"), v.astype("i2"), dtype="f4").dtype == np.float32
    want = plain(a[None, None] + 0j, v[None, None, ::-1] + 0j, (8,), (1,), (2,), (1,), cval=1j)
    assert np.array_equal(convx.convolve(a + 0j, v, cval=1j), want[0, 0])


def test_the_kernel_may_be_infinite_beside_the_array():
    # Outside the array there is nothing to multiply.
    y = convx.convolve([1.0, 1.0, 1.0, 1.0], [np.inf, 1.0])
    assert y.tolist() == [np.inf] * 4 + [1.0]
    y = convx.convolve([1.0, np.nan, 1.0, 1.0], [1.0, 1.0, 1.0])
    assert np.isnan(y).tolist() == [False, True, True, True, False, False]
