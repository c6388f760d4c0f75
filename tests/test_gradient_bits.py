"""Gradients: the same bits however the work is cut, memory that does not grow with holes, nan where it belongs."""

from dataclasses import replace

import numpy as np
import problems
import pytest
from arrays import grown
from hypothesis import given, settings
from hypothesis import strategies as st
from layers import Bounds, Case, attempt, axis_of, cases
from problems import ALGORITHMS, each_algorithm

import convx

few = settings(max_examples=25)


def layer(operator, n, g, c, m, sizes, taps, **options):
    """A case whose options are one number or word for all axes."""
    padding, boundary = options.get("padding", "valid"), options.get("boundary", "constant")
    pair = padding if isinstance(padding, str) else (padding, padding)
    axes = [axis_of(size, k, options.get("stride", 1), options.get("dilation", 1), pair, boundary)
            for size, k in zip(sizes, taps, strict=True)]
    extra = {"output_shape": tuple(sizes)} if operator == "conv_transpose" else {}
    return Case(operator, n, g, c, m, axes, options | {"groups": g}, extra=extra)


BIG = [
    layer("conv", 5, 1, 3, 7, (17, 40), (3, 3), padding="same"),
    layer("conv", 4, 1, 16, 24, (21, 23), (1, 1)),
    layer("conv", 3, 12, 1, 1, (20, 21), (3, 3), padding="same"),
    layer("conv", 7, 1, 4, 8, (19, 19), (3, 3), padding=1, stride=2),
    layer("conv", 3, 1, 2, 2, (24, 40), (7, 7), padding=3, boundary="reflect"),
    layer("conv", 17, 1, 4, 3, (30,), (5,), padding="full", flip=True, boundary="wrap"),
    layer("conv", 2, 1, 3, 4, (7, 8, 20), (3, 3, 3), padding=1, dilation=2),
    layer("conv", 2, 1, 2, 3, (3, 4, 5, 9), (2, 2, 2, 3), padding="same"),
    layer("conv", 3, 1, 40, 48, (12, 31), (3, 3), padding=1),
    layer("conv_transpose", 4, 2, 3, 5, (16, 31), (4, 4), padding=1, stride=2),
    layer("conv_transpose", 3, 1, 4, 3, (14, 15), (3, 3), padding=2, stride=3, boundary="symmetric"),
    layer("locally_connected", 5, 2, 3, 4, (11, 12), (3, 3), padding="same", stride=2),
    layer("locally_connected", 4, 1, 2, 3, (30,), (3,), padding=2, boundary="edge"),
]
each_big = pytest.mark.parametrize("case", BIG, ids=lambda c: f"{c.operator}-g{c.g}c{c.c}m{c.m}-" + "x".join(
    str(a[0]) for a in c.axes))


def same_bits(y, expected, what):
    assert y.dtype == expected.dtype and y.shape == expected.shape
    wrong = ~((y == expected) | (np.isnan(y) & np.isnan(expected)))
    assert not wrong.any(), f"{what}: {wrong.sum()} of {wrong.size} differ, up to {np.abs(y - expected).max()}"


def part_of(case, arrays, where):
    """The case and its arrays for a part of the batch."""
    some = {name: a if name == "w" else a[where] for name, a in arrays.items()}
    return replace(case, n=len(some["u"])), some


@each_algorithm
@each_big
def test_do_not_depend_on_threads_nor_on_the_batch(algorithm, case):
    for dtype in ("f4", "c16") if algorithm == "auto" else ("f4",):
        arrays = case.arrays(dtype)
        for letter in "uwv":
            once = attempt(case, letter, arrays, algorithm, workers=1)
            if once is None:
                continue
            if algorithm != "reference":
                for workers in (2, 3):
                    found = attempt(case, letter, arrays, algorithm, workers=workers)
                    same_bits(found, once, f"{letter} {dtype}, workers={workers}")
            if letter == "w":
                continue  # a sum over the batch
            for cut in (1, case.n - 1):
                for where in (slice(0, cut), slice(cut, None)):
                    piece, some = part_of(case, arrays, where)
                    part = attempt(piece, letter, some, algorithm)
                    if part is not None:
                        same_bits(part, once[where], f"{letter} {dtype}[{where}]")


