"""Networks and weights from files and to files (floor 7)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import _onnx

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike
    from typing import Any

    from numpy.typing import ArrayLike

    from ._layer import Layer

SUFFIXES = (".onnx", ".npz", ".safetensors")


def load(path: str | PathLike[str]) -> Any:
    """Read a network (.onnx) or weights (.npz, .safetensors).

    Parameters
    ----------
    path : str or path-like
        The suffix tells the format. ONNX needs the package onnx (``pip install "convx-nd[onnx]"``), safetensors the
        package of that name (``pip install "convx-nd[weights]"``).

    Returns
    -------
    network : Graph
        For ONNX: call it with the input, or with a mapping of inputs by name.
    weights : dict of ndarray
        For the other two, as `Layer.assign` takes them.

    Raises
    ------
    FileNotFoundError
    ValueError
        The file is damaged, cut off, or of another format. Nothing that a file holds is executed or unpickled.
    NotImplementedError
        An ONNX file has operators, or options of them, that are not known here; the message names them and their
        nodes. This is found here, before any input is given.
    ImportError
        The package for the format is missing.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from convx import nn
    >>> path = os.path.join(tempfile.mkdtemp(), "weights.npz")
    >>> nn.save(path, {"w": np.arange(3.0)})
    >>> nn.load(path)
    {'w': array([0., 1., 2.])}
    """
    path = Path(path)
    suffix = _suffix(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is a folder" if path.is_dir() else f"there is no file {path}")
    if suffix == ".onnx":
        return _onnx.read(path)
    return _npz(path) if suffix == ".npz" else _safetensors(path)


def save(path: str | PathLike[str], weights: Layer | Mapping[str, ArrayLike]) -> None:
    """Write weights, as .npz or .safetensors; an old file is replaced at the end only.

    Parameters
    ----------
    path : str or path-like
        The suffix tells the format.
    weights : Layer, or mapping of str to array_like
        A layer gives its `named` arrays.

    Raises
    ------
    ValueError, TypeError
        The suffix is another, a name cannot be written, or an array holds objects.
    FileNotFoundError
        There is no such folder.
    ImportError
        The package for the format is missing.

    Examples
    --------
    See `load`.
    """
    path = Path(path)
    suffix = _suffix(path)
    if suffix == ".onnx":
        raise ValueError(f"{path}: weights are saved as .npz or .safetensors")
    named = weights.named() if hasattr(weights, "named") else weights
    if not hasattr(named, "items"):
        raise TypeError(f"weights must be a layer or arrays by name, not {type(weights).__name__}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent}")
    arrays = {name: np.asarray(array) for name, array in named.items()}
    for name, array in arrays.items():
        if not isinstance(name, str) or name in ("file", "allow_pickle"):
            raise ValueError(f"{name!r} is no name for an array in a file")
        if array.dtype.kind not in "biufc":
            raise TypeError(f"{name} has dtype {array.dtype}: only numbers are saved")
    write = _write_npz if suffix == ".npz" else _write_safetensors
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            write(file, arrays)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path.name}: the suffix tells the format and is none of {', '.join(SUFFIXES)}")
    return suffix


def _npz(path: Path) -> dict:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except MemoryError:
        raise
    except Exception as error:  # what zipfile, zlib and NumPy say of broken archives has no common type
        raise ValueError(f"{path} cannot be read as an .npz file of arrays: {_first(error)}") from error


def _write_npz(file, arrays) -> None:
    np.savez(file, **arrays)


def _package():
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError('.safetensors needs the package safetensors: pip install "convx-nd[weights]"') from error
    return safetensors.numpy


def _safetensors(path: Path) -> dict:
    package = _package()
    try:
        return package.load_file(path)
    except MemoryError:
        raise
    except Exception as error:  # SafetensorError, and KeyError or TypeError for dtypes that NumPy lacks
        raise ValueError(f"{path} cannot be read as a .safetensors file of arrays: {_first(error)}") from error


def _write_safetensors(file, arrays) -> None:
    package = _package()
    try:
        data = package.save({name: np.asarray(array, order="C") for name, array in arrays.items()})
    except (KeyError, package.SafetensorError) as error:
        raise TypeError(f"safetensors cannot hold one of the dtypes: {_first(error)}") from error
    file.write(data)


def _first(error: Exception) -> str:
    """The first line of what an exception says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
