"""The relation's algebra: swaps, phases, sizes, boundaries and the text form, all against enumeration."""

import math
from dataclasses import replace

import numpy as np
import oracle
import problems
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from convx._geometry import BOUNDARIES, NAMED_PADDINGS, Axis, Geometry, forward_axis, parse

pytestmark = pytest.mark.once  # no matter which kernel row or build


def meetings(axis):
    """Every (position, k, o) of an axis, positions outside the array included."""
    found = set()
    for o in range(axis.out):
        for k in range(axis.taps):
            i, rest = divmod(axis.stride * o + axis.dilation * k - axis.offset, axis.base)
            if rest == 0:
                found.add((i, k, o))
    return found


def inside(axis):
    return {(i, k, o) for i, k, o in meetings(axis) if 0 <= i < axis.size}


def unpadded(axis):
    return Axis(axis.size, axis.taps, axis.out, axis.base, axis.stride, axis.dilation, axis.offset)


@given(problems.axes())
def test_swap_xy_exchanges_input_and_output(axis):
    axis = unpadded(axis)
    note(str(axis))
    assert axis.swap_xy().swap_xy() == axis
    assert inside(axis.swap_xy()) == {(o, k, i) for i, k, o in inside(axis)}


@given(problems.axes())
def test_swap_wy_exchanges_taps_and_output(axis):
    note(str(axis))
    assert axis.swap_wy().swap_wy() == axis
    assert meetings(axis.swap_wy()) == {(i, o, k) for i, k, o in meetings(axis)}


@given(problems.geometries(families=("forward",)))
def test_geometry_swaps_are_involutions(geometry):
    assert geometry.swap_wy().swap_wy() == geometry
    plain = Geometry(geometry.n, geometry.g, geometry.c, geometry.m, tuple(map(unpadded, geometry.axes)))
    assert plain.swap_xy().swap_xy() == plain
    assert plain.swap_xy().products == plain.n * plain.g * plain.c * plain.m * math.prod(
        a.size * a.taps for a in plain.axes)


def test_swap_xy_refuses_a_boundary_that_is_not_one_relation():
    with pytest.raises(ValueError, match="'reflect' boundary"):
        forward_axis(9, 3, 1, 1, "same", "reflect").swap_xy()
    assert forward_axis(9, 3, 1, 1, "valid", "reflect").swap_xy().size == 7


@given(problems.axes())
def test_phases_are_the_axis(axis):
    note(str(axis))
    found, outputs = [], []
    for part, taps, outs in axis.phases():
        ks, os = range(axis.taps)[taps], range(axis.out)[outs]
        assert part.base == 1 and (part.taps, part.out, part.boundary) == (len(ks), len(os), axis.boundary)
        outputs += os
        found += [(i, ks[k], os[o]) for i, k, o in meetings(part)]
    assert len(found) == len(set(found)), "two phases compute the same product"
    assert set(found) == meetings(axis)
    assert len(outputs) == len(set(outputs)), "two phases own the same output"
    assert {o for _, _, o in found} <= set(outputs)


@given(problems.axes())
def test_lattices_are_the_axis(axis):
    """For steps forward; a rule at the ends holds where no lattice asks for anything beyond them."""
    axis = replace(axis, base=1, stride=abs(axis.stride), dilation=abs(axis.dilation))
    if axis.is_padded():
        axis = replace(axis, boundary="constant")
    note(str(axis))
    found, outputs = [], []
    step = axis.dilation // math.gcd(axis.dilation, axis.stride)
    for part, i0, o0 in axis.lattices():
        inputs, outs = range(i0, axis.size, axis.dilation), range(o0, axis.out, step)
        assert (part.base, part.dilation, part.boundary) == (1, 1, axis.boundary)
        assert (part.size, part.taps, part.out) == (len(inputs), axis.taps, len(outs))
        outputs += outs
        found += [(i0 + axis.dilation * i, k, outs[o]) for i, k, o in meetings(part)]
    assert len(found) == len(set(found)) and set(found) == meetings(axis)
    assert sorted(outputs) == list(range(axis.out))


@given(problems.axes(), st.integers(0, 99))
def test_computing_through_phases(axis, seed):
    note(str(axis))
    rng = np.random.default_rng(seed)
    x, w = (rng.integers(-9, 10, (1, 1, 1, size)) for size in (axis.size, axis.taps))
    y = np.zeros((1, 1, 1, axis.out), int)
    for part, taps, outs in axis.phases():
        y[..., outs] = oracle.convolve(problems.numbers(Geometry(1, 1, 1, 1, (part,))), x, w[..., taps])
    assert np.array_equal(y, oracle.convolve(problems.numbers(Geometry(1, 1, 1, 1, (axis,))), x, w))


