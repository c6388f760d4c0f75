"""The relation itself, enumerated: what every solver is compared with. Knows NumPy arrays and nothing of convx.
base*i = stride*o + dilation*k - offset; an axis is (size, taps, out, base, stride, dilation, offset, boundary)."""

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=4096)
def source(i, size, boundary):
    """The index that position i reads by numpy.pad's rule; -1 where it reads nothing."""
    if 0 <= i < size:
        return i
    far = abs(i) + size
    return -1 if boundary == "constant" else int(np.pad(np.arange(size), far, mode=boundary)[i + far])


def triples(size, taps, out, base, stride, dilation, offset, boundary):
    """Every (o, k, i) that meet; i is -1 where the tap reads outside."""
    found = []
    for o in range(out):
        for k in range(taps):
            i, rest = divmod(stride * o + dilation * k - offset, base)
            if rest == 0:
                found.append((o, k, source(i, size, boundary)))
    return found


def convolve(axes, x, w, cval=0):
    """y (n, g, m, *o) of x (n, g, c, *i) and w (g, m, c, *k) or, unshared, (g, m, c, *k, *o), in their own type."""
    met = [np.array(triples(*axis), int).reshape(-1, 3) for axis in axes]
    grid = [at.ravel() for at in np.meshgrid(*(np.arange(len(t)) for t in met), indexing="ij")]
    o, k, i = (tuple(t[at, letter] for t, at in zip(met, grid, strict=True)) for letter in range(3))
    inside = np.all([read >= 0 for read in i], axis=0)
    if not cval:  # padding is absent: an infinite weight that meets it contributes nothing
        o, k, i = (tuple(at[inside] for at in letter) for letter in (o, k, i))
    y = np.zeros((x.shape[0], w.shape[0], w.shape[1], *(axis[2] for axis in axes)), np.result_type(x, w))
    if o[0].size:
        read = x[(..., *i)] if x.size else np.zeros((*x.shape[:3], o[0].size), x.dtype)
        read = np.where(inside, read, np.asarray(cval, y.dtype)) if cval else read
        weight = w[(..., *k)] if w.ndim == 3 + len(axes) else w[(..., *k, *o)]
        with np.errstate(all="ignore"):
            np.add.at(y, (..., *o), (read[:, :, None] * weight).sum(3))
    return y
