"""
Effects on a photograph
=======================

The named kernels of ``convx.image``, applied to the photograph of the demonstration.
"""

from importlib.resources import files

import numpy as np
from PIL import Image

from convx import image, plot

with Image.open(files("convx") / "_demo" / "chelsea.png") as file:
    photo = np.asarray(file.convert("RGB"))[40:210, 100:300]

# %%
# As it is, blurred, moved; sharpened twice, a relief; shifted, and two differences of neighbours, four times as bright.
kernels = ["identity", image.kernel("gaussian", sigma=2), image.kernel("motion", length=15, angle=30),
           "sharpen", "unsharp", "emboss", image.kernel("shift", direction="up-left", distance=20)]
pictures = [image.apply(photo, kernel) for kernel in kernels]
pictures += [image.apply(photo, kernel, divisor=1 / 4) for kernel in ("edge-detect", "edge-enhance")]
effects = plot.tiled(pictures)

# %%
# Derivatives are negative in places: an offset of one half of white shows them. To the right, down, the magnitude of
# both, and the second derivatives of a Gaussian.
across, down = (image.apply(photo, image.kernel("sobel", direction=d), divisor=4, dtype=np.float32) for d in "xy")
pictures = [image.apply(photo, image.kernel("sobel", direction=d), divisor=4, offset=127.5) for d in "xy"]
pictures.append(np.clip(2 * np.hypot(across, down), 0, 255).astype(np.uint8))
pictures.append(image.apply(photo, image.kernel("log", sigma=1.5), divisor=1 / 4, offset=127.5))
derivatives = plot.tiled(pictures)
