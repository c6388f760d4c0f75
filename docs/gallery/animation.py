"""
All steps as an animation
=========================

``arithmetic_gif`` writes every step of the same picture into a file that repeats.
"""

import tempfile
from pathlib import Path

from convx import plot

folder = Path(tempfile.mkdtemp())
steps = folder / "steps.gif"
plot.arithmetic_gif(steps, (5, 5), (3, 3), stride=2, padding=1, rate=1.5)

# %%
# The transposed convolution goes back from 3 x 3 to 5 x 5.
back = folder / "back.gif"
plot.arithmetic_gif(back, (3, 3), (3, 3), operator="conv_transpose", stride=2, padding=1, rate=3)
