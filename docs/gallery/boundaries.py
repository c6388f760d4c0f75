"""
What lies outside
=================

Five rules for the cells beyond the input, in the words of ``numpy.pad``.
"""

import numpy as np

from convx import plot

x, w = np.array([1.0, 2, 3, 4]), np.ones(5)
constant = plot.arithmetic(x, w, padding="same")

# %%
edge = plot.arithmetic(x, w, padding="same", boundary="edge")

# %%
reflect = plot.arithmetic(x, w, padding="same", boundary="reflect")

# %%
symmetric = plot.arithmetic(x, w, padding="same", boundary="symmetric")

# %%
wrap = plot.arithmetic(x, w, padding="same", boundary="wrap")
