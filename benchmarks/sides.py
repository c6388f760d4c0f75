"""The two sides of every comparison: what convx is asked, and what each peer that is installed is asked for the same.

A contest has calls by name; `ours` are convx's, one a layout. Public names of convx only. Peers: PyTorch, onnxruntime,
JAX, OpenCV, SciPy (signal and ndimage), NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec

import numpy as np
from problems_file import Case, laid_out, operands

import convx

F32, F64 = "float32", "float64"
POOLING = ("max_pool", "avg_pool", "max_pool_grad", "avg_pool_grad")


@dataclass
class Contest:
    label: str
    ours: dict[str, Callable]
    peers: dict[str, Callable]
    products: int | None = None
    tolerance: float = 1e-4  # largest difference of two results over the largest value
    limit: float | None = None  # seconds that are fast enough, whatever the peer needs
    tag: str = ""
    more: dict = field(default_factory=dict)


def tolerance(dtype: str) -> float:
    return {F64: 1e-11, "uint8": 2.5 / 255, "uint16": 2.5 / 65535}.get(dtype, 1e-4)  # one off, of half the white


# Layers ---------------------------------------------------------------------------------------------------------------

def convx_call(case: Case, backward=False, **more):
    x, w, y = (laid_out(a, case.layout) for a in operands(case.tag, case.dtype))
    options = {**case.options(), **more}
    if case.transposed and not backward:
        return lambda: convx.conv_transpose(y, w, **options)
    if case.transposed:  # the gradient of its result is an x
        return lambda: (convx.conv_transpose_grad_input(x, w, y.shape, **options),
                        convx.conv_transpose_grad_weight(y, x, w.shape, **options))
    if backward:
        return lambda: (convx.conv_grad_input(y, w, x.shape, **options),
                        convx.conv_grad_weight(x, y, w.shape, **options))
    return lambda: convx.conv(x, w, **options)


def torch_calls(case: Case, backward=False) -> dict:
    import torch

    orders = {"contiguous": torch.contiguous_format,
              "channels_last": torch.channels_last if len(case.k) == 2 else torch.channels_last_3d}
    calls = {}
    for name, order in orders.items():
        x, w, y = (torch.from_numpy(a).clone(memory_format=order) for a in operands(case.tag, case.dtype))
        here, there = (y, x) if case.transposed else (x, y)
        options = (case.s, case.p, case.d, case.transposed, [0] * len(case.k), case.g[0])
        if backward:
            calls[f"torch {name}"] = lambda here=here, w=w, there=there, options=options: (
                torch.ops.aten.convolution_backward(there, here, w, None, *options, [True, True, False])[:2])
        else:
            calls[f"torch {name}"] = lambda here=here, w=w, options=options: torch.convolution(here, w, None, *options)
    return calls


def jax_call(case: Case) -> dict:
    """Compiled by XLA, channels last, on the same threads only where its own choice is the same."""
    if not find_spec("jax"):
        return {}
    import jax

    x, w = (np.moveaxis(a, 1, -1) for a in operands(case.tag, case.dtype)[:2])
    x, w = jax.numpy.asarray(x), jax.numpy.asarray(np.moveaxis(w, 0, -1))
    numbers = "NHWC", "HWIO", "NHWC"
    call = jax.jit(lambda x, w: jax.lax.conv_general_dilated(
        x, w, case.s, [(p, p) for p in case.p], rhs_dilation=case.d, dimension_numbers=numbers,
        feature_group_count=case.g[0]))
    return {"jax NHWC": lambda: np.asarray(call(x, w))}


def onnxruntime_call(case: Case) -> dict:
    """A network of this one layer, its weights prepared when it is loaded."""
    if not find_spec("onnxruntime") or not find_spec("onnx"):
        return {}
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    x, w, _ = operands(case.tag, case.dtype)
    node = helper.make_node("Conv", ["x", "w"], ["y"], strides=case.s, dilations=case.d, group=case.g[0],
                            pads=[*case.p, *case.p])
    graph = helper.make_graph([node], "layer", [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                              [numpy_helper.from_array(w, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = convx.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # its idle threads would take our cores
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return {"onnxruntime": lambda: session.run(None, {"x": x})[0]}


def layers(tag, dtype, layouts, backward=False):
    case = Case(tag, dtype, "NCHW")
    peers = torch_calls(case, backward) if find_spec("torch") else {}
    if not backward and not case.transposed and dtype == F32 and len(case.k) == 2:
        peers |= jax_call(case)
    yield Contest(f"{tag} {dtype}",
                  {f"convx {layout}": convx_call(Case(tag, dtype, layout), backward) for layout in layouts},
                  peers, case.products * (2 if backward else 1), tolerance(dtype))


def gradients(tag, dtype, layouts):
    yield from layers(tag, dtype, layouts, backward=True)


def bound(tag, dtype, layouts):
    """Plans with bound weights beside PyTorch, which prepares them at every call, and engines, which do so once."""
    case, ours = Case(tag, dtype, "NCHW"), {}
    for layout in layouts:
        here = Case(tag, dtype, layout)
        x, w, _ = (laid_out(a, layout) for a in operands(tag, dtype))
        q = convx.plan("conv", x, w, **here.options()).bind(w)
        ours[f"convx {layout}"] = lambda q=q, x=x: q(x)
    yield Contest(f"{tag} {dtype}, torch", ours, torch_calls(case) if find_spec("torch") else {}, case.products)
    engines = onnxruntime_call(case)
    if engines:
        yield Contest(f"{tag} {dtype}, engine", ours, engines, case.products, more={"engine": True})


def threads(tag, dtype, layouts):
    case = Case(tag, dtype, layouts[0])
    yield Contest(f"{tag} {dtype}", {f"convx {layouts[0]}": convx_call(case)},
                  {"one thread": convx_call(case, workers=1)}, case.products, tolerance(dtype))


# Filters --------------------------------------------------------------------------------------------------------------

def opencv_filter(x, w, depth=None, **options) -> dict:
    if not find_spec("cv2"):
        return {}
    import cv2

    depth = {"float64": cv2.CV_64F, "float32": cv2.CV_32F}.get(str(x.dtype), -1)
    return {"cv2": lambda: cv2.filter2D(x, depth, w, borderType=cv2.BORDER_CONSTANT, **options)}


def filters(tag, dtype, layouts):
    case = Case(tag, dtype, "NCHW")
    x, w = (a[0, 0] for a in operands(tag, dtype)[:2])
    yield Contest(f"{tag} {dtype}", {"convx": convx_call(case)}, opencv_filter(x, w), case.products, tolerance(dtype))


def large_filters(tag, dtype, layouts):
    from scipy import signal

    case = Case(tag, dtype, "NCHW")
    x, w = (a[0, 0] for a in operands(tag, dtype)[:2])
    turned = w[::-1, ::-1].copy()
    yield Contest(f"{tag} {dtype}", {"convx": lambda: convx.correlate(x, w, "same")},
                  {**opencv_filter(x, w), "fftconvolve": lambda: signal.fftconvolve(x, turned, "same"),
                   "oaconvolve": lambda: signal.oaconvolve(x, turned, "same")}, case.products, tolerance(dtype))


def images(tag, dtype, layouts):
    """Integer pictures in, integer pictures out, smoothed with float weights."""
    from convx import image

    case, rng = Case(tag, dtype, "NCHW"), np.random.default_rng(7)
    picture = rng.integers(0, np.iinfo(dtype).max, case.i, dtype, endpoint=True)
    w = rng.random(case.k, np.float32)
    w /= w.sum()
    yield Contest(f"{tag} {dtype}", {"convx": lambda: image.apply(picture, w, border="constant", channel_axis=None)},
                  opencv_filter(picture, w), case.products, tolerance(dtype))


def signals(tag, dtype, layouts):
    """Plain arrays with one, two or three axes."""
    from scipy import ndimage, signal

    case = Case(tag, dtype, "NCHW")
    a, v = (z[0, 0] for z in operands(tag, dtype)[:2])
    peers = {"signal.convolve": lambda: signal.convolve(a, v, "same"),
             "oaconvolve": lambda: signal.oaconvolve(a, v, "same")}
    if a.ndim == 1:
        peers["numpy"] = lambda: np.convolve(a, v, "same")
    else:
        peers["ndimage"] = lambda: ndimage.convolve(a, v, mode="constant")
    yield Contest(f"{tag} {dtype}", {"convx": lambda: convx.convolve(a, v, "same")}, peers, case.products,
                  tolerance(dtype))


# Pooling --------------------------------------------------------------------------------------------------------------

@cache
def pool_gradient(tag: str, dtype: str):
    """dy, channels first."""
    return np.random.default_rng(8).standard_normal(Case(tag, dtype, "NCHW").shapes[2], dtype=dtype)


def pool_call(case: Case, name: str):
    """The pooling or gradient of this name; averages count padded cells, as PyTorch's do by default."""
    x, dy = (laid_out(a, case.layout) for a in (operands(case.tag, case.dtype)[0], pool_gradient(case.tag, case.dtype)))
    options, call = {"stride": case.s, "padding": case.p, "layout": case.layout}, getattr(convx, name)
    if name.startswith("avg"):
        options["count_include_pad"] = True
    given = {"max_pool": (x,), "avg_pool": (x,), "max_pool_grad": (x, dy), "avg_pool_grad": (x.shape, dy)}[name]
    return lambda: call(*given, case.k, **options)


