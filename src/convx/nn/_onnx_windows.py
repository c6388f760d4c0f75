"""ONNX operators with windows and matrix products, and normalisations (floor 7)."""

from __future__ import annotations

from math import prod
from threading import Lock

import numpy as np

import convx

from ._onnx_nodes import Unsupported, operator

KEPT = 4  # bound plans of a node: a network that sees inputs of many sizes keeps the last few


def _padding(node):
    """The padding of a node in convx's words."""
    word, pads = node.take("auto_pad", "NOTSET"), node.take("pads")
    words = {"SAME_UPPER": "same", "SAME_LOWER": "same_lower", "VALID": "valid"}
    if word in words:
        return words[word]
    if word != "NOTSET":
        raise Unsupported(f"auto_pad={word!r}")
    if pads is None:
        return "valid"
    if min(pads, default=0) < 0:
        raise Unsupported(f"pads={list(pads)}")
    return tuple(zip(pads[:len(pads) // 2], pads[len(pads) // 2:], strict=True))


def _window(node) -> dict:
    """Stride, dilation and padding of a node; a missing list is 1 for every axis."""
    return {"stride": node.take("strides", 1), "dilation": node.take("dilations", 1), "padding": _padding(node)}


def _planned(operator_name: str, node, options):
    """y of x, w and b: with weights out of the file through plans that have packed them."""
    w, b, bound, lock = node.constant(1), node.constant(2), {}, Lock()
    fixed = w is not None and (b is not None or len(node.inputs) < 3 or not node.inputs[2])

    def run(x, weights, bias=None):
        if not fixed:
            return getattr(convx, operator_name)(x, weights, bias, **options)
        key = x.shape, x.dtype
        found = bound.get(key)
        if found is None:
            found = convx.plan(operator_name, x, w, **options).bind(w, b)
            with lock:
                if len(bound) >= KEPT:
                    del bound[next(iter(bound))]
                bound[key] = found
        return found(x)

    return run


def _kernel_shape(node) -> None:
    """The attribute that repeats the shape of the weights."""
    shape, w = node.take("kernel_shape"), node.constant(1)
    if shape is not None and w is not None and tuple(shape) != w.shape[2:]:
        raise ValueError(f"kernel_shape={list(shape)}, the weights have {list(w.shape[2:])}")


@operator("Conv")
def _conv(node):
    _kernel_shape(node)
    return _planned("conv", node, {**_window(node), "groups": node.take("group", 1)})


@operator("ConvTranspose")
def _conv_transpose(node):
    _kernel_shape(node)
    word, wanted = node.take("auto_pad", "NOTSET"), node.take("output_shape")
    options = {"groups": node.take("group", 1), **_window(node), "output_padding": node.take("output_padding", 0)}
    if wanted is None and word in ("NOTSET", "VALID"):
        return _planned("conv_transpose", node, options)

    def run(x, w, b=None):
        # The padding follows from the size of the result, the odd cell at the end for SAME_UPPER, else at the start.
        pads, shape = [], []
        for a, (size, taps) in enumerate(zip(x.shape[2:], w.shape[2:], strict=True)):
            stride, spread, extra = (value if isinstance(value, int) else value[a] for value in (
                options["stride"], options["dilation"], options["output_padding"]))
            out = size * stride if wanted is None else wanted[a]
            total = max(stride * (size - 1) + extra + spread * (taps - 1) + 1 - out, 0)
            half = total // 2
            pads.append((half, total - half) if word == "SAME_UPPER" else (total - half, half))
            shape.append(out)
        return convx.conv_transpose(x, w, b, **{**options, "padding": tuple(pads), "output_padding": 0},
                                    output_shape=tuple(shape))

    return run


@operator("MaxPool")
def _max_pool(node):
    window = tuple(node.take("kernel_shape"))
    options = {**_window(node), "ceil_mode": bool(node.take("ceil_mode", 0))}
    node.only("storage_order", 0)
    if len(node.outputs) < 2:
        return lambda x: convx.max_pool(x, window, **options)

    def run(x):
        y, places = convx.max_pool(x, window, return_indices=True, **options)
        planes = np.arange(prod(x.shape[:2])).reshape(*x.shape[:2], *(1,) * len(window))
        return y, places + planes * prod(x.shape[2:])  # ONNX counts from the start of the whole array

    return run


@operator("AveragePool")
def _average_pool(node):
    window = tuple(node.take("kernel_shape"))
    options = {**_window(node), "ceil_mode": bool(node.take("ceil_mode", 0)),
               "count_include_pad": bool(node.take("count_include_pad", 0))}
    return lambda x: convx.avg_pool(x, window, **options)


@operator("GlobalAveragePool")
def _global_average(node):
    return lambda x: convx.avg_pool(x, "global")


@operator("GlobalMaxPool")
def _global_max(node):
    return lambda x: convx.max_pool(x, "global")


@operator("Gemm")
def _gemm(node):
    alpha, beta = node.take("alpha", 1.0), node.take("beta", 1.0)
    turn_a, turn_b = node.take("transA", 0), node.take("transB", 0)
    node.ignore("broadcast")

    def run(a, b, c=None):
        y = (a.T if turn_a else a) @ (b.T if turn_b else b)
        y = y if alpha == 1 else (alpha * y).astype(y.dtype)
        return y if c is None else (y + (c if beta == 1 else beta * c)).astype(y.dtype)

    return run


@operator("MatMul")
def _matmul(node):
    return np.matmul


@operator("Einsum")
def _einsum(node):
    equation = node.take("equation")
    return lambda *arrays: np.einsum(equation, *arrays, optimize=len(arrays) > 2)


def _over_channels(array, x):
    return np.reshape(array, (-1, *(1,) * (x.ndim - 2)))


@operator("BatchNormalization")
def _batch_norm(node):
    eps = node.take("epsilon", 1e-5)
    node.ignore("momentum", "consumed_inputs", "is_test")
    node.only("training_mode", 0)
    node.only("spatial", 1)
    if sum(map(bool, node.outputs)) > 1:
        raise Unsupported("outputs of training")

    def run(x, gamma, beta, mean, var):
        scale = gamma / np.sqrt(var + np.asarray(eps, var.dtype))
        y = x * _over_channels(scale, x).astype(x.dtype, copy=False)
        y += _over_channels(beta - mean * scale, x).astype(x.dtype, copy=False)
        return y

    return run


def _normalised(x, axes, eps):
    """(x with mean 0 and variance 1 over these axes, mean, 1 / deviation), in float64: large sums lose digits else."""
    mean = x.mean(axis=axes, keepdims=True, dtype=np.float64)
    centred = x - mean
    inverse = 1 / np.sqrt(np.square(centred).mean(axis=axes, keepdims=True) + eps)
    return centred * inverse, mean, inverse


@operator("InstanceNormalization")
def _instance_norm(node):
    eps = node.take("epsilon", 1e-5)

    def run(x, gamma, beta):
        y, _, _ = _normalised(x, tuple(range(2, x.ndim)), eps)
        return (y * _over_channels(gamma, x) + _over_channels(beta, x)).astype(x.dtype)

    return run


@operator("LayerNormalization")
def _layer_norm(node):
    axis, eps = node.take("axis", -1), node.take("epsilon", 1e-5)
    node.only("stash_type", 1)

    def run(x, gamma, beta=None):
        y, mean, inverse = _normalised(x, tuple(range(axis % x.ndim, x.ndim)), eps)
        y = y * gamma if beta is None else y * gamma + beta
        return y.astype(x.dtype), mean.astype(np.float32), inverse.astype(np.float32)

    return run


@operator("GroupNormalization")
def _group_norm(node):
    groups, eps = node.take("num_groups"), node.take("epsilon", 1e-5)
    node.ignore("stash_type")
    per_group = not node.since(21)  # before, gamma and beta were values per group

    def run(x, gamma, beta):
        parts = x.reshape(x.shape[0], groups, -1)
        y = _normalised(parts, (2,), eps)[0].reshape(x.shape)
        if per_group:
            gamma, beta = (np.repeat(a, x.shape[1] // groups) for a in (gamma, beta))
        return (y * _over_channels(gamma, x) + _over_channels(beta, x)).astype(x.dtype)

    return run


@operator("LRN")
def _local_response(node):
    size, alpha = node.take("size"), node.take("alpha", 1e-4)
    beta, bias = node.take("beta", 0.75), node.take("bias", 1.0)

    def run(x):
        before = (size - 1) // 2
        lines = np.moveaxis(np.square(x), 1, -1)[..., None, :].reshape(-1, 1, x.shape[1])
        sums = convx.avg_pool(lines, size, stride=1, padding=((before, size - 1 - before),), divisor=1)
        sums = np.moveaxis(sums.reshape(x.shape[0], *x.shape[2:], x.shape[1]), -1, 1)
        return (x / (bias + alpha / size * sums) ** beta).astype(x.dtype)

    return run


@operator("LpNormalization")
def _lp_norm(node):
    axis, order = node.take("axis", -1), node.take("p", 2)

    def run(x):
        length = np.linalg.norm(x, ord=order, axis=axis, keepdims=True)
        return x / np.where(length == 0, 1, length).astype(x.dtype)  # zeros stay zeros

    return run
