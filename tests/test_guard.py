"""No kernel touches memory beside its arrays: they lie between pages that cannot be read."""

import ctypes
import mmap
import sys
from itertools import product

import numpy as np
import pytest

import convx
from convx._select import NAMES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the test sets the protection of pages with mprotect")

PAGE = mmap.PAGESIZE
CASES = {  # x, w, options of the layer
    "many channels": ((1, 40, 10, 50), (70, 40, 3, 3), {"padding": 1}),
    "stride": ((1, 20, 10, 61), (37, 20, 3, 3), {"padding": 1, "stride": 2}),
    "depthwise": ((1, 19, 10, 33), (19, 1, 3, 3), {"padding": 1, "groups": 19}),
    "groups": ((2, 6, 9, 14), (12, 2, 3, 3), {"groups": 3, "stride": (1, 2)}),
    "dilation": ((1, 3, 20, 37), (5, 3, 5, 5), {"padding": 2, "dilation": 2}),
    "lattices": ((1, 19, 14, 39), (23, 19, 3, 3), {"padding": 2, "dilation": (2, 3)}),
    "first layer": ((1, 3, 10, 150), (70, 3, 3, 3), {"padding": 1}),
    "one by one": ((1, 35, 7, 9), (33, 35, 1, 1), {}),
    "filter": ((1, 1, 40, 83), (1, 1, 5, 5), {"padding": 2, "boundary": "reflect"}),
    "long rows": ((1, 1, 21, 330), (1, 1, 4, 3), {"padding": (2, 1)}),
    "volume": ((1, 2, 5, 9, 33), (1, 2, 3, 3, 3), {"padding": 1}),
    "row": ((1, 1, 1, 301), (1, 1, 1, 9), {"padding": (0, 4)}),
}


