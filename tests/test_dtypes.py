"""Result dtypes, and integers against Python's own."""

from itertools import product

import numpy as np
import pytest
from arrays import plain, whole

import convx

INTEGERS = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
RULES = ("raise", "saturate", "wrap")


def exact(x, w, bias=None, before=0, out=None, **options):
    """The sum in Python integers, one axis, stride and dilation 1."""
    x, w = np.array(x, object), np.array(w, object)
    out = x.shape[2] - w.shape[2] + 1 if out is None else out
    y = plain(x, w, (out,), (1,), (before,), (1,), **options)
    return y if bias is None else y + np.array(bias, object).reshape(-1, 1)


def extreme(shape, dtype, seed):
    """Values that favour the ends of the range."""
    rng = np.random.default_rng(seed)
    info = np.iinfo(dtype)
    ends = np.array([info.min, info.max, info.max - 1, info.min + 1, 0, 1], dtype)
    anything = rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    return np.where(rng.random(shape) < 0.6, rng.choice(ends, shape), anything)


def fitted(y, dtype, rule):
    """What a rule makes of exact values, in Python arithmetic; None where it must raise."""
    info = np.iinfo(dtype)
    low, high = int(info.min), int(info.max)
    if rule == "raise" and not all(low <= v <= high for v in y.flat):
        return None
    bend = (lambda v: min(max(v, low), high)) if rule == "saturate" else (lambda v: (v - low) % (high - low + 1) + low)
    return np.array([bend(int(v)) for v in y.flat], dtype).reshape(y.shape)


def check(x, w, want, dtype=None, rule="raise", **options):
    """One call, by dtype= and again by out=; an overflow leaves out alone."""
    kind = np.dtype(dtype or np.result_type(x, w))
    kind = np.dtype(dtype or (np.uint64 if kind.kind == "u" else np.int64))
    want = fitted(want, kind, rule)
    out = np.full((x.shape[0], w.shape[0], x.shape[2] - w.shape[2] + 1), 55, kind) if "padding" not in options else None
    if want is None:
        with pytest.raises(OverflowError, match=r"do not fit") as caught:
            convx.conv(x, w, dtype=dtype, overflow=rule, **options)
        assert "\n" not in str(caught.value) and str(np.iinfo(kind).max) in str(caught.value)
        if out is not None:
            with pytest.raises(OverflowError):
                convx.conv(x, w, out=out, overflow=rule, **options)
            assert (out == 55).all()
        return
    y = convx.conv(x, w, dtype=dtype, overflow=rule, **options)
    assert y.dtype == kind
    assert np.array_equal(y, want)
    if out is not None:
        assert convx.conv(x, w, out=out, overflow=rule, **options) is out
        assert np.array_equal(out, want)


@pytest.mark.parametrize("x, w, y", [
    ("f4", "f4", "f4"), ("f8", "f8", "f8"), ("f4", "f8", "f8"), ("f8", "f4", "f8"),
    ("f2", "f2", "f2"), ("f2", "f4", "f4"), ("f2", "f8", "f8"),
    ("c8", "c8", "c8"), ("c16", "c16", "c16"), ("c8", "c16", "c16"),
    ("f4", "c8", "c8"), ("c8", "f4", "c8"), ("f8", "c8", "c16"), ("c8", "f8", "c16"), ("c16", "f4", "c16"),
    ("f2", "c8", "c8"), ("i4", "c8", "c16"), ("c16", "i2", "c16"), ("?", "c8", "c8"),
    ("i2", "f4", "f4"), ("i4", "f4", "f8"), ("f4", "i8", "f8"), ("u1", "f2", "f2"), ("?", "f4", "f4"),
    ("g", "g", "g"), ("g", "f4", "g"), ("i8", "g", "g"), ("g", "c16", "G"), ("G", "f8", "G"), ("f8", "G", "G"),
    ("G", "G", "G"), ("c8", "g", "G"),
    ("i8", "u8", "f8"), ("u8", "i1", "f8"),  # NumPy has no integer type for both
    ("?", "?", "i8"), ("?", "u1", "u8"), ("?", "i1", "i8"), ("u1", "i1", "i8"), ("u4", "i4", "i8"), ("u1", "u8", "u8"),
    *((d, d, "i8" if d[0] == "i" else "u8") for d in INTEGERS),
])
def test_result_dtypes(x, w, y):
    a, b = whole((2, 2, 9), 1, x, 0, 3), whole((2, 2, 3), 2, w, 0, 3)
    wide = np.dtype("G" if "c" in (a.dtype.kind, b.dtype.kind) else "g")
    want = plain(a.astype(wide), b.astype(wide), (9,), (1,), (1,), (1,))
    got = convx.conv(a, b, padding=1)
    assert got.dtype == np.dtype(y)
    assert np.array_equal(got, want)
    out = np.empty_like(got)
    assert convx.conv(a, b, padding=1, out=out) is out
    assert np.array_equal(out, want)


