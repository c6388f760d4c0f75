"""The layers and all their gradients against PyTorch, where it is installed."""

import itertools

import numpy as np
import pytest

import convx
from convx._select import SOLVERS
from convx._solvers import winograd

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.once

SIZES = {1: (11,), 2: (7, 8), 3: (5, 6, 4)}
TAPS = {1: (4,), 2: (3, 2), 3: (2, 3, 1)}
each_rank = pytest.mark.parametrize("rank", [1, 2, 3])
each_dtype = pytest.mark.parametrize("dtype", ["f8", "c16"])


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with convx.threads(1):
        yield
    torch.set_num_threads(before)


def numbers(rng, shape, dtype):
    a = rng.standard_normal(shape)
    return (a + 1j * rng.standard_normal(shape) if dtype == "c16" else a).astype(dtype)


def by_torch(function, x, w, dy_of, **options):
    """y, dy, and the gradients of x, w and the bias."""
    tensors = [torch.tensor(a, requires_grad=True) for a in (x, w)]
    outputs = function(*tensors, **options).shape[1]
    bias = torch.zeros(outputs, dtype=tensors[0].dtype, requires_grad=True)
    y = function(*tensors, bias, **options)
    dy = dy_of(tuple(y.shape))
    y.backward(torch.tensor(dy))
    return y.detach().numpy(), dy, *(t.grad.numpy() for t in (*tensors, bias))


def close(found, expected, terms, size):
    """PyTorch within (terms + 2) * eps * size, convx within that times the factor of what auto may take.

    A complex sum is two parts, and each of these the sum of two real ones.
    """
    assert found.shape == expected.shape
    factor = (1 + max(s.error_factor for s in SOLVERS)) * (4 if found.dtype.kind == "c" else 1)
    assert np.abs(found - expected).max(initial=0) <= factor * (terms + 2) * np.finfo(found.dtype).eps * size


def compare(name, x, w, options, mine, rng, dtype):
    function = getattr(torch.nn.functional, name.replace("grad", ""))
    y, dy, dx, dw, db = by_torch(function, x, w, lambda shape: numbers(rng, shape, dtype), **options)
    sizes = [np.abs(a).max(initial=0) for a in (x, w, dy)]
    terms = w.size, w.size, dy.size
    general = name.rstrip("123d")
    close(getattr(convx, name)(x, w, **mine), y, terms[0], sizes[0] * sizes[1] * terms[0])
    backward = getattr(convx, f"{general}_backward")(x, w, dy, **mine)
    close(backward[0], dx, terms[1], sizes[1] * sizes[2] * terms[1])
    close(backward[1], dw, terms[2], sizes[0] * sizes[2] * terms[2])
    close(backward[2], db, dy.size, np.abs(dy).sum())


def grid(*choices, dtype):
    """Every combination; for complex numbers every fifth."""
    return itertools.islice(itertools.product(*choices), 0, None, 1 if dtype == "f8" else 5)


@each_rank
@each_dtype
def test_conv(rank, dtype):
    rng = np.random.default_rng(rank)
    for stride, padding, dilation, groups in grid((1, 2, 3), (0, 1, 2), (1, 2), (1, 2), dtype=dtype):
        x, w = numbers(rng, (2, 2 * groups, *SIZES[rank]), dtype), numbers(rng, (2 * groups, 2, *TAPS[rank]), dtype)
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        if all(s + 2 * padding > dilation * (k - 1) for s, k in zip(SIZES[rank], TAPS[rank], strict=True)):
            compare(f"conv{rank}d", x, w, options, options, rng, dtype)


@each_rank
def test_conv_with_its_words_for_padding(rank):
    rng = np.random.default_rng(rank)
    for padding, dilation in itertools.product(("valid", "same"), (1, 2)):
        x, w = numbers(rng, (2, 2, *SIZES[rank]), "f8"), numbers(rng, (3, 2, *(3,) * rank), "f8")
        options = {"padding": padding, "dilation": dilation}
        if all(s > 2 * dilation for s in SIZES[rank]) or padding == "same":
            compare(f"conv{rank}d", x, w, options, options, rng, "f8")


