"""Thread counts, the same bits for every count, many threads on one plan, fork; plans and explanations."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest
from arrays import plain, whole

import convx
from convx import _threads
from convx._select import NAMES
from convx._solvers import winograd

PROBLEMS = {  # x, w, options: one of each kind of work
    "image": ((1, 1, 130, 141), (1, 1, 5, 5), {"padding": "same"}),
    "layer": ((2, 16, 40, 40), (24, 16, 3, 3), {"padding": 1}),
    "channels last": ((2, 40, 40, 16), (24, 3, 3, 16), {"padding": 1, "layout": "NHWC"}),
    "matlab": ((40, 40, 16, 2), (3, 3, 16, 24), {"padding": 1, "layout": "HWCN"}),
    "strided": ((1, 8, 65, 63), (16, 8, 3, 3), {"stride": 2, "padding": 1}),
    "depthwise": ((2, 32, 50, 50), (32, 1, 3, 3), {"groups": 32, "padding": 1}),
    "dilated, reflected": ((1, 8, 60, 60), (8, 8, 3, 3), {"dilation": 2, "padding": 4, "boundary": "reflect"}),
    "1 x 1": ((1, 32, 60, 60), (32, 32, 1, 1), {}),
    "one axis": ((1, 1, 60000), (1, 1, 31), {"padding": "full"}),
    "volume": ((1, 4, 20, 20, 20), (8, 4, 3, 3, 3), {"padding": 1}),
    "transforms": ((2, 1, 200, 210), (1, 1, 31, 33), {"padding": "same"}),
    "four axes": ((1, 2, 9, 9, 9, 9), (2, 2, 2, 2, 2, 2), {}),
    "one output": ((1, 64, 24, 24), (4, 64, 24, 24), {}),
}


@pytest.fixture(autouse=True)
def same_count_afterwards():
    count = convx.get_num_threads()
    yield
    convx.set_num_threads(count)


def python(code, **environment):
    """Standard output of a Python of its own."""
    kept = {k: v for k, v in os.environ.items() if k not in ("CONVX_NUM_THREADS", "OMP_NUM_THREADS")}
    done = subprocess.run([sys.executable, "-c", code], env=kept | environment, capture_output=True, text=True,
                          timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-800:]
    return done.stdout.strip()


def test_counts_nest_and_come_back():
    convx.set_num_threads(3)
    assert convx.get_num_threads() == 3
    with convx.threads(2):
        assert convx.get_num_threads() == 2
        with convx.threads(5):
            assert convx.get_num_threads() == 5
        assert convx.get_num_threads() == 2
        convx.set_num_threads(4)  # for those outside any block
        assert convx.get_num_threads() == 2
    assert convx.get_num_threads() == 4
    with pytest.raises(KeyError), convx.threads(1):
        raise KeyError
    assert convx.get_num_threads() == 4


def test_a_block_is_of_its_own_thread():
    convx.set_num_threads(2)
    with ThreadPoolExecutor(1) as pool, convx.threads(7):
        assert pool.submit(convx.get_num_threads).result() == 2
        pool.submit(convx.set_num_threads, 3).result()
        assert convx.get_num_threads() == 7
    assert convx.get_num_threads() == 3


@pytest.mark.parametrize("bad, kind", [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("2", TypeError),
                                       (None, TypeError)])
def test_counts_are_checked(bad, kind):
    before = convx.get_num_threads()
    with pytest.raises(kind, match="n"):
        convx.set_num_threads(bad)
    with pytest.raises(kind, match="n"), convx.threads(bad):
        pass
    assert convx.get_num_threads() == before
    convx.set_num_threads(np.int64(2))
    assert convx.get_num_threads() == 2


@pytest.mark.once
def test_the_environment_sets_the_default():
    code = "import convx; print(convx.get_num_threads(), convx.show_config('dict')['threads'])"
    free = int(python(code).split()[0])
    assert 1 <= free <= (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    assert python(code, CONVX_NUM_THREADS="1") == "1 1"
    assert python(code, OMP_NUM_THREADS="1") == "1 1"
    assert python(code, OMP_NUM_THREADS="1,4") == "1 1"
    for name, junk in product(("CONVX_NUM_THREADS", "OMP_NUM_THREADS"), ("", "many", "0", "-3")):
        assert python(code, **{name: junk}) == f"{free} {free}", junk
    code = ("import warnings\nwith warnings.catch_warnings(record=True) as told:\n import convx\n"
            "print([str(w.message) for w in told])")
    assert python(code, CONVX_NUM_THREADS="") == python(code, OMP_NUM_THREADS="many") == "[]"
    assert python(code, CONVX_NUM_THREADS="1.5").startswith('["CONVX_NUM_THREADS=\'1.5\' is no number of threads')
    code = "import convx; convx.set_num_threads(3); print(convx.get_num_threads())"
    assert python(code, CONVX_NUM_THREADS="1") == "3"


@pytest.mark.once  # test_laws.py asks every row
@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64])
def test_the_same_bits_for_every_count(name, dtype):
    x_shape, w_shape, options = PROBLEMS[name]
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal(x_shape).astype(dtype), rng.standard_normal(w_shape).astype(dtype)
    able = [row[0] for row in convx.explain("conv", x, w, **options).rows if row[1] is None and row[0] != "reference"]
    assert able or len(w_shape) > 5
    for algorithm in ("auto", *able):
        try:
            y = convx.conv(x, w, algorithm=algorithm, workers=1, **options)
        except ValueError as error:  # explain speaks of the nest with the most products
            assert "refused" in str(error)
            continue
        for workers in (2, 3, 5):
            assert np.array_equal(convx.conv(x, w, algorithm=algorithm, workers=workers, **options), y), workers
        with convx.threads(5):
            # Words that were not said before: a plan of its own, made under this count, chooses the same.
            spelled = {"stride": 1, "dilation": 1} | options
            spelled = {k: (v,) * (len(w_shape) - 2) if k in ("stride", "dilation") else v for k, v in spelled.items()}
            assert np.array_equal(convx.conv(x, w, algorithm=algorithm, **spelled), y)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_choice_does_not_depend_on_the_count(name):
    x_shape, w_shape, options = PROBLEMS[name]
    x, w = np.empty(x_shape, np.float32), np.empty(w_shape, np.float32)
    chosen = set()
    for count in (1, 2, 8, 64):
        with convx.threads(count):
            chosen.add(convx.explain("conv", x, w, **options).chosen)
    assert len(chosen) == 1


@pytest.mark.parametrize("algorithm", [n for n in NAMES if n not in ("fft", "reference")])
@pytest.mark.parametrize("stride", [1, 2])
def test_infinite_weights_for_every_count(stride, algorithm):
    """Where a tap reads nothing its weight does no harm: how the sums beside it are made is no matter of threads."""
    rng = np.random.default_rng(5)
    for shape, w_shape, groups in (((1, 1, 11, 23, 120), (1, 1, 3, 8, 5), 1), ((2, 6, 5, 9, 70), (6, 3, 4, 3, 3), 2)):
        x, w = rng.standard_normal(shape), rng.standard_normal(w_shape)
        for spot in ((0, 0, 0, 0, 0), (0, 0, -1, -1, -1), (0, 0, 1, 0, -1)):
            infinite = w.copy()
            infinite[spot] = np.inf
            for order in (x, np.asfortranarray(x)):
                try:
                    one, *others = [convx.conv3d(order, infinite, padding=2, stride=(1, 1, stride), groups=groups,
                                                 algorithm=algorithm, workers=n) for n in (1, 2, 3)]
                except ValueError:  # refused
                    continue
                for y in others:
                    assert np.array_equal(one, y, equal_nan=True), (shape, spot)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_integers_for_every_count(dtype):
    x, w = whole((2, 4, 60, 60), 2, dtype, 0, 9), whole((6, 4, 3, 3), 3, dtype, 0, 9)
    want = plain(x.astype(float), w.astype(float), (60, 60), (1, 1), (1, 1), (1, 1))
    for scale in (1, 2**40 if dtype == np.int64 else 1):
        for workers in (1, 2, 3, 5):
            y = convx.conv(x * dtype(scale), w, padding=1, workers=workers)
            assert np.array_equal(y, want.astype(np.int64) * scale)


def test_many_threads_on_conv_and_on_one_plan():
    w = whole((8, 4, 3, 3), 4)
    inputs = [whole((1, 4, 40, 40), seed) for seed in range(12)]
    want = [plain(x, w, (40, 40), (1, 1), (1, 1), (1, 1)) for x in inputs]
    options = {"padding": 1, "algorithm": "gemm"}  # auto's tiles of 3x3 taps round even whole numbers
    p = convx.plan("conv", inputs[0], w, **options)
    q = p.bind(w)
    calls = {
        "conv": lambda x: convx.conv(x, w, **options),
        "conv with two workers": lambda x: convx.conv(x, w, workers=2, **options),
        "plan": lambda x: p(x, w),
        "plan, Fortran order": lambda x: p(np.asfortranarray(x), w),
        "bound plan": q,
        "into out": lambda x: p(x, w, out=np.full((1, 8, 40, 40), np.nan)),
    }
    with ThreadPoolExecutor(6) as pool:
        for name, call in calls.items():
            for got, y in zip(pool.map(call, inputs * 4), want * 4, strict=True):
                assert np.array_equal(got, y), name


def test_threads_with_different_problems_and_counts():
    def one(seed):
        rng = np.random.default_rng(seed)
        taps, size = int(rng.integers(1, 5)), int(rng.integers(20, 60))
        x, w = whole((1, 3, size, size), seed), whole((4, 3, taps, taps), seed + 1)
        with convx.threads(seed % 3 + 1):
            y = convx.conv(x, w, algorithm="gemm")  # exact sums
            assert convx.get_num_threads() == seed % 3 + 1
        out = size - taps + 1
        return np.array_equal(y, plain(x, w, (out, out), (1, 1), (0, 0), (1, 1)))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(one, range(60)))


@pytest.mark.parametrize("count", [1, 2, 3, 20])
def test_shared_work_is_done_once(count):
    done, threads = [], set()

    def work(task):
        threads.add(threading.get_ident())
        time.sleep(0.001)
        done.append(task)

    _threads.share(work, iter(range(30)), count)
    assert sorted(done) == list(range(30)) and len(threads) <= count
    _threads.share(work, (), count)
    assert len(done) == 30


def test_shared_work_ends_with_its_first_error_and_waits_for_all():
    running, wrong = [], threading.Event()

    def work(task):
        running.append(task)
        try:
            if task == 3:
                wrong.set()
                raise KeyError("three")
            wrong.wait(0.2)
            time.sleep(0.01)
        finally:
            running.remove(task)

    for _ in range(5):
        wrong.clear()
        with pytest.raises(KeyError, match="three"):
            _threads.share(work, range(1000), 4)
        assert not running
    _threads.share(running.append, range(3), 4)
    assert sorted(running) == [0, 1, 2]


def test_work_may_be_shared_from_many_threads_and_from_shared_work():
    def outer(_):
        sums = []
        _threads.share(lambda task: _threads.share(sums.append, range(task), 3), range(5), 3)
        return len(sums)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(outer, range(40))) == [10] * 40


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_computes_alone_and_returns():
    # In a Python of its own: fork beside the threads of this process would warn.
    code = """
