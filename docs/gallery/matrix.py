"""
A convolution as a matrix
=========================

Every weight stands in the matrix once for each output. Rows are outputs, columns are inputs, both in C order.
"""

import numpy as np

from convx import plot

kernel = np.arange(1.0, 10).reshape(1, 1, 3, 3)
one = plot.operator_matrix(kernel, (1, 5, 5))

# %%
# The transposed convolution is the transposed matrix.
back = plot.operator_matrix(kernel, (1, 3, 3), operator="conv_transpose")

# %%
# Two channels in and out make two by two blocks of blocks.
rng = np.random.default_rng(0)
blocks = plot.operator_matrix(rng.standard_normal((2, 2, 3, 3)), (2, 8, 8), padding="same")

# %%
# A boundary that wraps makes the matrix circulant; a locally connected layer gives each entry a weight of its own.
circulant = plot.operator_matrix(np.array([[[1.0, 2, 3]]]), (1, 12), padding="same", boundary="wrap")

# %%
local = plot.operator_matrix(rng.integers(1, 10, (10, 1, 1, 3)).astype(float), (1, 12), operator="locally_connected")
