"""Drawings: what stands in figures and pictures, seen through their artists and arrays."""

import os
import subprocess
import sys
from itertools import pairwise, product

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="convx.plot needs matplotlib")

from arrays import ABSURD
from PIL import Image
from test_architecture import run_examples

import convx
from convx import nn, plot
from convx.linop import as_sparse

pytestmark = pytest.mark.once  # no matter which kernel row or build
RNG = np.random.default_rng(0)


def cells(figure, kind):
    """{index: patch} of the patches of a kind."""
    found = {}
    for patch in figure.axes[0].patches:
        word, _, index = (patch.get_gid() or "").partition(" ")
        if word == kind:
            found[tuple(int(i) for i in index.split(",")) if index else ()] = patch
    return found


def texts(figure):
    return [text.get_text() for text in (*figure.axes[0].texts, *figure.texts)]


CASES = [
    ((5, 5), (3, 3), {}), ((5, 5), (3, 3), {"stride": 2, "padding": 1}), ((6, 5), (2, 3), {"dilation": (1, 2)}),
    ((4, 4), (2, 3), {"padding": ((0, 1), (2, 0))}), ((7,), (3,), {"stride": 3, "padding": 2}),
    ((5, 4), (3, 3), {"padding": "same", "boundary": "reflect"}), ((5,), (4,), {"padding": "full", "boundary": "wrap"}),
    ((4, 4), (3, 3), {"padding": "same", "flip": True}), ((6,), (2,), {"padding": "same_lower"}),
    ((3, 3), (3, 3), {"operator": "conv_transpose", "stride": 2, "padding": 1}),
    ((3, 2), (4, 2), {"operator": "conv_transpose", "stride": (2, 3), "padding": (1, 0), "output_padding": (1, 0)}),
    ((4,), (3,), {"operator": "conv_transpose", "stride": 2, "dilation": 3}),
    ((5,), (4,), {"operator": "convolve", "mode": "same"}),
    ((5,), (4,), {"operator": "convolve", "mode": "same", "alignment": "matlab"}),
    ((4, 5), (2, 3), {"operator": "correlate", "mode": "full", "boundary": "edge"}),
]


