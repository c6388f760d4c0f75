"""Bad input: one sentence with the numbers in it, before anything is written; and junk of every kind."""

import subprocess
import sys
from math import prod

import numpy as np
import pytest
from arrays import plain, whole
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

import convx

X, W = whole((2, 6, 9, 8), 1), whole((4, 3, 3, 2), 2)  # fits with groups=2
KEEP = 7.25


def refused(kind, parts, x=X, w=W, bias=None, out=None, call=convx.conv, **options):
    """The call raises `kind` in one sentence that holds every part, and leaves out as it was."""
    given_out = out is not None
    if not given_out:
        out = np.full((2, 4, 7, 7), KEEP)
    before = np.array(out, copy=True)
    for attempt in range(2):  # the second call meets whatever the first one cached
        try:
            call(x, w, bias, out=out, **options)
        except kind as error:
            assert not isinstance(error, OverflowError if kind is not OverflowError else ()), error
            text = str(error)
        else:
            pytest.fail("no error")
        assert text and "\n" not in text and len(text) < 300, text
        for part in parts:
            assert str(part) in text, (attempt, part, text)
        assert np.array_equal(out, before)


GROUPED = {"groups": 2}


@pytest.mark.parametrize("x, w, options, parts", [
    ((6, 9), (4, 3, 3, 2), {}, ["x has 2 axes", 4, 3]),
    ((1, 2, 6, 9, 8), (4, 3, 3, 2), {}, ["x has 5 axes", 4]),
    ((), (4, 3, 3), {}, ["x has 0 axes", 3]),
    ((2, 6), (4, 3), {}, ["w has 2 axes", "three"]),
    ((2, 6), (), {}, ["w has 0 axes"]),
    ((2, 6, 9, 8), (4, 3, 3, 2), {}, [6, 3, "groups=1", "needs 3"]),
    ((2, 6, 9, 8), (4, 3, 3, 2), {"groups": 3}, [6, "groups=3", "needs 9"]),
    ((2, 6, 9, 8), (5, 3, 3, 2), GROUPED, ["5 output channels", "groups=2"]),
    ((2, 6, 9, 8), (4, 6, 3, 2), {"layout": "NHWC"}, ["8 channels", "2 per group"]),
    ((2, 6, 9, 8), (4, 3, 10, 2), GROUPED, ["spatial axis 0", "10 taps", "0 + 9 + 0 = 9"]),
    ((2, 6, 9, 8), (4, 3, 3, 9), GROUPED, ["spatial axis 1", "9 taps", "0 + 8 + 0 = 8"]),
    ((2, 6, 9, 8), (4, 3, 3, 2), {"groups": 2, "dilation": (5, 1)}, ["spans 11", "dilation 5", "= 9"]),
    ((2, 6, 9, 8), (4, 3, 3, 2), {"groups": 2, "dilation": 10**18}, [10**18, "spans 2000000000000000001"]),
    ((2, 6, 9, 8), (4, 3, 12, 2), {"groups": 2, "padding": ((2, 0), 0)}, ["12 taps", "2 + 9 + 0 = 11"]),
    ((2, 6, 0, 8), (4, 3, 3, 2), GROUPED, ["3 taps", "0 + 0 + 0"]),
    ((2, 6, 0, 8), (4, 3, 3, 2), {"groups": 2, "padding": 2, "boundary": "edge"}, ["'edge'", "size 0"]),
    ((2, 6, 9, 8), (4, 3, 0, 2), GROUPED, ["(4, 3, 0, 2)", "at least one tap"]),
])
def test_shapes_that_do_not_fit(x, w, options, parts):
    refused(ValueError, parts, np.ones(x), np.ones(w), **options)


def test_kernel_one_larger_than_the_padded_input():
    # The boundary case, from both sides.
    x = np.ones((1, 1, 5))
    assert convx.conv(x, np.ones((1, 1, 8)), padding=(3,)).shape == (1, 1, 4)
    assert convx.conv(x, np.ones((1, 1, 8)), padding=((3, 0),)).shape == (1, 1, 1)
    refused(ValueError, ["8 taps", "2 + 5 + 0 = 7"], x, np.ones((1, 1, 8)), padding=((2, 0),))


@pytest.mark.parametrize("name", ["stride", "dilation"])
def test_steps(name):
    for bad in (0, -1, -(10**30), 10**30, 2**63, (1, 0), (-2, 1), [1, -1], np.array([0, 1])):
        number = bad if isinstance(bad, int) else min(bad)
        refused(ValueError, [f"{name}={number}"], groups=2, **{name: bad})
    for bad in (1.5, 1.0, "1", None, 1j, (1, 1.5), ("2", 1), [None, 1], np.float64(2), object()):
        refused(TypeError, [name], groups=2, **{name: bad})
    for bad in ((1,), (1, 1, 1), [], np.ones(3, int)):
        refused(ValueError, [name, len(bad), "2 spatial axes"], groups=2, **{name: bad})


