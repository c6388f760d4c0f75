"""A function of convx.matlab called by its name, with the values that MATLAB would pass."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import numpy as np
from scipy.sparse import issparse

from .. import matlab

FUNCTIONS = frozenset(name for name in matlab.__all__ if inspect.isfunction(getattr(matlab, name)))
"""What may be called from outside."""

CLASSES = ("double", "single", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
           "logical", "char")
_DTYPES = {"double": "f8", "single": "f4", "logical": "?"}
_COMPLEX = {"double": "c16", "single": "c8"}


class CallError(Exception):
    """A call that failed: the text, and the identifier that MATLAB is told."""

    def __init__(self, message: str, identifier: str):
        super().__init__(message)
        self.identifier = identifier


def dtype_of(name: str, is_complex: bool = False) -> np.dtype:
    """The dtype of a numeric or logical class of MATLAB."""
    return np.dtype(_COMPLEX[name] if is_complex else _DTYPES.get(name, name))


def class_of(array) -> str:
    """MATLAB's name for the class of an array of NumPy, or "sparse"; dtypes that MATLAB lacks keep NumPy's name."""
    if issparse(array):
        return "sparse"
    for name, dtype in (*_DTYPES.items(), *_COMPLEX.items()):
        if array.dtype == np.dtype(dtype):
            return name
    return "char" if array.dtype.kind == "U" else array.dtype.name


def matrix(value):
    """A value as MATLAB has it: two axes or more, no trailing ones beyond; 1-D is a row, text a row of characters."""
    if issparse(value):
        return value
    if isinstance(value, str):
        return np.array([list(value)], "U1").reshape(1, len(value))
    value = np.asarray(value)
    value = value.reshape(1, -1) if value.ndim < 2 else value
    while value.ndim > 2 and value.shape[-1] == 1:
        value = value[..., 0]
    return value


def argument(value):
    """A matrix as convx.matlab takes it: text as a string, 1x1 as a scalar of its class."""
    if issparse(value):
        return value
    if value.dtype.kind == "U" and value.ndim == 2 and (value.shape[0] == 1 or value.size == 0):
        return "".join(value.ravel())
    return value[0, 0] if value.shape == (1, 1) else value


def call(name: str, arguments: Sequence, outputs: int = 1) -> list:
    """`[out1, ...] = name(arguments...)`; arguments and results are matrices.

    Raises
    ------
    CallError
        For an unknown name, more results than there are, and whatever the function refuses.
    """
    if name not in FUNCTIONS:
        raise CallError(f"convx.matlab has no function {name!r}", "convx:bridge:unknownFunction")
    try:
        function = getattr(matlab, name)
        count = {"nargout": outputs} if "nargout" in inspect.signature(function).parameters else {}
        results = function(*map(argument, arguments), **count)
    except matlab.MatlabError as error:
        raise CallError(str(error), error.identifier) from error
    except Exception as error:  # whatever it is, the other side has to hear of it and go on
        raise CallError(f"{type(error).__name__}: {error}", f"convx:python:{type(error).__name__}") from error
    results = results if isinstance(results, tuple) else (results,)
    if outputs > len(results):
        raise CallError(f"{name} has {len(results)} results, not {outputs}", "convx:bridge:tooManyOutputs")
    # Behind the first result stand lags, indices and sizes: integers here, doubles as all numbers in MATLAB.
    return [matrix(np.asarray(result, float) if at and class_of(np.asarray(result)) == "int64" else result)
            for at, result in enumerate(results[:outputs])]
