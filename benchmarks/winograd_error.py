"""The rounding error of the Winograd solvers, in units of their bound: what their `error_factor` comes from.

    python benchmarks/winograd_error.py

For each number of channels the largest |y - exact| over (L + 2) * eps * max|x| * (largest sum of |w| over one output
channel), L = 9 channels, and beside it that of a direct sum, and both over the largest |exact|; exact is a sum in long
double. Numbers of several kinds: normal, of one sign, of very different sizes, a large alternating field,
signs only, and weights with a single tap. Then the same of one channel and other taps than 3 x 3, of one channel in
steps of two, and of the weight gradient, where dy has the place of w, for several sizes of a square dy of one image,
L = its pixels. Then few channels and other taps of `thin_winograd`, and large kernels of `stencil_winograd`.
"""

from math import prod

import numpy as np

import convx

KINDS = ("normal", "positive", "uneven", "alternating", "signs", "one tap")
CHANNELS = (1, 2, 4, 16, 64, 128, 256, 512)
PIXELS = (2, 3, 4, 5, 8, 16, 32, 64)
TAPS = ((2, 2), (4, 4), (5, 5), (1, 3), (1, 5), (2, 5), (3, 4))
STEPS = ((3, 3), (4, 4), (5, 5), (4, 8), (9, 10))
TALL = ((2, 2), (3, 2), (4, 2), (5, 5))
LARGE = ((2, 2), (4, 4), (5, 5), (9, 9), (15, 15), (31, 31))


def inputs(kind, c, rng, size=16, taps=(3, 3)):
    """x (1, c, *) and w (8, c, *taps) for outputs of size x size."""
    x, w = rng.standard_normal((1, c, *(size + t - 1 for t in taps))), rng.standard_normal((8, c, *taps))
    if kind == "positive":
        x, w = abs(x), abs(w)
    elif kind == "uneven":
        x, w = x * 10.0 ** rng.integers(-4, 5, x.shape), w * 10.0 ** rng.integers(-4, 5, w.shape)
    elif kind == "alternating":
        x = 1e4 * (-1.0) ** np.add.outer(*map(np.arange, x.shape[2:])) + x
    elif kind == "signs":
        x, w = np.sign(x), np.sign(w)
    elif kind == "one tap":  # the worst there is: the bound has nothing but this tap, the transform spreads it
        keep = np.arange(prod(taps)).reshape(taps) == rng.integers(prod(taps), size=(8, c, 1, 1))
        x, w = np.sign(x) * (1 - rng.random(x.shape) ** 9), w * keep
    return x, w


def layer(kind, c, rng, dtype):
    """(the call of an algorithm, exact, bound) of a layer with c channels."""
    x, w = (a.astype(dtype) for a in inputs(kind, c, rng))
    return lambda name: convx.conv2d(x, w, algorithm=name), exact(x, w), bound(x, w)


def other(kind, taps, rng, dtype):
    """The same of a layer with one channel and other taps."""
    x, w = (a.astype(dtype) for a in inputs(kind, 1, rng, taps=taps))
    return lambda name: convx.conv2d(x, w, algorithm=name), exact(x, w), bound(x, w)


def strided(kind, taps, rng, dtype):
    """The same in steps of two."""
    x, w = (a.astype(dtype) for a in inputs(kind, 1, rng, taps=taps))
    return (lambda name: convx.conv2d(x, w, stride=2, algorithm=name)), exact(x, w)[:, :, ::2, ::2], bound(x, w)


def gradient(kind, size, rng, dtype):
    """The same of the weight gradient: the layer whose taps are the pixels of dy."""
    x, dy = (a.astype(dtype) for a in inputs(kind, 1, rng, 3, (size, size)))
    call = lambda name: convx.conv_grad_weight(x, dy.transpose(1, 0, 2, 3), (8, 1, 3, 3), algorithm=name)  # noqa: E731
    return lambda name: call(name).transpose(1, 0, 2, 3), exact(x, dy), bound(x, dy)


def bound(x, w):
    return (w[0].size + 2) * np.finfo(x.dtype).eps * abs(x).max() * abs(w).sum((1, 2, 3)).max()


def exact(x, w):
    """The sum in extended precision."""
    x, w = x.astype(np.longdouble), w.astype(np.longdouble)
    taps = w.shape[2:]
    rows, columns = (s - t + 1 for s, t in zip(x.shape[2:], taps, strict=True))
    y = np.zeros((1, w.shape[0], rows, columns), np.longdouble)
    for i, j in np.ndindex(taps):
        y += np.tensordot(w[:, :, i, j], x[0, :, i:i + rows, j:j + columns], 1)[None]
    return y


def measure(title, make, counts, solver="winograd"):
    print(f"{title}\n{'dtype':<6}{'kind':<13}{'count':>8}   {solver:>13}{'direct':>9}  in bounds"
          f"   {solver:>13}{'direct':>9}  over max|y|")
    rng, worst = np.random.default_rng(0), {}
    for dtype in ("f4", "f8"):
        for kind in KINDS:
            for count in counts:
                units, sizes = {solver: 0.0, "direct": 0.0}, {solver: 0.0, "direct": 0.0}
                for _ in range(max(3, 256 // (count if isinstance(count, int) else 1))):
                    call, aim, allowed = make(kind, count, rng, dtype)
                    for name in units:
                        off = abs(call(name) - aim).max()
                        units[name] = max(units[name], float(off / allowed))
                        sizes[name] = max(sizes[name], float(off / abs(aim).max()))
                worst[dtype, count] = max(worst.get((dtype, count), 0.0), units[solver])
                print(f"{dtype:<6}{kind:<13}{count!s:>8}   {units[solver]:13.4f}{units['direct']:9.4f}"
                      f"  {'':>9}   {sizes[solver]:13.1e}{sizes['direct']:9.1e}")
    print("largest factor:", {f"{d} {c}": round(f, 3) for (d, c), f in worst.items()})


def main():
    measure("layers, by channels", layer, CHANNELS)
    measure("one channel, by taps", other, TAPS)
    measure("one channel in steps of two, by taps", strided, STEPS)
    measure("weight gradients, by the size of dy", gradient, PIXELS)
    measure("layers of few channels, by channels", layer, CHANNELS[:4], "thin_winograd")
    measure("one channel, by taps", other, TALL, "thin_winograd")
    measure("one channel, by taps", other, LARGE, "stencil_winograd")


if __name__ == "__main__":
    main()
