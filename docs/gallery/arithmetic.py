"""
Padding, stride, dilation
=========================

The arithmetic of a convolution, one output at a time. The window lies on the cells that the plan of the call names.
"""

from convx import plot

# %%
# Without padding the window stays inside, and each axis loses taps - 1 cells.
plain = plot.arithmetic((5, 5), (3, 3), step=4)

# %%
# A cell of padding on each side, and steps of two: taps on padding add nothing.
strided = plot.arithmetic((5, 5), (3, 3), stride=2, padding=1, step=(1, 2))

# %%
# Dilation puts the taps apart. The window spans 5 x 5 cells, nine of its 25 count.
dilated = plot.arithmetic((7, 7), (3, 3), dilation=2, step=4)

# %%
# On one axis each tap has its line, and the outputs stand under the middle of their windows.
line = plot.arithmetic(9, 3, stride=2, dilation=2, padding=((1, 2),), step=2)
