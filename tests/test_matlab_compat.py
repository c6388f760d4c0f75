"""convx.matlab against stored results of MATLAB and Octave, and against Octave itself where it is installed."""

import json
from collections import Counter
from math import prod

import numpy as np
import octave
import pytest

from convx import matlab
from convx._compat.check import check_case
from convx._compat.matfile import read

pytestmark = pytest.mark.once  # no matter which kernel row or build

CASES = octave.COMPAT / "cases.json"
STORED = sorted((octave.COMPAT / "fixtures").glob("*.mat"))


def failures(reference):
    """A line for each case that differs."""
    found = [(case, finding) for case in reference.cases for finding in check_case(case, reference.program)]
    assert len(found) >= len(reference.cases)
    return [f"{case.number} {case.name}: {finding}" for case, finding in found if not finding.passed]


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.name)
def test_stored_results(path):
    reference = read(path)
    wrong = failures(reference)
    assert not wrong, "\n".join(wrong[:20])


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.name)
def test_stored_results_are_those_of_the_list(path):
    reference = read(path)
    expected = Counter()
    for group in json.loads(CASES.read_text(encoding="utf-8")):
        if group.get("only", reference.program) == reference.program:
            expected[group["f"]] += prod(map(len, group["args"]))
    assert Counter(case.name for case in reference.cases) == expected
    assert len(reference.cases) >= 600


FLOATS, CLASSES = ("double", "single"), ("double", "single", "int8", "uint8", "int16", "uint32", "logical")


def groups(rng, count):
    """Fresh groups for generate.m: one case each, random sizes and classes, whole numbers and real ones."""
    def array(rank, least=1, most=9, kinds=("int", "real", "cint", "creal"), classes=CLASSES, floats=FLOATS,
              sizes=None):
        kind = str(rng.choice(kinds))
        name = str(rng.choice(classes if kind == "int" else floats))
        sizes = rng.integers(least, most, rank, endpoint=True) if sizes is None else sizes
        return f"{kind} {'x'.join(map(str, sizes))} {name}"

    def pair(least, below):
        return f"[{rng.integers(least, below)} {rng.integers(least, below)}]"

    def word(*words):
        return str(rng.choice(words))

    def vector(**options):
        length = rng.integers(1, 12)
        return array(2, sizes=(1, length) if rng.random() < 0.5 else (length, 1), **options)

    shapes, real = ("'full'", "'same'", "'valid'"), {"kinds": ("int", "real")}
    makers = {
        "conv": lambda: [vector(), vector(), word(*shapes)],
        "conv2": lambda: [array(2), array(2), word(*shapes)],
        "convn": lambda: [array(int(rng.integers(2, 5)), 1, 4), array(int(rng.integers(2, 5)), 1, 4), word(*shapes)],
        "filter2": lambda: [array(2, 1, 5), array(2), word(*shapes)],
        "xcorr2": lambda: [array(2), array(2)],
        "convmtx": lambda: [vector(classes=FLOATS), str(rng.integers(1, 9))],
        "imfilter": lambda: [array(2, classes=CLASSES[:-1], **real), array(2, 1, 5, kinds=("real",), floats=FLOATS[:1]),
                             word("'symmetric'", "'replicate'", "'circular'", "0", "3"), word("'corr'", "'conv'")],
        "padarray": lambda: [array(int(rng.integers(2, 4)), 1, 4), pair(0, 9),
                             word("'symmetric'", "'replicate'", "'circular'", "4"), word("'both'", "'pre'", "'post'")],
        "im2col": lambda: [array(2, 3, 9), pair(1, 4), word("'sliding'", "'distinct'")],
        "fspecial": lambda: ["'gaussian'", pair(1, 7), f"{rng.uniform(0.6, 3):.3f}"],
    }
    for number in range(count):
        name = tuple(makers)[number % len(makers)]
        yield {"f": name, "args": [[alternative] for alternative in makers[name]()]}


def test_fresh_cases_in_octave(tmp_path):
    octave.needed()
    rng = np.random.default_rng(20)
    (tmp_path / "cases.json").write_text(json.dumps(list(groups(rng, 400))), encoding="utf-8")
    octave.run(f"addpath('{octave.COMPAT}'); generate('cases.json', 'fresh.mat', 77);", folder=tmp_path)
    reference = read(tmp_path / "fresh.mat")
    assert len(reference.cases) == 400
    refused = [case.number for case in reference.cases if case.error is not None]
    assert not refused, "the list holds what Octave refuses"
    wrong = failures(reference)
    assert not wrong, "\n".join(wrong[:20])


def test_the_names_are_all_there():
    """names.md, the package for MATLAB and the functions for Octave have every function of convx.matlab."""
    names = sorted(name for name in matlab.__all__ if name != "MatlabError")
    table = (octave.COMPAT / "names.md").read_text(encoding="utf-8")
    assert [name for name in names if f"| `{name}` | `convx.matlab.{name}` |" not in table] == []
    assert sorted(path.stem for path in (octave.COMPAT / "+convx").glob("*.m") if path.stem != "call") == names
    assert sorted(path.stem for path in (octave.COMPAT / "octave").glob("*.m")) == sorted(
        f"convx_{name}" for name in ("call", *names))
