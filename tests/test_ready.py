"""Calls that were made before go straight to the kernels: nothing but the time may tell."""

import copy
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from convx._kernels.ready import SLOTS, Front

import convx
from convx import _conv, _plan, _pool, _pool_grad, _pooling, _signal

pytestmark = pytest.mark.once


class LongWay:
    """A front that knows nothing and learns nothing."""

    def ready(self, *call):
        return None

    def knows(self, *call):
        return True


@contextmanager
def the_long_way():
    fronts = [(found, dict(found)) for found in (_conv._FRONTS, _signal._FRONTS, _pooling.FRONTS)]
    try:
        for found, kept in fronts:
            found.update(dict.fromkeys(kept, LongWay()))
        yield
    finally:
        for found, kept in fronts:
            found.update(kept)


def outcome(call, *given, **more):
    """(result or None, type and text of the error)."""
    try:
        return call(*given, **more), None
    except Exception as error:
        return None, (type(error), str(error))


def same(*call, **more):
    """The call twice, and the long way: one result, bit for bit, or one error. Returns what came out."""
    with the_long_way():
        want, wrong = outcome(*call, **more)
    values = None if wrong else np.array(want)
    for _ in range(2):
        if wrong is None and "out" in more:
            more["out"][...] = 77
        got, error = outcome(*call, **more)
        assert error == wrong
        if wrong is None:
            assert type(got) is type(want) and got.dtype == want.dtype and got.shape == want.shape
            assert got.flags.f_contiguous == want.flags.f_contiguous
            assert got.flags.c_contiguous == want.flags.c_contiguous
            assert np.array_equal(got, values, equal_nan=got.dtype.kind in "fc")
            assert "out" not in more or got is more["out"]
    return wrong or want


