"""convolve and correlate for plain N-D arrays (floor 5): scipy.signal's results, and axes, boundaries, out, threads."""

from __future__ import annotations

from functools import lru_cache
from operator import index

import numpy as np

from . import _plan, _select, _threads
from ._arguments import boundaries, checked_shape, constant, numeric, result_dtype
from ._geometry import Axis, Geometry

MODES = ("full", "same", "valid")

_DOC = """{first}

    {formula}

    Parameters
    ----------
    a, v : array_like
        Arrays with the same number of axes.
    mode : str, optional
        "full" (default): every overlap, size I + K - 1 along a convolved axis. "same": the part with the size of
        a, centred. "valid": only whole overlaps, I - K + 1; if v is the larger one along every convolved axis the
        two change places, as in SciPy.
    axes : int or tuple of int, optional
        Convolve along these only. The other axes must agree or have size 1 in one of the two (broadcasting).
        Default: all.
    boundary : str or tuple of str, optional
        What a reads outside itself: "constant" (default), "edge", "reflect", "symmetric", "wrap", as numpy.pad;
        one for all convolved axes or one per axis.
    cval : scalar, optional
        The value of the constant boundary.
    alignment : str, optional
        Where mode="same" starts in the full result for K taps: "scipy" (default) at (K-1)//2, "matlab" at K//2.
        They differ for even K.
    dtype, overflow, out, algorithm, workers
        As in `conv`. Integers and bool are exact and widen to int64 or uint64, where SciPy wraps around.

    Returns
    -------
    y : ndarray

    Raises
    ------
    ValueError, TypeError
        Before anything is computed, with the numbers in the message.

    Examples
    --------
    >>> import convx
    >>> convx.{name}([1.0, 2.0, 3.0], [0.0, 1.0, 0.5])
    array({result})
    >>> convx.{name}([1.0, 2.0, 3.0], [1.0, 1.0], mode="same", boundary="wrap")
    array({wrapped})
    """


def _convolved(axes, ndim: int) -> tuple[int, ...]:
    if axes is None:
        return tuple(range(ndim))
    numbers = tuple(index(a) for a in axes) if hasattr(axes, "__iter__") else (index(axes),)
    for a in numbers:
        if not -ndim <= a < ndim:
            raise ValueError(f"axes={axes}: the arrays have {ndim} axes")
    places = tuple(a % ndim for a in numbers)
    if len(set(places)) != len(places):
        raise ValueError(f"axes={axes} names an axis twice")
    return places


def _must_swap(mode, a_shape, v_shape, axes) -> bool:
    """For 'valid', whether v is the larger array; neither being so is an error."""
    if mode != "valid":
        return False
    if all(a_shape[i] >= v_shape[i] for i in axes):
        return False
    if all(v_shape[i] >= a_shape[i] for i in axes):
        return True
    raise ValueError(f"mode='valid' needs one array to be at least as large as the other along every convolved "
                     f"axis; a has shape {tuple(a_shape)}, v has {tuple(v_shape)}")


