"""Which solver takes a nest (floor 4): refusal in a sentence or predicted seconds; the smallest prediction wins."""

from __future__ import annotations

from . import _costs, _kernels
from ._solvers import SOLVERS

NAMES = tuple(solver.name for solver in SOLVERS)
CHOICES = ("auto", "sums", "measure")  # not solvers: the fastest by prediction, of those that sum the products of each
#                                         output, or by trial (`_trial`)


def candidates(nest, kind: str, threads: int, normwise):
    """(solver, refusal or None, seconds) for every solver."""
    for solver in SOLVERS:
        reason = objection(solver, nest, kind, normwise)
        yield solver, reason, None if reason else seconds(solver, nest, kind, threads)


def seconds(solver, nest, kind: str, threads: int) -> float:
    """The solver's prediction, corrected by what was measured on this machine (`_costs`)."""
    return solver.seconds(nest, kind, threads) * _costs.factors(_kernels.row).get((solver.name, kind), 1.0)


def objection(solver, nest, kind: str, normwise) -> str | None:
    """The solver's refusal, or that its kind of error is not for this problem (`Problem.normwise`)."""
    if solver.normwise and normwise is None:
        return "sums of integers must be exact"
    return solver.refuse(nest, kind)


def choose(nest, model, kind: str, algorithm: str, normwise):
    """The solver for this nest: the smallest prediction for its model on one thread, of those that do not refuse.

    The model is what the choice may depend on (`_schedule.model`). A solver whose error is bounded by norms only is
    taken unasked if `normwise` names it, and never by "sums". A named algorithm that refuses raises with its reason.
    """
    if algorithm in CHOICES:
        able = eligible(nest, kind, None if algorithm == "sums" else normwise)
        return min(able, key=lambda s: seconds(s, model, kind, 1))
    solver = SOLVERS[NAMES.index(algorithm)]
    reason = objection(solver, nest, kind, normwise)
    if reason:
        raise ValueError(f"algorithm={algorithm!r} refused: {reason}")
    return solver


def eligible(nest, kind: str, normwise) -> list:
    """The solvers that may be taken unasked."""
    return [s for s in SOLVERS if (not s.normwise or s.name in (normwise or ())) and s.refuse(nest, kind) is None]


def known(algorithm) -> str:
    if algorithm not in CHOICES + NAMES:
        raise ValueError(f"algorithm={algorithm!r} is none of {', '.join(CHOICES + NAMES)}")
    return algorithm