@pytest.mark.parametrize("x, w", [("f2", "f2"), ("u1", "f2")])
def test_float16_is_computed_in_float32(x, w):
    rng = np.random.default_rng(3)
    a, b = rng.uniform(0, 4, (1, 8, 40)).astype(x), rng.uniform(0, 1, (4, 8, 5)).astype(w)
    y = convx.conv(a, b)
    # One rounding at the end: half a unit of float16, and what float32 lost on the way.
    want = plain(a.astype("f8"), b.astype("f8"), (36,), (1,), (0,), (1,))
    bound = want * (2.0**-11 + 42 * 2.0**-24)
    assert y.dtype == np.float16
    assert (np.abs(y - want) <= bound).all()
    assert np.array_equal(y, convx.conv(a.astype("f4"), b.astype("f4")).astype("f2"))


def test_float16_sums_pass_its_range():
    # 60000 + 60000 - 60000 overflows float16 on the way and not at the end.
    x = np.array([[[60000, 60000, 60000]]], np.float16)
    assert convx.conv(x, np.array([[[1, 1, -1]]], np.float16)).tolist() == [[[60000]]]
    assert convx.conv(x, np.array([[[1, 1, 1]]], np.float16), dtype=np.float32)[0, 0, 0] == 3 * np.float32(x[0, 0, 0])


def test_long_double_keeps_its_digits():
    if np.finfo(np.longdouble).eps == np.finfo(float).eps:
        pytest.skip("long double is double here")
    tiny = np.finfo(np.longdouble).eps
    x = np.array([[[1, tiny, 1]]], np.longdouble)
    y = convx.conv(x, np.ones((1, 1, 2)), np.array([-1.0]))
    assert y.dtype == np.longdouble
    assert y.tolist() == [[[tiny, tiny]]]
    with pytest.raises(ValueError, match="no compiled kernel"):
        convx.conv(x, np.ones((1, 1, 2)), algorithm="direct")


@pytest.mark.parametrize("x, w", [("G", "f8"), ("f8", "G"), ("G", "G"), ("g", "c16"), ("G", "i4")])
def test_long_double_complex(x, w):
    a, b = whole((2, 2, 9), 4, x), whole((2, 2, 3), 5, w)
    want = plain(a.astype("G"), b.astype("G"), (9,), (1,), (1,), (1,)) + np.arange(2).reshape(2, 1)
    y = convx.conv(a, b, np.arange(2.0), padding=1)
    assert y.dtype == np.clongdouble
    assert np.array_equal(y, want)


@pytest.mark.parametrize("given", ["f4", "f8", "i2", "?", "u8"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble, np.complex64, np.complex128])
def test_floats_asked_for(given, dtype):
    a, b = whole((1, 3, 8), 6, given, 0), whole((2, 3, 3), 7, given, 0)
    y = convx.conv(a, b, np.ones(2), dtype=dtype, padding=1)
    assert y.dtype == dtype
    assert np.array_equal(y, plain(a.astype("f8"), b.astype("f8"), (8,), (1,), (1,), (1,)) + 1)


