"""The nest as it stands (floor 3): any strides, unshared weights, exact integers. Refuses only what is not compiled."""

from __future__ import annotations

from .. import _kernels
from ._base import not_compiled

name = "direct"
error_factor = 1.0

NONE, BATCH, GROUPS, CHANNELS, ROW = range(5)


def lane(nest) -> int:
    """The loop whose values become vector lanes: unit stride in y, 0 or 1 in x and w, the longest such."""
    found = [(1, NONE)]
    if nest.y[0] == 1 and nest.x[0] == 1:
        found.append((nest.n, BATCH))
    if nest.y[1] == 1 and nest.x[1] in (0, 1) and nest.w[0] in (0, 1) and nest.x[1] + nest.w[0]:
        found.append((nest.g, GROUPS))
    if nest.y[2] == 1 and nest.w[1] == 1:
        found.append((nest.m, CHANNELS))
    if nest.windows:
        v = nest.windows[-1]
        if v.ys == 1 and v.xs * v.axis.stride == 1 and v.wo == 0:
            found.append((v.axis.out, ROW))
    return max(found)[1]


def refuse(nest, kind):
    return not_compiled(nest, kind)


def seconds(nest, kind, threads):
    """5 G products/s times lanes/4 where lanes exist, 0.8 G one by one (one core of a Zen 4 server)."""
    where = lane(nest)
    extent = {NONE: 1, BATCH: nest.n, GROUPS: nest.g, CHANNELS: nest.m}.get(where)
    if extent is None:
        extent = nest.windows[-1].axis.out
    lanes = _kernels.load("direct", kind).LANES
    rate = 0.8e9
    if where != NONE and extent >= lanes:
        rate = 1.2e9 * lanes * (extent // lanes * lanes) / extent
    return 1e-6 + (nest.products / rate + nest.outputs * 2e-9) / threads


def scratch(nest, kind, threads):
    return 0


def run(nest, call, x, w, y):
    kernel = _kernels.load("direct", call.kind)
    kernel.run(x, w, y, call.bias, call.packed, nest.first, call.cval, lane(nest), call.threads)
