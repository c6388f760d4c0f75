"""Bad input to gradients, the transposed and the locally connected layer: one sentence, before anything is written."""

import numpy as np
import pytest
from arrays import whole
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

import convx

pytestmark = pytest.mark.once
X, W, DY = whole((2, 4, 9), 1), whole((6, 2, 3), 2), whole((2, 6, 7), 3)  # fit with groups=2
LOCAL = whole((7, 6, 2, 3), 4)
KEEP = 7.25


def refused(kind, parts, call, *arguments, out=None, **options):
    """The call raises `kind` in one sentence that holds every part, and leaves out as it was."""
    options = {"groups": 2} | options
    if out is None:
        out = np.full((2, 4, 9), KEEP)
    before = np.array(out)
    for _ in range(2):  # the second call meets whatever the first one cached
        with pytest.raises(kind) as caught:
            call(*arguments, out=out, **options)
        text = str(caught.value)
        assert text and "\n" not in text and len(text) < 300, text
        for part in parts:
            assert str(part) in text, (part, text)
        assert np.array_equal(out, before)


def grad_input(dy=DY, w=W, x_shape=X.shape, **options):
    return convx.conv_grad_input(dy, w, x_shape, **options)


def grad_weight(x=X, dy=DY, w_shape=W.shape, out=None, **options):
    return convx.conv_grad_weight(x, dy, w_shape, **options)


def transpose(dy=DY, w=W, **options):
    return convx.conv_transpose(dy, w, **options)


def test_dy_of_another_shape():
    for shape in ((2, 6, 8), (2, 6, 6), (3, 6, 7), (2, 5, 7), (6, 7), (2, 6, 7, 1), (0, 6, 7), ()):
        refused(ValueError, ["dy has shape", shape, (2, 6, 7)], grad_input, np.ones(shape))
        refused(ValueError, ["dy has shape", shape, (2, 6, 7)], grad_weight, X, np.ones(shape))
    refused(ValueError, ["dy has shape", (2, 4, 8)], convx.conv_transpose_grad_input, X[..., :8], W, DY.shape)
    refused(ValueError, ["dy has shape", (2, 4, 8)], convx.conv_transpose_grad_weight, DY, X[..., :8], W.shape)
    for call in (convx.locally_connected_grad_input,):
        refused(ValueError, ["dy has shape", (2, 6, 5)], call, DY[..., :5], LOCAL, X.shape)


@pytest.mark.parametrize("shape, kind, parts", [
    (9, TypeError, ["x_shape=9", "tuple"]), (None, TypeError, ["x_shape=None"]), ("249", TypeError, ["x_shape='249'"]),
    (b"249", TypeError, ["x_shape"]), (2.0, TypeError, ["x_shape"]), ((2, 4, 9.0), TypeError, ["x_shape", "float"]),
    ((2, 4, None), TypeError, ["x_shape"]), ((2, 4, "9"), TypeError, ["x_shape"]), (((2,), 9), TypeError, ["x_shape"]),
    ((2, 4, -9), ValueError, ["x_shape=-9"]), ((2, 4, 10**30), ValueError, [10**30]),
    ((2, 4, 2**61 - 1), ValueError, ["more bytes"]), ((2, 4, 2**63), ValueError, [2**63]),
    ((), ValueError, ["0 axes"]), ((2, 4), ValueError, [(2, 6, 7)]), ((2, 4, 9, 9), ValueError, ["4 axes"]),
    ((2, 5, 9), ValueError, ["5 channels", "groups=2"]), ((3, 4, 9), ValueError, [(3, 6, 7)]),
    ((2, 4, 2), ValueError, ["3 taps", "0 + 2 + 0"]), ({}, ValueError, ["0 axes"]),
])
def test_x_shape(shape, kind, parts):
    if shape == (2, 4):  # unbatched, two channels
        parts = ["channels"]
    refused(kind, parts, grad_input, DY, W, shape)


