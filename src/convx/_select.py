"""Which solver takes a nest (floor 4): refusal in a sentence or predicted seconds; the smallest prediction wins."""

from __future__ import annotations

from ._solvers import SOLVERS

NAMES = tuple(solver.name for solver in SOLVERS)


def candidates(nest, kind: str, threads: int):
    """(solver, refusal or None, seconds) for every solver."""
    for solver in SOLVERS:
        reason = solver.refuse(nest, kind)
        yield solver, reason, None if reason else solver.seconds(nest, kind, threads)


def choose(nest, model, kind: str, algorithm: str):
    """The solver for this nest: the smallest prediction for its model on one thread, of those that do not refuse.

    The model is what the choice may depend on (`_plan.model`). A named algorithm that refuses raises with its reason.
    """
    if algorithm == "auto":
        return min((s for s in SOLVERS if s.refuse(nest, kind) is None), key=lambda s: s.seconds(model, kind, 1))
    solver = SOLVERS[NAMES.index(algorithm)]
    reason = solver.refuse(nest, kind)
    if reason:
        raise ValueError(f"algorithm={algorithm!r} refused: {reason}")
    return solver


def known(algorithm) -> str:
    if algorithm != "auto" and algorithm not in NAMES:
        raise ValueError(f"algorithm={algorithm!r} is none of auto, {', '.join(NAMES)}")
    return algorithm

