"""Which of several calls is the fastest, by trial, remembered for the life of the process (floor 1)."""

from __future__ import annotations

from time import perf_counter

REMEMBERED = 4096  # forms; when as many are known, all are forgotten
HOPELESS = 10.0  # candidates with a prediction that many times the smallest are not tried
PATIENCE = 0.05  # seconds for one candidate after its first two calls
CALLS = 5  # of each candidate at most, the first one not counted

_known: dict = {}


def fastest(form, predictions: dict, trial):
    """The candidate with the shortest best time; `trial(candidate)` gives the call to be timed.

    The one with the smallest prediction is tried first; the others stop early when they are far behind.
    """
    found = _known.get(form)
    if found is not None:
        return found
    limit = HOPELESS * min(predictions.values())
    best, found = float("inf"), None
    for candidate in sorted((c for c, seconds in predictions.items() if seconds <= limit), key=predictions.get):
        seconds = _seconds(trial(candidate), best)
        if seconds < best:
            best, found = seconds, candidate
    if len(_known) >= REMEMBERED:
        _known.clear()
    _known[form] = found
    return found


def _seconds(call, to_beat: float) -> float:
    start = perf_counter()
    call()
    first = perf_counter() - start  # loads code, starts threads, touches memory
    best, spent = float("inf"), 0.0
    for number in range(CALLS):
        if number and (spent > PATIENCE or min(first, best) > 3 * to_beat):
            break
        start = perf_counter()
        call()
        best = min(best, perf_counter() - start)
        spent += best
    return best
