"""Sequential networks, joins, training, tables, receptive fields and the zoo."""

import doctest
import subprocess
import sys

import nn_layers
import numpy as np
import pytest

import convx
from convx import nn

pytestmark = pytest.mark.once  # no matter which kernel row or build

YOLO = """
    0 conv     32  3 x 3 / 1   416 x 416 x   3   ->   416 x 416 x  32
    1 max          2 x 2 / 2   416 x 416 x  32   ->   208 x 208 x  32
    2 conv     64  3 x 3 / 1   208 x 208 x  32   ->   208 x 208 x  64
    3 max          2 x 2 / 2   208 x 208 x  64   ->   104 x 104 x  64
    4 conv    128  3 x 3 / 1   104 x 104 x  64   ->   104 x 104 x 128
    5 conv     64  1 x 1 / 1   104 x 104 x 128   ->   104 x 104 x  64
    6 conv    128  3 x 3 / 1   104 x 104 x  64   ->   104 x 104 x 128
    7 max          2 x 2 / 2   104 x 104 x 128   ->    52 x  52 x 128
    8 conv    256  3 x 3 / 1    52 x  52 x 128   ->    52 x  52 x 256
    9 conv    128  1 x 1 / 1    52 x  52 x 256   ->    52 x  52 x 128
   10 conv    256  3 x 3 / 1    52 x  52 x 128   ->    52 x  52 x 256
   11 max          2 x 2 / 2    52 x  52 x 256   ->    26 x  26 x 256
   12 conv    512  3 x 3 / 1    26 x  26 x 256   ->    26 x  26 x 512
   13 conv    256  1 x 1 / 1    26 x  26 x 512   ->    26 x  26 x 256
   14 conv    512  3 x 3 / 1    26 x  26 x 256   ->    26 x  26 x 512
   15 conv    256  1 x 1 / 1    26 x  26 x 512   ->    26 x  26 x 256
   16 conv    512  3 x 3 / 1    26 x  26 x 256   ->    26 x  26 x 512
   17 max          2 x 2 / 2    26 x  26 x 512   ->    13 x  13 x 512
   18 conv   1024  3 x 3 / 1    13 x  13 x 512   ->    13 x  13 x1024
   19 conv    512  1 x 1 / 1    13 x  13 x1024   ->    13 x  13 x 512
   20 conv   1024  3 x 3 / 1    13 x  13 x 512   ->    13 x  13 x1024
   21 conv    512  1 x 1 / 1    13 x  13 x1024   ->    13 x  13 x 512
   22 conv   1024  3 x 3 / 1    13 x  13 x 512   ->    13 x  13 x1024
   23 conv   1024  3 x 3 / 1    13 x  13 x1024   ->    13 x  13 x1024
   24 conv   1024  3 x 3 / 1    13 x  13 x1024   ->    13 x  13 x1024
   25 route            16       26 x  26 x 512   ->    26 x  26 x 512
   26 reorg           / 2       26 x  26 x 512   ->    13 x  13 x2048
   27 route         26 24       13 x  13 x2048   ->    13 x  13 x3072
   28 conv   1024  3 x 3 / 1    13 x  13 x3072   ->    13 x  13 x1024
   29 conv    425  1 x 1 / 1    13 x  13 x1024   ->    13 x  13 x 425
"""


def words(line):
    """A line of a table without its blanks."""
    return line.replace("x", " x ").split()


def test_the_table_of_yolo():
    table = str(nn.summary(nn.zoo.yolov2(), (1, 3, 416, 416))).splitlines()
    assert table[0].split()[:5] == ["layer", "filters", "size", "input", "output"]
    for line, want in zip(table[1:], YOLO.strip("\n").splitlines(), strict=False):
        assert words(line)[:len(words(want))] == words(want)
    assert table[31] == ""  # thirty layers


