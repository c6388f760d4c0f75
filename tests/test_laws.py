"""Laws that hold for every convolution: integers make both sides exact, so each law is an equality."""

import numpy as np
import problems
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from problems import ALGORITHMS, each, each_algorithm

import convx
from convx import _plan, conv
from convx._geometry import BOUNDARIES, NAMED_PADDINGS

many = settings(max_examples=2 * settings().max_examples)


@st.composite
def calls(draw, ranks=(1, 2, 3), paddings=None, groups=(1, 2, 3), **fixed):
    """Integer x and w and the keywords of a convolution that has outputs; `fixed` keywords stay as given."""
    rank = draw(st.sampled_from(ranks))
    n, c, m = (draw(st.integers(1, 3)) for _ in range(3))
    g = draw(st.sampled_from(groups))
    rows = draw(problems.forward_options(rank))
    pairs = draw(st.sampled_from(("names", "int", "pairs"))) if paddings is None else paddings
    if pairs == "names":
        padding = draw(st.sampled_from(NAMED_PADDINGS))
    elif pairs == "int":
        padding = draw(st.integers(0, 4))
    else:
        padding = tuple((draw(st.integers(0, 4)), draw(st.integers(0, 4))) for _ in range(rank))
    stride, dilation = (tuple(row[at] for row in rows) for at in (2, 3))
    if draw(st.booleans()):
        stride, dilation = stride[0], dilation[0]
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": g, "flip": rows[0][-1],
                   "boundary": tuple(row[5] for row in rows), "cval": draw(st.integers(-3, 3))} | fixed
    spread = np.broadcast_to(options["dilation"], rank)
    around = {"valid": 0}.get(options["padding"], options["padding"])
    if isinstance(around, str):  # every overlap, or as many outputs as inputs: there is always room
        around = 999
    room = [row[0] + sum(np.broadcast_to(np.broadcast_to(around, (rank, 2))[a], 2)) for a, row in enumerate(rows)]
    taps = [min(row[1], (int(r) - 1) // int(d) + 1) for row, r, d in zip(rows, room, spread, strict=True)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.integers(-9, 10, (n, g * c, *(row[0] for row in rows)))
    w = rng.integers(-9, 10, (g * m, c, *taps))
    note(f"x{x.shape} w{w.shape} {options}")
    return x, w, options


@many
@given(calls())
def test_linear_in_x(call):
    x, w, options = call
    options["cval"] = 0
    other = np.roll(x, 3) ** 2
    apart = 3 * conv(x, w, **options) - 2 * conv(other, w, **options)
    assert np.array_equal(conv(3 * x - 2 * other, w, **options), apart)


@many
@given(calls())
def test_linear_in_w(call):
    x, w, options = call
    other = np.roll(w, 1) ** 2
    apart = 3 * conv(x, w, **options) - 2 * conv(x, other, **options)
    assert np.array_equal(conv(x, 3 * w - 2 * other, **options), apart)


@given(calls())
def test_bias_is_added_once(call):
    x, w, options = call
    bias = np.arange(len(w)) * 7 - 5
    plain = conv(x, w, **options)
    assert np.array_equal(conv(x, w, bias, **options), plain + bias.reshape(-1, *(1 for _ in w.shape[2:])))


@given(calls(padding="full", stride=1, boundary="constant", cval=0), st.integers(0, 5))
def test_a_shift_of_x_shifts_y(call, by):
    x, w, options = call
    ahead = [(0, 0), (0, 0)] + [(by, 0)] * (x.ndim - 2)
    assert np.array_equal(conv(np.pad(x, ahead), w, **options), np.pad(conv(x, w, **options), ahead))


@given(calls(padding="same", stride=1, boundary="wrap"), st.integers(-9, 9))
def test_a_rotation_of_x_rotates_y(call, by):
    x, w, options = call
    around = tuple(range(2, x.ndim))
    assert np.array_equal(conv(np.roll(x, [by] * len(around), around), w, **options),
                          np.roll(conv(x, w, **options), [by] * len(around), around))


@given(calls(groups=(1,)))
def test_an_impulse_in_w_copies_x(call):
    x, w, options = call
    rank, c = x.ndim - 2, x.shape[1]
    w = np.zeros((c, c, *(2 * (k // 2) + 1 for k in w.shape[2:])), int)
    w[(range(c), range(c), *(k // 2 for k in w.shape[2:]))] = 1
    options = options | {"padding": "same", "stride": 1}
    assert np.array_equal(conv(x, w, **options), x)
    options["padding"] = tuple((d * (k // 2), 0) for d, k in zip(
        np.broadcast_to(options["dilation"], rank), w.shape[2:], strict=True))
    try:
        y = conv(x, w, **options)
    except ValueError as error:  # no room for the kernel
        assert "more than the padded input" in str(error)
        return
    where = tuple(slice(0, k) for k in y.shape[2:])
    assert np.array_equal(y, x[(..., *where)])


@given(calls(groups=(1,)))
def test_an_impulse_in_x_copies_w(call):
    _, w, _options = call
    x = np.zeros((1, w.shape[1], *(1 for _ in w.shape[2:])), int)
    x[0, 0] = 1
    y = conv(x, w, padding="full", flip=True)
    assert np.array_equal(y[0], w[:, 0])
    assert np.array_equal(conv(x, w, padding="full")[0], np.flip(w[:, 0], range(1, w.ndim - 1)))


@many
@given(calls(paddings="pairs"))
def test_stride_is_subsampling(call):
    x, w, options = call
    steps = tuple(slice(None, None, s) for s in np.broadcast_to(options["stride"], x.ndim - 2))
    assert np.array_equal(conv(x, w, **options), conv(x, w, **options | {"stride": 1})[(..., *steps)])


def pad(x, pairs, boundary, cval):
    """numpy.pad, axis by axis with its own boundary; the constant ones last, as their corners are cval."""
    for a in sorted(range(x.ndim - 2), key=lambda a: boundary[a] == "constant"):
        width = [(0, 0)] * x.ndim
        width[a + 2] = pairs[a]
        x = np.pad(x, width, **({"constant_values": cval} if boundary[a] == "constant" else {"mode": boundary[a]}))
    return x


@many
@given(calls(paddings="pairs"))
def test_padding_is_valid_on_a_padded_array(call):
    x, w, options = call
    padded = pad(x, options["padding"], options["boundary"], options["cval"])
    assert np.array_equal(conv(x, w, **options), conv(padded, w, **options | {"padding": "valid"}))


@pytest.mark.parametrize("boundary", BOUNDARIES)
@given(data=st.data())
def test_each_boundary_is_numpy_pad(boundary, data):
    x, w, options = data.draw(calls(ranks=(1, 2), paddings="int", boundary=boundary))
    pairs = [(options["padding"],) * 2] * (x.ndim - 2)
    padded = pad(x, pairs, [boundary] * (x.ndim - 2), options["cval"])
    assert np.array_equal(conv(x, w, **options), conv(padded, w, **options | {"padding": "valid"}))


@many
@given(calls())
def test_dilation_is_zero_stuffing(call):
    x, w, options = call
    spread = np.broadcast_to(options["dilation"], x.ndim - 2)
    stuffed = np.zeros((*w.shape[:2], *(d * (k - 1) + 1 for d, k in zip(spread, w.shape[2:], strict=True))), int)
    stuffed[(..., *(slice(None, None, int(d)) for d in spread))] = w
    assert np.array_equal(conv(x, w, **options), conv(x, stuffed, **options | {"dilation": 1}))


@many
@given(calls())
def test_groups_are_block_diagonal_weights(call):
    x, w, options = call
    g, c, m = options["groups"], w.shape[1], len(w) // options["groups"]
    dense = np.zeros((g * m, g * c, *w.shape[2:]), int)
    for a in range(g):
        dense[a * m:(a + 1) * m, a * c:(a + 1) * c] = w[a * m:(a + 1) * m]
    assert np.array_equal(conv(x, w, **options), conv(x, dense, **options | {"groups": 1}))


@many
@given(calls())
def test_flip_reverses_the_weights(call):
    x, w, options = call
    turned = np.flip(w, range(2, w.ndim))
    for copy in (turned, turned.copy()):
        assert np.array_equal(conv(x, w, **options), conv(x, copy, **options | {"flip": not options["flip"]}))


@given(calls(padding="valid", groups=(1,), dilation=1, stride=1))
def test_one_tap_is_a_matrix_product(call):
    x, w, options = call
    w = w[(..., *(slice(0, 1) for _ in w.shape[2:]))]
    expected = np.tensordot(w.reshape(w.shape[:2]), x, (1, 1)).swapaxes(0, 1)
    assert np.array_equal(conv(x, w, **options), expected)


@given(calls(padding="valid", groups=(1,), dilation=1, stride=1, flip=False))
def test_valid_is_a_product_of_windows(call):
    x, w, options = call
    view = sliding_window_view(x, w.shape[2:], tuple(range(2, x.ndim)))
    taps = tuple(range(x.ndim, view.ndim))
    expected = np.tensordot(view, w, ((1, *taps), tuple(range(1, w.ndim))))
    assert np.array_equal(conv(x, w, **options), np.moveaxis(expected, -1, 1))


LETTERS = {1: "W", 2: "HW", 3: "DHW", 4: "HW"}
ORDER = {"NCHW": "OIHW", "NHWC": "OHWI", "HWCN": "HWIO"}


def places(word, rank):
    """Where the letters of a layout word stand in the channels-first order, for `transpose`."""
    first, second = ("N", "C") if "C" in word else ("O", "I")
    space = tuple(range(2, 2 + rank))
    at = {first: (0,), second: (1,), "S": space}
    return tuple(place for letter in word.replace("HW", "S") for place in at[letter])


@many
@given(calls(ranks=(1, 2, 3, 4)), st.sampled_from(sorted(ORDER)), st.sampled_from([None, *ORDER.values()]),
       st.booleans(), st.booleans())
def test_layout_is_transposition(call, layout, w_layout, own_words, copied):
    x, w, options = call
    rank = x.ndim - 2
    to, w_to = places(layout, rank), places(w_layout or ORDER[layout], rank)
    expected = conv(x, w, **options).transpose(to)
    x, w = x.transpose(to), w.transpose(w_to)
    if copied:
        x, w = x.copy(), w.copy()
    if own_words:  # NCW, NDHWC, ...: the word with the letters of this rank
        layout, w_layout = (word and word.replace("HW", LETTERS[rank]) for word in (layout, w_layout))
    note(f"{layout} {w_layout}")
    assert np.array_equal(conv(x, w, layout=layout, w_layout=w_layout, **options), expected)
    if rank < 4:
        ranked = getattr(convx, f"conv{rank}d")
        assert np.array_equal(ranked(x, w, layout=layout, w_layout=w_layout, **options), expected)


@given(calls(), st.sampled_from(sorted(ORDER)))
def test_unbatched_is_a_batch_of_one(call, layout):
    x, w, options = call
    rank = x.ndim - 2
    x = x[:1].transpose(places(layout, rank))
    w, at = w.transpose(places(ORDER[layout], rank)), layout.index("N") and rank + 1
    expected = conv(x, w, layout=layout, **options).squeeze(at)
    assert np.array_equal(conv(x.squeeze(at), w, layout=layout, **options), expected)
    short = layout.replace("HW", LETTERS[rank])
    if layout != "HWCN":  # without N, MATLAB's order is channels last
        short = short.replace("N", "")
    assert np.array_equal(conv(x.squeeze(at), w, layout=short, w_layout=ORDER[layout], **options), expected)


# The same bits: floating point, any way of cutting the work.

def floats(x, w, dtype, seed=0):
    """Random numbers in the shapes of x and w, with a bias."""
    rng = np.random.default_rng(seed)
    found = []
    for shape in (x, w, w[:1]):
        a = rng.standard_normal(shape)
        found.append((a + 1j * rng.standard_normal(shape) if np.dtype(dtype).kind == "c" else a).astype(dtype))
    return found


def attempt(x, w, bias, **options):
    """The convolution, or None where the named algorithm refuses."""
    try:
        return conv(x, w, bias, **options)
    except ValueError as error:
        assert f"{options['algorithm']!r} refused: " in str(error)
        return None


def same_bits(y, expected, what):
    wrong = y != expected
    assert not wrong.any(), f"{what}: {wrong.sum()} of {wrong.size} outputs differ, up to {np.abs(y - expected).max()}"


BIG = [
    ((5, 3, 17, 40), (7, 3, 3, 3), {"padding": "same"}),
    ((9, 8, 12, 19), (16, 8, 3, 3), {"padding": 1}),
    ((6, 16, 21, 23), (24, 16, 1, 1), {}),
    ((4, 6, 14, 33), (5, 6, 1, 3), {"padding": "same"}),
    ((4, 6, 14, 33), (5, 6, 3, 1), {"padding": "same"}),
    ((3, 12, 20, 21), (12, 1, 3, 3), {"padding": "same", "groups": 12}),
    ((21, 4, 9, 9), (8, 4, 3, 3), {"padding": 1, "stride": 2}),
    ((3, 2, 24, 70), (2, 2, 7, 7), {"padding": 3, "boundary": "reflect"}),
    ((37, 4, 30), (3, 4, 5), {"padding": "full", "flip": True}),
    ((2, 3, 7, 8, 20), (4, 3, 3, 3, 3), {"padding": 1}),
    ((2, 2, 3, 4, 5, 9), (3, 2, 2, 2, 2, 3), {"padding": "same"}),
    ((3, 40, 12, 31), (48, 40, 3, 3), {"padding": 1}),
]
each_layout = pytest.mark.parametrize("layout", sorted(ORDER))
each_big = pytest.mark.parametrize("case", BIG, ids=lambda case: "-".join("x".join(map(str, s)) for s in case[:2]))


def arranged(case, layout, dtype):
    """x, w and bias of a case in memory as the layout says, and where its batch axis is."""
    rank = len(case[0]) - 2
    x, w, bias = floats(*case[:2], dtype)
    to, w_to = places(layout, rank), places(ORDER[layout], rank)
    return x.transpose(to).copy(), w.transpose(w_to).copy(), bias, to.index(0)


@each_algorithm
@each_big
@each_layout
def test_the_batch_may_be_split(algorithm, case, layout):
    for dtype in ("f4", "c16") if algorithm != "reference" else ("f4",):  # which is slow, and knows no complex numbers
        x, w, bias, axis = arranged(case, layout, dtype)
        options = case[2] | {"layout": layout, "algorithm": algorithm}
        whole = attempt(x, w, bias, **options)
        if whole is None:
            continue
        n = x.shape[axis]
        for cuts in ([1], [max(1, n // 3), n - 1]):
            parts = [attempt(piece, w, bias, **options) for piece in np.split(x, cuts, axis) if piece.size]
            if not any(part is None for part in parts):
                same_bits(np.concatenate(parts, axis), whole, f"{dtype} of {n} split at {cuts}")


@each(ALGORITHMS[:-1])  # the last, reference, knows no threads
@each_big
@each_layout
def test_the_number_of_threads_does_not_matter(algorithm, case, layout):
    for dtype in ("f4", "c16"):
        x, w, bias, _ = arranged(case, layout, dtype)
        options = case[2] | {"layout": layout, "algorithm": algorithm}
        once = attempt(x, w, bias, workers=1, **options)
        if once is None:
            continue
        for workers in (2, 3):
            same_bits(conv(x, w, bias, workers=workers, **options), once, f"{dtype}, workers={workers}")
        problem = convx.plan("conv", x, w, **options).problem
        for threads in (1, 2, 3):  # a plan made under another setting must not choose another algorithm
            with convx.threads(threads):
                same_bits(_plan.Plan(problem)(x, w, bias), once, f"{dtype}, planned with {threads} threads")


@given(call=calls(ranks=(1, 2)), dtype=st.sampled_from(("f4", "f8", "c8")), workers=st.sampled_from((2, 3)))
def test_small_problems_cut_any_way(call, dtype, workers):
    x, w, options = call
    x, w, bias = floats((4, *x.shape[1:]), w.shape, dtype)
    for algorithm in ALGORITHMS:
        options["algorithm"] = algorithm
        whole = attempt(x, w, bias, workers=1, **options)
        if whole is None:
            continue
        same_bits(conv(x, w, bias, workers=workers, **options), whole, f"{algorithm} {dtype}, workers={workers}")
        for cut in (1, 3):
            parts = [attempt(piece, w, bias, **options) for piece in np.split(x, [cut])]
            if not any(part is None for part in parts):
                same_bits(np.concatenate(parts), whole, f"{algorithm} {dtype} of 4 split at {cut}")
