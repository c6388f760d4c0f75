"""conv_transpose and locally_connected as layers: sizes by formula, the transposed matrix, bias, plans."""

from itertools import product

import numpy as np
import problems
import pytest
from arrays import whole
from hypothesis import given
from hypothesis import strategies as st
from layers import Bounds, cases

import convx

pytestmark = pytest.mark.once
SIZES = (1, 2, 3, 5, 8)


def transposed_size(size, taps, **options):
    return convx.conv_transpose(np.ones((1, 1, size)), np.ones((1, 1, taps)), **options).shape[2]


def test_size_without_a_word():
    for size, taps, stride, dilation, before, after in product(SIZES, (1, 3, 4), (1, 2, 3), (1, 2), (0, 1), (0, 1)):
        smallest = stride * (size - 1) + dilation * (taps - 1) + 1 - before - after
        if smallest < 0:
            continue
        options = {"stride": stride, "dilation": dilation, "padding": ((before, after),)}
        for more in range(max(stride, dilation)):
            assert transposed_size(size, taps, output_padding=more, **options) == smallest + more
            assert transposed_size(size, taps, output_shape=smallest + more, **options) == smallest + more
        for bad in (max(stride, dilation), max(stride, dilation) + 1):
            with pytest.raises(ValueError, match=f"make from {smallest} to "):
                transposed_size(size, taps, output_padding=bad, **options)


@pytest.mark.parametrize("padding", ["same", "same_lower"])
def test_same_makes_stride_times_the_size(padding):
    # TensorFlow's rule for padding="SAME" and ONNX's for auto_pad=SAME_UPPER without an output shape.
    for size, taps, stride, dilation in product(SIZES, (1, 2, 3, 4, 5), (1, 2, 3, 4), (1, 2)):
        assert transposed_size(size, taps, stride=stride, dilation=dilation, padding=padding) == stride * size


@pytest.mark.parametrize("padding", ["same", "same_lower"])
def test_same_takes_every_size_that_its_convolution_makes_so(padding):
    for size, taps, stride in product(SIZES, (1, 2, 4), (1, 2, 3)):
        for wanted in range(stride * (size - 1) + 1, stride * size + 1):
            x, w = whole((1, 1, size), 1, int), whole((1, 1, taps), 2, int)
            y = convx.conv_transpose(x, w, stride=stride, padding=padding, output_shape=wanted)
            u = whole((1, 1, wanted), 3, int)
            assert (convx.conv(u, w, stride=stride, padding=padding) * x).sum() == (u * y).sum()


def test_valid_is_tensorflows_size_unless_the_kernel_is_shorter_than_the_stride():
    for size, taps, stride in product(SIZES, (1, 2, 3), (1, 2, 3)):
        want = size * stride + max(taps - stride, 0)  # TensorFlow, padding="VALID"
        more = max(stride - taps, 0)
        assert transposed_size(size, taps, stride=stride, output_padding=more) == want


def test_full_is_the_transpose_of_full():
    for size, taps in ((1, 1), (4, 2), (7, 4)):
        assert transposed_size(size, taps, padding="full") == size - taps + 1


def matrix(function, shape):
    """The matrix of a linear map of arrays of this shape."""
    units = np.eye(int(np.prod(shape)), dtype=int).reshape(-1, *shape)
    return np.array([function(unit[None])[0].ravel() for unit in units]).T


@given(cases(operators=("conv_transpose",), ranks=(1, 2)))
def test_its_matrix_is_the_transposed_one(case):
    arrays = case.arrays("i8")
    w, keywords = case.user("w", arrays["w"]), case.keywords()
    del keywords["output_shape"]
    u, v = ((case.g * case.shape(name)[2], *case.shape(name)[3:]) for name in "uv")
    forward = matrix(lambda x: convx.conv(x, w, **keywords), u)
    assert np.array_equal(matrix(lambda x: convx.conv_transpose(x, w, **case.keywords()), v), forward.T)


@given(cases(operators=("conv_transpose", "locally_connected"), ranks=(1, 2, 3)), st.booleans())
def test_a_bias_is_added_once(case, exact):
    letter = {"conv_transpose": "u"}.get(case.operator, "v")
    arrays = case.arrays("i8" if exact else "f8")
    plain = case.call(letter, arrays)
    channels = case.g * plain.shape[2]
    bias = np.arange(1, channels + 1) * 3
    x = case.user({"u": "v", "v": "u"}[letter], arrays[{"u": "v", "v": "u"}[letter]])
    w = case.user("w", arrays["w"])
    function = getattr(convx, case.operator)
    y = case.canonical(letter, function(x, w, bias, **case.keywords()))
    want = plain + bias.reshape(case.g, -1, *(1 for _ in case.axes))
    if exact:
        assert np.array_equal(y, want)
    else:
        bound = Bounds(case, letter, arrays).elements + 4 * np.finfo(float).eps * (abs(plain) + abs(want))
        problems.assert_close(y, want, bound)


