"""Factors on the solvers' predicted times, measured on the machine at hand (beside floor 1).

The constants in `_solvers/` were found on a few machines. `benchmarks/calibrate.py --keep` measures the solvers here
and writes a file of factors, one a solver, kind and row, which every later process reads once:

    $CONVX_COSTS, or costs.json in the folder convx of $XDG_CONFIG_HOME (~/.config)

CONVX_COSTS="" reads none. A file that cannot be used is told in a warning, and the predictions stay as they are.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from warnings import warn


def file() -> Path | None:
    named = os.environ.get("CONVX_COSTS")
    if named is not None:
        return Path(named) if named else None
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Path(home) / "convx" / "costs.json"


@cache
def factors(row: str) -> dict[tuple[str, str], float]:
    """(solver, kind) -> factor for a kernel row; empty without a file."""
    path = file()
    try:
        if path is None or not path.is_file():
            return {}
        table = json.loads(path.read_text())["factors"].get(row, {})
        found = {tuple(name.split()): float(value) for name, value in table.items()}
        if not all(len(name) == 2 and 1e-3 < value < 1e3 for name, value in found.items()):
            raise ValueError("its factors are not named 'solver kind', or lie outside 0.001 to 1000")
        return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        warn(f"convx cannot use its cost factors in {path}: {error!r}", stacklevel=2)
        return {}