@few
@given(cases(ranks=(1, 2, 3)), st.sampled_from(ALGORITHMS), st.sampled_from(("f4", "c8")))
def test_small_ones_do_not_either(case, algorithm, dtype):
    arrays = case.arrays(dtype)
    for letter in "uwv":
        once = attempt(case, letter, arrays, algorithm, workers=1)
        if once is None:
            continue
        same_bits(attempt(case, letter, arrays, algorithm, workers=3), once, letter)
        if letter != "w":
            first, some = part_of(case, arrays, slice(0, 1))
            part = attempt(first, letter, some, algorithm)
            if part is not None:
                same_bits(part, once[:1], f"{letter} of the first")


@few
@given(cases(ranks=(1, 2), layouts=("NCHW", "NHWC")), st.sampled_from(("f2", "f4", "c16", "i4")))
def test_out_changes_no_bits(case, dtype):
    arrays = case.arrays(dtype)
    for letter in "uwv":
        once = case.call(letter, arrays)
        out = np.full(case.user(letter, once).shape, 7, once.dtype)
        same_bits(case.call(letter, arrays, out=out), once, letter)
        same_bits(case.canonical(letter, out), once, letter)
        room = np.full((*out.shape[:-1], 2 * out.shape[-1]), 7, once.dtype)
        for form in (np.asfortranarray(out), room[..., ::-2]):  # of other strides: another order of sums
            form[...] = 7
            found = case.call(letter, arrays, out=form)
            assert np.array_equal(case.canonical(letter, form), found)
            if found.dtype.kind == "i":
                assert np.array_equal(found, once)
            else:
                problems.assert_close(found, case.expected(letter, arrays), Bounds(case, letter, arrays).of("auto"))
        assert (room[..., ::2] == 7).all()


@pytest.mark.once
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("algorithm", ["auto", "sums", "thin", "depthwise"])
@pytest.mark.parametrize("c, m, size, taps", [(1, 16, 40, 32), (3, 64, 40, 33), (8, 16, 20, 14), (20, 8, 12, 8)])
def test_of_many_images_with_large_windows(c, m, size, taps, algorithm, layout):
    """Solvers that want scratch for every image where outputs are few take pieces, and are chosen as for one."""
    rng = np.random.default_rng(17)
    x, w = (rng.standard_normal((n, channels, side, side)).astype("f4")
            for n, channels, side in ((400, c, size), (m, c, taps)))
    if layout == "NHWC":
        x, w = (np.moveaxis(a, 1, -1).copy() for a in (x, w))
    options = {"layout": layout, "algorithm": algorithm}
    try:
        one = convx.conv(x[:1], w, **options)
    except ValueError as error:
        assert "refused" in str(error) and algorithm in ("thin", "depthwise")
        return
    same_bits(convx.conv(x, w, **options)[:1], one, "the first of 400")
    same_bits(convx.conv(x[399:], w, **options), convx.conv(x, w, workers=1, **options)[399:], "the last")



@each_big
@pytest.mark.parametrize("layout", ["NHWC", "HWCN"])
def test_parts_of_a_batch_in_other_layouts(case, layout):
    other = replace(case, layout=layout)
    arrays = case.arrays("f4")
    for letter in ("u", "v"):
        walked = "v" if letter == "u" else "u"
        memory = np.ascontiguousarray(other.user(walked, arrays[walked]))
        arrays[walked] = other.canonical(walked, memory)
        whole = other.call(letter, arrays)
        for where in (slice(0, 1), slice(1, None)):
            piece, some = part_of(other, arrays, where)
            same_bits(piece.call(letter, some), whole[where], f"{letter} {where}")


# Memory, as NumPy reports it to tracemalloc.