def guarded(array, at_end):
    """A copy whose last (or first) element lies next to a page that must not be touched."""
    pages = -(-array.nbytes // PAGE)
    memory = mmap.mmap(-1, (pages + 2) * PAGE)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    for place in (base, base + (pages + 1) * PAGE):
        assert protect(ctypes.c_void_p(place), ctypes.c_size_t(PAGE), 0) == 0
    start = (pages + 1) * PAGE - array.nbytes if at_end else PAGE
    view = np.frombuffer(memory, array.dtype, array.size, start).reshape(array.shape)
    view[...] = array
    return view


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("name", [n for n in NAMES if n != "reference"])
@pytest.mark.parametrize("case", CASES)
def test_kernels_stay_inside(case, name, layout):
    x_shape, w_shape, options = CASES[case]
    rng = np.random.default_rng(0)
    options = {**options, "layout": layout.replace("H", "DH") if len(x_shape) > 4 else layout, "algorithm": name}
    for dtype in ("f4", "f8"):
        x, w = (rng.standard_normal(s).astype(dtype) for s in (x_shape, w_shape))
        if layout == "NHWC":
            x, w = (np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (x, w))
        for at_end in (True, False):
            a, b = guarded(x, at_end), guarded(w, at_end)
            try:
                expected = convx.conv(x, w, **options)
            except ValueError:  # refused
                continue
            y = guarded(expected, at_end)
            y[...] = np.nan
            assert np.array_equal(convx.conv(a, b, out=y, **options), expected)
            for gradient, left, right, shape in ((convx.conv_grad_input, y, b, x), (convx.conv_grad_weight, a, y, w)):
                try:
                    expected = gradient(np.array(left), np.array(right), shape.shape, **options)
                except ValueError:
                    continue
                out = guarded(expected, at_end)
                assert np.array_equal(gradient(left, right, shape.shape, out=out, **options), expected)


@pytest.mark.parametrize("kind", ["u1", "i2", "f4"])
@pytest.mark.parametrize("case", ["filter", "row", "long rows", "volume", "many channels", "groups"])
def test_stored_types_stay_inside(case, kind):
    x_shape, w_shape, options = CASES[case]
    rng = np.random.default_rng(1)
    x, w = rng.integers(0, 9, x_shape).astype(kind), rng.integers(-3, 4, w_shape).astype("i1" if kind != "f4" else "f8")
    options = {**options, "dtype": "f8" if kind == "f4" else "i2", "overflow": "saturate"}
    expected = convx.conv(x, w, algorithm="reference", **options)
    for at_end, algorithm in product((True, False), ("sums", "stencil")):
        y = guarded(expected, at_end)
        y[...] = 77
        convx.conv(guarded(x, at_end), guarded(w, at_end), out=y, algorithm=algorithm, **options)
        assert np.array_equal(y, expected)


@pytest.mark.parametrize("shape, taps", [((9, 40), (3, 3)), ((5, 333), (2, 5)), ((40, 17), (4, 1)),
                                         ((3, 6, 70), (2, 2, 3))])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_singles_of_double_sums_stay_inside(dtype, shape, taps):
    rng = np.random.default_rng(3)
    x, w = rng.standard_normal(shape).astype(dtype), rng.standard_normal(taps)
    for spoiled in (False, True):
        if spoiled:
            w.flat[0] = np.inf
        options = {"mode": "same", "dtype": "f4", "sums": "f8"}
        expected = convx.correlate(x, w, algorithm="reference", **options)
        for at_end, algorithm in product((True, False), ("stencil", "stencil_winograd")):
            if algorithm == "stencil_winograd" and taps[-1] == 1:  # one axis is left
                continue
            y = guarded(expected, at_end)
            convx.correlate(guarded(x, at_end), guarded(w, at_end), out=y, algorithm=algorithm, **options)
            assert np.array_equal(np.isfinite(y), np.isfinite(expected))
            finite = np.isfinite(expected)
            off = abs(y[finite] - expected[finite])
            assert (off <= np.finfo("f4").eps * (abs(x).max() * abs(w[np.isfinite(w)]).sum())).all()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_where_a_result_starts_does_not_matter(dtype):
    """Tiles begin where they meet cache lines: the bits, and what lies around, stay the same."""
    rng, width = np.random.default_rng(4), 704
    x, w = rng.standard_normal((13, width - 1)).astype(dtype), rng.standard_normal((3, 5)).astype(dtype)
    for padding in (0, (1, 2), (2, 1)):
        expected = convx.conv2d(x[None, None], w[None, None], padding=padding, algorithm="stencil")
        rows, columns = expected.shape[2:]
        for start in range(128 // x.itemsize + 1):
            room = np.full(rows * width + 200, 77, dtype)
            y = room[start:start + rows * width].reshape(1, 1, rows, width)[..., :columns]
            convx.conv2d(x[None, None], w[None, None], padding=padding, algorithm="stencil", out=y)
            assert np.array_equal(y, expected), (padding, start)
            y[...] = 77
            assert (room == 77).all(), (padding, start)


@pytest.mark.parametrize("width, taps, padding", [
    (330, (3, 3), (1, 1)), (321, (5, 4), (2, 2)), (300, (1, 7), (0, 3)), (224, (3, 3), (0, 1)), (210, (3, 41), (1, 40)),
    (260, (7, 9), (6, 0))])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_what_lies_beside_the_rows_is_not_used(dtype, width, taps, padding):
    """Long rows are read beyond their ends: nan lies there, or the next row, or (overlapping rows) an earlier one."""
    rng = np.random.default_rng(2)
    w = rng.standard_normal(taps).astype(dtype)
    around = np.full((28, width + 90), np.nan, dtype)
    around[2:-2, 45:-45] = rng.standard_normal((24, width))
    overlapping = np.lib.stride_tricks.as_strided(rng.standard_normal(width + 46).astype(dtype), (24, width),
                                                  (2 * w.itemsize, w.itemsize))
    for x in (around[2:-2, 45:-45], around[2:-2, 45:-45].copy(), overlapping):
        def call(weights, algorithm, x=x):
            return convx.conv2d(x[None, None], weights[None, None], padding=padding, algorithm=algorithm)[0, 0]

        padded = np.pad(x.astype("f8"), [(p, p) for p in padding])
        windows = np.lib.stride_tricks.sliding_window_view(padded, taps)
        expected, sizes = (np.einsum("ijkl,kl->ij", f(windows), f(w.astype("f8"))) for f in (np.asarray, np.abs))
        assert (abs(call(w, "stencil") - expected) <= (w.size + 2) * np.finfo(dtype).eps * sizes).all()
        infinite = w.copy()
        infinite[0, -1] = np.inf
        spoiled = call(infinite, "stencil")
        assert np.array_equal(np.isfinite(spoiled), np.isfinite(call(infinite, "reference")))
        assert np.array_equal(np.isnan(spoiled), np.isnan(call(infinite, "reference")))
