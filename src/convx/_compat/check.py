"""`python -m convx matlab-check FILE`: the calls that MATLAB made, made again and compared element by element."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from scipy.sparse import issparse

from .calls import CallError, call, class_of
from .matfile import LIMIT, Case, Reference, UnreadableError, read

TOLERANCE = {"double": 1e-12, "single": 2e-6}  # times the largest magnitude
SUMS = frozenset("conv conv2 convn filter2 xcorr2 deconv imfilter dlconv dltranspconv vl_nnconv vl_nnconvt".split())
"""Sums of products: of whole numbers they are exact whatever the order."""
COPIES = frozenset("padarray im2col col2im convmtx convmtx2 maxpool maxunpool".split())
"""Nothing is computed."""
TRANSFORMS = frozenset(("xcorr", "cconv"))
"""MATLAB computes them through the Fourier transform: zeros come out as rounding errors of the products."""


@dataclass(frozen=True)
class Finding:
    """The comparison of one result."""

    passed: bool
    size: str
    kind: str
    ulps: float = math.nan  # of the largest magnitude
    relative: float = math.nan  # to the largest magnitude
    note: str = ""


def size_text(array) -> str:
    return "x".join(map(str, array.shape))


def call_text(case: Case) -> str:
    """The call as a line: small values are written out, large ones by size and class."""
    return f"{case.name}({', '.join(map(_value_text, case.inputs))})"


def _value_text(value) -> str:
    kind = class_of(value)
    if kind == "char":
        return ascii("".join(value.ravel())[:40])
    if kind == "double" and value.ndim == 2 and value.shape[0] == 1 and value.size <= 3:
        text = " ".join(f"{number:.6g}" for number in value.ravel())
        return text if value.size == 1 else f"[{text}]"
    return f"{size_text(value)} {kind}"


def _largest(array) -> float:
    magnitudes = np.abs(array[np.isfinite(array)].astype(complex if array.dtype.kind == "c" else float))
    return float(magnitudes.max(initial=0))


def _is_whole(array) -> bool:
    return bool(np.all(array == np.round(array))) if array.dtype.kind in "fc" else True


def must_be_equal(case: Case, want) -> bool:
    """Whether every bit of a result is determined."""
    if class_of(want) not in TOLERANCE or case.name in COPIES:
        return True
    numbers = [value for value in (*case.inputs, *case.outputs) if class_of(value) != "char"]
    return case.name in SUMS and all(map(_is_whole, numbers)) and _largest(want) <= 1 / np.finfo(want.dtype).eps


def compare(case: Case, got, want) -> Finding:
    """One result of a case against the saved one. Size and class must agree; a zero imaginary part may be absent."""
    size, kind = size_text(got), class_of(got)
    if got.shape != want.shape:
        return Finding(False, size, kind, note=f"the size should be {size_text(want)}")
    if kind != class_of(want):
        return Finding(False, size, kind, note=f"the class should be {class_of(want)}")
    got, want = (array.toarray() if issparse(array) else array for array in (got, want))
    origin = (0, 0)
    if case.region:
        top, bottom, left, right = case.region
        got, want = (array[top - 1:bottom, left - 1:right] for array in (got, want))
        origin = (top - 1, left - 1)
    same = (got == want) | ((got != got) & (want != want))
    if same.all():
        return Finding(True, size, kind, 0.0, 0.0)
    with np.errstate(invalid="ignore", over="ignore"):
        wide = complex if got.dtype.kind == "c" or want.dtype.kind == "c" else float
        gap = np.where(same, 0, np.abs(got.astype(wide) - want.astype(wide)))
    gap[~same & ~np.isfinite(gap)] = np.inf
    scale = _largest(want)
    if case.name in TRANSFORMS:
        scale = max(scale, math.prod(_largest(value) for value in case.inputs[:2] if class_of(value) != "char"))
    bad = ~same if must_be_equal(case, want) else ~same & ~(gap <= TOLERANCE[class_of(want)] * scale)
    unit = float(np.spacing(want.real.dtype.type(scale))) if want.dtype.kind in "fc" else 1.0
    place = tuple(int(i) for i in np.argwhere((bad if bad.any() else ~same).T)[0][::-1])  # the first down the columns
    note = f"({', '.join(str(i + 1 + o) for i, o in zip(place, origin + (0,) * got.ndim, strict=False))}): " \
           f"{got[place]} instead of {want[place]}"
    worst = float(gap.max())
    return Finding(not bad.any(), size, kind, worst / unit, worst / scale if scale else math.inf, note)


def _numbers(case: Case, at: int) -> list[float]:
    """The magnitudes in an argument that may say how large a result is: a few real numbers."""
    value = case.inputs[at] if at < len(case.inputs) else np.zeros(0)
    if issparse(value) or value.dtype.kind not in "biuf" or value.size > 4:
        return []
    return [float(number) for number in np.abs(np.nan_to_num(value.astype(float))).ravel()]


def _refusal(case: Case) -> str | None:
    """Why a call of a file is not made: its numbers ask for a result of enormous size."""
    shape, asked = case.inputs[0].shape if case.inputs else (), 0.0
    if case.name == "padarray":
        asked = math.prod(n + 2 * p for n, p in zip_longest(shape, _numbers(case, 1), fillvalue=0) if n + 2 * p)
    elif case.name in ("fspecial", "convmtx", "imgaussfilt", "imboxfilt"):
        asked = max(_numbers(case, 1), default=0) ** 2
    elif case.name == "convmtx2":
        asked = math.prod((*shape, *_numbers(case, 1), *_numbers(case, 2)))
    elif case.name in ("cconv", "col2im", "maxunpool", "xcorr"):
        asked = math.prod(_numbers(case, 2)) + (math.prod(_numbers(case, 1)) if case.name == "xcorr" else 0)
    if case.name != "imfilter":  # options: 'Pad', 'Upsample', 'FilterSize', ...; numbers of imfilter are values
        options = (at for at in range(2, len(case.inputs)) if class_of(case.inputs[at - 1]) == "char")
        numbers = [max(1.0, number) for at in options for number in _numbers(case, at)]
        asked = max(asked, math.prod(shape) * math.prod(numbers) if numbers else 0.0)
    return f"the result would be larger than {LIMIT} bytes" if asked * 8 > LIMIT else None


def check_case(case: Case, program: str) -> list[Finding]:
    """The findings of a case, one for each result. The identifier of an error counts only if MATLAB gave it."""
    refusal = _refusal(case)
    if refusal:
        return [Finding(False, "", "", note=refusal)]
    try:
        got = call(case.name, case.inputs, max(1, len(case.outputs)))
    except CallError as error:
        if case.error is None:
            return [Finding(False, "", "error", note=f"{error.identifier}: {error}")]
        expected = case.error if program == "MATLAB" else error.identifier
        return [Finding(error.identifier == expected and not error.identifier.startswith("convx:"), "", "error",
                        note=error.identifier + (f" instead of {expected}" if error.identifier != expected else ""))]
    if case.error is not None:
        return [Finding(False, size_text(got[0]), class_of(got[0]), note=f"{program} fails: {case.error}")]
    return [compare(case, *pair) for pair in zip(got, case.outputs, strict=True)]


def check(reference: Reference, only_failures: bool = False) -> int:
    """Prints the table of a file; the number of cases that differ."""
    print(f"{reference.program} {reference.release}, {reference.date}: {len(reference.cases)} cases")
    print("Differences are in units of the last place of the largest magnitude, and relative to it.")
    row = "{:>5}  {:<52} {:<10} {:<8} {:>8} {:>9}  {}".format
    print(row("case", "call", "size", "class", "ulps", "relative", "result"))
    failures = 0
    for case in reference.cases:
        findings = check_case(case, reference.program)
        failures += not all(finding.passed for finding in findings)
        for finding in findings:
            if finding.passed and only_failures:
                continue
            numbers = ("" if math.isnan(number) else f"{number:.3g}" for number in (finding.ulps, finding.relative))
            result = f"{'pass' if finding.passed else 'FAIL'}  {finding.note}".rstrip()
            print(row(case.number, call_text(case), finding.size, finding.kind, *numbers, result))
    print(f"{len(reference.cases) - failures} cases agree, {failures} do not")
    return failures


def main(path: str, only_failures: bool = False) -> int:
    """The command: 0 if all agree, 1 if some do not, 2 for a file that cannot be read."""
    try:
        reference = read(path)
    except UnreadableError as error:
        print(f"convx matlab-check: {error}", file=sys.stderr)
        return 2
    return 1 if check(reference, only_failures) else 0