@pytest.mark.parametrize("name", ["conv_grad_input", "conv_transpose"])
def test_strides_make_no_copy_with_holes(name):
    dy, w = np.ones((1, 4, 200, 200), np.float32), np.ones((4, 4, 3, 3), np.float32)
    out = np.empty((1, 4, 600, 600), np.float32)
    more = (out.shape,) if name == "conv_grad_input" else ()
    size = {} if more else {"output_shape": (600, 600)}
    call = getattr(convx, name)
    assert grown(lambda: call(dy, w, *more, stride=3, padding=1, out=out, workers=1, **size)) < dy.nbytes // 4
    assert grown(lambda: call(dy, w, *more, stride=3, padding=1, workers=1, **size)) < out.nbytes + dy.nbytes // 4


def test_weight_gradients_make_no_copy_with_holes():
    x, dy, out = np.ones((1, 4, 600, 600)), np.ones((1, 4, 200, 200)), np.empty((4, 4, 3, 3))
    assert grown(lambda: convx.conv_grad_weight(x, dy, out.shape, stride=3, padding=1, out=out, workers=1)) < 2**16


@pytest.mark.parametrize("boundary", ["edge", "reflect", "symmetric", "wrap"])
def test_boundaries_allocate_rims_only(boundary):
    dy, w, out = np.ones((1, 4, 300, 300)), np.ones((4, 4, 5, 5)), np.empty((1, 4, 300, 300))
    rim = out[..., :2].nbytes
    call = lambda: convx.conv_grad_input(dy, w, out.shape, padding=2, boundary=boundary, out=out, workers=1)  # noqa: E731
    assert grown(call) < 3 * rim + 2**16


# Zero padding is absent, and what is not finite goes where it is read and nowhere else.

@few
@given(cases(ranks=(1, 2, 3)), st.sampled_from("uvw"), st.sampled_from((np.nan, np.inf, -np.inf)), st.integers(0, 9**9))
def test_one_nan_reaches_the_elements_that_read_it(case, spoilt, value, at):
    arrays = case.arrays("f4")
    arrays[spoilt].flat[at % arrays[spoilt].size] = value
    for letter in "uwv".replace(spoilt, ""):
        expected = case.expected(letter, arrays)
        for algorithm in ALGORITHMS:
            found = attempt(case, letter, arrays, algorithm)
            if found is not None:
                for ask in (np.isnan, np.isposinf, np.isneginf):
                    assert np.array_equal(ask(found), ask(expected.astype(found.dtype))), (algorithm, letter, ask)


@few
@given(cases(ranks=(1, 2)), st.sampled_from("uvw"))
def test_infinite_numbers_meet_no_padding(case, spoilt):
    arrays = case.arrays("f8")
    arrays = {name: np.abs(a) for name, a in arrays.items()}
    arrays[spoilt][...] = np.inf
    for letter in "uwv".replace(spoilt, ""):
        reached = case.contract(letter, {name: np.ones(arrays[name].shape) for name in "uwv" if name != letter})
        for algorithm in ALGORITHMS:
            found = attempt(case, letter, arrays, algorithm)
            if found is not None:
                assert np.array_equal(found, np.where(reached > 0, np.inf, 0)), (algorithm, letter)


def test_a_nan_in_large_gradients():
    for case in BIG:
        for spoilt, letter in (("v", "u"), ("v", "w"), ("w", "u"), ("u", "w")):
            arrays = case.arrays("f4")
            arrays[spoilt].flat[arrays[spoilt].size // 2] = np.nan
            ones = {name: np.zeros(arrays[name].shape) if name == spoilt else np.ones(arrays[name].shape)
                    for name in "uwv" if name != letter}
            ones[spoilt].flat[ones[spoilt].size // 2] = 1
            assert np.array_equal(np.isnan(case.call(letter, arrays)), case.contract(letter, ones) > 0)


def test_close_to_the_enumeration_at_size():
    for case in BIG[:4] + BIG[9:11]:
        arrays = case.arrays("f4")
        for letter in "uwv":
            fine = {name: arrays[name].astype(float) for name in "uwv" if name != letter}
            bound = 2 * Bounds(case, letter, arrays).elements
            problems.assert_close(case.call(letter, arrays), case.contract(letter, fine), bound, letter)