def drawn(shape, seed=0, dtype="f4"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


X, W, A, V = drawn((2, 4, 9, 8)), drawn((6, 4, 3, 3), 1), drawn(16, 2, "f8"), drawn(3, 3, "f8")
WHOLE_X, WHOLE_W = np.rint(4 * X), np.rint(4 * W)  # all sums are exact, in whatever order
LAYER = {
    "conv": lambda x, w, **o: convx.conv(x, w, padding=1, **o),
    "conv2d": lambda x, w, **o: convx.conv2d(x, w, padding="same", **o),
    "strided": lambda x, w, **o: convx.conv2d(x, w, stride=(2, 1), **o),
    "bias": lambda x, w, **o: convx.conv2d(x, w, np.arange(6, dtype="f4"), padding=1, **o),
    "winograd": lambda x, w, **o: convx.conv2d(x, w, padding=1, algorithm="winograd", **o),
    "gemm": lambda x, w, **o: convx.conv2d(x, w, padding=1, algorithm="gemm", **o),
    "direct": lambda x, w, **o: convx.conv2d(x, w, padding=1, algorithm="direct", **o),
    "stencil": lambda x, w, **o: convx.conv2d(x, w, padding=1, algorithm="stencil", **o),
    "fft": lambda x, w, **o: convx.conv2d(x, w, padding=1, algorithm="fft", **o),
    "reference": lambda x, w, **o: convx.conv2d(x, w, padding=1, algorithm="reference", **o),
    "wrap": lambda x, w, **o: convx.conv2d(x, w, padding=1, boundary="wrap", cval=2, **o),
    "widened": lambda x, w, **o: convx.conv2d(x, w, dtype=np.float64, **o),
    "transpose": lambda x, w, **o: convx.conv_transpose(x, w[:4], stride=2, **o),
    "correlate": lambda x, w, **o: convx.correlate(x[0, 0], w[0, 0], **o),
    "exchanged": lambda x, w, **o: convx.convolve(w[0, 0], x[0, 0], "valid", **o),
    "dx": lambda x, w, **o: convx.conv_grad_input(x, w[:4, :3], (2, 3, 19, 17), stride=2, padding=1, **o),
    "dx of a boundary": lambda x, w, **o: convx.conv_grad_input(x, w[:4, :3], (2, 3, 9, 8), padding=1,
                                                               boundary="edge", **o),
    "dw": lambda x, w, **o: convx.conv_grad_weight(x, x, (4, 4, 1, 1), **o),
}


class Mine(np.ndarray):
    pass


def misaligned(array):
    room = np.empty(array.nbytes + 1, np.uint8)
    odd = room[1:].view(array.dtype).reshape(array.shape) if array.flags.c_contiguous else array
    odd[...] = array
    return odd


def apart(array):
    """The same values, every second cell of a larger array."""
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


def locked(array):
    array = array.copy()
    array.setflags(write=False)
    return array


FORMS = {
    "as it is": lambda a: a,
    "Fortran": np.asfortranarray,
    "apart": apart,
    "backwards": lambda a: a[..., ::-1].copy()[..., ::-1],
    "turned": lambda a: np.ascontiguousarray(np.moveaxis(a, -1, 0)).transpose(*range(1, a.ndim), 0),
    "swapped bytes": lambda a: a.astype(a.dtype.newbyteorder()),
    "wider": lambda a: a.astype("f8"),
    "half": lambda a: a.astype("f2"),
    "complex": lambda a: a.astype("c8"),
    "whole": lambda a: (4 * a).astype("i4"),
    "read-only": locked,
    "misaligned": misaligned,
    "list": lambda a: a.tolist(),
    "subclass": lambda a: a.view(Mine),
    "own dtype": lambda a: a.view(np.dtype("f4", metadata={"unit": "m"})),
    "one more row": lambda a: np.concatenate([a, a[..., :1, :]], axis=-2),
}


@pytest.mark.parametrize("name", LAYER)
def test_forms_in_turn(name):
    call = LAYER[name]
    forms = [form(X) for key, form in FORMS.items() if key not in ("list", "one more row") or name not in
             ("correlate", "exchanged", "dw", "dx", "dx of a boundary")]
    for _ in range(2):
        for number, x in enumerate(forms):
            same(call, x, W)
            if number % 3 == 0 and isinstance(x, np.ndarray):  # other values in the same form
                same(call, 2 * x, W[::-1].copy()[::-1])


POOLS = {
    "max": lambda x, w, **o: convx.max_pool(x, 2, **o),
    "max in NHWC": lambda x, w, **o: convx.max_pool(x, (3, 2), stride=1, padding=1, layout="NHWC", **o),
    "average": lambda x, w, **o: convx.avg_pool(x, 3, stride=2, padding=1, **o),
    "average, other counts": lambda x, w, **o: convx.avg_pool(x, 2, padding=1, count_include_pad=True, **o),
    "average by a number": lambda x, w, **o: convx.avg_pool(x, 2, divisor=3.5, **o),
    "dx of max": lambda x, w, **o: convx.max_pool_grad(x, w, (2, 3), stride=(1, 3), **o),
    "dx of max, ties": lambda x, w, **o: convx.max_pool_grad(x, w, (2, 3), stride=(1, 3), ties="all", **o),
    "dx of average": lambda x, w, **o: convx.avg_pool_grad((2, 4, 17, 24), x, (2, 3), stride=(2, 3), ceil_mode=True,
                                                           divisor=2, **o),
    "dx of average, counts": lambda x, w, **o: convx.avg_pool_grad((2, 4, 9, 8), x, 3, stride=1, padding=1, **o),
}


@pytest.mark.parametrize("name", POOLS)
def test_pooling_of_forms_in_turn(name):
    dy = np.round(drawn((2, 4, 8, 2), 5) * 4)  # whole numbers, to be exact in half precision
    for _ in range(2):
        for key, form in FORMS.items():
            if key not in ("complex", "one more row") or "max" not in name:
                x = form(np.round(2 * X))
                same(POOLS[name], x, dy)
                same(POOLS[name], x, form(dy) if key not in ("complex", "one more row") else dy)
    x = np.round(2 * X)
    y = POOLS[name](x, dy)
    for out in (np.zeros_like(y), np.asfortranarray(y), apart(y), misaligned(y), y.view(Mine), y[:1], y.astype("f8"),
                locked(y), y.tolist()):
        if isinstance(out, list) or not out.flags.writeable or out.shape != y.shape or out.dtype != y.dtype:
            assert isinstance(same(POOLS[name], x, dy, out=out), tuple)
        else:
            assert same(POOLS[name], x, dy, out=out) is out
    if name != "dx of average, counts":  # which divides by an array first
        with pytest.MonkeyPatch.context() as patch:  # the long way is not needed any more
            patch.setattr(_pool, "planned", None)
            patch.setattr(_pool_grad, "planned", None)
            assert np.array_equal(POOLS[name](x, dy), y)


def test_the_short_way_is_taken():
    """What the other tests compare: these calls have records, those have none."""
    known, unknown = _conv._FRONTS["conv2d"], {"f2", "c8", "i4", "g"}
    for dtype in ("f4", "f8", *unknown):
        x, w = X.astype(dtype), W.astype(dtype)
        convx.conv2d(x, w, dilation=2)
        assert known.knows(x, w, None, None, {"dilation": 2}) == (dtype not in unknown), dtype
    for name, options in (("strided", {"stride": (2, 1)}), ("winograd", {"padding": 1, "algorithm": "winograd"})):
        LAYER[name](X, W)
        assert known.knows(X, W, None, None, options)
        assert not known.knows(X, W, None, None, options | {"dilation": 1})
    convx.conv2d(X, W, cval=0.0)
    assert [known.knows(X, W, None, None, {"cval": c}) for c in (0.0, -0.0, 0, False, 0j)] == [True] + 4 * [False]
    p = convx.plan("conv2d", X, W)
    q = p.bind(W)
    out = p(X, W)
    p(X, W, out=out)
    assert p.front.knows(X, W, None, None, ()) and p.front.knows(X, W, None, out, ())
    q(X)
    assert q.front.knows(X, q.w, None, None, ()) and not q.front.knows(X, q.w, None, out, ())


@pytest.mark.parametrize("bias", [None, np.arange(6, dtype="f4")], ids=["plain", "bias"])
@pytest.mark.parametrize("bound", [False, True], ids=["plan", "bound"])
def test_plans_with_forms_in_turn(bound, bias):
    p = convx.plan("conv2d", X, W, padding=1, algorithm="gemm")
    q = p.bind(WHOLE_W, bias)
    for _ in range(2):
        for key in ("as it is", "Fortran", "apart", "backwards", "turned", "misaligned", "own dtype", "read-only"):
            x = FORMS[key](WHOLE_X)
            want = _plan.run(p, x, WHOLE_W, bias, None, 1)
            for out in (None, np.full_like(want, np.nan), apart(want), np.zeros(want.shape[::-1], "f4").T):
                y = q(x, out) if bound else p(x, WHOLE_W, bias, out)
                assert np.array_equal(y, want) and (out is None or y is out), key
    assert np.array_equal(q(X, workers=2), q(X))


def test_what_is_wrong_with_out_is_said_again():
    y = convx.conv2d(X, W, padding=1)
    room = np.zeros(3 * y.size, "f4")
    right = {"new": y.copy(), "Fortran": np.asfortranarray(y), "apart": apart(y), "subclass": y.copy().view(Mine),
             "misaligned": misaligned(y)}
    wrong = {"out has shape": y[:1], "out has dtype": y.astype("f8"), "out has dtype >f4": y.astype(">f4"),
             "out is read-only": locked(y), "out must be an ndarray": y.tolist(),
             "out overlaps itself": np.lib.stride_tricks.as_strided(room, y.shape, (288, 36, 4, 4))}
    for out in right.values():
        assert same(convx.conv2d, X, W, padding=1, out=out) is out
    for text, out in wrong.items():
        assert text in same(convx.conv2d, X, W, padding=1, out=out)[1]
    w, x = room[-W.size:].reshape(W.shape), room[-2 * X.size:-X.size].reshape(X.shape)
    x[...], w[...] = X, W
    kept = room.copy()
    for start, name in ((room.size - y.size, "w"), (room.size - 2 * y.size, "x"), (room.size - W.size - y.size, "x")):
        out = room[start:start + y.size].reshape(y.shape)
        error = same(convx.conv2d, x, W, padding=1, out=out) if name == "x" else same(
            convx.conv2d, X, w, padding=1, out=out)
        assert f"out overlaps {name}" in error[1] and np.array_equal(room, kept)


def test_cells_that_lie_between_those_of_out():
    """Inputs and outputs side by side in one array: their bytes mix, their cells do not."""
    want = convx.conv2d(X, W, padding=1)
    big = np.zeros((2, 10, 9, 8), "f4")
    big[:, 6:] = X
    for _ in range(3):
        assert np.array_equal(convx.conv2d(big[:, 6:], W, padding=1, out=big[:, :6]), want)
        assert np.array_equal(big[:, 6:], X)


def test_a_bias_in_out_is_read_before_it_is_written():
    x, w = drawn((1, 2, 20)), drawn((4, 2, 3), 1)
    bias = drawn(4, 2)
    want = convx.conv1d(x, w, bias)
    p = convx.plan("conv1d", x, w)
    for _ in range(3):
        out = np.zeros_like(want)
        out[0, 0, :4] = bias
        assert np.array_equal(p(x, w, out[0, 0, :4], out=out), want)
        out = np.zeros_like(want)
        assert np.array_equal(p(x, w, bias, out=out), want)


def test_errors_after_a_call_that_went_well():
    convx.conv2d(X, W, padding=1)
    wrong = {
        "keyword": lambda: convx.conv2d(X, W, padding=1, colour=2),
        "keyword in its place": lambda: convx.conv2d(X, W, paddings=1),
        "float": lambda: convx.conv2d(X, W, padding=1.0),
        "float in a tuple": lambda: convx.conv2d(X, W, padding=(1, 1.0)),
        "channels": lambda: convx.conv2d(X, W[:, :3], padding=1),
        "rank": lambda: convx.conv1d(X, W, padding=1),
        "bias": lambda: convx.conv2d(X, W, np.zeros(5, "f4"), padding=1),
        "workers": lambda: convx.conv2d(X, W, padding=1, workers=0),
        "workers of a kind": lambda: convx.conv2d(X, W, padding=1, workers="2"),
        "gradient": lambda: convx.conv_grad_input(X, W[:4], (2, 4, 9, 9), padding=1),
    }
    for key, call in wrong.items():
        assert isinstance(same(call), tuple), key
    p = convx.plan("conv2d", X, W, padding=1)
    for _ in range(2):
        p(X, W)
        for x, w in ((X[:1], W), (X, W[:1]), (X.astype("f8"), W), (X, W.astype("f8"))):
            with pytest.raises((ValueError, TypeError), match="the plan was made for"):
                p(x, w)
    big = np.full((1, 1, 8, 8), 2**40)
    for _ in range(2):
        with pytest.raises(OverflowError):
            convx.conv2d(big, big)


def test_options_that_look_alike():
    x, w = drawn((1, 1, 12)), drawn((1, 1, 3), 1)
    for _ in range(2):
        for more in ({"stride": 1}, {"stride": True}, {"stride": 1.0}, {"stride": (1,)}, {"stride": (1.0,)},
                     {"stride": np.int64(2)}, {"stride": 2}, {"padding": "same"}, {"padding": ((1, 2),)},
                     {"padding": ((2, 1),)}, {"dtype": np.float64}, {"dtype": "f8"}, {"dtype": np.dtype("f8")},
                     {"dtype": float}, {"dtype": np.dtype(">f8")}, {"cval": 0.5, "padding": 1},
                     {"cval": 0.0, "padding": 1}, {"cval": -0.0, "padding": 1}, {"cval": 0, "padding": 1},
                     {"padding": 1, "cval": 0.5}, {"padding": 1, "cval": 1 / 2 + 1}, {"padding": 1, "cval": np.nan},
                     {"flip": True}, {"flip": 1}, {"flip": False}, {"boundary": ("wrap",), "padding": 1}):
            same(convx.conv1d, x, w, **more)
    for own in ([1], np.array([1])):  # whoever changes an option gets what it says now
        first = convx.conv1d(x, w, stride=own)
        convx.conv1d(x, w, stride=own)
        own[0] = 2
        assert np.array_equal(convx.conv1d(x, w, stride=own), first[..., ::2])


@pytest.mark.parametrize("shape", [(), (0,), (1,), (0, 3), (1, 1, 1, 1, 1, 1, 1, 1, 1)])
def test_small_and_empty_arrays(shape):
    a = np.ones(shape)
    for mode in ("full", "same", "valid"):
        found = outcome(convx.convolve, a, a, mode)
        for _ in range(2):
            again = outcome(convx.convolve, a, a, mode)
            assert type(again[0]) is type(found[0]) and again[1] == found[1]
            assert np.array_equal(again[0], found[0])
    assert same(convx.conv1d, np.ones((0, 2, 5)), np.ones((3, 2, 3))).shape == (0, 3, 3)
    assert not same(convx.conv1d, np.ones((1, 0, 5)), np.ones((3, 0, 3))).any()


def test_infinities_stay_where_they_belong():
    for spoiler in (np.inf, np.nan):
        w = W.copy()
        w[0, 0, 0, 0] = spoiler
        x = X.copy()
        x[0, 1, 4, 4] = spoiler
        for name in ("conv2d", "winograd", "gemm", "direct", "stencil"):
            with np.errstate(all="ignore"):
                same(LAYER[name], X, w)
                same(LAYER[name], x, W)


def test_the_team_of_every_call():
    """Slots are filled in, and the number of threads is asked for in each call that wants it."""
    said, asked, answers = [], [], iter((3, 5, 7))

    def team(workers):
        asked.append(workers)
        return next(answers)

    front, (x, w, bias, y, threads) = Front(team), SLOTS
    a, b, c = drawn((2, 3)), drawn((3, 2), 1), np.zeros(4)
    front.keep(a, b, None, None, ("k",), c, [(lambda *found: said.append(found), w, x, bias, y, 9, threads)])
    assert front.ready(a, b, None, None, None, ("k",)).shape == (4,) and asked == [None]
    front.ready(a, b, None, None, 2, ("k",))
    assert asked == [None, 2] and [call[-1] for call in said] == [3, 5]
    assert said[0][0] is b and said[0][1] is a and said[0][2] is None and said[0][4] == 9
    assert said[0][3].dtype == c.dtype and said[0][3] is not said[1][3]
    for call in ((b, a, None, None, None, ("k",)), (a, b, c, None, None, ("k",)), (a, b, None, c, None, ("k",)),
                 (a, b, None, None, None, ("l",)), (a, b, None, None, None, {"k": 1}), (a, b, None, None, None, ()),
                 (a.tolist(), b, None, None, None, ("k",)), (a, None, None, None, None, ("k",))):
        assert front.ready(*call) is None
    assert len(said) == 2

    # A small call has one thread and asks nobody, but whoever gives `workers` hears what is wrong with them.
    front.keep(a, b, None, None, ("one",), c, [(lambda *found: said.append(found), y, 1)])
    assert front.ready(a, b, None, None, None, ("one",)) is said[-1][0] and said[-1][1] == 1 and len(asked) == 2
    front.ready(a, b, None, None, 4, ("one",))
    assert asked[-1] == 4

    # An error of a kernel comes through.
    front.keep(a, b, None, None, ("wrong",), c, [(lambda: 1 / 0,)])
    with pytest.raises(ZeroDivisionError):
        front.ready(a, b, None, None, None, ("wrong",))


def test_more_forms_than_are_remembered():
    front, a = Front(None), np.zeros((3, 3))
    for number in range(1100):
        front.keep(np.zeros((number + 1, 1)), None, None, None, (), a, [])
        front.keep(a, None, None, None, (number,), a, [])
    assert front.knows(a, None, None, None, (1099,)) and not front.knows(a, None, None, None, (1000,))
    assert front.knows(np.zeros((1100, 1)), None, None, None, ())
    assert not front.knows(np.zeros((1, 1)), None, None, None, ())


def test_one_plan_in_many_threads_with_forms_in_turn():
    p = convx.plan("conv2d", X, W, padding=1, algorithm="gemm")
    q = p.bind(WHOLE_W)
    forms = [FORMS[key](scale * WHOLE_X) for scale in (1, 2) for key in ("as it is", "Fortran", "apart", "turned")]
    want = [_plan.run(p, x, WHOLE_W, None, None, 1) for x in forms]
    calls = (lambda x: p(x, WHOLE_W), q, lambda x: p(x, WHOLE_W, out=np.zeros((2, 6, 9, 8), "f4")),
             lambda x: q(x, workers=2), lambda x: convx.conv2d(x, WHOLE_W, padding=1, algorithm="gemm"))
    with ThreadPoolExecutor(4) as pool:
        for call in calls:
            for y, aim in zip(pool.map(call, forms * 20), want * 20, strict=True):
                assert np.array_equal(y, aim)


def test_plans_can_be_copied():
    p = convx.plan("conv2d", X, W, padding=1)
    want = _plan.run(p, X, W, None, None, 1)
    for _ in range(2):  # the second time p holds nests and functions of kernels, which stay in this process
        for twin in (copy.copy(p), copy.deepcopy(p), pickle.loads(pickle.dumps(p))):
            for _ in range(2):
                assert np.array_equal(twin(X, W), want)
        q = p.bind(W, np.ones(len(W), W.dtype))
        q(X)
        for twin in (copy.copy(q), copy.deepcopy(q), pickle.loads(pickle.dumps(q))):
            assert np.array_equal(twin(X), q(X)) and not twin.w.flags.writeable
        p(X, W)
    assert repr(q) == f"<BoundPlan {p.problem.text()}>"


def test_results_are_new_arrays():
    first = convx.conv2d(X, W, padding=1)
    kept = first.copy()
    second = convx.conv2d(2 * X, W, padding=1)
    assert not np.shares_memory(first, second) and np.array_equal(first, kept)


@pytest.mark.parametrize("rows", [60, 6000])  # 20 kB, and 2 MB
@pytest.mark.parametrize("order", "CF")
def test_results_start_on_a_cache_line_and_own_their_memory(order, rows):
    x = np.asarray(np.ones((rows, 90), np.float32), order=order)
    pool = np.asarray(np.ones((1, 1, rows, 90), np.float32), order=order)
    for call in (lambda: convx.correlate(x, np.ones((3, 3), np.float32)), lambda: convx.max_pool(pool, 2, stride=1)):
        results = [call() for _ in range(3)]  # the long way, and straight
        for y in results:
            assert y.ctypes.data % 64 == 0 and y.flags.owndata and y.flags.f_contiguous == (order == "F")
        y = results.pop()
        held, size = y.ravel(order="K").copy(), y.size
        left = size
        for count in (3 * size, size // 2, 2 * size):
            y.resize(count, refcheck=False)
            left = min(left, count)
            assert np.array_equal(y[:left], held[:left]) and not y[left:].any()


@pytest.mark.parametrize("offset", [0, 16, 1000, 2048, 4080])
def test_large_results_lie_half_a_page_further_than_x(offset):
    # A load of x waits for a store to y at the same place of another page.
    room = np.ones(513 * 4096)
    first = (-room.ctypes.data + offset) // 8 % 512
    x = room[first:first + 512 * 512].reshape(512, 512)
    taps, image = np.ones((3, 3)), x[None, None]
    for call in (lambda: convx.convolve(x, taps, "same"), lambda: convx.avg_pool(image, 3, stride=1),
                 lambda: convx.convolve(taps, x, "valid")):
        for _ in range(3):
            y = call()
            assert 2048 - 64 < (y.ctypes.data - x.ctypes.data) % 4096 <= 2048


@pytest.mark.once
@pytest.mark.skipif(sys.platform != "linux", reason="memory is kept on Linux")
@pytest.mark.parametrize("rows", [500, 3000])  # 12 MB, and 72 MB
def test_memory_of_large_results_serves_the_next_ones(rows):
    x = np.arange(rows * 3000.0).reshape(rows, 3000)

    def add(number):
        return convx.correlate(x, np.array([[number]]), algorithm="sums")

    first, second = add(1.0), add(2.0)
    places = {first.ctypes.data, second.ctypes.data}
    assert len(places) == 2
    del first
    third = add(3.0)
    assert third.ctypes.data in places and np.array_equal(third, 3 * x) and np.array_equal(second, 2 * x)
    fourth = add(4.0)
    assert fourth.ctypes.data not in places and np.array_equal(third, 3 * x) and np.array_equal(fourth, 4 * x)
    del second, third, fourth
    few = rows * 2 // 3
    small = convx.correlate(x[:few], np.ones((1, 1)), algorithm="sums")  # it would waste a third of a kept one
    assert np.array_equal(small, x[:few])
    with ThreadPoolExecutor(4) as pool:
        for number, y in enumerate(pool.map(add, map(float, range(8)))):
            assert np.array_equal(y, number * x)


@pytest.mark.once
@pytest.mark.skipif(sys.platform != "linux", reason="memory is kept on Linux")
def test_what_is_kept_is_given_up_for_a_result():
    code = """
import resource
from pathlib import Path
import numpy as np, convx
x = np.ones((5000, 3000))

def add(rows):
    return convx.correlate(x[:rows], np.ones((1, 1)), algorithm="sums", workers=1)

add(100)
first, second = add(4000), add(4000)  # 96 MB each
del first, second
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, -1))
print((add(5000) == 1).all())  # 120 MB
try:
    np.ones(2 * 10**7)
except MemoryError:
    print("and no more")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == ["True", "and no more"], done.stderr


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
def test_large_results_are_given_back():
    def peak():
        return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines()
                    if line.startswith("VmHWM"))

    x, w = np.ones((1, 1, 1500, 1500), np.float32), np.ones((1, 1, 3, 3), np.float32)
    convx.conv2d(x, w, padding="same")
    before = peak()
    for _ in range(100):  # 9 MB each
        convx.conv2d(x, w, padding="same")
    assert peak() - before < 100_000  # kB
