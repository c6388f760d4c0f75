"""Arrays in every form of memory, as operands and as out; empty ones, and ones far larger than memory."""

from itertools import product

import numpy as np
import pytest
from arrays import LAYOUTS, expected, whole, writable, zoo

import convx


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128, np.int32, np.uint8, bool,
                                   np.float16, np.longdouble])
def test_every_form_of_memory(dtype):
    least = 0 if np.dtype(dtype).kind in "ub" else -4
    x, w = whole((2, 4, 6, 7), 29, dtype, least), whole((4, 2, 3, 2), 30, dtype, least)
    y = convx.conv(x, w, groups=2, padding=1)
    for name, form in zoo(x):
        assert np.array_equal(convx.conv(form, w, groups=2, padding=1), y), f"x {name}"
    for name, form in zoo(w):
        assert np.array_equal(convx.conv(x, form, groups=2, padding=1), y), f"w {name}"
    for (name, form), (w_name, w_form) in product(zoo(x), zoo(w)):
        if name != "list" and w_name != "list":
            got = convx.conv(form, w_form, groups=2, padding=1)
            assert got.dtype == y.dtype and np.array_equal(got, y), (name, w_name)


@pytest.mark.parametrize("algorithm", ["auto", "direct", "reference"])
def test_broadcast_arrays_are_ordinary_arrays(algorithm):
    x, w = np.ones((3, 4, 9, 9)), np.full((4, 2, 3, 3), 2.0)
    y = expected(x, w, (1, 1), 1, (1, 1), groups=2)
    for (name, form), (w_name, w_form) in product(zoo(x), zoo(w)):
        got = convx.conv(form, w_form, groups=2, padding=1, algorithm=algorithm)
        assert np.array_equal(got, y), (name, w_name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.int64, np.float16, np.longdouble])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_out_of_any_strides(dtype, layout):
    order = LAYOUTS[layout][0](2)
    x, w = whole((2, 3, 6, 33), 31, dtype), whole((4, 3, 3, 3), 32, dtype)
    y = convx.conv(x, w, padding=1).transpose(order)
    for name, out in writable(np.full(y.shape, 77, y.dtype)):
        got = convx.conv(x.transpose(order), w, padding=1, layout=layout, w_layout="OIHW", out=out)
        assert got is out, name
        assert np.array_equal(out, y), name
        if name == "sliced":  # what lies between the elements of out stays
            kept = np.ones(out.base.shape, bool)
            kept[(slice(1, None, 2),) * 4] = False
            between = out.base[kept]
            assert np.isnan(between).all() if y.dtype.kind in "fc" else (between == 1).all()


def test_fortran_in_fortran_out():
    x, w = np.asfortranarray(whole((7, 8, 3, 2), 33)), np.asfortranarray(whole((3, 3, 3, 4), 34))
    y = convx.conv(x, w, layout="HWCN")
    assert y.shape == (5, 6, 4, 2)
    assert y.flags.f_contiguous and not y.flags.c_contiguous
    want = expected(x.transpose(3, 2, 0, 1), w.transpose(3, 2, 0, 1), (1, 1), 0, (1, 1))
    assert np.array_equal(y, want.transpose(2, 3, 1, 0))
    assert convx.conv(x.astype(np.int8), w.astype(np.int8), layout="HWCN").flags.f_contiguous
    assert convx.conv(np.ascontiguousarray(x), w, layout="HWCN").flags.c_contiguous


def test_the_inputs_are_left_alone():
    x, w, bias = whole((1, 2, 6, 6), 35, np.complex64), whole((2, 2, 3, 3), 36, np.complex64), whole((2,), 37)
    copies = x.copy(), w.copy(), bias.copy()
    convx.conv(x, w, bias, padding=1, flip=True)
    assert all(np.array_equal(a, b) for a, b in zip((x, w, bias), copies, strict=True))
    y = convx.conv(x, w[:, :, :1, :1] * 0 + 1)
    assert not np.shares_memory(y, x)