@pytest.mark.parametrize("size", [3, 40])  # a small one could be an option, a large one is none
def test_an_array_in_the_place_of_its_shape(size):
    x = np.ones((2, 4, size, size))
    for call in (lambda: convx.conv_grad_input(DY, W, x), lambda: convx.conv_grad_weight(X, DY, x),
                 lambda: convx.avg_pool_grad(x, DY, 2), lambda: convx.max_unpool(DY, DY.astype(int), x)):
        with pytest.raises(TypeError, match="_shape is a whole array: a shape is a tuple of integers"):
            call()


@pytest.mark.parametrize("shape, kind, parts", [
    (3, TypeError, ["w_shape=3", "tuple"]), (None, TypeError, ["w_shape=None"]), ((6, 2, 3.0), TypeError, ["w_shape"]),
    ((6, 2, -3), ValueError, ["w_shape=-3"]), ((6, 2), ValueError, ["2 axes"]), ((6, 2, 0), ValueError, ["one tap"]),
    ((6, 4, 3), ValueError, ["4 channels", "needs 8"]), ((5, 2, 3), ValueError, ["5 output channels"]),
    ((6, 2, 4), ValueError, [(2, 6, 7), (2, 6, 6)]), ((6, 2, 10**18), ValueError, ["spans"]),
    ((6, 2, 3, 3, 3), ValueError, ["x has 3 axes"]), ((8, 2, 3), ValueError, [(2, 8, 7)]),
])
def test_w_shape(shape, kind, parts):
    refused(kind, parts, grad_weight, X, DY, shape)


@pytest.mark.parametrize("options, parts", [
    ({"output_padding": 1}, ["from 9 to 9", 10]), ({"output_padding": 2, "stride": 2}, ["from 15 to 16", 17]),
    ({"output_padding": 10**15, "stride": 2}, ["from 15 to 16"]), ({"output_padding": -1}, ["output_padding=-1"]),
    ({"output_padding": 1, "output_shape": 16, "stride": 2}, ["output_padding=1", "output_shape=16"]),
    ({"output_shape": 14, "stride": 2}, ["from 15 to 16", 14]), ({"output_shape": 17, "stride": 2}, ["15 to 16", 17]),
    ({"output_shape": 15, "stride": 3, "padding": "same"}, ["from 19 to 21"]), ({"output_shape": -1}, ["=-1"]),
    ({"output_shape": (9, 9)}, ["2 entries", "1 spatial"]), ({"output_padding": ()}, ["0 entries"]),
    ({"padding": 9}, ["7 inputs", "inside the padding"]), ({"output_padding": 1, "padding": "same"}, ["7 to 7"]),
    ({"stride": 2**60}, ["many"]), ({"stride": 10**17, "padding": 1}, ["more bytes"]), ({"groups": 4}, ["groups=4"]),
    ({"output_shape": 2**61}, ["output_shape"]), ({"padding": (9, 9)}, ["padding has 2 entries"]),
])
def test_sizes_of_the_transposed_layer(options, parts):
    if options.get("stride") == 2**60:
        parts = ["bytes"]
    refused(ValueError, parts, transpose, **options)
    for call in (convx.conv_transpose_grad_input, convx.conv_transpose_grad_weight):
        given_arrays = (X, W, DY.shape) if call is convx.conv_transpose_grad_input else (DY, X, W.shape)
        refused(ValueError, parts, call, *given_arrays, **options)


def test_sizes_that_are_no_integers():
    for name in ("output_padding", "output_shape"):
        for bad in (1.0, "1", None if name == "output_padding" else 1j, (1.5,), ["1"], object()):
            refused(TypeError, [name], transpose, **{name: bad})


def test_channels():
    refused(ValueError, ["x has 5 channels", "6 output channels"], transpose, DY[:, :5])
    refused(ValueError, ["x has 3 axes", "3 spatial axes"], transpose, DY, W[..., None, None])
    refused(ValueError, ["conv_transpose2d needs 4"], convx.conv_transpose2d, DY, W)
    refused(ValueError, [4, "groups=1"], grad_input, groups=1)
    refused(ValueError, ["bias has shape (6,)", "4 output channels"], convx.conv_transpose, DY, W, np.ones(6))


