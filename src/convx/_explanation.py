"""What every solver says of a problem, as a table (floor 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import _select, _threads
from ._problem import Problem
from ._schedule import KINDS, ideal, model, real_of


@dataclass(frozen=True)
class Explanation:
    """The problem line, every solver's refusal or predicted time, and the choice. `str()` is the table."""

    problem: str
    rows: tuple[tuple[str, str | None, float | None], ...]
    chosen: str
    threads: int

    def __str__(self):
        lines, width = [self.problem], max((len(name) for name, *_ in self.rows), default=0)
        for name, reason, time in self.rows:
            if reason:
                lines.append(f"  {name:<{width}} refused: {reason}")
            else:
                chosen = "   chosen" if name == self.chosen else ""
                lines.append(f"  {name:<{width}} {time * 1e3:9.3f} ms{chosen}")
        return "\n".join(lines)

    __repr__ = __str__


def explanation(problem: Problem) -> Explanation:
    """Predictions for C-ordered arrays, on the nest with the most products."""
    threads = _threads.get_num_threads()
    dtype = problem.compute_dtype
    normwise = problem.normwise
    if dtype.kind in "iu":
        dtype, normwise = _typical(problem), None
    real = real_of(dtype)
    kind = KINDS.get(real, "other")
    nests = model(problem, kind, False)
    if not nests or 0 in problem.y_shape or not problem.geometry.c:
        return Explanation(problem.text(), (), "nothing to compute", threads)
    nest = max(nests, key=lambda n: n.products)
    rows = tuple((s.name, reason, None if reason else time * len(nests))
                 for s, reason, time in _select.candidates(nest, kind, threads, normwise))
    if problem.algorithm == "measure":
        chosen = "the fastest at the first call"
    else:
        chosen = _select.choose(nest, ideal(problem, nest), kind, problem.algorithm, normwise).name
    return Explanation(problem.text(), rows, chosen, threads)


def _typical(problem: Problem) -> np.dtype:
    """The compute dtype of small integers."""
    return np.dtype(np.float32 if problem.x_dtype.itemsize == 1 and problem.w_dtype.itemsize == 1 else np.float64)
