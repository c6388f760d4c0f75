"""Every build row that this CPU runs, each in a process of its own: forward problems against NumPy in double."""

import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import problems
import pytest
from arrays import whole

import convx
from convx import _kernels, _plan
from convx._geometry import parse
from convx._select import SOLVERS
from convx._solvers import gemm, stencil_winograd, thin_winograd

pytestmark = pytest.mark.once  # no matter which kernel row or build

KINDS = {"f4": "f32", "f8": "f64"}

# Beyond the zoo: rows longer than a tile of any row, output channels around its edges, and boundaries inside them.
LONG = """
n1 g1 c1 m1 i9x131 k3x3 o9x131 p1
n1 g1 c2 m3 i13x70 k7x5 o13x70 p3x2 reflect
n1 g1 c3 m33 i5x20 k3x3 o5x20 p1
n2 g1 c17 m15 i4x50 k1x1 o4x50
n1 g1 c5 m49 i6x7 k3x3 o3x4 s2 p1
n1 g33 c1 m1 i6x65 k3x3 o6x65 p1
n1 g37 c1 m1 i9x21 k3x3 o5x11 s2 p1
n1 g5 c4 m4 i11x70 k3x3 o11x70 p1
n2 g6 c2 m3 i10x13 k3x3 o3x4 s3 d2 p1 symmetric
n33 g1 c2 m17 i6 k3 o6 p1
n1 g1 c4 m9 i10x40 k3x3 o21x81 b2 d-1 p0
n1 g1 c1 m1 i23x221 k3x5 o23x221 p1x2
n1 g1 c1 m2 i19x215 k6x3 o14x213
n1 g2 c2 m1 i9x230 k3x3 o5x230 s2x1 p1 edge
n1 g1 c1 m1 i430 k9 o430 p4 wrap
n1 g1 c1 m1 i7x9x37 k3x3x3 o7x9x37 p1
n1 g1 c1 m2 i9x6x20 k4x3x2 o5x6x21 s2x1x1 d1x2x1 p2x2x1 reflect
n2 g3 c1 m1 i8x5x9 k3x2x3 o8x5x9 d2x1x1 p2x0x1
""".strip().splitlines()


def problems_of(kind):
    for line in problems.ZOO + LONG:
        geometry = parse(line)
        x, w, bias = problems.arrays(geometry, kind)
        yield line, geometry, x, w, bias


def check_row(row):
    """What runs in the process of a row."""
    assert _kernels.row == row
    done = dict.fromkeys((s.name for s in SOLVERS), 0)
    for kind, name in KINDS.items():
        for line, geometry, x, w, bias in problems_of(kind):
            expected, bounds = problems.exact(geometry, x, w, bias), problems.Bounds(geometry, x, w, bias)
            spot = one_nan(geometry, x, w)
            for solver in SOLVERS:
                if not problems.refusals(solver, geometry, x, w, name):
                    y = problems.run(geometry, x, w, bias, algorithm=solver.name, threads=2)
                    where = f"{row} {solver.name} {line} {kind}: "
                    problems.assert_close(y, expected, bounds.of(solver), where)
                    done[solver.name] += 1
                    check_nan(geometry, spot, w, solver.name)
            if x.size and not problems.refusals(gemm, geometry, x, w, name):
                check_ways(geometry, x, w, bias, expected, bounds.of(gemm), spot, f"{row} {line} {kind}: ")
    check_weight_gradients()
    check_lanes()
    check_thin()
    check_points(thin_winograd, THIN)
    check_points(stencil_winograd, LARGE)
    check_points_of_views()
    for line, geometry, x, w, _ in problems_of("f8"):
        x, w = (np.round(a * 2**60).astype(np.int64) for a in (x, w))
        y = problems.run(geometry, x, w, algorithm="direct", overflow="wrap")
        wrapped = (problems.exact(geometry, x, w) + 2**63) % 2**64 - 2**63
        assert np.array_equal(y.astype(object), wrapped), (row, line)
    for solver in SOLVERS:
        if solver.name not in problems.NO_KERNEL:
            kernel = {"thin_winograd": "thin", "stencil_winograd": "stencil"}.get(solver.name, solver.name)
            assert _kernels.load(kernel, "f32").__name__.endswith(f"{kernel}_f32_{row}")
    assert all(done.values()), done


def each_way():
    """gemm with either side in vectors, either order of the inner sum and of the pixels, with strips and without,
    whatever the costs say."""
    chosen = gemm._ways

    def forced(flat, channel_last, strips, lined):
        return lambda nest, kind, bound: (0.0, flat, channel_last, strips and gemm._may_strip(nest),
                                          lined and not strips and gemm._may_line(nest))

    try:
        for way in product((False, True), repeat=4):
            if way[0] and way[2]:
                continue  # strips are for pixels in vectors
            gemm._ways = forced(*way)
            yield "flat={} channel_last={} strips={} lined={} ".format(*way)
    finally:
        gemm._ways = chosen