def test_locally_connected():
    call = convx.locally_connected
    for shape in ((6, 6, 2, 3), (8, 6, 2, 3)):
        refused(ValueError, ["w has weights for", shape[0], "(7,)"], call, X, np.ones(shape))
    refused(ValueError, ["w has 3 axes", "even"], call, X, W)
    refused(ValueError, ["w has 2 axes", "four"], call, X, np.ones((6, 2)))
    for shape in ((7,), (6, 6), (2, 6, 7), (6, 7, 1), ()):
        refused(ValueError, ["bias has shape", shape, "(6,)", "(6, 7)"], call, X, LOCAL, np.ones(shape))
    refused(TypeError, ["bias", "complex128"], call, X, LOCAL, np.ones((6, 7), complex))
    refused(ValueError, ["w has weights for"], convx.locally_connected_grad_weight, X, DY, (6, 6, 2, 3))


def test_keywords_that_do_not_exist():
    for name in ("bogus", "rank", "local", "_make", "Stride", "x_shape", "bias"):
        for call, arguments in ((convx.conv_grad_weight, (X, DY, W.shape)), (convx.conv_transpose, (DY, W)),
                                (convx.locally_connected, (X, LOCAL)), (convx.conv_transpose1d, (DY, W))):
            if name != "bias":
                refused(TypeError, [f"{call.__name__}() got an unexpected keyword argument {name!r}"], call, *arguments,
                        **{name: 1})
        for call in (convx.conv_backward, convx.conv_transpose_backward, convx.locally_connected_backward):
            with pytest.raises(TypeError, match=rf"{call.__name__}\(\) got an unexpected keyword argument '{name}'"):
                call(X, W, DY, groups=2, **{name: 1})
    for name in ("out", "dtype", "overflow"):
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
            convx.conv_backward(X, W, DY, groups=2, **{name: None})
    for name in ("output_padding", "output_shape"):
        refused(TypeError, [name], grad_input, **{name: 1})
    for needed, other in (("x_shape", "input"), ("w_shape", "weight")):
        with pytest.raises(TypeError, match=f"conv_grad_{other} needs {needed}"):
            convx.plan(f"conv_grad_{other}", DY, W, groups=2)


def test_a_gradient_takes_no_bias():
    plan = convx.plan("conv_grad_input", DY, W, x_shape=X.shape, groups=2)
    for call in (lambda: plan(DY, W, np.ones(4)), lambda: plan.bind(W, np.ones(4))):
        with pytest.raises(TypeError, match="a gradient takes no bias"):
            call()


def test_out():
    refused(ValueError, ["out has shape (2, 4, 8)", "(2, 4, 9)"], grad_input, out=np.full((2, 4, 8), KEEP))
    refused(TypeError, ["float32", "float64"], grad_input, out=np.full((2, 4, 9), KEEP, "f4"))
    refused(ValueError, ["overlaps itself"], grad_input, out=as_strided(np.full(40, KEEP), (2, 4, 9), (8, 8, 8)))
    refused(ValueError, ["read-only"], grad_input, out=np.broadcast_to(KEEP, (2, 4, 9)))
    with pytest.raises(TypeError, match="ndarray"):
        grad_input(groups=2, out=[0.0])
    dy = np.full((2, 4, 9), KEEP)
    refused(ValueError, ["out overlaps dy"], grad_input, dy, whole((4, 2, 3)), (2, 4, 9), padding=1, out=dy)
    room = np.full(200, KEEP)
    x, w = room[:72].reshape(2, 4, 9), room[60:96].reshape(6, 2, 3)
    refused(ValueError, ["out overlaps x"], convx.conv_grad_weight, x, DY, w.shape, out=w)
    dy = room[:84].reshape(2, 6, 7)
    refused(ValueError, ["out overlaps x"], convx.conv_transpose_grad_weight, dy, X, W.shape, out=w)
    refused(ValueError, ["out overlaps dy"], convx.conv_transpose_grad_weight, DY, x, W.shape, out=w)


