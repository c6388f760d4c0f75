"""Products of vectors, one axis after the other: the bound of a direct sum, exact integers, nothing else changed."""

from dataclasses import replace
from functools import reduce

import arrays
import numpy as np
import problems
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convx
from convx import _separable

pytestmark = pytest.mark.once  # the passes are problems that every row is tested on


@pytest.fixture
def taken(monkeypatch):
    """Every product of vectors is taken, however small; counts the calls that were."""
    count = []
    walk = _separable.walk

    def spy(*given):
        done = walk(*given)
        if done:
            count.append(given)
        return done

    monkeypatch.setattr(_separable, "walk", spy)
    monkeypatch.setattr(_separable, "GAIN", 0.0)
    monkeypatch.setattr(_separable, "LEAST", 0.0)
    return count


def product(rng, shape, dtype):
    """Weights whose elements are products of vectors, rounded once."""
    lines = [rng.standard_normal(k) * 10.0 ** rng.integers(-2, 3) for k in shape]
    return reduce(np.multiply.outer, lines).astype(dtype)


@settings(max_examples=150)
@given(problems.geometries(ranks=(2, 3), families=("forward",)), st.integers(0, 2**32 - 1),
       st.sampled_from(["f4", "f8"]), st.sampled_from([1, 2, 16]))
def test_it_holds_the_bound_of_a_direct_sum(geometry, seed, dtype, rows):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_separable, "GAIN", 0.0)
        patch.setattr(_separable, "LEAST", 0.0)
        patch.setattr(_separable, "BAND", 0)
        patch.setattr(_separable, "ROWS", rows)
        geometry = replace(geometry, g=1, c=1, m=1)
        x, w, _ = problems.arrays(geometry, dtype, seed)
        rng = np.random.default_rng(seed)
        w = product(rng, w.shape[3:], dtype).reshape(w.shape)
        bias = rng.standard_normal(1).astype(dtype) if seed % 2 else None
        y = problems.run(geometry, x, w, bias)
        problems.assert_close(y, problems.exact(geometry, x, w, bias), problems.tolerance(geometry, x, w, bias))


@pytest.mark.parametrize("layout", ["C", "F", "pixels", "batch", "volume"])
def test_it_is_taken_and_right(taken, layout):
    rng = np.random.default_rng(3)
    shape, axes, taps = {"C": ((40, 37), (0, 1), (5, 7)), "F": ((40, 37), (0, 1), (5, 7)),
                         "pixels": ((40, 37, 3), (0, 1), (5, 7)), "batch": ((3, 40, 37), (1, 2), (5, 7)),
                         "volume": ((12, 13, 14), (0, 1, 2), (3, 5, 3))}[layout]
    x = np.asarray(rng.standard_normal(shape), order="F" if layout == "F" else "C")
    w = product(rng, taps, "f8")
    v = w.reshape([taps[axes.index(a)] if a in axes else 1 for a in range(x.ndim)])
    for mode, boundary in (("same", "constant"), ("full", "constant"), ("same", "reflect"), ("valid", "constant")):
        y = convx.convolve(x, v, mode, axes=axes, boundary=boundary)
        assert taken, "the long way was taken"
        taken.clear()
        expected = convx.convolve(x, v, mode, axes=axes, boundary=boundary, algorithm="direct")
        size = convx.convolve(abs(x), abs(v), mode, axes=axes, boundary=boundary, algorithm="direct")
        assert (abs(y - expected) <= 2 * (w.size + 2) * np.finfo(float).eps * size).all()
        assert y.flags.f_contiguous == expected.flags.f_contiguous
        out = np.full_like(y, np.nan)
        assert convx.convolve(x, v, mode, axes=axes, boundary=boundary, out=out) is out and np.array_equal(out, y)
        taken.clear()


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4", "f8"])
def test_integers_are_exact(taken, dtype):
    rng = np.random.default_rng(4)
    x = rng.integers(0, 100, (30, 33)).astype(dtype)
    w = np.outer([1, 4, 6, 4, 1], [2, 3, 0, 5, 4, 2]).astype(dtype)
    y = convx.correlate(x, w, "same")
    assert taken and np.array_equal(y, convx.correlate(x.astype(int), w.astype(int), "same", algorithm="reference"))


def test_the_choice_looks_at_the_values_each_time(taken):
    rng = np.random.default_rng(5)
    x, w = rng.standard_normal((30, 31)), product(rng, (5, 5), "f8")
    p = convx.plan("correlate", x, w, mode="same")
    q = p.bind(w)
    other = rng.standard_normal((5, 5))
    for _ in range(2):
        p(x, w)
        convx.correlate(x, w, "same")
        q(x)
        assert len(taken) == 3
        taken.clear()
        assert np.array_equal(p(x, other), convx.correlate(x, other, "same", algorithm="sums"))
        assert not taken