def check_ways(geometry, x, w, bias, expected, bound, spot, where):
    for way in each_way():
        y = problems.run(geometry, x, w, bias, algorithm="gemm", threads=2)
        problems.assert_close(y, expected, bound, where + way)
        check_nan(geometry, spot, w, "gemm")


def check_weight_gradients():
    """Whole numbers are exact in any order: every way gives the reference's weight gradient, in every layout."""
    for shape, w_shape, options in (((2, 5, 9, 30), (7, 5, 3, 3), {"padding": 1}),
                                    ((1, 26, 4, 17), (9, 26, 2, 3), {"padding": "same", "stride": 2}),
                                    ((3, 4, 12), (10, 2, 5), {"padding": "full", "groups": 2, "dilation": 2})):
        x, w = whole(shape, 1), whole(w_shape, 2)
        for layout in ("NCHW", "NHWC"):
            options["layout"] = layout
            if layout == "NHWC":
                x, w = (np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (x, w))
            dy = whole(convx.conv(x, w, **options).shape, 3)
            spoiled = dy.copy()
            spoiled.flat[dy.size // 2] = np.inf
            aim, spoiled_aim = (convx.conv_grad_weight(x, z, w.shape, algorithm="reference", **options)
                                for z in (dy, spoiled))
            for kind in KINDS:
                a, b, c = (z.astype(kind) for z in (x, dy, spoiled))
                problem = convx.plan("conv_grad_weight", a, b, w_shape=w.shape, algorithm="gemm", **options).problem
                for way in each_way():
                    plan = _plan.Plan(problem)  # which remembers no earlier way
                    assert np.array_equal(plan(a, b), aim), (kind, layout, way)
                    assert np.array_equal(np.isfinite(plan(a, c)), np.isfinite(spoiled_aim)), (kind, layout, way)


def check_lanes():
    """direct with every loop as lanes, steps of 1, 2, 3 in x and y."""
    for shape, w_shape, groups in (((2, 45, 7, 41), (45, 1, 3, 3), 45), ((2, 3, 6, 83), (37, 3, 2, 3), 1),
                                   ((35, 2, 9), (2, 2, 3), 1)):
        for stride in (1, 2, 3):
            options = {"stride": stride, "padding": 1, "groups": groups}
            check_whole("direct", whole(shape, 1), whole(w_shape, 2), options)


def check_thin():
    """thin with tiles of all sizes, whole and cut, steps of y of 1 and 2, weight gradients of several parts. Infinite
    weights beside what is not there spoil the same outputs."""
    for shape, w_shape, options in (((1, 3, 7, 250), (70, 3, 3, 3), {"padding": 1}),
                                    ((2, 3, 37, 120), (9, 3, 3, 3), {"padding": 1, "stride": 2}),
                                    ((1, 4, 70, 9), (34, 2, 5, 3), {"padding": 2, "dilation": 2, "groups": 2})):
        for spoiled in (False, True):
            check_whole("thin", whole(shape, 1), whole(w_shape, 2), options, spoiled)


THIN = (((1, 3, 9, 130), (70, 3, 3, 3), {"padding": 1, "bias": np.arange(70.0)}),
        ((2, 3, 37, 66), (9, 3, 7, 5), {"padding": 2, "stride": 2}),
        ((1, 4, 31, 70), (34, 2, 5, 2), {"stride": (1, 2), "groups": 2}),
        ((1, 1, 20, 40), (20, 1, 2, 3), {"dilation": (1, 2), "padding": 1, "boundary": "wrap"}),
        ((1, 2, 3, 11, 33), (5, 2, 2, 4, 2), {"padding": 1, "stride": (2, 1, 1)}))
# More rows than a piece has, and strips of a piece that are whole, a half, and one vector wide.
LARGE = (((1, 1, 150, 210), (1, 1, 11, 9), {"padding": "same", "bias": np.arange(1.0)}),
         ((2, 3, 70, 38), (4, 3, 6, 2), {"padding": 2, "boundary": "reflect"}),
         ((1, 8, 30, 70), (16, 1, 9, 5), {"stride": (1, 2), "groups": 8, "padding": "full"}),
         ((1, 6, 9, 12), (6, 1, 13, 3), {"dilation": (1, 3), "groups": 6, "padding": 6, "cval": 2}),
         ((1, 1, 7, 21, 90), (1, 1, 3, 5, 4), {"padding": 2}))


def check_points(solver, cases):
    """Winograd's points down the columns, with tiles of all sizes, whole and cut, in all layouts, and with phases of
    rows; what an infinity does not reach stays as it was."""
    for shape, w_shape, options in cases:
        for spoiled in (False, True):
            x, w = whole(shape, 1), whole(w_shape, 2)
            size = abs(x).max() * abs(w).reshape(len(w), -1).sum(1).max()
            if spoiled:
                x.flat[::301] = np.inf
            want = convx.conv(x, w, algorithm="reference", **options)
            for (layout, order), (kind, _) in product(ORDER.items(), KINDS.items()):
                a, b = (np.ascontiguousarray(np.moveaxis(z, (0, 1), order)) for z in (x.astype(kind), w.astype(kind)))
                name = layout if x.ndim == 4 else layout.replace("H", "DH")
                found = np.moveaxis(convx.conv(a, b, layout=name, algorithm=solver.name, workers=2, **options),
                                    order, (0, 1))
                finite = np.isfinite(want)
                assert np.array_equal(found[~finite], want[~finite], equal_nan=True), (layout, kind, shape, options)
                off = abs(found[finite] - want[finite]).max()
                bound = solver.error_factor * (w[0].size + 3) * np.finfo(kind).eps * (size + 70)
                assert off <= bound, (layout, kind, shape, options, off / bound)


def check_points_of_views():
    """thin_winograd where the axes of a view lie in another order than those of the model that decides."""
    x, w = whole((1, 3, 4, 20, 16), 3)[..., :8], whole((8, 3, 2, 5, 1), 4)
    for taps in (4, 5):
        part = w[:, :, :, :taps]
        want = convx.conv(x, part, algorithm="reference")
        for kind in KINDS:
            found = convx.conv(x.astype(kind), part.astype(kind), algorithm="thin_winograd")
            assert abs(found - want).max() <= 1e-4 * abs(want).max(), (taps, kind)
        x2, w2 = whole((1, 3, 4, 40), 5), whole((8, 3, 2, taps), 6)
        want = convx.conv(x2, w2, algorithm="reference")
        for kind in KINDS:
            out = np.empty((1, 8, want.shape[3], want.shape[2]), kind).swapaxes(2, 3)
            convx.conv(x2.astype(kind), w2.astype(kind), algorithm="thin_winograd", out=out)
            assert abs(out - want).max() <= 1e-4 * abs(want).max(), (taps, kind)


ORDER = {"NCHW": (0, 1), "NHWC": (0, -1), "HWCN": (-1, -2)}  # where the first two axes go


def check_whole(algorithm, x, w, options, spoiled=False):
    """A layer of whole numbers and its gradients in all layouts: the reference's results, the same in each."""
    arrays = {"x": x, "w": w, "y": whole(convx.conv(x, w, **options).shape, 3)}
    for name, (one, other, result) in {"conv": "xwy", "conv_grad_input": "ywx", "conv_grad_weight": "xyw"}.items():
        call, factor = getattr(convx, name), arrays[other].copy()
        if spoiled:
            factor.flat[::7] = np.inf
        sizes = () if name == "conv" else (arrays[result].shape,)
        aim = call(arrays[one], factor, *sizes, algorithm="reference", **options)
        for layout, order in ORDER.items():
            a, b, want = (np.ascontiguousarray(np.moveaxis(z, (0, 1), order)) for z in (arrays[one], factor, aim))
            sizes = () if name == "conv" else (want.shape,)
            for kind in KINDS:
                found = call(a.astype(kind), b.astype(kind), *sizes, layout=layout, algorithm=algorithm, workers=2,
                             **options)
                assert np.array_equal(found, want, equal_nan=True), (name, algorithm, kind, layout, x.shape, options)


def one_nan(geometry, x, w):
    """x with one nan, where a kernel may read more than it needs, and the outputs that it reaches; () without x."""
    if not x.size:
        return ()
    x = x.copy()
    x.flat[x.size // 2] = np.nan
    return x, np.isnan(problems.exact(geometry, x, w).astype(float))


def check_nan(geometry, spot, w, algorithm):
    if spot:
        x, reached = spot
        assert np.array_equal(np.isnan(problems.run(geometry, x, w, algorithm=algorithm)), reached)


def python(code, row):
    """Run code in a new interpreter with this row; the helpers of the tests are on its path."""
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"CONVX_ISA": row, "PYTHONPATH": path}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("row", _kernels.available())
def test_row(row):
    done = python(f"import test_kernels; test_kernels.check_row({row!r}); print('checked')", row)
    assert done.stdout == "checked\n", done.stderr


@pytest.mark.parametrize("row", ["v9", "sse", *(r for r in _kernels.ROWS if r not in _kernels.available())])
def test_row_that_is_not_available(row):
    done = python("import convx", row)
    assert done.returncode != 0
    *_, last = done.stderr.strip().splitlines()
    assert last == f"ImportError: CONVX_ISA={row}: this build and CPU offer {', '.join(_kernels.available())}"


def test_rows_of_this_process():
    rows = _kernels.available()
    assert rows and set(rows) <= set(_kernels.ROWS) and _kernels.row == os.environ.get("CONVX_ISA", rows[-1])
    done = python("import convx; print(convx.show_config('dict')['kernel row'])", rows[0])
    assert done.stdout.strip() == rows[0], done.stderr
