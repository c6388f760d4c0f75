"""``convx explain`` (floor 9): what a call with a problem line would do."""

from __future__ import annotations

from types import SimpleNamespace

from .. import explain
from .._geometry import BOUNDARIES, Geometry, parse
from ._files import Failure


def add(commands) -> None:
    parser = commands.add_parser(
        "explain", help="tell every algorithm's refusal or predicted time for a problem",
        description="Prints what convx.explain tells about a convolution of contiguous arrays.")
    parser.add_argument("problem", metavar="PROBLEM",
                        help='a problem line, for example "n1 g1 c64 m64 i56x56 k3x3 p1": batch, groups, input and '
                             "output channels per group, input sizes, taps, and where they are not 1, 1 and 0 the "
                             "strides s, dilations d and padding p on both sides (with outputs o: before)")
    parser.add_argument("--dtype", default="float32", help="of both arrays (default: float32)")
    parser.add_argument("--layout", default="NCHW", help="NCHW, NHWC or HWCN (default: NCHW)")
    parser.add_argument("--algorithm", default="auto", help="an algorithm by name (default: auto)")
    parser.set_defaults(run=run)


def geometry(line: str) -> Geometry:
    """The Geometry of a problem line; outputs that are left out follow from padding on both sides."""
    words = line.split()
    letters = {word[0]: word[1:].split("x") for word in words if word not in BOUNDARIES}
    try:
        if "i" not in letters or "k" not in letters:
            raise ValueError("a problem line needs at least the words i and k, as in i56x56 k3x3")
        if "o" not in letters:
            size, taps, stride, dilation, offset = (
                [int(n) for n in letters.get(letter, default)]
                for letter, default in (("i", ()), ("k", ()), ("s", "1"), ("d", "1"), ("p", "0")))
            rank = len(taps)
            stride, dilation, offset = (v * rank if len(v) == 1 else v for v in (stride, dilation, offset))
            if min(*stride, *dilation) < 1:
                raise ValueError("strides and dilations must be above 0")
            out = [(n + 2 * p - d * (k - 1) - 1) // s + 1
                   for n, k, s, d, p in zip(size, taps, stride, dilation, offset, strict=True)]
            line += " o" + "x".join(map(str, out))
        return parse(line)
    except ValueError as error:
        raise Failure(f"{line!r}: {error}") from None


def _after(axis) -> int:
    """The padding after an axis; what the last stride leaves over is none."""
    after = axis.stride * (axis.out - 1) + axis.dilation * (axis.taps - 1) + 1 - axis.size - axis.offset
    return 0 if -axis.stride < after < 0 else after


def layer(line: str) -> tuple[Geometry, dict]:
    """The Geometry of a problem line, and the keywords of the layer that it is."""
    g = geometry(line)
    if any(a.base != 1 or a.stride < 1 or a.dilation < 1 for a in g.axes):
        raise Failure(f"{line!r}: base, stride and dilation of a layer are 1, above 0 and above 0")
    padding = tuple((a.offset, _after(a)) for a in g.axes)
    return g, {"stride": tuple(a.stride for a in g.axes), "dilation": tuple(a.dilation for a in g.axes),
               "padding": padding, "boundary": tuple(a.boundary for a in g.axes)}


def run(options) -> None:
    g, keywords = layer(options.problem)
    space, taps = [a.size for a in g.axes], [a.taps for a in g.axes]
    channels, filters = g.g * g.c, g.g * g.m
    layout = options.layout.upper()
    shapes = {"NCHW": ((g.n, channels, *space), (filters, g.c, *taps)),
              "NHWC": ((g.n, *space, channels), (filters, *taps, g.c)),
              "HWCN": ((*space, channels, g.n), (*taps, g.c, filters))}
    if layout not in shapes:
        raise Failure(f"--layout {options.layout} is none of {', '.join(shapes)}")
    try:
        x, w = (SimpleNamespace(shape=shape, dtype=options.dtype) for shape in shapes[layout])
        print(explain("conv", x, w, groups=g.g, layout=layout, algorithm=options.algorithm, **keywords))
    except (ValueError, TypeError) as error:
        raise Failure(str(error)) from None
