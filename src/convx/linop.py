"""Convolutions as linear operators and as sparse matrices of SciPy (floor 7, imported only when asked for).

The operators run through `convx.plan`; their adjoints are the input gradients. What has no public name is taken from
the problem of a plan: its geometry (the entries of a matrix) and, for plain arrays, its role swap (their adjoint).
"""

from __future__ import annotations

import sys
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator

from . import _threads, plan, x_axes
from ._accept import array_of
from ._arguments import numeric, result_dtype, shape_of
from ._geometry import Axis, Geometry
from ._plan import Plan
from ._problem import Problem

if TYPE_CHECKING:
    from typing import SupportsIndex

    from numpy.typing import ArrayLike, DTypeLike

    from ._typing import Shape

LAYERS = tuple(name + rank for name in ("conv", "conv_transpose") for rank in ("", "1d", "2d", "3d"))
SIGNALS = ("convolve", "correlate")
OPERATORS = (*LAYERS, "locally_connected", *SIGNALS)
KEPT = 8  # bound plans that an operator keeps: both directions of a few dtypes and batches


class _Like:
    """A shape and a dtype in the place of an array."""

    def __init__(self, shape, dtype):
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)


def _checked(w, x_shape, operator, dtype, options):
    """(weights of the caller's own, shape) of a linear map that exists."""
    if operator not in OPERATORS:
        raise ValueError(f"operator={operator!r} is none of {', '.join(OPERATORS)}")
    for name in ("bias", "out", "overflow", "sums", "divisor", "offset"):
        if name in options:
            raise TypeError(f"{name}= does not belong to a linear operator")
    w = array_of(w, "w")
    numeric(w.dtype, "w")
    if dtype is not None:
        dtype = numeric(dtype, "dtype=")
        if not np.can_cast(w.dtype, dtype, "same_kind"):
            raise TypeError(f"dtype={dtype} cannot hold weights of {w.dtype}")
    w = np.array(w, dtype=dtype)
    x_shape = shape_of(x_shape, "x_shape")
    problem = plan(operator, _Like(x_shape, w.dtype), w, **options).problem
    if problem.cval and problem.geometry.is_padded():
        raise ValueError(f"cval={problem.cval}: padding with a constant other than 0 is affine, not linear")
    return w, x_shape, problem.y_shape


def _exchanged(axis: Axis) -> Axis:
    """The axis with input and taps exchanged, for coefficients of 1 and -1."""
    sign = axis.dilation
    return Axis(axis.taps, axis.size, axis.out, 1, -axis.stride * sign, axis.base * sign, -axis.offset * sign)


def _signal(problem: Problem) -> Problem:
    """The problem of plain arrays with a in the place of x and every axis of it an axis of windows.

    Where a has size 1 and v has not, the axis is the full convolution of a single sample: its swap is a sum.
    """
    a_shape, v_shape = (problem.x_shape, problem.w_shape)[::-1 if problem.swap else 1]
    axes, w_map, w_out_map = [], [], []
    for i, axis in enumerate(problem.geometry.axes):
        shared = v_shape[i]
        if problem.w_map[3 + i][0] is not None:  # a convolved axis
            axes.append(_exchanged(axis) if problem.swap else axis)
        elif a_shape[i] == 1:
            axes.append(Axis(1, shared, shared, dilation=-1))
        else:
            axes.append(axis)
            w_map.append((None, 1))
            w_out_map.append((i if shared > 1 else None, 1))
            continue
        w_map.append((i, 1))
        w_out_map.append((None, 1))
    none = ((None, 1),) * 3
    dtypes = (problem.x_dtype, problem.w_dtype)[::-1 if problem.swap else 1]
    return replace(
        problem, geometry=Geometry(1, 1, 1, 1, tuple(axes)), swap=False, cval=0,
        x_map=none + tuple((i, 1) for i in range(len(axes))), w_map=none + tuple(w_map),
        w_out_map=tuple(w_out_map) if any(at is not None for at, _ in w_out_map) else (),
        x_shape=a_shape, w_shape=v_shape, x_dtype=dtypes[0], w_dtype=dtypes[1],
        conjugate="w" if problem.conjugate else "")