def test_equal_values_of_another_type_are_checked_again():
    # 2.0 == 2 and both hash alike: a call that was checked with the one says nothing about the other.
    for name in ("stride", "dilation", "groups", "padding"):
        convx.conv(X, W, **{"groups": 2, name: 2})
        refused(TypeError, [name, "float"], **{"groups": 2, name: 2.0})
    convx.conv(X, W, groups=2, stride=(1, 2))
    refused(TypeError, ["stride"], groups=2, stride=(1, 2.0))
    refused(TypeError, ["stride", "bool"], groups=2, stride=(True, 2))
    convx.conv(X, W, groups=2, stride=1)
    refused(TypeError, ["stride", "bool"], groups=2, stride=True)


def test_groups():
    for bad in (0, -1, 2**70):
        refused(ValueError, [f"groups={bad}"], groups=bad)
    for bad in (1.5, "2", None, (2,), [2]):
        refused(TypeError, ["groups"], groups=bad)


def test_padding():
    for bad in ("SAME", "", "Valid", "reflect", "same_upper"):
        refused(ValueError, [f"padding={bad!r}", "same_lower", "full"], groups=2, padding=bad)
    for bad in (-1, (0, -1), ((0, -1), 0), [(-1, 2), (0, 0)]):
        refused(ValueError, ["padding=-1", "at least 0"], groups=2, padding=bad)
    for bad in (0.5, None, (0.5, 1), ((1, 1.5), 0), object()):
        refused(TypeError, ["padding"], groups=2, padding=bad)
    for bad, count in (((1,), 1), ((1, 2, 3), 3), ((), 0), ([(1, 1)], 1)):
        refused(ValueError, [f"padding has {count} entries", "2 spatial axes"], groups=2, padding=bad)
    for bad in (((1, 2, 3), 0), (0, (1,)), [[], 1], ("same", 1)):
        refused(ValueError, ["padding", "(before, after)"], groups=2, padding=bad)


@pytest.mark.parametrize("name, words, known", [
    ("layout", ["NHCW", "nchw", "", "NCDHW", "NWC", "OIHW", "NCHW ", 3, ("N", "C")], "NCHW, NHWC, HWCN"),
    ("w_layout", ["OIDHW", "oihw", "NCHW", "HWOI", "", 3, ["OIHW"]], "OIHW, OHWI, HWIO"),
    ("boundary", ["zero", "", "Edge", "mirror", ("edge", "nearest")], "constant, edge, reflect, symmetric, wrap"),
    ("algorithm", ["fastest", "", "Direct", None, 1, ["direct"]], "auto"),
    ("overflow", ["clip", "", "RAISE", None, 0], "raise, saturate, wrap"),
])
def test_words(name, words, known):
    for word in words:
        refused(ValueError, [name, known], groups=2, **{name: word})


def test_bytes_are_neither_words_nor_numbers():
    # They iterate as integers: b"\x01\x02" must not be read as (1, 2).
    for name in ("stride", "dilation", "padding"):
        refused(TypeError, [name, "bytes"], groups=2, **{name: b"\x01\x02"})
    refused((TypeError, ValueError), ["padding"], groups=2, padding=b"same")


def test_words_that_are_no_words():
    for name in ("layout", "w_layout", "algorithm", "overflow", "boundary"):
        for junk in ({}, {"a": 1}, {1, 2}):
            refused((TypeError, ValueError), [name], groups=2, **{name: junk})
    for junk in (None, 3, 1.5, object()):
        refused(TypeError, ["boundary"], groups=2, boundary=junk)
    for edges in (("edge",), ("edge",) * 3, []):
        refused(ValueError, [f"boundary has {len(edges)} entries", "2 spatial axes"], groups=2, boundary=edges)


def test_cval():
    for bad in ("a", None, [1], (1, 2), np.zeros(2), object(), {}, np.datetime64("2020")):
        refused(TypeError, ["cval"], groups=2, padding=1, cval=bad)
    refused(TypeError, ["cval=1j", "float64"], groups=2, padding=1, cval=1j)
    x, w = X.astype(int), W.astype(int)
    refused(TypeError, ["cval=0.5", "int64"], x, w, groups=2, cval=0.5, out=np.zeros((2, 4, 7, 7), int))
    for bad in (np.inf, -np.inf, np.nan):
        refused((TypeError, ValueError), ["cval", str(bad), "int64"], x, w, groups=2, cval=bad,
                out=np.zeros((2, 4, 7, 7), int))