@pytest.mark.parametrize("size, taps, options", CASES)
def test_every_step_meets_what_the_matrix_says(size, taps, options):
    """Through the cells that the taps lie on, a unit weight reaches exactly the entries of `as_sparse`."""
    layer = options.get("operator", "conv").startswith("conv") and options.get("operator") != "convolve"
    shape = (lambda sizes: (1, 1, *sizes)) if layer else tuple
    units = {k: as_sparse(np.eye(1, int(np.prod(taps)), n).reshape(shape(taps)), shape(size), **options).toarray()
             for n, k in enumerate(np.ndindex(taps))}
    drawing = plot.arithmetic(size, taps, **options)
    inputs = {patch.get_xy(): index for index, patch in cells(drawing, "input").items()}
    base = np.diff(sorted({index[0] for index in inputs.values()}))[0]
    assert base == (np.broadcast_to(options.get("stride", 1), len(size))[0] if "transpose" in str(options) else 1)
    outputs = list(cells(drawing, "output"))
    rows = next(iter(units.values())).shape[0]
    assert len(inputs) == np.prod(size) and len(outputs) == rows
    places = {xy: n for n, xy in enumerate(sorted(inputs, key=lambda xy: inputs[xy]))}
    for step in {0, rows // 2, rows - 1}:
        figure = plot.arithmetic(size, taps, step=step, **options)
        for k, patch in cells(figure, "tap").items():
            want = units[k][step]
            if patch.get_xy() in places:
                assert want[places[patch.get_xy()]] == 1
            else:
                assert options.get("boundary") or not want.any()
        window, now = cells(figure, "window")[()], cells(figure, "now")[()]
        corners = np.array([patch.get_xy() for patch in cells(figure, "tap").values()])
        assert np.array_equal(window.get_xy(), corners.min(axis=0))
        assert (window.get_width(), window.get_height()) == tuple(np.ptp(corners, axis=0) + 1)
        assert now.get_xy() == cells(figure, "output")[outputs[step]].get_xy()


def test_cells_are_named_after_what_they_hold():
    figure = plot.arithmetic((3, 3), (3, 3), operator="conv_transpose", stride=2, padding=1, step=(0, 1))
    assert sorted(cells(figure, "input")) == list(product((0, 2, 4), repeat=2))
    assert sorted(cells(figure, "zero")) == [p for p in product(range(5), repeat=2) if p[0] % 2 or p[1] % 2]
    assert sorted(cells(figure, "padding")) == [p for p in product(range(-1, 6), repeat=2) if {-1, 5} & set(p)]
    assert not cells(figure, "read")
    assert "y[0, 1] = w[1,0]·x[0,1] + w[1,2]·x[0,0]" in texts(figure)
    read = plot.arithmetic((3,), (3,), padding=1, boundary="symmetric")
    assert sorted(cells(read, "read")) == [(-1,), (3,)] and not cells(read, "padding")
    assert "3 taps, stride 1, dilation 1, padding 1, boundary symmetric" in texts(read)


@pytest.mark.parametrize("options, outside", [({}, "0"), ({"cval": 7}, "7"), ({"boundary": "wrap"}, "3")])
def test_numbers_are_those_of_the_operator(options, outside):
    x, w = np.array([[1.0, 2, 3], [4, 5, 6.5]]), np.array([[1, -2]])
    y = convx.conv(x[None], w[None, None], padding=((0, 0), (1, 0)), **options)[0]
    figure = plot.arithmetic(x, w, padding=((0, 0), (1, 0)), step=5, **options)
    said = texts(figure)
    minus = "\N{MINUS SIGN}"
    for value in (*x.flat, *y.flat):
        assert f"{value:g}".replace("-", minus) in said
    assert outside in said
    assert f"y[1, 2] = 5·1 + 6.5·({minus}2) = {minus}8" in said and f"×{minus}2" in said
    early = texts(plot.arithmetic(x, w, padding=((0, 0), (1, 0)), step=0, **options))
    assert sum("=" in text for text in early) == 1 and early.count(f"{minus}8") == 0


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.uint64, np.float16, np.float32])
def test_numbers_of_any_real_dtype(dtype):
    x, w = np.array([1, 0, 1, 1]).astype(dtype), np.array([1, 1]).astype(dtype)
    assert "y[2] = 1·1 + 1·1 = 2" in texts(plot.arithmetic(x, w, step=2))
    y = plot.arithmetic(x, np.array([-1, 1]), step=0)
    assert "y[0] = 1·(−1) + 0·1 = −1" in texts(y)


def test_the_example_of_the_fourth_tutorial():
    x = np.array([[35, 40, 41, 45, 50], [40, 40, 42, 46, 52], [42, 46, 50, 55, 55], [48, 52, 56, 58, 60],
                  [56, 60, 65, 70, 75]], np.uint8)
    w = np.array([[0, 1, 0], [0, 0, 0], [0, 0, 0]], np.uint8)
    said = texts(plot.arithmetic(x, w, padding="same", step=(2, 2)))
    assert "y[2, 2] = 40·0 + 42·1 + 46·0 + 46·0 + 50·0 + 55·0 + 52·0 + 56·0 + 58·0 = 42" in said


def test_an_animation_has_a_frame_for_each_step(tmp_path):
    path = tmp_path / "steps.gif"
    plot.arithmetic_gif(path, (3, 3), (2, 2), padding=((1, 0), (0, 0)), rate=4)
    with Image.open(path) as film:
        assert film.n_frames == 6 and film.info["duration"] == 250 and film.info["loop"] == 0
        frames = []
        for n in range(film.n_frames):
            film.seek(n)
            frames.append(np.asarray(film.convert("RGB")).astype(int))
    assert all((a != b).any() for a, b in pairwise(frames))


