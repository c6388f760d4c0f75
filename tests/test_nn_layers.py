"""Layers of convx.nn: gradients against differences, layouts against each other, convx's functions, and PyTorch."""

import copy
import threading

import nn_layers
import numpy as np
import pytest
from arrays import ABSURD

import convx
from convx import nn

pytestmark = pytest.mark.once  # no matter which kernel row or build

EPS = np.finfo(float).eps
LAYOUTS = ("NCHW", "NHWC", "HWCN")
CASES = [(layer, shape) for layout in LAYOUTS for layer, shape in nn_layers.zoo(layout)]


def named(case):
    layer, shape = case
    return f"{type(layer).__name__}-{layer.layout}-{'x'.join(map(str, shape))}"


def fresh(layer, shape, dtype=float, seed=0):
    """A layer with random weights, its input, and a function that runs the layer anew with the same random numbers."""
    layer = copy.deepcopy(layer)
    rng = np.random.default_rng(seed)
    y_shape = layer.init(shape, rng, dtype)
    for array in layer.named().values():
        array += (0.1 * rng.standard_normal(array.shape)).astype(dtype)
    for array in [a for name, a in layer.named().items() if name.split(".")[-1] == "var"]:
        array[...] = 1 + rng.random(array.shape)
    x = rng.standard_normal(shape).astype(dtype)
    dy = rng.standard_normal(y_shape).astype(dtype)
    return layer, x, dy


def check(layer, x, dy, training):
    """Every gradient in a random direction against a difference quotient."""
    state = copy.deepcopy(layer)

    def loss():
        again = copy.deepcopy(state)  # the running statistics and random numbers of the start
        if again.trained:
            for own, array in zip(again.weights, layer.weights, strict=True):
                own[...] = array
        return float((again.forward(x, training=training) * dy).sum())

    y = layer.forward(x, training=training)
    assert y.shape == dy.shape == layer.output_shape(x.shape)
    found = layer.backward(dy)
    found = found if layer.trained else [found]
    rng = np.random.default_rng(9)
    for array, gradient in zip([x, *layer.weights], found, strict=True):
        assert gradient.shape == array.shape and gradient.dtype == array.dtype
        direction = rng.standard_normal(array.shape)
        step = 1e-5
        want = nn_layers.directional(loss, array, direction, step)
        # Rounding of the loss over the step, and the fifth derivative times its fourth power, here both below 1e-8.
        scale = np.abs(y * dy).sum() + np.abs(gradient * direction).sum()
        assert abs(float((gradient * direction).sum()) - want) <= 1e-8 * scale


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("case", CASES, ids=named)
def test_gradients(case, training):
    check(*fresh(*case), training)


@pytest.mark.parametrize("layer", nn_layers.ACTIVATIONS, ids=lambda a: f"{type(a).__name__}{a.__dict__}")
def test_activations(layer):
    x = np.linspace(-4.05, 4.05, 300).reshape(2, 3, 50) + 1e-4 / 3  # no corner nearer than the step
    layer = copy.deepcopy(layer)
    check(layer, x.copy(), np.cos(x), True)
    for dtype in (np.float16, np.float32):
        y = layer.forward(x.astype(dtype))
        assert y.dtype == dtype == layer.backward(y).dtype
        assert np.allclose(y, layer(x), rtol=0, atol=30 * np.finfo(dtype).eps)
    huge = layer(np.array([-1e4, 1e4]))  # no overflow on the way
    assert np.isfinite(huge).all()


@pytest.mark.parametrize("case", CASES, ids=named)
def test_calls_remember_nothing_and_agree(case):
    layer, x, dy = fresh(*case)
    with pytest.raises(RuntimeError, match="needs a forward"):
        layer.backward(dy)
    y = layer(x)
    assert layer._seen is None
    before = copy.deepcopy(layer.named())
    assert np.array_equal(layer.forward(x, training=False), y)
    assert all(np.array_equal(array, before[name]) for name, array in layer.named().items())
    with pytest.raises(ValueError, match="dy has shape"):
        layer.backward(np.zeros((1, *dy.shape)))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("case", [c for c in CASES if c[0].layout in (None, "NHWC")], ids=named)
def test_dtypes_are_kept(case, dtype):
    layer, x, dy = fresh(*case, dtype=dtype)
    y = layer.forward(x)
    found = layer.backward(dy)
    found = found if layer.trained else [found]
    assert y.dtype == dtype and {g.dtype for g in found} == {np.dtype(dtype)}
    assert all(array.dtype == dtype for array in layer.named().values())