def test_cval_beyond_the_result():
    for bad, dtype in ((10**400, "f8"), (1e300, "f4"), (-1e300 + 1j, "c8"), (70000, "f2")):
        x, w = X.astype(dtype), W.astype(dtype)
        refused(ValueError, ["cval", "does not fit", x.dtype.name], x, w, groups=2, cval=bad,
                out=np.zeros((2, 4, 7, 7), dtype))
    # What is infinite already, or lies outside every float while the result is an integer, is a value like others.
    assert not np.isfinite(convx.conv(X, W, groups=2, padding=1, cval=np.inf)[..., 0, 0]).any()
    x, w = np.ones((1, 1, 1), int), np.ones((1, 1, 1), int)
    assert convx.conv(x, w, padding=1, cval=10**400, overflow="saturate").tolist() == [[[2**63 - 1, 1, 2**63 - 1]]]


def test_names_that_are_none():
    refused(TypeError, ["dtype='fast'"], groups=2, dtype="fast")
    for bad in (["conv"], None, 3, "max_pool"):
        with pytest.raises(ValueError, match=r"operator=.* is none of conv, "):
            convx.plan(bad, X, W)


def test_workers():
    for bad in (0, -2, -(10**30)):
        refused(ValueError, [f"workers={bad}"], groups=2, workers=bad)
    for bad in (1.5, "2", (1,), [], object(), 1j, True):
        refused(TypeError, ["workers"], groups=2, workers=bad)
    with pytest.raises(TypeError, match="n must be an integer, not bool"):
        convx.set_num_threads(True)


@pytest.mark.parametrize("shape", [(4, 1), (3,), (5,), (), (1, 4), (0,)])
def test_bias_of_the_wrong_shape(shape):
    refused(ValueError, [f"bias has shape {shape}", "(4,)"], bias=np.ones(shape), groups=2)


def test_bias_of_the_wrong_kind():
    refused(TypeError, ["bias", "complex128", "float64"], bias=np.ones(4, complex), groups=2)
    refused(TypeError, ["bias", "object"], bias=np.array([None] * 4), groups=2)
    refused(TypeError, ["bias"], bias=np.array(list("abcd")), groups=2)
    refused(TypeError, ["bias", "float64", "int64"], X.astype(int), W.astype(int), np.ones(4), groups=2,
            out=np.zeros((2, 4, 7, 7), int))


def test_out_of_the_wrong_form():
    for bad in ([1.0], "out", 3, 1.5, memoryview(b"12345678"), object()):
        with pytest.raises(TypeError, match="out must be an ndarray"):
            convx.conv(X, W, groups=2, out=bad)
        with pytest.raises(TypeError, match="out must be an ndarray"):
            convx.convolve([1.0, 2.0], [1.0], out=bad)
        with pytest.raises(TypeError, match="out must be an ndarray"):
            convx.convolve(1.0, 2.0, out=bad)
    for shape in ((2, 4, 7, 8), (2, 4, 7), (2, 4, 7, 7, 1), (1, 4, 7, 7), (0,)):
        refused(ValueError, [f"out has shape {shape}", "(2, 4, 7, 7)"], out=np.full(shape, KEEP), groups=2)
    for dtype in ("f4", ">f8", "c16", "i8", "O"):
        refused(TypeError, ["out has dtype", "float64"], out=np.ones((2, 4, 7, 7), dtype), groups=2)
    refused(TypeError, ["out has dtype float64", "float32"], groups=2, dtype=np.float32)
    locked = np.full((2, 4, 7, 7), KEEP)
    locked.setflags(write=False)
    refused(ValueError, ["out", "read-only"], out=locked, groups=2)


def test_out_over_an_input():
    room = np.zeros(3000)
    x, w = room[:864].reshape(2, 6, 9, 8), room[1000:1072].reshape(4, 3, 3, 2)
    x[...], w[...] = X, W
    free = room[1072:1464].reshape(2, 4, 7, 7)
    assert convx.conv(x, w, groups=2, out=free) is free
    for start, name in ((0, "x"), (863, "x"), (900, "w"), (1071, "w")):
        refused(ValueError, [f"out overlaps {name}"], x, w, out=room[start:start + 392].reshape(2, 4, 7, 7), groups=2)
    # Interleaved in the same memory, but no element shared: allowed.
    pairs = np.zeros((2, 4, 7, 7, 2))
    pairs[..., 0] = whole((2, 4, 7, 7), 3)
    one = np.eye(4).reshape(4, 4, 1, 1)
    assert np.array_equal(convx.conv(pairs[..., 0], one, out=pairs[..., 1]), pairs[..., 0])
    refused(ValueError, ["out overlaps x"], pairs[..., 0], one, out=pairs[..., 0])