def torch_pool_calls(case: Case, name: str) -> dict:
    import torch

    aten, functional = torch.ops.aten, torch.nn.functional
    k, s, p = list(case.k), list(case.s), list(case.p)
    calls = {}
    for order in (torch.contiguous_format, torch.channels_last):
        x, dy = (torch.from_numpy(a).clone(memory_format=order)
                 for a in (operands(case.tag, case.dtype)[0], pool_gradient(case.tag, case.dtype)))

        def gradient(x=x, dy=dy):
            _, indices = functional.max_pool2d(x, k, s, p, return_indices=True)
            return aten.max_pool2d_with_indices_backward(dy, x, k, s, p, [1, 1], False, indices)

        calls[f"torch {str(order).split('.')[-1].removesuffix('_format')}"] = {
            "max_pool": lambda x=x: functional.max_pool2d(x, k, s, p),
            "avg_pool": lambda x=x: functional.avg_pool2d(x, k, s, p),
            "max_pool_grad": gradient,
            "avg_pool_grad": lambda x=x, dy=dy: aten.avg_pool2d_backward(dy, x, k, s, p, False, True, None),
        }[name]
    return calls


def pooling(name):
    def sides(tag, dtype, layouts):
        yield Contest(f"{tag} {dtype}",
                      {f"convx {layout}": pool_call(Case(tag, dtype, layout), name) for layout in layouts},
                      torch_pool_calls(Case(tag, dtype, "NCHW"), name) if find_spec("torch") else {},
                      None, tolerance(dtype))
    return sides


