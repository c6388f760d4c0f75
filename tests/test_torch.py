"""convx as functions of PyTorch tensors: gradients of any order, memory formats, and PyTorch's own results."""

import doctest
import itertools
import subprocess
import sys

import numpy as np
import pytest

import convx

torch = pytest.importorskip("torch")
bridge = pytest.importorskip("convx.torch")

from torch.autograd import gradcheck, gradgradcheck  # noqa: E402

pytestmark = pytest.mark.once  # no matter which kernel row or build

FORMS = [
    {},
    {"stride": 2, "padding": 1},
    {"padding": "same", "boundary": "reflect"},
    {"padding": ((2, 0), (0, 1)), "dilation": (1, 2)},
    {"padding": "same_lower", "flip": True, "stride": (1, 2)},
    {"padding": 1, "boundary": ("wrap", "edge"), "groups": 2},
    {"padding": "full", "layout": "NHWC"},
    {"padding": 1, "layout": "HWCN", "w_layout": "OIHW", "stride": (2, 1)},
    {"padding": 1, "cval": 0.5},
]
OPERATORS = ("conv", "conv_transpose", "locally_connected")


def normal(shape, dtype=torch.float64, seed=0, grad=True):
    made = torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    return made.requires_grad_(grad)


def operands(operator, options, dtype=torch.float64, batched=True):
    """x, w and bias of a small layer with these options."""
    g, layout = options.get("groups", 1), options.get("layout", "NCHW")
    places = {"NCHW": (0, 1, 2, 3), "NHWC": (0, 2, 3, 1), "HWCN": (2, 3, 1, 0)}[layout]
    form = options.get("w_layout", {"NCHW": "OIHW", "NHWC": "OHWI", "HWCN": "HWIO"}[layout])
    w_shape = [{"O": 2, "I": 4 // g, "H": 2, "W": 3}[letter] for letter in form]
    x_shape = (2, 2 if operator == "conv_transpose" else 4, 4, 5)
    x_shape = [x_shape[a] for a in places if batched or a]
    if operator == "locally_connected":
        w = np.empty(w_shape)
        y = convx.conv(np.empty(x_shape), w, **options)
        w_shape = [y.shape[s if batched or not places[0] == 0 else s - 1] for s in (places.index(2), places.index(3))]
        w_shape += w.shape
    outputs = 4 if operator == "conv_transpose" else 2
    return normal(x_shape, dtype), normal(w_shape, dtype, 1), normal((outputs,), dtype, 2)


def function(operator, options):
    return lambda *tensors: getattr(bridge, operator)(*tensors, **options)


@pytest.mark.parametrize("options", FORMS, ids=str)
@pytest.mark.parametrize("operator", OPERATORS)
def test_gradients_of_any_order(operator, options):
    tensors = operands(operator, options)
    # The fast mode compares the Jacobian in random directions, the other entry by entry.
    assert gradcheck(function(operator, options), tensors, fast_mode=operator != "conv")
    assert gradgradcheck(function(operator, options), tensors, fast_mode=operator != "conv")


@pytest.mark.parametrize("options", [FORMS[1], FORMS[2], FORMS[6]], ids=str)
@pytest.mark.parametrize("operator", OPERATORS)
def test_complex_gradients(operator, options):
    tensors = operands(operator, options, torch.complex128)
    assert gradcheck(function(operator, options), tensors, fast_mode=operator != "conv")
    assert gradgradcheck(function(operator, options), tensors, fast_mode=True)


@pytest.mark.parametrize("which", list(itertools.product((False, True), repeat=3))[1:-1])
@pytest.mark.parametrize("operator", OPERATORS)
def test_real_and_complex_operands(operator, which):
    tensors = operands(operator, {"padding": 1}, torch.complex128)
    tensors = [t if keep else t.detach().real.clone().requires_grad_() for t, keep in zip(tensors, which, strict=True)]
    if which == (False, False, True):
        with pytest.raises(TypeError, match="bias has dtype complex128"):
            function(operator, {"padding": 1})(*tensors)
        return
    assert gradcheck(function(operator, {"padding": 1}), tensors, fast_mode=True)
    assert gradgradcheck(function(operator, {"padding": 1}), tensors, fast_mode=True)


@pytest.mark.parametrize("operator", OPERATORS)
def test_third_order_and_unbatched(operator):
    x, w, bias = operands(operator, {"padding": 1}, batched=False)

    def slope(x, w, bias):
        y = function(operator, {"padding": 1})(x, w, bias)
        return torch.autograd.grad((y ** 3).sum(), (x, w, bias), create_graph=True)

    assert gradcheck(slope, (x, w, bias), fast_mode=True)
    assert gradgradcheck(slope, (x, w, bias), fast_mode=True)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "HWCN"])
