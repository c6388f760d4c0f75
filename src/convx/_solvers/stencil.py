"""One or few channels in and out, vectors along the row (floor 3): image filters, depthwise layers."""

from __future__ import annotations

from .. import _kernels
from ._base import not_dense

name = "stencil"
error_factor = 1.0
normwise = False
SCRATCH = 1 << 22


def refuse(nest, kind):
    reason = not_dense(nest, kind)
    if reason:
        return reason
    if not nest.windows:
        return "no axis to run along"
    v = nest.windows[-1]
    if v.xs != 1 or v.ys != 1 or v.axis.stride != 1:
        return f"x or y does not run along the row with stride 1 (x {v.xs * v.axis.stride}, y {v.ys})"
    if len(nest.windows) > 1:
        a = nest.windows[-2].axis
        if a.stride != 1 or a.dilation != 1:
            return f"stride {a.stride} and dilation {a.dilation} along the columns (only 1)"
    reach = (v.axis.taps - 1) * v.axis.dilation
    if reach > SCRATCH or scratch(nest, kind, 1) > SCRATCH:
        return f"a window reaches over {reach} columns: a thread would need more than {SCRATCH} bytes of scratch"
    return None


def _tiles(nest, kind):
    lanes = _kernels.load("stencil", kind).LANES
    rows = nest.windows[-2].axis.out if len(nest.windows) > 1 else 1
    return -(-rows // 4), -(-nest.windows[-1].axis.out // lanes)


def seconds(nest, kind, threads):
    """Whole tiles of 4 rows at the rate of the register tile, the copies at the edges, and a pass over x and y.

    1.6 G products/s a lane, and a plane as long as 5 of them: one core of a Zen 3 server. 0.2 us a plane of an edge
    tile, 16 GB/s: one of a Zen 4 server (`python benchmarks/costs.py`; a factor 1.5 changes few choices).
    """
    blocks, columns = _tiles(nest, kind)
    planes = nest.outputs
    for v in nest.windows[-2:]:
        planes //= max(v.axis.out, 1)
    inner = nest.depth
    for v in nest.windows[-2:]:
        inner //= max(v.axis.taps, 1)
    work = planes * blocks * 4 * columns * (nest.depth + 5 * inner) / 1.6e9
    edges = planes * inner * min(blocks * columns, blocks * min(columns, 2) + 2 * columns) * 2e-7
    traffic = nest.outputs * (8 if kind == "f64" else 4) * 2 / 16e9
    return 1e-6 + (max(work, traffic) + edges) / threads


def scratch(nest, kind, threads):
    taps = nest.windows[-2].axis.taps if len(nest.windows) > 1 else 1
    b = nest.windows[-1].axis
    size = 8 if kind == "f64" else 4
    return threads * size * _kernels.load("stencil", kind).scratch_size(taps, (b.taps - 1) * b.dilation)


def way(nest, model, kind, bound):
    return None


def ready(nest, call):
    return _kernels.load("stencil", call.kind).run, None, call.packed, nest.first, call.cval


def run(nest, call, x, w, y):
    kernel, _, *rest = ready(nest, call)
    kernel(x, w, y, call.bias, *rest, call.threads)
