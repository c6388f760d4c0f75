"""
Kernels and feature maps
========================

Weights as grey tiles, each stretched from its least to its largest weight, and what a layer makes of a photograph.
"""

from importlib.resources import files

import numpy as np
from PIL import Image

import convx
from convx import image, plot

# Filters that look for lines: a wave in a window, in eight directions and two widths, in three mixes of colours.
rows, columns = np.mgrid[-3:4, -3:4]
waves = [np.cos((columns * np.cos(a) + rows * np.sin(a)) * f) * np.exp(-(rows**2 + columns**2) / 6)
         for f in (0.8, 1.6) for a in np.arange(8) * np.pi / 8]
mixes = np.array([[1, 1, 1], [1, -1, 0], [0.5, 0.5, -1]])
w = np.einsum("mc,fij->mfcij", mixes, waves).reshape(48, 3, 7, 7)
tiles = plot.kernel_tiles(w, zoom=8)

# %%
# The first three tiles are the three channels of the first filter. The other order shows one channel of 25 filters:
first_channel = plot.kernel_tiles(w, zoom=8, order="in")

# %%
# Their answers to the photograph of the demonstration, one tile a filter.
with Image.open(files("convx") / "_demo" / "chelsea.png") as file:
    photo = np.asarray(file.convert("RGB").reduce(3)).astype(np.float32) / 255
y = convx.conv2d(photo, w.astype(np.float32), layout="HWC", w_layout="OIHW", padding="same", boundary="reflect")
maps = plot.feature_maps(np.maximum(y, 0), layout="HWC")

# %%
# Nine of the kernels that ``convx.image`` has by name:
names = ("box", "sharpen", "edge-detect", "edge-enhance", "emboss", "sobel", "prewitt", "scharr", "laplacian")
named = plot.kernel_tiles(np.array([image.kernel(name) for name in names])[:, None])
