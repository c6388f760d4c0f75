"""Convolutions as linear operators and as sparse matrices: whole numbers make every comparison an equality."""

import doctest
import importlib.util
import subprocess
import sys
from math import prod
from pathlib import Path

import arrays
import numpy as np
import problems
import pytest
from hypothesis import given, note
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse import linalg

import convx
import convx.linop
from convx.linop import as_linear_operator, as_sparse

pytestmark = pytest.mark.once  # no matter which kernel row or build

RANKS = (1, 2, 3)
X_ORDER = {"NCHW": "nc.", "NHWC": "n.c", "HWCN": ".cn"}
W_ORDER = {"OIHW": "oi.", "OHWI": "o.i", "HWIO": ".io"}


def pair(size, taps, stride, dilation, padding):
    """(before, after) of a padding's name."""
    span = dilation * (taps - 1) + 1
    if padding.__class__ is tuple:
        return padding
    if padding in ("valid", "full"):
        return (0, 0) if padding == "valid" else (span - 1, span - 1)
    total = max((-(-size // stride) - 1) * stride + span - size, 0)
    return (total // 2, total - total // 2)[::1 if padding == "same" else -1]


def placed(letters, sizes, order, rank):
    """The shape whose axes stand in this order; the dot is all spatial axes."""
    found = []
    for letter in order:
        found += sizes["."] if letter == "." else [sizes[letter]] if sizes[letter] is not None else []
    return tuple(found)


@st.composite
def layers(draw, operator):
    """(w, x_shape, options) of a layer operator, with whole weights."""
    rank = draw(st.sampled_from(RANKS if operator != "locally_connected" else (1, 2)))
    rows = draw(problems.forward_options(rank))
    n, g = draw(st.sampled_from((None, 1, 2))), draw(st.integers(1, 2))
    c, m = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    pads = [pair(*row[:5]) for row in rows]
    sizes, taps = [row[0] for row in rows], [row[1] for row in rows]
    stride, dilation = (tuple(row[at] for row in rows) for at in (2, 3))
    outs = [(i + sum(p) - d * (k - 1) - 1) // s + 1
            for i, k, s, d, p in zip(sizes, taps, stride, dilation, pads, strict=True)]
    layout, w_layout = draw(st.sampled_from([*X_ORDER])), draw(st.sampled_from([*W_ORDER]))
    options = {"stride": stride, "dilation": dilation, "padding": tuple(pads), "groups": g, "layout": layout,
               "w_layout": w_layout, "flip": rows[0][6], "boundary": tuple(row[5] for row in rows)}
    x_shape = placed("nc.", {"n": n, "c": g * c, ".": sizes}, X_ORDER[layout], rank)
    w_shape = placed("oi.", {"o": g * m, "i": c, ".": taps}, W_ORDER[w_layout], rank)
    if operator == "conv_transpose":
        x_shape = placed("nc.", {"n": n, "c": g * m, ".": outs}, X_ORDER[layout], rank)
        options["output_shape"] = tuple(sizes)
    if operator == "locally_connected":
        w_shape = (*outs, *w_shape)
    w = arrays.whole(w_shape, draw(st.integers(0, 99)), draw(st.sampled_from(("f8", "c16", "i4"))))
    note(f"{operator} x{x_shape} w{w_shape} {options}")
    return w, x_shape, options


@st.composite
def signals(draw, operator):
    """(v, shape of a, options): axes are convolved, of a only, of both, or of v only."""
    kinds = draw(st.lists(st.sampled_from("ccabv"), min_size=1, max_size=3))
    mode = draw(st.sampled_from(("full", "same", "valid")))
    turned = mode == "valid" and draw(st.booleans())  # the longer one is v
    a_shape, v_shape = [], []
    for kind in kinds:
        short, more, other = draw(st.integers(1, 3)), draw(st.integers(0, 3)), draw(st.integers(2, 4))
        rows = {"c": (short, short + more) if turned else (short + more, short), "a": (other, 1), "b": (other, other),
                "v": (1, other)}
        a_shape.append(rows[kind][0])
        v_shape.append(rows[kind][1])
    axes = tuple(i - draw(st.sampled_from((0, len(kinds)))) for i, kind in enumerate(kinds) if kind == "c")
    boundary = "constant"
    if not (turned and any(a < v for a, v, k in zip(a_shape, v_shape, kinds, strict=True) if k == "c")):
        boundary = draw(st.sampled_from(("constant", "edge", "reflect", "symmetric", "wrap")))
    alignment = draw(st.sampled_from(("scipy", "matlab")))
    options = {"mode": mode, "axes": axes, "boundary": boundary, "alignment": alignment}
    if len(axes) == len(kinds) and draw(st.booleans()):
        del options["axes"]
    v = arrays.whole(v_shape, draw(st.integers(0, 99)), draw(st.sampled_from(("f8", "c16", "i4"))))
    note(f"{operator} a{a_shape} v{v_shape} {options}")
    return v, tuple(a_shape), options


CALLS = {name: layers(name) for name in ("conv", "conv_transpose", "locally_connected")}
CALLS |= {name: signals(name) for name in ("convolve", "correlate")}
every_operator = pytest.mark.parametrize("operator", CALLS)


def dense(operator, w, x_shape, options):
    """The matrix, column by column: the operator applied to every unit array."""
    unit = np.zeros(x_shape)
    columns = []
    for at in np.ndindex(x_shape):
        unit[at] = 1
        columns.append(getattr(convx, operator)(unit, w, **options).ravel())
        unit[at] = 0
    return np.stack(columns, axis=1)


@every_operator
@given(data=st.data())
def test_the_matrix_the_products_and_the_adjoint(operator, data):
    w, x_shape, options = data.draw(CALLS[operator])
    want = dense(operator, w, x_shape, options)
    for form in ("csr", "csc", "coo"):
        found = as_sparse(w, x_shape, operator=operator, format=form, **options)
        assert isinstance(found, sparse.sparray) and found.format == form
        assert found.dtype == (np.int64 if w.dtype.kind == "i" else w.dtype)
        assert np.array_equal(found.toarray(), want)
    a = as_linear_operator(w, x_shape, operator=operator, **options)
    assert isinstance(a, linalg.LinearOperator) and a.shape == want.shape
    assert (a.x_shape, prod(a.y_shape)) == (x_shape, len(want))
    dtype = data.draw(st.sampled_from(("f8", "c16", "i4")))
    x, y = arrays.whole((a.shape[1], 3), 1, dtype), arrays.whole((a.shape[0], 3), 2, dtype)
    for left, right, aim in ((a, x, want @ x), (a.H, y, want.conj().T @ y), (a.T, y, want.T @ y)):
        product = left @ right
        assert product.shape == aim.shape and np.array_equal(product, aim)
        assert np.array_equal(left @ np.asfortranarray(right), aim)
        assert np.array_equal(left @ right[:, 1], aim[:, 1])
        assert np.array_equal(left @ right[:, 1:2], aim[:, 1:2])
        assert (left @ right[:, :0]).shape == (left.shape[0], 0)
    image = x[:, 0].reshape(x_shape)
    applied = getattr(convx, operator)(image, w, **options)
    assert applied.shape == a.y_shape
    assert np.array_equal(a @ image.ravel(), applied.ravel())
    assert (a @ image.ravel()).dtype == applied.dtype
    twice = 2 * linalg.aslinearoperator(np.eye(a.shape[1]))
    assert np.array_equal((a.H @ a - twice) @ x, want.conj().T @ want @ x - 2 * x)
    assert np.array_equal(a.H.H @ x, want @ x)


@given(problems.geometries(ranks=(1, 2), families=("forward",)))
def test_rounding_stays_within_the_bound(geometry):
    x, w, _ = problems.arrays(geometry, "f4")
    aim, bound = problems.exact(geometry, x, w), problems.tolerance(geometry, x, w)
    rank = len(geometry.axes)
    options = {"stride": tuple(a.stride for a in geometry.axes), "groups": geometry.g,
               "dilation": tuple(abs(a.dilation) for a in geometry.axes), "flip": geometry.axes[0].dilation < 0,
               "boundary": tuple(a.boundary for a in geometry.axes)}
    pads = []
    for a in geometry.axes:
        before = a.offset - min(a.dilation, 0) * (a.taps - 1)
        after = (a.out - 1) * a.stride + abs(a.dilation) * (a.taps - 1) + 1 - before - a.size
        pads.append((before, max(after, 0)))
    x = x.reshape(geometry.n, -1, *x.shape[3:])
    w = w.reshape(-1, *w.shape[2:])
    for made in (as_linear_operator, as_sparse):
        y = made(w, x.shape, padding=tuple(pads), **options) @ x.ravel()
        assert y.dtype == np.float32
        problems.assert_close(y.reshape(aim.shape), aim, bound)
    assert rank == x.ndim - 2


def test_the_matrix_is_the_sum_written_out():
    x_shape, w = (2, 4, 6, 5), arrays.whole((6, 2, 3, 2))
    options = {"stride": (2, 1), "padding": ((1, 2), (0, 1)), "dilation": (1, 2), "groups": 2}
    for boundary in (("constant", "wrap"), ("reflect", "symmetric")):
        unit = np.eye(prod(x_shape[1:])).reshape(-1, *x_shape[1:])
        one = arrays.plain(unit, w, (4, 4), (2, 1), (1, 0), (1, 2), 2, boundary).reshape(len(unit), -1).T
        assert np.array_equal(as_sparse(w, x_shape, boundary=boundary, **options).toarray(), np.kron(np.eye(2), one))


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "lil", "dok", "dia"])
def test_formats(form):
    w = np.array([[[1.0, 2.0, 4.0]]])
    matrix = as_sparse(w, (1, 4), padding=2, boundary="edge", format=form)
    assert matrix.format == form and isinstance(matrix, sparse.sparray)
    assert matrix.nnz == 12 if form not in ("bsr", "dia") else matrix.nnz >= 12
    assert matrix.toarray().tolist() == [[7, 0, 0, 0], [3, 4, 0, 0], [1, 2, 4, 0], [0, 1, 2, 4], [0, 0, 1, 6],
                                         [0, 0, 0, 7]]
    if form in ("csr", "csc"):
        assert matrix.has_canonical_format


def test_the_structure_follows_the_geometry():
    # Zero weights are entries, padding is none, and what a boundary sends to one x is one entry.
    assert as_sparse(np.zeros((1, 1, 3)), (1, 5)).nnz == 9
    assert as_sparse(np.zeros((1, 1, 3)), (1, 5), padding=1).nnz == 13
    assert as_sparse(np.zeros((1, 1, 3)), (1, 5), padding=1, boundary="edge").nnz == 13
    assert as_sparse(np.zeros((1, 1, 3)), (1, 5), padding=1, boundary="wrap").nnz == 15
    infinite = np.array([[[np.inf, 1.0, 1.0]]])
    assert as_sparse(infinite, (1, 3), padding=1).toarray()[0].tolist() == [1, 1, 0]


def test_integers_do_not_wrap_around():
    w = np.full((1, 1, 3), 200, np.uint8)
    matrix = as_sparse(w, (1, 1), padding=1, boundary="edge")
    assert matrix.dtype == np.uint64 and matrix.toarray().tolist() == [[600]]
    assert as_sparse(np.ones((1, 1, 3), bool), (1, 1), padding=1, boundary="edge").toarray().tolist() == [[3]]
    operator = as_linear_operator(w, (1, 1), padding=1, boundary="edge")
    assert operator.dtype == np.uint64 and (operator @ np.array([3], np.uint8)).tolist() == [1800]


def test_dtypes():
    w = np.ones((1, 1, 2), np.float16)
    assert as_sparse(w, (1, 4)).dtype == np.float32
    assert as_sparse(w, (1, 4), dtype=np.complex64).dtype == np.complex64
    operator = as_linear_operator(w, (1, 4), dtype=np.float32)
    assert operator.dtype == np.float32
    for dtype, result in (("f2", "f4"), ("f4", "f4"), ("f8", "f8"), ("c8", "c8"), ("c16", "c16")):
        assert (operator @ np.ones(4, dtype)).dtype == result
        assert (operator.H @ np.ones(3, dtype)).dtype == result


def test_the_weights_are_the_operators_own():
    w = np.ones((1, 1, 2))
    operator = as_linear_operator(w, (1, 4))
    w[:] = 7
    assert (operator @ np.ones(4)).tolist() == [2, 2, 2]
    assert (operator @ np.ones(4, np.float32)).tolist() == [2, 2, 2]


def test_ranks_and_workers():
    w = arrays.whole((2, 3, 3, 3))
    x = arrays.whole((3, 6, 7), 1).ravel()
    aim = as_linear_operator(w, (3, 6, 7)) @ x
    assert np.array_equal(as_linear_operator(w, (3, 6, 7), operator="conv2d", workers=1) @ x, aim)
    for operator in ("conv2d", "conv_transpose2d"):
        shape = (3, 6, 7) if operator == "conv2d" else (2, 4, 5)
        plain = as_sparse(w, shape, operator=operator[:-2])
        assert (as_sparse(w, shape, operator=operator) != plain).nnz == 0
        operator = as_linear_operator(w, shape, operator=operator)
        y = arrays.whole(operator.shape[0], 3)
        assert np.array_equal(operator.H @ y, plain.T @ y)
    with pytest.raises(ValueError, match="conv1d needs 3"):
        as_linear_operator(w, (3, 6, 7), operator="conv1d")


def test_what_an_operator_refuses():
    with pytest.raises(ValueError, match="workers=0"):
        as_linear_operator([[[1.0]]], (1, 5), workers=0)
    hidden = np.ma.masked_array(np.ones((5, 5)), np.eye(5))
    operator = as_linear_operator([[[1.0]]], (1, 5))
    for product in (operator.matvec, operator.rmatvec):
        with pytest.raises(TypeError, match="the vector has masked elements"):
            product(hidden[0])
    for product in (operator.matmat, operator.rmatmat):
        with pytest.raises(TypeError, match="the matrix has masked elements"):
            product(hidden)


@pytest.mark.parametrize("made", [as_linear_operator, as_sparse])
@pytest.mark.parametrize("arguments, options, error, words", [
    (([[[1.0]]], (1, 5)), {"operator": "pool"}, ValueError, "operator='pool' is none of conv, "),
    (([[[1.0]]], (1, 5)), {"padding": 1, "cval": 2}, ValueError, "cval=2.*affine"),
    (([1.0], (5,)), {"operator": "convolve", "mode": "full", "cval": 2, "axes": 0}, None, ""),
    (([1.0, 1.0], (5,)), {"operator": "convolve", "cval": 2}, ValueError, "affine"),
    (([[[1.0]]], (1, 5)), {"bias": 1}, TypeError, "bias= does not belong"),
    (([[[1.0]]], (1, 5)), {"overflow": "wrap"}, TypeError, "overflow= does not belong"),
    (([1.0], (5,)), {"operator": "convolve", "sums": "f8"}, TypeError, "sums= does not belong"),
    (([1.0], (5,)), {"operator": "convolve", "divisor": 2}, TypeError, "divisor= does not belong"),
    (([1.0], (5,)), {"operator": "correlate", "offset": 1}, TypeError, "offset= does not belong"),
    (([[[1.0]]], (2, 5)), {}, ValueError, "x has 2 channels"),
    (([[["a"]]], (1, 5)), {}, TypeError, "w has dtype"),
    (([[[1.0]]], 5), {}, TypeError, "x_shape=5"),
    (([[[1.0]]], (1, 5)), {"strid": 2}, TypeError, "strid"),
    (([[[1j]]], (1, 5)), {"dtype": float}, TypeError, "dtype=float64 cannot hold weights of complex128"),
    (([[[0.5]]], (1, 5)), {"dtype": int}, TypeError, "dtype=int64 cannot hold weights of float64"),
    ((np.ma.masked_array([[[1.0]]], True), (1, 5)), {}, TypeError, "w has masked elements"),
])
def test_errors(made, arguments, options, error, words):
    if error is None:  # no tap meets the padding: linear
        made(*arguments, **options)
        return
    with pytest.raises(error, match=words):
        made(*arguments, **options)


def test_too_many_entries():
    with pytest.raises(ValueError, match="entries: more bytes than"):
        as_sparse(np.ones((2**10, 2**10, 1)), (2**40, 2**10, 1))


def test_sizes_of_zero():
    for shape in ((0, 1, 5), (2, 1, 5)):
        w = np.ones((1 if shape[0] else 3, 1, 2))
        operator, matrix = as_linear_operator(w, shape), as_sparse(w, shape)
        assert operator.shape == matrix.shape == (shape[0] * len(w) * 4, prod(shape))
        assert np.array_equal(operator @ np.ones(prod(shape)), matrix @ np.ones(prod(shape)))
        assert np.array_equal(operator.H @ np.ones(operator.shape[0]), matrix.T @ np.ones(operator.shape[0]))


@pytest.mark.parametrize("function", [as_linear_operator, as_sparse])
def test_the_examples_run(function):
    examples = doctest.DocTestParser().get_doctest(function.__doc__, {}, function.__name__, None, 0)
    said = []
    assert examples.examples and not doctest.DocTestRunner().run(examples, out=said.append).failed, "".join(said)


def test_imported_only_when_asked():
    code = "import sys, convx; assert 'scipy.sparse' not in sys.modules; assert not hasattr(convx, 'linop')"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_001_convolution_is_a_sparse_matrix():
    # "Convolution is a linear operation and can thus be described as a matrix multiplication (if we first reshape the
    # input tensor into a flat vector). The matrix involved is a function of the convolution kernel. The matrix is
    # sparse, and each element of the kernel is copied to several elements of the matrix."
    v, kernel = arrays.whole((3, 6, 7), 1), np.arange(1.0, 37.0).reshape(2, 3, 3, 2)
    for s in (1, 2):
        z = convx.conv(v, kernel, stride=s)
        matrix = as_sparse(kernel, v.shape, stride=s)
        assert np.array_equal((matrix @ v.ravel()).reshape(z.shape), z)
        values, copies = np.unique(matrix.data, return_counts=True)
        assert np.array_equal(values, kernel.ravel()) and set(copies) == {z[0].size}
        assert matrix.nnz == kernel.size * z[0].size < matrix.shape[0] * matrix.shape[1] / 2
        # "This view helps us to derive some of the other operations": the derivative with respect to V.
        g = arrays.whole(z.shape, 2)
        assert np.array_equal(matrix.T @ g.ravel(), convx.conv_grad_input(g, kernel, v.shape, stride=s).ravel())


# A picture is deblurred ---------------------------------------------------------------------------------------------

def picture():
    """A grey picture between 0 and 1: the package's photograph, or where Pillow is missing, discs and stripes."""
    if importlib.util.find_spec("PIL") is not None:
        from PIL import Image

        path = Path(convx.__file__).parent / "_demo" / "chelsea.png"
        with Image.open(path) as image:
            return np.asarray(image.convert("L"), float)[60:188, 100:260] / 255
    i, j = np.indices((128, 160))
    return 0.5 + 0.25 * np.sign(np.hypot(i - 60, j - 70) - 40) + 0.25 * np.sign(np.sin(j / 5) * np.sin(i / 9))


def psnr(found, truth):
    return -10 * np.log10(np.mean((found - truth) ** 2))


def kernels():
    ahead = np.arange(-6, 7)
    bell = np.exp(-(ahead ** 2) / (2 * 1.5 ** 2))
    gaussian = np.outer(bell, bell)
    motion = np.eye(9)
    return {"gaussian": gaussian / gaussian.sum(), "motion": motion / motion.sum()}


@pytest.mark.parametrize("name, least", [("gaussian", 3), ("motion", 8)])
def test_a_blurred_picture_is_recovered(name, least):
    truth, kernel = picture(), kernels()[name]
    options = {"operator": "correlate", "mode": "same", "boundary": "reflect"}
    blur = as_linear_operator(kernel, truth.shape, workers=1, **options)
    clean = convx.correlate(truth, kernel, "same", boundary="reflect")
    seen = clean + 1e-3 * np.random.default_rng(0).standard_normal(truth.shape)
    # What is sought is the correction of the blurred picture: damping then pulls towards that, not towards black.
    lack, damp = (seen - convx.correlate(seen, kernel, "same", boundary="reflect")).ravel(), 2e-2
    found = {
        "lsmr": linalg.lsmr(blur, lack, damp=damp, maxiter=100)[0],
        "lsqr": linalg.lsqr(as_sparse(kernel, truth.shape, **options), lack, damp=damp, iter_lim=100)[0],
    }
    normal = blur.H @ blur + damp ** 2 * linalg.aslinearoperator(sparse.eye_array(truth.size))
    found["cg"], info = linalg.cg(normal, blur.H @ lack, rtol=1e-6, maxiter=1000)
    assert info == 0
    for method, answer in found.items():
        gain = psnr(seen + answer.reshape(truth.shape), truth) - psnr(seen, truth)
        assert gain > least, f"{method} gains {gain:.1f} dB"
    # The gradient of the damped problem vanishes at its solution.
    gradient = blur.H @ (blur @ found["cg"] - lack) + damp ** 2 * found["cg"]
    assert np.linalg.norm(gradient) <= 2e-6 * np.linalg.norm(blur.H @ lack)
