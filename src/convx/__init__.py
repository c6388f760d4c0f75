"""convx: convolution of NumPy arrays on the CPU.

conv, conv1d, conv2d, conv3d     layers: batch, channels, stride, dilation, groups, boundaries, any layout and rank
convolve, correlate              plain arrays, drop-ins for scipy.signal
max_pool, avg_pool               pooling; their gradients max_pool_grad, avg_pool_grad; max_unpool
plan, explain                    check and choose once; see what is chosen and why
set_num_threads, get_num_threads, threads, show_config

The floors, each importing only lower ones:
    7  __main__  _demo/*
    6  __init__
    5  _conv  _signal  _pool  _arguments  _layout
    4  _plan  _select  _exact  _windows
    3  _solvers/*
    2  _nest
    1  _geometry   (and beside it _threads, _config)
    0  _kernels/*  compiled
"""

from ._config import __version__, show_config
from ._conv import conv, conv1d, conv2d, conv3d, explain, plan
from ._pool import avg_pool, avg_pool_grad, max_pool, max_pool_grad, max_unpool
from ._signal import convolve, correlate
from ._threads import get_num_threads, set_num_threads, threads

__all__ = [
    "__version__",
    "avg_pool",
    "avg_pool_grad",
    "conv",
    "conv1d",
    "conv2d",
    "conv3d",
    "convolve",
    "correlate",
    "explain",
    "get_num_threads",
    "max_pool",
    "max_pool_grad",
    "max_unpool",
    "plan",
    "set_num_threads",
    "show_config",
    "threads",
]
