"""convolve and correlate for plain N-D arrays (floor 5): scipy.signal's results, and axes, boundaries, out, threads."""

from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING

from . import _plan, _threads
from ._accept import array_of
from ._arguments import boundaries, checked_shape, constant, numeric, overflow_word, plan_of, stored_sums
from ._geometry import Axis, Geometry
from ._kernels.ready import Front
from ._problem import Problem

if TYPE_CHECKING:
    from typing import Literal, SupportsFloat, SupportsIndex, TypeAlias

    from numpy.typing import ArrayLike, DTypeLike

    from ._typing import Algorithm, Array, Boundary, Counts, Number, Overflow

    Mode: TypeAlias = Literal["full", "same", "valid"]

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
        As in `conv`. Integers and bool are exact and widen to int64 or uint64, where SciPy wraps around. With
        overflow="saturate" sums of floats may be stored as integers or bool, too: rounded to the nearest, halves away
        from zero, and held inside the range; nan becomes 0.
    sums : dtype, optional
        float32 or float64: the type in which the products of real arrays are summed, where it shall not be that of the
        result. Without dtype and out, floats give their common type as ever, and integers give the type of the sums.
        "stencil" and "stencil_winograd", which "auto" takes for all but the largest kernels and short rows, convert
        arrays of other types piece by piece, on their way into the sums and out of them; other algorithms convert whole
        arrays first.
    divisor, offset : float, optional
        The result is sum / divisor + offset, before it is rounded; default 1 and 0. Integers are then summed as floats,
        in float64 if `sums` does not say otherwise. Both must be finite in the type of the sums, and divisor not 0.

    Returns
    -------
    y : ndarray

    Raises
    ------
    ValueError, TypeError
        Before anything is computed, with the numbers in the message.

    Notes
    -----
    Floats with many taps are transformed (algorithm="stencil_winograd" and "fft", see `conv`), as by
    scipy.signal.fftconvolve: outputs that are small beside what the largest inputs near them would give lose relative
    accuracy. algorithm="sums" avoids it.

    Examples
    --------
    >>> import convx
    >>> convx.{name}([1.0, 2.0, 3.0], [0.0, 1.0, 0.5])
    array({result})
    >>> convx.{name}([1.0, 2.0, 3.0], [1.0, 1.0], mode="same", boundary="wrap")
    array({wrapped})
    >>> convx.{name}([[10, 20, 250]], [[1, 1]], "valid", dtype="u1", overflow="saturate", divisor=2)
    array([[ 15, 135]], dtype=uint8)
    """


def _convolved(axes, ndim: int) -> tuple[int, ...]:
    if axes is None:
        return tuple(range(ndim))
    try:
        numbers = tuple(index(a) for a in axes) if hasattr(axes, "__iter__") else (index(axes),)
    except TypeError:
        raise TypeError(f"axes={axes!r}: an integer is needed, or several") from None
    for a in numbers:
        if not -ndim <= a < ndim:
            raise ValueError(f"axes={axes}: the arrays have {ndim} axes")
    places = tuple(a % ndim for a in numbers)
    if len(set(places)) != len(places):
        raise ValueError(f"axes={axes} names an axis twice")
    return places


def _swaps(mode, a_shape, v_shape, axes) -> bool:
    """For 'valid', whether v is the larger array; neither being so is an error."""
    if mode != "valid" or all(a_shape[i] >= v_shape[i] for i in axes):
        return False
    if all(v_shape[i] >= a_shape[i] for i in axes):
        return True
    raise ValueError(f"mode='valid' needs one array to be at least as large as the other along every convolved "
                     f"axis; a has shape {tuple(a_shape)}, v has {tuple(v_shape)}")


def _axis(size, taps, mode, alignment, correlates, swapped, edge) -> Axis:
    """The axis of a convolved axis: y[o] = sum of a[o + start - k] v[k], or a[o + start + k - (K - 1)] v[k]."""
    out = {"full": size + taps - 1, "same": size, "valid": size - taps + 1}[mode]
    if swapped and correlates:  # the roles have changed, so the result runs backwards
        return Axis(size, taps, out, 1, -1, 1, -(out - 1), edge)
    start = {"full": 0, "valid": taps - 1}.get(mode, (taps - 1) // 2 if alignment == "scipy" else taps // 2)
    if correlates:
        return Axis(size, taps, out, 1, 1, 1, taps - 1 - start, edge)
    return Axis(size, taps, out, 1, 1, -1, -start, edge)


def signal_problem(a_shape, a_dtype, v_shape, v_dtype, out_dtype, *, correlates, mode="full", axes=None,
                   boundary="constant", cval=0, alignment="scipy", dtype=None, overflow="raise",
                   algorithm="auto", sums=None, divisor=1, offset=0) -> Problem:
    """Convolved axes are windows; the others are windows with one tap, whose weights may depend on the output."""
    a_dtype, v_dtype = numeric(a_dtype, "a"), numeric(v_dtype, "v")
    if mode not in MODES:
        raise ValueError(f"mode={mode!r} is none of {', '.join(MODES)}")
    if alignment not in ("scipy", "matlab"):
        raise ValueError(f"alignment={alignment!r} is neither scipy nor matlab")
    ndim = len(a_shape)
    if ndim != len(v_shape):
        raise ValueError(f"a has {ndim} axes and v has {len(v_shape)}; they must have the same number")
    places = _convolved(axes, ndim)
    edges = dict(zip(places, boundaries(boundary, len(places)), strict=True))
    y_dtype, sums, finish = stored_sums(a_dtype, v_dtype, dtype, out_dtype, overflow_word(overflow), sums, divisor,
                                        offset)
    for i in places:
        if v_shape[i] == 0 or (a_shape[i] == 0 and mode != "same"):
            raise ValueError(f"axis {i} is empty: a has shape {tuple(a_shape)}, v has {tuple(v_shape)}, mode={mode!r}")
    swapped = _swaps(mode, a_shape, v_shape, places)
    if swapped:
        if any(edge != "constant" for edge in edges.values()) or cval:
            raise ValueError("a boundary extends a, but v is the larger array (mode='valid')")
        a_shape, v_shape, a_dtype, v_dtype = v_shape, a_shape, v_dtype, a_dtype
    windows, a_map, v_map, v_out = [], [], [], []
    for i, (size, taps) in enumerate(zip(a_shape, v_shape, strict=True)):
        if i in edges:
            windows.append(_axis(size, taps, mode, alignment, correlates, swapped, edges[i]))
            a_map.append((i, 1))
            v_map.append((i, 1))
            v_out.append((None, 1))
            continue
        if size != taps and 1 not in (size, taps):
            raise ValueError(f"axis {i} is not convolved: the arrays have {size} and {taps}; they must agree or be 1")
        out = taps if size == 1 else size
        windows.append(Axis(out, 1, out))
        a_map.append((i if size != 1 else None, 1))
        v_map.append((None, 1))
        v_out.append((i if taps != 1 else None, 1))
    none = ((None, 1),) * 3
    return Problem(
        geometry=Geometry(1, 1, 1, 1, tuple(windows)),
        x_map=none + tuple(a_map), w_map=none + tuple(v_map), y_map=none + tuple((i, 1) for i in range(ndim)),
        x_shape=tuple(a_shape), w_shape=tuple(v_shape),
        y_shape=checked_shape([axis.out for axis in windows], y_dtype.itemsize),
        x_dtype=a_dtype, w_dtype=v_dtype, y_dtype=y_dtype,
        cval=constant(cval, tuple(edges.values()), *((y_dtype,) if sums is None else (sums, "sums are"))),
        overflow=overflow,
        algorithm=algorithm, normwise=("fft", "stencil_winograd"), names=("a", "v"), sums=sums, finish=finish,
        w_out_map=tuple(v_out) if any(at is not None for at, _ in v_out) else (),
        conjugate=("x" if swapped else "w") if correlates else "", swap=swapped,
    )


_FRONTS = {False: Front(_threads.team), True: Front(_threads.team)}  # convolve, correlate


def _run(correlates, a, v, out, workers, options):
    front = _FRONTS[correlates]
    y = front.ready(a, v, None, out, workers, options)
    if y is not None:
        return y
    a, v = array_of(a, "a"), array_of(v, "v")
    p = plan_of(signal_problem, a, v, out, {"correlates": correlates, **options})
    y = _plan.answer(p, a, v, None, out, workers, front, options)
    return y if y.ndim or out is not None else y[()]


def convolve(a: ArrayLike, v: ArrayLike, mode: Mode = "full", *, axes: Counts | None = None,
             boundary: Boundary | tuple[Boundary, ...] = "constant", cval: Number = 0,
             alignment: Literal["scipy", "matlab"] = "scipy", dtype: DTypeLike | None = None,
             overflow: Overflow = "raise", algorithm: Algorithm = "auto", workers: SupportsIndex | None = None,
             out: Array | None = None, sums: DTypeLike | None = None, divisor: SupportsFloat = 1,
             offset: SupportsFloat = 0) -> Array:
    return _run(False, a, v, out, workers, {
        "mode": mode, "axes": axes, "boundary": boundary, "cval": cval, "alignment": alignment, "dtype": dtype,
        "overflow": overflow, "algorithm": algorithm, "sums": sums, "divisor": divisor, "offset": offset})


def correlate(a: ArrayLike, v: ArrayLike, mode: Mode = "full", *, axes: Counts | None = None,
              boundary: Boundary | tuple[Boundary, ...] = "constant", cval: Number = 0,
              alignment: Literal["scipy", "matlab"] = "scipy", dtype: DTypeLike | None = None,
              overflow: Overflow = "raise", algorithm: Algorithm = "auto", workers: SupportsIndex | None = None,
              out: Array | None = None, sums: DTypeLike | None = None, divisor: SupportsFloat = 1,
              offset: SupportsFloat = 0) -> Array:
    return _run(True, a, v, out, workers, {
        "mode": mode, "axes": axes, "boundary": boundary, "cval": cval, "alignment": alignment, "dtype": dtype,
        "overflow": overflow, "algorithm": algorithm, "sums": sums, "divisor": divisor, "offset": offset})


convolve.__doc__ = _DOC.format(
    first="Convolution of two N-D arrays: v is turned around. A drop-in for scipy.signal.convolve.",
    formula="y[o] = sum over k of a[o - k] * v[k]",
    name="convolve", result="[0. , 1. , 2.5, 4. , 1.5]", wrapped="[4., 3., 5.]")
correlate.__doc__ = _DOC.format(
    first="Cross-correlation of two N-D arrays: v is conjugated, not turned. A drop-in for scipy.signal.correlate.",
    formula="y[o] = sum over k of a[o + k - (K - 1)] * conj(v[k])",
    name="correlate", result="[0.5, 2. , 3.5, 3. , 0. ]", wrapped="[4., 3., 5.]")
