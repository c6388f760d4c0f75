"""Reads the calls and results that `matlab_compat/save_reference.m` saved: MATLAB's files of version 4 to 7 and 7.3.

Only arrays of numbers, logical values, characters, and sparse matrices are read, of variables with the expected names;
structures, objects and functions in a file are never built. Sizes are added up before any array is made. SciPy and HDF5
read in a process of their own: damaged bytes can make them crash.
"""

from __future__ import annotations

import math
import os
import pickle
import re
import struct
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csc_array, issparse

from .calls import CLASSES, dtype_of, matrix

LIMIT = 2 << 30  # bytes of all arrays of a file, as if none were sparse
_HDF5 = b"\x89HDF\r\n\x1a\n"
_STAMP = ("convx_reference", "convx_cases", "convx_program", "convx_release", "convx_date")
_VARIABLE = re.compile(r"c(\d+)_(call|error|message|region|in(\d+)|out(\d+))|" + "|".join(_STAMP))


class UnreadableError(Exception):
    """A file that is not what it should be: one sentence."""


@dataclass
class Case:
    """One saved call: matrices in, matrices out, or the identifier of its error."""

    number: int
    name: str = ""
    inputs: list = field(default_factory=list)
    outputs: list = field(default_factory=list)
    error: str | None = None
    region: tuple[int, int, int, int] | None = None


@dataclass
class Reference:
    """What a file holds: who made it, and the cases in their order."""

    program: str
    release: str
    date: str
    cases: list[Case]


def read(path) -> Reference:
    """The cases of a file, read by another process.

    Raises
    ------
    UnreadableError
        For a file that is missing, damaged, truncated, too large, or no reference file.
    """
    program = "import sys; from convx._compat.matfile import _hand_over; _hand_over(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", program, os.fspath(path)], capture_output=True, check=False)
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise UnreadableError(f"{path} is damaged: its reader ended with status {done.returncode}. {last}".rstrip())
    found = pickle.loads(done.stdout)
    if isinstance(found, str):
        raise UnreadableError(found)
    return found


def _hand_over(path) -> None:
    """In the other process: the cases, or the sentence of an error, to standard output."""
    try:
        found = read_here(path)
    except UnreadableError as error:
        found = str(error)
    pickle.dump(found, sys.stdout.buffer, protocol=5)


def read_here(path) -> Reference:
    """`read` in this process."""
    path = Path(path)
    try:
        with open(path, "rb") as file:
            head, size = file.read(520), os.fstat(file.fileno()).st_size
        if size > LIMIT:
            raise UnreadableError(f"{path} has {size} bytes; the limit is {LIMIT}")
        variables = _read_hdf5(path) if _HDF5 in (head[:8], head[512:]) else _read_mat(path, head, size)
    except UnreadableError:
        raise
    except OSError as error:
        raise UnreadableError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # damaged bytes surface as errors of any kind
        raise UnreadableError(f"{path} is damaged, or no MAT-file: {type(error).__name__}: {_line(error)}") from error
    try:
        return _reference(variables)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnreadableError(f"{path} is no file of save_reference.m, or damaged: {_line(error)}") from error


def _line(error) -> str:
    return " ".join(str(error).split())


def _reference(variables: dict[str, Any]) -> Reference:
    if missing := set(_STAMP) - set(variables):
        raise ValueError(f"the variable {min(missing)} is missing")
    if variables["convx_reference"].item() != 1:
        raise ValueError("this version reads format 1")
    cases: dict[int, Case] = {}
    parts: dict[tuple[int, str], dict[int, Any]] = {}
    for name, value in variables.items():
        number, what, *place = _VARIABLE.fullmatch(name).groups()[:4]
        if number is None:
            continue
        case = cases.setdefault(int(number), Case(int(number)))
        if what.startswith(("in", "out")):
            kind, at = ("inputs", place[0]) if place[0] else ("outputs", place[1])
            parts.setdefault((case.number, kind), {})[int(at)] = value
        elif what == "region":
            top, bottom, left, right = (int(bound) for bound in value.ravel())
            case.region = top, bottom, left, right
        elif what != "message":
            setattr(case, {"call": "name"}.get(what, what), _text(value))
    for (number, kind), found in parts.items():
        if sorted(found) != list(range(1, len(found) + 1)):
            raise ValueError(f"case {number} lacks some of its {kind}")
        setattr(cases[number], kind, [found[at] for at in sorted(found)])
    for number, case in cases.items():
        if not case.name or (not case.outputs and case.error is None):
            raise ValueError(f"case {number} has no {'result' if case.name else 'call'}")
        if case.region and not all(_inside(output.shape, *case.region) for output in case.outputs):
            raise ValueError(f"case {number} has a region outside its result")
    if not cases or len(cases) != variables["convx_cases"].item():
        raise ValueError(f"it has {len(cases)} cases and should have {variables['convx_cases'].item():g}")
    return Reference(*(_text(variables[name]) for name in _STAMP[2:]), [cases[number] for number in sorted(cases)])


def _inside(shape, top: int, bottom: int, left: int, right: int) -> bool:
    return 1 <= top <= bottom <= shape[0] and 1 <= left <= right <= shape[1]


