"""The relation itself, enumerated: what every solver is compared with. Knows NumPy arrays and nothing of convx.
base*i = stride*o + dilation*k - offset; an axis is (size, taps, out, base, stride, dilation, offset, boundary)."""

from functools import lru_cache
from math import prod

import numpy as np


@lru_cache(maxsize=4096)
def source(i, size, boundary):
    """The index that position i reads by numpy.pad's rule; -1 where it reads nothing."""
    if 0 <= i < size:
        return i
    far = abs(i) + size
    return -1 if boundary == "constant" else int(np.pad(np.arange(size), far, mode=boundary)[i + far])


@lru_cache(maxsize=4096)
def triples(size, taps, out, base, stride, dilation, offset, boundary):
    """Every (o, k, i) that meet, one a row; i is -1 where the tap reads outside."""
    found = []
    for o in range(out):
        for k in range(taps):
            i, rest = divmod(stride * o + dilation * k - offset, base)
            if rest == 0:
                found.append((o, k, source(i, size, boundary)))
    return np.array(found, int).reshape(-1, 3)


@lru_cache(maxsize=16)  # the same axes are asked for a few times in turn
def meetings(axes, outside):
    """o, k and i, each a tuple of index arrays with one entry for each meeting on all axes, and whether i is inside.

    Meetings outside are left out unless they are asked for: an infinite weight that meets padding contributes nothing.
    """
    met = [triples(*axis) for axis in axes]
    grid = [at.ravel() for at in np.meshgrid(*(np.arange(len(t)) for t in met), indexing="ij")]
    o, k, i = (tuple(t[at, letter] for t, at in zip(met, grid, strict=True)) for letter in range(3))
    inside = np.all([read >= 0 for read in i], axis=0)
    if not outside:
        o, k, i = (tuple(at[inside] for at in letter) for letter in (o, k, i))
        inside = inside[inside]
    return o, k, i, inside


def add(y, at, terms):
    """y[..., *at] += terms at places that occur several times, as np.add.at does, but fast."""
    lead, space = y.shape[:-len(at)], y.shape[-len(at):]
    places = np.ravel_multi_index(at, space)
    order = np.argsort(places, kind="stable")
    places = places[order]
    first = np.flatnonzero(np.diff(places, prepend=-1))
    y.reshape(*lead, prod(space))[..., places[first]] += np.add.reduceat(terms[..., order], first, axis=-1)


def convolve(axes, x, w, cval=0):
    """y (n, g, m, *o) of x (n, g, c, *i) and w (g, m, c, *k) or, unshared, (g, m, c, *k, *o), in their own type."""
    o, k, i, inside = meetings(tuple(axes), bool(cval))
    y = np.zeros((x.shape[0], w.shape[0], w.shape[1], *(axis[2] for axis in axes)), np.result_type(x, w))
    if o[0].size:
        read = x[(..., *i)] if x.size else np.zeros((*x.shape[:3], o[0].size), x.dtype)
        read = np.where(inside, read, np.asarray(cval, y.dtype)) if cval else read
        weight = w[(..., *k)] if w.ndim == 3 + len(axes) else w[(..., *k, *o)]
        with np.errstate(all="ignore"):
            add(y, o, (read[:, :, None] * weight).sum(3))
    return y
