"""padarray, im2col, col2im: what lies around an image, and its blocks as columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._values import BOUNDARIES, MatlabError, in_class, is_text, numeric, refusals, returned, sized, stripped, word

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import ArrayLike

    from .._typing import Array

DIRECTIONS = ("both", "pre", "post")
KINDS = ("distinct", "sliding")


def _counts(argument, name: str, function: str, least: int) -> tuple[int, ...]:
    """A vector of whole numbers."""
    numbers = numeric(argument, name, f"MATLAB:{function}:invalidType").ravel()
    if numbers.dtype.kind == "c" or not np.isfinite(numbers).all() or (numbers != np.floor(numbers)).any():
        raise MatlabError(f"{name} must hold whole numbers, not {numbers.tolist()}.",
                          f"MATLAB:{function}:expectedInteger")
    if (numbers < least).any():
        raise MatlabError(f"{name} must hold numbers of at least {least}, not {numbers.tolist()}.",
                          f"MATLAB:{function}:expected{'Positive' if least else 'Nonnegative'}")
    return tuple(int(n) for n in numbers)


def _pair(argument, name: str, function: str, least: int = 1) -> tuple[int, int]:
    sides = _counts(argument, name, function, least)
    if len(sides) != 2:
        raise MatlabError(f"{name} must have 2 elements, not {len(sides)}.", f"MATLAB:{function}:incorrectNumel")
    return sides


def padarray(A: ArrayLike, padsize: ArrayLike, *options: Any) -> Array:
    """An array with a rim: MATLAB's padarray.

    ``padarray(A, padsize)``, ``padarray(A, padsize, padval)``, ``padarray(A, padsize, padval, direction)``,
    ``padarray(A, padsize, direction)``.

    Along an axis of n cells the cell i in front of, in or behind it (0-based, from -p to n-1+p) reads

        "replicate"    min(max(i, 0), n-1)
        "circular"     i mod n
        "symmetric"    r = i mod 2n, and from n on 2n-1-r

    whatever p is; axes one after the other, so corners combine.

    Parameters
    ----------
    A : array_like
        Of any rank; a 1-D array is a row, and so are the characters of a text.
    padsize : array_like of int
        Cells of the rim along each axis, 0 where it says nothing. More entries than A has axes give it new ones.
    padval : scalar or str, optional
        The constant (default 0), in the class of A: 300 becomes 255 in uint8. Or one of the words above.
    direction : str, optional
        "both" (default), "pre" (in front) or "post" (behind). Words in any case, unique beginnings will do.

    Returns
    -------
    B : ndarray
        Of the class of A, in Fortran order where A is.

    Raises
    ------
    MatlabError
        ``MATLAB:padarray:expectedNonnegative``, ``MATLAB:padarray:expectedInteger`` for padsize,
        ``images:padarray:badTypeForConstantPadding`` for a constant around what is not numeric or logical,
        ``MATLAB:padarray:unrecognizedStringChoice`` for a word.

    Notes
    -----
    MATLAB's page: images/ref/padarray.

    SciPy has no such function. ``numpy.pad`` calls the rules edge, wrap and symmetric, wants both ends of every axis,
    and converts constants without saturation. MATLAB has no rule that leaves the edge out (NumPy's reflect).

    Examples
    --------
    >>> from convx.matlab import padarray
    >>> padarray([[1, 2], [3, 4]], [3, 2], "replicate", "post")
    array([[1, 2, 2, 2],
           [3, 4, 4, 4],
           [3, 4, 4, 4],
           [3, 4, 4, 4],
           [3, 4, 4, 4]])
    >>> padarray([1, 2, 3], [0, 5], "symmetric")
    array([2, 3, 3, 2, 1, 1, 2, 3, 3, 2, 1, 1, 2])
    """
    with refusals("MATLAB:padarray:invalidType"):  # a list of unequal rows
        A = np.array(list(A), "U1") if is_text(A) else np.asarray(A)
    image, flat = stripped(A), A.ndim < 2
    amounts = _counts(padsize, "PADSIZE", "padarray", 0)
    padval, direction, rest = 0, "both", list(options)

    def choice(option):
        return word(option, (*BOUNDARIES, *DIRECTIONS), abbreviated=True,
                    identifier="MATLAB:padarray:unrecognizedStringChoice",
                    message=f"{option!r} is none of {', '.join((*BOUNDARIES, *DIRECTIONS))}.")

    if rest and not (is_text(rest[0]) and choice(rest[0]) in DIRECTIONS):
        padval = rest.pop(0)
    if rest:
        direction = choice(rest.pop(0))
        if direction not in DIRECTIONS:
            raise MatlabError(f"{direction!r} is no direction; these are {', '.join(DIRECTIONS)}.",
                              "MATLAB:padarray:unrecognizedStringChoice")
    if rest:
        raise MatlabError("Too many input arguments.", "MATLAB:narginchk:tooManyInputs")
    rank = max(image.ndim, len(amounts))
    image = image.reshape(image.shape + (1,) * (rank - image.ndim))
    amounts += (0,) * (rank - len(amounts))
    sized([m + n * (1 + (direction == "both")) for m, n in zip(image.shape, amounts, strict=True)], image.dtype)
    widths = [(n * (direction != "post"), n * (direction != "pre")) for n in amounts]
    if is_text(padval):
        rule = BOUNDARIES[choice(padval)]
        for axis, (n, amount) in enumerate(zip(image.shape, amounts, strict=True)):
            if amount and not n:
                raise MatlabError(f"Axis {axis + 1} of A is empty: there is nothing to repeat.", "MATLAB:badsubscript")
        return returned(np.pad(image, widths, mode=rule), flat)
    if image.dtype.kind not in "biufc":
        raise MatlabError(f"A of class {image.dtype} cannot be padded with a constant.",
                          "images:padarray:badTypeForConstantPadding")
    constant = in_class(padval, image.dtype, "MATLAB:padarray:invalidType")
    if np.iscomplexobj(constant):
        image = image.astype(constant.dtype, copy=False)
    return returned(np.pad(image, widths, constant_values=constant), flat)


def _matrix(argument, name: str, function: str) -> np.ndarray:
    array = stripped(numeric(argument, name, f"MATLAB:{function}:invalidType"))
    if array.ndim > 2:
        raise MatlabError(f"{name} must be a matrix, not {'x'.join(map(str, array.shape))}.",
                          f"MATLAB:{function}:expected2D")
    return array


def _kind(argument, function: str) -> str:
    return word(argument, KINDS, abbreviated=True, identifier=f"MATLAB:{function}:unrecognizedStringChoice",
                message=f"{argument!r} is none of {', '.join(KINDS)}.")


def _merged(view: np.ndarray) -> np.ndarray:
    """A new array of an m x n x p x q view, (m n) x (p q), all column-major."""
    m, n, p, q = view.shape
    y = np.empty(view.shape, view.dtype, order="F")
    y[...] = view
    return y.reshape((m * n, p * q), order="F")


def im2col(A: ArrayLike, *arguments: Any) -> Array:
    """The blocks of an image as columns: MATLAB's im2col.

    ``im2col(A, [m, n])``, ``im2col(A, [m, n], kind)``, ``im2col(A, "indexed", ...)``.

    Blocks are read down their columns, as ``A(:)`` is, and follow each other down the columns of A:

        "sliding"     B[i + j m, r + c (M-m+1)] = A[r + i, c + j]
        "distinct"    B[i + j m, r + c ceil(M/m)] = A[r m + i, c n + j]

    Parameters
    ----------
    A : array_like
        M x N.
    block : array_like of int
        [m, n].
    kind : str, optional
        "sliding" (default): all blocks; "distinct": those that tile A, which is padded at the bottom and right with 0,
        or for "indexed" and a floating A with 1. In any case, beginnings will do.

    Returns
    -------
    B : ndarray
        mn x (M-m+1)(N-n+1) (mn x 0 if the block is larger than A in a direction), or mn x ceil(M/m) ceil(N/n). Of the
        class of A, always in Fortran order: a block lies in one piece.

    Raises
    ------
    MatlabError
        ``images:im2col:tooFewInputs`` without a block, ``MATLAB:im2col:unrecognizedStringChoice`` for an unknown kind,
        ``MATLAB:im2col:expected2D``.

    Notes
    -----
    MATLAB's page: images/ref/im2col.

    Blocks are not turned around: ``conv2(A, k, "valid")`` is ``rot90(k, 2).ravel("F") @ im2col(A, k.shape)``.
    SciPy has no such function; ``numpy.lib.stride_tricks.sliding_window_view`` has the blocks in row-major order, as a
    view.

    Examples
    --------
    >>> import numpy as np
    >>> from convx.matlab import im2col
    >>> A = np.array([[1, 2, 3], [4, 5, 6]])
    >>> im2col(A, [2, 2])
    array([[1, 2],
           [4, 5],
           [2, 3],
           [5, 6]])
    >>> im2col(A, [1, 2], "distinct")
    array([[1, 4, 3, 6],
           [2, 5, 0, 0]])
    """
    image = _matrix(A, "A", "im2col")
    indexed = bool(arguments) and is_text(arguments[0])
    if indexed:
        word(arguments[0], ("indexed",), abbreviated=True, identifier="MATLAB:im2col:unrecognizedStringChoice",
             message=f"{arguments[0]!r} is not 'indexed'.")
        arguments = arguments[1:]
    if not arguments:
        raise MatlabError("IM2COL needs the size of the blocks.", "images:im2col:tooFewInputs")
    if len(arguments) > 2:
        raise MatlabError("Too many input arguments.", "MATLAB:narginchk:tooManyInputs")
    m, n = _pair(arguments[0], "[M N]", "im2col")
    kind = _kind(arguments[1], "im2col") if len(arguments) == 2 else "sliding"
    rows, columns = image.shape
    sized((m * n, 1 if kind == "sliding" else -(-rows // m) * -(-columns // n)), image.dtype)
    if kind == "sliding":
        if m > rows or n > columns:
            return np.zeros((m * n, 0), image.dtype, order="F")
        return _merged(np.lib.stride_tricks.sliding_window_view(image, (m, n)).transpose(2, 3, 0, 1))
    fill = 1 if indexed and image.dtype.kind == "f" else 0
    image = np.pad(image, ((0, -rows % m), (0, -columns % n)), constant_values=fill)
    tiles = image.reshape(image.shape[0] // m, m, image.shape[1] // n, n)
    return _merged(tiles.transpose(1, 3, 0, 2))


def col2im(B: ArrayLike, block: ArrayLike, size: ArrayLike, kind: str = "sliding") -> Array:
    """Columns back into an image: MATLAB's col2im.

    "sliding" arranges one number per block, as an operation on the columns of `im2col` gives them; it does not add
    overlapping blocks. "distinct" puts the columns back as the blocks they were, and cuts the padding off.

    Parameters
    ----------
    B : array_like
        "sliding": (M-m+1)(N-n+1) numbers; "distinct": mn x ceil(M/m) ceil(N/n).
    block, size : array_like of int
        [m, n] and [M, N].
    kind : str, optional
        "sliding" (default) or "distinct".

    Returns
    -------
    A : ndarray
        (M-m+1) x (N-n+1), or M x N. Of the class of B, columns in one piece.

    Raises
    ------
    MatlabError
        ``images:col2im:wrongSizeOfB`` where B does not have the number of elements, and as in `im2col`.

    Notes
    -----
    MATLAB's page: images/ref/col2im.

    SciPy has no such function. The sum of overlapping blocks, which other libraries call col2im, is
    `convx.conv_grad_input`.

    Examples
    --------
    >>> import numpy as np
    >>> from convx.matlab import col2im, im2col
    >>> A = np.linspace(0, 1, 16).reshape(4, 4)
    >>> col2im(im2col(A, [2, 2]).mean(axis=0), [1, 1], [3, 3]).round(4)
    array([[0.1667, 0.2333, 0.3   ],
           [0.4333, 0.5   , 0.5667],
           [0.7   , 0.7667, 0.8333]])
    """
    columns = _matrix(B, "B", "col2im")
    m, n = _pair(block, "[M N]", "col2im")
    rows, width = _pair(size, "[MM NN]", "col2im", least=0)
    if _kind(kind, "col2im") == "sliding":
        shape = max(rows - m + 1, 0), max(width - n + 1, 0)
        wanted = 1, shape[0] * shape[1]
        if columns.size != wanted[1]:
            raise MatlabError(f"B has {columns.size} elements, the sliding blocks are {shape[0]}x{shape[1]}.",
                              "images:col2im:wrongSizeOfB")
        return columns.reshape(shape, order="F").copy(order="F")
    down, across = -(-rows // m), -(-width // n)
    if columns.shape != (m * n, down * across):
        raise MatlabError(f"B is {columns.shape[0]}x{columns.shape[1]}, {down * across} blocks of {m}x{n} need "
                          f"{m * n}x{down * across}.", "images:col2im:wrongSizeOfB")
    return _merged(columns.reshape((m, n, down, across), order="F").transpose(0, 2, 1, 3))[:rows, :width]