def test_out_over_itself():
    for strides in ((0, 49 * 8, 56, 8), (196 * 8, 49 * 8, 56, 0), (196 * 8, 49 * 8, 8, 8), (8, 49 * 8, 56, 8),
                    (196 * 8, 49 * 8, -8, 8)):
        room = np.zeros(1000)
        refused(ValueError, ["out overlaps itself", str(strides)], groups=2,
                out=as_strided(room[500:] if min(strides) < 0 else room, (2, 4, 7, 7), strides))
    # Size-1 axes have no step, so their stride says nothing.
    thin = as_strided(np.zeros(7), (1, 1, 7), (0, 0, 8))
    assert convx.conv(np.ones((1, 1, 9)), np.ones((1, 1, 3)), out=thin).tolist() == [[[3] * 7]]


@pytest.mark.parametrize("options, numbers", [
    ({"padding": 10**18}, ["2000000000000000007"]), ({"padding": ((0, 10**18), 0)}, ["1000000000000000007"]),
    ({"padding": "full", "dilation": 2**58}, [2**59 + 9]), ({"padding": 2**70}, [2**70]),
    ({"padding": (0, 10**30)}, [10**30]), ({"stride": 10**30}, [10**30]), ({"dilation": 10**30}, [10**30]),
    ({"stride": 2**64}, [2**64]), ({"padding": 2**40}, [2**41 + 7]),
])
def test_sizes_beyond_memory(options, numbers):
    refused(ValueError, numbers, **GROUPED, **options)


def test_giant_arrays_of_few_bytes():
    x = np.broadcast_to(np.int8(1), (1, 1, 2**61))
    with pytest.raises(ValueError, match=str(2**61)):
        convx.conv(x, np.ones((1, 1, 1), np.int8))
    with pytest.raises(ValueError, match=str(2**61 - 2)):
        convx.conv(x, np.ones((1, 1, 3), np.int8))
    x = np.broadcast_to(np.float32(1), (2**30, 1, 2**30))
    with pytest.raises(ValueError, match=str(2**30)):
        convx.conv(x, np.ones((8, 1, 1), np.float32))
    with pytest.raises(ValueError, match=str(2**31 + 2**30 - 1)):
        convx.convolve(np.broadcast_to(1.0, (2**31, 2**28)), np.broadcast_to(1.0, (2**30, 2**29)))
    with pytest.raises(MemoryError):
        convx.conv(np.broadcast_to(np.float32(1), (1, 1, 2**58)), np.ones((1, 1, 1), np.float32))


# What could end the process is tried in another one.
FATAL = {
    "scratch as large as the kernel's reach": "convx.conv(np.ones((1, 1, 64, 64), 'f'), np.ones((1, 1, 1, 5), 'f'), "
                                              "dilation=(1, 2**60), padding='same', algorithm='stencil')",
    "kernels of a reach near the limit": "convx.conv(np.ones((1, 1, 64, 64)), np.ones((1, 1, 3, 3)), dilation=2**59, "
                                         "padding='same')",
    "a hundred thousand threads": "convx.conv(np.ones((1, 4, 64, 64), 'f'), np.ones((4, 4, 3, 3), 'f'), workers=10**5)",
    "direct on a hundred thousand threads": "convx.conv(np.ones((1, 4, 64, 64), 'f'), np.ones((4, 4, 3, 3), 'f'), "
                                            "workers=10**5, algorithm='direct')",
    "more threads than an int counts": "convx.conv(np.ones((1, 4, 64, 64), 'f'), np.ones((4, 4, 3, 3), 'f'), "
                                       "workers=2**32 + 1)",
    "as many by the setting": "(convx.set_num_threads(10**5), convx.conv(np.ones((1, 4, 64, 64), 'f'), "
                              "np.ones((4, 4, 3, 3), 'f')))[1]",
}


