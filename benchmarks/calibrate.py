"""Measure the solvers on this machine and correct their predicted times by a factor each.

    python benchmarks/calibrate.py            prints the factors, and how auto would do with them
    python benchmarks/calibrate.py --keep     also writes them where every later process reads them (see convx._costs)

A factor is the geometric mean of measured over predicted, on one thread, over the problems of `crossover.py` on which
the solver is among the two fastest: there a wrong prediction changes the choice. Factors stand beside the constants of
`_solvers/`, they do not replace them. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
from math import exp, log
from statistics import mean

from crossover import measure, summary
from measuring import machine

import convx
from convx import _costs

KINDS = {"float32": "f32", "float64": "f64"}


def fitted(results) -> dict[str, float]:
    """'solver kind' -> factor."""
    ratios: dict[str, list[float]] = {}
    for title, _, found in results:
        fastest = sorted(found, key=lambda name: found[name][0])[:2]
        for name in fastest:
            measured, predicted = found[name]
            ratios.setdefault(f"{name} {KINDS[title.split()[0]]}", []).append(log(measured / predicted))
    return {name: exp(mean(values)) for name, values in sorted(ratios.items())}


def corrected(results, factors):
    """The results as they would be with these factors: predictions and choices."""
    for title, _, found in results:
        kind = KINDS[title.split()[0]]
        better = {name: (t, p * factors.get(f"{name} {kind}", 1)) for name, (t, p) in found.items()}
        yield title, min(better, key=lambda name: better[name][1]), better


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help=f"write {_costs.file()}")
    parser.add_argument("--seconds", type=float, default=0.03, help="for each solver and problem (default 0.03)")
    options = parser.parse_args()
    facts = machine()
    if (facts["busy"] or 0) > 0.05:
        print("WARNING: the machine is busy; do not keep what this gives")
    if _costs.factors(facts["row"]):
        parser.error(f"predictions are corrected by {_costs.file()} already; set CONVX_COSTS= to fit anew")
    convx.set_num_threads(1)
    results = list(measure(options.seconds))
    factors = fitted(results)
    for name, value in factors.items():
        print(f"{name:<14} {value:6.2f}")
    print("as it is: ", end="")
    summary(results)
    print("corrected: ", end="")
    summary(list(corrected(results, factors)))
    if options.keep:
        path = _costs.file()
        if path is None:
            parser.error("CONVX_COSTS is empty: there is no file to write")
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = json.loads(path.read_text())["factors"] if path.exists() else {}
        kept[facts["row"]] = {name: round(value, 4) for name, value in factors.items()}
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(json.dumps({"machine": facts, "factors": kept}, indent=1) + "\n")
        os.replace(temporary, path)
        print(f"kept in {path}")


if __name__ == "__main__":
    main()
