"""Every keyword of conv: against plain indexing and against sliding windows; plans and problem lines take them too."""

from inspect import signature
from itertools import product

import numpy as np
import pytest
from arrays import LAYOUTS, expected, located, pairs, whole, zoo
from numpy.lib.stride_tricks import sliding_window_view

import convx
from convx._operators import OPERATORS
from convx._planning import parts
from convx._solvers import winograd

BOUNDARIES = ("constant", "edge", "reflect", "symmetric", "wrap")
SIZES = ((17,), (9, 8), (6, 5, 7), (4, 5, 3, 4), (3, 4, 3, 2, 3))
TAPS = ((4,), (3, 2), (2, 3, 2), (2, 1, 3, 2), (2, 2, 1, 2, 2))
LETTERS = {1: "W", 2: "HW", 3: "DHW"}


def windows(x, w, stride, around, dilation, groups=1, mode="constant"):
    """The same sum another way: numpy.pad, sliding_window_view, einsum."""
    rank = w.ndim - 2
    spatial = tuple(range(2, rank + 2))
    x = np.pad(x, [(0, 0), (0, 0), *around], mode=mode)
    v = sliding_window_view(x, [d * (k - 1) + 1 for d, k in zip(dilation, w.shape[2:], strict=True)], spatial)
    v = v[(slice(None), slice(None), *(slice(None, None, step) for step in (*stride, *dilation)))]
    parts = [np.einsum("nc...k,mck->nm...", v[:, c].reshape(*v[:, c].shape[:2 + rank], -1), u.reshape(*u.shape[:2], -1))
             for c, u in zip(np.split(np.arange(x.shape[1]), groups), np.split(w, groups), strict=True)]
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("padding", ["valid", "same", "same_lower", "full", 0, 2, (1, 3), ((0, 2), (3, 1)),
                                     (2, (0, 1))])