import os, time, warnings
import numpy as np, convx
from convx._solvers.winograd import error_factor
warnings.simplefilter("ignore", DeprecationWarning)
x, w = np.ones((4, 16, 64, 64), np.float32), np.ones((16, 16, 3, 3), np.float32)
convx.set_num_threads(2)
p = convx.plan("conv", x, w).bind(w)
def right(y):
    return bool((abs(y - 144) <= error_factor * 146 * np.finfo("f4").eps * 144).all())  # auto's tiles of 3x3 taps round
for algorithm in ("auto", "gemm", "direct", "fft"):
    assert right(convx.conv(x, w, algorithm=algorithm))  # the team of threads exists now
assert right(p(x))
child = os.fork()
if child == 0:
    good = convx.get_num_threads() == 1
    for workers in (None, 2, -1):
        for algorithm in ("auto", "gemm", "direct", "fft"):
            good = good and right(convx.conv(x, w, algorithm=algorithm, workers=workers))
    good = good and right(p(x))
    with convx.threads(4):
        good = good and bool((convx.conv(x, w, stride=2) == 144).all()) and convx.get_num_threads() == 1
    os._exit(0 if good else 3)
for _ in range(600):
    pid, status = os.waitpid(child, os.WNOHANG)
    if pid:
        break
    time.sleep(0.1)
