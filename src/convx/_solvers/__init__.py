"""The algorithms, in the order of preference on a tie. The last one never refuses (floor 3)."""

from . import direct, fft, gemm, reference, stencil

SOLVERS = (stencil, gemm, fft, direct, reference)