def test_the_numbers_of_the_tables():
    vgg = nn.summary(nn.zoo.vgg16(), (1, 3, 224, 224))
    assert vgg.parameters == 138_357_544  # as torchvision counts its own
    assert vgg.multiply_adds == 15_470_264_320
    convolutions = [row for row in vgg.rows if row.layer == "conv"]
    assert len(convolutions) == 13 and [row.layer for row in vgg.rows].count("max") == 5
    assert [row.output for row in vgg.rows if row.layer == "max"] == [
        (112, 112, 64), (56, 56, 128), (28, 28, 256), (14, 14, 512), (7, 7, 512)]
    first = vgg.rows[0]
    assert first.parameters == 3 * 3 * 3 * 64 + 64 and first.multiply_adds == 224 * 224 * 64 * 27
    assert first.dense_parameters == 224 * 224 * 3 * 224 * 224 * 64 and first.activation_bytes == 224 * 224 * 64 * 4
    assert nn.summary(nn.zoo.vgg16(), (7, 3, 224, 224)).multiply_adds == vgg.multiply_adds  # for one image
    yolo = nn.summary(nn.zoo.yolov2(), (1, 3, 416, 416), np.float64)
    assert yolo.rows[0].activation_bytes == 416 * 416 * 32 * 8
    assert all(bool(row.algorithm) == (row.layer == "conv") for row in yolo.rows)


def test_sizes():
    net = nn.Sequential(nn.Conv(2, (3, 5), stride=(2, 1), dilation=(1, 2)), nn.ConvTranspose(2, 4, stride=(3, 2)),
                        nn.MaxPool((2, 3)), nn.AvgPool("global"))
    found = [row.size for row in nn.summary(net, (1, 1, 30, 30)).rows]
    assert found == ["3 x 5 / 2x1 d1x2", "4 x 4 / 3x2", "2 x 3 / 2x3", "global"]


def test_the_algorithm_is_what_explain_says():
    layer = nn.Conv(32, 3, padding=1)
    row = nn.summary(layer, (1, 16, 40, 30)).rows[0]
    x, w = np.empty((1, 16, 40, 30), np.float32), np.empty((32, 16, 3, 3), np.float32)
    assert row.algorithm == convx.explain("conv", x, w, padding=1).chosen


def test_rows_of_all_layers():
    for layout in ("NCHW", "NHWC", "HWCN"):
        for layer, shape in nn_layers.zoo(layout):
            row, = nn.summary(nn.Sequential(nn.Sequential(layer, name="it"), layout=layout), shape, float).rows
            layer.init(shape, 0, float)
            y = layer(np.ones(shape))
            batch = y.shape[-1] if layout == "HWCN" and y.ndim > 2 else y.shape[0]
            assert row.layer == "it" and row.activation_bytes == y.nbytes // batch
            assert row.parameters == sum(w.size for w in layer.weights)
    assert len({line.index("->") for line in str(nn.summary(nn.zoo.yolov2(), (1, 3, 64, 64))).splitlines()[1:31]}) == 1


def test_multiply_adds_by_counting():
    # With x and w of ones and padding counted too, every output is its number of multiply-adds.
    cases = [(nn.Conv(6, 3, stride=2, groups=2, bias=False), (2, 4, 9, 7)),
             (nn.LocallyConnected(3, 2, bias=False), (2, 4, 5, 5)), (nn.Dense(3, bias=False), (2, 7)),
             (nn.ConvTranspose(3, 3, stride=2, bias=False), (2, 4, 5, 6))]
    for layer, shape in cases:
        layer.init(shape)
        layer.assign([np.ones_like(w) for w in layer.weights])
        assert nn.summary(layer, shape).multiply_adds == layer(np.ones(shape)).sum() / shape[0]


def images(net, x_shape, y_shape, at):
    """Where the gradient of one output position is not zero."""
    net.init(x_shape, 0, float)
    for array in net.weights:
        array[...] = abs(array) + 0.1
    rng = np.random.default_rng(0)
    net.forward(1 + rng.random(x_shape), training=False)
    dy = np.zeros(y_shape)
    dy[(slice(None), slice(None), *at)] = 1
    dx = net.backward(dy)
    return (dx[0] if net.trained else dx)[0].any(axis=0)


NETS = {
    "valid": nn.Sequential(nn.Conv(2, 3), nn.AvgPool(2), nn.Conv(2, (3, 2), stride=(1, 2))),
    "padded": nn.Sequential(nn.Conv(2, 3, padding="same", dilation=2), nn.ReLU(), nn.AvgPool(3, 2, padding=1)),
    "flip": nn.Sequential(nn.Conv(1, 4, padding=((2, 1), (0, 3)), flip=True), nn.Conv(2, 2, stride=3)),
    "transposed": nn.Sequential(nn.Conv(2, 3, stride=2), nn.ConvTranspose(2, 4, stride=2, padding=1)),
    "joined": nn.Sequential(nn.Conv(2, 1), nn.Conv(2, 5, padding=2), nn.Route(0, 1), nn.Reorg(2), nn.Conv(1, 1)),
    "nested": nn.Sequential(nn.Sequential(nn.Conv(2, 3, padding=1), nn.ReLU()), nn.AvgPool("global")),
    "local": nn.Sequential(nn.LocallyConnected(2, 3), nn.Conv(2, 2)),
}