@pytest.mark.parametrize("stride", [1, 2, (3, 1)])
@pytest.mark.parametrize("dilation", [1, (1, 2), 3])
def test_padding_stride_dilation(padding, stride, dilation):
    x, w = whole((2, 3, 10, 9), 1), whole((4, 3, 3, 2), 2)
    strides = stride if isinstance(stride, tuple) else (stride,) * 2
    dilations = dilation if isinstance(dilation, tuple) else (dilation,) * 2
    y = convx.conv(x, w, stride=stride, padding=padding, dilation=dilation)
    assert np.array_equal(y, expected(x, w, strides, padding, dilations))
    around = pairs(padding, (10, 9), (3, 2), strides, dilations)
    assert np.array_equal(y, windows(x, w, strides, around, dilations))
    if padding in ("same", "same_lower"):
        assert y.shape[2:] == tuple(-(-size // s) for size, s in zip((10, 9), strides, strict=True))


@pytest.mark.parametrize("form", [list, np.array, lambda v: np.array(v, np.int8), lambda v: tuple(map(np.int64, v))])
def test_sequences_and_numpy_integers_are_as_good_as_tuples(form):
    x, w = whole((1, 2, 8, 9), 3), whole((2, 2, 3, 3), 4)
    y = convx.conv(x, w, stride=(2, 1), dilation=(1, 2), padding=(1, 0))
    assert np.array_equal(convx.conv(x, w, stride=form((2, 1)), dilation=form((1, 2)), padding=form((1, 0))), y)
    y = convx.conv(x, w, padding=((1, 2), (0, 1)))
    assert np.array_equal(convx.conv(x, w, padding=[form((1, 2)), form((0, 1))]), y)


@pytest.mark.parametrize("one", [np.int64, np.uint8, np.array])
def test_scalars_of_numpy_are_as_good_as_int(one):
    x, w = whole((1, 4, 8), 3), whole((2, 2, 3), 4)
    y = convx.conv(x, w, stride=2, dilation=2, padding=1, groups=2)
    assert np.array_equal(convx.conv(x, w, stride=one(2), dilation=one(2), padding=one(1), groups=one(2)), y)


@pytest.mark.parametrize("rank", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("c, m, groups", [(1, 1, 1), (3, 2, 1), (2, 3, 2), (1, 2, 3)])
def test_ranks_and_groups(rank, c, m, groups):
    x, w = whole((2, groups * c, *SIZES[rank - 1]), 5), whole((groups * m, c, *TAPS[rank - 1]), 6)
    one = (1,) * rank
    for padding, flip in product(("valid", "full", 1), (False, True)):
        y = convx.conv(x, w, groups=groups, padding=padding, flip=flip, algorithm="sums")
        assert np.array_equal(y, expected(x, w, one, padding, one, groups=groups, flip=flip)), (padding, flip)
    y = convx.conv(x, w, groups=groups, algorithm="sums")
    assert np.array_equal(y, windows(x, w, one, ((0, 0),) * rank, one, groups))


@pytest.mark.parametrize("seed", range(150))
def test_any_options_together(seed):
    rng = np.random.default_rng([7, seed])
    rank = int(rng.integers(1, 6))
    pick = lambda least, most: tuple(int(v) for v in rng.integers(least, most, rank, endpoint=True))  # noqa: E731
    sizes, taps = pick(1, (20, 9, 6, 4, 3)[rank - 1]), pick(1, (7, 4, 3, 2, 2)[rank - 1])
    stride, dilation, groups = pick(1, 3), pick(1, 3), int(rng.integers(1, 4))
    c, m, n = (int(v) for v in rng.integers(1, 4, 3))
    dtype = rng.choice(["f4", "f8", "c8", "c16", "i2", "u1"])
    boundary = tuple(str(word) for word in rng.choice(BOUNDARIES, rank))
    cval = int(rng.integers(0, 3))
    # Enough on both sides for the kernel to fit, so that every draw is legal.
    padding = tuple(zip(pick(0, 3), (max(d * (k - 1) + 1 - s, 0) + int(rng.integers(0, 3))
                                     for d, k, s in zip(dilation, taps, sizes, strict=True)), strict=True))
    x = whole((n, groups * c, *sizes), seed, dtype, 0 if dtype == "u1" else -4)
    w = whole((groups * m, c, *taps), seed + 1, dtype, 0 if dtype == "u1" else -4)
    flip = bool(rng.integers(2))
    options = {"groups": groups, "boundary": boundary, "cval": cval, "flip": flip}
    wide = x.astype(np.int64) if x.dtype.kind in "iu" else x
    want = expected(wide, w.astype(wide.dtype), stride, padding, dilation, **options)
    y = convx.conv(x, w, stride=stride, dilation=dilation, padding=padding, **options)
    assert y.shape == want.shape
    assert np.array_equal(y, want)


@pytest.mark.parametrize("algorithm", ["auto", "sums"])
@pytest.mark.parametrize("rank", [1, 2, 3, 4])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_are_transpositions(rank, layout, algorithm):
    order, w_word = LAYOUTS[layout]
    w_orders = {"OIHW": (0, 1, *range(2, rank + 2)), "OHWI": (0, *range(2, rank + 2), 1),
                "HWIO": (*range(2, rank + 2), 1, 0)}
    x, w = whole((3, 4, *SIZES[rank - 1]), 8), whole((6, 2, *TAPS[rank - 1]), 9)
    # Sums of whole numbers are exact in any order; auto may take tiles of Winograd for one order of memory only.
    size = np.abs(x).max() * np.abs(w).sum(tuple(range(1, w.ndim))).max()
    near = winograd.error_factor * (w[0].size + 2) * np.finfo(float).eps * size
    allowed = 2 * near if algorithm == "auto" else 0
    options = {"groups": 2, "padding": "same", "algorithm": algorithm}
    y = convx.conv(x, w, **options).transpose(order(rank))

    def same(got):
        return got.shape == y.shape and (np.abs(got - y) <= allowed).all()

    x = x.transpose(order(rank))
    assert same(convx.conv(x, w.transpose(w_orders[w_word]), layout=layout, **options))
    for word, w_order in w_orders.items():
        got = convx.conv(x, w.transpose(w_order), layout=layout, w_layout=word, **options)
        assert same(got), word
        if rank in LETTERS:
            own, own_w = layout.replace("HW", LETTERS[rank]), word.replace("HW", LETTERS[rank])
            got = convx.conv(x, w.transpose(w_order), layout=own, w_layout=own_w, **options)
            assert same(got), own


@pytest.mark.parametrize("rank", range(1, 5))
@pytest.mark.parametrize("layout", [None, *LAYOUTS])
def test_axes_of_a_layout(layout, rank):
    """Where x_axes and w_axes say, the sizes stand that the call takes and gives."""
    x_shape, w_shape = np.zeros(rank + 2, int), np.zeros(rank + 2, int)
    n_at, c_at, s_at = convx.x_axes(layout, rank)
    o_at, i_at, k_at = convx.w_axes(layout, rank)
    x_shape[n_at], x_shape[c_at], x_shape[[*s_at]] = 2, 6, range(5, 5 + rank)
    w_shape[o_at], w_shape[i_at], w_shape[[*k_at]] = 4, 3, range(1, 1 + rank)
    y_shape = convx.plan("conv", np.empty(x_shape), np.empty(w_shape), layout=layout, groups=2).y_shape
    assert y_shape[n_at] == 2 and y_shape[c_at] == 4 and all(y_shape[s] == 5 for s in s_at)
    *_, alone = convx.x_axes(layout, rank, batched=False)
    assert [np.delete(x_shape, n_at)[s] for s in alone] == [x_shape[s] for s in s_at]


def test_axes_of_what_is_no_layout():
    for call, error, said in ((lambda: convx.x_axes("NCHW", 1.0), TypeError, "rank must be an integer"),
                              (lambda: convx.x_axes("NCHW", 0), ValueError, "rank=0"),
                              (lambda: convx.x_axes("NCDHW", 2), ValueError, "no layout of 2 spatial axes"),
                              (lambda: convx.w_axes("NHWC", 2, "NHWC"), ValueError, "no weight layout"),
                              (lambda: convx.geometry(3), TypeError, "a problem line is text, not int")):
        with pytest.raises(error, match=said):
            call()


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_unbatched_is_a_batch_of_one_without_its_axis(rank, layout):
    order, w_word = LAYOUTS[layout]
    x, w = whole((1, 2, *SIZES[rank - 1]), 10), whole((3, 2, *TAPS[rank - 1]), 11)
    n_at = order(rank).index(0)
    y = convx.conv(x, w).transpose(order(rank)).squeeze(n_at)
    x = x.transpose(order(rank)).squeeze(n_at)
    words = {layout, layout.replace("N", "")}
    if rank in LETTERS:
        words |= {word.replace("HW", LETTERS[rank]) for word in words}
    for word in words:
        assert np.array_equal(convx.conv(x, w, layout=word, w_layout="OIHW"), y), word
    default = w.transpose({"OIHW": (0, 1, *range(2, rank + 2)), "OHWI": (0, *range(2, rank + 2), 1),
                           "HWIO": (*range(2, rank + 2), 1, 0)}[w_word])
    assert np.array_equal(convx.conv(x, default, layout=layout), y)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("padding", [1, 4, ((9, 0), (0, 11)), "full"])
def test_boundary_is_numpy_pad(boundary, padding):
    # Up to twice the size of the array: the rules go on repeating.
    x, w = whole((1, 2, 5, 4), 12), whole((2, 2, 3, 2), 13)
    around = pairs(padding, (5, 4), (3, 2), (1, 1), (1, 1))
    want = windows(x, w, (1, 1), around, (1, 1), mode=boundary)
    assert np.array_equal(convx.conv(x, w, padding=padding, boundary=boundary), want)


def test_located_is_numpy_pad():
    for size, mode in product((1, 2, 3, 5), BOUNDARIES[1:]):
        read = [located(i, size, mode) for i in range(-12, size + 12)]
        assert read == np.pad(np.arange(size), 12, mode=mode).tolist(), (size, mode)


@pytest.mark.parametrize("boundary", list(product(BOUNDARIES, repeat=2)), ids="-".join)
def test_boundary_per_axis(boundary):
    x, w = whole((2, 1, 5, 4), 14), whole((2, 1, 3, 3), 15)
    y = convx.conv(x, w, padding=2, boundary=boundary, cval=3)
    assert np.array_equal(y, expected(x, w, (1, 1), 2, (1, 1), boundary=boundary, cval=3))
    assert np.array_equal(convx.conv(x, w, padding=2, boundary=list(boundary), cval=3), y)


@pytest.mark.parametrize("cval", [0, 2, -1.5, True, np.float32(0.5), np.int8(-3), np.array(2.0)])
def test_cval(cval):
    x, w = whole((1, 2, 4, 5), 16), whole((3, 2, 3, 2), 17)
    want = windows(np.pad(x, [(0, 0), (0, 0), (2, 2), (2, 2)], constant_values=cval), w, (1, 1), ((0, 0),) * 2, (1, 1))
    assert np.array_equal(convx.conv(x, w, padding=2, cval=cval), want)


def test_cval_may_be_complex_infinite_or_large():
    x, w = whole((1, 1, 6), 18, np.complex128), whole((1, 1, 3), 19, np.complex128)
    want = windows(np.pad(x, [(0, 0), (0, 0), (2, 2)], constant_values=1 - 2j), w, (1,), ((0, 0),), (1,))
    assert np.array_equal(convx.conv(x, w, padding=2, cval=1 - 2j), want)
    want = windows(np.pad(x.real + 0j, [(0, 0), (0, 0), (2, 2)], constant_values=1 - 2j), w, (1,), ((0, 0),), (1,))
    assert np.array_equal(convx.conv(x.real, w, padding=2, cval=1 - 2j), want)  # around real data, too
    real = np.abs(x.real) + 1
    y = convx.conv(real, np.ones((1, 1, 3)), padding=2, cval=np.inf)
    assert np.isinf(y[0, 0, [0, 1, -2, -1]]).all() and np.isfinite(y[0, 0, 2:-2]).all()
    assert np.isnan(convx.conv(real, np.ones((1, 1, 3)), padding=2, cval=np.nan)).sum() == 4
    # With nothing padded, or another boundary, its value is never read.
    assert np.array_equal(convx.conv(x, w, cval=99), convx.conv(x, w))
    wrapped = convx.conv(x, w, padding=1, boundary="wrap")
    assert np.array_equal(convx.conv(x, w, padding=1, boundary="wrap", cval=99), wrapped)


def test_cval_may_be_an_integer_beyond_int64():
    y = convx.conv(np.zeros((1, 1, 3)), np.ones((1, 1, 2)), padding=1, cval=2**100)
    assert y.tolist() == [[[2.0**100, 0, 0, 2.0**100]]]


@pytest.mark.parametrize("spoiler", [np.inf, np.nan])
def test_zero_padding_is_absent(spoiler):
    x, w = np.ones((1, 1, 6, 6)), np.ones((1, 1, 3, 3))
    w[0, 0, 0, 1] = spoiler
    y = convx.conv(x, w, padding=1)
    assert np.isfinite(y[0, 0, 0]).all()
    assert not np.isfinite(y[0, 0, 1:]).any()


def test_flip_turns_the_taps():
    x, w = whole((2, 2, 6, 7), 20), whole((3, 2, 3, 4), 21)
    for options in ({"padding": 2}, {"stride": 2, "padding": "same"},
                    {"dilation": 2, "padding": "full", "boundary": "edge"}):
        turned = convx.conv(x, w[:, :, ::-1, ::-1], **options)
        assert np.array_equal(convx.conv(x, w, flip=True, **options), turned)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128, np.int16])
def test_bias_is_added_per_output_channel(layout, dtype):
    order = LAYOUTS[layout][0](2)
    x, w, bias = whole((2, 4, 5, 6), 22, dtype), whole((6, 2, 3, 3), 23, dtype), whole((6,), 24, dtype)
    y = convx.conv(x, w, groups=2, padding=1) + bias.reshape(-1, 1, 1)
    x = x.transpose(order)
    options = {"groups": 2, "padding": 1, "layout": layout, "w_layout": "OIHW"}
    for name, form in zoo(bias):
        assert np.array_equal(convx.conv(x, w, form, **options), y.transpose(order)), name
    assert np.array_equal(convx.conv(x, w, bias=np.zeros(6, dtype), **options), convx.conv(x, w, **options))


@pytest.mark.parametrize("algorithm", ["auto", "direct", "reference"])
@pytest.mark.parametrize("workers", [None, 1, 2, 3, 7, -1, np.int32(2)])
def test_algorithm_and_workers_change_nothing_but_time(algorithm, workers):
    x, w = whole((2, 4, 30, 30), 25), whole((8, 2, 3, 3), 26)
    y = convx.conv(x, w, groups=2, padding=1, stride=2, algorithm=algorithm, workers=workers)
    assert np.array_equal(y, expected(x, w, (2, 2), 1, (1, 1), groups=2))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_ranked_names(rank):
    ranked = (convx.conv1d, convx.conv2d, convx.conv3d)[rank - 1]
    x, w = whole((2, 2, *SIZES[rank - 1]), 27), whole((4, 1, *TAPS[rank - 1]), 28)
    options = {"stride": 2, "padding": "same_lower", "groups": 2, "flip": True}
    y = convx.conv(x, w, **options)
    assert np.array_equal(ranked(x, w, **options), y)
    assert np.array_equal(ranked(x, w, np.arange(4.0), workers=2, **options),
                          y + np.arange(4.0).reshape(-1, *(1,) * rank))
    out = np.empty_like(y)
    assert ranked(x, w, out=out, **options) is out
    assert np.array_equal(out, y)
    with pytest.raises(ValueError, match=rf"conv{rank}d needs {rank + 2}"):
        ranked(x[..., None], w[..., None])


@pytest.mark.parametrize("name", ["conv", "conv2d"])
def test_a_plan_takes_the_same_words(name):
    x, w, bias = whole((2, 2, 8, 8), 38), whole((3, 2, 3, 3), 39), np.arange(3.0)
    y = convx.conv(x, w, bias, padding="same", boundary="reflect", flip=True)
    p = convx.plan(name, x, w, padding="same", boundary="reflect", flip=True)
    assert np.array_equal(p(x, w, bias), y)


@pytest.mark.once
@pytest.mark.parametrize("name", OPERATORS)
def test_a_plan_takes_every_keyword_of_its_function(name):
    _, _, known, needed = OPERATORS[name]
    parameters = set(signature(getattr(convx, name)).parameters)
    operands = {"a", "v"} if name in ("convolve", "correlate") else {"x", "w", "dy"}
    assert known == parameters - operands - {"bias", "out", "workers"}
    assert needed is None or needed in known


@pytest.mark.once
def test_problem_lines_hold_every_result_dtype():
    integers = list("bhilqBHILQ")
    made = [convx.plan("conv", np.empty((1, 2, 9), c), np.empty((3, 2, 3), c), stride=2) for c in "?efdgFDG"]
    made += [convx.plan("conv", np.empty((1, 9), "i2"), np.empty((1, 1, 3), "i2"), dtype=c) for c in integers]
    made += [convx.plan("correlate", np.empty(9, c), np.empty(3, c), dtype="?", overflow="saturate") for c in "fd"]
    found = set()
    for p in made:
        line = str(p).splitlines()[0]
        words, dtype = parts(line)
        assert convx.geometry(line) == convx.geometry(words) == p.geometry
        assert np.dtype(dtype) == p.problem.y_dtype
        found.add(np.dtype(dtype).char)
    assert found >= {np.dtype(c).char for c in ["?", *"efdgFDG", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]}
