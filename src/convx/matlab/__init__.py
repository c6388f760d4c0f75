"""MATLAB's functions by their names, argument order, sizes, classes and errors (`import convx.matlab`).

conv, conv2, convn, filter2          convolution and filtering of vectors, matrices, arrays
deconv, cconv, convmtx, convmtx2     division, circular convolution, convolution matrices
xcorr, xcorr2, normxcorr2            correlation

Everything here goes through the public names of convx: its threads, its kernels, its memory orders. An error is a
`MatlabError`, which carries MATLAB's identifier. `docs/matlab.md` is the guide for a program that is being ported.
"""

from ._conv import conv, conv2, convn, filter2
from ._correlation import normxcorr2, xcorr, xcorr2
from ._matrix import convmtx, convmtx2
from ._signal import cconv, deconv
from ._values import MatlabError

__all__ = [
    "MatlabError",
    "cconv",
    "conv",
    "conv2",
    "convmtx",
    "convmtx2",
    "convn",
    "deconv",
    "filter2",
    "normxcorr2",
    "xcorr",
    "xcorr2",
]
