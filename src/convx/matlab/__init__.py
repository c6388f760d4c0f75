"""MATLAB's functions by their names, argument order, sizes, classes and errors (`import convx.matlab`).

conv, conv2, convn, filter2          convolution and filtering of vectors, matrices, arrays
deconv, cconv, convmtx, convmtx2     division, circular convolution, convolution matrices
xcorr, xcorr2, normxcorr2            correlation
imfilter, imgaussfilt, imboxfilt     filters of images, which keep their class
fspecial, padarray, im2col, col2im   kernels; rims; blocks as columns
dlconv, dltranspconv                 layers of the Deep Learning Toolbox
maxpool, avgpool, maxunpool          its pooling
vl_nnconv, vl_nnconvt, vl_nnpool     MatConvNet's layers, with their derivatives

Everything here goes through the public names of convx: its threads, its kernels, its memory orders. An error is a
`MatlabError`, which carries MATLAB's identifier. `docs/matlab.md` is the guide for a program that is being ported.
"""

from ._blocks import col2im, im2col, padarray
from ._conv import conv, conv2, convn, filter2
from ._correlation import normxcorr2, xcorr, xcorr2
from ._deep import dlconv, dltranspconv
from ._image import imfilter
from ._matconvnet import vl_nnconv, vl_nnconvt, vl_nnpool
from ._matrix import convmtx, convmtx2
from ._pool import avgpool, maxpool, maxunpool
from ._signal import cconv, deconv
from ._smooth import imboxfilt, imgaussfilt
from ._special import fspecial
from ._values import MatlabError

__all__ = [
    "MatlabError",
    "avgpool",
    "cconv",
    "col2im",
    "conv",
    "conv2",
    "convmtx",
    "convmtx2",
    "convn",
    "deconv",
    "dlconv",
    "dltranspconv",
    "filter2",
    "fspecial",
    "im2col",
    "imboxfilt",
    "imfilter",
    "imgaussfilt",
    "maxpool",
    "maxunpool",
    "normxcorr2",
    "padarray",
    "vl_nnconv",
    "vl_nnconvt",
    "vl_nnpool",
    "xcorr",
    "xcorr2",
]