@pytest.mark.parametrize("call", FATAL.values(), ids=FATAL.keys())
def test_the_process_survives(call):
    code = f"""
import numpy as np, convx
try:
    y = {call}
except (ValueError, TypeError) as error:
    print("refused", error)
else:
    print("sum", int(y.sum()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-600:]
    # Only the centre tap of the far kernels meets the array; the others are 3 x 3 x 4 ones at 62 x 62 x 4 places.
    right = 64 * 64 if "same" in call else 62 * 62 * 4 * 36
    assert done.stdout.startswith("refused") or done.stdout.strip() == f"sum {right}"


def test_a_plan_knows_what_it_was_made_for():
    p = convx.plan("conv", X, W, groups=2)
    q = p.bind(W)
    out = np.full((2, 4, 7, 7), KEEP)
    for x, w, kind, parts in (
        (X[:1], W, ValueError, ["x has shape (1, 6, 9, 8)", "(2, 6, 9, 8)"]),
        (X, W[:2], ValueError, ["w has shape (2, 3, 3, 2)", "(4, 3, 3, 2)"]),
        (X[0], W, ValueError, ["x has shape (6, 9, 8)"]),
        (X.astype("f4"), W, TypeError, ["x has dtype float32", "float64"]),
        (X, W.astype(complex), TypeError, ["w has dtype complex128", "float64"]),
        (X.astype(int), W, TypeError, ["x has dtype int64"]),
    ):
        refused(kind, parts, x, w, out=out, call=p)
        if w is W:
            with pytest.raises(kind):
                q(x, out=out)
        else:
            with pytest.raises(kind):
                p.bind(w)
    refused(ValueError, ["bias has shape (3,)"], bias=np.ones(3), call=p)
    refused(ValueError, ["out has shape"], out=np.zeros((2, 4, 7, 6)), call=p)
    refused(ValueError, ["workers=0"], call=p, workers=0)
    with pytest.raises(ValueError, match="out overlaps x"):
        convx.plan("conv", X, np.ones((6, 6, 1, 1)))(X, np.ones((6, 6, 1, 1)), out=X)
    for bad in (np.ones(3), np.ones(4, complex)):
        with pytest.raises((TypeError, ValueError), match="bias has"):
            p.bind(W, bad)(X, out=out)
    assert (out == KEEP).all()


def test_plan_and_explain_refuse_as_conv_does():
    for make in (convx.plan, convx.explain):
        for operator in ("convolution", "", None, "conv4d"):
            with pytest.raises(ValueError, match=f"operator={operator!r}"):
                make(operator, X, W, groups=2)
        with pytest.raises(ValueError, match="needs 5"):
            make("conv3d", X, W)
        with pytest.raises(ValueError, match="stride=0"):
            make("conv", X, W, groups=2, stride=0)
        with pytest.raises(ValueError, match="algorithm='best'"):
            make("conv", X, W, groups=2, algorithm="best")
        with pytest.raises(TypeError, match="strid"):
            make("conv", X, W, groups=2, strid=2)
    with pytest.raises(TypeError, match="strid"):
        convx.conv2d(X, W, groups=2, strid=2)


def test_a_refusing_algorithm_says_why():
    tried = 0
    many, long = whole((2, 6, 21, 22), 1), whole((4, 3, 7, 7), 2)  # no tile of winograd has 7 taps or 15 outputs
    for options in ({"stride": 2}, {"dilation": 2}, {"layout": "NHWC", "w_layout": "OIHW"}, {}):
        x = many.transpose(0, 2, 3, 1) if "layout" in options else many
        for name, reason, _ in convx.explain("conv", np.ones(x.shape), long, groups=2, **options).rows:
            if reason:
                shape = convx.conv(x, long, groups=2, **options).shape
                refused(ValueError, [f"algorithm={name!r} refused: {reason}"], np.ascontiguousarray(x), long, groups=2,
                        algorithm=name, out=np.full(shape, KEEP), **options)
                tried += 1
    assert tried


RAGGED = [[1.0, 2.0], [3.0]]


def test_lists_of_unequal_rows():
    for position, name in enumerate(("x", "w", "bias")):
        arguments = [X, W, np.zeros(4)]
        arguments[position] = RAGGED
        refused(ValueError, [f"{name} makes no array", "differ in length"], *arguments, groups=2)
        p = convx.plan("conv", X, W, groups=2)
        refused(ValueError, [f"{name} makes no array"], *arguments, call=p)
    refused(ValueError, ["w makes no array"], x=RAGGED, call=lambda x, w, bias, out: convx.plan("conv", X, x))
    refused(ValueError, ["w makes no array"], x=RAGGED, call=lambda x, w, bias, out: p.bind(x))
    for call in (convx.convolve, convx.correlate):
        for position, name in enumerate("av"):
            with pytest.raises(ValueError, match=f"^{name} makes no array: its rows differ in length$"):
                call(*([[1.0]], RAGGED)[::1 if position else -1])
    for call, names in ((lambda a, b: convx.conv_grad_input(a, b, X.shape), ("dy", "w")),
                        (lambda a, b: convx.conv_grad_weight(a, b, W.shape), ("x", "dy"))):
        for position, name in enumerate(names):
            with pytest.raises(ValueError, match=f"^{name} makes no array"):
                call(*(X, RAGGED)[::1 if position else -1])
    with pytest.raises(ValueError, match=r"^dy makes no array"):
        convx.conv_grad_bias(RAGGED)


def test_masked_elements_are_not_read():
    masked = np.ma.masked_array(X, X > 3)
    refused(TypeError, ["x has masked elements", "x.filled(0)"], masked, groups=2)
    refused(TypeError, ["w has masked elements"], X, np.ma.masked_array(W, W > 3), groups=2)
    assert np.array_equal(convx.conv(np.ma.masked_array(X), W, groups=2), convx.conv(X, W, groups=2))


def test_out_that_is_no_array_of_numpy():
    class Foreign:
        dtype = "float64"

    for x in (X, X.astype(int)):
        with pytest.raises(TypeError, match="out must be an ndarray, not Foreign"):
            convx.conv(x, W.astype(x.dtype), groups=2, out=Foreign())


@pytest.mark.parametrize("call", [convx.convolve, convx.correlate])
def test_signal_arguments(call):
    a, v = np.ones((4, 5)), np.ones((2, 3))
    for options, kind, parts in (
        ({"mode": "center"}, ValueError, ["mode='center'", "full, same, valid"]),
        ({"mode": None}, ValueError, ["mode=None"]),
        ({"alignment": "numpy"}, ValueError, ["alignment='numpy'"]),
        ({"algorithm": "quick"}, ValueError, ["algorithm='quick'"]),
        ({"overflow": "clip"}, ValueError, ["overflow='clip'"]),
        ({"boundary": "zero"}, ValueError, ["boundary='zero'"]),
        ({"boundary": ("edge",)}, ValueError, ["boundary has 1 entries"]),
        ({"axes": 2}, ValueError, ["axes=2", "2 axes"]),
        ({"axes": (0, -2)}, ValueError, ["axes=(0, -2)", "twice"]),
        ({"axes": 0}, ValueError, ["axis 1", "5", "3"]),
        ({"axes": 1.5}, TypeError, ["axes=1.5: an integer is needed"]),
        ({"axes": "0"}, TypeError, ["axes='0'"]),
        ({"axes": [[0]]}, TypeError, ["axes=((0,),)"]),
        ({"workers": 0}, ValueError, ["workers=0"]),
        ({"cval": "a"}, TypeError, ["cval"]),
        ({"dtype": bool}, TypeError, ["bool"]),
    ):
        out = np.full((5, 7), KEEP)
        with pytest.raises(kind) as caught:
            call(a, v, out=out, **options)
        text = str(caught.value)
        assert "\n" not in text and all(part in text for part in parts), text
        assert (out == KEEP).all()
    with pytest.raises(ValueError, match="a has 2 axes and v has 1"):
        call(a, v[0])
    with pytest.raises(ValueError, match=r"\(4, 5\).*\(5, 3\)"):
        call(a, np.ones((5, 3)), mode="valid")
    with pytest.raises(ValueError, match=r"out has shape \(4, 5\)"):
        call(a, v, out=np.zeros((4, 5)))
    with pytest.raises(ValueError, match=r"out overlaps [ax]"):
        call(a, v, mode="same", out=a)


# ---- junk ----

JUNK = [None, 1.5, "junk", "", [], {}, object(), (1, 2, 3, 4, 5), -1, 10**30, 1j, [[1], [2]], np.nan, b"x", Ellipsis]
DTYPES = ["f4", "f8", "f2", "c8", "c16", "i1", "u1", "i2", "i8", "u8", "?", ">f4", ">i2", "g"]
BAD_DTYPES = ["O", "U3", "M8[s]", "S2"]


def junk(*allowed):
    """Values that a keyword must refuse (`allowed`: what it would take)."""
    return st.sampled_from([value for value in JUNK if not any(value is a or value == a for a in allowed)]).map(
        lambda value: (value, None))


def good(values):
    return st.sampled_from(values).map(lambda value: (value, value))


@st.composite
def steps(draw, rank):
    one = st.sampled_from([1, 1, 2, 3, np.int64(2), 10**18])
    values = draw(st.lists(one, min_size=rank, max_size=rank))
    if draw(st.booleans()):
        return values[0], (int(values[0]),) * rank
    return draw(st.sampled_from([tuple, list]))(values), tuple(map(int, values))


@st.composite
def padding_forms(draw, rank):
    kind = draw(st.sampled_from(["word", "one", "each", "pairs"]))
    if kind == "word":
        word = draw(st.sampled_from(["valid", "same", "same_lower", "full"]))
        return word, word
    numbers = draw(st.lists(st.sampled_from([0, 0, 1, 2, 5]), min_size=2 * rank, max_size=2 * rank))
    if kind == "one":
        return numbers[0], ((numbers[0],) * 2,) * rank
    if kind == "each":
        return tuple(numbers[:rank]), tuple((p, p) for p in numbers[:rank])
    both = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    return list(map(list, both)), both


@st.composite
def forms(draw, shape, bad):
    """An array of this shape over memory of any kind: (array, its dtype is one that can be convolved)."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES + BAD_DTYPES if bad else DTYPES)))
    least = 0 if dtype.kind in "ub" else -3
    seed = draw(st.integers(0, 99))
    numbers = dtype.kind in "biufc"
    make = lambda s: np.array(whole(s, seed, dtype if numbers else int, least, 3).astype(dtype))  # noqa: E731
    kind = draw(st.sampled_from(["plain", "fortran", "backwards", "sliced", "overlapping", "constant", "locked"]))
    if kind == "overlapping" and dtype.kind != "O":
        strides = draw(st.lists(st.sampled_from([0, 1, 2]), min_size=len(shape), max_size=len(shape)))
        base = make(1 + sum(2 * n for n in shape))
        a = as_strided(base, shape, [s * dtype.itemsize for s in strides], writeable=False)
    elif kind == "constant":
        a = np.broadcast_to(make(()), shape)
    elif kind == "sliced" and shape:
        a = make([3 * n for n in shape])[tuple(slice(None, n, 1) if n % 2 else slice(None, 3 * n, 3) for n in shape)]
    else:
        a = make(shape)
        a = np.array(a, order="F") if kind == "fortran" else np.flip(a) if kind == "backwards" and shape else a
        a.setflags(write=kind != "locked")
    assert a.shape == tuple(shape)
    return a, numbers