@pytest.mark.parametrize("arguments, options, error, text", [
    ((5, 3), {"step": 3}, ValueError, r"step=3: there are 3 steps"),
    (((5, 5), (3, 3)), {"step": (0, 3)}, ValueError, r"step=\(0, 3\) is no index .* \(3, 3\)"),
    (((5, 5), 3), {}, ValueError, "x has 2 axes, w has 1"), (((5, 5, 5), (3, 3, 3)), {}, ValueError, "x has 3 axes"),
    ((3, 5), {}, ValueError, "a kernel of 5 taps"), ((0, 1), {}, ValueError, r"x has the sizes \(0,\)"),
    ((41, 1), {}, ValueError, "41 cells along an axis; 40"), ((5, 3), {"stride": 0}, ValueError, "stride=0"),
    ((5, 3), {"groups": 2}, TypeError, "groups= is no option"), (("5", 3), {}, TypeError, "x='5'"),
    ((5, 3), {"operator": "pool"}, ValueError, "operator='pool'"), ((np.ones(5), 3), {}, TypeError, "both arrays"),
    ((np.ones(5, complex), np.ones(3)), {}, TypeError, "x has dtype complex128"),
    ((5, 3), {"operator": "conv_transpose", "boundary": "edge"}, ValueError, "boundary='edge'"),
    ((3, 5), {"operator": "convolve", "mode": "valid"}, ValueError, "exchanges them"),
    ((1, 1), {"operator": "conv_transpose", "padding": 1}, ValueError, "1 inputs and a kernel|no step|outputs"),
])
def test_what_cannot_be_drawn(arguments, options, error, text):
    with pytest.raises(error, match=text):
        plot.arithmetic(*arguments, **options)


def test_what_cannot_be_animated(tmp_path):
    for path, options, text in (("a.png", {}, "ends in .gif"), ("a.gif", {"rate": 0}, "rate=0"),
                                ("a.gif", {"step": 1}, "step= is no option")):
        with pytest.raises((ValueError, TypeError), match=text):
            plot.arithmetic_gif(tmp_path / path, 5, 3, **options)
    with pytest.raises(ValueError, match="takes 441 steps; an animation has at most 400"):
        plot.arithmetic_gif(tmp_path / "a.gif", (21, 21), (1, 1))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("w_shape, x_shape, options", [
    ((1, 1, 3, 3), (1, 5, 5), {}), ((2, 3, 2, 2), (3, 4, 4), {"padding": "same", "stride": 2}),
    ((3, 2, 3), (1, 3, 5), {"operator": "conv_transpose", "stride": 2}), ((4,), (30,), {"operator": "convolve"}),
    ((4, 2, 2, 3), (2, 6), {"operator": "locally_connected"})])
def test_the_matrix_is_that_of_linop(w_shape, x_shape, options):
    w = RNG.standard_normal(w_shape)
    figure = plot.operator_matrix(w, x_shape, **options)
    matrix, drawn = as_sparse(w, x_shape, **options), figure.axes[0].images[0].get_array()
    assert np.array_equal(drawn.filled(0), matrix.toarray())
    assert drawn.count() == matrix.nnz
    written = [text.get_text() for text in figure.axes[0].texts]
    assert len(written) == (matrix.nnz if max(matrix.shape) <= 26 else 0)
    assert any(f"{matrix.nnz} entries" in text.get_text() for text in figure.texts)
    assert len(figure.axes) == (1 if written else 2)  # a colour bar instead of numbers


def test_a_weight_of_zero_is_drawn_and_padding_is_not():
    drawn = plot.operator_matrix(np.array([[[0.0, 0.0]]]), (1, 3), padding="same").axes[0].images[0].get_array()
    assert np.array_equal(~drawn.mask, [[1, 1, 0], [0, 1, 1], [0, 0, 1]])


def test_what_is_no_matrix():
    with pytest.raises(ValueError, match="529 rows and 529 columns; 512"):
        plot.operator_matrix(np.ones((1, 1, 1, 1)), (1, 23, 23))
    with pytest.raises(TypeError, match="w has dtype complex128"):
        plot.operator_matrix(np.ones((1, 1, 1), complex), (1, 3))
    with pytest.raises(ValueError, match="nothing to draw"):
        plot.operator_matrix(np.ones((1, 1, 1)), (0, 1, 3))
    with pytest.raises(TypeError, match="bias="):
        plot.operator_matrix(np.ones((1, 1, 1)), (1, 3), bias=1)


def tile(picture, number, side, size, margin):
    row, column = divmod(number, side)
    top, left = row * (size[0] + margin), column * (size[1] + margin)
    return picture[top:top + size[0], left:left + size[1]]


def stretched(plane):
    """The tutorial's lines, written again."""
    share = (plane - plane.min()) / (plane.max() - plane.min() + 1e-7)
    return np.clip(share * 255, 0, 255).astype("uint8")


