"""
The window with numbers
=======================

Given arrays instead of sizes, the drawing holds the numbers: each cell times the small weight in it.
"""

import numpy as np

from convx import plot

x = np.array([[35, 40, 41, 45, 50], [40, 40, 42, 46, 52], [42, 46, 50, 55, 55], [48, 52, 56, 58, 60],
              [56, 60, 65, 70, 75]])
above = np.array([[0, 1, 0], [0, 0, 0], [0, 0, 0]])
shifted = plot.arithmetic(x, above, padding="same", step=(2, 2))

# %%
# Difference from the four neighbours:
edges = plot.arithmetic(x, np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]]), step=4)