@pytest.mark.parametrize("name", NETS)
def test_receptive_fields(name):
    net, x_shape = NETS[name], (1, 2, 16, 14)
    y_shape = net.output_shape(x_shape)
    for at in {(0, 0), (y_shape[2] - 1, y_shape[3] - 1), (y_shape[2] // 2, y_shape[3] // 2)}:
        parts = nn.receptive_field(net, x_shape, at, clip=True)
        seen = images(net, x_shape, y_shape, at)
        for axis, (start, stop) in enumerate(parts):
            hit = np.flatnonzero(seen.any(axis=1 - axis))
            assert (hit[0], hit[-1] + 1) == (start, stop)


def test_receptive_field_of_vgg_and_errors():
    # Without clipping it is the window: 3x3 thirteen times and five poolings see 212 pixels, 32 apart.
    features = nn.zoo.vgg16()[:18]
    here, there = (nn.receptive_field(features, (1, 3, 224, 224), (3, i)) for i in (3, 4))
    assert here[0][1] - here[0][0] == 212 and there[1][0] - here[1][0] == 32
    with pytest.raises(ValueError, match="is no position"):
        nn.receptive_field(features, (1, 3, 224, 224), (7, 0))
    with pytest.raises(TypeError, match="at must be an integer"):
        nn.receptive_field(features, (1, 3, 224, 224), 1.5)
    assert nn.receptive_field(features, (1, 3, 224, 224), 3) == (here[0], here[0])
    assert nn.receptive_field(nn.zoo.vgg16(), (1, 3, 224, 224), clip=True) == ((0, 224), (0, 224))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "HWCN"])
def test_the_zoo_runs_small(layout):
    for net, c, y_shape in ((nn.zoo.vgg16(10, width=2, hidden=8, layout=layout), 3, (2, 10)),
                            (nn.zoo.yolov2(15, width=2, layout=layout), 3, nn_layers.shaped(layout, 2, 15, 2, 1))):
        x_shape = nn_layers.shaped(layout, 2, c, 64, 32)
        assert net.init(x_shape, 0) == y_shape
        x = np.random.default_rng(0).standard_normal(x_shape).astype(np.float32)
        assert net(x).shape == y_shape and np.isfinite(net(x)).all()
        y = net.forward(x)
        dx, *gradients = net.backward(y)
        assert dx.shape == x.shape and all(g.shape == w.shape for g, w in zip(gradients, net.weights, strict=True))


def test_vgg_takes_the_order_of_torchvision():
    torch = pytest.importorskip("torch")
    width, stages = 2, ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))
    layers, channels = [], 3
    for factor, count in stages:
        for _ in range(count):
            layers += [torch.nn.Conv2d(channels, width * factor, 3, padding=1), torch.nn.ReLU()]
            channels = width * factor
        layers.append(torch.nn.MaxPool2d(2, 2))
    theirs = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(channels, 8), torch.nn.ReLU(),
                                 torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 10))
    net = nn.zoo.vgg16(10, width=width, hidden=8)
    net.assign([array.numpy() for array in theirs.state_dict().values()])
    x = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
    want = theirs(torch.from_numpy(x)).detach().numpy()
    assert abs(net(x) - want).max() <= 1e-5 * abs(want).max()


def test_networks_share_weights_with_their_parts():
    net = nn.zoo.vgg16(10, width=2, hidden=8)
    net.init((1, 3, 32, 32), 0)
    x = np.ones((1, 3, 32, 32), np.float32)
    part = net[:5]
    assert len(part) == 5 and part[0] is net[0] and part(x).shape == (1, 4, 16, 16)
    assert np.array_equal(net[:len(net)](x), net(x))
    with pytest.raises(ValueError, match="starts at its first layer"):
        net[2:]


def test_named_and_assigned():
    net = nn.Sequential(nn.Sequential(nn.Conv(2, 3), nn.BatchNorm()), nn.Flatten(), nn.Dense(3))
    net.init((1, 1, 5, 5), 0)
    names = ["0.0.w", "0.0.b", "0.1.gamma", "0.1.beta", "0.1.mean", "0.1.var", "2.w", "2.b"]
    assert list(net.named()) == names and list(net.shapes((1, 1, 5, 5))) == names
    assert [net.named()[name] is w for name, w in zip(net.trained, net.weights, strict=True)] == [True] * 6
    other = nn.Sequential(nn.Sequential(nn.Conv(2, 3), nn.BatchNorm()), nn.Flatten(), nn.Dense(3))
    for arrays in (net.named(), list(net.named().values())):
        other.assign(arrays)
        x = np.ones((2, 1, 5, 5), np.float32)
        assert np.array_equal(other(x), net(x))
    with pytest.raises(ValueError, match=r"missing: 2\.b"):
        other.assign({name: array for name, array in net.named().items() if name != "2.b"})


