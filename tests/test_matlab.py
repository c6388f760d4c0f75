"""conv, conv2, convn, filter2 of convx.matlab against the definition of the index rule; published outputs; errors.

Whole numbers make every comparison an equality. tests/test_matlab_signal.py has the other functions.
"""

import doctest
import json
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from arrays import whole
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import convx
import convx.matlab
from convx.matlab import MatlabError, conv, conv2, convn, filter2

pytestmark = pytest.mark.once  # no matter which kernel row or build

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = json.loads((ROOT / "matlab_compat" / "fixtures" / "published.json").read_text(encoding="utf-8"))["cases"]
SHAPES = ("full", "same", "valid")
INTEGERS = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "?")


def published(value):
    """An argument or result of the file: a word, or numbers, of class double unless it says another."""
    if isinstance(value, dict):
        return np.array(value["value"], value["class"])
    return value if isinstance(value, str) else np.array(value, float)


@pytest.mark.parametrize("case", PUBLISHED, ids=lambda case: case["function"])
def test_published_outputs(case):
    function = getattr(convx.matlab, case["function"])
    arguments = [published(argument) for argument in case["arguments"]]
    count = len(case["results"])
    results = function(*arguments, **({"nargout": count} if count > 1 else {}))
    for found, printed in zip(results if count > 1 else [results], case["results"], strict=True):
        printed = published(printed)
        if "region" in case:
            top, bottom, left, right = case["region"]
            found = found[top - 1:bottom, left - 1:right]
        assert found.shape == printed.shape and found.dtype == printed.dtype
        if "decimals" in case:
            assert (abs(found - printed) <= 0.5000001 * 10.0 ** -case["decimals"]).all()
        else:
            assert np.array_equal(found, printed)


@pytest.mark.parametrize("function, arguments, most", [
    ("xcorr", ([1, 2], [3, 4]), 2), ("deconv", ([1, 2], [1]), 2),
    ("maxpool", (np.ones((4, 4)), 2, "DataFormat", "SS"), 3)])
def test_more_outputs_than_there_are(function, arguments, most):
    call = getattr(convx.matlab, function)
    assert len(call(*arguments, nargout=most)) == most
    with pytest.raises(MatlabError, match="Too many output arguments") as caught:
        call(*arguments, nargout=most + 1)
    assert caught.value.identifier == "MATLAB:TooManyOutputs"


def test_the_inputs_of_published_outputs_are_rands():
    stream = np.random.RandomState(5489).random_sample
    first = next(case for case in PUBLISHED if case["function"] == "conv2")["arguments"]
    assert round(first[0][0][0], 4) == 0.8147
    for argument in first:
        assert np.array_equal(stream(np.size(argument)).reshape(np.shape(argument), order="F"), argument)


@pytest.mark.parametrize("name", convx.matlab.__all__)
def test_functions_are_documented_and_their_examples_run(name):
    text = getattr(convx.matlab, name).__doc__
    assert text.split("\n\n")[0].strip().endswith(".") and "{" not in text.split("Examples")[0]
    if name != "MatlabError":
        for section in ("Parameters", "Returns", "Raises", "Notes", "Examples"):
            assert f"{section}\n    ---" in text
        assert re.search(r"\b(matlab|images|signal|deeplearning|nnet)/ref/\w|MatConvNet", text)
    said = []
    test = doctest.DocTestParser().get_doctest(text, {}, name, name, 0)
    result = doctest.DocTestRunner().run(test, out=said.append)
    assert result.attempted > 0 and result.failed == 0, "".join(said)


