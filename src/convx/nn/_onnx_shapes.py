"""ONNX operators that move, choose and make values (floor 7)."""

from __future__ import annotations

import numpy as np

from ._onnx_nodes import Unsupported, operator, whole


@operator("Constant")
def _constant(node):
    kinds = {"value": None, "value_float": np.float32, "value_floats": np.float32, "value_int": np.int64,
             "value_ints": np.int64}
    for kind, dtype in kinds.items():
        value = node.take(kind)
        if value is not None:
            array = np.asarray(value, dtype)
            return lambda: array
    raise Unsupported(f"a constant of {', '.join(node.attributes) or 'nothing'}")


@operator("ConstantOfShape")
def _constant_of_shape(node):
    value = node.take("value")
    value = np.zeros(1, np.float32) if value is None else value
    return lambda shape: np.full(whole(shape) if np.size(shape) else (), value.ravel()[0], value.dtype)


@operator("Shape")
def _shape(node):
    start, end = node.take("start", 0), node.take("end")
    return lambda x: np.array(x.shape[start:end], np.int64)


@operator("Size")
def _size(node):
    return lambda x: np.array(x.size, np.int64)


@operator("Range")
def _range(node):
    return lambda start, limit, delta: np.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)


@operator("Concat")
def _concat(node):
    axis = node.take("axis", 1)
    return lambda *arrays: np.concatenate(arrays, axis=axis)


@operator("Reshape")
def _reshape(node):
    shape, zero = node.input_or("shape", 1, 5), node.take("allowzero", 0)
    node.ignore("consumed_inputs")

    def run(*given):
        x, wanted = given[0], whole(shape(given)) if np.size(shape(given)) else ()
        if not zero:  # 0 keeps the size
            wanted = tuple(x.shape[a] if n == 0 else n for a, n in enumerate(wanted))
        return x.reshape(wanted)

    return run


@operator("Flatten")
def _flatten(node):
    axis = node.take("axis", 1)

    def run(x):
        at = axis if axis >= 0 else axis + x.ndim
        return x.reshape(int(np.prod(x.shape[:at], dtype=int)), int(np.prod(x.shape[at:], dtype=int)))

    return run


@operator("Transpose")
def _transpose(node):
    order = node.take("perm")
    return lambda x: x.transpose(order)


@operator("Squeeze")
def _squeeze(node):
    axes = node.input_or("axes", 1, 13)

    def run(*given):
        over = axes(given)
        return given[0].squeeze(None if over is None else whole(over))

    return run


@operator("Unsqueeze")
def _unsqueeze(node):
    axes = node.input_or("axes", 1, 13)
    return lambda *given: np.expand_dims(given[0], whole(axes(given)))


@operator("Expand")
def _expand(node):
    return lambda x, shape: np.broadcast_to(x, np.broadcast_shapes(x.shape, whole(shape) if np.size(shape) else ()))


@operator("Tile")
def _tile(node):
    return lambda x, repeats: np.tile(x, whole(repeats))


@operator("Slice")
def _slice(node):
    read = [node.input_or(name, i, 10) for i, name in enumerate(("starts", "ends", "axes"), 1)]
    step = node.input_or("steps", 4, 10)

    def run(*given):
        x, (starts, ends, axes), steps = given[0], [get(given) for get in read], step(given)
        starts, ends = whole(starts), whole(ends)
        axes = range(len(starts)) if axes is None else whole(axes)
        steps = (1,) * len(starts) if steps is None else whole(steps)
        at = [slice(None)] * x.ndim
        for axis, start, end, stride in zip(axes, starts, ends, steps, strict=True):
            size = x.shape[axis]
            if stride < 0 and end < -size:  # past the first element, which Python writes as None
                end = None
            at[axis] = slice(start, end, stride)
        return x[tuple(at)]

    return run