else:
    os.kill(child, 9)
    os.waitpid(child, 0)
    raise SystemExit("the child hangs")
assert os.waitstatus_to_exitcode(status) == 0, status
assert convx.get_num_threads() == 2
assert right(convx.conv(x, w))
print("fine")
"""
    assert python(code) == "fine"


def test_the_interpreter_runs_on_during_a_call():
    # A long call without the GIL: another thread counts meanwhile.
    code = """
import threading, numpy as np, convx
x, w = np.ones((8, 64, 128, 128), np.float32), np.ones((64, 64, 3, 3), np.float32)
p = convx.plan("conv", x, w)
p(x[:], w)
steps, done = [], threading.Event()
def count():
    while not done.is_set():
        steps.append(done.wait(0.001))
other = threading.Thread(target=count)
other.start()
before = len(steps)
p(x, w, workers=1)
after = len(steps)
done.set()
other.join()
print(after - before)
"""
    assert int(python(code)) > 1


def test_plans_are_reused_and_write_into_out():
    x, w, bias = whole((2, 3, 9, 9), 5), whole((4, 3, 3, 3), 6), np.arange(4.0)
    y = convx.conv(x, w, bias, stride=2)
    p = convx.plan("conv", x, w, stride=2)
    out = np.full(y.shape, np.nan)
    for _ in range(3):
        assert np.array_equal(p(x, w, bias), y)
        assert p(x, w, bias, out=out) is out
        assert np.array_equal(out, y)
    # Other memory, other values: one plan.
    assert np.array_equal(p(np.asfortranarray(x), w[::1].copy(order="F"), bias), y)
    assert np.array_equal(p(2 * x, w), convx.conv(2 * x, w, stride=2))
    assert np.array_equal(p(x.tolist(), w.tolist()), convx.conv(x, w, stride=2))


def test_a_plan_needs_no_values():
    class Shaped:
        shape, dtype = (1, 2, 8), np.dtype("f4")

    p = convx.plan("conv1d", Shaped(), np.empty((3, 2, 3), "f4"))
    x, w = whole((1, 2, 8), 7, "f4"), whole((3, 2, 3), 8, "f4")
    assert np.array_equal(p(x, w), convx.conv(x, w))
    giant = type("Giant", (), {"shape": (64, 256, 1024, 1024), "dtype": "f4"})()
    assert "n64 g1 c256 m256" in str(convx.explain("conv", giant, np.empty((256, 256, 3, 3), "f4"), padding=1))


@pytest.mark.parametrize("algorithm", ["auto", "sums", "direct", "reference"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "i2", "i8", "f2"])
def test_bound_weights_are_a_copy(algorithm, dtype):
    x, w, bias = whole((1, 4, 12, 12), 9, dtype, 0), whole((8, 4, 3, 3), 10, dtype, 0), whole((8,), 11, dtype, 0)
    y = convx.conv(x, w, bias, padding=1, algorithm=algorithm)
    # Sums of whole numbers are exact in any order; auto may take tiles of Winograd for one order of memory only.
    # Float16 is summed in float32 and then rounded; complex numbers are parts, each a sum of twice the products.
    near = stored = 0
    if algorithm == "auto" and y.dtype.kind in "fc":
        parts, stored = 2 if dtype == "c8" else 1, np.finfo(dtype).eps if dtype == "f2" else 0
        size = np.abs(x).max() * (np.abs(w.real) + np.abs(w.imag)).sum((1, 2, 3), float).max() + np.abs(bias).max()
        eps = np.finfo("f4" if dtype == "f2" else dtype).eps
        near = 2 * parts * winograd.error_factor * (parts * w[0].size + 3) * eps * size

    def close(a, b):
        return (np.abs(a - b) <= near + stored * np.maximum(np.abs(a), np.abs(b)).astype(float)).all()

    assert close(y, convx.conv(x, w, bias, padding=1, algorithm="sums"))
    q = convx.plan("conv", x, w, padding=1, algorithm=algorithm).bind(w, bias)
    w[...], bias[...] = 0, 0
    assert np.array_equal(q(x), y)
    w[...] = 1
    out = np.zeros_like(y)
    assert q(x, out=out) is out
    assert np.array_equal(out, y)
    assert close(q(np.asfortranarray(x)), y) and np.array_equal(q(x, workers=2), y)
    assert np.array_equal(q(x.tolist() if dtype in ("f8", "i8") else x), y)


def test_explain_names_every_solver():
    x, w = np.empty((1, 3, 32, 32), np.float32), np.empty((8, 3, 3, 3), np.float32)
    for options in ({}, {"padding": 1}, {"stride": 2, "dilation": 2}, {"boundary": "wrap", "padding": 2}):
        e = convx.explain("conv", x, w, **options)
        lines = str(e).splitlines()
        assert lines[0] == e.problem and lines[0].startswith("n1 g1 c3 m8 i32x32 k3x3") and "float32" in lines[0]
        assert [line.split()[0] for line in lines[1:]] == [row[0] for row in e.rows]
        assert {"stencil", "gemm", "direct", "reference"} <= {row[0] for row in e.rows}
        assert e.rows[-1][0] == "reference" and e.rows[-1][1] is None
        assert sum("chosen" in line for line in lines) == 1
        for line, (name, reason, seconds) in zip(lines[1:], e.rows, strict=True):
            assert ("chosen" in line) == (name == e.chosen)
            if reason is None:
                assert seconds > 0 and "refused" not in line
            else:
                assert line.split(maxsplit=1)[1] == f"refused: {reason}" and name != e.chosen
        with convx.threads(1):  # what the choice compares, whatever the number of threads
            alone = convx.explain("conv", x, w, **options)
        able = {row[0]: row[2] for row in alone.rows if row[1] is None}
        assert e.chosen == alone.chosen and able[e.chosen] == min(able.values())
        # The choice is the one that is made: naming it gives the same bits.
        rng = np.random.default_rng(12)
        a, b = rng.standard_normal(x.shape).astype("f4"), rng.standard_normal(w.shape).astype("f4")
        assert np.array_equal(convx.conv(a, b, **options), convx.conv(a, b, algorithm=e.chosen, **options))


def test_explain_of_what_is_named_empty_or_not_compiled():
    x, w = np.zeros((1, 3, 16)), np.zeros((8, 3, 3))
    assert convx.explain("conv", x, w, algorithm="direct").chosen == "direct"
    assert convx.explain("conv", x.astype("g"), w).chosen == "reference"
    for shape, taps in (((0, 3, 16), (8, 3, 3)), ((1, 0, 16), (8, 0, 3)), ((1, 3, 0), (8, 3, 1))):
        e = convx.explain("conv", np.empty(shape), np.empty(taps), padding="same")
        assert str(e).splitlines()[0] == e.problem
    assert "int64" in convx.explain("conv", x.astype("i2"), w.astype("i2")).problem
    p = convx.plan("conv", x, w)
    assert str(p) == str(convx.explain("conv", x, w)) and repr(convx.explain("conv", x, w)) == str(p)


def test_threads_that_come_and_go():
    # Each brings a team of its own and leaves it.
    x, w = np.ones((2, 8, 40, 40)), np.ones((8, 8, 3, 3))
    for _ in range(30):
        with ThreadPoolExecutor(1) as pool:
            y = pool.submit(convx.conv, x, w, workers=2).result()
            assert (np.abs(y - 72) <= winograd.error_factor * 74 * np.finfo(float).eps * 72).all()


def test_bound_plans_check_early_and_know_exchanged_arrays():
    x, w = np.zeros((1, 3, 16)), np.zeros((8, 3, 3))
    p = convx.plan("conv", x, w)
    with pytest.raises(ValueError, match="8 output channels"):
        p.bind(w, np.zeros(7))
    with pytest.raises(ValueError, match="the plan was made for"):
        p.bind(w[:, :2])
    a, v = np.arange(3.0), np.arange(7.0) + 1  # mode="valid" walks over the larger one, here v
    for name, function in (("convolve", convx.convolve), ("correlate", convx.correlate)):
        q = convx.plan(name, a, v, mode="valid").bind(v)
        for scale in (1, 2):
            assert np.array_equal(q(scale * a), function(scale * a, v, "valid"))
