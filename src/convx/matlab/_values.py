"""MATLAB's values from Python's and back: arrays, classes, words, errors (shared by all functions of the room).

MATLAB's arrays have at least two axes and no trailing axes of size 1 beyond them. A 1-D array is taken as a row, and a
row comes back 1-D when no argument had a second axis. Nothing is copied here but what changes its class.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from functools import lru_cache
from math import prod
from operator import index

import numpy as np

SHAPES = ("full", "same", "valid")
BOUNDARIES = {"symmetric": "symmetric", "replicate": "edge", "circular": "wrap"}  # MATLAB's words, and NumPy's


class MatlabError(ValueError):
    """What the MATLAB function throws: its text as the message, and its identifier.

    Attributes
    ----------
    identifier : str
        What `MException.identifier` is in MATLAB, as "MATLAB:conv:AorBNotVector".

    Examples
    --------
    >>> import convx.matlab
    >>> try:
    ...     convx.matlab.conv([[1, 2], [3, 4]], [1, 2])
    ... except convx.matlab.MatlabError as error:
    ...     print(error.identifier, "-", error)
    MATLAB:conv:AorBNotVector - A and B must be vectors.
    """

    def __init__(self, message: str = "", identifier: str = ""):
        super().__init__(message)
        self.identifier = identifier


def is_text(argument) -> bool:
    """MATLAB's char or string: what an option word is."""
    return isinstance(argument, str)


def _is_sparse(argument) -> bool:
    scipy_sparse = sys.modules.get("scipy.sparse")  # not imported: no argument is one of its arrays
    return scipy_sparse is not None and scipy_sparse.issparse(argument)


def _kind(argument) -> str:
    """What MATLAB would call an argument that is no full numeric array."""
    if _is_sparse(argument):
        return "sparse"
    if isinstance(argument, (str, bytes)) or getattr(argument, "dtype", np.dtype(float)).kind in "SU":
        return "char"
    return "struct" if isinstance(argument, dict) else "a cell array" if isinstance(argument, (list, tuple)) else (
        type(argument).__name__)


def numeric(argument, name: str, identifier: str) -> np.ndarray:
    """The argument as a full numeric or logical array of any rank."""
    if type(argument) is np.ndarray and argument.dtype.kind in "biufc":
        return argument
    try:
        array = None if _is_sparse(argument) else np.asarray(argument)
    except ValueError:  # a list of unequal rows
        array = None
    if array is None or array.dtype.kind not in "biufc":
        raise MatlabError(f"{name} must be a full numeric or logical array, not {_kind(argument)}.", identifier)
    if isinstance(argument, np.ndarray) and np.ma.is_masked(argument):
        raise MatlabError(f"{name} has masked elements, whose values would be used: fill them first.", identifier)
    return array


def stripped(array: np.ndarray) -> np.ndarray:
    """At least two axes, none of size 1 at the end beyond them: a view."""
    rank = array.ndim
    if rank < 2:
        return array.reshape(1, -1)
    while rank > 2 and array.shape[rank - 1] == 1:
        rank -= 1
    return array if rank == array.ndim else array.reshape(array.shape[:rank])


def of_one_rank(*arrays: np.ndarray) -> list[np.ndarray]:
    """The arrays with as many axes as the one that has most: views."""
    rank = max([array.ndim for array in arrays])
    return [a if a.ndim == rank else a.reshape(a.shape + (1,) * (rank - a.ndim)) for a in arrays]


def values(identifier: str, **arguments) -> tuple[list[np.ndarray], bool]:
    """The arguments as MATLAB's arrays, and whether a row among the results shall be 1-D: see `returned`."""
    arrays, flat = [], True
    for name, argument in arguments.items():
        array = numeric(argument, name, identifier)
        flat = flat and array.ndim < 2
        arrays.append(stripped(array))
    return arrays, flat


def returned(y: np.ndarray, flat: bool) -> np.ndarray:
    """A result as its caller expects it: 1-D if it is a row and no argument had a second axis."""
    y = stripped(y)
    return y[0] if flat and y.ndim == 2 and y.shape[0] == 1 else y


def is_vector(array: np.ndarray) -> bool:
    """1xN or Nx1, N may be 0; not 0x0."""
    return array.ndim == 2 and 1 in array.shape


@lru_cache
def _float_class(*dtypes) -> np.dtype:
    single = any(d.itemsize <= {"f": 4, "c": 8}.get(d.kind, 0) for d in dtypes)
    is_complex = any(d.kind == "c" for d in dtypes)
    return np.dtype({(False, False): "f8", (True, False): "f4", (False, True): "c16", (True, True): "c8"}[
        single, is_complex])


def float_class(*arrays: np.ndarray) -> np.dtype:
    """The class of a result that is single where an operand is and double otherwise, complex where one is.

    NumPy's half floats count as single, its long doubles as double: MATLAB has neither.
    """
    return _float_class(*(array.dtype for array in arrays))


