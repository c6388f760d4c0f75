"""
Transposed convolution
======================

A transposed convolution spreads its input: stride - 1 zeros stand between the cells, and a convolution with steps of
one follows, whose kernel is turned around. The code inserts nothing; it knows which taps meet an input.
"""

from convx import plot

spread = plot.arithmetic((3, 3), (3, 3), operator="conv_transpose", stride=2, padding=1, step=(1, 2))

# %%
# Four taps at stride 2 are the usual choice where an even picture is to become twice as large.
line = plot.arithmetic(4, 4, operator="conv_transpose", stride=2, padding=1, step=3)