def has_layout(layer, shape):
    """Whether other layouts are the same numbers in another order."""
    return len(shape) > 2 and not isinstance(layer, (nn.Dropout, nn.Flatten, nn.Sequential))


@pytest.mark.parametrize("index", [i for i, case in enumerate(nn_layers.zoo("NCHW")) if has_layout(*case)])
def test_layouts_are_one_layer(index):
    first, *others = (list(nn_layers.zoo(layout))[index] for layout in LAYOUTS)
    layer, x, dy = fresh(*first)
    y, found = layer.forward(x), layer.backward(dy)
    rank = x.ndim - 2
    for other, shape in others:
        moved = {"NHWC": (0, *range(2, 2 + rank), 1), "HWCN": (*range(2, 2 + rank), 1, 0)}[other.layout]
        local = isinstance(layer, nn.LocallyConnected)
        other = copy.deepcopy(other)
        other.init(shape)
        for name, array in layer.named().items():
            if array.ndim == rank + 2:
                array = array.transpose(moved)
            elif array.ndim == 2 * rank + 2:
                array = array.transpose(*range(rank), *(rank + a for a in moved))
            elif local and array.ndim == rank + 1:
                array = np.moveaxis(array, 0, -1)
            setattr(other, name, array)
        assert np.allclose(other.forward(x.transpose(moved)), y.transpose(moved), atol=1e-12)
        again = other.backward(dy.transpose(moved))
        dx, dx_first = (again[0], found[0]) if layer.trained else (again, found)
        assert np.allclose(dx, dx_first.transpose(moved), atol=1e-12)


def test_layers_are_convx_functions():
    x = np.random.default_rng(0).standard_normal((2, 4, 6, 5))
    for layer, operator, options in (
            (nn.Conv(6, 3, stride=2, padding="same", groups=2), "conv",
             {"stride": 2, "padding": "same", "groups": 2}),
            (nn.ConvTranspose(3, 3, stride=2, output_padding=1), "conv_transpose",
             {"stride": 2, "output_padding": 1}),
            (nn.LocallyConnected(3, 2, bias="channel"), "locally_connected", {})):
        layer.init(x.shape, 1, float)
        y = layer.forward(x)
        assert np.array_equal(y, getattr(convx, operator)(x, layer.w, layer.b, **options))
        want = getattr(convx, f"{operator}_backward")(x, layer.w, y, **options)
        assert all(np.array_equal(a, b) for a, b in zip(layer.backward(y), want, strict=True))


def test_plans_are_made_once():
    from convx._arguments import _planned

    layer = nn.Conv(5, 3, padding=1)
    x = np.ones((1, 3, 9, 8), np.float32)
    layer.init(x.shape, 0)
    layer.backward(layer.forward(x))
    before = _planned.cache_info().misses
    for _ in range(3):
        layer.backward(layer.forward(x))
    assert _planned.cache_info().misses == before


def test_weights_belong_to_the_user():
    w, b = np.ones((2, 1, 2)), np.zeros(2)
    layer = nn.Conv(2, 2)
    x = np.arange(5.0).reshape(1, 1, 5)
    layer.forward(x, w, b)
    assert layer.w is w and layer.b is b and layer.weights[0] is w
    w *= 2
    assert layer(x)[0, 0].tolist() == [2, 6, 10, 14]
    assert layer(x, w / 2, b)[0, 0].tolist() == [1, 3, 5, 7]  # for this call only
    assert layer.w is w
    with pytest.raises(ValueError, match="1 arrays are given, 2 are needed: w, b"):
        layer.forward(x, w)
    with pytest.raises(ValueError, match="missing: b; not known here: bias"):
        layer.assign({"w": w, "bias": b})
    assert layer.b is b


@pytest.mark.parametrize("bad", ABSURD, ids=str)
def test_an_absurd_count_is_named(bad):
    for name, make in {
        "filters": lambda: nn.Conv(bad, 3), "groups": lambda: nn.Conv(2, 3, groups=bad), "units": lambda: nn.Dense(bad),
        "step": lambda: nn.Reorg(bad), "taps": lambda: nn.Conv(2, bad).init((1, 2, 8, 8)),
        "stride": lambda: nn.Conv(2, 3, stride=bad).init((1, 2, 8, 8)),
        "window": lambda: nn.MaxPool((2, bad)).output_shape((1, 2, 8, 8)),
        "x_shape": lambda: nn.Conv(2, 3).init((1, 2, bad, 8)),
        "input_shape": lambda: nn.Convolution((1, bad, 5, 1), 2, 2),
        "kernel_size": lambda: nn.Convolution((1, 5, 5, 1), 2, bad),
        "dilations": lambda: nn.Convolution((1, 5, 5, 1), 2, 2, dilations=bad),
    }.items():
        with pytest.raises((ValueError, TypeError), match=rf"^{name}(=\d+: it must be| must be an integer)"):
            make()