@pytest.mark.parametrize("order", ["out", "in"])
def test_kernel_tiles(order):
    w = RNG.standard_normal((16, 3, 3, 3))
    picture = plot.kernel_tiles(w, order=order)
    assert picture.dtype == np.uint8 and picture.shape == (5 * 48 + 4 * 2,) * 2
    for n in range(25):
        o, i = divmod(n, 3) if order == "out" else divmod(n, 16)[::-1]
        found = tile(picture, n, 5, (48, 48), 2)
        assert np.array_equal(found, np.kron(stretched(w[o, i]), np.ones((16, 16), np.uint8)))
    assert (picture[48:50] == 0).all() and (picture[:, 48:50] == 0).all()
    # The tutorial's program: transpose(2, 3, 0, 1) of Keras' HWIO, the first 25.
    assert order == "out" or np.array_equal(
        tile(picture, 7, 5, (48, 48), 2)[::16, ::16], stretched(w.transpose(1, 0, 2, 3).reshape(-1, 3, 3)[7]))
    last = {"OHWI": (0, 2, 3, 1), "HWIO": (2, 3, 1, 0)}
    for word, axes in last.items():
        assert np.array_equal(plot.kernel_tiles(w.transpose(axes), order=order, w_layout=word), picture)
    few = plot.kernel_tiles(w[:2, :1], zoom=2, margin=0)
    assert few.shape == (12, 12) and (few[6:] == 0).all()  # two tiles in a square of four


def test_feature_maps():
    y = RNG.standard_normal((2, 70, 6, 5))
    picture = plot.feature_maps(y, image=1)
    assert picture.shape == (8 * 6 + 7 * 8, 8 * 5 + 7 * 8)
    for n in (0, 9, 63):
        assert np.array_equal(tile(picture, n, 8, (6, 5), 8), stretched(y[1, n]))
    assert np.array_equal(plot.feature_maps(y.transpose(0, 2, 3, 1), image=-1, layout="NHWC"), picture)
    assert np.array_equal(plot.feature_maps(y.transpose(2, 3, 1, 0), image=1, layout="HWCN"), picture)
    assert np.array_equal(plot.feature_maps(y[1]), picture)
    assert np.array_equal(plot.feature_maps(y[1].transpose(1, 2, 0), layout="HWC"), picture)
    assert (plot.feature_maps(np.full((1, 2, 2), 3.0)) == 0).all()  # a constant map is black


