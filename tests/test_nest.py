"""Normal form against the relation: an executor that does what a nest says, address by address, on integers."""

import struct
from dataclasses import replace

import numpy as np
import oracle
import problems
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convx._geometry import BOUNDARIES, Axis, Geometry, parse
from convx._nest import KERNEL_RANK, normal_form, peel, prove, undilated

pytestmark = pytest.mark.once  # no matter which kernel row or build

SENTINEL = 10**9
seeds = st.integers(0, 2**32 - 1)
many = settings(max_examples=200)


def scattered(rng, shape, values=None, dense=False):
    """A buffer with gaps and a view of this shape in it, in a random order of axes, steps and directions."""
    order = range(len(shape)) if dense else rng.permutation(len(shape))
    steps = [1 if dense else int(s) for s in rng.integers(1, 3, len(shape))]
    buffer = np.full([shape[a] * steps[a] + (not dense) for a in order], SENTINEL)
    view = buffer[tuple(slice(0, shape[a] * steps[a], steps[a]) for a in order)]
    if dense:
        view[...] = SENTINEL if values is None else values
        return buffer.reshape(-1), 0, view
    view = view[tuple(slice(None, None, -1 if rng.random() < 0.3 else 1) for _ in order)].transpose(np.argsort(order))
    if values is not None:
        view[...] = values
    start = (view.__array_interface__["data"][0] - buffer.__array_interface__["data"][0]) // 8
    return buffer.reshape(-1), start, view