@operator("Split")
def _split(node):
    axis, parts, count = node.take("axis", 0), node.input_or("split", 1, 13), node.take("num_outputs")
    count = count or len(node.outputs)

    def run(*given):
        x, sizes = given[0], parts(given)
        if sizes is None:  # equal parts, the last one may be smaller
            each = -(-x.shape[axis] // count)
            sizes = [each] * (count - 1) + [x.shape[axis] - each * (count - 1)]
        if sum(whole(sizes)) != x.shape[axis]:
            raise ValueError(f"parts of {whole(sizes)} are not {x.shape[axis]}")
        return tuple(np.split(x, np.cumsum(whole(sizes))[:-1], axis=axis))

    return run


@operator("Pad")
def _pad(node):
    mode = node.take("mode", "constant")
    if mode not in ("constant", "edge", "reflect", "wrap"):
        raise Unsupported(f"mode={mode!r}")
    pads, value = node.input_or("pads", 1, 11), node.input_or("value", 2, 11)

    def run(*given):
        x, amounts, fill = given[0], whole(pads(given)), value(given)
        axes = whole(given[3]) if len(given) > 3 and given[3] is not None else range(x.ndim)
        pairs = [(0, 0)] * x.ndim
        half = len(amounts) // 2
        for axis, before, after in zip(axes, amounts[:half], amounts[half:], strict=True):
            pairs[axis] = (before, after)
        x = x[tuple(slice(max(-before, 0), size - max(-after, 0))
                    for (before, after), size in zip(pairs, x.shape, strict=True))]
        pairs = [(max(before, 0), max(after, 0)) for before, after in pairs]
        more = {"constant_values": 0 if fill is None else np.asarray(fill).item()} if mode == "constant" else {}
        return np.pad(x, pairs, mode=mode, **more)

    return run


@operator("Gather")
def _gather(node):
    axis = node.take("axis", 0)
    return lambda x, indices: np.take(x, indices.astype(np.int64), axis=axis)


@operator("GatherElements")
def _gather_elements(node):
    axis = node.take("axis", 0)

    def run(x, indices):
        at = np.indices(indices.shape, sparse=True)
        return x[tuple(indices if a == axis % x.ndim else grid for a, grid in enumerate(at))]

    return run


@operator("GatherND")
def _gather_nd(node):
    node.only("batch_dims", 0)
    return lambda x, indices: x[tuple(np.moveaxis(indices, -1, 0))]


@operator("ScatterND")
def _scatter_nd(node):
    node.only("reduction", "none")

    def run(x, indices, updates):
        y = x.copy()
        y[tuple(np.moveaxis(indices, -1, 0))] = updates
        return y

    return run


@operator("NonZero")
def _non_zero(node):
    return lambda x: np.array(np.nonzero(np.atleast_1d(x)), np.int64)


@operator("Trilu")
def _trilu(node):
    upper = node.take("upper", 1)
    return lambda x, k=None: (np.triu if upper else np.tril)(x, 0 if k is None else int(k.item()))


@operator("Dropout")
def _dropout(node):
    node.ignore("ratio", "seed", "is_test", "consumed_inputs")
    mode = node.constant(2)
    if len(node.inputs) > 2 and node.inputs[2] and (mode is None or bool(mode)):
        raise Unsupported("training_mode")
    if len(node.outputs) < 2:
        return lambda x, *rest: x
    return lambda x, *rest: (x, np.ones(x.shape, bool))


@operator("DepthToSpace")
def _depth_to_space(node):
    block, mode = node.take("blocksize"), node.take("mode", "DCR")

    def run(x):
        n, c, h, w = x.shape
        if mode == "DCR":
            parts = x.reshape(n, block, block, c // block**2, h, w).transpose(0, 3, 4, 1, 5, 2)
        else:
            parts = x.reshape(n, c // block**2, block, block, h, w).transpose(0, 1, 4, 2, 5, 3)
        return parts.reshape(n, c // block**2, h * block, w * block)

    return run


@operator("SpaceToDepth")
def _space_to_depth(node):
    from ._layers import Reorg

    node.only("mode", "DCR")
    return Reorg(node.take("blocksize"))