def test_the_room_is_imported_only_when_asked_for():
    code = ("import convx, sys; assert 'convx.matlab' not in sys.modules; import convx.matlab; "
            "assert 'scipy.signal' not in sys.modules and 'scipy.sparse' not in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_public_names_are_sorted_and_on_the_map():
    names = convx.matlab.__all__
    assert list(names) == sorted(names)
    assert all(name in convx.matlab.__doc__ for name in names)


def definition(a, b, shape):
    """The index rule by Python's numbers: a and b of equal rank, results exact."""
    full = np.zeros([max(m + n - 1, m, n) for m, n in zip(a.shape, b.shape, strict=True)], object)
    for i, j in product(np.ndindex(a.shape), np.ndindex(b.shape)):
        full[tuple(p + q for p, q in zip(i, j, strict=True))] += a[i].item() * b[j].item()
    sizes, cut = [], []
    for m, n in zip(a.shape, b.shape, strict=True):
        size, start = {"full": (full.shape[len(cut)], 0), "same": (m, n // 2),
                       "valid": (max(m - max(n - 1, 0), 0), n - 1)}[shape]
        sizes.append(size)
        cut.append(slice(start, start + size))
    if 0 in a.shape or 0 in b.shape:
        return np.zeros(sizes, object)
    return full[tuple(cut)].reshape(sizes)


def cut_ones(shape):
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


@st.composite
def operands(draw, ranks=(2, 3), most=5, dtypes=("f8", "f4", "c16", "c8", *INTEGERS)):
    """Two arrays of whole numbers, in any memory order, in sizes from 0 on."""
    found = []
    for seed in (1, 2):
        rank = draw(st.sampled_from(ranks))
        shape = tuple(draw(st.lists(st.integers(0, most), min_size=rank, max_size=rank)))
        dtype = draw(st.sampled_from(dtypes))
        least = 0 if np.dtype(dtype).kind in "u?" else -4
        a = whole(shape, draw(st.integers(0, 99)) + 100 * seed, dtype, least=least)
        found.append(np.array(a, order=draw(st.sampled_from("CF"))))
    return found


def class_of(a, b):
    """Rule 0.3."""
    single = any(x.dtype in ("f4", "c8") for x in (a, b))
    return {(False, False): "f8", (True, False): "f4", (False, True): "c16", (True, True): "c8"}[
        single, any(x.dtype.kind == "c" for x in (a, b))]


def agrees(found, expected, dtype):
    assert found.dtype == np.dtype(dtype) and found.shape == cut_ones(expected.shape)
    assert np.array_equal(found, expected.astype(dtype).reshape(found.shape))


@given(operands(), st.sampled_from(SHAPES))
def test_convn(pair, shape):
    a, b = pair
    rank = max(a.ndim, b.ndim)
    expected = definition(*(x.reshape(x.shape + (1,) * (rank - x.ndim)) for x in (a, b)), shape)
    agrees(convn(a, b, shape), expected, class_of(a, b))


@given(operands(ranks=(2,)), st.sampled_from(SHAPES))
def test_conv2_and_filter2(pair, shape):
    a, b = pair
    agrees(conv2(a, b, shape), definition(a, b, shape), class_of(a, b))
    agrees(filter2(b, a, shape), definition(a, b[::-1, ::-1], shape), class_of(a, b))  # no conjugate


@given(operands(ranks=(1,), most=8), st.sampled_from(SHAPES), st.booleans(), st.booleans())
def test_conv(pair, shape, u_row, v_row):
    u, v = pair
    expected = definition(u, v, shape)
    agrees(conv(u, v, shape)[None], expected[None], class_of(u, v))
    rows = [row or x.size == 1 for row, x in ((u_row, u), (v_row, v))]  # a scalar is both
    columns = [x.reshape((1, -1) if row else (-1, 1)) for x, row in zip((u, v), rows, strict=True)]
    is_row = rows[0] if shape != "full" or u.size > v.size else rows[1]
    agrees(conv(*columns, shape), expected.reshape((1, -1) if is_row else (-1, 1)), class_of(u, v))


@given(operands(ranks=(1,), most=4), operands(ranks=(2,)), st.sampled_from(SHAPES), st.booleans(), st.booleans())
def test_separable_conv2(vectors, planes, shape, u_row, v_row):
    u, v = (x.reshape((1, -1) if row else (-1, 1)) for x, row in zip(vectors, (u_row, v_row), strict=True))
    a = planes[0]
    outer = np.multiply.outer(u.reshape(-1).astype(object), v.reshape(-1).astype(object))
    dtype = class_of(u, v) if class_of(u, v) == class_of(v, a) else class_of(np.ones(0, class_of(u, v)), a)
    agrees(conv2(u, v, a, shape), definition(a, np.asarray(outer, complex if "c" in dtype else float), shape), dtype)
    assert np.array_equal(conv2(u, v, a, shape=shape), conv2(u, v, a, shape))


@pytest.mark.parametrize("taps", [(2, 2), (3, 2), (2, 3), (4, 5), (7, 6)])
def test_the_centre_of_the_kernel(taps):
    impulse, kernel = np.zeros((9, 9)), np.arange(1.0, taps[0] * taps[1] + 1).reshape(taps)
    impulse[4, 4] = 1
    assert conv2(impulse, kernel, "same")[4, 4] == kernel[taps[0] // 2, taps[1] // 2]
    assert filter2(kernel, impulse)[4, 4] == kernel[(taps[0] - 1) // 2, (taps[1] - 1) // 2]
    assert np.array_equal(conv2(impulse, kernel, "same"), scipy.ndimage.convolve(impulse, kernel, mode="constant"))
    assert np.array_equal(filter2(kernel, impulse), scipy.signal.correlate2d(impulse, kernel, "same"))


def test_documented_sizes():
    """The sizes and places that the pages and Octave name, apart from the rule."""
    plane, cube = whole((4, 4), 1), whole((2, 2, 2), 2)
    assert [convn(plane, cube, s).shape for s in SHAPES] == [(5, 5, 2), (4, 4), (3, 3, 0)]
    assert np.array_equal(convn(plane, cube, "same"), convn(plane, cube)[1:5, 1:5, 1])
    assert [convn(np.ones((4, 4, 3)), np.ones((2, 2)), s).shape for s in SHAPES] == [(5, 5, 3), (4, 4, 3), (3, 3, 3)]
    assert [convn(3, cube, s).shape for s in SHAPES] == [(2, 2, 2), (1, 1), (0, 0, 0)]
    assert convn(3, cube, "same")[0, 0] == 3 * cube[1, 1, 1]
    assert conv2(np.ones((2, 5)), np.ones((3, 3)), "valid").shape == (0, 3)
    empty = conv2(np.zeros((0, 0)), np.ones((3, 3)))
    assert empty.shape == (3, 3) and not empty.any()
    assert conv2(np.ones((2, 3)), np.zeros((0, 0)), "valid").shape == (2, 3)
    assert conv(np.ones((1, 2)), np.ones((1, 4)), "valid").shape == (1, 0)
    assert conv(np.ones((2, 1)), np.ones((1, 4)), "valid").shape == (0, 1)
    assert conv(np.ones((3, 1)), np.ones((1, 0)), "valid").shape == (3, 1)
    assert conv(np.ones((1, 3)), np.ones((3, 1))).shape == (5, 1) and conv(np.ones((3, 1)), np.ones((1, 3))).shape == (
        1, 5)


def test_orientation_of_flat_arguments():
    assert conv([1, 2], [3, 4]).shape == (3,) and conv(2, 3).tolist() == [6.0]
    assert conv([1, 2], [[3, 4]]).shape == (1, 3) and conv([1, 2], [[3], [4]]).shape == (3, 1)
    assert conv2([1, 2], [3, 4]).shape == (3,) and conv2([1, 2], [[3], [4]]).shape == (2, 2)
    assert convn([1, 2], np.ones((1, 1, 2))).shape == (1, 2, 2) and filter2([1, 1], [1, 2, 3]).shape == (3,)
    assert conv2([1, 1], [1, 1], [1, 2, 3]).shape == (2, 4)


def test_words_are_read_in_any_case():
    for shape in ("Same", "SAME"):
        assert conv2([1, 2, 3], [1, 1], shape).tolist() == conv([1, 2, 3], [1, 1], shape).tolist() == [3, 5, 3]


def test_integers_do_not_wrap_and_large_ones_are_rounded():
    full = np.full((3, 3), 255, np.uint8)
    assert conv2(full, full, "valid").item() == 9 * 255.0**2
    assert conv(np.array([2**53 + 1]), [1])[0] == 2.0**53
    assert conv(np.array([2**64 - 1], np.uint64), [1])[0] == 2.0**64
    assert conv(np.array([1e300]), np.array([1], np.float32)).tolist() == [np.inf]  # single, as MATLAB, no warning
    assert conv(np.array([True, True]), np.array([True, True])).tolist() == [1, 2, 1]


@pytest.mark.parametrize("order", "CF")
def test_memory_order_and_inputs_stay(order):
    a, b = np.array(whole((30, 40, 2), 3), order=order), np.array(whole((3, 4, 2), 4), order=order)
    before = a.copy(), b.copy()
    plane = np.array(a[..., 0], order=order)
    for y in (convn(a, b), convn(a, b, "same"), conv2(plane, b[..., 0]), filter2(b[..., 0], plane),
              conv2(b[:, 0, 0], b[0, :, 0], plane, "valid")):
        assert (y.flags.c_contiguous, y.flags.f_contiguous) == (order == "C", order == "F")
    assert np.array_equal(a, before[0]) and np.array_equal(b, before[1])


def test_sums_are_direct_unless_asked_otherwise():
    """Of whole numbers every digit is right at sizes where convx.convolve takes transforms."""
    a, b = whole((400, 400), 5), whole((65, 65), 6)
    assert convx.explain("convolve", a, b, mode="same", alignment="matlab").chosen == "fft"
    y = conv2(a, b, "same")
    assert np.array_equal(y, np.rint(y)) and np.array_equal(y[::97, ::89], [
        [(a[max(i - 32, 0):i + 33, max(j - 32, 0):j + 33]
          * b[::-1, ::-1][max(32 - i, 0):432 - i, max(32 - j, 0):432 - j]).sum() for j in range(0, 400, 89)]
        for i in range(0, 400, 97)])
    fast = conv2(a, b, "same", algorithm="auto")
    assert not np.array_equal(fast, y) and abs(fast - y).max() < 1e-12 * abs(a).max() * abs(b).sum()


PLANE, CUBE, ROW = np.ones((3, 3)), np.ones((2, 2, 2)), np.ones((1, 3))


@pytest.mark.parametrize("call, identifier, message", [
    (lambda: conv(PLANE, ROW), "MATLAB:conv:AorBNotVector", "A and B must be vectors."),
    (lambda: conv(ROW, CUBE), "MATLAB:conv:AorBNotVector", "A and B must be vectors."),
    (lambda: conv(np.zeros((0, 0)), ROW), "MATLAB:conv:AorBNotVector", "A and B must be vectors."),
    (lambda: conv(ROW, ROW, 3), "MATLAB:conv:unknownShapeParameter", "SHAPE must be 'full', 'same', or 'valid'."),
    (lambda: conv(ROW, ROW, "central"), "MATLAB:conv2:unknownShapeParameter",
     "SHAPE must be 'full', 'same', or 'valid'."),
    (lambda: conv2(PLANE, ROW, "central"), "MATLAB:conv2:unknownShapeParameter",
     "SHAPE must be 'full', 'same', or 'valid'."),
    (lambda: conv2(ROW, ROW, PLANE, "s"), "MATLAB:conv2:unknownShapeParameter", "SHAPE must be"),
    (lambda: convn(PLANE, PLANE, "s"), "MATLAB:convn:unknownShapeParameter", "SHAPE must be"),
    (lambda: filter2(PLANE, PLANE, 1), "MATLAB:conv2:unknownShapeParameter", "SHAPE must be"),
    (lambda: conv2(PLANE, ROW, PLANE), "MATLAB:conv2:firstTwoInputsNotVectors", "HCOL and HROW must be vectors."),
    (lambda: conv2(ROW, np.zeros((0, 0)), PLANE), "MATLAB:conv2:firstTwoInputsNotVectors", "HCOL and HROW"),
    (lambda: conv2("abc", ROW), "MATLAB:conv2:inputType", "A must be a full numeric or logical array, not char"),
    (lambda: conv2(PLANE, {"a": 1}), "MATLAB:conv2:inputType", "B must be .* not struct"),
    (lambda: conv2(PLANE, [[1, 2], [3]]), "MATLAB:conv2:inputType", "B must be .* not a cell array"),
    (lambda: conv2(sparse.eye_array(3), PLANE), "MATLAB:conv2:inputType", "A must be .* not sparse"),
    (lambda: conv2(CUBE, PLANE), "MATLAB:conv2:inputType", r"N-D arrays are not supported\."),
    (lambda: conv2(ROW, ROW, CUBE), "MATLAB:conv2:inputType", r"N-D arrays are not supported\."),
    (lambda: filter2(CUBE, PLANE), "MATLAB:conv2:inputType", r"N-D arrays are not supported\."),
    (lambda: convn(CUBE, sparse.eye_array(3)), "MATLAB:convn:SparseInput", "B must be .* not sparse"),
])
def test_errors(call, identifier, message):
    with pytest.raises(MatlabError, match=message) as caught:
        call()
    assert caught.value.identifier == identifier
