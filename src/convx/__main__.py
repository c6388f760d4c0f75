"""The command line (floor 9): ``convx COMMAND`` or ``python -m convx COMMAND``.

Exit status: 0 when all is well, 1 when the work failed (the reason is on standard error), 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
import sys

from . import __version__
from ._commands import bench, demo, draw, explain, filter, info, matlab_check, summary
from ._commands._files import Failure


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="convx", description="Convolution of NumPy arrays, and of pictures.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    for module in (demo, filter, explain, draw, summary, bench, info, matlab_check):
        module.add(commands)
    return parser


def main(arguments=None) -> int:
    options = _parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except Failure as failure:
        print(f"convx {options.command}: {failure}", file=sys.stderr)
        return 1
    except MemoryError as error:
        print(f"convx {options.command}: there is not enough memory: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of a pipe has gone
        sys.stderr.close()
        return 1


if __name__ == "__main__":
    sys.exit(main())