@pytest.mark.parametrize("swapped", [">f4", ">f8", ">c8", ">i4", ">u2"])
def test_results_are_native(swapped):
    a = whole((1, 1, 4), 8, swapped, 0)
    y = convx.conv(a, a[..., :2])
    assert y.dtype.isnative
    native = a.astype(a.dtype.newbyteorder("="))
    assert np.array_equal(y, convx.conv(native, native[..., :2]))
    assert convx.conv(a, a, dtype=swapped).dtype.isnative


@pytest.mark.parametrize("x, w", [(d, e) for d in INTEGERS for e in ("i1", "u1", "i4", "u8", d)
                                  if not ("u8" in (d, e) and "i" in d + e)])
def test_integers_are_pythons(x, w):
    for seed in range(4):
        a, b = extreme((2, 2, 7), x, seed), extreme((3, 2, 3), w, seed + 10)
        want = exact(a, b)
        for rule in RULES:
            check(a, b, want, rule=rule)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("rule", RULES)
def test_narrower_results(dtype, rule):
    narrow = np.iinfo(dtype)
    for x, w, top in (("u1", "i1", 127), ("i2", "i2", 3), ("i8", "i4", 2)):
        rng = np.random.default_rng(11)
        a = rng.integers(0, min(top, 255), (2, 1, 12)).astype(x)
        b = rng.integers(-2, 3, (2, 1, 3)).astype(w)
        check(a, b, exact(a, b), dtype, rule)
    # The last value that fits and the first one that does not, at both ends.
    for value in (narrow.max, narrow.max + 1, narrow.min, narrow.min - 1):
        half, odd = divmod(int(value), 2)
        if -2**63 <= value < 2**63:
            a, b = np.array([[[half, odd]]], np.int64), np.array([[[2, 1]]], np.int64)
            check(a, b, exact(a, b), dtype, rule)