@given(problems.forward_options(1))
def test_forward_sizes(rows):
    (size, taps, stride, dilation, padding, boundary, flip), = rows
    axis = forward_axis(*rows[0])
    span = dilation * (taps - 1) + 1
    if padding in ("same", "same_lower"):
        out = math.ceil(size / stride)
    else:
        before, after = {"valid": (0, 0), "full": (span - 1, span - 1)}.get(padding, padding)
        out = math.floor((size + before + after - dilation * (taps - 1) - 1) / stride + 1)  # PyTorch's formula
        assert min(i for i, _, _ in meetings(axis)) == -before
    assert (axis.size, axis.taps, axis.out, axis.boundary) == (size, taps, out, boundary)
    flipped = forward_axis(*rows[0][:-1], not flip)
    assert meetings(flipped) == {(i, taps - 1 - k, o) for i, k, o in meetings(axis)}


@pytest.mark.parametrize("size", [1, 2, 5, 8, 9])
@pytest.mark.parametrize("taps", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_same_is_the_same_as_elsewhere(size, taps, stride):
    for dilation in (1, 2, 3):
        span = dilation * (taps - 1) + 1
        total = max(span - stride, 0) if size % stride == 0 else max(span - size % stride, 0)
        upper, lower = (forward_axis(size, taps, stride, dilation, name) for name in ("same", "same_lower"))
        # TensorFlow and ONNX SAME_UPPER put the odd cell after, ONNX SAME_LOWER before.
        assert (upper.offset, lower.offset) == (total // 2, total - total // 2)
        assert upper.out == lower.out == (size + stride - 1) // stride
        if stride == 1:  # PyTorch's padding="same"
            assert upper.offset == dilation * (taps - 1) // 2


@pytest.mark.parametrize("size", [1, 4, 7])
@pytest.mark.parametrize("taps", [1, 2, 3, 4, 5])
def test_same_flipped_is_the_centre_of_the_full_convolution(size, taps):
    axis = forward_axis(size, taps, 1, 1, "same", flip=True)
    x, w = np.arange(1, size + 1), 10 ** np.arange(taps)
    y = oracle.convolve(problems.numbers(Geometry(1, 1, 1, 1, (axis,))), x[None, None, None], w[None, None, None])
    assert np.array_equal(y.ravel(), np.convolve(x, w)[taps // 2:][:size])  # MATLAB's conv(x, w, 'same')


@pytest.mark.parametrize("padding", NAMED_PADDINGS)
def test_empty_axis(padding):
    if padding == "valid":
        with pytest.raises(ValueError, match="spans 3"):
            forward_axis(0, 3, 1, 1, padding)
    else:
        assert forward_axis(0, 3, 1, 1, padding).out == (2 if padding == "full" else 0)
    assert forward_axis(0, 1, 1, 1, (2, 1)).out == 3
    with pytest.raises(ValueError, match="'wrap' cannot extend an axis of size 0"):
        forward_axis(0, 1, 1, 1, (2, 1), "wrap")


@pytest.mark.parametrize(("size", "taps", "dilation", "padding"), [
    (4, 5, 1, "valid"), (4, 3, 2, "valid"), (6, 4, 3, (1, 2)), (1, 9, 1, (3, 4)), (2, 5, 7, (11, 13)),
])
def test_kernel_larger_than_the_padded_input(size, taps, dilation, padding):
    before, after = (0, 0) if padding == "valid" else padding
    with pytest.raises(ValueError) as caught:
        forward_axis(size, taps, 1, dilation, padding, name="spatial axis 1")
    text = str(caught.value)
    assert text.startswith("spatial axis 1: ")
    for number in (taps, dilation, dilation * (taps - 1) + 1, f"{before} + {size} + {after} = {before + size + after}"):
        assert f" {number}" in text or f"({number}" in text


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_locate_is_numpy_pad(boundary, size):
    far = 4 * size + 9
    padded = (np.pad(np.arange(size), far, constant_values=-1) if boundary == "constant"
              else np.pad(np.arange(size), far, mode=boundary))
    axis = Axis(size, 1, 1, boundary=boundary)
    assert [axis.locate(i) for i in range(-far, size + far)] == padded.tolist()


def test_locate_in_an_empty_axis():
    assert all(Axis(0, 1, 1, boundary=b).locate(i) == -1 for b in BOUNDARIES for i in (-2, 0, 3))


@given(problems.axes())
def test_reach_and_is_padded(axis):
    note(str(axis))
    asked = [axis.stride * o + axis.dilation * k - axis.offset for o in range(axis.out) for k in range(axis.taps)]
    assert axis.reach() == (min(asked), max(asked))
    leaves = any(not 0 <= i < axis.size for i, _, _ in meetings(axis))
    # With a base some of the asked positions fall between inputs and need no padding: then is_padded may be cautious.
    assert axis.is_padded() == leaves if axis.base == 1 else axis.is_padded() or not leaves


def test_nothing_is_not_padded():
    assert not Axis(5, 0, 3, offset=9).is_padded()
    assert not Axis(5, 3, 0, offset=9).is_padded()
    assert Axis(0, 1, 1).is_padded()


@given(problems.geometries())
def test_text_round_trip(geometry):
    assert parse(geometry.text()) == geometry


@pytest.mark.parametrize("line", problems.ZOO)
def test_zoo_lines_read_back(line):
    assert parse(parse(line).text()) == parse(line)


def test_text_form():
    line = "n1 g1 c3 m8 i32x32 k3x3 o16x16 b2x1 s2 d1 p1x0 reflect"
    geometry = parse(line)
    assert geometry.axes[0] == Axis(32, 3, 16, 2, 2, 1, 1, "reflect")
    assert geometry.text() == line
    assert parse("i5 k3 o3") == Geometry(1, 1, 1, 1, (Axis(5, 3, 3),))
    assert (geometry.products, geometry.is_padded()) == (24 * 48 * 48, True)


def test_outputs_follow_from_padding():
    assert parse("i6x9 k3x4 s2x4 p1x0 d1x2 wrap") == parse("i6x9 k3x4 o3x1 s2x4 p1x0 d1x2 wrap")
    assert [axis.padding() for axis in parse("i32x6 k3x3 s2 p1x0").axes] == [(1, 0), (0, 0)]


@given(problems.geometries())
def test_padding_makes_the_axis_again(geometry):
    for axis in geometry.axes:
        if axis.base == 1 and min(axis.stride, axis.dilation) > 0 and axis.out and min(axis.padding()) >= 0:
            again = forward_axis(axis.size, axis.taps, axis.stride, axis.dilation, axis.padding(), axis.boundary)
            assert again == axis


@pytest.mark.parametrize("numbers", [{"base": 2}, {"stride": -1}, {"stride": 0}, {"dilation": -2}])
def test_padding_is_of_layers(numbers):
    with pytest.raises(ValueError, match="in a layer base is 1") as error:
        Axis(5, 3, 3, **numbers).padding()
    assert all(f"{name} {number}" in str(error.value) for name, number in numbers.items())


@pytest.mark.parametrize("line, said", [
    ("i5 k3 o3 hello", "'hello' is no word"), ("i5 k3 o3 reflectxmirror", "no word"), ("i5 k3 z7", "'z7' is no word"),
    ("i5x5 k3 o3", "i of .* has 2 entries, k has 1"), ("i5x5 k3", "i of .* has 2 entries"),
    ("i5 k3x3", "i of .* has 1 entries"), ("i5 k3 o3 p1x1", "p of .* has 2"), ("i5x5 k3x3 o3", "o of .* has 1"),
    ("ix5 k3x3", "'ix5' is no word"), ("i5 k3 p1.5", "'p1.5' is no word"), ("i-5 k3", "i of .* at least 0"),
    ("i5 k3 o-1", "o of .* at least 0"), ("i5 k3 g0", "g of .* at least 1"), ("n1x2 i5 k3", "n of .* is one number"),
    ("i5 k3 s0", "strides and dilations are above 0"), ("i5 k3 p-1", "padding is not below"),
    ("i5 k3 b2", "without o"), ("i5 k9", "axis 0: a kernel of 9 taps"), ("i5", "needs at least the words i and k"),
    ("", "needs at least"), ("i5 k3 i6", "two words such as 'i6'"), ("i5 k3 p1 p1", "two words such as 'p1'"),
    ("i5 k3 p1 wrap edge", "two words such as 'edge'")])
def test_lines_that_are_no_problem(line, said):
    with pytest.raises(ValueError, match=said):
        parse(line)