# The smallest calls ---------------------------------------------------------------------------------------------------

def small(tag, dtype, layouts):
    a, v = np.random.default_rng(7).standard_normal(16), np.ones(3)
    x, w, _ = operands(tag, dtype)
    out = np.empty(Case(tag, dtype, "NCHW").shapes[2], dtype)
    p = convx.plan("conv2d", x, w, padding="same")
    image, taps, dst = x[0, 0], w[0, 0], np.empty_like(x[0, 0])
    yield Contest("convolve(16, 3)", {"convx": lambda: convx.convolve(a, v)}, {"numpy": lambda: np.convolve(a, v)},
                  limit=4e-6, more={"factor": 1 / 4})
    yield Contest("conv2d 32x32, 3x3", {"convx": lambda: convx.conv2d(x, w, padding="same")},
                  opencv_filter(image, taps), limit=5e-6, more={"factor": 1})
    yield Contest("the same, plan and out=", {"convx": lambda: p(x, w, out=out)}, opencv_filter(image, taps, dst=dst),
                  limit=1.5e-6, more={"factor": 1})


SIDES = {"layers": layers, "gradients": gradients, "bound": bound, "threads": threads, "filters": filters,
         "large filters": large_filters, "images": images, "signals": signals, "small": small,
         **{name: pooling(name) for name in POOLING}}


def forget() -> None:
    """Free the arrays of the last problem."""
    operands.cache_clear()
    pool_gradient.cache_clear()


def set_threads(number: int) -> None:
    """The same number on every side; a peer that reads it when it starts is started with it."""
    convx.set_num_threads(number)
    if find_spec("torch"):
        import torch

        torch.set_num_threads(number)
        torch.set_grad_enabled(False)
    if find_spec("cv2"):
        import cv2

        cv2.setNumThreads(number)
