"""convx: convolution of NumPy arrays on the CPU.

conv, conv1d, conv2d, conv3d     layers: batch, channels, stride, dilation, groups, boundaries, any layout and rank
conv_grad_input, conv_grad_weight, conv_grad_bias, conv_backward     their gradients
conv_transpose, conv_transpose1d, conv_transpose2d, conv_transpose3d     the transposed layer, and its gradients:
    conv_transpose_grad_input, conv_transpose_grad_weight, conv_transpose_grad_bias, conv_transpose_backward
locally_connected                a layer whose weights differ from output to output, and its gradients:
    locally_connected_grad_input, locally_connected_grad_weight, locally_connected_grad_bias,
    locally_connected_backward
convolve, correlate              plain arrays, drop-ins for scipy.signal
max_pool, avg_pool               pooling; their gradients max_pool_grad, avg_pool_grad; max_unpool
plan, explain                    check and choose once; see what is chosen and why
geometry, x_axes, w_axes         the numbers of a problem; where batch, channels, space and taps stand in a layout
set_num_threads, get_num_threads, threads, show_config

Rooms of their own, imported when asked for:
    convx.matlab    MATLAB's functions: conv2, filter2, xcorr, ... with its sizes, classes and errors
    convx.image     named kernels, and pictures filtered with a matrix as image editors do
    convx.linop     convolutions as SciPy's linear operators and sparse matrices
    convx.nn        networks of layers: forward, backward, tables, ONNX files
    convx.plot      drawings: convolution arithmetic, matrices, kernels, receptive fields (needs matplotlib)
    convx.torch     convolutions of PyTorch tensors, differentiable

The floors, each importing only lower ones:
    9  __main__  _commands/*  _compat/*  _demo/*
    8  image/*  plot/*
    7  linop  matlab/*  nn/*  torch
    6  __init__
    5  _conv  _gradients  _planning  _operators  _signal  _pool  _pool_grad  _pooling  _arguments  _layout
    4  _plan  _exact  _separable  _windows  _marks  _explanation  _schedule  _select  _accept  _problem  _stored
    3  _solvers/*
    2  _nest
    1  _geometry   (and beside it _threads, _config, _costs, _trial, _typing)
    0  _kernels/*  compiled
"""

from ._config import show_config
from ._conv import (
    conv,
    conv1d,
    conv2d,
    conv3d,
    conv_transpose,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    locally_connected,
)
from ._gradients import (
    conv_backward,
    conv_grad_bias,
    conv_grad_input,
    conv_grad_weight,
    conv_transpose_backward,
    conv_transpose_grad_bias,
    conv_transpose_grad_input,
    conv_transpose_grad_weight,
    locally_connected_backward,
    locally_connected_grad_bias,
    locally_connected_grad_input,
    locally_connected_grad_weight,
)
from ._layout import w_axes, x_axes
from ._planning import explain, geometry, plan
from ._pool import avg_pool, max_pool
from ._pool_grad import avg_pool_grad, max_pool_grad, max_unpool
from ._signal import convolve, correlate
from ._threads import get_num_threads, set_num_threads, threads
from ._version import version as __version__

__all__ = [
    "__version__",
    "avg_pool",
    "avg_pool_grad",
    "conv",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_backward",
    "conv_grad_bias",
    "conv_grad_input",
    "conv_grad_weight",
    "conv_transpose",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "conv_transpose_backward",
    "conv_transpose_grad_bias",
    "conv_transpose_grad_input",
    "conv_transpose_grad_weight",
    "convolve",
    "correlate",
    "explain",
    "geometry",
    "get_num_threads",
    "locally_connected",
    "locally_connected_backward",
    "locally_connected_grad_bias",
    "locally_connected_grad_input",
    "locally_connected_grad_weight",
    "max_pool",
    "max_pool_grad",
    "max_unpool",
    "plan",
    "set_num_threads",
    "show_config",
    "threads",
    "w_axes",
    "x_axes",
]