def test_layers_agree_on_a_layout():
    net = nn.Sequential(nn.Conv(4, 3, layout="NHWC"), nn.BatchNorm(), nn.Sequential(nn.ReLU(), nn.AvgPool(2)))
    assert net.layout == net[1].layout == net[2].layout == net[2][1].layout == "NHWC"
    assert net.init((1, 8, 8, 3)) == (1, 3, 3, 4) and net[1].gamma.shape == (4,)
    assert nn.receptive_field(net, (1, 8, 8, 3), (0, 1)) == ((0, 4), (2, 6))
    assert repr(net[:2]) == ("Sequential(Conv(w (4, 3, 3, 3), b (4,)), "
                             "BatchNorm(gamma (4,), beta (4,), mean (4,), var (4,)))")


def test_bad_networks():
    with pytest.raises(ValueError, match="there are layers 0 to 0 before it"):
        nn.Sequential(nn.ReLU(), nn.Route(1))
    with pytest.raises(ValueError, match="output of layer 1 is used by no later layer"):
        nn.Sequential(nn.ReLU(), nn.Tanh(), nn.Route(0))
    with pytest.raises(TypeError, match="made of layers"):
        nn.Sequential(nn.ReLU)
    with pytest.raises(ValueError, match="at least one layer"):
        nn.Add()
    with pytest.raises(TypeError, match="Route takes numbers of layers, not str"):
        nn.Sequential(nn.ReLU(), nn.Route("0"))
    net = nn.Sequential(nn.Conv(2, 3), nn.Conv(3, 1), nn.Add(-1, 0))
    with pytest.raises(ValueError, match="layer 2, Add: Add takes arrays of one shape"):
        net.output_shape((1, 1, 5, 5))
    with pytest.raises(ValueError, match="layer 0, Conv: spatial axis 0"):
        net.output_shape((1, 1, 2, 5))
    net = nn.Sequential(nn.Conv(2, 3), nn.MaxPool(2), nn.Route(0, 1))
    with pytest.raises(ValueError, match="agree but for their channels"):
        net.init((1, 1, 8, 8))
    net = nn.Sequential(nn.Conv(2, 3))
    net.init((1, 1, 8, 8))
    with pytest.raises(ValueError, match="layer 0, Conv: x has 3 channels"):
        net(np.ones((1, 3, 8, 8), np.float32))


# Training -------------------------------------------------------------------------------------------------------------

def test_cross_entropy():
    rng = np.random.default_rng(0)
    scores, labels = 5 * rng.standard_normal((7, 4)), rng.integers(0, 4, 7)
    loss, dscores = nn.cross_entropy(scores, labels)
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert np.isclose(loss, -np.log(p[np.arange(7), labels]).mean())
    direction = rng.standard_normal(scores.shape)
    want = nn_layers.directional(lambda: nn.cross_entropy(scores, labels)[0], scores, direction, 1e-4)
    assert np.isclose((dscores * direction).sum(), want, rtol=1e-8)
    assert nn.cross_entropy(scores, np.eye(4)[labels])[0] == loss
    half = rng.random((7, 4))  # weights that do not sum to 1 are allowed
    want = nn_layers.directional(lambda: nn.cross_entropy(scores, half)[0], scores, direction, 1e-4)
    assert np.isclose((nn.cross_entropy(scores, half)[1] * direction).sum(), want, rtol=1e-8)
    pixels = np.moveaxis(scores.reshape(7, 4, 1, 1).repeat(3, axis=3), 1, 2)  # classes on axis 2
    again = nn.cross_entropy(pixels, labels[:, None, None].repeat(3, axis=2), axis=2)
    assert np.isclose(again[0], loss) and np.allclose(again[1].sum(axis=(1, 3)), dscores)
    assert np.isfinite(nn.cross_entropy(np.array([[1e4, -1e4]]), [1])[0])
    assert nn.cross_entropy(scores.astype(np.float32), labels)[1].dtype == np.float32
    with pytest.raises(ValueError, match="labels hold 4: there are classes 0 to 3"):
        nn.cross_entropy(scores, np.full(7, 4))
    with pytest.raises(ValueError, match=r"integers \(7,\) or probabilities \(7, 4\)"):
        nn.cross_entropy(scores, labels[:3])
    with pytest.raises(TypeError, match="real floating"):
        nn.cross_entropy(labels[:, None], labels)
    with pytest.raises(ValueError, match=r"axis=2: scores have shape \(7, 4\)"):
        nn.cross_entropy(scores, labels, axis=2)


