"""``convx matlab-check`` (floor 9)."""

from __future__ import annotations


def add(commands) -> None:
    parser = commands.add_parser(
        "matlab-check", help="make the calls again that MATLAB saved in a file, and compare the results",
        description="Reads a file of matlab_compat/save_reference.m (calls, inputs and results of MATLAB or Octave), "
                    "makes the same calls with convx.matlab and prints size, class and largest difference of each "
                    "result. Exit status: 0 all agree, 1 some do not, 2 the file cannot be read.")
    parser.add_argument("file", metavar="FILE.mat")
    parser.add_argument("--only-failures", action="store_true", help="leave out the rows of results that agree")
    parser.set_defaults(run=run)


def run(options) -> int:
    from .._compat.check import main

    return main(options.file, options.only_failures)