def _general(operator: str) -> str:
    """The name without a rank."""
    return operator[:-2] if operator.endswith("d") and operator in LAYERS else operator


def _adjoint(operator, x_shape, y_shape, y_dtype, w, options) -> Plan:
    """The plan of y -> the conjugate transpose of the operator applied to y."""
    if operator not in SIGNALS:
        return plan(f"{_general(operator)}_grad_input", _Like(y_shape, y_dtype), w, x_shape=x_shape, **options)
    forward = _signal(plan(operator, _Like(x_shape, y_dtype), w, **options).problem)
    return Plan(replace(forward.swap_xy(), names=("y", "v"), conjugate="" if forward.conjugate else "w"))


class ConvolutionOperator(LinearOperator):
    """What `as_linear_operator` returns: a LinearOperator that knows the shapes of its arrays."""

    def __init__(self, w, x_shape, operator, dtype, workers, options):
        self.w, self.x_shape, self.y_shape = _checked(w, x_shape, operator, dtype, options)
        self.operator, self.options, self.workers = operator, options, workers
        _threads.team(workers)  # raises what is wrong
        self._bound = {}
        super().__init__(result_dtype(self.w.dtype, self.w.dtype, None, None), (prod(self.y_shape), prod(self.x_shape)))

    def _plan(self, forward: bool, shapes, dtype):
        """The bound plan of one direction."""
        key = forward, shapes, dtype
        bound = self._bound.get(key)
        if bound is None:
            x_shape, y_shape = shapes
            w, options = self.w, self.options
            if self.operator in SIGNALS and len(x_shape) > w.ndim:  # a batch: one more axis, not convolved
                axes = options.get("axes")
                axes = range(w.ndim) if axes is None else np.atleast_1d(axes) % w.ndim
                w, options = w[None], options | {"axes": tuple(int(a) + 1 for a in axes)}
            if forward:
                made = plan(self.operator, _Like(x_shape, dtype), w, **options)
            else:
                made = _adjoint(self.operator, x_shape, y_shape, dtype, w, options)
            if len(self._bound) >= KEPT:
                self._bound.clear()
            bound = self._bound[key] = made.bind(w)
        return bound

    def _apply(self, forward: bool, vector):
        shape = self.x_shape if forward else self.y_shape
        array = np.ascontiguousarray(array_of(vector, "the vector")).reshape(shape)
        return self._plan(forward, (self.x_shape, self.y_shape), array.dtype)(array, workers=self.workers).reshape(-1)

    def _batch(self) -> tuple[int, bool]:
        """Where the arrays have, or would have, their batch axis, and whether they have it."""
        if self.operator in SIGNALS:
            return 0, False
        rank = (self.w.ndim - 2) // (2 if self.operator == "locally_connected" else 1)
        return x_axes(self.options.get("layout"), rank)[0], len(self.x_shape) == rank + 2

    def _apply_to_columns(self, forward: bool, columns):
        """One call: the columns make the batch larger."""
        columns = array_of(columns, "the matrix")
        at, batched = self._batch()
        count = columns.shape[1]
        alone = [s if batched else (*s[:at], 1, *s[at:]) for s in (self.x_shape, self.y_shape)]
        many = tuple((*s[:at], s[at] * count, *s[at + 1:]) for s in alone)
        shape, result = alone if forward else alone[::-1]
        array = np.moveaxis(columns.reshape(*shape, count), -1, at + 1).reshape(many[0 if forward else 1])
        array = np.ascontiguousarray(array)  # kernels want the innermost axis innermost in memory
        y = self._plan(forward, many, array.dtype)(array, workers=self.workers)
        y = y.reshape(*result[:at + 1], count, *result[at + 1:])
        return np.moveaxis(y, at + 1, -1).reshape(prod(result), count)

    def _matvec(self, x):
        return self._apply(True, x)

    def _rmatvec(self, y):
        return self._apply(False, y)

    def _matmat(self, x):
        return self._apply_to_columns(True, x)

    def _rmatmat(self, y):
        return self._apply_to_columns(False, y)