def _signal_problem(a_shape, a_dtype, v_shape, v_dtype, out_dtype, rank=None, *, mode, axes, boundary, cval, alignment,
                    dtype, overflow, algorithm, correlates, reverses) -> _plan.Problem:
    """Convolved axes are windows; the others are windows with one tap, whose weights may depend on the output."""
    ndim = len(a_shape)
    edges = dict(zip(axes, boundaries(boundary, len(axes)), strict=True))
    windows, a_map, v_map, v_out = [], [], [], []
    for i, (size, taps) in enumerate(zip(a_shape, v_shape, strict=True)):
        if i not in edges:
            if size != taps and 1 not in (size, taps):
                raise ValueError(f"axis {i} is not convolved: a has {size}, v has {taps}; they must agree or be 1")
            out = max(size, taps)
            windows.append(Axis(out, 1, out))
            a_map.append((i if size > 1 else None, 1))
            v_map.append((None, 1))
            v_out.append((i if taps > 1 else None, 1))
            continue
        start = {"full": 0, "valid": taps - 1}.get(mode, (taps - 1) // 2 if alignment == "scipy" else taps // 2)
        out = {"full": size + taps - 1, "same": size, "valid": size - taps + 1}[mode]
        if reverses:
            axis = Axis(size, taps, out, 1, -1, 1, -(out - 1), edges[i])
        elif correlates:
            axis = Axis(size, taps, out, 1, 1, 1, taps - 1 - start, edges[i])
        else:
            axis = Axis(size, taps, out, 1, 1, -1, -start, edges[i])
        windows.append(axis)
        a_map.append((i, 1))
        v_map.append((i, 1))
        v_out.append((None, 1))
    none = ((None, 1),) * 3
    y_dtype = result_dtype(numeric(a_dtype, "a"), numeric(v_dtype, "v"), dtype, out_dtype)
    y_shape = checked_shape([axis.out for axis in windows], y_dtype.itemsize)
    return _plan.Problem(
        geometry=Geometry(1, 1, 1, 1, tuple(windows)),
        x_map=none + tuple(a_map), w_map=none + tuple(v_map), y_map=none + tuple((i, 1) for i in range(ndim)),
        x_shape=tuple(a_shape), w_shape=tuple(v_shape), y_shape=y_shape,
        x_dtype=a_dtype, w_dtype=v_dtype, y_dtype=y_dtype,
        cval=constant(cval, tuple(edges.values()), y_dtype), overflow=overflow, algorithm=algorithm,
        w_out_map=tuple(v_out) if any(at is not None for at, _ in v_out) else (),
        conjugate=correlates and not reverses,
    )


@lru_cache(maxsize=1024)
def _planned(a_shape, a_dtype, v_shape, v_dtype, out_dtype, options):
    return _plan.Plan(_signal_problem(a_shape, a_dtype, v_shape, v_dtype, out_dtype, **dict(options)))


def _run(a, v, correlates, mode, axes, boundary, cval, alignment, dtype, overflow, out, algorithm, workers):
    a, v = np.asarray(a), np.asarray(v)
    if mode not in MODES:
        raise ValueError(f"mode={mode!r} is none of {', '.join(MODES)}")
    if alignment not in ("scipy", "matlab"):
        raise ValueError(f"alignment={alignment!r} is neither scipy nor matlab")
    if a.ndim != v.ndim:
        raise ValueError(f"a has {a.ndim} axes and v has {v.ndim}; they must have the same number")
    _select.known(algorithm)
    team = _threads.team(workers)
    numeric(a.dtype, "a"), numeric(v.dtype, "v")
    places = _convolved(axes, a.ndim)
    if a.size == 0 or v.size == 0:
        return _empty(a, v, out)
    swap = _must_swap(mode, a.shape, v.shape, places)
    if swap:
        if boundary != "constant":
            raise ValueError(f"boundary={boundary!r} extends a, but v is the larger array (mode='valid')")
        a, v = v, (a if not correlates else a)
        if correlates and a.dtype.kind == "c":
            a = a.conj()
    boundary = boundary if isinstance(boundary, str) else tuple(boundary)
    options = tuple(dict(mode=mode, axes=places, boundary=boundary, cval=cval, alignment=alignment, dtype=dtype,
                         overflow=overflow, algorithm=algorithm, correlates=correlates,
                         reverses=swap and correlates).items())
    out_dtype = getattr(out, "dtype", None)
    if a.ndim == 0:
        a, v = a.reshape(1), v.reshape(1)
        options = options[:1] + (("axes", (0,)),) + options[2:]
        p = _planned(a.shape, a.dtype, v.shape, v.dtype, out_dtype, options)
        return _plan.run(p, a, v, None, out if out is None else out.reshape(1), team)[0]
    p = _planned(a.shape, a.dtype, v.shape, v.dtype, out_dtype, options)
    return _plan.run(p, a, v, None, out, team)


def _empty(a, v, out):
    """SciPy's answer to an empty operand: an empty vector."""
    y = np.zeros(0, result_dtype(a.dtype, v.dtype, None, None))
    if out is not None:
        raise ValueError("out cannot be given when a or v is empty")
    return y


def convolve(a, v, mode="full", *, axes=None, boundary="constant", cval=0, alignment="scipy", dtype=None,
             overflow="raise", algorithm="auto", workers=None, out=None):
    return _run(a, v, False, mode, axes, boundary, cval, alignment, dtype, overflow, out, algorithm, workers)


def correlate(a, v, mode="full", *, axes=None, boundary="constant", cval=0, alignment="scipy", dtype=None,
              overflow="raise", algorithm="auto", workers=None, out=None):
    return _run(a, v, True, mode, axes, boundary, cval, alignment, dtype, overflow, out, algorithm, workers)


convolve.__doc__ = _DOC.format(
    first="Convolution of two N-D arrays: v is turned around. A drop-in for scipy.signal.convolve.",
    formula="y[o] = sum over k of a[o - k] * v[k]",
    name="convolve", result="[0. , 1. , 2.5, 4. , 1.5]", wrapped="[4., 3., 5.]")
correlate.__doc__ = _DOC.format(
    first="Cross-correlation of two N-D arrays: v is conjugated, not turned. A drop-in for scipy.signal.correlate.",
    formula="y[o] = sum over k of a[o + k - (K - 1)] * conj(v[k])",
    name="correlate", result="[0.5, 2. , 3.5, 3. , 0. ]", wrapped="[4., 3., 5.]")
