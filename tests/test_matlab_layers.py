"""dl*, maxpool and its like, vl_nn* of convx.matlab against plain indexing, by inner products, and published outputs.

Whole numbers make every comparison an equality.
"""

from itertools import product

import numpy as np
import pytest
from arrays import plain, whole
from hypothesis import given
from hypothesis import strategies as st

import convx
from convx.matlab import (
    MatlabError,
    avgpool,
    dlconv,
    dltranspconv,
    maxpool,
    maxunpool,
    vl_nnconv,
    vl_nnconvt,
    vl_nnpool,
)

pytestmark = pytest.mark.once  # no matter which kernel row or build

EDGES = {"symmetric-include-edge": "symmetric", "symmetric-exclude-edge": "reflect", "replicate": "edge"}


def identifier(function, *arguments, **options):
    with pytest.raises(MatlabError) as caught:
        function(*arguments, **options)
    return caught.value.identifier


def correlated(x, w, groups=1, stride=1, dilation=1, before=0, out=None, after=None, **more):
    """y (*S, O, N) of x (*S, C, N) and w (*K, C/groups, O); numbers for all axes or one for each."""
    rank = w.ndim - 2
    stride, dilation, before = (np.broadcast_to(n, rank).tolist() for n in (stride, dilation, before))
    after = before if after is None else np.broadcast_to(after, rank).tolist()
    if out is None:
        out = [(n + p + q - (k - 1) * d - 1) // s + 1
               for n, p, q, k, d, s in zip(x.shape, before, after, w.shape, dilation, stride, strict=False)]
    y = plain(np.moveaxis(x, (-1, -2), (0, 1)), np.moveaxis(w, (-1, -2), (0, 1)), out, stride, before, dilation, groups,
              **more)
    return np.moveaxis(y, (0, 1), (-1, -2))


def merged(w, rank):
    """Weights *K x I x O x G with the groups in O, down the columns."""
    return w.reshape((*w.shape[:rank + 1], -1), order="F")


# dlconv, dltranspconv -------------------------------------------------------------------------------------------------

@st.composite
def layers(draw):
    rank = draw(st.sampled_from([1, 2, 2, 3]))
    sizes = draw(st.lists(st.integers(3, 6), min_size=rank, max_size=rank))
    taps = draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank))
    strides = draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank))
    dilations = draw(st.lists(st.integers(1, 2), min_size=rank, max_size=rank))
    spans = [(k - 1) * d + 1 for k, d in zip(taps, dilations, strict=True)]
    pads = [(draw(st.integers(0, e - 1)), draw(st.integers(0, e - 1))) for e in spans]
    pads = [(p, max(q, e - n - p)) for (p, q), e, n in zip(pads, spans, sizes, strict=True)]
    groups, inner, outer, batch = (draw(st.integers(1, 2)) for _ in range(4))
    letters = draw(st.permutations(["S"] * rank + ["C", "B"]))
    return sizes, taps, strides, dilations, pads, groups, inner, outer, batch, letters, draw(st.sampled_from("CF"))


def arranged(x, letters):
    """An array S..., C, N with its axes in the order of the letters, and those axes."""
    spatial = iter(range(x.ndim - 2))
    order = [next(spatial) if letter == "S" else {"C": x.ndim - 2, "B": x.ndim - 1}[letter] for letter in letters]
    return x.transpose(order), np.argsort(order)


@given(layers())
def test_dlconv_is_the_sum(case):
    sizes, taps, strides, dilations, pads, groups, inner, outer, batch, letters, order = case
    rank = len(sizes)
    x = whole((*sizes, inner * groups, batch), 1)
    w = np.array(whole((*taps, inner, outer, groups), 2), order=order)
    bias = whole(outer * groups, 3)
    view, back = arranged(x, letters)
    y = dlconv(np.array(view, order=order), w if groups > 1 else w[..., 0], bias, "DataFormat", "".join(letters),
               Stride=strides, dilation=dilations, Padding=np.array(pads).T)
    before, after = zip(*pads, strict=True)
    expected = correlated(x, merged(w, rank), groups, strides, dilations, before, after=after)
    expected = expected + bias.reshape([-1 if a == rank else 1 for a in range(rank + 2)])
    assert np.array_equal(y.transpose(back), expected)


