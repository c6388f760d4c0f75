"""Arrays stored in one type and summed in another: exact values, rounding, ends, every memory, no whole copies."""

import pickle
from fractions import Fraction

import numpy as np
import pytest
from arrays import grown, plain, whole, writable, zoo
from hypothesis import given
from hypothesis import strategies as st

import convx
import convx.image
import convx.matlab
from convx import _kernels

SMALL = ("u1", "i1", "u2", "i2", "?")
WIDE = ("u4", "i4", "u8", "i8")
BOUNDARIES = ("constant", "edge", "reflect", "symmetric", "wrap")
HALF = _kernels.load("stencil", "f32").HALF


def drawn(shape, dtype, seed=0):
    """Anything that the type holds, its ends often."""
    rng, dtype = np.random.default_rng(seed), np.dtype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    limits = np.iinfo(dtype)
    anything = rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return np.where(rng.random(shape) < 0.3, rng.choice(np.array([limits.min, limits.max], dtype), shape), anything)


def sums(a, v, boundary="constant", cval=0):
    """Sums over two axes in Python's integers, of a's size, v not turned around."""
    x, w = (np.array(z, object)[None, None] for z in (a + 0, v))
    return plain(x, w, a.shape, (1, 1), [k // 2 for k in v.shape], (1, 1), boundary=(boundary,) * 2,
                 cval=cval)[0, 0]


def rounded(value):
    """A whole number or a fraction to the nearest whole number, halves away from zero."""
    twice = abs(2 * value) + 1
    return int(twice // 2) * (1 if value >= 0 else -1)


def as_type(values, dtype):
    """Exact numbers as an integer type: rounded, the ends for what lies beyond."""
    dtype = np.dtype(dtype)
    low, high = (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    return np.array([min(max(rounded(v), low), high) for v in values.flat], dtype).reshape(values.shape)


def correlate(a, v, **options):
    return convx.correlate(a, v, "same", algorithm=options.pop("algorithm", "stencil"), **options)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("dtype", SMALL + WIDE[:2])
def test_integers_are_exact(dtype, boundary):
    a, v = drawn((21, 150), dtype), whole((3, 5), 1, "i1", -9, 9)
    want = sums(a, v, boundary, 3)
    stored = {kind: as_type(want, kind) for kind in SMALL[:4] + WIDE}
    for x in (a, np.asfortranarray(a)):
        y = correlate(x, v, boundary=boundary, cval=3)
        assert y.dtype == np.int64 and np.array_equal(y, want)
        for kind, aim in stored.items():
            y = correlate(x, v, boundary=boundary, cval=3, dtype=kind, overflow="saturate")
            assert y.dtype == np.dtype(kind) and np.array_equal(y, aim), kind


@pytest.mark.parametrize("sums_as", ["f4", "f8"])
@pytest.mark.parametrize("kind", SMALL + WIDE)
def test_ties_and_ends(kind, sums_as):
    """Multiples of a quarter, from far below the ends to far above them, and quotients by six."""
    near = [Fraction(n, 4) for n in range(-12, 13)]
    limits = (0, 1) if kind == "?" else (int(np.iinfo(kind).min), int(np.iinfo(kind).max))
    values = {float(np.dtype(sums_as).type(float(end + n))) for end in (0, *limits) for n in near}
    values |= {s * 2.0 ** e for s in (1, -1) for e in (23, 24, 30, 31, 32, 52, 53, 62, 63, 64, 100)}
    line = np.array(sorted(values), sums_as)
    for a in (line[None], np.resize(line, (5, 300))):
        for algorithm in ("stencil", "reference"):  # in the kernel, and by whole arrays
            y = correlate(a, np.ones((1, 1)), dtype=kind, overflow="saturate", sums=sums_as, algorithm=algorithm)
            assert np.array_equal(y, as_type(np.array([Fraction(float(v)) for v in a.flat]).reshape(a.shape), kind))
    odd = np.array([[np.nan, np.inf, -np.inf]], sums_as)
    y = correlate(odd, np.ones((1, 1)), dtype=kind, overflow="saturate", sums=sums_as)
    assert y.tolist() == [[0, limits[1], limits[0]]]
    thirds = whole((4, 90), 2, "i2", -3000, 3000)
    y = correlate(thirds, np.ones((1, 1)), dtype=kind, overflow="saturate", sums=sums_as, divisor=-6, offset=2)
    assert np.array_equal(y, as_type(np.vectorize(lambda v: Fraction(int(v), -6) + 2)(thirds), kind))


def test_just_below_one_half():
    for name, one in (("f4", np.float32(1)), ("f8", np.float64(1))):
        below = np.nextafter(one / 2, 0 * one)
        a = np.full((3, 200), below)
        for kind in ("u1", "i2", "i4", "u8", "?"):
            for algorithm in ("stencil", "reference"):
                options = {"dtype": kind, "overflow": "saturate", "algorithm": algorithm}
                assert not correlate(a, np.ones((1, 1), name), **options).any()
                assert correlate(a, np.full((1, 1), 1.01, name), **options).all()


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4"])
@pytest.mark.parametrize("kind", ["u1", "i2", "f4"])
def test_every_memory(dtype, kind):
    a = drawn((9, 140), "i1", 4).astype(dtype)
    v = whole((3, 4), 5, "f8")
    want = sums(a.astype(int), v.astype(int))
    want = want.astype(float) if kind == "f4" else as_type(want, kind)
    for _, x in zoo(a):
        for name, out in writable(np.zeros(a.shape, kind)):
            y = correlate(x, v, out=out, sums="f8", overflow="saturate")
            assert y is out and np.array_equal(out, want), name


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "f4", "i4"])
def test_pictures_at_points(kind):
    """Rows that are combined from points, in every memory, with what lies beyond the ends, nan and infinities."""
    a, v = drawn((75, 139), "u1", 5).astype("f4"), np.random.default_rng(6).standard_normal((7, 4)) * 3
    for spoiled in (False, True):
        if spoiled:
            a[20, 30], a[40, 100], a[0, 0] = np.nan, np.inf, -np.inf
        for more in ({}, {"divisor": 2.5, "offset": 3}):
            exact = correlate(a, v, sums="f8", dtype="f8", algorithm="reference", **more)
            options = {"sums": "f8", "overflow": "saturate", **more}
            want = correlate(a, v, dtype=kind, algorithm="reference", **options)
            part = np.where(np.isfinite(exact), exact, 0) % 1
            sure = abs(part - 0.5) > 1e-9  # no tie that rounding decides
            for _, x in zoo(a):
                for name, out in writable(np.zeros(a.shape, kind)):
                    for workers in (1, 2):
                        correlate(x, v, out=out, algorithm="stencil_winograd", workers=workers, **options)
                        if kind == "f4":
                            assert np.allclose(out, want, rtol=1e-6, atol=1e-9, equal_nan=True), name
                        else:
                            assert np.array_equal(out[sure], want[sure]), name


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "HWCN"])
@pytest.mark.parametrize("options", [
    {}, {"stride": 2, "padding": 1}, {"dilation": (2, 3), "padding": 4, "boundary": "wrap"},
    {"groups": 2, "flip": True}, {"stride": (1, 3), "padding": "same", "boundary": "symmetric"}], ids=str)
