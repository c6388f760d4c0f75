"""The command line (floor 6): ``python -m convx demo``, ``info`` and ``matlab-check``.

Exit status: 0 when all is well, 1 when the work failed (the reason is on standard error), 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
import sys

from . import __version__, show_config


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m convx", description="Convolution of NumPy arrays.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    demo = commands.add_parser(
        "demo", help="filter a photograph, check and time every result against SciPy, write a picture sheet",
        description="Runs image filters and a layer of 64 filters on a photograph that comes with convx, checks each "
                    "result against scipy.signal.correlate, prints one table and writes a PNG sheet. Needs Pillow, "
                    "uses no network.")
    demo.add_argument("--out", metavar="FILE",
                      help="the PNG file to write; an existing one is replaced. Default: the first free name of "
                           "convx-demo.png, convx-demo-1.png, ... in the current directory")
    commands.add_parser("info", help="print version, instruction row, OpenMP and threads",
                        description="Prints what convx.show_config() tells; a bug report should contain it.")
    check = commands.add_parser(
        "matlab-check", help="make the calls again that MATLAB saved in a file, and compare the results",
        description="Reads a file of matlab_compat/save_reference.m (calls, inputs and results of MATLAB or Octave), "
                    "makes the same calls with convx.matlab and prints size, class and largest difference of each "
                    "result. Exit status: 0 all agree, 1 some do not, 2 the file cannot be read.")
    check.add_argument("file", metavar="FILE.mat")
    check.add_argument("--only-failures", action="store_true", help="leave out the rows of results that agree")
    return parser


def main(arguments=None) -> int:
    options = _parser().parse_args(arguments)
    if options.command == "info":
        show_config()
        return 0
    if options.command == "matlab-check":
        from ._compat.check import main as matlab_check

        return matlab_check(options.file, options.only_failures)
    from ._demo.run import Failure, demo

    try:
        demo(options.out)
    except Failure as failure:
        print(f"convx demo: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
