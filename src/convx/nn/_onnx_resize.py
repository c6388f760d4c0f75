"""ONNX's Resize and Upsample (floor 7): along each axis a few taps per output, chosen by its coordinate."""

from __future__ import annotations

import numpy as np

from ._onnx_nodes import Unsupported, operator, whole

_COORDINATES = {
    "half_pixel": lambda o, scale, size, out: (o + 0.5) / scale - 0.5,
    "pytorch_half_pixel": lambda o, scale, size, out: (o + 0.5) / scale - 0.5 if out > 1 else o * 0.0,
    "half_pixel_symmetric": lambda o, scale, size, out: (
        size / 2 * (1 - out / (scale * size)) + (o + 0.5) / scale - 0.5),
    "align_corners": lambda o, scale, size, out: o * (size - 1) / (out - 1) if out > 1 else o * 0.0,
    "asymmetric": lambda o, scale, size, out: o / scale,
}
_NEAREST = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _cubic(t, a: float):
    """The weights of the four cells around a place, t after the second (Keys 1981)."""
    d = np.stack([1 + t, t, 1 - t, 2 - t])
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, far)


class _Rule:
    """How a place between cells is read."""

    def __init__(self, mode: str, coordinates: str, nearest: str, a: float, exclude: bool):
        for value, known, name in ((mode, ("nearest", "linear", "cubic"), "mode"),
                                   (coordinates, _COORDINATES, "coordinate_transformation_mode"),
                                   (nearest, _NEAREST, "nearest_mode")):
            if value not in known:
                raise Unsupported(f"{name}={value!r}")
        self.mode, self.a, self.exclude = mode, a, exclude
        self.where, self.rounded = _COORDINATES[coordinates], _NEAREST[nearest]

    def taps(self, size: int, out: int, scale: float):
        """(cells, weights), each one row per tap and one column per output."""
        place = self.where(np.arange(out, dtype=np.float64), scale, size, out)
        if self.mode == "nearest":
            return np.clip(self.rounded(place), 0, size - 1).astype(np.intp)[None], None
        if self.mode == "linear":
            place = np.clip(place, 0, size - 1)
        first = np.floor(place)
        t = place - first
        cells, weights = np.stack([first, first + 1]), np.stack([1 - t, t])
        if self.mode == "cubic":
            cells, weights = np.stack([first - 1, first, first + 1, first + 2]), _cubic(t, self.a)
            if self.exclude:
                weights = np.where((cells >= 0) & (cells < size), weights, 0)
                weights /= weights.sum(axis=0)
        return np.clip(cells, 0, size - 1).astype(np.intp), weights

    def apply(self, x, axis: int, out: int, scale: float):
        cells, weights = self.taps(x.shape[axis], out, scale)
        if weights is None:
            return np.take(x, cells[0], axis=axis)
        y = 0
        for cell, weight in zip(cells, weights, strict=True):
            shape = [-1 if a == axis else 1 for a in range(x.ndim)]
            y = y + np.take(x, cell, axis=axis) * weight.reshape(shape)
        return y


def _resized(x, rule: _Rule, axes, scales, sizes):
    y = x if x.dtype.kind == "f" or rule.mode == "nearest" else x.astype(np.float64)
    for axis, scale, out in zip(axes, scales, sizes, strict=True):
        if out != x.shape[axis] or scale != 1:
            y = rule.apply(y, axis, out, scale)
    return np.rint(y).astype(x.dtype) if x.dtype.kind in "iu" and rule.mode != "nearest" else y.astype(
        x.dtype, copy=False)


def _sizes(sizes, scales):
    """floor(size * scale), in float32 as the scales are: 5 * 2.6 is 13 there and a little less in float64."""
    scales = np.ravel(np.asarray(scales, np.float32))
    if len(scales) != len(sizes):
        raise ValueError(f"{len(scales)} scales are given for {len(sizes)} axes")
    products = [np.float32(size) * scale for size, scale in zip(sizes, scales, strict=True)]
    return [int(np.floor(product)) for product in products], scales.tolist()


@operator("Resize")
def _resize(node):
    since_11 = node.since(11)
    rule = _Rule(node.take("mode", "nearest"),
                 node.take("coordinate_transformation_mode", "half_pixel" if since_11 else "asymmetric"),
                 node.take("nearest_mode", "round_prefer_floor" if since_11 else "floor"),
                 node.take("cubic_coeff_a", -0.75), bool(node.take("exclude_outside", 0)))
    node.only("antialias", 0)
    node.only("keep_aspect_ratio_policy", "stretch")
    node.ignore("extrapolation_value")
    axes = node.take("axes")

    def run(*given):
        x = given[0]
        scales = given[2 if since_11 else 1] if len(given) > (2 if since_11 else 1) else None
        sizes = given[3] if len(given) > 3 else None
        over = range(x.ndim) if axes is None else [a % x.ndim for a in axes]
        if sizes is not None and np.size(sizes):
            sizes = whole(sizes)
            scales = [out / x.shape[a] for a, out in zip(over, sizes, strict=True)]
        elif scales is not None and np.size(scales):
            sizes, scales = _sizes([x.shape[a] for a in over], scales)
        else:
            raise ValueError("neither scales nor sizes are given")
        return _resized(x, rule, over, scales, sizes)

    return run


@operator("Upsample")
def _upsample(node):
    rule = _Rule(node.take("mode", "nearest"), "asymmetric", "floor", -0.75, False)
    scales = node.input_or("scales", 1, 9)

    def run(*given):
        x = given[0]
        sizes, factors = _sizes(x.shape, scales(given))
        return _resized(x, rule, range(x.ndim), factors, sizes)

    return run
