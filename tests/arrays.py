"""The array zoo: one array in every form of memory, the sum of `conv` by plain indexing, and the memory of a call."""

import tracemalloc

import numpy as np

# Where N, C and the axes go: x of the layout = x in NCHW with the axes in this order.
LAYOUTS = {
    "NCHW": (lambda r: (0, 1, *range(2, r + 2)), "OIHW"),
    "NHWC": (lambda r: (0, *range(2, r + 2), 1), "OHWI"),
    "HWCN": (lambda r: (*range(2, r + 2), 1, 0), "HWIO"),
}


def whole(shape, seed=0, dtype=np.float64, least=-4, most=4):
    """Random whole numbers: sums of their products are exact in every dtype, whatever the order."""
    values = np.random.default_rng(seed).integers(least, most, shape, endpoint=True)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * np.random.default_rng(seed + 1).integers(least, most, shape, endpoint=True)
    return values.astype(dtype)


ABSURD = (2**70, 1e300, None, True, float("nan"))  # in the place of a count


def sliced(a):
    """Every other element of a larger array, whose other elements would spoil what reads them."""
    room = np.full([2 * n + 1 for n in a.shape], np.nan if a.dtype.kind in "fc" else 1).astype(a.dtype)
    view = room[(..., *(slice(1, None, 2) for _ in a.shape))]
    view[...] = a
    return view


def unaligned(a):
    view = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def writable(a):
    """(name, array with the values of a) that may serve as out=."""
    a = np.array(a, order="C")
    yield "C", a
    yield "Fortran", np.array(a, order="F")
    yield "rotated", np.moveaxis(np.moveaxis(a, 0, -1).copy(), -1, 0) if a.ndim else a
    yield "sliced", sliced(a)
    yield "turned", np.flip(np.flip(a).copy())
    yield "unaligned", unaligned(a)


def zoo(a):
    """(name, array or list with the values of a)."""
    yield from writable(a)
    yield "swapped", a.astype(a.dtype.newbyteorder("S"))
    for axis in range(a.ndim):
        if a.shape[axis] > 1 and (a == (first := a.take([0], axis))).all():
            yield f"broadcast {axis}", np.broadcast_to(first, a.shape)
    if np.shape(a.tolist()) == a.shape:
        yield "list", a.tolist()
    yield "read-only", np.broadcast_to(a, a.shape)


def located(i, size, boundary):
    """The index that position i reads, `size` for the value outside: numpy.pad's rules, by their periods."""
    if boundary == "constant" or not size:
        return i if 0 <= i < size else size
    if boundary == "edge":
        return min(max(i, 0), size - 1)
    period = {"wrap": size, "symmetric": 2 * size, "reflect": max(2 * size - 2, 1)}[boundary]
    i %= period
    return i if i < size else period - i - (boundary == "symmetric")


def plain(x, w, out, stride, before, dilation, groups=1, boundary=None, cval=0, flip=False):
    """y (N, O, *out) of x (N, C, *S) and w (O, C/groups, *K); every option a tuple with one entry per axis."""
    rank = w.ndim - 2
    for a, rule in enumerate(boundary or ("constant",) * rank):
        size, taps = x.shape[2], w.shape[2 + a]
        reads = [[located(stride[a] * o + dilation[a] * k - before[a], size, rule) for k in range(taps)]
                 for o in range(out[a])]
        x = np.concatenate([x, np.full((*x.shape[:2], 1, *x.shape[3:]), cval, x.dtype)], axis=2)
        x = np.moveaxis(x[:, :, np.array(reads, int).reshape(out[a], taps)], (2, 3), (-2, -1))
    if flip:
        w = np.flip(w, tuple(range(2, w.ndim)))
    x = x.reshape(x.shape[0], groups, w.shape[1], *x.shape[2:])
    w = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
    o, k = range(4, 4 + rank), range(4 + rank, 4 + 2 * rank)
    mixed = [letter for pair in zip(o, k, strict=True) for letter in pair]
    shape = x.shape[0], groups * w.shape[1], *out
    if 0 in shape:  # NumPy's einsum touches the first element of an empty result, 32 bytes of it for 'G'
        return np.zeros(shape, np.result_type(x, w))
    return np.einsum(x, [0, 1, 2, *mixed], w, [1, 3, 2, *k], [0, 1, 3, *o], dtype=np.result_type(x, w)).reshape(shape)


def before_after(padding, size, taps, stride, dilation):
    """What a padding word means for one axis."""
    span = dilation * (taps - 1) + 1
    if padding == "valid":
        return 0, 0
    if padding == "full":
        return span - 1, span - 1
    total = max((-(-size // stride) - 1) * stride + span - size, 0)
    return (total // 2, total - total // 2) if padding == "same" else (total - total // 2, total // 2)


def pairs(padding, sizes, taps, strides, dilations):
    """(before, after) per axis for any form of padding."""
    if isinstance(padding, str):
        return [before_after(padding, *axis) for axis in zip(sizes, taps, strides, dilations, strict=True)]
    entries = padding if isinstance(padding, tuple) else (padding,) * len(sizes)
    return [entry if isinstance(entry, tuple) else (entry, entry) for entry in entries]


def expected(x, w, stride, padding, dilation, **options):
    """`plain` with the sizes worked out; stride and dilation have one entry per axis."""
    around = pairs(padding, x.shape[2:], w.shape[2:], stride, dilation)
    out = [(size + sum(p) - d * (k - 1) - 1) // s + 1
           for size, k, s, d, p in zip(x.shape[2:], w.shape[2:], stride, dilation, around, strict=True)]
    return plain(x, w, out, stride, [p[0] for p in around], dilation, **options)


def grown(call):
    """Bytes of arrays that a call adds at its peak, when plans have been made."""
    call()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