@given(cases(operators=("locally_connected",), ranks=(1, 2, 3), layouts=("NCHW", "NHWC", "HWCN")))
def test_a_bias_per_unit_is_added_to_its_unit(case):
    arrays = case.arrays("i8")
    x, w = case.user("u", arrays["u"]), case.user("w", arrays["w"])
    y = convx.locally_connected(x, w, **case.keywords())
    at = case.order("v").index(0)
    bias = whole(y.shape if not case.batched else tuple(n for a, n in enumerate(y.shape) if a != at), 5, int)
    want = y + (bias if not case.batched else np.expand_dims(bias, at))
    assert np.array_equal(convx.locally_connected(x, w, bias, **case.keywords()), want)
    assert np.array_equal(convx.plan("locally_connected", x, w, **case.keywords()).bind(w, bias)(x), want)
    layout = case.layout if case.batched else case.layout.replace("N", "")
    if case.batched or case.layout != "HWCN":
        db = convx.locally_connected_grad_bias(y, layout=layout, per_unit=True)
        assert np.array_equal(db, y if not case.batched else y.sum(at))


@given(cases(operators=("conv",), ranks=(1, 2), cval=True))
def test_equal_weights_everywhere_are_a_convolution(case):
    arrays = case.arrays("i8")
    out = tuple(axis[2] for axis in case.axes)
    x, w = case.user("u", arrays["u"]), case.user("w", arrays["w"])
    local = np.broadcast_to(w, (*out, *w.shape))
    keywords = case.keywords()
    y = convx.conv(x, w, **keywords)
    assert np.array_equal(convx.locally_connected(x, local, **keywords), y)
    assert np.array_equal(convx.locally_connected_grad_input(y, local, x.shape, **keywords),
                          convx.conv_grad_input(y, w, x.shape, **keywords))
    dw = convx.locally_connected_grad_weight(x, y, local.shape, **keywords)
    assert np.array_equal(dw.sum(tuple(range(len(out)))), convx.conv_grad_weight(x, y, w.shape, **keywords))


@pytest.mark.parametrize("layout, dy, want", [
    (None, (2, 3, 4), (3,)), (None, (2, 3, 4, 5, 6), (3,)), (None, (3, 4), (3,)), ("NHWC", (2, 4, 5, 3), (3,)),
    ("NWC", (4, 3), (3,)), ("HWCN", (4, 5, 3, 2), (3,)), ("CHW", (3, 4, 5), (3,)), ("HWC", (4, 5, 3), (3,)),
    ("WC", (4, 3), (3,)), ("NDHWC", (2, 4, 5, 6, 3), (3,)),
])
def test_gradient_of_the_bias_in_any_layout(layout, dy, want):
    words = {"C": want[0]}
    found = convx.conv_grad_bias(np.ones(dy, int), layout=layout)
    assert found.tolist() == [np.prod(dy) // words["C"]] * words["C"]
    assert np.array_equal(convx.conv_transpose_grad_bias(np.ones(dy, int), layout=layout), found)


def test_gradient_of_the_bias_is_not_summed_in_half_precision():
    dy = np.ones((1, 6000, 2), np.float16)
    for layout, a in (("NWC", dy), (None, dy.transpose(0, 2, 1)), (None, dy.transpose(1, 2, 0))):
        db = convx.conv_grad_bias(a, layout=layout)
        assert db.dtype == np.float16 and db.tolist() == [6000, 6000]


def test_gradient_of_the_bias_of_integers_is_exact_or_an_error():
    top = np.array([[[2**62, 2**62 - 1]]])
    assert convx.conv_grad_bias(top).tolist() == [2**63 - 1]
    assert convx.conv_grad_bias(np.array([[[2**63 - 1, 2**63 - 1, -2**63, -2**63]]])).tolist() == [-2]
    with pytest.raises(OverflowError, match="9223372036854775808"):
        convx.conv_grad_bias(top + np.array([0, 1]))
    wide = convx.conv_grad_bias(np.full((1, 2, 2), 2**63 - 1, np.uint64))
    assert wide.dtype == np.uint64 and wide.tolist() == [2**64 - 2] * 2
    assert convx.conv_grad_bias(np.ones((2, 3, 4), bool)).tolist() == [8, 8, 8]
