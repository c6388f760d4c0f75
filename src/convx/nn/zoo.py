"""Two networks that the tutorials speak of, layer by layer (floor 7). They come without weights: `init` or `assign`."""

from __future__ import annotations

from ._activations import LeakyReLU, ReLU
from ._layers import BatchNorm, Dense, Dropout, Flatten, Reorg
from ._network import Route, Sequential
from ._windowed import Conv, MaxPool

__all__ = ["vgg16", "yolov2"]


def vgg16(classes: int = 1000, *, width: int = 64, hidden: int = 4096, layout: str | None = None) -> Sequential:
    """VGG16 (Simonyan and Zisserman 2014, configuration D): 13 convolutions, five poolings, three dense layers.

    Parameters
    ----------
    classes : int, optional
        Scores at the end; softmax is left to the loss, or to `nn.Softmax`.
    width : int, optional
        Channels of the first block; the following have 2, 4, 8 and 8 times as many.
    hidden : int, optional
        Units of the first two dense layers.
    layout : str, optional

    Returns
    -------
    net : Sequential
        Rows 0 to 21; for inputs of 224 x 224 the dense layers take 7 x 7 x 512 features. The arrays stand in the order
        of torchvision's `vgg16` (channels first), so that ``net.assign(state_dict.values())`` takes them.

    Examples
    --------
    >>> from convx import nn
    >>> net = nn.zoo.vgg16()
    >>> net.output_shape((1, 3, 224, 224)), nn.summary(net, (1, 3, 224, 224)).parameters
    ((1, 1000), 138357544)
    """
    layers = []
    for factor, count in ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3)):
        layers += [Sequential(Conv(width * factor, 3, padding=1), ReLU()) for _ in range(count)]
        layers.append(MaxPool(2))
    layers.append(Flatten())
    layers += [Sequential(Dense(hidden), ReLU(), Dropout(0.5)) for _ in range(2)]
    return Sequential(*layers, Dense(classes), layout=layout)


def yolov2(outputs: int = 425, *, width: int = 32, layout: str | None = None) -> Sequential:
    """The detector of the second YOLO (Redmon and Farhadi 2016): 416 x 416 x 3 to 13 x 13 x 425.

    Layers 0 to 29 of its first published list: 3 x 3 and 1 x 1 convolutions, each but the last with batch
    normalisation and a leaky ReLU, five poolings, and a passthrough of layer 16 to layer 27. What is made of the 425
    numbers of each cell (5 boxes of 4 coordinates, an objectness and 80 classes) is no layer and not here.

    Parameters
    ----------
    outputs : int, optional
        boxes * (5 + classes).
    width : int, optional
        Filters of the first layer; all others follow.
    layout : str, optional

    Returns
    -------
    net : Sequential
        For multiples of 32, and other sizes whose 16th, rounded down on the way, is even.

    Examples
    --------
    >>> from convx import nn
    >>> net = nn.zoo.yolov2()
    >>> net.output_shape((1, 3, 416, 416)), net[:1].output_shape((1, 3, 416, 416))
    ((1, 425, 13, 13), (1, 32, 416, 416))
    """
    def conv(factor: int, taps: int) -> Sequential:
        return Sequential(Conv(width * factor, taps, padding=taps // 2, bias=False), BatchNorm(), LeakyReLU(0.1))

    def bottleneck(factor: int, count: int):
        return [conv(factor // (1 + i % 2), 1 if i % 2 else 3) for i in range(count)]

    layers = [conv(1, 3), MaxPool(2), conv(2, 3)]
    for factor, count in ((4, 3), (8, 3), (16, 5), (32, 5)):
        layers += [MaxPool(2), *bottleneck(factor, count)]
    layers += [conv(32, 3), conv(32, 3), Route(16), Reorg(2), Route(-1, 24), conv(32, 3), Conv(outputs, 1)]
    return Sequential(*layers, layout=layout)