@pytest.mark.parametrize("bad", [np.array([[[object()]]]), np.array([[["a"]]]), np.zeros((1, 1, 1), "M8[s]"),
                                 np.zeros((1, 1, 1), [("a", "f8")])], ids=lambda a: a.dtype.kind)
def test_arrays_without_numbers(bad):
    one = np.ones((1, 1, 1))
    for name in ("conv", "conv_transpose"):
        for call in (lambda x, w, n=name: getattr(convx, n)(x, w),
                     lambda x, w, n=name: getattr(convx, f"{n}_grad_input")(x, w, (1, 1, 1)),
                     lambda x, w, n=name: getattr(convx, f"{n}_grad_weight")(x, w, (1, 1, 1))):
            for pair in ((bad, one), (one, bad)):
                with pytest.raises(TypeError, match="dtype"):
                    call(*pair)
    with pytest.raises(TypeError, match="dtype"):
        convx.conv_grad_bias(bad)


def test_integers_that_overflow():
    dy, w, x = np.full((1, 1, 2), 2**62), np.full((1, 1, 3), 3), np.full((1, 1, 4), -5)
    exact = {"u": [3 * 2**62, 6 * 2**62, 6 * 2**62, 3 * 2**62], "w": [-10 * 2**62] * 3}
    for letter, call in (("u", lambda **o: convx.conv_grad_input(dy, w, (1, 1, 4), **o)),
                         ("w", lambda **o: convx.conv_grad_weight(x, dy, (1, 1, 3), **o))):
        with pytest.raises(OverflowError, match="overflow='saturate'"):
            call()
        assert call(overflow="wrap").ravel().tolist() == [(v + 2**63) % 2**64 - 2**63 for v in exact[letter]]
        assert call(overflow="saturate").ravel().tolist() == [min(max(v, -2**63), 2**63 - 1) for v in exact[letter]]
        assert call(dtype="f8").ravel().tolist() == exact[letter]
    dy, w = np.ones((1, 1, 6), int), np.full((1, 1, 5), 2**60)  # each product fits, the folded sums do not
    edge = convx.conv_grad_input(dy, w, (1, 1, 2), padding=4, boundary="edge", overflow="saturate")
    assert edge.ravel().tolist() == [2**63 - 1] * 2


@pytest.mark.parametrize("n, g, c, m, sizes", [(0, 1, 2, 3, (5, 6)), (2, 1, 0, 3, (5, 6)), (2, 1, 2, 0, (5, 6)),
                                               (2, 2, 0, 0, (5,)), (0, 1, 0, 0, (4,))])
@pytest.mark.parametrize("dtype", ["f4", "c16", "i8"])
def test_empty_batches_and_channels(n, g, c, m, sizes, dtype):
    x, w = np.ones((n, g * c, *sizes), dtype), np.ones((g * m, c, *(3 for _ in sizes)), dtype)
    for options in ({}, {"padding": 2, "boundary": "edge"}, {"padding": "same", "stride": 2}):
        options = options | {"groups": g}
        y = convx.conv(x, w, **options)
        for dx in (convx.conv_grad_input(y, w, x.shape, **options),
                   convx.conv_transpose(y, w, output_shape=sizes, **options)):
            assert dx.shape == x.shape and not dx.any()
        dx, dw, db = convx.conv_backward(x, w, y, **options)
        assert dw.shape == w.shape and db.shape == (g * m,) and not dw.any()
        biased = convx.conv_transpose(y, w, np.arange(g * c), output_shape=sizes, **options)
        if m == 0:
            assert (biased == np.arange(g * c).reshape(-1, *(1 for _ in sizes))).all()


