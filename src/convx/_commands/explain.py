"""``convx explain`` (floor 9): what a call with a problem line would do."""

from __future__ import annotations

from types import SimpleNamespace

from .. import explain, geometry
from .._planning import parts
from ._files import Failure


def add(commands) -> None:
    parser = commands.add_parser(
        "explain", help="tell every algorithm's refusal or predicted time for a problem",
        description="Prints what convx.explain tells about a convolution of contiguous arrays.")
    parser.add_argument("problem", metavar="PROBLEM",
                        help='a problem line, for example "n1 g1 c64 m64 i56x56 k3x3 p1": batch, groups, input and '
                             "output channels per group, input sizes, taps, and where they are not 1, 1 and 0 the "
                             "strides s, dilations d and padding p on both sides (with outputs o: before)")
    parser.add_argument("--dtype", help="of both arrays (default: what stands at the end of the line, or float32)")
    parser.add_argument("--layout", default="NCHW", help="NCHW, NHWC or HWCN (default: NCHW)")
    parser.add_argument("--algorithm", default="auto", help="an algorithm by name (default: auto)")
    parser.set_defaults(run=run)


def layer(line: str):
    """The geometry of a problem line, and the keywords of the layer that it is."""
    try:
        g = geometry(line)
        padding = tuple(a.padding() for a in g.axes)
    except ValueError as error:
        raise Failure(str(error)) from None
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
    dtype = options.dtype or parts(options.problem)[1] or "float32"
    try:
        x, w = (SimpleNamespace(shape=shape, dtype=dtype) for shape in shapes[layout])
        print(explain("conv", x, w, groups=g.g, layout=layout, algorithm=options.algorithm, **keywords))
    except (ValueError, TypeError) as error:
        raise Failure(str(error)) from None
