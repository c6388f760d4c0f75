"""ONNX operators on single values, comparisons and reductions (floor 7)."""

from __future__ import annotations

from functools import reduce

import numpy as np
from scipy import special

from . import _activations as act
from ._onnx_nodes import dtype_of, operator, whole


def _extreme(function, sign: int):
    """The largest or smallest value; of nothing: what the dtype has at the other end."""
    def run(x, **rest):
        if x.dtype.kind == "b":
            least = sign > 0
        elif x.dtype.kind == "f":
            least = sign * np.inf
        else:
            least = np.iinfo(x.dtype).max if sign > 0 else np.iinfo(x.dtype).min
        return function(x, initial=least, **rest)
    return run


_UNARY = {
    "Abs": np.abs, "Acos": np.arccos, "Acosh": np.arccosh, "Asin": np.arcsin, "Asinh": np.arcsinh, "Atan": np.arctan,
    "Atanh": np.arctanh, "Ceil": np.ceil, "Cos": np.cos, "Cosh": np.cosh, "Erf": act.erf, "Exp": np.exp,
    "Floor": np.floor, "IsNaN": np.isnan, "Log": np.log, "Neg": np.negative, "Not": np.logical_not,
    "Reciprocal": np.reciprocal, "Round": np.rint, "Sign": np.sign, "Sin": np.sin, "Sinh": np.sinh, "Sqrt": np.sqrt,
    "Tan": np.tan, "Relu": act.ReLU().value, "Sigmoid": act.Sigmoid().value, "Tanh": np.tanh,
    "Softplus": act.Softplus().value, "Mish": act.Mish().value, "HardSwish": act.HardSwish().value,
    "Softsign": lambda x: x / (1 + np.abs(x)), "Identity": lambda x: x,
}
_BINARY = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "And": np.logical_and, "Or": np.logical_or,
    "Xor": np.logical_xor, "Equal": np.equal, "Greater": np.greater, "Less": np.less,
    "GreaterOrEqual": np.greater_equal, "LessOrEqual": np.less_equal,
    "BitwiseAnd": np.bitwise_and, "BitwiseOr": np.bitwise_or, "BitwiseXor": np.bitwise_xor,
}
_MANY = {"Sum": np.add, "Max": np.maximum, "Min": np.minimum}
_REDUCTIONS = {
    "ReduceMean": np.mean, "ReduceSum": np.sum, "ReduceMax": _extreme(np.max, -1),
    "ReduceMin": _extreme(np.min, 1), "ReduceProd": np.prod,
    "ReduceSumSquare": lambda x, **rest: np.sum(np.square(x), **rest),
    "ReduceL1": lambda x, **rest: np.sum(np.abs(x), **rest),
    "ReduceL2": lambda x, **rest: np.sqrt(np.sum(np.square(x), **rest)),
    "ReduceLogSum": lambda x, **rest: np.log(np.sum(x, **rest)),
    "ReduceLogSumExp": lambda x, axis, keepdims: special.logsumexp(x, axis=axis, keepdims=keepdims),
}


def _broadcast_before_7(node):
    """Before opset 7 the second operand said where it lies: refuse what NumPy's broadcasting is not."""
    if not node.since(7):
        node.only("broadcast", 0, 1)
        node.only("axis", None)
        node.ignore("consumed_inputs")


for _name, _function in _UNARY.items():
    operator(_name)(lambda node, f=_function: (node.ignore("consumed_inputs"), f)[1])


def _binary(function):
    def build(node):
        _broadcast_before_7(node)
        return function
    return build


for _name, _function in _BINARY.items():
    operator(_name)(_binary(_function))
for _name, _function in _MANY.items():
    operator(_name)(lambda node, f=_function: (node.ignore("consumed_inputs"), lambda *arrays: reduce(f, arrays))[1])


@operator("Mean")
def _mean(node):
    return lambda *arrays: reduce(np.add, arrays) / np.asarray(len(arrays), arrays[0].dtype)


@operator("Div")
def _div(node):
    _broadcast_before_7(node)

    def run(a, b):
        if a.dtype.kind not in "iu":
            return a / b
        quotient = np.floor_divide(a, b)  # integers are cut towards zero, as C does
        return quotient + ((np.remainder(a, b) != 0) & ((a < 0) != (b < 0))).astype(a.dtype)

    return run


@operator("Pow")
def _pow(node):
    _broadcast_before_7(node)
    return lambda a, b: np.power(a, b).astype(a.dtype, copy=False)


@operator("Mod")
def _mod(node):
    return np.fmod if node.take("fmod", 0) else np.remainder


@operator("Where")
def _where(node):
    return np.where


@operator("IsInf")
def _is_inf(node):
    up, down = node.take("detect_positive", 1), node.take("detect_negative", 1)
    return lambda x: np.isinf(x) & ((x > 0) & bool(up) | (x < 0) & bool(down))


# Activations with numbers ---------------------------------------------------------------------------------------------

@operator("LeakyRelu")
def _leaky_relu(node):
    node.ignore("consumed_inputs")
    return act.LeakyReLU(node.take("alpha", 0.01)).value