def test_sentences():
    x = np.ones((1, 3, 8, 8))
    with pytest.raises(ValueError, match="Conv has no w yet"):
        nn.Conv(2, 3)(x)
    with pytest.raises(ValueError, match="groups=2 does not divide 3 channels"):
        nn.Conv(2, 3, groups=2).init(x.shape)
    with pytest.raises(ValueError, match="x has shape \\(1, 3\\): batch, channels and at least one spatial axis"):
        nn.Conv(4, 3).output_shape((1, 3))
    with pytest.raises(ValueError, match="taps=\\(3, 3, 3\\) has 3 entries, x has 2 spatial axes"):
        nn.Conv(2, (3, 3, 3)).init(x.shape)
    with pytest.raises(ValueError, match="leaves the batch out"):
        nn.MaxPool(2, layout="CHW")
    with pytest.raises(ValueError, match="none of 'unit', 'channel', False"):
        nn.LocallyConnected(2, 3, bias=True)
    with pytest.raises(ValueError, match="Flatten makes that"):
        nn.Dense(2).init(x.shape)
    with pytest.raises(ValueError, match="3 units of 4 features need"):
        nn.Dense(3)(np.ones((1, 4)), np.ones((4, 3)), np.ones(3))
    with pytest.raises(ValueError, match="a channel needs two values"):
        layer = nn.BatchNorm()
        layer.init((1, 4))
        layer.forward(np.ones((1, 4)))
    with pytest.raises(ValueError, match="x has 5 channels"):
        layer(np.ones((2, 5)))
    with pytest.raises(TypeError, match="real floating"):
        layer(np.ones((2, 4), complex))
    with pytest.raises(ValueError, match="no share of zeros"):
        nn.Dropout(1.0)
    for name, make in {"rate": nn.Dropout, "alpha": nn.LeakyReLU, "low": nn.Clip, "momentum": lambda m:
                       nn.BatchNorm(momentum=m), "beta": lambda b: nn.HardSigmoid(beta=b)}.items():
        with pytest.raises(TypeError, match=f"{name}='2': it must be a real number"):
            make("2")
    with pytest.raises(ValueError, match="ties='last' is none of first, all"):
        nn.MaxPool(2, ties="last")
    for make in (lambda: nn.Conv(0, 3), lambda: nn.Conv(2, 3, groups=0), lambda: nn.Dense(-1), lambda: nn.Reorg(0),
                 lambda: nn.Convolution((1, 5, 5, 1), 0, 2)):
        with pytest.raises(ValueError, match="it must be at least 1"):
            make()
    with pytest.raises(TypeError, match="filters must be an integer"):
        nn.Conv(2.5, 3)
    for make in (lambda: nn.Conv(2, 3, strides=2), lambda: nn.ConvTranspose(2, 3, pad=1),
                 lambda: nn.LocallyConnected(2, 3, output_padding=1), lambda: nn.MaxPool(2, divisor=2),
                 lambda: nn.AvgPool(2, ties="all")):
        with pytest.raises(TypeError, match="unexpected keyword argument"):
            make()
    for network in (nn.Conv(2, 3), nn.Sequential(nn.Conv(2, 3))):
        with pytest.raises(TypeError, match="x_shape=8: a shape is a tuple of integers"):
            network.init(8)
    with pytest.raises(ValueError, match="stride"):
        nn.Conv(2, 3, stride=0).init(x.shape)
    with pytest.raises(ValueError, match="at least one tap"):
        nn.Conv(2, 0).init(x.shape)
    with pytest.raises(ValueError, match="step=3 does not divide"):
        nn.Reorg(3)(x)
    with pytest.raises(ValueError, match="a batch and channels make two"):
        nn.Softmax()(np.ones(3))