def test_axes_of_size_zero():
    w = np.ones((3, 2, 2))
    assert convx.conv_transpose(np.ones((1, 3, 0)), w, stride=2).shape == (1, 2, 0)
    dx = convx.conv_grad_input(np.ones((1, 3, 3)), w, (1, 2, 0), padding=2)
    assert dx.shape == (1, 2, 0)
    assert not convx.conv_grad_weight(np.ones((1, 2, 0)), np.ones((1, 3, 3)), w.shape, padding=2).any()
    for padding in ("same", "same_lower"):
        assert convx.conv_grad_input(np.ones((1, 3, 0)), w, (1, 2, 0), padding=padding).shape == (1, 2, 0)
        for c, m, stride in ((2, 3, 1), (1, 3, 2), (3, 1, 2), (1, 1, 3)):
            found = convx.conv_grad_weight(np.ones((2, c, 0)), np.ones((2, m, 0)), (m, c, 3), padding=padding,
                                           stride=stride)
            assert found.shape == (m, c, 3) and not found.any()


BIG = (10**6, 10**9, 10**15, 2**31, 2**60, 2**61 - 1, 2**62, 2**63, 10**30)


@st.composite
def wild_calls(draw):
    """A function, arguments that mostly fit, and numbers of any size; arrays are views of one number."""
    name, rank = draw(st.sampled_from(("conv", "conv_transpose", "locally_connected"))), draw(st.integers(1, 3))
    wild = draw(st.integers(0, 2)) == 0

    def number(low, high):
        return draw(st.sampled_from((-1, *BIG)) if wild and draw(st.integers(0, 9)) == 0 else st.integers(low, high))

    n, g, c, m = draw(st.integers(0, 2)), draw(st.integers(1, 2)), draw(st.integers(0, 2)), draw(st.integers(0, 2))
    options, out = {"groups": g, "stride": [], "dilation": [], "padding": []}, []
    size, taps = [number(0, 6) for _ in range(rank)], [draw(st.integers(1, 3)) for _ in range(rank)]
    for a in range(rank):
        stride, dilation, pad = number(1, 3), number(1, 2), (number(0, 3), number(0, 3))
        for key, value in (("stride", stride), ("dilation", dilation), ("padding", pad)):
            options[key].append(value)
        out.append(max((size[a] + sum(pad) - dilation * (taps[a] - 1) - 1) // max(stride, 1) + 1, 0))
    options["boundary"] = draw(st.sampled_from(("constant", "constant", "edge", "reflect", "symmetric", "wrap")))
    if draw(st.integers(0, 4)) == 0:
        out = [draw(st.integers(0, 5)) for _ in out]
    u, v, w = [n, g * c, *size], [n, g * m, *out], [*(out if name == "locally_connected" else []), g * m, c, *taps]
    x, y = (v, u) if name == "conv_transpose" else (u, v)
    if name == "conv_transpose" and draw(st.booleans()):
        options["output_shape"] = size
    kind = draw(st.sampled_from(("", "_grad_input", "_grad_weight")))
    shapes, last = {"": ((x, w), ()), "_grad_input": ((y, w), (x,)), "_grad_weight": ((x, y), (w,))}[kind]
    return name + kind, shapes, last, options


@settings(max_examples=400)
@given(wild_calls())
def test_any_numbers_give_a_gradient_or_a_sentence(call):
    name, shapes, last, options = call
    if any(max(shape) > 10**5 or np.prod(shape, dtype=object) > 10**5 for shape in (*shapes, *last)):
        shapes = [[min(max(n, 0), 50) for n in shape] for shape in shapes]  # so only what is asked is large
    try:
        found = getattr(convx, name)(*(np.broadcast_to(1.0, shape) for shape in shapes), *map(tuple, last), **options)
    except (ValueError, TypeError, OverflowError, MemoryError) as error:
        assert str(error) and "\n" not in str(error)
        return
    if last:
        assert found.shape == tuple(last[0])