@pytest.mark.parametrize("name, options", [
    ("SGD", {}), ("SGD", {"momentum": 0.9}), ("SGD", {"momentum": 0.8, "nesterov": True, "decay": 0.1}),
    ("Adam", {}), ("Adam", {"betas": (0.7, 0.9), "eps": 1e-3, "decay": 0.2})])
def test_optimisers_against_torch(name, options):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start, gradients = rng.standard_normal((3, 4)), rng.standard_normal((6, 3, 4))
    w, theirs = start.copy(), torch.from_numpy(start.copy()).requires_grad_()
    step = getattr(nn, name)([w], 0.05, **options)
    words_ = {"decay": "weight_decay"}
    other = getattr(torch.optim, name)([theirs], 0.05, **{words_.get(k, k): v for k, v in options.items()})
    for gradient in gradients:
        step([gradient])
        theirs.grad = torch.from_numpy(gradient)
        other.step()
        assert np.allclose(w, theirs.detach().numpy(), rtol=1e-12, atol=0)


def test_optimisers_say_what_is_wrong():
    w = np.zeros(3, np.float32)
    step = nn.Adam([w])
    step([np.ones(3, np.float32)])
    assert w.dtype == np.float32
    before = w.copy()
    with pytest.raises(ValueError, match="gradients have shapes"):
        step([np.ones(2)])
    assert np.array_equal(w, before)
    with pytest.raises(TypeError, match="can be written to"):
        nn.SGD([[1.0]], 0.1)
    with pytest.raises(TypeError, match="rate='fast': it must be a real number"):
        nn.SGD([w], "fast")
    with pytest.raises(TypeError, match=r"betas=0.9: a pair of numbers"):
        nn.Adam([w], betas=0.9)


def test_a_network_learns():
    # Which half is brighter: a task that a few steps learn.
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 1, 8, 8)).astype(np.float32)
    labels = (x[:, 0, :, :4].sum(axis=(1, 2)) > x[:, 0, :, 4:].sum(axis=(1, 2))).astype(int)
    net = nn.Sequential(nn.Conv(4, 3, padding=1), nn.BatchNorm(), nn.ReLU(), nn.AvgPool(4), nn.Flatten(), nn.Dense(2))
    net.init(x.shape, rng=0)
    step, losses = nn.Adam(net.weights, 0.02), []
    for _ in range(60):
        loss, dy = nn.cross_entropy(net.forward(x), labels)
        _, *gradients = net.backward(dy)
        step(gradients)
        losses.append(loss)
    assert losses[-1] < losses[0] / 4 and (net(x).argmax(axis=1) == labels).mean() > 0.9


# The room -------------------------------------------------------------------------------------------------------------

PUBLIC = [name for name in nn.__all__ if name not in ("zoo", "save", "Graph")]  # these show their examples elsewhere


@pytest.mark.parametrize("name", [*PUBLIC, "zoo.vgg16", "zoo.yolov2"])
def test_examples_run(name):
    thing = nn
    for part in name.split("."):
        thing = getattr(thing, part)
    text = thing.__doc__
    assert text.split("\n\n")[0].strip().endswith(("." , ":"))
    test = doctest.DocTestParser().get_doctest(text, {}, name, name, 0)
    said = []
    result = doctest.DocTestRunner().run(test, out=said.append)
    assert result.attempted > 0 and result.failed == 0, "".join(said)


def test_public_names():
    assert sorted(nn.__all__) == sorted(set(nn.__all__)) and all(hasattr(nn, name) for name in nn.__all__)
    for name in nn.__all__:
        assert name in ("Layer",) or name in nn.__doc__


def test_imports():
    code = ("import sys, convx; assert not any(m.startswith('convx.nn') for m in sys.modules); import convx.nn; "
            "extras = {'onnx', 'onnxruntime', 'safetensors', 'sklearn', 'torch'} & set(sys.modules); "
            "assert not extras, extras")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
