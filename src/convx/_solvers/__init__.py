"""The algorithms, in the order of preference on a tie. The last one never refuses (floor 3)."""

from . import depthwise, direct, fft, gemm, reference, stencil, stencil_winograd, thin, thin_winograd, winograd

SOLVERS = (depthwise, stencil, stencil_winograd, winograd, thin_winograd, thin, gemm, fft, direct, reference)
