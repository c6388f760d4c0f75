"""Gradients of every layer: equal to their enumerated sums, adjoint to the layer, of the operand's shape."""

import numpy as np
import problems
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st
from layers import FLOATS, LAYOUTS, OPERATORS, Bounds, Case, attempt, axis_of, cases
from problems import ALGORITHMS

import convx

each_operator = pytest.mark.parametrize("operator", OPERATORS)
many = settings(max_examples=2 * settings().max_examples)
once = pytest.mark.once


def check(case, arrays, algorithms=ALGORITHMS):
    """All three contractions by each algorithm against their enumeration; how many an algorithm took."""
    taken = dict.fromkeys(algorithms, 0)
    for letter in "uwv":
        expected, bounds = case.expected(letter, arrays), Bounds(case, letter, arrays)
        for algorithm in algorithms:
            found = attempt(case, letter, arrays, algorithm)
            if found is not None:
                problems.assert_close(found, expected, bounds.of(algorithm), f"{letter} {algorithm}: ")
                taken[algorithm] += 1
    return taken


@many
@given(cases(cval=True), st.sampled_from(FLOATS), st.integers(0, 99))
def test_equal_their_enumerated_sums(case, dtype, seed):
    check(case, case.arrays(dtype, seed))


@once
@many
@given(cases(layouts=LAYOUTS), st.sampled_from(("f4", "c16")))
def test_in_every_layout_batched_or_not(case, dtype):
    check(case, case.arrays(dtype), ("auto",))


PAIRS = ("f4 f8", "f8 c16", "c16 f8", "c8 f4", "f4 c16", "f2 f4", "f8 i4", "c8 u1")


@once
@given(cases(ranks=(1, 2)), st.sampled_from(PAIRS))
def test_of_mixed_dtypes(case, pair):
    first, second = pair.split()
    a, b = case.arrays(first), case.arrays(second)
    for one, other in (("u", "w"), ("v", "w"), ("u", "v")):
        letter = "uwv".replace(one, "").replace(other, "")
        arrays = {one: a[one], other: b[other]}
        found = case.call(letter, arrays)
        assert found.dtype == np.result_type(first, second)
        problems.assert_close(found, case.expected(letter, arrays), Bounds(case, letter, arrays).of("auto"))


@given(cases(ranks=(1, 2, 3)), st.sampled_from(("i1", "u1", "i4", "i8", "u8")))
def test_of_integers_are_exact(case, dtype):
    for most in (9, 2**26) if np.dtype(dtype).itemsize > 2 else (9,):
        arrays = case.arrays(dtype, most=most)
        for letter in "uwv":
            expected = case.expected(letter, arrays)
            for algorithm in ALGORITHMS:
                found = attempt(case, letter, arrays, algorithm)
                if found is not None:
                    assert found.dtype == ("u8" if dtype[0] == "u" else "i8")
                    assert np.array_equal(found.astype(object), expected), (letter, algorithm)


def test_every_algorithm_takes_some():
    axes = [axis_of(9, 3, 1, 1, "same", "constant"), axis_of(40, 3, 1, 1, "same", "constant")]
    took = dict.fromkeys(ALGORITHMS, 0)
    for operator in ("conv", "conv_transpose"):
        for c, m in ((1, 1), (8, 8)):
            case = Case(operator, 2, 1, c, m, axes, {"padding": "same"})
            for algorithm, taken in check(case, case.arrays("f4")).items():
                took[algorithm] += taken
    assert min(took.values()) > 3, took


# <conv(x, w), dy> = <x, dx> = <w, dw> with <a, b> = sum a conj(b)

def inner(a, b):
    return np.vdot(b.astype(np.clongdouble), a.astype(np.clongdouble))


@many
@given(cases(layouts=LAYOUTS), st.sampled_from(("f4", "f8", "c8", "c16")), st.sampled_from(ALGORITHMS))
def test_are_adjoint_to_the_layer(case, dtype, algorithm):
    x, w, y = {"conv_transpose": "vwu"}.get(case.operator, "uwv")
    arrays = case.arrays(dtype)
    found = {letter: attempt(case, letter, arrays, algorithm) for letter in "uwv"}
    if any(part is None for part in found.values()):
        return
    sums = inner(found[y], arrays[y]), inner(arrays[x], found[x]), inner(arrays[w], found[w])
    # Each element of a contraction is off by its bound; the inner product adds these up.
    off = {letter: (Bounds(case, letter, arrays).of(algorithm) * abs(arrays[letter])).sum() for letter in "uwv"}
    for a, b, one, other in ((0, 1, y, x), (0, 2, y, w), (1, 2, x, w)):
        allowed = off[one] + off[other]
        assert abs(sums[a] - sums[b]) <= 2 * allowed  # real and imaginary part


@once
@many
@given(cases(), st.integers(0, 99))
def test_are_adjoint_exactly_in_integers(case, seed):
    arrays = case.arrays("i4", seed)
    sums = {(arrays[letter].astype(object) * case.call(letter, arrays).astype(object)).sum() for letter in "uwv"}
    assert len(sums) == 1


@once
@each_operator
def test_have_the_size_of_their_operand_whatever_the_stride(operator):
    for size in range(4, 14):
        for stride in (1, 2, 3, 5):
            for padding in ("valid", "same", "same_lower", "full", (1, 0)):
                axis = axis_of(size, 4, stride, 1, padding, "constant")
                extra = {"output_shape": size} if operator == "conv_transpose" else {}
                pad = padding if isinstance(padding, str) else (padding,)
                case = Case(operator, 1, 1, 2, 1, [axis], {"stride": stride, "padding": pad}, extra=extra)
                arrays = case.arrays("i8")
                for letter in "uw":
                    assert np.array_equal(case.call(letter, arrays), case.expected(letter, arrays))