def _text(value) -> str:
    if value.dtype.kind != "U":
        raise ValueError("a text is no text")
    return "".join(letter if letter.isprintable() else "?" for letter in value.ravel())


def _checked(sizes: dict[str, tuple[tuple[int, ...], str]]) -> None:
    """The classes are known, and all arrays together stay below the limit."""
    for name, (_, kind) in sizes.items():
        if kind not in (*CLASSES, "sparse"):
            raise UnreadableError(f"the variable {name} is of class {kind}; only arrays and text are read")
    total = sum(math.prod(shape) * (4 if kind == "char" else 8) for shape, kind in sizes.values())
    if total > LIMIT:
        raise UnreadableError(f"the arrays would take {total} bytes; the limit is {LIMIT}")


# Versions 4 to 7: SciPy reads them.

def _read_mat(path: Path, head: bytes, size: int) -> dict[str, Any]:
    import scipy.io

    if head[124:128] in (b"\x00\x01IM", b"\x01\x00MI"):
        _check_elements(path, "<" if head[126:128] == b"IM" else ">", size)
    sizes = {name: (shape, kind) for name, shape, kind in scipy.io.whosmat(path, appendmat=False)
             if _VARIABLE.fullmatch(name)}
    _checked(sizes)
    found = scipy.io.loadmat(path, appendmat=False, variable_names=list(sizes), chars_as_strings=False) if sizes else {}
    variables = {}
    for name, (_, kind) in sizes.items():
        value = found[name]
        if issparse(value):
            value = csc_array(value)
        elif kind != "char":  # doubles may be stored as small integers
            value = value.astype(dtype_of(kind, value.dtype.kind == "c"), copy=False)
        variables[name] = matrix(value)
    return variables


def _check_elements(path: Path, order: str, size: int) -> None:
    """The elements of a version 5 file fill it: neither is the last one cut off, nor does anything follow."""
    at = 128
    with open(path, "rb") as file:
        while at < size:
            file.seek(at)
            kind, count = struct.unpack(order + "II", file.read(8).ljust(8, b"\0"))
            at += 8 + count
            if kind not in (14, 15) or at > size:
                raise UnreadableError(f"{path} is damaged or truncated at byte {min(at, size)} of {size}")


# Version 7.3: an HDF5 file; h5py reads it.

def _read_hdf5(path: Path) -> dict[str, Any]:
    try:
        import h5py
    except ImportError as error:
        raise UnreadableError(f'{path} has version 7.3, which h5py reads: pip install "convx-nd[matlab]", or save it '
                              "with -v7") from error
    with h5py.File(path, "r") as file:
        links = {name: file.get(name, getlink=True) for name in file if _VARIABLE.fullmatch(name)}
        for name, link in links.items():
            if not isinstance(link, h5py.HardLink):
                raise UnreadableError(f"the variable {name} is kept in another file")
        stored = {name: file[name] for name in links}
        _checked({name: _hdf5_size(item) for name, item in stored.items()})
        return {name: matrix(_hdf5_value(item)) for name, item in stored.items()}


def _hdf5_size(item) -> tuple[tuple[int, ...], str]:
    if "MATLAB_sparse" in item.attrs:
        columns = item["jc"].shape[0] - 1
        stored = sum(item[part].shape[0] for part in ("ir", "data") if part in item)
        return (max(int(item.attrs["MATLAB_sparse"]) * columns, stored, columns), 1), "sparse"
    kind = item.attrs.get("MATLAB_class", b"none")
    kind = kind.decode("ascii", "replace") if isinstance(kind, bytes) else str(kind)
    if not hasattr(item, "shape") or item.is_virtual or item.external:
        return (), f"{kind} (not a plain array)"
    return item.shape, kind


def _hdf5_value(item):
    if "MATLAB_sparse" in item.attrs:
        rows, starts = int(item.attrs["MATLAB_sparse"]), item["jc"][()].astype(int)
        data, places = (item[part][()] if part in item else np.zeros(0) for part in ("data", "ir"))
        value = csc_array((_parts_joined(data), places.astype(int), starts), shape=(rows, len(starts) - 1))
        value.check_format(full_check=True)
        return value
    kind = _hdf5_size(item)[1]
    if item.attrs.get("MATLAB_empty", 0):
        shape = tuple(int(extent) for extent in item[()])
        if math.prod(shape):
            raise ValueError("an empty array is not empty")
        return np.zeros(shape, "U1" if kind == "char" else dtype_of(kind))
    value = _parts_joined(item[()].T)
    if kind == "char":
        return value.astype("u4", order="C").view("U1") if value.size else np.zeros(value.shape, "U1")
    return value.astype(dtype_of(kind, value.dtype.kind == "c"), copy=False)


def _parts_joined(value: np.ndarray) -> np.ndarray:
    """Complex numbers are stored as pairs."""
    if value.dtype.names is None:
        return value
    joined = np.empty(value.shape, np.result_type(value["real"].dtype, np.complex64))
    joined.real, joined.imag = value["real"], value["imag"]
    return joined
