"""
Receptive fields
================

What the middle output of every layer sees of the input: VGG16 up to its last pooling.
"""

from convx import nn, plot

vgg = plot.receptive_field(nn.zoo.vgg16()[:18], (1, 3, 224, 224))

# %%
# Three taps each, dilated by 1, 2, 4 and 8: the field doubles from layer to layer, the number of weights does not.
dilated = plot.receptive_field([nn.Conv(4, 3, dilation=d, padding="same") for d in (1, 2, 4, 8)], (1, 1, 40))