@given(layers(), st.booleans())
def test_dltranspconv_is_the_transpose_of_dlconv(case, same):
    sizes, taps, strides, dilations, pads, groups, inner, outer, batch, letters, _ = case
    rank = len(sizes)
    x = whole((*sizes, inner * groups, batch), 1)
    w = whole((*taps, outer, inner, groups), 2)
    view, back = arranged(x, letters)
    spans = [(k - 1) * d + 1 for k, d in zip(taps, dilations, strict=True)]
    full = [s * (n - 1) + e for n, s, e in zip(sizes, strides, spans, strict=True)]
    if same:
        totals = [max(e - s, 0) for e, s in zip(spans, strides, strict=True)]
        pads, crop = [(t // 2, t - t // 2) for t in totals], "same"
        out = [s * n for s, n in zip(strides, sizes, strict=True)]
    else:
        pads = [pair if sum(pair) < n else (0, 0) for pair, n in zip(pads, full, strict=True)]
        crop, out = np.array(pads).T, [n - sum(pair) for n, pair in zip(full, pads, strict=True)]
    y = dltranspconv(view, w if groups > 1 else w[..., 0], 0, DataFormat="".join(letters), Stride=strides,
                     DilationFactor=dilations, Cropping=crop).transpose(back)
    assert list(y.shape) == [*out, outer * groups, batch]
    u = whole(y.shape, 4)
    forward = correlated(u, merged(w, rank), groups, strides, dilations, [p for p, _ in pads], sizes)
    assert (forward * x).sum() == (u * y).sum()


def test_sizes_and_paddings():
    for size, k, stride, dilation in product((5, 6, 7), (1, 2, 3, 4), (1, 2, 3), (1, 2)):
        e = (k - 1) * dilation + 1
        out = -(-size // stride)
        total = max((out - 1) * stride + e - size, 0)
        x, w = whole((size, size, 1, 1), 1), whole((k, k), 2)
        y = dlconv(x, w, 0, DataFormat="SSCB", Stride=stride, DilationFactor=dilation, Padding="same")
        assert np.array_equal(y, correlated(x, w[..., None, None], 1, stride, dilation, total // 2, [out, out]))
    x, w = whole((9, 2, 3), 1), whole((3, 2, 4), 2)
    y = dlconv(x, w, 0, DataFormat="SCB", Padding="causal", DilationFactor=2)
    assert np.array_equal(y, correlated(x, w, 1, 1, 2, 4, [9]))
    z = whole((7, 6, 2, 1), 1)
    w = whole((3, 4, 2, 3), 2)
    for padding, before, after in ((1, 1, 1), ([1, 2], [1, 2], [1, 2]), ([[0, 1], [2, 3]], [0, 1], [2, 3]),
                                   (np.array([[1], [2]]), [1, 2], [1, 2])):
        expected = correlated(z, w, before=before, after=after)
        assert np.array_equal(dlconv(z, w, 0, "Padding", padding, "DataFormat", "SSCB"), expected)
    assert np.array_equal(dlconv(x, w[:, 0], 0, DataFormat="SCB", Padding=[[2], [1]]),
                          correlated(x, w[:, 0], before=2, after=1))
    for word, rule in EDGES.items():
        expected = correlated(z, w, before=2, boundary=(rule, rule))
        assert np.array_equal(dlconv(z, w, 0, DataFormat="SSCB", Padding=2, PaddingValue=word.upper()), expected)
    expected = correlated(z, w, before=2, cval=5.0)
    assert np.array_equal(dlconv(z, w, 0, DataFormat="SSCB", Padding=2, PaddingValue=5), expected)


def test_weights_bias_classes_and_formats():
    x, w = whole((6, 5, 4, 2), 1), whole((3, 2, 2, 3, 2), 2)
    y = dlconv(x, w, 7, DataFormat="SSCB")
    assert np.array_equal(y, correlated(x, merged(w, 2), 2) + 7)
    assert np.array_equal(dlconv(x, w.transpose(3, 4, 0, 2, 1).swapaxes(3, 4), 7, DataFormat="SSCB",
                                 WeightsFormat="UUSSC"), y)
    bias = whole((1, 1, 3, 2), 5)
    assert np.array_equal(dlconv(x, w, bias, DataFormat="SSCB") - dlconv(x, w, 0, DataFormat="SSCB"),
                          np.broadcast_to(bias.reshape(-1, order="F")[:, None], y.shape))
    v = whole((3, 2, 3, 4), 2)  # filters before channels
    z = dltranspconv(x, v, 0, DataFormat="SSCB")
    assert z.shape == (8, 6, 3, 2)
    assert np.array_equal(dltranspconv(x, v.transpose(2, 0, 3, 1), 0, DataFormat="sscb", WeightsFormat="USCS"), z)
    assert np.array_equal(dlconv(x[:, :, :2], w[..., 0, 0], 0, DataFormat="SSCB", WeightsFormat="SSC"),
                          correlated(x[:, :, :2], w[..., :1, 0]))
    for a, b in product(("f4", "f8", "u1", "?"), repeat=2):
        found = dlconv((x > 0).astype(a), w.astype(b) if b != "?" else w > 0, 0, DataFormat="SSCB").dtype
        assert found == (np.float32 if "f4" in (a, b) else np.float64)
    t = whole((4, 3, 9), 1)  # C, B, T: along T
    u = whole((3, 4, 2), 2)
    expected = correlated(t.transpose(2, 0, 1), u).transpose(1, 2, 0)
    assert np.array_equal(dlconv(t, u, 0, DataFormat="CBT"), expected)
    assert np.array_equal(dlconv(t, u.transpose(2, 1, 0), 0, DataFormat="CBT", WeightsFormat="UCT"), expected)
    video = whole((5, 4, 2, 3, 2), 1)  # S, S, C, B, T: frame by frame
    f = whole((2, 2, 2, 3), 2)
    for order in "CF":
        y = dlconv(np.array(video, order=order), f, 0, DataFormat="SSCBT")
        assert np.array_equal(y, np.stack([correlated(video[..., k], f) for k in range(2)], -1))
    assert dlconv(x[..., 0], w, 0, DataFormat="SSCB").shape == (4, 4, 6, 1)
    assert dlconv(x[..., 0], w, 0, DataFormat="SSC").shape == (4, 4, 6)
    y = dlconv(np.asfortranarray(x), np.asfortranarray(w), 0, DataFormat="SSCB")
    assert y.flags.f_contiguous and np.array_equal(y, dlconv(x, w, 0, DataFormat="SSCB", algorithm="direct"))


def test_errors_of_dl():
    x, w = np.ones((6, 5, 4, 2)), np.ones((3, 3, 4, 4))
    good = {"DataFormat": "SSCB"}
    for function, name in ((dlconv, "dlconv"), (dltranspconv, "dltranspconv")):
        assert identifier(function, x, w, 0) == f"deep:{name}:invalidDataFormat"
        for wrong in ("SSC", "SSCU", "SSCC", "CB", "SSB", 3, "SSBS"):
            assert identifier(function, x, w, 0, DataFormat=wrong) == f"deep:{name}:invalidDataFormat"
        for stride in (0, 1.5, [1, 2, 3], np.nan, "1", 1j):
            assert identifier(function, x, w, 0, Stride=stride, **good) == f"deep:{name}:invalidStride"
        assert identifier(function, x, w, [1, 2, 3], **good) == f"deep:{name}:invalidBias"
        assert identifier(function, x, np.ones((3, 3, 3, 3)), 0, **good) == f"deep:{name}:invalidWeights"
        assert identifier(function, x, np.ones((3,) * 6), 0, **good) == f"deep:{name}:invalidWeights"
        assert identifier(function, x, w, 0, "Stride", **good) == f"deep:{name}:invalidOption"
        assert identifier(function, x, w, 0, Pads=1, **good) == f"deep:{name}:invalidOption"
        for wrong in ("SSU", "SSCUUU", "SSCB", "SSSCU", "CU"):
            assert identifier(function, x, w, 0, WeightsFormat=wrong, **good) == f"deep:{name}:invalidWeightsFormat"
        assert identifier(function, "text", w, 0, **good) == f"deep:{name}:invalidX"
    for wrong in (3, [0, 3], [[0, 0], [0, 3]], -1, [1, 2, 3], "causal", "valid", np.ones((3, 2))):
        assert identifier(dlconv, x, w, 0, Padding=wrong, **good) == "deep:dlconv:invalidPadding"
    assert identifier(dlconv, x, w, 0, DilationFactor=3, **good) == "deep:dlconv:invalidSize"
    assert identifier(dlconv, x, w, 0, DilationFactor=0, **good) == "deep:dlconv:invalidDilationFactor"
    for wrong in ("zero", [1, 2]):
        assert identifier(dlconv, x, w, 0, PaddingValue=wrong, **good) == "deep:dlconv:invalidPaddingValue"
    huge = "more bytes than an address can name|fit an index"
    for call in (lambda: dlconv(x, w, 0, Stride=2**62, **good), lambda: maxpool(x, 2, Stride=2**62, **good),
                 lambda: avgpool(x, 2, Stride=2.0**70, **good), lambda: dltranspconv(x, w, 0, Stride=2**40, **good),
                 lambda: vl_nnpool(x, 2, "Stride", 2**62), lambda: vl_nnconv(x, w, [], "Stride", 2**62),
                 lambda: vl_nnconvt(x, w, [], "Upsample", 2**40)):
        with pytest.raises(MatlabError, match=huge):
            call()
    assert identifier(dlconv, x[:0], w, 0, Padding=2, PaddingValue="replicate", **good) == "deep:dlconv:invalidX"
    for function, name in ((dlconv, "dlconv"), (dltranspconv, "dltranspconv")):
        assert identifier(function, x, w[:0], 0, **good) == f"deep:{name}:invalidWeights"
        assert identifier(function, x, w, 1j, **good) == identifier(function, x, w, [], **good) == (
            f"deep:{name}:invalidBias")
    assert identifier(dlconv, x, w, 0, Padding=1, PaddingValue=1j, **good) == "deep:dlconv:invalidX"
    assert dlconv(x[..., :0], w, 0, **good).shape == (4, 3, 4, 0)
    assert [y.shape for y in maxpool(x[..., :0], 2, nargout=2, **good)] == [(5, 4, 4, 0)] * 2
    v = np.ones((3, 3, 2, 4))
    for wrong in (5, [[8, 0], [1, 0]], "causal", -1):
        assert identifier(dltranspconv, x, v, 0, Cropping=wrong, **good) == "deep:dltranspconv:invalidCropping"


# maxpool, avgpool, maxunpool ------------------------------------------------------------------------------------------

def test_maxpool_published():
    """The page prints the results and not the input: any input with these values at these places will do."""
    y = np.array([[.9171, .9339, .9857], [.9710, .4417, .9403], [.8533, .7844, .7390]])
    indx = np.array([[2, 14, 25], [10, 21, 33], [6, 24, 30]])
    x = np.zeros(36)
    x[indx - 1] = y
    x = x.reshape(6, 6, order="F")
    found, places, size = maxpool(x[:, :, None, None], 2, Stride=2, DataFormat="SSCB", nargout=3)
    assert np.array_equal(found[:, :, 0, 0], y) and np.array_equal(places[:, :, 0, 0], indx) and size == (6, 6, 1, 1)
    assert np.array_equal(maxunpool(found, places, size)[:, :, 0, 0], x)


def windows(x, pool, stride, pads):
    """(output, cells of its window inside x), in column-major order, of the spatial axes of x (*S, C, N)."""
    rank = len(pool)
    out = [(n + p + q - k) // s + 1 for n, (p, q), k, s in zip(x.shape, pads, pool, stride, strict=False)]
    for o in np.ndindex(*out):
        cells = [tuple(i) for i in (np.array(k[::-1]) + np.multiply(o, stride) - [p for p, _ in pads]
                                    for k in np.ndindex(*pool[::-1])) if (i >= 0).all() and (i < x.shape[:rank]).all()]
        yield o, cells


@given(layers(), st.booleans(), st.sampled_from(["f8", "f4"]))
def test_pooling_is_its_definition(case, same, dtype):
    sizes, pool, strides, _, _, groups, inner, _, batch, letters, order = case
    pads = [((k - 1) // 2, k // 2 if k > 1 else 0) for k in pool]
    if same:
        totals = [max((-(-n // s) - 1) * s + k - n, 0) for n, s, k in zip(sizes, strides, pool, strict=True)]
        pads = [(t // 2, t - t // 2) for t in totals]
    x = whole((*sizes, inner * groups, batch), 1, dtype, -2, 2)  # many ties
    view, back = arranged(x, letters)
    given_x = np.array(view, order=order)
    options = {"DataFormat": "".join(letters), "Stride": strides, "Padding": "same" if same else np.array(pads).T}
    y, indx, size = maxpool(given_x, pool, nargout=3, **options)
    assert size == given_x.shape and y.dtype == x.dtype and y.shape == indx.shape
    assert np.array_equal(maxpool(given_x, pool, **options), y)
    assert np.array_equal(given_x.ravel(order="F")[indx - 1], y)
    zeros, means = (avgpool(given_x, pool, PaddingValue=value, **options).transpose(back) for value in (0, "mean"))
    y, indx = y.transpose(back), indx.transpose(back)
    number = np.arange(1, x.size + 1).reshape(given_x.shape, order="F").transpose(back)
    for o, cells in windows(x, pool, strides, pads):
        values = np.stack([x[i] for i in cells])
        first = values.argmax(0)
        assert np.array_equal(y[o], values.max(0))
        assert np.array_equal(indx[o], np.take_along_axis(np.stack([number[i] for i in cells]), first[None], 0)[0])
        assert np.allclose(zeros[o], values.sum(0) / np.prod(pool), rtol=1e-6)
        assert np.allclose(means[o], values.mean(0), rtol=1e-6, atol=1e-7)


def test_forms_of_pooling():
    x = whole((4, 5, 3, 2), 1)
    one = {"DataFormat": "SSCB"}
    assert maxpool(x, 2, **one).shape == (3, 4, 3, 2)  # the stride is 1
    assert np.array_equal(maxpool(x, "global", **one), x.max((0, 1), keepdims=True))
    assert np.allclose(avgpool(x, "GLOBAL", **one), x.mean((0, 1), keepdims=True))
    six = maxpool(x[..., None, None], 2, DataFormat="SSSSCB")
    assert np.array_equal(maxpool(x, 2, DataFormat="SSSS"), six[..., 0, 0])
    t = whole((3, 2, 6), 1)
    y, indx = maxpool(t, 3, DataFormat="CBT", nargout=2)
    assert np.array_equal(y, np.lib.stride_tricks.sliding_window_view(t, 3, 2).max(-1))
    assert np.array_equal(t.ravel(order="F")[indx - 1], y)
    v = whole((4, 3, 2, 5), 1)  # S, C, B, T
    y = maxpool(v, 2, DataFormat="SCBT", PoolFormat="T")
    assert np.array_equal(y, np.maximum(v[..., :-1], v[..., 1:]))
    y, indx = maxpool(v, [2, 3], DataFormat="SCBT", PoolFormat="ST", nargout=2)
    assert y.shape == (3, 3, 2, 3) and np.array_equal(v.ravel(order="F")[indx - 1], y)
    assert maxpool(v, 2, DataFormat="SCBT").shape == (3, 3, 2, 5)
    for name, function in (("maxpool", maxpool), ("avgpool", avgpool)):
        for wrong in ((0,), (1.5,), ([1, 2, 3],)):
            assert identifier(function, x, *wrong, **one) == f"deep:{name}:invalidPoolsize"
        assert identifier(function, x, "local", **one) == f"deep:{name}:invalidPoolsize"
        assert identifier(function, x, 2, Padding=2, **one) == f"deep:{name}:invalidPadding"
        assert identifier(function, x, 5, **one) == f"deep:{name}:invalidSize"
        assert identifier(function, x, 2) == identifier(function, x, 2, DataFormat="CB") == (
            f"deep:{name}:invalidDataFormat")
        assert identifier(function, x + 1j, 2, **one) == f"deep:{name}:invalidX"
        assert identifier(function, x[:0], "global", **one) == f"deep:{name}:invalidX"
        for wrong in ("C", "S", "T"):
            assert identifier(function, x, 2, PoolFormat=wrong, **one) == f"deep:{name}:invalidPoolFormat"
    for wrong in ("zero", 1, [0, 0]):
        assert identifier(avgpool, x, 2, PaddingValue=wrong, **one) == "deep:avgpool:invalidPaddingValue"
    assert maxunpool([[4.0, 6]], [[2, 6]], (2, 4)).tolist() == [[0, 0, 0, 0], [4, 0, 6, 0]]
    for wrong in ([[0, 1]], [[1, 9]], [[1.5, 2]], [[1, 2, 3]]):
        assert identifier(maxunpool, [[4.0, 6]], wrong, (2, 4)) == "deep:maxunpool:invalidIndx"
    assert identifier(maxunpool, [[4.0, 6]], [[1, 2]], (2, -4)) == "deep:maxunpool:invalidOutputSize"
    assert identifier(maxunpool, [[4.0, 6]], [[1, 2]], (2**40, 2**40)) == "MATLAB:array:SizeLimitExceeded"


# MatConvNet -----------------------------------------------------------------------------------------------------------

def inner_products(*pairs):
    products = [(a * b).sum() for a, b in pairs]
    assert products == products[:1] * len(products)


@given(st.lists(st.integers(4, 7), min_size=2, max_size=2), st.lists(st.integers(1, 3), min_size=2, max_size=2),
       st.lists(st.integers(1, 3), min_size=2, max_size=2), st.lists(st.integers(1, 2), min_size=2, max_size=2),
       st.lists(st.integers(0, 2), min_size=4, max_size=4), st.integers(1, 2), st.sampled_from(["f4", "f8"]),
       st.booleans())
def test_vl_nnconv(size, taps, stride, dilation, pad, groups, dtype, fortran):
    x, f = whole((*size, 2 * groups, 2), 1, dtype), whole((*taps, 2, 3 * groups), 2, dtype)
    b = whole((1, 3 * groups), 3, dtype)
    if fortran:
        x, f = np.asfortranarray(x), np.asfortranarray(f)
    options = "Stride", stride, "pad", pad, "DILATE", dilation
    y = vl_nnconv(x, f, b, *options)
    top, bottom, left, right = pad
    expected = correlated(x, f, groups, stride, dilation, [top, left], after=[bottom, right]) + b.reshape(-1, 1)
    assert np.array_equal(y, expected) and y.dtype == dtype
    dy = np.array(whole(y.shape, 4, dtype), order="F" if fortran else "C")
    dx, df, db = vl_nnconv(x, f, b, dy, *options)
    assert (dx.shape, df.shape, db.shape) == (x.shape, f.shape, b.shape) and dx.dtype == df.dtype == db.dtype == dtype
    inner_products((vl_nnconv(x, f, [], *options), dy), (x, dx), (f, df))
    assert np.array_equal(db.ravel(), dy.sum((0, 1, 3)))
    if fortran:
        assert y.flags.f_contiguous and dx.flags.f_contiguous


@given(st.lists(st.integers(1, 4), min_size=2, max_size=2), st.lists(st.integers(1, 4), min_size=2, max_size=2),
       st.lists(st.integers(1, 3), min_size=2, max_size=2), st.integers(1, 2), st.integers(0, 1), st.booleans())
def test_vl_nnconvt(size, taps, up, groups, crop, four):
    x, f, b = whole((*size, 2 * groups, 2), 1), whole((*taps, 3, 2 * groups), 2), whole(3 * groups, 3)
    full = [u * (n - 1) + k for u, n, k in zip(up, size, taps, strict=True)]
    crop = crop * (min(full) > 2)
    crops = [crop, 0, 0, crop] if four else crop
    (top, bottom, left, right) = crops if four else [crop] * 4
    options = {"Upsample": up, "Crop": crops, "NumGroups": groups}
    y = vl_nnconvt(x, f, b, **options)
    assert y.shape == (full[0] - top - bottom, full[1] - left - right, 3 * groups, 2)
    u = whole(y.shape, 4)  # the derivative of vl_nnconv with the same filters
    inner_products((vl_nnconvt(x, f, [], **options), u),
                   (correlated(u, f, groups, up, 1, [top, left], size), x))
    assert np.array_equal(y - vl_nnconvt(x, f, [], **options), np.broadcast_to(b[:, None], y.shape))
    dx, df, db = vl_nnconvt(x, f, b, u, **options)
    assert (dx.shape, df.shape, db.shape) == (x.shape, f.shape, b.shape)
    inner_products((vl_nnconvt(x, f, [], **options), u), (x, dx), (f, df))
    assert np.array_equal(db, u.sum((0, 1, 3)))


def test_optional_arrays_and_flags():
    x, f, b = whole((5, 6, 4, 2), 1), whole((3, 2, 4, 3), 2), np.ones((1, 1, 3))
    y = vl_nnconv(x, f, b)
    none = vl_nnconv(x, f, None, y)
    assert none[2].shape == (0, 0) and np.array_equal(none[0], vl_nnconv(x, f, b, y)[0])
    passed = vl_nnconv(x, [], [], "Pad", [1, 0, 2, 0], "Stride", [2, 1])
    assert np.array_equal(passed, np.pad(x, ((1, 0), (2, 0), (0, 0), (0, 0)))[::2])
    assert np.array_equal(vl_nnconv(x, [], np.arange(4.0)), x + np.arange(4.0)[:, None])
    dx, df, db = vl_nnconv(x, [], np.zeros(4), passed, "Pad", [1, 0, 2, 0], "Stride", [2, 1])
    inner_products((passed, passed), (x, dx))
    assert df.shape == (0, 0) and np.array_equal(db, passed.sum((0, 1, 3)))
    for flags, kept in ((("NoDerData",), (0, 1, 1)), (("noderfilters", "NODERBIASES"), (1, 0, 0))):
        for function, other in ((vl_nnconv, f), (vl_nnconvt, f.swapaxes(2, 3))):
            dy = function(x, other, b)
            results = function(x, other, b, dy, *flags, "Verbose", "CuDNN", "CudnnWorkspaceLimit", 100)
            assert [int(r.size > 0) for r in results] == list(kept)
            named = function(x, other, b, dy, **dict.fromkeys(flags, True))
            assert all(np.array_equal(p, q) for p, q in zip(results, named, strict=True))
    small = vl_nnconv(x[:, :, 0, 0], f[:, :, 0, 0], [])  # axes of size 1 may be missing
    assert small.shape == (3, 5) and vl_nnconv(x[:, :, :, 0], f, b).shape == (3, 5, 3)
    dx, df, _ = vl_nnconv(x[:, :, 0, 0], f[:, :, 0, 0], [], small)
    assert dx.shape == (5, 6) and df.shape == (3, 2)
    assert vl_nnconv(x[:, :, 0, 0], f[:, :, :1], []).shape == (3, 5, 3)
    with convx.threads(1):
        assert np.array_equal(vl_nnconv(x, f, b, algorithm="direct"), y)


LARGER = "FILTERS are larger than the DATA (including padding)."
DIVIDE = "The number of filter groups does not divide the number of filters."
INCOMPATIBLE = "DEROUTPUT dimensions are incompatible with X and FILTERS."
BIASES = "The number of elements of BIASES is not the same as the number of filters."


@pytest.mark.parametrize("call, sentence", [
    (lambda x, f, b: vl_nnconv(x, np.ones((9, 1, 4, 3)), b), LARGER),
    (lambda x, f, b: vl_nnconv(x, f, b, "Dilate", 3), LARGER),
    (lambda x, f, b: vl_nnconv(x, f[:, :, :3], b), "The FILTERS depth does not divide the DATA depth."),
    (lambda x, f, b: vl_nnconv(x, f[:, :, :2], b), DIVIDE),
    (lambda x, f, b: vl_nnconv(x, f, b, "Stride", [1, 2, 3]), "STRIDE has neither one nor two elements."),
    (lambda x, f, b: vl_nnconv(x, f, b, "Pad", [1, 2]), "PAD has neither one nor four elements."),
    (lambda x, f, b: vl_nnconv(x, f, b, "Pad", -1), "An element of PAD is negative."),
    (lambda x, f, b: vl_nnconv(x, f, b, "Stride", 0), "At least one element of STRIDE is smaller than one."),
    (lambda x, f, b: vl_nnconv(x, f, b, "Dilate", 0), "An element of DILATE is less than one."),
    (lambda x, f, b: vl_nnconv(x, f, b, np.ones((3, 5, 3, 1))), INCOMPATIBLE),
    (lambda x, f, b: vl_nnconv(x, f, b[:2]), BIASES),
    (lambda x, f, b: vl_nnconv(x, f.astype("f4"), b), "all arrays must be single, or all double"),
    (lambda x, f, b: vl_nnconv(x.astype(int), f, b), "all arrays must be single, or all double"),
    (lambda x, f, b: vl_nnconv(x, f, b, np.ones((3, 5, 3, 2), "f4")), "DEROUTPUT is of class float32"),
    (lambda x, f, b: vl_nnconv(x, [], b, "Dilate", 2), "DILATE must be one"),
    (lambda x, f, b: vl_nnconv([], f, b), "DATA is empty"),
    (lambda x, f, b: vl_nnconv(x, f, b, "Step", 1), "Unknown option 'Step'"),
    (lambda x, f, b: vl_nnconv(x, f, b, Step=1), "Unknown option 'Step'"),
    (lambda x, f, b: vl_nnconv(x, f, b, "Stride"), "Option 'Stride' has no value"),
    (lambda x, f, b: vl_nnconv(x, f, b, "Stride", 1.5), "STRIDE must hold whole numbers"),
    (lambda x, f, b: vl_nnconv(np.ones((1, 1, 1, 1, 2)), f, b), "there are four at most"),
    (lambda x, f, b: vl_nnconvt(x, f, b), "The FILTERS depth is not the DATA depth."),
    (lambda x, f, b: vl_nnconvt(x, [], b), "FILTERS is empty"),
    (lambda x, f, b: vl_nnconvt(x, f.swapaxes(2, 3), b, "NumGroups", 3), "groups does not divide the FILTERS depth"),
    (lambda x, f, b: vl_nnconvt(x, f.swapaxes(2, 3), b, "Crop", 4), "CROP is larger than the output."),
    (lambda x, f, b: vl_nnpool(x, 7), "larger than the DATA (including padding)."),
    (lambda x, f, b: vl_nnpool(x, 2, "Pad", 2), "larger or equal to the size of the pooling window"),
    (lambda x, f, b: vl_nnpool(x, [1, 2, 3]), "POOL has neither one nor two elements."),
    (lambda x, f, b: vl_nnpool(x, 0), "An element of POOL is less than one."),
    (lambda x, f, b: vl_nnpool(x, 2, "Method", "min"), "METHOD is neither max nor avg"),
    (lambda x, f, b: vl_nnpool(x, 2, np.ones(3)), "DEROUTPUT dimensions are incompatible with X and POOL."),
])
def test_sentences_of_matconvnet(call, sentence):
    with pytest.raises(MatlabError) as caught:
        call(np.ones((5, 6, 4, 2)), np.ones((3, 2, 4, 3)), np.ones(3))
    assert sentence in str(caught.value) and caught.value.identifier == "vl:illegalArgument"


@given(st.lists(st.integers(3, 6), min_size=2, max_size=2), st.lists(st.integers(1, 3), min_size=2, max_size=2),
       st.lists(st.integers(1, 3), min_size=2, max_size=2), st.lists(st.integers(0, 2), min_size=4, max_size=4),
       st.booleans(), st.booleans())
def test_vl_nnpool(size, pool, stride, pad, absent, fortran):
    pad = [min(p, pool[a] - 1) for p, a in zip(pad, (0, 0, 1, 1), strict=True)]
    x = whole((*size, 2, 2), 1, least=-2, most=2)
    if absent:
        x[x == 2] = np.nan
        x[:2, :2] = [[-np.inf], [np.nan]]
    x = np.asfortranarray(x) if fortran else x
    pads = [tuple(pad[:2]), tuple(pad[2:])]
    options = "Stride", stride, "Pad", pad
    y = vl_nnpool(x, pool, *options)
    dy = np.array(whole(y.shape, 5), order="F" if fortran else "C")
    dx = vl_nnpool(x, pool, dy, *options)
    best, gradient = np.full(y.shape, -np.inf), np.zeros(x.shape)
    for o, cells in windows(x, pool, stride, pads):
        for c, n in np.ndindex(2, 2):
            place = None
            for i in cells:  # down the columns; nan and -Inf are never larger
                if x[(*i, c, n)] > best[(*o, c, n)]:
                    best[(*o, c, n)], place = x[(*i, c, n)], i
            if place is not None:
                gradient[(*place, c, n)] += dy[(*o, c, n)]
    assert np.array_equal(y, best) and np.array_equal(dx, gradient) and dx.shape == x.shape
    x = whole(x.shape, 2)
    x = np.asfortranarray(x) if fortran else x
    y, dx = vl_nnpool(x, pool, *options, "method", "AVG"), vl_nnpool(x, pool, dy, *options, Method="avg")
    gradient = np.zeros(x.shape)
    for o, cells in windows(x, pool, stride, pads):
        assert np.allclose(y[o], np.mean([x[i] for i in cells], axis=0), atol=1e-13)
        for i in cells:
            gradient[i] += dy[o] / len(cells)
    assert np.allclose(dx, gradient, atol=1e-13)
    if fortran:
        assert y.flags.f_contiguous and dx.flags.f_contiguous


def test_vl_nnpool_with_fewer_axes():
    x = np.array([[1.0, 2, 5], [2, 0, 6]])
    assert vl_nnpool(x, 2).tolist() == [[2, 6]] and vl_nnpool(x[..., None], 2).shape == (1, 2, 1)
    assert vl_nnpool(x, 2, np.array([[1.0, 1]])).tolist() == [[0, 0, 0], [1, 0, 1]]  # not the 2 of the second column
    assert vl_nnpool(x.astype("f4"), 2).dtype == np.float32
    for other in (">f8", ">f4"):
        assert vl_nnpool(x.astype(other), 2).tolist() == vl_nnconv(vl_nnpool(x.astype(other), 2), [], []).tolist()
