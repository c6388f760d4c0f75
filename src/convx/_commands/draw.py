"""``convx draw`` (floor 9): the arithmetic of a problem line as a picture or an animation."""

from __future__ import annotations

from math import prod
from pathlib import Path

from ._files import Failure, writable, written
from .explain import layer

SUFFIXES = (".png", ".svg", ".pdf", ".gif")


def add(commands) -> None:
    parser = commands.add_parser(
        "draw", help="draw the arithmetic of a convolution",
        description="Draws input, padding, window and output of a convolution with one or two spatial axes: one step "
                    "of it, or as a GIF all steps. Needs matplotlib.")
    parser.add_argument("problem", metavar="PROBLEM",
                        help='a problem line as `convx explain` takes it, for example "i5x5 k3x3 s2 p1"; one channel '
                             "of one image is drawn")
    parser.add_argument("target", metavar="OUT", help=f"the file to write: {', '.join(SUFFIXES)}")
    parser.add_argument("--transposed", action="store_true",
                        help="draw the transposed convolution, from the outputs of the line to its inputs")
    parser.add_argument("--step", type=int, metavar="N",
                        help="the output that is drawn, counted from 0 in C order (default: the one in the middle)")
    parser.add_argument("--rate", type=float, default=2.0, help="steps in a second of a GIF (default: 2)")
    parser.add_argument("--force", action="store_true", help="replace a file that exists")
    parser.set_defaults(run=run)


def run(options) -> None:
    target = Path(options.target)
    suffix = target.suffix.lower()
    if suffix not in SUFFIXES:
        raise Failure(f"{target}: the suffix is none of {', '.join(SUFFIXES)}")
    if suffix == ".gif" and options.step is not None:
        raise Failure("--step: a GIF shows all steps")
    g, keywords = layer(options.problem)
    size, out = (tuple(getattr(a, name) for a in g.axes) for name in ("size", "out"))
    if options.transposed:
        keywords |= {"operator": "conv_transpose", "output_shape": size}
        size, out = out, size
    writable(target, options.force)
    try:
        from .. import plot

        taps = tuple(a.taps for a in g.axes)
        with written(target, options.force) as temporary:
            if suffix == ".gif":
                plot.arithmetic_gif(temporary, size, taps, rate=options.rate, **keywords)
            else:
                step = prod(out) // 2 if options.step is None else options.step
                plot.arithmetic(size, taps, step=step, **keywords).savefig(temporary)
    except (ImportError, TypeError, ValueError) as error:
        raise Failure(str(error)) from None
