"""Where the loops live in the user's arrays: the only home of layout names (floor 5).

A layout is a family (channels first, channels last, or MATLAB's order) written with the letters of the rank:
NCW, NCHW, NCDHW; NWC, NHWC, NDHWC; WCN, HWCN, DHWCN. The word of rank 2 stands for its family at any rank, so
ranks above three use it. Unbatched arrays leave N out of the array, and may leave it out of the word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._arguments import whole

if TYPE_CHECKING:
    from typing import SupportsIndex

LETTERS = {1: "W", 2: "HW", 3: "DHW"}
W_LAYOUT = {"NCHW": "OIHW", "NHWC": "OHWI", "HWCN": "HWIO"}


def _words(pattern: str, rank: int) -> list[str]:
    return [pattern, pattern.replace("HW", LETTERS[rank])] if rank in LETTERS else [pattern]


def family(layout, rank: int) -> str:
    """The family word of a layout at this rank: NCHW, NHWC or HWCN."""
    if layout is None:
        return "NCHW"
    for name in W_LAYOUT:
        words = _words(name, rank)
        if layout in words or layout in [word.replace("N", "") for word in words]:
            # CHW and HWC fit one family each; the unbatched HWCN is HWC: channels last, as NHWC.
            return name
    known = ", ".join(_words(name, rank)[-1] for name in W_LAYOUT)
    raise ValueError(f"layout={layout!r} is no layout of {rank} spatial axes; known: {known}")


def is_batched(layout, ndim: int) -> bool:
    """Whether an array of so many axes has a batch axis, where only they and the word can tell.

    Without N in the word there is none, and two axes are channels and space.
    """
    return ndim > 2 and (layout is None or "N" in str(layout))


def x_places(name: str, rank: int, batched: bool) -> tuple[int | None, int, tuple[int, ...]]:
    """Positions of N, C and the spatial axes in x or y."""
    first = int(batched)
    if name == "NCHW":
        return (0 if batched else None), first, tuple(range(first + 1, first + 1 + rank))
    if name == "NHWC":
        return (0 if batched else None), first + rank, tuple(range(first, first + rank))
    return (rank + 1 if batched else None), rank, tuple(range(rank))


def w_places(name: str, w_layout, rank: int) -> tuple[int, int, tuple[int, ...]]:
    """Positions of O, I and the taps in w; name is the family of x, w_layout overrides its default."""
    for word in W_LAYOUT.values():
        if w_layout in _words(word, rank) or (w_layout is None and word == W_LAYOUT[name]):
            if word == "OIHW":
                return 0, 1, tuple(range(2, 2 + rank))
            if word == "OHWI":
                return 0, rank + 1, tuple(range(1, 1 + rank))
            return rank + 1, rank, tuple(range(rank))
    known = ", ".join(_words(word, rank)[-1] for word in W_LAYOUT.values())
    raise ValueError(f"w_layout={w_layout!r} is no weight layout of {rank} spatial axes; known: {known}")


def x_axes(layout: str | None, rank: SupportsIndex, batched: bool = True) -> tuple[int | None, int, tuple[int, ...]]:
    """Where batch, channels and space stand among the axes of x and y.

    Parameters
    ----------
    layout : str or None
        As in `conv`; None is "NCHW".
    rank : int
        The number of spatial axes.
    batched : bool, optional
        Whether the array has a batch axis.

    Returns
    -------
    n_at : int or None
        The axis of the batch; None if there is none.
    c_at : int
        That of the channels.
    s_at : tuple of int
        Those of space, in their order.

    Examples
    --------
    >>> import convx
    >>> convx.x_axes("NHWC", 2), convx.x_axes("HWCN", 3), convx.x_axes(None, 2, batched=False)
    ((0, 3, (1, 2)), (4, 3, (0, 1, 2)), (None, 0, (1, 2)))
    """
    rank = whole(rank, "rank", 1)
    return x_places(family(layout, rank), rank, bool(batched))


def w_axes(layout: str | None, rank: SupportsIndex,
           w_layout: str | None = None) -> tuple[int, int, tuple[int, ...]]:
    """Where outputs, inputs and taps stand among the axes of w.

    Parameters
    ----------
    layout : str or None
        That of x, as in `conv`; None is "NCHW".
    rank : int
        The number of spatial axes.
    w_layout : str, optional
        As in `conv`; by default the one that goes with layout.

    Returns
    -------
    o_at, i_at : int
        The axes of the output channels and of the input channels of a group.
    k_at : tuple of int
        Those of the taps, in the order of the spatial axes.

    Examples
    --------
    >>> import convx
    >>> convx.w_axes("NHWC", 2), convx.w_axes("NHWC", 2, "HWIO")
    ((0, 3, (1, 2)), (3, 2, (0, 1)))
    """
    rank = whole(rank, "rank", 1)
    return w_places(family(layout, rank), w_layout, rank)