def as_linear_operator(w: ArrayLike, x_shape: Shape, *, operator: str = "conv", dtype: DTypeLike | None = None,
                       workers: SupportsIndex | None = None, **options: Any) -> ConvolutionOperator:
    """A convolution as a linear operator: no matrix is formed, every product is a convolution.

    A @ x.ravel() = operator(x, w, **options).ravel(),     A.H @ y.ravel() = the input gradient of y

    Parameters
    ----------
    w : array_like
        The weights (of `convolve` and `correlate`: v). They are copied.
    x_shape : tuple of int
        Shape of the array that the operator takes, batched or not.
    operator : str, optional
        "conv" (default), "conv_transpose", both also with 1d, 2d, 3d, "locally_connected", "convolve" or "correlate".
    dtype : dtype, optional
        The weights are converted to it first: to another precision, or from integers to floats to complex. Default:
        they stay as they are.
    workers : int, optional
        Threads of every product; default `get_num_threads()`.
    **options
        The keywords of that function: stride, padding, layout, mode, axes, ... but bias, out, overflow, sums, divisor
        and offset.

    Returns
    -------
    A : scipy.sparse.linalg.LinearOperator
        Of shape (size of y, size of x), between vectors in C order, with `matvec`, `rmatvec`, `matmat`, `rmatmat`,
        `A.H`, `A.T` and SciPy's arithmetic. ``A.x_shape`` and ``A.y_shape`` are the shapes of the arrays. The adjoint
        conjugates: ``vdot(y, A @ x) == vdot(A.H @ y, x)``. Columns of a matrix are one batch, not a loop.

    Raises
    ------
    ValueError, TypeError
        As the function itself; and for a constant boundary with a cval other than 0, which is not linear.

    Notes
    -----
    Products have NumPy's promotion of the dtypes of w and of the vector, as the function has; ``A.dtype`` is what
    vectors of w's own dtype give. Integers stay exact. Weights are packed once for each dtype and number of columns.

    Examples
    --------
    >>> import numpy as np
    >>> from convx.linop import as_linear_operator
    >>> A = as_linear_operator([[[1.0, 2.0, 1.0]]], (1, 5), padding="same", boundary="reflect")
    >>> A.shape, A.y_shape
    ((5, 5), (1, 5))
    >>> A @ np.array([1.0, 0.0, 0.0, 0.0, 0.0])
    array([2., 1., 0., 0., 0.])
    >>> A.H @ np.array([1.0, 0.0, 0.0, 0.0, 0.0])
    array([2., 2., 0., 0., 0.])
    >>> as_linear_operator([1.0, 1.0], (3,), operator="convolve") @ np.array([1.0, 2.0, 3.0])
    array([1., 3., 5., 3.])
    """
    return ConvolutionOperator(w, x_shape, operator, dtype, workers, options)


def _triples(axis: Axis):
    """(o, k, i): everything that meets on this axis, sorted by o; what lies outside goes where the boundary says."""
    o, k = np.repeat(np.arange(axis.out), axis.taps), np.tile(np.arange(axis.taps), axis.out)
    i, rest = np.divmod(axis.stride * o + axis.dilation * k - axis.offset, axis.base)
    places, at = np.unique(i, return_inverse=True)
    i = np.array([axis.locate(place) for place in places.tolist()], np.int64)[at]
    met = (rest == 0) & (i >= 0)
    return o[met], k[met], i[met]


