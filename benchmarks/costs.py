"""Predicted against measured time of every solver, on one thread: what the constants in `_solvers/*.py` come from.

    python benchmarks/costs.py

One line a problem: solver measured/predicted in microseconds (a measured time includes about 15 us of the call), the
fastest solver, and where auto chose another, by what factor that one is slower; after a line with 3x3 taps the gradient
of its weights. Run it on an idle machine.
"""

import time

import numpy as np

import convx

# Problem lines without outputs (padding is the p); layouts other than NCHW are tried where there are channels.
PROBLEMS = """
n1 g1 c1 m1 i32x32 k3x3 p1
n1 g1 c1 m1 i128x128 k3x3 p1
n1 g1 c1 m1 i512x512 k3x3 p1
n1 g1 c1 m1 i512x512 k9x9 p4
n1 g1 c1 m1 i1024x1024 k31x31 p15
n3 g1 c1 m2 i300x451 k3x3 p1
n1 g1 c3 m8 i64x64 k3x3 p1
n1 g1 c3 m64 i112x112 k3x3 p1
n1 g1 c1 m16 i64x64 k5x5 p2
n1 g1 c4 m4 i64x64 k3x3 p1
n1 g1 c8 m8 i32x32 k3x3 p1
n1 g1 c16 m1 i64x64 k3x3 p1
n1 g64 c1 m1 i56x56 k3x3 p1
n1 g64 c1 m1 i14x14 k3x3 p1
n1 g1 c1 m1 i1x100000 k1x5 p0x2
n1 g1 c1 m1 i1x100000 k1x65 p0x32
n1 g1 c1 m1 i1x100000 k1x1025 p0x512
n1 g1 c1 m1 i64x64x64 k3x3x3 p1
n1 g1 c1 m1 i64x64 k64x64
n1 g1 c1 m1 i16 k3
n1 g1 c64 m64 i7x7 k3x3 p1
n1 g8 c8 m8 i28x28 k3x3 p1
n1 g1 c64 m1 i28x28 k1x1
n1 g1 c1 m64 i56x56 k1x1
n1 g1 c1 m1 i256x256 k3x3 s2 p1
n1 g32 c1 m1 i56x56 k3x3 s2 p1
n1 g1 c1 m1 i512x512 k3x3 d2 p2
n1 g1 c16 m16 i14x14 k3x3 p1
n1 g1 c16 m32 i112x112 k3x3 p1
n1 g1 c64 m8 i28x28 k3x3 p1
n1 g1 c64 m64 i56x56 k3x3 p1
n1 g1 c128 m128 i7x7 k3x3 p1
n1 g1 c128 m256 i28x28 k3x3 p1
n1 g1 c512 m512 i4x4 k3x3 p1
n1 g1 c512 m512 i14x14 k3x3 p1
n1 g16 c4 m4 i28x28 k3x3 p1
n16 g1 c32 m32 i4x4 k3x3 p1
n1 g1 c8 m8 i16x16x16 k3x3x3 p1
"""


def cases():
    """(title, operator, operands, options) of every line in both dtypes and layouts."""
    rng = np.random.default_rng(0)
    for dtype in ("f4", "f8"):
        for layout in ("NCHW", "NHWC"):
            for line in PROBLEMS.split("\n")[1:-1]:
                word = {part[0]: tuple(map(int, part[1:].split("x"))) for part in line.split()}
                n, g, c, m = (word[letter][0] for letter in "ngcm")
                if layout == "NHWC" and g * c * m == 1:
                    continue
                padding = word.get("p", (0,))
                options = {
                    "groups": g, "layout": layout, "stride": word.get("s", (1,))[0], "dilation": word.get("d", (1,))[0],
                    "padding": padding if len(padding) > 1 else padding[0],
                }
                x, w = (n, g * c, *word["i"]), (g * m, c, *word["k"])
                if layout == "NHWC":
                    x, w = (n, *word["i"], g * c), (g * m, *word["k"], c)
                x, w = (rng.standard_normal(s).astype(dtype) for s in (x, w))
                yield f"{dtype} {layout} {line}", "conv", (x, w), options
                if set(word["k"]) == {3} and "s" not in word and "d" not in word:
                    dy = np.empty_like(convx.conv(x, w, **options))
                    dy[...] = rng.standard_normal(dy.shape)
                    yield "   its weight gradient", "conv_grad_weight", (x, dy), options | {"w_shape": w.shape}


def best(call, seconds=0.06):
    call()
    fastest, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        fastest = min(fastest, time.perf_counter() - start)
    return fastest


def main():
    convx.set_num_threads(1)
    for title, operator, operands, options in cases():
        explained = convx.explain(operator, *operands, **options)
        call = getattr(convx, operator)
        measured, words = {}, []
        for name, refusal, predicted in explained.rows:
            if refusal is None and name != "reference" and predicted < 0.5:
                measured[name] = best(lambda name=name: call(*operands, algorithm=name, **options))  # noqa: B023
                words.append(f"{name} {measured[name] * 1e6:.0f}/{predicted * 1e6:.0f}")
        fastest, chosen = min(measured, key=measured.get), explained.chosen
        slower = measured[chosen] / measured[fastest]
        print(f"{title:<50} {'  '.join(words)}  fastest {fastest}", end="")
        print(f"  chosen {chosen}, {slower:.2f} times slower" if chosen != fastest else "", flush=True)


if __name__ == "__main__":
    main()