def strides(view):
    return [s // 8 for s in view.strides]


def extent(view):
    """Lowest and highest element of a view, counted from its first."""
    steps = [(n - 1) * s for n, s in zip(view.shape, strides(view), strict=True)]
    return sum(min(s, 0) for s in steps), sum(max(s, 0) for s in steps)


def addresses(nest, cval):
    """The element of x, w and y of every product, with the products that read cval marked."""
    met = [oracle.triples(a.size, a.taps, a.out, a.base, a.stride, a.dilation, a.offset, a.boundary)
           for a in (v.axis for v in nest.windows)]
    loops = np.meshgrid(*(np.arange(n) for n in (nest.n, nest.g, nest.c, nest.m, *map(len, met))), indexing="ij")
    n, g, c, m, *rest = (at.ravel() for at in loops)
    x = nest.origin[0] + n * nest.x[0] + g * nest.x[1] + c * nest.x[2]
    w = nest.origin[1] + g * nest.w[0] + m * nest.w[1] + c * nest.w[2]
    y = nest.origin[2] + n * nest.y[0] + g * nest.y[1] + m * nest.y[2]
    reads = np.ones(len(n), bool)
    for v, triples, at in zip(nest.windows, met, rest, strict=True):
        o, k, i = triples[at].T
        reads &= i >= 0
        x, w, y = x + i * v.xs, w + k * v.ws + o * v.wo, y + o * v.ys
    if not cval:
        x, w, y, reads = x[reads], w[reads], y[reads], reads[reads]
    return np.where(reads, x, 0), w, y, reads


def outputs(nest):
    """The element of every output, whether or not a product reaches it."""
    y = nest.origin[2]
    for extent, step in [(nest.n, nest.y[0]), (nest.g, nest.y[1]), (nest.m, nest.y[2]),
                         *((v.axis.out, v.ys) for v in nest.windows)]:
        y = np.add.outer(y, np.arange(extent) * step)
    return y.ravel()


def execute(nests, fill, x, w, y, cval=0):
    """Walk the nests in order; each operand is (buffer, first element, view)."""
    if fill:
        y[2][...] = 0
    for nest in nests:
        if nest.first:
            y[0][y[1] + outputs(nest)] = 0
        at_x, at_w, at_y, reads = addresses(nest, cval)
        np.add.at(y[0], y[1] + at_y, np.where(reads, x[0][x[1] + at_x], cval) * w[0][w[1] + at_w])


def operands(geometry, seed, shared=True, dense=False):
    rng = np.random.default_rng(seed)
    x, w, _ = problems.arrays(geometry, np.float64, seed, shared)
    values = [rng.integers(-9, 10, a.shape) for a in (x, w)]
    y_shape = (geometry.n, geometry.g, geometry.m, *(a.out for a in geometry.axes))
    return values, (scattered(rng, x.shape, values[0], dense), scattered(rng, w.shape, values[1], dense),
                    scattered(rng, y_shape, None, dense))


def nests_of(geometry, x, w, y, shared=True):
    rank = len(geometry.axes)
    return normal_form(geometry, strides(x[2]), strides(w[2])[:3 + rank], strides(y[2]),
                       None if shared else strides(w[2])[3 + rank:])


def check(geometry, seed, shared=True, cval=0, peeled=True, dense=False):
    values, (x, w, y) = operands(geometry, seed, shared, dense)
    nests, fill = nests_of(geometry, x, w, y, shared)
    if peeled:
        nests, bare = peel(nests)
        fill = fill or bare
        assert all(len(nest.windows) <= KERNEL_RANK for nest in nests)
    for nest in nests:
        for v in nest.windows:
            assert v.axis.base == 1 and v.axis.stride > 0 and v.axis.dilation > 0
    prove(nests, [extent(a[2]) for a in (x, w, y)])
    execute(nests, fill, x, w, y, cval)
    assert np.array_equal(y[2], oracle.convolve(problems.numbers(geometry), *values, cval))
    y[2][...] = SENTINEL
    assert (y[0] == SENTINEL).all(), "a nest writes outside y"


@many
@given(problems.geometries(), seeds)
def test_normal_form_is_the_relation(geometry, seed):
    check(geometry, seed)


@many
@given(problems.geometries(ranks=(4, 5), families=("forward", "swap_xy", "any")), seeds)
def test_peeling_limits_the_rank(geometry, seed):
    check(geometry, seed)


@many
@given(problems.geometries(), seeds, st.integers(1, 5))
def test_a_constant_boundary_with_a_value(geometry, seed, cval):
    check(geometry, seed, cval=cval, peeled=False)


@many
@given(problems.geometries(), seeds)
def test_unshared_weights(geometry, seed):
    check(geometry, seed, shared=False)


@many
@given(problems.geometries(ranks=(1, 2, 3)), seeds, st.integers(1, 4), st.integers(0, 5))
def test_interleaved_channels(geometry, seed, channels, cval):
    pixels = replace(geometry, axes=(*geometry.axes, Axis(channels, 1, channels)))
    check(pixels, seed, cval=cval, peeled=False, dense=True)


@pytest.mark.parametrize("line", problems.ZOO)
def test_zoo(line):
    check(parse(line), 0)


@many
@given(problems.geometries(ranks=(2, 3)), seeds)
def test_lattices_are_the_nest(geometry, seed):
    """The same products and outputs, and for the roles of taps and outputs exchanged too."""
    axes = tuple(replace(a, boundary="constant") for a in geometry.axes)
    _, (x, w, y) = operands(replace(geometry, axes=axes), seed)
    for nest in nests_of(replace(geometry, axes=axes), x, w, y)[0]:
        if len(nest.windows) < 2:
            continue
        assert nest.swap_wy().swap_wy() == nest
        turned = [part.swap_wy() for part in undilated(nest.swap_wy())]
        for parts, step in ((undilated(nest), "dilation"), (turned, "stride")):
            assert all(getattr(v.axis, step) == 1 for part in parts for v in part.windows[-2:])
            assert all(len(part.windows) <= KERNEL_RANK for part in parts)
            prove([part for part in parts if all(v.axis.size for v in part.windows)], [extent(a[2]) for a in (x, w, y)])
            products = [np.stack(addresses(part, 0)[:3]) for part in parts]
            assert np.array_equal(*(a[:, np.lexsort(a)] for a in (np.concatenate(products, 1),
                                                                  np.stack(addresses(nest, 0)[:3]))))
        at = np.concatenate([outputs(part) for part in undilated(nest)])
        assert np.array_equal(np.sort(at), np.sort(outputs(nest)))


@many
@given(problems.geometries(), seeds)
def test_prove_catches_an_extent_that_is_one_short(geometry, seed):
    _, (x, w, y) = operands(geometry, seed)
    nests, _ = nests_of(geometry, x, w, y)
    nests, _ = peel(nests)
    true = [extent(a[2]) for a in (x, w, y)]
    prove(nests, true)
    for nest in nests:
        for which, at in enumerate(addresses(nest, 0)[:3]):
            if not at.size:
                continue
            for short in ((at.min() + 1, true[which][1]), (true[which][0], at.max() - 1)):
                wrong = [*true[:which], short, *true[which + 1:]]
                with pytest.raises(AssertionError, match=rf"nest reaches {'xwy'[which]}\["):
                    prove([nest], wrong)


def test_prove_names_the_numbers():
    nests, _ = normal_form(parse("i5 k3 o3"), (5, 5, 5, 1), (3, 3, 3, 1), (3, 3, 3, 1))
    prove(nests, [(0, 4), (0, 2), (0, 2)])
    with pytest.raises(AssertionError, match=r"nest reaches w\[0\.\.2\], the array is \[0\.\.1\]"):
        prove(nests, [(0, 4), (0, 1), (0, 2)])


def contiguous(geometry):
    """Nests of C-ordered arrays."""
    x, w, _ = problems.arrays(geometry, np.float64)
    y = np.empty((geometry.n, geometry.g, geometry.m, *(a.out for a in geometry.axes)))
    return normal_form(geometry, strides(x), strides(w), strides(y))[0]


def test_one_tap_axes_become_one_run():
    nest, = contiguous(parse("n2 g1 c3 m4 i5x6x7 k1x1x1 o5x6x7"))
    window, = nest.windows
    assert (window.axis.out, window.axis.taps, window.xs, window.ys) == (210, 1, 1, 1)
    assert (nest.n, nest.c, nest.m, nest.depth, nest.outputs) == (2, 3, 4, 3, 2 * 4 * 210)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_interleaved_channels_become_one_row(boundary):
    geometry = parse("n1 g1 c1 m1 i8x9x3 k3x2x1 o8x9x3 d1x2x1 p1x1x0")
    axes = tuple(replace(a, boundary=boundary) for a in geometry.axes)
    nest, = contiguous(replace(geometry, axes=axes))
    if boundary in ("constant", "wrap"):
        assert [(v.axis.size, v.axis.taps, v.axis.out, v.axis.dilation, v.axis.offset, v.xs, v.ys)
                for v in nest.windows] == [(8, 3, 8, 1, 1, 27, 27), (27, 2, 27, 6, 3, 1, 1)]
    else:  # "edge" reads the last cell, which in a row of pixels is that of another channel
        assert [v.axis.taps for v in nest.windows] == [3, 2, 1]


def test_an_axis_without_taps_becomes_a_batch_that_nobody_uses():
    geometry = parse("n1 g1 c3 m4 i5x9x60 k1x2x3 o5x8x58")
    strides = (0, 8100, 2700, 540, 60, 1), (18, 18, 6, 6, 3, 1), (0, 9280, 2320, 464, 58, 1)
    (nest,), _ = normal_form(geometry, *strides)
    assert (nest.n, nest.x[0], nest.y[0], [v.axis.taps for v in nest.windows]) == (5, 540, 464, [2, 3])
    # A batch of one looks like any batch: cutting a batch must not change how its parts are computed.
    for n in (1, 2):
        nest, = contiguous(replace(geometry, n=n))
        assert (nest.n, [v.axis.taps for v in nest.windows]) == (n, [1, 2, 3])


@pytest.mark.parametrize("taps", ["1x3", "3x1"])
def test_rows_and_columns_keep_the_plane(taps):
    """Kernels take several rows together, and run along the columns of a row."""
    strides = (0, 0, 0, 60, 1), (9, 9, 3, 3, 1), (0, 0, 0, 60, 1)
    (nest,), _ = normal_form(parse(f"n1 g1 c1 m1 i50x60 k{taps} o50x60 p{'0x1' if taps == '1x3' else '1x0'}"), *strides)
    assert nest.n == 1 and [(v.axis.out, v.xs) for v in nest.windows] == [(50, 60), (60, 1)]


def test_unshared_weights_become_groups_that_nobody_uses():
    geometry = parse("n2 g1 c3 m4 i5x60 k1x3 o5x58")
    strides = (900, 0, 300, 60, 1), (0, 9, 3, 3, 1), (1160, 0, 290, 58, 1)
    (nest,), _ = normal_form(geometry, *strides, (36, 0))
    window, = nest.windows
    assert (nest.g, nest.x[1], nest.w[0], nest.y[1], window.axis.taps) == (5, 60, 36, 58, 3)


def test_a_strided_axis_without_taps_is_a_strided_view():
    nest, = contiguous(parse("n1 g1 c1 m1 i9x9 k1x1 o3x3 s3 p-1"))
    assert [(v.xs, v.ys, v.axis.out, v.axis.stride) for v in nest.windows] == [(27, 3, 3, 1), (3, 1, 3, 1)]
    assert nest.origin == (10, 0, 0) and not any(v.axis.is_padded() for v in nest.windows)


def test_the_longest_run_is_innermost():
    columns = (72, 72, 72, 1, 8), (9, 9, 9, 3, 1), (42, 42, 42, 1, 6)
    (nest,), _ = normal_form(parse("n1 g1 c1 m1 i8x9 k3x3 o6x7"), *columns)
    assert [(v.axis.size, v.xs, v.ys) for v in nest.windows] == [(9, 8, 6), (8, 1, 1)]


def test_phases_of_a_strided_gradient_share_nothing():
    nests = contiguous(parse("n1 g1 c2 m2 i4x4 k3x3 o9x9 b2x2 d-1x-1"))
    assert len(nests) == 4 and all(nest.first for nest in nests)
    assert sum(nest.outputs for nest in nests) == 2 * 81


@given(problems.geometries(ranks=(1, 2, 3)))
def test_pack(geometry):
    for nest in contiguous(geometry):
        packed = nest.pack()
        numbers = struct.unpack(f"{len(packed) // struct.calcsize('n')}n", packed)
        assert len(numbers) == 4 + 9 + 3 + KERNEL_RANK * 11
        assert numbers[:16] == (nest.n, nest.g, nest.c, nest.m, *nest.x, *nest.w, *nest.y, *nest.origin)
        rows = [numbers[16 + 11 * a:][:11] for a in range(KERNEL_RANK)]
        spare = KERNEL_RANK - len(nest.windows)
        assert all(row == (1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0) for row in rows[:spare])
        for row, v in zip(rows[spare:], nest.windows, strict=True):
            a = v.axis
            assert row == (a.out, a.taps, a.size, a.stride, a.dilation, a.offset, BOUNDARIES.index(a.boundary),
                           v.xs, v.ws, v.wo, v.ys)


@given(problems.geometries(ranks=(1, 2)), seeds)
def test_shifted_walks_the_other_part_of_complex_arrays(geometry, seed):
    _, (x, w, y) = operands(geometry, seed)
    for nest in nests_of(geometry, x, w, y)[0]:
        part = nest.shifted(1, 0, 1, False)
        for at, moved, shift in zip(addresses(nest, 0), addresses(part, 0), (1, 0, 1), strict=False):
            assert np.array_equal(at + shift, moved)
        assert not part.first and replace(part, first=True) == nest.shifted(1, 0, 1, True)


def test_products_and_depth_count():
    nest, = contiguous(Geometry(2, 3, 4, 5, parse("i7x8 k3x3 o5x6").axes))
    assert (nest.products, nest.outputs, nest.depth) == (2 * 3 * 4 * 5 * 30 * 9, 2 * 3 * 5 * 30, 36)