@pytest.mark.parametrize("arranged", [
    lambda x, v: (x, v), lambda x, v: (v, x), lambda x, v: (np.asfortranarray(x), v), lambda x, v: (x, v[::-1, ::-1])],
    ids=["as they are", "exchanged", "Fortran", "turned"])
def test_a_remembered_call_looks_at_the_values(taken, arranged):
    rng = np.random.default_rng(7)
    x, w, other = rng.standard_normal((30, 31)), product(rng, (5, 5), "f8"), rng.standard_normal((5, 5))
    nearly = w.copy()
    nearly[3, 4] *= 2  # where the quick look does not look
    nan = np.where(w == w[2, 2], np.nan, w)
    for v in (other, w, nearly, other, w, nan, nearly, w):
        taken.clear()
        y = convx.convolve(*arranged(x, v), "valid")
        assert len(taken) == (v is w)
        aim = convx.convolve(*arranged(x, v), "valid", algorithm="sums")
        assert np.allclose(y, aim, rtol=1e-12, atol=1e-9) if v is w else np.array_equal(y, aim, equal_nan=True)


def test_batch_and_threads_do_not_show(taken):
    rng = np.random.default_rng(6)
    x, w = rng.standard_normal((5, 1, 70, 33)).astype("f4"), product(rng, (1, 1, 5, 5), "f4")
    whole = convx.conv2d(x, w, padding="same", stride=2)
    parts = [convx.conv2d(x[a:b], w, padding="same", stride=2, workers=1) for a, b in ((0, 1), (1, 3), (3, 5))]
    assert len(taken) == 4 and np.array_equal(whole, np.concatenate(parts))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_bad_value_reaches_its_windows_only(taken, value):
    rng = np.random.default_rng(7)
    x, w = rng.standard_normal((40, 41)), product(rng, (5, 7), "f8")
    x[11, 40] = value
    for boundary in ("constant", "wrap", "reflect"):
        y = convx.correlate(x, w, "same", boundary=boundary)
        assert taken
        assert np.array_equal(np.isfinite(y), np.isfinite(convx.correlate(x, w, "same", boundary=boundary,
                                                                          algorithm="reference")))


def test_vectors():
    rng = np.random.default_rng(8)
    for dtype in ("f4", "f8"):
        for shape in ((3, 3), (5, 9), (31, 2)):
            w = product(rng, shape, dtype)
            found = _separable.vectors(w)
            assert [line.dtype for line in found] == [w.dtype] * w.ndim
            assert all(abs(line).sum() <= 1 for line in found[:-1])
            near = reduce(np.multiply.outer, [line.astype(float) for line in found])
            assert (abs(near - w) <= 2 * np.finfo(dtype).eps * abs(w)).all()
            w[0, 0] *= 1 + 8 * np.finfo(dtype).eps
            assert _separable.vectors(w) is None
    volumes = [_separable.vectors(product(rng, (2, 3, 4), "f4")) for _ in range(200)]
    assert sum(found is None for found in volumes) < 20  # the rounding of some products of three is too unlucky
    zeros = np.outer([0, 1.5, 2.25], [1.25, 0, 3])
    assert np.array_equal(np.outer(*_separable.vectors(zeros)), zeros)
    assert np.array_equal(np.outer(*_separable.vectors(np.array([[4.0, 6.0], [6.0, 9.0]]))), [[4, 6], [6, 9]])
    for bad in (np.zeros((3, 3)), np.full((3, 3), np.inf), np.eye(3), rng.standard_normal((4, 4)),
                np.array([[1e308, 1e-308], [1e-308, 1e-308]]), arrays.whole((4, 4))):
        assert _separable.vectors(bad) is None


def test_when_it_is_not_asked():
    x, w = np.ones((1, 1, 600, 600)), np.ones((1, 1, 15, 15))

    def considered(x, w, **options):
        return _separable.passes(convx.plan("conv2d", x, w, **options), False) is not None

    assert considered(x, w) and considered(x, w, padding="same", boundary="reflect", stride=2)
    assert not considered(x, w, algorithm="sums") and not considered(x, w, padding=3, cval=1.5)
    assert not considered(x, np.ones((2, 1, 15, 15)))
    assert not considered(np.ones((1, 2, 600, 600)), np.ones((1, 2, 15, 15)))
    assert not considered(np.ones((1, 1, 30, 30)), w) and not considered(x, w[..., :1])
    assert not considered(x.astype(complex), w)
