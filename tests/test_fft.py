"""What is special about transforms: tiles, spoiled tiles, bits, memory, error bounds, and when they are taken."""

import subprocess
import sys
import tracemalloc
from contextlib import contextmanager
from math import prod

import numpy as np
import problems
import pytest
import scipy.fft
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

import convx
from convx import _arguments
from convx._geometry import Axis, parse
from convx._nest import Nest, Window
from convx._solvers import _tiles, direct, fft, gemm, stencil

pytestmark = pytest.mark.once  # no kernel of its own; spoiled tiles go to kernels that every row is tested on


def forget():
    for cache in (fft.tiling, _arguments._planned):
        cache.cache_clear()


@contextmanager
def forgotten():
    """Tiles and plans of before are not used inside, nor those of inside afterwards."""
    forget()
    try:
        yield
    finally:
        forget()


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles barely longer than the windows, so that every axis has several of them."""
    def choices(nest, kind):
        return [tuple(_tiles.fast(_tiles.reach_of(v.axis) + 2 * v.axis.stride) for v in fft.tapped(nest))]

    monkeypatch.setattr(fft, "_choices", choices)
    with forgotten():
        yield


@pytest.fixture
def small_room(small_tiles, monkeypatch):
    """Room for two or three spectra: groups and channels are cut into blocks, and tiles are done a few at a time."""
    monkeypatch.setattr(fft, "_room", lambda nest, kind: 4000)


@pytest.fixture
def few_rows(monkeypatch):
    """A few rows of a tile at a time."""
    def rows(lengths, g, m, c, room):
        return (min(lengths[0], 5) if len(lengths) > 1 else lengths[0]), 3 * max(c, m) * prod(lengths)

    monkeypatch.setattr(fft, "_rows", rows)
    with forgotten():
        yield


TILED = """
n1 g1 c1 m1 i97 k3 o97 p1
n2 g1 c2 m3 i97 k8 o104 p7
n1 g1 c1 m1 i97 k8 o30 s3 d2 p1
n2 g2 c1 m2 i30x41 k3x4 o30x41 p1x2
n1 g1 c2 m2 i30x41 k3x4 o15x20 s2x2 p1
n1 g1 c2 m2 i30x41 k3x4 o28x35 d1x2
n1 g1 c3 m1 i30x41 k5x3 o34x47 p4 reflect
n1 g1 c1 m2 i30x41 k5x3 o34x47 p4 symmetricxwrap
n1 g1 c1 m2 i30x41 k5x3 o90x83 p40 wrapxedge
n1 g1 c1 m2 i3x4 k5x3 o20x20 p9x8 reflectxconstant
n3 g1 c1 m1 i30x41 k5x1 o30x41 p2x0
n2 g1 c1 m1 i30x41 k1x5 o30x41 p0x2
n1 g1 c2 m2 i9x12x14 k2x3x3 o8x12x14 p0x1x1
n1 g2 c1 m1 i9x12x14 k2x3x3 o9x12x14 p1 edge
n1 g1 c1 m1 i9x12x14 k3x3x3 o4x5x7 s2x2x2 d1x2x1 p1x1x1 reflect
""".strip().splitlines()
each_tiled = pytest.mark.parametrize("line", TILED)


def check(line, dtype, cval=0, algorithm="fft", spoil=(), **options):
    geometry = parse(line)
    x, w, bias = problems.arrays(geometry, dtype)
    arrays = {"x": x, "w": w}
    for operand, place, value in spoil:
        arrays[operand].flat[int(place * (arrays[operand].size - 1))] = value
    y = problems.run(geometry, x, w, bias, cval, algorithm, **options)
    expected = problems.exact(geometry, x, w, bias, cval)
    fine = np.isfinite(expected)
    assert np.array_equal(np.isfinite(y), fine)
    assert np.array_equal(np.isnan(y), np.isnan(expected))
    for a in (x, w):
        a[~np.isfinite(a)] = 0
    bound = problems.allowed(fft, geometry, x, w, bias, cval if np.isfinite(cval) else 0)
    problems.assert_close(y[fine], expected[fine], bound[fine])
    return y


@each_tiled
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_several_tiles(small_tiles, line, dtype):
    check(line, dtype)
    check(line, dtype, cval=-1.5)


@each_tiled
def test_little_room(small_room, line):
    check(line, "f4")
    check(line, "f8", cval=0.5, threads=2)


@each_tiled
def test_few_rows_at_a_time(few_rows, line):
    """With tiles of any length: most lines have one tile, and there some go round."""
    check(line, "f4")
    check(line, "f8", cval=-1.5, threads=2)
    check(line, "f8", spoil=[("x", 0.37, np.nan), ("x", 0.9, np.inf)])


@each_tiled
def test_few_rows_of_small_tiles(few_rows, small_tiles, line):
    check(line, "f8", cval=0.5)
    check(line, "f4", spoil=[("x", 0.6, np.inf)])


ROUND = {  # line: the shortest good lengths
    "n1 g1 c1 m1 i100 k60 o159 p59": (160,),  # "full": 159 positions, not 218
    "n1 g1 c1 m1 i97 k31 o97 p15": (120,),  # 112
    "n2 g1 c2 m1 i100 k60 o100 p30 wrap": (100,),
    "n1 g1 c1 m1 i101 k60 o101 p30 wrap": (160,),  # 101 is a prime
    "n1 g1 c1 m1 i30x32 k5x31 o30x32 p2x15 wrapxconstant": (30, 48),
    "n1 g1 c1 m1 i100 k100 o100 p0 wrap": (100,),
    "n1 g1 c1 m1 i100 k7 o25 s4 p3 wrap": (100,),
    "n1 g1 c1 m1 i100 k7 o34 s3 p3": (108,),
    "n1 g1 c1 m1 i40 k9 o120 p60": (120,),  # outputs that read nothing but padding
    "n1 g1 c1 m1 i100 k60 o41 p0": (100,),  # nothing to save
    "n1 g1 c1 m1 i100 k60 o41 p0 reflect": (100,),
    "n1 g1 c1 m1 i100 k60 o101 p30 reflect": (160,),
}


@pytest.mark.parametrize("line", ROUND)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_tiles_that_go_round(line, dtype):
    assert tuple(_tiles.shortest(a) for a in parse(line).axes) == ROUND[line]
    geometry = parse(line)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fft, "_choices", lambda nest, kind: [ROUND[line]])
        for cache in (fft.tiling, _arguments._planned):
            cache.cache_clear()
        check(line, dtype)
        check(line, dtype, cval=2.5)
        check(line, dtype, spoil=[("x", 0.4, np.nan)])
        if len(geometry.axes) == 1:  # the weights are transformed beside the signal
            one = check(line, dtype, threads=1)
            assert np.array_equal(check(line, dtype, threads=3), one)
    for cache in (fft.tiling, _arguments._planned):
        cache.cache_clear()


def test_tiles_and_blocks_are_really_several(small_room):
    blocks = set()
    for line in TILED:
        geometry = parse(line)
        nest = Nest(1, geometry.g, geometry.c, geometry.m, (1,) * 3, (1,) * 3, (1,) * 3, (0,) * 3,
                    tuple(Window(a, 1, 1, 0, 1) for a in geometry.axes))
        found = fft.tiling(nest, "f32")
        cuts = [_tiles.cut_into(v.axis, size) for v, size in zip(fft.tapped(nest), found.lengths, strict=True)]
        assert all(cut.tiles > 1 for cut in cuts), line
        blocks |= {letter for letter in "gmc" if getattr(found, letter) < getattr(geometry, letter)}
    assert blocks == set("gmc")


@settings(max_examples=200)
@given(problems.axes("forward"), st.integers(0, 40))
def test_every_output_is_in_one_tile_and_reads_what_it_should(axis, more):
    if axis.dilation < 0:
        axis = Axis(axis.size, axis.taps, axis.out, 1, axis.stride, -axis.dilation, more - 9, axis.boundary)
    cut = _tiles.cut_into(axis, _tiles.reach_of(axis) + more)
    seen = []
    for run in cut.runs():
        for tile in range(run.first, run.first + run.count):
            start = tile * cut.step - axis.offset
            seen += range(tile * cut.outs, tile * cut.outs + cut.here(tile))
            assert run.count == 1 or run.inside
            if run.inside:
                assert start >= 0 and start + cut.length <= axis.size and cut.here(tile) == cut.outs
            view = np.arange(1, axis.size + 1)[None]
            patch = np.zeros((1, cut.length), int)
            edge = _tiles.Run(tile, 1, False)
            _tiles.gather(view, (cut,), (edge,), 77, patch, slice(0, cut.length))
            needed = (cut.here(tile) - 1) * axis.stride + cut.reach
            reads = [i + 1 if i >= 0 else 77 for i in (axis.locate(start + t) for t in range(needed))]
            assert (reads + [0] * cut.length)[:cut.length] == patch[0].tolist()
            assert reads == [patch[0, t % cut.length] for t in range(needed)]  # what goes round reads the same
    assert seen == list(range(axis.out))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(1, 50))
def test_blocks_cover_the_loops_once(extents, most):
    seen = np.zeros(extents, int)
    for block in _tiles.blocks(extents, most):
        assert 1 <= prod(b.stop - b.start for b in block) <= most
        seen[block] += 1
    assert (seen == 1).all()


def test_good_lengths_are_those_of_scipy():
    for least in [*range(1, 300), 4097, 10**5 + 1, 10**6 + 7, 2**26 + 1]:
        assert _tiles.fast(least) == scipy.fft.next_fast_len(least, real=True)


# Infinities and nan.


@each_tiled
def test_spoiled_tiles(small_tiles, line):
    for place in (0, 0.37, 1):
        for value in (np.nan, np.inf, -np.inf):
            check(line, "f4", spoil=[("x", place, value)])
    check(line, "f8", spoil=[("x", 0.2, np.nan), ("x", 0.8, np.inf)], cval=1.5)
    check(line, "f8", spoil=[("w", 0.5, np.inf)])
    check(line, "f4", spoil=[("w", 0, np.nan)], threads=2)
    check(line, "f4", cval=np.inf)


@each_tiled
def test_spoiled_tiles_in_little_room(small_room, line):
    check(line, "f4", spoil=[("x", 0.37, np.nan), ("x", 0.9, np.inf)])


def test_only_spoiled_tiles_are_summed_again(small_tiles):
    geometry = parse("n2 g1 c2 m2 i60x60 k5x5 o60x60 p2")
    x, w, _ = problems.arrays(geometry, "f4")
    clean = problems.run(geometry, x, w, algorithm="fft")
    x[1, 0, 1, 30, 30] = np.nan
    y = problems.run(geometry, x, w, algorithm="fft")
    hit = np.isnan(y)
    assert hit.sum() == 2 * 25 and hit[1, 0, :, 28:33, 28:33].all()
    changed = (y != clean) & ~hit
    assert np.array_equal(y[0], clean[0]) and not changed[..., :20, :].any() and not changed[..., :20].any()
    bound = 2 * problems.allowed(fft, geometry, np.nan_to_num(x), w)
    problems.assert_close(y[~hit], clean[~hit], bound[~hit])


def test_sums_that_overflow_as_direct_sums_do():
    x = np.full(3000, 3e38, np.float32)
    w = np.ones(50, np.float32)
    w[1::2] = -1
    for v in (w, abs(w), w * np.float32(1e-3)):
        y = convx.convolve(x, v, "same", algorithm="fft")
        expected = convx.convolve(x, v, "same", algorithm="direct")
        assert np.array_equal(np.isfinite(y), np.isfinite(expected))
        y = convx.convolve(np.sin(np.arange(3000)).astype("f4"), v, "same", algorithm="fft")
        assert np.isfinite(y).all()


# Bits.

SAME_BITS = [
    ((7, 3, 40, 50), (4, 3, 9, 8), {"padding": "same"}),
    ((5, 1, 200, 190), (1, 1, 31, 31), {"padding": "same", "boundary": "reflect"}),
    ((9, 4, 3000), (4, 2, 65), {"padding": "full", "groups": 2}),
    ((3, 2, 20, 21, 22), (2, 2, 5, 5, 5), {"padding": "same", "stride": 2}),
]


@pytest.mark.parametrize("case", SAME_BITS, ids=["2-D", "reflect", "1-D", "3-D"])
@pytest.mark.parametrize("tiles", ["small", "usual"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_batches_threads_and_bound_weights_give_the_same_bits(case, tiles, layout, request):
    if tiles == "small":
        request.getfixturevalue("small_tiles")
    x_shape, w_shape, options = case
    options = options | {"algorithm": "fft", "layout": layout}
    rng = np.random.default_rng(2)
    for dtype in ("f4", "f8"):
        x, w = rng.standard_normal(x_shape).astype(dtype), rng.standard_normal(w_shape).astype(dtype)
        x.flat[7] = np.nan  # one tile is summed again
        if layout == "NHWC":
            x, w = (np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (x, w))
        whole = convx.conv(x, w, workers=1, **options)
        assert np.isnan(whole).any() and np.isfinite(whole).any()
        for workers in (2, 3):
            assert np.array_equal(convx.conv(x, w, workers=workers, **options), whole, equal_nan=True)
        alone = np.concatenate([convx.conv(x[i:i + 1], w, **options) for i in range(len(x))])
        assert np.array_equal(alone, whole, equal_nan=True)
        bound = convx.plan("conv", x, w, **options).bind(w)
        for _ in range(2):
            assert np.array_equal(bound(x), whole, equal_nan=True)


def test_views_have_the_same_bits_as_their_copies():
    rng = np.random.default_rng(2)
    wide = rng.standard_normal((3, 4, 90, 160), np.float32)
    for view in (wide[:, ::2, :, ::2], wide[:, 1:3, ::-1], wide[..., 7:100], wide.swapaxes(2, 3)[:, :2]):
        w = rng.standard_normal((3, view.shape[1], 9, 7), np.float32)
        y = convx.conv(view, w, algorithm="fft", padding="same")
        assert np.array_equal(convx.conv(view.copy(), w, algorithm="fft", padding="same"), y)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", [(96,), (3375,), (40, 54), (375, 90), (12, 15, 16)])
def test_scipy_transforms_have_the_same_bits_alone_and_together(shape, dtype):
    """What the solver relies on: batches and threads change no bit of a transform."""
    x = np.random.default_rng(0).standard_normal((11, *shape)).astype(dtype)
    axes = tuple(range(1, x.ndim))
    spectra = scipy.fft.rfftn(x, axes=axes, workers=3)
    back = scipy.fft.irfftn(spectra, shape, axes=axes, workers=2)
    for i in range(len(x)):
        assert np.array_equal(scipy.fft.rfftn(x[i]), spectra[i])
        assert np.array_equal(scipy.fft.irfftn(spectra[i], shape), back[i])


def test_weights_too_large_to_keep_are_transformed_in_every_call(monkeypatch):
    rng = np.random.default_rng(3)
    x, w = rng.standard_normal((1, 4, 50, 60)), rng.standard_normal((5, 4, 9, 9))
    once = convx.conv(x, w, algorithm="fft")
    plan = convx.plan("conv", x, w, algorithm="fft")
    monkeypatch.setattr(fft, "KEPT", 1000)
    assert np.array_equal(plan.bind(w)(x), once)
    assert np.array_equal(plan.bind(w * np.inf)(x), convx.conv(x, w * np.inf, algorithm="fft"), equal_nan=True)


# Memory.


@pytest.mark.parametrize("shapes", [((1, 1, 1500, 1500), (1, 1, 31, 31)), ((1, 1, 900, 900), (1, 1, 255, 255)),
                                    ((1, 16, 128, 128), (16, 16, 31, 31)), ((40, 1, 300, 300), (1, 1, 40, 40)),
                                    ((1, 1, 2_000_000), (1, 1, 4097)), ((1, 1, 96, 96, 96), (1, 1, 9, 9, 9)),
                                    ((1, 64, 90, 90), (64, 64, 25, 25))], ids=str)
@pytest.mark.parametrize("boundary", ["constant", "reflect"])
def test_extra_memory(shapes, boundary):
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s, np.float32) for s in shapes)
    plan = convx.plan("conv", x, w, padding="same", boundary=boundary, algorithm="fft")
    out = np.empty((*x.shape[:1], len(w), *x.shape[2:]), "f4")
    plan(x[..., :], w, out=out, workers=2)
    tracemalloc.start()
    plan(x, w, out=out, workers=2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak <= max(16 << 20, (x.nbytes + w.nbytes + out.nbytes) // 4)


# Error bounds.


def tile_norms(x, w):
    """2-norms of all of x of an image, which no tile exceeds but by padding with zeros, and of an output channel."""
    return max(np.linalg.norm(a.ravel()) for a in x), max(np.linalg.norm(a.ravel()) for a in w)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("scale", ["even", "one huge input", "slope", "huge mean", "one huge weight"])
@pytest.mark.parametrize("shapes", [((1, 1, 3000), (1, 1, 301)), ((1, 3, 60, 70), (2, 3, 15, 11)),
                                    ((1, 2, 16, 17, 18), (2, 2, 5, 4, 6))], ids=str)
def test_error_bounds_on_uneven_data(dtype, scale, shapes):
    rng = np.random.default_rng(4)
    x, w = (rng.standard_normal(s) for s in shapes)
    if scale == "one huge input":
        x.flat[x.size // 3] = 1e6
    elif scale == "slope":
        x *= np.logspace(-9, 9, x.shape[-1])
    elif scale == "huge mean":
        x += 1e5
    elif scale == "one huge weight":
        w.flat[w.size // 2] = -1e6
    x, w = x.astype(dtype), w.astype(dtype)
    y = convx.conv(x, w, padding="same", algorithm="fft")
    fine = [scipy.signal.correlate(x[0].astype("g"), v.astype("g"), method="direct") for v in w]
    middle = w.shape[1] - 1
    expected = np.stack([trim(part[middle], x.shape[2:], w.shape[2:]) for part in fine])
    off = np.abs(y[0] - expected).max()
    terms, size = problems.by_norms(x, w, 1)
    assert off <= fft.error_factor * (terms + 2) * np.finfo(dtype).eps * size
    tile = prod(_tiles.fast(n + k) for n, k in zip(x.shape[2:], w.shape[2:], strict=True))  # none is longer
    assert off <= fft.error_bound(tile, x.shape[1], *tile_norms(x.astype(float), w.astype(float)), dtype)


def trim(full, sizes, taps):
    """The part of a full correlation that padding="same" keeps."""
    return full[tuple(slice(k - 1 - (k - 1) // 2, k - 1 - (k - 1) // 2 + n) for n, k in zip(sizes, taps, strict=True))]


def test_small_outputs_beside_huge_inputs_lose_relative_accuracy():
    """What the documentation warns of; sums one by one do not."""
    x, w = np.ones(3000, "f4"), np.ones(100, "f4")
    x[1500] = 1e9
    y, exact = (convx.convolve(x, w, "same", algorithm=name)[1200:1400] for name in ("fft", "direct"))
    assert (exact == 100).all() and not (y == 100).all()


# When they are taken.


def test_auto_takes_transforms_where_they_pay():
    image, line = np.ones((1024, 1024), "f4"), np.ones(10**6, "f4")
    for dtype in ("f4", "f8"):
        a, b = image.astype(dtype), line.astype(dtype)
        assert convx.explain("convolve", a, np.ones((255, 255), dtype)).chosen == "fft"
        assert convx.explain("correlate", b, np.ones(4097, dtype)).chosen == "fft"
        assert convx.explain("conv2d", a[None, None], np.ones((1, 1, 255, 255), dtype)).chosen == "fft"
        assert convx.explain("convolve", a, np.ones((3, 3), dtype)).chosen != "fft"
        assert convx.explain("convolve", b, np.ones(5, dtype)).chosen != "fft"
    layer, weights = np.ones((1, 64, 56, 56), "f4"), np.ones((64, 64, 3, 3), "f4")
    assert convx.explain("conv", layer, weights).chosen != "fft"


def test_integers_are_never_transformed():
    a, v = np.arange(5000), np.arange(300)
    assert np.array_equal(convx.convolve(a, v), np.convolve(a, v))
    assert convx.explain("convolve", a, v).chosen != "fft"
    for call in (lambda: convx.convolve(a, v, algorithm="fft"),
                 lambda: convx.conv(a[None, None], v[None, None], algorithm="fft")):
        with pytest.raises(ValueError, match="'fft' refused: sums of integers must be exact"):
            call()


@pytest.mark.parametrize("options, words", [
    ({"stride": 5}, "stride 5 would drop all but one of 5 computed outputs"),
])
def test_refusals(options, words):
    with pytest.raises(ValueError, match=words):
        convx.conv(np.ones((1, 1, 90)), np.ones((1, 1, 9)), algorithm="fft", **options)
    with pytest.raises(ValueError, match="no axis has more than one tap"):
        convx.conv(np.ones((1, 2, 90)), np.ones((3, 2, 1)), algorithm="fft")


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("shapes", [((500,), (60,)), ((60,), (500,)), ((50, 61), (17, 20)), ((30, 9, 22), (8, 9, 5))],
                         ids=str)
@pytest.mark.parametrize("dtypes", ["f4 f4", "f8 f8", "F F", "D d"])
def test_all_modes_against_scipy(mode, shapes, dtypes):
    rng = np.random.default_rng(8)
    a, v = (rng.standard_normal(s) + (1j * rng.standard_normal(s) if np.dtype(d).kind == "c" else 0)
            for s, d in zip(shapes, dtypes.split(), strict=True))
    a, v = (array.astype(d) for array, d in zip((a, v), dtypes.split(), strict=True))
    small, large = sorted((a, v), key=np.size)
    terms, size = problems.by_norms(large, small, 0)
    bound = 2 * fft.error_factor * (terms + 2) * np.finfo(np.result_type(a, v)).eps * size
    for ours, theirs in ((convx.convolve, scipy.signal.convolve), (convx.correlate, scipy.signal.correlate)):
        y = ours(a, v, mode, algorithm="fft")
        expected = theirs(*(x.astype("G" if x.dtype.kind == "c" else "g") for x in (a, v)), mode, method="direct")
        problems.assert_close(y, expected, np.full(y.shape, bound))


def test_importing_convx_does_not_import_the_transforms():
    code = "import sys, convx; assert 'scipy.fft' not in sys.modules and 'scipy' not in sys.modules; print('light')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "light\n", done.stderr


def test_more_passes_over_the_same_outputs(small_tiles):
    """Four axes are peeled: later passes add, and so do spoiled tiles of theirs."""
    for dtype in ("f4", "f8"):
        for spoil in ((), [("x", 0.4, np.nan)], [("w", 0.4, np.inf)]):
            check("n2 g1 c2 m3 i2x3x14x15 k2x2x4x3 o3x2x15x15 p1x0x2x1", dtype, spoil=spoil)


def test_spoiled_tiles_go_to_other_solvers(small_tiles, monkeypatch):
    taken = []
    for solver in (stencil, gemm, direct):
        run = solver.run
        monkeypatch.setattr(solver, "run", lambda *a, run=run, name=solver.name: (taken.append(name), run(*a)))
    check("n1 g1 c1 m1 i90x90 k5x5 o90x90 p2", "f4", spoil=[("x", 0.5, np.nan)])
    assert 1 <= len(taken) <= 9


def test_an_axis_beyond_any_transform_is_refused_not_looked_up():
    # The arrays are views of one number; only the plan and its table are made.
    for size in (2**39 - 2, 2**39, 10**15):
        x, w = np.broadcast_to(1.0, (1, 1, size)), np.ones((1, 1, 3))
        for name, shape in (("conv", {}), ("conv_grad_weight", {"w_shape": (1, 1, 3)})):
            reasons = dict(row[:2] for row in convx.explain(name, x, x if shape else w, padding=1, **shape).rows)
            assert (reasons["fft"] is None) == (size < 2**39), (name, size, reasons["fft"])