@pytest.mark.parametrize("edge", [2**24, 2**53, 2**63, 2**64])
@pytest.mark.parametrize("sign", [1, -1])
def test_every_integer_around_an_edge(edge, sign):
    # near + one * step for steps around zero: no value may be rounded to its neighbour.
    big = {2**24: 2**12, 2**53: 2**26, 2**63: 2**31, 2**64: 2**32}[edge]
    x = np.zeros((1, 2, 9), np.int64)
    x[0, 0], x[0, 1] = big, np.arange(-4, 5)
    w = np.array([[[sign * (edge // big)], [1]]], np.int64)
    for rule in RULES:
        check(x, w, exact(x, w), rule=rule)
    one_by_one = np.array([-4, -3, -2, -1, 0, 1, 2, 3, 4])
    for step in one_by_one:
        check(x[..., [step]], w, exact(x[..., [step]], w))


@pytest.mark.parametrize("terms, x, w", [(257, "u1", "u1"), (258, "u1", "u1"), (259, "u1", "u1"), (600, "u1", "i1"),
                                         (1000, "i2", "i2"), (2**21 + 5, "i2", "i2"),
                                         (40, "i4", "i4"), (9, "u4", "u4")])
def test_long_sums_of_large_values(terms, x, w):
    # 258 products of 255 * 255 stay below 2**24, 259 do not; 2**21 products of 2**32 reach 2**53.
    a, b = np.full((1, 1, terms + 1), np.iinfo(x).max, x), np.full((1, 1, terms), np.iinfo(w).max, w)
    a[..., -1] = 1
    a[..., 1::7] -= 1
    b[..., 2::5] -= 1
    whole_sum = [sum(int(p) * int(q) for p, q in zip(a[0, 0, i:i + terms], b[0, 0], strict=True)) for i in (0, 1)]
    check(a, b, np.array([[whole_sum]], object))
    low = np.full_like(a, np.iinfo(x).min)
    lowest = int(np.iinfo(x).min) * int(b[0, 0].sum(dtype=object))
    check(low, b, np.array([[[lowest, lowest]]], object))


@pytest.mark.parametrize("algorithm", ["auto", "direct", "reference"])
def test_products_beyond_64_bits(algorithm):
    x = np.array([[[2**63 - 1, -2**63, 3, 2**62, -1, 0, 2**63 - 1]]], np.int64)
    w = np.array([[[2**63 - 1, -2**63, 2**62 + 1]], [[-2**63, -1, 5]], [[0, 1, 0]]], np.int64)
    for rule in RULES:
        check(x, w, exact(x, w), rule=rule, algorithm=algorithm)
        check(x, w, exact(x, w), np.int16, rule, algorithm=algorithm)
    u = x.view(np.uint64)
    for rule in RULES:
        check(u, w.view(np.uint64), exact(u, w.view(np.uint64)), rule=rule, algorithm=algorithm)


def test_overflow_on_the_way_is_no_overflow():
    # 2**63 * 2 - 2**63 * 2 + 7: every partial sum wraps, the result is 7.
    x = np.array([[[2**62, 2**62, 2**62, 2**62, 7]]], np.int64)
    w = np.array([[[2, 2, -2, -2, 1]]], np.int64)
    assert convx.conv(x, w).tolist() == [[[7]]]
    assert convx.conv(x, w, dtype=np.uint8).tolist() == [[[7]]]
    assert convx.conv(np.array([[[2**63 - 1, 2**63 - 1]]]), np.array([[[2**62, -2**62]]])).tolist() == [[[0]]]


@pytest.mark.parametrize("dtype", ["i8", "u8", "i2"])
def test_uint64_with_signed_integers_is_exact_in_a_named_dtype(dtype):
    x, w = extreme((2, 1, 9), "u8", 5), extreme((3, 1, 2), "i8", 6)
    for rule in RULES:
        check(x, w, exact(x, w), dtype, rule)
        check(w, x[:, :, :2], exact(w, x[:, :, :2]), dtype, rule)
        if (want := fitted(exact(x, w)[:1, :1], dtype, rule)) is not None:
            line, taps = x[0], w[0]  # as plain arrays, in both orders of the types
            assert np.array_equal(convx.correlate(line, taps, "valid", dtype=dtype, overflow=rule), want[0])
            assert np.array_equal(convx.correlate(taps, line, "valid", dtype=dtype, overflow=rule), want[0][:, ::-1])
    near = np.array([[[2**63 + 1, 2**63]]], np.uint64)
    assert convx.conv(near, np.array([[[1, -1]]]), dtype="i8").tolist() == [[[1]]]


def test_what_overflows_is_infinite_without_a_warning():
    # Warnings are errors here. Kernels give infinities silently; so do the conversions around them.
    big = np.full((1, 1, 4), 3e38, np.float32)
    signalling = np.array([0x7FA00000], np.uint32).view(np.float32).reshape(1, 1, 1)
    for x, w, options in ((big, np.full((1, 1, 2), 2, "f4"), {}),
                          (big.astype("f8"), np.full((1, 1, 2), 2.0), {"dtype": "f4"}),
                          (np.full((1, 1, 4), 60000, "f2"), np.full((1, 1, 2), 2, "f2"), {}),
                          (big.astype("c16"), np.full((1, 1, 2), 2.0), {"dtype": "c8"})):
        y = convx.conv(x, w, **options)
        assert np.isinf(y.real).all()
        assert np.array_equal(convx.conv(x, w, out=np.zeros_like(y), **options), y, equal_nan=True)
    assert np.isnan(convx.conv(signalling, np.ones((1, 1, 1)))).all()
    assert np.isinf(convx.conv(big, big[..., :1] * 0, np.array([1e300]))).all()


def test_uint64():
    top = 2**64 - 1
    x = np.array([[[top, 0, 1, top - 1]]], np.uint64)
    one = np.ones((1, 1, 1), np.uint64)
    assert convx.conv(x, one).tolist() == [[[top, 0, 1, top - 1]]]
    assert convx.conv(x, one, dtype=np.int64, overflow="wrap").tolist() == [[[-1, 0, 1, -2]]]
    assert convx.conv(x, one, dtype=np.int64, overflow="saturate").tolist() == [[[2**63 - 1, 0, 1, 2**63 - 1]]]
    with pytest.raises(OverflowError, match=str(top + top - 1)):
        convx.conv(x[..., [0, 3]], np.ones((1, 1, 2), np.uint64))
    # uint8 and a negative boundary value: the result is unsigned, so a negative sum does not fit.
    x = np.array([[[5, 5]]], np.uint8)
    with pytest.raises(OverflowError, match="-7"):
        convx.conv(x, one.astype(np.uint8), padding=1, cval=-7)
    assert convx.conv(x, one.astype(np.uint8), padding=1, cval=-7, dtype=np.int8).tolist() == [[[-7, 5, 5, -7]]]
    assert convx.conv(x, one.astype(np.uint8), padding=1, cval=-7, overflow="saturate").tolist() == [[[0, 5, 5, 0]]]


def test_bool_counts():
    x, w = np.ones((1, 300, 5), bool), np.ones((1, 300, 3), bool)
    y = convx.conv(x, w, padding=1)
    assert y.dtype == np.int64 and y.tolist() == [[[600, 900, 900, 900, 600]]]
    with pytest.raises(TypeError, match="bool"):
        convx.conv(x, w, dtype=bool)


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
def test_integer_bias(dtype):
    info = np.iinfo(dtype)
    x, w = whole((1, 2, 6), 12, dtype, 0), whole((3, 2, 3), 13, dtype, 0)
    bias = np.array([info.min, info.max, 1], dtype)
    for rule in RULES:
        want = fitted(exact(x, w, bias), np.dtype("i8" if dtype[0] == "i" else "u8"), rule)
        if want is None:
            with pytest.raises(OverflowError):
                convx.conv(x, w, bias, overflow=rule)
        else:
            assert np.array_equal(convx.conv(x, w, bias, overflow=rule), want)
            assert convx.conv(x, w, bias, overflow=rule).dtype == want.dtype
    with pytest.raises(TypeError, match="bias has dtype float64"):
        convx.conv(x, w, np.ones(3))
    with pytest.raises(TypeError, match="bias has dtype complex128"):
        convx.conv(x.astype("f8"), w, np.ones(3, complex))


def test_a_bias_that_rounding_would_lose():
    # 2**53 + 1 is no double: the bias, too, is added exactly.
    x, w = np.ones((1, 1, 3), np.int8), np.ones((2, 1, 2), np.int8)
    y = convx.conv(x, w, np.array([2**53 + 1, -2**62 - 1]))
    assert y.tolist() == [[[2**53 + 3] * 2, [-2**62 + 1] * 2]]


@pytest.mark.parametrize("boundary", ["constant", "edge", "reflect", "symmetric", "wrap"])
@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_boundaries(boundary, dtype):
    for make in (lambda s, k: whole(s, k, dtype, 0, 9), lambda s, k: extreme(s, dtype, k)):
        x, w = make((2, 2, 4), 14), make((2, 2, 3), 15)
        want = exact(x, w, before=3, out=8, boundary=(boundary,), cval=9)
        for rule in RULES:
            check(x, w, want, rule=rule, padding=3, boundary=boundary, cval=9)


@pytest.mark.parametrize("cval", [2**63 - 1, -2**63, 2**64 - 1, 2**40, -1])
@pytest.mark.parametrize("dtype", ["i1", "i8", "u8"])
def test_large_integer_cval(cval, dtype):
    x, w = whole((1, 1, 4), 16, dtype, 0), whole((1, 1, 3), 17, dtype, 0, 3)
    want = exact(x, w, before=2, out=6, cval=cval)
    for rule in RULES:
        check(x, w, want, rule=rule, padding=2, cval=cval)


@pytest.mark.parametrize("dtype", ["i8", "u8"])
def test_wide_integers_in_every_layout(dtype):
    x, w = extreme((2, 2, 6), dtype, 18), extreme((4, 1, 3), dtype, 19)
    y = convx.conv(x, w, groups=2, overflow="wrap", stride=2, dilation=2, padding=1, flip=True)
    turned = convx.conv(x.transpose(2, 1, 0), w.transpose(2, 1, 0), groups=2, overflow="wrap", stride=2, dilation=2,
                        padding=1, flip=True, layout="WCN")
    want = plain(x.astype(object), w.astype(object), (2,), (2,), (1,), (2,), groups=2, flip=True)
    assert np.array_equal(y, fitted(want, dtype, "wrap"))
    assert np.array_equal(turned.transpose(2, 1, 0), y)
    saturated = convx.conv(x[::-1, :, ::-1], w[:, :, ::-1], groups=2, overflow="saturate")
    want = plain(x[::-1, :, ::-1].astype(object), w[:, :, ::-1].astype(object), (4,), (1,), (0,), (1,), groups=2)
    assert np.array_equal(saturated, fitted(want, dtype, "saturate"))


@pytest.mark.parametrize("bad", [np.array([["a"]]), np.array([[b"a"]]), np.array([[None]]), np.array([[1]], object),
                                 np.array([["2020-01-01"]], "M8[D]"), np.array([[3]], "m8[s]"),
                                 np.zeros((1, 1), [("re", float), ("im", float)]), np.zeros((1, 1), "V8")],
                         ids=lambda a: a.dtype.char)
def test_only_numbers(bad):
    good = np.ones((1, 1, 1))
    bad = bad.reshape(1, 1, 1)
    for x, w, name in ((bad, good, "x"), (good, bad, "w"), (bad, bad, "x")):
        with pytest.raises(TypeError, match=rf"^{name} has dtype .* can be convolved$"):
            convx.conv(x, w)
        with pytest.raises(TypeError, match="dtype"):
            convx.convolve(x, w)
    with pytest.raises(TypeError, match="bias has dtype"):
        convx.conv(good, good, bad.reshape(1))
    with pytest.raises(TypeError, match="dtype"):
        convx.conv(good, good, dtype=bad.dtype)
    with pytest.raises(TypeError, match="out has dtype"):
        convx.conv(good, good, out=bad.copy())


@pytest.mark.parametrize("given, asked", [("f4", "i4"), ("f8", "u1"), ("c8", "f4"), ("c16", "i8"), ("i8", "?"),
                                          ("f8", "?")])
def test_dtypes_that_cannot_hold_the_result(given, asked):
    x = np.ones((1, 1, 3), given)
    with pytest.raises(TypeError, match=f"dtype={np.dtype(asked)} cannot hold a {np.dtype(given)} result"):
        convx.conv(x, x, dtype=asked)
    out = np.full((1, 1, 1), 1, asked)
    with pytest.raises(TypeError, match="out has dtype"):
        convx.conv(x, x * 5, out=out)
    assert out == 1


def test_overflow_rules_are_of_convolve_too():
    a = np.array([100, 100], np.int8)
    assert convx.convolve(a, a).dtype == np.int64
    for rule, want in (("saturate", [127, 127, 127]), ("wrap", [16, 32, 16])):
        assert convx.convolve(a, a, dtype=np.int8, overflow=rule).tolist() == want
        assert convx.correlate(a, a, dtype=np.int8, overflow=rule).tolist() == want
    with pytest.raises(OverflowError, match="10000 to 20000"):
        convx.convolve(a, a, dtype=np.int8)
    with pytest.raises(ValueError, match="overflow='clip'"):
        convx.convolve(a, a, overflow="clip")


def test_huge_integers_in_two_axes():
    x, w = extreme((1, 2, 5, 6), "i8", 20), extreme((2, 2, 2, 3), "i8", 21)
    want = plain(x.astype(object), w.astype(object), (5, 6), (1, 1), (0, 1), (1, 1))
    for rule, order in product(("saturate", "wrap"), ("C", "F")):
        y = convx.conv(np.array(x, order=order), w, overflow=rule, padding=((0, 1), 1))
        assert np.array_equal(y, fitted(want, "i8", rule))