@pytest.mark.parametrize("batched", [True, False])
def test_a_bias_per_unit(layout, batched):
    options = {"padding": 1, "layout": layout}
    x, w, _ = operands("locally_connected", options, batched=batched)
    y = bridge.locally_connected(x, w, **options)
    shape = y.shape if not batched else y.shape[1:] if layout != "HWCN" else y.shape[:-1]
    bias = normal(shape, seed=3)
    assert gradcheck(function("locally_connected", options), (x, w, bias), fast_mode=True)
    if layout == "NCHW" and batched:
        last = x.detach().contiguous(memory_format=torch.channels_last)
        assert torch.allclose(bridge.locally_connected(last, w, bias, **options), y + bias)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_agreement_with_torch(rank):
    theirs = getattr(torch.nn.functional, f"conv{rank}d"), getattr(torch.nn.functional, f"conv_transpose{rank}d")
    ours = getattr(bridge, f"conv{rank}d"), getattr(bridge, f"conv_transpose{rank}d")
    for options, (their, our) in itertools.product(
            ({}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": 2, "groups": 2}),
            zip(theirs, ours, strict=True)):
        transposed = our is ours[1]
        for complex_too, dtype in ((False, torch.float64), (True, torch.complex128)):
            found = []
            for apply in (our, their):
                x = normal((2, 4, *(7, 6, 5)[:rank]), dtype)
                w = normal((4, 6 // options.get("groups", 1), *(3, 2, 3)[:rank]), dtype, 1)
                w = w if transposed else w.detach().transpose(0, 1).reshape(6, -1, *w.shape[2:]).requires_grad_()
                bias = normal((6,), dtype, 2)
                y = apply(x, w, bias, **options)
                weigh = normal(y.shape, dtype, 3, grad=False)
                grads = torch.autograd.grad((y * weigh).sum().abs(), (x, w, bias))
                found.append((y, *grads))
            for mine, other in zip(*found, strict=True):
                scale = 1e4 * torch.finfo(torch.float64).eps * float(other.abs().max().detach())
                assert mine.shape == other.shape and mine.dtype == other.dtype
                assert float((mine - other).abs().max().detach()) <= scale, (options, complex_too)


def base(tensor):
    """The address of the memory that the tensor sees, and its strides."""
    return tensor.data_ptr(), tensor.stride()


def recorded(monkeypatch, name):
    """The arrays that convx's function of this name receives."""
    seen = []
    plain = getattr(convx, name)

    def spy(x, w, *more, **options):
        seen.append((x, w, options))
        return plain(x, w, *more, **options)

    monkeypatch.setattr(convx, name, spy)
    return seen


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.complex64])
def test_memory_formats_are_kept_and_nothing_is_copied(monkeypatch, dtype):
    calls = {name: recorded(monkeypatch, name) for name in ("conv", "conv_grad_input", "conv_grad_weight")}
    for form in (torch.contiguous_format, torch.channels_last):
        x = normal((2, 4, 6, 5), torch.float32, grad=False).to(dtype).contiguous(memory_format=form).requires_grad_()
        w = normal((3, 4, 3, 3), torch.float32, 1, grad=False).to(dtype).requires_grad_()
        y = bridge.conv(x, w, padding=1)
        assert y.dtype == dtype and y.is_contiguous(memory_format=form)
        seen, weights, options = calls["conv"].pop()
        assert seen.flags.c_contiguous and options["layout"] == (None if form is torch.contiguous_format else "NHWC")
        assert seen.ctypes.data == x.data_ptr() and weights.ctypes.data == w.data_ptr()
        weigh = torch.ones_like(y)
        assert weigh.stride() == y.stride()
        dx, dw = torch.autograd.grad(y, (x, w), weigh)
        assert dx.is_contiguous(memory_format=form) and dw.is_contiguous()
        (dy, _, _), = calls["conv_grad_input"]
        (seen, also, _), = calls["conv_grad_weight"]
        assert dy.ctypes.data == also.ctypes.data == weigh.data_ptr() and seen.ctypes.data == x.data_ptr()
        assert dy.flags.c_contiguous and also.flags.c_contiguous
        for found in calls.values():
            found.clear()


@pytest.mark.parametrize("rank", [1, 3, 4])
def test_channels_last_of_any_rank(rank):
    x = normal((2, 3, *range(4, 4 + rank)))
    w = normal((5, 3, *(2,) * rank), seed=1)
    last = x.detach().movedim(1, -1).contiguous().movedim(-1, 1)
    for operator in ("conv", "conv_transpose"):
        w_one = w if operator == "conv" else w.detach().transpose(0, 1)
        apply = getattr(bridge, operator)
        assert torch.allclose(apply(last, w_one), apply(x, w_one))
        assert apply(last, w_one).movedim(1, -1).is_contiguous()
        assert torch.allclose(apply(last[0], w_one), apply(x[0], w_one))


def test_views_of_all_kinds():
    x, w = normal((2, 3, 9, 8), grad=False), normal((2, 3, 2, 3), seed=1, grad=False)
    y = bridge.conv(x, w)
    assert torch.equal(bridge.conv(x.transpose(2, 3).contiguous().transpose(2, 3), w), y)
    views = x[:, :, ::2, 1:], torch.ones(1, 1, 1, 1, dtype=torch.float64).expand(2, 3, 9, 8), x[:0]
    for view in views:
        copy = view.clone(memory_format=torch.contiguous_format)
        assert torch.allclose(bridge.conv(view, w), bridge.conv(copy, w))
    z = torch.complex(x, x.flip(0))
    assert torch.allclose(bridge.conv(z.conj(), w), bridge.conv(z, w).conj())
    assert torch.allclose(bridge.conv(z.conj().imag, w), -bridge.conv(z.imag, w))


def test_four_spatial_axes():
    x, w = normal((1, 2, 3, 4, 3, 3)), normal((2, 2, 2, 2, 2, 2), seed=1)
    options = {"padding": ((1, 0), 0, 1, 0), "stride": (1, 2, 1, 1)}
    assert bridge.conv(x, w, **options).shape == (1, 2, 3, 2, 4, 2)
    assert gradcheck(function("conv", options), (x, w), fast_mode=True)
    assert gradgradcheck(function("conv", options), (x, w), fast_mode=True)


def test_only_needed_gradients_are_computed(monkeypatch):
    calls = {name: recorded(monkeypatch, name) for name in ("conv_grad_input", "conv_grad_weight")}
    for x_needs, w_needs in itertools.product((True, False), repeat=2):
        x, w = normal((1, 2, 5, 5), grad=x_needs), normal((3, 2, 2, 2), grad=w_needs)
        bias = normal((3,), seed=2)
        bridge.conv(x, w, bias).sum().backward()
        assert [len(calls[f"conv_grad_{name}"]) for name in ("input", "weight")] == [x_needs, w_needs]
        assert bias.grad.tolist() == [16, 16, 16]
        for found in calls.values():
            found.clear()
    with torch.no_grad():
        assert not bridge.conv(normal((1, 2, 5, 5)), normal((3, 2, 2, 2))).requires_grad


def test_mixed_precision_and_half():
    x, w = normal((1, 2, 5, 5), torch.float32), normal((3, 2, 2, 2), torch.float64)
    y = bridge.conv(x, w)
    y.sum().backward()
    assert (y.dtype, x.grad.dtype, w.grad.dtype) == (torch.float64, torch.float32, torch.float64)
    half = normal((1, 2, 5, 5), torch.float32, grad=False).half().requires_grad_()
    w = w.detach().half().requires_grad_()
    y = bridge.conv(half, w)
    y.sum().backward()
    assert y.dtype == half.grad.dtype == w.grad.dtype == torch.float16


def test_function_transforms():
    x, w = normal((1, 2, 5, 5), grad=False), normal((3, 2, 2, 2), seed=1, grad=False)

    def loss(x):
        return (bridge.conv(x, w, stride=2) ** 2).sum()

    leaf = x.clone().requires_grad_()
    loss(leaf).backward()
    assert torch.equal(torch.func.grad(loss)(x), leaf.grad)


@pytest.mark.parametrize("arguments, options, error, words", [
    ((np.ones((1, 1, 3)), torch.ones(1, 1, 2)), {}, TypeError, "x must be a tensor, not ndarray"),
    ((torch.ones(1, 1, 3), torch.ones(1, 1, 2).to("meta")), {}, TypeError, "w is a .*meta; dense tensors on the CPU"),
    ((torch.eye(3)[None].to_sparse(), torch.ones(1, 1, 2)), {}, TypeError, "x is a torch.sparse_coo tensor"),
    ((torch.ones(1, 1, 3, dtype=torch.int64), torch.ones(1, 1, 2)), {}, TypeError, "x has dtype torch.int64"),
    ((torch.ones(1, 1, 3), torch.ones(1, 1, 2).bfloat16()), {}, TypeError, "w has dtype torch.bfloat16"),
    ((torch.ones(1, 1, 3), torch.ones(1, 1, 2), [1.0]), {}, TypeError, "bias must be a tensor"),
    ((torch.ones(1, 1, 3), torch.ones(1, 1, 2), torch.ones(2)), {}, ValueError, "bias has shape"),
    ((torch.ones(1, 2, 3), torch.ones(1, 1, 2)), {}, ValueError, "x has 2 channels"),
    ((torch.ones(1, 1, 3), torch.ones(1, 1, 2)), {"out": None}, TypeError, "conv.. of tensors has no keyword 'out'"),
    ((torch.ones(1, 1, 3), torch.ones(1, 1, 2)), {"algorithm": "magic"}, ValueError, "magic"),
])
def test_errors(arguments, options, error, words):
    with pytest.raises(error, match=words):
        bridge.conv(*arguments, **options)


def test_ranks_are_asserted():
    with pytest.raises(ValueError, match="conv2d needs 4"):
        bridge.conv2d(torch.ones(1, 1, 3), torch.ones(1, 1, 2))


class Layer(torch.nn.Module):
    """A layer as a user would write it."""

    def __init__(self, c, m, taps, **options):
        super().__init__()
        self.w = torch.nn.Parameter(torch.empty(m, c, taps, taps))
        self.bias = torch.nn.Parameter(torch.zeros(m))
        torch.nn.init.kaiming_uniform_(self.w, generator=torch.Generator().manual_seed(m))
        self.options = options

    def forward(self, x):
        return bridge.conv2d(x, self.w, self.bias, **self.options)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # PyTorch's own, on its first forward mode
def test_what_torch_has_beside_gradients_is_refused():
    x, w = torch.ones(4, 1, 2, 5), torch.ones(3, 2, 2)
    with pytest.raises(NotImplementedError, match="the batch axis of x"):
        torch.func.vmap(lambda one: convx.torch.conv1d(one, w))(x)
    with pytest.raises(NotImplementedError, match="no forward-mode derivatives"):
        torch.func.jvp(lambda w: convx.torch.conv1d(x[0], w), (w,), (w,))


def test_a_network_of_two_layers_learns():
    # Horizontal against vertical stripes, at random phases and with noise.
    generator = torch.Generator().manual_seed(0)
    lines = torch.sin(torch.arange(12.0) * 1.5 + 6.3 * torch.rand(64, 1, generator=generator))
    labels = torch.arange(64) % 2
    x = torch.where(labels[:, None, None] == 1, lines[:, :, None], lines[:, None, :]).expand(64, 12, 12)[:, None]
    x = x + 0.3 * torch.randn(x.shape, generator=generator)
    network = torch.nn.Sequential(Layer(1, 6, 3, padding="same", boundary="reflect"), torch.nn.ReLU(),
                                  Layer(6, 2, 3, stride=2))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(x).mean((2, 3)), labels)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    right = (network(x).mean((2, 3)).argmax(1) == labels).float().mean()
    assert losses[-1] < losses[0] / 4 and float(right) > 0.95, losses


@pytest.mark.parametrize("name", bridge.__all__)
def test_the_examples_run(name):
    examples = doctest.DocTestParser().get_doctest(getattr(bridge, name).__doc__, {}, name, None, 0)
    said = []
    assert examples.examples and not doctest.DocTestRunner().run(examples, out=said.append).failed, "".join(said)


def test_imported_only_when_asked():
    code = "import sys, convx; assert 'torch' not in sys.modules; assert not hasattr(convx, 'torch')"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_torch():
    code = "import sys; sys.modules['torch'] = None; import convx.torch"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert said.returncode == 1
    assert said.stderr.strip().endswith('ImportError: convx.torch needs PyTorch: pip install "convx-nd[torch]"')