@each_rank
@each_dtype
def test_conv_transpose(rank, dtype):
    rng = np.random.default_rng(rank)
    for stride, padding, dilation, groups in grid((1, 2, 3), (0, 1, 2), (1, 2), (1, 2), dtype=dtype):
        if any(stride * (s - 1) + dilation * (k - 1) + 1 <= 2 * padding for s, k in zip(SIZES[rank], TAPS[rank],
                                                                                        strict=True)):
            continue  # nothing is left inside the padding
        for more in range(max(stride, dilation)):
            x, w = numbers(rng, (2, 2 * groups, *SIZES[rank]), dtype), numbers(rng, (2 * groups, 3, *TAPS[rank]), dtype)
            options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups,
                       "output_padding": more}
            compare(f"conv_transpose{rank}d", x, w, options, options, rng, dtype)


def test_sizes_of_conv_transpose_for_every_combination():
    function = torch.nn.functional.conv_transpose1d
    accepted = 0
    for size, taps, stride, padding, dilation, more in itertools.product(
            (1, 2, 5), (1, 2, 4), (1, 2, 3), range(4), (1, 2, 3), range(4)):
        x, w = np.ones((1, 1, size)), np.ones((1, 1, taps))
        options = {"stride": stride, "padding": padding, "dilation": dilation, "output_padding": more}
        try:
            want = function(torch.tensor(x), torch.tensor(w), **options).numpy()
        except RuntimeError:  # what torch refuses is refused, or empty
            try:
                assert not convx.conv_transpose(x, w, **options).size
            except ValueError as error:
                assert "outputs" in str(error)
            continue
        accepted += 1
        assert np.array_equal(convx.conv_transpose(x, w, **options), want), (size, taps, options)
    assert accepted > 500


TORCH_1D = [{}, {"stride": 2}, {"padding": 2}, {"dilation": 3}, {"groups": 2}, {"padding": "same"},
            {"stride": 3, "padding": 1, "dilation": 2, "groups": 4}, {"padding": "valid"}]
TORCH_ND = [{}, {"stride": (2, 1, 3)}, {"padding": (1, 0, 2)}, {"dilation": (2, 1, 1)}, {"groups": 4},
            {"stride": 2, "padding": (2, 1, 1), "dilation": (1, 2, 1), "groups": 2},
            {"padding": "same", "dilation": (1, 2, 1)}]


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("rank, options", [(1, o) for o in TORCH_1D] + [(r, o) for r in (2, 3) for o in TORCH_ND])
@pytest.mark.parametrize("taps", [3, 4])
def test_torch_agrees(rank, options, taps):
    rng = np.random.default_rng(40)
    options = {k: v[:rank] if isinstance(v, tuple) else v for k, v in options.items()}
    groups = options.get("groups", 1)
    x = rng.standard_normal((2, 4, *(20, 11, 9)[:rank]))
    w = rng.standard_normal((8, 4 // groups, *(taps, 3, 2)[:rank]))
    bias = rng.standard_normal(8)
    function = getattr(torch.nn.functional, f"conv{rank}d")
    for b, batched in itertools.product((None, bias), (True, False)):
        given = x if batched else x[0]
        y = convx.conv(given, w, b, algorithm="sums", **options)
        unasked = convx.conv(given, w, b, **options)
        want = function(*(None if a is None else torch.from_numpy(a) for a in (given, w, b)), **options)
        # Both sums hold `terms` products; each is within half of this bound of the exact one.
        terms = w[0].size + 1
        size = convx.conv(np.abs(given), np.abs(w), None if b is None else np.abs(b), algorithm="sums",
                          **options)
        assert y.shape == tuple(want.shape)
        assert (np.abs(y - want.numpy()) <= 2 * (terms + 2) * np.finfo(float).eps * size).all()
        # auto may take tiles of Winograd, whose error is bounded by norms.
        norm = np.abs(given).max() * np.abs(w).sum(tuple(range(1, w.ndim))).max() + np.abs(bias).max()
        assert (np.abs(unasked - y) <= (1 + winograd.error_factor) * (terms + 2) * np.finfo(float).eps * norm).all()
