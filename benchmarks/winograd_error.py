"""The rounding error of the Winograd solver, in units of its bound: what its `error_factor` comes from.

    python benchmarks/winograd_error.py

For each number of channels the largest |y - exact| over (L + 2) * eps * max|x| * (largest sum of |w| over one output
channel), L = 9 channels, and beside it that of a direct sum, and both over the largest |exact|; exact is a sum in long
double. Numbers of several kinds: normal, of one sign, of very different sizes, a large alternating field,
signs only, and weights with a single tap.
"""

import numpy as np

import convx

KINDS = ("normal", "positive", "uneven", "alternating", "signs", "one tap")
CHANNELS = (1, 2, 4, 16, 64, 128, 256, 512)


def inputs(kind, c, rng):
    """x (1, c, 18, 18) and w (8, c, 3, 3)."""
    x, w = rng.standard_normal((1, c, 18, 18)), rng.standard_normal((8, c, 3, 3))
    if kind == "positive":
        x, w = abs(x), abs(w)
    elif kind == "uneven":
        x, w = x * 10.0 ** rng.integers(-4, 5, x.shape), w * 10.0 ** rng.integers(-4, 5, w.shape)
    elif kind == "alternating":
        x = 1e4 * (-1.0) ** np.add.outer(np.arange(18), np.arange(18)) + x
    elif kind == "signs":
        x, w = np.sign(x), np.sign(w)
    elif kind == "one tap":  # the worst there is: the bound has nothing but this tap, the transform spreads it
        keep = np.arange(9).reshape(3, 3) == rng.integers(9, size=(8, c, 1, 1))
        x, w = np.sign(x) * (1 - rng.random(x.shape) ** 9), w * keep
    return x, w


def exact(x, w):
    """The sum in extended precision."""
    x, w = x.astype(np.longdouble), w.astype(np.longdouble)
    y = np.zeros((1, w.shape[0], 16, 16), np.longdouble)
    for i in range(3):
        for j in range(3):
            y += np.tensordot(w[:, :, i, j], x[0, :, i:i + 16, j:j + 16], 1)[None]
    return y


def main():
    print(f"{'dtype':<6}{'kind':<13}{'channels':>8}   {'winograd':>9}{'direct':>9}  in bounds"
          f"   {'winograd':>9}{'direct':>9}  over max|y|")
    rng, worst = np.random.default_rng(0), {}
    for dtype in ("f4", "f8"):
        eps = np.finfo(dtype).eps
        for kind in KINDS:
            for c in CHANNELS:
                units, sizes = {"winograd": 0.0, "direct": 0.0}, {"winograd": 0.0, "direct": 0.0}
                for _ in range(max(3, 256 // c)):
                    x, w = (a.astype(dtype) for a in inputs(kind, c, rng))
                    aim = exact(x, w)
                    bound = (9 * c + 2) * eps * abs(x).max() * abs(w).sum((1, 2, 3)).max()
                    for name in units:
                        off = abs(convx.conv2d(x, w, algorithm=name) - aim).max()
                        units[name] = max(units[name], float(off / bound))
                        sizes[name] = max(sizes[name], float(off / abs(aim).max()))
                worst[dtype, c] = max(worst.get((dtype, c), 0.0), units["winograd"])
                print(f"{dtype:<6}{kind:<13}{c:>8}   {units['winograd']:9.4f}{units['direct']:9.4f}"
                      f"  {'':>9}   {sizes['winograd']:9.1e}{sizes['direct']:9.1e}")
    print("largest factor:", {f"{d} {c}": round(f, 3) for (d, c), f in worst.items()})


if __name__ == "__main__":
    main()
