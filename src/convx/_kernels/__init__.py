"""Compiled loops (floor 0). They know numbers and pointers only; every kernel is built once per row and dtype.

A row is an instruction set: base, v3, v4 on x86-64 (see meson.build). `load` imports the best row that this CPU has;
CONVX_ISA names a lower one. A row that the CPU lacks is never imported: its start-up code would not run.
"""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module

from . import cpu
from ._rows import ROWS


def available() -> tuple[str, ...]:
    """The rows that were built and that this CPU can run, lowest first."""
    return tuple(row for row in ROWS if row in cpu.supported())


def _chosen() -> str:
    rows = available()
    wanted = os.environ.get("CONVX_ISA", "")
    if not wanted:
        return rows[-1]
    if wanted not in rows:
        raise ImportError(f"CONVX_ISA={wanted}: this build and CPU offer {', '.join(rows)}")
    return wanted


row = _chosen()


@cache
def load(kernel: str, kind: str):
    """The compiled module of a kernel (the name of its source) for a kind (f32, f64, i64)."""
    return import_module(f"{__name__}.{kernel}_{kind}_{row}")