@st.composite
def calls(draw):
    """Arguments of conv and what they mean (None: they must be refused)."""
    rank = draw(st.integers(1, 3))
    odd = draw(st.sampled_from([None, None, None, "shapes", "words", "dtypes"]))
    groups, c, m, n = (draw(st.integers(low, 2)) for low in (1, 0, 0, 0))
    sizes = draw(st.lists(st.integers(0, 6), min_size=rank, max_size=rank))
    taps = draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank))
    x_shape, w_shape = [n, groups * c, *sizes], [groups * m, c, *taps]
    if odd == "shapes":
        x_shape = draw(st.lists(st.integers(0, 4), max_size=6))
        w_shape = draw(st.lists(st.integers(0, 4), max_size=6))
        rank = max(len(w_shape) - 2, 1)
    x, x_fine = draw(forms(x_shape, odd == "dtypes"))
    w, w_fine = draw(forms(w_shape, odd == "dtypes"))
    options = {
        "stride": steps(rank), "dilation": steps(rank), "padding": padding_forms(rank),
        "groups": st.just((groups, groups)),
        "boundary": good(["constant", "constant", "edge", "reflect", "symmetric", "wrap"]),
        "cval": good([0, 0, 1, -2, True]), "flip": good([False, True]), "algorithm": good(["auto", "reference"]),
        "workers": good([None, 1, 3, -1]), "overflow": good(["saturate", "wrap"]),
    }
    if odd == "words":
        # Each keyword with junk that it has no reading for; flip takes anything with a truth value.
        takes = dict.fromkeys(("stride", "dilation", "padding", "groups", "boundary", "algorithm", "overflow"), ())
        takes |= {"cval": (-1, 1.5, 10**30, 1j, np.nan), "workers": (None, -1, 10**30), "layout": (None,)}
        name = draw(st.sampled_from(sorted(takes)))
        options[name] = junk(*takes[name])
    else:
        for name in draw(st.sets(st.sampled_from(sorted(options)))):
            if name != "groups":
                del options[name]
    drawn = {name: draw(strategy) for name, strategy in options.items()}
    given_options = {name: value for name, (value, _) in drawn.items()}
    meaning = {name: value for name, (_, value) in drawn.items()}
    fine = x_fine and w_fine and odd != "words"
    return x, w, given_options, meaning if fine else None


