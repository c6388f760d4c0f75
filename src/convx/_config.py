"""What this installation is (beside floor 1)."""

from __future__ import annotations

import platform
from typing import Any, Literal

from . import _kernels, _threads
from ._version import version


def show_config(mode: Literal["stdout", "dict"] = "stdout") -> Any:
    """Print the version, the kernel row, OpenMP and the thread count, or return them.

    Parameters
    ----------
    mode : str, optional
        "stdout" (default) prints; "dict" returns a dictionary.

    Examples
    --------
    >>> import convx
    >>> sorted(convx.show_config("dict"))[:2]
    ['cpu rows', 'kernel row']
    """
    if mode not in ("stdout", "dict"):
        raise ValueError(f"mode={mode!r} is neither stdout nor dict")
    import numpy
    import scipy
    from threadpoolctl import threadpool_info

    date = _kernels.cpu.openmp()
    _kernels.load("direct", "f32")  # with it comes the OpenMP runtime, which is named below
    runtimes = [f"{pool.get('prefix')} ({pool['num_threads']} threads)" for pool in threadpool_info()
                if pool["user_api"] == "openmp"]
    facts = {
        "version": version,
        "kernel row": _kernels.row,
        "cpu rows": ", ".join(_kernels.available()),
        "openmp": f"{date}, {', '.join(runtimes) or 'runtime unknown'}" if date else "not in this build (serial)",
        "threads": _threads.get_num_threads(),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "platform": platform.platform(),
    }
    if mode == "dict":
        return facts
    for name, value in facts.items():
        print(f"{name:<11} {value}")
    return None