@pytest.mark.parametrize("call, error, text", [
    (lambda: plot.kernel_tiles(np.ones((3, 3))), ValueError, "w has 2 axes"),
    (lambda: plot.kernel_tiles(np.ones((1, 1, 3, 3)), order="row"), ValueError, "order='row'"),
    (lambda: plot.kernel_tiles(np.ones((1, 1, 3, 3)), zoom=0), ValueError, "zoom=0"),
    (lambda: plot.kernel_tiles(np.ones((1, 1, 3, 3)), w_layout="IOHW"), ValueError, "w_layout='IOHW'"),
    (lambda: plot.kernel_tiles(np.full((1, 1, 3, 3), np.nan)), ValueError, "9 infinite or undefined"),
    (lambda: plot.kernel_tiles(np.ones((0, 1, 3, 3))), ValueError, "a picture needs values"),
    (lambda: plot.feature_maps(np.ones((3, 3))), ValueError, "y has 2 axes"),
    (lambda: plot.feature_maps(np.ones((2, 1, 3, 3)), image=2), ValueError, "image=2: the batch has 2"),
    (lambda: plot.feature_maps(np.ones((1, 3, 3), complex)), TypeError, "y has dtype complex128"),
    (lambda: plot.tiled([]), ValueError, "at least one is needed"),
    (lambda: plot.tiled([np.ones((2, 2)), np.ones((2, 3))]), ValueError, "all alike"),
])
def test_what_is_no_picture(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_receptive_fields_are_those_of_nn():
    net, shape = nn.zoo.vgg16(width=2, hidden=4), (1, 3, 64, 48)
    figure = plot.receptive_field(net, shape)
    for i in range(len(net)):
        (top, bottom), (left, right) = nn.receptive_field(net[:i + 1], shape)
        (patch,) = [p for p in figure.axes[0].patches if p.get_gid() == f"layer {i}"]
        assert patch.get_xy() == (left, top) and (patch.get_width(), patch.get_height()) == (right - left, bottom - top)
    bars = [bar.get_width() for bar in figure.axes[1].patches]
    assert bars[:3] == [3, 5, 6] and bars[-1] == max(bottom - top, right - left)
    assert any(text.get_text() == "2  max 2×2 / 2" for text in figure.axes[1].texts)
    # Beside a branch no network ends: the fork of yolov2 (layers 25, 26) is left out, and what joins it is there.
    names = [p.get_gid() for p in plot.receptive_field(nn.zoo.yolov2(width=1), (1, 3, 64, 64)).axes[0].patches]
    assert names == ["input", *(f"layer {i}" for i in range(30) if i not in (25, 26))]
    line = plot.receptive_field([nn.Conv(1, 3), nn.Conv(1, 3, dilation=2)], (1, 1, 20))
    assert [p.get_width() for p in line.axes[0].patches] == [20, 3, 7]
    with pytest.raises(ValueError, match="3 spatial axes"):
        plot.receptive_field(nn.Conv(1, 1), (1, 1, 2, 2, 2))
    with pytest.raises(TypeError, match="net is a int"):
        plot.receptive_field(3, (1, 1, 2, 2))


def small_net(layout=None):
    net = nn.Sequential(nn.Conv(6, 3, padding="same"), nn.ReLU(), nn.MaxPool(2),
                        nn.Sequential(nn.Conv(12, 3, padding="same"), nn.BatchNorm(), nn.ReLU()), layout=layout)
    shape = {None: (1, 3, 32, 32), "NHWC": (1, 32, 32, 3), "HWCN": (32, 32, 3, 1)}[layout]
    net.init(shape, rng=1, dtype=np.float64)
    return net


@pytest.mark.parametrize("layout", [None, "NHWC", "HWCN"])
def test_ascent_climbs(layout):
    net = small_net(layout)
    found = plot.ascend(net, 3, 4, size=(32, 24), steps=30, rng=0, dtype=np.float64)
    assert len(found.losses) == 30 and found.loss == found.losses[-1] > 1.2 * found.losses[0] > 0
    assert found.x.shape == (32, 24, 3) and found.filter == 4
    x = {None: (2, 0, 1), "NHWC": (0, 1, 2), "HWCN": (0, 1, 2)}[layout]
    x = np.expand_dims(found.x.transpose(x), 3 if layout == "HWCN" else 0)
    y = np.moveaxis(net(x), {None: 1, "NHWC": 3, "HWCN": 2}[layout], 0)[4]
    assert y.mean() > found.loss  # x is one step further than the last loss
    shown = 0.1 * (found.x - found.x.mean()) / (found.x.std() + 1e-7) + 0.5
    assert np.array_equal(found.picture, np.clip(shown * 255, 0, 255).astype("uint8"))


def test_a_step_is_the_normalised_gradient():
    net, start = small_net(), RNG.random((8, 8, 3))
    kept = start.copy()
    found = plot.ascend(net, 0, 2, start=start, steps=1, step=0.5, dtype=np.float64)
    assert np.array_equal(start, kept)
    ones = np.zeros((1, 6, 8, 8))
    ones[0, 2] = 1 / 64
    g = convx.conv_grad_input(ones, net[0].w, (1, 3, 8, 8), padding="same")[0].transpose(1, 2, 0)
    np.testing.assert_allclose(found.x, start + 0.5 * g / (np.sqrt((g ** 2).mean()) + 1e-7), rtol=1e-12)
    np.testing.assert_allclose(found.loss, net[:1](start.transpose(2, 0, 1)[None])[0, 2].mean(), rtol=1e-12)


def test_stuck_filters_end_and_are_left_out():
    net = small_net()
    net[0].b[:] = [0, -1e6, 0, 0, -1e6, 0]  # two filters are 0 behind the ReLU wherever one starts
    stuck = plot.ascend(net, 1, 1, size=16, rng=0)
    assert stuck.losses == (0.0,) and np.abs(stuck.x - 128).max() <= 10
    found = plot.ascents(net, 1, size=16, steps=5, rng=0, dtype=np.float64)
    assert {1, 4}.isdisjoint(a.filter for a in found) and len(found) >= 2
    assert [a.loss for a in found] == sorted((a.loss for a in found), reverse=True)
    assert [a.filter for a in plot.ascents(net, 1, [1, 4], size=16, steps=1, rng=0)] == []
    assert plot.tiled([a.picture for a in found[:2]]).shape == (16 + 8 + 16,) * 2 + (3,)


def test_ascent_by_hand_and_by_seed():
    net = small_net()
    one, two = (plot.ascend(net, -1, 0, size=12, steps=3, rng=5) for _ in range(2))
    assert np.array_equal(one.x, two.x) and one.x.dtype == np.float32
    dense = nn.Sequential(*net.layers, nn.Flatten(), nn.Dense(3))
    dense.init((1, 3, 8, 8), rng=0)
    assert len(plot.ascend(dense, 5, 2, size=8, steps=2, rng=3).losses) >= 1  # a unit without a map
    for arguments, options, text in (((net, 4, 0), {}, "layer=4: the network has 4"),
                                     ((net, 0, 6), {"size": 8}, "filter=6: layer 0 has 6"),
                                     ((net, 0, 0), {"size": 8, "steps": 0}, "steps=0"),
                                     ((net, 0, 0), {"start": np.ones((3, 3))}, "start has the shape"),
                                     ((net, 0, 0), {"dtype": int}, "dtype=int64: an input that climbs"),
                                     ((nn.Conv(1, 3), 0, 0), {"size": 8}, "has no w yet")):
        with pytest.raises((ValueError, TypeError), match=text):
            plot.ascend(*arguments, **options)


@pytest.mark.parametrize("layer", [
    nn.Conv(4, 3, stride=2, padding=1), nn.ConvTranspose(4, 3, stride=2), nn.LocallyConnected(4, 3), nn.MaxPool(2),
    nn.Sequential(nn.Conv(3, 3, padding="same"), nn.Sequential(nn.ReLU(), nn.Conv(3, 1)), nn.Add(0, 1), nn.Flatten(),
                  nn.Dense(5))], ids=lambda layer: type(layer).__name__)
def test_the_input_gradient_is_the_first_of_backward(layer):
    x = RNG.standard_normal((2, 3, 7, 6))
    layer.init(x.shape, rng=0, dtype=np.float64)
    with pytest.raises(RuntimeError, match="input_gradient needs a forward"):
        layer.input_gradient(x)
    dy = RNG.standard_normal(layer.forward(x).shape)
    found = layer.backward(dy)
    np.testing.assert_array_equal(layer.input_gradient(dy), found[0] if layer.trained else found)
    with pytest.raises(ValueError, match="dy has shape"):
        layer.input_gradient(dy[:1])


@pytest.mark.parametrize("name", [name for name in plot.__all__ if name != "Ascent"])
def test_examples(name):
    run_examples(name, getattr(plot, name).__doc__)


def test_pyplot_is_left_alone():
    code = ("import sys; from convx import plot; f = plot.arithmetic(5, 3); f.canvas.draw(); "
            "assert 'matplotlib.pyplot' not in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True)
    code = "import sys; sys.modules['matplotlib'] = None\ntry:\n import convx.plot\nexcept ImportError as e: print(e)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert done.stdout == 'convx.plot needs matplotlib: pip install "convx-nd[plot]"\n'


@pytest.mark.parametrize("bad", ABSURD, ids=str)
def test_an_absurd_count_is_named(bad):
    net = nn.Sequential(nn.Conv(2, 3))
    net.init((1, 3, 8, 8), rng=0)
    for name, draw in {
        "most": lambda: plot.kernel_tiles(np.ones((2, 2, 3, 3)), most=bad),
        "zoom": lambda: plot.kernel_tiles(np.ones((2, 2, 3, 3)), zoom=bad),
        "margin": lambda: plot.tiled([np.zeros((2, 2), np.uint8)], margin=bad),
        "layer": lambda: plot.ascend(net, bad, 0, size=8), "filter": lambda: plot.ascend(net, 0, bad, size=8),
        "size": lambda: plot.ascend(net, 0, 0, size=(8, bad)), "steps": lambda: plot.ascend(net, 0, 0, steps=bad),
        "channels": lambda: plot.ascend(net, 0, 0, channels=bad), "filters": lambda: plot.ascents(net, 0, bad, size=8),
    }.items():
        with pytest.raises((ValueError, TypeError), match=rf"^{name}(=\d+: it must be| must be an integer)"):
            draw()
