"""
Whose "same"
============

A kernel with an even number of taps has no middle. SciPy and MATLAB cut the part of the size of the input at different
places; both are convolutions, so the kernel is turned around.
"""

import numpy as np

from convx import plot

x, w = np.arange(1.0, 6), np.array([1.0, 10, 100, 1000])
scipy = plot.arithmetic(x, w, operator="convolve", mode="same")

# %%
matlab = plot.arithmetic(x, w, operator="convolve", mode="same", alignment="matlab")

# %%
# Layers correlate. TensorFlow, PyTorch and ONNX's SAME_UPPER pad the odd cell after:
upper = plot.arithmetic(x, w, padding="same")

# %%
# SAME_LOWER, ``scipy.ndimage`` and OpenCV before:
lower = plot.arithmetic(x, w, padding="same_lower")