def _entries(problem: Problem, w):
    """(row, column, value) of every product of a problem without rims: y's index, x's index, the weight."""
    geometry = problem.geometry
    if geometry.products * (16 + w.itemsize) > sys.maxsize:
        raise ValueError(f"the matrix would have {geometry.products} entries: more bytes than an address can name")
    loops = [np.arange(n) for n in (geometry.n, geometry.g, geometry.m, geometry.c)]
    met = [_triples(axis) for axis in geometry.axes]
    shape = [len(loop) for loop in loops] + [len(o) for o, _, _ in met]
    index = sparse.get_index_dtype(maxval=max(prod(shape), prod(problem.y_shape), prod(problem.x_shape), w.size))

    def spread(places, array_shape, letters):
        """The flat index into an array, broadcast over the loops: letters are (dimension of `shape`, index)."""
        steps = [1]
        for n in array_shape[:0:-1]:
            steps.insert(0, steps[0] * n)
        total = np.zeros([1] * len(shape), index)
        for (at, times), (dimension, values) in zip(places, letters, strict=True):
            if at is not None:
                along = [-1 if d == dimension else 1 for d in range(len(shape))]
                total = total + (values * (steps[at] * times)).astype(index).reshape(along)
        return total

    (n, g, m, c), axes = enumerate(loops), range(4, len(shape))
    o, k, i = ([(d, triple[letter]) for d, triple in zip(axes, met, strict=True)] for letter in range(3))
    row = spread(problem.y_map, problem.y_shape, [n, g, m, *o])
    column = spread(problem.x_map, problem.x_shape, [n, g, c, *i])
    weight = spread(problem.w_map, problem.w_shape, [g, m, c, *k])
    if problem.w_out_map:
        weight = weight + spread(problem.w_out_map, problem.w_shape, o)
    value = w.reshape(-1)[weight]
    return tuple(np.broadcast_to(part, shape).reshape(-1) for part in (row, column, value))


def as_sparse(w: ArrayLike, x_shape: Shape, *, operator: str = "conv", format: str = "csr",
              dtype: DTypeLike | None = None, **options: Any) -> sparse.sparray:
    """A convolution as a sparse matrix: each weight stands in it once for every product that it is part of.

    M[index of y, index of x] = sum of w[k] over the taps k through which that x reaches that y

    Parameters
    ----------
    w, x_shape, operator, dtype
        As in `as_linear_operator`.
    format : str, optional
        SciPy's word for the format: "csr" (default), "csc", "coo", ...
    **options
        The keywords of the operator, without those that `as_linear_operator` leaves out.

    Returns
    -------
    M : scipy.sparse array
        Of shape (size of y, size of x): ``M @ x.ravel()`` is ``operator(x, w, **options).ravel()`` to rounding.

    Raises
    ------
    ValueError, TypeError
        As `as_linear_operator`; also where the entries could not be counted in bytes.
    MemoryError
        The entries do not fit the memory.

    Notes
    -----
    The structure follows the geometry, not the values: a weight of zero is an entry, padding is none, and taps that a
    boundary rule sends to the same x are added into one. A matrix has about (size of y) * (taps) * (input channels per
    group) entries of 12 to 24 bytes, and building it takes about three times that memory; `as_linear_operator` needs
    none of it. Integers and bool become int64 or uint64, float16 becomes float32.

    Examples
    --------
    >>> from convx.linop import as_sparse
    >>> as_sparse([[[1.0, 2.0, 3.0]]], (1, 4), padding="same").toarray()
    array([[2., 3., 0., 0.],
           [1., 2., 3., 0.],
           [0., 1., 2., 3.],
           [0., 0., 1., 2.]])
    >>> as_sparse([1, 2], (3,), operator="convolve", format="csc").toarray()
    array([[1, 0, 0],
           [2, 1, 0],
           [0, 2, 1],
           [0, 0, 2]])
    """
    w, x_shape, y_shape = _checked(w, x_shape, operator, dtype, options)
    transposed = operator.startswith("conv_transpose")
    if transposed:  # the matrix of the convolution, whose rows are its outputs: x here
        problem = _adjoint(operator, x_shape, y_shape, w.dtype, w, options).problem
    else:
        problem = plan(operator, _Like(x_shape, w.dtype), w, **options).problem
        problem = _signal(problem) if operator in SIGNALS else problem
        w = w.conj() if problem.conjugate else w
    wide = result_dtype(w.dtype, w.dtype, None, None)
    row, column, value = _entries(problem, w.astype(np.float32 if wide == np.float16 else wide, copy=False))
    shape = prod(problem.y_shape), prod(problem.x_shape)
    entries = sparse.coo_array((value, (row, column)), shape=shape)
    entries = entries.T if transposed else entries
    return (entries.tocsc() if format == "csc" else entries.tocsr()).asformat(format)  # these two sum duplicates