def word(argument, choices, *, identifier: str, message: str, abbreviated: bool = False) -> str:
    """The choice that an option word names, in any case; with `abbreviated` also by a unique beginning."""
    if is_text(argument):
        low = argument.lower()
        if low in choices:
            return low
        found = [choice for choice in choices if low and choice.startswith(low)] if abbreviated else []
        if len(found) == 1:
            return found[0]
    raise MatlabError(message, identifier)


def whole(argument, name: str, *, identifier: str, least: int = 0) -> int:
    """A scalar that is a whole number, whatever its class: 3, 3.0 or a 1x1 array."""
    number = numeric(argument, name, identifier)
    value = number.item() if number.size == 1 else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        value = index(value)
    except TypeError:
        value = None
    if value is None or value < least:
        raise MatlabError(f"{name} must be a whole number of at least {least}.", identifier)
    return value


def saturated(array: np.ndarray, dtype, out=None, spare=None, inside=False) -> np.ndarray:
    """Real floats as an integer class: to the nearest, halves away from zero, ends for what lies beyond, nan is 0.

    What is added before the fraction is cut off is the number below one half: a half would make 1 of 0.5 - 2**-54, and
    this still makes it of 0.5, as the sum is rounded. out: where the result goes; spare: an array of the shape and
    class of `array`, or itself, that is overwritten; inside: nothing lies beyond and nothing is nan.
    """
    array, dtype = np.asarray(array), np.dtype(dtype)
    limits, real = np.iinfo(dtype), array.dtype.type
    half, low, high = np.nextafter(real(0.5), real(0)), real(limits.min), real(limits.max)
    if int(high) > limits.max:  # the end of a wide class is no float
        high = np.nextafter(high, real(0))
    if out is None:
        out = np.empty_like(array, dtype)
    if not array.size:
        return out
    t = np.add(array, np.copysign(half, array) if dtype.kind == "i" else half, out=spare)
    if inside or (low <= np.trunc(t.min()) and np.trunc(t.max()) <= high):  # neither holds with a nan
        np.copyto(out, t, casting="unsafe")
        return out
    absent = np.isnan(t)
    beyond = t > high if int(high) < limits.max else None
    np.clip(t, low, high, out=t)
    if absent.any():
        t[absent] = 0
    np.copyto(out, t, casting="unsafe")
    if beyond is not None:
        out[beyond] = limits.max
    return out


def sized(shape, dtype) -> None:
    """A shape that an array may have, before it is made."""
    if prod(shape) * np.dtype(dtype).itemsize > sys.maxsize:
        raise MatlabError(f"Requested {'x'.join(map(str, shape))} array exceeds the maximum possible variable size.",
                          "MATLAB:array:SizeLimitExceeded")


@contextmanager
def refusals(identifier: str):
    """What convx refuses inside is refused with its sentence."""
    try:
        yield
    except MatlabError:
        raise
    except (TypeError, ValueError) as error:
        raise MatlabError(str(error), identifier) from error


def outputs(nargout, most: int) -> None:
    """Refuse more outputs than a function has."""
    if not 0 <= index(nargout) <= most:
        raise MatlabError("Too many output arguments.", "MATLAB:TooManyOutputs")


def in_class(value, dtype, identifier: str):
    """A scalar as the class of an image stores it: saturated for integers, true or false for logical."""
    number = numeric(value, "A constant", identifier)
    if number.size != 1:
        raise MatlabError(f"A constant must be a scalar, not {number.size} numbers.", identifier)
    number, dtype = number.reshape(()), np.dtype(dtype)
    if number.dtype.kind == "c" and dtype.kind not in "fc":
        raise MatlabError(f"A complex constant does not fit a class of {dtype}.", identifier)
    if dtype.kind in "iu":
        if number.dtype.kind in "biu":
            limits = np.iinfo(dtype)
            return dtype.type(min(max(int(number), limits.min), limits.max))
        return saturated(number.reshape(1), dtype)[0]
    return number.astype(np.result_type(dtype, np.complex64) if number.dtype.kind == "c" else dtype)[()]


def name_values(arguments, named: dict, defaults: dict, identifier: str) -> dict:
    """Options given as pairs 'Name', value and as Name=value, the later ones winning; names in any case, unique
    beginnings will do. defaults: all names with the values of those that are left out."""
    arguments = tuple(arguments)
    if len(arguments) % 2:
        raise MatlabError(f"Options come in pairs of a name and a value; {arguments[-1]!r} is alone.", identifier)
    choices = {name.lower(): name for name in defaults}
    found = dict(defaults)
    for name, value in (*zip(arguments[::2], arguments[1::2], strict=True), *named.items()):
        low = word(name, tuple(choices), identifier=identifier, abbreviated=True,
                   message=f"{name!r} is none of the options {', '.join(defaults)}.")
        found[choices[low]] = value
    return found