def test_complex_convolutions():
    rng = np.random.default_rng(0)
    layer = nn.Conv(2, 3)
    layer.init((1, 2, 6, 6), 1, complex)
    x = rng.standard_normal((1, 2, 6, 6)) + 1j * rng.standard_normal((1, 2, 6, 6))
    y = layer.forward(x)
    dx, dw, _ = layer.backward(y)
    assert np.isclose(np.vdot(y - layer.b[:, None, None], y), np.vdot(layer.w, dw)) and np.isclose(
        np.vdot(x, dx), np.vdot(layer.w, dw))


def test_batch_norm_statistics():
    rng = np.random.default_rng(0)
    x = (100 + rng.standard_normal((4, 3, 50, 40))).astype(np.float32)
    layer = nn.BatchNorm(momentum=1.0)
    layer.init(x.shape)
    y = layer.forward(x)
    wide = x.astype(float)
    assert np.allclose(layer.mean, wide.mean(axis=(0, 2, 3)), rtol=1e-7)
    assert np.allclose(layer.var, wide.var(axis=(0, 2, 3), ddof=1), rtol=1e-5)
    assert abs(y.mean(axis=(0, 2, 3), dtype=float)).max() < 1e-5 and abs(y.std(axis=(0, 2, 3)) - 1).max() < 1e-5


def test_integers_and_infinities():
    x = np.array([[-2, 3]])
    layer = nn.LeakyReLU(0.5)
    assert layer.forward(x).tolist() == [[-1, 3]] and layer.backward(np.ones((1, 2))).tolist() == [[0.5, 1]]
    assert set(np.unique(nn.Dropout(0.5, rng=0).forward(np.ones((1, 50), int)))) == {0.0, 2.0}
    for layer in nn_layers.ACTIVATIONS:  # no warning, as for all of convx
        layer = copy.deepcopy(layer)
        y = nn.Sequential(layer)(np.array([[np.inf, -np.inf, np.nan, 1.0]]))
        assert np.isfinite(y[0, 3]) and np.isnan(y[0, 2])
        layer.forward(np.array([[np.inf, 1.0]]))
        assert np.isfinite(layer.backward(np.ones((1, 2)))[0, 1])
    with pytest.raises(TypeError, match="weights are floating or complex"):
        nn.Dense(2).init((1, 3), dtype=int)


def test_dropout():
    layer = nn.Dropout(0.25, rng=0)
    x = np.ones((100, 1000))
    y = layer.forward(x)
    share = (y == 0).mean()
    assert abs(share - 0.25) < 6 * np.sqrt(0.25 * 0.75 / x.size)  # six standard deviations
    assert set(np.unique(y)) == {0, 1 / 0.75}
    assert layer(x) is x and layer.forward(x, training=False) is x


def test_reorg_is_space_to_depth():
    x = np.arange(2 * 3 * 4 * 6).reshape(2, 3, 4, 6)
    y = nn.Reorg(2)(x)
    for row, column in np.ndindex(2, 2):
        first = (row * 2 + column) * 3
        assert np.array_equal(y[:, first:first + 3], x[:, :, row::2, column::2])