@operator("PRelu")
def _prelu(node):
    channels = not node.since(7)  # a slope per channel then, an array that broadcasts since

    def run(x, slope):
        if channels and slope.ndim == 1 and x.ndim > 1:
            slope = slope.reshape(-1, *(1,) * (x.ndim - 2))
        return np.where(x > 0, x, x * slope)

    node.ignore("consumed_inputs")
    return run


@operator("Elu")
def _elu(node):
    node.ignore("consumed_inputs")
    return act.ELU(node.take("alpha", 1.0)).value


@operator("Selu")
def _selu(node):
    alpha, gamma = node.take("alpha", act.SELU.alpha), node.take("gamma", act.SELU.gamma)
    node.ignore("consumed_inputs")
    return lambda x: (gamma * act.ELU(alpha).value(x)).astype(x.dtype)


@operator("Celu")
def _celu(node):
    alpha = node.take("alpha", 1.0)
    return lambda x: act.ELU(alpha).value(x / alpha * 1.0) if alpha == 1 else np.where(
        x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha))


@operator("ThresholdedRelu")
def _thresholded_relu(node):
    alpha = node.take("alpha", 1.0)
    return lambda x: np.where(x > alpha, x, np.zeros((), x.dtype))


@operator("HardSigmoid")
def _hard_sigmoid(node):
    node.ignore("consumed_inputs")
    return act.HardSigmoid(node.take("alpha", 0.2), node.take("beta", 0.5)).value


@operator("Gelu")
def _gelu(node):
    word = node.take("approximate", "none")
    return act.GELU(word == "tanh").value


@operator("Swish")
def _swish(node):
    alpha = node.take("alpha", 1.0)
    return lambda x: x * act.sigmoid(alpha * x)


@operator("Clip")
def _clip(node):
    low, high = node.input_or("min", 1, 11), node.input_or("max", 2, 11)
    node.ignore("consumed_inputs")

    def run(*given):
        x, bounds = given[0], (low(given), high(given))
        bounds = [None if bound is None else np.asarray(bound, x.dtype) for bound in bounds]
        # As the definition min(max(x, low), high) has it, which also says what crossed bounds give.
        y = x if bounds[0] is None else np.maximum(x, bounds[0])
        return y if bounds[1] is None else np.minimum(y, bounds[1])

    return run


def _softmax_like(function):
    def build(node):
        axis = node.take("axis", -1 if node.since(13) else 1)
        if node.since(13):
            return lambda x: function(x, axis=axis)

        def run(x):  # over all axes from this one on
            rest = tuple(range(axis % x.ndim if axis < 0 else axis, x.ndim))
            return function(x, axis=rest)

        return run
    return build


operator("Softmax")(_softmax_like(special.softmax))
operator("LogSoftmax")(_softmax_like(special.log_softmax))


# Reductions -----------------------------------------------------------------------------------------------------------

def _reduction(name, function):
    def build(node):
        keep = bool(node.take("keepdims", 1))
        axes = node.input_or("axes", 1, 13 if name == "ReduceSum" else 18)
        nothing = bool(node.take("noop_with_empty_axes", 0))

        def run(*given):
            x, over = given[0], axes(given)
            if over is None or np.size(over) == 0:
                if nothing:
                    return x
                over = range(x.ndim)
            y = function(x, axis=tuple(a % x.ndim for a in whole(over)) if np.size(over) else (), keepdims=keep)
            return np.asarray(y).astype(x.dtype, copy=False)

        return run
    return build


for _name, _function in _REDUCTIONS.items():
    operator(_name)(_reduction(_name, _function))


def _arg(function):
    def build(node):
        axis, keep, last = node.take("axis", 0), bool(node.take("keepdims", 1)), node.take("select_last_index", 0)

        def run(x):
            if not last:
                return np.asarray(function(x, axis=axis, keepdims=keep), np.int64)
            turned = function(np.flip(x, axis), axis=axis, keepdims=keep)
            return np.asarray(x.shape[axis] - 1 - turned, np.int64)

        return run
    return build


operator("ArgMax")(_arg(np.argmax))
operator("ArgMin")(_arg(np.argmin))


@operator("CumSum")
def _cumsum(node):
    exclusive, reverse = node.take("exclusive", 0), node.take("reverse", 0)

    def run(x, axis):
        at = int(np.asarray(axis).item())
        x = np.flip(x, at) if reverse else x
        y = np.cumsum(x, axis=at, dtype=x.dtype)
        y = y - x if exclusive else y
        return np.flip(y, at) if reverse else y

    return run


@operator("TopK")
def _top_k(node):
    axis, largest = node.take("axis", -1), node.take("largest", 1)
    count = node.input_or("k", 1, 10)
    node.ignore("sorted")

    def run(*given):
        x, k = given[0], int(np.asarray(count(given)).item())
        keys = x if not largest else -x.astype(float if x.dtype.kind == "f" else object)
        order = np.take(np.argsort(keys, axis=axis, kind="stable"), np.arange(k), axis=axis)
        return np.take_along_axis(x, order, axis=axis), order.astype(np.int64)

    return run


@operator("Cast")
def _cast(node):
    dtype = dtype_of(node.take("to"))
    node.ignore("saturate", "round_mode")
    return lambda x: x.astype(dtype)


@operator("CastLike")
def _cast_like(node):
    node.ignore("saturate", "round_mode")
    return lambda x, model: x.astype(model.dtype)