@once
@given(cases(operators=("conv_transpose",), ranks=(1, 2), boundaries=("constant",)))
def test_output_padding_is_output_shape(case):
    padding = case.options["padding"]
    extra = []
    for a, (size, taps, out, _, stride, dilation, _, _) in enumerate(case.axes):
        span = dilation * (taps - 1) + 1
        pads = {"valid": 0, "full": 2 * (span - 1)}.get(padding) if isinstance(padding, str) else None
        if isinstance(padding, str) and pads is None:  # "same": stride * out is the one natural size
            return
        pads = pads if isinstance(padding, str) else 2 * padding if isinstance(padding, int) else sum(padding[a])
        extra.append(size - (stride * (out - 1) + span - pads))
    arrays = case.arrays("i8")
    found = {letter: case.call(letter, arrays) for letter in "uwv"}
    case.extra = {"output_padding": tuple(extra)}
    for letter in "uwv":
        assert np.array_equal(case.call(letter, arrays), found[letter])


# What the library's own laws say

@once
@given(cases(ranks=(1, 2, 3)), st.sampled_from(("f4", "c16")))
def test_backward_is_the_three_at_once(case, dtype):
    x, w, y = {"conv_transpose": "vwu"}.get(case.operator, "uwv")
    arrays = case.arrays(dtype)
    given_arrays = {letter: case.user(letter, arrays[letter]) for letter in "uwv"}
    backward = getattr(convx, f"{case.operator}_backward")
    dx, dw, db = backward(given_arrays[x], given_arrays[w], given_arrays[y], **case.keywords())
    assert np.array_equal(case.canonical(x, dx), case.call(x, arrays))
    assert np.array_equal(case.canonical(w, dw), case.call(w, arrays))
    space = tuple(range(3, 3 + case.rank))
    fine = arrays[y].astype(np.clongdouble)
    problems.assert_close(db, fine.sum(axis=(0, *space)).ravel(),
                          (arrays[y].size + 2) * np.finfo(dtype).eps * abs(arrays[y]).sum(axis=(0, *space)).ravel())


@once
def test_backward_is_real_where_the_operand_is():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 3, 9)), rng.standard_normal((4, 3, 3)) + 1j
    dy = rng.standard_normal((2, 4, 7)) * (1 + 2j)
    dx, dw, db = convx.conv_backward(x, w, dy)
    assert dx.dtype == np.float64 and dw.dtype == db.dtype == np.complex128
    assert np.array_equal(dx, convx.conv_grad_input(dy, w, x.shape).real)
    u, k = w, x[:, :, :2]  # now the input is complex, the weights are not
    dx, dw, db = convx.conv_backward(u, k, dy[:, :2, :2].repeat(2, 0))
    assert dx.dtype == db.dtype == np.complex128 and dw.dtype == np.float64


@once
def test_a_complex_constant_outside_is_conjugated_like_the_input_inside():
    rng = np.random.default_rng(1)
    for x_dtype, dy_dtype in (("c16", "c16"), ("f8", "c16"), ("c16", "f8")):
        x, dy = rng.standard_normal((1, 1, 5)).astype(x_dtype), rng.standard_normal((1, 1, 7)).astype(dy_dtype)
        dw = convx.conv_grad_weight(x, dy, (1, 1, 3), padding=2, cval=1 - 3j)
        inside = np.pad(x[0, 0], 2, constant_values=0).astype(complex)
        inside[[0, 1, -2, -1]] = 1 - 3j
        want = [sum(inside[o + k].conj() * dy[0, 0, o] for o in range(7)) for k in range(3)]
        assert np.allclose(dw[0, 0], want, rtol=1e-13)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["f8", "c16"])
def test_of_a_valid_convolution_are_a_full_convolution_and_a_valid_correlation(rank, dtype):
    rng = np.random.default_rng(rank)
    shape = (7, 6, 5)[:rank]
    x, w = rng.standard_normal(shape).astype(dtype), rng.standard_normal((3, 2, 2)[:rank]).astype(dtype)
    if dtype == "c16":
        x, w = x * (1 - 2j), w * (2 + 1j)
    dy = rng.standard_normal(convx.conv(x[None], w[None, None]).shape[1:]) + x.flat[0] * 0
    dx = convx.conv_grad_input(dy[None], w[None, None], (1, *x.shape))[0]
    dw = convx.conv_grad_weight(x[None], dy[None], (1, 1, *w.shape))[0, 0]
    # dX = dY convolved in full with W, that is correlated in full with the kernel turned by 180 degrees.
    bound = 2 * (w.size + 2) * np.finfo(dtype).eps * scipy.signal.convolve(abs(dy), abs(w), "full", method="direct")
    problems.assert_close(dx, scipy.signal.convolve(dy, w.conj(), "full", method="direct"), bound)
    problems.assert_close(dx, convx.conv(dy[None], np.flip(w.conj())[None, None], padding="full")[0], bound)
    # dW = X correlated with dY where they overlap entirely.
    bound = 2 * (dy.size + 2) * np.finfo(dtype).eps * scipy.signal.correlate(abs(x), abs(dy), "valid", method="direct")
    problems.assert_close(dw, scipy.signal.correlate(x, dy, "valid", method="direct").conj(), bound)
    problems.assert_close(dw, convx.conv(x.conj()[None], dy[None, None])[0], bound)
    assert np.array_equal(convx.conv_grad_bias(dy[None, None]), [dy.sum()])
