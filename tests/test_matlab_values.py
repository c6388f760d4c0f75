"""The common ground of convx.matlab: what becomes of arguments and results, classes, words, errors."""

import pickle
from fractions import Fraction
from math import floor, isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from convx.matlab import MatlabError
from convx.matlab._values import float_class, returned, saturated, stripped, values, whole, word

pytestmark = pytest.mark.once  # no matter which kernel row or build

INTEGERS = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8")


def test_arrays_become_matlabs():
    (a, b, c), flat = values("id", a=3, b=[1, 2, 3], c=np.ones(0))
    assert (a.shape, b.shape, c.shape, flat) == ((1, 1), (1, 3), (1, 0), True)
    assert returned(b, flat).shape == (3,) and returned(b, False).shape == (1, 3)
    assert returned(np.ones((2, 1)), True).shape == (2, 1)
    _, flat = values("id", a=np.ones(2), b=np.ones((1, 2)))
    assert not flat
    for shape, kept in (((3, 3, 1), (3, 3)), ((3, 1, 1, 1), (3, 1)), ((1, 1, 2, 1), (1, 1, 2)), ((0, 0, 0), (0, 0, 0)),
                        ((3, 3, 0, 1), (3, 3, 0))):
        assert stripped(np.ones(shape)).shape == kept


@pytest.mark.parametrize("order", "CF")
def test_nothing_is_copied(order):
    a = np.ones((3, 4, 2, 1), order=order)
    for view in (stripped(a), stripped(a[::2, ::-1]), stripped(a[0, 0, :, 0])):
        assert np.shares_memory(view, a)
    assert stripped(a).flags.f_contiguous == (order == "F")


@pytest.mark.parametrize("argument, kind", [
    ("text", "char"), (np.array(["a"]), "char"), (b"a", "char"), ([[1, 2], [3]], "a cell array"), ([1, "a"], "a cell"),
    ({"a": 1}, "struct"), (None, "NoneType"), (sparse.eye_array(3), "sparse"), (sparse.coo_matrix((2, 2)), "sparse"),
])
def test_what_is_no_full_numeric_array(argument, kind):
    with pytest.raises(MatlabError, match=f"first must be a full numeric or logical array, not {kind}") as caught:
        values("MATLAB:some:thing", first=argument)
    assert caught.value.identifier == "MATLAB:some:thing"
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.identifier, str(again)) == (caught.value.identifier, str(caught.value))
    assert isinstance(caught.value, ValueError)


def test_classes():
    for dtype in ("?", *INTEGERS, "f8"):
        assert float_class(np.ones(1, dtype)) == np.float64
        assert float_class(np.ones(1, dtype), np.ones(1, "f4")) == np.float32
        assert float_class(np.ones(1, dtype), np.ones(1, "c8")) == np.complex64
        assert float_class(np.ones(1, dtype), np.ones(1, "c16")) == np.complex128
    assert float_class(np.ones(1, "c16"), np.ones(1, "f4")) == np.complex64
    assert float_class(np.ones(1, "f2")) == np.float32 and float_class(np.ones(1, "g")) == np.float64


def test_words():
    options = {"identifier": "a:b", "message": "No."}
    assert word("Same", ("full", "same"), **options) == "same"
    for wrong in ("sam", "", 3, None, ["same"]):
        with pytest.raises(MatlabError, match=r"^No\.$"):
            word(wrong, ("full", "same"), **options)
    assert word("S", ("full", "same"), abbreviated=True, **options) == "same"
    for wrong in ("", "c", "circularly"):
        with pytest.raises(MatlabError):
            word(wrong, ("corr", "conv", "circular"), abbreviated=True, **options)


def test_whole_numbers():
    assert [whole(n, "n", identifier="a:b") for n in (3, 3.0, np.uint8(3), [[3.0]], True)] == [3, 3, 3, 3, 1]
    for wrong in (2.5, np.nan, np.inf, [1, 2], [], 1j, -1, "3"):
        with pytest.raises(MatlabError):
            whole(wrong, "n", identifier="a:b")


def nearest(value, dtype):
    """MATLAB's conversion of one float, by exact fractions."""
    limits = np.iinfo(dtype)
    if isnan(value):
        return 0
    if abs(value) == float("inf"):
        return int(limits.max if value > 0 else limits.min)
    exact = Fraction(value)
    rounded = floor(abs(exact) + Fraction(1, 2)) * (1 if exact >= 0 else -1)
    return min(max(rounded, int(limits.min)), int(limits.max))


SPOTS = [0.0, -0.0, 0.5, -0.5, 1.5, 2.5, -2.5, 0.49999999999999994, -0.49999999999999994, 254.5, 255.5, 127.5, -128.5,
         -129.0, 300.0, -1.0, 2.0**52 + 0.5, 2.0**53, 2.0**63, 2.0**63 - 1024, -2.0**63, 2.0**64, 2.0**64 - 2048, 1e300,
         -1e300, float("inf"), float("-inf"), float("nan")]


@pytest.mark.parametrize("dtype", INTEGERS)
@given(st.lists(st.floats() | st.floats(-300, 300) | st.integers(-300, 300).map(lambda n: n / 2), max_size=20))
def test_conversion_to_integers(dtype, drawn):
    for single in (False, True):
        with np.errstate(over="ignore"):
            numbers = np.array(SPOTS + drawn).astype(np.float32 if single else np.float64)
        before = numbers.copy()
        found = saturated(numbers, dtype)
        assert found.dtype == np.dtype(dtype) and np.array_equal(numbers, before, equal_nan=True)
        assert found.tolist() == [nearest(float(number), dtype) for number in numbers]
    assert saturated(np.asfortranarray(np.ones((2, 3))), dtype).flags.f_contiguous
