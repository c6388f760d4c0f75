"""Drawings of convolutions and of what networks learn (floor 8, imported only when asked for; needs matplotlib).

arithmetic, arithmetic_gif      input, padding, window, stride and output of one step, or of all as an animation
operator_matrix                 a convolution as a matrix, every weight where it stands
kernel_tiles, feature_maps      pictures of weights and of results, one tile for each
receptive_field                 what the middle of every layer sees of the input
ascend, ascents                 an input that a filter answers to, by gradient ascent

Figures are matplotlib's `Figure` and belong to the caller: pyplot is not touched, ``figure.savefig("name.png")`` writes
one. Pictures are arrays of uint8. The numbers come from convx's public functions and from the index relation of their
plans, so that a drawing shows what the code does.
"""

try:
    import matplotlib  # noqa: F401
except ImportError as error:
    raise ImportError('convx.plot needs matplotlib: pip install "convx-nd[plot]"') from error

from ._arithmetic import arithmetic, arithmetic_gif
from ._ascent import Ascent, ascend, ascents
from ._matrix import operator_matrix
from ._receptive import receptive_field
from ._tiles import feature_maps, kernel_tiles, tiled

__all__ = ["Ascent", "arithmetic", "arithmetic_gif", "ascend", "ascents", "feature_maps", "kernel_tiles",
           "operator_matrix", "receptive_field", "tiled"]
