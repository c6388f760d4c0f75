"""
What a filter answers to
========================

From noise, up the gradient of one filter's mean answer. The network here is made by hand, so that the answer can be
checked by eye: its first layer looks for waves in eight directions and two widths, its second for mixtures of them.
Trained weights go in by ``net.assign``.
"""

import numpy as np

from convx import nn, plot

rows, columns = np.mgrid[-4:5, -4:5]
waves = np.array([np.cos((columns * np.cos(a) + rows * np.sin(a)) * f) * np.exp(-(rows**2 + columns**2) / 9)
                  for f in (0.9, 1.6) for a in np.arange(8) * np.pi / 8])
waves -= waves.mean(axis=(1, 2), keepdims=True)
colours = np.array([[1, 0.6, 0.2], [0.2, 0.6, 1]])[np.arange(16) // 8]
net = nn.Sequential(nn.Conv(16, 9, padding="same", boundary="wrap"), nn.ReLU(), nn.MaxPool(2),
                    nn.Conv(9, 5, padding="same", boundary="wrap"), nn.ReLU())
net.init((1, 3, 72, 72), rng=1)
net[0].w[:] = np.einsum("mc,mij->mcij", colours, waves)
first = plot.ascents(net, 1, filters=16, size=72, steps=30, rng=0)
sheet = plot.tiled([ascent.picture for ascent in first])

# %%
# The largest losses come first:
print(np.round([ascent.loss for ascent in first], 1))

# %%
# The second layer has random weights. Its filters answer to mixtures, and to where one wave stops and another begins:
second = plot.ascents(net, 4, filters=9, size=72, steps=40, rng=0)
sheet_of_mixtures = plot.tiled([ascent.picture for ascent in second])