@pytest.mark.parametrize("dtype", [np.float32, np.complex128, np.int16, np.float16, np.longdouble, bool])
@pytest.mark.parametrize("algorithm", ["auto", "direct", "reference"])
def test_empty_sums_and_empty_results(dtype, algorithm):
    if algorithm == "direct" and dtype == np.longdouble:
        algorithm = "reference"  # not compiled
    run = lambda x, w, bias=None, **options: convx.conv(  # noqa: E731
        np.ones(x, dtype), np.ones(w, dtype), bias, algorithm=algorithm, **options)
    wide = run((1, 1, 1), (1, 1, 1)).dtype
    bias = np.array([1, 0, 1], dtype)
    assert run((0, 2, 5, 5), (3, 2, 3, 3)).shape == (0, 3, 3, 3)
    assert run((2, 2, 5, 5), (0, 2, 3, 3)).shape == (2, 0, 3, 3)
    # No input channel: every sum is empty, so y is the bias, or zero.
    y = run((2, 0, 5, 5), (3, 0, 3, 3))
    assert y.shape == (2, 3, 3, 3) and y.dtype == wide and not y.any()
    y = run((2, 0, 5, 5), (3, 0, 3, 3), bias, padding=1)
    assert np.array_equal(y, np.broadcast_to(bias.reshape(3, 1, 1), (2, 3, 5, 5)))
    assert run((0, 5, 5), (3, 0, 3, 3)).shape == (3, 3, 3)
    assert run((2, 0, 5), (4, 0, 3), groups=2).shape == (2, 4, 3)
    # An axis of size 0: nothing to say under 'same', padding alone under numbers.
    assert run((2, 2, 0, 5), (3, 2, 3, 3), padding="same").shape == (2, 3, 0, 5)
    y = run((2, 2, 0, 5), (3, 2, 2, 3), bias, padding=(1, 0))
    assert np.array_equal(y, np.broadcast_to(bias.reshape(3, 1, 1), (2, 3, 1, 3)))
    y = run((1, 2, 0), (1, 2, 3), padding=(2,), cval=1)
    assert y.shape == (1, 1, 2) and (y == 6).all()


def test_empty_out_is_returned():
    out = np.empty((0, 3, 3, 3))
    assert convx.conv(np.ones((0, 2, 5, 5)), np.ones((3, 2, 3, 3)), out=out) is out
    out = np.full((1, 3, 3, 3), 7.0)
    assert convx.conv(np.ones((1, 0, 5, 5)), np.ones((3, 0, 3, 3)), out=out) is out
    assert not out.any()


def test_far_padding_costs_nothing():
    x, w = np.arange(1.0, 6).reshape(1, 1, 5), np.array([[[1.0, 10.0, 100.0]]])
    far = 10**15
    # Only the centre tap ever meets the array.
    assert np.array_equal(convx.conv(x, w, dilation=far, padding="same"), 10 * x)
    assert convx.conv(x, w, padding=far, stride=far).tolist() == [[[0, 321, 0]]]
    wrapped = convx.conv(x, w, padding=far, stride=far, boundary="wrap")  # 10**15 is a multiple of 5
    assert wrapped.tolist() == [[[321, 321, 321]]]


def test_one_array_in_many_places_is_not_copied_out():
    # Sixteen terabytes of the same four bytes: any copy would fail.
    x = np.broadcast_to(np.float32(1), (1, 1, 2**42))
    assert convx.conv(x, np.ones((1, 1, 3), np.float32), stride=2**40).tolist() == [[[3, 3, 3, 3]]]


def test_bias_may_lie_in_out():
    # The bias is read before its memory is written, or the call is refused.
    x, w = np.ones((1, 4, 4, 1), np.float32), np.ones((8, 1, 1, 1), np.float32)
    out = np.zeros((1, 4, 4, 8), np.float32)
    out[0, 0, 0] = np.arange(8)
    try:
        convx.conv(x, w, out[0, 0, 0], layout="NHWC", out=out)
    except ValueError as error:
        assert "bias" in str(error)
        assert np.array_equal(out[0, 0, 0], np.arange(8)) and not out[0, 1:].any()
    else:
        assert np.array_equal(out, np.broadcast_to(1 + np.arange(8.0), out.shape))