def test_threads_may_share_a_layer():
    net = nn_layers.residual("NCHW")
    net.init((2, 4, 6, 6), 0)
    inputs = [np.full((2, 4, 6, 6), k, np.float32) for k in range(8)]
    want = [net(x) for x in inputs]
    found = [None] * 8

    def run(k):
        for _ in range(20):
            found[k] = net(inputs[k])

    threads = [threading.Thread(target=run, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(a, b) for a, b in zip(found, want, strict=True))


def test_the_matlab_classes_of_the_tutorial():
    # ConvolutionalLayer(kernelSize, numFilters, stride, pad), feedForward(x, w, b), [dx, dw, db] = backPropagate(dout);
    # MaxPoolingLayer(kernelSize, stride). x is H x W x C x N, w is h x w x C x F.
    kernel_size, num_filters, stride, pad = 3, 4, 2, 1
    rng = np.random.default_rng(2)
    x = np.asfortranarray(rng.standard_normal((7, 7, 3, 2)))
    w, b = np.asfortranarray(rng.standard_normal((3, 3, 3, 4))), rng.standard_normal(4)
    layer = nn.Conv(num_filters, kernel_size, stride=stride, padding=pad, layout="HWCN")
    y = layer.forward(x, w, b)
    assert y.shape == ((7 - 3 + 2 * pad) // stride + 1,) * 2 + (4, 2) and y.flags.f_contiguous
    for h, v, f, n in np.ndindex(y.shape):
        window = np.pad(x[..., n], ((1, 1), (1, 1), (0, 0)))[h * 2:h * 2 + 3, v * 2:v * 2 + 3]
        assert np.isclose(y[h, v, f, n], (window * w[..., f]).sum() + b[f])
    dx, dw, db = layer.backward(y)
    assert dx.shape == x.shape and dw.shape == w.shape  # "size(x) == size(dx)"
    assert np.allclose(db, y.sum(axis=(0, 1, 3)))
    # Its number of parameters leaves the channels out; theirs and the bias count here.
    assert sum(a.size for a in layer.weights) == 3 * 3 * 3 * 4 + 4
    pool = nn.MaxPool(2, 2, layout="HWCN", ties="all")
    z = np.array([[1.0, 1.0], [0.0, 1.0]])[:, :, None, None]
    assert pool.forward(z).item() == 1
    assert pool.backward(np.full((1, 1, 1, 1), 5.0))[..., 0, 0].tolist() == [[5, 5], [0, 5]]  # to all equal maxima


TORCH = [
    (nn.Conv(6, 3, stride=2, padding=1, groups=2), lambda t: t.nn.Conv2d(4, 6, 3, 2, 1, groups=2)),
    (nn.ConvTranspose(3, 3, stride=2, padding=1, output_padding=1),
     lambda t: t.nn.ConvTranspose2d(4, 3, 3, 2, 1, 1)),
    (nn.MaxPool(3, 2, padding=1, ceil_mode=True), lambda t: t.nn.MaxPool2d(3, 2, 1, ceil_mode=True)),
    (nn.AvgPool(2), lambda t: t.nn.AvgPool2d(2)),
    (nn.BatchNorm(), lambda t: t.nn.BatchNorm2d(4)),
    (nn.PReLU(), lambda t: t.nn.PReLU(4)),
    (nn.Softmax(), lambda t: t.nn.Softmax(1)),
    (nn.ReLU(), lambda t: t.nn.ReLU()), (nn.LeakyReLU(0.1), lambda t: t.nn.LeakyReLU(0.1)),
    (nn.ELU(0.7), lambda t: t.nn.ELU(0.7)), (nn.SELU(), lambda t: t.nn.SELU()),
    (nn.Sigmoid(), lambda t: t.nn.Sigmoid()), (nn.Tanh(), lambda t: t.nn.Tanh()),
    (nn.Softplus(), lambda t: t.nn.Softplus()), (nn.SiLU(), lambda t: t.nn.SiLU()), (nn.Mish(), lambda t: t.nn.Mish()),
    (nn.GELU(), lambda t: t.nn.GELU()), (nn.GELU(True), lambda t: t.nn.GELU(approximate="tanh")),
    (nn.HardSigmoid(), lambda t: t.nn.Hardsigmoid()), (nn.HardSwish(), lambda t: t.nn.Hardswish()),
    (nn.Clip(0, 6), lambda t: t.nn.ReLU6()),
]


@pytest.mark.parametrize("layer, make", TORCH, ids=[type(layer).__name__ for layer, _ in TORCH])
def test_against_torch(layer, make):
    torch = pytest.importorskip("torch")
    layer, x, dy = fresh(layer, (3, 4, 7, 7))
    theirs = make(torch).double()
    with torch.no_grad():
        names = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "var": "running_var", "w": "weight",
                 "b": "bias", "a": "weight"}
        for name, array in layer.named().items():
            getattr(theirs, names[name]).copy_(torch.from_numpy(array))
    x_torch = torch.from_numpy(x).requires_grad_()
    want = theirs(x_torch)
    want.backward(torch.from_numpy(dy))
    y, found = layer.forward(x), layer.backward(dy)
    pairs = [(y, want.detach())]
    if layer.trained:
        pairs += zip(found, [x_torch.grad, *(getattr(theirs, names[n]).grad for n in layer.trained)], strict=True)
    else:
        pairs.append((found, x_torch.grad))
    pairs += [(layer.named()[name], getattr(theirs, names[name])) for name in layer.kept]
    # PyTorch's hard functions have 1/6 in float32 even for float64.
    eps = np.finfo(np.float32).eps / 1e3 if isinstance(layer, (nn.HardSigmoid, nn.HardSwish)) else EPS
    for mine, other in pairs:
        assert np.allclose(mine, other.numpy(), rtol=0, atol=1e3 * eps * max(1, float(other.abs().max())))
