"""Layers of convx.nn to test, and derivatives by differences."""


from convx import nn


def shaped(layout, n, c, *sizes):
    """The shape of x in a layout."""
    return {"NCHW": (n, c, *sizes), "NHWC": (n, *sizes, c), "HWCN": (*sizes, c, n)}[layout]


def zoo(layout):
    """(layer, shape of x) of every layer, in a layout where it has one."""
    image, line = shaped(layout, 2, 4, 6, 5), shaped(layout, 3, 2, 7)
    flat = (5, 4)
    yield nn.Conv(3, (3, 2), padding="same", layout=layout), image
    yield nn.Conv(6, 3, stride=2, padding=1, groups=2, bias=False, layout=layout), image
    yield nn.Conv(2, 3, dilation=2, boundary="reflect", padding=2, flip=True, layout=layout), line
    yield nn.Conv(2, 2, layout=layout), shaped(layout, 2, 2, 3, 4, 3)
    yield nn.ConvTranspose(3, 3, stride=2, padding=1, output_padding=1, layout=layout), image
    yield nn.ConvTranspose(4, 2, groups=2, layout=layout), image
    yield nn.LocallyConnected(3, 3, stride=2, layout=layout), image
    yield nn.LocallyConnected(3, 2, bias="channel", padding="same", layout=layout), line
    yield nn.LocallyConnected(2, 2, bias=False, layout=layout), line
    yield nn.MaxPool(2, layout=layout), image
    yield nn.MaxPool(3, 2, padding=1, layout=layout), image
    yield nn.MaxPool("global", layout=layout), image
    yield nn.AvgPool(2, ceil_mode=True, layout=layout), image
    yield nn.AvgPool(3, 1, padding="same", count_include_pad=True, layout=layout), line
    yield nn.BatchNorm(layout=layout), image
    yield nn.BatchNorm(layout=layout), flat
    yield nn.PReLU(layout=layout), image
    yield nn.Flatten(layout=layout), image
    yield nn.Softmax(layout=layout), image
    yield nn.Softmax(layout=layout), flat
    yield nn.Reorg(2, layout=layout), shaped(layout, 2, 3, 4, 6)
    yield nn.Dropout(0.4, rng=1), image
    yield nn.Dense(3), flat
    yield nn.Dense(3, bias=False), flat
    yield residual(layout), image


def residual(layout):
    return nn.Sequential(
        nn.Conv(4, 3, padding=1), nn.Tanh(), nn.Sequential(nn.Conv(4, 1, bias=False), nn.BatchNorm()), nn.Add(-1, 0),
        nn.Route(-1, 1), nn.AvgPool(2), nn.Flatten(), nn.Dense(3), layout=layout)


ACTIVATIONS = [nn.ReLU(), nn.LeakyReLU(0.1), nn.LeakyReLU(1.5), nn.ELU(0.7), nn.SELU(), nn.Sigmoid(), nn.Tanh(),
               nn.Softplus(), nn.SiLU(), nn.Mish(), nn.GELU(), nn.GELU(approximate=True), nn.HardSigmoid(),
               nn.HardSigmoid(0.2, 0.4), nn.HardSwish(), nn.Clip(-0.5, 1.5), nn.Clip(high=0.3), nn.Clip(low=0.2)]


def directional(function, at, direction, step=1e-6):
    """The derivative of a function along a direction, by a difference of fourth order; at is written into."""
    start, found = at.copy(), []
    for k in (-2, -1, 1, 2):
        at[...] = start + k * step * direction
        found.append(function())
    at[...] = start
    return (found[0] - 8 * found[1] + 8 * found[2] - found[3]) / (12 * step)