def sum_of(x, w, stride=None, dilation=None, padding="valid", groups=1, boundary="constant", cval=0, flip=False, **_):
    """The result by plain indexing; None where the shapes do not fit together."""
    rank = w.ndim - 2
    if rank < 1 or x.ndim not in (rank + 1, rank + 2):
        return None
    batch = x if x.ndim == rank + 2 else x[None]
    stride, dilation = stride or (1,) * rank, dilation or (1,) * rank
    if len(stride) != rank or len(dilation) != rank or not (isinstance(padding, str) or len(padding) == rank):
        return None
    if batch.shape[1] != groups * w.shape[1] or w.shape[0] % groups or 0 in w.shape[2:]:
        return None
    out, before = [], []
    for a, (size, taps, s, d) in enumerate(zip(batch.shape[2:], w.shape[2:], stride, dilation, strict=True)):
        span = d * (taps - 1) + 1
        total = max((-(-size // s) - 1) * s + span - size, 0) if size else 0
        left, right = {"valid": (0, 0), "full": (span - 1,) * 2, "same": (total // 2, total - total // 2),
                       "same_lower": (total - total // 2, total // 2)}.get(padding, ()) or padding[a]
        count = 0 if padding in ("same", "same_lower") and not size else (size + left + right - span) // s + 1
        if count < 0 or (size + left + right < span and not (count == 0 and padding in ("same", "same_lower"))):
            return None
        if boundary != "constant" and not size and padding not in ("same", "same_lower"):
            return None
        out.append(count)
        before.append(left)
    if prod(out) > 10**6:
        return None
    wide = object if {x.dtype.kind, w.dtype.kind} <= set("biu") else "G"
    y = plain(batch.astype(wide), w.astype(wide), out, stride, before, dilation, groups, (boundary,) * rank, cval, flip)
    return y if x.ndim == rank + 2 else y[0]


@settings(max_examples=12 * settings().max_examples)
@given(calls())
def test_any_call_gives_the_sum_or_a_sentence(call):
    x, w, options, meaning = call
    want = None if meaning is None else sum_of(x, w, **meaning)
    before = x.copy(), w.copy()
    try:
        y = convx.conv(x, w, **options)
    except (ValueError, TypeError, OverflowError, MemoryError) as error:
        assert want is None, error
        assert str(error) and "\n" not in str(error)
        return
    assert want is not None, "accepted"
    dtype = np.result_type(x, w)
    exact = dtype.kind in "biu"
    assert y.dtype == (("u8" if dtype.kind == "u" else "i8") if exact else dtype)
    assert y.shape == want.shape
    if exact:
        least, most = int(np.iinfo(y.dtype).min), int(np.iinfo(y.dtype).max)
        want = np.array([min(max(int(v), least), most) if options.get("overflow") != "wrap"
                         else (int(v) - least) % 2**64 + least for v in want.flat], y.dtype).reshape(y.shape)
    assert np.array_equal(y, want)
    assert np.array_equal(x, before[0]) and np.array_equal(w, before[1])


@settings(max_examples=6 * settings().max_examples)
@given(st.data())
def test_any_arguments_of_convolve(data):
    ndim = data.draw(st.integers(0, 3))
    shapes = [data.draw(st.lists(st.integers(0, 4), min_size=ndim, max_size=ndim)) for _ in "av"]
    (a, a_fine), (v, v_fine) = (data.draw(forms(shape, True)) for shape in shapes)
    mode = data.draw(st.sampled_from(["full", "same", "valid"]))
    correlates = data.draw(st.booleans())
    call = convx.correlate if correlates else convx.convolve
    larger = (np.subtract(*shapes) >= 0).all() or (np.subtract(*shapes) <= 0).all()
    # Of empty operands only 'same' has a result, as in SciPy 1.17 (test_signal.py).
    fits = a_fine and v_fine and (mode != "valid" or larger) and (v.size > 0 and (a.size > 0 or mode == "same"))
    try:
        y = call(a, v, mode, overflow="saturate")
    except (ValueError, TypeError) as error:
        assert not fits, error
        assert str(error) and "\n" not in str(error)
        return
    assert fits, "accepted"
    if a.size * v.size == 0:
        assert y.shape == a.shape
        return
    # numpy.convolve along one axis at a time is another algorithm; here the definition is short enough.
    wide = object if {a.dtype.kind, v.dtype.kind} <= set("biu") else "G"
    if ndim == 0:
        a, v, y = a.reshape(1), v.reshape(1), np.reshape(y, 1)
        shapes = [(1,), (1,)]
    p, q = a.astype(wide), v.astype(wide)
    if correlates:
        q = np.flip(q.conj())
    full = np.zeros([m + n - 1 for m, n in zip(a.shape, v.shape, strict=True)], wide)
    for at in np.ndindex(q.shape):
        full[tuple(slice(k, k + n) for k, n in zip(at, p.shape, strict=True))] += p * q[at]
    valid = tuple(abs(s - t) + 1 for s, t in zip(*shapes, strict=True))
    size = {"full": full.shape, "same": a.shape, "valid": valid}[mode]
    start = [(m - n) // 2 for m, n in zip(full.shape, size, strict=True)]
    want = full[tuple(slice(s, s + n) for s, n in zip(start, size, strict=True))]
    assert y.shape == want.shape
    if y.dtype.kind in "iu":
        want = np.clip(want, np.iinfo(y.dtype).min, np.iinfo(y.dtype).max)
    assert np.array_equal(y, want.astype(y.dtype) if y.dtype.kind in "iu" else want)