def test_layers_of_integers(options, layout):
    groups = options.get("groups", 1)
    x, w = drawn((2, 4, 11, 37), "u1", 6), drawn((6, 4 // groups, 3, 2), "i1", 7)
    aim = convx.conv(x.astype(np.int64), w.astype(np.int64), algorithm="reference", **options)
    x, w = ((x, w) if layout == "NCHW" else (np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (x, w))
            if layout == "NHWC" else (np.asfortranarray(np.moveaxis(a, (0, 1), (-1, -2))) for a in (x, w)))
    back = {"NCHW": (0, 1, 2, 3), "NHWC": (0, 3, 1, 2), "HWCN": (3, 2, 0, 1)}[layout]
    for algorithm in ("stencil", "gemm", "direct", "auto"):
        y = convx.conv(x, w, layout=layout, algorithm=algorithm, **options)
        assert np.array_equal(y.transpose(back), aim), algorithm
        y = convx.conv(x, w, layout=layout, algorithm=algorithm, dtype="i2", overflow="saturate", **options)
        assert np.array_equal(y.transpose(back), aim.clip(-2**15, 2**15 - 1)), algorithm


@pytest.mark.parametrize("dtype", ["u1", "u2", "i1", "i2"])
def test_sums_at_the_edges_of_exactness(dtype):
    """The largest sums that float32 holds, the first that it does not, and those beyond float64."""
    a = np.full((8, 90), np.iinfo(dtype).max, dtype)
    a[::2, ::3] = np.iinfo(dtype).min
    most = 1 << (8 * a.itemsize - (dtype[0] == "i"))
    for bits in (24, 53, 62):
        for step in (-2, -1, 0, 1, 2):
            v = np.array([[2**bits // most // 2, 1, 2**bits // most // 2 + step]], np.int64)
            assert np.array_equal(convx.correlate(a, v, "same"), sums(a, v))


@given(st.integers(0, 2**32 - 1), st.sampled_from(SMALL), st.sampled_from(["?", "u1", "i2", "u4", "i8", "u8", "f4"]))
def test_any_geometry(seed, dtype, kind):
    rng = np.random.default_rng(seed)
    shape, taps = rng.integers(1, [5, 200]), rng.integers(1, [5, 12])
    a, v = drawn(shape, dtype, seed), rng.integers(-3, 4, taps)
    boundary, cval = rng.choice(BOUNDARIES), int(rng.integers(-3, 4))
    want = sums(a, v, boundary, cval)
    offset = float(rng.integers(-9, 9) / 2)
    y = correlate(a, v, boundary=str(boundary), cval=cval, sums="f8", dtype=kind, overflow="saturate", divisor=2,
                  offset=offset)
    half = np.vectorize(lambda n: Fraction(int(n), 2) + Fraction(offset), otypes=[object])(want)
    assert np.array_equal(y, half.astype(float).astype(np.float32) if kind == "f4" else as_type(half, kind))


def test_volumes_and_lines():
    for shape, taps in (((301,), (7,)), ((5, 6, 130), (3, 2, 5)), ((3, 4, 5, 66), (2, 3, 1, 4))):
        a, v = drawn(shape, "i2", 8), whole(taps, 9, "i1")
        aim = convx.correlate(a.astype(np.int64), v, algorithm="reference")
        for algorithm in ("stencil", "auto"):
            assert np.array_equal(convx.correlate(a, v, algorithm=algorithm), aim)
            y = convx.correlate(a, v, algorithm=algorithm, dtype="u2", overflow="saturate")
            assert np.array_equal(y, aim.clip(0, 65535))
    a = drawn((3, 40), "u1")  # v is the larger one
    v = whole((5, 90), 10, "i1")
    assert np.array_equal(convx.correlate(a, v, "valid"), convx.correlate(a, v, "valid", algorithm="reference"))


def test_products_of_vectors():
    a, v = drawn((300, 500), "u1", 11), np.outer(whole(15, 12, int, 1, 3), whole(15, 13, int, -2, 3))
    whole_sums = convx.correlate(a.astype(np.int64), v, "same", algorithm="stencil")
    assert np.array_equal(convx.correlate(a, v, "same"), whole_sums)
    y = convx.correlate(a, v, "same", dtype="u1", overflow="saturate", sums="f8", divisor=32, offset=100)
    aim = np.floor(abs(whole_sums / 32 + 100) + 0.5) * np.sign(whole_sums / 32 + 100)
    assert np.array_equal(y, aim.clip(0, 255))


@pytest.mark.parametrize("kind", ["u1", "i4", "f4"])
def test_infinite_weights(kind):
    """Where a tap meets padding an infinite weight adds nothing, however x is stored and whatever ran before."""
    a = np.abs(drawn((6, 150), "i1")).astype("u1") // 64
    for v in (np.ones((3, 3)), np.array([[np.inf, 1, 0], [1, 2, 1], [0, 1, np.nan]]), np.ones((3, 3))):
        aim = correlate(a.astype(float), v, algorithm="reference")
        y = correlate(a, v, sums="f8", dtype=kind, overflow="saturate")
        if kind == "f4":
            assert np.array_equal(y, aim, equal_nan=True)
        else:
            top = np.iinfo(kind).max
            assert np.array_equal(y, np.nan_to_num(aim, nan=0, posinf=top).clip(0, top))


def test_bits_depend_on_nothing_but_the_values():
    a, v = drawn((3, 120, 333), "u2", 14), np.random.default_rng(15).random((1, 7, 5))
    for sums_as in ("f4", "f8"):
        options = {"sums": sums_as, "dtype": "f4", "axes": (1, 2)}
        alone = convx.correlate(a, v, "same", workers=1, **options)
        assert np.array_equal(convx.correlate(a, v, "same", workers=3, **options), alone)
        for image in range(3):
            assert np.array_equal(convx.correlate(a[image:image + 1], v, "same", **options), alone[image:image + 1])
        converted = convx.correlate(a.astype(sums_as), v.astype(sums_as), "same", axes=(1, 2)).astype("f4")
        assert np.array_equal(alone, converted)
        turned = convx.correlate(np.asfortranarray(a), v, "same", **options)
        assert np.allclose(turned, alone, rtol=50 * np.finfo("f4").eps)


def test_half_floats():
    a = np.random.default_rng(16).standard_normal((7, 260)).astype("f2")
    a[0, :6] = 6e-8, -6e-8, 3e-5, 0, 65504, 65504
    v = np.array([[1, 0.5, 1]], "f2")
    aim = correlate(a.astype("f4"), v.astype("f4"))
    with np.errstate(over="ignore"):
        want = aim.astype("f2")
    assert np.isinf(want).any()
    for algorithm in ("stencil", "auto", "direct"):
        y = correlate(a, v, algorithm=algorithm)
        assert y.dtype == np.float16 and np.array_equal(y, want)
    assert np.array_equal(correlate(a, v, dtype="f4"), aim)
    assert np.array_equal(correlate(a, v.astype("f8"), sums="f8"), correlate(a.astype("f8"), v.astype("f8")))


@pytest.mark.once
def test_no_array_of_floats_is_made():
    a = drawn((700, 900), "u1")
    v, smooth = whole((3, 3), 1, "i1"), np.full((5, 5), 1 / 25)
    for out, call in (
            (8, lambda: convx.correlate(a, v, "same")),
            (1, lambda: convx.correlate(a, v, "same", dtype="u1", overflow="saturate")),
            (2, lambda: convx.correlate(a, v, "same", dtype="i2")),  # |sums| < 9 * 4 * 255 are sure to fit
            (1, lambda: convx.image.apply(a, smooth)),
            (1, lambda: convx.image.apply(a, "sharpen", border="wrap")),
            (1, lambda: convx.matlab.imfilter(a, smooth, "replicate")),
            (1, lambda: convx.matlab.imfilter(a, v.astype(float))),
            (8, lambda: convx.matlab.conv2(a, smooth))):
        assert grown(call) < 1.1 * out * a.size + 100_000
    half = a.astype("f2")
    if HALF:
        assert grown(lambda: convx.correlate(half, smooth.astype("f2"))) < 1.1 * half.nbytes + 100_000


@pytest.mark.once
@pytest.mark.parametrize(("options", "error", "text"), [
    ({"sums": "i4"}, TypeError, "sums=int32: products are summed in float32 or float64"),
    ({"sums": "f2"}, TypeError, "sums=float16"),
    ({"divisor": 0}, ValueError, "divisor=0, offset=0: both must be finite, and the divisor not 0"),
    ({"offset": np.inf}, ValueError, "offset=inf"),
    ({"divisor": "2"}, TypeError, "divisor='2': it must be a real number"),
    ({"offset": [1]}, TypeError, "offset=.*: it must be a real number"),
    ({"divisor": 10**400}, ValueError, "divisor=inf"),
    ({"divisor": 1e-60, "sums": "f4"}, ValueError, "divisor=1e-60, .* in the type of the sums, float32"),
    ({"offset": -1e60, "sums": "f4"}, ValueError, "offset=-1e.60: both must be finite.*float32"),
    ({"sums": "bogus"}, TypeError, "sums='bogus': products are summed in float32 or float64"),
    ({"sums": "f4,,"}, TypeError, "sums='f4,,'"),
    ({"sums": ["f4"]}, TypeError, "products are summed in"),
    ({"sums": "f4", "cval": 1e60}, ValueError, r"cval=1e\+60 does not fit: the sums are float32"),
    ({"sums": "f4", "cval": 1j}, TypeError, "cval=1j is complex, the sums are float32"),
    ({"cval": 0.5}, TypeError, "cval=0.5 is no integer, the result is uint64"),
    ({"divisor": 2, "dtype": "u1"}, TypeError, "dtype=uint8 cannot hold a float64 result; overflow='saturate' rounds"),
    ({"sums": "f4", "dtype": "c8"}, TypeError, "are for real arrays"),
    ({"dtype": "u1", "overflow": "wrap", "sums": "f8"}, TypeError, "cannot hold"),
    ({"dtype": "u1", "overflow": "saturate", "sums": "f8", "out": np.zeros((2, 3), "i1")}, TypeError, "out has dtype"),
])
def test_errors(options, error, text):
    a = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    v = np.ones((1, 1), "u1" if text.endswith("uint64") else float)
    with pytest.raises(error, match=text):
        convx.correlate(a, v, "same", **options)
    for dtype in ("c8", "c16"):
        with pytest.raises(TypeError, match="real arrays"):
            convx.correlate(a, np.ones((1, 1), dtype), "same", sums="f8")


@pytest.mark.once
@pytest.mark.parametrize(("a", "v", "options", "dtype"), [
    ("f2", "f2", {"divisor": 2}, "f2"), ("f2", "f2", {"sums": "f8"}, "f2"), ("f2", "f4", {"offset": 1}, "f4"),
    ("f4", "f4", {"sums": "f8"}, "f4"), ("f8", "f4", {"sums": "f4"}, "f8"), ("f4", "i2", {"sums": ">f8"}, "f4"),
    ("u1", "f4", {"divisor": 3}, "f4"), ("u1", "u1", {"divisor": 3}, "f8"), ("u1", "?", {"sums": "f4"}, "f4"),
    ("u8", "i8", {"sums": "f4"}, "f4"), ("u8", "i8", {"divisor": 3}, "f8"), ("g", "f4", {"divisor": 3}, "g"),
    ("f4", "f4", {"sums": "f8", "dtype": "f8"}, "f8")])
def test_the_type_of_the_result(a, v, options, dtype):
    """Floats keep their type, integers have that of the sums; dtype= and out= say otherwise."""
    a, v = abs(whole((2, 30), 17)).astype(a), abs(whole((2, 3), 18)).astype(v)
    y = correlate(a, v, algorithm="auto", **options)
    assert y.dtype == np.dtype(dtype)
    sums_as = options.get("sums") or ("f8" if a.dtype.kind in "biu" and v.dtype.kind in "biu" else
                                      np.result_type(a, v, "f4"))
    exact = correlate(a.astype("g"), v.astype("g"), algorithm="reference").astype(sums_as)  # small whole numbers
    divisor, offset = (exact.dtype.type(options.get(name, 1 - n)) for n, name in enumerate(("divisor", "offset")))
    assert np.array_equal(y, (exact / divisor + offset).astype(dtype))
    out = np.zeros(a.shape, "i2")
    assert correlate(a, v, algorithm="auto", out=out, overflow="saturate", **options | {"dtype": None}) is out
    assert np.array_equal(out, as_type((exact / divisor + offset).astype("f8"), "i2"))


STORED = {"dtype": "u1", "overflow": "saturate", "sums": "f4", "divisor": 9, "offset": 3}


@pytest.mark.once
@pytest.mark.parametrize("operator", ["convolve", "correlate"])
def test_plans_know_of_sums(operator):
    a, v = drawn((20, 140), "u1", 19), whole((3, 3), 20, "i1")
    y = getattr(convx, operator)(a, v, "same", **STORED)
    p = convx.plan(operator, a, v, mode="same", **STORED)
    again = pickle.loads(pickle.dumps(p))
    for made in (p, again, p.bind(v), pickle.loads(pickle.dumps(p.bind(v)))):
        for _ in range(2):
            assert np.array_equal(made(a, v) if type(made) is type(p) else made(a), y)
    out = np.empty_like(y)
    assert p.bind(v)(a, out=out) is out and np.array_equal(out, y)
    told = convx.explain(operator, a, v, mode="same", **STORED)
    assert told.problem.endswith("  uint8") and told.chosen == str(p).split("   chosen")[0].split()[-3]
    floats = convx.explain(operator, a.astype("f4"), v.astype("f4"), mode="same")
    assert told.rows == floats.rows and told.chosen == floats.chosen


def test_uint64_with_int64():
    """Exact, whatever the rule says: the sums are integers where nothing asks for floats."""
    a, v = drawn((5, 70), "u8", 21), drawn((2, 3), "i8", 22)
    want = sums(a, v)
    for kind in ("i8", "u8", "i4"):
        for algorithm in ("auto", "direct"):
            y = correlate(a, v, dtype=kind, overflow="saturate", algorithm=algorithm)
            assert np.array_equal(y, as_type(want, kind))
            assert np.array_equal(correlate(v, a, dtype=kind, overflow="saturate", algorithm="auto"),
                                  as_type(sums(v, a), kind))
    near = np.array([2**63 + 1, 2**63], np.uint64)
    assert convx.correlate(near, np.array([1, -1]), "valid", dtype="i8", overflow="saturate").tolist() == [1]
    y = correlate(a, v, sums="f8", dtype="f8", algorithm="auto")
    assert np.allclose(y, want.astype(float), rtol=1e-12)


@pytest.mark.parametrize("kind", ["u1", "i2", "f2", "f4"])
@pytest.mark.parametrize("algorithm", ["measure", "fft", "winograd", "gemm", "direct"])
def test_every_algorithm_takes_stored_types(algorithm, kind):
    a, v = drawn((1, 14, 40), "u1", 23), whole((1, 3, 3), 24, "f4")
    options = {"algorithm": algorithm, "axes": (1, 2)}
    try:
        plain_sums = correlate(a.astype("f8"), v.astype("f8"), **options)
    except ValueError as error:
        assert "refused" in str(error)
        with pytest.raises(ValueError, match="refused"):
            correlate(a, v, sums="f8", dtype=kind, overflow="saturate", **options)
        return
    want = sums(a[0], v[0].astype(int))[None]
    assert np.allclose(plain_sums, want.astype(float), rtol=0, atol=1e-9)
    got = correlate(a, v, sums="f8", dtype=kind, overflow="saturate", divisor=4, offset=0.3, **options)
    if kind[0] == "f":
        assert np.array_equal(got, (plain_sums / 4 + 0.3).astype(kind)) or algorithm == "measure"
    assert np.allclose(got, as_type(want / Fraction(4) + Fraction(0.3), kind) if kind[0] != "f" else
                       want.astype(float) / 4 + 0.3, rtol=np.finfo("f2").eps if kind == "f2" else 1e-6, atol=1e-9)


@pytest.mark.parametrize("algorithm", ["auto", "winograd", "gemm", "stencil", "fft"])
def test_layers_of_stored_types(algorithm):
    """Integers and halves beside float weights, with a bias: the bits of converted arrays."""
    w, bias = whole((6, 4, 3, 3), 25, "f4"), whole(6, 26, "f4")
    for dtype in ("u1", "f2"):
        x = drawn((2, 4, 12, 13), "u1", 27).astype(dtype)
        for options in ({}, {"padding": 1, "boundary": "reflect"}):
            aim = convx.conv(x.astype("f4"), w, bias, algorithm=algorithm, **options)
            for workers in (1, 3):
                got = convx.conv(x, w, bias, algorithm=algorithm, workers=workers, **options)
                assert got.dtype == np.float32 and np.array_equal(got, aim)
            halves = convx.conv(x.astype("f2"), w.astype("f2"), bias.astype("f2"), algorithm=algorithm, **options)
            with np.errstate(over="ignore"):
                assert halves.dtype == np.float16 and np.array_equal(halves, aim.astype("f2"))
    if algorithm in ("winograd", "fft"):  # which round, and so refuse exact sums
        return
    whole_bias = bias.astype("i2")
    y = convx.conv(x.astype("u1"), w.astype("i1"), whole_bias, dtype="u1", overflow="saturate", algorithm=algorithm)
    wide = convx.conv(x.astype("i8"), w.astype("i8"), whole_bias, algorithm="reference")
    assert np.array_equal(y, wide.clip(0, 255))


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_rims_of_stored_types(boundary):
    options = {"padding": 2, "boundary": boundary}
    w, dy = whole((3, 2, 3, 3), 28), whole((2, 3, 9, 8), 29)
    for call in (lambda w, dy, **more: convx.conv_grad_input(dy, w, (2, 2, 7, 6), **options, **more),
                 lambda w, dy, **more: convx.conv_transpose(dy, w, **options, **more)):
        aim = call(w, dy)
        for dtype in ("f2", "i1", "i2"):
            got = call(w.astype(dtype), dy.astype(dtype))
            assert got.dtype == (np.float16 if dtype == "f2" else np.int64) and np.array_equal(got, aim)
        assert np.array_equal(call(w.astype("i2"), dy.astype("i2"), dtype="u1", overflow="saturate"), aim.clip(0, 255))


@pytest.mark.once
def test_empty_arrays():
    v = np.ones((3, 3), "f4")
    for shape in ((0, 5), (4, 0), (0, 0)):
        y = convx.correlate(np.zeros(shape, "u1"), v, "same", **STORED)
        assert y.shape == shape and y.dtype == np.uint8
    y = convx.correlate(np.zeros((0, 4, 5), "f2"), v[None], "valid", axes=(1, 2), sums="f8")
    assert y.shape == (0, 2, 3) and y.dtype == np.float32
    with pytest.raises(ValueError, match="axis 0 is empty"):
        convx.correlate(np.zeros((0, 5), "u1"), v, **STORED)
    assert convx.conv(np.zeros((2, 0, 5), "u1"), np.zeros((3, 0, 2), "f4"), np.arange(3.0, dtype="f4"))[0, :, 0].tolist(
        ) == [0, 1, 2]
    assert convx.correlate(np.uint8(200), np.int8(3), dtype="u1", overflow="saturate", divisor=4) == 150


@pytest.mark.parametrize("sums_as", ["f4", "f8"])
@pytest.mark.parametrize("divisor", [-3, 0.1, 7, 1e-3, 255, 1e30])
def test_divisors(divisor, sums_as):
    """The quotient is that of the type of the sums, rounded as NumPy rounds it; then comes the offset."""
    a, v = drawn((6, 150), "i2", 30), whole((3, 3), 31, "i1")
    exact = sums(a, v).astype(sums_as)
    real = exact.dtype.type
    aim = exact / real(divisor) + real(0.7)
    for algorithm in ("stencil", "direct"):
        options = {"divisor": divisor, "offset": 0.7, "sums": sums_as, "algorithm": algorithm}
        assert np.array_equal(correlate(a, v, dtype=sums_as, **options), aim)
        want = as_type(aim.astype("f8"), "i4")
        assert np.array_equal(correlate(a, v, dtype="i4", overflow="saturate", **options), want)


@pytest.mark.once
def test_out_over_an_input():
    room = drawn((40, 90), "u1", 32)
    v, kept = np.ones((3, 3), "u1"), room.copy()
    for a, out in ((room, room), (room[:20], room[10:30]), (room[:, ::2], room[:, 1:46]), (room[::-1], room)):
        with pytest.raises(ValueError, match="out overlaps a; a convolution cannot be done in place"):
            convx.correlate(a, v, "same", out=out, **STORED)
        assert np.array_equal(room, kept)
    y = convx.correlate(room[:, ::2].copy(), v, "same", **STORED)
    assert np.array_equal(convx.correlate(room[:, ::2], v, "same", out=room[:, 1::2], **STORED), y)
    assert np.array_equal(room[:, ::2], kept[:, ::2])


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_bias_of_pictures(dtype, channels):
    """Whole tiles, and parts of them, at every edge."""
    for shape in ((8, 128), (21, 150), (4, 64), (33, 70), (1, 200)):
        x, w = drawn((1, channels, *shape), "u1"), whole((channels, 1, 3, 3), 1, "i1", 0, 2)
        bias = np.arange(7, 7 + channels, dtype=dtype)
        want = np.stack([sums(x[0, c], w[c, 0]) + int(bias[c]) for c in range(channels)])
        y = convx.conv2d(x, w.astype(dtype), bias, padding=1, groups=channels, dtype=dtype, overflow="saturate",
                         algorithm="stencil")
        assert y.dtype == np.dtype(dtype) and np.array_equal(y[0], as_type(want, dtype)), shape
