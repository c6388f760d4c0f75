"""The algorithms, in the order of preference on a tie. The last one never refuses (floor 3)."""

from . import depthwise, direct, fft, gemm, reference, stencil, thin, winograd

SOLVERS = (depthwise, stencil, winograd, thin, gemm, fft, direct, reference)
